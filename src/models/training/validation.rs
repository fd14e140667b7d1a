//! The score that picks the kept weights: held-out rows against generated ones, in encoded space.
//!
//! Every code sub-column, joined with the scalar that follows it, is a *feature*. The score is the mean of
//! 1 - TVD (total variation distance) over features, finely binned, and over pairs of features, coarsely binned:
//! the shapes and the pair trends that users judge by.

use crate::{
    encode::{EncodedRows, KnownCodes, Layout, SubColumn},
    noise::{BLOCK_ROWS, Noise},
};

/// Quantile bins of a scalar within each code.
const SCALAR_BINS: usize = 20;
/// Bins of a code by itself; rarer codes share the last.
const FINE_BINS: usize = 256;
/// Bins of a feature in a pair.
const COARSE_BINS: usize = 16;
/// Pairs looked at; more are sampled.
const PAIRS: usize = 2000;
/// Held-out rows at most.
const HELD_OUT: usize = 5000;

/// The rows of a table to train on, and those to validate with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::models) struct Split {
    /// To train on; never empty for a table with rows.
    pub(in crate::models) train: Vec<u32>,
    /// To validate with: a tenth, 5,000 at most; the training rows themselves where that is none.
    pub(in crate::models) held_out: Vec<u32>,
}

impl Split {
    /// Splits `rows` rows by `seed`.
    pub(super) fn new(rows: usize, seed: u64) -> Self {
        let mut train: Vec<u32> = (0..rows as u32).collect();
        let count = (rows / 10).min(HELD_OUT);
        if count == 0 {
            return Self { held_out: train.clone(), train };
        }
        let mut bits = vec![0u32; count];
        Noise::new(seed, b"training").purpose("held out").fill_u32(0, &mut bits);
        for (i, bits) in bits.into_iter().enumerate() {
            let other = i + ((u64::from(bits) * (rows - i) as u64) >> 32) as usize;
            train.swap(i, other);
        }
        let mut rest = train.split_off(count);
        train.sort_unstable();
        rest.sort_unstable();
        Self { train: rest, held_out: train }
    }

    /// As many rows to train on as there are held-out ones, from all over the table: neighbours are often alike.
    pub(in crate::models) fn learned_as_many(&self) -> Vec<u32> {
        let (rows, wanted) = (self.train.len(), self.held_out.len());
        (0..wanted).map(|i| self.train[i * rows / wanted]).collect()
    }
}

/// The distributions of the held-out rows.
#[derive(Debug)]
pub(super) struct Validator {
    features: Vec<Feature>,
    pairs: Vec<(usize, usize)>,
    fine: Vec<Vec<f64>>,
    joint: Vec<Vec<f64>>,
    given: usize,
    held_out: EncodedRows,
}

/// How a feature is binned.
#[derive(Debug)]
struct Feature {
    code: Option<usize>,
    scalar: Option<usize>,
    /// Per code: bin, and edges of the scalar (whose bins follow on).
    fine: Vec<(usize, Vec<f32>)>,
    coarse: Vec<(usize, Vec<f32>)>,
    fine_bins: usize,
    coarse_bins: usize,
}

impl Validator {
    /// Looks at the held-out rows.
    pub(super) fn new(layout: &Layout, held_out: EncodedRows) -> Self {
        let mut features: Vec<Feature> = Vec::new();
        for (index, subcolumn) in layout.subcolumns.iter().enumerate() {
            match subcolumn {
                SubColumn::Code { cardinality, .. } => {
                    let scalar =
                        matches!(layout.subcolumns.get(index + 1), Some(SubColumn::Scalar)).then_some(index + 1);
                    features.push(Feature::new(Some(index), scalar, *cardinality as usize, &held_out));
                }
                SubColumn::Scalar if index == 0 || layout.subcolumns[index - 1] == SubColumn::Scalar => {
                    features.push(Feature::new(None, Some(index), 1, &held_out));
                }
                SubColumn::Scalar => {}
            }
        }
        let all = (0..features.len()).flat_map(|a| (0..a).map(move |b| (b, a)));
        let count = features.len() * features.len().saturating_sub(1) / 2;
        let stride = count.div_ceil(PAIRS).max(1);
        let mut validator = Self {
            pairs: all.step_by(stride).collect(),
            fine: Vec::new(),
            joint: Vec::new(),
            features,
            given: layout.given,
            held_out,
        };
        (validator.fine, validator.joint) = validator.histograms(std::slice::from_ref(&validator.held_out));
        validator
    }

