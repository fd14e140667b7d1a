//! Keys made of contents: line 3 of an order, the price of a product on a day.
//!
//! Where a key consists of a reference and of ordinary columns, the siblings of one parent must differ in the latter.
//! The combinations that occurred in training are numbered in sorted order, so that a near number is a near value, and a
//! row whose number is taken moves to the nearest free one. That is found by following pointers from taken numbers to
//! their neighbours, which are shortened on the way (union-find with path splitting: Tarjan and van Leeuwen, "Worst-case
//! Analysis of Set Union Algorithms", 1984).

/// Gives the rows of each group different numbers.
///
/// `groups` holds the group of each row, `tuples` its number in `0..domain` (anything above counts as the last, but has
/// to move), `bits` decide between two free numbers that are equally near. The first row with a number keeps it; the
/// others are moved, in the order of rows, to the nearest number that no row of their group has.
///
/// Returns the number of each row, and the rows, ascending, that had to keep a number twice because their group has more
/// rows than the domain has numbers. Takes O((rows + domain) · log rows) at most, and 12 bytes per number of the domain.
#[must_use]
pub fn distinct_tuples(groups: &[u32], tuples: &[u32], domain: u32, bits: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let mut found = tuples.to_vec();
    let mut exhausted = Vec::new();
    let mut rows: Vec<u32> = (0_u32..).zip(groups.iter().zip(tuples)).map(|(row, _)| row).collect();
    rows.sort_by_key(|&row| groups[row as usize]);
    let mut taken = Taken::new(domain);
    let mut movers = Vec::new();
    for group in rows.chunk_by(|&a, &b| groups[a as usize] == groups[b as usize]) {
        taken.clear();
        movers.clear();
        movers.extend(group.iter().copied().filter(|&row| !taken.take(tuples[row as usize])));
        for &row in &movers {
            let wanted = tuples[row as usize].min(domain.saturating_sub(1));
            let upwards = bits.get(row as usize).is_some_and(|bits| bits & 1 == 1);
            match taken.nearest(wanted, upwards) {
                Some(free) => {
                    taken.take(free);
                    found[row as usize] = free;
                }
                None => exhausted.push(row),
            }
        }
    }
    exhausted.sort_unstable();
    (found, exhausted)
}

/// Gives the rows of each family the numbers that they have together in the order of those that they wished for: siblings that
/// followed each other still do. Families are rows of the same `groups` and `owners`; the rows `left` keep theirs.
pub fn in_wished_order(groups: &[u32], owners: &[u32], wished: &[u32], left: &[u32], numbers: &mut [u32]) {
    let family = |row: u32| (groups[row as usize], owners[row as usize]);
    let mut rows: Vec<u32> = (0..numbers.len() as u32).filter(|row| left.binary_search(row).is_err()).collect();
    rows.sort_unstable_by_key(|&row| (family(row), wished[row as usize], row));
    for siblings in rows.chunk_by(|&a, &b| family(a) == family(b)) {
        let mut theirs: Vec<u32> = siblings.iter().map(|&row| numbers[row as usize]).collect();
        theirs.sort_unstable();
        siblings.iter().zip(theirs).for_each(|(&row, number)| numbers[row as usize] = number);
    }
}

/// The numbers that a group has taken.
struct Taken {
    domain: u32,
    /// Which group has taken each number last; any but the current one means that it is free.
    by: Vec<u32>,
    group: u32,
    /// Of taken numbers: how far the next free number above or below is, at least.
    up: Vec<u32>,
    down: Vec<u32>,
}

impl Taken {
    fn new(domain: u32) -> Self {
        let zeros = vec![0; domain as usize];
        Self { domain, by: zeros.clone(), group: 0, up: zeros.clone(), down: zeros }
    }

    /// Frees all numbers. There are fewer groups than rows, so that group numbers do not run out.
    fn clear(&mut self) {
        self.group += 1;
    }

    /// Takes `number`, if it is a number of the domain and free.
    fn take(&mut self, number: u32) -> bool {
        let at = number as usize;
        let free = self.by.get(at).is_some_and(|&by| by != self.group);
        if free {
            (self.by[at], self.up[at], self.down[at]) = (self.group, 1, 1);
        }
        free
    }

    /// The free number nearest to `number`; of two, the one `upwards` or the one below.
    fn nearest(&mut self, number: u32, upwards: bool) -> Option<u32> {
        let (by, group) = (&self.by, self.group);
        let is_taken = |at: u32| by.get(at as usize) == Some(&group);
        let above = skip(&mut self.up, number, |at, far| at.checked_add(far), is_taken).filter(|&at| at < self.domain);
        let below = skip(&mut self.down, number, u32::checked_sub, is_taken).filter(|&at| at < self.domain);
        match (above, below) {
            (Some(above), Some(below)) => {
                let up = (above - number).cmp(&(number - below));
                Some(if up.is_lt() || up.is_eq() && upwards { above } else { below })
            }
            (above, below) => above.or(below),
        }
    }
}

