//! Encoded rows, column by column.

use super::{Layout, SubColumn};
use std::ops::Range;

/// The values of one sub-column, as narrow as its cardinality allows.
#[derive(Debug, Clone, PartialEq)]
pub enum SubColumnData {
    /// Codes of a cardinality up to 256.
    Code8(Vec<u8>),
    /// Codes of a cardinality up to 65,536.
    Code16(Vec<u16>),
    /// Codes of any cardinality.
    Code32(Vec<u32>),
    /// Scalars in [-1, 1].
    Scalar(Vec<f32>),
}

impl SubColumnData {
    /// An empty sub-column of the narrowest type for `kind`, with room for `capacity` rows.
    #[must_use]
    pub fn with_capacity(kind: SubColumn, capacity: usize) -> Self {
        match kind {
            SubColumn::Code { cardinality, .. } if cardinality <= 1 << 8 => Self::Code8(Vec::with_capacity(capacity)),
            SubColumn::Code { cardinality, .. } if cardinality <= 1 << 16 => Self::Code16(Vec::with_capacity(capacity)),
            SubColumn::Code { .. } => Self::Code32(Vec::with_capacity(capacity)),
            SubColumn::Scalar => Self::Scalar(Vec::with_capacity(capacity)),
        }
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Code8(v) => v.len(),
            Self::Code16(v) => v.len(),
            Self::Code32(v) => v.len(),
            Self::Scalar(v) => v.len(),
        }
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The code of row `row`; 0 for a scalar sub-column.
    #[must_use]
    pub fn code(&self, row: usize) -> u32 {
        match self {
            Self::Code8(v) => u32::from(v[row]),
            Self::Code16(v) => u32::from(v[row]),
            Self::Code32(v) => v[row],
            Self::Scalar(_) => 0,
        }
    }

    /// The codes of all rows.
    #[must_use]
    pub fn codes(&self) -> Vec<u32> {
        (0..self.len()).map(|row| self.code(row)).collect()
    }

    /// Row `row` becomes row `of` of a sub-column of the same cardinality.
    pub fn set(&mut self, row: usize, from: &Self, of: usize) {
        match (self, from) {
            (Self::Code8(to), Self::Code8(from)) => to[row] = from[of],
            (Self::Code16(to), Self::Code16(from)) => to[row] = from[of],
            (Self::Code32(to), Self::Code32(from)) => to[row] = from[of],
            (Self::Scalar(to), Self::Scalar(from)) => to[row] = from[of],
            _ => {}
        }
    }

    /// Appends a code (which must be below the cardinality). A scalar sub-column ignores it.
    #[allow(clippy::cast_possible_truncation)]
    pub fn push_code(&mut self, code: u32) {
        match self {
            Self::Code8(v) => v.push(code as u8),
            Self::Code16(v) => v.push(code as u16),
            Self::Code32(v) => v.push(code),
            Self::Scalar(_) => {}
        }
    }

    /// Appends a scalar. A code sub-column ignores it.
    pub fn push_scalar(&mut self, value: f32) {
        if let Self::Scalar(v) = self {
            v.push(value);
        }
    }

    /// Appends the rows `rows` of a sub-column of the same cardinality.
    pub fn extend(&mut self, from: &Self, rows: Range<usize>) {
        match (self, from) {
            (Self::Code8(to), Self::Code8(from)) => to.extend_from_slice(&from[rows]),
            (Self::Code16(to), Self::Code16(from)) => to.extend_from_slice(&from[rows]),
            (Self::Code32(to), Self::Code32(from)) => to.extend_from_slice(&from[rows]),
            (Self::Scalar(to), Self::Scalar(from)) => to.extend_from_slice(&from[rows]),
            (to, from) => rows.for_each(|row| to.push_code(from.code(row))),
        }
    }

    /// Fills up with zeros to `rows` rows.
    pub fn fill(&mut self, rows: usize) {
        match self {
            Self::Code8(v) => v.resize(rows, 0),
            Self::Code16(v) => v.resize(rows, 0),
            Self::Code32(v) => v.resize(rows, 0),
            Self::Scalar(v) => v.resize(rows, 0.0),
        }
    }

    /// Removes all rows, keeping the memory.
    pub fn clear(&mut self) {
        match self {
            Self::Code8(v) => v.clear(),
            Self::Code16(v) => v.clear(),
            Self::Code32(v) => v.clear(),
            Self::Scalar(v) => v.clear(),
        }
    }

    /// Keeps the first `rows` rows.
    pub fn truncate(&mut self, rows: usize) {
        match self {
            Self::Code8(v) => v.truncate(rows),
            Self::Code16(v) => v.truncate(rows),
            Self::Code32(v) => v.truncate(rows),
            Self::Scalar(v) => v.truncate(rows),
        }
    }

    /// Bytes held.
    #[must_use]
    pub fn memory_size(&self) -> usize {
        match self {
            Self::Code8(v) => v.capacity(),
            Self::Code16(v) => 2 * v.capacity(),
            Self::Code32(v) => 4 * v.capacity(),
            Self::Scalar(v) => 4 * v.capacity(),
        }
    }
}

/// Some encoded rows: one [`SubColumnData`] per sub-column of the layout, all of one length.
#[derive(Debug, Clone, PartialEq)]
pub struct EncodedRows {
    /// The sub-columns, in layout order.
    pub subcolumns: Vec<SubColumnData>,
    /// Number of rows (kept apart: a layout may have no sub-columns).
    pub rows: usize,
}

impl EncodedRows {
    /// No rows yet, with room for `capacity`.
    #[must_use]
    pub fn with_capacity(layout: &Layout, capacity: usize) -> Self {
        let subcolumns = layout.subcolumns.iter().map(|&s| SubColumnData::with_capacity(s, capacity)).collect();
        Self { subcolumns, rows: 0 }
    }

    /// Appends the rows `rows` of `from`, which is of the same layout.
    pub fn extend(&mut self, from: &Self, rows: Range<usize>) {
        for (to, from) in self.subcolumns.iter_mut().zip(&from.subcolumns) {
            to.extend(from, rows.clone());
        }
        self.rows += rows.len();
    }

    /// Removes all rows, keeping the memory.
    pub fn clear(&mut self) {
        self.subcolumns.iter_mut().for_each(SubColumnData::clear);
        self.rows = 0;
    }

    /// Bytes held.
    #[must_use]
    pub fn memory_size(&self) -> usize {
        self.subcolumns.iter().map(SubColumnData::memory_size).sum()
    }
}
