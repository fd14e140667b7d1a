//! Checks what is declared against the tables, before it is taken.

use super::{KnownKeys, Tables};
use crate::{
    Result, SynthError,
    schema::{ForeignKey, Key, KeyKind, TableName, parse_columns, show_columns},
};
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};

/// A column, as a declaration names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnRef {
    /// The column of exactly this name, or else
    pub name: String,
    /// the one of this name.
    pub otherwise: Option<String>,
}

impl ColumnRef {
    /// The column `name`, and no other.
    #[must_use]
    pub fn exact(name: impl Into<String>) -> Self {
        Self { name: name.into(), otherwise: None }
    }

    /// The columns of a list such as `order_id, line`. A name stands for the column written so, or else, where it is not
    /// quoted, for its lower case.
    ///
    /// # Errors
    /// An empty name, an open quote; the error says which.
    pub fn list(text: &str) -> Result<Vec<Self>, String> {
        let names = parse_columns(text)?;
        let column = |(name, quoted): (String, bool)| {
            let lower = name.to_lowercase();
            Self { otherwise: (!quoted && lower != name).then_some(lower), name }
        };
        Ok(names.into_iter().map(column).collect())
    }
}

/// A primary or unique key to declare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// Name of the constraint; made from table and columns if there is none.
    pub name: Option<String>,
    /// The table.
    pub table: TableName,
    /// What it promises.
    pub kind: KeyKind,
    /// The columns.
    pub columns: Vec<ColumnRef>,
}

/// A foreign key to declare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewForeignKey {
    /// Name of the constraint; made from table and columns if there is none.
    pub name: Option<String>,
    /// The child.
    pub table: TableName,
    /// Its columns.
    pub columns: Vec<ColumnRef>,
    /// The parent.
    pub parent: TableName,
    /// Its columns; those of its primary key if there are none.
    pub parent_columns: Vec<ColumnRef>,
}

/// A table that is about to be created: its keys are checked against what it will be.
#[derive(Debug, Clone)]
pub struct Planned {
    /// Its name.
    pub table: TableName,
    /// Its columns.
    pub schema: SchemaRef,
    /// Its primary key.
    pub primary_key: Option<Vec<String>>,
}

impl NewKey {
    /// The key, if the table has it.
    ///
    /// # Errors
    /// No such table or column, a column twice, a type that no key can have; the key, its name or another primary key is
    /// declared already.
    pub async fn check(self, tables: &Tables, known: &KnownKeys, planned: Option<&Planned>) -> Result<Key> {
        let Self { name, table, kind, columns } = self;
        let shown = tables.show(&table);
        let schema = schema_of(tables, &table, planned).await?;
        let subject = kind.as_str();
        let columns = resolve(&shown, subject, &columns, &schema)?;
        if let Some((same, _)) = known.keys.iter().find(|(key, _)| {
            key.table == table && key.kind == kind && (kind == KeyKind::Primary || same_set(&key.columns, &columns))
        }) {
            return Err(declaration(
                &shown,
                subject,
                &columns,
                format!("the table has `{}`, {subject} ({}), already", same.name, show_columns(&same.columns)),
                "drop that one first, or leave this one out",
            ));
        }
        let name =
            fresh_name(tables, known, &table, name, subject, Key::default_name(&table, kind, &columns), &columns)?;
        Ok(Key { name, table, kind, columns })
    }
}

