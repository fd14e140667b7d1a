//! Given rows of a related table, completed, as a table.

use super::{CompleteExec, Parents, SampleSpec, related::plan_completed};
use crate::{
    Result,
    encode::Unseen,
    exec::{
        columns::{shared, whole_keys},
        source::ordered_scan,
    },
    store::Manifest,
};
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

/// What `synth_sample` returns where `given` is a table and the model's rows depend on those of other tables.
#[derive(Debug)]
pub struct CompletedTable {
    spec: SampleSpec,
    manifest: Arc<Manifest>,
    parents: Parents,
    reference: TableReference,
    given: Arc<dyn TableProvider>,
    unseen: Unseen,
}

impl CompletedTable {
    /// The rows of `given`, which is called `reference`, completed. Values that the model has never seen are an error or, if
    /// `unseen` says so, as good as unknown.
    ///
    /// # Errors
    /// Columns that the model's table does not have, or that cannot be cast; a part of a foreign key without the rest.
    pub fn new(
        spec: SampleSpec,
        manifest: Arc<Manifest>,
        parents: Parents,
        (reference, given): (TableReference, Arc<dyn TableProvider>),
        unseen: Unseen,
    ) -> Result<Self> {
        let schema = given.schema();
        shared(("synth_sample", "given"), &schema, manifest.schema(), (&manifest.name, true))?;
        whole_keys(("synth_sample", "given"), &schema, &manifest)?;
        Ok(Self { spec, manifest, parents, reference, given, unseen })
    }
}

#[async_trait]
impl TableProvider for CompletedTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.manifest.schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let projection = projection.cloned().unwrap_or_else(|| (0..self.schema().fields().len()).collect());
        let given = ordered_scan(session, self.reference.clone(), Arc::clone(&self.given), None).await?;
        let mut spec = self.spec.clone();
        if let (false, Some(limit)) = (spec.rows == SampleSpec::ALL, limit) {
            spec.rows = spec.rows.min(limit as u64);
        }
        let parents = (&self.parents, session);
        let given = (given, self.unseen);
        let plan: CompleteExec = plan_completed(&spec, Arc::clone(&self.manifest), parents, projection, given).await?;
        Ok(Arc::new(plan))
    }
}
