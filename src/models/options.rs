//! Training options: the common ones as fields, a model's own by name.

use crate::torch::DeviceKind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The value of a model's own option.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OptionValue {
    /// A yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
}

/// What an option accepts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum OptionKind {
    /// `true` or `false`.
    Bool,
    /// A whole number in this inclusive range.
    Int(i64, i64),
    /// A number in this inclusive range.
    Float(f64, f64),
}

/// A model's own option: its name in SQL, what it accepts, its default, its documentation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OptionSpec {
    /// Name in SQL (`critic_steps => 1`).
    pub name: &'static str,
    /// Accepted values.
    pub kind: OptionKind,
    /// Default.
    pub default: OptionValue,
    /// One sentence.
    pub description: &'static str,
}

/// The options of one training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FitOptions {
    /// Epochs at most; the model's default when absent.
    pub epochs: Option<u32>,
    /// Rows per step; the model's default when absent.
    pub batch_size: Option<u32>,
    /// Randomness of the training.
    pub seed: u64,
    /// Where to train.
    pub device: DeviceKind,
    /// Intra-op threads.
    pub threads: usize,
    /// Stop after this many epochs without a better validation score; 0 never stops early.
    pub patience: u32,
    /// The model's own options that were given; checked against [`ModelKind::options`](super::ModelKind::options).
    pub own: BTreeMap<String, OptionValue>,
}

impl Default for FitOptions {
    fn default() -> Self {
        Self {
            epochs: None,
            batch_size: None,
            seed: 0,
            device: DeviceKind::Auto,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            patience: 0,
            own: BTreeMap::new(),
        }
    }
}

impl FitOptions {
    /// The value of a model's own option, or its default.
    #[must_use]
    pub fn own(&self, spec: &OptionSpec) -> OptionValue {
        self.own.get(spec.name).copied().unwrap_or(spec.default)
    }
}
