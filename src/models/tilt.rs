//! Conditions, set right by the order that a model knows best.
//!
//! Rows under a condition are drawn in an order that begins with what the condition is about, and of the orders that a network
//! has learned, the table's is the one that it knows well. A row that was drawn with probability `q` has a probability `p` in the
//! table's order too, so that weights `p / q` say what the codes of a column ought to be like (self-normalised importance
//! sampling; truncated as in Ionides, "Truncated Importance Sampling", 2008). With that, the columns are drawn once more: the odds
//! of a column's codes move until its mean probabilities are what they ought to be (a step of iterative proportional fitting, Deming &
//! Stephan 1940, on one margin), its codes are drawn, and the columns after it see these. Relations between columns stay as the
//! model has them.

use super::{AnyOrderSampler, ConditionTable};
use crate::{
    Result,
    encode::{KnownCodes, Layout},
    noise::Noise,
    torch::kernels::math::{dot, sum, vectorised},
};
use std::ops::Range;

/// Rows drawn.
const ROWS: usize = 1 << 13;
/// Probabilities of a column that are held at once: those of all rows for up to 1,024 codes.
const AT_ONCE: usize = 1 << 23;
/// Times that odds move at most.
const MOVES: usize = 8;
/// By how much at most, each time, and what is not worth another one.
const MOST: f64 = 0.5;
const LEAST: f64 = 1e-3;

/// Sets right what `model` draws under the condition of `table`, and the table itself. The model completes the sub-columns `first`
/// before the others.
///
/// # Errors
/// libtorch failed.
pub fn set_right(
    table: &mut ConditionTable,
    model: &mut dyn AnyOrderSampler,
    layout: &Layout,
    first: &[usize],
) -> Result<()> {
    let cardinalities: Vec<usize> = (0..layout.subcolumns.len()).map(|k| layout.cardinality(k)).collect();
    let open = |k: &usize| !table.subcolumns().contains(k) && !first.contains(k);
    let order: Vec<usize> = first.iter().copied().chain((0..cardinalities.len()).filter(open)).collect();
    let at_their_turn = at_their_turn(table.subcolumns().iter().chain(&order));
    if at_their_turn.iter().all(|&at| at) {
        return Ok(());
    }
    let noise = Noise::new(0, b"tilt");
    let mut trial = Trial { model, cardinalities, at_their_turn, noise: &noise };
    let Proposals { rows, logs, means } = trial.propose(table, &order)?;
    let Some(weights) = weights(&trial.log_probabilities(&rows)?, &logs, table.balanced(&rows)) else {
        // By the table's order no such row is possible at all, so that nothing can be learned from it.
        return Ok(());
    };
    table.reweigh(&rows, &weights);
    let wanted = order.iter().zip(means).map(|(&k, means)| {
        let ratios = ratios(rows.subcolumn(k).unwrap_or_default(), &weights, trial.cardinalities[k]);
        let odds: Vec<f64> = means.iter().zip(ratios).map(|(mean, ratio)| mean * ratio).collect();
        let sum: f64 = odds.iter().sum();
        odds.into_iter().map(|odds| odds / sum).collect()
    });
    let wanted: Vec<Vec<f64>> = wanted.collect();
    let mut rows = table.spread(ROWS);
    for (&k, wanted) in order.iter().zip(&wanted) {
        trial.tilt(&mut rows, k, wanted)?;
    }
    Ok(())
}

/// Rows as the model draws them.
struct Proposals {
    /// All of their codes.
    rows: KnownCodes,
    /// Natural logarithms of their probabilities, those left out that are the same in the table's order.
    logs: Vec<f64>,
    /// Per sub-column in the order of drawing, the mean probability of every code.
    means: Vec<Vec<f64>>,
}

/// Which sub-columns, drawn in this order, are drawn given exactly those that stand before them in the table: their probabilities are
/// those of the table's order.
fn at_their_turn<'a>(order: impl Iterator<Item = &'a usize>) -> Vec<bool> {
    let order: Vec<usize> = order.copied().collect();
    (0..order.len()).map(|k| order[k] == k && order[..k].iter().all(|&before| before < k)).collect()
}

