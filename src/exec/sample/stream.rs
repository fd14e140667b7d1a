//! One partition of a sample, running.

use super::{
    SampleSpec,
    generator::{Generator, decode},
    schema::{Source, sources},
};
use crate::{
    Result, SynthError,
    encode::EncodedRows,
    exec::rows::{Out, batches, sent},
    noise::{BLOCK_ROWS, Noise, blocks},
    store::{StoredModel, off_worker},
    torch::resolve,
};
use arrow::{
    array::{ArrayRef, Int64Array},
    datatypes::SchemaRef,
    record_batch::{RecordBatch, RecordBatchOptions},
};
use datafusion::{
    execution::{
        SendableRecordBatchStream, TaskContext,
        memory_pool::{MemoryConsumer, MemoryReservation},
    },
    physical_plan::metrics::{BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder, RecordOutput, Time},
};
use parking_lot::Mutex;
use std::{ops::Range, sync::Arc};

/// Batches that may wait for the consumer, per partition.
const QUEUE: usize = 2;

/// A GPU is one queue: partitions take turns with it, block by block.
static GPU: Mutex<()> = Mutex::new(());

/// What one partition does.
#[derive(Debug, Clone)]
pub(super) struct Worker {
    pub(super) spec: SampleSpec,
    /// The projected schema.
    pub(super) schema: SchemaRef,
    /// Columns of the full schema.
    pub(super) projection: Vec<usize>,
    pub(super) rows: Range<u64>,
    pub(super) partition: usize,
    pub(super) threads: usize,
}

/// What EXPLAIN ANALYZE shows, besides rows.
#[derive(Debug, Clone)]
struct Metrics {
    baseline: BaselineMetrics,
    /// Blocks the model ran on.
    blocks: Count,
    /// Time in the model.
    model: Time,
    /// Time in decoding.
    decode: Time,
    /// Time waiting for the consumer.
    waiting: Time,
}

impl Metrics {
    fn new(metrics: &ExecutionPlanMetricsSet, partition: usize) -> Self {
        Self {
            baseline: BaselineMetrics::new(metrics, partition),
            blocks: MetricBuilder::new(metrics).counter("blocks", partition),
            model: MetricBuilder::new(metrics).subset_time("time_model", partition),
            decode: MetricBuilder::new(metrics).subset_time("time_decode", partition),
            waiting: MetricBuilder::new(metrics).subset_time("time_waiting", partition),
        }
    }
}

impl Worker {
    /// The partition's rows: loads the model, then generates on a blocking thread; dropping the stream stops it at the next block.
    pub(super) fn stream(
        self,
        context: Arc<TaskContext>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> SendableRecordBatchStream {
        let metrics = Metrics::new(metrics, self.partition);
        let reservation =
            MemoryConsumer::new(format!("SampleExec[{}]", self.partition)).register(context.memory_pool());
        sent(Arc::clone(&self.schema), QUEUE, move |out| async move {
            let (sources, columns) = sources(&self.projection, self.spec.row_id);
            // Row numbers and counts need no model.
            let stored = if columns.is_empty() { None } else { Some(self.spec.stored().await?) };
            let generate = move || {
                let mut job = Job { worker: self, sources, columns, context, out, reservation, metrics };
                match stored {
                    Some(stored) => job.generate(&stored),
                    None => job.number(),
                }
            };
            off_worker(generate).await
        })
    }
}

struct Job {
    worker: Worker,
    sources: Vec<Source>,
    columns: Vec<usize>,
    context: Arc<TaskContext>,
    out: Out,
    reservation: MemoryReservation,
    metrics: Metrics,
}

impl Job {
    fn generate(&mut self, stored: &StoredModel) -> Result<()> {
        let encoder = &stored.manifest.encoder;
        let mut encoded = EncodedRows::with_capacity(encoder.layout(), BLOCK_ROWS);
        let mut fixed = stored.model.sampler_memory() + encoded.memory_size();
        self.reserve(fixed)?;
        let noise = Noise::new(self.worker.spec.seed, self.worker.spec.content_hash.as_bytes());
        let mut generator = Generator::new(stored, &self.worker.spec, self.worker.threads)?;
        fixed += generator.memory_size();
        self.reserve(fixed)?;
        let gpu = resolve(self.worker.spec.device)?.is_cuda();
        let mut largest = 0;
        for (block, part) in blocks(self.worker.rows.clone()) {
            if self.out.is_closed() {
                return Ok(());
            }
            let compute = self.metrics.baseline.elapsed_compute().timer();
            let timer = self.metrics.model.timer();
            let turn = gpu.then(|| GPU.lock());
            generator.sample(block, &noise, &mut encoded)?;
            drop(turn);
            timer.done();
            self.metrics.blocks.add(1);
            let timer = self.metrics.decode.timer();
            let given = self.worker.spec.given.as_ref();
            let decoded = decode(encoder, given, (block, &encoded), part.clone(), &self.columns, &noise)?;
            timer.done();
            compute.done();
            let bytes = decoded.get_array_memory_size();
            if bytes > largest {
                largest = bytes;
                // The block in hand, those in the queue, and the one the consumer holds.
                self.reserve(fixed + (QUEUE + 2) * largest)?;
            }
            let first = block * BLOCK_ROWS as u64 + part.start as u64;
            if !self.send(first, part.len(), decoded.columns())? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Rows without any column of the model.
    fn number(&mut self) -> Result<()> {
        for (block, part) in blocks(self.worker.rows.clone()) {
            let first = block * BLOCK_ROWS as u64 + part.start as u64;
            if !self.send(first, part.len(), &[])? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Sends rows on in batches of the session's size; `false` when nobody listens any more.
    fn send(&self, first: u64, rows: usize, decoded: &[ArrayRef]) -> Result<bool> {
        let columns: Vec<ArrayRef> = self
            .sources
            .iter()
            .map(|source| match *source {
                Source::RowId => {
                    // Planning keeps start + rows within i64.
                    let numbers = (0..rows as u64).map(|row| (first + row).cast_signed());
                    Arc::new(Int64Array::from_iter_values(numbers)) as ArrayRef
                }
                Source::Decoded(index) => Arc::clone(&decoded[index]),
            })
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let block = RecordBatch::try_new_with_options(Arc::clone(&self.worker.schema), columns, &options)?;
        for batch in batches(block, &self.context) {
            let batch = batch.record_output(&self.metrics.baseline);
            let timer = self.metrics.waiting.timer();
            let sent = self.out.blocking_send(Ok(batch));
            timer.done();
            if sent.is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn reserve(&mut self, bytes: usize) -> Result<()> {
        self.reservation.try_resize(bytes).map_err(|error| {
            let context = format!("synth_sample: partition {} of `{}`", self.worker.partition, self.worker.spec.model);
            SynthError::from(error.context(format!(
                "{context} needs {} KiB of memory; raise the memory limit or lower datafusion.execution.target_partitions",
                bytes.div_ceil(1024)
            )))
        })
    }
}
