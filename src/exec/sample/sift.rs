//! The plan of rows under a condition that the model cannot be told.

use super::{SampleSpec, Sieve};
use crate::torch::cores;
use arrow::{
    array::{Array, AsArray, RecordBatch, RecordBatchOptions},
    compute::filter_record_batch,
};
use datafusion::{
    common::{
        Statistics, assert_or_internal_err, exec_err, internal_err, runtime::SpawnedTask, stats::Precision,
        tree_node::TreeNodeRecursion,
    },
    error::{DataFusionError, Result},
    execution::{
        SendableRecordBatchStream, TaskContext,
        memory_pool::{MemoryConsumer, MemoryReservation},
    },
    physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr, utils::reassign_expr_columns},
    physical_plan::{
        ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
        execution_plan::{Boundedness, EmissionType, EvaluationType, SchedulingType},
        metrics::{BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet, RecordOutput},
        statistics::StatisticsArgs,
        stream::RecordBatchStreamAdapter,
    },
};
use futures::{Stream, StreamExt, TryStreamExt};
use std::{fmt, sync::Arc};

/// Rows of a window: looked through at once, by one core.
pub(super) const WINDOW_ROWS: u64 = 1 << 14;
/// Rows that may follow one another without one that satisfies the condition, and segments, where rows come in such.
const PATIENCE: u64 = 1 << 20;
const SEGMENTS: u64 = 1 << 10;

/// How many rows of an infinite table, whose segments have so many if it has any, may follow one another without one that
/// satisfies the condition. Segments take time even if they are small.
pub(super) fn patience(segment_rows: Option<u64>) -> u64 {
    segment_rows.map_or(PATIENCE, |rows| PATIENCE.min(rows.saturating_mul(SEGMENTS)))
}

/// Looks through the rows of an infinite table for those that satisfy a condition. The partitions of its child are windows,
/// one after the other; as many of them as there are cores are looked through side by side, and what is found comes in the
/// order of the rows, so it does not depend on how many there are.
#[derive(Debug, Clone)]
pub struct SiftExec {
    rows: Arc<dyn ExecutionPlan>,
    /// The condition, over the child's columns.
    sieve: Sieve,
    /// Which of them come out.
    projection: Vec<usize>,
    /// How many rows are wanted.
    wanted: u64,
    /// If the child is of an infinite table, in which so many can be found: how long one may take.
    patience: Option<u64>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl SiftExec {
    /// The first `wanted` rows of `rows` that pass `sieve`; the columns `projection` of them. With `patience`, they must be there,
    /// and no more rows than that may pass without one.
    ///
    /// # Errors
    /// `projection` is not of the child's schema, or the sieve is about columns that it does not have.
    pub(super) fn try_new(
        rows: Arc<dyn ExecutionPlan>,
        sieve: Sieve,
        projection: &[usize],
        (wanted, patience): (u64, Option<u64>),
    ) -> Result<Self> {
        let predicate = reassign_expr_columns(sieve.predicate, &rows.schema())?;
        let sieve = Sieve { predicate, ..sieve };
        let schema = Arc::new(rows.schema().project(projection)?);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative)
        .with_evaluation_type(EvaluationType::Lazy);
        let metrics = ExecutionPlanMetricsSet::new();
        let projection = projection.to_vec();
        Ok(Self { rows, sieve, projection, wanted, patience, properties: Arc::new(properties), metrics })
    }

    /// What passes of the rows of window `window`.
    async fn window(self, window: usize, context: Arc<TaskContext>) -> Result<Window> {
        let schema = self.schema();
        let mut rows = self.rows.execute(window, context)?;
        let mut found = Window { batches: Vec::new(), rows: 0, before: 0, after: 0 };
        while let Some(batch) = rows.try_next().await? {
            let passed = self.sieve.predicate.evaluate(&batch)?.into_array(batch.num_rows())?;
            let passed = passed.as_boolean();
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            let columns = self.projection.iter().map(|&column| Arc::clone(batch.column(column))).collect();
            let columns = RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &options)?;
            let first = (0..passed.len()).find(|&row| passed.is_valid(row) && passed.value(row));
            let last = (0..passed.len()).rfind(|&row| passed.is_valid(row) && passed.value(row));
            let Some((first, last)) = first.zip(last) else {
                found.after += batch.num_rows() as u64;
                continue;
            };
            if found.rows == 0 {
                found.before = found.after + first as u64;
            }
            found.after = (batch.num_rows() - 1 - last) as u64;
            let kept = filter_record_batch(&columns, passed)?;
            found.rows += kept.num_rows() as u64;
            found.batches.push(kept);
        }
        Ok(found)
    }
}

/// What was found in a window.
struct Window {
    batches: Vec<RecordBatch>,
    rows: u64,
    /// Rows before the first and after the last that was found; all of them are `after`, where none was.
    before: u64,
    after: u64,
}

