//! Conditions on generated rows, without rejection: the joint distribution of the columns they are about is worked out
//! before the first row, rows draw those columns from it, and the model draws the others given them.

use super::{AnyOrderSampler, tilt::ratios, weights::spread};
use crate::{
    Result, SynthError,
    encode::{KnownCodes, Layout, UNKNOWN},
    noise::{BLOCK_ROWS, Noise},
};

/// Combinations of codes kept at most; where there are more, so many are drawn by systematic resampling
/// (Kitagawa 1996, "Monte Carlo Filter and Smoother", appendix), each with the same weight.
const COMBINATIONS: usize = 1 << 18;

/// What the rows must satisfy.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Condition {
    /// Per sub-column that is restricted, the share of each code's values that will do.
    pub shares: Vec<(usize, Vec<f32>)>,
    /// Sub-columns of which one code says that they are equal to another one.
    pub equal: Vec<EqualTo>,
    /// The sub-column whose allowed codes are to be equally frequent, and a code that does not count (null's).
    pub balance: Option<(usize, Option<u32>)>,
}

/// A sub-column that is restricted by what it is equal to.
#[derive(Debug, Clone, PartialEq)]
pub struct EqualTo {
    /// The sub-column, and its code for being equal.
    pub subcolumn: (usize, u32),
    /// The other one.
    pub base: usize,
    /// The share of each code's values of that one that will do then, of those that do in any case.
    pub shares: Vec<f32>,
}

/// The joint distribution of the columns of a [`Condition`], given that it holds.
#[derive(Debug, Clone, PartialEq)]
pub struct ConditionTable {
    subcolumns: Vec<usize>,
    /// Per sub-column, its code in each combination.
    codes: Vec<Vec<u32>>,
    /// Weights of the combinations, summed up.
    cumulated: Vec<f64>,
    /// Whether the codes of the first of them are equally heavy.
    balanced: bool,
    all: usize,
}

/// Combinations that say which columns follow from the condition.
const ASKED: usize = 128;
/// Nats that it must tell about a column for it to be drawn before its turn.
const TOLD: f64 = 0.02;
/// Nats that may be left open then.
const DOUBT: f64 = 0.1;

impl ConditionTable {
    /// Asks `model` for the distribution: of the first column, of the second given the first, and so on (the chain rule).
    ///
    /// # Errors
    /// The model has never heard of such rows; libtorch failed.
    pub fn new(model: &mut dyn AnyOrderSampler, layout: &Layout, condition: &Condition) -> Result<Self> {
        let all = layout.subcolumns.len();
        let mut columns = condition.shares.clone();
        for EqualTo { base, .. } in &condition.equal {
            if columns.iter().all(|(subcolumn, _)| subcolumn != base) {
                columns.push((*base, vec![1.0; layout.cardinality(*base)]));
            }
        }
        if let Some((balance, without)) = condition.balance {
            let at = columns.iter().position(|(subcolumn, _)| *subcolumn == balance);
            let mut shares = at.map_or_else(|| vec![1.0; layout.cardinality(balance)], |at| columns.remove(at).1);
            if let Some(share) = without.and_then(|code| shares.get_mut(code as usize)) {
                *share = 0.0;
            }
            columns.insert(0, (balance, shares));
        }
        let balanced = condition.balance.is_some();
        let mut table = Self { subcolumns: Vec::new(), codes: Vec::new(), cumulated: Vec::new(), balanced, all };
        let mut weights = vec![1.0];
        for (subcolumn, shares) in columns {
            weights = table.extend(model, subcolumn, (&shares, &condition.equal), &weights)?;
        }
        table.weigh(&mut weights);
        let sum = table.total();
        if !(sum.is_finite() && sum > 0.0) {
            return Err(SynthError::Model("no row that it can generate satisfies the whole condition".to_owned()));
        }
        Ok(table)
    }

