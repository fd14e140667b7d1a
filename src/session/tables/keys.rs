//! `synth.keys` and `synth.foreign_keys`: the keys of the session's tables, and those declared here.

use super::provider::{Source, SystemTable, text};
use crate::{
    Result, SynthError,
    exec::keys::{ColumnRef, KeySource, KnownKeys, NewForeignKey, NewKey},
    schema::{ForeignKey, Key, KeyKind, show_columns},
    store::DeclaredKeys,
};
use arrow::{
    array::{ArrayRef, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use async_trait::async_trait;
use std::sync::{Arc, LazyLock};

static KEYS: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("table_name", DataType::Utf8, false),
        Field::new("kind", DataType::Utf8, false),
        Field::new("columns", DataType::Utf8, false),
        // Nullable, so that an INSERT without them is complete.
        Field::new("name", DataType::Utf8, true),
        Field::new("source", DataType::Utf8, true),
    ]))
});

static FOREIGN_KEYS: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("table_name", DataType::Utf8, false),
        Field::new("columns", DataType::Utf8, false),
        Field::new("parent_table", DataType::Utf8, false),
        Field::new("parent_columns", DataType::Utf8, true),
        Field::new("name", DataType::Utf8, true),
        Field::new("source", DataType::Utf8, true),
    ]))
});

/// Primary and unique keys.
#[derive(Debug)]
pub(super) struct Keys;

/// Foreign keys.
#[derive(Debug)]
pub(super) struct ForeignKeys;

async fn known(source: &Source) -> Result<KnownKeys> {
    KnownKeys::gather(&source.tables, source.session_keys.as_deref(), &source.store).await
}

fn texts<'a>(values: impl Iterator<Item = String> + 'a) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn keys_batch(source: &Source, keys: &[(Key, KeySource)]) -> Result<RecordBatch> {
    let columns = vec![
        texts(keys.iter().map(|(key, _)| source.tables.show(&key.table))),
        texts(keys.iter().map(|(key, _)| key.kind.to_string())),
        texts(keys.iter().map(|(key, _)| show_columns(&key.columns))),
        texts(keys.iter().map(|(key, _)| key.name.clone())),
        texts(keys.iter().map(|(_, from)| from.as_str().to_owned())),
    ];
    Ok(RecordBatch::try_new(Arc::clone(&KEYS), columns)?)
}

fn foreign_keys_batch(source: &Source, keys: &[(ForeignKey, KeySource)]) -> Result<RecordBatch> {
    let columns = vec![
        texts(keys.iter().map(|(key, _)| source.tables.show(&key.table))),
        texts(keys.iter().map(|(key, _)| show_columns(&key.columns))),
        texts(keys.iter().map(|(key, _)| source.tables.show(&key.parent))),
        texts(keys.iter().map(|(key, _)| show_columns(&key.parent_columns))),
        texts(keys.iter().map(|(key, _)| key.name.clone())),
        texts(keys.iter().map(|(_, from)| from.as_str().to_owned())),
    ];
    Ok(RecordBatch::try_new(Arc::clone(&FOREIGN_KEYS), columns)?)
}

/// One row of an `INSERT`.
struct Given<'a> {
    insert: &'static str,
    rows: &'a RecordBatch,
    row: usize,
}

impl<'a> Given<'a> {
    fn text(&self, column: &str) -> Result<Option<&'a str>> {
        Ok(text(self.rows, column, self.row)?.filter(|text| !text.is_empty()))
    }

    fn required(&self, column: &str, all: &str) -> Result<&'a str> {
        self.text(column)?.ok_or_else(|| self.refused(column, "nothing", &format!("a value: {all} must be given")))
    }

    fn columns(&self, column: &str, list: &str) -> Result<Vec<ColumnRef>> {
        let read = ColumnRef::list(list);
        read.map_err(|fault| {
            self.refused(
                column,
                &format!("'{list}', {fault}"),
                "column names, separated by commas, in double quotes if need be",
            )
        })
    }

    fn check_source(&self) -> Result<()> {
        let declared = KeySource::Store.as_str();
        match self.text("source")?.filter(|&source| source != declared) {
            Some(source) => Err(self.refused("source", &format!("'{source}'"), &format!("none, or '{declared}'"))),
            None => Ok(()),
        }
    }

    fn refused(&self, argument: &str, given: &str, expected: &str) -> SynthError {
        SynthError::Argument {
            function: self.insert.to_owned(),
            argument: argument.to_owned(),
            given: given.to_owned(),
            expected: expected.to_owned(),
        }
    }
}

/// The rows of `batches`.
fn given<'a>(insert: &'static str, batches: &'a [RecordBatch]) -> impl Iterator<Item = Given<'a>> {
    batches.iter().flat_map(move |rows| (0..rows.num_rows()).map(move |row| Given { insert, rows, row }))
}

