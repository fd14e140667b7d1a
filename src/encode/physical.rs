//! How Arrow types are read and written: everything widens to one of a few physical types.

use super::wide::Float;
use crate::{Result, SynthError};
use arrow::{
    array::{
        Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, GenericByteArray, PrimitiveArray, new_null_array,
    },
    array::{BinaryViewArray, FixedSizeBinaryArray, StringViewArray},
    buffer::{BooleanBuffer, NullBuffer, ScalarBuffer},
    compute,
    datatypes::*,
};
use std::sync::Arc;

/// What a column's values are read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Physical {
    /// `i64`: integers up to 64 bits but `u64`, booleans, decimals up to 18 digits, all temporal types.
    Int,
    /// `i128`: `u64`, decimals up to 38 digits, intervals (as opaque values).
    Wide,
    /// `i256`: decimals up to 76 digits.
    Huge,
    /// `f64`.
    Float,
    /// Bytes: strings and binary values.
    Bytes,
    /// The null type.
    Null,
}

impl Physical {
    /// The physical type of an Arrow type (of its values, for a dictionary); none for nested types.
    pub(crate) fn of(data_type: &DataType) -> Option<Self> {
        use DataType as T;
        Some(match data_type {
            T::Boolean | T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::UInt8 | T::UInt16 | T::UInt32 => Self::Int,
            T::Date32 | T::Date64 | T::Time32(_) | T::Time64(_) | T::Timestamp(..) | T::Duration(_) => Self::Int,
            T::Decimal32(..) | T::Decimal64(..) | T::Interval(IntervalUnit::YearMonth) => Self::Int,
            T::UInt64 | T::Decimal128(..) | T::Interval(_) => Self::Wide,
            T::Decimal256(..) => Self::Huge,
            T::Float16 | T::Float32 | T::Float64 => Self::Float,
            T::Utf8 | T::LargeUtf8 | T::Utf8View => Self::Bytes,
            T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => Self::Bytes,
            T::Null => Self::Null,
            T::Dictionary(_, values) if !matches!(**values, T::Dictionary(..)) => return Self::of(values),
            _ => return None,
        })
    }
}

/// The type of the values: itself, or a dictionary's.
pub(crate) fn value_type(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::Dictionary(_, values) => values,
        other => other,
    }
}

