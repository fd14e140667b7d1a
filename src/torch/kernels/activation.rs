//! The activation of a generated row: tanh on scalars, Gumbel-softmax on distributions (Jang et al. 2017,
//! "Categorical Reparameterization with Gumbel-Softmax"), its gradient, and the cross-entropy on a chosen code.

use super::{
    math::{dot, exp, flushed, largest, sum, tanh, vectorised},
    segments::{SegmentIndex, Segments},
};
use crate::{
    Result, SynthError,
    torch::{Element, Rows, RowsMut, by_kind, cast},
};
use tch::{Kind, Tensor};

/// `out = activation(logits)`, both `[n, width]`: tanh on scalars, softmax((logits + gumbel) / tau) on distributions;
/// other columns of `out` are left as they are. `gumbel` is f32.
pub(crate) fn forward(segments: &Segments, logits: &Tensor, gumbel: &Tensor, tau: f32, out: &mut Tensor) -> Result<()> {
    match &segments.index {
        Some(index) => forward_by_operations(index, logits, gumbel, tau, out),
        None => by_kind!(logits.f_kind()?, T => {
            forward_rows::<T>(segments, Rows::of(logits)?, Rows::of(gumbel)?, tau, RowsMut::of(out)?);
            Ok(())
        }),
    }
}

fn forward_rows<T: Element>(
    segments: &Segments,
    logits: Rows<'_, T>,
    gumbel: Rows<'_, f32>,
    tau: f32,
    mut out: RowsMut<'_, T>,
) {
    let scale = 1.0 / tau;
    let mut buffer = vec![0f32; segments.width];
    for r in 0..logits.rows() {
        activate(segments, logits.row(r), gumbel.row(r), scale, &mut buffer, out.row(r));
    }
}

vectorised! {
    fn activate<T: Element>(
        segments: &Segments,
        logits: &[T],
        gumbel: &[f32],
        scale: f32,
        buffer: &mut [f32],
        out: &mut [T],
    ) {
        for &at in &segments.scalars {
            out[at] = T::from_f32(tanh(logits[at].to_f32()));
        }
        for ((x, logit), gumbel) in buffer.iter_mut().zip(logits).zip(gumbel) {
            *x = (logit.to_f32() + gumbel) * scale;
        }
        for &(at, length) in &segments.distributions {
            let part = &mut buffer[at..at + length];
            let top = largest(part);
            part.iter_mut().for_each(|x| *x -= top);
        }
        buffer.iter_mut().for_each(|x| *x = exp(*x));
        for &(at, length) in &segments.distributions {
            let part = &buffer[at..at + length];
            let inverse = 1.0 / sum(part);
            for (o, &e) in out[at..at + length].iter_mut().zip(part) {
                *o = T::from_f32(flushed(e * inverse));
            }
        }
    }
}

fn forward_by_operations(
    index: &SegmentIndex,
    logits: &Tensor,
    gumbel: &Tensor,
    tau: f32,
    out: &mut Tensor,
) -> Result<()> {
    let logits = cast(logits, Kind::Float)?;
    let soft = padded(index, &logits.f_add(gumbel)?, f64::NEG_INFINITY)?
        .f_div_scalar(f64::from(tau))?
        .f_softmax(-1, Kind::Float)?
        .f_flatten(1, 2)?
        .f_index_select(1, &index.slot)?;
    let scalar = index.is_scalar.f_gt(0.5)?;
    let passed_over = index.segment.f_lt(0)?.f_logical_and(&scalar.f_logical_not()?)?;
    let value = logits.f_tanh()?.f_where_self(&scalar, &soft)?;
    let value = cast(out, Kind::Float)?.f_where_self(&passed_over, &value)?;
    out.f_copy_(&value)?;
    Ok(())
}

