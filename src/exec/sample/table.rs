//! A sample as a table.

use super::{
    Parents, SampleExec, SampleSpec, Sieve, SiftExec, range,
    related::{Part, is_related, plan_related, segment_rows},
    schema,
    sift::{WINDOW_ROWS, patience},
};
use crate::{Result, store::Manifest};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    error::Result as DataFusionResult,
    logical_expr::{Expr, TableType},
    physical_expr::utils::collect_columns,
    physical_plan::ExecutionPlan,
};
use std::{collections::BTreeSet, sync::Arc};

/// Rows looked through at most: more than anybody will wait for.
const MAX_ROWS: u64 = 1 << 40;

/// What `synth_sample` returns: rows of a model, of the table's schema.
#[derive(Debug)]
pub struct SampleTable {
    spec: SampleSpec,
    manifest: Arc<Manifest>,
    schema: SchemaRef,
    parents: Parents,
    sieve: Option<Sieve>,
}

impl SampleTable {
    /// The sample `spec` of the model of `manifest`.
    ///
    /// # Errors
    /// `row_id` where the table has a column of that name.
    pub fn new(spec: SampleSpec, manifest: Arc<Manifest>) -> Result<Self> {
        let schema = schema::output_schema(manifest.schema(), spec.row_id)?;
        Ok(Self { spec, manifest, schema, parents: Parents::default(), sieve: None })
    }

    /// The same sample, some of whose parents are rows of tables.
    #[must_use]
    pub fn with_parents(self, parents: Parents) -> Self {
        Self { parents, ..self }
    }

    /// The same sample, of rows that satisfy a condition.
    #[must_use]
    pub fn with_sieve(self, sieve: Option<Sieve>) -> Self {
        Self { sieve, ..self }
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
        spec.rows = spec.rows.min(limit.unwrap_or(u64::MAX));
        if let Some(sieve) = &self.sieve {
            return self.sifted(session, projection, sieve, spec.rows).await;
        }
        if is_related(&self.manifest) {
            let part = Part::Rows { limit: spec.rows, partitions };
            return plan_related(&self.spec, Arc::clone(&self.manifest), (&self.parents, session), projection, part)
                .await;
        }
        let partitions = range::split(spec.start..spec.start + spec.rows, partitions).len();
        Ok(Arc::new(SampleExec::try_new(spec, &self.schema, projection, None, partitions)?))
    }

    /// The first `wanted` rows that pass the sieve, of all from the first one on.
    async fn sifted(
        &self,
        session: Option<&dyn Session>,
        projection: Vec<usize>,
        sieve: &Sieve,
        wanted: u64,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let shift = usize::from(self.spec.row_id);
        let mut columns: BTreeSet<usize> = projection.iter().copied().collect();
        columns.extend(collect_columns(&sieve.predicate).iter().map(|column| column.index() + shift));
        let columns: Vec<usize> = columns.into_iter().collect();
        let places = projection.iter().filter_map(|column| columns.binary_search(column).ok()).collect::<Vec<_>>();
        let rows = if is_related(&self.manifest) {
            let parents = (&self.parents, session);
            plan_related(&self.spec, Arc::clone(&self.manifest), parents, columns, Part::Windows(WINDOW_ROWS)).await?
        } else {
            let mut spec = self.spec.clone();
            spec.rows = (MAX_ROWS.min(i64::MAX as u64 - spec.start) / WINDOW_ROWS).max(1) * WINDOW_ROWS;
            Arc::new(SampleExec::of_segments(spec, &self.schema, columns, WINDOW_ROWS)?)
        };
        let segment = is_related(&self.manifest).then(|| segment_rows(&self.manifest, self.spec.scale));
        let patience = (!self.parents.own(&self.manifest)).then(|| patience(segment));
        Ok(Arc::new(SiftExec::try_new(rows, sieve.clone(), &places, (wanted, patience))?))
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
