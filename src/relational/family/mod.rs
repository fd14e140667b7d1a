//! Generation: the parents of a segment, and their children.
//!
//! ```text
//! segment    parents of a segment, how many children each has, chunks of owners
//! rounds     the codes of a chunk, siblings one after the other
//! parents    which parents its rows get; overlap, where foreign keys share columns
//! assemble   codes and parents ──► the table's columns; distinct, where the model draws parts of keys
//! adopt      parents that no model generated
//! complete   rows of which something is given; places, where they could be
//! fill       rows of a table, whose family is there: what they lack, and how probable they are
//! ```

mod adopt;
mod assemble;
mod complete;
mod distinct;
mod fill;
mod overlap;
mod parents;
mod places;
mod rounds;
mod segment;

pub use complete::{Asker, Completion};
pub use segment::{ParentRows, Segment};

use super::{Joint, NONE, Relations};
use crate::{
    Result, SynthError,
    encode::{SubColumnData, TableEncoder},
    models::{AnyOrderSampler, BlockSampler, ContextSampler, SamplerSettings, TableModel},
    noise::Noise,
};
use arrow::{
    array::{ArrayRef, RecordBatch, UInt32Array},
    compute::take,
};
use segment::Chunk;
use std::{collections::BTreeMap, sync::Arc};

/// A model of a related table, ready to generate.
#[derive(Debug, Clone)]
pub struct Family {
    relations: Arc<Relations>,
    joint: Joint,
    encoder: TableEncoder,
    model: Arc<dyn TableModel>,
    noise: Noise,
}

/// Runs a family's model, on one thread.
pub struct Generator(Sampler);

enum Sampler {
    /// Given a context.
    Given(Box<dyn ContextSampler>),
    /// Rows by themselves; and anew, given the parts of keys that they got.
    Free(Box<dyn BlockSampler>, Option<Box<dyn AnyOrderSampler>>),
}

/// A child table's rows in a chunk.
#[derive(Debug)]
pub struct Child {
    /// The first row's number in the infinite table.
    pub first: u64,
    /// The columns asked for.
    pub rows: RecordBatch,
}

/// A chunk under way.
struct Draft<'a> {
    segment: &'a Segment,
    chunk: &'a Chunk,
    /// By sub-column drawn.
    drawn: Vec<SubColumnData>,
    /// Per reference, the parent of each row.
    parents: Vec<Vec<u32>>,
    /// Per reference, the parent that each row names, or [`NONE`]; empty where none does. No reference at all if
    /// nothing of the rows is given; if something is, their wishes count for more than how often parents are referred to.
    named: Vec<Vec<u32>>,
}

impl<'a> Draft<'a> {
    /// Nothing drawn yet.
    fn new(segment: &'a Segment, chunk: &'a Chunk) -> Self {
        Self { segment, chunk, drawn: Vec::new(), parents: Vec::new(), named: Vec::new() }
    }
}

impl Family {
    /// Of a model and what is kept with it; `noise` is that of its rows.
    ///
    /// # Errors
    /// Parts that do not fit each other.
    pub fn new(
        relations: Arc<Relations>,
        encoder: TableEncoder,
        model: Arc<dyn TableModel>,
        noise: Noise,
    ) -> Result<Self> {
        let joint = relations.joint(&encoder)?;
        Ok(Self { relations, joint, encoder, model, noise })
    }

    /// How many foreign keys the table has.
    #[must_use]
    pub fn references(&self) -> usize {
        self.relations.references.len()
    }

    /// What runs the model.
    ///
    /// # Errors
    /// The device cannot be had.
    pub fn generator(&self, settings: &SamplerSettings) -> Result<Generator> {
        Ok(Generator(match self.relations.context {
            Some(_) => Sampler::Given(self.model.context_sampler(settings)?),
            None => {
                let again = self.model.any_order() && self.drawn_keys().next().is_some();
                let again = if again { Some(self.model.any_order_sampler(settings)?) } else { None };
                Sampler::Free(self.model.sampler(settings)?, again)
            }
        }))
    }

    /// Generates the columns `columns` (of the table's schema, or hidden ones) of the rows of a chunk.
    ///
    /// # Errors
    /// libtorch failed; no parents are left to choose from; a column that there is not.
    pub fn chunk(
        &self,
        segment: &Segment,
        number: usize,
        columns: &[String],
        generator: &mut Generator,
    ) -> Result<Child> {
        let chunk = segment.chunks.get(number).ok_or_else(|| SynthError::Internal(format!("no chunk {number}")))?;
        let rows = usize::try_from(chunk.rows.end - chunk.rows.start).unwrap_or(usize::MAX);
        let noise = self.noise.part(&format!("segment {} chunk {number}", segment.number));
        let first = segment.number * segment.rows + chunk.rows.start;
        let mut draft = Draft::new(segment, chunk);
        let own = match &mut generator.0 {
            Sampler::Given(sampler) => {
                self.rounds(&mut **sampler, &mut draft, &noise.part("wish"), &[])?;
                self.match_parents(&mut draft, rows, &noise)?;
                if sampler.heeds_more() {
                    let mut known = self.known_attributes(segment, &draft.parents);
                    let own = self.own_codes(&draft, rows);
                    known.extend(self.known_keys(&draft, &own, first, &noise)?);
                    if !known.is_empty() {
                        self.rounds(&mut **sampler, &mut draft, &noise.part("rows"), &known)?;
                    }
                }
                self.own_codes(&draft, rows)
            }
            Sampler::Free(sampler, again) => {
                self.match_parents(&mut draft, rows, &noise)?;
                let range = first..first + rows as u64;
                let own = self.independent(range.clone(), &mut **sampler)?;
                match again {
                    None => own,
                    Some(again) => match self.known_keys(&draft, &own, first, &noise)? {
                        known if known.is_empty() => own,
                        known => self.independent_given(range, &mut **again, &known)?,
                    },
                }
            }
        };
        let decoded = self.decode(&own, first, columns, &BTreeMap::new())?;
        self.assemble(&mut draft, &decoded, columns, (first, rows), &noise)
    }
}

fn no_column(name: &str) -> SynthError {
    SynthError::Internal(format!("no column `{name}`"))
}

/// The rows `chosen`, null where that is [`NONE`].
fn taken(values: &ArrayRef, chosen: &[u32]) -> Result<ArrayRef> {
    let chosen: UInt32Array = chosen.iter().map(|&row| (row != NONE).then_some(row)).collect();
    Ok(take(values, &chosen, None)?)
}
