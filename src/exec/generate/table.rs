//! A generation as a table: its report.

use super::{GenerateExec, GenerateSpec, order::parents_first, plan::Target, rows};
use crate::{
    Result, SynthError,
    exec::{SampleSpec, SampleTable},
    noise::BLOCK_ROWS,
    store::Manifest,
};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    error::Result as DataFusionResult,
    logical_expr::{Expr, TableType},
    physical_plan::ExecutionPlan,
};
use std::sync::Arc;

/// What `synth_generate` returns: a row for each table, which is written when the rows are read.
#[derive(Debug)]
pub struct GenerateTable {
    spec: Arc<GenerateSpec>,
    tables: Vec<(Arc<Manifest>, u64)>,
}

impl GenerateTable {
    /// The generation `spec` of the tables that these models have learned, in an order of its own: parents first.
    ///
    /// # Errors
    /// Too many rows; columns of types that the format cannot hold.
    pub fn new(spec: GenerateSpec, tables: Vec<Arc<Manifest>>) -> Result<Self> {
        #[cfg(feature = "delta")]
        if spec.format == super::GenerateFormat::Delta {
            let unfit: Vec<String> = tables.iter().flat_map(|manifest| super::delta::unfit(manifest)).collect();
            if !unfit.is_empty() {
                return Err(SynthError::Argument {
                    function: super::FUNCTION.to_owned(),
                    argument: "format".to_owned(),
                    given: format!("delta, which has no type for {}", unfit.join(", ")),
                    expected: "parquet, which has them all, or models of a view that casts these columns".to_owned(),
                });
            }
        }
        let tables = parents_first(tables).into_iter().map(|manifest| Ok((spec.scale.rows(&manifest)?, manifest)));
        let tables = tables.map(|found| found.map(|(rows, manifest)| (manifest, rows))).collect::<Result<_>>()?;
        Ok(Self { spec: Arc::new(spec), tables })
    }

    /// The plan of a table's rows. Each partition becomes a file: there are no more of them than there are blocks to
    /// fill them, and no fewer than keep files to the session's size.
    async fn target(&self, session: &dyn Session, manifest: &Arc<Manifest>, rows: u64) -> Result<Target> {
        let spec = SampleSpec {
            store: self.spec.store.clone(),
            model: manifest.name.clone(),
            version: manifest.version,
            content_hash: manifest.content_hash.clone(),
            seed: self.spec.seed,
            start: 0,
            rows,
            scale: self.spec.scale.unit,
            given: None,
            temperature: 1.0,
            row_id: false,
            device: self.spec.device,
            threads: self.spec.threads,
        };
        let columns = (0..manifest.schema().fields().len()).collect();
        let largest = session.config_options().execution.soft_max_rows_per_output_file.get() as u64;
        let blocks = rows.div_ceil(BLOCK_ROWS as u64);
        let partitions = (session.config().target_partitions() as u64).max(rows.div_ceil(largest)).min(blocks);
        let sample = SampleTable::new(spec, Arc::clone(manifest))?;
        let plan = sample.plan(columns, usize::try_from(partitions).unwrap_or(usize::MAX)).await?;
        Ok(Target { manifest: Arc::clone(manifest), rows, plan })
    }
}

#[async_trait]
impl TableProvider for GenerateTable {
    fn schema(&self) -> SchemaRef {
        rows::schema()
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
        let mut targets = Vec::with_capacity(self.tables.len());
        let mut problems = Vec::new();
        for (manifest, rows) in &self.tables {
            match self.target(session, manifest, *rows).await {
                Ok(target) => targets.push(target),
                Err(error) => problems.push(error),
            }
        }
        if problems.len() > 1 {
            let lines: String = problems.iter().map(|problem| format!("\n- {problem}")).collect();
            return Err(SynthError::Model(format!("{} tables cannot be generated:{lines}", problems.len())).into());
        }
        if let Some(problem) = problems.pop() {
            return Err(problem.into());
        }
        let projection = projection.cloned().unwrap_or_else(|| (0..rows::schema().fields().len()).collect());
        Ok(Arc::new(GenerateExec::try_new(Arc::clone(&self.spec), targets, projection)?))
    }
}
