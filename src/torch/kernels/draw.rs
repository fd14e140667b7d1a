//! Draws from many small distributions given by logits: inverse transform sampling, sixteen rows at a time.

use super::math::{exp, vectorised};
use crate::{
    noise::unit,
    torch::{Element, Rows, RowsMut},
};

/// Rows worked on together: one vector register of f32 where there is AVX-512.
const LANES: usize = 16;

/// Logits to draw from: `main[row] + extra[select[row]]`, columns `at..at + length`.
#[derive(Clone, Copy)]
pub(crate) struct Logits<'a, T> {
    /// Per row.
    pub(crate) main: Rows<'a, T>,
    /// A table of rows to add.
    pub(crate) extra: Rows<'a, f32>,
    /// Per row, which of the table.
    pub(crate) select: &'a [u32],
}

/// Draws a code below `length` per row from softmax(logits[at..at + length]) with the 32 random bits of the row.
/// Codes with a cumulated probability at or below the uniform number are passed; rounding never yields `length`.
pub(crate) fn codes<T: Element>(logits: Logits<'_, T>, at: usize, length: usize, bits: &[u32], out: &mut [u32]) {
    let mut weights = vec![[0f32; LANES]; length];
    for (group, (bits, out)) in bits.chunks(LANES).zip(out.chunks_mut(LANES)).enumerate() {
        let first = group * LANES;
        for lane in 0..LANES {
            let row = first + lane.min(bits.len() - 1);
            let main = &logits.main.row(row)[at..at + length];
            let extra = &logits.extra.row(logits.select[row] as usize)[at..at + length];
            for ((weight, main), extra) in weights.iter_mut().zip(main).zip(extra) {
                weight[lane] = main.to_f32() + extra;
            }
        }
        let mut uniform = [0f32; LANES];
        uniform.iter_mut().zip(bits).for_each(|(u, &bits)| *u = unit(bits));
        let codes = draw(&mut weights, &uniform);
        out.iter_mut().zip(codes).for_each(|(out, code)| *out = code);
    }
}

vectorised! {
    /// The codes of sixteen rows, given their logits code by code (overwritten by cumulated weights).
    fn draw(weights: &mut [[f32; LANES]], uniform: &[f32; LANES]) -> [u32; LANES] {
        let mut top = [f32::NEG_INFINITY; LANES];
        for weight in weights.iter() {
            for lane in 0..LANES {
                top[lane] = if weight[lane] > top[lane] { weight[lane] } else { top[lane] };
            }
        }
        let mut sum = [0f32; LANES];
        for weight in weights.iter_mut() {
            for lane in 0..LANES {
                sum[lane] += exp(weight[lane] - top[lane]);
            }
            *weight = sum;
        }
        let mut target = *uniform;
        target.iter_mut().zip(&sum).for_each(|(target, sum)| *target *= sum);
        let mut codes = [0u32; LANES];
        let last = weights.len().saturating_sub(1);
        for weight in &weights[..last] {
            for lane in 0..LANES {
                codes[lane] += u32::from(weight[lane] <= target[lane]);
            }
        }
        codes
    }
}

/// Draws a code per row like [`codes`], from logits that lie code by code: `logits[code][row] + bias[code]` (overwritten by
/// cumulated weights).
pub(crate) fn by_code(logits: &mut RowsMut<'_, f32>, bias: &[f32], bits: &[u32], out: &mut [u32]) {
    let uniform: Vec<f32> = bits.iter().map(|&bits| unit(bits)).collect();
    invert(logits, bias, uniform, out);
}

/// The largest logit of each of `rows` rows.
#[inline(always)]
fn largest(logits: &mut RowsMut<'_, f32>, bias: &[f32], rows: usize) -> Vec<f32> {
    let mut top = vec![f32::NEG_INFINITY; rows];
    for (code, bias) in bias.iter().enumerate() {
        for (top, logit) in top.iter_mut().zip(logits.row(code)) {
            let logit = *logit + bias;
            *top = if logit > *top { logit } else { *top };
        }
    }
    top
}

