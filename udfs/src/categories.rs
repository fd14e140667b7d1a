//! Counts by category, of values of any type.

use crate::samples::{list, list_field};
use arrow::{
    array::{Array, ArrayRef, AsArray, BinaryArray, UInt64Array},
    datatypes::{DataType, FieldRef, UInt64Type},
    row::{RowConverter, SortField},
};
use datafusion::{
    common::{Result, ScalarValue, exec_err},
    logical_expr::function::AccumulatorArgs,
};
use std::{collections::HashMap, sync::Arc};

/// A category: a value of each column, in arrow's row format (equal values, equal bytes; null is a value). All but the
/// last are preceded by their length.
type Category = Box<[u8]>;

/// Rows by category and kind.
pub(crate) struct CategoryCounts {
    converters: Vec<RowConverter>,
    kinds: usize,
    counts: HashMap<Category, Vec<u64>>,
    /// Bytes of the categories.
    bytes: usize,
}

/// State of [`CategoryCounts`]: a list of values for each column, a list of counts for each kind.
pub(crate) fn list_fields(function: &str, columns: usize, kinds: usize) -> Vec<FieldRef> {
    let values = (0..columns).map(|column| list_field(function, &format!("value{column}"), DataType::Binary));
    let counts = (0..kinds).map(|kind| list_field(function, &format!("count{kind}"), DataType::UInt64));
    values.chain(counts).collect()
}

impl CategoryCounts {
    /// Counts of the first `columns` arguments, in `kinds` kinds of rows.
    pub(crate) fn new(arguments: &AccumulatorArgs, columns: usize, kinds: usize) -> Result<Self> {
        let converters = (arguments.expr_fields.iter().take(columns))
            .map(|field| Ok(RowConverter::new(vec![SortField::new(field.data_type().clone())])?))
            .collect::<Result<_>>()?;
        Ok(Self { converters, kinds, counts: HashMap::new(), bytes: 0 })
    }

    /// Adds rows; `kind` says which of the counts a row adds to, if any.
    pub(crate) fn update(&mut self, columns: &[ArrayRef], kind: impl Fn(usize) -> Option<usize>) -> Result<()> {
        let rows = (self.converters.iter_mut().zip(columns))
            .map(|(converter, column)| Ok(converter.convert_columns(&[Arc::clone(column)])?))
            .collect::<Result<Vec<_>>>()?;
        let length = rows.first().map_or(0, |rows| rows.num_rows());
        let mut category = Vec::new();
        for row in 0..length {
            if let Some(kind) = kind(row) {
                write(&mut category, rows.iter().map(|rows| rows.row(row).data()));
                self.add(&category, kind, 1);
            }
        }
        Ok(())
    }

    /// Adds states.
    pub(crate) fn merge(&mut self, states: &[ArrayRef]) -> Result<()> {
        let columns = self.converters.len();
        if states.len() != columns + self.kinds {
            return exec_err!("got {} state fields, expected {}", states.len(), columns + self.kinds);
        }
        for state in 0..states[0].len() {
            let lists: Vec<ArrayRef> = states.iter().map(|lists| lists.as_list::<i32>().value(state)).collect();
            let (values, counts) = lists.split_at(columns);
            let mut category = Vec::new();
            for item in 0..values[0].len() {
                write(&mut category, values.iter().map(|list| list.as_binary::<i32>().value(item)));
                for (kind, counts) in counts.iter().enumerate() {
                    self.add(&category, kind, counts.as_primitive::<UInt64Type>().value(item));
                }
            }
        }
        Ok(())
    }

    /// The state.
    pub(crate) fn state(&self) -> Vec<ScalarValue> {
        let values = (0..self.converters.len()).map(|column| {
            let values = self.counts.keys().map(|category| self.parts(category)[column]);
            list(Arc::new(BinaryArray::from_iter_values(values)))
        });
        let counts = (0..self.kinds)
            .map(|kind| list(Arc::new(UInt64Array::from_iter_values(self.counts.values().map(|counts| counts[kind])))));
        values.chain(counts).collect()
    }

    /// The categories and their counts, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Vec<&[u8]>, &[u64])> {
        self.counts.iter().map(|(category, counts)| (self.parts(category), counts.as_slice()))
    }

    /// Bytes held.
    pub(crate) fn size(&self) -> usize {
        size_of_val(self)
            + self.bytes
            + self.counts.capacity() * (size_of::<Category>() + size_of::<Vec<u64>>())
            + self.converters.iter().map(RowConverter::size).sum::<usize>()
    }

    fn add(&mut self, category: &[u8], kind: usize, rows: u64) {
        if let Some(counts) = self.counts.get_mut(category) {
            counts[kind] += rows;
            return;
        }
        let mut counts = vec![0; self.kinds];
        counts[kind] = rows;
        self.bytes += category.len() + size_of_val(counts.as_slice());
        self.counts.insert(category.into(), counts);
    }

    fn parts<'a>(&self, mut category: &'a [u8]) -> Vec<&'a [u8]> {
        let mut parts = Vec::with_capacity(self.converters.len());
        while parts.len() + 1 < self.converters.len()
            && let Some((length, rest)) = category.split_first_chunk()
        {
            let (part, rest) = rest.split_at(usize::from_le_bytes(*length));
            parts.push(part);
            category = rest;
        }
        parts.push(category);
        parts
    }
}

fn write<'a>(category: &mut Vec<u8>, mut parts: impl ExactSizeIterator<Item = &'a [u8]>) {
    category.clear();
    while let Some(part) = parts.next() {
        if parts.len() > 0 {
            category.extend_from_slice(&part.len().to_le_bytes());
        }
        category.extend_from_slice(part);
    }
}

impl std::fmt::Debug for CategoryCounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CategoryCounts").field("kinds", &self.kinds).field("categories", &self.counts.len()).finish()
    }
}
