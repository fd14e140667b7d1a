//! Where rows of which something is given could be in a segment: proposals for [`complete`](super::complete).
//!
//! Half of the proposals for a row are any places. The other half are places where the segment's own row is like it: in one of
//! the columns that are given, and in as many more as eight rows are; each column is the first in turn. A proposal that came more
//! easily counts for less, by just as much.

use super::{NONE, complete::Given};
use crate::{
    encode::{SubColumnData, UNKNOWN},
    relational::chains,
};
use std::{collections::BTreeMap, ops::Range};

/// Rows that are alike, at least.
const ALIKE: usize = 8;
/// Sets of columns that are given, at most: rows with others have any places.
const SETS: usize = 8;
/// Columns that are the first in turn, at most.
const TURNS: usize = 6;

/// Where a row could be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) owner: u32,
    /// Its number among its siblings.
    pub(super) number: u32,
    /// The row of the segment before it, or [`NONE`].
    pub(super) before: u32,
}

/// The places of a segment.
#[derive(Debug)]
pub(super) struct Places {
    /// By owner: codes of the context.
    pub(super) context: Vec<Vec<u32>>,
    /// By owner: the number of children of all up to it. Nobody comes last.
    ends: Vec<u64>,
    /// The rows that are there, by sub-column drawn.
    pub(super) drawn: Vec<SubColumnData>,
    /// How many of them there are, if they are there.
    rows: usize,
}

/// The rows of a segment that are like others.
pub(super) struct Likeness {
    /// By set of columns, for each that is the first in turn.
    sets: Vec<Vec<Sorted>>,
    /// By row of which something is given: its set, and the rows like it among the sorted ones of each turn.
    rows: Vec<Option<(usize, Vec<Range<usize>>)>>,
}

/// The rows of a segment in the order of some columns.
struct Sorted {
    rows: Vec<u32>,
    /// By row, its place in `rows`.
    ranks: Vec<u32>,
}

impl Places {
    /// Of owners with so many children each, nobody last; `drawn` are the rows that are there.
    pub(super) fn new(context: Vec<Vec<u32>>, degrees: &[u32], drawn: Vec<SubColumnData>) -> Self {
        let mut children = 0;
        let end = |&degree: &u32| {
            children += u64::from(degree);
            children
        };
        let ends = degrees.iter().map(end).collect();
        let rows = drawn.first().map_or(0, SubColumnData::len);
        Self { context, ends, drawn, rows }
    }

    fn end(&self, owner: usize) -> u64 {
        self.ends.get(owner).copied().unwrap_or(0)
    }

    fn first(&self, owner: usize) -> u64 {
        owner.checked_sub(1).map_or(0, |before| self.end(before))
    }

    fn nobody(&self) -> usize {
        self.ends.len().saturating_sub(1)
    }

    /// The place of row `row` of the segment.
    fn of(&self, row: u64) -> Place {
        let owner = self.ends.partition_point(|&end| end <= row).min(self.nobody());
        let number = (row - self.first(owner).min(row)) as u32;
        let alone = number.is_multiple_of(chains::LENGTH) || self.rows == 0;
        Place { owner: owner as u32, number, before: if alone { NONE } else { (row - 1) as u32 } }
    }

    /// The place at `bits` of 2^32 among those of `owner`, or of anybody: [`NONE`].
    pub(super) fn at(&self, owner: u32, bits: u32) -> Place {
        let (first, end) = match owner {
            NONE => (0, self.end(self.nobody())),
            owner => (self.first(owner as usize), self.end(owner as usize)),
        };
        if first == end {
            let owner = if owner == NONE { self.nobody() as u32 } else { owner };
            return Place { owner, number: 0, before: NONE };
        }
        self.of(first + part(bits, end - first))
    }