    /// The contexts of held-out rows, again and again, for a block of generated ones.
    pub(super) fn contexts(&self, block: u64) -> KnownCodes {
        let (first, all) = (block as usize * BLOCK_ROWS, self.held_out.rows.max(1));
        let mut known = KnownCodes::nothing(self.held_out.subcolumns.len(), BLOCK_ROWS);
        for (at, codes) in self.held_out.subcolumns.iter().enumerate().take(self.given) {
            known.set(at, (first..first + BLOCK_ROWS).map(|row| codes.code(row % all)).collect());
        }
        known
    }

    /// The score of generated rows: in 0..=1, higher is better; 1 where there is nothing to compare.
    pub(super) fn score(&self, generated: &[EncodedRows]) -> f64 {
        if self.features.is_empty() {
            return 1.0;
        }
        let (fine, joint) = self.histograms(generated);
        let mean = |ours: &[Vec<f64>], theirs: &[Vec<f64>]| {
            let overlap = |(a, b): (&Vec<f64>, &Vec<f64>)| -> f64 { a.iter().zip(b).map(|(a, b)| a.min(*b)).sum() };
            ours.iter().zip(theirs).map(overlap).sum::<f64>() / ours.len().max(1) as f64
        };
        let shapes = mean(&self.fine, &fine);
        if self.pairs.is_empty() { shapes } else { (shapes + mean(&self.joint, &joint)) / 2.0 }
    }

    fn histograms(&self, blocks: &[EncodedRows]) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
        let total: usize = blocks.iter().map(|block| block.rows).sum();
        let unit = 1.0 / total.max(1) as f64;
        let mut fine: Vec<Vec<f64>> = self.features.iter().map(|f| vec![0.0; f.fine_bins]).collect();
        let size = |&(a, b): &(usize, usize)| self.features[a].coarse_bins * self.features[b].coarse_bins;
        let mut joint: Vec<Vec<f64>> = self.pairs.iter().map(|pair| vec![0.0; size(pair)]).collect();
        for block in blocks {
            let mut coarse = Vec::with_capacity(self.features.len());
            for (feature, fine) in self.features.iter().zip(&mut fine) {
                (0..block.rows).for_each(|row| fine[feature.bin(&feature.fine, block, row)] += unit);
                coarse.push((0..block.rows).map(|row| feature.bin(&feature.coarse, block, row)).collect::<Vec<_>>());
            }
            for (&(a, b), joint) in self.pairs.iter().zip(&mut joint) {
                let width = self.features[b].coarse_bins;
                for (&bin_a, &bin_b) in coarse[a].iter().zip(&coarse[b]) {
                    joint[bin_a * width + bin_b] += unit;
                }
            }
        }
        (fine, joint)
    }
}

impl Feature {
    fn new(code: Option<usize>, scalar: Option<usize>, cardinality: usize, rows: &EncodedRows) -> Self {
        let mut counts = vec![0usize; cardinality];
        let mut values: Vec<Vec<f32>> = vec![Vec::new(); if scalar.is_some() { cardinality } else { 0 }];
        for row in 0..rows.rows {
            let at = code.map_or(0, |code| rows.subcolumns[code].code(row) as usize);
            counts[at] += 1;
            if let Some(crate::encode::SubColumnData::Scalar(scalars)) = scalar.map(|s| &rows.subcolumns[s]) {
                values[at].push(scalars[row]);
            }
        }
        values.iter_mut().for_each(|values| values.sort_unstable_by(f32::total_cmp));
        let used = counts.iter().filter(|&&count| count > 0).count().max(1);
        let (fine, fine_bins) = bins(&counts, &values, FINE_BINS, SCALAR_BINS);
        let (coarse, coarse_bins) = bins(&counts, &values, COARSE_BINS, (COARSE_BINS / used).max(1));
        Self { code, scalar, fine, coarse, fine_bins, coarse_bins }
    }

