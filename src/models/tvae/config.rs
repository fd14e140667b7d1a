//! The options of TVAE.

use super::network::Sizes;
use crate::models::{FitOptions, OptionSpec};

const LATENT_WIDTH: OptionSpec =
    OptionSpec::int("latent_width", (1, 4096), 32, "Width of the vectors that the autoencoder sees rows as.");
const ENCODER_WIDTH: OptionSpec =
    OptionSpec::int("encoder_width", (4, 4096), 128, "Width of each of the encoder's two layers.");
const DECODER_WIDTH: OptionSpec =
    OptionSpec::int("decoder_width", (4, 4096), 128, "Width of each of the decoder's two layers.");
const PRIOR_COMPONENTS: OptionSpec = OptionSpec::int(
    "prior_components",
    (1, 4096),
    256,
    "Gaussians that the latent vectors' prior is mixed of; it is learned. 1 is as good as the standard normal distribution.",
);
const RECONSTRUCTION_WEIGHT: OptionSpec = OptionSpec::float(
    "reconstruction_weight",
    (1e-3, 1e3),
    2.0,
    "Weight of the autoencoder's reconstruction loss against the divergence of its latent vectors from the prior.",
);
const LEARNING_RATE: OptionSpec = OptionSpec::float(
    "autoencoder_learning_rate",
    (1e-7, 0.1),
    8e-3,
    "Adam's learning rate for the autoencoder at its highest; it rises and falls once over the training.",
);
const WEIGHT_DECAY: OptionSpec =
    OptionSpec::float("autoencoder_weight_decay", (0.0, 1.0), 1e-5, "L2 decay of the autoencoder's weights.");

/// Every option of TVAE.
pub(super) const OPTIONS: &[OptionSpec] =
    &[LATENT_WIDTH, ENCODER_WIDTH, DECODER_WIDTH, PRIOR_COMPONENTS, RECONSTRUCTION_WEIGHT, LEARNING_RATE, WEIGHT_DECAY];

/// The options of one fit. Layers, reconstruction weight and decay are by default those of Xu et al. (2019). They take 128
/// latent numbers, one component, batches of 500 and 300 epochs at a learning rate of 1e-3.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Config {
    pub(super) epochs: u32,
    pub(super) batch: usize,
    pub(super) sizes: Sizes,
    pub(super) reconstruction_weight: f32,
    pub(super) learning_rate: f64,
    pub(super) weight_decay: f64,
}

impl Config {
    /// The configuration that `options` mean for a table of `rows` rows to train on.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub(super) fn new(options: &FitOptions, rows: usize) -> Self {
        let size = |spec: &OptionSpec| options.number(spec) as usize;
        Self {
            epochs: options.epochs.unwrap_or_else(|| default_epochs(rows)),
            batch: options.batch_size.map_or_else(|| default_batch(rows), |rows| rows as usize).min(rows.max(1)),
            sizes: Sizes {
                latent: size(&LATENT_WIDTH),
                encoder: size(&ENCODER_WIDTH),
                decoder: size(&DECODER_WIDTH),
                components: size(&PRIOR_COMPONENTS),
            },
            reconstruction_weight: options.number(&RECONSTRUCTION_WEIGHT) as f32,
            learning_rate: options.number(&LEARNING_RATE),
            weight_decay: options.number(&WEIGHT_DECAY),
        }
    }
}

/// A step for every 64 rows of a small table, as many as 500 rows a step for others.
fn default_batch(rows: usize) -> usize {
    (rows / 64).clamp(32, 500)
}

/// 60 epochs of 40,000 rows; more for fewer rows, less for more, by the square root.
fn default_epochs(rows: usize) -> u32 {
    (60.0 * (40_000.0 / rows.max(1) as f64).sqrt()).round().clamp(10.0, 300.0) as u32
}
