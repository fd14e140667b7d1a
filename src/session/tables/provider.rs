//! What the system tables have in common: a `TableProvider` over the session's model store.

use super::{super::SynthOptions, exec::StoreExec};
use crate::{
    SynthError,
    exec::keys::{SessionKeys, Tables},
    store::ModelStore,
};
use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::SchemaRef,
    error::ArrowError,
};
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    common::{DFSchema, not_impl_err, plan_err},
    datasource::sink::{DataSink, DataSinkExec},
    error::Result,
    execution::{SendableRecordBatchStream, TaskContext},
    logical_expr::{Expr, TableType, dml::InsertOp},
    physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan},
};
use futures::TryStreamExt;
use std::{
    fmt::{self, Debug},
    sync::Arc,
};

/// What the system tables are about: a store, and a session.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) store: ModelStore,
    /// The session's tables.
    pub(super) tables: Tables,
    /// Keys that are part of them.
    pub(super) session_keys: Option<Arc<SessionKeys>>,
}

/// One system table: how to read it from a store, and how to change the store through it.
#[async_trait]
pub(super) trait SystemTable: Debug + Send + Sync {
    /// Name within the schema `synth`.
    fn name(&self) -> &'static str;

    fn schema(&self) -> SchemaRef;

    /// Every row; an error where one cannot be read.
    async fn rows(&self, source: &Source) -> crate::Result<RecordBatch>;

    /// The rows that a `DELETE` chooses from, of the same schema: of what cannot be read, as much as is known.
    async fn deletable(&self, source: &Source) -> crate::Result<RecordBatch>;

    /// Deletes `chosen`, some of the rows of [`SystemTable::deletable`]. Returns how many it deleted.
    async fn delete(&self, source: &Source, chosen: &RecordBatch) -> crate::Result<u64>;

    /// Whether the table accepts `INSERT`.
    fn insertable(&self) -> bool {
        false
    }

    /// Inserts all of `rows` or, on an error, nothing. Returns how many.
    async fn insert(&self, _source: &Source, _rows: &[RecordBatch]) -> crate::Result<u64> {
        Err(SynthError::Internal(format!("synth.{} accepts no rows", self.name())))
    }
}

/// A [`SystemTable`] of whatever store the session names.
#[derive(Debug)]
pub(super) struct StoreTable {
    table: Arc<dyn SystemTable>,
}

impl StoreTable {
    pub(super) fn new(table: Arc<dyn SystemTable>) -> Self {
        Self { table }
    }

    pub(super) fn name(&self) -> &'static str {
        self.table.name()
    }
}

fn source(session: &dyn Session) -> Result<Source> {
    Ok(Source {
        store: SynthOptions::from_config(session.config_options()).model_store()?,
        tables: Tables::of(session),
        session_keys: SessionKeys::of(session),
    })
}

#[async_trait]
impl TableProvider for StoreTable {
    fn schema(&self) -> SchemaRef {
        self.table.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(StoreExec::scan(Arc::clone(&self.table), source(session)?, projection.cloned(), limit)?))
    }

    async fn insert_into(
        &self,
        session: &dyn Session,
        input: Arc<dyn ExecutionPlan>,
        operation: InsertOp,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if !self.table.insertable() {
            return not_impl_err!("INSERT INTO synth.{}: it is filled by trainings", self.name());
        }
        if operation != InsertOp::Append {
            return not_impl_err!("{operation} synth.{}: use INSERT INTO, and DELETE before it", self.name());
        }
        let sink = StoreSink { table: Arc::clone(&self.table), schema: self.table.schema(), source: source(session)? };
        Ok(Arc::new(DataSinkExec::new(input, Arc::new(sink), None)))
    }

    async fn delete_from(&self, session: &dyn Session, filters: Vec<Expr>) -> Result<Arc<dyn ExecutionPlan>> {
        // DataFusion hands over no filters both for no WHERE and for a condition that it found to be always false.
        if filters.is_empty() {
            return plan_err!(
                "DELETE FROM synth.{0} needs a WHERE with a condition on its columns that some rows can meet; \
                 WHERE {1} <> '' takes all rows",
                self.name(),
                self.table.schema().field(0).name()
            );
        }
        let schema = DFSchema::try_from(self.table.schema())?;
        let filters = filters.into_iter().map(|filter| session.create_physical_expr(filter, &schema));
        let filters = filters.collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(StoreExec::delete(Arc::clone(&self.table), source(session)?, filters)))
    }
}

/// Where `INSERT INTO` a system table ends.
#[derive(Debug)]
struct StoreSink {
    table: Arc<dyn SystemTable>,
    schema: SchemaRef,
    source: Source,
}

impl DisplayAs for StoreSink {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "synth.{} of {}", self.table.name(), self.source.store.location())
    }
}

#[async_trait]
impl DataSink for StoreSink {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    async fn write_all(&self, data: SendableRecordBatchStream, _: &Arc<TaskContext>) -> Result<u64> {
        let rows: Vec<RecordBatch> = data.try_collect().await?;
        Ok(self.table.insert(&self.source, &rows).await?)
    }
}

/// The text column `column` of row `row`, if it is not null.
pub(super) fn text<'a>(rows: &'a RecordBatch, column: &str, row: usize) -> crate::Result<Option<&'a str>> {
    let array = rows
        .column_by_name(column)
        .and_then(|array| array.as_string_opt::<i32>())
        .ok_or_else(|| ArrowError::SchemaError(format!("no text column `{column}`")))?;
    Ok(arrow::array::Array::is_valid(array, row).then(|| array.value(row)))
}
