//! The physical plan.

use super::{
    Action, ApplySpec,
    columns::Columns,
    stream::{Job, QUEUE},
};
use crate::exec::rows::sent;
use datafusion::{
    common::{Statistics, assert_or_internal_err, internal_err, stats::Precision, tree_node::TreeNodeRecursion},
    error::Result,
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr},
    physical_plan::{
        ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
        execution_plan::{Boundedness, EmissionType, SchedulingType},
        metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet},
        statistics::StatisticsArgs,
    },
};
use std::{fmt, sync::Arc};

/// Applies a model to the rows of its input, in their order: noise is addressed by the number of the row.
#[derive(Debug, Clone)]
pub struct ApplyExec {
    spec: Arc<ApplySpec>,
    columns: Columns,
    input: Arc<dyn ExecutionPlan>,
    projection: Vec<usize>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl ApplyExec {
    pub(super) fn try_new(
        spec: Arc<ApplySpec>,
        columns: Columns,
        input: Arc<dyn ExecutionPlan>,
        projection: Vec<usize>,
    ) -> Result<Self> {
        let schema = Arc::new(columns.output.project(&projection)?);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative);
        let metrics = ExecutionPlanMetricsSet::new();
        Ok(Self { spec, columns, input, projection, properties: Arc::new(properties), metrics })
    }
}

impl DisplayAs for ApplyExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match format {
            DisplayFormatType::TreeRender => {
                write!(f, "{}\nmodel={}\nseed={}", self.spec.function, self.spec.model, self.spec.seed)
            }
            _ => write!(f, "ApplyExec: {}", self.spec),
        }
    }
}

impl ExecutionPlan for ApplyExec {
    fn name(&self) -> &'static str {
        "ApplyExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    /// Repartitioning the scan would only mix its rows, which are kept in partition order.
    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        assert_or_internal_err!(children.len() == 1, "ApplyExec has one child");
        let mut plan = Arc::unwrap_or_clone(self);
        plan.input = children.swap_remove(0);
        Ok(Arc::new(plan))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    /// As many rows as the table has, or as were asked for.
    fn statistics_from_inputs(&self, inputs: &[Arc<Statistics>], _args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let num_rows = match (self.spec.action, inputs) {
            (Action::Complete { rows: Some(rows) }, _) => Precision::Exact(usize::try_from(rows).unwrap_or(usize::MAX)),
            (_, [input]) => input.num_rows,
            _ => Precision::Absent,
        };
        Ok(Arc::new(Statistics { num_rows, ..Statistics::new_unknown(&self.schema()) }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return internal_err!("ApplyExec has one partition, not {partition}");
        }
        let job = Job {
            spec: Arc::clone(&self.spec),
            columns: self.columns.clone(),
            input: Arc::clone(&self.input),
            projection: self.projection.clone(),
            context,
            metrics: BaselineMetrics::new(&self.metrics, partition),
        };
        Ok(sent(self.schema(), QUEUE, |out| job.run(out)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}
