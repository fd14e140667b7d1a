//! Versioned model artifacts on an object store.
//!
//! ```text
//! {store}/{model}/{version}/manifest.json        written last: its presence is the commit
//! {store}/{model}/{version}/weights.safetensors
//! {store}/{model}/checkpoint/…                   a training that has not finished
//! ```

mod manifest;

pub use manifest::{Manifest, NewModel, StoredModel};

use crate::{Result, models::Checkpoint};
use std::sync::Arc;

/// A model store: a folder or an object-store URL.
#[derive(Debug, Clone)]
pub struct ModelStore {}

impl ModelStore {
    /// Opens `location`: a path (relative to the working directory) or a URL. Touches nothing yet.
    ///
    /// # Errors
    /// A URL of a scheme this build does not know.
    pub fn open(location: &str) -> Result<Self> {
        let _ = location;
        unimplemented!()
    }

    /// Every committed version of every model, by name and version.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn list(&self) -> Result<Vec<Arc<Manifest>>> {
        unimplemented!()
    }

    /// The manifest of `name`: of `version`, or of the newest.
    ///
    /// # Errors
    /// No such model or version (lists what there is); a damaged manifest.
    pub async fn manifest(&self, name: &str, version: Option<u32>) -> Result<Arc<Manifest>> {
        let _ = (name, version);
        unimplemented!()
    }

    /// The model of `name`, ready to sample; cached process-wide by content hash.
    ///
    /// # Errors
    /// As [`ModelStore::manifest`]; damaged weights.
    pub async fn load(&self, name: &str, version: Option<u32>) -> Result<Arc<StoredModel>> {
        let _ = (name, version);
        unimplemented!()
    }

    /// Stores a new version of `model.name`, atomically; concurrent calls make two versions.
    ///
    /// # Errors
    /// A bad name; the store cannot be written (nothing of the version stays visible).
    pub async fn save(&self, model: NewModel<'_>) -> Result<Arc<Manifest>> {
        let _ = model;
        unimplemented!()
    }

    /// Removes one version, or all of them. Returns how many.
    ///
    /// # Errors
    /// No such model or version.
    pub async fn drop_model(&self, name: &str, version: Option<u32>) -> Result<usize> {
        let _ = (name, version);
        unimplemented!()
    }

    /// Replaces the checkpoint of `name`. `spec` says what is being trained (model kind, encoder, options):
    /// only a training of the same spec may resume it.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn save_checkpoint(&self, name: &str, spec: &serde_json::Value, checkpoint: &Checkpoint) -> Result<()> {
        let _ = (name, spec, checkpoint);
        unimplemented!()
    }

    /// The checkpoint of `name` and its spec, if there is one.
    ///
    /// # Errors
    /// A damaged checkpoint.
    pub async fn load_checkpoint(&self, name: &str) -> Result<Option<(serde_json::Value, Checkpoint)>> {
        let _ = name;
        unimplemented!()
    }

    /// Removes the checkpoint of `name`, if there is one.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn drop_checkpoint(&self, name: &str) -> Result<()> {
        let _ = name;
        unimplemented!()
    }
}
