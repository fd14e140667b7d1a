//! The physical plan of a sample.

use super::{SampleSpec, range, schema::ROW_ID, stream};
use crate::torch::cores;
use arrow::{compute::SortOptions, datatypes::SchemaRef};
use datafusion::{
    common::{ColumnStatistics, ScalarValue, Statistics, internal_err, stats::Precision, tree_node::TreeNodeRecursion},
    config::ConfigOptions,
    error::Result,
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr, PhysicalSortExpr, expressions::Column},
    physical_plan::{
        ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
        execution_plan::{Boundedness, EmissionType, EvaluationType, SchedulingType},
        metrics::{ExecutionPlanMetricsSet, MetricsSet},
        statistics::StatisticsArgs,
    },
};
use std::{fmt, ops::Range, sync::Arc};

/// A leaf that generates a range of a model's infinite table: each partition a contiguous, block-aligned part
/// of it, in row order. It carries no weights and no codes: only what the rows depend on.
#[derive(Debug, Clone)]
pub struct SampleExec {
    spec: SampleSpec,
    /// The schema before projection.
    full_schema: SchemaRef,
    projection: Vec<usize>,
    /// A limit that was pushed down.
    fetch: Option<usize>,
    partitions: usize,
    /// Rows of a partition, if they are to be segments of a table that others refer to.
    segment_rows: Option<u64>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl SampleExec {
    /// A plan for the first `fetch` rows of `spec` that yields the columns `projection` of `full_schema` in about
    /// `partitions` partitions (fewer when there are fewer blocks).
    ///
    /// # Errors
    /// `projection` is not of `full_schema`.
    pub fn try_new(
        spec: SampleSpec,
        full_schema: &SchemaRef,
        projection: Vec<usize>,
        fetch: Option<usize>,
        partitions: usize,
    ) -> Result<Self> {
        let partitions = range::split(Self::rows_of(&spec, fetch), partitions).len();
        Self::with_partitions(spec, full_schema, projection, fetch, partitions, None)
    }

    /// A plan with a partition for each segment of `rows` rows.
    ///
    /// # Errors
    /// `projection` is not of `full_schema`.
    pub(super) fn of_segments(
        spec: SampleSpec,
        full_schema: &SchemaRef,
        projection: Vec<usize>,
        rows: u64,
    ) -> Result<Self> {
        let partitions = usize::try_from(spec.rows / rows).unwrap_or(usize::MAX);
        Self::with_partitions(spec, full_schema, projection, None, partitions, Some(rows))
    }

    fn with_partitions(
        spec: SampleSpec,
        full_schema: &SchemaRef,
        projection: Vec<usize>,
        fetch: Option<usize>,
        partitions: usize,
        segment_rows: Option<u64>,
    ) -> Result<Self> {
        let schema = Arc::new(full_schema.project(&projection)?);
        let mut equivalences = EquivalenceProperties::new(Arc::clone(&schema));
        if spec.row_id
            && let Some(index) = projection.iter().position(|&column| column == 0)
        {
            let number = Arc::new(Column::new(ROW_ID, index));
            let ascending = SortOptions { descending: false, nulls_first: false };
            equivalences.add_orderings([[PhysicalSortExpr::new(number, ascending)]]);
        }
        let properties = PlanProperties::new(
            equivalences,
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative)
        .with_evaluation_type(EvaluationType::Lazy);
        Ok(Self {
            spec,
            full_schema: Arc::clone(full_schema),
            projection,
            fetch,
            partitions,
            segment_rows,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }

    /// Whether its partitions are segments.
    pub(super) fn is_of_segments(&self) -> bool {
        self.segment_rows.is_some()
    }

    /// What is sampled.
    #[must_use]
    pub fn spec(&self) -> &SampleSpec {
        &self.spec
    }

    /// The schema before projection.
    #[must_use]
    pub fn full_schema(&self) -> &SchemaRef {
        &self.full_schema
    }

    /// The columns of [`SampleExec::full_schema`] that come out.
    #[must_use]
    pub fn projection(&self) -> &[usize] {
        &self.projection
    }

    /// The number of partitions.
    #[must_use]
    pub fn partitions(&self) -> usize {
        self.partitions
    }

    /// The rows of partition `partition`, if there is one.
    #[must_use]
    pub fn range(&self, partition: usize) -> Option<Range<u64>> {
        let rows = Self::rows_of(&self.spec, self.fetch);
        match self.segment_rows {
            None => range::split(rows, self.partitions).get(partition).cloned(),
            Some(segment) => (partition < self.partitions).then(|| {
                let begin = rows.start + segment * partition as u64;
                begin..begin + segment
            }),
        }
    }

    fn rows_of(spec: &SampleSpec, fetch: Option<usize>) -> Range<u64> {
        let rows = fetch.map_or(spec.rows, |fetch| spec.rows.min(fetch as u64));
        spec.start..spec.start + rows
    }

    /// Exact, for the whole plan or one partition.
    fn statistics(&self, partition: Option<usize>) -> Result<Statistics> {
        let rows = match partition {
            None => Self::rows_of(&self.spec, self.fetch),
            Some(partition) => match self.range(partition) {
                Some(range) => range,
                None => return internal_err!("no partition {partition} in {self:?}"),
            },
        };
        let column_statistics = self
            .projection
            .iter()
            .map(|&column| {
                let mut statistics = ColumnStatistics::new_unknown();
                if self.spec.row_id && column == 0 && !rows.is_empty() {
                    let number = |row: u64| Precision::Exact(ScalarValue::Int64(i64::try_from(row).ok()));
                    statistics.min_value = number(rows.start);
                    statistics.max_value = number(rows.end - 1);
                    statistics.null_count = Precision::Exact(0);
                }
                statistics
            })
            .collect();
        Ok(Statistics {
            num_rows: Precision::Exact(usize::try_from(rows.end - rows.start).unwrap_or(usize::MAX)),
            total_byte_size: Precision::Absent,
            column_statistics,
        })
    }
}

impl DisplayAs for SampleExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<&str> = self.projection.iter().map(|&c| self.full_schema.field(c).name().as_str()).collect();
        let columns = columns.join(", ");
        match format {
            DisplayFormatType::TreeRender => {
                let SampleSpec { model, version, seed, start, .. } = &self.spec;
                writeln!(f, "model={model}\nversion={version}\nseed={seed}\nstart={start}")?;
                writeln!(f, "rows={}", self.spec.rows)?;
            }
            _ => write!(f, "SampleExec: {}, partitions={}, projection=[{columns}]", self.spec, self.partitions)?,
        }
        if let Some(fetch) = self.fetch {
            write!(f, ", fetch={fetch}")?;
        }
        Ok(())
    }
}

impl ExecutionPlan for SampleExec {
    fn name(&self) -> &'static str {
        "SampleExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
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
        if children.is_empty() { Ok(self) } else { internal_err!("SampleExec has no children") }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn repartitioned(&self, target: usize, _config: &ConfigOptions) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        if self.segment_rows.is_some() {
            return Ok(None);
        }
        let Self { spec, full_schema, projection, fetch, .. } = self.clone();
        let again = Self::try_new(spec, &full_schema, projection, fetch, target)?;
        Ok((again.partitions != self.partitions).then(|| Arc::new(again) as Arc<dyn ExecutionPlan>))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let Some(rows) = self.range(partition) else {
            return internal_err!("no partition {partition} in {self:?}");
        };
        let worker = stream::Worker {
            spec: self.spec.clone(),
            schema: self.schema(),
            projection: self.projection.clone(),
            rows,
            partition,
            threads: self.spec.threads.unwrap_or_else(|| (cores() / self.partitions).max(1)),
        };
        Ok(worker.stream(context, &self.metrics))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn statistics_from_inputs(&self, _inputs: &[Arc<Statistics>], args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        self.statistics(args.partition()).map(Arc::new)
    }

    fn supports_limit_pushdown(&self) -> bool {
        false
    }

    /// Shortens the range itself: any `n` rows satisfy a limit, and the first `n` cost least.
    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        if self.segment_rows.is_some() {
            return None;
        }
        let Self { spec, full_schema, projection, partitions, .. } = self.clone();
        Self::try_new(spec, &full_schema, projection, limit, partitions).ok().map(|plan| Arc::new(plan) as _)
    }

    fn fetch(&self) -> Option<usize> {
        self.fetch
    }
}
