//! A Delta table that follows the newest version.

use crate::exec::delta::{DeltaInsertExec, failed};
use async_trait::async_trait;
use datafusion::{
    arrow::datatypes::{Schema, SchemaRef},
    catalog::{Session, TableProvider},
    common::Constraints,
    datasource::TableType,
    error::{DataFusionError, Result},
    logical_expr::{Expr, TableProviderFilterPushDown, dml::InsertOp},
    physical_plan::ExecutionPlan,
};
use deltalake::{
    DeltaTable,
    delta_datafusion::{DeltaScanConfig, DeltaScanNext},
    protocol::SaveMode,
};
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc};

/// A table whose every scan sees what was committed before it, by whomever.
#[derive(Debug)]
pub(super) struct DeltaProvider {
    /// The newest version seen so far.
    table: Mutex<DeltaTable>,
    /// The schema that queries are planned with.
    schema: SchemaRef,
    constraints: Constraints,
    defaults: HashMap<String, Expr>,
}

impl DeltaProvider {
    /// Serves `table`, which has been loaded.
    pub(super) fn try_new(table: DeltaTable) -> Result<Self> {
        let schema = scan_of(&table)?.schema();
        Ok(Self { table: Mutex::new(table), schema, constraints: Constraints::default(), defaults: HashMap::new() })
    }

    /// With what the declaration of the table adds.
    pub(super) fn with_declarations(mut self, constraints: Constraints, defaults: HashMap<String, Expr>) -> Self {
        self.constraints = constraints;
        self.defaults = defaults;
        self
    }

    /// The table at its newest version. Its columns must still be those that queries are planned with.
    async fn newest(&self) -> Result<DeltaTable> {
        let mut table = self.table.lock().clone();
        table.update_state().await.map_err(|error| failed(table.table_url(), error))?;
        let schema = scan_of(&table)?.schema();
        if !same_columns(&schema, &self.schema) {
            return Err(DataFusionError::Plan(format!(
                "Delta table {}: its columns have changed since it was registered; \
                 CREATE OR REPLACE EXTERNAL TABLE … registers it anew",
                table.table_url()
            )));
        }
        let mut kept = self.table.lock();
        if kept.version() < table.version() {
            *kept = table.clone();
        }
        Ok(table)
    }
}

fn same_columns(a: &Schema, b: &Schema) -> bool {
    a.fields().len() == b.fields().len()
        && a.fields().iter().zip(b.fields()).all(|(a, b)| a.name() == b.name() && a.data_type() == b.data_type())
}

/// A scan of the version of `table` that is loaded.
fn scan_of(table: &DeltaTable) -> Result<DeltaScanNext> {
    let snapshot = table.snapshot().map_err(|error| failed(table.table_url(), error))?.snapshot().clone();
    // Partition columns as the plain columns that were declared.
    DeltaScanNext::new(snapshot, DeltaScanConfig::new().with_wrap_partition_values(false))
}

#[async_trait]
impl TableProvider for DeltaProvider {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn constraints(&self) -> Option<&Constraints> {
        Some(&self.constraints)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn get_column_default(&self, column: &str) -> Option<&Expr> {
        self.defaults.get(column)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let table = self.newest().await?;
        table.update_datafusion_session(state).map_err(|error| failed(table.table_url(), error))?;
        scan_of(&table)?.scan(state, projection, filters, limit).await
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let table = self.table.lock().clone();
        scan_of(&table)?.supports_filters_pushdown(filters)
    }

    async fn insert_into(
        &self,
        _: &dyn Session,
        input: Arc<dyn ExecutionPlan>,
        operation: InsertOp,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mode = match operation {
            InsertOp::Append => SaveMode::Append,
            InsertOp::Overwrite => SaveMode::Overwrite,
            InsertOp::Replace => {
                return Err(DataFusionError::NotImplemented(
                    "REPLACE INTO a Delta table; INSERT INTO appends, INSERT OVERWRITE replaces all rows".into(),
                ));
            }
        };
        let table = self.newest().await?;
        Ok(Arc::new(DeltaInsertExec::new(input, table, mode)))
    }
}
