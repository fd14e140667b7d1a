//! The plan of given rows of a related table, completed.

use super::{
    plan::Input,
    shared::{by_reference, family_of},
};
use crate::{
    Result as SynthResult, SynthError,
    encode::Unseen,
    exec::{
        columns::as_learned,
        rows::{Out, batches, collected, sent},
        sample::SampleSpec,
    },
    models::SamplerSettings,
    relational::Asker,
    store::{Manifest, off_worker},
    torch::cores,
};
use arrow::{array::UInt32Array, compute::take_record_batch};
use datafusion::{
    common::{Statistics, assert_or_internal_err, internal_err, stats::Precision, tree_node::TreeNodeRecursion},
    error::Result,
    execution::{SendableRecordBatchStream, TaskContext, memory_pool::MemoryConsumer},
    physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr},
    physical_plan::{
        ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
        execution_plan::{Boundedness, EmissionType, EvaluationType, SchedulingType},
        metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, RecordOutput},
        statistics::StatisticsArgs,
    },
};
use std::{fmt, sync::Arc};

/// Batches that may wait for the consumer.
const QUEUE: usize = 2;
/// Rows completed together, no two of which have the same key.
const AT_ONCE: u64 = 1 << 16;

/// Completes the rows of its first child; the others are the parents. One partition, in the order of the rows.
#[derive(Debug, Clone)]
pub struct CompleteExec {
    /// What is sampled: its rows are those of the table, over and over, or as many as that has.
    spec: SampleSpec,
    manifest: Arc<Manifest>,
    /// The columns of the table, of which `projection` come out.
    projection: Vec<usize>,
    /// Children of the parents.
    all: u64,
    given: Arc<dyn ExecutionPlan>,
    unseen: Unseen,
    parents: Vec<Input>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl CompleteExec {
    pub(super) fn try_new(
        spec: SampleSpec,
        manifest: Arc<Manifest>,
        projection: Vec<usize>,
        all: u64,
        (given, unseen): (Arc<dyn ExecutionPlan>, Unseen),
        parents: Vec<Input>,
    ) -> SynthResult<Self> {
        let schema = Arc::new(manifest.schema().project(&projection)?);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative)
        .with_evaluation_type(EvaluationType::Lazy);
        let (properties, metrics) = (Arc::new(properties), ExecutionPlanMetricsSet::new());
        Ok(Self { spec, manifest, projection, all, given, unseen, parents, properties, metrics })
    }

    async fn run(self, context: Arc<TaskContext>, out: Out) -> SynthResult<()> {
        let metrics = BaselineMetrics::new(&self.metrics, 0);
        let reservation = MemoryConsumer::new("CompleteExec").register(context.memory_pool());
        let given = collected(&self.given, &context).await?;
        let given = as_learned("synth_sample", &given, self.manifest.schema())?;
        let wanted = if self.spec.rows == SampleSpec::ALL { given.num_rows() as u64 } else { self.spec.rows };
        if given.num_rows() == 0 && wanted > 0 {
            return Err(SynthError::NoRows { reason: "the table of given rows is empty".to_owned() });
        }
        let stored = self.spec.stored().await?;
        let family = Arc::new(family_of(self.spec.seed, &stored)?);
        let parents = by_reference(&self.parents, &family, 0, &context).await?;
        let held: usize = parents.iter().flatten().map(|parents| parents.rows.get_array_memory_size()).sum();
        reservation.try_grow(given.get_array_memory_size() + held + stored.model.sampler_memory())?;
        let settings = SamplerSettings {
            temperature: self.spec.temperature,
            ..SamplerSettings::new(self.spec.device, self.spec.threads.unwrap_or_else(cores))
        };
        let all = self.all;
        let asker = Asker { function: "synth_sample", argument: "given", unseen: self.unseen, generated: true };
        let ready = {
            let family = Arc::clone(&family);
            move || family.completion(all, parents, &settings, asker)
        };
        let mut completion = off_worker(ready).await?;
        let step = all.clamp(1, AT_ONCE);
        for first in (0..wanted).step_by(step as usize) {
            let timer = metrics.elapsed_compute().timer();
            let end = (first + step).min(wanted);
            let again = |row: u64| (row % given.num_rows() as u64) as u32;
            let rows = take_record_batch(&given, &UInt32Array::from_iter_values((first..end).map(again)))?;
            let family = Arc::clone(&family);
            let work = move || {
                let rows = family.complete(&mut completion, &rows, first)?;
                Ok::<_, SynthError>((completion, rows))
            };
            let (with, completed) = off_worker(work).await?;
            completion = with;
            let completed = completed.project(&self.projection)?;
            timer.done();
            for part in batches(completed, &context) {
                if out.send(Ok(part.record_output(&metrics))).await.is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

impl DisplayAs for CompleteExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schema = self.given.schema();
        let given: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let (given, schema) = (given.join(", "), self.schema());
        let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        match format {
            DisplayFormatType::TreeRender => writeln!(f, "model={}\ngiven={given}", self.spec.model),
            _ => write!(f, "CompleteExec: {}, given=[{given}], projection=[{}]", self.spec, columns.join(", ")),
        }
    }
}

impl ExecutionPlan for CompleteExec {
    fn name(&self) -> &'static str {
        "CompleteExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        std::iter::once(&self.given).chain(self.parents.iter().map(|input| &input.plan)).collect()
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false; self.children().len()]
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
        assert_or_internal_err!(children.len() == self.children().len(), "CompleteExec has another number of children");
        let mut plan = Arc::unwrap_or_clone(self);
        let places = std::iter::once(&mut plan.given).chain(plan.parents.iter_mut().map(|input| &mut input.plan));
        for (place, child) in places.zip(children) {
            *place = child;
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
        let plan = self.clone();
        Ok(sent(self.schema(), QUEUE, move |out| plan.run(context, out)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn statistics_from_inputs(&self, _inputs: &[Arc<Statistics>], _args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema());
        if self.spec.rows != SampleSpec::ALL {
            statistics.num_rows = Precision::Inexact(usize::try_from(self.spec.rows).unwrap_or(usize::MAX));
        }
        Ok(Arc::new(statistics))
    }
}
