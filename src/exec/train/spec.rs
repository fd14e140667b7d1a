//! What is trained and how, frozen when the statement is planned.

use crate::{
    models::{FitOptions, ModelKind, OptionValue},
    relational::Ties,
    schema::OrphanPolicy,
    torch::DeviceKind,
};
use std::collections::BTreeMap;

/// The options that a call named itself; everything else comes from the session.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Overrides {
    /// `epochs`.
    pub epochs: Option<u32>,
    /// `batch_size`.
    pub batch_size: Option<u32>,
    /// `seed`.
    pub seed: Option<u64>,
    /// `device`.
    pub device: Option<DeviceKind>,
    /// `threads`.
    pub threads: Option<usize>,
    /// `patience`.
    pub patience: Option<u32>,
    /// `context`.
    pub context: Option<Ties>,
    /// The model's own.
    pub own: BTreeMap<String, OptionValue>,
}

impl Overrides {
    /// The session's `defaults` with these put over them.
    #[must_use]
    pub fn over(&self, defaults: &FitOptions) -> FitOptions {
        let mut own = defaults.own.clone();
        own.extend(self.own.clone());
        FitOptions {
            epochs: self.epochs.or(defaults.epochs),
            batch_size: self.batch_size.or(defaults.batch_size),
            seed: self.seed.unwrap_or(defaults.seed),
            device: self.device.unwrap_or(defaults.device),
            threads: self.threads.unwrap_or(defaults.threads),
            patience: self.patience.unwrap_or(defaults.patience),
            own,
        }
    }
}

/// One statement's training.
#[derive(Debug, Clone)]
pub struct TrainSpec {
    /// The model store.
    pub store: String,
    /// The kind of model.
    pub kind: &'static dyn ModelKind,
    /// Whether the call named the kind.
    pub kind_given: bool,
    /// The resolved options.
    pub options: FitOptions,
    /// What the call named itself: must agree with the checkpoint when resuming.
    pub overrides: Overrides,
    /// Name of the model; the table's when absent.
    pub name: Option<String>,
    /// What becomes of rows whose foreign key names no row of the parent.
    pub orphans: OrphanPolicy,
    /// Continue the checkpoint that an interrupted training left.
    pub resume: bool,
}
