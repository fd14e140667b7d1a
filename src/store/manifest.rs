//! `manifest.json`.

use super::envelope::hex;
use crate::{
    Result, SynthError,
    encode::{Layout, TableEncoder},
    models::{FitOptions, FitReport, TableModel},
    relational::Relations,
};
use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, sync::Arc};

/// The libtorch that `tch` 0.24 links to; it accepts no other.
const LIBTORCH: &str = "2.11.0";

/// What is known of a stored model without its weights.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the artifact format.
    pub format: u32,
    /// The model's name.
    pub name: String,
    /// Its version, from 1.
    pub version: u32,
    /// The kind of model (`ctgan`).
    pub kind: String,
    /// When it was stored, UTC, RFC 3339.
    pub created: String,
    /// The table or query it was learned from, in words.
    pub source: String,
    /// The column encoders, with the table's Arrow schema and roles.
    pub encoder: TableEncoder,
    /// The table's place among others, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relations: Option<Relations>,
    /// The model's settings.
    pub settings: serde_json::Value,
    /// The training's options.
    pub options: FitOptions,
    /// How the training went.
    pub report: FitReport,
    /// Versions of the libraries that wrote it.
    pub libraries: BTreeMap<String, String>,
    /// SHA-256 of each other file.
    pub files: BTreeMap<String, String>,
    /// SHA-256 over kind, encoder, settings and weights: what the generated rows depend on (hex).
    pub content_hash: String,
}

impl Manifest {
    /// The Arrow schema of the table.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        self.relations.as_ref().map_or_else(|| self.encoder.schema(), |relations| &relations.schema)
    }

    /// The shape of the rows that the model learned.
    ///
    /// # Errors
    /// Parts that do not fit each other.
    pub fn layout(&self) -> Result<Layout> {
        match &self.relations {
            Some(relations) => Ok(relations.joint(&self.encoder)?.layout),
            None => Ok(self.encoder.layout().clone()),
        }
    }
}

/// A model to store.
#[derive(Debug)]
pub struct NewModel<'a> {
    /// Its name.
    pub name: &'a str,
    /// The kind of model.
    pub kind: &'a str,
    /// What it was learned from, in words.
    pub source: &'a str,
    /// The column encoders.
    pub encoder: &'a TableEncoder,
    /// The table's place among others, where it has one.
    pub relations: Option<&'a Relations>,
    /// The trained model.
    pub model: &'a dyn TableModel,
    /// The training's options.
    pub options: &'a FitOptions,
    /// How the training went.
    pub report: &'a FitReport,
}

/// A model, loaded.
#[derive(Debug)]
pub struct StoredModel {
    /// Its manifest.
    pub manifest: Arc<Manifest>,
    /// The model.
    pub model: Arc<dyn TableModel>,
}

/// What the generated rows depend on, and nothing else (no name, version or time): learning the same thing twice gives the
/// same rows.
pub(super) fn content_hash(
    kind: &str,
    encoder: &TableEncoder,
    relations: Option<&Relations>,
    settings: &serde_json::Value,
    weights: &[u8],
) -> Result<String> {
    let no_json = |error| SynthError::Internal(format!("a model that is no JSON: {error}"));
    let encoder = serde_json::to_vec(encoder).map_err(no_json)?;
    let settings = serde_json::to_vec(settings).map_err(no_json)?;
    let relations = relations.map(|relations| serde_json::to_vec(&relations.clone().nameless())).transpose();
    let relations = relations.map_err(no_json)?;
    let mut hash = Sha256::new();
    hash.update(b"synthohive/model/1");
    for part in [kind.as_bytes(), &encoder, &settings, weights].into_iter().chain(relations.as_deref()) {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    Ok(hex(&hash.finalize()))
}

/// Versions of the libraries that the generated rows may depend on.
pub(super) fn libraries() -> BTreeMap<String, String> {
    let versions = [
        ("synthohive", env!("CARGO_PKG_VERSION")),
        ("datafusion", datafusion::DATAFUSION_VERSION),
        ("arrow", arrow::ARROW_VERSION),
        ("libtorch", LIBTORCH),
    ];
    versions.map(|(library, version)| (library.to_owned(), version.to_owned())).into()
}
