#![allow(clippy::unwrap_used, clippy::panic)]

use super::{Argn, train::ArgnLearner};
use crate::{
    SynthError,
    encode::{EncodedRows, KnownCodes, Layout, SubColumn, UNKNOWN},
    models::{
        Condition, ConditionTable, FitOptions, Fitted, ModelKind, ModelState, OptionValue, SamplerSettings,
        TrainingData,
        test_support::{self, Watch, codes, column, sample, share, words},
        tilt,
        training::Training,
    },
    noise::{BLOCK_ROWS, Noise},
    torch::DeviceKind,
};

/// `a` in 0..3 with frequencies .6, .3, .1; `b` = `a` in 9 of 10 rows, else any; `c` = (a + b) mod 5 of 300 codes.
pub(super) fn planted(rows: usize) -> (Layout, EncodedRows) {
    let layout = codes(&[3, 3, 300]);
    let mut out = EncodedRows::with_capacity(&layout, rows);
    for [a, noisy, b] in words(rows) {
        let a = [0, 0, 0, 0, 0, 0, 1, 1, 1, 2][(a % 10) as usize];
        let b = if noisy % 10 == 0 { b % 3 } else { a };
        [a, b, (a + b) % 5].iter().zip(&mut out.subcolumns).for_each(|(&code, column)| column.push_code(code));
    }
    out.rows = rows;
    (layout, out)
}

pub(super) fn small(epochs: u32) -> FitOptions {
    FitOptions {
        epochs: Some(epochs),
        batch_size: Some(200),
        seed: 1,
        device: DeviceKind::Cpu,
        threads: 1,
        own: [("width".to_owned(), OptionValue::Int(16))].into(),
        ..FitOptions::default()
    }
}

fn fit(layout: &Layout, rows: &EncodedRows, options: &FitOptions) -> Fitted {
    test_support::fit(&Argn, layout, rows, options)
}

#[test]
fn planted_dependences_are_learned() {
    let (layout, rows) = planted(6000);
    let fitted = fit(&layout, &rows, &small(20));
    assert!(fitted.report.score > 0.95, "{:?}", fitted.report);
    let blocks = sample(&*fitted.model, &layout, 4, 1);
    let share = |test: &dyn Fn(u32, u32, u32) -> bool| {
        share(&blocks, |block, row| {
            let [a, b, c] = [0, 1, 2].map(|k| block.subcolumns[k].code(row));
            test(a, b, c)
        })
    };
    // Standard errors are below .004 for the 6,000 rows learned and for the rows drawn.
    for (a, frequency) in [0.6, 0.3, 0.1].into_iter().enumerate() {
        let found = share(&|x, _, _| x == a as u32);
        assert!((found - frequency).abs() < 0.025, "frequency of {a}: {found}");
    }
    let equal = share(&|a, b, _| a == b);
    assert!((equal - (0.9 + 0.1 / 3.0)).abs() < 0.025, "rows with b = a: {equal}");
    let sum = share(&|a, b, c| c == (a + b) % 5);
    assert!(sum > 0.97, "rows with c = a + b: {sum}");
}

/// `a` in 0..4; `b` is 0 where `a` is 3, and else 1 or 2; `c` is any of 6.
fn decided(rows: usize) -> (Layout, EncodedRows) {
    let layout = codes(&[4, 3, 6]);
    let mut out = EncodedRows::with_capacity(&layout, rows);
    for [a, b, c] in words(rows) {
        let (a, b) = (a % 4, if a % 4 == 3 { 0 } else { 1 + b % 2 });
        [a, b, c % 6].iter().zip(&mut out.subcolumns).for_each(|(&code, column)| column.push_code(code));
    }
    out.rows = rows;
    (layout, out)
}

