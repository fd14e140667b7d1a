//! What a sample is: everything its rows depend on, and nothing else.

use super::Given;
use crate::{
    Result, SynthError,
    store::{ModelStore, StoredModel},
    torch::DeviceKind,
};
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// A range of a model's infinite table, frozen when the query is planned. It can be shipped: any process
/// that reaches the store generates the same bytes from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// Number of rows; [`SampleSpec::ALL`] for as many children as given parents have.
    pub rows: u64,
    /// Below 1, tables that refer to each other have so much of their training data's rows in a segment.
    pub scale: f64,
    /// What the rows are to satisfy.
    pub given: Option<Given>,
    /// What the model's logits are divided by; 1 is the distribution that was learned.
    pub temperature: f32,
    /// Whether the first column is the row's number.
    pub row_id: bool,
    /// Where to run the model.
    pub device: DeviceKind,
    /// Intra-op threads per partition; cores divided by partitions when absent. Does not change the rows.
    pub threads: Option<usize>,
}

impl SampleSpec {
    /// As many rows as there are.
    pub const ALL: u64 = u64::MAX;

    /// The model, if it is still the one that was planned.
    pub(super) async fn stored(&self) -> Result<Arc<StoredModel>> {
        planned_model(&self.store, &self.model, self.version, &self.content_hash).await
    }
}

/// Version `version` of a model, if it still is what it was when the query was planned.
pub(in crate::exec) async fn planned_model(
    store: &str,
    model: &str,
    version: u32,
    content_hash: &str,
) -> Result<Arc<StoredModel>> {
    let stored = ModelStore::open(store)?.load(model, Some(version)).await?;
    if stored.manifest.content_hash != content_hash {
        return Err(SynthError::Model(format!(
            "version {version} of `{model}` was replaced in {store} while the query was planned; run the query again"
        )));
    }
    Ok(stored)
}

impl fmt::Display for SampleSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { model, version, seed, start, device, .. } = self;
        write!(f, "model={model}, version={version}, seed={seed}, start={start}, rows=")?;
        match self.rows {
            Self::ALL => write!(f, "all")?,
            rows => write!(f, "{rows}")?,
        }
        write!(f, ", device={device}")?;
        if let Some(given) = &self.given {
            write!(f, ", given=[{}]", given.condition)?;
            if let Some(column) = given.balance {
                write!(f, ", balance={column}")?;
            }
        }
        if self.temperature != 1.0 {
            write!(f, ", temperature={}", self.temperature)?;
        }
        Ok(())
    }
}
