//! The rows, running through the model block by block.

use super::{Action, ApplySpec, columns::Columns};
use crate::{
    Result, SynthError,
    encode::{EncodedRows, TableEncoder},
    exec::{
        columns::as_learned,
        rows::{Out, batches},
        sample::planned_model,
    },
    models::{AnyOrderSampler, SamplerSettings, told},
    noise::{BLOCK_ROWS, Noise},
    store::{StoredModel, off_worker},
    torch::cores,
};
use arrow::{compute::BatchCoalescer, record_batch::RecordBatch};
use datafusion::{
    execution::{TaskContext, memory_pool::MemoryConsumer},
    physical_plan::{
        ExecutionPlan, ExecutionPlanProperties,
        execution_plan::reset_plan_states,
        metrics::{BaselineMetrics, RecordOutput},
    },
};
use futures::TryStreamExt;
use std::sync::Arc;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Blocks that may wait, on either side of the model.
pub(super) const QUEUE: usize = 2;

/// What is to run.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) spec: Arc<ApplySpec>,
    pub(super) columns: Columns,
    pub(super) input: Arc<dyn ExecutionPlan>,
    pub(super) projection: Vec<usize>,
    pub(super) context: Arc<TaskContext>,
    pub(super) metrics: BaselineMetrics,
}

impl Job {
    /// Sends the rows. Where nobody listens any more, the work stops within a block.
    pub(super) async fn run(self, out: Out) -> Result<()> {
        let (blocks, waiting) = channel(QUEUE);
        let reader = self.clone();
        let model = async move {
            let spec = &self.spec;
            let stored = planned_model(&spec.store, &spec.model, spec.version, &spec.content_hash).await?;
            off_worker(move || self.apply(&stored, waiting, &out)).await
        };
        tokio::try_join!(reader.read(blocks), model)?;
        Ok(())
    }

    /// Cuts the table's rows, in its order, into blocks; again and again, if more rows are asked for than it has.
    async fn read(&self, blocks: Sender<RecordBatch>) -> Result<()> {
        let wanted = match self.spec.action {
            Action::Complete { rows } => rows,
            _ => None,
        };
        let mut coalescer = BatchCoalescer::new(self.input.schema(), BLOCK_ROWS);
        let mut count = 0;
        'rows: loop {
            let plan = reset_plan_states(Arc::clone(&self.input))?;
            let before = count;
            for partition in 0..plan.output_partitioning().partition_count() {
                let mut stream = plan.execute(partition, Arc::clone(&self.context))?;
                while let Some(batch) = stream.try_next().await? {
                    let left = wanted.map_or(u64::MAX, |wanted| wanted - count);
                    let batch = batch.slice(0, batch.num_rows().min(usize::try_from(left).unwrap_or(usize::MAX)));
                    count += batch.num_rows() as u64;
                    coalescer.push_batch(batch)?;
                    while let Some(block) = coalescer.next_completed_batch() {
                        if blocks.send(block).await.is_err() {
                            return Ok(());
                        }
                    }
                    if wanted == Some(count) {
                        break 'rows;
                    }
                }
            }
            if wanted.is_none() {
                break;
            }
            if count == before {
                return Err(SynthError::NoRows { reason: "the table of given rows is empty".to_owned() });
            }
        }
        coalescer.finish_buffered_batch()?;
        if let Some(block) = coalescer.next_completed_batch() {
            // An error means that nobody listens any more.
            let _ = blocks.send(block).await;
        }
        Ok(())
    }

    fn apply(&self, stored: &StoredModel, mut blocks: Receiver<RecordBatch>, out: &Out) -> Result<()> {
        let (spec, encoder) = (&self.spec, &stored.manifest.encoder);
        let mut encoded = EncodedRows::with_capacity(encoder.layout(), BLOCK_ROWS);
        let reservation = MemoryConsumer::new("ApplyExec").register(self.context.memory_pool());
        reservation.try_resize(stored.model.sampler_memory() + encoded.memory_size())?;
        let settings = SamplerSettings {
            temperature: spec.temperature,
            // Who has a null filled wants no null for it.
            never: if spec.action == Action::Impute { encoder.null_codes() } else { Vec::new() },
            candidates: spec.candidates,
            ..SamplerSettings::new(spec.device, spec.threads.unwrap_or_else(cores))
        };
        let mut sampler = stored.model.any_order_sampler(&settings)?;
        let noise = Noise::new(spec.seed, spec.content_hash.as_bytes());
        let mut number = 0;
        while let Some(given) = blocks.blocking_recv() {
            let timer = self.metrics.elapsed_compute().timer();
            let rows = self.block(encoder, &mut *sampler, (number, &given), &noise, &mut encoded)?;
            timer.done();
            number += 1;
            let rows = rows.project(&self.projection)?;
            for batch in batches(rows, &self.context) {
                if out.blocking_send(Ok(batch.record_output(&self.metrics))).is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// A block of rows, filled or judged.
    fn block(
        &self,
        encoder: &TableEncoder,
        sampler: &mut dyn AnyOrderSampler,
        (number, given): (u64, &RecordBatch),
        noise: &Noise,
        encoded: &mut EncodedRows,
    ) -> Result<RecordBatch> {
        let columns: Vec<usize> = self.columns.shared.iter().map(|(_, column)| *column).collect();
        let arrays = as_learned(self.spec.function, given, encoder.schema())?.columns().to_vec();
        let (rows, unseen) = (given.num_rows(), self.spec.unseen);
        let of_function = |error| match error {
            SynthError::Column { column, reason, .. } => SynthError::Column {
                column,
                reason: format!("{}: {reason}", self.spec.function),
                way_out: "train with such rows, or go on without with unseen => 'ignore'".to_owned(),
            },
            other => other,
        };
        let mut known = encoder.known(&columns, &arrays, rows, unseen).map_err(of_function)?;
        let among = encoder.among(&columns, &arrays, rows, unseen).map_err(of_function)?;
        let may_equal = encoder.may_equal(&columns, &arrays, &known)?;
        if self.spec.action == Action::LogProbability {
            return self.columns.judged(given, told::log_probability(sampler, &among, &may_equal, known)?);
        }
        let mut values = columns.into_iter().zip(arrays).collect();
        told::draw(sampler, &among, &mut known, (number, noise))?;
        for may in &may_equal {
            let equal = told::draw_equal(sampler, may, &mut known, (number, noise))?;
            may.give(&equal, &mut values)?;
        }
        sampler.complete(number, noise, &known, encoded)?;
        let decoded = self.columns.decoded(encoder);
        let drawn = encoder.decode_given(number, encoded, 0..rows, &decoded, noise, &values)?;
        self.columns.filled(given, &drawn)
    }
}
