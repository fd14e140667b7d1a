//! A sample as a table.

use super::{
    Parents, SampleExec, SampleSpec, range,
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
    parents: Parents,
}

impl SampleTable {
    /// The sample `spec` of the model of `manifest`.
    ///
    /// # Errors
    /// `row_id` where the table has a column of that name.
    pub fn new(spec: SampleSpec, manifest: Arc<Manifest>) -> Result<Self> {
        let schema = schema::output_schema(manifest.schema(), spec.row_id)?;
        Ok(Self { spec, manifest, schema, parents: Parents::default() })
    }

    /// The same sample, some of whose parents are rows of tables.
    #[must_use]
    pub fn with_parents(self, parents: Parents) -> Self {
        Self { parents, ..self }
    }

    /// A plan of the columns `projection`, in about `partitions` partitions: each a contiguous part of the rows, in order.
    ///
    /// # Errors
    /// A parent without a model, or one that was trained with other foreign keys; `projection` is not of the schema.
    pub async fn plan(&self, projection: Vec<usize>, partitions: usize) -> Result<Arc<dyn ExecutionPlan>> {
        self.planned(None, (projection, None), partitions).await
    }

    async fn planned(
        &self,
        session: Option<&dyn Session>,
        (projection, limit): (Vec<usize>, Option<u64>),
        partitions: usize,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut spec = self.spec.clone();
        if is_related(&self.manifest) {
            let manifest = Arc::clone(&self.manifest);
            return plan_related(&spec, manifest, (&self.parents, session), (projection, limit), partitions).await;
        }
        spec.rows = spec.rows.min(limit.unwrap_or(u64::MAX));
        let partitions = range::split(spec.start..spec.start + spec.rows, partitions).len();
        Ok(Arc::new(SampleExec::try_new(spec, &self.schema, projection, None, partitions)?))
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
        let limit = limit.map(|limit| limit as u64);
        Ok(self.planned(Some(state), (projection, limit), state.config().target_partitions()).await?)
    }
}
