//! A sample as a table.

use super::{
    SampleExec, SampleSpec, range,
    related::{is_related, plan_related},
    schema,
};
use crate::{Result, store::Manifest};
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
    manifest: Arc<Manifest>,
    schema: SchemaRef,
}

impl SampleTable {
    /// The sample `spec` of the model of `manifest`.
    ///
    /// # Errors
    /// `row_id` where the table has a column of that name.
    pub fn new(spec: SampleSpec, manifest: Arc<Manifest>) -> Result<Self> {
        let schema = schema::output_schema(manifest.schema(), spec.row_id)?;
        Ok(Self { spec, manifest, schema })
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
        if is_related(&self.manifest) {
            let partitions = state.config().target_partitions();
            return Ok(plan_related(&spec, Arc::clone(&self.manifest), projection, partitions).await?);
        }
        let partitions = range::split(spec.start..spec.start + spec.rows, state.config().target_partitions()).len();
        Ok(Arc::new(SampleExec::try_new(spec, &self.schema, projection, None, partitions)?))
    }
}
