//! The rows of `synth_check_keys`.

use super::{
    CheckedKey, KnownKeys, Tables,
    check::{KeyCheck, check_keys},
};
use crate::{
    Result,
    exec::report::{Report, ReportTable},
    schema::{OrphanPolicy, show_columns},
    store::ModelStore,
};
use arrow::{
    array::{ArrayRef, Float64Array, StringArray, UInt64Array},
    datatypes::{DataType, Field, Schema, SchemaRef},
    record_batch::RecordBatch,
};
use async_trait::async_trait;
use datafusion::{common::TableReference, execution::SessionState};
use std::sync::{Arc, LazyLock};

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("kind", DataType::Utf8, false),
        Field::new("table_name", DataType::Utf8, false),
        Field::new("columns", DataType::Utf8, false),
        Field::new("parent_table", DataType::Utf8, true),
        Field::new("parent_columns", DataType::Utf8, true),
        Field::new("rows", DataType::UInt64, true),
        Field::new("nulls", DataType::UInt64, true),
        Field::new("duplicates", DataType::UInt64, true),
        Field::new("orphans", DataType::UInt64, true),
        Field::new("children_min", DataType::UInt64, true),
        Field::new("children_mean", DataType::Float64, true),
        Field::new("children_max", DataType::UInt64, true),
        Field::new("verdict", DataType::Utf8, false),
    ]))
});

#[derive(Debug)]
struct CheckReport {
    store: ModelStore,
    tables: Option<Vec<TableReference>>,
    orphans: OrphanPolicy,
}

/// The keys of `tables` (of all tables, if there is no list) in `store` and in the session, checked when it is read.
#[must_use]
pub fn checked_keys(store: ModelStore, tables: Option<Vec<TableReference>>, orphans: OrphanPolicy) -> ReportTable {
    ReportTable::new(CheckReport { store, tables, orphans })
}

#[async_trait]
impl Report for CheckReport {
    fn title(&self) -> String {
        format!("synth_check_keys orphans={}", self.orphans)
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&SCHEMA)
    }

    async fn rows(&self, state: &SessionState) -> Result<RecordBatch> {
        let known = KnownKeys::asked(state, &self.store, self.tables.as_deref()).await?;
        let report = check_keys(state, &known, self.orphans).await?;
        batch(&Tables::of(state), &report.checks)
    }
}

fn batch(tables: &Tables, checks: &[KeyCheck]) -> Result<RecordBatch> {
    let texts = |get: &dyn Fn(&KeyCheck) -> Option<String>| -> ArrayRef {
        Arc::new(checks.iter().map(get).collect::<StringArray>())
    };
    let whole = |get: &dyn Fn(&KeyCheck) -> Option<u64>| -> ArrayRef {
        Arc::new(checks.iter().map(get).collect::<UInt64Array>())
    };
    let references = |check: &KeyCheck| check.counts?.references;
    let columns = vec![
        texts(&|check| {
            Some(match &check.key {
                CheckedKey::Key(key) => key.kind.to_string(),
                CheckedKey::ForeignKey(_) => "foreign key".to_owned(),
            })
        }),
        texts(&|check| {
            Some(tables.show(match &check.key {
                CheckedKey::Key(key) => &key.table,
                CheckedKey::ForeignKey(key) => &key.table,
            }))
        }),
        texts(&|check| {
            Some(show_columns(match &check.key {
                CheckedKey::Key(key) => &key.columns,
                CheckedKey::ForeignKey(key) => &key.columns,
            }))
        }),
        texts(&|check| match &check.key {
            CheckedKey::Key(_) => None,
            CheckedKey::ForeignKey(key) => Some(tables.show(&key.parent)),
        }),
        texts(&|check| match &check.key {
            CheckedKey::Key(_) => None,
            CheckedKey::ForeignKey(key) => Some(show_columns(&key.parent_columns)),
        }),
        whole(&|check| Some(check.counts?.rows)),
        whole(&|check| Some(check.counts?.nulls)),
        whole(&|check| check.counts?.duplicates),
        whole(&|check| Some(references(check)?.orphans)),
        whole(&|check| Some(references(check)?.children?.0)),
        Arc::new(checks.iter().map(|check| check.counts?.mean_children()).collect::<Float64Array>()),
        whole(&|check| Some(references(check)?.children?.1)),
        texts(&|check| Some(if check.problems.is_empty() { "ok".to_owned() } else { check.problems.join("; ") })),
    ];
    Ok(RecordBatch::try_new(Arc::clone(&SCHEMA), columns)?)
}
