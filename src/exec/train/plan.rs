//! The physical plan of a training.

use super::{
    TrainSpec,
    job::Job,
    resume, rows,
    scan::Scan,
    schema::{SchemaData, SchemaPlan},
};
use crate::{Result as SynthResult, exec::rows::sent, schema::TableName, store::ModelStore};
use chrono::{DateTime, Utc};
use datafusion::{
    common::{Statistics, assert_or_internal_err, internal_err, stats::Precision, tree_node::TreeNodeRecursion},
    error::Result,
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr},
    physical_plan::{
        ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
        execution_plan::{Boundedness, EmissionType, SchedulingType},
        statistics::StatisticsArgs,
    },
};
use futures::{StreamExt, TryStreamExt, stream};
use std::{fmt, sync::Arc};

/// Threads that the training of one table keeps busy; where there are more, tables are trained side by side.
const THREADS_OF_TABLE: usize = 2;

/// A table to train, and the name its model gets.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) table: String,
    pub(super) name: String,
    pub(super) full_name: TableName,
    pub(super) scan: Arc<dyn ExecutionPlan>,
}

/// Trains its children, side by side where there are threads enough, and streams a row per epoch. Its side effects happen in
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
                begun: Utc::now(),
            })
            .collect();
        let targets: Vec<TableName> = self.targets.iter().map(|target| target.full_name.clone()).collect();
        Ok(sent(self.schema(), 1, |out| async move {
            if let Some(related) = related {
                related.check(&targets).await?;
            }
            let (width, jobs) = side_by_side(resumed(jobs).await?);
            let run = async |job: Job| job.run(&out).await;
            stream::iter(jobs).map(Ok).try_for_each_concurrent(width, run).await
        }))
    }
}

/// How many of `jobs` run at once, and the jobs with the threads that each then has.
fn side_by_side(mut jobs: Vec<Job>) -> (usize, Vec<Job>) {
    let threads = jobs.first().map_or(1, |job| job.spec.options.threads);
    let width = (threads / THREADS_OF_TABLE).clamp(1, jobs.len().max(1));
    if width > 1 {
        for job in &mut jobs {
            let mut spec = (*job.spec).clone();
            spec.options.threads = threads / width;
            job.spec = Arc::new(spec);
        }
    }
    (width, jobs)
}

/// Of several trainings to be resumed, those that are left: the interrupted ones go on, those that were not begun begin. A
/// checkpoint says when its statement began, and models stored since then are finished. A statement that was killed before
/// its first checkpoint left some models, in the order of its tables.
async fn resumed(jobs: Vec<Job>) -> SynthResult<Vec<Job>> {
    let Some(first) = jobs.first().filter(|job| job.spec.resume && jobs.len() > 1) else { return Ok(jobs) };
    let store = ModelStore::open(&first.spec.store)?;
    let checkpoints = store.checkpoints().await?;
    let mut states = Vec::with_capacity(jobs.len());
    for job in &jobs {
        let interrupted = checkpoints.iter().find(|(name, _)| *name == job.name);
        let begun = interrupted.map(|(_, info)| info.as_ref().ok().and_then(|info| resume::begun(&info.spec)));
        let stored = store.manifest(&job.name, None).await.ok();
        let stored = stored.and_then(|manifest| DateTime::parse_from_rfc3339(&manifest.created).ok());
        states.push((begun, stored.map(|stored| stored.to_utc())));
    }
    let missing = states.iter().position(|(_, stored)| stored.is_none()).unwrap_or(0);
    let begun = if states.iter().any(|(interrupted, _)| interrupted.is_some()) {
        states.iter().filter_map(|(begun, _)| begun.flatten()).min()
    } else {
        states[..missing].iter().filter_map(|(_, stored)| *stored).min()
    };
    // Without anything to go on from, the first training says so.
    let Some(begun) = begun else { return Ok(jobs) };
    let mut left = Vec::with_capacity(jobs.len());
    for (job, (interrupted, stored)) in jobs.into_iter().zip(states) {
        if interrupted.is_none() && stored.is_some_and(|stored| stored >= begun) {
            continue;
        }
        let resume = interrupted.is_some();
        left.push(Job { spec: Arc::new(TrainSpec { resume, ..(*job.spec).clone() }), begun, ..job });
    }
    Ok(left)
}
