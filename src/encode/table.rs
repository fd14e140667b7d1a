//! The encoder of a table.

use super::{EncodedRows, Layout};
use crate::{Result, noise::Noise, schema::ColumnRole};
use arrow::{datatypes::SchemaRef, record_batch::RecordBatch};
use serde::{Deserialize, Serialize};

/// What a model wants numbers to look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    /// Mode-specific normalisation (Xu et al. 2019, §4.2): a mode code and a scalar within it.
    ModeSpecific,
}

/// Turns rows of a table into codes and back. Complete: what it takes to decode is all in here.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TableEncoder {}

impl TableEncoder {
    /// The table's Arrow schema, metadata included; decoded batches have exactly it.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        unimplemented!()
    }

    /// The shape of encoded rows.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        unimplemented!()
    }

    /// The role of each column, in schema order.
    #[must_use]
    pub fn roles(&self) -> Vec<ColumnRole> {
        unimplemented!()
    }

    /// Appends the codes of `batch` (of the encoder's schema) to `out`.
    ///
    /// # Errors
    /// The batch is of another schema.
    pub fn encode(&self, batch: &RecordBatch, out: &mut EncodedRows) -> Result<()> {
        let _ = (batch, out);
        unimplemented!()
    }

    /// Decodes rows `range` of the block `block` (`encoded` holds the whole block), only the columns in
    /// `projection` (schema indices, in that order). Values that the codes do not determine (identifiers,
    /// text) come from `noise` and the row's number `block * BLOCK_ROWS + i`.
    ///
    /// # Errors
    /// Codes that the encoder never made.
    pub fn decode(
        &self,
        block: u64,
        encoded: &EncodedRows,
        range: std::ops::Range<usize>,
        projection: &[usize],
        noise: &Noise,
    ) -> Result<RecordBatch> {
        let _ = (block, encoded, range, projection, noise);
        unimplemented!()
    }
}