    /// As [`Places::at`] for anybody, and the logarithm of what that counts for: proposal `number` for row `row`.
    pub(super) fn proposed(&self, likeness: &Likeness, row: usize, number: usize, bits: u32) -> (Place, f64) {
        let Some((set, alike)) = likeness.rows.get(row).and_then(Option::as_ref) else {
            return (self.at(NONE, bits), 0.0);
        };
        let turns = &likeness.sets[*set];
        let of_segment = if number.is_multiple_of(2) {
            part(bits, self.rows as u64)
        } else {
            let turn = number / 2 % turns.len();
            u64::from(turns[turn].rows[alike[turn].start + part(bits, alike[turn].len() as u64) as usize])
        };
        let one_of = |(sorted, alike): (&Sorted, &Range<usize>)| {
            let among = alike.contains(&(sorted.ranks[of_segment as usize] as usize));
            if among { self.rows as f64 / alike.len() as f64 } else { 0.0 }
        };
        let density = 0.5 + 0.5 / turns.len() as f64 * turns.iter().zip(alike).map(one_of).sum::<f64>();
        (self.of(of_segment), -density.ln())
    }

    /// Which rows of the segment are like the `rows` of which something is given; `shift` is the number of the first
    /// sub-column drawn.
    pub(super) fn likeness(&self, given: &Given, rows: usize, shift: usize) -> Likeness {
        let mut columns: Vec<(&SubColumnData, &Vec<u32>)> = given
            .known
            .iter()
            .filter_map(|(at, codes)| Some((self.drawn.get(at.checked_sub(shift)?)?, codes)))
            .collect();
        // What has few values says most for its share of the rows.
        columns.sort_by_key(|(drawn, _)| (0..drawn.len()).map(|row| drawn.code(row)).max());
        let mut numbers: BTreeMap<Vec<bool>, usize> = BTreeMap::new();
        let mut sets = Vec::new();
        let mut likeness = Vec::with_capacity(rows);
        for row in 0..rows {
            let known: Vec<bool> = columns.iter().map(|(_, codes)| codes[row] != UNKNOWN).collect();
            let of: Vec<(&SubColumnData, u32)> = (columns.iter().zip(&known))
                .filter(|(_, known)| **known)
                .map(|((drawn, codes), _)| (*drawn, codes[row]))
                .collect();
            let set = match numbers.get(&known) {
                Some(&set) => set,
                None if numbers.len() < SETS && self.rows > 0 && !of.is_empty() => {
                    let sorted =
                        |turn| Sorted::new(&in_turn(&of, turn).map(|(drawn, _)| drawn).collect::<Vec<_>>(), self.rows);
                    sets.push((0..of.len().min(TURNS)).map(sorted).collect());
                    numbers.insert(known, sets.len() - 1);
                    sets.len() - 1
                }
                None => {
                    likeness.push(None);
                    continue;
                }
            };
            let turns: &Vec<Sorted> = &sets[set];
            let alike = turns.iter().enumerate().map(|(turn, sorted)| sorted.alike(in_turn(&of, turn)));
            likeness.push(Some((set, alike.collect())));
        }
        Likeness { sets, rows: likeness }
    }
}

/// The columns, the one at `turn` first.
fn in_turn<'a>(columns: &[(&'a SubColumnData, u32)], turn: usize) -> impl Iterator<Item = (&'a SubColumnData, u32)> {
    let others = columns.iter().enumerate().filter(move |(at, _)| *at != turn).map(|(_, column)| *column);
    columns.get(turn).copied().into_iter().chain(others)
}

impl Sorted {
    fn new(columns: &[&SubColumnData], count: usize) -> Self {
        let mut rows: Vec<u32> = (0..count as u32).collect();
        let codes = |row: u32| columns.iter().map(move |column| column.code(row as usize));
        rows.sort_by(|&a, &b| codes(a).cmp(codes(b)));
        let mut ranks = vec![0; count];
        (0..).zip(&rows).for_each(|(rank, &row)| ranks[row as usize] = rank);
        Self { rows, ranks }
    }

