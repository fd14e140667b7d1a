//! The order in which siblings are generated.
//!
//! A child row depends on its parent and on the sibling before it, so that rows are generated in rounds: the first
//! children of all parents, then the second ones. A family of a million rows would need as many rounds; every
//! [`LENGTH`]th sibling therefore begins a chain anew, and the chains of a family advance side by side.

use super::NONE;

/// The number of siblings in a chain, and with it the largest number of rounds.
pub const LENGTH: u32 = 64;

/// The rounds of a chunk of parents: an iterator over at most [`LENGTH`] of them.
///
/// The children of the chunk are numbered by parent, then by sibling. Row `(parent, j)` is in round `j % LENGTH` and
/// depends on `(parent, j - 1)`, which is in the round before, unless it is in round 0. All rounds together take
/// O(parents + rows).
#[derive(Debug, Clone)]
pub struct Rounds {
    round: u32,
    rows: u32,
    /// Of parents with rows left: number, first row, degree.
    families: Vec<(u32, u32, u32)>,
}

/// The rows that can be generated together, ascending, in four columns of the same length.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Round {
    /// Numbers of the rows in the chunk.
    pub rows: Vec<u32>,
    /// The row that each depends on, or [`NONE`] where a chain begins.
    pub before: Vec<u32>,
    /// The parent of each, as its place in the chunk.
    pub parents: Vec<u32>,
    /// Its place among its siblings, from 0.
    pub siblings: Vec<u32>,
}

impl Rounds {
    /// The rounds of parents with `degrees` children, up to 2^32 - 1 children in all; what goes beyond is left out.
    #[must_use]
    pub fn new(degrees: &[u32]) -> Self {
        let mut rows = 0_u32;
        let families = (0_u32..).zip(degrees).map(|(parent, &degree)| {
            let first = rows;
            rows = rows.saturating_add(degree);
            (parent, first, rows - first)
        });
        let families = families.filter(|&(_, _, degree)| degree > 0).collect();
        Self { round: 0, rows, families }
    }

    /// The number of rows of the chunk, over all rounds.
    #[must_use]
    pub fn rows(&self) -> u32 {
        self.rows
    }
}

impl Iterator for Rounds {
    type Item = Round;

    fn next(&mut self) -> Option<Round> {
        let place = self.round;
        self.families.retain(|&(_, _, degree)| degree > place && place < LENGTH);
        if self.families.is_empty() {
            return None;
        }
        let mut round = Round::default();
        for &(parent, first, degree) in &self.families {
            for sibling in (place..degree).step_by(LENGTH as usize) {
                let row = first + sibling;
                round.rows.push(row);
                round.before.push(if place == 0 { NONE } else { row - 1 });
                round.parents.push(parent);
                round.siblings.push(sibling);
            }
        }
        self.round += 1;
        Some(round)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn siblings_follow_each_other_and_families_run_in_parallel() {
        let rounds: Vec<Round> = Rounds::new(&[2, 0, 1]).collect();
        assert_eq!(
            rounds,
            [
                Round { rows: vec![0, 2], before: vec![NONE; 2], parents: vec![0, 2], siblings: vec![0, 0] },
                Round { rows: vec![1], before: vec![0], parents: vec![0], siblings: vec![1] },
            ]
        );
        assert_eq!(Rounds::new(&[0, 0]).next(), None);
        assert_eq!(Rounds::new(&[]).count(), 0);
    }

    #[test]
    fn long_families_are_cut_into_chains() {
        let mut rounds = Rounds::new(&[1, 1000]);
        let first = rounds.next().unwrap();
        assert_eq!(first.rows.len(), 1 + 1000_usize.div_ceil(64));
        assert_eq!(first.siblings[..3], [0, 0, 64]);
        assert_eq!(rounds.count(), 63);
    }

    #[test]
    fn numbers_that_do_not_fit_are_left_out() {
        assert_eq!(Rounds::new(&[u32::MAX, 5]).rows(), u32::MAX);
    }

    proptest! {
        #[test]
        fn every_row_comes_once_and_after_its_predecessor(degrees in prop::collection::vec(0_u32..200, 0..12)) {
            let expected: Vec<(u32, u32)> = (0..).zip(&degrees).flat_map(|(p, &d)| (0..d).map(move |j| (p, j))).collect();
            let mut done = vec![false; expected.len()];
            let rounds = Rounds::new(&degrees);
            prop_assert_eq!(rounds.rows() as usize, expected.len());
            for round in rounds {
                prop_assert!(round.rows.is_sorted());
                for (at, &row) in round.rows.iter().enumerate() {
                    let (parent, sibling) = expected[row as usize];
                    prop_assert_eq!((round.parents[at], round.siblings[at]), (parent, sibling));
                    prop_assert!(!done[row as usize]);
                    if sibling % LENGTH == 0 {
                        prop_assert_eq!(round.before[at], NONE);
                    } else {
                        prop_assert_eq!(round.before[at], row - 1);
                        prop_assert!(done[row as usize - 1]);
                    }
                }
                for row in round.rows {
                    done[row as usize] = true;
                }
            }
            prop_assert!(done.into_iter().all(|done| done));
        }
    }
}
