//! Checks keys against the data: every key, every problem, in one report.

use super::{
    KeySource, KnownKeys, Tables,
    declare::comparable,
    plans::{Row, foreign_key_counts, key_counts},
};
use crate::{
    Result, SynthError,
    schema::{Cycle, Edge, ForeignKey, Key, KeyKind, OrphanPolicy, SchemaGraph, TableName, show_columns},
};
use arrow::datatypes::SchemaRef;
use datafusion::execution::SessionState;
use futures::{StreamExt, TryStreamExt};
use std::collections::{BTreeMap, BTreeSet};

/// Keys that are checked at a time: each is a parallel query, but small tables leave the processor idle.
const AT_A_TIME: usize = 4;

/// Which key a [`KeyCheck`] is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckedKey {
    /// A primary or unique key.
    Key(Key),
    /// A foreign key.
    ForeignKey(ForeignKey),
}

/// What the data has of a key.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct KeyCounts {
    /// Rows of the table.
    pub rows: u64,
    /// Rows with a null in a column of the key.
    pub nulls: u64,
    /// Primary and unique keys: rows that have the key of another row (of three equal rows, two).
    pub duplicates: Option<u64>,
    /// Foreign keys only.
    pub references: Option<ReferenceCounts>,
}

/// What the data has of a foreign key.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ReferenceCounts {
    /// Rows whose key no row of the parent has.
    pub orphans: u64,
    /// Distinct keys among the orphans.
    pub orphan_keys: u64,
    /// Distinct keys of the child.
    pub keys: u64,
    /// Distinct keys of the parent.
    pub parents: u64,
    /// Rows of the parent with a null in its key.
    pub parent_nulls: u64,
    /// Rows of the parent that have the key of another row.
    pub parent_duplicates: u64,
    /// Fewest and most children of a parent key; none where there are no parents.
    pub children: Option<(u64, u64)>,
}

/// One key, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyCheck {
    /// The key.
    pub key: CheckedKey,
    /// Where it was declared.
    pub source: KeySource,
    /// What the data has of it; none where a table or column is missing.
    pub counts: Option<KeyCounts>,
    /// What is wrong with it, in sentences that name the way out; empty if nothing is.
    pub problems: Vec<String>,
}

/// All keys, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyReport {
    /// Keys first, then foreign keys; in the order of [`KnownKeys`].
    pub checks: Vec<KeyCheck>,
}

impl KeyCounts {
    /// Mean number of children of a parent key.
    #[must_use]
    pub fn mean_children(&self) -> Option<f64> {
        let references = self.references?;
        let children = self.rows.checked_sub(self.nulls)?.checked_sub(references.orphans)?;
        (references.parents > 0).then(|| children as f64 / references.parents as f64)
    }
}

