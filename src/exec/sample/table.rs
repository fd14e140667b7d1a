//! A sample as a table.

use super::{SampleExec, SampleSpec, range, schema};
use crate::{Result, encode::TableEncoder};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    error::Result as DataFusionResult,
    logical_expr::{Expr, TableType},
    physical_plan::ExecutionPlan,
};
use std::sync::Arc;

/// What `synth_sample` returns: rows of a model, of the table's schema.
#[derive(Debug)]
pub struct SampleTable {
    spec: SampleSpec,
    schema: SchemaRef,
}

impl SampleTable {
    /// The sample `spec` of the model that `encoder` belongs to.
    ///
    /// # Errors
    /// `row_id` where the table has a column of that name.
    pub fn new(spec: SampleSpec, encoder: &TableEncoder) -> Result<Self> {
        let schema = schema::output_schema(encoder.schema(), spec.row_id)?;
        Ok(Self { spec, schema })
    }
}

#[async_trait]
impl TableProvider for SampleTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let projection = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let mut spec = self.spec.clone();
        if let Some(limit) = limit {
            spec.rows = spec.rows.min(limit as u64);
        }
        let partitions = range::split(spec.start..spec.start + spec.rows, state.config().target_partitions()).len();
        Ok(Arc::new(SampleExec::try_new(spec, &self.schema, projection, None, partitions)?))
    }
}
