//! One encoder per column, by how its values become codes. What a column *means* is its
//! [role](crate::schema::ColumnRole); the encoding follows from role, type and statistics.

mod bins;
mod by_value;
mod fit;
mod generated;
mod modes;
mod parts;

pub(crate) use bins::Bins;
pub(crate) use by_value::{ByteValues, NumberValues};
pub(crate) use fit::{Sketch, by_value, fit};
pub(crate) use generated::Generated;
pub(crate) use modes::Modes;
pub(crate) use parts::{KnownParts, PartCodes};

use super::{SubColumn, SubColumnData, physical, wide::Float};
use crate::{Result, SynthError, noise::Noise};
use arrow::{
    array::{Array, ArrayRef},
    datatypes::{DataType, Field, i256},
};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// The encoder of one column.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ColumnEncoder {
    /// Always null: nothing to learn.
    Null,
    /// A code per value.
    Values(ValueEncoder),
    /// Mode-specific normalisation.
    Modes(ModeEncoder),
    /// Quantile bins.
    Bins(BinEncoder),
    /// Generated, not learned (but for its nulls): identifiers and prose.
    Generated(Generated),
}

/// A code per value, by physical type.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ValueEncoder {
    Int(NumberValues<i64>),
    Wide(NumberValues<i128>),
    Huge(NumberValues<i256>),
    Float(NumberValues<Float>),
    Bytes(ByteValues),
}

/// Mode-specific normalisation, by physical type.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ModeEncoder {
    Int(Modes<i64>),
    Wide(Modes<i128>),
    Huge(Modes<i256>),
    Float(Modes<Float>),
}

/// Quantile bins, by physical type.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BinEncoder {
    Int(Bins<i64>),
    Wide(Bins<i128>),
    Huge(Bins<i256>),
    Float(Bins<Float>),
}

macro_rules! each_value {
    ($encoder:expr, $e:ident => $body:expr) => {
        match $encoder {
            ValueEncoder::Int($e) => $body,
            ValueEncoder::Wide($e) => $body,
            ValueEncoder::Huge($e) => $body,
            ValueEncoder::Float($e) => $body,
            ValueEncoder::Bytes($e) => $body,
        }
    };
}

macro_rules! each_mode {
    ($encoder:expr, $e:ident => $body:expr) => {
        match $encoder {
            ModeEncoder::Int($e) => $body,
            ModeEncoder::Wide($e) => $body,
            ModeEncoder::Huge($e) => $body,
            ModeEncoder::Float($e) => $body,
        }
    };
}

macro_rules! each_bin {
    ($encoder:expr, $e:ident => $body:expr) => {
        match $encoder {
            BinEncoder::Int($e) => $body,
            BinEncoder::Wide($e) => $body,
            BinEncoder::Huge($e) => $body,
            BinEncoder::Float($e) => $body,
        }
    };
}

/// What a column encodes from.
pub(crate) struct EncodeInput<'a> {
    /// The column.
    pub field: &'a Field,
    /// Its values, plain (no dictionary).
    pub array: ArrayRef,
    /// Row number of the first value, which addresses the noise of the encoding.
    pub first_row: u64,
}

/// What a column decodes from.
pub(crate) struct DecodeInput<'a> {
    /// The column.
    pub field: &'a Field,
    /// Its sub-columns, of the whole block.
    pub codes: &'a [SubColumnData],
    /// The block's number.
    pub block: u64,
    /// The rows of the block to decode.
    pub rows: Range<usize>,
    /// For what the codes leave open.
    pub noise: &'a Noise,
}

impl ColumnEncoder {
    /// The shape of the encoding.
    pub(crate) fn subcolumns(&self) -> Vec<SubColumn> {
        match self {
            Self::Null => vec![],
            Self::Values(v) => match (v, each_value!(v, e => e.cardinality())) {
                (_, 0 | 1) => vec![],
                (ValueEncoder::Bytes(_), cardinality) => vec![SubColumn::codes(cardinality)],
                (_, cardinality) => vec![SubColumn::numbers(self.first_value(), cardinality)],
            },
            Self::Modes(m) => {
                vec![SubColumn::codes(each_mode!(m, e => e.cardinality())), SubColumn::Scalar]
            }
            Self::Bins(b) => {
                let of_part = |part: &parts::Part| match part.ascending() {
                    true => SubColumn::numbers(1, part.cardinality()),
                    false => SubColumn::codes(part.cardinality()),
                };
                let mut subcolumns = vec![SubColumn::numbers(self.first_value(), each_bin!(b, e => e.cardinality()))];
                subcolumns.extend(each_bin!(b, e => e.parts()).iter().map(of_part));
                subcolumns
            }
            Self::Generated(i) if i.nullable() => vec![SubColumn::codes(2)],
            Self::Generated(_) => vec![],
        }
    }

