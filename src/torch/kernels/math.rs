//! Run-time choice of the vector width, and functions that vectorise: transcendental ones, and folds.

use crate::torch::Element;

/// Defines a function that is compiled for baseline, AVX2 and AVX-512 processors and takes the widest at run time. The
/// arithmetic is the same in each: wider vectors only do more of it at once.
macro_rules! vectorised {
    ($(#[$meta:meta])* $vis:vis fn $name:ident $(<$t:ident: $bound:path>)? ($($arg:ident: $type:ty),* $(,)?) $(-> $out:ty)? $body:block) => {
        $(#[$meta])*
        $vis fn $name $(<$t: $bound>)? ($($arg: $type),*) $(-> $out)? {
            #[inline(always)]
            $(#[$meta])*
            fn body $(<$t: $bound>)? ($($arg: $type),*) $(-> $out)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
                $(#[$meta])*
                fn avx512 $(<$t: $bound>)? ($($arg: $type),*) $(-> $out)? {
                    body $(::<$t>)? ($($arg),*)
                }
                #[target_feature(enable = "avx2")]
                $(#[$meta])*
                fn avx2 $(<$t: $bound>)? ($($arg: $type),*) $(-> $out)? {
                    body $(::<$t>)? ($($arg),*)
                }
                match $crate::torch::kernels::math::vector_width() {
                    // SAFETY: the processor has these features, as `vector_width` found.
                    #[allow(unsafe_code)]
                    512 => return unsafe { avx512 $(::<$t>)? ($($arg),*) },
                    // SAFETY: as above.
                    #[allow(unsafe_code)]
                    256 => return unsafe { avx2 $(::<$t>)? ($($arg),*) },
                    _ => {}
                }
            }
            body $(::<$t>)? ($($arg),*)
        }
    };
}
pub(crate) use vectorised;

/// Bits of the widest vectors that kernels are compiled for and this processor has.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) fn vector_width() -> u32 {
    use std::arch::is_x86_feature_detected as has;
    if has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl") {
        512
    } else if has!("avx2") {
        256
    } else {
        128
    }
}

/// 0 for what no gradient would miss. A settled softmax is full of numbers near 1e-38, and products of subnormal
/// numbers cost a hundred times as much as others: a training would slow down by the epoch.
#[inline(always)]
pub(crate) fn flushed(x: f32) -> f32 {
    if x.abs() < 1e-18 { 0.0 } else { x }
}

/// e^x for x in about -87..=88 (clamped there), within 2 units in the last place; NaN stays NaN.
///
/// Cody-Waite reduction to |r| <= ln 2 / 2 and a polynomial of degree 6 (Cody & Waite, "Software Manual for the
/// Elementary Functions", 1980).
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * 0.693_359_4) + n * 2.121_944_4e-4;
    let p = 1.0 / 720.0;
    let p = p * r + 1.0 / 120.0;
    let p = p * r + 1.0 / 24.0;
    let p = p * r + 1.0 / 6.0;
    let p = p * r + 0.5;
    let p = p * r * r + r + 1.0;
    p * f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23))
}

/// tanh, by [`exp`]; absolute error below 1e-6.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (exp(2.0 * x) + 1.0)
}

/// Lanes that sums and maxima are taken in, whatever the vector width: the order of additions is fixed.
const LANES: usize = 16;

/// Sum of `values`.
#[inline(always)]
pub(crate) fn sum(values: &[f32]) -> f32 {
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut lanes = [0f32; LANES];
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, x)| *lane += x);
    }
    lanes.iter_mut().zip(rest).for_each(|(lane, x)| *lane += x);
    across(lanes, |a, b| a + b)
}

/// Sum of the products of `a` and `b`, element by element.
#[inline(always)]
pub(crate) fn dot<T: Element>(a: &[T], b: &[T]) -> f32 {
    let ((chunks, rest), (others, last)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut lanes = [0f32; LANES];
    for (a, b) in chunks.iter().zip(others) {
        lanes.iter_mut().zip(a.iter().zip(b)).for_each(|(lane, (a, b))| *lane += a.to_f32() * b.to_f32());
    }
    lanes.iter_mut().zip(rest.iter().zip(last)).for_each(|(lane, (a, b))| *lane += a.to_f32() * b.to_f32());
    across(lanes, |a, b| a + b)
}

/// The largest of `values`, NaN passed over; minus infinity where there is none.
#[inline(always)]
pub(crate) fn largest(values: &[f32]) -> f32 {
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, &x)| *lane = greater(*lane, x));
    }
    lanes.iter_mut().zip(rest).for_each(|(lane, &x)| *lane = greater(*lane, x));
    across(lanes, greater)
}

#[inline(always)]
fn greater(a: f32, b: f32) -> f32 {
    if b > a { b } else { a }
}

/// Folds the lanes by halves.
#[inline(always)]
fn across(mut lanes: [f32; LANES], fold: impl Fn(f32, f32) -> f32) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] = fold(lanes[lane], lanes[lane + half]);
        }
        half /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_take_in_every_element() {
        for length in 0..70 {
            let values: Vec<f32> = (0..length).map(|i| ((i * 7) % 23) as f32 - 30.0).collect();
            assert_eq!(sum(&values), values.iter().sum::<f32>(), "{length}");
            assert_eq!(dot(&values, &values), values.iter().map(|x| x * x).sum::<f32>(), "{length}");
            assert_eq!(largest(&values), values.iter().copied().fold(f32::NEG_INFINITY, f32::max), "{length}");
        }
        assert_eq!(largest(&[1.0, f32::NAN, 3.0]), 3.0);
        assert!(sum(&[1.0, f32::NAN]).is_nan() && dot(&[f32::NAN], &[0.0]).is_nan());
    }

    #[test]
    fn exp_and_tanh_are_close_everywhere() {
        for i in -870_000..=880_000 {
            let x = i as f32 / 10_000.0;
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) / exact - 1.0).abs() < 4e-7, "exp({x})");
            if x.abs() < 20.0 {
                assert!((f64::from(tanh(x)) - f64::from(x).tanh()).abs() < 1e-6, "tanh({x})");
            }
        }
        assert!(exp(f32::NAN).is_nan() && tanh(f32::NAN).is_nan());
        assert_eq!((tanh(1e9), tanh(-1e9)), (1.0, -1.0));
    }
}
