#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::{Ctgan, train::CtganLearner};
use crate::{
    SynthError,
    encode::{EncodedRows, Layout, SubColumn},
    models::{
        FitOptions, Fitted, ModelKind, OptionValue, TrainingData,
        test_support::{self, Watch, codes, column, given_contexts, same, sample, share, with_context, words},
        training::Training,
    },
    noise::BLOCK_ROWS,
    torch::DeviceKind,
};

/// `a` in 0..3 with frequencies .6, .3, .1; `b` = `a` in 9 of 10 rows; a number in two modes whose mode is
/// `a > 0` and whose scalar follows `a`.
fn planted(rows: usize) -> (Layout, EncodedRows) {
    let layout = Layout {
        given: 0,
        siblings: 0..0,
        columns: vec![column(0..1, true), column(1..2, true), column(2..4, false)],
        subcolumns: vec![SubColumn::codes(3), SubColumn::codes(3), SubColumn::codes(2), SubColumn::Scalar],
    };
    let mut out = EncodedRows::with_capacity(&layout, rows);
    for [a, noisy, b, scalar] in words(rows) {
        let a = [0, 0, 0, 0, 0, 0, 1, 1, 1, 2][(a % 10) as usize];
        out.subcolumns[0].push_code(a);
        out.subcolumns[1].push_code(if noisy % 10 == 0 { b % 3 } else { a });
        out.subcolumns[2].push_code(u32::from(a > 0));
        out.subcolumns[3].push_scalar((a as f32 - 1.0) * 0.5 + 0.2 * (crate::noise::unit(scalar) - 0.5));
    }
    out.rows = rows;
    (layout, out)
}

fn small(epochs: u32) -> FitOptions {
    let own = [("generator_width", 32), ("critic_width", 64), ("latent", 16)];
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
    test_support::fit(&Ctgan, layout, rows, options)
}

#[test]
fn a_planted_dependence_is_learned() {
    let (layout, rows) = planted(4000);
    let mut options = small(120);
    for rate in ["generator_learning_rate", "critic_learning_rate"] {
        options.own.insert(rate.to_owned(), OptionValue::Float(1e-3));
    }
    let fitted = fit(&layout, &rows, &options);
    assert!(fitted.report.score > 0.7, "{:?}", fitted.report);
    let blocks = sample(&*fitted.model, &layout, 2, 1);
    let frequent = share(&blocks, |block, row| block.subcolumns[0].code(row) == 0);
    assert!((frequent - 0.6).abs() < 0.06, "frequency of the first code: {frequent}");
    let equal = share(&blocks, |block, row| block.subcolumns[0].code(row) == block.subcolumns[1].code(row));
    assert!(equal > 0.8, "rows with b = a: {equal}");
    let mode = share(&blocks, |block, row| (block.subcolumns[0].code(row) > 0) == (block.subcolumns[2].code(row) == 1));
    assert!(mode > 0.85, "rows whose mode follows a: {mode}");
}

#[test]
fn rows_depend_on_their_contexts() {
    let (layout, rows) = with_context(planted(4000));
    let mut options = small(120);
    for rate in ["generator_learning_rate", "critic_learning_rate"] {
        options.own.insert(rate.to_owned(), OptionValue::Float(1e-3));
    }
    let fitted = fit(&layout, &rows, &options);
    let blocks = given_contexts(&Ctgan, &layout, &*fitted.model);
    let equal = share(&blocks, |block, row| block.subcolumns[2].code(row) == row as u32 % 3);
    assert!(equal > 0.8, "rows with b = a: {equal}");
    let mode = share(&blocks, |block, row| (row % 3 > 0) == (block.subcolumns[3].code(row) == 1));
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
    let loaded = Ctgan.load(&layout, one.model.state().unwrap()).unwrap();
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
    let whole = Ctgan.fit(&data, &options, None, &mut Watch::default()).unwrap();
    // 4 steps an epoch: cancelled in the middle of the sixth epoch, then once more.
    let mut resume = None;
    for cancel_at in [22, 3] {
        let mut watch = Watch { cancel_at: Some(cancel_at), ..Watch::default() };
        let error = Ctgan.fit(&data, &options, resume.as_ref(), &mut watch).unwrap_err();
        assert!(matches!(error, SynthError::Cancelled), "{error}");
        resume = watch.checkpoints.pop();
        assert!(resume.is_some());
    }
    let mut watch = Watch::default();
    let resumed = Ctgan.fit(&data, &options, resume.as_ref(), &mut watch).unwrap();
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
    Ctgan.fit(&data, &small(2), None, &mut watch).unwrap_err();
    let refused = |option: &str, value: i64| {
        let mut options = small(2);
        options.own.insert(option.into(), OptionValue::Int(value));
        Ctgan.fit(&data, &options, watch.checkpoints.first(), &mut Watch::default()).unwrap_err().to_string()
    };
    let error = refused("critic_width", 65);
    assert!(error.contains("checkpoint") && error.contains("critic."), "{error}");
    // What the trained model is like is compared first.
    let error = refused("latent", 17);
    assert!(error.contains("\"latent\":17") && error.contains("without `resume`"), "{error}");
}

#[test]
fn a_loss_that_is_not_finite_goes_back_with_half_the_learning_rate() {
    let (layout, rows) = planted(900);
    let matrix = rows.clone().into();
    let data = TrainingData { layout: &layout, rows: &matrix };
    let options = small(3);
    let mut training =
        Training::new(&Ctgan, &data, &options, |split| CtganLearner::new(&data, &options, split)).unwrap();
    let mut once = Some(7);
    training.poison = Box::new(move |step| once.take_if(|at| *at == step).is_some());
    let fitted = training.run(None, &mut Watch::default()).unwrap();
    assert_eq!(fitted.report.recoveries, 1);
    let state = fitted.model.state().unwrap();
    assert!(state.tensors.values().all(|tensor| tensor.data.iter().all(|x| x.is_finite())));
}

