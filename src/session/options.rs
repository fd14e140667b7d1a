//! The session defaults `SET synth.*`.

use crate::models::FitOptions;

/// The `synth.*` options of a session: a default for every option of the SQL functions.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SynthOptions {
    /// Where models are kept: `synth.store`, default `./synth_models`.
    pub store: String,
    /// The kind of model that `synth_train` fits: `synth.model`.
    pub model: String,
    /// Defaults of the training options: `synth.epochs`, `synth.batch_size`, `synth.seed`, `synth.device` …
    pub fit: FitOptions,
}