#[test]
fn codes_that_never_go_together_are_not_drawn_in_any_order() {
    let (layout, rows) = decided(2000);
    let state = fit(&layout, &rows, &small(1)).model.state().unwrap();
    let contradictions = |state: ModelState| {
        let model = Argn.load(&layout, state).unwrap();
        let contradicts =
            |block: &EncodedRows, row| (block.subcolumns[0].code(row) == 3) != (block.subcolumns[1].code(row) == 0);
        let mut blocks = sample(&*model, &layout, 2, 1);
        let mut sampler = model.any_order_sampler(&SamplerSettings::new(DeviceKind::Cpu, 1)).unwrap();
        for code in 0..3 {
            let mut out = EncodedRows::with_capacity(&layout, BLOCK_ROWS);
            sampler.complete(0, &Noise::new(1, b"sample"), &known(&[(1, code)], BLOCK_ROWS), &mut out).unwrap();
            blocks.push(out);
        }
        let odds = sampler.distribution(&known(&[(1, 0)], 1), 0).unwrap();
        (share(&blocks, contradicts), odds)
    };
    let (share, odds) = contradictions(state.clone());
    assert_eq!((share, odds), (0.0, vec![0.0, 0.0, 0.0, 1.0]));
    let mut without = state;
    without.tensors.retain(|name, _| !name.starts_with("zeros."));
    assert!(contradictions(without).0 > 0.05, "an epoch is too short to learn it");
}

#[test]
fn conditions_are_set_right_by_the_tables_order() {
    let (layout, rows) = planted(6000);
    // What the last column says of the first is hardly learned.
    let mut options = small(20);
    options.own.insert("any_order".to_owned(), OptionValue::Float(0.02));
    let model = fit(&layout, &rows, &options).model;
    let condition = Condition {
        shares: vec![(2, (0..300).map(|code| f32::from(u8::from(code == 2))).collect())],
        equal: Vec::new(),
        balance: None,
    };
    let of_those = |block: &EncodedRows| {
        let (a, c) = (&block.subcolumns[0], &block.subcolumns[2]);
        let those: Vec<u32> = (0..block.rows).filter(|&row| c.code(row) == 2).map(|row| a.code(row)).collect();
        [0, 1, 2].map(|code| those.iter().filter(|&&a| a == code).count() as f64 / those.len() as f64)
    };
    let wanted = of_those(&rows);
    let off = |set_right: bool, threads| {
        let mut sampler = model.any_order_sampler(&SamplerSettings::new(DeviceKind::Cpu, threads)).unwrap();
        let mut table = ConditionTable::new(&mut *sampler, &layout, &condition).unwrap();
        if set_right {
            tilt::set_right(&mut table, &mut *sampler, &layout, &[]).unwrap();
        }
        let (mut out, noise) = (EncodedRows::with_capacity(&layout, BLOCK_ROWS), Noise::new(1, b"sample"));
        sampler.complete(0, &noise, &table.draw(0, &noise), &mut out).unwrap();
        assert_eq!(share(std::slice::from_ref(&out), |block, row| block.subcolumns[2].code(row) == 2), 1.0);
        of_those(&out).into_iter().zip(wanted).map(|(found, wanted)| (found - wanted).abs()).sum::<f64>() / 2.0
    };
    let (before, after) = (off(false, 1), off(true, 1));
    assert!(before > 0.1 && after < 0.3 * before, "{before}, then {after}");
    assert_eq!(off(true, 2), after, "of any number of threads");
}

/// What is known of the rows of a block: `c` in those of even number, `a` in the others.
fn late_or_early() -> KnownCodes {
    let of_rows = |odd: u32, code: u32| {
        let code = |row: u32| if row % 2 == odd { code } else { UNKNOWN };
        (0..BLOCK_ROWS as u32).map(code).collect::<Vec<_>>()
    };
    let mut known = KnownCodes::nothing(3, BLOCK_ROWS);
    known.set(2, of_rows(0, 2));
    known.set(0, of_rows(1, 1));
    known
}

