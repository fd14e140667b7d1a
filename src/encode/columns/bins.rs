//! Quantile bins: a number as one code, for models that draw codes only.

use super::{DecodeInput, invalid, pack};
use crate::{
    Result,
    encode::{
        hash::FixedState,
        physical::{Lane, value_type},
        text_serde,
        wide::{Float, Grid},
    },
    noise::unit,
};
use arrow::{
    array::{Array, ArrayRef},
    buffer::NullBuffer,
    datatypes::Field,
};
use serde::{Deserialize, Serialize};
use std::{collections::HashMap, sync::OnceLock};

/// Bins at most.
const BINS: usize = 100;
/// Values that a bin should hold at least.
const ROWS_PER_BIN: f64 = 40.0;
/// Quantiles kept per bin, both ends included.
const SKETCH: usize = 9;

/// Numbers as codes: null first if there are nulls, then, in ascending order, *atoms* (values with a share of their own,
/// NaN and infinities) and bins of about equal counts of the others. A bin decodes through the quantile function of the
/// values seen in it, so what is skewed within a bin stays skewed; no value is drawn uniformly between two edges that lie far
/// apart.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound = "")]
pub(crate) struct Bins<W: Lane> {
    nullable: bool,
    #[serde(with = "text_serde::list")]
    atoms: Vec<W>,
    #[serde(with = "text_serde")]
    min: W,
    #[serde(with = "text_serde")]
    max: W,
    step: u64,
    decimals: Option<u8>,
    single: bool,
    /// Per bin, [`SKETCH`] ascending places on the grid; bin `i` ends where bin `i + 1` begins.
    bins: Vec<Vec<Float>>,
    #[serde(skip)]
    tables: OnceLock<Tables<W>>,
}

/// What follows from the rest.
#[derive(Debug, Clone)]
struct Tables<W> {
    /// The codes of atoms.
    atoms: HashMap<W, u32, FixedState>,
    /// The codes of bins.
    bins: Vec<u32>,
    /// What codes stand for, but that of null.
    places: Vec<Place>,
}

/// An atom or a bin, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Atom(usize),
    Bin(usize),
}

impl<W: Lane> Bins<W> {
    /// Fits values of weight > 0 in ascending order that are not atoms, all finite and on the grid; at least one.
    pub(crate) fn fit(points: &[(W, f64)], atoms: Vec<W>, grid: &Grid<W>, nullable: bool) -> Self {
        let total: f64 = points.iter().map(|(_, weight)| weight).sum();
        let count = (total / ROWS_PER_BIN).clamp(1.0, BINS as f64).floor();
        let mut bins = Vec::new();
        let (mut bin, mut held, mut passed) = (Vec::new(), 0.0, 0.0);
        for (i, (value, weight)) in points.iter().enumerate() {
            bin.push((value.offset(grid), *weight));
            held += weight;
            // A value is never split between bins; the share of a bin is of what is still to come.
            let share = (total - passed) / (count - bins.len() as f64).max(1.0);
            let last = i + 1 == points.len();
            if last || held + 0.5 * points[i + 1].1 >= share {
                bins.push(quantiles(&bin, held));
                passed += held;
                held = 0.0;
                bin.clear();
            }
        }
        Self {
            nullable,
            atoms,
            min: grid.min,
            max: grid.max,
            step: grid.step,
            decimals: grid.decimals,
            single: grid.single,
            bins,
            tables: OnceLock::new(),
        }
    }

    /// Whether values are within the range of those seen.
    pub(crate) fn covers(&self, array: &dyn Array) -> Result<Vec<bool>> {
        Ok(W::read(array)?.into_iter().map(|value| self.min <= value && value <= self.max).collect())
    }

    fn grid(&self) -> Grid<W> {
        Grid { min: self.min, max: self.max, step: self.step, decimals: self.decimals, single: self.single }
    }

    pub(crate) fn nullable(&self) -> bool {
        self.nullable
    }

    #[allow(clippy::cast_possible_truncation)]
    pub(crate) fn cardinality(&self) -> u32 {
        (usize::from(self.nullable) + self.atoms.len() + self.bins.len()) as u32
    }

    /// Atoms stand among the bins, in the order of their values: after the bin that they lie in.
    #[allow(clippy::cast_possible_truncation)]
    fn tables(&self) -> &Tables<W> {
        self.tables.get_or_init(|| {
            let grid = self.grid();
            let before = |atom: &W| self.bins.partition_point(|bin| bin[0].0 <= atom.offset(&grid));
            let mut places: Vec<(usize, Place)> = (0..self.bins.len()).map(|bin| (bin, Place::Bin(bin))).collect();
            places.extend(self.atoms.iter().enumerate().map(|(i, atom)| (before(atom), Place::Atom(i))));
            // A bin of number i comes after the atoms that have i bins before them.
            places.sort_by_key(|&(at, place)| (at, matches!(place, Place::Bin(_))));
            let mut tables = Tables {
                atoms: HashMap::default(),
                bins: vec![0; self.bins.len()],
                places: places.into_iter().map(|(_, place)| place).collect(),
            };
            for (code, place) in (u32::from(self.nullable)..).zip(&tables.places) {
                match *place {
                    Place::Atom(atom) => _ = tables.atoms.insert(self.atoms[atom], code),
                    Place::Bin(bin) => tables.bins[bin] = code,
                }
            }
            tables
        })
    }

