//! The arguments of the SQL functions: declared once, bound the same way whether they were given by
//! position or by name.

use crate::{Result, SynthError};
use datafusion::{
    common::{ScalarValue, metadata::FieldMetadata},
    logical_expr::Expr,
};
use std::collections::BTreeMap;

/// What an argument accepts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ParameterKind {
    /// A string literal (or an identifier, read as its name).
    Text,
    /// A whole number in this inclusive range; a float without a fraction (`1e6`) is one too.
    Whole(u64, u64),
    /// A number in this inclusive range.
    Number(f64, f64),
    /// `true` or `false`.
    Boolean,
}

impl ParameterKind {
    /// The type in the words of the documentation.
    #[must_use]
    pub fn describe(self) -> String {
        match self {
            Self::Text => "string".to_owned(),
            Self::Whole(min, max) => format!("whole number from {min} to {max}"),
            Self::Number(min, max) => format!("number from {min} to {max}"),
            Self::Boolean => "true or false".to_owned(),
        }
    }
}

/// One argument of a function. Arguments are positional in the order of declaration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parameter {
    /// Name, lower case; matched in any case.
    pub name: &'static str,
    /// Accepted values.
    pub kind: ParameterKind,
    /// Whether it must be given.
    pub required: bool,
    /// The default, in words; empty for a required argument.
    pub default: &'static str,
    /// One sentence.
    pub description: &'static str,
}

/// A function's name and arguments.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Signature {
    /// SQL name, lower case.
    pub function: &'static str,
    /// The arguments in positional order.
    pub parameters: &'static [Parameter],
}

/// Arguments bound to their parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Arguments {
    signature: Signature,
    given: BTreeMap<&'static str, ScalarValue>,
    others: BTreeMap<String, ScalarValue>,
}

impl Signature {
    /// Binds `exprs`: those made by [`named`] by their name, the others by position. Named arguments that the
    /// signature does not declare are kept apart, for [`Arguments::others`] to take or [`Arguments::deny_others`]
    /// to refuse.
    ///
    /// # Errors
    /// Too many, missing, repeated or non-constant arguments; a positional one after a named one.
    pub fn bind(self, exprs: &[Expr]) -> Result<Arguments> {
        let mut bound = Arguments { signature: self, given: BTreeMap::new(), others: BTreeMap::new() };
        let mut named_before = None;
        for (position, expr) in exprs.iter().enumerate() {
            if let Some((name, value)) = name_of(expr) {
                let twice = match self.parameter(&name) {
                    Some(parameter) => bound.given.insert(parameter.name, value).is_some(),
                    None => bound.others.insert(name.clone(), value).is_some(),
                };
                if twice {
                    return Err(self.fault(&name, "two values", "one"));
                }
                named_before = Some(name);
                continue;
            }
            if let Some(name) = &named_before {
                let given = format!("the positional argument {expr} after it");
                return Err(self.fault(name, &given, "positional arguments before named ones"));
            }
            let Some(parameter) = self.parameters.get(position) else {
                return Err(self.fault(
                    &(position + 1).to_string(),
                    &format!("{} arguments", exprs.len()),
                    &format!("at most {}: {}", self.parameters.len(), self.names().join(", ")),
                ));
            };
            bound.given.insert(parameter.name, constant(self.function, parameter.name, expr)?);
        }
        for parameter in self.parameters {
            // NULL stands for "not given", so that a call can be generated with every argument in place.
            if bound.given.get(parameter.name).is_some_and(ScalarValue::is_null) {
                bound.given.remove(parameter.name);
            }
            if parameter.required && !bound.given.contains_key(parameter.name) {
                return Err(self.fault(parameter.name, "nothing", &parameter.kind.describe()));
            }
        }
        Ok(bound)
    }

    fn parameter(&self, name: &str) -> Option<&'static Parameter> {
        self.parameters.iter().find(|parameter| parameter.name == name)
    }

    fn names(&self) -> Vec<String> {
        self.parameters.iter().map(|parameter| parameter.name.to_owned()).collect()
    }

    fn fault(&self, argument: &str, given: &str, expected: &str) -> SynthError {
        fault(self.function, argument, given, expected)
    }
}

