//! The options of the autoregressive model.

use super::activation::Activation;
use crate::{
    Result, SynthError,
    models::{FitOptions, OptionSpec},
};

const WIDTH: OptionSpec = OptionSpec::int("width", (4, 4096), 64, "Hidden units per column.");
const EMBEDDING_WIDTH: OptionSpec =
    OptionSpec::int("embedding_width", (1, 256), 24, "Width of a column's embedding at most; fewer codes take less.");
const LEARNING_RATE: OptionSpec = OptionSpec::float(
    "learning_rate",
    (1e-7, 0.1),
    8e-3,
    "Adam's learning rate at its highest; it rises and falls once over the training.",
);
const ANY_ORDER: OptionSpec = OptionSpec::float(
    "any_order",
    (0.0, 1.0),
    0.4,
    "Share of each batch that is learned in random orders of the columns instead of the table's. Tables that depend on a \
    parent are learned in their own order alone.",
);
const SHRINKAGE: OptionSpec = OptionSpec::float(
    "shrinkage",
    (0.0, 1e6),
    20.0,
    "Least pull of the weights towards zero, which weighs as many rows: their L2 decay times the rows learned from. Of fewer than \
    20,000 rows it weighs less, in proportion, but a quarter at least. What a column sees of each other one is pulled up to \
    100 times as much, as rows held out want it.",
);
const GAP_WEIGHT: OptionSpec = OptionSpec::float(
    "gap_weight",
    (0.0, 10_000.0),
    9.0,
    "How much it counts that rows learned are likelier than rows held out, beside how likely the latter are, where it is found how \
    far what a column sees of others is pulled towards zero: per nat by which the column makes them so. With 0, generated rows are most \
    like the rows learned; with more, they come less near to them. It weighs less of more than 10,000 rows, by the square of \
    their number, as these are known less by heart, and of fewer, in proportion, as these say less surely how large the gap is.",
);
const HIDDEN_DROPOUT: OptionSpec =
    OptionSpec::float("hidden_dropout", (0.0, 0.9), 0.1, "Share of the hidden units dropped per row and step.");

/// Rows from which on the shrinkage is what the option says.
const LARGE: f64 = 20_000.0;

/// Rows of which the gap weighs what the option says.
const BY_HEART: f64 = 10_000.0;

/// Rows from which on hidden units are squared.
const MANY: usize = 5_000;

/// Every option.
pub(super) const OPTIONS: &[OptionSpec] =
    &[WIDTH, EMBEDDING_WIDTH, LEARNING_RATE, ANY_ORDER, SHRINKAGE, GAP_WEIGHT, HIDDEN_DROPOUT];

/// The options of one fit.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Config {
    pub(super) epochs: u32,
    pub(super) batch: usize,
    pub(super) width: usize,
    pub(super) embedding_width: usize,
    pub(super) learning_rate: f64,
    pub(super) any_order: f64,
    /// L2 decay of all parameters but the heads' biases times the rows learned from, at least.
    pub(super) shrinkage: f64,
    pub(super) gap_weight: f64,
    pub(super) dropout: f64,
    pub(super) activation: Activation,
}

/// Whether options go together.
///
/// # Errors
/// A gap that is to weigh where nothing shrinks.
pub(super) fn check(options: &FitOptions) -> Result<()> {
    let asked = options.own.contains_key(GAP_WEIGHT.name) && options.number(&GAP_WEIGHT) > 0.0;
    if !asked || options.number(&SHRINKAGE) > 0.0 {
        return Ok(());
    }
    Err(SynthError::Argument {
        function: "argn".to_owned(),
        argument: GAP_WEIGHT.name.to_owned(),
        given: options.number(&GAP_WEIGHT).to_string(),
        expected: "0 where `shrinkage` is 0: there is no pull to raise".to_owned(),
    })
}

impl Config {
    /// The configuration that `options` mean for a table of `rows` rows to train on and `given` sub-columns of context.
    pub(super) fn new(options: &FitOptions, rows: usize, given: usize) -> Self {
        let batch = options.batch_size.map_or_else(|| default_batch(rows), |rows| rows as usize);
        Self {
            epochs: options.epochs.unwrap_or_else(|| default_epochs(rows)),
            batch: batch.min(rows.max(1)),
            width: options.number(&WIDTH) as usize,
            embedding_width: options.number(&EMBEDDING_WIDTH) as usize,
            learning_rate: options.number(&LEARNING_RATE),
            any_order: if given == 0 { options.number(&ANY_ORDER) } else { 0.0 },
            shrinkage: options.number(&SHRINKAGE) * (rows as f64 / LARGE).clamp(0.25, 1.0),
            gap_weight: options.number(&GAP_WEIGHT) * gap_share(rows as f64),
            dropout: options.number(&HIDDEN_DROPOUT),
            activation: if rows < MANY { Activation::Rectified } else { Activation::Squared },
        }
    }
}

/// By how much of the option the gap weighs.
fn gap_share(rows: f64) -> f64 {
    (rows / BY_HEART).min((BY_HEART / rows.max(1.0)).powi(2))
}

/// A step for every 64 rows of a small table, as many as 512 rows a step for others.
fn default_batch(rows: usize) -> usize {
    (rows / 64).clamp(32, 512)
}

/// 12 epochs of 40,000 rows; more for fewer rows, less for more, by the square root.
fn default_epochs(rows: usize) -> u32 {
    (12.0 * (40_000.0 / rows.max(1) as f64).sqrt()).round().clamp(3.0, 60.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gap_weighs_less_where_it_is_unsure_and_where_rows_are_many() {
        let shares = [0, 2_500, 10_000, 20_000, 1_000_000].map(|rows| gap_share(f64::from(rows)));
        assert_eq!(shares, [0.0, 0.25, 1.0, 0.25, 1e-4]);
    }
}