    pub(crate) fn prepare(&mut self, field: &Field) -> Result<()> {
        let places = || self.bins.iter().flatten().map(|place| place.0);
        let ascending = places().zip(places().skip(1)).all(|(a, b)| a <= b) && places().all(f64::is_finite);
        if self.bins.is_empty() || self.bins.iter().any(|bin| bin.len() != SKETCH) || !ascending {
            return Err(invalid(field, "impossible bins"));
        }
        if self.bins.len() > 1 << 16 || self.atoms.len() > 1 << 16 || self.tables().atoms.len() != self.atoms.len() {
            return Err(invalid(field, "impossible atoms"));
        }
        if self.step == 0 || self.min > self.max || !self.min.is_finite() || !self.max.is_finite() {
            return Err(invalid(field, "impossible range"));
        }
        if self.nullable && !field.is_nullable() {
            return Err(invalid(field, "nulls in a column declared NOT NULL"));
        }
        Ok(())
    }

    /// The code of each value; none for a null, NaN or infinity that was never seen.
    #[allow(clippy::cast_possible_truncation)]
    pub(crate) fn codes(&self, array: &dyn Array) -> Result<Vec<Option<u32>>> {
        let nulls = array.nulls().filter(|n| n.null_count() > 0);
        let (tables, grid) = (self.tables(), self.grid());
        let code = |(row, value): (usize, W)| {
            if nulls.is_some_and(|n| n.is_null(row)) {
                return self.nullable.then_some(0);
            }
            tables.atoms.get(&value).copied().or_else(|| {
                value.is_finite().then(|| {
                    let place = value.offset(&grid);
                    let after = self.bins.partition_point(|bin| bin[0].0 <= place);
                    tables.bins[after.saturating_sub(1)]
                })
            })
        };
        Ok(W::read(array)?.into_iter().enumerate().map(code).collect())
    }

    /// Whether a code stands for many values.
    pub(crate) fn is_bin(&self, code: u32) -> bool {
        let place = (code as usize).checked_sub(usize::from(self.nullable)).and_then(|at| self.tables().places.get(at));
        matches!(place, Some(Place::Bin(_)))
    }

    pub(crate) fn decode(&self, input: &DecodeInput<'_>) -> Result<ArrayRef> {
        let codes = input.codes(self.cardinality())?;
        let mut bits = vec![0u32; input.rows.end];
        input.noise.purpose(&format!("decode/{}", input.field.name())).fill_u32(input.block, &mut bits);
        self.values(input.field, &codes, &bits[input.rows.clone()])
    }

    /// The values of codes below the cardinality, `bits` giving the place within a bin.
    pub(crate) fn values(&self, field: &Field, codes: &[u32], bits: &[u32]) -> Result<ArrayRef> {
        let (places, grid) = (&self.tables().places, self.grid());
        let value = |(&code, &bits): (&u32, &u32)| {
            let Some(at) = (code as usize).checked_sub(usize::from(self.nullable)) else { return self.min };
            match places[at] {
                Place::Atom(atom) => self.atoms[atom],
                Place::Bin(bin) => {
                    let place = f64::from(unit(bits)) * (SKETCH - 1) as f64;
                    let at = (place as usize).min(SKETCH - 2);
                    let (low, high) = (self.bins[bin][at].0, self.bins[bin][at + 1].0);
                    W::at(low + (high - low) * (place - at as f64), &grid)
                }
            }
        };
        let values = codes.iter().zip(bits).map(value).collect();
        let nulls = self.nullable.then(|| codes.iter().map(|&c| c > 0).collect::<NullBuffer>());
        let nulls = nulls.filter(|n| n.null_count() > 0);
        pack(W::write(values, nulls, value_type(field.data_type()))?, field)
    }
}

/// [`SKETCH`] evenly spaced quantiles of weighted places, ends included.
fn quantiles(points: &[(f64, f64)], total: f64) -> Vec<Float> {
    let mut at = 0;
    let mut below = 0.0;
    (0..SKETCH)
        .map(|i| {
            let wanted = total * i as f64 / (SKETCH - 1) as f64;
            while at + 1 < points.len() && below + points[at].1 <= wanted {
                below += points[at].1;
                at += 1;
            }
            Float(points[at].0)
        })
        .collect()
}