    /// Takes up the weights of the combinations.
    fn weigh(&mut self, weights: &mut [f64]) {
        if self.balanced {
            self.balance(weights);
        }
        let mut sum = 0.0;
        let sums = weights.iter().map(|weight| {
            sum += weight;
            sum
        });
        self.cumulated = sums.collect();
    }

    /// Weighs the combinations by what rows of them turned out to weigh, column by column.
    pub(super) fn reweigh(&mut self, rows: &KnownCodes, weights: &[f64]) {
        let mut left = weights.to_vec();
        let before = std::iter::once(&0.0).chain(&self.cumulated);
        let mut combinations: Vec<f64> = self.cumulated.iter().zip(before).map(|(sum, before)| sum - before).collect();
        let free = usize::from(self.balanced);
        for (&column, codes) in self.subcolumns.iter().zip(&self.codes).skip(free) {
            let of_rows = rows.subcolumn(column).unwrap_or_default();
            let cardinality = codes.iter().chain(of_rows).max().map_or(0, |&code| code as usize + 1);
            let ratios = ratios(of_rows, &left, cardinality);
            combinations.iter_mut().zip(codes).for_each(|(weight, &code)| *weight *= ratios[code as usize]);
            left.iter_mut()
                .zip(of_rows)
                .for_each(|(left, &code)| *left /= ratios[code as usize].max(f64::MIN_POSITIVE));
        }
        self.weigh(&mut combinations);
    }

    /// The sub-columns of the condition, in the order in which the model was asked for them.
    pub(super) fn subcolumns(&self) -> &[usize] {
        &self.subcolumns
    }

