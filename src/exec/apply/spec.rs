//! What is done to which rows with which model, frozen when the query is planned.

use crate::{encode::Unseen, exec::sample::SampleSpec, torch::DeviceKind};
use std::fmt;

/// What a model does to the rows of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Fills their nulls.
    Impute,
    /// Draws whole rows of the model's schema given what the table's rows have that is not null: one for each of them,
    /// or so many, going through the table again and again.
    Complete {
        /// Number of rows.
        rows: Option<u64>,
    },
    /// Says how probable they are.
    LogProbability,
}

/// A model, and what it does.
#[derive(Debug, Clone, PartialEq)]
pub struct ApplySpec {
    /// The SQL function, for errors.
    pub function: &'static str,
    /// What it does.
    pub action: Action,
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
    /// What the model's logits are divided by.
    pub temperature: f32,
    /// Candidates for each row (see [`SamplerSettings`](crate::models::SamplerSettings)).
    pub candidates: usize,
    /// What to do with values that the model has never seen.
    pub unseen: Unseen,
    /// Where to run the model.
    pub device: DeviceKind,
    /// Intra-op threads; all cores when absent. Does not change the rows.
    pub threads: Option<usize>,
}

/// A sample of the same model: what parents that are tables are taken for.
impl From<&ApplySpec> for SampleSpec {
    fn from(spec: &ApplySpec) -> Self {
        Self {
            store: spec.store.clone(),
            model: spec.model.clone(),
            version: spec.version,
            content_hash: spec.content_hash.clone(),
            seed: spec.seed,
            start: 0,
            rows: Self::ALL,
            scale: 1.0,
            given: None,
            temperature: 1.0,
            row_id: false,
            device: spec.device,
            threads: spec.threads,
        }
    }
}

impl fmt::Display for ApplySpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { function, model, version, seed, candidates, device, .. } = self;
        write!(f, "{function}: model={model}, version={version}, candidates={candidates}, ")?;
        match self.action {
            Action::LogProbability => write!(f, "device={device}"),
            Action::Complete { rows: Some(rows) } => write!(f, "seed={seed}, rows={rows}, device={device}"),
            _ => write!(f, "seed={seed}, device={device}"),
        }
    }
}
