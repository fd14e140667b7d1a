//! Values that are generated, not learned: from the row number (identifiers) or from word statistics
//! (prose). Never copied.

use super::{DecodeInput, invalid, pack};
use crate::{
    Result, SynthError,
    encode::{
        hash::mix,
        permutation::Permutation,
        physical::{self, Lane, Physical, is_string, value_type, write_bytes},
        text::{Prose, RowNoise, Templates},
        text_serde,
    },
    noise::{BLOCK_ROWS, Purpose},
};
use arrow::{
    array::{Array, ArrayRef},
    buffer::NullBuffer,
    datatypes::{DataType, Field, i256},
};
use rand::Rng;
use serde::{Deserialize, Serialize};

/// A generated column: a null mask if there are nulls (0 is null), and a way to make values.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Generated {
    nullable: bool,
    /// Number of identities, where the column repeats some: rows draw from as many. None: unique.
    identities: Option<u64>,
    maker: Maker,
}

/// How values are made.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Maker {
    /// Whole numbers: `start + i * step`.
    Sequence {
        #[serde(with = "text_serde")]
        start: i128,
        step: u64,
    },
    /// Strings of observed templates.
    Templates(Templates),
    /// Strings of shared words.
    Prose(Box<Prose>),
    /// Random bytes of observed lengths.
    Random {
        /// Lengths with frequencies.
        lengths: Vec<(u32, u64)>,
    },
}

impl Generated {
    pub(crate) fn new(maker: Maker, nullable: bool, identities: Option<u64>) -> Self {
        Self { nullable, identities, maker }
    }

    pub(crate) fn nullable(&self) -> bool {
        self.nullable
    }

    pub(crate) fn prepare(&mut self, field: &Field) -> Result<()> {
        let physical = Physical::of(field.data_type());
        let string = is_string(field.data_type());
        let fits = match &mut self.maker {
            Maker::Sequence { .. } => matches!(physical, Some(Physical::Int | Physical::Wide | Physical::Huge)),
            Maker::Templates(templates) => string && templates.is_sane(),
            Maker::Prose(prose) => {
                prose.prepare().map_err(|what| invalid(field, what))?;
                string
            }
            Maker::Random { lengths } => {
                let total = lengths.iter().fold(0u64, |sum, l| sum.saturating_add(l.1));
                physical == Some(Physical::Bytes) && !string && total > 0 && total < u64::MAX
            }
        };
        if !fits || self.identities == Some(0) {
            return Err(invalid(field, format!("impossible values of type {}", field.data_type())));
        }
        if self.nullable && !field.is_nullable() {
            return Err(invalid(field, "nulls in a column declared NOT NULL"));
        }
        Ok(())
    }

    /// Whether each value is one (1) or null (0); none for a null where there were none.
    pub(crate) fn codes(&self, array: &dyn Array) -> Vec<Option<u32>> {
        let nulls = array.nulls().filter(|n| n.null_count() > 0);
        let code = |row| match nulls {
            Some(nulls) if nulls.is_null(row) => self.nullable.then_some(0),
            _ => Some(1),
        };
        (0..array.len()).map(code).collect()
    }

    pub(crate) fn decode(&self, input: &DecodeInput<'_>) -> Result<ArrayRef> {
        let nulls = if self.nullable {
            Some(input.codes(2)?.iter().map(|&c| c > 0).collect::<NullBuffer>()).filter(|n| n.null_count() > 0)
        } else {
            None
        };
        let data_type = value_type(input.field.data_type());
        let name = input.field.name();
        let noise = input.noise.purpose(&format!("decode/{name}"));
        let first = input.block.checked_mul(BLOCK_ROWS as u64).ok_or_else(|| exhausted(input.field))?;
        let rows: Vec<(u64, RowNoise)> = match (&self.maker, self.identities) {
            (Maker::Sequence { .. }, None) => input.rows.clone().map(|row| (first + row as u64, RowNoise(0))).collect(),
            (_, identities) => seeds(&noise, input.block, input.rows.end)[input.rows.start..]
                .iter()
                .zip(input.rows.clone())
                .map(|(&seed, row)| {
                    // What belongs to an identity is drawn from the identity.
                    identities.map_or((first + row as u64, RowNoise(seed)), |n| {
                        let identity = RowNoise(seed).below(n);
                        (identity, RowNoise(mix(identity ^ 0x51_7C_C1_B7_27_22_0A_95)))
                    })
                })
                .collect(),
        };
        let key = || input.noise.purpose(&format!("identity/{name}")).block(0).next_u64();
        let plain = match &self.maker {
            Maker::Sequence { start, step } => {
                sequence(*start, *step, &rows, nulls, data_type).ok_or_else(|| exhausted(input.field))??
            }
            Maker::Templates(templates) => {
                let generator = templates.generator(key());
                strings(rows, nulls.as_ref(), data_type, |index, noise, out| generator.write(index, noise, out))?
            }
            Maker::Prose(prose) => strings(rows, nulls.as_ref(), data_type, |_, noise, out| prose.write(noise, out))?,
            Maker::Random { lengths } => {
                let values = rows
                    .into_iter()
                    .map(|(index, mut noise)| random_bytes(lengths, key(), index, &mut noise, data_type))
                    .collect::<Option<Vec<_>>>()
                    .ok_or_else(|| exhausted(input.field))?;
                let value = |row: usize| nulls.as_ref().is_none_or(|n| n.is_valid(row)).then(|| &*values[row]);
                write_bytes((0..values.len()).map(value), data_type)?
            }
        };
        pack(plain, input.field)
    }
}

