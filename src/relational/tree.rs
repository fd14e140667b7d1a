//! References of a table to its own rows: employees and their managers, comments and their answers.
//!
//! Rows form a forest. Its shape is drawn by levels: each row has a depth, and a row of depth `d` hangs on one of depth
//! `d - 1`. Cycles cannot arise, and no row needs to be generated before another.

use super::{
    NONE,
    apportion::apportion,
    degrees::{Degrees, ascending},
};
use crate::encode::hash::mix;

/// The depth of each row of a training table: 0 where `parents` holds [`NONE`] (or no row), else one more than the depth
/// of its parent.
///
/// The reference that closes a cycle is ignored: from the first row of the table that leads into the cycle, the last
/// one on the way around. Takes O(rows), and no stack however deep the tree.
#[must_use]
pub fn depths(parents: &[u32]) -> Vec<u32> {
    const UNKNOWN: u32 = u32::MAX;
    const ON_THE_WAY: u32 = u32::MAX - 1;
    let mut depth = vec![UNKNOWN; parents.len()];
    let mut way = Vec::new();
    for start in 0..parents.len() {
        let mut at = start;
        while depth.get(at) == Some(&UNKNOWN) {
            depth[at] = ON_THE_WAY;
            way.push(at);
            at = parents[at] as usize;
        }
        // The way ends above a root, at a row that is known already, or where it has been before.
        let mut next = match depth.get(at) {
            None | Some(&ON_THE_WAY) => 0,
            Some(&known) => known + 1,
        };
        while let Some(row) = way.pop() {
            depth[row] = next;
            next += 1;
        }
    }
    depth
}

/// A parent for each row of a segment, or [`NONE`] for roots.
///
/// `depth` is the depth that the model has drawn for each row. Rows are sorted by it (ties by `bits`) and get the depths
/// of the training data, whose distribution `levels` is (of [`depths`]): exactly those, rearranged, for as many rows as
/// there were. In smaller segments, levels that would be empty are closed up. The rows of a level are then dealt to the
/// rows of the level above in proportion to their `degrees`, the number of children they should have; rows of degree 0
/// get children only where there is no other row. `bits` decide which row gets which parent.
///
/// All slices have one element per row. Takes O(rows · log rows).
#[must_use]
pub fn climb(depth: &[f64], levels: &Degrees, degrees: &[u32], bits: &[u32]) -> Vec<u32> {
    let mut parents = vec![NONE; depth.len()];
    let mut order = ascending(depth, bits);
    // Sorted rows of one depth follow each other: the level that is being filled, and the one above it.
    let (mut above, mut rest): (&mut [u32], &mut [u32]) = (&mut [], &mut order);
    let bits_of = |row: u32| mix(u64::from(bits.get(row as usize).copied().unwrap_or(0)));
    for size in level_sizes(&levels.quantiles(depth.len())) {
        let (level, deeper) = std::mem::take(&mut rest).split_at_mut(size);
        level.sort_unstable_by_key(|&row| (bits_of(row), row));
        let weights: Vec<u64> =
            above.iter().map(|&row| u64::from(degrees.get(row as usize).copied().unwrap_or(0))).collect();
        // The level above is in random order, so that its order decides ties.
        let shares = apportion(&weights, size as u64, |index| index as u64);
        let mut children = level.iter();
        for (&parent, share) in above.iter().zip(shares) {
            for (_, &child) in (0..share).zip(children.by_ref()) {
                parents[child as usize] = parent;
            }
        }
        (above, rest) = (level, deeper);
    }
    parents
}

