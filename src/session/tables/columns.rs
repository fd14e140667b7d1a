//! `synth.columns`: the role of every column, learned or declared.

use super::{
    models::readable,
    provider::{Source, SystemTable, text},
};
use crate::{
    Result, SynthError,
    relational::is_hidden,
    schema::ColumnRole,
    store::{DeclaredRoles, Manifest, ModelStore},
};
use arrow::{
    array::{ArrayRef, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use async_trait::async_trait;
use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

const DECLARED: &str = "declared";
const INFERRED: &str = "inferred";
/// The source of models that `synth_fit` learned.
const FROM_QUERY: &str = "synth_fit";
const INSERT: &str = "INSERT INTO synth.columns";

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("table_name", DataType::Utf8, false),
        Field::new("column_name", DataType::Utf8, false),
        Field::new("data_type", DataType::Utf8, true),
        Field::new("role", DataType::Utf8, false),
        // Nullable, so that `INSERT INTO synth.columns (table_name, column_name, role)` is complete.
        Field::new("source", DataType::Utf8, true),
    ]))
});

/// Declared roles override those that trainings inferred. Inferred are the roles in the newest model of each table; they
/// follow a change of the declared ones when the table is trained again.
#[derive(Debug)]
pub(super) struct Columns;

struct Row {
    table: String,
    column: String,
    data_type: Option<String>,
    role: ColumnRole,
    source: &'static str,
}

fn batch(rows: &[Row]) -> Result<RecordBatch> {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.table))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.column))),
        Arc::new(rows.iter().map(|row| row.data_type.as_deref()).collect::<StringArray>()),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.role.as_str()))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.source))),
    ];
    Ok(RecordBatch::try_new(Arc::clone(&SCHEMA), columns)?)
}

/// The columns of the newest model of each table, in schema order, then declared ones that no model has.
async fn rows(store: &ModelStore, mut declared: DeclaredRoles) -> Result<Vec<Row>> {
    let mut newest = BTreeMap::new();
    for (manifest, ..) in readable(store.versions().await?)? {
        let known = newest.entry(table_of(&manifest).to_owned()).or_insert_with(|| Arc::clone(&manifest));
        if known.created < manifest.created {
            *known = manifest;
        }
    }
    let mut rows = Vec::new();
    for (table, manifest) in newest {
        let mut overrides = declared.remove(&table).unwrap_or_default();
        let learned = manifest.encoder.schema().fields().iter().zip(manifest.encoder.roles());
        for (field, role) in learned.filter(|(field, _)| !is_hidden(field.name())) {
            let (role, source) = overrides.remove(field.name()).map_or((role, INFERRED), |role| (role, DECLARED));
            let data_type = Some(field.data_type().to_string());
            rows.push(Row { table: table.clone(), column: field.name().clone(), data_type, role, source });
        }
        rows.extend(undiscovered(table, overrides));
    }
    rows.extend(declared.into_iter().flat_map(|(table, columns)| undiscovered(table, columns)));
    Ok(rows)
}

/// The table that roles are declared for: the one learned, or for `synth_fit`, which learns from any query, the model.
fn table_of(manifest: &Manifest) -> &str {
    if manifest.source == FROM_QUERY { &manifest.name } else { &manifest.source }
}

fn undiscovered(table: String, columns: BTreeMap<String, ColumnRole>) -> impl Iterator<Item = Row> {
    columns.into_iter().map(move |(column, role)| Row {
        table: table.clone(),
        column,
        data_type: None,
        role,
        source: DECLARED,
    })
}

fn refused(argument: &str, given: &str, expected: impl Into<String>) -> SynthError {
    SynthError::Argument {
        function: INSERT.to_owned(),
        argument: argument.to_owned(),
        given: given.to_owned(),
        expected: expected.into(),
    }
}

fn required<'a>(rows: &'a RecordBatch, column: &str, row: usize) -> Result<&'a str> {
    text(rows, column, row)?
        .filter(|text| !text.is_empty())
        .ok_or_else(|| refused(column, "nothing", "a value: table_name, column_name and role must be given"))
}

/// The roles to declare, checked.
fn parse(batches: &[RecordBatch]) -> Result<DeclaredRoles> {
    let mut roles = DeclaredRoles::new();
    for rows in batches {
        for row in 0..rows.num_rows() {
            let (table, column) = (required(rows, "table_name", row)?, required(rows, "column_name", row)?);
            let given = required(rows, "role", row)?;
            let role: ColumnRole =
                given.parse().map_err(|known| refused("role", &format!("'{given}'"), format!("one of: {known}")))?;
            if let Some(data_type) = text(rows, "data_type", row)? {
                return Err(refused("data_type", &format!("'{data_type}'"), "none: it is the table's"));
            }
            if let Some(source) = text(rows, "source", row)?.filter(|&source| source != DECLARED) {
                return Err(refused("source", &format!("'{source}'"), format!("none, or '{DECLARED}'")));
            }
            let earlier = roles.entry(table.to_owned()).or_default().insert(column.to_owned(), role);
            if let Some(earlier) = earlier.filter(|&earlier| earlier != role) {
                let both = format!("both '{earlier}' and '{role}' for {table}.{column}");
                return Err(refused("role", &both, "one role per column"));
            }
        }
    }
    Ok(roles)
}

#[async_trait]
impl SystemTable for Columns {
    fn name(&self) -> &'static str {
        "columns"
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&SCHEMA)
    }

    async fn rows(&self, Source { store, .. }: &Source) -> Result<RecordBatch> {
        batch(&rows(store, store.declared_roles().await?).await?)
    }

    /// Declared roles only: the inferred ones are part of their models. They can be deleted while a model is damaged.
    async fn deletable(&self, Source { store, .. }: &Source) -> Result<RecordBatch> {
        let declared = store.declared_roles().await?;
        match rows(store, declared.clone()).await {
            Ok(mut rows) => {
                rows.retain(|row| row.source == DECLARED);
                batch(&rows)
            }
            Err(SynthError::Artifact { .. }) => {
                let rows = declared.into_iter().flat_map(|(table, columns)| undiscovered(table, columns));
                batch(&rows.collect::<Vec<_>>())
            }
            Err(error) => Err(error),
        }
    }

    async fn delete(&self, Source { store, .. }: &Source, chosen: &RecordBatch) -> Result<u64> {
        let mut keys = Vec::with_capacity(chosen.num_rows());
        for row in 0..chosen.num_rows() {
            if let (Some(table), Some(column)) = (text(chosen, "table_name", row)?, text(chosen, "column_name", row)?) {
                keys.push((table, column));
            }
        }
        store
            .change_roles(|roles| {
                let removed = keys.iter().filter(|&&(table, column)| {
                    roles.get_mut(table).and_then(|columns| columns.remove(column)).is_some()
                });
                removed.count() as u64
            })
            .await
    }

    fn insertable(&self) -> bool {
        true
    }

    async fn insert(&self, Source { store, .. }: &Source, rows: &[RecordBatch]) -> Result<u64> {
        let declared = parse(rows)?;
        store
            .change_roles(|roles| {
                for (table, columns) in &declared {
                    roles.entry(table.clone()).or_default().extend(columns.clone());
                }
            })
            .await?;
        Ok(rows.iter().map(|batch| batch.num_rows() as u64).sum())
    }
}
