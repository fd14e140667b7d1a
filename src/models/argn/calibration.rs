//! Marginals, set right once the weights are learned.
//!
//! Shrunk and averaged weights leave the frequencies of a column's codes a little beside those of the table, and what is
//! drawn given drawn codes drifts with them. So the columns are drawn once more, in the table's order, many rows at a time:
//! the biases of a column's head move until its mean probabilities are the table's frequencies (a step of iterative
//! proportional fitting, Deming & Stephan 1940, on one margin), its codes are drawn, and the columns after it see these.

use super::{
    model::ArgnModel,
    zeros::{Masks, NEVER, lost},
};
use crate::{
    Result,
    encode::CodeMatrix,
    models::embedding::frequencies,
    noise::Noise,
    torch::{Rows, RowsMut, kernels::draw, use_threads},
};
use std::{ops::Range, sync::Arc};
use tch::{Device, Kind, Tensor};

/// Rows drawn.
const ROWS: usize = 1 << 14;
/// Probabilities of a column that are worked out at once.
const AT_ONCE: usize = 1 << 22;
/// Times that biases move.
const MOVES: usize = 8;
/// By how much at most, each time.
const MOST: f64 = 0.5;

/// Moves the biases of the heads of `model` to what `rows` have.
pub(super) fn calibrate(model: &mut ArgnModel, rows: &CodeMatrix, noise: &Noise) -> Result<()> {
    use_threads(1);
    let _guard = tch::no_grad_guard();
    let (columns, masks) = (model.columns().to_vec(), Arc::clone(model.masks()));
    let total: usize = columns.iter().map(|column| column.width).sum();
    let x = Tensor::f_zeros([ROWS as i64, total as i64], (Kind::Float, Device::Cpu))?;
    let all: Vec<u32> = (0..rows.len() as u32).collect();
    let contexts = contexts(rows.len(), noise);
    let mut codes: Vec<Vec<u32>> = vec![Vec::new(); columns.len()];
    let mut bits = vec![0u32; ROWS];
    for (k, column) in columns.iter().enumerate() {
        let mut of_rows = vec![0u32; ROWS];
        if k < model.given() {
            let mut of_rows = of_rows.iter_mut();
            rows.for_each_code(k, &contexts, |_, code| of_rows.next().into_iter().for_each(|of_row| *of_row = code));
        } else {
            let head = Head::of(model, k, &x)?;
            let wanted = frequencies(rows, k, column.cardinality, &all);
            let mut bias = model.weight("head_bias", k)?.data.clone();
            for _ in 0..MOVES {
                let mean = head.mean_probabilities(&bias, (&masks, k, &codes))?;
                moved(&mut bias, &wanted, &mean);
            }
            noise.purpose(&format!("column/{k}")).fill_u32(0, &mut bits);
            head.draw(&bias, (&masks, k, &codes), &bits, &mut of_rows)?;
            model.set_head_bias(k, bias)?;
        }
        let index: Vec<i64> = of_rows.iter().map(|&code| i64::from(code)).collect();
        let embedding = tensor(model, "embedding", k)?;
        let mut place = x.f_narrow(1, column.at as i64, column.width as i64)?;
        place.f_copy_(&embedding.f_index_select(0, &Tensor::f_from_slice(&index)?)?)?;
        codes[k] = of_rows;
    }
    Ok(())
}

/// Rows that contexts are taken of: all equally often where that is possible.
fn contexts(rows: usize, noise: &Noise) -> Vec<u32> {
    if rows <= ROWS {
        return (0..ROWS).map(|row| (row % rows.max(1)) as u32).collect();
    }
    let mut bits = vec![0u32; ROWS];
    noise.purpose("contexts").fill_u32(0, &mut bits);
    bits.into_iter().map(|bits| ((u64::from(bits) * rows as u64) >> 32) as u32).collect()
}

/// Moves biases. A row more of either keeps those of codes that hardly any row has from moving by chance.
#[allow(clippy::cast_possible_truncation)]
fn moved(bias: &mut [f32], wanted: &[f32], mean: &[f64]) {
    let row = 1.0 / ROWS as f64;
    for ((bias, &wanted), mean) in bias.iter_mut().zip(wanted).zip(mean).filter(|((_, wanted), _)| **wanted > 0.0) {
        *bias += ((f64::from(wanted) + row) / (mean + row)).ln().clamp(-MOST, MOST) as f32;
    }
}

fn tensor(model: &ArgnModel, name: &str, k: usize) -> Result<Tensor> {
    model.weight(name, k)?.tensor(Kind::Float, Device::Cpu)
}

/// What is known of the rows: which codes never go with which, the column, and the codes of those before it.
type Known<'a> = (&'a Masks, usize, &'a [Vec<u32>]);

/// What a column makes of those before it.
struct Head {
    /// `[ROWS, width]`.
    hidden: Tensor,
    /// `[width, K]`.
    weight: Tensor,
}

