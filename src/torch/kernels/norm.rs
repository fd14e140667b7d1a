//! Batch normalisation (Ioffe & Szegedy 2015) fused with the ReLU that follows it, and its gradient.

use super::math::vectorised;
use crate::{
    Result,
    torch::{Element, Rows, RowsMut, by_kind, cast},
};
use tch::{Device, Kind, Tensor};

/// Added to the variance.
pub(crate) const EPSILON: f64 = 1e-5;

/// `out = relu((x - mean) / sqrt(variance + EPSILON) * scale + shift)` over the batch `x: [n, width]`.
/// Returns the batch's mean and inverse standard deviation (f32, `[width]`) and its variance, biased.
/// `scale` and `shift` are f32.
pub(crate) fn forward(x: &Tensor, scale: &Tensor, shift: &Tensor, out: &mut Tensor) -> Result<Statistics> {
    if x.device() != Device::Cpu {
        return forward_by_operations(x, scale, shift, out);
    }
    by_kind!(x.f_kind()?, T => forward_rows::<T>(Rows::of(x)?, Rows::of(scale)?.row(0), Rows::of(shift)?.row(0), RowsMut::of(out)?))
}

/// What [`forward`] found in a batch.
#[derive(Debug)]
pub(crate) struct Statistics {
    /// Mean, f32 `[width]`.
    pub(crate) mean: Tensor,
    /// Biased variance, f32 `[width]`.
    pub(crate) variance: Tensor,
    /// `1 / sqrt(variance + EPSILON)`, f32 `[width]`.
    pub(crate) inverse_deviation: Tensor,
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
fn forward_rows<T: Element>(
    x: Rows<'_, T>,
    scale: &[f32],
    shift: &[f32],
    mut out: RowsMut<'_, T>,
) -> Result<Statistics> {
    let (n, width) = (x.rows(), x.columns());
    let (mut mean, mut variance) = (vec![0f32; width], vec![0f32; width]);
    vectorised(|| {
        for r in 0..n {
            mean.iter_mut().zip(x.row(r)).for_each(|(m, v)| *m += v.to_f32());
        }
        mean.iter_mut().for_each(|m| *m /= n as f32);
        for r in 0..n {
            for ((v, x), m) in variance.iter_mut().zip(x.row(r)).zip(&mean) {
                let d = x.to_f32() - m;
                *v += d * d;
            }
        }
        variance.iter_mut().for_each(|v| *v /= n as f32);
    });
    let inverse: Vec<f32> = variance.iter().map(|&v| 1.0 / (v + EPSILON as f32).sqrt()).collect();
    let factor: Vec<f32> = inverse.iter().zip(scale).map(|(i, s)| i * s).collect();
    vectorised(|| {
        for r in 0..n {
            let row = out.row(r).iter_mut().zip(x.row(r)).zip(&mean).zip(&factor).zip(shift);
            for ((((o, x), m), f), b) in row {
                let y = (x.to_f32() - m) * f + b;
                // Not `max`: a NaN must get through, or divergence would go unseen.
                *o = T::from_f32(if y < 0.0 { 0.0 } else { y });
            }
        }
    });
    Ok(Statistics {
        mean: Tensor::f_from_slice(&mean)?,
        variance: Tensor::f_from_slice(&variance)?,
        inverse_deviation: Tensor::f_from_slice(&inverse)?,
    })
}

fn forward_by_operations(x: &Tensor, scale: &Tensor, shift: &Tensor, out: &mut Tensor) -> Result<Statistics> {
    let x = cast(x, Kind::Float)?;
    let mean = x.f_mean_dim(0, false, Kind::Float)?;
    let centred = x.f_sub(&mean)?;
    let variance = centred.f_square()?.f_mean_dim(0, false, Kind::Float)?;
    let inverse_deviation = variance.f_add_scalar(EPSILON)?.f_rsqrt()?;
    let y = centred.f_mul(&inverse_deviation.f_mul(&scale.f_view(-1)?)?)?.f_add(&shift.f_view(-1)?)?;
    out.f_copy_(&y.f_relu()?)?;
    Ok(Statistics { mean, variance, inverse_deviation })
}

/// The gradients of [`forward`], given its input `x`, its output `out`, the gradient by `out` and its statistics:
/// fills `grad_x`, `grad_scale` and `grad_shift`.
#[allow(clippy::too_many_arguments)]
pub(crate) fn backward(
    x: &Tensor,
    out: &Tensor,
    grad_out: &Tensor,
    statistics: &Statistics,
    scale: &Tensor,
    grad_x: &mut Tensor,
    grad_scale: &mut Tensor,
    grad_shift: &mut Tensor,
) -> Result<()> {
    if x.device() != Device::Cpu {
        return backward_by_operations(x, out, grad_out, statistics, scale, grad_x, grad_scale, grad_shift);
    }
    by_kind!(x.f_kind()?, T => {
        let (by_scale, by_shift) = backward_rows::<T>(
            Rows::of(x)?,
            Rows::of(out)?,
            Rows::of(grad_out)?,
            Rows::of(&statistics.mean)?.row(0),
            Rows::of(&statistics.inverse_deviation)?.row(0),
            Rows::of(scale)?.row(0),
            RowsMut::of(grad_x)?,
        );
        grad_scale.f_view(-1)?.f_copy_(&Tensor::f_from_slice(&by_scale)?)?;
        grad_shift.f_view(-1)?.f_copy_(&Tensor::f_from_slice(&by_shift)?)?;
        Ok(())
    })
}

#[allow(clippy::cast_precision_loss)]
fn backward_rows<T: Element>(
    x: Rows<'_, T>,
    out: Rows<'_, T>,
    grad_out: Rows<'_, T>,
    mean: &[f32],
    inverse: &[f32],
    scale: &[f32],
    mut grad_x: RowsMut<'_, T>,
) -> (Vec<f32>, Vec<f32>) {
    let (n, width) = (x.rows(), x.columns());
    let (mut by_scale, mut by_shift) = (vec![0f32; width], vec![0f32; width]);
    vectorised(|| {
        for r in 0..n {
            let row = x.row(r).iter().zip(out.row(r)).zip(grad_out.row(r)).zip(mean).zip(inverse);
            for (((((x, y), dy), m), i), (gs, gb)) in row.zip(by_scale.iter_mut().zip(by_shift.iter_mut())) {
                let d = if y.to_f32() > 0.0 { dy.to_f32() } else { 0.0 };
                *gb += d;
                *gs += d * ((x.to_f32() - m) * i);
            }
        }
    });
    let share = 1.0 / n as f32;
    vectorised(|| {
        for r in 0..n {
            let row = x.row(r).iter().zip(out.row(r)).zip(grad_out.row(r)).zip(mean).zip(inverse).zip(scale);
            let sums = by_scale.iter().zip(&by_shift);
            for (((((((x, y), dy), m), i), s), (gs, gb)), dx) in row.zip(sums).zip(grad_x.row(r)) {
                let d = if y.to_f32() > 0.0 { dy.to_f32() } else { 0.0 };
                let normalised = (x.to_f32() - m) * i;
                *dx = T::from_f32((d - share * (gb + normalised * gs)) * (i * s));
            }
        }
    });
    (by_scale, by_shift)
}

#[allow(clippy::too_many_arguments)]
fn backward_by_operations(
    x: &Tensor,
    out: &Tensor,
    grad_out: &Tensor,
    statistics: &Statistics,
    scale: &Tensor,
    grad_x: &mut Tensor,
    grad_scale: &mut Tensor,
    grad_shift: &mut Tensor,
) -> Result<()> {
    let d = cast(grad_out, Kind::Float)?.f_mul(&out.f_gt(0.0)?)?;
    let normalised = cast(x, Kind::Float)?.f_sub(&statistics.mean)?.f_mul(&statistics.inverse_deviation)?;
    let by_shift = d.f_sum_dim_intlist(0, false, Kind::Float)?;
    let by_scale = d.f_mul(&normalised)?.f_sum_dim_intlist(0, false, Kind::Float)?;
    let share = 1.0 / x.size()[0] as f64;
    let pulled = by_shift.f_add(&normalised.f_mul(&by_scale)?)?.f_mul_scalar(share)?;
    let factor = statistics.inverse_deviation.f_mul(&scale.f_view(-1)?)?;
    grad_x.f_copy_(&d.f_sub(&pulled)?.f_mul(&factor)?)?;
    grad_scale.f_view(-1)?.f_copy_(&by_scale)?;
    grad_shift.f_view(-1)?.f_copy_(&by_shift)?;
    Ok(())
}
