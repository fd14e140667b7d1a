//! What a sample is: everything its rows depend on, and nothing else.

use crate::torch::DeviceKind;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A range of a model's infinite table, frozen when the query is planned. It can be shipped: any process
/// that reaches the store generates the same bytes from it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SampleSpec {
    /// Where the model is: a folder or a URL.
    pub store: String,
    /// The model's name.
    pub model: String,
    /// Its version.
    pub version: u32,
    /// The hash the rows depend on; a model that no longer has it is an error.
    pub content_hash: String,
    /// Seed of the noise.
    pub seed: u64,
    /// Number of the first row.
    pub start: u64,
    /// Number of rows.
    pub rows: u64,
    /// Whether the first column is the row's number.
    pub row_id: bool,
    /// Where to run the model.
    pub device: DeviceKind,
    /// Intra-op threads per partition; cores divided by partitions when absent. Does not change the rows.
    pub threads: Option<usize>,
}

impl fmt::Display for SampleSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { model, version, seed, start, device, .. } = self;
        write!(f, "model={model}, version={version}, seed={seed}, start={start}, rows={}, device={device}", self.rows)
    }
}