    /// Whether the column is discrete for a model.
    pub(crate) fn discrete(&self) -> bool {
        !matches!(self, Self::Modes(_)) && !self.subcolumns().is_empty()
    }

    /// Checks the encoder and builds its tables, after fitting or deserialising.
    pub(crate) fn prepare(&mut self, field: &Field) -> Result<()> {
        match self {
            Self::Null if !field.is_nullable() => {
                Err(invalid(field, "the column is declared NOT NULL, but would be all null"))
            }
            Self::Null => Ok(()),
            Self::Values(v) => each_value!(v, e => e.prepare(field)),
            Self::Modes(m) => each_mode!(m, e => e.prepare(field)),
            Self::Bins(b) => each_bin!(b, e => e.prepare(field)),
            Self::Generated(i) => i.prepare(field),
        }
    }

    /// Appends the codes of `input` to `out`, this column's sub-columns.
    pub(crate) fn encode(&self, input: &EncodeInput<'_>, out: &mut [SubColumnData]) -> Result<()> {
        if let Self::Modes(m) = self {
            return each_mode!(m, e => e.encode(input, out));
        }
        let codes = self.codes(input.array.as_ref())?;
        let parts = self.part_codes(input.array.as_ref(), &codes)?;
        push(input, codes, parts, out)
    }

    /// The codes of what a bin leaves open of each value of a plain array, sub-column by sub-column after the first; `codes`
    /// are those of the first.
    pub(crate) fn part_codes(&self, array: &dyn Array, codes: &[Option<u32>]) -> Result<PartCodes> {
        match self {
            Self::Bins(b) => each_bin!(b, e => e.part_codes(array, codes)),
            _ => Ok(Vec::new()),
        }
    }

    /// The code of each value of a plain array; none where it was never seen. A number's mode is not one: none at all.
    pub(crate) fn codes(&self, array: &dyn Array) -> Result<Vec<Option<u32>>> {
        match self {
            Self::Null => Ok(vec![Some(0); array.len()]),
            Self::Values(v) => each_value!(v, e => e.codes(array)),
            Self::Modes(_) => Ok(vec![None; array.len()]),
            Self::Bins(b) => each_bin!(b, e => e.codes(array)),
            Self::Generated(i) => Ok(i.codes(array)),
        }
    }

    /// The values that codes stand for, `bits` giving the place within a code that stands for many and `parts` what
    /// [`ColumnEncoder::part_codes`] tells; none where codes do not determine values.
    pub(crate) fn values(
        &self,
        field: &Field,
        codes: &[u32],
        bits: &[u32],
        parts: KnownParts<'_>,
    ) -> Option<Result<ArrayRef>> {
        match self {
            Self::Null => Some(Ok(physical::nulls(field.data_type(), codes.len()))),
            Self::Values(v) => {
                let codes = [SubColumnData::Code32(codes.to_vec())];
                let rows = 0..codes[0].len();
                let noise = Noise::new(0, b"");
                let input = DecodeInput { field, codes: &codes, block: 0, rows, noise: &noise };
                Some(each_value!(v, e => e.decode(&input)))
            }
            Self::Bins(b) => Some(each_bin!(b, e => e.values(field, codes, bits, parts))),
            Self::Modes(_) | Self::Generated(_) => None,
        }
    }

    /// The number of codes, where there is one per value.
    pub(crate) fn cardinality_by_value(&self) -> Option<u32> {
        let Self::Values(v) = self else { return None };
        Some(each_value!(v, e => e.cardinality()))
    }

    /// Every value, by code, where there is a code per value.
    pub(crate) fn all(&self, field: &Field) -> Option<Result<ArrayRef>> {
        let codes: Vec<u32> = (0..self.cardinality_by_value()?).collect();
        self.values(field, &codes, &[], KnownParts::default())
    }

    /// Whether a column can have each of these values, which are not null: within its range, where it has bins.
    pub(crate) fn covers(&self, array: &ArrayRef) -> Result<Vec<bool>> {
        match self {
            Self::Bins(b) => each_bin!(b, e => e.covers(array.as_ref())),
            _ => Ok(vec![true; array.len()]),
        }
    }

    /// The share that each of these values, which are not null, has of its code's.
    pub(crate) fn shares(&self, array: &dyn Array) -> Result<Vec<f64>> {
        match self {
            Self::Bins(b) => each_bin!(b, e => e.shares(array)),
            _ => Ok(vec![1.0; array.len()]),
        }
    }

    /// Whether `code` stands for many values.
    pub(crate) fn is_bin(&self, code: u32) -> bool {
        matches!(self, Self::Bins(b) if each_bin!(b, e => e.is_bin(code)))
    }