impl NewForeignKey {
    /// The foreign key, if both tables have its columns and their types can be compared.
    ///
    /// # Errors
    /// As for [`NewKey::check`]; a different number of columns on both sides; types that differ, with the cast that is
    /// missing.
    pub async fn check(self, tables: &Tables, known: &KnownKeys, planned: Option<&Planned>) -> Result<ForeignKey> {
        const SUBJECT: &str = "foreign key";
        let Self { name, table, columns, parent, parent_columns } = self;
        let (shown, shown_parent) = (tables.show(&table), tables.show(&parent));
        let schema = schema_of(tables, &table, planned).await?;
        let columns = resolve(&shown, SUBJECT, &columns, &schema)?;
        let fault = |reason: String, way_out: &str| declaration(&shown, SUBJECT, &columns, reason, way_out);
        let parent_schema = match schema_of(tables, &parent, planned).await {
            Err(error @ SynthError::NotFound { .. }) => {
                let way_out = "create the parent first, or add this key afterwards with ALTER TABLE … ADD FOREIGN KEY";
                return Err(fault(error.to_string(), way_out));
            }
            found => found?,
        };
        let parent_columns = if parent_columns.is_empty() {
            let planned_key = planned.filter(|planned| planned.table == parent).map(|planned| &planned.primary_key);
            let key = match planned_key {
                Some(key) => key.clone(),
                None => known.primary_key(&parent).map(|key| key.columns.clone()),
            };
            key.ok_or_else(|| {
                fault(
                    format!("it names no columns of `{shown_parent}`, which has no primary key"),
                    "name them: REFERENCES parent (column, …)",
                )
            })?
        } else {
            resolve(&shown_parent, "parent key", &parent_columns, &parent_schema)?
        };
        if columns.len() != parent_columns.len() {
            let (few, many) = (show_columns(&columns), show_columns(&parent_columns));
            return Err(fault(
                format!(
                    "({few}) refers to `{shown_parent}` ({many}): {} to {} columns",
                    columns.len(),
                    parent_columns.len()
                ),
                "name as many columns on both sides",
            ));
        }
        if table == parent && columns == parent_columns {
            return Err(fault(
                "it refers to itself, column by column".to_owned(),
                "name the columns that hold the parent's key",
            ));
        }
        for (column, parent_column) in columns.iter().zip(&parent_columns) {
            let own = data_type(&schema, column)?;
            let other = data_type(&parent_schema, parent_column)?;
            if !comparable(own, other) {
                return Err(fault(
                    format!("`{column}` is {own}, `{shown_parent}`.`{parent_column}` is {other}"),
                    &format!(
                        "make the types equal: {}",
                        cast(&shown, column, own, &shown_parent, parent_column, other)
                    ),
                ));
            }
        }
        let new = ForeignKey { name: String::new(), table, columns, parent, parent_columns };
        if let Some((same, _)) = known.foreign_keys.iter().find(|(key, _)| key.same_as(&new)) {
            let reason = format!("it is declared already, as `{}`", same.name);
            return Err(declaration(
                &shown,
                SUBJECT,
                &new.columns,
                reason,
                "drop that one first, or leave this one out",
            ));
        }
        let default = ForeignKey::default_name(&new.table, &new.columns);
        let name = fresh_name(tables, known, &new.table, name, SUBJECT, default, &new.columns)?;
        Ok(ForeignKey { name, ..new })
    }
}

async fn schema_of(tables: &Tables, table: &TableName, planned: Option<&Planned>) -> Result<SchemaRef> {
    match planned {
        Some(planned) if planned.table == *table => Ok(planned.schema.clone()),
        _ => Ok(tables.get(table).await?.schema()),
    }
}

fn data_type<'a>(schema: &'a SchemaRef, column: &str) -> Result<&'a DataType> {
    Ok(schema.field_with_name(column)?.data_type())
}

/// The columns that a declaration means.
fn resolve(table: &str, subject: &str, columns: &[ColumnRef], schema: &SchemaRef) -> Result<Vec<String>> {
    let mut names: Vec<String> = Vec::with_capacity(columns.len());
    for column in columns {
        let has = |name: &String| schema.column_with_name(name).is_some();
        let name = Some(&column.name).filter(|name| has(name)).or(column.otherwise.as_ref().filter(|name| has(name)));
        let Some(name) = name else {
            let known = schema.fields().iter().map(|field| field.name().clone()).collect();
            let missing = SynthError::NotFound { kind: "column", name: column.name.clone(), known };
            return Err(missing.in_table(table));
        };
        if names.contains(name) {
            let (all, way_out) =
                (columns.iter().map(|column| &column.name).collect::<Vec<_>>(), "name each column once");
            return Err(declaration(table, subject, &all, format!("it names `{name}` twice"), way_out));
        }
        let kind = schema.field_with_name(name)?.data_type();
        if kind.is_nested() || matches!(kind, DataType::Null) {
            return Err(SynthError::Column {
                column: name.clone(),
                reason: format!("a {kind} cannot be part of a {subject}"),
                way_out: "name columns of single values: numbers, strings, dates …".to_owned(),
            }
            .in_table(table));
        }
        names.push(name.clone());
    }
    if names.is_empty() {
        let none: [&str; 0] = [];
        return Err(declaration(table, subject, &none, "it names no column".to_owned(), "name one or more"));
    }
    Ok(names)
}