#[test]
fn candidates_complete_and_judge_rows_by_the_tables_order() {
    let (layout, rows) = planted(6000);
    // What the last column says of the first is hardly learned.
    let mut options = small(20);
    options.own.insert("any_order".to_owned(), OptionValue::Float(0.02));
    let model = fit(&layout, &rows, &options).model;
    let sampler = |candidates, threads| {
        let settings = SamplerSettings { candidates, ..SamplerSettings::new(DeviceKind::Cpu, threads) };
        model.any_order_sampler(&settings).unwrap()
    };
    let complete = |candidates, threads| {
        let mut out = EncodedRows::with_capacity(&layout, BLOCK_ROWS);
        sampler(candidates, threads).complete(3, &Noise::new(1, b"sample"), &late_or_early(), &mut out).unwrap();
        out
    };
    let of_those = |block: &EncodedRows| {
        let (a, c) = (&block.subcolumns[0], &block.subcolumns[2]);
        let those: Vec<u32> = (0..block.rows).filter(|&row| c.code(row) == 2).map(|row| a.code(row)).collect();
        [0, 1, 2].map(|code| those.iter().filter(|&&a| a == code).count() as f64 / those.len() as f64)
    };
    let late = |block: &EncodedRows| {
        let mut even = EncodedRows::with_capacity(&layout, BLOCK_ROWS);
        (0..BLOCK_ROWS).step_by(2).for_each(|row| even.extend(block, row..row + 1));
        assert_eq!(share(std::slice::from_ref(&even), |block, row| block.subcolumns[2].code(row) == 2), 1.0);
        even
    };
    let wanted = of_those(&rows);
    let off = |block: &EncodedRows| {
        of_those(&late(block)).into_iter().zip(wanted).map(|(found, wanted)| (found - wanted).abs()).sum::<f64>() / 2.0
    };
    let (one, several) = (complete(1, 1), complete(32, 1));
    assert!(off(&one) > 0.1 && off(&several) < 0.3 * off(&one), "{}, then {}", off(&one), off(&several));
    assert_eq!(complete(32, 2), several, "by any number of threads");
    let codes = |block: &EncodedRows, row| [0, 1, 2].map(|k| block.subcolumns[k].code(row));
    let early =
        (1..BLOCK_ROWS).step_by(2).all(|row| codes(&one, row) == codes(&several, row) && codes(&one, row)[0] == 1);
    assert!(early, "what is drawn in the table's order anyway needs none");

    // P(c = 2) = .28 + .02 + .01 / 3.
    let log = |candidates| {
        let logs = sampler(candidates, 2).log_probability(&late_or_early()).unwrap();
        assert!(logs.iter().enumerate().all(|(row, log)| *log == logs[row % 2]), "who knows the same is as probable");
        (logs[0], logs[1])
    };
    let ((alone, early), (mean, same)) = (log(1), log(64));
    assert!((mean - 0.3033f64.ln()).abs() < 0.15, "{mean}, {alone}");
    assert!((early - 0.3f64.ln()).abs() < 0.1 && (early - same).abs() < 1e-9, "{early}, {same}");

    // Candidates of few rows are worked on together.
    for rows in [1, 10, 700] {
        let logs = sampler(64, 2).log_probability(&late_or_early().slice(0..rows)).unwrap();
        assert!(
            logs.iter().enumerate().all(|(row, log)| (log - [mean, same][row % 2]).abs() < 1e-4),
            "{rows}: {logs:?}"
        );
    }

    // Weights are what rows would be probable by, on average.
    let known = late_or_early();
    let mut whole = KnownCodes::nothing(3, BLOCK_ROWS);
    (0..3).for_each(|k| whole.set(k, one.subcolumns[k].codes()));
    let weights = sampler(1, 1).log_weight(&known, &whole).unwrap();
    let mean = weights.iter().step_by(2).map(|log| log.exp()).sum::<f64>() / (BLOCK_ROWS / 2) as f64;
    assert!((mean - 0.3033).abs() < 0.04, "{mean}");
    assert!(
        weights.iter().skip(1).step_by(2).all(|log| (log - early).abs() < 1e-4),
        "of what is drawn next to nothing"
    );
    let all = sampler(1, 1).log_weight(&whole, &whole).unwrap();
    let logs = sampler(1, 1).log_probability(&whole).unwrap();
    assert!(all.iter().zip(&logs).all(|(all, log)| (all - log).abs() < 1e-9), "nothing is drawn of what is known");
}

