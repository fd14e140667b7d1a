//! Identity without meaning: generated from the row number, never copied.

use super::{DecodeInput, EncodeInput, invalid, pack, unseen};
use crate::{
    Result, SynthError,
    encode::{
        physical::{self, Lane, Physical, value_type, write_bytes},
        text_serde,
    },
    noise::BLOCK_ROWS,
};
use arrow::{
    array::{Array, ArrayRef},
    buffer::NullBuffer,
    datatypes::{DataType, Field, i256},
};
use serde::{Deserialize, Serialize};

/// An identifier: a null mask if there are nulls, and a way to make the `i`-th value.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Identifier {
    nullable: bool,
    maker: Maker,
}

/// How values are made.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Maker {
    /// `start + i * step`.
    Sequence {
        #[serde(with = "text_serde")]
        start: i128,
        step: u64,
    },
    /// Strings of the observed patterns.
    Pattern(crate::encode::pattern::Patterns),
}

impl Identifier {
    pub(crate) fn new(maker: Maker, nullable: bool) -> Self {
        Self { nullable, maker }
    }

    pub(crate) fn nullable(&self) -> bool {
        self.nullable
    }

    pub(crate) fn prepare(&mut self, field: &Field) -> Result<()> {
        let physical = Physical::of(field.data_type());
        let fits = match &self.maker {
            Maker::Sequence { .. } => matches!(physical, Some(Physical::Int | Physical::Wide | Physical::Huge)),
            Maker::Pattern(_) => physical == Some(Physical::Bytes),
        };
        if !fits {
            return Err(invalid(field, format!("an identifier of type {}", field.data_type())));
        }
        if self.nullable && !field.is_nullable() {
            return Err(invalid(field, "nulls in a column declared NOT NULL"));
        }
        Ok(())
    }

    pub(crate) fn encode(&self, input: &EncodeInput<'_>, out: &mut [super::SubColumnData]) -> Result<()> {
        let nulls = input.array.logical_nulls();
        let null = |row| nulls.as_ref().is_some_and(|n| n.is_null(row));
        for row in 0..input.array.len() {
            if null(row) && !self.nullable {
                return Err(unseen(input.field, input.array.as_ref(), row));
            }
            if let Some(out) = out.first_mut() {
                out.push_code(u32::from(!null(row)));
            }
        }
        Ok(())
    }

    pub(crate) fn decode(&self, input: &DecodeInput<'_>) -> Result<ArrayRef> {
        let nulls = if self.nullable {
            Some(input.codes(2)?.iter().map(|&c| c > 0).collect::<NullBuffer>()).filter(|n| n.null_count() > 0)
        } else {
            None
        };
        let first = u128::from(input.block) * BLOCK_ROWS as u128 + input.rows.start as u128;
        let data_type = value_type(input.field.data_type());
        let plain = match &self.maker {
            Maker::Sequence { start, step } => sequence(*start, *step, first, input.rows.len(), nulls, data_type)
                .ok_or_else(|| exhausted(input.field))??,
            Maker::Pattern(patterns) => {
                let values = patterns.generate(input, first)?;
                let value = |row: usize| nulls.as_ref().is_none_or(|n| n.is_valid(row)).then(|| &*values[row]);
                write_bytes((0..values.len()).map(value), data_type)?
            }
        };
        pack(plain, input.field)
    }
}

fn exhausted(field: &Field) -> SynthError {
    SynthError::Column {
        column: field.name().clone(),
        reason: format!("{} has no more identifiers at this row", field.data_type()),
        way_out: "ask for fewer rows, or cast the column to a wider type".into(),
    }
}

/// `start + (first + i) * step`; none when the type is exhausted.
fn sequence(
    start: i128,
    step: u64,
    first: u128,
    rows: usize,
    nulls: Option<NullBuffer>,
    data_type: &DataType,
) -> Option<Result<ArrayRef>> {
    let at = |i: u128| start.checked_add(i128::try_from(i.checked_mul(u128::from(step))?).ok()?);
    let last = at(first + rows.max(1) as u128 - 1)?;
    if last > limit(data_type) {
        return None;
    }
    let values = (0..rows as u128).map(|i| at(first + i).unwrap_or(last));
    Some(match Physical::of(data_type) {
        Some(Physical::Int) => {
            let values = values.map(|v| i64::try_from(v).unwrap_or(i64::MAX)).collect();
            i64::write(values, nulls, data_type)
        }
        Some(Physical::Wide) => i128::write(values.collect(), nulls, data_type),
        Some(Physical::Huge) => i256::write(values.map(i256::from_i128).collect(), nulls, data_type),
        _ => Ok(physical::nulls(data_type, rows)),
    })
}

/// The largest whole number of a type.
fn limit(data_type: &DataType) -> i128 {
    use DataType as T;
    let digits = |precision: u8| 10i128.checked_pow(u32::from(precision)).map_or(i128::MAX, |p| p - 1);
    match data_type {
        T::Boolean => 1,
        T::Int8 => i128::from(i8::MAX),
        T::Int16 => i128::from(i16::MAX),
        T::UInt8 => i128::from(u8::MAX),
        T::UInt16 => i128::from(u16::MAX),
        T::UInt32 => i128::from(u32::MAX),
        T::UInt64 => i128::from(u64::MAX),
        T::Int32 | T::Date32 | T::Time32(_) | T::Interval(_) => i128::from(i32::MAX),
        T::Decimal32(p, _) | T::Decimal64(p, _) | T::Decimal128(p, _) | T::Decimal256(p, _) => digits(*p),
        _ => i128::from(i64::MAX),
    }
}
