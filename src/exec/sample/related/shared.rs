//! What the partitions of a plan share: the parents of a segment, collected once.

use super::plan::Input;
use crate::{
    Result, SynthError,
    exec::sample::SampleSpec,
    noise::Noise,
    relational::{Family, ParentRows, Segment},
};
use arrow::compute::concat_batches;
use datafusion::{error::DataFusionError, execution::TaskContext};
use futures::TryStreamExt;
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};
use tokio::sync::OnceCell;

/// A segment, ready to generate.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) family: Family,
    pub(super) segment: Segment,
}

type Cell = OnceCell<Arc<Prepared>>;

/// Segments that some partition is at work on.
#[derive(Debug, Default)]
pub(super) struct Shared(Mutex<HashMap<u64, Weak<Cell>>>);

impl Shared {
    /// Where segment `number` is or will be.
    pub(super) fn cell(&self, number: u64) -> Arc<Cell> {
        let mut cells = self.0.lock();
        cells.retain(|_, cell| cell.strong_count() > 0);
        if let Some(cell) = cells.get(&number).and_then(Weak::upgrade) {
            return cell;
        }
        let cell = Arc::new(Cell::new());
        cells.insert(number, Arc::downgrade(&cell));
        cell
    }
}

/// Collects the parents of segment `number`.
pub(super) async fn prepare(
    spec: &SampleSpec,
    inputs: &[Input],
    (number, rows): (u64, u64),
    context: &Arc<TaskContext>,
) -> Result<Arc<Prepared>> {
    let stored = spec.stored().await?;
    let relations = stored.manifest.relations.clone();
    let relations = relations.ok_or_else(|| SynthError::Internal("a model without relations".to_owned()))?;
    let mut parents: Vec<Option<ParentRows>> = vec![None; relations.references.len()];
    for input in inputs {
        let partition = usize::try_from(number - input.first).unwrap_or(usize::MAX);
        let stream = input.plan.execute(partition, Arc::clone(context))?;
        let schema = stream.schema();
        let batches: Vec<_> = stream.try_collect().await?;
        parents[input.reference] = Some(ParentRows { rows: concat_batches(&schema, &batches)?, degree: input.degree });
    }
    let noise = Noise::new(spec.seed, spec.content_hash.as_bytes());
    let prepare = move || {
        let encoder = stored.manifest.encoder.clone();
        let family = Family::new(Arc::new(relations), encoder, Arc::clone(&stored.model), noise)?;
        let segment = family.segment(number, rows, parents)?;
        Ok(Arc::new(Prepared { family, segment }))
    };
    tokio::task::spawn_blocking(prepare)
        .await
        .map_err(|error| SynthError::from(DataFusionError::External(Box::new(error))))?
}
