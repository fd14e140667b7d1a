//! The rows as a table.

use super::{ApplyExec, ApplySpec, columns::Columns};
use crate::{Result, encode::TableEncoder, exec::source::ordered_scan};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    common::TableReference,
    error::Result as DataFusionResult,
    logical_expr::{Expr, TableType},
    physical_plan::ExecutionPlan,
};
use std::sync::Arc;

/// A table with a model applied to its rows.
#[derive(Debug)]
pub struct ApplyTable {
    spec: Arc<ApplySpec>,
    reference: TableReference,
    table: Arc<dyn TableProvider>,
    columns: Columns,
}

impl ApplyTable {
    /// The model of `encoder`, applied to `table`, which is called `reference`.
    ///
    /// # Errors
    /// The table's columns are not the model's.
    pub fn new(
        spec: ApplySpec,
        encoder: &TableEncoder,
        reference: TableReference,
        table: Arc<dyn TableProvider>,
    ) -> Result<Self> {
        let columns = Columns::new(&spec, &table.schema(), encoder)?;
        Ok(Self { spec: Arc::new(spec), reference, table, columns })
    }
}

#[async_trait]
impl TableProvider for ApplyTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.columns.output)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let input = ordered_scan(session, self.reference.clone(), Arc::clone(&self.table), None).await?;
        let projection = projection.cloned().unwrap_or_else(|| (0..self.columns.output.fields().len()).collect());
        Ok(Arc::new(ApplyExec::try_new(Arc::clone(&self.spec), self.columns.clone(), input, projection)?))
    }
}