vectorised! {
    fn invert(logits: &mut RowsMut<'_, f32>, bias: &[f32], uniform: Vec<f32>, out: &mut [u32]) {
        let top = largest(logits, bias, out.len());
        let mut sum = vec![0f32; out.len()];
        for (code, bias) in bias.iter().enumerate() {
            for ((logit, top), sum) in logits.row(code).iter_mut().zip(&top).zip(&mut sum) {
                *sum += exp(*logit + bias - top);
                *logit = *sum;
            }
        }
        let mut target = uniform;
        target.iter_mut().zip(&sum).for_each(|(target, sum)| *target *= sum);
        out.fill(0);
        for code in 0..bias.len().saturating_sub(1) {
            for ((out, weight), target) in out.iter_mut().zip(logits.row(code)).zip(&target) {
                *out += u32::from(*weight <= *target);
            }
        }
    }
}

/// The probabilities of `codes`, which [`by_code`] has drawn and left `cumulated` weights of, one per row.
pub(crate) fn probabilities(cumulated: &mut RowsMut<'_, f32>, codes: &[u32], out: &mut [f32]) {
    let Some(last) = cumulated.rows().checked_sub(1) else { return };
    for (row, (&code, out)) in codes.iter().zip(out).enumerate() {
        let below = if code > 0 { cumulated.row(code as usize - 1)[row] } else { 0.0 };
        *out = (cumulated.row(code as usize)[row] - below) / cumulated.row(last)[row];
    }
}

