//! Arrow columns to codes and back.
//!
//! A table is profiled in one streaming scan by mergeable sketches ([`TableProfile`]), which finish
//! into a [`TableEncoder`]: per column an encoder that turns values into *sub-columns* and back.
//! A sub-column is either a code below a cardinality or a scalar in [-1, 1]; models see nothing else.

mod among;
mod codes;
mod columns;
mod follows;
mod gmm;
pub(crate) mod hash;
mod known;
mod layout;
mod matrix;
mod may_equal;
pub(crate) mod permutation;
mod physical;
mod profile;
mod restriction;
pub(crate) mod schema_serde;
mod sketch;
mod table;
mod text;
mod text_serde;
mod warp;
mod wide;

pub use among::Among;
pub use codes::{EncodedRows, SubColumnData};
pub(crate) use follows::is_instant;
pub use known::{KnownCodes, UNKNOWN};
pub use layout::{Ascending, ColumnLayout, Layout, SubColumn};
pub use matrix::CodeMatrix;
pub use may_equal::MayEqual;
pub use profile::TableProfile;
pub use restriction::Restriction;
pub use table::{Scheme, TableEncoder, Unseen};

#[cfg(test)]
mod tests;