/// Follows `far` from `at` by `step` to the first number that is not taken; `None` at the end of numbers. Pointers on the
/// way are made to point twice as far.
fn skip(
    far: &mut [u32],
    mut at: u32,
    step: impl Fn(u32, u32) -> Option<u32>,
    is_taken: impl Fn(u32) -> bool,
) -> Option<u32> {
    while is_taken(at) {
        let next = step(at, far[at as usize])?;
        if is_taken(next) {
            far[at as usize] = far[at as usize].saturating_add(far[next as usize]);
        }
        at = next;
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;
    use std::collections::BTreeSet;

    #[rstest]
    #[case::nothing_to_do(&[0, 0, 1], &[3, 1, 3], 5, &[3, 1, 3], &[])]
    #[case::the_first_row_stays(&[0, 0, 0], &[2, 2, 3], 5, &[2, 1, 3], &[])]
    #[case::at_the_edge(&[0, 0, 0], &[4, 4, 4], 5, &[4, 3, 2], &[])]
    #[case::bits_break_ties(&[0, 7, 7, 0], &[2, 2, 2, 2], 5, &[2, 2, 1, 3], &[])]
    #[case::groups_may_be_scattered(&[5, 0, 5], &[1, 1, 1], 2, &[1, 1, 0], &[])]
    #[case::exhausted(&[0, 0, 0, 1], &[1, 1, 1, 1], 2, &[1, 0, 1, 1], &[2])]
    #[case::outside(&[0, 0], &[9, 9], 3, &[2, 1], &[])]
    #[case::no_numbers(&[0], &[0], 0, &[0], &[0])]
    #[case::no_rows(&[], &[], 4, &[], &[])]
    fn rows_move_to_the_nearest_free_number(
        #[case] groups: &[u32],
        #[case] tuples: &[u32],
        #[case] domain: u32,
        #[case] expected: &[u32],
        #[case] exhausted: &[u32],
    ) {
        assert_eq!(distinct_tuples(groups, tuples, domain, &[0, 0, 0, 1]), (expected.to_vec(), exhausted.to_vec()),);
    }

    #[test]
    fn siblings_stay_in_the_order_that_they_wished_for() {
        // Rows 1 and 4 are of another owner, row 3 of another group, row 5 is left out.
        let (groups, owners) = ([0, 0, 0, 1, 0, 0, 0], [7, 8, 7, 7, 8, 7, 7]);
        let mut numbers = [9, 5, 3, 1, 4, 0, 6];
        in_wished_order(&groups, &owners, &[2, 1, 1, 0, 1, 0, 3], &[5], &mut numbers);
        assert_eq!(numbers, [6, 4, 3, 1, 5, 0, 9]);
    }

    #[rstest]
    #[case::all_alike(|_| 5000)]
    #[case::at_the_edge(|_| 0)]
    #[case::two_heaps(|row| row % 2 * 7000)]
    fn a_full_group_is_quick(#[case] tuple: fn(u32) -> u32) {
        let n = 1 << 20;
        let tuples: Vec<u32> = (0..n).map(tuple).collect();
        let (found, exhausted) = distinct_tuples(&vec![0; n as usize], &tuples, n, &vec![1; n as usize]);
        assert_eq!(found.into_iter().collect::<BTreeSet<u32>>().len(), n as usize);
        assert!(exhausted.is_empty());
    }

    proptest! {
        #[test]
        fn moves_are_as_a_plain_search_makes_them(
            rows in prop::collection::vec((0_u32..4, 0_u32..14, any::<u32>()), 0..50),
            domain in 1_u32..14,
        ) {
            let groups: Vec<u32> = rows.iter().map(|row| row.0).collect();
            let tuples: Vec<u32> = rows.iter().map(|row| row.1).collect();
            let bits: Vec<u32> = rows.iter().map(|row| row.2).collect();
            let (found, exhausted) = distinct_tuples(&groups, &tuples, domain, &bits);
            let mut expected = tuples.clone();
            let mut missing = Vec::new();
            let mut held = BTreeSet::new();
            let keeps: Vec<bool> = rows.iter().map(|row| row.1 < domain && held.insert((row.0, row.1))).collect();
            for row in (0..rows.len()).filter(|&row| !keeps[row]) {
                let wanted = tuples[row].min(domain - 1);
                let free = (0..domain).filter(|&number| !held.contains(&(groups[row], number)));
                let best = free.min_by_key(|&number| (number.abs_diff(wanted), (number > wanted) != (bits[row] & 1 == 1)));
                match best {
                    Some(best) => {
                        held.insert((groups[row], best));
                        expected[row] = best;
                    }
                    None => missing.push(row as u32),
                }
            }
            prop_assert_eq!(found, expected);
            prop_assert_eq!(exhausted, missing);
        }
    }
}
