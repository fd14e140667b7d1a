//! Structural zeros: codes that never go together (Bishop, Fienberg & Holland, "Discrete Multivariate Analysis", 1975, ch. 5).
//!
//! A business has no date of birth, and who has no employer has no occupation. Networks learn that nearly: some rows of a
//! hundred contradict it all the same. So what no row shows, although many rows would if columns were independent, is kept
//! beside the weights, and such codes are not drawn.

use crate::{
    Result, SynthError,
    encode::{CodeMatrix, Layout, SubColumn},
    models::HostTensor,
};
use std::{collections::BTreeMap, ops::Range};

/// Rows that would contradict a zero by chance, if the columns were independent, at least.
const EVIDENCE: f64 = 30.0;
/// Rows in which zeros are looked for; those found are then looked at in all rows.
const ROWS: usize = 1 << 18;
/// Codes of a column that are looked at, at most: the most frequent ones.
const CODES: usize = 1 << 10;
/// The logit of a code that must not be drawn.
pub(super) const NEVER: f32 = -1e30;
/// What weights call them.
const EXCLUDED: &str = "zeros.excluded";
const IMPLIED: &str = "zeros.implied";

/// Code `u` of column `j`, and code `v` of column `k`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pair {
    j: usize,
    u: u32,
    k: usize,
    v: u32,
}

/// What the rows of a table never have.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Zeros {
    /// No row has both codes.
    excluded: Vec<Pair>,
    /// No row has the first code without the second.
    implied: Vec<Pair>,
}

impl Zeros {
    /// Those of `rows`. Codes that stand for numbers are implied at most: that two bins never meet says nothing about their
    /// values.
    pub(super) fn of(rows: &CodeMatrix, layout: &Layout) -> Self {
        let every = |step: usize| (0..rows.len() as u32).step_by(step.max(1)).collect::<Vec<u32>>();
        let step = rows.len().div_ceil(ROWS);
        let some = every(step);
        let frequent: Vec<Frequent> =
            layout.subcolumns.iter().enumerate().map(|(at, of)| Frequent::new(rows, at, *of, &some)).collect();
        let numbered: Vec<Vec<u16>> = frequent.iter().map(|column| column.numbered(rows, &some)).collect();
        let all = if step > 1 { every(1) } else { Vec::new() };
        let mut zeros = Self::default();
        for k in layout.given..frequent.len() {
            for j in 0..k {
                let mut counts = Counts::new(&frequent[j], &frequent[k]);
                counts.add(&numbered[j], &numbered[k]);
                if step > 1 && counts.zeros() != Self::default() {
                    counts.clear();
                    for part in all.chunks(ROWS) {
                        counts.add(&frequent[j].numbered(rows, part), &frequent[k].numbered(rows, part));
                    }
                }
                let Self { excluded, implied } = counts.zeros();
                zeros.excluded.extend(excluded);
                zeros.implied.extend(implied);
            }
        }
        zeros
    }

    /// As tensors, which weights are kept as; none of what there is none of.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn save(&self, tensors: &mut BTreeMap<String, HostTensor>) {
        for (name, pairs) in [(EXCLUDED, &self.excluded), (IMPLIED, &self.implied)] {
            if !pairs.is_empty() {
                let numbers = pairs.iter().flat_map(|pair| [pair.j as u32, pair.u, pair.k as u32, pair.v]);
                let data = numbers.map(|number| number as f32).collect();
                tensors.insert(name.to_owned(), HostTensor { shape: vec![pairs.len(), 4], data });
            }
        }
    }

    /// Those of stored weights, of columns with so many codes.
    ///
    /// # Errors
    /// Codes that the columns do not have.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub(super) fn load(tensors: &BTreeMap<String, HostTensor>, cardinalities: &[usize]) -> Result<Self> {
        let pairs = |name: &str| {
            let Some(HostTensor { shape, data }) = tensors.get(name) else { return Ok(Vec::new()) };
            let pair = |numbers: &[f32; 4]| {
                let [j, u, k, v] = numbers.map(|number| number as u32);
                let pair = Pair { j: j as usize, u, k: k as usize, v };
                let there = |column: usize, code: u32| cardinalities.get(column).is_some_and(|&n| (code as usize) < n);
                (there(pair.j, u) && there(pair.k, v) && j != k).then_some(pair)
            };
            let (numbers, rest) = data.as_chunks::<4>();
            let pairs: Option<Vec<Pair>> = numbers.iter().map(pair).collect();
            pairs.filter(|pairs| rest.is_empty() && *shape == [pairs.len(), 4]).ok_or_else(|| SynthError::Artifact {
                path: "weights.safetensors".to_owned(),
                reason: format!("`{name}` names codes that the manifest's encoder does not have"),
            })
        };
        Ok(Self { excluded: pairs(EXCLUDED)?, implied: pairs(IMPLIED)? })
    }
}

