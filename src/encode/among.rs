//! What the values of columns that are functions of another say of that one.

use super::{KnownCodes, TableEncoder, UNKNOWN, Unseen, columns::unseen, physical::plain};
use crate::Result;
use arrow::array::{Array, ArrayRef};
use std::collections::BTreeMap;

/// The codes that a sub-column may have, row by row, as the values of the functions of its column tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Among {
    /// Index in the layout.
    pub subcolumn: usize,
    /// In ascending order; none where nothing is told, no code where what is told is contradictory.
    pub allowed: Vec<Option<Vec<u32>>>,
}

impl Among {
    /// Tells `known` the codes where only one will do, and nothing else is known.
    pub fn settle(&self, known: &mut KnownCodes) {
        let mut codes = known.codes(self.subcolumn);
        for (code, allowed) in codes.iter_mut().zip(&self.allowed) {
            if let (UNKNOWN, Some([only])) = (*code, allowed.as_deref()) {
                *code = *only;
            }
        }
        known.set(self.subcolumn, codes);
    }

    /// Of these rows alone, in this order.
    #[must_use]
    pub fn take(&self, rows: &[usize]) -> Self {
        let allowed = rows.iter().map(|&row| self.allowed[row].clone()).collect();
        Self { subcolumn: self.subcolumn, allowed }
    }
}

impl TableEncoder {
    /// What the columns `columns` (schema indices), which are `arrays`, tell of the columns that they are functions of.
    /// Nulls tell nothing.
    ///
    /// # Errors
    /// As [`TableEncoder::known`].
    pub fn among(&self, columns: &[usize], arrays: &[ArrayRef], rows: usize, policy: Unseen) -> Result<Vec<Among>> {
        let mut told: BTreeMap<usize, Among> = BTreeMap::new();
        for (&at, array) in columns.iter().zip(arrays) {
            let Some((of, codes)) = self.function(at) else { continue };
            let Some(subcolumn) = self.layout().columns[of].subcolumns.clone().next() else { continue };
            let mut origins: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
            for (origin, &code) in (0..).zip(codes.iter()) {
                origins.entry(code).or_default().push(origin);
            }
            let (field, encoder) = self.encoder(at);
            let array = plain(array)?;
            let nulls = array.logical_nulls();
            let among = told.entry(of).or_insert_with(|| Among { subcolumn, allowed: vec![None; rows] });
            for (row, code) in encoder.codes(array.as_ref())?.into_iter().enumerate() {
                if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                    continue;
                }
                let Some(code) = code else {
                    match policy {
                        Unseen::Ignore => continue,
                        Unseen::Refuse => return Err(unseen(field, array.as_ref(), row)),
                    }
                };
                let origins = origins.get(&code).map_or(&[][..], Vec::as_slice);
                match &mut among.allowed[row] {
                    Some(allowed) => allowed.retain(|origin| origins.binary_search(origin).is_ok()),
                    none => *none = Some(origins.to_vec()),
                }
            }
        }
        Ok(told.into_values().collect())
    }
}