struct Trial<'a> {
    model: &'a mut dyn AnyOrderSampler,
    cardinalities: Vec<usize>,
    /// By sub-column.
    at_their_turn: Vec<bool>,
    noise: &'a Noise,
}

impl Trial<'_> {
    /// Calls `each` with some rows after the others and the probabilities of the codes of sub-column `k` in them.
    fn for_each_part(
        &mut self,
        rows: &KnownCodes,
        k: usize,
        mut each: impl FnMut(&mut dyn AnyOrderSampler, Range<usize>, Vec<f32>) -> Result<()>,
    ) -> Result<()> {
        let step = (AT_ONCE / self.cardinalities[k].max(1)).clamp(64, ROWS);
        for first in (0..ROWS).step_by(step) {
            let part = first..(first + step).min(ROWS);
            let odds = self.model.distribution(&rows.slice(part.clone()), k)?;
            each(&mut *self.model, part, odds)?;
        }
        Ok(())
    }

    /// Adds to `logs` the log-probabilities of `codes`, the codes of sub-column `k`, which `rows` then know. Where they are those of the
    /// table's order in any case, they are left out.
    fn learn(&mut self, rows: &mut KnownCodes, k: usize, codes: &[u32], logs: &mut [f64]) -> Result<()> {
        let width = self.cardinalities[k].max(1);
        if !self.at_their_turn[k] {
            self.for_each_part(rows, k, |_, part, odds| {
                for (odds, row) in odds.chunks(width).zip(part) {
                    logs[row] += f64::from(odds[codes[row] as usize]).ln();
                }
                Ok(())
            })?;
        }
        rows.set(k, codes.to_vec());
        Ok(())
    }

    fn propose(&mut self, table: &ConditionTable, order: &[usize]) -> Result<Proposals> {
        let told = table.spread(ROWS);
        let mut rows = KnownCodes::nothing(self.cardinalities.len(), ROWS);
        let mut logs = vec![0.0; ROWS];
        for &k in table.subcolumns() {
            self.learn(&mut rows, k, told.subcolumn(k).unwrap_or_default(), &mut logs)?;
        }
        let mut means = Vec::with_capacity(order.len());
        for &k in order {
            let uniform = self.uniform("proposal", k);
            let mut mean = vec![0.0; self.cardinalities[k]];
            let mut codes = vec![0; ROWS];
            let counts = !self.at_their_turn[k];
            self.for_each_part(&rows, k, |_, part, odds| {
                for (odds, row) in odds.chunks(mean.len().max(1)).zip(part) {
                    mean.iter_mut().zip(odds).for_each(|(mean, &odds)| *mean += f64::from(odds) / ROWS as f64);
                    codes[row] = at(odds, uniform[row]);
                    if counts {
                        logs[row] += f64::from(odds[codes[row] as usize]).ln();
                    }
                }
                Ok(())
            })?;
            rows.set(k, codes);
            means.push(mean);
        }
        Ok(Proposals { rows, logs, means })
    }

    /// Natural logarithms of the probabilities of rows in the table's order, the same left out.
    fn log_probabilities(&mut self, rows: &KnownCodes) -> Result<Vec<f64>> {
        let mut before = KnownCodes::nothing(self.cardinalities.len(), ROWS);
        let mut logs = vec![0.0; ROWS];
        for k in 0..self.cardinalities.len() {
            self.learn(&mut before, k, rows.subcolumn(k).unwrap_or_default(), &mut logs)?;
        }
        Ok(logs)
    }

    /// Has the model draw the codes of sub-column `k` as often as they are `wanted`, and `rows` know such codes. Some of the rows would
    /// not tell how often that is, so that a column of too many codes is left as the model draws it given those before.
    fn tilt(&mut self, rows: &mut KnownCodes, k: usize, wanted: &[f64]) -> Result<()> {
        let uniform = self.uniform("tilted", k);
        let mut codes = vec![0; ROWS];
        self.for_each_part(rows, k, |model, part, mut odds| {
            if part.len() == ROWS {
                let logs = moves(&odds, wanted);
                model.tilt(k, &logs)?;
                let factors: Vec<f32> = logs.iter().map(|log| log.exp()).collect();
                let odds = odds.chunks_mut(wanted.len().max(1)).flat_map(|odds| odds.iter_mut().zip(&factors));
                odds.for_each(|(odds, factor)| *odds *= factor);
            }
            for (odds, row) in odds.chunks(wanted.len().max(1)).zip(part) {
                codes[row] = at(odds, uniform[row]);
            }
            Ok(())
        })?;
        rows.set(k, codes);
        Ok(())
    }

    fn uniform(&self, what: &str, k: usize) -> Vec<f32> {
        let mut uniform = vec![0f32; ROWS];
        self.noise.purpose(&format!("{what}/{k}")).fill_uniform(0, &mut uniform);
        uniform
    }
}

