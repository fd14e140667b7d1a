#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::Ctgan;
use crate::{
    Result,
    encode::{CodeMatrix, ColumnLayout, EncodedRows, Layout, SubColumn},
    models::{
        Checkpoint, EpochReport, FitObserver, FitOptions, Fitted, ModelKind, OptionValue, TableModel, TrainingData,
    },
    noise::{BLOCK_ROWS, Noise},
    torch::DeviceKind,
};
use std::cell::Cell;

/// Keeps what it is told; cancels after so many polls.
#[derive(Default)]
struct Watch {
    epochs: Vec<EpochReport>,
    checkpoints: Vec<Checkpoint>,
    polls: Cell<u32>,
    cancel_at: Option<u32>,
}

impl FitObserver for Watch {
    fn epoch(&mut self, report: &EpochReport) -> Result<()> {
        self.epochs.push(*report);
        Ok(())
    }
    fn checkpoint(&mut self, checkpoint: Checkpoint) -> Result<()> {
        self.checkpoints.push(checkpoint);
        Ok(())
    }
    fn cancelled(&self) -> bool {
        self.polls.set(self.polls.get() + 1);
        self.cancel_at.is_some_and(|at| self.polls.get() > at)
    }
}

fn column(subcolumns: std::ops::Range<usize>, discrete: bool) -> ColumnLayout {
    ColumnLayout { subcolumns, discrete }
}

/// `a` in 0..3 with frequencies .6, .3, .1; `b` = `a` in 9 of 10 rows; a number in two modes whose mode is
/// `a > 0` and whose scalar follows `a`.
fn planted(rows: usize) -> (Layout, CodeMatrix) {
    let layout = Layout {
        columns: vec![column(0..1, true), column(1..2, true), column(2..4, false)],
        subcolumns: vec![
            SubColumn::Code { cardinality: 3 },
            SubColumn::Code { cardinality: 3 },
            SubColumn::Code { cardinality: 2 },
            SubColumn::Scalar,
        ],
    };
    let mut bits = vec![0u32; 4 * rows];
    Noise::new(9, b"data").purpose("rows").fill_u32(0, &mut bits);
    let mut out = EncodedRows::with_capacity(&layout, rows);
    for &[a, noisy, b, scalar] in bits.as_chunks::<4>().0 {
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

fn fit(layout: &Layout, rows: &CodeMatrix, options: &FitOptions) -> Fitted {
    Ctgan.fit(&TrainingData { layout, rows }, options, None, &mut Watch::default()).unwrap()
}

fn sample(model: &dyn TableModel, layout: &Layout, blocks: u64, threads: usize) -> Vec<EncodedRows> {
    let mut sampler = model.sampler(DeviceKind::Cpu, threads).unwrap();
    let noise = Noise::new(5, b"sample");
    let one = |block| {
        let mut out = EncodedRows::with_capacity(layout, BLOCK_ROWS);
        sampler.sample(block, &noise, &mut out).unwrap();
        assert_eq!(out.rows, BLOCK_ROWS);
        assert!(out.subcolumns.iter().all(|column| column.len() == BLOCK_ROWS));
        out
    };
    (0..blocks).map(one).collect()
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
    let count = |test: &dyn Fn(&EncodedRows, usize) -> bool| {
        let hits = |block: &EncodedRows| (0..block.rows).filter(|&row| test(block, row)).count();
        blocks.iter().map(hits).sum::<usize>() as f64 / (2 * BLOCK_ROWS) as f64
    };
    let frequent = count(&|block, row| block.subcolumns[0].code(row) == 0);
    assert!((frequent - 0.6).abs() < 0.06, "frequency of the first code: {frequent}");
    let equal = count(&|block, row| block.subcolumns[0].code(row) == block.subcolumns[1].code(row));
    assert!(equal > 0.8, "rows with b = a: {equal}");
    let mode = count(&|block, row| (block.subcolumns[0].code(row) > 0) == (block.subcolumns[2].code(row) == 1));
    assert!(mode > 0.85, "rows whose mode follows a: {mode}");
}
