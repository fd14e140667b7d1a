//! Mergeable sketches of the values of a column.

mod bytes;
mod distinct;
mod heavy;
mod number;

pub(crate) use bytes::BytesSketch;
pub(crate) use distinct::{DistinctSketch, Key, Limits};
pub(crate) use number::NumberSketch;