/// The most frequent codes of a column.
struct Frequent {
    column: usize,
    codes: Vec<u32>,
    /// By code, its place in `codes`, or how many these are.
    places: Vec<u16>,
    /// Codes that stand for numbers.
    numbers: Range<u32>,
}

impl Frequent {
    fn new(rows: &CodeMatrix, column: usize, of: SubColumn, some: &[u32]) -> Self {
        let cardinality = match of {
            SubColumn::Code { cardinality, .. } => cardinality as usize,
            SubColumn::Scalar => 0,
        };
        let mut counts = vec![0u32; cardinality];
        if cardinality > 1 {
            rows.for_each_code(column, some, |_, code| counts[code as usize] += 1);
        }
        let mut codes: Vec<u32> =
            (0..).take(cardinality).filter(|&code| f64::from(counts[code as usize]) > EVIDENCE).collect();
        codes.sort_by_key(|&code| (std::cmp::Reverse(counts[code as usize]), code));
        codes.truncate(CODES);
        codes.sort_unstable();
        let mut places = vec![codes.len() as u16; cardinality];
        (0..).zip(&codes).for_each(|(place, &code)| places[code as usize] = place);
        let numbers = of.ascending();
        Self { column, codes, places, numbers: numbers.start..numbers.end }
    }

    /// The places of the codes of the rows `some`; nothing if no code is frequent.
    fn numbered(&self, rows: &CodeMatrix, some: &[u32]) -> Vec<u16> {
        let mut places = Vec::new();
        if !self.codes.is_empty() {
            places.reserve(some.len());
            rows.for_each_code(self.column, some, |_, code| places.push(self.places[code as usize]));
        }
        places
    }
}

/// How often the frequent codes of two columns go together; the last row and column are of all others.
struct Counts<'a> {
    j: &'a Frequent,
    k: &'a Frequent,
    counts: Vec<u32>,
}

impl<'a> Counts<'a> {
    fn new(j: &'a Frequent, k: &'a Frequent) -> Self {
        Self { j, k, counts: vec![0; (j.codes.len() + 1) * (k.codes.len() + 1)] }
    }

    fn clear(&mut self) {
        self.counts.fill(0);
    }

    fn add(&mut self, of_j: &[u16], of_k: &[u16]) {
        let width = self.k.codes.len() + 1;
        for (&u, &v) in of_j.iter().zip(of_k) {
            self.counts[usize::from(u) * width + usize::from(v)] += 1;
        }
    }

    fn zeros(&self) -> Zeros {
        let width = self.k.codes.len() + 1;
        let by_u: Vec<f64> = self.counts.chunks(width).map(|row| row.iter().copied().map(f64::from).sum()).collect();
        let by_v: Vec<f64> =
            (0..width).map(|v| self.counts.iter().skip(v).step_by(width).copied().map(f64::from).sum()).collect();
        let rows: f64 = by_u.iter().sum();
        let (j, k) = (self.j.column, self.k.column);
        let mut zeros = Zeros::default();
        for (row, (&u, &with_u)) in self.counts.chunks(width).zip(self.j.codes.iter().zip(&by_u)) {
            for (&both, (&v, &with_v)) in row.iter().zip(self.k.codes.iter().zip(&by_v)) {
                let both = f64::from(both);
                if both == with_u && with_u * (1.0 - with_v / rows) >= EVIDENCE {
                    zeros.implied.push(Pair { j, u, k, v });
                }
                if both == with_v && with_v * (1.0 - with_u / rows) >= EVIDENCE {
                    zeros.implied.push(Pair { j: k, u: v, k: j, v: u });
                }
                let a_number = self.j.numbers.contains(&u) || self.k.numbers.contains(&v);
                if both == 0.0 && !a_number && with_u * with_v / rows >= EVIDENCE {
                    zeros.excluded.push(Pair { j, u, k, v });
                }
            }
        }
        zeros
    }
}