impl KeyReport {
    /// Nothing, if the data keeps every key.
    ///
    /// # Errors
    /// [`SynthError::Keys`] with every problem of every key.
    pub fn verify(&self) -> Result<()> {
        let mut problems = Vec::new();
        for problem in self.checks.iter().flat_map(|check| &check.problems) {
            if !problems.contains(problem) {
                problems.push(problem.clone());
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(SynthError::Keys { problems }) }
    }

    /// The tables with keys, or with parents, that were found to have no rows.
    #[must_use]
    pub fn empty_tables(&self) -> BTreeSet<&TableName> {
        let mut empty = BTreeSet::new();
        for KeyCheck { key, counts, .. } in &self.checks {
            let Some(counts) = counts else { continue };
            let table = match key {
                CheckedKey::Key(key) => &key.table,
                CheckedKey::ForeignKey(key) => {
                    if counts.references.is_some_and(|found| found.parents + found.parent_nulls == 0) {
                        empty.insert(&key.parent);
                    }
                    &key.table
                }
            };
            if counts.rows == 0 {
                empty.insert(table);
            }
        }
        empty
    }
}

/// Checks `known` against the data of the session's tables: unique and primary keys, foreign keys and their parents, and
/// that no cycle of foreign keys is without a reference that may be null. Tables are streamed, never collected.
///
/// References are looked for among all rows of the parent: those that would be orphans only once their parents were dropped
/// as orphans are not counted.
///
/// What a whole schema is to be trained on goes through here first: [`KeyReport::verify`] is its error.
///
/// # Errors
/// A table cannot be read; the memory for the distinct keys of a table is not there. What is wrong with the keys is in
/// the report.
pub async fn check_keys(state: &SessionState, known: &KnownKeys, orphans: OrphanPolicy) -> Result<KeyReport> {
    let tables = Tables::of(state);
    let unique: BTreeSet<(TableName, Vec<String>)> =
        known.keys.iter().map(|(key, _)| (key.table.clone(), sorted(&key.columns))).collect();
    let checker = Checker { state, tables: &tables, unique: &unique, orphans };
    let mut keys: Vec<(CheckedKey, KeySource)> = Vec::new();
    keys.extend(known.keys.iter().map(|(key, source)| (CheckedKey::Key(key.clone()), *source)));
    keys.extend(known.foreign_keys.iter().map(|(key, source)| (CheckedKey::ForeignKey(key.clone()), *source)));
    let mut checks: Vec<KeyCheck> = futures::stream::iter(keys)
        .map(|(key, source)| checker.check(key, source))
        .buffered(AT_A_TIME)
        .try_collect()
        .await?;
    add_cycles(&tables, &mut checks).await?;
    Ok(KeyReport { checks })
}

/// The graph of foreign keys: the tables that it links, and the edges, one for each key whose tables are there.
///
/// # Errors
/// A catalog fails.
pub async fn schema_graph<'a>(
    tables: &Tables,
    keys: impl IntoIterator<Item = &'a ForeignKey>,
    others: &[TableName],
) -> Result<(Vec<TableName>, SchemaGraph)> {
    let mut edges = Vec::new();
    let mut names: BTreeSet<TableName> = others.iter().cloned().collect();
    let keys: Vec<&ForeignKey> = keys.into_iter().collect();
    let mut schemas: BTreeMap<&TableName, Option<SchemaRef>> = BTreeMap::new();
    for key in &keys {
        names.extend([key.table.clone(), key.parent.clone()]);
        if !schemas.contains_key(&key.table) {
            schemas.insert(&key.table, tables.find(&key.table).await?.map(|table| table.schema()));
        }
    }
    let names: Vec<TableName> = names.into_iter().collect();
    let at = |name: &TableName| names.binary_search(name).unwrap_or(usize::MAX);
    for key in keys {
        let schema = schemas.get(&key.table).and_then(Option::as_ref);
        let nullable = |column: &String| {
            schema.is_none_or(|schema| schema.field_with_name(column).is_ok_and(|field| field.is_nullable()))
        };
        let nullable = key.columns.iter().any(nullable);
        edges.push(Edge { child: at(&key.table), parent: at(&key.parent), nullable });
    }
    let shown = names.iter().map(|name| tables.show(name)).collect();
    Ok((names, SchemaGraph::new(shown, edges)))
}

async fn add_cycles(tables: &Tables, checks: &mut [KeyCheck]) -> Result<()> {
    let numbers: Vec<usize> =
        (0..checks.len()).filter(|&number| matches!(checks[number].key, CheckedKey::ForeignKey(_))).collect();
    let keys: Vec<ForeignKey> = checks
        .iter()
        .filter_map(|check| match &check.key {
            CheckedKey::ForeignKey(key) => Some(key.clone()),
            CheckedKey::Key(_) => None,
        })
        .collect();
    let (_, graph) = schema_graph(tables, &keys, &[]).await?;
    let Err(cycles) = graph.order() else { return Ok(()) };
    for Cycle { edges } in cycles {
        let path: Vec<String> = edges
            .iter()
            .map(|&edge| format!("`{}` ({})", tables.show(&keys[edge].table), show_columns(&keys[edge].columns)))
            .collect();
        let end = edges.first().map_or_else(String::new, |&edge| format!("`{}`", tables.show(&keys[edge].table)));
        let problem = format!(
            "the foreign keys {} → {end} form a cycle, and none of them may be null: no table can come first; make the \
             columns of one of them nullable, or drop one of these keys",
            path.join(" → ")
        );
        for edge in edges {
            checks[numbers[edge]].problems.push(problem.clone());
        }
    }
    Ok(())
}

