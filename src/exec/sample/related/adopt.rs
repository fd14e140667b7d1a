//! The plan of parents that no model generated.

use super::{super::SampleSpec, shared::family_of};
use crate::{
    Result as SynthResult, SynthError,
    exec::rows::collected,
    models::SamplerSettings,
    relational::{NONE, ParentRows, by_key, degree_column, look_up, owner_column},
    store::{StoredModel, off_worker},
    torch::cores,
};
use arrow::{
    array::{ArrayRef, RecordBatch, UInt32Array},
    compute::take,
    datatypes::{DataType, Field, Schema},
};
use datafusion::{
    common::{assert_or_internal_err, internal_err, tree_node::TreeNodeRecursion},
    error::{DataFusionError, Result},
    execution::{SendableRecordBatchStream, TaskContext, memory_pool::MemoryConsumer},
    physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr},
    physical_plan::{
        ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
        execution_plan::{Boundedness, EmissionType, EvaluationType, SchedulingType},
        stream::RecordBatchStreamAdapter,
    },
};
use std::{fmt, sync::Arc};

/// The owner of adopted rows.
#[derive(Debug, Clone)]
pub(super) struct Owner {
    pub(super) plan: Arc<dyn ExecutionPlan>,
    /// The columns that name it, and what they are there.
    pub(super) columns: Vec<String>,
    pub(super) parent_columns: Vec<String>,
    /// Its column that counts these rows.
    pub(super) degree: Option<usize>,
}

/// A table that stands for what a model would generate: its rows by key, with what else children see of a parent: how many
/// children they would have, and their owner's columns. One batch of one partition.
#[derive(Debug, Clone)]
pub struct AdoptExec {
    /// The model that the rows are taken for.
    spec: SampleSpec,
    /// The table, as the user named it.
    table: String,
    rows: Arc<dyn ExecutionPlan>,
    /// The columns that children refer to.
    key: Vec<String>,
    owner: Option<Owner>,
    /// Names of the columns to yield.
    columns: Vec<String>,
    properties: Arc<PlanProperties>,
}

impl AdoptExec {
    pub(super) fn try_new(
        spec: SampleSpec,
        (table, rows): (String, Arc<dyn ExecutionPlan>),
        key: Vec<String>,
        owner: Option<Owner>,
        columns: Vec<String>,
    ) -> SynthResult<Self> {
        let of_owner = |name: &String| {
            let schema = owner.as_ref()?.plan.schema();
            let field = schema.fields().iter().find(|field| owner_column(field.name()) == *name)?;
            Some(field.data_type().clone())
        };
        let field = |name: &String| -> SynthResult<Field> {
            let data_type = match rows.schema().field_with_name(name) {
                Ok(field) => field.data_type().clone(),
                Err(_) => of_owner(name).unwrap_or(DataType::Int32),
            };
            Ok(Field::new(name, data_type, true))
        };
        let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<SynthResult<Vec<_>>>()?));
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative)
        .with_evaluation_type(EvaluationType::Lazy);
        Ok(Self { spec, table, rows, key, owner, columns, properties: Arc::new(properties) })
    }

    async fn adopted(self, context: Arc<TaskContext>) -> SynthResult<RecordBatch> {
        let reservation = MemoryConsumer::new("AdoptExec").register(context.memory_pool());
        let rows = collected(&self.rows, &context).await?;
        reservation.try_grow(rows.get_array_memory_size())?;
        let owner = match &self.owner {
            Some(owner) => Some(collected(&owner.plan, &context).await?),
            None => None,
        };
        let stored = self.spec.stored().await?;
        off_worker(move || self.with_hidden(&rows, owner, &stored)).await
    }

    /// The columns asked for of `rows`.
    fn with_hidden(
        &self,
        rows: &RecordBatch,
        owner: Option<RecordBatch>,
        stored: &StoredModel,
    ) -> SynthResult<RecordBatch> {
        let rows = by_key(rows, &self.key, &self.table)?;
        if rows.num_rows() == 0 {
            let reason = format!("`{}` stands for `{}`, and has no rows", self.table, self.spec.model);
            return Err(SynthError::Model(reason));
        }
        let family = family_of(self.spec.seed, stored)?;
        let mut owner_rows = None;
        let mut index = Vec::new();
        if let (Some(owner), Some(of_owner)) = (&self.owner, owner) {
            index = look_up((&rows, &owner.columns), (&of_owner, &owner.parent_columns))?;
            owner_rows = Some(ParentRows { rows: of_owner, degree: owner.degree, adopted: true });
        }
        let settings = SamplerSettings::new(self.spec.device, self.spec.threads.unwrap_or_else(cores));
        let degrees = family.adopt(&rows, owner_rows.as_ref().map(|owner| (owner, index.as_slice())), &settings)?;
        let chosen: UInt32Array = index.iter().map(|&row| (row != NONE).then_some(row)).collect();
        let array = |name: &String| -> SynthResult<ArrayRef> {
            if let Some(column) = rows.column_by_name(name) {
                return Ok(Arc::clone(column));
            }
            if let Some(number) = (0..degrees.len()).find(|&number| degree_column(number) == *name) {
                return Ok(Arc::clone(&degrees[number]));
            }
            let of_owner = owner_rows.as_ref().and_then(|owner| {
                let schema = owner.rows.schema();
                let at = schema.fields().iter().position(|field| owner_column(field.name()) == *name)?;
                Some(Arc::clone(owner.rows.column(at)))
            });
            let of_owner = of_owner.ok_or_else(|| SynthError::Internal(format!("no column `{name}`")))?;
            Ok(take(&of_owner, &chosen, None)?)
        };
        let arrays = self.columns.iter().map(array).collect::<SynthResult<Vec<_>>>()?;
        Ok(RecordBatch::try_new(self.schema(), arrays)?)
    }
}

impl DisplayAs for AdoptExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (table, model, columns) = (&self.table, &self.spec.model, self.columns.join(", "));
        match format {
            DisplayFormatType::TreeRender => writeln!(f, "table={table}\nas={model}"),
            _ => write!(f, "AdoptExec: {table} as {model}, seed={}, projection=[{columns}]", self.spec.seed),
        }
    }
}

impl ExecutionPlan for AdoptExec {
    fn name(&self) -> &'static str {
        "AdoptExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        std::iter::once(&self.rows).chain(self.owner.iter().map(|owner| &owner.plan)).collect()
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
        assert_or_internal_err!(children.len() == self.children().len(), "AdoptExec has another number of children");
        let mut plan = Arc::unwrap_or_clone(self);
        let places = std::iter::once(&mut plan.rows).chain(plan.owner.iter_mut().map(|owner| &mut owner.plan));
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
        let adopted = self.clone().adopted(context);
        let rows = async move { adopted.await.map_err(DataFusionError::from) };
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), futures::stream::once(rows))))
    }
}
