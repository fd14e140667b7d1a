//! What the data is: the role of each column. Knows Arrow types and statistics, no model and no SQL.

mod role;

pub use role::ColumnRole;
