//! Which parent row a child row refers to, when many would do.
//!
//! The model draws for each child row what it would like its parent to be: codes of some of the parent's attributes, or
//! that there is none. Slots say how often each parent row is to be used ([`Slots`](super::slots::Slots)). Rows are
//! assigned to slots one to one, so that the numbers of children are right whatever the model has drawn, and wishes are
//! met as far as the slots allow: first where row and parent agree in all attributes, then in all but the least
//! important one, and so on. An ordinal attribute is not dropped at once, but made coarser first. This is coarsened exact
//! matching (Iacus, King and Porro, "Causal Inference without Balance Checking", 2012) from fine to coarse.
//!
//! Both sides are sorted once, by the attributes in order of importance. Everything that a round calls equal then lies
//! together, for dropping an attribute, or the last bits of its code, shortens the prefix that is compared.
//!
//! Siblings may have to have different parents, as the tracks of a playlist: a bipartite graph without double edges,
//! with degrees given on both sides. Double edges are removed by moving them along alternating paths, as augmenting
//! paths do in Berge's theorem (1957): if a graph with these degrees exists, there is a path for each double edge.

use super::NONE;
use crate::encode::hash::{FixedState, mix};
use std::cmp::Ordering;
use std::collections::{HashMap, VecDeque};

/// How often the codes of an ordinal attribute are halved before it is dropped.
const COARSER: u32 = 4;
/// How many parents, nearest first, are looked at for a direct exchange, and how many rows of each.
const NEAR_PARENTS: usize = 64;
const NEAR_ROWS: usize = 8;
/// How many steps all searches for alternating paths may take together: so many, and so many per row.
const STEPS: usize = 1 << 22;
const STEPS_PER_ROW: usize = 64;
/// After how many searches in vain a group gets no more of them.
const FAILURES: u8 = 16;
/// From how many parents, nearest first, one is taken outside its quota, and how many are looked at for that.
const SPARE: usize = 16;
const SPARE_STEPS: usize = 1024;

/// An attribute of the parent table that rows of the child table have wishes about.
#[derive(Debug, Clone, Copy)]
pub struct Attribute<'a> {
    /// By child row: the code that it would like.
    pub wanted: &'a [u32],
    /// By parent row: the code that it has.
    pub actual: &'a [u32],
    /// Whether codes that are near are alike.
    pub ordinal: bool,
}

/// The parents of child rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// By child row: its parent, or [`NONE`].
    pub parents: Vec<u32>,
    /// The rows, ascending, that share their parent with a sibling against the rule, because their group has
    /// more rows with a parent than there are parents.
    pub unplaced: Vec<u32>,
}

