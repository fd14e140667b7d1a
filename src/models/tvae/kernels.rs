//! The autoencoder's losses and their gradients, one pass over each row. They run on the CPU; of tensors elsewhere they are
//! handed copies.

use super::dense::{Dense, Part};
use crate::{
    Result,
    encode::{EncodedRows, SubColumnData},
    torch::{
        Rows, RowsMut,
        kernels::math::{exp, flushed, tanh, vectorised},
    },
};
use tch::{Device, Tensor};

/// Numbers summed side by side.
const LANES: usize = 16;
/// The logarithms between which a scalar's deviation lies: 0.01 and 1.
pub(super) const LOG_DEVIATIONS: (f32, f32) = (-4.605_170_2, 0.0);

/// `tensor` on the CPU, with contiguous rows.
pub(super) fn on_host(tensor: &Tensor) -> Result<Tensor> {
    Ok(tensor.f_to_device(Device::Cpu)?)
}

/// Latent vectors `z = mean + exp(log_variance / 2) * normal` (`[n, latent]`) of `statistics`, which holds means and
/// log-variances side by side (`[n, 2 latent]`). Returns the sum over rows of the vectors' log-density, less that of a
/// standard normal distribution at 0.
pub(super) fn latent(statistics: &Tensor, normal: &Tensor, z: &mut Tensor) -> Result<f64> {
    let (statistics, normal, mut z) = (Rows::<f32>::of(statistics)?, Rows::<f32>::of(normal)?, RowsMut::<f32>::of(z)?);
    let mut log_density = 0.0;
    for r in 0..z.rows() {
        let (mean, log_variance) = statistics.row(r).split_at(normal.columns());
        log_density += f64::from(latent_row(mean, log_variance, normal.row(r), z.row(r)));
    }
    Ok(log_density)
}

/// The gradient by [`latent`]'s statistics, in their place: of a loss whose gradient by the latent vectors is `by_z`, plus
/// `weight` times the log-density.
///
/// Only what comes through the vectors counts. The rest, through the density's own parameters, is 0 on average and noise
/// (Roeder et al., "Sticking the Landing", 2017).
pub(super) fn latent_gradient(statistics: &mut Tensor, normal: &Tensor, by_z: &Tensor, weight: f32) -> Result<()> {
    let (mut statistics, normal, by_z) =
        (RowsMut::<f32>::of(statistics)?, Rows::<f32>::of(normal)?, Rows::<f32>::of(by_z)?);
    for r in 0..by_z.rows() {
        let (mean, log_variance) = statistics.row(r).split_at_mut(normal.columns());
        latent_gradient_row(mean, log_variance, normal.row(r), by_z.row(r), weight);
    }
    Ok(())
}

vectorised! {
    fn latent_row(mean: &[f32], log_variance: &[f32], normal: &[f32], z: &mut [f32]) -> f32 {
        let mut sums = [0f32; LANES];
        let inputs = mean.chunks(LANES).zip(log_variance.chunks(LANES)).zip(normal.chunks(LANES));
        for (((mean, log_variance), normal), z) in inputs.zip(z.chunks_mut(LANES)) {
            let all = sums.iter_mut().zip(mean).zip(log_variance).zip(normal).zip(z);
            for ((((sum, &mean), &log_variance), &normal), z) in all {
                let deviation = exp(0.5 * log_variance);
                *z = mean + deviation * normal;
                *sum += log_variance + normal * normal;
            }
        }
        -0.5 * sums.iter().sum::<f32>()
    }
}

vectorised! {
    fn latent_gradient_row(mean: &mut [f32], log_variance: &mut [f32], normal: &[f32], by_z: &[f32], weight: f32) {
        for (((mean, log_variance), normal), by_z) in mean.iter_mut().zip(log_variance).zip(normal).zip(by_z) {
            let deviation = exp(0.5 * *log_variance);
            let by_z = by_z - weight * normal / deviation;
            *mean = by_z;
            *log_variance = 0.5 * by_z * normal * deviation;
        }
    }
}

/// What a batch is compared with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Targets<'a> {
    pub(super) dense: &'a Dense,
    pub(super) rows: &'a EncodedRows,
    /// [`Dense::bounds`]: what is the same in all rows is not learned.
    pub(super) bounds: &'a [f32],
}

/// The negative log-likelihood of the targets, summed over rows, under the decoder's `logits` (`[n, width]`): those of
/// codes in one-hot parts, and tanh⁻¹ of the means of scalars, whose log-deviations are given by slot. The logits become
/// `weight` times their gradient (0 in embedded parts), `by_log_deviations` gains that of the deviations.
pub(super) fn reconstruction(
    targets: &Targets<'_>,
    logits: &mut Tensor,
    log_deviations: &[f32],
    weight: f32,
    by_log_deviations: &mut [f32],
) -> Result<f64> {
    let Targets { dense, rows, bounds } = *targets;
    let mut logits = RowsMut::<f32>::of(logits)?;
    let mut weights = vec![0f32; dense.width];
    let mut loss = 0f64;
    for row in 0..rows.rows {
        let logits = logits.row(row);
        weights.copy_from_slice(logits);
        for (index, at, length) in dense.one_hots() {
            let part = &mut weights[at..at + length];
            let top = part.iter().fold(f32::NEG_INFINITY, |top, &x| if x > top { x } else { top });
            part.iter_mut().for_each(|x| *x -= top);
            loss -= f64::from(part[rows.subcolumns[index].code(row) as usize]);
        }
        exponentials(&mut weights);
        for (index, (&part, data)) in dense.parts.iter().zip(&rows.subcolumns).enumerate() {
            match (part, data) {
                (Part::OneHot { at, cardinality }, data) => {
                    let weights = &weights[at..at + cardinality];
                    let sum = weights.iter().sum::<f32>();
                    loss += f64::from(sum.ln());
                    let gradient = &mut logits[at..at + cardinality];
                    let scale = weight / sum;
                    gradient.iter_mut().zip(weights).for_each(|(g, e)| *g = flushed(scale * e));
                    gradient[data.code(row) as usize] -= weight;
                }
                (Part::Scalar { at, slots, first }, SubColumnData::Scalar(values)) => {
                    let slot = dense.slot(rows, index, slots, row);
                    let mean = tanh(logits[at + slot]);
                    logits[at..at + slots].fill(0.0);
                    let global = first + slot;
                    if bounds[global] == bounds[dense.slots + global] {
                        continue;
                    }
                    let given = log_deviations[global];
                    let log_deviation = given.clamp(LOG_DEVIATIONS.0, LOG_DEVIATIONS.1);
                    let precision = exp(-2.0 * log_deviation);
                    let error = mean - values[row];
                    let square = error * error * precision;
                    loss += f64::from(0.5 * square + log_deviation) + HALF_LOG_TAU;
                    logits[at + slot] = flushed(weight * error * precision * (1.0 - mean * mean));
                    // Outside the range, only what leads back.
                    let by = 1.0 - square;
                    let out = (given < LOG_DEVIATIONS.0 && by > 0.0) || (given > LOG_DEVIATIONS.1 && by < 0.0);
                    by_log_deviations[global] += if out { 0.0 } else { weight * by };
                }
                (Part::Embedded { at, width, .. }, _) => logits[at..at + width].fill(0.0),
                (Part::Scalar { .. } | Part::Given, _) => {}
            }
        }
    }
    Ok(loss)
}

/// ln(2 pi) / 2.
const HALF_LOG_TAU: f64 = 0.918_938_533_204_672_7;

vectorised! {
    fn exponentials(values: &mut [f32]) {
        values.iter_mut().for_each(|x| *x = exp(*x));
    }
}
