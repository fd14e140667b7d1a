//! Columns of which one is set in every row: a category, one-hot (what `get_dummies` or a feature store leaves of it).
//!
//! Learned one by one, none or several would be set at times, and a network per value would be needed. They are learned as
//! the category that they stand for. While a table is scanned, sets of rows are compared two by two; columns that hold
//! anything else than 0 and 1 are given up at the first row that does.

use crate::{Result, encode::physical::plain};
use arrow::{
    array::{Array, ArrayRef, AsArray},
    buffer::BooleanBuffer,
    compute::cast,
    datatypes::{DataType, Float64Type, SchemaRef},
};

/// Columns that are compared, at most: the first ones.
const COLUMNS: usize = 256;
/// Columns of a category, at least: of two, one is a function of the other.
const CATEGORIES: usize = 3;
/// Rows that must have exactly one set.
const ROWS: u64 = 50;

/// What is left of the columns that may be one-hot.
#[derive(Debug, Clone)]
pub(in crate::encode) struct OneHot {
    columns: Vec<Flags>,
    /// By the places of two columns, the first before the second: whether no row has both set.
    apart: Vec<bool>,
}

/// A column of zeros and ones.
#[derive(Debug, Clone)]
struct Flags {
    column: usize,
    /// Rows in which it is 1.
    set: u64,
    given_up: bool,
}

/// Where an array without nulls is 1 rather than 0; none if it holds anything else.
fn flags(array: &ArrayRef) -> Result<Option<BooleanBuffer>> {
    let array = plain(array)?;
    if array.null_count() > 0 {
        return Ok(None);
    }
    if let Some(flags) = array.as_boolean_opt() {
        return Ok(Some(flags.values().clone()));
    }
    let numbers = cast(&array, &DataType::Float64)?;
    let numbers = numbers.as_primitive::<Float64Type>().values();
    let flags = numbers.iter().all(|&number| number == 0.0 || number == 1.0);
    Ok(flags.then(|| numbers.iter().map(|&number| number == 1.0).collect()))
}

impl OneHot {
    /// Nothing seen yet of the columns of `schema`; `may` says which columns may be coded so.
    pub(in crate::encode) fn new(schema: &SchemaRef, may: impl Fn(usize) -> bool) -> Self {
        let plain = |at: &usize| {
            let data_type = schema.field(*at).data_type();
            data_type.is_integer() || data_type.is_floating() || *data_type == DataType::Boolean
        };
        let columns: Vec<Flags> = (0..schema.fields().len())
            .filter(|&at| may(at))
            .filter(plain)
            .take(COLUMNS)
            .map(|column| Flags { column, set: 0, given_up: false })
            .collect();
        Self { apart: vec![true; columns.len().pow(2)], columns }
    }

    /// Takes in rows.
    pub(in crate::encode) fn update(&mut self, arrays: &[ArrayRef]) -> Result<()> {
        let mut seen = Vec::with_capacity(self.columns.len());
        for column in &mut self.columns {
            let flags = if column.given_up { None } else { flags(&arrays[column.column])? };
            column.given_up |= flags.is_none();
            column.set += flags.as_ref().map_or(0, BooleanBuffer::count_set_bits) as u64;
            seen.push(flags);
        }
        let width = seen.len();
        for (at, first) in seen.iter().enumerate() {
            for (other, second) in seen.iter().enumerate().skip(at + 1) {
                if let (true, Some(first), Some(second)) = (self.apart[at * width + other], first, second) {
                    self.apart[at * width + other] = (first & second).count_set_bits() == 0;
                }
            }
        }
        Ok(())
    }

    /// Takes in what was seen of other rows of the same table.
    pub(in crate::encode) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.columns.iter_mut().zip(&other.columns) {
            mine.set += theirs.set;
            mine.given_up |= theirs.given_up;
        }
        self.apart.iter_mut().zip(&other.apart).for_each(|(mine, theirs)| *mine &= theirs);
    }

    /// Bytes held.
    pub(in crate::encode) fn memory_size(&self) -> usize {
        self.columns.capacity() * size_of::<Flags>() + self.apart.capacity()
    }

    /// The categories of a table of `rows` rows, as columns that stand side by side; columns that are 0 in all rows may stand
    /// between them.
    pub(in crate::encode) fn found(&self, rows: u64) -> Vec<Vec<usize>> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < self.columns.len() && rows >= ROWS {
            match self.from(at, rows) {
                Some((category, end)) => {
                    found.push(category);
                    at = end;
                }
                None => at += 1,
            }
        }
        found
    }

    /// The category whose first column is at `at`, and where it ends.
    fn from(&self, at: usize, rows: u64) -> Option<(Vec<usize>, usize)> {
        let mut places: Vec<usize> = Vec::new();
        let mut set = 0;
        for (next, column) in self.columns.iter().enumerate().skip(at) {
            let beside = next == at || column.column == self.columns[next - 1].column + 1;
            if column.given_up || !beside || (next == at && column.set == 0) {
                return None;
            }
            if column.set == 0 {
                continue;
            }
            if !places.iter().all(|&place| self.apart[place * self.columns.len() + next]) {
                return None;
            }
            places.push(next);
            set += column.set;
            if set == rows {
                let columns = places.iter().map(|&place| self.columns[place].column).collect();
                return (places.len() >= CATEGORIES).then_some((columns, next + 1));
            }
        }
        None
    }
}
