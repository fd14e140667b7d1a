//! Columns that are functions of others: not learned, but looked up.
//!
//! A grade's number goes with its name, a country with its city. Learned side by side, the two would at times contradict
//! each other, and no such row is in the data. What is seen of a table is compared two by two while it is scanned; a pair
//! is given up at the first row that contradicts it, so hardly any are looked at for long.

use crate::{
    Result,
    encode::{
        hash::{FixedState, hash_of},
        physical::{Lane, Physical, for_each_bytes, plain},
        wide::Float,
    },
};
use arrow::{
    array::{Array, ArrayRef},
    datatypes::{SchemaRef, i256},
};
use std::collections::HashMap;

/// Columns with more values are functions of no other, and no other of them.
const VALUES: usize = 4096;
/// Columns that are compared, at most: the first ones.
const COLUMNS: usize = 256;
/// Rows that would contradict the function by chance, if the columns were independent, at least.
const EVIDENCE: f64 = 30.0;
/// Rows per value of the column that another is a function of, on average and at least.
const ROWS_PER_VALUE: f64 = 2.0;
/// The hash of null, a value as others are.
const NULL: u64 = 0x6E75_6C6C;
const UNSEEN: u32 = u32::MAX;

/// What is left of the pairs of columns of which one may be a function of the other.
#[derive(Debug, Clone)]
pub(in crate::encode) struct Functions {
    columns: Vec<Candidate>,
    /// By the place of the column that the other may be a function of, then by that of the other.
    pairs: Vec<Pair>,
}

/// A column whose values are few.
#[derive(Debug, Clone)]
struct Candidate {
    column: usize,
    numbers: HashMap<u64, u32, FixedState>,
    /// Of each value, in the order of their numbers: hash and rows.
    values: Vec<(u64, u64)>,
    given_up: bool,
}

#[derive(Debug, Clone)]
enum Pair {
    Contradicted,
    /// The other column has one value so far, or none.
    Constant,
    /// The number of the other column's value for each of the one's, [`UNSEEN`] where there was none.
    Image(Vec<u32>),
}

/// A column that is a function of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::encode) struct Function {
    pub(in crate::encode) column: usize,
    pub(in crate::encode) of: usize,
    /// The hashes of the values that go together.
    image: HashMap<u64, u64, FixedState>,
}

impl Function {
    /// The place in `values` of what goes with each of `of`, which are all the values of either column.
    pub(in crate::encode) fn codes(&self, of: &ArrayRef, values: &ArrayRef) -> Result<Option<Vec<u32>>> {
        let places: HashMap<u64, u32, FixedState> = hashes(values)?.into_iter().zip(0..).collect();
        let place = |hash: u64| places.get(self.image.get(&hash)?).copied();
        Ok(hashes(of)?.into_iter().map(place).collect())
    }
}

/// The hashes of values, whatever their type.
fn hashes(array: &ArrayRef) -> Result<Vec<u64>> {
    fn numbers<W: Lane>(array: &dyn Array) -> Result<Vec<u64>> {
        let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
        let hash = |(row, value): (usize, W)| match nulls {
            Some(nulls) if nulls.is_null(row) => NULL,
            _ => hash_of(&value),
        };
        Ok(W::read(array)?.into_iter().enumerate().map(hash).collect())
    }
    let array = plain(array)?;
    match Physical::of(array.data_type()) {
        Some(Physical::Int) => numbers::<i64>(array.as_ref()),
        Some(Physical::Wide) => numbers::<i128>(array.as_ref()),
        Some(Physical::Huge) => numbers::<i256>(array.as_ref()),
        Some(Physical::Float) => numbers::<Float>(array.as_ref()),
        Some(Physical::Bytes) => {
            let mut hashes = Vec::with_capacity(array.len());
            for_each_bytes(array.as_ref(), |value| hashes.push(value.map_or(NULL, hash_of)))?;
            Ok(hashes)
        }
        Some(Physical::Null) | None => Ok(vec![NULL; array.len()]),
    }
}