#[async_trait]
impl SystemTable for Keys {
    fn name(&self) -> &'static str {
        "keys"
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&KEYS)
    }

    async fn rows(&self, source: &Source) -> Result<RecordBatch> {
        keys_batch(source, &known(source).await?.keys)
    }

    /// Declared ones only: those of tables go with `ALTER TABLE`.
    async fn deletable(&self, source: &Source) -> Result<RecordBatch> {
        let declared = source.store.declared_keys().await?.keys;
        let declared: Vec<_> = declared.into_iter().map(|key| (key, KeySource::Store)).collect();
        keys_batch(source, &declared)
    }

    async fn delete(&self, source: &Source, chosen: &RecordBatch) -> Result<u64> {
        let mut gone = Vec::with_capacity(chosen.num_rows());
        for row in 0..chosen.num_rows() {
            gone.push((text(chosen, "table_name", row)?, text(chosen, "name", row)?));
        }
        let is_gone = |key: &Key| gone.contains(&(Some(&source.tables.show(&key.table)), Some(&key.name)));
        source.store.change_keys(|declared| Ok(remove(&mut declared.keys, is_gone))).await
    }

    fn insertable(&self) -> bool {
        true
    }

    async fn insert(&self, source: &Source, rows: &[RecordBatch]) -> Result<u64> {
        const ALL: &str = "table_name, kind and columns";
        let mut known = known(source).await?;
        let mut new = Vec::new();
        for given in given("INSERT INTO synth.keys", rows) {
            given.check_source()?;
            let kind: KeyKind = given.required("kind", ALL)?.parse().map_err(|accepted: String| {
                let kind = text(given.rows, "kind", given.row).ok().flatten().unwrap_or_default();
                given.refused("kind", &format!("'{kind}'"), &accepted)
            })?;
            let key = NewKey {
                name: given.text("name")?.map(str::to_owned),
                table: source.tables.named(given.required("table_name", ALL)?),
                kind,
                columns: given.columns("columns", given.required("columns", ALL)?)?,
            };
            let key = key.check(&source.tables, &known, None).await?;
            known.keys.push((key.clone(), KeySource::Store));
            new.push(key);
        }
        add(source, DeclaredKeys { keys: new, ..DeclaredKeys::default() }).await
    }
}

#[async_trait]
impl SystemTable for ForeignKeys {
    fn name(&self) -> &'static str {
        "foreign_keys"
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&FOREIGN_KEYS)
    }

    async fn rows(&self, source: &Source) -> Result<RecordBatch> {
        foreign_keys_batch(source, &known(source).await?.foreign_keys)
    }

    /// As for [`Keys`].
    async fn deletable(&self, source: &Source) -> Result<RecordBatch> {
        let declared = source.store.declared_keys().await?.foreign_keys;
        let declared: Vec<_> = declared.into_iter().map(|key| (key, KeySource::Store)).collect();
        foreign_keys_batch(source, &declared)
    }

    async fn delete(&self, source: &Source, chosen: &RecordBatch) -> Result<u64> {
        let mut gone = Vec::with_capacity(chosen.num_rows());
        for row in 0..chosen.num_rows() {
            gone.push((text(chosen, "table_name", row)?, text(chosen, "name", row)?));
        }
        let is_gone = |key: &ForeignKey| gone.contains(&(Some(&source.tables.show(&key.table)), Some(&key.name)));
        source.store.change_keys(|declared| Ok(remove(&mut declared.foreign_keys, is_gone))).await
    }

    fn insertable(&self) -> bool {
        true
    }

    async fn insert(&self, source: &Source, rows: &[RecordBatch]) -> Result<u64> {
        const ALL: &str = "table_name, columns and parent_table";
        let mut known = known(source).await?;
        let mut new = Vec::new();
        for given in given("INSERT INTO synth.foreign_keys", rows) {
            given.check_source()?;
            let parent_columns = match given.text("parent_columns")? {
                Some(list) => given.columns("parent_columns", list)?,
                None => Vec::new(),
            };
            let key = NewForeignKey {
                name: given.text("name")?.map(str::to_owned),
                table: source.tables.named(given.required("table_name", ALL)?),
                columns: given.columns("columns", given.required("columns", ALL)?)?,
                parent: source.tables.named(given.required("parent_table", ALL)?),
                parent_columns,
            };
            let key = key.check(&source.tables, &known, None).await?;
            known.foreign_keys.push((key.clone(), KeySource::Store));
            new.push(key);
        }
        add(source, DeclaredKeys { foreign_keys: new, ..DeclaredKeys::default() }).await
    }
}

/// Adds keys that were checked. Another writer may have declared the same meanwhile: that is what was wanted.
async fn add(source: &Source, new: DeclaredKeys) -> Result<u64> {
    source
        .store
        .change_keys(|declared| {
            for key in &new.keys {
                if !declared.keys.iter().any(|other| other.same_as(key)) {
                    declared.keys.push(key.clone());
                }
            }
            for key in &new.foreign_keys {
                if !declared.foreign_keys.iter().any(|other| other.same_as(key)) {
                    declared.foreign_keys.push(key.clone());
                }
            }
            Ok(())
        })
        .await?;
    Ok((new.keys.len() + new.foreign_keys.len()) as u64)
}

fn remove<T>(keys: &mut Vec<T>, is_gone: impl Fn(&T) -> bool) -> u64 {
    let before = keys.len();
    keys.retain(|key| !is_gone(key));
    (before - keys.len()) as u64
}
