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
        /// Those that stand for numbers.
        ascending: Ascending,
    },
    /// Scalars in [-1, 1], meaningful given the code sub-column just before it
    /// (mode-specific normalisation: the code is the mode).
    Scalar,
}

/// Codes `start..end` of a sub-column, which stand for numbers: the greater the code, the greater the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ascending {
    /// The first of them.
    pub start: u32,
    /// The first after them; `start` if no code stands for a number.
    pub end: u32,
}

impl SubColumn {
    /// Codes `0..cardinality` in no order.
    #[must_use]
    pub fn codes(cardinality: u32) -> Self {
        Self::Code { cardinality, ascending: Ascending::default() }
    }

    /// Codes `0..cardinality`, of which those from `start` on stand for numbers.
    #[must_use]
    pub fn numbers(start: u32, cardinality: u32) -> Self {
        Self::Code { cardinality, ascending: Ascending { start, end: cardinality } }
    }

    /// Its codes that stand for numbers.
    #[must_use]
    pub fn ascending(&self) -> Ascending {
        match self {
            Self::Code { ascending, .. } => *ascending,
            Self::Scalar => Ascending::default(),
        }
    }

    /// The same with one more code, which is none of its numbers.
    #[must_use]
    pub fn with_one_more(self) -> Self {
        match self {
            Self::Code { cardinality, ascending } => Self::Code { cardinality: cardinality + 1, ascending },
            Self::Scalar => self,
        }
    }
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
    /// Those of them that tell of the sibling before: they yield where context and row contradict each other.
    pub siblings: Range<usize>,
}

impl Layout {
    /// The number of codes of a sub-column; 0 of one that is a scalar, or that is not there.
    #[must_use]
    pub fn cardinality(&self, subcolumn: usize) -> usize {
        match self.subcolumns.get(subcolumn) {
            Some(SubColumn::Code { cardinality, .. }) => *cardinality as usize,
            _ => 0,
        }
    }
}