struct Checker<'a> {
    state: &'a SessionState,
    tables: &'a Tables,
    /// The keys that are checked on their own.
    unique: &'a BTreeSet<(TableName, Vec<String>)>,
    orphans: OrphanPolicy,
}

impl Checker<'_> {
    async fn check(&self, key: CheckedKey, source: KeySource) -> Result<KeyCheck> {
        let missing = match &key {
            CheckedKey::Key(key) => self.missing(&key.table, &key.columns, &format!("its {}", key.kind)).await?,
            CheckedKey::ForeignKey(key) => self.mismatch(key).await?,
        };
        if let Some(problem) = missing {
            return Ok(KeyCheck { key, source, counts: None, problems: vec![problem] });
        }
        let (counts, problems) = match &key {
            CheckedKey::Key(key) => self.key(key).await?,
            CheckedKey::ForeignKey(key) => self.foreign_key(key).await?,
        };
        Ok(KeyCheck { key, source, counts: Some(counts), problems })
    }

    /// What is not there of `columns` of `table`.
    async fn missing(&self, table: &TableName, columns: &[String], what: &str) -> Result<Option<String>> {
        let shown = self.tables.show(table);
        let Some(provider) = self.tables.find(table).await? else {
            return Ok(Some(format!(
                "table `{shown}`: there is no such table, though {what} ({}) is declared; create it, or delete the key \
                 from synth.keys and synth.foreign_keys",
                show_columns(columns)
            )));
        };
        let schema = provider.schema();
        Ok(columns.iter().find(|column| schema.column_with_name(column).is_none()).map(|column| {
            format!(
                "table `{shown}`: there is no column `{column}`, though {what} ({}) is declared; delete the key, or \
                 declare it with the columns that are there",
                show_columns(columns)
            )
        }))
    }

    async fn mismatch(&self, key: &ForeignKey) -> Result<Option<String>> {
        let what = format!("its foreign key to `{}`", self.tables.show(&key.parent));
        if let Some(problem) = self.missing(&key.table, &key.columns, &what).await? {
            return Ok(Some(problem));
        }
        let what = format!("a foreign key of `{}` to it", self.tables.show(&key.table));
        if let Some(problem) = self.missing(&key.parent, &key.parent_columns, &what).await? {
            return Ok(Some(problem));
        }
        let (child, parent) =
            (self.tables.get(&key.table).await?.schema(), self.tables.get(&key.parent).await?.schema());
        for (column, parent_column) in key.columns.iter().zip(&key.parent_columns) {
            let own = child.field_with_name(column)?.data_type();
            let other = parent.field_with_name(parent_column)?.data_type();
            if !comparable(own, other) {
                return Ok(Some(format!(
                    "{}: `{column}` is {own}, `{parent_column}` is {other}; declare the key between columns of one type, \
                     cast in a view if need be",
                    self.subject(key)
                )));
            }
        }
        Ok(None)
    }

    async fn key(&self, key: &Key) -> Result<(KeyCounts, Vec<String>)> {
        let row = Row::of(self.state, &key_counts(self.tables, &key.table, &key.columns).await?).await?;
        let count = |name| Ok::<_, SynthError>(row.count(name)?.unwrap_or(0));
        let (rows, nulls, duplicates) = (count("rows")?, count("nulls")?, count("duplicates")?);
        let subject =
            format!("table `{}`, {} ({})", self.tables.show(&key.table), key.kind, show_columns(&key.columns));
        let mut problems = Vec::new();
        if duplicates > 0 {
            problems.push(format!(
                "{subject}: {} the key of another row; remove duplicates, or declare the columns that identify a row",
                of(duplicates, rows, "repeats", "repeat")
            ));
        }
        if nulls > 0 && key.kind == KeyKind::Primary {
            problems.push(format!(
                "{subject}: {} a null in it; fill in the key, leave these rows out, or declare it UNIQUE",
                of(nulls, rows, "has", "have")
            ));
        }
        Ok((KeyCounts { rows, nulls, duplicates: Some(duplicates), references: None }, problems))
    }

    async fn foreign_key(&self, key: &ForeignKey) -> Result<(KeyCounts, Vec<String>)> {
        let row = Row::of(self.state, &foreign_key_counts(self.tables, key).await?).await?;
        let count = |name| Ok::<_, SynthError>(row.count(name)?.unwrap_or(0));
        let (rows, nulls) = (count("rows")?, count("nulls")?);
        let references = ReferenceCounts {
            orphans: count("orphans")?,
            orphan_keys: count("orphan_keys")?,
            keys: count("keys")?,
            parents: count("parents")?,
            parent_nulls: count("parent_nulls")?,
            parent_duplicates: count("parent_duplicates")?,
            children: row.count("children_min")?.zip(row.count("children_max")?),
        };
        let mut problems = Vec::new();
        // A parent key that is declared as a key tells of its own problems.
        if !self.unique.contains(&(key.parent.clone(), sorted(&key.parent_columns))) {
            let parent_rows = count("parent_rows")?;
            let subject = format!(
                "table `{}`, parent key ({}) of `{}` ({})",
                self.tables.show(&key.parent),
                show_columns(&key.parent_columns),
                self.tables.show(&key.table),
                show_columns(&key.columns)
            );
            if references.parent_duplicates > 0 {
                problems.push(format!(
                    "{subject}: {} the key of another row; remove duplicates, or refer to columns that identify a row",
                    of(references.parent_duplicates, parent_rows, "repeats", "repeat")
                ));
            }
            if references.parent_nulls > 0 {
                problems.push(format!(
                    "{subject}: {} a null in it; fill in the key, or refer to columns that are never null",
                    of(references.parent_nulls, parent_rows, "has", "have")
                ));
            }
        }
        if references.orphans > 0 {
            problems.extend(self.orphans(key, rows, &references).await?);
        }
        Ok((KeyCounts { rows, nulls, duplicates: None, references: Some(references) }, problems))
    }

    async fn orphans(&self, key: &ForeignKey, rows: u64, counts: &ReferenceCounts) -> Result<Option<String>> {
        let found = format!(
            "{}: {} to no row of `{}` (distinct keys: {})",
            self.subject(key),
            of(counts.orphans, rows, "refers", "refer"),
            self.tables.show(&key.parent),
            counts.orphan_keys
        );
        match self.orphans {
            OrphanPolicy::Drop => Ok(None),
            OrphanPolicy::Error => Ok(Some(format!(
                "{found}; orphans => 'drop' leaves these rows out, orphans => 'null' has them refer to nothing"
            ))),
            OrphanPolicy::Null => {
                let schema = self.tables.get(&key.table).await?.schema();
                let nullable =
                    key.columns.iter().any(|column| schema.field_with_name(column).is_ok_and(|f| f.is_nullable()));
                Ok((!nullable).then(|| {
                    format!("{found}, and none of its columns may be null; orphans => 'drop' leaves these rows out")
                }))
            }
        }
    }

    fn subject(&self, key: &ForeignKey) -> String {
        format!(
            "table `{}`, foreign key ({}) to `{}` ({})",
            self.tables.show(&key.table),
            show_columns(&key.columns),
            self.tables.show(&key.parent),
            show_columns(&key.parent_columns)
        )
    }
}

/// `3 of 100 rows repeat`
fn of(some: u64, all: u64, one: &str, many: &str) -> String {
    format!("{some} of {all} rows {}", if some == 1 { one } else { many })
}

fn sorted(columns: &[String]) -> Vec<String> {
    let mut columns = columns.to_vec();
    columns.sort();
    columns
}
