//! What the partitions of a plan share: the parents of a segment, collected once.

use super::plan::Input;
use crate::{
    Result, SynthError,
    exec::sample::SampleSpec,
    noise::Noise,
    relational::{Family, ParentRows, Segment},
    store::{StoredModel, off_worker},
};
use arrow::compute::concat_batches;
use datafusion::execution::TaskContext;
use futures::TryStreamExt;
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};
use tokio::sync::OnceCell;

/// A model and what is kept with it, which make the rows of a sample.
pub(in crate::exec) fn family_of(seed: u64, stored: &StoredModel) -> Result<Family> {
    let relations = stored.manifest.relations.clone();
    let relations = relations.ok_or_else(|| SynthError::Internal("a model without relations".to_owned()))?;
    let noise = Noise::new(seed, stored.manifest.content_hash.as_bytes());
    Family::new(Arc::new(relations), stored.manifest.encoder.clone(), Arc::clone(&stored.model), noise)
}

/// The parents of segment `number` of the rows of `family`, by reference.
pub(in crate::exec) async fn by_reference(
    inputs: &[Input],
    family: &Family,
    number: u64,
    context: &Arc<TaskContext>,
) -> Result<Vec<Option<ParentRows>>> {
    let mut parents = vec![None; family.references()];
    for input in inputs {
        let partition = number - input.first.unwrap_or(number);
        let partition = usize::try_from(partition).unwrap_or(usize::MAX);
        parents[input.reference] = Some(input.collect(partition, context).await?);
    }
    Ok(parents)
}

impl Input {
    /// The parents of a partition.
    async fn collect(&self, partition: usize, context: &Arc<TaskContext>) -> Result<ParentRows> {
        let stream = self.plan.execute(partition, Arc::clone(context))?;
        let schema = stream.schema();
        let batches: Vec<_> = stream.try_collect().await?;
        Ok(ParentRows { rows: concat_batches(&schema, &batches)?, degree: self.degree, adopted: self.first.is_none() })
    }
}

/// A segment, ready to generate.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) family: Arc<Family>,
    pub(super) segment: Segment,
}

/// How many rows a segment has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    /// So many.
    Segment(u64),
    /// So many, or as many as the owners that are given have in the training data's measure.
    Children(Option<u64>),
}

type Cell = OnceCell<Arc<Prepared>>;

/// The model, and the segments that some partition is at work on.
#[derive(Debug, Default)]
pub(super) struct Shared {
    family: OnceCell<Arc<Family>>,
    segments: Mutex<HashMap<u64, Weak<Cell>>>,
    /// The one asked for last stays: windows of a segment may come one by one.
    last: Mutex<Option<Arc<Cell>>>,
}

impl Shared {
    /// Where segment `number` is or will be.
    pub(super) fn cell(&self, number: u64) -> Arc<Cell> {
        let cell = self.found(number);
        *self.last.lock() = Some(Arc::clone(&cell));
        cell
    }

    fn found(&self, number: u64) -> Arc<Cell> {
        let mut cells = self.segments.lock();
        cells.retain(|_, cell| cell.strong_count() > 0);
        if let Some(cell) = cells.get(&number).and_then(Weak::upgrade) {
            return cell;
        }
        let cell = Arc::new(Cell::new());
        cells.insert(number, Arc::downgrade(&cell));
        cell
    }

    /// The model, loaded once.
    async fn family(&self, spec: &SampleSpec) -> Result<&Arc<Family>> {
        let load = || async { Ok(Arc::new(family_of(spec.seed, &*spec.stored().await?)?)) };
        self.family.get_or_try_init(load).await
    }

    /// Collects the parents of segment `number`.
    pub(super) async fn prepare(
        &self,
        spec: &SampleSpec,
        inputs: &[Input],
        (number, size): (u64, Size),
        context: &Arc<TaskContext>,
    ) -> Result<Arc<Prepared>> {
        let family = Arc::clone(self.family(spec).await?);
        let parents = by_reference(inputs, &family, number, context).await?;
        off_worker(move || {
            let rows = match size {
                Size::Segment(rows) | Size::Children(Some(rows)) => rows,
                Size::Children(None) => family.children_of(&parents)?,
            };
            let segment = family.segment(number, rows, parents)?;
            Ok(Arc::new(Prepared { family, segment }))
        })
        .await
    }
}