/// `grad_logits` of [`forward`], given its `out` and the gradient of the loss by `out`; 0 where there is no activation.
pub(crate) fn backward(
    segments: &Segments,
    out: &Tensor,
    grad_out: &Tensor,
    tau: f32,
    grad_logits: &mut Tensor,
) -> Result<()> {
    match &segments.index {
        Some(index) => backward_by_operations(index, out, grad_out, tau, grad_logits),
        None => by_kind!(out.f_kind()?, T => {
            backward_rows::<T>(segments, Rows::of(out)?, Rows::of(grad_out)?, tau, RowsMut::of(grad_logits)?);
            Ok(())
        }),
    }
}

fn backward_rows<T: Element>(
    segments: &Segments,
    out: Rows<'_, T>,
    grad_out: Rows<'_, T>,
    tau: f32,
    mut grad_logits: RowsMut<'_, T>,
) {
    let scale = 1.0 / tau;
    for r in 0..out.rows() {
        activate_back(segments, out.row(r), grad_out.row(r), scale, grad_logits.row(r));
    }
}

vectorised! {
    fn activate_back<T: Element>(segments: &Segments, y: &[T], dy: &[T], scale: f32, dl: &mut [T]) {
        dl.fill(T::default());
        for &at in &segments.scalars {
            let value = y[at].to_f32();
            dl[at] = T::from_f32(flushed(dy[at].to_f32() * (1.0 - value * value)));
        }
        for &(at, length) in &segments.distributions {
            let (y, dy) = (&y[at..at + length], &dy[at..at + length]);
            let inner = dot(y, dy);
            for ((dl, &y), &dy) in dl[at..at + length].iter_mut().zip(y).zip(dy) {
                *dl = T::from_f32(flushed(y.to_f32() * (dy.to_f32() - inner) * scale));
            }
        }
    }
}

fn backward_by_operations(
    index: &SegmentIndex,
    out: &Tensor,
    grad_out: &Tensor,
    tau: f32,
    grad_logits: &mut Tensor,
) -> Result<()> {
    let (y, dy) = (cast(out, Kind::Float)?, cast(grad_out, Kind::Float)?);
    let inner = padded(index, &y.f_mul(&dy)?, 0.0)?.f_sum_dim_intlist(-1, false, Kind::Float)?;
    let inner = inner.f_index_select(1, &index.segment.f_clamp_min(0)?)?;
    let soft = y.f_mul(&dy.f_sub(&inner)?)?.f_div_scalar(f64::from(tau))?;
    let soft = soft.f_mul(&index.segment.f_ge(0)?)?;
    let scalar = dy.f_mul(&y.f_square()?.f_neg()?.f_add_scalar(1.0)?)?;
    grad_logits.f_copy_(&scalar.f_where_self(&index.is_scalar.f_gt(0.5)?, &soft)?)?;
    Ok(())
}

/// A code that a row must show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    /// Index into [`Segments::distributions`].
    pub(crate) distribution: usize,
    /// The code.
    pub(crate) code: usize,
}

/// Cross-entropy between each row's distribution and its target (rows without one add nothing), summed and
/// multiplied by `weight`; adds its gradient to `grad_logits`.
pub(crate) fn cross_entropy(
    segments: &Segments,
    logits: &Tensor,
    targets: &[Option<Target>],
    weight: f32,
    grad_logits: &mut Tensor,
) -> Result<f64> {
    if usize::try_from(logits.size()[0]) != Ok(targets.len()) {
        return Err(SynthError::Internal(format!("{} targets for {:?}", targets.len(), logits.size())));
    }
    match &segments.index {
        Some(index) => cross_entropy_by_operations(segments, index, logits, targets, weight, grad_logits),
        None => by_kind!(logits.f_kind()?, T => {
            Ok(cross_entropy_rows::<T>(segments, Rows::of(logits)?, targets, weight, RowsMut::of(grad_logits)?))
        }),
    }
}

