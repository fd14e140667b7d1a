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

#[allow(clippy::cast_possible_truncation)]
fn forward_rows<T: Element>(
    x: Rows<'_, T>,
    scale: &[f32],
    shift: &[f32],
    mut out: RowsMut<'_, T>,
) -> Result<Statistics> {
    let (mut mean, mut variance) = (vec![0f32; x.columns()], vec![0f32; x.columns()]);
    moments(x, &mut mean, &mut variance);
    let inverse: Vec<f32> = variance.iter().map(|&v| 1.0 / (v + EPSILON as f32).sqrt()).collect();
    let factor: Vec<f32> = inverse.iter().zip(scale).map(|(i, s)| i * s).collect();
    for r in 0..x.rows() {
        normalise(x.row(r), &mean, &factor, shift, out.row(r));
    }
    Ok(Statistics {
        mean: Tensor::f_from_slice(&mean)?,
        variance: Tensor::f_from_slice(&variance)?,
        inverse_deviation: Tensor::f_from_slice(&inverse)?,
    })
}

vectorised! {
    #[allow(clippy::cast_precision_loss)]
    fn moments<T: Element>(x: Rows<'_, T>, mean: &mut [f32], variance: &mut [f32]) {
        let share = 1.0 / x.rows() as f32;
        for r in 0..x.rows() {
            mean.iter_mut().zip(x.row(r)).for_each(|(m, v)| *m += v.to_f32());
        }
        mean.iter_mut().for_each(|m| *m *= share);
        for r in 0..x.rows() {
            for ((v, x), m) in variance.iter_mut().zip(x.row(r)).zip(mean.iter()) {
                let d = x.to_f32() - m;
                *v += d * d;
            }
        }
        variance.iter_mut().for_each(|v| *v *= share);
    }
}

vectorised! {
    fn normalise<T: Element>(x: &[T], mean: &[f32], factor: &[f32], shift: &[f32], out: &mut [T]) {
        for ((((o, x), m), f), b) in out.iter_mut().zip(x).zip(mean).zip(factor).zip(shift) {
            let y = (x.to_f32() - m) * f + b;
            // Not `max`: a NaN must get through, or divergence would go unseen.
            *o = T::from_f32(if y < 0.0 { 0.0 } else { y });
        }
    }
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
    let (mut by_scale, mut by_shift) = (vec![0f32; x.columns()], vec![0f32; x.columns()]);
    for r in 0..x.rows() {
        sums(x.row(r), out.row(r), grad_out.row(r), (mean, inverse), (&mut by_scale, &mut by_shift));
    }
    // grad_x = d * factor - x * slope - level, with the terms of the batch gathered per column.
    let share = 1.0 / x.rows() as f32;
    let width = x.columns();
    let factor: Vec<f32> = (0..width).map(|c| inverse[c] * scale[c]).collect();
    let slope: Vec<f32> = (0..width).map(|c| factor[c] * share * by_scale[c] * inverse[c]).collect();
    let level: Vec<f32> = (0..width).map(|c| factor[c] * share * by_shift[c] - slope[c] * mean[c]).collect();
    for r in 0..x.rows() {
        input_gradient(x.row(r), out.row(r), grad_out.row(r), (&factor, &slope, &level), grad_x.row(r));
    }
    (by_scale, by_shift)
}

vectorised! {
    fn sums<T: Element>(x: &[T], out: &[T], grad: &[T], statistics: (&[f32], &[f32]), sums: (&mut [f32], &mut [f32])) {
        let row = x.iter().zip(out).zip(grad).zip(statistics.0).zip(statistics.1);
        for (((((x, y), dy), m), i), (by_scale, by_shift)) in row.zip(sums.0.iter_mut().zip(sums.1)) {
            let d = if y.to_f32() > 0.0 { dy.to_f32() } else { 0.0 };
            *by_shift += d;
            *by_scale += d * ((x.to_f32() - m) * i);
        }
    }
}

vectorised! {
    fn input_gradient<T: Element>(x: &[T], out: &[T], grad: &[T], terms: (&[f32], &[f32], &[f32]), grad_x: &mut [T]) {
        let row = x.iter().zip(out).zip(grad).zip(terms.0).zip(terms.1).zip(terms.2);
        for ((((((x, y), dy), factor), slope), level), dx) in row.zip(grad_x) {
            let d = if y.to_f32() > 0.0 { dy.to_f32() } else { 0.0 };
            *dx = T::from_f32(d * factor - x.to_f32() * slope - level);
        }
    }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn kernels_and_operations_agree() {
        let random = |n: i64, at: u64| {
            let mut values = vec![0f32; n as usize];
            crate::noise::Noise::new(2, b"kernels").purpose("norm").fill_normal(at, &mut values);
            Tensor::from_slice(&values)
        };
        for (kind, tolerance) in [(Kind::Float, 1e-4), (Kind::BFloat16, 0.05)] {
            let x = (random(20 * 5, 0).view([20, 5]) * 3.0 + 1.0).to_kind(kind);
            let (scale, shift) = (random(5, 1).view([1, 5]), random(5, 2).view([1, 5]));
            let grad_out = random(20 * 5, 3).view([20, 5]).to_kind(kind);
            let zeros = |like: &Tensor| like.zeros_like();
            let (mut out, mut wanted) = (zeros(&x), zeros(&x));
            let statistics = forward(&x, &scale, &shift, &mut out).unwrap();
            forward_by_operations(&x, &scale, &shift, &mut wanted).unwrap();
            let difference = |a: &Tensor, b: &Tensor| {
                (a.to_kind(Kind::Float) - b.to_kind(Kind::Float)).abs().max().double_value(&[])
            };
            assert!(difference(&out, &wanted) < tolerance);
            let mut ours = [zeros(&x), zeros(&scale), zeros(&scale)];
            let mut theirs = [zeros(&x), zeros(&scale), zeros(&scale)];
            let [a, b, c] = &mut ours;
            backward(&x, &out, &grad_out, &statistics, &scale, a, b, c).unwrap();
            let [a, b, c] = &mut theirs;
            backward_by_operations(&x, &out, &grad_out, &statistics, &scale, a, b, c).unwrap();
            for (ours, theirs) in ours.iter().zip(&theirs) {
                assert!(difference(ours, theirs) < tolerance, "{kind:?} {}", difference(ours, theirs));
            }
        }
    }
}
