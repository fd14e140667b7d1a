//! Rows of plans: collected whole, and sent in batches.

use crate::Result;
use arrow::{compute::concat_batches, datatypes::SchemaRef, record_batch::RecordBatch};
use datafusion::{
    error::{DataFusionError, Result as DataFusionResult},
    execution::{SendableRecordBatchStream, TaskContext},
    physical_plan::{
        ExecutionPlan, collect_partitioned,
        stream::{RecordBatchReceiverStreamBuilder, RecordBatchStreamAdapter},
    },
};
use futures::TryStreamExt;
use std::sync::Arc;
use tokio::sync::mpsc::Sender;

/// Where the rows of a plan go.
pub(super) type Out = Sender<DataFusionResult<RecordBatch>>;

/// The rows that `work` sends, of which `queue` batches may wait for the consumer. Nothing happens before the first poll;
/// dropping the stream drops the work.
pub(super) fn sent<W>(
    schema: SchemaRef,
    queue: usize,
    work: impl FnOnce(Out) -> W + Send + 'static,
) -> SendableRecordBatchStream
where
    W: Future<Output = Result<()>> + Send + 'static,
{
    let of_rows = Arc::clone(&schema);
    let start = async move {
        let mut builder = RecordBatchReceiverStreamBuilder::new(of_rows, queue);
        let work = work(builder.tx());
        builder.spawn(async move { work.await.map_err(DataFusionError::from) });
        Ok::<_, DataFusionError>(builder.build())
    };
    Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::once(start).try_flatten()))
}

/// `rows`, cut into batches of as many as the session wants.
pub(super) fn batches(rows: RecordBatch, context: &TaskContext) -> impl Iterator<Item = RecordBatch> + use<> {
    let (all, length) = (rows.num_rows(), context.session_config().batch_size().max(1));
    (0..all).step_by(length).map(move |offset| rows.slice(offset, length.min(all - offset)))
}

/// All rows of a plan in its order: partition after partition.
pub(super) async fn collected(plan: &Arc<dyn ExecutionPlan>, context: &Arc<TaskContext>) -> Result<RecordBatch> {
    let parts = collect_partitioned(Arc::clone(plan), Arc::clone(context)).await?;
    Ok(concat_batches(&plan.schema(), parts.iter().flatten())?)
}
