#![allow(clippy::unwrap_used, clippy::panic)]

use super::{Tvae, train::TvaeLearner};
use crate::{
    SynthError,
    encode::{EncodedRows, Layout, SubColumn, SubColumnData},
    models::{
        FitOptions, Fitted, ModelKind, OptionValue, TrainingData,
        test_support::{self, Watch, codes, column, given_contexts, same, sample, share, with_context, words},
        training::Training,
    },
    noise::{BLOCK_ROWS, unit},
    torch::DeviceKind,
};

/// `a` in 0..3 with frequencies .6, .3, .1; `b` = `a` in 9 of 10 rows, else any; a number in three modes whose mode is `a`
/// and whose scalar lies around -.5 and .5 with deviations .05 and .15, and is always 0 in the last mode.
fn planted(rows: usize) -> (Layout, EncodedRows) {
    let layout = Layout {
        given: 0,
        siblings: 0..0,
        columns: vec![column(0..1, true), column(1..2, true), column(2..4, false)],
        subcolumns: vec![SubColumn::codes(3), SubColumn::codes(3), SubColumn::codes(3), SubColumn::Scalar],
    };
    let mut out = EncodedRows::with_capacity(&layout, rows);
    for [a, noisy, b, x, y, z] in words(rows) {
        let a = [0, 0, 0, 0, 0, 0, 1, 1, 1, 2][(a % 10) as usize];
        out.subcolumns[0].push_code(a);
        out.subcolumns[1].push_code(if noisy % 10 == 0 { b % 3 } else { a });
        out.subcolumns[2].push_code(a);
        // The sum of three uniform numbers has a deviation of 1/2.
        let bell = unit(x) + unit(y) + unit(z) - 1.5;
        out.subcolumns[3].push_scalar([0.1 * bell - 0.5, 0.3 * bell + 0.5, 0.0][a as usize]);
    }
    out.rows = rows;
    (layout, out)
}

fn small(epochs: u32) -> FitOptions {
    let own = [("latent_width", 8), ("encoder_width", 32), ("decoder_width", 32), ("prior_components", 8)];
    FitOptions {
        epochs: Some(epochs),
        batch_size: Some(200),
        seed: 1,
        device: DeviceKind::Cpu,
        threads: 1,
        own: own.map(|(name, value)| (name.to_owned(), OptionValue::Int(value))).into(),
        ..FitOptions::default()
    }
}

fn fit(layout: &Layout, rows: &EncodedRows, options: &FitOptions) -> Fitted {
    test_support::fit(&Tvae, layout, rows, options)
}

/// The scalars of a mode.
fn scalars(blocks: &[EncodedRows], mode: u32) -> Vec<f64> {
    let of = |block: &EncodedRows| -> Vec<f64> {
        let SubColumnData::Scalar(values) = &block.subcolumns[3] else { return Vec::new() };
        let rows = (0..block.rows).filter(|&row| block.subcolumns[2].code(row) == mode);
        rows.map(|row| f64::from(values[row])).collect()
    };
    blocks.iter().flat_map(of).collect()
}

