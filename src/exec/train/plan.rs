//! The physical plan of a training.

use super::{
    TrainSpec,
    job::Job,
    rows,
    scan::Scan,
    schema::{SchemaData, SchemaPlan},
};
use crate::{Result as SynthResult, schema::TableName, store::ModelStore};
use datafusion::{
    common::{Statistics, assert_or_internal_err, internal_err, stats::Precision, tree_node::TreeNodeRecursion},
    error::{DataFusionError, Result},
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr},
    physical_plan::{
        ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
        execution_plan::{Boundedness, EmissionType, SchedulingType},
        statistics::StatisticsArgs,
        stream::{RecordBatchReceiverStreamBuilder, RecordBatchStreamAdapter},
    },
};
use futures::TryStreamExt;
use std::{fmt, sync::Arc};

/// A table to train, and the name its model gets.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) table: String,
    pub(super) name: String,
    pub(super) full_name: TableName,
    pub(super) scan: Arc<dyn ExecutionPlan>,
}

/// Trains its children, one after the other, and streams a row per epoch. Its side effects happen in
/// `execute` only; its row count is never exact, so that a `count(*)` trains, too. Dropping the stream (Ctrl-C, or
/// a satisfied LIMIT) cancels the training and leaves a checkpoint.
#[derive(Debug, Clone)]
pub struct TrainExec {
    spec: Arc<TrainSpec>,
    targets: Vec<Target>,
    /// The tables around them, where keys are known.
    related: Option<SchemaPlan>,
    projection: Vec<usize>,
    properties: Arc<PlanProperties>,
}

impl TrainExec {
    /// A plan that trains `targets` and yields the columns `projection` of the progress rows.
    pub(super) fn try_new(
        spec: Arc<TrainSpec>,
        targets: Vec<Target>,
        related: Option<SchemaPlan>,
        projection: Vec<usize>,
    ) -> Result<Self> {
        let schema = Arc::new(rows::schema().project(&projection)?);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative);
        Ok(Self { spec, targets, related, projection, properties: Arc::new(properties) })
    }
}

impl DisplayAs for TrainExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let targets: Vec<String> = self
            .targets
            .iter()
            .map(|Target { table, name, .. }| if table == name { name.clone() } else { format!("{table} as {name}") })
            .collect();
        let targets = targets.join(", ");
        let kind = self.spec.kind.name();
        let epochs = self.spec.options.epochs.map_or_else(|| "default".to_owned(), |epochs| epochs.to_string());
        let seed = self.spec.options.seed;
        match format {
            DisplayFormatType::TreeRender => {
                write!(f, "tables={targets}\nmodel={kind}\nepochs={epochs}\nseed={seed}")
            }
            _ => {
                write!(f, "TrainExec: tables=[{targets}], model={kind}, epochs={epochs}, seed={seed}")?;
                if self.spec.resume { write!(f, ", resume=true") } else { Ok(()) }
            }
        }
    }
}

impl ExecutionPlan for TrainExec {
    fn name(&self) -> &'static str {
        "TrainExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        let related = self.related.iter().flat_map(|related| related.tables.iter().map(|related| &related.scan));
        self.targets.iter().map(|target| &target.scan).chain(related).collect()
    }

    /// Repartitioning the scans would only mix their rows, which are kept in partition order.
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
        assert_or_internal_err!(children.len() == self.children().len(), "TrainExec has another number of children");
        let mut plan = Arc::unwrap_or_clone(self);
        let related =
            plan.related.iter_mut().flat_map(|related| related.tables.iter_mut().map(|related| &mut related.scan));
        let places = plan.targets.iter_mut().map(|target| &mut target.scan).chain(related);
        for (place, scan) in places.zip(children) {
            *place = scan;
        }
        Ok(Arc::new(plan))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    /// An estimate, never exact: a `count(*)` must train. It keeps the optimizer from dealing a handful of rows out to
    /// parallel partitions, which would lose their order.
    fn statistics_from_inputs(&self, _inputs: &[Arc<Statistics>], _args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let rows = self.targets.len();
        Ok(Arc::new(Statistics { num_rows: Precision::Inexact(rows), ..Statistics::new_unknown(&self.schema()) }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return internal_err!("TrainExec has one partition, not {partition}");
        }
        let related = self.related.clone();
        let schema = related.clone().map(|plan| SchemaData::new(plan, Arc::clone(&context)));
        let jobs: Vec<Job> = self
            .targets
            .iter()
            .map(|Target { table, name, full_name, scan }| Job {
                spec: Arc::clone(&self.spec),
                table: table.clone(),
                name: name.clone(),
                scan: Scan { plan: Arc::clone(scan), context: Arc::clone(&context) },
                schema: schema.clone().map(|data| (data, full_name.clone())),
                projection: self.projection.clone(),
            })
            .collect();
        let schema = self.schema();
        let start = async move {
            let mut builder = RecordBatchReceiverStreamBuilder::new(Arc::clone(&schema), 1);
            let out = builder.tx();
            builder.spawn(async move {
                if let Some(related) = related {
                    related.check().await.map_err(DataFusionError::from)?;
                }
                let jobs = resumed(jobs).await.map_err(DataFusionError::from)?;
                for job in jobs {
                    job.run(&out).await.map_err(DataFusionError::from)?;
                }
                Ok(())
            });
            Ok::<_, DataFusionError>(builder.build())
        };
        // Nothing happens before the first poll.
        let stream = futures::stream::once(start).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream)))
    }
}

/// Of several trainings to be resumed, those that are left: the interrupted one, and those after it, from their beginning.
/// Tables are trained in an order of their own, so those before it were finished; they are trained again only where their
/// model is gone. An interrupted training that had no checkpoint yet is the first without a model, after others with one.
async fn resumed(jobs: Vec<Job>) -> SynthResult<Vec<Job>> {
    let Some(first) = jobs.first().filter(|job| job.spec.resume && jobs.len() > 1) else { return Ok(jobs) };
    let store = ModelStore::open(&first.spec.store)?;
    let interrupted: Vec<String> = store.checkpoints().await?.into_iter().map(|(name, _)| name).collect();
    let checkpoint = jobs.iter().position(|job| interrupted.contains(&job.name));
    let mut missing = None;
    for (number, job) in jobs.iter().enumerate() {
        if missing.is_none() && store.manifest(&job.name, None).await.is_err() {
            missing = Some(number);
        }
    }
    // Without anything to go on from, the first training says so.
    let Some(at) = checkpoint.or(missing.filter(|&number| number > 0)) else { return Ok(jobs) };
    let mut left = Vec::with_capacity(jobs.len());
    for (number, mut job) in jobs.into_iter().enumerate() {
        if number < at && store.manifest(&job.name, None).await.is_ok() {
            continue;
        }
        if checkpoint != Some(number) {
            job.spec = Arc::new(TrainSpec { resume: false, ..(*job.spec).clone() });
        }
        left.push(job);
    }
    Ok(left)
}
