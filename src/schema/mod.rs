//! What the data is: keys and the graph they form, the role of each column. Knows Arrow types and statistics, no model
//! and no SQL.

mod graph;
mod infer;
mod keys;
mod names;
mod role;

pub use graph::{Cycle, DependencyOrder, Edge, SchemaGraph};
pub use infer::{ColumnFacts, infer_role};
pub use keys::{ForeignKey, Key, KeyKind, OrphanPolicy, TableName, parse_columns, show_columns};
pub use names::{
    calendar_rank, is_identifier, key_strength, names_table, reference_strength, stem as name_stem, words as name_words,
};
pub use role::ColumnRole;
