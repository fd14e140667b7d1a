//! Mode-specific normalisation (Xu et al. 2019, §4.2), with codes of their own for nulls and atoms.

use super::{DecodeInput, EncodeInput, invalid, pack, unseen};
use crate::{
    Result,
    encode::{
        SubColumnData, gmm,
        hash::FixedState,
        physical::{Lane, value_type},
        text_serde,
        warp::Warp,
        wide::{Float, Grid},
    },
    noise::{BLOCK_ROWS, Noise, Purpose},
};
use arrow::{array::ArrayRef, buffer::NullBuffer, datatypes::Field};
use serde::{Deserialize, Serialize};
use std::{collections::HashMap, sync::OnceLock};

/// Scalars stay this far from ±1: the ends of tanh, which a generator never reaches.
const CLIP: f64 = 0.99;

/// Numbers as (code, scalar): null first if there are nulls, then *atoms* (values that occur far more
/// often than their neighbourhood explains, NaN and infinities; scalar 0), then the modes of a
/// Gaussian mixture, with the scalar (x - mean) / (4 std).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound = "")]
pub(crate) struct Modes<W: Lane> {
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
    warp: Warp,
    modes: Vec<Mode>,
    #[serde(skip)]
    tables: OnceLock<Tables<W>>,
}

/// One Gaussian, in warped units.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Mode {
    weight: Float,
    mean: Float,
    std: Float,
}

#[derive(Debug, Clone)]
struct Tables<W> {
    atoms: HashMap<W, u32, FixedState>,
    /// ln(weight / std), mean and 1 / std per mode.
    densities: Vec<(f64, f64, f64)>,
    noise: Purpose,
}

impl<W: Lane> Modes<W> {
    /// Fits values of weight > 0 that are not atoms, all finite and on the grid.
    pub(crate) fn fit(points: &[(W, f64)], atoms: Vec<W>, grid: &Grid<W>, nullable: bool) -> Self {
        let offsets: Vec<(f64, f64)> = points.iter().map(|(value, weight)| (value.offset(grid), *weight)).collect();
        let (warp, mixture) = Warp::fit(&offsets);
        let modes = mixture
            .into_iter()
            .map(|gmm::Gaussian { weight, mean, std }| Mode {
                weight: Float(weight),
                mean: Float(mean),
                std: Float(std),
            })
            .collect();
        Self {
            nullable,
            atoms,
            min: grid.min,
            max: grid.max,
            step: grid.step,
            decimals: grid.decimals,
            single: grid.single,
            warp,
            modes,
            tables: OnceLock::new(),
        }
    }

    fn grid(&self) -> Grid<W> {
        Grid { min: self.min, max: self.max, step: self.step, decimals: self.decimals, single: self.single }
    }

    fn first_mode(&self) -> usize {
        usize::from(self.nullable) + self.atoms.len()
    }

    #[allow(clippy::cast_possible_truncation)]
    pub(crate) fn cardinality(&self) -> u32 {
        (self.first_mode() + self.modes.len()) as u32
    }

    fn tables(&self) -> &Tables<W> {
        self.tables.get_or_init(|| Tables {
            atoms: (u32::from(self.nullable)..).zip(&self.atoms).map(|(code, value)| (*value, code)).collect(),
            densities: self.modes.iter().map(|m| ((m.weight.0 / m.std.0).ln(), m.mean.0, 1.0 / m.std.0)).collect(),
            noise: Noise::new(0, b"encode").purpose("mode"),
        })
    }

    pub(crate) fn prepare(&mut self, field: &Field) -> Result<()> {
        let sane = |m: &Mode| m.weight.0 > 0.0 && m.mean.0.is_finite() && m.std.0 > 0.0 && m.std.0.is_finite();
        if self.modes.is_empty() || self.modes.len() > 256 || !self.modes.iter().all(sane) {
            return Err(invalid(field, "impossible modes"));
        }
        if self.atoms.len() > 1 << 16 || self.tables().atoms.len() != self.atoms.len() {
            return Err(invalid(field, "impossible atoms"));
        }
        if self.step == 0 || self.min > self.max || !self.min.is_finite() || !self.max.is_finite() {
            return Err(invalid(field, "impossible range"));
        }
        if !self.warp.is_sane() {
            return Err(invalid(field, "impossible scale"));
        }
        if self.nullable && !field.is_nullable() {
            return Err(invalid(field, "nulls in a column declared NOT NULL"));
        }
        Ok(())
    }

