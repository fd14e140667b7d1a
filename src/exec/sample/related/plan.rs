//! The physical plan of a related table's sample.

use super::shared::{Prepared, Shared, Size};
use crate::{
    Result as SynthResult, SynthError,
    exec::{
        rows::{Out, batches, sent},
        sample::{SampleSpec, schema::ROW_ID},
    },
    models::SamplerSettings,
    relational::{Generator, Role},
    store::{Manifest, off_worker},
    torch::cores,
};
use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions},
    compute::SortOptions,
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use datafusion::{
    common::{Statistics, assert_or_internal_err, internal_err, stats::Precision, tree_node::TreeNodeRecursion},
    error::Result,
    execution::{
        SendableRecordBatchStream, TaskContext,
        memory_pool::{MemoryConsumer, MemoryReservation},
    },
    physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr, PhysicalSortExpr, expressions::Column},
    physical_plan::{
        ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
        execution_plan::{Boundedness, EmissionType, EvaluationType, SchedulingType},
        metrics::{BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet, RecordOutput, Time},
        statistics::StatisticsArgs,
    },
};
use std::{fmt, ops::Range, sync::Arc};

/// Batches that may wait for the consumer, per partition.
const QUEUE: usize = 2;

/// Segments that are looked through at most: more than anybody will wait for, and few enough to count their rows.
const MAX_SEGMENTS: u64 = 1 << 32;

/// The parents of a reference, a partition per segment.
#[derive(Debug, Clone)]
pub(in crate::exec) struct Input {
    pub(in crate::exec) reference: usize,
    /// The column that counts their children.
    pub(super) degree: Option<usize>,
    /// The segment of partition 0; none of a table, which is there for every segment.
    pub(super) first: Option<u64>,
    pub(in crate::exec) plan: Arc<dyn ExecutionPlan>,
}

/// What is generated where: shares of segments, in order, dealt out to partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tasks {
    rows: Range<u64>,
    size: Size,
    partitions: usize,
    /// Shares that each segment is cut into.
    shares: usize,
}

/// A share of a segment's chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Task {
    segment: u64,
    share: usize,
}

impl Tasks {
    /// `rows` in about `partitions` partitions: some segments each, or shares of one.
    pub(super) fn new(rows: Range<u64>, segment_rows: u64, partitions: usize) -> Self {
        let mut tasks = Self { rows, size: Size::Segment(segment_rows), partitions: partitions.max(1), shares: 1 };
        let segments = usize::try_from(tasks.count()).unwrap_or(usize::MAX);
        if segments < tasks.partitions {
            tasks.shares = tasks.partitions.div_ceil(segments.max(1));
        }
        tasks.partitions = tasks.partitions.min(segments.saturating_mul(tasks.shares)).max(1);
        tasks
    }

    /// Whole segments, a partition each.
    pub(super) fn by_segment(segments: Range<u64>, segment_rows: u64) -> Self {
        let rows = segments.start * segment_rows..segments.end * segment_rows;
        let partitions = usize::try_from(segments.end - segments.start).unwrap_or(usize::MAX);
        Self { rows, size: Size::Segment(segment_rows), partitions, shares: 1 }
    }

    /// All rows from `start` on, a partition for about `window` of them: some segments, or a share of one.
    pub(super) fn windows(start: u64, segment_rows: u64, window: u64) -> Self {
        let group = (window / segment_rows).max(1);
        let shares = usize::try_from(segment_rows.div_ceil(window)).unwrap_or(usize::MAX);
        let first = start / segment_rows;
        let groups = (MAX_SEGMENTS.min(i64::MAX as u64 / segment_rows - first) / group).max(1);
        let rows = start..(first + groups * group) * segment_rows;
        let partitions = usize::try_from(groups).unwrap_or(usize::MAX).saturating_mul(shares);
        Self { rows, size: Size::Segment(segment_rows), partitions, shares }
    }

    /// The first `limit` of the children of a given table, which are `rows` if that is told.
    pub(super) fn whole(limit: u64, rows: Option<u64>, partitions: usize) -> Self {
        let partitions = partitions.max(1);
        Self { rows: 0..limit, size: Size::Children(rows), partitions, shares: partitions }
    }

