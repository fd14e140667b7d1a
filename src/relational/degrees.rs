//! How many children a parent row has.
//!
//! A model draws a number of children for each parent row, but the sum over a segment must be the number of rows of the
//! child table there. The drawn numbers are therefore read as ranks: parent rows are sorted by them, and the row at
//! quantile `q` gets the degree at quantile `q` of the training data (the monotone rearrangement, which is the optimal
//! transport between distributions on a line: Villani, "Topics in Optimal Transportation", 2003, section 2.2). Which
//! parents have many children is the model's; how many there are with `k` children is the data's.

use super::apportion::apportion;
use serde::{Deserialize, Serialize};

/// A distribution of small numbers over the rows of a table: of the number of children per parent row in the training
/// data, or of the depth of rows in a tree. A few bytes per distinct number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Degrees {
    /// (degree, number of parents with it), ascending by degree.
    runs: Vec<(u32, u64)>,
}

impl Degrees {
    /// The distribution of `degrees`, one per parent row. Takes O(parents · log parents).
    #[must_use]
    pub fn of(degrees: &[u32]) -> Self {
        let mut sorted = degrees.to_vec();
        sorted.sort_unstable();
        Self { runs: sorted.chunk_by(u32::eq).map(|run| (run[0], run.len() as u64)).collect() }
    }

    /// The number of parent rows.
    #[must_use]
    pub fn parents(&self) -> u64 {
        self.runs.iter().fold(0, |sum, &(_, parents)| sum.saturating_add(parents))
    }

    /// The number of child rows: the sum of all degrees.
    #[must_use]
    pub fn children(&self) -> u64 {
        self.runs
            .iter()
            .fold(0, |sum, &(degree, parents)| sum.saturating_add(u64::from(degree).saturating_mul(parents)))
    }

    /// The largest degree; 0 without parents.
    #[must_use]
    pub fn largest(&self) -> u32 {
        self.runs.last().map_or(0, |&(degree, _)| degree)
    }

    /// A degree for each parent row of a segment, `children` in all.
    ///
    /// `drawn` holds the number that the model has drawn for each parent row: only their order counts, and NaN counts
    /// as 0. `bits` (as many) break ties. For as many rows as there were in training, and as many children, the degrees
    /// are those of the training data, rearranged. Where the sum differs, degrees are scaled in proportion, which
    /// leaves childless rows childless; of equal degrees, those drawn higher are rounded up first. Where all degrees
    /// are zero but there are children, these are spread evenly, beginning with the rows drawn highest.
    ///
    /// Takes O(rows · log rows).
    #[must_use]
    pub fn calibrate(&self, drawn: &[f64], bits: &[u32], children: u64) -> Vec<u32> {
        let order = ascending(drawn, bits);
        let mut degrees = vec![0_u32; drawn.len()];
        let mut from_top = vec![0_u64; drawn.len()];
        for ((&row, degree), place) in order.iter().zip(self.quantiles(drawn.len())).zip((0..order.len() as u64).rev())
        {
            degrees[row as usize] = degree;
            from_top[row as usize] = place;
        }
        let weights: Vec<u64> = degrees.iter().map(|&degree| u64::from(degree)).collect();
        let shares = apportion(&weights, children, |row| from_top[row]);
        shares.into_iter().map(|share| u32::try_from(share).unwrap_or(u32::MAX)).collect()
    }

    /// The degrees at the quantiles `(i + 1/2) / n`, for `i` in `0..n`: ascending, and all of them, once each, when `n`
    /// is the number of parents. Zeros if there are no parents.
    pub(crate) fn quantiles(&self, n: usize) -> Vec<u32> {
        let parents = u128::from(self.parents());
        let mut runs = self.runs.iter();
        let (mut degree, mut end) = (0, 0_u128);
        (0..n as u128)
            .map(|i| {
                while parents > 0 && (2 * i + 1) * parents / (2 * n as u128) >= end {
                    let Some(&(next, parents)) = runs.next() else { break };
                    (degree, end) = (next, end + u128::from(parents));
                }
                degree
            })
            .collect()
    }
}

/// A degree for each parent row, `children` in all, in proportion to `drawn`, and as drawn where these have that sum: for
/// parents that are not the training data's kind of parents, so that theirs is no measure. Systematic sampling (Madow 1949):
/// a row gets its share rounded down or up, with the probability of the fraction; `bits` is the random start.
pub(crate) fn proportional(drawn: &[f64], bits: u32, children: u64) -> Vec<u32> {
    let mut weights: Vec<u64> = drawn.iter().map(|&x| x.round().max(0.0) as u64).collect();
    if weights.iter().all(|&weight| weight == 0) {
        weights.fill(1);
    }
    let sum: u128 = weights.iter().map(|&weight| u128::from(weight)).sum();
    let start = if sum == u128::from(children) { 0 } else { (sum * u128::from(bits)) >> 32 };
    let mut below = 0u128;
    let mut passed = start / sum.max(1);
    let share = |&weight: &u64| {
        below += u128::from(weight) * u128::from(children);
        let upto = (below + start) / sum.max(1);
        let share = upto - passed;
        passed = upto;
        u32::try_from(share).unwrap_or(u32::MAX)
    };
    weights.iter().map(share).collect()
}