/// Assigns child rows to `slots`: parent rows below `parents`, or [`NONE`]. There are as many slots and random `bits` as rows
/// (`wants_none.len()`); or more of both, and rows then choose among them.
///
/// Rows with `wants_none` take the slots without parent. The others are matched by `attributes`, the most important one
/// first; among equals, `bits` decide. What cannot be matched in the most important attribute either is paired in sorted
/// order, and slots without parent that are left or missing are made up for there. Every slot is used exactly once.
///
/// `distinct`, if given, holds a group for each row, and rows of a group must have different parents, [`NONE`] excepted.
/// Rows of different groups, of near parents if possible, exchange them until it is so; every slot is then still used
/// once. A row that no exchange can help, or that a search of bounded length finds none for, takes a near parent that is
/// not used too often yet, which leaves its slot unused.
///
/// Takes O(rows · (log rows + rounds) · attributes), with a round for each attribute and five for each ordinal one, and
/// up to a few hundred steps per row to tell siblings apart.
#[must_use]
pub fn assign(
    slots: &[u32],
    wants_none: &[bool],
    attributes: &[Attribute<'_>],
    distinct: Option<&[u32]>,
    parents: u32,
    bits: &[u32],
) -> Assignment {
    let assigned = matched(slots, wants_none, attributes, bits);
    match distinct {
        Some(groups) => Repair::new(groups, assigned, attributes, parents, bits).run(),
        None => Assignment { parents: assigned, unplaced: Vec::new() },
    }
}

/// The assignment by wishes, before siblings are told apart.
fn matched(slots: &[u32], wants_none: &[bool], attributes: &[Attribute<'_>], bits: &[u32]) -> Vec<u32> {
    let mut found = vec![NONE; wants_none.len()];
    let random = |index: u32| bits.get(index as usize).copied().unwrap_or(0);
    let indices = |n: usize, keep: &dyn Fn(usize) -> bool| (0_u32..).take(n).filter(|&i| keep(i as usize)).collect();
    let mut rows = Side {
        list: indices(wants_none.len(), &|row| !wants_none[row]),
        codes: codes(wants_none.len(), attributes, |attribute, row| attribute.wanted.get(row)),
        width: attributes.len(),
        random: (0_u32..).take(wants_none.len()).map(random).collect(),
    };
    let mut pool = Side {
        list: indices(slots.len(), &|slot| slots[slot] != NONE),
        codes: codes(slots.len(), attributes, |attribute, slot| attribute.actual.get(slots[slot] as usize)),
        width: attributes.len(),
        // Slots do not come in the order of the rows that happen to have the same numbers.
        #[allow(clippy::cast_possible_truncation)]
        random: (0_u32..).take(slots.len()).map(|slot| mix(u64::from(random(slot)) ^ 1 << 40) as u32).collect(),
    };
    rows.sort();
    pool.sort();
    for level in levels(attributes) {
        if rows.list.is_empty() || pool.list.is_empty() {
            break;
        }
        match_equal(&mut rows, &mut pool, level, |row, slot| found[row as usize] = slots[slot as usize]);
    }

    // Rows without a wish for a parent get slots without one, which all rows have to begin with.
    let mut wanting: Vec<u32> = indices(wants_none.len(), &|row| wants_none[row]);
    wanting.sort_unstable_by_key(|&row| (rows.random[row as usize], row));
    let empty = slots.iter().filter(|&&slot| slot == NONE).count();
    let without_slot = wanting.split_off(empty.min(wanting.len()));
    let (taken, mut rest) = pool.thin(rows.list.len());
    let (served, _) = rows.thin(taken.len());
    for (&row, &slot) in served.iter().zip(&taken) {
        found[row as usize] = slots[slot as usize];
    }
    rest.sort_unstable_by_key(|&slot| (pool.random[slot as usize], slot));
    for (&row, &slot) in without_slot.iter().zip(&rest) {
        found[row as usize] = slots[slot as usize];
    }
    found
}

/// The codes of all attributes of `0..n`, one index after the other.
fn codes<'a>(
    n: usize,
    attributes: &[Attribute<'a>],
    code: impl Fn(&Attribute<'a>, usize) -> Option<&'a u32>,
) -> Vec<u32> {
    let of = |index| attributes.iter().map(move |attribute| (attribute, index));
    (0..n).flat_map(of).map(|(attribute, index)| code(attribute, index).copied().unwrap_or(NONE)).collect()
}

/// What a round compares: this many attributes, the last one without this many of its bits.
#[derive(Debug, Clone, Copy)]
struct Level {
    attributes: usize,
    coarser: u32,
}

/// All attributes; less and less of the last one; all but that one; and so on.
fn levels(attributes: &[Attribute<'_>]) -> Vec<Level> {
    let mut levels = Vec::new();
    for (number, attribute) in attributes.iter().enumerate().rev() {
        let coarsest = if attribute.ordinal { COARSER } else { 0 };
        levels.extend((0..=coarsest).map(|coarser| Level { attributes: number + 1, coarser }));
    }
    levels
}

/// One of the two sides that are matched: rows, or slots.
struct Side {
    /// Indices that are not matched yet, sorted by their codes.
    list: Vec<u32>,
    /// By index, `width` codes.
    codes: Vec<u32>,
    width: usize,
    /// By index: random bits.
    random: Vec<u32>,
}

impl Side {
    fn codes(&self, index: u32) -> &[u32] {
        let from = index as usize * self.width;
        self.codes.get(from..from + self.width).unwrap_or(&[])
    }

    fn sort(&mut self) {
        let mut list = std::mem::take(&mut self.list);
        list.sort_unstable_by(|&a, &b| {
            self.codes(a).cmp(self.codes(b)).then(self.by_chance(a).cmp(&self.by_chance(b)))
        });
        self.list = list;
    }

    fn by_chance(&self, index: u32) -> (u32, u32) {
        (self.random.get(index as usize).copied().unwrap_or(0), index)
    }

    /// What `level` compares of an index.
    fn key(&self, index: u32, level: Level) -> (&[u32], u32) {
        match self.codes(index).get(..level.attributes).and_then(<[u32]>::split_last) {
            Some((&last, before)) => (before, last >> level.coarser),
            None => (&[], 0),
        }
    }

    /// The end of the run of indices that are equal at `level`, and begins at place `from` of the list.
    fn run(&self, from: usize, level: Level) -> usize {
        let key = self.key(self.list[from], level);
        from + self.list[from..].iter().take_while(|&&index| self.key(index, level) == key).count()
    }

    /// Indices from a range of the list, in random order.
    fn shuffled(&self, range: std::ops::Range<usize>) -> Vec<u32> {
        let mut indices = self.list[range].to_vec();
        indices.sort_unstable_by_key(|&index| self.by_chance(index));
        indices
    }

    /// At most `n` indices of the list by chance, and the others; both as sorted as the list is.
    fn thin(&self, n: usize) -> (Vec<u32>, Vec<u32>) {
        let limit = self.shuffled(0..self.list.len()).get(n).map(|&index| self.by_chance(index));
        self.list.iter().partition(|&&index| limit.is_none_or(|limit| self.by_chance(index) < limit))
    }
}

/// Pairs what is equal at `level`, in random order, and takes it from the lists.
fn match_equal(rows: &mut Side, slots: &mut Side, level: Level, mut pair: impl FnMut(u32, u32)) {
    let mut row_is_matched = vec![false; rows.random.len()];
    let mut slot_is_matched = vec![false; slots.random.len()];
    let (mut row, mut slot) = (0, 0);
    while row < rows.list.len() && slot < slots.list.len() {
        match rows.key(rows.list[row], level).cmp(&slots.key(slots.list[slot], level)) {
            Ordering::Less => row += 1,
            Ordering::Greater => slot += 1,
            Ordering::Equal => {
                let ends = (rows.run(row, level), slots.run(slot, level));
                for (row, slot) in rows.shuffled(row..ends.0).into_iter().zip(slots.shuffled(slot..ends.1)) {
                    (row_is_matched[row as usize], slot_is_matched[slot as usize]) = (true, true);
                    pair(row, slot);
                }
                (row, slot) = ends;
            }
        }
    }
    rows.list.retain(|&row| !row_is_matched[row as usize]);
    slots.list.retain(|&slot| !slot_is_matched[slot as usize]);
}

/// Tells siblings apart.
struct Repair {
    /// By row: its group (numbered from 0), its parent, and its place in the list of the parent's rows.
    groups: Vec<u32>,
    assigned: Vec<u32>,
    places: Vec<u32>,
    /// By parent: its rows, and how many slots it has.
    rows: Vec<Vec<u32>>,
    quotas: Vec<u32>,
    /// How many rows of a group have a parent, where any has.
    held: HashMap<u64, u32, FixedState>,
    /// The parents by their attributes, and the place of each in that order.
    order: Vec<u32>,
    ranks: Vec<u32>,
    bits: Vec<u32>,
    /// By group: the number of different parents it has, the last search that has come to it, and its failures.
    different: Vec<u32>,
    seen: Vec<u32>,
    failures: Vec<u8>,
    /// Parents that a group did not have when it was asked last.
    free: (u32, Vec<u32>),
    searches: u32,
    steps: usize,
}

impl Repair {
    fn new(groups: &[u32], assigned: Vec<u32>, attributes: &[Attribute<'_>], parents: u32, bits: &[u32]) -> Self {
        let mut known = groups.to_vec();
        known.sort_unstable();
        known.dedup();
        // Rows beyond the end of `groups` are a group as well.
        let number = |row: usize| groups.get(row).and_then(|group| known.binary_search(group).ok());
        let numbers = (0..assigned.len()).map(|row| u32::try_from(number(row).unwrap_or(known.len())).unwrap_or(NONE));
        let most = assigned.iter().filter(|&&parent| parent != NONE).max().map_or(0, |&parent| parent + 1);
        let parents = parents.max(most);
        let of_parents = codes(parents as usize, attributes, |attribute, parent| attribute.actual.get(parent));
        let code = |parent: u32| {
            let from = parent as usize * attributes.len();
            &of_parents[from..from + attributes.len()]
        };
        let mut order: Vec<u32> = (0..parents).collect();
        order.sort_by(|&a, &b| code(a).cmp(code(b)));
        let mut ranks = vec![0; order.len()];
        for (rank, &parent) in (0..).zip(&order) {
            ranks[parent as usize] = rank;
        }
        let mut repair = Self {
            groups: numbers.collect(),
            places: vec![0; assigned.len()],
            rows: vec![Vec::new(); order.len()],
            quotas: Vec::new(),
            held: HashMap::with_capacity_and_hasher(assigned.len(), FixedState),
            order,
            ranks,
            bits: bits.to_vec(),
            different: vec![0; known.len() + 1],
            seen: vec![0; known.len() + 1],
            failures: vec![0; known.len() + 1],
            free: (NONE, Vec::new()),
            searches: 0,
            steps: assigned.len().saturating_mul(STEPS_PER_ROW).saturating_add(STEPS),
            assigned,
        };
        for row in (0..).take(repair.assigned.len()) {
            repair.put(row, repair.assigned[row as usize]);
        }
        #[allow(clippy::cast_possible_truncation)]
        repair.quotas.extend(repair.rows.iter().map(|rows| rows.len() as u32));
        repair
    }

    fn run(mut self) -> Assignment {
        let mut unplaced = Vec::new();
        let mut rows: Vec<u32> = (0..).take(self.assigned.len()).collect();
        rows.sort_by_key(|&row| self.groups[row as usize]);
        for row in rows {
            let (group, parent) = (self.groups[row as usize], self.assigned[row as usize]);
            if parent == NONE || self.count(group, parent) < 2 {
                continue;
            }
            if self.different[group as usize] as usize == self.order.len() {
                // Out of the others' way: they may rely on this parent being theirs alone.
                self.lift(row);
                unplaced.push(row);
            } else if !self.exchange(row)
                && !self.reroute(row)
                && let Some(other) = self.spare(row)
            {
                self.move_to(row, other);
            }
        }
        unplaced.sort_unstable();
        Assignment { parents: self.assigned, unplaced }
    }

    fn count(&self, group: u32, parent: u32) -> u32 {
        self.held.get(&(u64::from(group) << 32 | u64::from(parent))).copied().unwrap_or(0)
    }

    /// Enters `row` as one of `parent`'s.
    fn put(&mut self, row: u32, parent: u32) {
        self.assigned[row as usize] = parent;
        let Some(rows) = self.rows.get_mut(parent as usize) else { return };
        #[allow(clippy::cast_possible_truncation)]
        let place = rows.len() as u32;
        self.places[row as usize] = place;
        rows.push(row);
        let group = self.groups[row as usize];
        let count = self.held.entry(u64::from(group) << 32 | u64::from(parent)).or_default();
        *count += 1;
        self.different[group as usize] += u32::from(*count == 1);
    }

    /// Takes `row` from its parent's lists.
    fn lift(&mut self, row: u32) {
        let (parent, place) = (self.assigned[row as usize], self.places[row as usize]);
        let Some(rows) = self.rows.get_mut(parent as usize) else { return };
        rows.swap_remove(place as usize);
        if let Some(&moved) = rows.get(place as usize) {
            self.places[moved as usize] = place;
        }
        let group = self.groups[row as usize];
        if let Some(count) = self.held.get_mut(&(u64::from(group) << 32 | u64::from(parent))) {
            *count -= 1;
            self.different[group as usize] -= u32::from(*count == 0);
        }
    }

    fn move_to(&mut self, row: u32, parent: u32) {
        self.lift(row);
        self.put(row, parent);
    }

    /// All other parents, the ones with the most similar attributes first.
    fn around(&self, parent: u32) -> impl Iterator<Item = u32> {
        let rank = self.ranks[parent as usize] as usize;
        let further = (1..self.order.len()).flat_map(move |far| [rank.checked_sub(far), Some(rank + far)]);
        further.flatten().filter_map(|rank| self.order.get(rank).copied())
    }

    /// The rows of `parent`, beginning at a place that depends on `row`.
    fn rows_of(&self, parent: u32, row: u32) -> impl Iterator<Item = u32> {
        let rows = &self.rows[parent as usize];
        let bits = self.bits.get(row as usize).copied().unwrap_or(0);
        let (head, tail) = rows.split_at(bits as usize % rows.len().max(1));
        tail.iter().chain(head).copied()
    }

    /// Exchanges the parents of `row` and of one of a few rows with near parents, if that leaves no double edge.
    fn exchange(&mut self, row: u32) -> bool {
        let (group, parent) = (self.groups[row as usize], self.assigned[row as usize]);
        let partner = self
            .around(parent)
            .take(NEAR_PARENTS)
            .filter(|&other| self.count(group, other) == 0)
            .flat_map(|other| self.rows_of(other, row).take(NEAR_ROWS))
            .find(|&partner| self.count(self.groups[partner as usize], parent) == 0);
        let Some(partner) = partner else { return false };
        let other = self.assigned[partner as usize];
        self.move_to(partner, parent);
        self.move_to(row, other);
        true
    }

    /// Finds a shortest alternating path by breadth-first search: `row` takes the parent of a second row, which takes
    /// the parent of a third, and so on, until one can take `row`'s. `false` if there is none, or steps have run out.
    fn reroute(&mut self, row: u32) -> bool {
        let (group, parent) = (self.groups[row as usize], self.assigned[row as usize]);
        if self.steps < self.order.len() || self.failures[group as usize] >= FAILURES {
            return false;
        }
        self.searches += 1;
        self.seen[group as usize] = self.searches;
        // Parents that no group on the way can take so far: those that all of them have.
        let mut open: Vec<u32> = self.around(parent).filter(|&other| !self.rows[other as usize].is_empty()).collect();
        let mut steps = self.order.len();
        // For each parent that can be taken: by which row.
        let mut taker: HashMap<u32, u32, FixedState> = HashMap::default();
        let mut queue = VecDeque::new();
        let mut last = None;
        self.widen(row, &mut open, &mut taker, &mut queue);
        'search: while let Some(other) = queue.pop_front() {
            for partner in self.rows[other as usize].iter().copied() {
                let group = self.groups[partner as usize] as usize;
                steps += 1;
                if std::mem::replace(&mut self.seen[group], self.searches) == self.searches {
                    continue;
                }
                if self.count(self.groups[partner as usize], parent) == 0 {
                    last = Some(partner);
                    break 'search;
                }
                if steps > self.steps {
                    break 'search;
                }
                steps += open.len();
                self.widen(partner, &mut open, &mut taker, &mut queue);
            }
        }
        self.steps = self.steps.saturating_sub(steps);
        let found = last.is_some();
        self.failures[group as usize] += u8::from(!found);
        let mut to = parent;
        while let Some(mover) = last {
            let from = self.assigned[mover as usize];
            self.move_to(mover, to);
            last = taker.get(&from).copied();
            to = from;
        }
        found
    }

    /// Notes the `open` parents that `row` can take.
    fn widen(
        &self,
        row: u32,
        open: &mut Vec<u32>,
        taker: &mut HashMap<u32, u32, FixedState>,
        queue: &mut VecDeque<u32>,
    ) {
        open.retain(|&other| {
            let taken = self.count(self.groups[row as usize], other) > 0;
            if !taken {
                taker.insert(other, row);
                queue.push_back(other);
            }
            taken
        });
    }

    /// A parent that the group of `row` does not have, outside of its quota: of the nearest ones, the one whose quota is
    /// exceeded least; any if none is near.
    fn spare(&mut self, row: u32) -> Option<u32> {
        let (group, parent) = (self.groups[row as usize], self.assigned[row as usize]);
        let near = self.around(parent).take(SPARE_STEPS).filter(|&other| self.count(group, other) == 0).take(SPARE);
        let excess =
            |other: u32| (self.rows[other as usize].len() as f64 + 1.0) / f64::from(self.quotas[other as usize]);
        let best = near.min_by(|&a, &b| excess(a).total_cmp(&excess(b)));
        if best.is_some() {
            return best;
        }
        // A list is made anew when it has run out, as exchanges may have set parents free.
        let (of, mut free) = std::mem::take(&mut self.free);
        free.retain(|_| of == group);
        let mut best = None;
        for _ in 0..2 {
            while best.is_none()
                && let Some(other) = free.pop()
            {
                best = Some(other).filter(|&other| self.count(group, other) == 0);
            }
            if best.is_none() {
                free.extend(self.order.iter().filter(|&&other| self.count(group, other) == 0));
            }
        }
        self.free = (group, free);
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relational::slots::Slots;
    use proptest::prelude::*;
    use rstest::rstest;
    use std::collections::{BTreeMap, BTreeSet};

    fn random(n: usize, key: u64) -> Vec<u32> {
        (0..n as u64).map(|i| mix(i ^ key << 32) as u32).collect()
    }

    fn sorted(mut values: Vec<u32>) -> Vec<u32> {
        values.sort_unstable();
        values
    }

    fn plain(slots: &[u32], wants_none: &[bool], attributes: &[Attribute<'_>]) -> Vec<u32> {
        assign(slots, wants_none, attributes, None, 0, &random(slots.len(), 3)).parents
    }

    #[test]
    fn the_most_important_attribute_is_kept_longest() {
        let attributes = [
            Attribute { wanted: &[1, 2, 1, 2], actual: &[2, 1], ordinal: false },
            Attribute { wanted: &[8, 8, 9, 9], actual: &[8, 9], ordinal: false },
        ];
        assert_eq!(plain(&[0, 0, 1, 1], &[false; 4], &attributes), [1, 0, 1, 0]);
        // There is one slot for two rows that want it: the other row is given what is left.
        let found = plain(&[1, 0, 0, 0], &[false; 4], &attributes);
        assert_eq!((found[1], found[3]), (0, 0));
        assert_eq!(found[2], 1, "the only row that agrees in both");
    }

    #[test]
    fn ordinal_codes_go_to_near_ones() {
        // The parents have even codes, and every row wants a code of its own.
        let (wanted, actual) = ((0..100).collect::<Vec<u32>>(), (0..50).map(|parent| 2 * parent).collect::<Vec<u32>>());
        let slots: Vec<u32> = (0..100).map(|slot| slot % 50).collect();
        let farthest = |ordinal| {
            let same = Attribute { wanted: &[1; 100], actual: &[1; 50], ordinal: false };
            let found = plain(&slots, &[false; 100], &[same, Attribute { wanted: &wanted, actual: &actual, ordinal }]);
            found.iter().zip(&wanted).map(|(&parent, &code)| actual[parent as usize].abs_diff(code)).max()
        };
        assert_eq!(farthest(true), Some(1));
        assert!(farthest(false) > Some(16));
    }

    #[rstest]
    #[case::enough(&[NONE, 0, 1], &[false, true, false], &[1, NONE, 0])]
    #[case::too_few(&[0, 0, 1], &[false, true, false], &[1, 0, 0])]
    #[case::too_many(&[NONE, 0, NONE], &[false, true, false], &[NONE, NONE, 0])]
    #[case::no_rows(&[], &[], &[])]
    fn rows_without_a_wish_take_empty_slots_first(
        #[case] slots: &[u32],
        #[case] wants_none: &[bool],
        #[case] expected: &[u32],
    ) {
        let attributes = [Attribute { wanted: &[5, 0, 4], actual: &[4, 5], ordinal: false }];
        assert_eq!(plain(slots, wants_none, &attributes), expected);
    }

    #[test]
    fn chance_decides_among_equals() {
        let slots: Vec<u32> = (0..1000).collect();
        let attribute = [Attribute { wanted: &[7; 1000], actual: &[7; 1000], ordinal: true }];
        let of = |key| assign(&slots, &[false; 1000], &attribute, None, 1000, &random(1000, key)).parents;
        assert_eq!(of(1), of(1));
        let agreeing = of(1).iter().zip(of(2)).filter(|(one, other)| **one == *other).count();
        let fixed = of(1).iter().zip(0..).filter(|(parent, row)| **parent == *row).count();
        assert!(agreeing < 10 && fixed < 10, "{agreeing} {fixed}");
    }

    #[test]
    fn groups_with_more_rows_than_there_are_parents_are_told() {
        let found = assign(&[0, 0, 1, 1, NONE], &[false; 5], &[], Some(&[4, 4, 4, 9, 4]), 2, &random(5, 1));
        let of_group: Vec<u32> = [0, 1, 2, 4].map(|row| found.parents[row]).to_vec();
        assert_eq!(found.unplaced.len(), of_group.iter().filter(|&&parent| parent != NONE).count() - 2);
        assert!(found.unplaced.iter().all(|&row| row != 3));
    }

    /// Playlists with the sizes of the Chinook database, tracks on one to five of them.
    fn playlists() -> Vec<(u32, u32)> {
        let sizes = [3290, 3290, 1477, 213, 213, 75, 75, 39, 26, 25, 25, 15, 1, 1, 1, 1, 1, 1];
        let mut graph = Vec::new();
        for (playlist, size) in (0_u32..).zip(sizes) {
            // The films are on the lists of films, all music is on two lists.
            let (from, to) = if size == 213 { (3290, 3503) } else { (0, 3290) };
            let mut tracks: Vec<u32> = (from..to).collect();
            let keys = random(tracks.len(), u64::from(playlist));
            tracks.sort_by_key(|&track| keys[(track - from) as usize]);
            graph.extend(tracks.into_iter().take(size).map(|track| (track, playlist)));
        }
        graph
    }

    #[rstest]
    #[case::owned_by_tracks(false, 1)]
    #[case::owned_by_playlists(true, 1)]
    #[case::owned_by_tracks_in_chunks(false, 3)]
    #[case::owned_by_playlists_in_chunks(true, 3)]
    fn a_tight_junction_has_no_double_edges(#[case] turned: bool, #[case] chunks: usize) {
        let mut graph = playlists();
        if turned {
            graph = graph.into_iter().map(|(track, playlist)| (playlist, track)).collect();
        }
        graph.sort_unstable();
        let parents = graph.iter().map(|edge| edge.1).max().unwrap() as usize + 1;
        let mut degrees = vec![0; parents];
        for &(_, parent) in &graph {
            degrees[parent as usize] += 1;
        }
        let rows = graph.len();
        let groups: Vec<u32> = graph.iter().map(|edge| edge.0).collect();
        let slots = Slots::new(&degrees, 0, rows as u64, 5);
        let actual: Vec<u32> = (0..parents as u32).map(|parent| parent % 7).collect();
        let mut used = vec![0_u32; parents];
        let mut edges = BTreeSet::new();
        // Families stay together, so that each chunk is free of double edges by itself.
        let mut start = 0;
        for chunk in 1..=chunks {
            let end = (rows * chunk / chunks..rows).find(|&row| groups[row] != groups[row - 1]).unwrap_or(rows);
            let bits = random(end - start, chunk as u64);
            let wanted: Vec<u32> = bits.iter().map(|bits| bits % 7).collect();
            let attributes = [Attribute { wanted: &wanted, actual: &actual, ordinal: false }];
            let share = slots.share(start as u64..end as u64);
            let none = vec![false; share.len()];
            let found = assign(&share, &none, &attributes, Some(&groups[start..end]), parents as u32, &bits);
            assert!(found.unplaced.is_empty());
            for (row, &parent) in found.parents.iter().enumerate() {
                used[parent as usize] += 1;
                assert!(edges.insert((groups[start + row], parent)), "twice: {} {parent}", groups[start + row]);
            }
            start = end;
        }
        let off: u32 = used.iter().zip(&degrees).map(|(&used, &degree)| used.abs_diff(degree)).sum();
        // A third of the slots cannot fill a list with nearly all tracks: quotas are then given up, distinctness is not.
        if chunks == 1 {
            assert_eq!(off, 0);
        } else if !turned {
            assert!(off as usize * 50 < rows, "{off}");
        }
    }

    #[rstest]
    #[case::all_but_full(9_900)]
    #[case::overfull(12_000)]
    fn large_families_are_quick(#[case] size: u32) {
        let (rows, parents) = (5 * size, 10_000);
        let slots = Slots::new(&vec![5; parents as usize], 0, u64::from(rows), 5).share(0..u64::from(rows));
        let wanted: Vec<u32> = random(slots.len(), 1).iter().map(|bits| bits % 20).collect();
        let actual: Vec<u32> = random(parents as usize, 2).iter().map(|bits| bits % 20).collect();
        let attributes = [Attribute { wanted: &wanted, actual: &actual, ordinal: true }];
        let groups: Vec<u32> = (0..rows).map(|row| row / size).collect();
        let none = vec![false; slots.len()];
        let found = assign(&slots, &none, &attributes, Some(&groups), parents, &random(slots.len(), 3));
        assert_eq!(found.unplaced.len() as u32, 5 * size.saturating_sub(parents));
        let unplaced: BTreeSet<u32> = found.unplaced.into_iter().collect();
        let placed = (0..rows).filter(|row| !unplaced.contains(row));
        let edges: BTreeSet<_> = placed.map(|row| (groups[row as usize], found.parents[row as usize])).collect();
        assert_eq!(edges.len(), rows as usize - unplaced.len());
    }

    proptest! {
        #[test]
        fn slots_are_used_once_and_as_many_wishes_met_as_can_be(
            rows in prop::collection::vec((0_u32..4, 0_u32..3, any::<bool>(), 0_u32..7, any::<u32>()), 0..60),
            parents in prop::collection::vec((0_u32..4, 0_u32..3), 6),
        ) {
            let column = |of: fn(&(u32, u32, bool, u32, u32)) -> u32| rows.iter().map(of).collect::<Vec<u32>>();
            let slots = column(|row| if row.3 == 6 { NONE } else { row.3 });
            let none: Vec<bool> = rows.iter().map(|row| row.2).collect();
            let attributes = [
                Attribute { wanted: &column(|row| row.0), actual: &parents.iter().map(|p| p.0).collect::<Vec<_>>(), ordinal: true },
                Attribute { wanted: &column(|row| row.1), actual: &parents.iter().map(|p| p.1).collect::<Vec<_>>(), ordinal: false },
            ];
            let found = assign(&slots, &none, &attributes, None, 6, &column(|row| row.4));
            prop_assert_eq!(sorted(found.parents.clone()), sorted(slots.clone()));
            let met = found.parents.iter().zip(&rows).filter(|(parent, row)| match parents.get(**parent as usize) {
                Some(&codes) => !row.2 && codes == (row.0, row.1),
                None => row.2,
            });
            let mut supply: BTreeMap<Option<(u32, u32)>, [usize; 2]> = BTreeMap::new();
            for (row, &slot) in rows.iter().zip(&slots) {
                supply.entry((!row.2).then_some((row.0, row.1))).or_default()[0] += 1;
                supply.entry(parents.get(slot as usize).copied()).or_default()[1] += 1;
            }
            prop_assert_eq!(met.count(), supply.values().map(|both| both[0].min(both[1])).sum::<usize>());
        }

        #[test]
        fn siblings_are_told_apart_wherever_a_graph_exists(
            edges in prop::collection::btree_set((0_u32..8, 0_u32..8), 1..50),
            key: u64,
        ) {
            // The degrees of a graph without double edges: no slot has to be given up.
            let groups: Vec<u32> = edges.iter().map(|edge| edge.0).collect();
            let mut slots: Vec<u32> = edges.iter().map(|edge| edge.1).collect();
            let bits = random(slots.len(), key >> 32);
            slots.sort_by_key(|slot| mix(key ^ u64::from(*slot)));
            let found = assign(&slots, &vec![false; slots.len()], &[], Some(&groups), 8, &bits);
            prop_assert!(found.unplaced.is_empty());
            let found_edges: BTreeSet<_> = groups.iter().zip(&found.parents).collect();
            prop_assert_eq!(found_edges.len(), edges.len());
            prop_assert_eq!(sorted(found.parents), sorted(slots));
        }

        #[test]
        fn siblings_are_told_apart_unless_they_are_too_many(
            rows in prop::collection::vec((0_u32..4, prop_oneof![4 => 0_u32..6, 1 => Just(NONE)], any::<u32>()), 0..40),
            parents in 6_u32..9,
        ) {
            let groups: Vec<u32> = rows.iter().map(|row| row.0).collect();
            let slots: Vec<u32> = rows.iter().map(|row| row.1).collect();
            let bits: Vec<u32> = rows.iter().map(|row| row.2).collect();
            let found = assign(&slots, &vec![false; rows.len()], &[], Some(&groups), parents, &bits);
            prop_assert!(found.unplaced.is_sorted());
            let mut families: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
            for (row, &parent) in (0_u32..).zip(&found.parents).filter(|(_, parent)| **parent != NONE) {
                prop_assert!(parent < parents);
                if found.unplaced.binary_search(&row).is_err() {
                    families.entry(groups[row as usize]).or_default().push(parent);
                }
            }
            let kept = families.values().map(Vec::len).sum::<usize>();
            for family in families.values() {
                prop_assert_eq!(family.iter().collect::<BTreeSet<_>>().len(), family.len());
            }
            let with_parent = found.parents.iter().filter(|parent| **parent != NONE).count();
            prop_assert_eq!(kept + found.unplaced.len(), with_parent);
            for &row in &found.unplaced {
                prop_assert_eq!(families[&groups[row as usize]].len(), parents as usize);
            }
        }
    }
}
