//! Arrow columns to codes and back.
//!
//! A table is profiled in one streaming scan by mergeable sketches ([`TableProfile`]), which finish
//! into a [`TableEncoder`]: per column an encoder that turns values into *sub-columns* and back.
//! A sub-column is either a code below a cardinality or a scalar in [-1, 1]; models see nothing else.

mod codes;
mod layout;
mod profile;
mod table;

pub use codes::{CodeMatrix, EncodedRows, SubColumnData};
pub use layout::{ColumnLayout, Layout, SubColumn};
pub use profile::TableProfile;
pub use table::{Scheme, TableEncoder};
