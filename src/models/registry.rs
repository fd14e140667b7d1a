//! The kinds of models there are: one line for each that is built in; programs may add their own.

use super::{ModelKind, argn::Argn, ctgan::Ctgan, tvae::Tvae};
use crate::{Result, SynthError};
use parking_lot::RwLock;

/// Every kind that is built in, the default first.
static BUILT_IN: &[&dyn ModelKind] = &[&Argn, &Ctgan, &Tvae];

/// Those that the program has added.
static ADDED: RwLock<Vec<&'static dyn ModelKind>> = RwLock::new(Vec::new());

/// Every kind of model, the default first.
#[must_use]
pub fn kinds() -> Vec<&'static dyn ModelKind> {
    BUILT_IN.iter().chain(ADDED.read().iter()).copied().collect()
}

/// The kind of this name, in any case.
///
/// # Errors
/// No such kind; the error lists those there are.
pub fn kind(name: &str) -> Result<&'static dyn ModelKind> {
    let kinds = kinds();
    kinds.iter().copied().find(|kind| kind.name().eq_ignore_ascii_case(name)).ok_or_else(|| SynthError::NotFound {
        kind: "kind of model",
        name: name.to_owned(),
        known: kinds.iter().map(|kind| kind.name().to_owned()).collect(),
    })
}

/// Adds a kind of model to this process: SQL then trains it with `model => '…'`, and stored models of its name load with
/// it. Do so before sessions are made. See `examples/own_model.rs`.
///
/// # Errors
/// There is a kind of that name already.
pub fn register(kind: &'static dyn ModelKind) -> Result<()> {
    let mut added = ADDED.write();
    let taken = BUILT_IN.iter().chain(added.iter()).any(|other| other.name().eq_ignore_ascii_case(kind.name()));
    if taken {
        let reason = "a kind of model has that name already".to_owned();
        return Err(SynthError::Name { name: kind.name().to_owned(), reason });
    }
    added.push(kind);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Argn, BUILT_IN, register};
    use std::collections::BTreeSet;

    #[test]
    fn no_option_and_no_name_is_there_twice() {
        // Options of all models share the names `synth.*`.
        let names: Vec<_> = BUILT_IN.iter().flat_map(|kind| kind.options()).map(|spec| spec.name).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        let kinds: BTreeSet<_> = BUILT_IN.iter().map(|kind| kind.name()).collect();
        assert_eq!(kinds.len(), BUILT_IN.len());
        assert!(register(&Argn).is_err());
    }
}
