//! `manifest.json`.

use crate::{
    encode::TableEncoder,
    models::{FitOptions, FitReport, TableModel},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

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
