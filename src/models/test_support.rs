//! What the tests of models share: an observer, rows sampled and compared.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::{
    AnyOrderSampler, Checkpoint, ContextSampler, EpochReport, FitObserver, FitOptions, Fitted, ModelKind,
    SamplerSettings, TableModel, TrainingData,
};
use crate::{
    Result,
    encode::{
        CodeMatrix, ColumnLayout, EncodedRows, KnownCodes, Layout, SubColumn,
        SubColumnData::{self, Scalar},
        UNKNOWN,
    },
    noise::{BLOCK_ROWS, Noise},
    torch::DeviceKind,
};
use std::{cell::Cell, ops::Range};

/// Keeps what it is told; cancels after so many polls.
#[derive(Default)]
pub(super) struct Watch {
    pub(super) epochs: Vec<EpochReport>,
    pub(super) checkpoints: Vec<Checkpoint>,
    pub(super) polls: Cell<u32>,
    pub(super) cancel_at: Option<u32>,
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

/// A sampler of which a test asks some things only.
pub(super) trait Answers: Send {
    fn distribution(&mut self, known: &KnownCodes, subcolumn: usize) -> Result<Vec<f32>>;
    fn log_probability(&mut self, _: &KnownCodes) -> Result<Vec<f64>> {
        panic!("not asked")
    }
    fn tilt(&mut self, _: usize, _: &[f32]) -> Result<()> {
        panic!("not asked")
    }
}

impl<T: Answers> ContextSampler for T {
    fn complete(&mut self, _: u64, _: &Noise, _: &KnownCodes, _: &mut EncodedRows) -> Result<()> {
        panic!("not asked")
    }
}

impl<T: Answers> AnyOrderSampler for T {
    fn tilt(&mut self, subcolumn: usize, logs: &[f32]) -> Result<()> {
        Answers::tilt(self, subcolumn, logs)
    }
    fn distribution(&mut self, known: &KnownCodes, subcolumn: usize) -> Result<Vec<f32>> {
        Answers::distribution(self, known, subcolumn)
    }
    fn log_probability(&mut self, known: &KnownCodes) -> Result<Vec<f64>> {
        Answers::log_probability(self, known)
    }
    fn log_weight(&mut self, _: &KnownCodes, _: &KnownCodes) -> Result<Vec<f64>> {
        panic!("not asked")
    }
}

pub(super) fn column(subcolumns: Range<usize>, discrete: bool) -> ColumnLayout {
    ColumnLayout { subcolumns, discrete }
}

/// A layout of one code per column.
pub(super) fn codes(cardinalities: &[u32]) -> Layout {
    Layout {
        given: 0,
        siblings: 0..0,
        columns: (0..cardinalities.len()).map(|k| column(k..k + 1, true)).collect(),
        subcolumns: cardinalities.iter().map(|&cardinality| SubColumn::codes(cardinality)).collect(),
    }
}

/// `N` random words for each of `rows` rows.
pub(super) fn words<const N: usize>(rows: usize) -> Vec<[u32; N]> {
    let mut bits = vec![0u32; N * rows];
    Noise::new(9, b"data").purpose("rows").fill_u32(0, &mut bits);
    bits.as_chunks::<N>().0.to_vec()
}

pub(super) fn fit(kind: &dyn ModelKind, layout: &Layout, rows: &EncodedRows, options: &FitOptions) -> Fitted {
    let rows = &CodeMatrix::from(rows.clone());
    kind.fit(&TrainingData { layout, rows }, options, None, &mut Watch::default()).unwrap()
}

pub(super) fn sample(model: &dyn TableModel, layout: &Layout, blocks: u64, threads: usize) -> Vec<EncodedRows> {
    let mut sampler = model.sampler(&SamplerSettings::new(DeviceKind::Cpu, threads)).unwrap();
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

/// Rows whose first code became their context, and with it a second sub-column that says nothing.
pub(super) fn with_context((mut layout, mut rows): (Layout, EncodedRows)) -> (Layout, EncodedRows) {
    let second = SubColumn::codes(40);
    layout.subcolumns.insert(1, second);
    let own = layout.columns.split_off(1).into_iter();
    let shifted = |own: ColumnLayout| column(own.subcolumns.start + 1..own.subcolumns.end + 1, own.discrete);
    layout.columns = own.map(shifted).collect();
    layout.given = 2;
    let mut codes = SubColumnData::with_capacity(second, rows.rows);
    (0..rows.rows as u32).for_each(|row| codes.push_code(row * 7 % 40));
    rows.subcolumns.insert(1, codes);
    (layout, rows)
}

/// Two blocks of rows given contexts like those of [`with_context`], row `r` the code `r % 3`; they must be the same by more
/// threads and by the model as it is stored.
pub(super) fn given_contexts(kind: &dyn ModelKind, layout: &Layout, model: &dyn TableModel) -> Vec<EncodedRows> {
    // A block that ends within a tile; contexts that are not known.
    let mut known = KnownCodes::nothing(layout.subcolumns.len(), 2500);
    known.set(0, (0..2500).map(|row| row % 3).collect());
    known.set(1, (0..2500).map(|row| if row % 5 == 0 { UNKNOWN } else { row % 40 }).collect());
    let complete = |model: &dyn TableModel, threads| -> Vec<EncodedRows> {
        let mut sampler = model.context_sampler(&SamplerSettings::new(DeviceKind::Cpu, threads)).unwrap();
        let noise = Noise::new(5, b"sample");
        let one = |block| {
            let mut out = EncodedRows::with_capacity(layout, BLOCK_ROWS);
            sampler.complete(block, &noise, &known, &mut out).unwrap();
            assert_eq!(out.rows, known.rows());
            assert!(out.subcolumns.iter().all(|column| column.len() == known.rows()));
            out
        };
        (0..2).map(one).collect()
    };
    let blocks = complete(model, 1);
    let loaded = kind.load(layout, model.state().unwrap()).unwrap();
    assert!(same(&blocks, &complete(&*loaded, 3)));
    assert!(!same(&blocks[..1], &blocks[1..]));
    for (block, row) in blocks.iter().flat_map(|block| (0..block.rows).map(move |row| (block, row))) {
        let second = if row % 5 == 0 { 0 } else { row as u32 % 40 };
        assert_eq!((block.subcolumns[0].code(row), block.subcolumns[1].code(row)), (row as u32 % 3, second));
    }
    blocks
}

/// The share of the rows of `blocks` that pass.
pub(super) fn share(blocks: &[EncodedRows], test: impl Fn(&EncodedRows, usize) -> bool) -> f64 {
    let hits = blocks.iter().map(|block| (0..block.rows).filter(|&row| test(block, row)).count()).sum::<usize>();
    hits as f64 / blocks.iter().map(|block| block.rows).sum::<usize>() as f64
}

/// Whether the blocks are the same, bit by bit.
pub(super) fn same(a: &[EncodedRows], b: &[EncodedRows]) -> bool {
    let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    let same = |a: &EncodedRows, b: &EncodedRows| {
        a.rows == b.rows
            && a.subcolumns.len() == b.subcolumns.len()
            && a.subcolumns.iter().zip(&b.subcolumns).all(|pair| match pair {
                (Scalar(a), Scalar(b)) => bits(a) == bits(b),
                (a, b) => a == b,
            })
    };
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
}
