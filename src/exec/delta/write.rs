//! Rows into a Delta table: the partitions of the query run in parallel, and their rows are committed together.

use super::failed;
use async_trait::async_trait;
use datafusion::{
    arrow::{
        array::{ArrayRef, RecordBatch, UInt64Array},
        datatypes::{DataType, Field, Schema, SchemaRef},
    },
    catalog::{Session, TableProvider},
    common::tree_node::TreeNodeRecursion,
    datasource::{TableType, provider_as_source},
    error::{DataFusionError, Result},
    execution::{SendableRecordBatchStream, SessionStateBuilder, TaskContext},
    logical_expr::{Expr, LogicalPlanBuilder, UNNAMED_TABLE},
    physical_expr::{EquivalenceProperties, PhysicalExpr},
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
        execution_plan::{Boundedness, EmissionType},
        expressions::Column,
        projection::ProjectionExec,
        stream::RecordBatchStreamAdapter,
    },
};
use deltalake::{
    DeltaTable,
    delta_datafusion::{SessionFallbackPolicy, planner::DeltaPlanner},
    kernel::transaction::CommitProperties,
    operations::write::SchemaMode,
    protocol::SaveMode,
};
use futures::StreamExt;
use parking_lot::Mutex;
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Writes its input and commits it as one version; gives the number of rows.
#[derive(Debug)]
pub(crate) struct DeltaInsertExec {
    input: Arc<dyn ExecutionPlan>,
    table: DeltaTable,
    mode: SaveMode,
    properties: Arc<PlanProperties>,
}

impl DeltaInsertExec {
    /// Appends `input` to `table`, or replaces its rows.
    pub(crate) fn new(input: Arc<dyn ExecutionPlan>, table: DeltaTable, mode: SaveMode) -> Self {
        let schema = Arc::new(Schema::new(vec![Field::new("count", DataType::UInt64, false)]));
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Self { input, table, mode, properties: Arc::new(properties) }
    }
}

impl DisplayAs for DeltaInsertExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeltaInsertExec: mode={:?}, table={}", self.mode, self.table.table_url())
    }
}

impl ExecutionPlan for DeltaInsertExec {
    fn name(&self) -> &'static str {
        "DeltaInsertExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(Arc::new(Self::new(input, self.table.clone(), self.mode))),
            _ => Err(DataFusionError::Internal("DeltaInsertExec has one child".into())),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return Err(DataFusionError::Internal(format!("DeltaInsertExec has one partition, not {partition}")));
        }
        let (input, table, commit) = (Arc::clone(&self.input), self.table.clone(), Commit::new(self.mode));
        let work = async move { Ok::<_, DataFusionError>(write(input, table, commit, context).await?.0) };
        let schema = self.schema();
        let batch = {
            let schema = Arc::clone(&schema);
            async move {
                let rows: ArrayRef = Arc::new(UInt64Array::from(vec![work.await?]));
                Ok(RecordBatch::try_new(schema, vec![rows])?)
            }
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::once(batch))))
    }
}

/// How rows are committed.
#[derive(Debug, Clone)]
pub(crate) struct Commit {
    pub(crate) mode: SaveMode,
    /// Whether the table's columns become those of the rows.
    pub(crate) replace_columns: bool,
    pub(crate) properties: CommitProperties,
}

impl Commit {
    /// A plain commit of this mode.
    pub(crate) fn new(mode: SaveMode) -> Self {
        Self { mode, replace_columns: false, properties: CommitProperties::default() }
    }
}

/// Runs `input`, writes its rows and commits them to the newest version of `table`; one that does not exist yet is
/// created by the same commit. Gives the number of rows, and the table as it is then.
///
/// # Errors
/// Those of `input`, as they are; rows that the table cannot hold; a conflicting commit; the store cannot be written.
pub(crate) async fn write(
    input: Arc<dyn ExecutionPlan>,
    mut table: DeltaTable,
    commit: Commit,
    context: Arc<TaskContext>,
) -> Result<(u64, DeltaTable)> {
    let url = table.table_url().clone();
    if table.version().is_some() {
        table.update_state().await.map_err(|error| failed(&url, error))?;
    }
    // The library plans its checks around the rows with a planner of its own. It gets a session that shares memory
    // pool, stores and options with this query, whose own plan stays as it is: its partitions are not dealt out anew.
    let session = SessionStateBuilder::new()
        .with_default_features()
        .with_config(context.session_config().clone().with_round_robin_repartition(false))
        .with_runtime_env(context.runtime_env())
        .with_query_planner(DeltaPlanner::new())
        .build();
    let outcome = Arc::new(Outcome::default());
    let source = Source { plan: input, context, outcome: Arc::clone(&outcome) };
    let plan = LogicalPlanBuilder::scan(UNNAMED_TABLE, provider_as_source(Arc::new(source)), None)?.build()?;
    let mut builder = table
        .write(vec![])
        .with_input_plan(plan)
        .with_session_state(Arc::new(session))
        .with_session_fallback_policy(SessionFallbackPolicy::RequireSessionState)
        .with_save_mode(commit.mode)
        .with_commit_properties(commit.properties);
    if commit.replace_columns {
        builder = builder.with_schema_mode(SchemaMode::Overwrite);
    }
    let table = builder.await.map_err(|error| outcome.error.lock().take().unwrap_or_else(|| failed(&url, error)))?;
    Ok((outcome.rows.load(Ordering::Relaxed), table))
}

/// What the query gave while the library read it.
#[derive(Debug, Default)]
struct Outcome {
    rows: AtomicU64,
    /// The query's own error, which the library would keep the words of only.
    error: Mutex<Option<DataFusionError>>,
}

/// The rows of a planned query, as a table that the library can read once.
#[derive(Debug)]
struct Source {
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    outcome: Arc<Outcome>,
}

#[async_trait]
impl TableProvider for Source {
    fn schema(&self) -> SchemaRef {
        self.plan.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let source: Arc<dyn ExecutionPlan> = Arc::new(SourceExec {
            plan: Arc::clone(&self.plan),
            context: Arc::clone(&self.context),
            outcome: Arc::clone(&self.outcome),
        });
        let Some(projection) = projection else { return Ok(source) };
        let schema = source.schema();
        let columns = projection.iter().map(|&index| {
            let name = schema.field(index).name();
            (Arc::new(Column::new(name, index)) as Arc<dyn PhysicalExpr>, name.clone())
        });
        Ok(Arc::new(ProjectionExec::try_new(columns.collect::<Vec<_>>(), source)?))
    }
}

/// Runs a finished plan in the context it was made for. A leaf, so that the plan is not planned again.
#[derive(Debug)]
struct SourceExec {
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    outcome: Arc<Outcome>,
}

impl DisplayAs for SourceExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SourceExec")
    }
}

impl ExecutionPlan for SourceExec {
    fn name(&self) -> &'static str {
        "SourceExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.plan.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        if children.is_empty() { Ok(self) } else { Err(DataFusionError::Internal("SourceExec is a leaf".into())) }
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let outcome = Arc::clone(&self.outcome);
        let stream = self.plan.execute(partition, Arc::clone(&self.context))?.map(move |batch| match batch {
            Ok(batch) => {
                outcome.rows.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
                Ok(batch)
            }
            Err(error) => {
                let words = error.to_string();
                outcome.error.lock().get_or_insert(error);
                Err(DataFusionError::Execution(words))
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream)))
    }
}
