//! Reports as tables: queries that are planned one after the other, while the report is read.

use crate::{Result, SynthError};
use arrow::{datatypes::SchemaRef, record_batch::RecordBatch};
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    common::{Statistics, internal_err, not_impl_err, stats::Precision, tree_node::TreeNodeRecursion},
    error::Result as DataFusionResult,
    execution::{SendableRecordBatchStream, SessionState, TaskContext},
    logical_expr::{Expr, TableType},
    physical_expr::{EquivalenceProperties, PhysicalExpr},
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
        execution_plan::{Boundedness, EmissionType},
        statistics::StatisticsArgs,
        stream::RecordBatchStreamAdapter,
    },
};
use std::{
    fmt::{self, Debug},
    sync::Arc,
};

/// A report about the tables of a session.
#[async_trait]
pub(super) trait Report: Debug + Send + Sync {
    /// The SQL function, with what it was asked.
    fn title(&self) -> String;

    fn schema(&self) -> SchemaRef;

    /// Makes the report.
    async fn rows(&self, state: &SessionState) -> Result<RecordBatch>;
}

/// What a table function returns: a report that is made when it is read.
#[derive(Debug)]
pub struct ReportTable(Arc<dyn Report>);

impl ReportTable {
    pub(super) fn new(report: impl Report + 'static) -> Self {
        Self(Arc::new(report))
    }
}

#[async_trait]
impl TableProvider for ReportTable {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let Some(state) = session.as_any().downcast_ref::<SessionState>() else {
            return not_impl_err!(
                "{}: it plans queries of its own, which only a session of this process can",
                self.0.title()
            );
        };
        let schema = match projection {
            Some(columns) => Arc::new(self.0.schema().project(columns)?),
            None => self.0.schema(),
        };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Ok(Arc::new(ReportExec {
            report: Arc::clone(&self.0),
            state: Box::new(state.clone()),
            projection: projection.cloned(),
            properties: Arc::new(properties),
        }))
    }
}

struct ReportExec {
    report: Arc<dyn Report>,
    state: Box<SessionState>,
    projection: Option<Vec<usize>>,
    properties: Arc<PlanProperties>,
}

impl Debug for ReportExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReportExec").field(&self.report).finish()
    }
}

impl DisplayAs for ReportExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReportExec: {}", self.report.title())
    }
}

impl ExecutionPlan for ReportExec {
    fn name(&self) -> &str {
        "ReportExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DataFusionResult<TreeNodeRecursion>,
    ) -> DataFusionResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        if children.is_empty() { Ok(self) } else { internal_err!("ReportExec has no inputs") }
    }

    /// A handful of rows: not worth dealing out to parallel partitions, which would lose their order.
    fn statistics_from_inputs(&self, _: &[Arc<Statistics>], _: &StatisticsArgs) -> DataFusionResult<Arc<Statistics>> {
        Ok(Arc::new(Statistics { num_rows: Precision::Inexact(1), ..Statistics::new_unknown(&self.schema()) }))
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> DataFusionResult<SendableRecordBatchStream> {
        if partition != 0 {
            return internal_err!("ReportExec has one partition, asked for {partition}");
        }
        let (report, state, projection) = (Arc::clone(&self.report), self.state.clone(), self.projection.clone());
        let rows = async move {
            let rows = report.rows(&state).await?;
            let rows = match projection {
                Some(columns) => rows.project(&columns).map_err(SynthError::from)?,
                None => rows,
            };
            Ok(rows)
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), futures::stream::once(rows))))
    }
}
