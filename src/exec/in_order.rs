//! A scan whose rows keep their order.

use datafusion::{
    common::{Statistics, assert_or_internal_err, tree_node::TreeNodeRecursion},
    error::Result,
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::PhysicalExpr,
    physical_plan::{
        ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
        ReplaceChildrenOptions, metrics::MetricsSet, statistics::StatisticsArgs,
    },
};
use std::{fmt, sync::Arc};

/// Keeps the optimizer from dealing the rows of a scan out to more partitions, which it does below every projection that
/// computes something: learned rows would then come in another order with every number of partitions, and completed ones
/// would not come in the table's.
#[derive(Debug, Clone)]
pub(super) struct InOrderExec {
    rows: Arc<dyn ExecutionPlan>,
}

impl InOrderExec {
    /// `rows` as they are.
    pub(super) fn new(rows: Arc<dyn ExecutionPlan>) -> Self {
        Self { rows }
    }
}

/// Whether two plans are of the same operators, on the same numbers of partitions.
fn alike(a: &Arc<dyn ExecutionPlan>, b: &Arc<dyn ExecutionPlan>) -> bool {
    let partitions = |plan: &Arc<dyn ExecutionPlan>| plan.output_partitioning().partition_count();
    let (below_a, below_b) = (a.children(), b.children());
    a.name() == b.name()
        && partitions(a) == partitions(b)
        && below_a.len() == below_b.len()
        && below_a.into_iter().zip(below_b).all(|(a, b)| alike(a, b))
}

impl DisplayAs for InOrderExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InOrderExec")
    }
}

impl ExecutionPlan for InOrderExec {
    fn name(&self) -> &'static str {
        "InOrderExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.rows.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.rows]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    /// Takes the same plan with another state, and no other plan.
    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        assert_or_internal_err!(children.len() == 1, "InOrderExec has one child");
        let rows = children.swap_remove(0);
        Ok(if alike(&rows, &self.rows) { Arc::new(Self { rows }) } else { self })
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.rows.execute(partition, context)
    }

    fn metrics(&self) -> Option<MetricsSet> {
        None
    }

    fn statistics_from_inputs(&self, inputs: &[Arc<Statistics>], _args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        Ok(inputs.first().cloned().unwrap_or_else(|| Arc::new(Statistics::new_unknown(&self.schema()))))
    }
}
