//! Keys: what identifies a row, and what it refers to.

use super::choice;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A table, fully named.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableName {
    /// The catalog.
    pub catalog: String,
    /// The schema within it.
    pub schema: String,
    /// The table within that.
    pub table: String,
}

/// What a [`Key`] promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    /// Unique and never null.
    Primary,
    /// Unique where none of its columns is null.
    Unique,
}

/// Columns whose values together identify a row of a table.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Key {
    /// Name of the constraint.
    pub name: String,
    /// The table.
    pub table: TableName,
    /// What it promises.
    pub kind: KeyKind,
    /// Its columns, in the order of declaration.
    pub columns: Vec<String>,
}

/// Columns whose values together name a row of a parent table, or are null.
///
/// A reference with a null in any of its columns refers to nothing, as SQL's `MATCH SIMPLE` has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ForeignKey {
    /// Name of the constraint.
    pub name: String,
    /// The child.
    pub table: TableName,
    /// Its columns.
    pub columns: Vec<String>,
    /// The table referred to; may be the child itself.
    pub parent: TableName,
    /// The parent's columns, each for the child's column of the same position.
    pub parent_columns: Vec<String>,
}

impl KeyKind {
    /// As written in SQL, in lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary key",
            Self::Unique => "unique",
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for KeyKind {
    type Err = String;

    /// Accepts the words of [`KeyKind::as_str`], in any case; the error lists them.
    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<String> = text.split_whitespace().map(str::to_ascii_lowercase).collect();
        match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["primary", "key"] | ["primary"] => Ok(Self::Primary),
            ["unique"] | ["unique", "key"] => Ok(Self::Unique),
            _ => Err("'primary key' or 'unique'".to_owned()),
        }
    }
}

impl Key {
    /// Whether both say the same, under whatever name.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        self.table == other.table && self.kind == other.kind && same_columns(&self.columns, &other.columns)
    }

    /// The name of a key that was given none: `orders_pkey`, `orders_order_id_line_key`.
    #[must_use]
    pub fn default_name(table: &TableName, kind: KeyKind, columns: &[String]) -> String {
        match kind {
            KeyKind::Primary => format!("{}_pkey", table.table),
            KeyKind::Unique => format!("{}_{}_key", table.table, columns.join("_")),
        }
    }
}

impl ForeignKey {
    /// Whether both say the same, under whatever name: the order of the column pairs does not matter.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        let pairs = |key: &Self| {
            let mut pairs: Vec<_> = key.columns.iter().cloned().zip(key.parent_columns.iter().cloned()).collect();
            pairs.sort();
            pairs
        };
        self.table == other.table && self.parent == other.parent && pairs(self) == pairs(other)
    }

    /// Whether a table refers to itself.
    #[must_use]
    pub fn is_self_reference(&self) -> bool {
        self.table == self.parent
    }

    /// The name of a foreign key that was given none: `orders_customer_id_fkey`.
    #[must_use]
    pub fn default_name(table: &TableName, columns: &[String]) -> String {
        format!("{}_{}_fkey", table.table, columns.join("_"))
    }
}

fn same_columns(a: &[String], b: &[String]) -> bool {
    a.len() == b.len() && a.iter().all(|column| b.contains(column))
}

/// What becomes of rows whose foreign key names no row of the parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum OrphanPolicy {
    /// They are an error, which counts them.
    #[default]
    Error,
    /// They are left out.
    Drop,
    /// They refer to nothing: their foreign key is read as null.
    Null,
}

impl OrphanPolicy {
    /// Every policy, in the order that messages list them.
    pub const ALL: [Self; 3] = [Self::Error, Self::Drop, Self::Null];

    /// As written in SQL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Drop => "drop",
            Self::Null => "null",
        }
    }
}

impl fmt::Display for OrphanPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for OrphanPolicy {
    type Err = String;

    /// Accepts the names of [`OrphanPolicy::as_str`], in any case; the error lists them.
    fn from_str(text: &str) -> Result<Self, String> {
        choice(Self::ALL, text)
    }
}

/// Column names as they are written in lists: `a, b`, in quotes where a name holds a comma, a quote or outer blanks.
#[must_use]
pub fn show_columns<S: AsRef<str>>(columns: &[S]) -> String {
    let shown = columns.iter().map(|column| {
        let column = column.as_ref();
        if column.is_empty() || column.contains([',', '"']) || column.trim() != column {
            format!("\"{}\"", column.replace('"', "\"\""))
        } else {
            column.to_owned()
        }
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// The names of a list, and whether each was quoted: reads what [`show_columns`] writes.
///
/// # Errors
/// An empty name, an open quote, text after a closing quote; the error says which.
pub fn parse_columns(text: &str) -> Result<Vec<(String, bool)>, String> {
    let mut names = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if let Some(mut inner) = rest.strip_prefix('"') {
            let mut name = String::new();
            loop {
                let Some((before, after)) = inner.split_once('"') else { return Err("an open quote".to_owned()) };
                name.push_str(before);
                match after.strip_prefix('"') {
                    Some(more) => {
                        name.push('"');
                        inner = more;
                    }
                    None => {
                        rest = after.trim_start();
                        break;
                    }
                }
            }
            names.push((name, true));
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            names.push((rest[..end].trim_end().to_owned(), false));
            rest = &rest[end..];
        }
        if names.last().is_some_and(|(name, _)| name.is_empty()) {
            return Err("an empty name".to_owned());
        }
        if rest.is_empty() {
            return Ok(names);
        }
        rest = rest.strip_prefix(',').ok_or_else(|| format!("`{rest}` after a quoted name"))?;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    proptest! {
        #[test]
        fn lists_of_columns_round_trip(columns in prop::collection::vec("[a-zA-Z_ .,\"é]{1,8}", 1..5)) {
            let read = parse_columns(&show_columns(&columns)).unwrap();
            prop_assert_eq!(read.into_iter().map(|(name, _)| name).collect::<Vec<_>>(), columns);
        }
    }

    #[rstest]
    #[case("", "an empty name")]
    #[case("a,,b", "an empty name")]
    #[case("a,", "an empty name")]
    #[case("\"a", "an open quote")]
    #[case("\"a\" b", "`b` after a quoted name")]
    fn lists_that_are_none(#[case] text: &str, #[case] message: &str) {
        assert_eq!(parse_columns(text).unwrap_err(), message);
    }

    #[test]
    fn words_are_read_in_any_case() {
        assert_eq!("PRIMARY  Key".parse(), Ok(KeyKind::Primary));
        assert_eq!("Unique".parse(), Ok(KeyKind::Unique));
        assert_eq!("foreign".parse::<KeyKind>(), Err("'primary key' or 'unique'".to_owned()));
        assert_eq!(" NULL".parse(), Ok(OrphanPolicy::Null));
        assert_eq!("keep".parse::<OrphanPolicy>(), Err("'error', 'drop', 'null'".to_owned()));
    }

    #[test]
    fn pairs_of_columns_have_no_order() {
        let name = |table: &str| TableName { catalog: "c".into(), schema: "s".into(), table: table.into() };
        let key = |columns: [&str; 2], parent: [&str; 2]| ForeignKey {
            name: String::new(),
            table: name("a"),
            columns: columns.map(str::to_owned).into(),
            parent: name("b"),
            parent_columns: parent.map(str::to_owned).into(),
        };
        assert!(key(["x", "y"], ["u", "v"]).same_as(&key(["y", "x"], ["v", "u"])));
        assert!(!key(["x", "y"], ["u", "v"]).same_as(&key(["x", "y"], ["v", "u"])));
    }
}