fn fault(function: &str, argument: &str, given: &str, expected: &str) -> SynthError {
    SynthError::Argument {
        function: function.to_owned(),
        argument: argument.to_owned(),
        given: given.to_owned(),
        expected: expected.to_owned(),
    }
}

/// Key of the metadata that carries a literal's name as an argument. (An alias would say it more plainly, but
/// planning strips aliases from the arguments of table functions.)
const NAME_KEY: &str = "synthohive.argument";

/// The argument `name => value`. Names are matched in any case.
#[must_use]
pub fn named(name: &str, value: ScalarValue) -> Expr {
    let metadata = BTreeMap::from([(NAME_KEY.to_owned(), name.to_ascii_lowercase())]);
    Expr::Literal(value, Some(FieldMetadata::from(metadata)))
}

fn name_of(expr: &Expr) -> Option<(String, ScalarValue)> {
    let Expr::Literal(value, Some(metadata)) = expr else { return None };
    metadata.inner().get(NAME_KEY).map(|name| (name.clone(), value.clone()))
}

/// The value of a constant argument; an identifier is read as its name.
///
/// # Errors
/// The argument is not constant.
pub fn constant(function: &str, name: &str, expr: &Expr) -> Result<ScalarValue> {
    match expr {
        Expr::Literal(value, _) => Ok(value.clone()),
        Expr::Column(column) => Ok(ScalarValue::Utf8(Some(column.flat_name()))),
        Expr::Placeholder(placeholder) => Err(fault(
            function,
            name,
            &format!("the placeholder {}", placeholder.id),
            "a value that is known when the statement is planned",
        )),
        other => Err(fault(function, name, &other.to_string(), "a constant")),
    }
}

impl Arguments {
    /// Whether the argument was given.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// The value of a text argument.
    ///
    /// # Errors
    /// It is not a string.
    pub fn text(&self, name: &str) -> Result<Option<String>> {
        let Some(value) = self.given.get(name) else { return Ok(None) };
        match value.try_as_str() {
            Some(Some(text)) => Ok(Some(text.to_owned())),
            _ => Err(self.unacceptable(name, value)),
        }
    }

    /// The value of a required text argument.
    ///
    /// # Errors
    /// It is not a string.
    pub fn required_text(&self, name: &str) -> Result<String> {
        self.text(name)?.ok_or_else(|| self.signature.fault(name, "nothing", "a string"))
    }

    /// The value of a whole-number argument.
    ///
    /// # Errors
    /// It is not a number, has a fraction, or is out of the parameter's range.
    pub fn whole(&self, name: &str) -> Result<Option<u64>> {
        let Some(value) = self.given.get(name) else { return Ok(None) };
        let Some(ParameterKind::Whole(min, max)) = self.signature.parameter(name).map(|p| p.kind) else {
            return Err(SynthError::Internal(format!("{name} is not declared as a whole number")));
        };
        match whole_number(value) {
            Some(number) if (min..=max).contains(&number) => Ok(Some(number)),
            _ => Err(self.unacceptable(name, value)),
        }
    }

    /// The value of a number argument.
    ///
    /// # Errors
    /// It is not a number, or out of the parameter's range.
    pub fn number(&self, name: &str) -> Result<Option<f64>> {
        let Some(value) = self.given.get(name) else { return Ok(None) };
        let Some(ParameterKind::Number(min, max)) = self.signature.parameter(name).map(|p| p.kind) else {
            return Err(SynthError::Internal(format!("{name} is not declared as a number")));
        };
        match number(value) {
            Some(number) if (min..=max).contains(&number) => Ok(Some(number)),
            _ => Err(self.unacceptable(name, value)),
        }
    }

