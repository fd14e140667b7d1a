//! Relations: what a row's parents and siblings have to do with it. Knows no SQL; sees models as traits only.
//!
//! ```text
//! roles       which foreign key owns a table's rows, which are matched, implied, trees
//! ties        how much rows know of their family
//! relations   what a model keeps of all this; the joint layout of context, attributes and own columns
//! learn       a table and its parents ──► the rows that a model learns
//! family      parents of a segment ──► their children: counts, rounds of siblings, matching, keys
//! lookup      which row of a parent a key names
//! order       rows put in another order
//! degrees slots matching tree unique chains importance    the algorithms, over plain numbers
//! ```

use crate::Result;
use arrow::{
    array::ArrayRef,
    row::{RowConverter, SortField},
};

mod apportion;
pub mod chains;
pub mod degrees;
mod family;
mod importance;
mod learn;
mod lookup;
pub mod matching;
mod order;
mod relations;
mod roles;
pub mod slots;
#[cfg(test)]
mod tests;
mod ties;
pub mod tree;
pub mod unique;

pub use family::{Asker, Child, Completion, Family, Generator, ParentRows, Segment};
pub use learn::{LearnedRows, ReferenceFacts, TableFacts, can_be_generated, learn};
pub use lookup::{any_null, by_key, look_up};
pub use relations::{
    Attributes, Children, Context, Domain, Joint, Reference, Relations, Role, Unique, degree_column, depth_column,
    is_hidden, owner_column, place_code,
};
pub use roles::{ReferenceShape, Roles, choose_roles};
pub use ties::Ties;

/// What makes rows of columns like `columns` comparable.
///
/// # Errors
/// Columns of types that have no order.
pub(crate) fn row_converter(columns: &[ArrayRef]) -> Result<RowConverter> {
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone()));
    Ok(RowConverter::new(fields.collect())?)
}

/// How many children each of `parents` parents has; `index` has the parent of each child, or [`NONE`].
pub(crate) fn child_counts(index: &[u32], parents: usize) -> Vec<u32> {
    let mut counts = vec![0u32; parents];
    for &parent in index {
        if let Some(count) = counts.get_mut(parent as usize) {
            *count += 1;
        }
    }
    counts
}

/// No row: a reference to nothing.
pub const NONE: u32 = u32::MAX;
