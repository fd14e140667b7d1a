//! What is kept of a column of strings or binary values.

use super::{DistinctSketch, Limits};

/// The sketch of a column of strings or binary values.
#[derive(Debug, Clone)]
pub(crate) struct BytesSketch {
    /// The values.
    pub values: DistinctSketch<[u8]>,
    /// Rows of the empty value.
    pub empty: u64,
    /// Length of the longest value, in bytes.
    pub longest: usize,
}

impl BytesSketch {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { values: DistinctSketch::new(limits), empty: 0, longest: 0 }
    }

    /// Takes in `weight` rows of a value.
    pub(crate) fn add(&mut self, value: &[u8], weight: u64) {
        self.values.add(value, weight);
        self.empty += if value.is_empty() { weight } else { 0 };
        self.longest = self.longest.max(value.len());
    }

    /// Takes in the sketch of other rows.
    pub(crate) fn merge(&mut self, other: Self) {
        self.values.merge(other.values);
        self.empty += other.empty;
        self.longest = self.longest.max(other.longest);
    }

    /// Heap bytes held.
    pub(crate) fn memory_size(&self) -> usize {
        self.values.memory_size()
    }
}
