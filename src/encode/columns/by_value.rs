//! A code per value: categories, and numbers that take few values.

use super::{DecodeInput, invalid};
use crate::{
    Result, SynthError,
    encode::{
        SubColumnData,
        hash::FixedState,
        physical::{Lane, for_each_bytes, is_string, value_type, write_bytes},
        text_serde,
    },
};
use arrow::{
    array::{Array, ArrayRef, DictionaryArray, PrimitiveArray, UInt8Array, UInt16Array, UInt32Array},
    buffer::NullBuffer,
    compute,
    datatypes::{
        ArrowDictionaryKeyType, DataType, Field, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
        UInt32Type, UInt64Type,
    },
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

/// Numbers, each with its code: null first if there are nulls, then in ascending order.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound = "")]
pub(crate) struct NumberValues<W: Lane> {
    nullable: bool,
    #[serde(with = "text_serde::list")]
    values: Vec<W>,
    #[serde(skip)]
    table: Option<ArrayRef>,
    #[serde(skip)]
    lookup: OnceLock<HashMap<W, u32, FixedState>>,
}

/// Strings or binary values, each with its code: null first if there are nulls, then the values.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ByteValues {
    nullable: bool,
    values: Vec<Bytes>,
    #[serde(skip)]
    table: Option<ArrayRef>,
    #[serde(skip)]
    lookup: OnceLock<HashMap<Box<[u8]>, u32, FixedState>>,
}