/// A random number for each of the first `rows` rows of a block.
fn seeds(noise: &Purpose, block: u64, rows: usize) -> Vec<u64> {
    let mut bits = vec![0; 2 * rows];
    noise.fill_u32(block, &mut bits);
    bits.chunks_exact(2).map(|pair| u64::from(pair[0]) << 32 | u64::from(pair[1])).collect()
}

/// A string array of what `write` appends for each row.
fn strings(
    rows: Vec<(u64, RowNoise)>,
    nulls: Option<&NullBuffer>,
    data_type: &DataType,
    write: impl Fn(u64, &mut RowNoise, &mut String),
) -> Result<ArrayRef> {
    let mut text = String::with_capacity(32 * rows.len());
    let mut spans = Vec::with_capacity(rows.len());
    for (row, (index, mut noise)) in rows.into_iter().enumerate() {
        let start = text.len();
        let valid = nulls.is_none_or(|n| n.is_valid(row));
        if valid {
            write(index, &mut noise, &mut text);
        }
        spans.push(valid.then_some(start..text.len()));
    }
    let bytes = text.as_bytes();
    write_bytes(spans.iter().map(|span| span.clone().map(|s| &bytes[s])), data_type)
}

/// Random bytes, of which the first (up to) 62 bits are the index in disguise; none when a fixed
/// length is used up.
#[allow(clippy::cast_possible_truncation)]
fn random_bytes(
    lengths: &[(u32, u64)],
    key: u64,
    index: u64,
    noise: &mut RowNoise,
    data_type: &DataType,
) -> Option<Vec<u8>> {
    let mut pick = noise.below(lengths.iter().map(|l| l.1).sum());
    let drawn = lengths.iter().find(|(_, n)| {
        let found = pick < *n;
        pick = pick.saturating_sub(*n);
        found
    });
    let length = drawn.map_or(0, |l| l.0 as usize);
    let capacity = 1u64 << (8 * length.min(8)).min(62);
    if index >= capacity && matches!(data_type, DataType::FixedSizeBinary(_)) {
        return None;
    }
    let number = Permutation::new(capacity, key ^ length as u64).apply(index % capacity);
    let mut bytes: Vec<u8> = number.to_le_bytes()[..length.min(8)].to_vec();
    bytes.extend((8..length).map(|_| noise.next() as u8));
    if index >= capacity {
        bytes.extend((index / capacity).to_le_bytes());
    }
    Some(bytes)
}

fn exhausted(field: &Field) -> SynthError {
    SynthError::Column {
        column: field.name().clone(),
        reason: format!("{} has no more identifiers at this row", field.data_type()),
        way_out: "ask for fewer rows, or cast the column to a wider type".into(),
    }
}

/// `start + index * step`; none when the type is exhausted.
fn sequence(
    start: i128,
    step: u64,
    rows: &[(u64, RowNoise)],
    nulls: Option<NullBuffer>,
    data_type: &DataType,
) -> Option<Result<ArrayRef>> {
    let limit = limit(data_type);
    let at = |index: u64| start.checked_add(i128::from(index) * i128::from(step)).filter(|value| *value <= limit);
    let values: Vec<i128> = rows.iter().map(|row| at(row.0)).collect::<Option<_>>()?;
    Some(match Physical::of(data_type) {
        Some(Physical::Int) => {
            let values = values.into_iter().map(|v| i64::try_from(v).unwrap_or(i64::MAX)).collect();
            i64::write(values, nulls, data_type)
        }
        Some(Physical::Wide) => i128::write(values, nulls, data_type),
        Some(Physical::Huge) => i256::write(values.into_iter().map(i256::from_i128).collect(), nulls, data_type),
        _ => Ok(physical::nulls(data_type, rows.len())),
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
