//! Run-time choice of the vector width, and transcendental functions that vectorise.

/// Defines a function that is compiled for baseline, AVX2 and AVX-512 processors and takes the widest at run time. The
/// arithmetic is the same in each: wider vectors only do more of it at once.
macro_rules! vectorised {
    ($(#[$meta:meta])* fn $name:ident $(<$t:ident: $bound:path>)? ($($arg:ident: $type:ty),* $(,)?) $(-> $out:ty)? $body:block) => {
        $(#[$meta])*
        fn $name $(<$t: $bound>)? ($($arg: $type),*) $(-> $out)? {
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

#[cfg(test)]
mod tests {
    use super::*;

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
