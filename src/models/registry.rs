//! The models there are: one line each.

use super::{ModelKind, ctgan::Ctgan};
use crate::{Result, SynthError};

/// Every kind of model, the default first.
pub static REGISTRY: &[&dyn ModelKind] = &[&Ctgan];

/// The kind of this name.
///
/// # Errors
/// No such kind; the error lists those there are.
pub fn kind(name: &str) -> Result<&'static dyn ModelKind> {
    REGISTRY.iter().copied().find(|kind| kind.name().eq_ignore_ascii_case(name)).ok_or_else(|| SynthError::NotFound {
        kind: "kind of model",
        name: name.to_owned(),
        known: REGISTRY.iter().map(|kind| kind.name().to_owned()).collect(),
    })
}
