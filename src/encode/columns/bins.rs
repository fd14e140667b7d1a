//! Quantile bins: a number as one code, for models that draw codes only.

use super::{
    DecodeInput, invalid, pack,
    parts::{self, Binned, KnownParts, Part, PartCodes, Within},
};
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
    datatypes::{DataType, Field},
};
use serde::{Deserialize, Serialize};
use std::{collections::HashMap, ops::Range, sync::OnceLock};

/// Bins at most.
const BINS: usize = 100;
/// Values that a bin should hold at least.
const ROWS_PER_BIN: f64 = 40.0;
/// Quantiles kept per bin, both ends included.
const SKETCH: usize = 9;
/// Values per bin that stand for all between its ends.
const SMOOTH: usize = 256;

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
    /// What a bin leaves open and other sub-columns say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    parts: Vec<Part>,
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
    pub(crate) fn fit(
        points: &[(W, f64)],
        atoms: Vec<W>,
        grid: &Grid<W>,
        nullable: bool,
        data_type: &DataType,
    ) -> Self {
        let total: f64 = points.iter().map(|(_, weight)| weight).sum();
        let count = (total / ROWS_PER_BIN).clamp(1.0, BINS as f64).floor();
        let places: Vec<(f64, f64)> = points.iter().map(|(value, weight)| (value.offset(grid), *weight)).collect();
        let (mut bins, mut ranges) = (Vec::new(), Vec::new());
        let (mut first, mut held, mut passed) = (0, 0.0, 0.0);
        for (i, (_, weight)) in points.iter().enumerate() {
            held += weight;
            // A value is never split between bins; the share of a bin is of what is still to come.
            let share = (total - passed) / (count - bins.len() as f64).max(1.0);
            let last = i + 1 == points.len();
            if last || held + 0.5 * points[i + 1].1 >= share {
                bins.push(quantiles(&places[first..=i]));
                ranges.push(first..i + 1);
                passed += held;
                (first, held) = (i + 1, 0.0);
            }
        }
        let parts = learned_parts(points, &bins, &ranges, grid, data_type);
        // Values whose digits are drawn are left to them.
        let ordinary = |at: &usize| {
            points[*at].0.to_whole(grid).is_none_or(|whole| !parts.iter().any(|part| part.is_ending(whole)))
        };
        for (bin, range) in bins.iter_mut().zip(&ranges) {
            let kept: Vec<(f64, f64)> = range.clone().filter(ordinary).map(|at| places[at]).collect();
            if kept.len() < range.len() && !kept.is_empty() {
                let ends = (bin[0], bin[SKETCH - 1]);
                *bin = quantiles(&kept);
                (bin[0], bin[SKETCH - 1]) = ends;
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
            parts,
            bins,
            tables: OnceLock::new(),
        }
    }

    /// The sub-columns besides the bin's.
    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The codes of the parts of values whose codes are `codes`, part by part.
    pub(crate) fn part_codes(&self, array: &dyn Array, codes: &[Option<u32>]) -> Result<PartCodes> {
        if self.parts.is_empty() {
            return Ok(Vec::new());
        }
        let grid = self.grid();
        let is_bin = |code: &Option<u32>| code.is_some_and(|code| self.is_bin(code));
        let wholes: Vec<Option<i64>> = (W::read(array)?.into_iter().zip(codes))
            .map(|(value, code)| if is_bin(code) { value.to_whole(&grid) } else { None })
            .collect();
        let of = |part: &Part| wholes.iter().map(|whole| whole.map_or(0, |whole| part.code(whole))).collect();
        Ok(self.parts.iter().map(of).collect())
    }

    /// Whether values are within the range of those seen.
    pub(crate) fn covers(&self, array: &dyn Array) -> Result<Vec<bool>> {
        Ok(W::read(array)?.into_iter().map(|value| self.min <= value && value <= self.max).collect())
    }

    /// Where the values of each bin may be moved to.
    fn within(&self, grid: &Grid<W>, within_bins: bool) -> Vec<Within> {
        let whole = |value: W| value.to_whole(grid).unwrap_or(0);
        let end = |place: Option<&Float>| place.map_or(0, |place| whole(W::at(place.0, grid)));
        let column = (!within_bins).then(|| (whole(self.min), whole(self.max)));
        let of = |bin: &Vec<Float>| Within { bin: (end(bin.first()), end(bin.last())), column };
        self.bins.iter().map(of).collect()
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
        if !self.parts.iter().all(Part::is_valid)
            || (!self.parts.is_empty() && self.min.to_whole(&self.grid()).is_none())
        {
            return Err(invalid(field, "impossible parts"));
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

    /// The share that each value has of its code's: 1 of an atom, of those in bins what their quantiles leave it.
    pub(crate) fn shares(&self, array: &dyn Array) -> Result<Vec<f64>> {
        let (tables, grid) = (self.tables(), self.grid());
        let step = match (W::REAL, self.decimals) {
            (false, _) => 1.0,
            (true, Some(decimals)) => 10f64.powi(-i32::from(decimals)),
            (true, None) => self.max.distance(self.min) * f64::EPSILON,
        };
        let share = |value: W| {
            if tables.atoms.contains_key(&value) {
                return 1.0;
            }
            let place = value.offset(&grid);
            let bin = &self.bins[self.bins.partition_point(|bin| bin[0].0 <= place).saturating_sub(1)];
            // What no quantile lies beyond is as rare as what the last ones have between them.
            let at = bin[1..SKETCH - 1].partition_point(|end| end.0 <= place);
            step / (bin[at + 1].0 - bin[at].0).max(step) / (SKETCH - 1) as f64
        };
        Ok(W::read(array)?.into_iter().map(share).collect())
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
        let parts = (self.parts.iter().zip(1..))
            .map(|(part, at)| input.codes_at(at, part.cardinality()))
            .collect::<Result<Vec<_>>>()?;
        let parts = KnownParts { codes: &parts, within_bins: false };
        self.values(input.field, &codes, &bits[input.rows.clone()], parts)
    }

    /// The values of codes below the cardinality, `bits` giving the place within a bin.
    pub(crate) fn values(&self, field: &Field, codes: &[u32], bits: &[u32], parts: KnownParts<'_>) -> Result<ArrayRef> {
        let (places, grid) = (&self.tables().places, self.grid());
        let within = if parts.codes.is_empty() { Vec::new() } else { self.within(&grid, parts.within_bins) };
        let value = |(row, (&code, &bits)): (usize, (&u32, &u32))| {
            let Some(at) = (code as usize).checked_sub(usize::from(self.nullable)) else { return self.min };
            match places[at] {
                Place::Atom(atom) => self.atoms[atom],
                Place::Bin(bin) => {
                    let place = f64::from(unit(bits)) * (SKETCH - 1) as f64;
                    let at = (place as usize).min(SKETCH - 2);
                    let (low, high) = (self.bins[bin][at].0, self.bins[bin][at + 1].0);
                    let value = W::at(low + (high - low) * (place - at as f64), &grid);
                    let of_row = parts.codes.iter().map(|codes| codes[row]);
                    match (within.get(bin), value.to_whole(&grid)) {
                        (Some(&within), Some(whole)) => {
                            W::of_whole(parts::moved(&self.parts, of_row, whole, within), &grid)
                        }
                        _ => value,
                    }
                }
            }
        };
        let values = codes.iter().zip(bits).enumerate().map(value).collect();
        let nulls = self.nullable.then(|| codes.iter().map(|&c| c > 0).collect::<NullBuffer>());
        let nulls = nulls.filter(|n| n.null_count() > 0);
        pack(W::write(values, nulls, value_type(field.data_type()))?, field)
    }
}

/// What bins lose of the values `points`, of which each has those in its range.
fn learned_parts<W: Lane>(
    points: &[(W, f64)],
    bins: &[Vec<Float>],
    ranges: &[Range<usize>],
    grid: &Grid<W>,
    data_type: &DataType,
) -> Vec<Part> {
    let whole = |value: W| value.to_whole(grid);
    let wholes: Option<Vec<(i64, f64)>> = points.iter().map(|&(value, weight)| Some((whole(value)?, weight))).collect();
    let (Some(wholes), Ok(step)) = (wholes, i64::try_from(if W::REAL { 1 } else { grid.step })) else {
        return Vec::new();
    };
    let ends =
        |bin: &Vec<Float>| Some(whole(W::at(bin.last()?.0, grid))? as f64 - whole(W::at(bin.first()?.0, grid))? as f64);
    let mut widths: Vec<f64> = bins.iter().filter_map(ends).collect();
    widths.sort_by(f64::total_cmp);
    let Some(&width) = widths.get(widths.len() / 2) else { return Vec::new() };
    let mut smooth = Vec::with_capacity(bins.len() * SMOOTH);
    for (bin, range) in bins.iter().zip(ranges) {
        let weight: f64 = points[range.clone()].iter().map(|(_, weight)| weight).sum();
        let (low, high) = (bin[0].0, bin[SKETCH - 1].0);
        for i in 0..SMOOTH {
            // Multiples of the golden ratio: evenly spaced ones could all end alike.
            let place = low + (high - low) * (i as f64 * 0.618_033_988_749_895).fract();
            smooth.extend(whole(W::at(place, grid)).map(|value| (value, weight / SMOOTH as f64)));
        }
    }
    let decimals = grid.decimals.unwrap_or(0);
    parts::parts(&Binned { points: &wholes, smooth: &smooth, width, step, decimals }, data_type)
}

/// [`SKETCH`] evenly spaced quantiles of weighted places, ends included.
fn quantiles(points: &[(f64, f64)]) -> Vec<Float> {
    let total: f64 = points.iter().map(|(_, weight)| weight).sum();
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