impl Candidate {
    /// The number of a value, which occurs `rows` times more.
    fn number(&mut self, hash: u64, rows: u64) -> u32 {
        let next = self.values.len() as u32;
        let number = *self.numbers.entry(hash).or_insert(next);
        match self.values.get_mut(number as usize) {
            Some((_, count)) => *count += rows,
            None => self.values.push((hash, rows)),
        }
        number
    }

    /// The share of pairs of rows with different values.
    fn diversity(&self) -> f64 {
        let rows: u64 = self.values.iter().map(|(_, rows)| rows).sum();
        1.0 - self.values.iter().map(|&(_, count)| (count as f64 / rows as f64).powi(2)).sum::<f64>()
    }
}

impl Functions {
    /// Of the columns of `schema` that `may` be functions, and others of them.
    pub(in crate::encode) fn new(schema: &SchemaRef, may: impl Fn(usize) -> bool) -> Self {
        let comparable = |column: &usize| {
            let data_type = schema.field(*column).data_type();
            may(*column) && !matches!(Physical::of(data_type), Some(Physical::Null) | None)
        };
        let candidate = |column| Candidate { column, numbers: HashMap::default(), values: vec![], given_up: false };
        let columns: Vec<_> = (0..schema.fields().len()).filter(comparable).take(COLUMNS).map(candidate).collect();
        let pair = |at: usize| if at.is_multiple_of(columns.len() + 1) { Pair::Contradicted } else { Pair::Constant };
        Self { pairs: (0..columns.len().pow(2)).map(pair).collect(), columns }
    }

    /// Takes in rows.
    pub(in crate::encode) fn update(&mut self, arrays: &[ArrayRef]) -> Result<()> {
        let before: Vec<usize> = self.columns.iter().map(|column| column.values.len()).collect();
        let mut numbers = Vec::with_capacity(self.columns.len());
        for column in &mut self.columns {
            let mut of_rows = Vec::new();
            if !column.given_up {
                for hash in hashes(&arrays[column.column])? {
                    if column.values.len() > VALUES {
                        break;
                    }
                    of_rows.push(column.number(hash, 1));
                }
            }
            numbers.push(of_rows);
        }
        self.give_up();
        let width = self.columns.len();
        for (at, pair) in self.pairs.iter_mut().enumerate() {
            let (of, other) = (at / width, at % width);
            let known = self.columns[of].values.len();
            let image = match pair {
                Pair::Contradicted => continue,
                Pair::Constant if self.columns[other].values.len() <= 1 => continue,
                Pair::Constant => {
                    *pair = Pair::Image(vec![0; before[of]]);
                    let Pair::Image(image) = pair else { continue };
                    image
                }
                Pair::Image(image) => image,
            };
            image.resize(known, UNSEEN);
            let contradicted = numbers[of].iter().zip(&numbers[other]).any(|(&value, &other)| {
                let slot = &mut image[value as usize];
                if *slot == UNSEEN {
                    *slot = other;
                }
                *slot != other
            });
            if contradicted {
                *pair = Pair::Contradicted;
            }
        }
        self.give_up();
        Ok(())
    }

    /// Gives up columns with too many values, pairs that cannot be functions, and columns that are in no pair.
    fn give_up(&mut self) {
        let width = self.columns.len();
        for column in self.columns.iter_mut().filter(|column| column.values.len() > VALUES) {
            column.given_up = true;
        }
        let mut paired = vec![false; width];
        for (at, pair) in self.pairs.iter_mut().enumerate() {
            let (of, other) = (at / width, at % width);
            let [a, b] = [of, other].map(|at| &self.columns[at]);
            // A function has no more values than what it is a function of.
            if a.given_up || b.given_up || b.values.len() > a.values.len().max(1) {
                *pair = Pair::Contradicted;
            }
            if !matches!(pair, Pair::Contradicted) {
                (paired[of], paired[other]) = (true, true);
            }
        }
        for (column, _) in self.columns.iter_mut().zip(paired).filter(|(_, paired)| !paired) {
            column.given_up = true;
            (column.numbers, column.values) = Default::default();
        }
    }

