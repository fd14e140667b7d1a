//! The options of CTGAN.

use crate::models::{FitOptions, OptionKind, OptionSpec, OptionValue};

const LATENT: OptionSpec = OptionSpec::int("latent", (1, 4096), 128, "Width of the generator's noise.");
const GENERATOR_WIDTH: OptionSpec =
    OptionSpec::int("generator_width", (8, 4096), 256, "Width of each of the generator's two residual layers.");
const CRITIC_WIDTH: OptionSpec =
    OptionSpec::int("critic_width", (8, 4096), 256, "Width of each of the critic's two layers.");
const PAC: OptionSpec = OptionSpec::int("pac", (1, 100), 2, "Rows that the critic judges together (PacGAN).");
const CRITIC_STEPS: OptionSpec = OptionSpec::int("critic_steps", (1, 100), 1, "Critic steps per generator step.");
const PENALTY_EVERY: OptionSpec = OptionSpec::int(
    "penalty_every",
    (1, 100),
    1,
    "The gradient penalty is taken at every k-th critic step, k times as strong.",
);
const PENALTY_WEIGHT: OptionSpec =
    OptionSpec::float("penalty_weight", (0.0, 1000.0), 10.0, "Weight of the gradient penalty (WGAN-GP).");
const GENERATOR_RATE: OptionSpec =
    OptionSpec::float("generator_learning_rate", (1e-7, 0.1), 2e-4, "Adam's learning rate for the generator.");
const CRITIC_RATE: OptionSpec =
    OptionSpec::float("critic_learning_rate", (1e-7, 0.1), 2e-4, "Adam's learning rate for the critic.");
const WEIGHT_DECAY: OptionSpec = OptionSpec::float("weight_decay", (0.0, 1.0), 1e-6, "L2 decay of all weights.");
const DROPOUT: OptionSpec =
    OptionSpec::float("dropout", (0.0, 0.9), 0.0, "Share of the critic's units dropped per step.");
const TAU: OptionSpec = OptionSpec::float("tau", (0.01, 10.0), 0.2, "Temperature of the Gumbel-softmax.");
const AVERAGING: OptionSpec = OptionSpec::float(
    "averaging",
    (0.0, 0.9999),
    0.999,
    "Decay of the average of the generator's weights that is validated and kept; 0 keeps the last weights.",
);
const EMBEDDING_THRESHOLD: OptionSpec = OptionSpec::int(
    "embedding_threshold",
    (2, 4096),
    128,
    "Codes of a larger cardinality are learned through entity embeddings instead of one-hot vectors.",
);
const MIXED_PRECISION: OptionSpec = OptionSpec {
    name: "mixed_precision",
    kind: OptionKind::Bool,
    default: OptionValue::Bool(true),
    description: "Multiply matrices in bf16 (weights and sums stay f32) where the processor does so natively.",
};

/// Every option of CTGAN.
pub(super) const OPTIONS: &[OptionSpec] = &[
    LATENT,
    GENERATOR_WIDTH,
    CRITIC_WIDTH,
    PAC,
    CRITIC_STEPS,
    PENALTY_EVERY,
    PENALTY_WEIGHT,
    GENERATOR_RATE,
    CRITIC_RATE,
    WEIGHT_DECAY,
    DROPOUT,
    TAU,
    AVERAGING,
    EMBEDDING_THRESHOLD,
    MIXED_PRECISION,
];

/// The options of one fit. The defaults are those of Xu et al. (2019), but for `pac` and `dropout` (10 and 0.5 there): a
/// critic that sees few rows at a time and drops nothing tells far better what goes together in one (docs/ablation.md).
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Config {
    pub(super) epochs: u32,
    pub(super) batch: usize,
    pub(super) latent: usize,
    pub(super) generator_widths: [usize; 2],
    pub(super) critic_width: usize,
    pub(super) pac: usize,
    pub(super) critic_steps: u64,
    pub(super) penalty_every: u64,
    pub(super) penalty_weight: f64,
    pub(super) generator_rate: f64,
    pub(super) critic_rate: f64,
    pub(super) weight_decay: f64,
    pub(super) dropout: f64,
    pub(super) tau: f32,
    pub(super) averaging: f64,
    pub(super) embedding_threshold: u32,
    pub(super) mixed_precision: bool,
}

impl Config {
    /// The configuration that `options` mean.
    pub(super) fn new(options: &FitOptions) -> Self {
        let float = |spec: &OptionSpec| options.number(spec);
        let int = |spec: &OptionSpec| float(spec) as u64;
        let size = |spec: &OptionSpec| float(spec) as usize;
        Self {
            epochs: options.epochs.unwrap_or(300),
            batch: options.batch_size.unwrap_or(500) as usize,
            latent: size(&LATENT),
            generator_widths: [size(&GENERATOR_WIDTH); 2],
            critic_width: size(&CRITIC_WIDTH),
            pac: size(&PAC),
            critic_steps: int(&CRITIC_STEPS),
            penalty_every: int(&PENALTY_EVERY),
            penalty_weight: float(&PENALTY_WEIGHT),
            generator_rate: float(&GENERATOR_RATE),
            critic_rate: float(&CRITIC_RATE),
            weight_decay: float(&WEIGHT_DECAY),
            dropout: float(&DROPOUT),
            tau: float(&TAU) as f32,
            averaging: float(&AVERAGING),
            embedding_threshold: int(&EMBEDDING_THRESHOLD) as u32,
            mixed_precision: options.own(&MIXED_PRECISION) == OptionValue::Bool(true),
        }
    }
}
