//! The models there are: one line each.

use super::{ModelKind, argn::Argn, ctgan::Ctgan, tvae::Tvae};
use crate::{Result, SynthError};

/// Every kind of model, the default first.
pub static REGISTRY: &[&dyn ModelKind] = &[&Argn, &Ctgan, &Tvae];

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

#[cfg(test)]
mod tests {
    use super::REGISTRY;
    use std::collections::BTreeSet;

    #[test]
    fn no_option_and_no_name_is_there_twice() {
        // Options of all models share the names `synth.*`.
        let names: Vec<_> = REGISTRY.iter().flat_map(|kind| kind.options()).map(|spec| spec.name).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        let kinds: BTreeSet<_> = REGISTRY.iter().map(|kind| kind.name()).collect();
        assert_eq!(kinds.len(), REGISTRY.len());
    }
}