#[test]
fn endless_divergence_is_an_error_that_names_the_way_out() {
    let (layout, rows) = planted(900);
    let mut options = small(300);
    options.own.insert("penalty_weight".into(), OptionValue::Float(1000.0));
    for rate in ["generator_learning_rate", "critic_learning_rate"] {
        options.own.insert(rate.to_owned(), OptionValue::Float(0.1));
    }
    let matrix = rows.clone().into();
    let data = TrainingData { layout: &layout, rows: &matrix };
    let mut training =
        Training::new(&Ctgan, &data, &options, |split| CtganLearner::new(&data, &options, split)).unwrap();
    training.poison = Box::new(|_| true);
    let error = training.run(None, &mut Watch::default()).unwrap_err().to_string();
    assert!(error.contains("generator_learning_rate"), "{error}");
}

#[test]
fn ten_thousand_categories_train_and_keep_their_head() {
    let layout = codes(&[10_000, 2]);
    let count = 12_000;
    let mut rows = EncodedRows::with_capacity(&layout, count);
    for [code, half] in words(count) {
        // Half of the rows share ten codes.
        let code = if half % 2 == 0 { code % 10 } else { code % 10_000 };
        rows.subcolumns[0].push_code(code);
        rows.subcolumns[1].push_code(half % 2);
    }
    rows.rows = count;
    let mut options = small(1);
    options.batch_size = Some(500);
    let fitted = fit(&layout, &rows, &options);
    let blocks = sample(&*fitted.model, &layout, 1, 1);
    let head = share(&blocks, |block, row| block.subcolumns[0].code(row) < 10);
    assert!((0.3..0.7).contains(&head), "rows of the ten frequent codes: {head}");
    assert_eq!(share(&blocks, |block, row| block.subcolumns[0].code(row) < 10_000), 1.0);
}

#[test]
fn tiny_tables_train() {
    for rows in [1, 2, 9, 11, 201] {
        let (layout, rows) = planted(rows);
        let fitted = fit(&layout, &rows, &small(2));
        assert_eq!(fitted.report.rows, rows.rows as u64);
        sample(&*fitted.model, &layout, 1, 1);
    }
}

#[test]
fn a_table_without_subcolumns_has_nothing_to_learn() {
    let layout = Layout { columns: vec![column(0..0, false)], subcolumns: Vec::new(), given: 0, siblings: 0..0 };
    let mut rows = EncodedRows::with_capacity(&layout, 0);
    rows.rows = 50;
    let fitted = fit(&layout, &rows, &small(2));
    assert_eq!((fitted.report.epochs, fitted.report.score), (0, 1.0));
    let loaded = Ctgan.load(&layout, fitted.model.state().unwrap()).unwrap();
    assert_eq!(sample(&*loaded, &layout, 1, 2)[0].rows, BLOCK_ROWS);
}

#[test]
fn patience_ends_a_training_that_no_longer_improves() {
    let (layout, rows) = planted(300);
    let mut options = small(5000);
    options.patience = 1;
    for rate in ["generator_learning_rate", "critic_learning_rate"] {
        options.own.insert(rate.to_owned(), OptionValue::Float(1e-7));
    }
    let fitted = fit(&layout, &rows, &options);
    assert!(fitted.report.epochs < 5000, "{:?}", fitted.report);
    assert!(fitted.report.best_epoch < fitted.report.epochs);
}

#[test]
fn bad_options_and_empty_tables_are_named() {
    let (layout, rows) = planted(50);
    let error = |options: &FitOptions, rows: &EncodedRows| {
        let matrix = rows.clone().into();
        let data = TrainingData { layout: &layout, rows: &matrix };
        Ctgan.fit(&data, options, None, &mut Watch::default()).unwrap_err().to_string()
    };
    let with = |name: &str, value| {
        let mut options = small(1);
        options.own.insert(name.to_owned(), value);
        error(&options, &rows)
    };
    let unknown = with("pacman", OptionValue::Int(1));
    assert!(unknown.contains("pacman") && unknown.contains("penalty_every"), "{unknown}");
    let range = with("pac", OptionValue::Int(0));
    assert!(range.contains("`pac`: got 0, expected a whole number from 1 to 100"), "{range}");
    let kind = with("tau", OptionValue::Bool(true));
    assert!(kind.contains("`tau`: got true, expected a number"), "{kind}");
    assert!(error(&FitOptions { epochs: Some(0), ..small(1) }, &rows).contains("epochs"));
    let empty = EncodedRows::with_capacity(&layout, 0);
    assert!(error(&small(1), &empty).contains("empty"));
}

#[test]
fn a_state_that_does_not_fit_is_refused() {
    let (layout, rows) = planted(100);
    let state = fit(&layout, &rows, &small(1)).model.state().unwrap();
    let refuse = |state, layout: &Layout| Ctgan.load(layout, state).unwrap_err().to_string();
    let mut missing = state.clone();
    missing.tensors.remove("head.weight");
    assert!(refuse(missing, &layout).contains("`head.weight` is missing"));
    let mut other = layout.clone();
    other.subcolumns[0] = SubColumn::codes(4);
    assert!(refuse(state.clone(), &other).contains("has shape"));
    let mut settings = state;
    settings.settings = serde_json::json!({ "latent": 16 });
    assert!(refuse(settings, &layout).contains("settings"));
}
