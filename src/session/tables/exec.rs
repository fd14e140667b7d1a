//! The plan of a system table: reads or deletes when it is executed, not when it is planned.

use super::provider::{Source, SystemTable};
use arrow::{
    array::{ArrayRef, AsArray, BooleanArray, RecordBatch, UInt64Array},
    compute::{and_kleene, filter_record_batch},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use datafusion::{
    common::{internal_err, tree_node::TreeNodeRecursion},
    error::Result,
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::{EquivalenceProperties, PhysicalExpr},
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
        execution_plan::{Boundedness, EmissionType},
        stream::RecordBatchStreamAdapter,
    },
};
use std::{fmt, sync::Arc};

#[derive(Debug, Clone)]
enum Action {
    Scan { projection: Option<Vec<usize>>, limit: Option<usize> },
    Delete { filters: Vec<Arc<dyn PhysicalExpr>> },
}

#[derive(Debug)]
pub(super) struct StoreExec {
    table: Arc<dyn SystemTable>,
    source: Source,
    action: Action,
    properties: Arc<PlanProperties>,
}

impl StoreExec {
    /// Yields the table's rows.
    pub(super) fn scan(
        table: Arc<dyn SystemTable>,
        source: Source,
        projection: Option<Vec<usize>>,
        limit: Option<usize>,
    ) -> Result<Self> {
        let schema = match &projection {
            Some(columns) => Arc::new(table.schema().project(columns)?),
            None => table.schema(),
        };
        Ok(Self::new(table, source, Action::Scan { projection, limit }, schema))
    }

    /// Deletes the rows that all `filters` hold for; yields their number.
    pub(super) fn delete(table: Arc<dyn SystemTable>, source: Source, filters: Vec<Arc<dyn PhysicalExpr>>) -> Self {
        let schema = Arc::new(Schema::new(vec![Field::new("count", DataType::UInt64, false)]));
        Self::new(table, source, Action::Delete { filters }, schema)
    }

    fn new(table: Arc<dyn SystemTable>, source: Source, action: Action, schema: SchemaRef) -> Self {
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        ));
        Self { table, source, action, properties }
    }
}

async fn run(table: Arc<dyn SystemTable>, source: Source, action: Action, schema: SchemaRef) -> Result<RecordBatch> {
    match action {
        Action::Scan { projection, limit } => {
            let rows = table.rows(&source).await?;
            let rows = rows.slice(0, limit.map_or(rows.num_rows(), |limit| limit.min(rows.num_rows())));
            Ok(match projection {
                Some(columns) => rows.project(&columns)?,
                None => rows,
            })
        }
        Action::Delete { filters } => {
            let rows = table.deletable(&source).await?;
            let mut chosen = BooleanArray::from(vec![true; rows.num_rows()]);
            for filter in filters {
                let holds = filter.evaluate(&rows)?.into_array(rows.num_rows())?;
                let Some(holds) = holds.as_boolean_opt() else { return internal_err!("{filter} is no condition") };
                chosen = and_kleene(&chosen, holds)?;
            }
            let deleted = table.delete(&source, &filter_record_batch(&rows, &chosen)?).await?;
            Ok(RecordBatch::try_new(schema, vec![Arc::new(UInt64Array::from(vec![deleted])) as ArrayRef])?)
        }
    }
}

impl DisplayAs for StoreExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreExec: synth.{} of {}", self.table.name(), self.source.store.location())?;
        match &self.action {
            Action::Scan { limit: Some(limit), .. } => write!(f, ", limit={limit}"),
            Action::Scan { .. } => Ok(()),
            Action::Delete { filters } => {
                let filters: Vec<String> = filters.iter().map(|filter| filter.to_string()).collect();
                write!(f, ", delete=[{}]", filters.join(", "))
            }
        }
    }
}

impl ExecutionPlan for StoreExec {
    fn name(&self) -> &str {
        "StoreExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![]
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        if let Action::Delete { filters } = &self.action {
            for filter in filters {
                if visit(filter)? == TreeNodeRecursion::Stop {
                    return Ok(TreeNodeRecursion::Stop);
                }
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        if children.is_empty() { Ok(self) } else { internal_err!("StoreExec has no inputs") }
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return internal_err!("StoreExec has one partition, asked for {partition}");
        }
        let schema = self.schema();
        let rows = run(Arc::clone(&self.table), self.source.clone(), self.action.clone(), Arc::clone(&schema));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::once(rows))))
    }
}
