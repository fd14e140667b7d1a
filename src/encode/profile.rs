//! The streaming, mergeable sketch of a table, from which its encoder is finished.

use super::{Scheme, TableEncoder};
use crate::{Result, schema::ColumnRole};
use arrow::{datatypes::SchemaRef, record_batch::RecordBatch};
use std::collections::BTreeMap;

/// What is known of a table while it is scanned: per column counts, null counts, value sketches.
/// Fed batch by batch, one profile per partition, then merged.
#[derive(Debug, Clone)]
pub struct TableProfile {}

impl TableProfile {
    /// A profile of no rows. `roles` overrides what would be inferred, by column name.
    ///
    /// # Errors
    /// A role for a column that does not exist or cannot have it; a column of a type that cannot be learned.
    pub fn new(schema: SchemaRef, roles: &BTreeMap<String, ColumnRole>) -> Result<Self> {
        let _ = (schema, roles);
        unimplemented!()
    }

    /// Takes in a batch.
    ///
    /// # Errors
    /// A value that cannot be read as the schema's type.
    pub fn update(&mut self, batch: &RecordBatch) -> Result<()> {
        let _ = batch;
        unimplemented!()
    }

    /// Takes in another partition's profile of the same schema.
    ///
    /// # Errors
    /// The other profile is of another schema.
    pub fn merge(&mut self, other: Self) -> Result<()> {
        let _ = other;
        unimplemented!()
    }

    /// Rows seen.
    #[must_use]
    pub fn rows(&self) -> u64 {
        unimplemented!()
    }

    /// Bytes held.
    #[must_use]
    pub fn memory_size(&self) -> usize {
        unimplemented!()
    }

    /// Decides roles and fits every column's encoder (in parallel over columns, `threads` at a time).
    ///
    /// # Errors
    /// No rows; a column that cannot be learned in its role.
    pub fn finish(self, scheme: Scheme, threads: usize) -> Result<TableEncoder> {
        let _ = (scheme, threads);
        unimplemented!()
    }
}
