//! Models: what learns encoded rows and generates them. Knows no SQL, no table names, no keys.
//!
//! A model is a folder here and one line in `registry.rs` (or a call of [`register`]): a [`ModelKind`] that fits and loads, a
//! [`TableModel`] that is the trained state, a [`BlockSampler`] that runs it.

pub mod argn;
mod condition;
mod context;
pub mod ctgan;
mod embedding;
mod options;
mod registry;
mod state;
#[cfg(test)]
mod test_support;
mod tiles;
pub mod tilt;
pub mod told;
mod training;
pub mod tvae;
pub mod weights;

pub use condition::{Condition, ConditionTable, EqualTo};
pub use options::{FitOptions, OptionKind, OptionSpec, OptionValue};
pub use registry::{kind, kinds, register};
pub use state::{HostTensor, ModelState};

use crate::{
    Result, SynthError,
    encode::{CodeMatrix, EncodedRows, KnownCodes, Layout, Scheme},
    noise::Noise,
    torch::DeviceKind,
};
use serde::{Deserialize, Serialize};
use std::{fmt::Debug, sync::Arc};

/// A kind of model: how to fit one and how to load one. Those that there are: [`kinds`].
pub trait ModelKind: Send + Sync + Debug {
    /// The name used in SQL (`model => 'ctgan'`).
    fn name(&self) -> &'static str;

    /// One sentence for `synth.models` and the documentation.
    fn description(&self) -> &'static str;

    /// How the model wants numbers encoded.
    fn scheme(&self) -> Scheme;

    /// The options of [`FitOptions`] that are this model's own, with defaults and documentation.
    fn options(&self) -> &'static [OptionSpec];

    /// Whether it accepts options, each and all together.
    ///
    /// # Errors
    /// It does not.
    fn check(&self, options: &FitOptions) -> Result<()> {
        options.check(self.name(), self.options())
    }

    /// Whether its models know the distribution of any columns given any others: those are what conditions, imputation,
    /// probabilities and temperatures need.
    fn any_order(&self) -> bool {
        false
    }

    /// Whether its models can be [given](Layout::given) the first sub-columns of a row: the context of a parent. They answer
    /// with [`TableModel::context_sampler`] then.
    fn takes_context(&self) -> bool {
        false
    }

    /// Learns `data`. Runs on the calling thread (and libtorch's), for minutes; reports and obeys `observer`.
    /// With `resume`, continues a checkpoint that an earlier call handed to the observer.
    ///
    /// # Errors
    /// Options out of range, no rows, divergence that recovery could not mend, cancellation.
    fn fit(
        &self,
        data: &TrainingData<'_>,
        options: &FitOptions,
        resume: Option<&Checkpoint>,
        observer: &mut dyn FitObserver,
    ) -> Result<Fitted>;

    /// Makes a trained model of its saved state.
    ///
    /// # Errors
    /// State that does not fit the layout or this build.
    fn load(&self, layout: &Layout, state: ModelState) -> Result<Arc<dyn TableModel>>;
}

/// What a model learns from.
#[derive(Debug, Clone, Copy)]
pub struct TrainingData<'a> {
    /// The shape of the rows.
    pub layout: &'a Layout,
    /// The rows. The model holds some of them out for validation.
    pub rows: &'a CodeMatrix,
}

/// A trained model: complete, immutable, shareable between partitions. Holds host memory only.
pub trait TableModel: Send + Sync + Debug {
    /// The state that [`ModelKind::load`] takes back, byte for byte.
    ///
    /// # Errors
    /// The state cannot be represented.
    fn state(&self) -> Result<ModelState>;

    /// A sampler for one partition. Kinds that do not know [every order](ModelKind::any_order) heed the device and the
    /// threads alone.
    ///
    /// # Errors
    /// The device cannot be had.
    fn sampler(&self, settings: &SamplerSettings) -> Result<Box<dyn BlockSampler>>;

    /// A sampler of rows whose [given](Layout::given) sub-columns are known, of kinds that take a
    /// [context](ModelKind::takes_context).
    ///
    /// # Errors
    /// The device cannot be had.
    fn context_sampler(&self, _settings: &SamplerSettings) -> Result<Box<dyn ContextSampler>> {
        Err(SynthError::Internal("a context for a model that takes none".to_owned()))
    }

    /// Whether it answers questions: [`TableModel::any_order_sampler`].
    fn any_order(&self) -> bool {
        false
    }

    /// A sampler that answers questions, of kinds that know [every order](ModelKind::any_order).
    ///
    /// # Errors
    /// The device cannot be had.
    fn any_order_sampler(&self, _settings: &SamplerSettings) -> Result<Box<dyn AnyOrderSampler>> {
        Err(SynthError::Internal("a question to a model that does not know every order".to_owned()))
    }

    /// Bytes that one sampler of either sort needs, for the session's memory pool.
    fn sampler_memory(&self) -> usize;
}

/// How to run a model.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplerSettings {
    /// Where.
    pub device: DeviceKind,
    /// Intra-op threads; the rows do not depend on them.
    pub threads: usize,
    /// What logits are divided by: below 1 samples are more typical than the data, above 1 less.
    pub temperature: f32,
    /// Codes never to be drawn, as (sub-column, code).
    pub never: Vec<(usize, u32)>,
    /// Candidates for each row of which something is known, where a model knows one order of its columns best: one is kept, as often
    /// as that order has it, and probabilities are means over them. With 1 rows stay as they are drawn.
    pub candidates: usize,
}