    #[allow(clippy::cast_possible_truncation)]
    pub(crate) fn encode(&self, input: &EncodeInput<'_>, out: &mut [SubColumnData]) -> Result<()> {
        let [codes, scalars] = out else {
            return Err(invalid(input.field, "expected a code and a scalar"));
        };
        let array = input.array.as_ref();
        let nulls = array.nulls().filter(|n| n.null_count() > 0);
        let (tables, grid) = (self.tables(), self.grid());
        let first_mode = self.first_mode();
        let mut choices = Choices::new(&tables.noise, input.first_row);
        for (row, value) in W::read(array)?.into_iter().enumerate() {
            let choice = choices.next();
            if nulls.is_some_and(|n| n.is_null(row)) {
                if !self.nullable {
                    return Err(unseen(input.field, array, row));
                }
                codes.push_code(0);
                scalars.push_scalar(0.0);
            } else if let Some(&code) = tables.atoms.get(&value) {
                codes.push_code(code);
                scalars.push_scalar(0.0);
            } else if !value.is_finite() {
                return Err(unseen(input.field, array, row));
            } else {
                let z = self.warp.forward(value.offset(&grid));
                let mode = choose(&tables.densities, z, choice);
                let m = self.modes[mode];
                codes.push_code((first_mode + mode) as u32);
                scalars.push_scalar(((z - m.mean.0) / (4.0 * m.std.0)).clamp(-CLIP, CLIP) as f32);
            }
        }
        Ok(())
    }

    pub(crate) fn decode(&self, input: &DecodeInput<'_>) -> Result<ArrayRef> {
        let codes = input.codes(self.cardinality())?;
        let scalars = match input.codes.get(1) {
            Some(SubColumnData::Scalar(v)) => v.get(input.rows.clone()),
            _ => None,
        }
        .ok_or_else(|| input.bad_codes("scalars are missing"))?;
        let first_atom = u32::from(self.nullable);
        let first_mode = self.first_mode();
        let grid = self.grid();
        let mut bad = None;
        let values: Vec<W> = codes
            .iter()
            .zip(scalars)
            .map(|(&code, &scalar)| {
                let code = code as usize;
                if code >= first_mode {
                    let m = &self.modes[code - first_mode];
                    if scalar.is_nan() {
                        bad = Some(scalar);
                    }
                    let z = 4.0 * m.std.0 * f64::from(scalar.clamp(-1.0, 1.0)) + m.mean.0;
                    W::at(self.warp.backward(z), &grid)
                } else if code < first_atom as usize {
                    self.min
                } else {
                    self.atoms[code - first_atom as usize]
                }
            })
            .collect();
        if let Some(scalar) = bad {
            return Err(input.bad_codes(&format!("scalar {scalar}")));
        }
        let nulls = self.nullable.then(|| codes.iter().map(|&c| c > 0).collect::<NullBuffer>());
        let nulls = nulls.filter(|n| n.null_count() > 0);
        pack(W::write(values, nulls, value_type(input.field.data_type()))?, input.field)
    }
}

/// Samples a mode from the posterior at `z`, with the uniform `choice`.
fn choose(densities: &[(f64, f64, f64)], z: f64, choice: f64) -> usize {
    let mut logs = [f64::NEG_INFINITY; 256];
    let logs = &mut logs[..densities.len()];
    let mut top = f64::NEG_INFINITY;
    for (log, (constant, mean, precision)) in logs.iter_mut().zip(densities) {
        let d = (z - mean) * precision;
        *log = constant - 0.5 * d * d;
        top = top.max(*log);
    }
    let mut sum = 0.0;
    for log in logs.iter_mut() {
        let d = *log - top;
        *log = if d > -20.0 { d.exp() } else { 0.0 };
        sum += *log;
    }
    let mut left = choice * sum;
    let mut chosen = 0;
    for (mode, &p) in logs.iter().enumerate() {
        if p > 0.0 {
            chosen = mode;
            left -= p;
            if left < 0.0 {
                break;
            }
        }
    }
    chosen
}

/// One uniform number per row, addressed by row number.
struct Choices<'a> {
    noise: &'a Purpose,
    block: u64,
    at: usize,
    bits: Vec<u32>,
}

impl<'a> Choices<'a> {
    #[allow(clippy::cast_possible_truncation)]
    fn new(noise: &'a Purpose, row: u64) -> Self {
        let mut bits = vec![0; BLOCK_ROWS];
        let block = row / BLOCK_ROWS as u64;
        noise.fill_u32(block, &mut bits);
        Self { noise, block, at: (row % BLOCK_ROWS as u64) as usize, bits }
    }

    fn next(&mut self) -> f64 {
        if self.at == BLOCK_ROWS {
            self.at = 0;
            self.block += 1;
            self.noise.fill_u32(self.block, &mut self.bits);
        }
        let bits = self.bits[self.at];
        self.at += 1;
        f64::from(bits) / 4_294_967_296.0
    }
}
