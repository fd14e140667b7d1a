//! What may be the value of another column, of which nothing is known: a payment may be all of a bill that nobody has seen.

use super::{KnownCodes, TableEncoder, UNKNOWN, physical::plain};
use crate::{Result, SynthError};
use arrow::{
    array::{Array, ArrayRef, BooleanArray},
    compute::{kernels::zip::zip, nullif},
};
use std::collections::BTreeMap;

/// The values of a column that may each be that of another column, its base, or happen to be as they are.
#[derive(Debug, Clone)]
pub struct MayEqual {
    /// Where the column has the codes of these values, as an index of the layout.
    pub subcolumn: usize,
    /// Its code for having the value of its base.
    pub equal: u32,
    /// Codes that the base has then, by sub-column, its first one first; [`UNKNOWN`] in rows of which there is no doubt.
    pub base: Vec<(usize, Vec<u32>)>,
    /// How much likelier the value is among those of the base's code than among those of its own.
    pub odds: Vec<f64>,
    /// Index of the column in the schema, and of its base.
    pub columns: [usize; 2],
}

impl TableEncoder {
    /// The columns among `columns` (schema indices), which are `arrays`, that may have the values of others of which nothing is
    /// `known`.
    ///
    /// # Errors
    /// Arrays of other types than the columns'.
    pub fn may_equal(&self, columns: &[usize], arrays: &[ArrayRef], known: &KnownCodes) -> Result<Vec<MayEqual>> {
        let mut found = Vec::new();
        for (&at, values) in columns.iter().zip(arrays) {
            let Some((column, equal)) = self.equal_to(at) else { continue };
            let subcolumns = |at: usize| self.layout().columns[at].subcolumns.clone();
            let (Some(subcolumn), Some(first)) = (subcolumns(at).next(), subcolumns(column).next()) else { continue };
            let ((_, own), (_, base)) = (self.encoder(at), self.encoder(column));
            let array = plain(values)?;
            let (own_codes, base_codes) = (own.codes(array.as_ref())?, base.codes(array.as_ref())?);
            let covered = base.covers(&array)?;
            let is_known =
                |subcolumn: usize, row: usize| known.subcolumn(subcolumn).is_some_and(|codes| codes[row] != UNKNOWN);
            let open = |row: usize| {
                let bin = own_codes[row].is_some_and(|code| own.is_bin(code));
                bin && covered[row] && is_known(subcolumn, row) && !is_known(first, row)
            };
            let open: Vec<bool> = (0..array.len()).map(open).collect();
            if !open.contains(&true) {
                continue;
            }
            let codes = |row: usize| if open[row] { base_codes[row].unwrap_or(UNKNOWN) } else { UNKNOWN };
            let mut of_base = vec![(first, (0..array.len()).map(codes).collect::<Vec<u32>>())];
            for (subcolumn, codes) in (first + 1..).zip(base.part_codes(array.as_ref(), &base_codes)?) {
                let codes = codes.into_iter().zip(&open).map(|(code, &open)| if open { code } else { UNKNOWN });
                of_base.push((subcolumn, codes.collect()));
            }
            let shares = base.shares(array.as_ref())?.into_iter().zip(own.shares(array.as_ref())?);
            let odds = shares.map(|(base, own)| base / own).collect();
            found.push(MayEqual { subcolumn, equal, base: of_base, odds, columns: [at, column] });
        }
        Ok(found)
    }
}

impl MayEqual {
    /// These rows alone, in this order.
    #[must_use]
    pub fn take(&self, rows: &[usize]) -> Self {
        let codes = |codes: &[u32]| rows.iter().map(|&row| codes[row]).collect();
        Self {
            base: self.base.iter().map(|(at, of_base)| (*at, codes(of_base))).collect(),
            odds: rows.iter().map(|&row| self.odds[row]).collect(),
            ..*self
        }
    }

    /// Whether it is open, row by row, which of the two a value is.
    #[must_use]
    pub fn open(&self, known: &KnownCodes) -> Vec<bool> {
        let Some((base, codes)) = self.base.first() else { return vec![false; known.rows()] };
        // What another column has settled is known by now.
        let settled = known.codes(*base);
        codes.iter().zip(settled).map(|(&code, known)| code != UNKNOWN && known == UNKNOWN).collect()
    }

    /// Tells `known` that the rows that are `equal` have the value of their base.
    pub fn tell(&self, equal: &[bool], known: &mut KnownCodes) {
        known.set_where(self.subcolumn, &vec![self.equal; equal.len()], equal);
        self.base.iter().for_each(|(subcolumn, codes)| known.set_where(*subcolumn, codes, equal));
    }

    /// Adds to what is `given`, by column of the schema, the values that the base has in the rows that are `equal`.
    ///
    /// # Errors
    /// The column is not among what is given; values of its base that are of another type.
    pub fn give(&self, equal: &[bool], given: &mut BTreeMap<usize, ArrayRef>) -> Result<()> {
        let equal = BooleanArray::from(equal.to_vec());
        let [own, base] = self.columns;
        let own =
            given.get(&own).ok_or_else(|| SynthError::Internal(format!("column {own} is equal, but not given")))?;
        let own = plain(own)?;
        let values = match given.get(&base) {
            Some(given) => zip(&equal, &own, &plain(given)?)?,
            None => nullif(own.as_ref(), &arrow::compute::not(&equal)?)?,
        };
        given.insert(base, values);
        Ok(())
    }
}