/// Whether values are strings.
pub(crate) fn is_string(data_type: &DataType) -> bool {
    matches!(value_type(data_type), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// Whether values are dates, times, timestamps or durations.
pub(crate) fn is_temporal(data_type: &DataType) -> bool {
    use DataType as T;
    matches!(
        value_type(data_type),
        T::Date32 | T::Date64 | T::Time32(_) | T::Time64(_) | T::Timestamp(..) | T::Duration(_)
    )
}

/// The array with dictionaries unpacked.
pub(crate) fn plain(array: &ArrayRef) -> Result<ArrayRef> {
    match array.as_any_dictionary_opt() {
        Some(dictionary) => Ok(compute::take(dictionary.values().as_ref(), dictionary.keys(), None)?),
        None => Ok(Arc::clone(array)),
    }
}

fn misread(data_type: &DataType, physical: &str) -> SynthError {
    SynthError::Internal(format!("a column of type {data_type} was read as {physical}"))
}

fn widened<T: ArrowPrimitiveType, W>(array: &dyn Array, widen: impl Fn(T::Native) -> W) -> Vec<W> {
    array.as_primitive::<T>().values().iter().map(|&v| widen(v)).collect()
}

/// A number type that arrays are read as and written from.
pub(crate) trait Lane: super::wide::Wide {
    /// The values of a plain array; what lies under nulls is arbitrary.
    fn read(array: &dyn Array) -> Result<Vec<Self>>;

    /// An array of `data_type` (plain). The values must be of that type's range.
    fn write(values: Vec<Self>, nulls: Option<NullBuffer>, data_type: &DataType) -> Result<ArrayRef>;
}

fn primitive<T: ArrowPrimitiveType>(
    values: ScalarBuffer<T::Native>,
    nulls: Option<NullBuffer>,
    data_type: &DataType,
) -> Result<ArrayRef> {
    Ok(Arc::new(PrimitiveArray::<T>::try_new(values, nulls)?.with_data_type(data_type.clone())))
}

fn narrowed<T: ArrowPrimitiveType, W: Copy>(
    values: &[W],
    nulls: Option<NullBuffer>,
    data_type: &DataType,
    narrow: impl Fn(W) -> T::Native,
) -> Result<ArrayRef> {
    primitive::<T>(values.iter().map(|&v| narrow(v)).collect::<Vec<_>>().into(), nulls, data_type)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
impl Lane for i64 {
    fn read(array: &dyn Array) -> Result<Vec<Self>> {
        use DataType as T;
        Ok(match array.data_type() {
            T::Boolean => array.as_boolean().values().iter().map(i64::from).collect(),
            T::Int8 => widened::<Int8Type, _>(array, i64::from),
            T::Int16 => widened::<Int16Type, _>(array, i64::from),
            T::Int32 => widened::<Int32Type, _>(array, i64::from),
            T::Int64 => widened::<Int64Type, _>(array, |v| v),
            T::UInt8 => widened::<UInt8Type, _>(array, i64::from),
            T::UInt16 => widened::<UInt16Type, _>(array, i64::from),
            T::UInt32 => widened::<UInt32Type, _>(array, i64::from),
            T::Date32 => widened::<Date32Type, _>(array, i64::from),
            T::Date64 => widened::<Date64Type, _>(array, |v| v),
            T::Time32(TimeUnit::Second) => widened::<Time32SecondType, _>(array, i64::from),
            T::Time32(_) => widened::<Time32MillisecondType, _>(array, i64::from),
            T::Time64(TimeUnit::Microsecond) => widened::<Time64MicrosecondType, _>(array, |v| v),
            T::Time64(_) => widened::<Time64NanosecondType, _>(array, |v| v),
            T::Timestamp(TimeUnit::Second, _) => widened::<TimestampSecondType, _>(array, |v| v),
            T::Timestamp(TimeUnit::Millisecond, _) => widened::<TimestampMillisecondType, _>(array, |v| v),
            T::Timestamp(TimeUnit::Microsecond, _) => widened::<TimestampMicrosecondType, _>(array, |v| v),
            T::Timestamp(TimeUnit::Nanosecond, _) => widened::<TimestampNanosecondType, _>(array, |v| v),
            T::Duration(TimeUnit::Second) => widened::<DurationSecondType, _>(array, |v| v),
            T::Duration(TimeUnit::Millisecond) => widened::<DurationMillisecondType, _>(array, |v| v),
            T::Duration(TimeUnit::Microsecond) => widened::<DurationMicrosecondType, _>(array, |v| v),
            T::Duration(TimeUnit::Nanosecond) => widened::<DurationNanosecondType, _>(array, |v| v),
            T::Interval(IntervalUnit::YearMonth) => widened::<IntervalYearMonthType, _>(array, i64::from),
            T::Decimal32(..) => widened::<Decimal32Type, _>(array, i64::from),
            T::Decimal64(..) => widened::<Decimal64Type, _>(array, |v| v),
            other => return Err(misread(other, "i64")),
        })
    }

    fn write(values: Vec<Self>, nulls: Option<NullBuffer>, data_type: &DataType) -> Result<ArrayRef> {
        use DataType as T;
        let t = data_type;
        match data_type {
            T::Boolean => {
                let bits = BooleanBuffer::collect_bool(values.len(), |i| values[i] != 0);
                Ok(Arc::new(BooleanArray::new(bits, nulls)))
            }
            T::Int8 => narrowed::<Int8Type, _>(&values, nulls, t, |v| v as i8),
            T::Int16 => narrowed::<Int16Type, _>(&values, nulls, t, |v| v as i16),
            T::Int32 => narrowed::<Int32Type, _>(&values, nulls, t, |v| v as i32),
            T::Int64 => primitive::<Int64Type>(values.into(), nulls, t),
            T::UInt8 => narrowed::<UInt8Type, _>(&values, nulls, t, |v| v as u8),
            T::UInt16 => narrowed::<UInt16Type, _>(&values, nulls, t, |v| v as u16),
            T::UInt32 => narrowed::<UInt32Type, _>(&values, nulls, t, |v| v as u32),
            T::Date32 => narrowed::<Date32Type, _>(&values, nulls, t, |v| v as i32),
            T::Date64 => primitive::<Date64Type>(values.into(), nulls, t),
            T::Time32(TimeUnit::Second) => narrowed::<Time32SecondType, _>(&values, nulls, t, |v| v as i32),
            T::Time32(_) => narrowed::<Time32MillisecondType, _>(&values, nulls, t, |v| v as i32),
            T::Time64(TimeUnit::Microsecond) => primitive::<Time64MicrosecondType>(values.into(), nulls, t),
            T::Time64(_) => primitive::<Time64NanosecondType>(values.into(), nulls, t),
            T::Timestamp(TimeUnit::Second, _) => primitive::<TimestampSecondType>(values.into(), nulls, t),
            T::Timestamp(TimeUnit::Millisecond, _) => primitive::<TimestampMillisecondType>(values.into(), nulls, t),
            T::Timestamp(TimeUnit::Microsecond, _) => primitive::<TimestampMicrosecondType>(values.into(), nulls, t),
            T::Timestamp(TimeUnit::Nanosecond, _) => primitive::<TimestampNanosecondType>(values.into(), nulls, t),
            T::Duration(TimeUnit::Second) => primitive::<DurationSecondType>(values.into(), nulls, t),
            T::Duration(TimeUnit::Millisecond) => primitive::<DurationMillisecondType>(values.into(), nulls, t),
            T::Duration(TimeUnit::Microsecond) => primitive::<DurationMicrosecondType>(values.into(), nulls, t),
            T::Duration(TimeUnit::Nanosecond) => primitive::<DurationNanosecondType>(values.into(), nulls, t),
            T::Interval(IntervalUnit::YearMonth) => {
                narrowed::<IntervalYearMonthType, _>(&values, nulls, t, |v| v as i32)
            }
            T::Decimal32(..) => narrowed::<Decimal32Type, _>(&values, nulls, t, |v| v as i32),
            T::Decimal64(..) => primitive::<Decimal64Type>(values.into(), nulls, t),
            other => Err(misread(other, "i64")),
        }
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
impl Lane for i128 {
    fn read(array: &dyn Array) -> Result<Vec<Self>> {
        use DataType as T;
        Ok(match array.data_type() {
            T::UInt64 => widened::<UInt64Type, _>(array, i128::from),
            T::Decimal128(..) => widened::<Decimal128Type, _>(array, |v| v),
            T::Interval(IntervalUnit::DayTime) => widened::<IntervalDayTimeType, _>(array, |v| {
                (i128::from(v.days) << 32) | i128::from(v.milliseconds as u32)
            }),
            T::Interval(IntervalUnit::MonthDayNano) => widened::<IntervalMonthDayNanoType, _>(array, |v| {
                (i128::from(v.months) << 96) | (i128::from(v.days as u32) << 64) | i128::from(v.nanoseconds as u64)
            }),
            other => return Err(misread(other, "i128")),
        })
    }

    fn write(values: Vec<Self>, nulls: Option<NullBuffer>, data_type: &DataType) -> Result<ArrayRef> {
        use DataType as T;
        let t = data_type;
        match data_type {
            T::UInt64 => narrowed::<UInt64Type, _>(&values, nulls, t, |v| v as u64),
            T::Decimal128(..) => primitive::<Decimal128Type>(values.into(), nulls, t),
            T::Interval(IntervalUnit::DayTime) => narrowed::<IntervalDayTimeType, _>(&values, nulls, t, |v| {
                IntervalDayTime::new((v >> 32) as i32, v as i32)
            }),
            T::Interval(IntervalUnit::MonthDayNano) => {
                narrowed::<IntervalMonthDayNanoType, _>(&values, nulls, t, |v| {
                    IntervalMonthDayNano::new((v >> 96) as i32, (v >> 64) as i32, v as i64)
                })
            }
            other => Err(misread(other, "i128")),
        }
    }
}

impl Lane for i256 {
    fn read(array: &dyn Array) -> Result<Vec<Self>> {
        match array.data_type() {
            DataType::Decimal256(..) => Ok(widened::<Decimal256Type, _>(array, |v| v)),
            other => Err(misread(other, "i256")),
        }
    }

    fn write(values: Vec<Self>, nulls: Option<NullBuffer>, data_type: &DataType) -> Result<ArrayRef> {
        match data_type {
            DataType::Decimal256(..) => primitive::<Decimal256Type>(values.into(), nulls, data_type),
            other => Err(misread(other, "i256")),
        }
    }
}

/// All NaNs are one value.
fn canonical(x: f64) -> Float {
    Float(if x.is_nan() { f64::NAN } else { x })
}

#[allow(clippy::cast_possible_truncation)]
impl Lane for Float {
    fn read(array: &dyn Array) -> Result<Vec<Self>> {
        Ok(match array.data_type() {
            DataType::Float16 => widened::<Float16Type, _>(array, |v| canonical(v.to_f64())),
            DataType::Float32 => widened::<Float32Type, _>(array, |v| canonical(f64::from(v))),
            DataType::Float64 => widened::<Float64Type, _>(array, canonical),
            other => return Err(misread(other, "f64")),
        })
    }

    fn write(values: Vec<Self>, nulls: Option<NullBuffer>, data_type: &DataType) -> Result<ArrayRef> {
        match data_type {
            DataType::Float16 => narrowed::<Float16Type, _>(&values, nulls, data_type, |v| half::f16::from_f64(v.0)),
            DataType::Float32 => narrowed::<Float32Type, _>(&values, nulls, data_type, |v| v.0 as f32),
            DataType::Float64 => narrowed::<Float64Type, _>(&values, nulls, data_type, |v| v.0),
            other => Err(misread(other, "f64")),
        }
    }
}

/// Calls `take` with every value of a plain string or binary array, in row order.
pub(crate) fn for_each_bytes<'a>(array: &'a dyn Array, mut take: impl FnMut(Option<&'a [u8]>)) -> Result<()> {
    fn offsets<'a, T: ByteArrayType<Offset: arrow::array::OffsetSizeTrait>>(
        array: &'a GenericByteArray<T>,
        take: &mut impl FnMut(Option<&'a [u8]>),
    ) where
        T::Native: AsRef<[u8]>,
    {
        for row in 0..array.len() {
            take(array.is_valid(row).then(|| array.value(row).as_ref()));
        }
    }
    match array.data_type() {
        DataType::Utf8 => offsets(array.as_string::<i32>(), &mut take),
        DataType::LargeUtf8 => offsets(array.as_string::<i64>(), &mut take),
        DataType::Binary => offsets(array.as_binary::<i32>(), &mut take),
        DataType::LargeBinary => offsets(array.as_binary::<i64>(), &mut take),
        DataType::Utf8View => array.as_string_view().iter().for_each(|v| take(v.map(str::as_bytes))),
        DataType::BinaryView => array.as_binary_view().iter().for_each(take),
        DataType::FixedSizeBinary(_) => array.as_fixed_size_binary().iter().for_each(take),
        other => return Err(misread(other, "bytes")),
    }
    Ok(())
}

/// A plain string or binary array of `data_type`.
///
/// # Errors
/// Bytes that are no UTF-8 for a string type, or not of the fixed size.
pub(crate) fn write_bytes<'a>(
    values: impl ExactSizeIterator<Item = Option<&'a [u8]>> + Clone,
    data_type: &DataType,
) -> Result<ArrayRef> {
    use arrow::array::{GenericBinaryBuilder, GenericStringBuilder, OffsetSizeTrait};
    fn text(bytes: &[u8]) -> Result<&str> {
        std::str::from_utf8(bytes).map_err(|_| SynthError::Internal("a string value is not UTF-8".into()))
    }
    fn strings<'a, O: OffsetSizeTrait>(
        values: impl ExactSizeIterator<Item = Option<&'a [u8]>> + Clone,
    ) -> Result<ArrayRef> {
        let bytes = values.clone().map(|v| v.map_or(0, <[u8]>::len)).sum();
        let mut builder = GenericStringBuilder::<O>::with_capacity(values.len(), bytes);
        for value in values {
            builder.append_option(value.map(text).transpose()?);
        }
        Ok(Arc::new(builder.finish()))
    }
    fn binaries<'a, O: OffsetSizeTrait>(values: impl ExactSizeIterator<Item = Option<&'a [u8]>> + Clone) -> ArrayRef {
        let bytes = values.clone().map(|v| v.map_or(0, <[u8]>::len)).sum();
        let mut builder = GenericBinaryBuilder::<O>::with_capacity(values.len(), bytes);
        values.for_each(|value| builder.append_option(value));
        Arc::new(builder.finish())
    }
    Ok(match data_type {
        DataType::Utf8 => strings::<i32>(values)?,
        DataType::LargeUtf8 => strings::<i64>(values)?,
        DataType::Binary => binaries::<i32>(values),
        DataType::LargeBinary => binaries::<i64>(values),
        DataType::Utf8View => {
            let texts = values.map(|v| v.map(text).transpose()).collect::<Result<Vec<_>>>()?;
            Arc::new(StringViewArray::from(texts))
        }
        DataType::BinaryView => Arc::new(BinaryViewArray::from(values.collect::<Vec<_>>())),
        DataType::FixedSizeBinary(size) => {
            Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(values, *size)?)
        }
        other => return Err(misread(other, "bytes")),
    })
}

/// `rows` nulls of `data_type`.
pub(crate) fn nulls(data_type: &DataType, rows: usize) -> ArrayRef {
    new_null_array(data_type, rows)
}
