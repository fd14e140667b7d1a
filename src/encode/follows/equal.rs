//! Numbers that at times are those of another column: a bill paid in full, a price as it stands in the list.
//!
//! In quantile bins the two would be close, hardly ever equal. So "the same as that one" is a code of its own.

use super::of_type;
use crate::{
    Result,
    encode::{columns::ColumnEncoder, profile::ColumnProfile, sketch::Limits},
};
use arrow::{
    array::{Array, ArrayRef, BooleanArray},
    compute::{filter, kernels::cmp::eq},
    datatypes::SchemaRef,
};

/// Columns that are compared, at most: the first ones.
const COLUMNS: usize = 64;
/// The share of all rows that are equal beyond the values that have codes anyway, at least.
const SHARE: f64 = 0.05;
/// Values that are kept of those that are equal.
const VALUES: Limits = Limits { values: 1 << 10, bytes: 1 << 20 };

/// A column, another of its type before it, and the values that both had in the same rows.
#[derive(Debug, Clone)]
pub(in crate::encode) struct Equal {
    pub(in crate::encode) column: usize,
    pub(in crate::encode) base: usize,
    values: ColumnProfile,
}

/// The rows in which both have the same value.
pub(in crate::encode) fn equal(a: &ArrayRef, b: &ArrayRef) -> Result<BooleanArray> {
    let same = eq(a, b)?;
    Ok((0..same.len()).map(|row| Some(same.is_valid(row) && same.value(row))).collect())
}

impl Equal {
    /// The pairs of columns of `schema` to look at; `may` says which columns may be coded so.
    pub(in crate::encode) fn pairs(schema: &SchemaRef, may: impl Fn(usize) -> bool) -> Result<Vec<Self>> {
        let mut pairs = Vec::new();
        let is_number = |at: &usize| schema.field(*at).data_type().is_numeric();
        let numbers: Vec<usize> =
            (0..schema.fields().len()).filter(|&at| may(at)).filter(is_number).take(COLUMNS).collect();
        for (number, &column) in numbers.iter().enumerate() {
            for base in of_type(schema, column, &numbers[..number]) {
                let values = ColumnProfile::of_numbers(schema.field(column), VALUES)?;
                pairs.push(Self { column, base, values });
            }
        }
        Ok(pairs)
    }

    pub(in crate::encode) fn update(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let (column, base) = (&columns[self.column], &columns[self.base]);
        let same = eq(column, base)?;
        if same.true_count() > 0 {
            self.values.update(&filter(column, &same)?)?;
        }
        Ok(())
    }

    pub(in crate::encode) fn merge(&mut self, other: Self) -> Result<()> {
        self.values.merge(other.values)
    }

    pub(in crate::encode) fn memory_size(&self) -> usize {
        self.values.memory_size()
    }

    /// The share, of `rows` rows, of those that are equal where the column's value is one of many of its code; none if that is
    /// not worth a code.
    pub(in crate::encode) fn share(
        &self,
        encoder: &ColumnEncoder,
        rows: u64,
        schema: &SchemaRef,
    ) -> Result<Option<f64>> {
        let Some((values, weights)) = self.values.distribution(schema.field(self.column).data_type())? else {
            return Ok(None);
        };
        let codes = encoder.codes(values.as_ref())?.into_iter().zip(weights);
        let equal: f64 =
            codes.filter(|(code, _)| code.is_some_and(|code| encoder.is_bin(code))).map(|(_, weight)| weight).sum();
        Ok(Some(equal / rows.max(1) as f64).filter(|&share| share >= SHARE))
    }
}
