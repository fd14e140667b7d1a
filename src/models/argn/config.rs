//! The options of the autoregressive model.

use crate::{
    Result, SynthError,
    models::{FitOptions, OptionKind, OptionSpec, OptionValue},
};

const WIDTH: OptionSpec = OptionSpec {
    name: "width",
    kind: OptionKind::Int(4, 4096),
    default: OptionValue::Int(64),
    description: "Hidden units per column.",
};
const EMBEDDING_WIDTH: OptionSpec = OptionSpec {
    name: "embedding_width",
    kind: OptionKind::Int(1, 256),
    default: OptionValue::Int(24),
    description: "Width of a column's embedding at most; fewer codes take less.",
};
const LEARNING_RATE: OptionSpec = OptionSpec {
    name: "learning_rate",
    kind: OptionKind::Float(1e-7, 0.1),
    default: OptionValue::Float(4e-3),
    description: "Adam's learning rate at its highest; it rises and falls once over the training.",
};
const ANY_ORDER: OptionSpec = OptionSpec {
    name: "any_order",
    kind: OptionKind::Float(0.0, 1.0),
    default: OptionValue::Float(0.5),
    description: "Share of each batch that is learned in random orders of the columns instead of the table's.",
};

const SHRINKAGE: OptionSpec = OptionSpec {
    name: "shrinkage",
    kind: OptionKind::Float(0.0, 1e6),
    default: OptionValue::Float(5.0),
    description: "Pull of the weights towards zero, which weighs as many rows: their L2 decay times the rows learned from.",
};
const HIDDEN_DROPOUT: OptionSpec = OptionSpec {
    name: "hidden_dropout",
    kind: OptionKind::Float(0.0, 0.9),
    default: OptionValue::Float(0.1),
    description: "Share of the hidden units dropped per row and step.",
};

/// Every option.
pub(super) const OPTIONS: &[OptionSpec] =
    &[WIDTH, EMBEDDING_WIDTH, LEARNING_RATE, ANY_ORDER, SHRINKAGE, HIDDEN_DROPOUT];

/// The options of one fit, checked.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Config {
    pub(super) epochs: u32,
    pub(super) batch: usize,
    pub(super) width: usize,
    pub(super) embedding_width: usize,
    pub(super) learning_rate: f64,
    pub(super) any_order: f64,
    pub(super) shrinkage: f64,
    pub(super) dropout: f64,
}

impl Config {
    /// The configuration that `options` mean for a table of `rows` rows to train on.
    pub(super) fn new(options: &FitOptions, rows: usize) -> Result<Self> {
        options.check("argn", OPTIONS)?;
        for (name, value) in [("epochs", options.epochs), ("batch_size", options.batch_size)] {
            if value == Some(0) {
                return Err(SynthError::Argument {
                    function: "argn".into(),
                    argument: name.into(),
                    given: "0".into(),
                    expected: "a whole number from 1".into(),
                });
            }
        }
        let number = |spec: &OptionSpec| match options.own(spec) {
            OptionValue::Float(value) => value,
            OptionValue::Int(value) => value as f64,
            OptionValue::Bool(value) => f64::from(u8::from(value)),
        };
        let batch = options.batch_size.map_or_else(|| default_batch(rows), |rows| rows as usize);
        Ok(Self {
            epochs: options.epochs.unwrap_or_else(|| default_epochs(rows)),
            batch: batch.min(rows.max(1)),
            width: number(&WIDTH) as usize,
            embedding_width: number(&EMBEDDING_WIDTH) as usize,
            learning_rate: number(&LEARNING_RATE),
            any_order: number(&ANY_ORDER),
            shrinkage: number(&SHRINKAGE),
            dropout: number(&HIDDEN_DROPOUT),
        })
    }
}

/// A step for every 64 rows of a small table, as many as 512 rows a step for others.
fn default_batch(rows: usize) -> usize {
    (rows / 64).clamp(32, 512)
}

/// 12 epochs of 40,000 rows; more for fewer rows, less for more, by the square root.
fn default_epochs(rows: usize) -> u32 {
    (12.0 * (40_000.0 / rows.max(1) as f64).sqrt()).round().clamp(3.0, 60.0) as u32
}
