//! The physical plan of a generation.

use super::{
    Destination, FUNCTION, GenerateSpec, files,
    rows::{self, Extent, Report},
};
use crate::{
    Result as SynthResult, SynthError,
    exec::rows::{Out, sent},
    store::Manifest,
};
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
use std::{fmt, sync::Arc, time::Instant};

/// A table to write.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) manifest: Arc<Manifest>,
    pub(super) rows: u64,
    pub(super) plan: Arc<dyn ExecutionPlan>,
}

/// Writes the rows of its children, one table after the other, and streams a row for each. Its side effects happen in
/// `execute` only; its row count is never exact, so that a `count(*)` writes, too. Dropping the stream (Ctrl-C, or a
/// satisfied LIMIT) stops the writing; the table that was being written is not to be seen then.
#[derive(Debug, Clone)]
pub struct GenerateExec {
    spec: Arc<GenerateSpec>,
    targets: Vec<Target>,
    projection: Vec<usize>,
    properties: Arc<PlanProperties>,
}

impl GenerateExec {
    /// A plan that writes `targets` in this order and yields the columns `projection` of the report.
    pub(super) fn try_new(spec: Arc<GenerateSpec>, targets: Vec<Target>, projection: Vec<usize>) -> Result<Self> {
        let schema = Arc::new(rows::schema().project(&projection)?);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative);
        Ok(Self { spec, targets, projection, properties: Arc::new(properties) })
    }
}

impl DisplayAs for GenerateExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tables: Vec<&str> = self.targets.iter().map(|target| target.manifest.name.as_str()).collect();
        let tables = tables.join(", ");
        let GenerateSpec { to, format: kind, seed, scale, overwrite, .. } = &*self.spec;
        let scale = scale.whole;
        match format {
            DisplayFormatType::TreeRender => {
                write!(f, "tables={tables}\nto={to}\nformat={kind}\nscale={scale}\nseed={seed}")
            }
            _ => {
                write!(f, "GenerateExec: tables=[{tables}], to={to}, format={kind}, scale={scale}, seed={seed}")?;
                if *overwrite { write!(f, ", overwrite=true") } else { Ok(()) }
            }
        }
    }
}

impl ExecutionPlan for GenerateExec {
    fn name(&self) -> &'static str {
        "GenerateExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.targets.iter().map(|target| &target.plan).collect()
    }

    /// Repartitioning would only mix the rows, which are written in the order of the partitions.
    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false; self.targets.len()]
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
        assert_or_internal_err!(children.len() == self.targets.len(), "GenerateExec has another number of children");
        let mut plan = Arc::unwrap_or_clone(self);
        for (target, child) in plan.targets.iter_mut().zip(children) {
            target.plan = child;
        }
        Ok(Arc::new(plan))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    /// An estimate, never exact: a `count(*)` must write.
    fn statistics_from_inputs(&self, _inputs: &[Arc<Statistics>], _args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let rows = self.targets.len();
        Ok(Arc::new(Statistics { num_rows: Precision::Inexact(rows), ..Statistics::new_unknown(&self.schema()) }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return internal_err!("GenerateExec has one partition, not {partition}");
        }
        let work = Work { plan: self.clone(), context };
        Ok(sent(self.schema(), 1, |out| work.run(out)))
    }
}

/// What to do about a table.
enum Step {
    Write,
    /// It is there already.
    #[cfg(feature = "delta")]
    Skip(Extent),
}

struct Work {
    plan: GenerateExec,
    context: Arc<TaskContext>,
}

impl Work {
    async fn run(self, out: Out) -> SynthResult<()> {
        let steps = self.steps().await?;
        for (target, step) in self.plan.targets.iter().zip(steps) {
            let name = target.manifest.name.as_str();
            let place = self.place(target);
            let started = Instant::now();
            let (extent, seconds) = match step {
                Step::Write => {
                    let extent = self.write(target, &place).await.map_err(|error| match error {
                        // DataFusion's errors say what they are about.
                        SynthError::DataFusion(_) => error,
                        error => error.in_table(name),
                    })?;
                    (extent, Some(started.elapsed().as_secs_f64()))
                }
                #[cfg(feature = "delta")]
                Step::Skip(extent) => (extent, None),
            };
            let location = place.to_string();
            let report = Report { table: name, rows: target.rows, extent, seconds, location: &location };
            if out.send(Ok(report.row(&self.plan.projection)?)).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn place(&self, target: &Target) -> Destination {
        self.plan.spec.to.of_table(&target.manifest.name)
    }

    /// Looks at every table's place, so that what is wrong with any of them is known before the first is written.
    async fn steps(&self) -> SynthResult<Vec<Step>> {
        let spec = &self.plan.spec;
        let mut steps = Vec::with_capacity(self.plan.targets.len());
        let mut taken = Vec::new();
        for target in &self.plan.targets {
            let place = self.place(target);
            #[cfg(feature = "delta")]
            if spec.format == super::GenerateFormat::Delta {
                use super::delta::{Standing, standing};
                match standing(&place, spec, &target.plan, &self.context).await? {
                    Standing::Free => steps.push(Step::Write),
                    Standing::There(extent) => steps.push(Step::Skip(extent)),
                    Standing::Taken(reason) => taken.push(format!("`{}` {reason}", target.manifest.name)),
                }
                continue;
            }
            match files::in_the_way(&place, spec, &self.context).await? {
                None => steps.push(Step::Write),
                Some(reason) => taken.push(format!("`{}` {reason}", target.manifest.name)),
            }
        }
        if taken.is_empty() {
            return Ok(steps);
        }
        Err(SynthError::Argument {
            function: FUNCTION.to_owned(),
            argument: "to".to_owned(),
            given: format!("'{}', where {}", spec.to, taken.join("; ")),
            expected: if spec.overwrite {
                "another place: overwrite => true replaces tables only".to_owned()
            } else {
                "another place, or overwrite => true to replace tables".to_owned()
            },
        })
    }

    async fn write(&self, target: &Target, place: &Destination) -> SynthResult<Extent> {
        let (spec, rows) = (&self.plan.spec, Arc::clone(&target.plan));
        #[cfg(feature = "delta")]
        if spec.format == super::GenerateFormat::Delta {
            return super::delta::write(place, spec, &target.manifest, rows, &self.context).await;
        }
        let extent = files::write(place, spec, rows, &self.context).await?;
        // What the session has listed may be what was replaced.
        if let Some(listings) = self.context.runtime_env().cache_manager.get_list_files_cache() {
            listings.clear();
        }
        Ok(extent)
    }
}
