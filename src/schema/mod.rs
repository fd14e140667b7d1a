//! What the data is: the role of each column. Knows Arrow types and statistics, no model and no SQL.

mod infer;
mod role;

pub use infer::{ColumnFacts, infer_role};
pub use role::ColumnRole;