/// A set of codes, a bit each.
type Codes = Box<[u64]>;

fn without(codes: &mut [u64], code: u32) {
    codes[code as usize / 64] &= !(1 << (code % 64));
}

/// The codes of a set of words.
fn bits(words: impl Iterator<Item = u64>) -> impl Iterator<Item = usize> {
    words.enumerate().flat_map(|(at, mut word)| {
        std::iter::from_fn(move || {
            let bit = word.trailing_zeros() as usize;
            word &= word.wrapping_sub(1);
            (bit < 64).then_some(at * 64 + bit)
        })
    })
}

/// The codes in a set.
pub(super) fn members(codes: &[u64]) -> impl Iterator<Item = usize> {
    bits(codes.iter().copied())
}

/// The codes of `all` that are not in `left`.
pub(super) fn lost(all: &[u64], left: &[u64]) -> impl Iterator<Item = usize> {
    bits(all.iter().zip(left).map(|(all, left)| all & !left))
}

/// The code of a set of one.
pub(super) fn only(codes: &[u64]) -> Option<u32> {
    let mut words = (0..).step_by(64).zip(codes).filter(|(_, word)| **word != 0);
    let (first, word) = words.next()?;
    (word.is_power_of_two() && words.next().is_none()).then(|| first + word.trailing_zeros())
}

/// What the codes of one column leave of another's.
#[derive(Debug)]
struct Told {
    of: usize,
    /// By code; none where all are left.
    left: Vec<Option<Codes>>,
}

/// What the codes of columns leave of each other.
#[derive(Debug)]
pub(super) struct Masks {
    /// By column.
    told: Vec<Vec<Told>>,
    all: Vec<Codes>,
}

impl Masks {
    /// Of columns with so many codes, of which some tell of a row's sibling.
    pub(super) fn new(zeros: &Zeros, cardinalities: &[usize], siblings: &Range<usize>) -> Self {
        let all = cardinalities.iter().map(|&cardinality| {
            let word = |word: usize| match cardinality.saturating_sub(word * 64) {
                left if left < 64 => (1u64 << left) - 1,
                _ => u64::MAX,
            };
            (0..cardinality.div_ceil(64)).map(word).collect()
        });
        let mut masks = Self { told: cardinalities.iter().map(|_| Vec::new()).collect(), all: all.collect() };
        for &Pair { j, u, k, v } in &zeros.excluded {
            without(masks.left(j, u, k), v);
            without(masks.left(k, v, j), u);
        }
        for &Pair { j, u, k, v } in &zeros.implied {
            let left = masks.left(j, u, k);
            let there = left[v as usize / 64] >> (v % 64) & 1;
            left.fill(0);
            left[v as usize / 64] = there << (v % 64);
            for other in (0..cardinalities[k] as u32).filter(|&other| other != v) {
                without(masks.left(k, other, j), u);
            }
        }
        // A row goes by its owner and agrees with itself, even where that is not what its sibling would have.
        masks.told.iter_mut().for_each(|told| told.sort_by_key(|told| siblings.contains(&told.of)));
        masks
    }

    /// What code `u` of column `j` leaves of column `k`.
    fn left(&mut self, j: usize, u: u32, k: usize) -> &mut Codes {
        let at = self.told[k].iter().position(|told| told.of == j).unwrap_or_else(|| {
            self.told[k].push(Told { of: j, left: vec![None; self.all[j].len() * 64] });
            self.told[k].len() - 1
        });
        let all = &self.all[k];
        self.told[k][at].left[u as usize].get_or_insert_with(|| all.clone())
    }

