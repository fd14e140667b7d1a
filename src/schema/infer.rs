//! How roles are inferred.

use super::ColumnRole;
use arrow::datatypes::DataType;

/// Statistics of a column that its role is inferred from.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnFacts<'a> {
    /// Its name.
    pub name: &'a str,
    /// The type of its values (a dictionary's values).
    pub data_type: &'a DataType,
    /// Rows that are not null.
    pub values: u64,
    /// Distinct values (estimated for large columns).
    pub distinct: u64,
    /// Share of the distinct values that occur once.
    pub singletons: f64,
    /// For whole numbers: how many values lie between the smallest and the largest, both included,
    /// in steps of their greatest common divisor.
    pub span: Option<f64>,
    /// For strings: whether they look made by a rule (codes, UUIDs, email addresses) rather than written.
    pub regular: bool,
    /// Whether every distinct value is known: only then can they be categories.
    pub complete: bool,
}

impl ColumnFacts<'_> {
    /// Nearly every value occurs once.
    #[must_use]
    pub fn is_unique(&self) -> bool {
        self.values >= 2 && self.singletons >= 0.99 && self.distinct as f64 >= 0.97 * self.values as f64
    }

    /// Numbered through: unique, and most numbers of the range are there.
    fn is_numbered(&self) -> bool {
        let Some(span) = self.span else { return false };
        // Chance fills half of a range with few values only.
        let density = if self.values < 100 { 0.9 } else { 0.5 };
        self.values >= 5 && self.is_unique() && self.values as f64 >= density * span
    }

    /// Called like a key.
    fn is_named_id(&self) -> bool {
        let name = self.name.to_ascii_lowercase();
        let word = |w: &str| name == w || name.ends_with(&format!("_{w}"));
        ["id", "key", "uuid", "guid", "pk"].into_iter().any(word)
            || self.name.ends_with("Id")
            || self.name.ends_with("ID")
    }

    /// Few enough values for each to be learned on its own.
    fn is_repetitive(&self) -> bool {
        let (values, distinct) = (self.values as f64, self.distinct as f64);
        // Twice each on average; many values need more evidence.
        let occurrences = values / distinct.max(1.0);
        distinct <= 1.0
            || (distinct <= 20.0 && occurrences >= 1.5)
            || occurrences >= 2.0 + (distinct.log10() - 2.0).max(0.0)
    }
}

/// The role of a column by its type and statistics:
///
/// * booleans and intervals are categorical; floats and decimals numeric; dates and times datetime;
/// * whole numbers are identifiers where they are unique and numbered through (or called like a key),
///   and numeric otherwise;
/// * strings and binary values are categorical where values repeat, identifiers where they are
///   nearly unique or follow few character patterns, and free text otherwise.
#[must_use]
pub fn infer_role(facts: &ColumnFacts<'_>) -> ColumnRole {
    use DataType as T;
    match facts.data_type {
        T::Null => ColumnRole::Exclude,
        T::Boolean | T::Interval(_) => ColumnRole::Categorical,
        T::Date32 | T::Date64 | T::Time32(_) | T::Time64(_) | T::Timestamp(..) | T::Duration(_) => ColumnRole::Datetime,
        T::Float16 | T::Float32 | T::Float64 => ColumnRole::Numeric,
        t if t.is_integer() || t.is_decimal() => {
            let named = facts.is_named_id() && facts.values >= 5 && facts.is_unique();
            if facts.is_numbered() || named { ColumnRole::Identifier } else { ColumnRole::Numeric }
        }
        _ if facts.complete && facts.is_repetitive() => ColumnRole::Categorical,
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => ColumnRole::Identifier,
        _ if facts.regular || (facts.is_named_id() && facts.is_unique()) => ColumnRole::Identifier,
        _ => ColumnRole::FreeText,
    }
}