impl SamplerSettings {
    /// As the model was trained.
    #[must_use]
    pub fn new(device: DeviceKind, threads: usize) -> Self {
        Self { device, threads, temperature: 1.0, never: Vec::new(), candidates: 1 }
    }
}

/// Runs a model, block by block, on one thread.
pub trait BlockSampler: Send {
    /// Fills `out` (cleared first) with the [`BLOCK_ROWS`](crate::noise::BLOCK_ROWS) rows of block `block`:
    /// a pure function of the model, the noise and the block.
    ///
    /// # Errors
    /// libtorch failed.
    fn sample(&mut self, block: u64, noise: &Noise, out: &mut EncodedRows) -> Result<()>;
}

/// Draws rows of which something is known, on one thread.
pub trait ContextSampler: Send {
    /// Fills `out` (cleared first) with the rows of block `block`: of the rows of `known` (a block at most) what is
    /// known, the rest drawn given it. A pure function of the model, the noise, the block and what is known.
    ///
    /// # Errors
    /// libtorch failed.
    fn complete(&mut self, block: u64, noise: &Noise, known: &KnownCodes, out: &mut EncodedRows) -> Result<()>;

    /// Whether it heeds what is known beyond the [given](Layout::given) sub-columns, of those that follow them.
    fn heeds_more(&self) -> bool {
        false
    }
}

/// Answers questions about rows of which something is known, on one thread.
pub trait AnyOrderSampler: ContextSampler {
    /// From now on completes the sub-columns `first` before the others, in this order. Nothing changes where a model has
    /// one order only.
    fn draw_first(&mut self, first: &[usize]) {
        let _ = first;
    }

    /// From now on the odds of the codes of a sub-column are `exp(logs)` times what they are, whatever is known.
    ///
    /// # Errors
    /// libtorch failed.
    fn tilt(&mut self, subcolumn: usize, logs: &[f32]) -> Result<()>;

    /// Probabilities of the codes of a sub-column in every row given what is known of the others, row by row.
    ///
    /// # Errors
    /// libtorch failed.
    fn distribution(&mut self, known: &KnownCodes, subcolumn: usize) -> Result<Vec<f32>>;

    /// Natural logarithm of the probability of what is known, per row.
    ///
    /// # Errors
    /// libtorch failed.
    fn log_probability(&mut self, known: &KnownCodes) -> Result<Vec<f64>>;

    /// Natural logarithm, per row, of the probability of `whole` rows over the one with which what `known` lacks of them is drawn:
    /// how much such a row counts among others that know something else (an importance weight).
    ///
    /// # Errors
    /// libtorch failed.
    fn log_weight(&mut self, known: &KnownCodes, whole: &KnownCodes) -> Result<Vec<f64>>;
}

/// What a fit returns.
#[derive(Debug, Clone)]
pub struct Fitted {
    /// The model of the best validation score.
    pub model: Arc<dyn TableModel>,
    /// How it went.
    pub report: FitReport,
}

/// The story of a training, kept in the manifest.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FitReport {
    /// Rows learned from, held-out rows included.
    pub rows: u64,
    /// Epochs run.
    pub epochs: u32,
    /// The epoch whose weights were kept.
    pub best_epoch: u32,
    /// Validation score of the kept weights: in 0..=1, higher is better.
    pub score: f64,
    /// Wall-clock seconds of the fit.
    pub seconds: f64,
    /// Times a non-finite loss made the training go back to its last good state.
    pub recoveries: u32,
}

/// One epoch, as streamed by `synth_train`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EpochReport {
    /// 1-based.
    pub epoch: u32,
    /// Epochs asked for.
    pub epochs: u32,
    /// The generator's (or the model's only) loss, mean over the epoch.
    pub loss: f64,
    /// The critic's loss, for models that have one.
    pub critic_loss: Option<f64>,
    /// Validation score, where it was taken: in 0..=1, higher is better.
    pub score: Option<f64>,
    /// Training rows per second of this epoch.
    pub rows_per_second: f64,
    /// Seconds since the start.
    pub elapsed_seconds: f64,
    /// Expected seconds to the end.
    pub eta_seconds: f64,
}

/// Everything a killed training needs to go on: trained state, optimizer state, position, best so far.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// The last finished epoch.
    pub epoch: u32,
    /// Named tensors and settings, in the model's own terms.
    pub state: ModelState,
}

/// What watches a fit.
pub trait FitObserver {
    /// An epoch is over.
    ///
    /// # Errors
    /// The observer's; ends the fit.
    fn epoch(&mut self, report: &EpochReport) -> Result<()>;

    /// A state worth keeping (the model decides how often: at least every minute or so).
    ///
    /// # Errors
    /// The observer's; ends the fit.
    fn checkpoint(&mut self, checkpoint: Checkpoint) -> Result<()>;

    /// Polled at every step: `true` ends the fit with [`SynthError::Cancelled`]
    /// after a last checkpoint.
    fn cancelled(&self) -> bool;
}