    pub(super) fn rows(&self) -> Range<u64> {
        self.rows.clone()
    }

    /// The rows from one segment to the next; children of a given table are a single one.
    fn segment_rows(&self) -> u64 {
        match self.size {
            Size::Segment(rows) => rows,
            Size::Children(_) => u64::MAX,
        }
    }

    /// The segments that the rows are in; the children of a given table are in the first.
    pub(super) fn segments(&self) -> Range<u64> {
        match self.size {
            Size::Segment(rows) => self.rows.start / rows..self.rows.end.div_ceil(rows),
            Size::Children(_) => 0..1,
        }
    }

    fn count(&self) -> u64 {
        if self.rows.is_empty() {
            return 0;
        }
        (self.rows.end - 1) / self.segment_rows() - self.rows.start / self.segment_rows() + 1
    }

    /// The tasks of a partition.
    fn of(&self, partition: usize) -> impl Iterator<Item = Task> + Send + use<> {
        let (first, shares) = (self.rows.start / self.segment_rows(), self.shares as u64);
        // u128: segments times shares times partitions may pass u64.
        let all = u128::from(self.count()) * u128::from(shares);
        let border = |partition: usize| (partition as u128 * all / self.partitions as u128) as u64;
        (border(partition)..border(partition + 1))
            .map(move |task| Task { segment: first + task / shares, share: (task % shares) as usize })
    }
}

