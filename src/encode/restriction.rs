//! What a condition leaves of a column: codes, and places within the codes that stand for many values.

use super::{EncodedRows, SubColumn, SubColumnData, TableEncoder, UNKNOWN, columns::KnownParts};
use crate::{Result, SynthError};
use arrow::{
    array::{Array, ArrayRef, BooleanArray},
    compute::{and, nullif},
};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Places tried within a code that stands for many values, at first and where none of those will do.
const PLACES: [u32; 2] = [1 << 12, 1 << 16];

/// The values of one column that satisfy a condition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Restriction {
    /// Index in the schema.
    pub column: usize,
    allowed: Vec<Allowed>,
    /// What the condition leaves of the column that this one is equal to at times, where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base: Option<Box<Restriction>>,
}

/// A code with values that satisfy the condition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Allowed {
    code: u32,
    /// The share of the code's values.
    share: f32,
    /// Where they are, in ascending order, as random bits would say it; empty if all will do.
    places: Vec<u32>,
}

impl Restriction {
    /// The share of each code's values that satisfy the condition, by code.
    #[must_use]
    pub fn shares(&self, cardinality: usize) -> Vec<f32> {
        let mut shares = vec![0.0; cardinality];
        for allowed in &self.allowed {
            if let Some(share) = shares.get_mut(allowed.code as usize) {
                *share = allowed.share;
            }
        }
        // The code for being equal to the base is the last one.
        if let (Some(_), Some(equal)) = (&self.base, shares.last_mut()) {
            *equal = 1.0;
        }
        shares
    }

    /// What is left of the column that this one is equal to at times, where it is equal to it.
    #[must_use]
    pub fn base(&self) -> Option<&Self> {
        self.base.as_deref()
    }

    /// Leaves of the columns that restricted ones are equal to at times what restrictions of their own leave of them.
    pub fn settle(restrictions: &mut [Self]) {
        for at in 0..restrictions.len() {
            let Some(mut base) = restrictions[at].base.take() else { continue };
            for other in restrictions.iter().filter(|other| other.column == base.column) {
                base.allowed = base.allowed.into_iter().filter_map(|allowed| other.within(allowed)).collect();
            }
            restrictions[at].base = Some(base);
        }
    }

    /// The part of what is `allowed` that this restriction allows, too.
    fn within(&self, allowed: Allowed) -> Option<Allowed> {
        let at = self.allowed.binary_search_by_key(&allowed.code, |own| own.code).ok()?;
        let own = &self.allowed[at];
        if own.places.is_empty() || allowed.places.is_empty() {
            return Some(if own.places.is_empty() { allowed } else { own.clone() });
        }
        let count = allowed.places.len();
        let places = allowed.places.into_iter().filter(|place| own.places.binary_search(place).is_ok());
        let places: Vec<u32> = places.collect();
        let share = allowed.share * places.len() as f32 / count as f32;
        (!places.is_empty()).then_some(Allowed { share, places, ..allowed })
    }

    /// What two restrictions of a column with a code per value leave of it: none if that is nothing.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Option<Self> {
        self.allowed.retain(|allowed| other.allowed.binary_search_by_key(&allowed.code, |other| other.code).is_ok());
        (!self.allowed.is_empty()).then_some(self)
    }

    /// Whether all values of a code satisfy the condition.
    fn is_whole(&self, code: u32) -> bool {
        let found = self.allowed.binary_search_by_key(&code, |allowed| allowed.code);
        found.is_ok_and(|at| self.allowed[at].places.is_empty())
    }

    /// Random bits that lead to a value that satisfies the condition, of those drawn for a value of `code`.
    fn place(&self, code: u32, bits: u32) -> u32 {
        let found = self.allowed.binary_search_by_key(&code, |allowed| allowed.code);
        match found.ok().map(|at| &self.allowed[at].places) {
            Some(places) if !places.is_empty() => places[((u64::from(bits) * places.len() as u64) >> 32) as usize],
            _ => bits,
        }
    }
}

impl TableEncoder {
    /// The values of column `column` that pass `test`, which sees arrays of the column's type. None of a column whose codes
    /// do not say its values: it is generated, or learned as the time since another.
    ///
    /// # Errors
    /// No value that the encoder can make passes; the test failed.
    pub fn restrict(
        &self,
        column: usize,
        test: impl Fn(&ArrayRef) -> Result<BooleanArray>,
    ) -> Result<Option<Restriction>> {
        self.restrict_by(column, &test)
    }