    /// The codes of `rows` that are equally frequent, if some are.
    pub(super) fn balanced<'a>(&self, rows: &'a KnownCodes) -> Option<&'a [u32]> {
        self.subcolumns.first().filter(|_| self.balanced).and_then(|&column| rows.subcolumn(column))
    }

    /// Rows that have every combination as often as it weighs, and so do the first of them.
    pub(super) fn spread(&self, rows: usize) -> KnownCodes {
        let total = self.total();
        self.combinations((0..rows).map(|row| spread(row as f64 + 0.5) * total))
    }

    /// The sub-columns that follow from those of the condition nearly without doubt, the surest first.
    ///
    /// A network that knows every order has rarely seen a few columns alone: what a missing employer says about the age it
    /// has learned together with a missing occupation. What follows is therefore best drawn first, and the rest in the
    /// table's order, which is learned best.
    ///
    /// # Errors
    /// libtorch failed.
    pub fn sure(&self, model: &mut dyn AnyOrderSampler) -> Result<Vec<usize>> {
        let known = self.spread(ASKED);
        let nothing = KnownCodes::nothing(self.all, 1);
        let mut sure = Vec::new();
        for subcolumn in (0..self.all).filter(|k| !self.subcolumns.contains(k)) {
            let any = model.distribution(&nothing, subcolumn)?;
            let (mut told, mut open) = (0.0, 0.0);
            for given in model.distribution(&known, subcolumn)?.chunks(any.len().max(1)) {
                for (&p, &q) in given.iter().zip(&any).filter(|(p, _)| **p > 0.0) {
                    told += f64::from(p) * f64::from(p / q).ln() / ASKED as f64;
                    open -= f64::from(p) * f64::from(p).ln() / ASKED as f64;
                }
            }
            if told > TOLD && open < DOUBT {
                sure.push((subcolumn, open));
            }
        }
        sure.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
        Ok(sure.into_iter().map(|(subcolumn, _)| subcolumn).collect())
    }

    /// Adds a sub-column to the combinations, whose new weights it returns.
    fn extend(
        &mut self,
        model: &mut dyn AnyOrderSampler,
        subcolumn: usize,
        (shares, equal): (&[f32], &[EqualTo]),
        weights: &[f64],
    ) -> Result<Vec<f64>> {
        let bounds = self.bounds(subcolumn, equal);
        let mut next: (Vec<u32>, Vec<u32>, Vec<f64>) = Default::default();
        for first in (0..weights.len()).step_by(BLOCK_ROWS) {
            let rows = first..(first + BLOCK_ROWS).min(weights.len());
            let mut known = KnownCodes::nothing(self.all, rows.len());
            for (&column, codes) in self.subcolumns.iter().zip(&self.codes) {
                known.set(column, codes[rows.clone()].to_vec());
            }
            let probabilities = model.distribution(&known, subcolumn)?;
            for (row, probabilities) in rows.zip(probabilities.chunks(shares.len().max(1))) {
                for (code, (&probability, &share)) in probabilities.iter().zip(shares).enumerate() {
                    let bound: f32 = bounds.iter().map(|bound| bound(row, code)).product();
                    let weight = weights[row] * f64::from(probability) * f64::from(share * bound);
                    if weight > 0.0 {
                        next.0.push(row as u32);
                        next.1.push(code as u32);
                        next.2.push(weight);
                    }
                }
            }
        }
        drop(bounds);
        let (mut from, mut codes, mut weights) = next;
        if weights.len() > COMBINATIONS {
            let chosen = resample(&weights);
            let total: f64 = weights.iter().sum();
            from = chosen.iter().map(|&i| from[i]).collect();
            codes = chosen.iter().map(|&i| codes[i]).collect();
            weights = vec![total / chosen.len() as f64; chosen.len()];
        }
        for column in &mut self.codes {
            *column = from.iter().map(|&row| column[row as usize]).collect();
        }
        self.subcolumns.push(subcolumn);
        self.codes.push(codes);
        Ok(weights)
    }

    /// By combination and code of sub-column `subcolumn`, the shares of what is equal that will do.
    fn bounds<'a>(&'a self, subcolumn: usize, equal: &'a [EqualTo]) -> Vec<Box<dyn Fn(usize, usize) -> f32 + 'a>> {
        let codes = |of: usize| Some(&self.codes[self.subcolumns.iter().position(|&known| known == of)?]);
        let bound = |equal: &'a EqualTo| -> Option<Box<dyn Fn(usize, usize) -> f32 + 'a>> {
            let (own, same) = equal.subcolumn;
            if subcolumn == equal.base {
                let own = codes(own)?;
                return Some(Box::new(move |row, code| if own[row] == same { equal.shares[code] } else { 1.0 }));
            }
            let base = codes(equal.base).filter(|_| subcolumn == own)?;
            Some(Box::new(move |row, code| if code == same as usize { equal.shares[base[row] as usize] } else { 1.0 }))
        };
        equal.iter().filter_map(bound).collect()
    }

    /// Makes the codes of the first column equally heavy.
    fn balance(&self, weights: &mut [f64]) {
        let Some(codes) = self.codes.first() else { return };
        let mut sums = vec![0.0; codes.iter().max().map_or(0, |&code| code as usize + 1)];
        codes.iter().zip(&*weights).for_each(|(&code, weight)| sums[code as usize] += weight);
        codes.iter().zip(weights).for_each(|(&code, weight)| *weight /= sums[code as usize]);
    }

    /// The columns of the condition for the rows of block `block`.
    #[must_use]
    pub fn draw(&self, block: u64, noise: &Noise) -> KnownCodes {
        let mut bits = vec![0u32; BLOCK_ROWS];
        noise.purpose("condition").fill_u32(block, &mut bits);
        let scale = self.total() / 4_294_967_296.0;
        self.combinations(bits.iter().map(|&bits| f64::from(bits) * scale))
    }

    fn total(&self) -> f64 {
        self.cumulated.last().copied().unwrap_or(0.0)
    }

    /// The combinations at these places of the summed-up weights, a row each.
    fn combinations(&self, places: impl Iterator<Item = f64>) -> KnownCodes {
        let last = self.cumulated.len().saturating_sub(1);
        let at = |place: f64| self.cumulated.partition_point(|&sum| sum <= place).min(last);
        let rows: Vec<usize> = places.map(at).collect();
        let mut known = KnownCodes::nothing(self.all, rows.len());
        for (&column, codes) in self.subcolumns.iter().zip(&self.codes) {
            known.set(column, rows.iter().map(|&row| codes.get(row).copied().unwrap_or(UNKNOWN)).collect());
        }
        known
    }

    /// Bytes held.
    #[must_use]
    pub fn memory_size(&self) -> usize {
        self.cumulated.len() * (size_of::<f64>() + self.codes.len() * size_of::<u32>())
    }
}