    fn bin(&self, bins: &[(usize, Vec<f32>)], table: &EncodedRows, row: usize) -> usize {
        let code = self.code.map_or(0, |code| table.subcolumns[code].code(row) as usize);
        let (first, edges) = &bins[code];
        match self.scalar.map(|s| &table.subcolumns[s]) {
            Some(crate::encode::SubColumnData::Scalar(values)) => {
                first + edges.partition_point(|&edge| edge <= values[row])
            }
            _ => *first,
        }
    }
}

/// Bins by code: the most frequent codes own theirs, the others share the last; a scalar's quantiles split them.
fn bins(counts: &[usize], values: &[Vec<f32>], limit: usize, splits: usize) -> (Vec<(usize, Vec<f32>)>, usize) {
    let mut order: Vec<usize> = (0..counts.len()).collect();
    order.sort_by_key(|&code| std::cmp::Reverse(counts[code]));
    let mut bins = vec![(0, Vec::new()); counts.len()];
    let mut next = 0;
    for (rank, &code) in order.iter().enumerate() {
        if rank >= limit && counts.len() > limit {
            bins[code] = (next - 1, Vec::new());
            continue;
        }
        let edges = values.get(code).map_or_else(Vec::new, |values| edges(values, splits));
        let width = edges.len() + 1;
        bins[code] = (next, edges);
        next += width;
    }
    (bins, next)
}

/// Distinct inner quantiles of sorted `values`, with ten of them per bin at least.
fn edges(values: &[f32], splits: usize) -> Vec<f32> {
    let splits = splits.min(values.len() / 10).max(1);
    let mut edges: Vec<f32> = (1..splits).map(|i| values[i * values.len() / splits]).collect();
    edges.dedup();
    edges
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::{ColumnLayout, SubColumnData};

    fn table(rows: usize, shift: u32) -> (Layout, EncodedRows) {
        let layout = Layout {
            given: 0,
            siblings: 0..0,
            columns: vec![
                ColumnLayout { subcolumns: 0..1, discrete: true },
                ColumnLayout { subcolumns: 1..3, discrete: false },
            ],
            subcolumns: vec![SubColumn::codes(4), SubColumn::codes(2), SubColumn::Scalar],
        };
        let mut out = EncodedRows::with_capacity(&layout, rows);
        for row in 0..rows as u32 {
            out.subcolumns[0].push_code((row + shift) % 4);
            out.subcolumns[1].push_code(row % 2);
            out.subcolumns[2].push_scalar((row % 97) as f32 / 100.0);
        }
        out.rows = rows;
        (layout, out)
    }

    #[test]
    fn a_split_is_a_partition_and_depends_on_the_seed() {
        let split = Split::new(1000, 1);
        assert_eq!((split.train.len(), split.held_out.len()), (900, 100));
        let mut all = [split.train.clone(), split.held_out.clone()].concat();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..1000));
        assert_eq!(split, Split::new(1000, 1));
        assert_ne!(split, Split::new(1000, 2));
        assert_eq!(Split::new(1_000_000, 1).held_out.len(), 5000);
        assert_eq!(Split::new(3, 1), Split { train: vec![0, 1, 2], held_out: vec![0, 1, 2] });
    }

    #[test]
    fn as_many_learned_rows_as_held_out_ones_are_from_all_over_the_table() {
        let split = Split::new(1000, 1);
        let learned = split.learned_as_many();
        assert!(learned.iter().eq(split.train.iter().step_by(9)));
        assert_eq!(Split::new(3, 1).learned_as_many(), [0, 1, 2]);
    }

    #[test]
    fn the_score_is_one_for_the_same_rows_and_falls_with_shape_and_dependence() {
        let (layout, real) = table(4000, 0);
        let validator = Validator::new(&layout, real.clone());
        assert!((validator.score(std::slice::from_ref(&real)) - 1.0).abs() < 1e-9);
        // The same shapes, another dependence between the two columns.
        let (_, shifted) = table(4000, 1);
        let dependence = validator.score(&[shifted]);
        assert!((0.4..0.9).contains(&dependence), "{dependence}");
        let mut constant = real.clone();
        constant.subcolumns[2] = SubColumnData::Scalar(vec![0.5; 4000]);
        let shape = validator.score(&[constant]);
        assert!((0.2..0.8).contains(&shape), "{shape}");
    }
}
