//! The shape of encoded rows: all that a model knows of a table.

use serde::{Deserialize, Serialize};
use std::ops::Range;

/// One sub-column of the encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubColumn {
    /// Codes `0..cardinality`; null is a code of its own where the column has nulls.
    Code {
        /// Number of codes (at least 1).
        cardinality: u32,
    },
    /// Scalars in [-1, 1], meaningful given the code sub-column just before it
    /// (mode-specific normalisation: the code is the mode).
    Scalar,
}

/// The sub-columns of one column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnLayout {
    /// Indices into [`Layout::subcolumns`]; empty for a column that is generated without a model
    /// (an identifier without nulls, a constant).
    pub subcolumns: Range<usize>,
    /// Whether the column is discrete in the sense of CTGAN: its code may be conditioned on.
    pub discrete: bool,
}

/// The shape of encoded rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Per column of the table, in schema order.
    pub columns: Vec<ColumnLayout>,
    /// All sub-columns, in column order.
    pub subcolumns: Vec<SubColumn>,
    /// The first so many sub-columns are given, not generated: the context of a row.
    pub given: usize,
}
