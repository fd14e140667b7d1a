//! Choices by weight, and sums of weights that only their logarithms can hold.

/// What the golden ratio leaves of a whole.
const GOLDEN: f64 = 0.618_033_988_749_894_9;

/// A place in [0, 1) for every number: those of numbers that are one apart are spread evenly, however many there are.
#[must_use]
pub fn spread(number: f64) -> f64 {
    (number * GOLDEN).fract()
}

/// The place at `uniform` of [0, 1) among weights laid side by side; one without weight only if none has any.
#[must_use]
pub fn place(weights: &[f64], uniform: f32) -> usize {
    let mut left = f64::from(uniform) * weights.iter().sum::<f64>();
    let place = weights.iter().position(|weight| {
        left -= weight;
        left < 0.0
    });
    // Rounding may leave the end open.
    place.or_else(|| weights.iter().rposition(|weight| *weight > 0.0)).unwrap_or(0)
}

/// The same among weights of which these are the natural logarithms.
#[must_use]
pub fn place_of_logs(logs: &[f64], uniform: f32) -> usize {
    let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    place(&logs.iter().map(|log| (log - largest).exp()).collect::<Vec<_>>(), uniform)
}

/// The natural logarithm of the sum of two numbers of which these are the logarithms.
#[must_use]
pub fn log_sum(a: f64, b: f64) -> f64 {
    let (more, less) = if a > b { (a, b) } else { (b, a) };
    if less == f64::NEG_INFINITY { more } else { more + (less - more).exp().ln_1p() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_taken_by_weight() {
        let of = |weights: &[f64]| [0.0, 0.24, 0.26, 0.999_999_9].map(|uniform| place(weights, uniform));
        assert_eq!(of(&[1.0, 3.0, 0.0]), [0, 0, 1, 1]);
        assert_eq!(of(&[0.0, 0.5, 1.5]), [1, 1, 2, 2]);
        assert_eq!(of(&[0.0, 0.0]), [0; 4], "none has any weight");
        let logs = [-1000.0, -1000.0 + 3f64.ln(), f64::NEG_INFINITY];
        assert_eq!([0.0, 0.24, 0.26, 0.99].map(|uniform| place_of_logs(&logs, uniform)), [0, 0, 1, 1]);
    }

    #[test]
    fn sums_of_what_no_number_holds() {
        let close = |found: f64, wanted: f64| assert!((found - wanted).abs() < 1e-12, "{found}");
        close(log_sum(-1000.0, -1000.0 + 3f64.ln()), -1000.0 + 4f64.ln());
        close(log_sum(f64::NEG_INFINITY, 2.0), 2.0);
        close(log_sum(2.0, f64::NEG_INFINITY), 2.0);
        assert_eq!(log_sum(f64::NEG_INFINITY, f64::NEG_INFINITY), f64::NEG_INFINITY);
    }
}
