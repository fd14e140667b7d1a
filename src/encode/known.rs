//! Rows of which some codes are known: what a model is asked about.

use std::ops::Range;

/// A code that is not known.
pub const UNKNOWN: u32 = u32::MAX;

/// Some rows, each with the codes that are known of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownCodes {
    subcolumns: Vec<Option<Vec<u32>>>,
    rows: usize,
}

impl KnownCodes {
    /// `rows` rows of `subcolumns` sub-columns of which nothing is known.
    #[must_use]
    pub fn nothing(subcolumns: usize, rows: usize) -> Self {
        Self { subcolumns: vec![None; subcolumns], rows }
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The codes of a sub-column, [`UNKNOWN`] where they are not known; none if they are in no row.
    #[must_use]
    pub fn subcolumn(&self, index: usize) -> Option<&[u32]> {
        self.subcolumns.get(index)?.as_deref()
    }

    /// The same, one per row wherever they are known.
    #[must_use]
    pub fn codes(&self, index: usize) -> Vec<u32> {
        self.subcolumn(index).map_or_else(|| vec![UNKNOWN; self.rows], <[u32]>::to_vec)
    }

    /// Tells the codes of a sub-column, one per row.
    pub fn set(&mut self, index: usize, codes: Vec<u32>) {
        if codes.len() == self.rows
            && let Some(subcolumn) = self.subcolumns.get_mut(index)
        {
            *subcolumn = codes.iter().any(|&code| code != UNKNOWN).then_some(codes);
        }
    }

    /// Tells the codes of a sub-column in the rows that are `told`; what is known of others stays as it is.
    pub fn set_where(&mut self, index: usize, codes: &[u32], told: &[bool]) {
        let mut all = self.codes(index);
        all.iter_mut().zip(codes).zip(told).filter(|(_, told)| **told).for_each(|((known, &code), _)| *known = code);
        self.set(index, all);
    }

    /// These rows alone, in this order.
    #[must_use]
    pub fn take(&self, rows: &[usize]) -> Self {
        let part = |codes: &Vec<u32>| rows.iter().map(|&row| codes[row]).collect();
        let mut out = Self::nothing(self.subcolumns.len(), rows.len());
        (0..).zip(&self.subcolumns).for_each(|(at, codes)| codes.iter().for_each(|codes| out.set(at, part(codes))));
        out
    }

    /// The rows `rows` alone.
    #[must_use]
    pub fn slice(&self, rows: Range<usize>) -> Self {
        let part = |codes: &Option<Vec<u32>>| codes.as_ref().map(|codes| codes[rows.clone()].to_vec());
        Self { subcolumns: self.subcolumns.iter().map(part).collect(), rows: rows.len() }
    }
}