/// Generates a table that refers to others: its children are the plans of the parents, of which each partition is a segment.
#[derive(Debug, Clone)]
pub struct RelatedExec {
    spec: SampleSpec,
    manifest: Arc<Manifest>,
    /// Names of the columns, in the order of the output; without the row's number.
    columns: Vec<String>,
    /// Where in the output the row's number is.
    row_id: Option<usize>,
    tasks: Tasks,
    inputs: Vec<Input>,
    shared: Arc<Shared>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl RelatedExec {
    pub(super) fn try_new(
        spec: SampleSpec,
        manifest: Arc<Manifest>,
        columns: Vec<String>,
        row_id: Option<usize>,
        tasks: Tasks,
        inputs: Vec<Input>,
    ) -> SynthResult<Self> {
        let schema = schema_of(&manifest, &columns, row_id, &inputs)?;
        let mut equivalences = EquivalenceProperties::new(Arc::clone(&schema));
        if let Some(index) = row_id {
            let ascending = SortOptions { descending: false, nulls_first: false };
            let number = Arc::new(Column::new(ROW_ID, index));
            equivalences.add_orderings([[PhysicalSortExpr::new(number, ascending)]]);
        }
        let properties = PlanProperties::new(
            equivalences,
            Partitioning::UnknownPartitioning(tasks.partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative)
        .with_evaluation_type(EvaluationType::Lazy);
        Ok(Self {
            spec,
            manifest,
            columns,
            row_id,
            tasks,
            inputs,
            shared: Arc::default(),
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }

    /// What is sampled.
    #[must_use]
    pub fn spec(&self) -> &SampleSpec {
        &self.spec
    }
}

/// The columns by name: the table's own, hidden ones of its model, or its owner's.
fn schema_of(
    manifest: &Manifest,
    columns: &[String],
    row_id: Option<usize>,
    inputs: &[Input],
) -> SynthResult<SchemaRef> {
    let relations = manifest.relations.as_ref();
    let owner = relations.and_then(|relations| relations.owner()).map(|(number, _)| number);
    let owner = inputs.iter().find(|input| Some(input.reference) == owner).map(|input| input.plan.schema());
    let mut fields: Vec<Arc<Field>> = Vec::with_capacity(columns.len() + 1);
    for name in columns {
        let of_owner = || {
            let name = name.strip_prefix(&crate::relational::owner_column(""))?;
            Some(owner.as_ref()?.field_with_name(name).ok()?.data_type().clone())
        };
        fields.push(if let Ok(field) = manifest.schema().field_with_name(name) {
            Arc::new(field.clone())
        } else if let Ok(field) = manifest.encoder.schema().field_with_name(name) {
            Arc::new(field.clone().with_nullable(true))
        } else {
            let data_type = of_owner().ok_or_else(|| SynthError::Internal(format!("no column `{name}`")))?;
            Arc::new(Field::new(name, data_type, true))
        });
    }
    if let Some(at) = row_id {
        fields.insert(at, Arc::new(Field::new(ROW_ID, DataType::Int64, false)));
    }
    Ok(Arc::new(Schema::new_with_metadata(fields, manifest.schema().metadata().clone())))
}

impl DisplayAs for RelatedExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.columns.join(", ");
        let role = |input: &Input| {
            let reference = self.manifest.relations.as_ref()?.references.get(input.reference)?;
            let role = if matches!(reference.role, Role::Owner) { "owner" } else { "matched" };
            Some(format!("{role} {} by ({})", reference.parent, reference.columns.join(", ")))
        };
        let parents: Vec<String> = self.inputs.iter().filter_map(role).collect();
        let parents = parents.join("; ");
        match format {
            DisplayFormatType::TreeRender => {
                let SampleSpec { model, version, seed, .. } = &self.spec;
                writeln!(f, "model={model}\nversion={version}\nseed={seed}\nparents={parents}")
            }
            _ => {
                write!(f, "RelatedExec: {}, ", self.spec)?;
                if let Size::Segment(rows) = self.tasks.size {
                    write!(f, "segments of {rows}, ")?;
                }
                write!(f, "partitions={}, parents=[{parents}], projection=[{columns}]", self.tasks.partitions)
            }
        }
    }
}

impl ExecutionPlan for RelatedExec {
    fn name(&self) -> &'static str {
        "RelatedExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.inputs.iter().map(|input| &input.plan).collect()
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false; self.inputs.len()]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        assert_or_internal_err!(children.len() == self.inputs.len(), "RelatedExec has another number of children");
        let mut plan = Arc::unwrap_or_clone(self);
        for (input, child) in plan.inputs.iter_mut().zip(children) {
            if child.properties().output_partitioning().partition_count()
                != input.plan.properties().output_partitioning().partition_count()
            {
                return internal_err!("the partitions of a parent are its segments: they cannot be changed");
            }
            input.plan = child;
        }
        plan.shared = Arc::default();
        Ok(Arc::new(plan))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition >= self.tasks.partitions {
            return internal_err!("no partition {partition} in {}", self.name());
        }
        let tasks = self.tasks.of(partition);
        let threads = self.spec.threads.unwrap_or_else(|| (cores() / self.tasks.partitions).max(1));
        let reservation = MemoryConsumer::new(format!("RelatedExec[{partition}]")).register(context.memory_pool());
        let metrics = Metrics::new(&self.metrics, partition);
        let worker = Worker { plan: self.clone(), context, reservation, metrics, threads, generator: None };
        Ok(sent(self.schema(), QUEUE, |out| worker.run(tasks, out)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    /// Exact for the whole plan; of single partitions only chunks know.
    fn statistics_from_inputs(&self, _inputs: &[Arc<Statistics>], args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema());
        if args.partition().is_none() && self.tasks.size != Size::Children(None) {
            let rows = &self.tasks.rows;
            statistics.num_rows = Precision::Exact(usize::try_from(rows.end - rows.start).unwrap_or(usize::MAX));
        }
        Ok(Arc::new(statistics))
    }
}

/// What EXPLAIN ANALYZE shows, besides rows.
#[derive(Debug, Clone)]
struct Metrics {
    baseline: BaselineMetrics,
    chunks: Count,
    /// Time with the parents: collecting and encoding them, counting their children.
    parents: Time,
    /// Time in the model, in matching and in decoding.
    rows: Time,
}

impl Metrics {
    fn new(metrics: &ExecutionPlanMetricsSet, partition: usize) -> Self {
        Self {
            baseline: BaselineMetrics::new(metrics, partition),
            chunks: MetricBuilder::new(metrics).counter("chunks", partition),
            parents: MetricBuilder::new(metrics).subset_time("time_parents", partition),
            rows: MetricBuilder::new(metrics).subset_time("time_rows", partition),
        }
    }
}

struct Worker {
    plan: RelatedExec,
    context: Arc<TaskContext>,
    reservation: MemoryReservation,
    metrics: Metrics,
    threads: usize,
    /// The model, once it is needed.
    generator: Option<Generator>,
}

impl Worker {
    async fn run(mut self, tasks: impl Iterator<Item = Task>, out: Out) -> SynthResult<()> {
        for task in tasks {
            let cell = self.plan.shared.cell(task.segment);
            let timer = self.metrics.parents.timer();
            let spec = &self.plan.spec;
            let of = (task.segment, self.plan.tasks.size);
            let shared = &self.plan.shared;
            let prepare = || shared.prepare(spec, &self.plan.inputs, of, &self.context);
            let prepared = cell.get_or_try_init(prepare).await?;
            timer.done();
            self.reservation.try_resize(prepared.segment.memory_size())?;
            let chunks = prepared.segment.chunks().len();
            let shares = self.plan.tasks.shares;
            for chunk in task.share * chunks / shares..(task.share + 1) * chunks / shares {
                if out.is_closed() {
                    return Ok(());
                }
                let Some(batch) = self.chunk(prepared, task.segment, chunk).await? else { continue };
                for part in batches(batch, &self.context) {
                    if out.send(Ok(part.record_output(&self.metrics.baseline))).await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// The rows of a chunk that are asked for.
    async fn chunk(
        &mut self,
        prepared: &Arc<Prepared>,
        segment: u64,
        chunk: usize,
    ) -> SynthResult<Option<RecordBatch>> {
        let wanted = self.plan.tasks.rows();
        let first = segment * self.plan.tasks.segment_rows();
        let rows = prepared.segment.chunks()[chunk].rows();
        let (begin, end) = ((first + rows.start).max(wanted.start), (first + rows.end).min(wanted.end));
        if begin >= end {
            return Ok(None);
        }
        let prepared = Arc::clone(prepared);
        let settings = SamplerSettings {
            temperature: self.plan.spec.temperature,
            ..SamplerSettings::new(self.plan.spec.device, self.threads)
        };
        let columns = self.plan.columns.clone();
        let mut generator = self.generator.take();
        let timer = self.metrics.rows.timer();
        let work = move || {
            let mut ready = match generator.take() {
                Some(generator) => generator,
                None => prepared.family.generator(&settings)?,
            };
            let child = prepared.family.chunk(&prepared.segment, chunk, &columns, &mut ready)?;
            Ok::<_, SynthError>((ready, child))
        };
        let (generator, child) = off_worker(work).await?;
        timer.done();
        self.generator = Some(generator);
        self.metrics.chunks.add(1);
        let (offset, length) = ((begin - child.first) as usize, (end - begin) as usize);
        let part = child.rows.slice(offset, length);
        let mut arrays: Vec<ArrayRef> = part.columns().to_vec();
        if let Some(at) = self.plan.row_id {
            arrays.insert(at, Arc::new(Int64Array::from_iter_values((begin..end).map(u64::cast_signed))));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(length));
        Ok(Some(RecordBatch::try_new_with_options(self.plan.schema(), arrays, &options)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_share_of_every_segment_is_in_one_partition_in_order(
            start in 0u64..1_000_000_000_000, len in 1u64..5000, segment in 1u64..700, partitions in 1usize..20,
        ) {
            let tasks = Tasks::new(start..start + len, segment, partitions);
            prop_assert!(tasks.partitions <= partitions);
            let all: Vec<Task> = (0..tasks.partitions).flat_map(|partition| tasks.of(partition)).collect();
            let wanted = (start / segment..=(start + len - 1) / segment)
                .flat_map(|segment| (0..tasks.shares).map(move |share| Task { segment, share }));
            prop_assert_eq!(all, wanted.collect::<Vec<_>>());
        }
    }

    #[test]
    fn many_segments_take_no_memory() {
        let tasks = Tasks::new(0..1 << 60, 3, 2);
        assert_eq!((tasks.partitions, tasks.shares), (2, 1));
        assert_eq!(tasks.of(1).next(), Some(Task { segment: ((1_u64 << 60) / 3).div_ceil(2), share: 0 }));
    }
}