/// [`COMBINATIONS`] indices, each as often as its weight says to within one.
fn resample(weights: &[f64]) -> Vec<usize> {
    let step = weights.iter().sum::<f64>() / COMBINATIONS as f64;
    let mut chosen = Vec::with_capacity(COMBINATIONS);
    let mut sum = 0.0;
    for (index, weight) in weights.iter().enumerate() {
        sum += weight;
        while chosen.len() < COMBINATIONS && (chosen.len() as f64 + 0.5) * step < sum {
            chosen.push(index);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::models::test_support::{Answers, codes};

    /// `a` in 0..2 with 0.75, 0.25; `b` in 0..4 with (a + b)-dependent weights.
    struct Known;

    const A: [f32; 2] = [0.75, 0.25];
    const B: [[f32; 4]; 2] = [[0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1]];

    impl Answers for Known {
        fn distribution(&mut self, known: &KnownCodes, subcolumn: usize) -> Result<Vec<f32>> {
            let a = |row: usize| known.subcolumn(0).map(|codes| codes[row] as usize);
            let of = |row| match (subcolumn, a(row)) {
                (0, _) => A.to_vec(),
                (1, Some(a)) => B[a].to_vec(),
                (1, None) => (0..4).map(|b| A[0] * B[0][b] + A[1] * B[1][b]).collect(),
                _ => vec![1.0 / 600.0; 600],
            };
            Ok((0..known.rows()).flat_map(of).collect())
        }
    }

    /// Shares of (a, b) among 40 blocks.
    fn shares_of(table: &ConditionTable) -> Vec<[f64; 4]> {
        let noise = Noise::new(1, b"condition");
        let mut out = vec![[0.0; 4]; 2];
        for block in 0..40 {
            let known = table.draw(block, &noise);
            let (a, b) = (known.subcolumn(0).unwrap(), known.subcolumn(1).unwrap());
            a.iter().zip(b).for_each(|(&a, &b)| out[a as usize][b as usize] += 1.0 / (40 * BLOCK_ROWS) as f64);
        }
        out
    }

    fn close(found: &[[f64; 4]], wanted: [[f64; 4]; 2]) {
        // Standard errors are at most .0013.
        let near = found.iter().flatten().zip(wanted.iter().flatten()).all(|(a, b)| (a - b).abs() < 0.006);
        assert!(near, "{found:?}");
    }

    #[test]
    fn what_is_equal_goes_by_what_it_is_equal_to() {
        // The last code of `b` is to have the first of `a`.
        let equal = || vec![EqualTo { subcolumn: (1, 3), base: 0, shares: vec![1.0, 0.0] }];
        let of_b = (1, vec![1.0, 0.0, 0.0, 1.0]);
        let joint = |shares: Vec<(usize, Vec<f32>)>| {
            let condition = Condition { shares, equal: equal(), balance: None };
            shares_of(&ConditionTable::new(&mut Known, &codes(&[2, 4]), &condition).unwrap())
        };
        // By `a` and then `b`; by `b` and then `a`, which is nobody's condition.
        let all = 0.075 + 0.3 + 0.175;
        close(
            &joint(vec![(0, vec![1.0, 1.0]), of_b.clone()]),
            [[0.075 / all, 0.0, 0.0, 0.3 / all], [0.175 / all, 0.0, 0.0, 0.0]],
        );
        let (first, last) = (0.75 * 0.1 + 0.25 * 0.7, 0.75 * 0.4 + 0.25 * 0.1);
        let all = first + 0.75 * last;
        let wanted = [[0.75 * first / all, 0.0, 0.0, 0.75 * last / all], [0.25 * first / all, 0.0, 0.0, 0.0]];
        close(&joint(vec![of_b]), wanted);
    }

    #[test]
    fn the_joint_distribution_of_two_restricted_columns_is_exact() {
        let layout = codes(&[2, 4, 600]);
        // b in {0, 1}, of 1 only half of the values.
        let condition = Condition {
            shares: vec![(0, vec![1.0, 1.0]), (1, vec![1.0, 0.5, 0.0, 0.0])],
            equal: Vec::new(),
            balance: None,
        };
        let table = ConditionTable::new(&mut Known, &layout, &condition).unwrap();
        let (p, q) = (0.75 * 0.1 + 0.75 * 0.2 * 0.5, 0.25 * 0.7 + 0.25 * 0.1 * 0.5);
        let part = |x: f64| x / (p + q);
        close(&shares_of(&table), [[part(0.075), part(0.075), 0.0, 0.0], [part(0.175), part(0.0125), 0.0, 0.0]]);
    }

    #[test]
    fn a_balanced_column_has_equal_shares_and_the_others_their_conditional_ones() {
        let layout = codes(&[2, 4, 600]);
        let condition =
            Condition { shares: vec![(1, vec![1.0, 1.0, 0.0, 0.0])], equal: Vec::new(), balance: Some((0, None)) };
        let table = ConditionTable::new(&mut Known, &layout, &condition).unwrap();
        close(&shares_of(&table), [[1.0 / 6.0, 2.0 / 6.0, 0.0, 0.0], [7.0 / 16.0, 1.0 / 16.0, 0.0, 0.0]]);
    }

    #[test]
    fn more_combinations_than_are_kept_are_resampled_in_proportion() {
        let layout = codes(&[2, 4, 600, 600]);
        let every = |count| vec![1.0; count];
        let condition = Condition {
            shares: vec![(0, every(2)), (1, every(4)), (2, every(600)), (3, every(600))],
            equal: Vec::new(),
            balance: None,
        };
        let table = ConditionTable::new(&mut Known, &layout, &condition).unwrap();
        assert_eq!(table.cumulated.len(), COMBINATIONS);
        let joint = |a: usize| B[a].map(|b| f64::from(A[a] * b));
        close(&shares_of(&table), [joint(0), joint(1)]);
    }

    /// Three columns of two codes: the second is the first in all but one of a thousand rows, the third in two of three.
    struct Follows;

    impl Answers for Follows {
        fn distribution(&mut self, known: &KnownCodes, subcolumn: usize) -> Result<Vec<f32>> {
            let alike = [1.0, 0.999, 2.0 / 3.0][subcolumn];
            let of = |row: usize| match known.subcolumn(0).map(|codes| codes[row]) {
                Some(0) => [alike, 1.0 - alike],
                Some(_) => [1.0 - alike, alike],
                None => [0.5, 0.5],
            };
            Ok((0..known.rows()).flat_map(of).collect())
        }
    }

    #[test]
    fn what_follows_from_a_condition_is_found() {
        let layout = codes(&[2, 2, 2]);
        let sure = |subcolumn, shares| {
            let condition = Condition { shares: vec![(subcolumn, shares)], equal: Vec::new(), balance: None };
            ConditionTable::new(&mut Follows, &layout, &condition).unwrap().sure(&mut Follows).unwrap()
        };
        assert_eq!(sure(0, vec![0.0, 1.0]), [1]);
        assert_eq!(sure(0, vec![1.0, 1.0]), [1], "whatever the first column is in a row");
        assert_eq!(sure(2, vec![1.0, 1.0]), [0; 0]);
    }

    #[test]
    fn an_impossible_condition_is_an_error() {
        let condition = Condition { shares: vec![(0, vec![0.0, 0.0])], equal: Vec::new(), balance: None };
        let error = ConditionTable::new(&mut Known, &codes(&[2, 4]), &condition).unwrap_err();
        assert!(error.to_string().contains("condition"), "{error}");
    }
}