#[test]
fn few_rows_are_completed_as_among_many() {
    let (layout, rows) = planted(900);
    let layout = Layout { given: 1, ..layout };
    let model = fit(&layout, &rows, &small(3)).model;
    let known = |rows: usize| {
        let mut known = KnownCodes::nothing(3, rows);
        known.set(0, (0..rows as u32).map(|row| row % 3).collect());
        known.set(2, (0..rows as u32).map(|row| if row % 4 == 0 { UNKNOWN } else { row % 5 }).collect());
        known
    };
    let complete = |candidates, rows: usize| {
        let settings = SamplerSettings { candidates, ..SamplerSettings::new(DeviceKind::Cpu, 1) };
        let mut out = EncodedRows::with_capacity(&layout, BLOCK_ROWS);
        let mut sampler = model.any_order_sampler(&settings).unwrap();
        sampler.complete(3, &Noise::new(1, b"sample"), &known(rows), &mut out).unwrap();
        (0..40).map(|row| [1, 2].map(|k| out.subcolumns[k].code(row))).collect::<Vec<_>>()
    };
    // Sums of another order may tip a row.
    let alike = |a: &[[u32; 2]], b: &[[u32; 2]]| a.iter().zip(b).filter(|(a, b)| a == b).count();
    let (among_many, alone) = (complete(8, BLOCK_ROWS), complete(8, 40));
    assert!(alike(&among_many, &alone) >= 39, "{among_many:?}, {alone:?}");
    assert!(alike(&among_many, &complete(1, 40)) < 39, "candidates make no difference");
}

#[test]
fn threads_and_a_round_trip_through_the_state_change_no_bit() {
    let (layout, rows) = planted(900);
    let mut options = small(3);
    let one = fit(&layout, &rows, &options);
    options.threads = 2;
    let two = fit(&layout, &rows, &options);
    assert_eq!(one.model.state().unwrap(), two.model.state().unwrap());
    let loaded = Argn.load(&layout, one.model.state().unwrap()).unwrap();
    let expected = sample(&*one.model, &layout, 2, 1);
    assert_eq!(expected, sample(&*one.model, &layout, 2, 2));
    assert_eq!(expected, sample(&*one.model, &layout, 2, 3));
    assert_eq!(expected, sample(&*loaded, &layout, 2, 1));
    assert_ne!(expected[0], expected[1]);
}

/// What is known of rows of the planted table: a column and its code in every row.
fn known(columns: &[(usize, u32)], rows: usize) -> KnownCodes {
    let mut known = KnownCodes::nothing(3, rows);
    columns.iter().for_each(|&(column, code)| known.set(column, vec![code; rows]));
    known
}

