//! Generated strings: templates for identifiers, word statistics for prose.

mod prose;
mod shape;
mod template;
mod words;

pub(crate) use prose::Prose;
pub(crate) use template::{Templates, is_regular};
pub(crate) use words::RowNoise;
