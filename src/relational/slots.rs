//! Which parent rows the rows of a child table may refer to: each as often as its degree says.
//!
//! A parent with degree `k` owns `k` slots of a segment, null references own the rest, and a permutation deals the slots
//! to the rows of the child table. Any range of rows can then be generated alone: its slots are computed, not stored,
//! and nobody else has them.

use super::{NONE, apportion::apportion};
use crate::encode::permutation::Permutation;
use std::ops::Range;

/// The slots of one segment, dealt to the rows of the child table. Eight bytes per parent row.
#[derive(Debug, Clone)]
pub struct Slots {
    /// By parent: the number of slots of all parents up to it. Null has the slots behind the last.
    ends: Vec<u64>,
    rows: u64,
    permutation: Permutation,
}

impl Slots {
    /// `degrees[p]` slots for parent `p`, and `nulls` for null. Their number is brought to `rows` (2^62 at most) in
    /// proportion; if there are none at all, parents share the rows equally, and without parents all rows are null.
    /// `key` decides which row gets which slot.
    ///
    /// Takes O(parents).
    #[must_use]
    pub fn new(degrees: &[u32], nulls: u64, rows: u64, key: u64) -> Self {
        let rows = rows.min(1 << 62);
        let mut weights: Vec<u64> = degrees.iter().map(|&degree| u64::from(degree)).collect();
        // Without any slot to scale, parents come before null.
        if nulls > 0 || degrees.is_empty() {
            weights.push(nulls);
        }
        let ties = Permutation::new(weights.len() as u64, !key);
        let shares = apportion(&weights, rows, |index| ties.apply(index as u64));
        let mut end = 0;
        let ends = shares.iter().take(degrees.len()).map(|share| {
            end += share;
            end
        });
        Self { ends: ends.collect(), rows, permutation: Permutation::new(rows, key) }
    }

    /// The number of rows of the child table in the segment, which is the number of slots.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The number of slots of parent `parent`: its degree, or what scaling has made of it.
    #[must_use]
    pub fn quota(&self, parent: u32) -> u64 {
        let Some(end) = self.ends.get(parent as usize) else { return 0 };
        let before = (parent as usize).checked_sub(1).map_or(0, |before| self.ends[before]);
        end - before
    }

    /// The parents, or [`NONE`], of the slots dealt to `rows` of the child table, in no meaningful order. Disjoint
    /// ranges share no slot; the shares of ranges that cover all rows hold every parent as often as its quota says.
    ///
    /// Takes O(rows · log parents).
    #[must_use]
    pub fn share(&self, rows: Range<u64>) -> Vec<u32> {
        let parent = |slot: u64| u32::try_from(self.ends.partition_point(|&end| end <= slot)).unwrap_or(NONE);
        (rows.start..rows.end.min(self.rows))
            .map(|row| parent(self.permutation.apply(row)))
            .map(|parent| if (parent as usize) < self.ends.len() { parent } else { NONE })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;
    use std::collections::BTreeMap;

    fn counts(shares: &[u32]) -> BTreeMap<u32, u64> {
        let mut counts = BTreeMap::new();
        for &parent in shares {
            *counts.entry(parent).or_default() += 1;
        }
        counts
    }

    #[rstest]
    #[case::exact(&[2, 0, 3], 1, 6, &[(0, 2), (2, 3), (NONE, 1)])]
    #[case::doubled(&[2, 0, 3], 1, 12, &[(0, 4), (2, 6), (NONE, 2)])]
    #[case::only_nulls(&[0, 0], 3, 5, &[(NONE, 5)])]
    #[case::no_parents(&[], 0, 5, &[(NONE, 5)])]
    #[case::no_slots(&[0, 0], 0, 4, &[(0, 2), (1, 2)])]
    #[case::no_rows(&[2, 3], 1, 0, &[])]
    fn every_parent_has_its_quota(
        #[case] degrees: &[u32],
        #[case] nulls: u64,
        #[case] rows: u64,
        #[case] expected: &[(u32, u64)],
    ) {
        let slots = Slots::new(degrees, nulls, rows, 7);
        assert_eq!(counts(&slots.share(0..rows)), expected.iter().copied().collect());
        for &(parent, quota) in expected.iter().filter(|(parent, _)| *parent != NONE) {
            assert_eq!(slots.quota(parent), quota);
        }
        assert_eq!(slots.rows(), rows);
    }

    #[test]
    fn a_share_is_a_fair_sample() {
        let slots = Slots::new(&[300, 100], 100, 500, 11);
        let first = counts(&slots.share(0..250));
        assert!(first[&0].abs_diff(150) < 25 && first[&NONE].abs_diff(50) < 20, "{first:?}");
        assert_ne!(slots.share(0..250), Slots::new(&[300, 100], 100, 500, 12).share(0..250));
        // Scaling down favours no part of the table either.
        let halved = Slots::new(&[1; 1000], 0, 500, 3);
        let early = (0..500).map(|parent| halved.quota(parent)).sum::<u64>();
        assert!(early.abs_diff(250) < 40, "{early}");
    }

    proptest! {
        #[test]
        fn shares_are_disjoint_and_complete(
            degrees in prop::collection::vec(0_u32..6, 0..30),
            nulls in 0_u64..9,
            rows in 0_u64..150,
            cuts in prop::collection::vec(0_u64..200, 0..4),
            key: u64,
        ) {
            let slots = Slots::new(&degrees, nulls, rows, key);
            let mut cuts = cuts;
            cuts.extend([0, 1000]);
            cuts.sort_unstable();
            let parts: Vec<u32> = cuts.windows(2).flat_map(|cut| slots.share(cut[0]..cut[1])).collect();
            prop_assert_eq!(&parts, &slots.share(0..rows));
            prop_assert_eq!(parts.len() as u64, rows);
            let counts = counts(&parts);
            for parent in 0..degrees.len() as u32 {
                prop_assert_eq!(counts.get(&parent).copied().unwrap_or(0), slots.quota(parent));
            }
        }
    }
}