fn cross_entropy_rows<T: Element>(
    segments: &Segments,
    logits: Rows<'_, T>,
    targets: &[Option<Target>],
    weight: f32,
    mut grad_logits: RowsMut<'_, T>,
) -> f64 {
    let longest = segments.distributions.iter().map(|d| d.1).max().unwrap_or(0);
    let mut buffer = vec![0f32; longest];
    let mut loss = 0f64;
    for (r, target) in targets.iter().enumerate() {
        let Some(target) = target else { continue };
        let (at, length) = segments.distributions[target.distribution];
        let (logits, grad) = (&logits.row(r)[at..at + length], &mut grad_logits.row(r)[at..at + length]);
        loss += f64::from(towards(logits, target.code, weight, &mut buffer[..length], grad));
    }
    loss * f64::from(weight)
}

vectorised! {
    /// The cross-entropy of one row; adds its gradient times `weight` to `grad`.
    fn towards<T: Element>(logits: &[T], code: usize, weight: f32, buffer: &mut [f32], grad: &mut [T]) -> f32 {
        buffer.iter_mut().zip(logits).for_each(|(b, x)| *b = x.to_f32());
        let (top, wanted) = (largest(buffer), buffer[code]);
        buffer.iter_mut().for_each(|b| *b = exp(*b - top));
        let sum = sum(buffer);
        for (i, (g, &e)) in grad.iter_mut().zip(buffer.iter()).enumerate() {
            let hit = if i == code { 1.0 } else { 0.0 };
            *g = T::from_f32(flushed(g.to_f32() + weight * (e / sum - hit)));
        }
        sum.ln() + top - wanted
    }
}

fn cross_entropy_by_operations(
    segments: &Segments,
    index: &SegmentIndex,
    logits: &Tensor,
    targets: &[Option<Target>],
    weight: f32,
    grad_logits: &mut Tensor,
) -> Result<f64> {
    let device = logits.device();
    let place = |t: &Target| (segments.distributions[t.distribution].0 + t.code) as i64;
    let column = |values: Vec<i64>| -> Result<Tensor> {
        Ok(Tensor::f_from_slice(&values)?.f_view([-1, 1])?.f_to_device(device)?)
    };
    let segment = column(targets.iter().map(|t| t.as_ref().map_or(-2, |t| t.distribution as i64)).collect())?;
    let place = column(targets.iter().map(|t| t.as_ref().map_or(0, place)).collect())?;
    let logs = padded(index, &cast(logits, Kind::Float)?, f64::NEG_INFINITY)?
        .f_log_softmax(-1, Kind::Float)?
        .f_flatten(1, 2)?
        .f_index_select(1, &index.slot)?;
    let given = segment.f_ge(0)?;
    let wanted = index.segment.f_eq_tensor(&segment)?.f_to_kind(Kind::Float)?;
    let hit = logs.f_zeros_like()?.f_scatter_value(1, &place, 1.0)?.f_mul(&given)?;
    let loss = logs.f_gather(1, &place, false)?.f_where_self(&given, &Tensor::from(0f32).f_to_device(device)?)?;
    let grad = logs.f_exp()?.f_mul(&wanted)?.f_sub(&hit)?.f_mul_scalar(f64::from(weight))?;
    let _ = grad_logits.f_add_(&grad)?;
    Ok(-loss.f_sum(Kind::Double)?.f_double_value(&[])? * f64::from(weight))
}

