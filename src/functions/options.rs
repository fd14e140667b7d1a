//! Training options given in a call: read by the option's own declaration.

use super::arguments::{Arguments, number, show, whole_number};
use crate::{
    Result, SynthError,
    models::{ModelKind, OptionKind, OptionSpec, OptionValue},
};
use datafusion::common::ScalarValue;
use std::collections::BTreeMap;

/// The named arguments outside the signature, as options of `kind`.
///
/// # Errors
/// An option that `kind` does not have, or a value that it does not accept.
pub(super) fn own_options(arguments: &Arguments, kind: &dyn ModelKind) -> Result<BTreeMap<String, OptionValue>> {
    let names: Vec<&str> = kind.options().iter().map(|spec| spec.name).collect();
    arguments.deny_others(&names)?;
    let mut own = BTreeMap::new();
    for spec in kind.options() {
        if let Some(value) = arguments.others().get(spec.name).filter(|value| !value.is_null()) {
            own.insert(spec.name.to_owned(), option_value(arguments, spec, value)?);
        }
    }
    Ok(own)
}

fn option_value(arguments: &Arguments, spec: &OptionSpec, value: &ScalarValue) -> Result<OptionValue> {
    let accepted = match (spec.kind, value) {
        (OptionKind::Bool, ScalarValue::Boolean(Some(value))) => Some(OptionValue::Bool(*value)),
        (OptionKind::Bool, _) => None,
        (OptionKind::Int(min, max), value) => {
            whole(value).filter(|number| (min..=max).contains(number)).map(OptionValue::Int)
        }
        (OptionKind::Float(min, max), value) => {
            number(value).filter(|number| (min..=max).contains(number)).map(OptionValue::Float)
        }
    };
    accepted.ok_or_else(|| arguments.fault(spec.name, &show(value), &accepts(spec.kind)))
}

/// A whole number of either sign.
fn whole(value: &ScalarValue) -> Option<i64> {
    match whole_number(value) {
        Some(number) => i64::try_from(number).ok(),
        None => value
            .arithmetic_negate()
            .ok()
            .and_then(|negated| whole_number(&negated))
            .and_then(|number| 0i64.checked_sub_unsigned(number)),
    }
}

/// What an option accepts, in words.
pub(super) fn accepts(kind: OptionKind) -> String {
    match kind {
        OptionKind::Bool => "true or false".to_owned(),
        OptionKind::Int(min, i64::MAX) => format!("whole number, {min} or more"),
        OptionKind::Int(min, max) => format!("whole number from {min} to {max}"),
        OptionKind::Float(min, max) if max == f64::MAX || max.is_infinite() => format!("number, {min} or more"),
        OptionKind::Float(min, max) => format!("number from {min} to {max}"),
    }
}

/// A text argument read by its type's own parser, whose error says what is accepted.
pub(super) fn parsed<T: std::str::FromStr<Err = String>>(arguments: &Arguments, name: &str) -> Result<Option<T>> {
    let Some(text) = arguments.text(name)? else { return Ok(None) };
    let fault = |accepted: String| arguments.fault(name, &format!("'{text}'"), &accepted);
    text.parse().map(Some).map_err(fault)
}

/// A whole-number argument as a narrower type (its declared range fits).
pub(super) fn narrow<T: TryFrom<u64>>(arguments: &Arguments, name: &str) -> Result<Option<T>> {
    let Some(number) = arguments.whole(name)? else { return Ok(None) };
    let wide = || SynthError::Internal(format!("the declared range of `{name}` is too wide"));
    T::try_from(number).map(Some).map_err(|_| wide())
}

/// An option's value, as it is written in SQL.
pub(super) fn shown(value: OptionValue) -> String {
    match value {
        OptionValue::Bool(value) => value.to_string(),
        OptionValue::Int(value) => value.to_string(),
        OptionValue::Float(value) => value.to_string(),
    }
}
