//! The two passes over a table: profile, then encode.

use crate::{
    Result, SynthError,
    encode::{CodeMatrix, EncodedRows, SubColumnData, TableEncoder, TableProfile},
    schema::ColumnRole,
};
use arrow::record_batch::RecordBatch;
use datafusion::{
    common::runtime::SpawnedTask,
    error::DataFusionError,
    execution::{
        TaskContext,
        memory_pool::{MemoryConsumer, MemoryReservation},
    },
    physical_plan::{ExecutionPlan, ExecutionPlanProperties, execution_plan::reset_plan_states},
};
use futures::TryStreamExt;
use std::{collections::BTreeMap, sync::Arc};

/// One partition being read; its result holds on to the memory it reserved.
type Task<T> = SpawnedTask<Result<(T, MemoryReservation)>>;

/// A table to read twice.
#[derive(Debug, Clone)]
pub(super) struct Scan {
    pub(super) plan: Arc<dyn ExecutionPlan>,
    pub(super) context: Arc<TaskContext>,
}

impl Scan {
    /// Profiles the partitions in parallel, merged in partition order.
    pub(super) async fn profile(&self, roles: &BTreeMap<String, ColumnRole>) -> Result<TableProfile> {
        let mut whole = TableProfile::new(self.plan.schema(), roles)?;
        for task in self.start_each(&whole, |profile, batch, reservation| {
            profile.update(&batch)?;
            Ok(reservation.try_resize(profile.memory_size())?)
        })? {
            let (profile, _reservation) = join(task).await?;
            whole.merge(profile)?;
        }
        Ok(whole)
    }

    /// Encodes the partitions in parallel; rows are in partition order, so they do not depend on which
    /// partition came first. The matrix is reserved from the session's memory for as long as the reservation lives.
    pub(super) async fn encode(&self, encoder: &Arc<TableEncoder>) -> Result<(CodeMatrix, MemoryReservation)> {
        let empty = (Arc::clone(encoder), EncodedRows::with_capacity(encoder.layout(), 0));
        let mut whole: Option<(EncodedRows, MemoryReservation)> = None;
        for task in self.start_each(&empty, |(encoder, rows), batch, reservation| {
            encoder.encode(&batch, rows)?;
            Ok(reservation.try_resize(rows.memory_size())?)
        })? {
            let ((_, rows), reservation) = join(task).await?;
            whole = Some(match whole {
                None => (rows, reservation),
                Some((mut whole, held)) => {
                    append(&mut whole, rows)?;
                    drop(reservation);
                    held.try_resize(whole.memory_size())?;
                    (whole, held)
                }
            });
        }
        let (rows, reservation) = whole.ok_or_else(|| SynthError::Internal("a plan without partitions".to_owned()))?;
        Ok((rows.into(), reservation))
    }

    /// All rows, in partition order, and the bytes that they take.
    pub(super) async fn collect(&self) -> Result<(Vec<RecordBatch>, usize)> {
        let mut whole = Vec::new();
        let mut bytes = 0;
        for task in self.start_each(&Vec::new(), |batches: &mut Vec<RecordBatch>, batch, reservation| {
            reservation.try_grow(batch.get_array_memory_size())?;
            batches.push(batch);
            Ok(())
        })? {
            let (batches, reservation) = join(task).await?;
            bytes += reservation.size();
            whole.extend(batches);
        }
        Ok((whole, bytes))
    }

    /// Folds every partition into a clone of `seed`, each in a task of its own.
    fn start_each<T: Clone + Send + 'static>(
        &self,
        seed: &T,
        fold: impl Fn(&mut T, RecordBatch, &MemoryReservation) -> Result<()> + Copy + Send + 'static,
    ) -> Result<Vec<Task<T>>> {
        // Plans may hold state of an earlier run.
        let plan = reset_plan_states(Arc::clone(&self.plan))?;
        let partitions = plan.output_partitioning().partition_count();
        let start = |partition| {
            let mut stream = plan.execute(partition, Arc::clone(&self.context))?;
            let mut folded = seed.clone();
            let reservation =
                MemoryConsumer::new(format!("TrainExec[{partition}]")).register(self.context.memory_pool());
            Ok(SpawnedTask::spawn(async move {
                while let Some(batch) = stream.try_next().await? {
                    fold(&mut folded, batch, &reservation)?;
                }
                Ok((folded, reservation))
            }))
        };
        (0..partitions).map(start).collect()
    }
}

async fn join<T: Send + 'static>(task: SpawnedTask<Result<T>>) -> Result<T> {
    task.join().await.map_err(|error| SynthError::from(DataFusionError::External(Box::new(error))))?
}

/// Appends rows of the same layout.
fn append(whole: &mut EncodedRows, part: EncodedRows) -> Result<()> {
    whole.rows += part.rows;
    for (whole, part) in whole.subcolumns.iter_mut().zip(part.subcolumns) {
        match (whole, part) {
            (SubColumnData::Code8(whole), SubColumnData::Code8(part)) => whole.extend(part),
            (SubColumnData::Code16(whole), SubColumnData::Code16(part)) => whole.extend(part),
            (SubColumnData::Code32(whole), SubColumnData::Code32(part)) => whole.extend(part),
            (SubColumnData::Scalar(whole), SubColumnData::Scalar(part)) => whole.extend(part),
            _ => return Err(SynthError::Internal("partitions were encoded differently".to_owned())),
        }
    }
    Ok(())
}