/// The number of rows at each depth, given their ascending depths: each at most one more than the depth before it.
fn level_sizes(depths: &[u32]) -> Vec<usize> {
    let mut sizes: Vec<usize> = Vec::new();
    for &depth in depths {
        if sizes.is_empty() || sizes.len() <= depth as usize {
            sizes.push(0);
        }
        if let Some(size) = sizes.last_mut() {
            *size += 1;
        }
    }
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case::a_tree(&[NONE, 0, 0, 1, 3], &[0, 1, 1, 2, 3])]
    #[case::backwards(&[1, 2, NONE], &[2, 1, 0])]
    #[case::itself(&[0, 0], &[0, 1])]
    #[case::a_cycle(&[1, 2, 0, 2], &[2, 1, 0, 1])]
    #[case::into_a_cycle(&[1, 2, 3, 1], &[3, 2, 1, 0])]
    #[case::out_of_the_table(&[9, 0], &[0, 1])]
    fn depths_are_distances_from_a_root(#[case] parents: &[u32], #[case] expected: &[u32]) {
        assert_eq!(depths(parents), expected);
    }

    #[test]
    fn a_deep_tree_needs_no_stack() {
        let parents: Vec<u32> = (1..1_000_000).chain([NONE]).collect();
        assert_eq!(depths(&parents)[0], 999_999);
    }

    #[test]
    fn children_go_where_they_are_wanted() {
        let levels = Degrees::of(&[0, 0, 0, 1, 1, 1, 1, 1, 1]);
        let depth = [0.1, 0.2, 0.1, 0.9, 0.8, 0.7, 0.9, 1.0, 1.1];
        let parents = climb(&depth, &levels, &[2, 0, 4, 0, 0, 0, 0, 0, 0], &[1, 2, 3, 4, 5, 6, 7, 8, 9]);
        let children = |row: u32| parents.iter().filter(|&&parent| parent == row).count();
        assert_eq!([children(0), children(1), children(2), children(NONE)], [2, 0, 4, 3]);
    }

    #[test]
    fn rows_of_degree_zero_help_out_and_gaps_are_closed() {
        // Of a table with one root in a thousand, a segment of three rows.
        let mut training = vec![2; 1000];
        training[..2].copy_from_slice(&[0, 1]);
        let parents = climb(&[5.0, 1.0, 3.0], &Degrees::of(&training), &[0; 3], &[0; 3]);
        assert_eq!(parents, [2, NONE, 1]);
        assert_eq!(climb(&[1.0, 2.0], &Degrees::of(&[]), &[1, 1], &[0, 0]), [NONE, NONE]);
        assert!(climb(&[], &Degrees::of(&[0]), &[], &[]).is_empty());
    }

    proptest! {
        #[test]
        fn depth_counts_the_way_up(parents in prop::collection::vec(prop_oneof![0_u32..40, Just(NONE)], 1..40)) {
            let depth = depths(&parents);
            let mut cut = 0;
            for (row, &parent) in parents.iter().enumerate() {
                match depth.get(parent as usize) {
                    None => prop_assert_eq!(depth[row], 0),
                    Some(&above) if depth[row] == above + 1 => {}
                    Some(_) => {
                        prop_assert_eq!(depth[row], 0);
                        cut += 1;
                    }
                }
            }
            // As many references are ignored as there are cycles.
            let cycles = (0..parents.len() as u32).filter(|&row| {
                let way = std::iter::successors(parents.get(row as usize), |&&at| parents.get(at as usize));
                let cycle: Vec<u32> = way.take(parents.len()).copied().take_while(|&at| at != row).collect();
                let closed = cycle.last().map_or(parents[row as usize], |&last| parents.get(last as usize).copied().unwrap_or(NONE)) == row;
                closed && cycle.iter().all(|&at| at > row)
            });
            prop_assert_eq!(cut, cycles.count());
        }

        #[test]
        fn a_forest_of_the_trained_shape(
            rows in prop::collection::vec((0_u32..60, 0.0..9.0_f64, 0_u32..5, any::<u32>()), 1..60),
            fewer in 1_usize..60,
        ) {
            // A row hangs on an earlier one, or on none.
            let training: Vec<u32> = (0..).zip(&rows).map(|(row, x)| if x.0 < row { x.0 } else { NONE }).collect();
            let trained = depths(&training);
            let n = fewer.min(rows.len());
            for n in [n, rows.len()] {
                let rows = &rows[..n];
                let depth: Vec<f64> = rows.iter().map(|row| row.1).collect();
                let degrees: Vec<u32> = rows.iter().map(|row| row.2).collect();
                let bits: Vec<u32> = rows.iter().map(|row| row.3).collect();
                let parents = climb(&depth, &Degrees::of(&trained), &degrees, &bits);
                let mut found = depths(&parents);
                for (row, &parent) in parents.iter().enumerate().filter(|(_, parent)| **parent != NONE) {
                    prop_assert_eq!(found[row], found[parent as usize] + 1, "no reference closes a cycle");
                    let level = found[parent as usize];
                    prop_assert!(degrees[parent as usize] > 0 || (0..n).all(|at| found[at] != level || degrees[at] == 0));
                }
                if n == trained.len() {
                    found.sort_unstable();
                    let mut expected = trained.clone();
                    expected.sort_unstable();
                    prop_assert_eq!(found, expected);
                }
            }
        }
    }
}
