//! One step of Adam (Kingma & Ba 2015) over a flat run of parameters, in one pass over memory, and of their average.

use super::math::{flushed, vectorised};
use crate::torch::Element;

/// The numbers of one step, bias corrections included.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    /// Learning rate over the first moment's bias correction.
    pub(crate) rate: f32,
    /// Reciprocal square root of the second moment's bias correction.
    pub(crate) second_correction: f32,
    /// Decay of the first moment.
    pub(crate) beta1: f32,
    /// Decay of the second moment.
    pub(crate) beta2: f32,
    /// Added to the root of the second moment.
    pub(crate) epsilon: f32,
    /// Added to the gradient per unit of the parameter.
    pub(crate) weight_decay: f32,
}

/// Updates `parameters` and the moments by `gradient`.
pub(crate) fn step<G: Element>(s: Step, parameters: &mut [f32], gradient: &[G], first: &mut [f32], second: &mut [f32]) {
    plain(s, parameters, gradient, first, second);
}

/// As [`step`], and writes the new parameters, rounded, to `copy`.
pub(crate) fn step_with_copy<G: Element>(
    s: Step,
    parameters: &mut [f32],
    gradient: &[G],
    first: &mut [f32],
    second: &mut [f32],
    copy: &mut [G],
) {
    copying(s, parameters, gradient, first, second, copy);
}

vectorised! {
    fn plain<G: Element>(s: Step, parameters: &mut [f32], gradient: &[G], first: &mut [f32], second: &mut [f32]) {
        for (((p, g), m), v) in parameters.iter_mut().zip(gradient).zip(first).zip(second) {
            *p = update(s, *p, g.to_f32(), m, v);
        }
    }
}

vectorised! {
    fn copying<G: Element>(
        s: Step,
        parameters: &mut [f32],
        gradient: &[G],
        first: &mut [f32],
        second: &mut [f32],
        copy: &mut [G],
    ) {
        for ((((p, g), m), v), c) in parameters.iter_mut().zip(gradient).zip(first).zip(second).zip(copy) {
            *p = update(s, *p, g.to_f32(), m, v);
            *c = G::from_f32(*p);
        }
    }
}

/// Moves `values` the share `share` of the way to `parameters`.
pub(crate) fn approach(share: f32, parameters: &[f32], values: &mut [f32]) {
    interpolate(share, parameters, values);
}

vectorised! {
    fn interpolate(share: f32, parameters: &[f32], values: &mut [f32]) {
        values.iter_mut().zip(parameters).for_each(|(v, p)| *v += share * (p - *v));
    }
}

#[inline(always)]
fn update(s: Step, p: f32, g: f32, m: &mut f32, v: &mut f32) -> f32 {
    let g = g + s.weight_decay * p;
    *m = flushed(s.beta1 * *m + (1.0 - s.beta1) * g);
    let square = s.beta2 * *v + (1.0 - s.beta2) * (g * g);
    *v = if square < f32::MIN_POSITIVE { 0.0 } else { square };
    p - s.rate * *m / (v.sqrt() * s.second_correction + s.epsilon)
}
