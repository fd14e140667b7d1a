//! Leaky ReLU (Maas et al. 2013, "Rectifier Nonlinearities Improve Neural Network Acoustic Models") and the dropout that
//! follows it, with the slope of both, in one pass.

use super::math::vectorised;
use crate::{
    Result,
    torch::{Element, Rows, RowsMut, by_kind},
};
use tch::{Device, Tensor};

/// `slope` is the unit's factor in `mask` (1 without one) where `x > 0`, and `leak` times that elsewhere; `out`, if it is
/// wanted, is `x * slope`. All are `[n, width]` and of one kind.
pub(crate) fn forward(
    x: &Tensor,
    leak: f32,
    mask: Option<&Tensor>,
    slope: &mut Tensor,
    out: Option<&mut Tensor>,
) -> Result<()> {
    if x.device() != Device::Cpu {
        return forward_by_operations(x, leak, mask, slope, out);
    }
    by_kind!(x.f_kind()?, T => {
        let (x, mut slope) = (Rows::<T>::of(x)?, RowsMut::<T>::of(slope)?);
        let mask = mask.map(Rows::<T>::of).transpose()?;
        let mut out = out.map(RowsMut::<T>::of).transpose()?;
        let kept = vec![T::from_f32(1.0); if mask.is_none() { x.columns() } else { 0 }];
        for r in 0..x.rows() {
            let mask = mask.map_or(kept.as_slice(), |mask| mask.row(r));
            match &mut out {
                Some(out) => both(x.row(r), leak, mask, slope.row(r), out.row(r)),
                None => slopes(x.row(r), leak, mask, slope.row(r)),
            }
        }
        Ok(())
    })
}

#[inline(always)]
fn factor(x: f32, leak: f32, mask: f32) -> f32 {
    if x > 0.0 { mask } else { mask * leak }
}

vectorised! {
    fn slopes<T: Element>(x: &[T], leak: f32, mask: &[T], slope: &mut [T]) {
        for ((s, x), m) in slope.iter_mut().zip(x).zip(mask) {
            *s = T::from_f32(factor(x.to_f32(), leak, m.to_f32()));
        }
    }
}

vectorised! {
    fn both<T: Element>(x: &[T], leak: f32, mask: &[T], slope: &mut [T], out: &mut [T]) {
        for (((o, s), x), m) in out.iter_mut().zip(slope).zip(x).zip(mask) {
            let factor = factor(x.to_f32(), leak, m.to_f32());
            *s = T::from_f32(factor);
            *o = T::from_f32(x.to_f32() * factor);
        }
    }
}

fn forward_by_operations(
    x: &Tensor,
    leak: f32,
    mask: Option<&Tensor>,
    slope: &mut Tensor,
    out: Option<&mut Tensor>,
) -> Result<()> {
    let leak = f64::from(leak);
    let positive = x.f_gt(0.0)?.f_to_kind(x.f_kind()?)?;
    let factor = positive.f_mul_scalar(1.0 - leak)?.f_add_scalar(leak)?;
    slope.f_copy_(&match mask {
        Some(mask) => factor.f_mul(mask)?,
        None => factor,
    })?;
    if let Some(out) = out {
        out.f_copy_(&x.f_mul(slope)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tch::Kind;

    #[test]
    fn kernel_and_operations_agree() {
        for (kind, tolerance) in [(Kind::Float, 1e-6), (Kind::BFloat16, 0.02)] {
            let x = (Tensor::arange(60, (Kind::Float, Device::Cpu)).view([12, 5]) / 10.0 - 3.0).to_kind(kind);
            let mask = (Tensor::arange(60, (Kind::Float, Device::Cpu)).view([12, 5]).remainder(3) * 0.75).to_kind(kind);
            for mask in [None, Some(&mask)] {
                let [mut slope, mut out, mut wanted_slope, mut wanted] = [(); 4].map(|()| x.zeros_like());
                forward_by_operations(&x, 0.2, mask, &mut wanted_slope, Some(&mut wanted)).unwrap();
                let difference = |a: &Tensor, b: &Tensor| (a - b).abs().max().double_value(&[]);
                forward(&x, 0.2, mask, &mut slope, None).unwrap();
                assert!(difference(&slope, &wanted_slope) < tolerance);
                forward(&x, 0.2, mask, &mut slope, Some(&mut out)).unwrap();
                assert!(difference(&slope, &wanted_slope) < tolerance && difference(&out, &wanted) < tolerance);
            }
        }
    }
}