/// `name`, unless another key of the table has it; a made name gets a number then.
fn fresh_name(
    tables: &Tables,
    known: &KnownKeys,
    table: &TableName,
    name: Option<String>,
    subject: &str,
    default: String,
    columns: &[String],
) -> Result<String> {
    let keys = known.keys.iter().filter(|(key, _)| key.table == *table).map(|(key, _)| &key.name);
    let foreign = known.foreign_keys.iter().filter(|(key, _)| key.table == *table).map(|(key, _)| &key.name);
    let taken: Vec<&String> = keys.chain(foreign).collect();
    match name {
        Some(name) if taken.contains(&&name) => Err(declaration(
            &tables.show(table),
            subject,
            columns,
            format!("another key of the table is named `{name}`"),
            "choose another name, or none",
        )),
        Some(name) => Ok(name),
        None => {
            let numbered = (1..).map(|number| format!("{default}{number}"));
            let fresh = std::iter::once(default.clone()).chain(numbered).find(|name| !taken.contains(&name));
            Ok(fresh.unwrap_or(default))
        }
    }
}

fn same_set(a: &[String], b: &[String]) -> bool {
    a.len() == b.len() && a.iter().all(|column| b.contains(column))
}

fn declaration<S: AsRef<str>>(table: &str, subject: &str, columns: &[S], reason: String, way_out: &str) -> SynthError {
    SynthError::Key {
        table: table.to_owned(),
        key: format!("{subject} ({})", show_columns(columns)),
        reason,
        way_out: way_out.to_owned(),
    }
}

/// Whether values of both types are the same values, written alike: no text is ever read as a number, no date as text.
pub(super) fn comparable(a: &DataType, b: &DataType) -> bool {
    use DataType as T;
    match (plain(a), plain(b)) {
        (a, b) if a == b => true,
        (a, b) if a.is_integer() && b.is_integer() => true,
        (T::Utf8 | T::LargeUtf8 | T::Utf8View, T::Utf8 | T::LargeUtf8 | T::Utf8View) => true,
        (
            T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_),
            T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_),
        ) => true,
        (T::Date32 | T::Date64, T::Date32 | T::Date64) => true,
        (T::Timestamp(_, a), T::Timestamp(_, b)) => a.is_some() == b.is_some(),
        (a, b) if a.is_decimal() && b.is_decimal() => scale(a) == scale(b),
        _ => false,
    }
}

fn plain(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::Dictionary(_, values) => plain(values),
        DataType::RunEndEncoded(_, values) => plain(values.data_type()),
        other => other,
    }
}

fn scale(data_type: &DataType) -> Option<i8> {
    match data_type {
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale)
        | DataType::Decimal256(_, scale) => Some(*scale),
        _ => None,
    }
}

/// The cast that makes two columns comparable: of the text where one side is text, for every text can be wrong, and
/// numbers are what both mean.
fn cast(table: &str, column: &str, own: &DataType, parent: &str, parent_column: &str, other: &DataType) -> String {
    let is_text = |t: &DataType| matches!(plain(t), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let (table, column, to) =
        if is_text(other) && !is_text(own) { (parent, parent_column, own) } else { (table, column, other) };
    let quoted = if column.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
        column.to_owned()
    } else {
        format!("\"{}\"", column.replace('"', "\"\""))
    };
    let expression = sql_type(plain(to))
        .map_or_else(|| format!("arrow_cast({quoted}, '{}')", plain(to)), |name| format!("CAST({quoted} AS {name})"));
    format!("CREATE VIEW … AS SELECT * EXCEPT ({quoted}), {expression} AS {quoted} FROM {table}")
}

fn sql_type(data_type: &DataType) -> Option<String> {
    use DataType as T;
    Some(match data_type {
        T::Boolean => "BOOLEAN".to_owned(),
        T::Int8 => "TINYINT".to_owned(),
        T::Int16 => "SMALLINT".to_owned(),
        T::Int32 => "INT".to_owned(),
        T::Int64 => "BIGINT".to_owned(),
        T::Float32 => "REAL".to_owned(),
        T::Float64 => "DOUBLE".to_owned(),
        T::Utf8 | T::LargeUtf8 | T::Utf8View => "VARCHAR".to_owned(),
        T::Date32 => "DATE".to_owned(),
        T::Timestamp(TimeUnit::Nanosecond, None) => "TIMESTAMP".to_owned(),
        T::Decimal128(precision, scale) => format!("DECIMAL({precision}, {scale})"),
        _ => return None,
    })
}