    /// The code of null, where there is one.
    pub(crate) fn null_code(&self) -> Option<u32> {
        let nullable = match self {
            Self::Null => false,
            Self::Values(v) => each_value!(v, e => e.nullable()),
            Self::Modes(_) => false,
            Self::Bins(b) => each_bin!(b, e => e.nullable()),
            Self::Generated(i) => i.nullable(),
        };
        nullable.then_some(0)
    }

    /// The first code that is not null's.
    fn first_value(&self) -> u32 {
        u32::from(self.null_code().is_some())
    }

    /// The array of the rows asked for, of exactly the field's type.
    pub(crate) fn decode(&self, input: &DecodeInput<'_>) -> Result<ArrayRef> {
        match self {
            Self::Null => Ok(physical::nulls(input.field.data_type(), input.rows.len())),
            Self::Values(v) => each_value!(v, e => e.decode(input)),
            Self::Modes(m) => each_mode!(m, e => e.decode(input)),
            Self::Bins(b) => each_bin!(b, e => e.decode(input)),
            Self::Generated(i) => i.decode(input),
        }
    }

    /// Heap bytes held.
    pub(crate) fn memory_size(&self) -> usize {
        match self {
            Self::Values(v) => each_value!(v, e => e.memory_size()),
            _ => size_of::<Self>(),
        }
    }
}

/// Appends the codes of `input`, those of the first sub-column and of the others, to a column's sub-columns.
pub(crate) fn push(
    input: &EncodeInput<'_>,
    codes: Vec<Option<u32>>,
    parts: PartCodes,
    out: &mut [SubColumnData],
) -> Result<()> {
    for (row, code) in codes.into_iter().enumerate() {
        let code = code.ok_or_else(|| unseen(input.field, input.array.as_ref(), row))?;
        if let Some(out) = out.first_mut() {
            out.push_code(code);
        }
    }
    for (out, codes) in out.iter_mut().skip(1).zip(parts) {
        codes.into_iter().for_each(|code| out.push_code(code));
    }
    Ok(())
}

impl DecodeInput<'_> {
    /// The codes of the rows in the first sub-column, each below `cardinality`.
    pub(crate) fn codes(&self, cardinality: u32) -> Result<Vec<u32>> {
        self.codes_at(0, cardinality)
    }

    /// The codes of the rows in a sub-column, each below `cardinality`.
    pub(crate) fn codes_at(&self, subcolumn: usize, cardinality: u32) -> Result<Vec<u32>> {
        let rows = self.rows.clone();
        let codes: Vec<u32> = match self.codes.get(subcolumn) {
            Some(SubColumnData::Code8(v)) => v.get(rows).map(|v| v.iter().map(|&c| u32::from(c)).collect()),
            Some(SubColumnData::Code16(v)) => v.get(rows).map(|v| v.iter().map(|&c| u32::from(c)).collect()),
            Some(SubColumnData::Code32(v)) => v.get(rows).map(<[u32]>::to_vec),
            Some(SubColumnData::Scalar(_)) | None => None,
        }
        .ok_or_else(|| self.bad_codes("codes are missing"))?;
        match codes.iter().max() {
            Some(&largest) if largest >= cardinality => {
                Err(self.bad_codes(&format!("code {largest} of {cardinality}")))
            }
            _ => Ok(codes),
        }
    }

    /// Codes that the encoder never made.
    pub(crate) fn bad_codes(&self, what: &str) -> SynthError {
        SynthError::Model(format!("column `{}` cannot be decoded: {what}", self.field.name()))
    }
}

/// Packs a plain array into the field's type where that is a dictionary.
pub(crate) fn pack(plain: ArrayRef, field: &Field) -> Result<ArrayRef> {
    if matches!(field.data_type(), DataType::Dictionary(..)) {
        arrow::compute::cast(&plain, field.data_type()).map_err(|error| SynthError::Column {
            column: field.name().clone(),
            reason: format!("its values do not fit {}: {error}", field.data_type()),
            way_out: "cast the column to its value type, or to a dictionary with wider keys".into(),
        })
    } else {
        Ok(plain)
    }
}

/// A value that was not there when the column was profiled.
pub(crate) fn unseen(field: &Field, array: &dyn Array, row: usize) -> SynthError {
    let value = arrow::util::display::array_value_to_string(array, row).unwrap_or_else(|e| e.to_string());
    SynthError::Column {
        column: field.name().clone(),
        reason: if array.is_null(row) {
            "a null, where there was none when the column was profiled".into()
        } else {
            format!("the value `{value}` was not there when the column was profiled")
        },
        way_out: "profile and encode the same rows (train again if the table has changed)".into(),
    }
}

/// An encoder that contradicts itself or its field (a damaged manifest).
pub(crate) fn invalid(field: &Field, what: impl std::fmt::Display) -> SynthError {
    SynthError::Schema(format!("encoder of column `{}`: {what}", field.name()))
}