    /// Takes in what was seen of other rows of the same table.
    pub(in crate::encode) fn merge(&mut self, other: Self) {
        let before: Vec<usize> = self.columns.iter().map(|column| column.values.len()).collect();
        let mut renumbered = Vec::with_capacity(self.columns.len());
        for (mine, theirs) in self.columns.iter_mut().zip(&other.columns) {
            mine.given_up |= theirs.given_up;
            let numbers: Vec<u32> = if mine.given_up {
                vec![]
            } else {
                theirs.values.iter().map(|&(hash, rows)| mine.number(hash, rows)).collect()
            };
            renumbered.push(numbers);
        }
        self.give_up();
        let width = self.columns.len();
        for (at, (pair, theirs)) in self.pairs.iter_mut().zip(other.pairs).enumerate() {
            let (of, to) = (at / width, at % width);
            let [a, b] = [of, to].map(|at| &self.columns[at]);
            if matches!(theirs, Pair::Contradicted) {
                *pair = Pair::Contradicted;
            }
            let mut image = match pair {
                Pair::Contradicted => continue,
                Pair::Constant if b.values.len() <= 1 => continue,
                Pair::Constant => vec![0; before[of]],
                Pair::Image(image) => std::mem::take(image),
            };
            image.resize(a.values.len(), UNSEEN);
            let seen = match theirs {
                Pair::Image(theirs) => theirs,
                _ => vec![0; renumbered[of].len()],
            };
            let consistent =
                seen.iter().zip(&renumbered[of]).filter(|(value, _)| **value != UNSEEN).all(|(&value, &to_)| {
                    let value = renumbered[to].get(value as usize).copied().unwrap_or(UNSEEN);
                    let slot = &mut image[to_ as usize];
                    if *slot == UNSEEN {
                        *slot = value;
                    }
                    *slot == value
                });
            *pair = if consistent { Pair::Image(image) } else { Pair::Contradicted };
        }
        self.give_up();
    }

    /// Bytes held.
    pub(in crate::encode) fn memory_size(&self) -> usize {
        let column = |column: &Candidate| column.values.capacity() * 40;
        let pair =
            |pair: &Pair| size_of::<Pair>() + if let Pair::Image(image) = pair { 4 * image.capacity() } else { 0 };
        self.columns.iter().map(column).sum::<usize>() + self.pairs.iter().map(pair).sum::<usize>()
    }

    /// The columns that are functions of others which are none themselves: of the one with the fewest values. `by_value`
    /// says which columns have a code per value, `may` which may be functions.
    pub(in crate::encode) fn found(
        &self,
        by_value: impl Fn(usize) -> bool,
        may: impl Fn(usize) -> bool,
    ) -> Vec<Function> {
        let mut order: Vec<usize> = (0..self.columns.len()).filter(|&at| !self.columns[at].given_up).collect();
        order.sort_by_key(|&at| std::cmp::Reverse(self.columns[at].values.len()));
        let mut found: Vec<Function> = Vec::new();
        let mut free: Vec<usize> = Vec::new();
        for other in order {
            let column = self.columns[other].column;
            let of = free.iter().rev().find_map(|&of| Some((of, self.image(of, other)?)));
            match of {
                Some((of, image)) if may(column) => {
                    found.push(Function { column, of: self.columns[of].column, image });
                }
                _ if by_value(column) => free.push(other),
                _ => {}
            }
        }
        found
    }

    /// The function from one column to another, if there is evidence for it.
    fn image(&self, of: usize, other: usize) -> Option<HashMap<u64, u64, FixedState>> {
        let Pair::Image(image) = &self.pairs[of * self.columns.len() + other] else { return None };
        let (of, other) = (&self.columns[of], &self.columns[other]);
        let rows: u64 = of.values.iter().map(|(_, rows)| rows).sum();
        let repeated = rows as f64 - of.values.len() as f64;
        let enough = rows as f64 >= ROWS_PER_VALUE * of.values.len() as f64;
        if !enough || repeated * other.diversity() < EVIDENCE {
            return None;
        }
        let hash = |&number: &u32| Some(other.values.get(number as usize)?.0);
        of.values.iter().zip(image).map(|((from, _), to)| Some((*from, hash(to)?))).collect()
    }
}
