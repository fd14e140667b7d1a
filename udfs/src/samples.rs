//! Two samples of an ordered value: what [`ks_distance`](crate::ks_distance) and
//! [`wasserstein`](crate::wasserstein) have in common.

use arrow::{
    array::{Array, ArrayRef, AsArray, Int64Array, ListArray},
    buffer::OffsetBuffer,
    compute::cast,
    datatypes::{DataType, Decimal128Type, Field, FieldRef, Float64Type, Int64Type, TimeUnit, UInt64Type},
};
use datafusion::{
    common::{Result, ScalarValue, exec_err, internal_err, plan_err},
    logical_expr::{
        Accumulator,
        function::{AccumulatorArgs, StateFieldsArgs},
        utils::format_state_name,
    },
};
use std::sync::Arc;

/// Digits of a decimal that fit an `i64`.
const EXACT_DIGITS: u8 = 18;

/// How the values of a type are kept: as `i64` keys in the order of the values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Key {
    /// The value is the key, in units of which `per_unit` make one of the result.
    Integer { per_unit: f64 },
    /// Offset by 2^63.
    Unsigned,
    /// The bits of the number, in the order of the numbers; NaN is the greatest, -0 equals 0.
    Float,
}

impl Key {
    fn of(data_type: &DataType) -> Result<Self> {
        Ok(match data_type {
            DataType::Int64 | DataType::Date32 => Self::Integer { per_unit: 1.0 },
            DataType::UInt64 => Self::Unsigned,
            DataType::Float64 => Self::Float,
            DataType::Decimal128(_, scale) => Self::Integer { per_unit: 10f64.powi(i32::from(*scale)) },
            DataType::Timestamp(unit, _) | DataType::Time64(unit) | DataType::Duration(unit) => Self::Integer {
                per_unit: match unit {
                    TimeUnit::Second => 1.0,
                    TimeUnit::Millisecond => 1e3,
                    TimeUnit::Microsecond => 1e6,
                    TimeUnit::Nanosecond => 1e9,
                },
            },
            other => return internal_err!("{other} should have been coerced"),
        })
    }

    fn keys(self, values: &ArrayRef) -> Result<Int64Array> {
        Ok(match (self, values.data_type()) {
            (Self::Float, _) => values.as_primitive::<Float64Type>().unary(float_key),
            (Self::Unsigned, _) => values.as_primitive::<UInt64Type>().unary(|value| (value ^ (1 << 63)) as i64),
            // At most 18 digits, so it fits.
            (_, DataType::Decimal128(..)) => values.as_primitive::<Decimal128Type>().unary(|value| value as i64),
            (_, DataType::Date32) => cast(&cast(values, &DataType::Int32)?, &DataType::Int64)?.as_primitive().clone(),
            _ => cast(values, &DataType::Int64)?.as_primitive().clone(),
        })
    }

    /// The value of a key as a number: dates in days, times in seconds.
    pub(crate) fn number(self, key: i64) -> f64 {
        match self {
            Self::Integer { per_unit } => key as f64 / per_unit,
            Self::Unsigned => ((key as u64) ^ (1 << 63)) as f64,
            Self::Float => f64::from_bits((key ^ (((key >> 63) as u64) >> 1) as i64) as u64),
        }
    }
}

fn float_key(value: f64) -> i64 {
    let value = if value.is_nan() { f64::NAN } else { value + 0.0 };
    let bits = value.to_bits() as i64;
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

/// The type that a value is brought to before it is compared.
fn comparable(data_type: &DataType) -> Option<DataType> {
    Some(match data_type {
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => DataType::Int64,
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 => DataType::Int64,
        DataType::UInt64 => DataType::UInt64,
        DataType::Float16 | DataType::Float32 | DataType::Float64 | DataType::Null => DataType::Float64,
        DataType::Decimal32(digits, scale)
        | DataType::Decimal64(digits, scale)
        | DataType::Decimal128(digits, scale)
        | DataType::Decimal256(digits, scale) => {
            if *digits <= EXACT_DIGITS {
                DataType::Decimal128(*digits, *scale)
            } else {
                DataType::Float64
            }
        }
        DataType::Date32 => DataType::Date32,
        DataType::Date64 => DataType::Timestamp(TimeUnit::Millisecond, None),
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Nanosecond),
        DataType::Timestamp(..) | DataType::Duration(_) => data_type.clone(),
        DataType::Dictionary(_, values) => comparable(values)?,
        _ => return None,
    })
}

/// Argument types of `function(value, is_real)` over ordered values.
pub(crate) fn coerce(function: &str, arguments: &[DataType]) -> Result<Vec<DataType>> {
    let [value, is_real] = two(function, "value, is_real", arguments)?;
    let Some(value) = comparable(value) else {
        return plan_err!(
            "{function}: argument `value`: got {value}, expected a number, a date, a time or a timestamp; tvd compares categories of any type"
        );
    };
    Ok(vec![value, boolean(function, is_real)?])
}

/// The two argument types of a function.
pub(crate) fn two<'a>(function: &str, names: &str, arguments: &'a [DataType]) -> Result<[&'a DataType; 2]> {
    match arguments {
        [first, second] => Ok([first, second]),
        other => plan_err!("{function}: got {} arguments, expected two: {function}({names})", other.len()),
    }
}