vectorised! {
    /// Natural logarithms of the probabilities of `codes`, one per row, from logits that lie as those of [`by_code`]; 0 of codes
    /// that there are not.
    pub(crate) fn log_probabilities(logits: &mut RowsMut<'_, f32>, bias: &[f32], codes: &[u32], out: &mut [f64]) {
        let top = largest(logits, bias, out.len());
        let mut sum = vec![0f32; out.len()];
        for (code, bias) in bias.iter().enumerate() {
            for ((logit, top), sum) in logits.row(code).iter().zip(&top).zip(&mut sum) {
                *sum += exp(*logit + bias - top);
            }
        }
        for (row, (&code, out)) in codes.iter().zip(out).enumerate() {
            let known = bias.get(code as usize).map(|bias| logits.row(code as usize)[row] + bias - top[row]);
            *out = known.map_or(0.0, |logit| f64::from(logit) - f64::from(sum[row]).ln());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use tch::Tensor;

    fn drawn(logits: &[Vec<f32>], added: &[f32], at: usize, bits: &[u32]) -> Vec<u32> {
        let flat: Vec<f32> = logits.concat();
        let width = logits[0].len() as i64;
        let main = Tensor::from_slice(&flat).view([-1, width]);
        let extra = Tensor::from_slice(&[vec![0.0; added.len()], added.to_vec()].concat()).view([2, width]);
        let select = vec![1u32; logits.len()];
        let logits =
            Logits { main: Rows::<f32>::of(&main).unwrap(), extra: Rows::of(&extra).unwrap(), select: &select };
        let mut out = vec![0; bits.len()];
        codes(logits, at, width as usize - at, bits, &mut out);
        out
    }

    proptest! {
        #[test]
        fn a_draw_is_the_inverse_of_the_cumulated_distribution(
            rows in prop::collection::vec((prop::collection::vec(-8f32..8.0, 7), any::<u32>()), 1..40),
            added in prop::collection::vec(-2f32..2.0, 7),
        ) {
            let (logits, bits): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
            for (row, (&code, &bits)) in drawn(&logits, &added, 2, &bits).iter().zip(&bits).enumerate() {
                let weights: Vec<f64> =
                    (2..7).map(|i| f64::from(logits[row][i] + added[i]).exp()).collect();
                let total: f64 = weights.iter().sum();
                let below: f64 = weights[..code as usize].iter().sum::<f64>() / total;
                let above = below + weights[code as usize] / total;
                let uniform = f64::from(bits) / 4_294_967_296.0;
                prop_assert!(below - 1e-5 <= uniform && uniform <= above + 1e-5, "{below} {uniform} {above}");
            }
        }
    }

    #[test]
    fn codes_are_the_same_whichever_way_logits_lie() {
        let (rows, length) = (37, 11);
        let logits: Vec<Vec<f32>> =
            (0..rows).map(|row| (0..length).map(|code| ((row * 31 + code * 17) % 41) as f32 / 5.0).collect()).collect();
        let bias: Vec<f32> = (0..length).map(|code| (code % 3) as f32).collect();
        let bits: Vec<u32> = (0..rows as u32).map(|row| row.wrapping_mul(0x9E37_79B9)).collect();
        let flat: Vec<f32> = (0..length).flat_map(|code| logits.iter().map(move |row| row[code])).collect();
        let mut by_code_logits = Tensor::from_slice(&flat).view([length as i64, rows as i64]);
        let mut found = vec![0; rows];
        by_code(&mut RowsMut::of(&mut by_code_logits).unwrap(), &bias, &bits, &mut found);
        assert_eq!(found, drawn(&logits, &bias, 0, &bits));
        assert!(found.iter().collect::<std::collections::BTreeSet<_>>().len() > 5, "{found:?}");
    }

    #[test]
    fn probabilities_are_those_of_a_softmax() {
        let (rows, length) = (37, 11);
        let logit = |row: usize, code: usize| ((row * 31 + code * 17) % 41) as f32 / 3.0;
        let bias: Vec<f32> = (0..length).map(|code| if code == 4 { -1e30 } else { (code % 3) as f32 }).collect();
        let flat: Vec<f32> = (0..length).flat_map(|code| (0..rows).map(move |row| logit(row, code))).collect();
        let wanted = |row: usize, code: usize| {
            let weight = |code: usize| f64::from(logit(row, code) + bias[code]).exp();
            weight(code) / (0..length).map(weight).sum::<f64>()
        };
        let mut logits = Tensor::from_slice(&flat).view([length as i64, rows as i64]);
        let mut logits = RowsMut::of(&mut logits).unwrap();
        let mut logs = vec![0f64; rows];
        let codes: Vec<u32> =
            (0..rows as u32).map(|row| if row == 5 { u32::MAX } else { row % length as u32 }).collect();
        log_probabilities(&mut logits, &bias, &codes, &mut logs);
        for (row, (&code, log)) in codes.iter().zip(logs).enumerate() {
            match code {
                u32::MAX => assert_eq!(log, 0.0),
                4 => assert!(log < -1e29, "{log}"),
                code => assert!((log - wanted(row, code as usize).ln()).abs() < 1e-4, "{log}"),
            }
        }
        let bits: Vec<u32> = (0..rows as u32).map(|row| row.wrapping_mul(0x9E37_79B9)).collect();
        let (mut drawn, mut odds) = (vec![0; rows], vec![0f32; rows]);
        by_code(&mut logits, &bias, &bits, &mut drawn);
        probabilities(&mut logits, &drawn, &mut odds);
        for (row, (&code, odds)) in drawn.iter().zip(odds).enumerate() {
            assert!((f64::from(odds) - wanted(row, code as usize)).abs() < 1e-5, "{odds}");
        }
    }

    #[test]
    fn extremes_draw_what_has_weight() {
        let logits = vec![vec![-1e30, 500.0, -1e30], vec![-1e30, -1e30, -1e30], vec![0.0, f32::MIN, f32::MIN]];
        assert_eq!(drawn(&logits, &[0.0; 3], 0, &[u32::MAX, 0, 1 << 31])[..1], [1]);
        assert_eq!(drawn(&logits, &[0.0; 3], 0, &[0, 0, u32::MAX])[2], 0);
        assert_eq!(drawn(&[vec![3.0]], &[0.0], 0, &[u32::MAX]), [0]);
    }
}