#[test]
fn questions_in_any_order_are_answered() {
    let (layout, rows) = planted(6000);
    let model = fit(&layout, &rows, &small(20)).model;
    let settings = SamplerSettings::new(DeviceKind::Cpu, 1);
    let mut sampler = model.any_order_sampler(&settings).unwrap();
    // P(a) = (.6, .3, .1) and b is 0 in 28 of 30 rows of a = 0, else in 1 of 30: P(a = 0 | b = 0) = .56 / (.56 + .4 / 30).
    let odds = sampler.distribution(&known(&[(1, 0)], 2), 0).unwrap();
    assert!((f64::from(odds[0]) - 0.977).abs() < 0.03 && odds[..3] == odds[3..], "{odds:?}");
    assert!((odds[..3].iter().sum::<f32>() - 1.0).abs() < 1e-5);
    // c = 2 means a = b = 1, or one is 0 and the other 2: P(a = 1 | c = 2) = .28 / (.28 + .02 + .01 / 3).
    let odds = sampler.distribution(&known(&[(2, 2)], 1), 0).unwrap();
    assert!((f64::from(odds[1]) - 0.923).abs() < 0.1, "{odds:?}");
    let whole = sampler.log_probability(&known(&[(0, 1), (1, 1), (2, 2)], 1)).unwrap()[0];
    let (a, b) =
        (sampler.distribution(&known(&[], 1), 0).unwrap(), sampler.distribution(&known(&[(0, 1)], 1), 1).unwrap());
    let c = sampler.distribution(&known(&[(0, 1), (1, 1)], 1), 2).unwrap();
    let product = f64::from(a[1]).ln() + f64::from(b[1]).ln() + f64::from(c[2]).ln();
    assert!((whole - product).abs() < 1e-4, "{whole} {product}");
    assert!((whole - (0.28f64).ln()).abs() < 0.2, "{whole}");
    assert_eq!(sampler.log_probability(&known(&[], 3)).unwrap(), [0.0; 3]);
}

#[test]
fn rows_are_completed_with_what_is_known_kept_and_each_by_itself() {
    let (layout, rows) = planted(6000);
    let model = fit(&layout, &rows, &small(20)).model;
    let noise = Noise::new(5, b"sample");
    let complete = |known: &KnownCodes, threads, never| {
        let settings = SamplerSettings { never, ..SamplerSettings::new(DeviceKind::Cpu, threads) };
        let mut out = EncodedRows::with_capacity(&layout, BLOCK_ROWS);
        model.any_order_sampler(&settings).unwrap().complete(3, &noise, known, &mut out).unwrap();
        out
    };
    // Every other row has c = 4: a = b = 2.
    let mut half = KnownCodes::nothing(3, BLOCK_ROWS);
    half.set(2, (0..BLOCK_ROWS as u32).map(|row| if row % 2 == 0 { 4 } else { UNKNOWN }).collect());
    let free = complete(&known(&[], BLOCK_ROWS), 1, Vec::new());
    let told = complete(&half, 2, Vec::new());
    let both = (0..BLOCK_ROWS).step_by(2).filter(|&row| {
        assert_eq!(told.subcolumns[2].code(row), 4);
        [0, 1].map(|k| told.subcolumns[k].code(row)) == [2, 2]
    });
    assert!(both.count() > BLOCK_ROWS / 2 * 9 / 10);
    let of = |rows: &EncodedRows, row| [0, 1, 2].map(|k| rows.subcolumns[k].code(row));
    assert!((1..BLOCK_ROWS).step_by(2).all(|row| of(&told, row) == of(&free, row)));
    assert_eq!(complete(&half.slice(0..100), 1, Vec::new()).subcolumns[2].code(98), 4);
    let without = complete(&known(&[], BLOCK_ROWS), 1, vec![(0, 0)]);
    assert!((0..BLOCK_ROWS).all(|row| without.subcolumns[0].code(row) > 0));
}

#[test]
fn columns_are_drawn_in_the_order_asked_for() {
    let (layout, rows) = planted(6000);
    let model = fit(&layout, &rows, &small(20)).model;
    let mut sampler = model.any_order_sampler(&SamplerSettings::new(DeviceKind::Cpu, 1)).unwrap();
    let mut complete = |first: &[usize]| {
        let mut out = EncodedRows::with_capacity(&layout, BLOCK_ROWS);
        sampler.draw_first(first);
        sampler.complete(0, &Noise::new(5, b"sample"), &known(&[], BLOCK_ROWS), &mut out).unwrap();
        out
    };
    let (tables, reversed) = (complete(&[]), complete(&[2, 1]));
    assert_eq!(tables, complete(&[0, 1]), "the table's order");
    assert_ne!(tables, reversed);
    // c = 4 only where a = b = 2, in .1 * (.9 + .1 / 3) of the rows, whichever is drawn first.
    for drawn in [tables, reversed] {
        let code = |block: &EncodedRows, k: usize, row: usize| block.subcolumns[k].code(row);
        let found = share(std::slice::from_ref(&drawn), |block, row| code(block, 2, row) == 4);
        assert!((found - 0.0933).abs() < 0.03, "{found}");
        let alike =
            share(&[drawn], |block, row| (code(block, 2, row) == 4) == ((0..2).all(|k| code(block, k, row) == 2)));
        assert!(alike > 0.95, "{alike}");
    }
}