/// The rows of `drawn`, ascending; NaN counts as 0, ties are broken by `bits`, then by row.
pub(crate) fn ascending(drawn: &[f64], bits: &[u32]) -> Vec<u32> {
    let mut order: Vec<(f64, u32, u32)> = (0_u32..)
        .zip(drawn)
        .map(|(row, &x)| {
            let bits = bits.get(row as usize).copied().unwrap_or(0);
            // Adding zero makes -0 a zero.
            (if x.is_nan() { 0.0 } else { x + 0.0 }, bits, row)
        })
        .collect();
    order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    order.into_iter().map(|(_, _, row)| row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[test]
    fn a_distribution_knows_its_sums_and_survives_json() {
        let degrees = Degrees::of(&[3, 0, 1, 0, 3, 3]);
        assert_eq!((degrees.parents(), degrees.children(), degrees.largest()), (6, 10, 3));
        assert_eq!(degrees.runs, [(0, 2), (1, 1), (3, 3)]);
        let json = serde_json::to_string(&degrees).unwrap();
        assert_eq!(serde_json::from_str::<Degrees>(&json).unwrap(), degrees);
        assert!(Degrees::of(&[]).calibrate(&[], &[], 5).is_empty());
    }

    #[rstest]
    #[case::as_in_training(&[0.5, 9.0, 2.0, 7.0], 6, &[0, 4, 0, 2])]
    #[case::nan_is_zero(&[f64::NAN, 9.0, -1.0, 7.0], 6, &[0, 4, 0, 2])]
    #[case::scaled_up(&[0.5, 9.0, 2.0, 7.0], 12, &[0, 8, 0, 4])]
    #[case::scaled_down(&[0.5, 9.0, 2.0, 7.0], 3, &[0, 2, 0, 1])]
    #[case::fewer_parents(&[1.0, 2.0], 4, &[0, 4])]
    #[case::ties_go_by_bits(&[1.0, 1.0, -0.0, 0.0], 6, &[4, 2, 0, 0])]
    #[case::nothing(&[0.5, 9.0, 2.0, 7.0], 0, &[0, 0, 0, 0])]
    fn ranks_become_degrees(#[case] drawn: &[f64], #[case] children: u64, #[case] expected: &[u32]) {
        let degrees = Degrees::of(&[0, 2, 0, 4]);
        assert_eq!(degrees.calibrate(drawn, &[9, 8, 7, 6], children), expected);
    }

    #[rstest]
    #[case(&[0, 0, 0], 2, &[0, 1, 1])]
    #[case(&[0, 0, 0], 7, &[2, 3, 2])]
    #[case(&[], 2, &[0, 1, 1])]
    fn childless_training_spreads_children_from_the_top(
        #[case] training: &[u32],
        #[case] children: u64,
        #[case] expected: &[u32],
    ) {
        assert_eq!(Degrees::of(training).calibrate(&[0.1, 0.9, 0.5], &[0; 3], children), expected);
    }

    #[test]
    fn rows_drawn_higher_are_rounded_up_first() {
        let degrees = Degrees::of(&[1; 6]);
        assert_eq!(degrees.calibrate(&[3.0, 1.0, 5.0, 2.0, 4.0, 0.0], &[0; 6], 9), [2, 1, 2, 1, 2, 1]);
    }

    #[rstest]
    #[case::as_drawn(&[0.0, 6.0, 1.0, 2.0], 9, &[0, 6, 1, 2])]
    #[case::twice(&[0.0, 6.0, 1.0, 2.0], 18, &[0, 12, 2, 4])]
    #[case::of_nothing(&[0.0, f64::NAN], 4, &[2, 2])]
    #[case::nobody(&[], 4, &[])]
    fn proportions_are_kept(#[case] drawn: &[f64], #[case] children: u64, #[case] expected: &[u32]) {
        for bits in [0, 7, u32::MAX] {
            assert_eq!(proportional(drawn, bits, children), expected);
        }
    }

    proptest! {
        #[test]
        fn no_degree_is_off_its_share_by_one(
            drawn in prop::collection::vec(0.0..40.0_f64, 1..60), bits in any::<u32>(), children in 0_u64..2000,
        ) {
            let found = proportional(&drawn, bits, children);
            prop_assert_eq!(found.iter().map(|&degree| u64::from(degree)).sum::<u64>(), children);
            let sum: f64 = drawn.iter().map(|x| x.round()).sum();
            for (x, &degree) in drawn.iter().zip(&found).filter(|_| sum > 0.0) {
                let share = x.round() * children as f64 / sum;
                prop_assert!((share - f64::from(degree)).abs() < 1.0 + 1e-9);
            }
        }

        #[test]
        fn the_same_size_gives_the_same_degrees(
            rows in prop::collection::vec((0_u32..30, 0_u8..9, any::<u32>()), 1..60),
        ) {
            let mut training: Vec<u32> = rows.iter().map(|row| row.0).collect();
            let drawn: Vec<f64> = rows.iter().map(|row| f64::from(row.1)).collect();
            let bits: Vec<u32> = rows.iter().map(|row| row.2).collect();
            let degrees = Degrees::of(&training);
            let mut found = degrees.calibrate(&drawn, &bits, degrees.children());
            for (one, x) in found.iter().zip(&drawn) {
                for (other, y) in found.iter().zip(&drawn) {
                    prop_assert!(x <= y || one >= other);
                }
            }
            found.sort_unstable();
            training.sort_unstable();
            prop_assert_eq!(found, training);
        }

        #[test]
        fn the_sum_is_met(
            training in prop::collection::vec(0_u32..30, 0..40),
            drawn in prop::collection::vec(-5.0..5.0_f64, 1..60),
            children in 0_u64..2000,
        ) {
            let found = Degrees::of(&training).calibrate(&drawn, &vec![0; drawn.len()], children);
            prop_assert_eq!(found.len(), drawn.len());
            prop_assert_eq!(found.iter().map(|&degree| u64::from(degree)).sum::<u64>(), children);
        }
    }
}