    fn restrict_by(
        &self,
        column: usize,
        test: &dyn Fn(&ArrayRef) -> Result<BooleanArray>,
    ) -> Result<Option<Restriction>> {
        let (field, encoder) = self.encoder(column);
        let cardinality = match self.layout().columns[column].subcolumns.clone().next() {
            Some(at) => match self.layout().subcolumns[at] {
                // What is equal to another column goes by what that one may be.
                SubColumn::Code { cardinality, .. } => cardinality - u32::from(self.is_equal_at_times(column)),
                SubColumn::Scalar => 0,
            },
            None => 1, // a constant
        };
        let nothing = || SynthError::Column {
            column: field.name().clone(),
            reason: "no value that the model has learned satisfies it".to_owned(),
            way_out: "look at the values that the table has".to_owned(),
        };
        if let Some((of, codes)) = self.function(column) {
            return self.restrict_function(column, of, &codes, test).ok_or_else(nothing)?.map(Some);
        }
        let values = |codes: &[u32], bits: &[u32]| encoder.values(field, codes, bits, KnownParts::default());
        if self.base(column).is_some() || values(&[], &[]).is_none() {
            return Ok(None);
        }
        let passing = |codes: &[u32], bits: &[u32]| -> Result<Vec<bool>> {
            let passed = match values(codes, bits) {
                Some(values) => test(&values?)?,
                None => return Ok(vec![false; codes.len()]),
            };
            Ok((0..codes.len()).map(|row| passed.is_valid(row) && passed.value(row)).collect())
        };
        let (bins, single): (Vec<u32>, Vec<u32>) = (0..cardinality).partition(|&code| encoder.is_bin(code));
        let passed = passing(&single, &vec![0; single.len()])?;
        let whole = |code| Allowed { code, share: 1.0, places: Vec::new() };
        let mut allowed: Vec<Allowed> =
            single.into_iter().zip(passed).filter(|(_, passed)| *passed).map(|(code, _)| whole(code)).collect();
        for places in PLACES {
            let step = ((1u64 << 32) / u64::from(places)) as u32;
            for &code in &bins {
                let bits: Vec<u32> = (0..places).map(|place| place * step).collect();
                let passed = passing(&vec![code; bits.len()], &bits)?;
                let count = passed.iter().filter(|passed| **passed).count();
                if count == bits.len() {
                    allowed.push(whole(code));
                } else if count > 0 {
                    let share = count as f32 / bits.len() as f32;
                    let places = bits.into_iter().zip(passed).filter(|(_, passed)| *passed).map(|(bits, _)| bits);
                    allowed.push(Allowed { code, share, places: places.collect() });
                }
            }
            if !allowed.is_empty() || bins.is_empty() {
                break;
            }
        }
        // It takes no value over that it never has.
        let taken = |values: &ArrayRef| Ok(and(&test(values)?, &BooleanArray::from(encoder.covers(values)?))?);
        let base = match self.equal_to(column).map(|(base, _)| (base, self.restrict_by(base, &taken))) {
            Some((of, Ok(base))) => base.filter(|base| base.column == of),
            // No value that it can be equal to will do.
            Some((_, Err(SynthError::Column { .. }))) | None => None,
            Some((_, Err(error))) => return Err(error),
        };
        let base = base.map(|base| Box::new(Restriction { base: None, ..base }));
        if allowed.is_empty() && base.is_none() {
            return Err(nothing());
        }
        allowed.sort_by_key(|allowed| allowed.code);
        Ok(Some(Restriction { column, allowed, base }))
    }

    /// What a test of a column that is a function of another leaves of the other; none if it leaves nothing.
    fn restrict_function(
        &self,
        column: usize,
        of: usize,
        codes: &[u32],
        test: &dyn Fn(&ArrayRef) -> Result<BooleanArray>,
    ) -> Option<Result<Restriction>> {
        let (field, encoder) = self.encoder(column);
        let passed = match encoder.all(field)?.and_then(|values| test(&values)) {
            Ok(passed) => passed,
            Err(error) => return Some(Err(error)),
        };
        let passes = |&code: &u32| passed.is_valid(code as usize) && passed.value(code as usize);
        let allowed: Vec<Allowed> = (0..)
            .zip(codes)
            .filter(|(_, value)| passes(value))
            .map(|(code, _)| Allowed { code, share: 1.0, places: Vec::new() })
            .collect();
        (!allowed.is_empty()).then_some(Ok(Restriction { column: of, allowed, base: None }))
    }

    /// The values of the rows `rows` of a restricted column, in encoded rows of which all can be decoded; `bits` are random.
    /// What else than the code is encoded of a value counts where all values of the code will do. Null where it has the value of
    /// another column.
    ///
    /// # Errors
    /// Codes that the encoder never made.
    pub fn restricted(
        &self,
        restriction: &Restriction,
        encoded: &EncodedRows,
        rows: Range<usize>,
        bits: &[u32],
    ) -> Result<ArrayRef> {
        let (field, encoder) = self.encoder(restriction.column);
        let subcolumns = &encoded.subcolumns[self.layout().columns[restriction.column].subcolumns.clone()];
        let code = |row: usize| subcolumns.first().map_or(0, |codes| codes.code(row));
        let codes: Vec<u32> = rows.clone().map(code).collect();
        let equal = self.is_equal(restriction.column, encoded, rows.clone());
        // Any other code will do there.
        let codes: Vec<u32> =
            codes.into_iter().zip(equal.values()).map(|(code, equal)| if equal { code - 1 } else { code }).collect();
        let whole: Vec<bool> = codes.iter().map(|&code| restriction.is_whole(code)).collect();
        let part = |part: &SubColumnData| {
            rows.clone().zip(&whole).map(|(row, &whole)| if whole { part.code(row) } else { 0 }).collect()
        };
        let parts: Vec<Vec<u32>> = subcolumns.iter().skip(1).map(part).collect();
        let places: Vec<u32> = codes.iter().zip(bits).map(|(&code, &bits)| restriction.place(code, bits)).collect();
        let codes = match self.function(restriction.column) {
            Some((_, of_category)) => {
                codes.iter().map(|&code| of_category.get(code as usize).copied().unwrap_or(UNKNOWN)).collect()
            }
            None => codes,
        };
        let unlearned = || SynthError::Internal(format!("a restriction of the unlearned column `{}`", field.name()));
        let values = encoder.values(field, &codes, &places, KnownParts { codes: &parts, within_bins: true });
        let values = values.ok_or_else(unlearned)??;
        Ok(if equal.true_count() > 0 { nullif(values.as_ref(), &equal)? } else { values })
    }
}