/// Serialised as `"text"`, or as `{"hex": …}` where it is not UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bytes(pub Box<[u8]>);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum BytesRepr {
    Text(String),
    Hex { hex: String },
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => {
                use std::fmt::Write;
                let mut hex = String::with_capacity(2 * self.0.len());
                for byte in &self.0 {
                    let _ = write!(hex, "{byte:02x}");
                }
                BytesRepr::Hex { hex }.serialize(serializer)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match BytesRepr::deserialize(deserializer)? {
            BytesRepr::Text(text) => Ok(Self(text.into_bytes().into())),
            BytesRepr::Hex { hex } => (0..hex.len())
                .step_by(2)
                .map(|i| hex.get(i..i + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
                .collect::<Option<_>>()
                .map(Self)
                .ok_or_else(|| D::Error::custom("a binary value is not hexadecimal")),
        }
    }
}

fn cardinality(values: usize, nullable: bool) -> u32 {
    u32::try_from(values + usize::from(nullable)).unwrap_or(u32::MAX)
}

/// The code of each value.
fn numbered<T, K: std::hash::Hash + Eq>(
    values: &[T],
    nullable: bool,
    key: impl Fn(&T) -> K,
) -> HashMap<K, u32, FixedState> {
    (u32::from(nullable)..).zip(values).map(|(code, value)| (key(value), code)).collect()
}

/// Checks what both kinds have in common.
fn check<K>(values: usize, nullable: bool, lookup: &HashMap<K, u32, FixedState>, field: &Field) -> Result<()> {
    if values == 0 || values >= u32::MAX as usize {
        return Err(invalid(field, format!("{values} values")));
    }
    if lookup.len() != values {
        return Err(invalid(field, "a value has two codes"));
    }
    if nullable && !field.is_nullable() {
        return Err(invalid(field, "nulls in a column declared NOT NULL"));
    }
    if let DataType::Dictionary(keys, _) = field.data_type()
        && let Some(bits) = keys.primitive_width().map(|bytes| 8 * bytes - usize::from(keys.is_signed_integer()))
        && bits < 32
        && values > 1 << bits
    {
        return Err(SynthError::Column {
            column: field.name().clone(),
            reason: format!("{values} distinct values do not fit one dictionary with {keys} keys"),
            way_out: "cast the column to its value type, or to a dictionary with wider keys".into(),
        });
    }
    Ok(())
}

/// The arrays' common decoding: codes are indices into the table of values (null first).
fn decode(table: Option<&ArrayRef>, nullable: bool, input: &DecodeInput<'_>) -> Result<ArrayRef> {
    let table = table.ok_or_else(|| SynthError::Internal("an encoder was not prepared".into()))?;
    let rows = input.rows.clone();
    if let DataType::Dictionary(keys, _) = input.field.data_type() {
        let codes = if table.len() == 1 { vec![0; rows.len()] } else { input.codes(table_len(table))? };
        return packed(table, keys, nullable, &codes);
    }
    let missing = || input.bad_codes("codes are missing");
    let check = |largest: Option<u32>| match largest {
        Some(largest) if largest as usize >= table.len() => {
            Err(input.bad_codes(&format!("code {largest} of {}", table.len())))
        }
        _ => Ok(()),
    };
    let indices: ArrayRef = match input.codes.first() {
        _ if table.len() == 1 => Arc::new(UInt8Array::from_value(0, rows.len())),
        Some(SubColumnData::Code8(v)) => {
            let codes = v.get(rows).ok_or_else(missing)?;
            check(codes.iter().max().map(|&c| u32::from(c)))?;
            Arc::new(UInt8Array::from(codes.to_vec()))
        }
        Some(SubColumnData::Code16(v)) => {
            let codes = v.get(rows).ok_or_else(missing)?;
            check(codes.iter().max().map(|&c| u32::from(c)))?;
            Arc::new(UInt16Array::from(codes.to_vec()))
        }
        Some(SubColumnData::Code32(v)) => {
            let codes = v.get(rows).ok_or_else(missing)?;
            check(codes.iter().max().copied())?;
            Arc::new(UInt32Array::from(codes.to_vec()))
        }
        Some(SubColumnData::Scalar(_)) | None => return Err(missing()),
    };
    Ok(compute::take(table, &indices, None)?)
}

fn table_len(table: &ArrayRef) -> u32 {
    u32::try_from(table.len()).unwrap_or(u32::MAX)
}

/// A dictionary array whose dictionary is the table of values, shared between batches.
fn packed(table: &ArrayRef, keys: &DataType, nullable: bool, codes: &[u32]) -> Result<ArrayRef> {
    fn typed<K: ArrowDictionaryKeyType>(table: &ArrayRef, nullable: bool, codes: &[u32]) -> Result<ArrayRef>
    where
        K::Native: TryFrom<u32> + Default,
    {
        // Keys count values only; the null code becomes a null key.
        let shift = u32::from(nullable);
        let keys: Vec<K::Native> =
            codes.iter().map(|&c| K::Native::try_from(c.saturating_sub(shift)).unwrap_or_default()).collect();
        let nulls = nullable.then(|| codes.iter().map(|&c| c > 0).collect::<NullBuffer>());
        let keys = PrimitiveArray::<K>::try_new(keys.into(), nulls.filter(|n| n.null_count() > 0))?;
        let values = table.slice(shift as usize, table.len() - shift as usize);
        Ok(Arc::new(DictionaryArray::<K>::try_new(keys, values)?))
    }
    match keys {
        DataType::Int8 => typed::<Int8Type>(table, nullable, codes),
        DataType::Int16 => typed::<Int16Type>(table, nullable, codes),
        DataType::Int32 => typed::<Int32Type>(table, nullable, codes),
        DataType::Int64 => typed::<Int64Type>(table, nullable, codes),
        DataType::UInt8 => typed::<UInt8Type>(table, nullable, codes),
        DataType::UInt16 => typed::<UInt16Type>(table, nullable, codes),
        DataType::UInt32 => typed::<UInt32Type>(table, nullable, codes),
        DataType::UInt64 => typed::<UInt64Type>(table, nullable, codes),
        other => Err(SynthError::Internal(format!("a dictionary with {other} keys"))),
    }
}

impl<W: Lane> NumberValues<W> {
    /// Of distinct values.
    pub(crate) fn new(mut values: Vec<W>, nullable: bool) -> Self {
        values.sort_unstable();
        Self { nullable, values, table: None, lookup: OnceLock::new() }
    }

    pub(crate) fn nullable(&self) -> bool {
        self.nullable
    }

    pub(crate) fn cardinality(&self) -> u32 {
        cardinality(self.values.len(), self.nullable)
    }

    fn lookup(&self) -> &HashMap<W, u32, FixedState> {
        self.lookup.get_or_init(|| numbered(&self.values, self.nullable, |v| *v))
    }

    pub(crate) fn prepare(&mut self, field: &Field) -> Result<()> {
        check(self.values.len(), self.nullable, self.lookup(), field)?;
        // A code below the values, for null, with any value under it.
        let first = self.values.first().copied().filter(|_| self.nullable);
        let values: Vec<W> = first.into_iter().chain(self.values.iter().copied()).collect();
        let nulls = self.nullable.then(|| (0..values.len()).map(|i| i > 0).collect::<NullBuffer>());
        self.table = Some(W::write(values, nulls, value_type(field.data_type()))?);
        Ok(())
    }

    /// The code of each value; none where it was never seen.
    pub(crate) fn codes(&self, array: &dyn Array) -> Result<Vec<Option<u32>>> {
        let lookup = self.lookup();
        let nulls = array.nulls().filter(|n| n.null_count() > 0);
        let code = |(row, value): (usize, W)| match nulls {
            Some(nulls) if nulls.is_null(row) => self.nullable.then_some(0),
            _ => lookup.get(&value).copied(),
        };
        Ok(W::read(array)?.into_iter().enumerate().map(code).collect())
    }

    pub(crate) fn decode(&self, input: &DecodeInput<'_>) -> Result<ArrayRef> {
        decode(self.table.as_ref(), self.nullable, input)
    }

    pub(crate) fn memory_size(&self) -> usize {
        self.values.capacity() * size_of::<W>()
            + self.table.as_ref().map_or(0, Array::get_array_memory_size)
            + self.lookup.get().map_or(0, |m| m.capacity() * (size_of::<(W, u32)>() + 1))
    }
}

impl ByteValues {
    /// Of distinct values, in the order of their codes.
    pub(crate) fn new(values: impl Iterator<Item = Box<[u8]>>, nullable: bool) -> Self {
        Self { nullable, values: values.map(Bytes).collect(), table: None, lookup: OnceLock::new() }
    }

    pub(crate) fn nullable(&self) -> bool {
        self.nullable
    }

    pub(crate) fn cardinality(&self) -> u32 {
        cardinality(self.values.len(), self.nullable)
    }

    fn lookup(&self) -> &HashMap<Box<[u8]>, u32, FixedState> {
        self.lookup.get_or_init(|| numbered(&self.values, self.nullable, |v| v.0.clone()))
    }

    pub(crate) fn prepare(&mut self, field: &Field) -> Result<()> {
        check(self.values.len(), self.nullable, self.lookup(), field)?;
        // The decoding side alone does not need the look-up.
        self.lookup = OnceLock::new();
        if is_string(field.data_type()) && self.values.iter().any(|v| std::str::from_utf8(&v.0).is_err()) {
            return Err(invalid(field, "a value is not UTF-8"));
        }
        let null = self.nullable.then_some(None);
        let values: Vec<Option<&[u8]>> = null.into_iter().chain(self.values.iter().map(|v| Some(&*v.0))).collect();
        self.table = Some(write_bytes(values.iter().copied(), value_type(field.data_type()))?);
        Ok(())
    }

    /// The code of each value; none where it was never seen.
    pub(crate) fn codes(&self, array: &dyn Array) -> Result<Vec<Option<u32>>> {
        let lookup = self.lookup();
        let mut codes = Vec::with_capacity(array.len());
        for_each_bytes(array, |value| {
            codes.push(match value {
                None => self.nullable.then_some(0),
                Some(bytes) => lookup.get(bytes).copied(),
            });
        })?;
        Ok(codes)
    }

    pub(crate) fn decode(&self, input: &DecodeInput<'_>) -> Result<ArrayRef> {
        decode(self.table.as_ref(), self.nullable, input)
    }

    pub(crate) fn memory_size(&self) -> usize {
        let heap: usize = self.values.iter().map(|v| v.0.len()).sum();
        let slots = self.values.capacity() * size_of::<Bytes>();
        let lookup = self.lookup.get().map_or(0, |m| heap + m.capacity() * (size_of::<(Box<[u8]>, u32)>() + 1));
        heap + slots + lookup + self.table.as_ref().map_or(0, Array::get_array_memory_size)
    }
}