/// A search under way.
struct Search {
    plan: SiftExec,
    left: u64,
    /// Rows since the last that satisfies the condition.
    since: u64,
    baseline: BaselineMetrics,
    looked_through: Count,
    reservation: MemoryReservation,
}

impl Search {
    /// The batches of the next window that are wanted.
    fn found(&mut self, window: Window) -> Result<Vec<RecordBatch>> {
        self.looked_through.add(1);
        let memory: usize = window.batches.iter().map(RecordBatch::get_array_memory_size).sum();
        self.reservation.try_resize(memory)?;
        let gap = self.since + if window.rows == 0 { window.after } else { window.before };
        if self.plan.patience.is_some_and(|patience| gap > patience) {
            return self.give_up(gap);
        }
        self.since = if window.rows == 0 { gap } else { window.after };
        let mut batches = Vec::with_capacity(window.batches.len());
        for batch in window.batches {
            let kept = self.left.min(batch.num_rows() as u64);
            if kept > 0 {
                batches.push(batch.slice(0, kept as usize).record_output(&self.baseline));
            }
            self.left -= kept;
        }
        Ok(batches)
    }

    /// What is to be done when there are no more rows to be had.
    fn give_up<T>(&self, gap: u64) -> Result<T> {
        let found = match self.plan.wanted - self.left {
            0 => String::new(),
            found => format!(" (after {found} rows that do)"),
        };
        let condition = &self.plan.sieve.condition;
        exec_err!(
            "synth_sample: argument `given`: got `{condition}`, which none of {gap} rows in a row satisfies{found}; expected \
             a condition that holds now and then, or fewer rows"
        )
    }

    fn stream(self, context: &Arc<TaskContext>) -> impl Stream<Item = Result<RecordBatch>> + Send + use<> {
        let windows = 0..self.plan.rows.properties().output_partitioning().partition_count();
        let (plan, context) = (self.plan.clone(), Arc::clone(context));
        let look = move |window| {
            let task = SpawnedTask::spawn(plan.clone().window(window, Arc::clone(&context)));
            async move { task.join().await.map_err(|error| DataFusionError::External(Box::new(error)))? }
        };
        let windows = futures::stream::iter(windows).map(look).buffered(cores());
        let batches = futures::stream::try_unfold((self, Box::pin(windows)), |(mut search, mut windows)| async move {
            if search.left == 0 {
                return Ok(None);
            }
            match windows.try_next().await? {
                Some(window) => {
                    let batches = search.found(window)?;
                    Ok(Some((futures::stream::iter(batches.into_iter().map(Ok)), (search, windows))))
                }
                None if search.plan.patience.is_some() => search.give_up(search.since),
                None => Ok(None),
            }
        });
        batches.try_flatten()
    }
}

impl DisplayAs for SiftExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = if self.wanted == SampleSpec::ALL { "all".to_owned() } else { self.wanted.to_string() };
        let schema = self.schema();
        let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let condition = &self.sieve.condition;
        match format {
            DisplayFormatType::TreeRender => writeln!(f, "condition={condition}\nrows={rows}"),
            _ => write!(f, "SiftExec: [{condition}], rows={rows}, projection=[{}]", columns.join(", ")),
        }
    }
}

impl ExecutionPlan for SiftExec {
    fn name(&self) -> &'static str {
        "SiftExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.rows]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        f(&self.sieve.predicate)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        assert_or_internal_err!(children.len() == 1, "SiftExec has one child");
        let mut plan = Arc::unwrap_or_clone(self);
        let windows = |rows: &Arc<dyn ExecutionPlan>| rows.properties().output_partitioning().partition_count();
        if let Some(rows) = children.pop() {
            assert_or_internal_err!(
                windows(&rows) == windows(&plan.rows),
                "partitions are windows: they cannot be changed"
            );
            plan.rows = rows;
        }
        Ok(Arc::new(plan))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return internal_err!("no partition {partition} in {}", self.name());
        }
        let search = Search {
            plan: self.clone(),
            left: self.wanted,
            since: 0,
            baseline: BaselineMetrics::new(&self.metrics, 0),
            looked_through: MetricBuilder::new(&self.metrics).counter("windows", 0),
            reservation: MemoryConsumer::new("SiftExec").register(context.memory_pool()),
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), search.stream(&context))))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    /// Not exact: whether there are so many rows is found out by looking for them.
    fn statistics_from_inputs(&self, _inputs: &[Arc<Statistics>], _args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema());
        if self.wanted != SampleSpec::ALL {
            statistics.num_rows = Precision::Inexact(usize::try_from(self.wanted).unwrap_or(usize::MAX));
        }
        Ok(Arc::new(statistics))
    }
}
