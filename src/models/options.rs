//! Training options: the common ones as fields, a model's own by name.

use crate::{
    Result, SynthError,
    torch::{DeviceKind, cores},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

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

impl fmt::Display for OptionValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
        }
    }
}

impl fmt::Display for OptionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("true or false"),
            Self::Int(low, high) => write!(f, "a whole number from {low} to {high}"),
            Self::Float(low, high) => write!(f, "a number from {low} to {high}"),
        }
    }
}

impl OptionKind {
    /// `value` as this kind (a whole number is a number), if it is in range.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn accept(self, value: OptionValue) -> Option<OptionValue> {
        match (self, value) {
            (Self::Bool, OptionValue::Bool(_)) => Some(value),
            (Self::Int(low, high), OptionValue::Int(given)) => (low..=high).contains(&given).then_some(value),
            (Self::Float(low, high), OptionValue::Float(given)) => (low..=high).contains(&given).then_some(value),
            (Self::Float(..), OptionValue::Int(given)) => self.accept(OptionValue::Float(given as f64)),
            _ => None,
        }
    }
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

impl OptionSpec {
    /// Of a whole number within `range`, both ends included.
    #[must_use]
    pub const fn int(name: &'static str, range: (i64, i64), default: i64, description: &'static str) -> Self {
        Self { name, kind: OptionKind::Int(range.0, range.1), default: OptionValue::Int(default), description }
    }

    /// Of a number within `range`, both ends included.
    #[must_use]
    pub const fn float(name: &'static str, range: (f64, f64), default: f64, description: &'static str) -> Self {
        Self { name, kind: OptionKind::Float(range.0, range.1), default: OptionValue::Float(default), description }
    }
}

impl Default for FitOptions {
    fn default() -> Self {
        Self {
            epochs: None,
            batch_size: None,
            seed: 0,
            device: DeviceKind::Auto,
            threads: cores(),
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

    /// The same as a number; a yes is 1.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn number(&self, spec: &OptionSpec) -> f64 {
        match self.own(spec) {
            OptionValue::Float(value) => value,
            OptionValue::Int(value) => value as f64,
            OptionValue::Bool(value) => f64::from(u8::from(value)),
        }
    }

    /// Checks epochs and batch size, and every own option that was given against a model's `specs`.
    ///
    /// # Errors
    /// An option that the model does not have, or a value that it does not accept.
    pub fn check(&self, model: &str, specs: &[OptionSpec]) -> Result<()> {
        let refused = |name: &str, given: String, expected: String| SynthError::Argument {
            function: model.to_owned(),
            argument: name.to_owned(),
            given,
            expected,
        };
        for (name, value) in [("epochs", self.epochs), ("batch_size", self.batch_size)] {
            if value == Some(0) {
                return Err(refused(name, "0".to_owned(), "a whole number from 1".to_owned()));
            }
        }
        for (name, &value) in &self.own {
            let invalid = |expected: String| refused(name, value.to_string(), expected);
            let Some(spec) = specs.iter().find(|spec| spec.name == name) else {
                let names: Vec<_> = specs.iter().map(|spec| spec.name).collect();
                return Err(invalid(format!("an option of this model: {}", names.join(", "))));
            };
            if spec.kind.accept(value).is_none() {
                return Err(invalid(spec.kind.to_string()));
            }
        }
        Ok(())
    }
}
