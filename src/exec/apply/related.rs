//! The plan for rows that depend on those of other tables.

use super::{Action, ApplySpec, columns::Columns};
use crate::{
    Result as SynthResult,
    exec::{
        columns::as_learned,
        rows::{Out, batches, collected, sent},
        sample::{Input, by_reference, family_of, planned_model},
    },
    models::SamplerSettings,
    relational::Asker,
    store::{Manifest, off_worker},
    torch::cores,
};
use datafusion::{
    common::{Statistics, assert_or_internal_err, internal_err, tree_node::TreeNodeRecursion},
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

/// Applies a model to the rows of its first child, whose parents are the rows of the others. One partition, in the order of the
/// rows, which are held all together: each is asked about after the sibling before it.
#[derive(Debug, Clone)]
pub struct ApplyRelatedExec {
    spec: Arc<ApplySpec>,
    columns: Columns,
    manifest: Arc<Manifest>,
    input: Arc<dyn ExecutionPlan>,
    parents: Vec<Input>,
    projection: Vec<usize>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl ApplyRelatedExec {
    pub(super) fn try_new(
        (spec, columns, manifest): (Arc<ApplySpec>, Columns, Arc<Manifest>),
        (input, parents): (Arc<dyn ExecutionPlan>, Vec<Input>),
        projection: Vec<usize>,
    ) -> Result<Self> {
        let schema = Arc::new(columns.output.project(&projection)?);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative)
        .with_evaluation_type(EvaluationType::Lazy);
        let (properties, metrics) = (Arc::new(properties), ExecutionPlanMetricsSet::new());
        Ok(Self { spec, columns, manifest, input, parents, projection, properties, metrics })
    }

    async fn run(self, context: Arc<TaskContext>, out: Out) -> SynthResult<()> {
        let metrics = BaselineMetrics::new(&self.metrics, 0);
        let reservation = MemoryConsumer::new("ApplyRelatedExec").register(context.memory_pool());
        let given = collected(&self.input, &context).await?;
        reservation.try_grow(given.get_array_memory_size())?;
        let spec = &self.spec;
        let stored = planned_model(&spec.store, &spec.model, spec.version, &spec.content_hash).await?;
        let family = family_of(spec.seed, &stored)?;
        let parents = by_reference(&self.parents, &family, 0, &context).await?;
        let held: usize = parents.iter().flatten().map(|parents| parents.rows.get_array_memory_size()).sum();
        reservation.try_grow(held)?;
        reservation.try_grow(stored.model.sampler_memory())?;
        let settings = SamplerSettings {
            temperature: spec.temperature,
            candidates: spec.candidates,
            ..SamplerSettings::new(spec.device, spec.threads.unwrap_or_else(cores))
        };
        let asker = Asker { function: spec.function, argument: "table", unseen: spec.unseen, generated: false };
        let timer = metrics.elapsed_compute().timer();
        let work = move || {
            let rows = as_learned(self.spec.function, &given, self.manifest.schema())?;
            let result = if self.spec.action == Action::LogProbability {
                self.columns.judged(&given, family.judge(&rows, &parents, &settings, asker)?)?
            } else {
                self.columns.filled(&given, &family.fill(&rows, &parents, &settings, asker)?)?
            };
            Ok(result.project(&self.projection)?)
        };
        let result = off_worker(work).await?;
        timer.done();
        for part in batches(result, &context) {
            if out.send(Ok(part.record_output(&metrics))).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }
}

impl DisplayAs for ApplyRelatedExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match format {
            DisplayFormatType::TreeRender => {
                write!(f, "{}\nmodel={}\nseed={}", self.spec.function, self.spec.model, self.spec.seed)
            }
            _ => write!(f, "ApplyRelatedExec: {}", self.spec),
        }
    }
}

impl ExecutionPlan for ApplyRelatedExec {
    fn name(&self) -> &'static str {
        "ApplyRelatedExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        std::iter::once(&self.input).chain(self.parents.iter().map(|parent| &parent.plan)).collect()
    }

    /// Repartitioning the scan would only mix its rows, which are kept in partition order.
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
        assert_or_internal_err!(
            children.len() == self.children().len(),
            "ApplyRelatedExec has another number of children"
        );
        let mut plan = Arc::unwrap_or_clone(self);
        let places = std::iter::once(&mut plan.input).chain(plan.parents.iter_mut().map(|parent| &mut parent.plan));
        for (place, child) in places.zip(children) {
            *place = child;
        }
        Ok(Arc::new(plan))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    /// As many rows as the table has.
    fn statistics_from_inputs(&self, inputs: &[Arc<Statistics>], _args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema());
        if let Some(input) = inputs.first() {
            statistics.num_rows = input.num_rows;
        }
        Ok(Arc::new(statistics))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return internal_err!("{} has one partition, not {partition}", self.name());
        }
        let plan = self.clone();
        Ok(sent(self.schema(), QUEUE, move |out| plan.run(context, out)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}