#[test]
fn temperature_sharpens_and_flattens() {
    let (layout, rows) = planted(3000);
    let model = fit(&layout, &rows, &small(10)).model;
    let first = |temperature| {
        let settings = SamplerSettings { temperature, ..SamplerSettings::new(DeviceKind::Cpu, 1) };
        let odds = model.any_order_sampler(&settings).unwrap().distribution(&known(&[], 1), 0).unwrap();
        let mut out = EncodedRows::with_capacity(&layout, BLOCK_ROWS);
        model.sampler(&settings).unwrap().sample(0, &Noise::new(1, b"t"), &mut out).unwrap();
        (odds[0], share(&[out], |block, row| block.subcolumns[0].code(row) == 0))
    };
    let (cold, even, hot) = (first(0.5), first(1.0), first(4.0));
    // .6, .3, .1 squared; as learned; their fourth roots.
    for ((odds, found), wanted) in [(cold, 0.783), (even, 0.6), (hot, 0.410)] {
        assert!((odds - wanted).abs() < 0.04 && (found - f64::from(odds)).abs() < 0.03, "{odds} {found} {wanted}");
    }
}

#[test]
fn a_context_is_obeyed_and_never_drawn() {
    let (layout, rows) = planted(6000);
    let layout = Layout { given: 1, ..layout };
    let fitted = fit(&layout, &rows, &small(20));
    let names = fitted.model.state().unwrap().tensors;
    assert!(names.contains_key("embedding.0") && !names.contains_key("head.0") && names.contains_key("head.1"));
    let mut known = KnownCodes::nothing(3, 2500);
    known.set(0, (0..2500).map(|row| row % 3).collect());
    let complete = |threads| {
        let settings = SamplerSettings::new(DeviceKind::Cpu, threads);
        let mut out = EncodedRows::with_capacity(&layout, BLOCK_ROWS);
        let mut sampler = fitted.model.any_order_sampler(&settings).unwrap();
        sampler.complete(7, &Noise::new(1, b"t"), &known, &mut out).unwrap();
        out
    };
    let out = complete(1);
    assert_eq!((out.rows, out.subcolumns[2].len()), (2500, 2500), "as many rows as were asked about");
    assert!((0..2500).all(|row| out.subcolumns[0].code(row) == row as u32 % 3));
    let code = |k: usize, row: usize| out.subcolumns[k].code(row);
    let same = (0..2500).filter(|&row| code(1, row) == code(0, row)).count() as f64 / 2500.0;
    // 9 of 10, and a third of the rest; the standard error is .005.
    assert!((same - 0.933).abs() < 0.03, "{same}");
    let sums = (0..2500).filter(|&row| code(2, row) == (code(0, row) + code(1, row)) % 5).count();
    assert!(sums > 2350, "{sums}");
    assert_eq!(out, complete(2));
}