    /// The rows that have the given codes, in as many of the columns, from the first one on, as leave enough.
    fn alike<'a>(&self, codes: impl Iterator<Item = (&'a SubColumnData, u32)>) -> Range<usize> {
        let mut alike = 0..self.rows.len();
        for (column, code) in codes {
            let part = &self.rows[alike.clone()];
            let below = part.partition_point(|&row| column.code(row as usize) < code);
            let up_to = part.partition_point(|&row| column.code(row as usize) <= code);
            if up_to - below < ALIKE {
                break;
            }
            alike = alike.start + below..alike.start + up_to;
        }
        alike
    }
}

/// The number at `bits` of 2^32 among `0..count`.
fn part(bits: u32, count: u64) -> u64 {
    ((u128::from(bits) * u128::from(count)) >> 32) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Noise;

    const HALF: u32 = 1 << 31;

    fn place(owner: u32, number: u32, before: u32) -> Place {
        Place { owner, number, before }
    }

    #[test]
    fn places_are_those_of_an_owner_or_of_anybody() {
        // Two children, none, a hundred; three of nobody.
        let drawn = vec![SubColumnData::Code8(vec![0; 105])];
        let places = Places::new(Vec::new(), &[2, 0, 100, 3], drawn);
        assert_eq!([places.at(0, 0), places.at(0, HALF)], [place(0, 0, NONE), place(0, 1, 0)]);
        assert_eq!(places.at(1, HALF), place(1, 0, NONE));
        assert_eq!(places.at(2, HALF), place(2, 50, 51));
        assert_eq!([places.at(NONE, 0), places.at(NONE, HALF)], [place(0, 0, NONE), place(2, 50, 51)]);
        assert_eq!(places.at(NONE, u32::MAX), place(3, 2, 103));
        assert_eq!(places.of(2 + 64), place(2, 64, NONE), "a chain begins anew at every 64th sibling");
        assert_eq!(Places::new(Vec::new(), &[0], Vec::new()).at(NONE, HALF), place(0, 0, NONE));
    }

    #[test]
    fn proposals_weigh_as_much_as_the_places_are_frequent() {
        // A tenth of the rows are like the one of which something is given.
        let codes: Vec<u8> = (0..1000).map(|row| u8::from(row % 10 == 3)).collect();
        let places = Places::new(Vec::new(), &[1000], vec![SubColumnData::Code8(codes)]);
        let given = Given {
            known: vec![(5, vec![1, UNKNOWN])],
            told: Vec::new(),
            may_equal: Vec::new(),
            values: BTreeMap::new(),
        };
        let likeness = places.likeness(&given, 2, 5);
        let mut bits = vec![0; 20_000];
        Noise::new(1, b"places").purpose("test").fill_u32(0, &mut bits);
        let (mut alike, mut like_it, mut all) = (0, 0.0, 0.0);
        for (number, &bits) in bits.iter().enumerate() {
            let (place, weight) = places.proposed(&likeness, 0, number, bits);
            all += weight.exp();
            if place.number % 10 == 3 {
                alike += 1;
                like_it += weight.exp();
            }
        }
        // Standard errors: 70 rows of 11000; .002.
        assert!((alike - 11_000_i32).abs() < 350, "{alike}");
        assert!((like_it / all - 0.1_f64).abs() < 0.01, "{}", like_it / all);
        assert_eq!(places.proposed(&likeness, 1, 1, HALF), (place(0, 500, 499), 0.0), "nothing is given of it");
    }

    #[test]
    fn likeness_goes_as_far_as_there_are_rows() {
        let first = SubColumnData::Code8((0..100).map(|row| row / 50).collect());
        let second = SubColumnData::Code8((0..100).map(|row| row % 5).collect());
        let sorted = Sorted::new(&[&first, &second], 100);
        let alike = |codes: [u32; 2]| {
            let alike = sorted.alike([&first, &second].into_iter().zip(codes));
            (alike.len(), alike.into_iter().all(|at| first.code(sorted.rows[at] as usize) == codes[0]))
        };
        assert_eq!([alike([1, 4]), alike([0, 7])], [(10, true), (50, true)]);
        assert_eq!(alike([9, 4]).0, 100);
    }
}