fn padded(index: &SegmentIndex, rows: &Tensor, padding: f64) -> Result<Tensor> {
    let rows = rows.f_constant_pad_nd([0, 1])?;
    let mut last = rows.f_narrow(1, rows.size()[1] - 1, 1)?;
    let _ = last.f_fill_(padding)?;
    Ok(rows.f_index_select(1, &index.gather)?.f_view([-1, index.shape.0, index.shape.1])?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use half::bf16;
    use tch::Device;

    fn random(n: i64, width: i64, at: u64) -> Tensor {
        let mut values = vec![0f32; (n * width) as usize];
        crate::noise::Noise::new(2, b"kernels").purpose("values").fill_normal(at, &mut values);
        Tensor::from_slice(&values).view([n, width]) * 2.0
    }

    /// A row of a distribution, a scalar, a column to pass over, a distribution of one code, a scalar, a distribution.
    fn segments() -> Segments {
        Segments::new(14, vec![4, 7], vec![(0, 4), (6, 1), (8, 6)], Device::Cpu).unwrap()
    }

    fn difference(a: &Tensor, b: &Tensor) -> f64 {
        (a.to_kind(Kind::Float) - b.to_kind(Kind::Float)).abs().max().double_value(&[])
    }

    #[test]
    fn kernels_and_operations_agree() {
        let mut segments = segments();
        let targets: Vec<_> = (0..9)
            .map(|row| {
                (row % 4 < 3).then_some(Target { distribution: row % 3, code: if row % 3 == 1 { 0 } else { row % 4 } })
            })
            .collect();
        for (kind, tolerance) in [(Kind::Float, 1e-5), (Kind::BFloat16, 0.05)] {
            let (logits, gumbel) = (random(9, 14, 0).to_kind(kind), random(9, 14, 1));
            let grad_out = random(9, 14, 2).to_kind(kind);
            let run = |segments: &Segments| {
                let mut out = logits.full_like(0.25);
                forward(segments, &logits, &gumbel, 0.5, &mut out).unwrap();
                let mut grad = logits.full_like(7.0);
                backward(segments, &out, &grad_out, 0.5, &mut grad).unwrap();
                let loss = cross_entropy(segments, &logits, &targets, 0.125, &mut grad).unwrap();
                (out, grad, loss)
            };
            segments.index = None;
            let (out, grad, loss) = run(&segments);
            segments.index = Some(SegmentIndex::new(&segments, Device::Cpu).unwrap());
            let (wanted_out, wanted_grad, wanted_loss) = run(&segments);
            assert!(difference(&out, &wanted_out) < tolerance, "{kind:?} {}", difference(&out, &wanted_out));
            assert!(difference(&grad, &wanted_grad) < tolerance, "{kind:?} {}", difference(&grad, &wanted_grad));
            assert!((loss - wanted_loss).abs() < tolerance, "{kind:?} {loss} {wanted_loss}");
            assert_eq!(difference(&out.narrow(1, 5, 1), &out.narrow(1, 5, 1).full_like(0.25)), 0.0);
        }
    }

    #[test]
    fn gradients_are_those_of_automatic_differentiation() {
        let segments = segments();
        let (gumbel, grad_out) = (random(9, 14, 1), random(9, 14, 2));
        let logits = random(9, 14, 0).set_requires_grad(true);
        let soft =
            |at, length| ((logits.narrow(1, at, length) + gumbel.narrow(1, at, length)) / 0.5).softmax(-1, Kind::Float);
        let parts = [
            soft(0, 4),
            logits.narrow(1, 4, 1).tanh(),
            logits.narrow(1, 5, 1) * 0.0,
            soft(6, 1),
            logits.narrow(1, 7, 1).tanh(),
            soft(8, 6),
        ];
        let wanted = Tensor::cat(&parts, 1);
        (&wanted * &grad_out).sum(Kind::Float).backward();
        let mut out = Tensor::zeros([9, 14], (Kind::Float, Device::Cpu));
        forward(&segments, &logits.detach(), &gumbel, 0.5, &mut out).unwrap();
        assert!(difference(&out, &wanted.detach()) < 1e-5);
        let mut grad = out.zeros_like();
        backward(&segments, &out, &grad_out, 0.5, &mut grad).unwrap();
        assert!(difference(&grad, &logits.grad()) < 1e-4);
    }

    #[test]
    fn bf16_rounds_as_the_reference_does() {
        for bits in (0..=u32::MAX).step_by(65_521) {
            let value = f32::from_bits(bits);
            if !value.is_nan() {
                assert_eq!(<bf16 as Element>::from_f32(value), bf16::from_f32(value), "{value}");
            }
        }
        assert!(<bf16 as Element>::from_f32(f32::NAN).is_nan());
    }
}
