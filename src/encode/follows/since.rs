//! Dates and times that follow others: learned as the time since them.
//!
//! A shipment comes some days after its order. Said as a date of its own, in quantile bins of weeks, it would as often come
//! before it; said as the time since the order it keeps its order and its precision.

use super::of_type;
use crate::{
    Result,
    encode::{columns::Sketch, profile::ColumnProfile, sketch::Limits},
};
use arrow::{
    array::{Array, ArrayRef, AsArray, Int64Array},
    compute::cast,
    datatypes::{DataType, Field, Int64Type, SchemaRef},
};

/// Columns before it that one is compared with, at most.
const BASES: usize = 4;
/// A time since another that always has one sign may spread this much as widely as the column itself ...
const ORDERED: f64 = 1.0;
/// ... and any other only this much.
const CLOSE: f64 = 0.2;
/// Rows that must have both.
const ROWS: u64 = 50;

/// A column, another of its type before it, and what lies between them.
#[derive(Debug, Clone)]
pub(in crate::encode) struct Since {
    column: usize,
    base: usize,
    difference: ColumnProfile,
    /// Rows that have the column and not its base.
    alone: u64,
}

/// Whether differences of values of a type are times.
pub(crate) fn is_instant(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Date32 | DataType::Date64 | DataType::Timestamp(..))
}

/// The field that the differences of a column have.
pub(in crate::encode) fn difference_field(column: &Field) -> Field {
    Field::new(column.name(), DataType::Int64, column.is_nullable())
}

/// `column` - `base`, null where either is, in the unit of their type.
pub(in crate::encode) fn difference(column: &ArrayRef, base: &ArrayRef) -> Result<ArrayRef> {
    combined(column, base, i64::checked_sub)
}

/// `base` + `difference`, of the base's type.
pub(in crate::encode) fn later(base: &ArrayRef, difference: &ArrayRef) -> Result<ArrayRef> {
    let numbers = combined(base, difference, i64::checked_add)?;
    let data_type = base.data_type();
    let numbers = if *data_type == DataType::Date32 { cast(&numbers, &DataType::Int32)? } else { numbers };
    Ok(cast(&numbers, data_type)?)
}

fn combined(a: &ArrayRef, b: &ArrayRef, with: fn(i64, i64) -> Option<i64>) -> Result<ArrayRef> {
    let numbers = |array: &ArrayRef| -> Result<ArrayRef> {
        let narrow = *array.data_type() == DataType::Date32;
        let array = if narrow { cast(array, &DataType::Int32)? } else { ArrayRef::clone(array) };
        Ok(cast(&array, &DataType::Int64)?)
    };
    let (a, b) = (numbers(a)?, numbers(b)?);
    let pairs = a.as_primitive::<Int64Type>().iter().zip(b.as_primitive::<Int64Type>());
    Ok(std::sync::Arc::new(pairs.map(|(a, b)| with(a?, b?)).collect::<Int64Array>()))
}

impl Since {
    /// The pairs of columns of `schema` to look at; `may` says which columns may be coded so.
    pub(in crate::encode) fn pairs(schema: &SchemaRef, may: impl Fn(usize) -> bool) -> Result<Vec<Self>> {
        let mut pairs = Vec::new();
        let instants: Vec<usize> =
            (0..schema.fields().len()).filter(|&at| may(at) && is_instant(schema.field(at).data_type())).collect();
        for (number, &column) in instants.iter().enumerate() {
            for base in of_type(schema, column, &instants[..number]).rev().take(BASES) {
                let difference = ColumnProfile::of_numbers(&difference_field(schema.field(column)), Limits::INFERRED)?;
                pairs.push(Self { column, base, difference, alone: 0 });
            }
        }
        Ok(pairs)
    }

    pub(in crate::encode) fn update(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let (column, base) = (&columns[self.column], &columns[self.base]);
        let between = difference(column, base)?;
        self.alone += (between.null_count() - column.null_count()) as u64;
        self.difference.update(&between)
    }

    pub(in crate::encode) fn merge(&mut self, other: Self) -> Result<()> {
        self.alone += other.alone;
        self.difference.merge(other.difference)
    }

    pub(in crate::encode) fn memory_size(&self) -> usize {
        self.difference.memory_size()
    }

    /// Per column that is best learned as the time since another: that one, and the profile of the difference.
    pub(in crate::encode) fn best(pairs: Vec<Self>, columns: &[ColumnProfile]) -> Vec<(usize, usize, ColumnProfile)> {
        let mut best: Vec<(usize, usize, f64, ColumnProfile)> = Vec::new();
        for pair in pairs.into_iter().filter(|pair| pair.alone == 0) {
            let (Some(own), Some(between)) = (spread(&columns[pair.column]), spread(&pair.difference)) else {
                continue;
            };
            let limit = if between.one_sided { ORDERED } else { CLOSE };
            if between.rows < ROWS || own.width <= 0.0 || between.width > limit * own.width {
                continue;
            }
            match best.iter_mut().find(|(column, ..)| *column == pair.column) {
                Some(known) if between.width < known.2 => {
                    *known = (pair.column, pair.base, between.width, pair.difference);
                }
                Some(_) => {}
                None => best.push((pair.column, pair.base, between.width, pair.difference)),
            }
        }
        best.into_iter().map(|(column, base, _, difference)| (column, base, difference)).collect()
    }
}

struct Spread {
    rows: u64,
    /// Between the 5 % and the 95 % quantile.
    width: f64,
    /// No value is below zero, or none above.
    one_sided: bool,
}

fn spread(profile: &ColumnProfile) -> Option<Spread> {
    let Sketch::Int(sketch) = profile.sketch() else { return None };
    let points = sketch.values.distribution();
    let range = sketch.summary().grid?;
    let total: f64 = points.iter().map(|(_, weight)| weight).sum();
    let quantile = |share: f64| {
        let mut passed = 0.0;
        let found = points.iter().find(|(_, weight)| {
            passed += weight;
            passed >= share * total
        });
        found.or(points.last()).map(|(value, _)| **value as f64)
    };
    Some(Spread {
        rows: total as u64,
        width: quantile(0.95)? - quantile(0.05)?,
        one_sided: range.min >= 0 || range.max <= 0,
    })
}