/// The code at `uniform` of [0, 1) among odds laid side by side.
fn at(odds: &[f32], uniform: f32) -> u32 {
    let mut left = uniform * sum(odds);
    let place = odds.iter().position(|odds| {
        left -= odds;
        left < 0.0
    });
    // Rounding may leave the end open.
    place.or_else(|| odds.iter().rposition(|odds| *odds > 0.0)).unwrap_or(0) as u32
}

/// Weights by log-probabilities as they should be and as they are, 1 on average (for every code of a balanced column, if there is
/// one); none where nothing should be.
fn weights(should: &[f64], are: &[f64], balanced: Option<&[u32]>) -> Option<Vec<f64>> {
    let logs = || should.iter().zip(are).map(|(should, is)| should - is);
    let most = logs().fold(f64::NEG_INFINITY, f64::max);
    if !most.is_finite() {
        return None;
    }
    let mut weights: Vec<f64> = logs().map(|log| (log - most).exp()).collect();
    let level = |weights: &mut [f64]| {
        let groups = balanced.and_then(|codes| codes.iter().max()).map_or(1, |&code| code as usize + 1);
        let group = |row: usize| balanced.map_or(0, |codes| codes[row] as usize);
        let mut sums = vec![(0.0, 0.0); groups];
        weights.iter().enumerate().for_each(|(row, weight)| {
            sums[group(row)].0 += weight;
            sums[group(row)].1 += 1.0;
        });
        for (row, weight) in weights.iter_mut().enumerate() {
            let (sum, count) = sums[group(row)];
            *weight = if sum > 0.0 { *weight * count / sum } else { 1.0 };
        }
    };
    level(&mut weights);
    let most = (weights.len() as f64).sqrt();
    weights.iter_mut().for_each(|weight| *weight = weight.min(most));
    level(&mut weights);
    Some(weights)
}

/// Per code, the mean weight of the rows that have it, drawn towards 1 by as much as it is uncertain (an empirical Bayes
/// estimate; Efron & Morris 1973).
pub(super) fn ratios(codes: &[u32], weights: &[f64], cardinality: usize) -> Vec<f64> {
    let mut sums = vec![[0.0; 3]; cardinality];
    for (&code, &weight) in codes.iter().zip(weights) {
        let sums = &mut sums[code as usize];
        [1.0, weight, weight * weight].into_iter().zip(sums).for_each(|(more, sum)| *sum += more);
    }
    let all = codes.len() as f64;
    let spread = weights.iter().map(|weight| (weight - 1.0).powi(2)).sum::<f64>() / all;
    let found = sums.iter().map(|&[n, sum, squares]| {
        // One more row that is like all rows keeps two rows that happen to be alike from being certain.
        let within = (squares - sum * sum / n.max(1.0) + spread) / (n + 1.0);
        (n, sum / n.max(1.0), within / n.max(1.0))
    });
    let found: Vec<(f64, f64, f64)> = found.collect();
    let between =
        found.iter().map(|&(n, ratio, error)| n / all * ((ratio - 1.0).powi(2) - error)).sum::<f64>().max(0.0);
    let share = |error: f64| if between > 0.0 { between / (between + error) } else { 0.0 };
    let ratio = |(n, ratio, error)| if n > 0.0 { 1.0 + share(error) * (ratio - 1.0) } else { 1.0 };
    found.into_iter().map(ratio).collect()
}