    /// The value of a boolean argument.
    ///
    /// # Errors
    /// It is not a boolean.
    pub fn boolean(&self, name: &str) -> Result<Option<bool>> {
        match self.given.get(name) {
            None => Ok(None),
            Some(ScalarValue::Boolean(Some(value))) => Ok(Some(*value)),
            Some(value) => Err(self.unacceptable(name, value)),
        }
    }

    /// The named arguments that the signature does not declare, by lower-case name.
    #[must_use]
    pub fn others(&self) -> &BTreeMap<String, ScalarValue> {
        &self.others
    }

    /// Refuses arguments outside the signature.
    ///
    /// # Errors
    /// There are some; the error lists the signature's arguments and `also`.
    pub fn deny_others(&self, also: &[&str]) -> Result<()> {
        let Some(name) = self.others.keys().find(|name| !also.contains(&name.as_str())) else { return Ok(()) };
        let mut known = self.signature.names();
        known.extend(also.iter().map(|&name| name.to_owned()));
        Err(self.signature.fault(name, "an unknown argument", &format!("one of: {}", known.join(", "))))
    }

    /// An error about the argument `name`.
    #[must_use]
    pub fn fault(&self, name: &str, given: &str, expected: &str) -> SynthError {
        self.signature.fault(name, given, expected)
    }

    fn unacceptable(&self, name: &str, value: &ScalarValue) -> SynthError {
        let expected = self.signature.parameter(name).map_or_else(String::new, |p| p.kind.describe());
        self.signature.fault(name, &show(value), &expected)
    }
}

/// A literal, as messages show it.
#[must_use]
pub fn show(value: &ScalarValue) -> String {
    match value.try_as_str() {
        Some(Some(text)) => format!("'{text}'"),
        _ => value.to_string(),
    }
}

/// The whole number that a numeric literal of any type stands for, if it does and fits.
#[must_use]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub fn whole_number(value: &ScalarValue) -> Option<u64> {
    let of_float = |v: f64| (v >= 0.0 && v.fract() == 0.0 && v < u64::MAX as f64).then_some(v as u64);
    match value {
        ScalarValue::Int8(v) => u64::try_from((*v)?).ok(),
        ScalarValue::Int16(v) => u64::try_from((*v)?).ok(),
        ScalarValue::Int32(v) => u64::try_from((*v)?).ok(),
        ScalarValue::Int64(v) => u64::try_from((*v)?).ok(),
        ScalarValue::UInt8(v) => (*v).map(u64::from),
        ScalarValue::UInt16(v) => (*v).map(u64::from),
        ScalarValue::UInt32(v) => (*v).map(u64::from),
        ScalarValue::UInt64(v) => *v,
        ScalarValue::Float32(v) => of_float(f64::from((*v)?)),
        ScalarValue::Float64(v) => of_float((*v)?),
        ScalarValue::Decimal32(v, _, scale) => of_decimal(i128::from((*v)?), *scale),
        ScalarValue::Decimal64(v, _, scale) => of_decimal(i128::from((*v)?), *scale),
        ScalarValue::Decimal128(v, _, scale) => of_decimal((*v)?, *scale),
        _ => None,
    }
}

/// The number that a numeric literal of any type stands for.
#[must_use]
pub fn number(value: &ScalarValue) -> Option<f64> {
    if !value.data_type().is_numeric() || value.is_null() {
        return None;
    }
    match value.cast_to(&arrow::datatypes::DataType::Float64) {
        Ok(ScalarValue::Float64(number)) => number,
        _ => None,
    }
}