/// The type of the argument `is_real`.
pub(crate) fn boolean(function: &str, data_type: &DataType) -> Result<DataType> {
    match data_type {
        DataType::Boolean | DataType::Null => Ok(DataType::Boolean),
        other => plan_err!(
            "{function}: argument `is_real`: got {other}, expected a boolean: true for rows of the first sample, false for rows of the second"
        ),
    }
}

/// An aggregate without `DISTINCT`: duplicates are what a distribution is made of.
pub(crate) fn refuse_distinct(function: &str, arguments: &AccumulatorArgs) -> Result<()> {
    if arguments.is_distinct {
        return plan_err!("{function}: DISTINCT would change the distributions that are compared; leave it out");
    }
    Ok(())
}

/// A list of `values` as a state field.
pub(crate) fn list(values: ArrayRef) -> ScalarValue {
    let field = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths([values.len()]);
    ScalarValue::List(Arc::new(ListArray::new(field, offsets, values, None)))
}

/// A state field that holds a [`list`].
pub(crate) fn list_field(function: &str, name: &str, item: DataType) -> FieldRef {
    Arc::new(Field::new(format_state_name(function, name), DataType::new_list(item, true), true))
}

/// State of a [`TwoSamples`]: the keys of the first sample, those of the second.
pub(crate) fn state_fields(arguments: &StateFieldsArgs) -> Vec<FieldRef> {
    ["real", "synthetic"].map(|name| list_field(arguments.name, name, DataType::Int64)).to_vec()
}

/// A statistic of two sorted samples, neither of them empty.
pub(crate) type Statistic = fn(key: Key, real: &[i64], synthetic: &[i64]) -> f64;

/// Collects the values of two samples; rows without a value, or of neither sample, do not count.
#[derive(Debug)]
pub(crate) struct TwoSamples {
    key: Key,
    statistic: Statistic,
    real: Vec<i64>,
    synthetic: Vec<i64>,
}

impl TwoSamples {
    pub(crate) fn new(arguments: &AccumulatorArgs, statistic: Statistic) -> Result<Self> {
        let Some(value) = arguments.expr_fields.first() else {
            return internal_err!("an aggregate of two arguments without the first");
        };
        Ok(Self { key: Key::of(value.data_type())?, statistic, real: Vec::new(), synthetic: Vec::new() })
    }
}

impl Accumulator for TwoSamples {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [value, is_real] = values else {
            return exec_err!("got {} arguments, expected two", values.len());
        };
        let keys = self.key.keys(value)?;
        for (key, real) in keys.iter().zip(is_real.as_boolean()) {
            match (key, real) {
                (Some(key), Some(true)) => self.real.push(key),
                (Some(key), Some(false)) => self.synthetic.push(key),
                _ => {}
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [real, synthetic] = states else {
            return exec_err!("got {} state fields, expected two", states.len());
        };
        for (into, lists) in [(&mut self.real, real), (&mut self.synthetic, synthetic)] {
            for list in lists.as_list::<i32>().iter().flatten() {
                into.extend_from_slice(list.as_primitive::<Int64Type>().values());
            }
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let take = |keys: &mut Vec<i64>| list(Arc::new(Int64Array::from(std::mem::take(keys))));
        Ok(vec![take(&mut self.real), take(&mut self.synthetic)])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.real.is_empty() || self.synthetic.is_empty() {
            return Ok(ScalarValue::Float64(None));
        }
        self.real.sort_unstable();
        self.synthetic.sort_unstable();
        Ok(ScalarValue::Float64(Some((self.statistic)(self.key, &self.real, &self.synthetic))))
    }

    fn size(&self) -> usize {
        size_of_val(self) + (self.real.capacity() + self.synthetic.capacity()) * size_of::<i64>()
    }
}

/// Walks two sorted samples together: calls `step` with every distinct key and the share of each sample up to and
/// including it.
pub(crate) fn distribution_functions(real: &[i64], synthetic: &[i64], mut step: impl FnMut(i64, f64, f64)) {
    let (mut r, mut s) = (0, 0);
    while r < real.len() || s < synthetic.len() {
        let key = match (real.get(r), synthetic.get(s)) {
            (Some(&a), Some(&b)) => a.min(b),
            (Some(&key), None) | (None, Some(&key)) => key,
            (None, None) => return,
        };
        r += real[r..].iter().take_while(|&&other| other == key).count();
        s += synthetic[s..].iter().take_while(|&&other| other == key).count();
        step(key, r as f64 / real.len() as f64, s as f64 / synthetic.len() as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn float_keys_keep_the_order_and_come_back() {
        let values = [f64::NEG_INFINITY, -1.5, -f64::MIN_POSITIVE, 0.0, 1e-300, 2.0, f64::INFINITY];
        assert!(values.windows(2).all(|pair| float_key(pair[0]) < float_key(pair[1])));
        assert!(values.iter().all(|&value| Key::Float.number(float_key(value)) == value));
        assert_eq!(float_key(-0.0), float_key(0.0));
        assert!(float_key(-f64::NAN) > float_key(f64::INFINITY));
    }

    #[test]
    fn unsigned_keys_keep_the_order_and_come_back() {
        let values: ArrayRef = Arc::new(arrow::array::UInt64Array::from(vec![0, 1, 1 << 63, u64::MAX]));
        let keys = Key::Unsigned.keys(&values).unwrap();
        assert!(keys.values().windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(Key::Unsigned.number(keys.value(1)), 1.0);
    }
}