fn moments(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (mean, (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt())
}

#[test]
fn planted_dependences_are_learned() {
    let (layout, rows) = planted(6000);
    let options = small(150);
    let fitted = fit(&layout, &rows, &options);
    assert!(fitted.report.score > 0.85, "{:?}", fitted.report);
    let blocks = sample(&*fitted.model, &layout, 4, 1);
    for (a, frequency) in [0.6, 0.3, 0.1].into_iter().enumerate() {
        let found = share(&blocks, |block, row| block.subcolumns[0].code(row) == a as u32);
        assert!((found - frequency).abs() < 0.06, "frequency of {a}: {found}");
    }
    let equal = share(&blocks, |block, row| block.subcolumns[0].code(row) == block.subcolumns[1].code(row));
    assert!((equal - (0.9 + 0.1 / 3.0)).abs() < 0.06, "rows with b = a: {equal}");
    let mode = share(&blocks, |block, row| block.subcolumns[0].code(row) == block.subcolumns[2].code(row));
    assert!(mode > 0.93, "rows whose mode is a: {mode}");
    // Each mode has a deviation of its own, drawn at sampling; what never varies does not.
    for (mode, mean, deviation) in [(0, -0.5, 0.05), (1, 0.5, 0.15)] {
        let found = moments(&scalars(&blocks, mode));
        assert!((found.0 - mean).abs() < 0.03 && (found.1 / deviation - 1.0).abs() < 0.2, "mode {mode}: {found:?}");
    }
    let constant = scalars(&blocks, 2);
    assert!(!constant.is_empty() && constant.iter().all(|&x| x == 0.0));
}

#[test]
fn rows_depend_on_their_contexts() {
    let (layout, rows) = with_context(planted(4000));
    let options = small(100);
    let fitted = fit(&layout, &rows, &options);
    let blocks = given_contexts(&Tvae, &layout, &*fitted.model);
    let equal = share(&blocks, |block, row| block.subcolumns[2].code(row) == row as u32 % 3);
    assert!(equal > 0.8, "rows with b = a: {equal}");
    let mode = share(&blocks, |block, row| block.subcolumns[3].code(row) == row as u32 % 3);
    assert!(mode > 0.85, "rows whose mode follows a: {mode}");
}

#[test]
fn threads_and_a_round_trip_through_the_state_change_no_bit() {
    let (layout, rows) = planted(900);
    let mut options = small(3);
    let one = fit(&layout, &rows, &options);
    options.threads = 2;
    let two = fit(&layout, &rows, &options);
    assert_eq!(one.model.state().unwrap(), two.model.state().unwrap());
    let loaded = Tvae.load(&layout, one.model.state().unwrap()).unwrap();
    let expected = sample(&*one.model, &layout, 2, 1);
    assert!(same(&expected, &sample(&*one.model, &layout, 2, 2)));
    assert!(same(&expected, &sample(&*one.model, &layout, 2, 3)));
    assert!(same(&expected, &sample(&*loaded, &layout, 2, 1)));
    assert!(!same(&expected[..1], &expected[1..]));
}

#[test]
fn a_resumed_training_ends_with_the_weights_of_an_uninterrupted_one() {
    let (layout, rows) = planted(900);
    let matrix = rows.clone().into();
    let data = TrainingData { layout: &layout, rows: &matrix };
    let options = small(8);
    let whole = fit(&layout, &rows, &options);
    // 5 steps an epoch: cancelled in the middle of the sixth epoch, then once more.
    let mut resume = None;
    for cancel_at in [27, 4] {
        let mut watch = Watch { cancel_at: Some(cancel_at), ..Watch::default() };
        let error = Tvae.fit(&data, &options, resume.as_ref(), &mut watch).unwrap_err();
        assert!(matches!(error, SynthError::Cancelled), "{error}");
        resume = watch.checkpoints.pop();
        assert!(resume.is_some());
    }
    let mut watch = Watch::default();
    let resumed = Tvae.fit(&data, &options, resume.as_ref(), &mut watch).unwrap();
    assert_eq!(watch.epochs.first().map(|report| report.epoch), Some(7));
    assert_eq!(resumed.model.state().unwrap(), whole.model.state().unwrap());
    assert_eq!((resumed.report.score, resumed.report.best_epoch), (whole.report.score, whole.report.best_epoch));
}

#[test]
fn a_checkpoint_of_another_shape_is_refused() {
    let (layout, rows) = planted(300);
    let matrix = rows.clone().into();
    let data = TrainingData { layout: &layout, rows: &matrix };
    let mut watch = Watch { cancel_at: Some(1), ..Watch::default() };
    Tvae.fit(&data, &small(2), None, &mut watch).unwrap_err();
    let refused = |option: &str, value: i64| {
        let mut options = small(2);
        options.own.insert(option.into(), OptionValue::Int(value));
        Tvae.fit(&data, &options, watch.checkpoints.first(), &mut Watch::default()).unwrap_err().to_string()
    };
    let error = refused("encoder_width", 33);
    assert!(error.contains("checkpoint") && error.contains("encoder."), "{error}");
    // What the trained model is like is compared first.
    let error = refused("latent_width", 9);
    assert!(error.contains("\"latent\":9") && error.contains("without `resume`"), "{error}");
}

#[test]
fn a_loss_that_is_not_finite_goes_back_with_half_the_learning_rate() {
    let (layout, rows) = planted(900);
    let matrix = rows.clone().into();
    let data = TrainingData { layout: &layout, rows: &matrix };
    let options = small(3);
    let training = || Training::new(&Tvae, &data, &options, |split| TvaeLearner::new(&data, &options, split)).unwrap();
    let mut once = training();
    let mut at = Some(7);
    once.poison = Box::new(move |step| at.take_if(|at| *at == step).is_some());
    let fitted = once.run(None, &mut Watch::default()).unwrap();
    assert_eq!((fitted.report.recoveries, fitted.report.epochs), (1, 3));
    let state = fitted.model.state().unwrap();
    assert!(state.tensors.values().all(|tensor| tensor.data.iter().all(|x| x.is_finite())));
    let mut always = training();
    always.poison = Box::new(|_| true);
    let error = always.run(None, &mut Watch::default()).unwrap_err().to_string();
    assert!(error.contains("autoencoder_learning_rate"), "{error}");
}

#[test]
fn ten_thousand_categories_train_and_keep_their_head() {
    let layout = codes(&[10_000, 2]);
    let count = 6_000;
    let mut rows = EncodedRows::with_capacity(&layout, count);
    for [code, half] in words(count) {
        // Half of the rows share ten codes, and the second column knows which half.
        let code = if half % 2 == 0 { code % 10 } else { code % 10_000 };
        rows.subcolumns[0].push_code(code);
        rows.subcolumns[1].push_code(half % 2);
    }
    rows.rows = count;
    let mut options = small(5);
    options.batch_size = Some(500);
    let fitted = fit(&layout, &rows, &options);
    let blocks = sample(&*fitted.model, &layout, 1, 1);
    let head = share(&blocks, |block, row| block.subcolumns[0].code(row) < 10);
    assert!((0.4..0.6).contains(&head), "rows of the ten frequent codes: {head}");
    assert_eq!(share(&blocks, |block, row| block.subcolumns[0].code(row) < 10_000), 1.0);
}

#[test]
fn tiny_tables_and_tables_without_subcolumns_are_models_too() {
    for rows in [1, 2, 9, 11, 201] {
        let (layout, rows) = planted(rows);
        let fitted = fit(&layout, &rows, &small(2));
        assert_eq!(fitted.report.rows, rows.rows as u64);
        sample(&*fitted.model, &layout, 1, 2);
    }
    let layout = Layout { columns: vec![column(0..0, false)], subcolumns: vec![], given: 0, siblings: 0..0 };
    let rows = EncodedRows { subcolumns: vec![], rows: 50 };
    let fitted = fit(&layout, &rows, &small(2));
    assert_eq!(fitted.report.epochs, 0);
    assert_eq!(sample(&*fitted.model, &layout, 1, 1)[0].rows, BLOCK_ROWS);
}

#[test]
fn patience_ends_a_training_that_no_longer_improves() {
    let (layout, rows) = planted(300);
    let mut options = small(5000);
    options.patience = 1;
    options.own.insert("autoencoder_learning_rate".to_owned(), OptionValue::Float(1e-2));
    let report = fit(&layout, &rows, &options).report;
    assert!(report.epochs < 5000 && report.best_epoch < report.epochs, "{report:?}");
}

#[test]
fn bad_input_is_refused() {
    let (layout, rows) = planted(100);
    let error = |options: &FitOptions, rows: &EncodedRows| {
        let matrix = rows.clone().into();
        let data = TrainingData { layout: &layout, rows: &matrix };
        Tvae.fit(&data, options, None, &mut Watch::default()).unwrap_err().to_string()
    };
    let with = |name: &str, value| {
        let mut options = small(1);
        options.own.insert(name.to_owned(), value);
        error(&options, &rows)
    };
    let range = with("latent_width", OptionValue::Int(0));
    assert!(range.contains("`latent_width`: got 0, expected a whole number from 1 to 4096"), "{range}");
    let unknown = with("latent", OptionValue::Int(1));
    assert!(unknown.contains("latent") && unknown.contains("reconstruction_weight"), "{unknown}");
    assert!(error(&small(1), &EncodedRows::with_capacity(&layout, 0)).contains("empty"));
}

#[test]
fn a_state_that_does_not_fit_is_refused() {
    let (layout, rows) = planted(100);
    let state = fit(&layout, &rows, &small(1)).model.state().unwrap();
    let refuse = |state, layout: &Layout| Tvae.load(layout, state).unwrap_err().to_string();
    for name in state.tensors.keys() {
        let mut missing = state.clone();
        missing.tensors.remove(name);
        assert!(refuse(missing, &layout).contains(&format!("`{name}` is missing")));
        let mut cut = state.clone();
        cut.tensors.get_mut(name).unwrap().data.pop();
        assert!(refuse(cut, &layout).contains(&format!("`{name}` has shape")));
    }
    let mut other = layout.clone();
    other.subcolumns[0] = SubColumn::codes(4);
    assert!(refuse(state.clone(), &other).contains("has shape"));
    let mut settings = state;
    settings.settings = serde_json::json!({ "latent": 16 });
    assert!(refuse(settings, &layout).contains("settings of tvae"));
}