fn of_decimal(unscaled: i128, scale: i8) -> Option<u64> {
    let power = 10i128.checked_pow(u32::from(scale.unsigned_abs()))?;
    if scale < 0 {
        return u64::try_from(unscaled.checked_mul(power)?).ok();
    }
    (unscaled % power == 0).then(|| u64::try_from(unscaled / power).ok()).flatten()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use datafusion::prelude::{ident, lit};

    const SIGNATURE: Signature = Signature {
        function: "f",
        parameters: &[
            Parameter { name: "model", kind: ParameterKind::Text, required: true, default: "", description: "a name" },
            Parameter {
                name: "rows",
                kind: ParameterKind::Whole(1, i64::MAX as u64),
                required: true,
                default: "",
                description: "a count",
            },
            Parameter {
                name: "row_id",
                kind: ParameterKind::Boolean,
                required: false,
                default: "false",
                description: "a switch",
            },
        ],
    };

    fn message(exprs: &[Expr]) -> String {
        let outcome = SIGNATURE.bind(exprs).and_then(|bound| {
            bound.deny_others(&[])?;
            bound.text("model")?;
            bound.whole("rows")?;
            bound.boolean("row_id")?;
            Ok(())
        });
        outcome.unwrap_err().to_string()
    }

    #[test]
    fn positional_and_named_arguments_bind_alike() {
        let positional = SIGNATURE.bind(&[lit("m"), lit(1e6), lit(true)]).unwrap();
        let by_name =
            SIGNATURE.bind(&[ident("m"), named("ROW_ID", true.into()), named("rows", 1_000_000.into())]).unwrap();
        for bound in [positional, by_name] {
            assert_eq!(bound.text("model").unwrap().unwrap(), "m");
            assert_eq!(bound.whole("rows").unwrap(), Some(1_000_000));
            assert_eq!(bound.boolean("row_id").unwrap(), Some(true));
        }
        let bare = SIGNATURE.bind(&[lit("m"), lit(1), named("row_id", ScalarValue::Null)]).unwrap();
        assert!(!bare.has("row_id"), "NULL stands for the default");
    }

    #[rstest::rstest]
    #[case::zero(lit(0))]
    #[case::negative(lit(-5))]
    #[case::fraction(lit(2.5))]
    #[case::nan(lit(f64::NAN))]
    #[case::infinite(lit(f64::INFINITY))]
    #[case::too_large(lit(1e19))]
    #[case::text(lit("10"))]
    fn row_counts_that_are_none(#[case] rows: Expr) {
        let message = message(&[lit("m"), rows]);
        assert!(message.starts_with("f: argument `rows`: got "), "{message}");
        assert!(message.ends_with("expected whole number from 1 to 9223372036854775807"), "{message}");
    }

    #[test]
    fn errors_name_function_argument_given_and_accepted() {
        assert_eq!(
            message(&[lit("m")]),
            "f: argument `rows`: got nothing, expected whole number from 1 to 9223372036854775807"
        );
        assert_eq!(
            message(&[lit("m"), lit(1), named("rowz", 1.into())]),
            "f: argument `rowz`: got an unknown argument, expected one of: model, rows, row_id"
        );
        assert_eq!(message(&[lit(3), lit(1)]), "f: argument `model`: got 3, expected string");
        assert_eq!(message(&[lit("m"), lit(1), lit("yes")]), "f: argument `row_id`: got 'yes', expected true or false");
        assert_eq!(
            message(&[lit("m"), lit(1), named("rows", 2.into())]),
            "f: argument `rows`: got two values, expected one"
        );
        assert!(message(&[lit("m"), lit(1), lit(true), lit(4)]).contains("got 4 arguments, expected at most 3"));
        assert!(message(&[named("rows", 1.into()), lit("m")]).contains("positional arguments before named ones"));
        assert!(message(&[lit("m"), lit(1) + lit(1)]).contains("expected a constant"));
    }

    #[test]
    fn decimals_are_whole_when_they_are() {
        assert_eq!(whole_number(&ScalarValue::Decimal128(Some(1_500), 10, 2)), Some(15));
        assert_eq!(whole_number(&ScalarValue::Decimal128(Some(1_550), 10, 2)), None);
        assert_eq!(whole_number(&ScalarValue::Decimal128(Some(15), 10, -2)), Some(1_500));
        assert_eq!(whole_number(&ScalarValue::UInt64(Some(u64::MAX))), Some(u64::MAX));
        assert_eq!(number(&ScalarValue::Decimal128(Some(25), 3, 1)), Some(2.5));
        assert_eq!(number(&ScalarValue::Utf8(Some("1".into()))), None);
    }
}