    /// All codes of column `k` but those of `never`.
    pub(super) fn all_but(&self, k: usize, never: &[(usize, u32)]) -> Codes {
        let mut codes = self.all[k].clone();
        never.iter().filter(|(column, _)| *column == k).for_each(|&(_, code)| without(&mut codes, code));
        codes
    }

    /// Calls `each` with those rows of `rows` in which `known` codes, by column, leave but some of the codes `all` of column
    /// `k`, and with these. What would leave none is passed over, of a sibling first: a row is known then that none is like.
    pub(super) fn for_each(
        &self,
        (k, all): (usize, &[u64]),
        known: &[Vec<u32>],
        rows: Range<usize>,
        mut each: impl FnMut(usize, &[u64]),
    ) {
        let told: Vec<_> = self.told[k].iter().filter(|told| !known[told.of].is_empty()).collect();
        if told.is_empty() {
            return;
        }
        let mut left = all.to_vec();
        for row in rows {
            let mut some = false;
            for Told { of, left: by_code } in &told {
                // UNKNOWN is beyond all codes.
                let Some(Some(codes)) = by_code.get(known[*of][row] as usize) else { continue };
                if left.iter().zip(codes).any(|(left, codes)| left & codes != 0) {
                    left.iter_mut().zip(codes).for_each(|(left, codes)| *left &= codes);
                    some = true;
                }
            }
            if some {
                each(row, &left);
                left.copy_from_slice(all);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        encode::{EncodedRows, UNKNOWN},
        models::test_support::codes,
    };

    /// Rows of columns with so many codes each.
    fn table(cardinalities: &[u32], rows: impl Iterator<Item = Vec<u32>>) -> (Layout, CodeMatrix) {
        let layout = codes(cardinalities);
        let mut out = EncodedRows::with_capacity(&layout, 0);
        for row in rows {
            out.subcolumns.iter_mut().zip(row).for_each(|(column, code)| column.push_code(code));
            out.rows += 1;
        }
        (layout, out.into())
    }

    /// Codes 0 to 3, and 0 where that is 3, else 1, 2 or 3, whichever 100 rows have had.
    fn decided(rows: u32) -> (Layout, CodeMatrix) {
        table(&[4, 4], (0..rows).map(|row| vec![row % 4, if row % 4 == 3 { 0 } else { 1 + row / 100 % 3 }]))
    }

    fn left(masks: &Masks, k: usize, known: &[Vec<u32>]) -> Vec<Option<Vec<usize>>> {
        let mut found = vec![None; known.iter().map(Vec::len).max().unwrap_or(0)];
        let (all, rows) = (masks.all_but(k, &[]), 0..found.len());
        masks.for_each((k, &all), known, rows, |row, codes| found[row] = Some(members(codes).collect()));
        found
    }

    #[test]
    fn what_another_column_decides_is_found_and_told_both_ways() {
        let (layout, rows) = decided(600);
        let masks = Masks::new(&Zeros::of(&rows, &layout), &[4, 4], &(0..0));
        let known = vec![vec![0, 3, UNKNOWN], vec![]];
        assert_eq!(left(&masks, 1, &known), [Some(vec![1, 2, 3]), Some(vec![0]), None]);
        assert_eq!(left(&masks, 0, &[vec![], vec![0, 2]]), [Some(vec![3]), Some(vec![0, 1, 2])]);
    }

    #[test]
    fn what_chance_would_do_is_no_zero() {
        // 25 rows of the third code, all with the same of the other column; 40 of the fourth, where half of all rows have it.
        let other = |row: u32| if row < 65 { 1 } else { row % 2 };
        let code = |row: u32| match row {
            0..25 => 2,
            25..65 => 3,
            _ => row / 2 % 2,
        };
        let (layout, rows) = table(&[4, 2], (0..1000).map(|row| vec![code(row), other(row)]));
        assert_eq!(Zeros::of(&rows, &layout), Zeros::default());
    }

    #[test]
    fn bins_of_numbers_exclude_nothing() {
        // Codes 1 to 10 of either column are bins; 0 is null in both, and in no row of the third.
        let code = |row: u32| if row.is_multiple_of(5) { 0 } else { 1 + row % 10 };
        let (mut layout, rows) =
            table(&[11, 11, 2], (0..5000).map(|row| vec![code(row), code(row), u32::from(row % 5 > 1)]));
        layout.subcolumns[0] = SubColumn::numbers(1, 11);
        layout.subcolumns[1] = SubColumn::numbers(1, 11);
        let zeros = Zeros::of(&rows, &layout);
        assert!(zeros.excluded.iter().all(|pair| pair.u == 0 && pair.k == 2), "{:?}", zeros.excluded);
        assert!(zeros.implied.contains(&Pair { j: 0, u: 0, k: 1, v: 0 }));
    }

    #[test]
    fn one_row_of_many_contradicts() {
        let rows = |except: usize| {
            let row =
                move |row: usize| vec![(row / 2 % 2) as u32, u32::from((row / 2).is_multiple_of(2) || row == except)];
            table(&[2, 2], (0..2 * ROWS).map(row))
        };
        let (layout, pure) = rows(usize::MAX);
        assert_eq!(Zeros::of(&pure, &layout).implied.len(), 4);
        // Rows are looked at by twos first.
        let (layout, contradicted) = rows(2 * ROWS - 1);
        let implied = Zeros::of(&contradicted, &layout).implied;
        assert_eq!(implied, [Pair { j: 0, u: 0, k: 1, v: 1 }, Pair { j: 1, u: 0, k: 0, v: 1 }]);
    }

    #[test]
    fn a_row_that_no_row_is_like_leaves_what_it_can() {
        let (layout, rows) = table(&[2, 2, 2], (0..400).map(|row| vec![row % 2; 3]));
        let masks = Masks::new(&Zeros::of(&rows, &layout), &[2, 2, 2], &(0..0));
        assert_eq!(left(&masks, 2, &[vec![1, 1], vec![1, 0], vec![]]), [Some(vec![1]), Some(vec![1])]);
        // The first column is a sibling's.
        let masks = Masks::new(&Zeros::of(&rows, &layout), &[2, 2, 2], &(0..1));
        assert_eq!(left(&masks, 2, &[vec![1, 1], vec![1, 0], vec![]]), [Some(vec![1]), Some(vec![0])]);
    }

    #[test]
    fn codes_not_to_be_drawn_are_none_to_be_left_with() {
        let (layout, rows) = decided(600);
        let masks = Masks::new(&Zeros::of(&rows, &layout), &[4, 4], &(0..0));
        let all = masks.all_but(1, &[(1, 0), (0, 2)]);
        assert_eq!(members(&all).collect::<Vec<_>>(), [1, 2, 3]);
        let mut rows = Vec::new();
        masks.for_each((1, &all), &[vec![3, 0], vec![]], 0..2, |row, _| rows.push(row));
        assert_eq!(rows, [1]);
    }

    #[test]
    fn zeros_outlive_the_state_and_damage_is_found() {
        let (layout, rows) = decided(600);
        let zeros = Zeros::of(&rows, &layout);
        let mut tensors = BTreeMap::new();
        zeros.save(&mut tensors);
        assert_eq!(Zeros::load(&tensors, &[4, 4]).unwrap(), zeros);
        assert_eq!(Zeros::load(&BTreeMap::new(), &[4, 4]).unwrap(), Zeros::default());
        for cardinalities in [vec![4, 3], vec![4]] {
            let error = Zeros::load(&tensors, &cardinalities).unwrap_err();
            assert!(error.to_string().contains("zeros."), "{error}");
        }
        tensors.get_mut(EXCLUDED).unwrap().data.pop();
        assert!(Zeros::load(&tensors, &[4, 4]).is_err());
    }

    #[test]
    fn sets_of_more_than_a_word() {
        let masks = Masks::new(&Zeros::default(), &[130], &(0..0));
        let all = masks.all_but(0, &[]);
        assert_eq!(members(&all).collect::<Vec<_>>(), (0..130).collect::<Vec<_>>());
        let most = masks.all_but(0, &[(0, 63), (0, 129)]);
        assert_eq!(lost(&all, &most).collect::<Vec<_>>(), [63, 129]);
        assert_eq!((only(&all), only(&[0, 4]), only(&[0, 0])), (None, Some(66), None));
    }
}