vectorised! {
    /// Adds up the odds of every code, over what all of the row's odds are with their factors.
    fn add_shares(odds: &[f32], factors: &[f32], sums: &mut [f32]) {
        for odds in odds.chunks_exact(factors.len().max(1)) {
            let share = 1.0 / dot(odds, factors).max(f32::MIN_POSITIVE);
            sums.iter_mut().zip(odds).for_each(|(sum, odds)| *sum += odds * share);
        }
    }
}

/// What odds must be multiplied by, as natural logarithms, for their means over the rows to be those `wanted`.
#[allow(clippy::cast_possible_truncation)]
fn moves(odds: &[f32], wanted: &[f64]) -> Vec<f32> {
    let width = wanted.len().max(1);
    let rows = (odds.len() / width) as f64;
    // A row more of either keeps those of codes that hardly any row has from moving by chance.
    let row = 1.0 / ROWS as f64;
    let mut logs = vec![0f64; wanted.len()];
    for _ in 0..MOVES {
        let factors: Vec<f32> = logs.iter().map(|log| log.exp() as f32).collect();
        let mut means = vec![0f32; wanted.len()];
        add_shares(odds, &factors, &mut means);
        let mut furthest = 0f64;
        for (((log, wanted), mean), factor) in logs.iter_mut().zip(wanted).zip(means).zip(factors) {
            if *wanted > 0.0 {
                let step = ((wanted + row) / (f64::from(mean * factor) / rows + row)).ln().clamp(-MOST, MOST);
                *log += step;
                furthest = furthest.max(step.abs());
            }
        }
        if furthest < LEAST {
            break;
        }
    }
    logs.into_iter().map(|log| log as f32).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::models::{
        Condition,
        test_support::{Answers, codes},
    };

    /// `a` in 0..3 and `b` in 0..4, as `P` has them, in the table's order. In the other one, what `b` says of `a` is unknown: `a` is
    /// as often each of its codes.
    struct Lopsided {
        odds: [Vec<f32>; 2],
    }

    const P: [[f32; 4]; 3] = [[0.30, 0.05, 0.10, 0.05], [0.02, 0.18, 0.05, 0.05], [0.08, 0.02, 0.05, 0.05]];

    impl Lopsided {
        fn new() -> Self {
            Self { odds: [vec![1.0; 3], vec![1.0; 4]] }
        }
    }

    impl Answers for Lopsided {
        fn distribution(&mut self, known: &KnownCodes, subcolumn: usize) -> Result<Vec<f32>> {
            let of = |row: usize| {
                let odds: Vec<f32> = match (subcolumn, known.subcolumn(1 - subcolumn).map(|codes| codes[row] as usize))
                {
                    (0, None) => P.iter().map(|b| b.iter().sum()).collect(),
                    (0, Some(_)) => vec![1.0 / 3.0; 3],
                    (_, Some(a)) => P[a].to_vec(),
                    (_, None) => (0..4).map(|b| P.iter().map(|of| of[b]).sum()).collect(),
                };
                let odds: Vec<f32> = odds.iter().zip(&self.odds[subcolumn]).map(|(odds, more)| odds * more).collect();
                let sum: f32 = odds.iter().sum();
                odds.into_iter().map(move |odds| odds / sum).collect::<Vec<f32>>()
            };
            Ok((0..known.rows()).flat_map(of).collect())
        }
        fn tilt(&mut self, subcolumn: usize, logs: &[f32]) -> Result<()> {
            self.odds[subcolumn].iter_mut().zip(logs).for_each(|(odds, log)| *odds *= log.exp());
            Ok(())
        }
    }

    fn shares(known: &KnownCodes, k: usize, codes: usize) -> Vec<f64> {
        let mut shares = vec![0.0; codes];
        known.subcolumn(k).unwrap().iter().for_each(|&code| shares[code as usize] += 1.0 / known.rows() as f64);
        shares
    }

    fn near(found: &[f64], wanted: &[f64]) {
        let apart = found.iter().zip(wanted).map(|(found, wanted)| (found - wanted).abs()).fold(0.0, f64::max);
        assert!(found.len() == wanted.len() && apart < 0.02, "{found:?}, {wanted:?} wanted");
    }

    #[test]
    fn columns_come_to_be_as_the_tables_order_has_them_and_so_does_the_condition() {
        let layout = codes(&[3, 4]);
        let condition = Condition { shares: vec![(1, vec![1.0, 1.0, 0.0, 0.0])], equal: Vec::new(), balance: None };
        let mut model = Lopsided::new();
        let mut table = ConditionTable::new(&mut model, &layout, &condition).unwrap();
        set_right(&mut table, &mut model, &layout, &[]).unwrap();
        near(&shares(&table.spread(ROWS), 1, 4)[..2], &[0.40 / 0.65, 0.25 / 0.65]);
        let odds = Answers::distribution(&mut model, &table.spread(1), 0).unwrap();
        near(&odds.iter().map(|&p| f64::from(p)).collect::<Vec<_>>(), &[0.35 / 0.65, 0.20 / 0.65, 0.10 / 0.65]);
    }

    #[test]
    fn a_balanced_column_stays_so_and_the_others_are_set_right_given_it() {
        let layout = codes(&[3, 4]);
        let condition =
            Condition { shares: vec![(1, vec![1.0, 1.0, 0.0, 0.0])], equal: Vec::new(), balance: Some((1, None)) };
        let mut model = Lopsided::new();
        let mut table = ConditionTable::new(&mut model, &layout, &condition).unwrap();
        set_right(&mut table, &mut model, &layout, &[]).unwrap();
        near(&shares(&table.spread(ROWS), 1, 4)[..2], &[0.5, 0.5]);
        let wanted = [0, 1, 2].map(|a| f64::from(P[a][0]) / 0.8 + f64::from(P[a][1]) / 0.5);
        let odds = Answers::distribution(&mut model, &table.spread(1), 0).unwrap();
        near(&odds.iter().map(|&p| f64::from(p)).collect::<Vec<_>>(), &wanted);
    }

    #[test]
    fn what_is_drawn_in_the_tables_order_anyway_stays_as_it_is() {
        let layout = codes(&[3, 4]);
        let condition = Condition { shares: vec![(0, vec![0.0, 1.0, 1.0])], equal: Vec::new(), balance: None };
        let mut model = Lopsided::new();
        let mut table = ConditionTable::new(&mut model, &layout, &condition).unwrap();
        let before = table.clone();
        set_right(&mut table, &mut model, &layout, &[]).unwrap();
        assert!(table == before && model.odds.iter().flatten().all(|odds| *odds == 1.0), "{:?}", model.odds);
        assert_eq!(at_their_turn([2, 0, 1, 3].iter()), [false, false, false, true]);
        assert_eq!(at_their_turn([1, 0, 2, 3].iter()), [false, false, true, true]);
        assert_eq!(at_their_turn([0, 2, 1].iter()), [true, false, false]);
    }

    #[test]
    fn what_is_uncertain_counts_less() {
        // Code 0 has 4,000 rows that weigh 1.5 or .5, code 1 as many that weigh .6 or .9, code 2 four rows that weigh 4.
        let groups = [(0, 4000, [0.5, 1.5, 1.5, 1.5]), (1, 4000, [0.6, 0.9, 0.6, 0.9]), (2, 4, [4.0; 4])];
        let rows = groups.iter().flat_map(|&(code, rows, weights)| (0..rows).map(move |row| (code, weights[row % 4])));
        let (codes, weights): (Vec<u32>, Vec<f64>) = rows.unzip();
        let ratios = ratios(&codes, &weights, 4);
        assert!((ratios[0] - 1.25).abs() < 0.001 && (ratios[1] - 0.75).abs() < 0.001, "{ratios:?}");
        assert!(ratios[2] > 1.5 && ratios[2] < 3.9, "{ratios:?}");
        assert_eq!(ratios[3], 1.0, "no row has it");
        let even = super::ratios(&codes[..8000], &vec![1.0; 8000], 2);
        assert_eq!(even, [1.0, 1.0]);
    }
}