#[test]
fn a_resumed_training_ends_with_the_weights_of_an_uninterrupted_one() {
    let (layout, rows) = planted(900);
    let matrix = rows.clone().into();
    let data = TrainingData { layout: &layout, rows: &matrix };
    let options = small(8);
    let whole = fit(&layout, &rows, &options);
    let mut watch = Watch { cancel_at: Some(17), ..Watch::default() };
    let stopped = Argn.fit(&data, &options, None, &mut watch);
    assert!(matches!(stopped, Err(SynthError::Cancelled)));
    let checkpoint = watch.checkpoints.last().unwrap();
    let mut rest = Watch::default();
    let resumed = Argn.fit(&data, &options, Some(checkpoint), &mut rest).unwrap();
    assert_eq!(rest.epochs.first().unwrap().epoch, checkpoint.epoch + 1);
    assert_eq!(resumed.model.state().unwrap(), whole.model.state().unwrap());
    assert_eq!((resumed.report.best_epoch, resumed.report.score), (whole.report.best_epoch, whole.report.score));

    let mut of_another_build = checkpoint.clone();
    of_another_build.state.settings["model"]["activation"] = "squared".into();
    let error = Argn.fit(&data, &options, Some(&of_another_build), &mut Watch::default()).unwrap_err().to_string();
    assert!(error.contains("\"activation\":\"rectified\"") && error.contains("without `resume`"), "{error}");
}

/// `c` = `a` in 4 of 5 rows, whatever the independent `b` is.
#[test]
fn what_says_nothing_shrinks() {
    let layout = codes(&[5, 40, 5]);
    let mut rows = EncodedRows::with_capacity(&layout, 2000);
    for [a, b, other] in words(2000) {
        let c = if other % 5 == 0 { other / 5 % 5 } else { a % 5 };
        [a % 5, b % 40, c].iter().zip(&mut rows.subcolumns).for_each(|(&code, column)| column.push_code(code));
    }
    rows.rows = 2000;
    let data = TrainingData { layout: &layout, rows: &rows.into() };
    let mut watch = Watch { cancel_at: Some(150), ..Watch::default() };
    assert!(matches!(Argn.fit(&data, &small(20), None, &mut watch), Err(SynthError::Cancelled)));
    let mut checkpoint = watch.checkpoints.pop().unwrap();
    let decays = checkpoint.state.tensors["network/decays"].data.clone();
    // Three columns and the head, per column.
    let [by_a, by_b] = [decays[2 * 4], decays[2 * 4 + 1]];
    assert!(by_b > 5.0 * by_a, "c by a: {by_a}, by b: {by_b}; {decays:?}");

    let kept = checkpoint.state.tensors.get_mut("network/decays").unwrap();
    (kept.shape, kept.data) = (vec![1], vec![1.0]);
    let refused = Argn.fit(&data, &small(20), Some(&checkpoint), &mut Watch::default()).err().unwrap().to_string();
    assert!(refused.contains("`network/decays` has shape [1] instead of [12]"), "{refused}");
}

#[test]
fn a_broken_step_is_taken_back() {
    let (layout, rows) = planted(900);
    let matrix = rows.clone().into();
    let data = TrainingData { layout: &layout, rows: &matrix };
    let options = small(4);
    let mut training = Training::new(&Argn, &data, &options, |split| ArgnLearner::new(&data, &options, split)).unwrap();
    let mut once = Some(7);
    training.poison = Box::new(move |step| once.take_if(|at| *at == step).is_some());
    let fitted = training.run(None, &mut Watch::default()).unwrap();
    assert_eq!((fitted.report.recoveries, fitted.report.epochs), (1, 4));
    assert!(fitted.report.score > 0.3, "{:?}", fitted.report);
}

#[test]
fn patience_ends_a_training_that_no_longer_improves() {
    let (layout, rows) = planted(300);
    let mut options = small(100);
    options.patience = 5;
    for (name, value) in [("learning_rate", 0.05), ("hidden_dropout", 0.0), ("shrinkage", 0.0)] {
        options.own.insert(name.into(), OptionValue::Float(value));
    }
    let report = fit(&layout, &rows, &options).report;
    assert!(report.epochs < 100 && report.best_epoch + 5 == report.epochs, "{report:?}");
}

