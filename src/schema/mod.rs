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

/// The one of `all` that is called `text`, in any case; the error lists them.
pub(crate) fn choice<T: std::fmt::Display, const N: usize>(all: [T; N], text: &str) -> Result<T, String> {
    let wanted = text.trim().to_ascii_lowercase();
    let names = all.each_ref().map(|choice| format!("'{choice}'")).join(", ");
    all.into_iter().find(|choice| choice.to_string() == wanted).ok_or(names)
}