impl Head {
    fn of(model: &ArgnModel, k: usize, x: &Tensor) -> Result<Self> {
        let before = model.columns()[k].at as i64;
        let input = tensor(model, "input", k)?.f_narrow(0, 0, before)?;
        let sums = tensor(model, "bias", k)?.f_addmm(&x.f_narrow(1, 0, before)?, &input)?;
        Ok(Self { hidden: model.activation().apply(&sums)?, weight: tensor(model, "head", k)? })
    }

    /// Calls `each` with some rows after the others, and with their logits `[rows, K]`.
    fn for_each_part(
        &self,
        bias: &[f32],
        (masks, k, codes): Known<'_>,
        mut each: impl FnMut(Range<usize>, Tensor) -> Result<()>,
    ) -> Result<()> {
        let all = masks.all_but(k, &[]);
        let step = (AT_ONCE / bias.len().max(1)).clamp(16, ROWS);
        let bias = Tensor::f_from_slice(bias)?.f_view([1, -1])?;
        for first in (0..ROWS).step_by(step) {
            let rows = first..(first + step).min(ROWS);
            let hidden = self.hidden.f_narrow(0, first as i64, rows.len() as i64)?;
            let mut logits = bias.f_addmm(&hidden, &self.weight)?;
            let mut masked = RowsMut::<f32>::of(&mut logits)?;
            masks.for_each((k, &all), codes, rows.clone(), |row, left| {
                let logits = masked.row(row - first);
                lost(&all, left).for_each(|code| logits[code] = NEVER);
            });
            each(rows, logits)?;
        }
        Ok(())
    }

    /// Mean probability of every code.
    fn mean_probabilities(&self, bias: &[f32], known: Known<'_>) -> Result<Vec<f64>> {
        let mut means = vec![0.0; bias.len()];
        self.for_each_part(bias, known, |_, logits| {
            let odds = logits.f_softmax(-1, Kind::Float)?.f_sum_dim_intlist(0, false, Kind::Double)?;
            let part = Vec::<f64>::try_from(&odds)?;
            means.iter_mut().zip(part).for_each(|(mean, part)| *mean += part / ROWS as f64);
            Ok(())
        })?;
        Ok(means)
    }

    fn draw(&self, bias: &[f32], known: Known<'_>, bits: &[u32], out: &mut [u32]) -> Result<()> {
        let none = Tensor::f_zeros([1, bias.len() as i64], (Kind::Float, Device::Cpu))?;
        self.for_each_part(bias, known, |rows, logits| {
            let select = vec![0; rows.len()];
            let logits = draw::Logits { main: Rows::<f32>::of(&logits)?, extra: Rows::of(&none)?, select: &select };
            draw::codes(logits, 0, bias.len(), &bits[rows.clone()], &mut out[rows]);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{
        super::{
            Argn,
            tests::{planted, small},
        },
        *,
    };
    use crate::{
        encode::{EncodedRows, KnownCodes, Layout},
        models::{SamplerSettings, TableModel, test_support::fit},
        noise::BLOCK_ROWS,
        torch::DeviceKind,
    };

    /// Shares of the codes of the second column, in rows generated with the first column as in `rows` where it is given.
    fn shares(layout: &Layout, rows: &EncodedRows, model: &ArgnModel) -> Vec<f64> {
        let mut sampler = model.context_sampler(&SamplerSettings::new(DeviceKind::Cpu, 1)).unwrap();
        let mut known = KnownCodes::nothing(3, BLOCK_ROWS);
        if layout.given > 0 {
            known.set(0, (0..BLOCK_ROWS).map(|row| rows.subcolumns[0].code(row % rows.rows)).collect());
        }
        let mut shares = vec![0.0; 3];
        for block in 0..4 {
            let mut out = EncodedRows::with_capacity(layout, BLOCK_ROWS);
            sampler.complete(block, &Noise::new(2, b"sample"), &known, &mut out).unwrap();
            let codes = out.subcolumns[1].codes();
            codes.into_iter().for_each(|code| shares[code as usize] += 0.25 / BLOCK_ROWS as f64);
        }
        shares
    }

    #[test]
    fn frequencies_come_back_to_those_of_the_table() {
        for given in [0, 1] {
            let (layout, rows) = planted(3000);
            let layout = Layout { given, ..layout };
            let mut model =
                ArgnModel::new(&layout, fit(&Argn, &layout, &rows, &small(4)).model.state().unwrap()).unwrap();
            for k in given..3 {
                let mut bias = model.weight("head_bias", k).unwrap().data.clone();
                bias[0] += 1.0;
                model.set_head_bias(k, bias).unwrap();
            }
            let matrix = CodeMatrix::from(rows.clone());
            let wanted = frequencies(&matrix, 1, 3, &(0..3000).collect::<Vec<_>>());
            let off = |model: &ArgnModel| {
                let apart = shares(&layout, &rows, model).into_iter().zip(&wanted);
                apart.map(|(found, &wanted)| (found - f64::from(wanted)).abs()).fold(0.0, f64::max)
            };
            let before = off(&model);
            calibrate(&mut model, &matrix, &Noise::new(1, b"calibration")).unwrap();
            let after = off(&model);
            // The standard error of a share of 16,384 rows is .004.
            assert!(before > 0.1 && after < 0.015, "{given} given: {before}, then {after}");
        }
    }
}