#[test]
fn where_the_gap_weighs_rows_learned_are_hardly_likelier_than_others() {
    let layout = codes(&[30, 30, 30, 4]);
    // In half of the rows `b` is `a`, in half `c` is `b`; the gap of the last column, `d`, does not count.
    let mut all = vec![Vec::new(); 4];
    for [a, b, c] in words(2600) {
        let a = a % 30;
        let b = if b % 2 == 0 { a } else { b / 2 % 30 };
        let c = if c % 2 == 0 { b } else { c / 2 % 30 };
        all.iter_mut().zip([a, b, c, c % 4]).for_each(|(column, code)| column.push(code));
    }
    let gap = |gap_weight: f64| {
        let mut learned = EncodedRows::with_capacity(&layout, 600);
        for (column, codes) in learned.subcolumns.iter_mut().zip(&all) {
            codes[..600].iter().for_each(|&code| column.push_code(code));
        }
        learned.rows = 600;
        let mut options = FitOptions { batch_size: Some(16), ..small(30) };
        options.own.insert("width".to_owned(), OptionValue::Int(32));
        options.own.insert("gap_weight".to_owned(), OptionValue::Float(gap_weight));
        let model = fit(&layout, &learned, &options).model;
        let mut sampler = model.any_order_sampler(&SamplerSettings::new(DeviceKind::Cpu, 1)).unwrap();
        let mut mean = |rows: std::ops::Range<usize>| {
            let mut known = KnownCodes::nothing(4, rows.len());
            all[..3].iter().enumerate().for_each(|(at, codes)| known.set(at, codes[rows.clone()].to_vec()));
            sampler.log_probability(&known).unwrap().iter().sum::<f64>() / rows.len() as f64
        };
        mean(0..600) - mean(600..2600)
    };
    let (without, with) = (gap(0.0), gap(2_000.0));
    assert!(without > 1.0 && with < 0.5 * without, "{without} {with}");
}

#[test]
fn a_table_without_columns_to_learn_and_one_of_a_single_row_are_models_too() {
    let layout = Layout { columns: vec![column(0..0, false)], subcolumns: vec![], given: 0, siblings: 0..0 };
    let rows = EncodedRows { subcolumns: vec![], rows: 50 };
    let fitted = fit(&layout, &rows, &small(2));
    assert_eq!(sample(&*fitted.model, &layout, 1, 1)[0].rows, BLOCK_ROWS);
    let (layout, rows) = planted(1);
    let fitted = fit(&layout, &rows, &small(2));
    assert_eq!(sample(&*fitted.model, &layout, 1, 2)[0].rows, BLOCK_ROWS);
}

#[test]
fn bad_input_is_refused() {
    let (layout, rows) = planted(0);
    let matrix = rows.clone().into();
    let data = TrainingData { layout: &layout, rows: &matrix };
    assert!(matches!(Argn.fit(&data, &small(1), None, &mut Watch::default()), Err(SynthError::NoRows { .. })));
    let (layout, rows) = planted(100);
    let matrix = rows.clone().into();
    let data = TrainingData { layout: &layout, rows: &matrix };
    let mut idle = small(1);
    for (name, value) in [("gap_weight", 2.0), ("shrinkage", 0.0)] {
        idle.own.insert(name.into(), OptionValue::Float(value));
    }
    let error = Argn.fit(&data, &idle, None, &mut Watch::default()).unwrap_err().to_string();
    assert!(error.contains("`gap_weight`: got 2, expected 0 where `shrinkage` is 0"), "{error}");
    let mut state = fit(&layout, &rows, &small(1)).model.state().unwrap();
    state.tensors.get_mut("head.1").unwrap().shape = vec![3, 16];
    let error = Argn.load(&layout, state).unwrap_err().to_string();
    assert!(error.contains("head.1") && error.contains("[3, 16]"), "{error}");
    let scalars = Layout { subcolumns: vec![SubColumn::Scalar; 3], ..layout };
    let error = Argn.load(&scalars, fit(&planted(9).0, &planted(9).1, &small(1)).model.state().unwrap());
    assert!(error.unwrap_err().to_string().contains("codes only"));
}
