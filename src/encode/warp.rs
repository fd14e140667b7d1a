//! The scale on which a column's mixture is fitted: as it is, or logarithmic in the tails.

use super::{
    gmm::{self, Gaussian},
    wide::Float,
};
use serde::{Deserialize, Serialize};

/// Points a mixture is fitted on at most.
const MAX_POINTS: usize = 5_000;
/// Points on which scales are compared.
const TRIAL_POINTS: usize = 1_000;
/// Scales are compared where the range is this many times that of the middle 90 %: a normal
/// distribution's is 3 or less, an exponential's 5, in a few thousand values.
const LONG_TAILED: f64 = 4.0;
/// Nats per value that the logarithmic scale must gain to be used.
const WORTH: f64 = 0.05;

/// z = t((x - center) / scale), with t the identity or asinh: linear within `scale` of the center,
/// logarithmic beyond, for tails over many orders of magnitude.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Warp {
    center: Float,
    scale: Float,
    log: bool,
}

impl Warp {
    /// Chooses the scale under which a Gaussian mixture gives the (weighted) values the higher likelihood,
    /// and returns that mixture in warped units.
    pub(crate) fn fit(values: &[(f64, f64)]) -> (Self, Vec<Gaussian>) {
        let points = thin(values, MAX_POINTS);
        let quantile = |q: f64| quantile(&points, q);
        let (q05, q25, median, q75, q95) =
            (quantile(0.05), quantile(0.25), quantile(0.5), quantile(0.75), quantile(0.95));
        // Halves first: the difference of two huge values overflows.
        let extent = points.iter().fold(0.0_f64, |most, p| most.max((p.0 / 2.0 - median / 2.0).abs() * 2.0));
        let linear = Self { center: Float(median), scale: Float(usable(extent, median)), log: false };
        if extent < LONG_TAILED * (q95 / 2.0 - q05 / 2.0) {
            return (linear, linear.mixture(&points));
        }
        let trial = thin(&points, TRIAL_POINTS);
        let linear_score = linear.score(&trial);
        let body = [q75 / 2.0 - q25 / 2.0, q95 / 2.0 - q05 / 2.0].into_iter().find(|d| *d > 0.0).unwrap_or(extent);
        let center = if q25 - quantile(0.0) < 0.1 * (quantile(1.0) - q75) { quantile(0.0) } else { median };
        // From half of the values in the logarithmic part to nearly all.
        let mut distances: Vec<(f64, f64)> = trial.iter().map(|(x, w)| ((x - center).abs(), *w)).collect();
        distances.sort_by(|a, b| a.0.total_cmp(&b.0));
        let near = [0.5, 0.25, 0.05, 0.01].map(|q| self::quantile(&distances, q));
        let candidates = near.into_iter().chain([body, body / 10.0]);
        let best = candidates
            .into_iter()
            .filter(|scale| *scale > 0.0)
            .map(|scale| {
                let warp = Self { center: Float(center), scale: Float(usable(scale, center)), log: true };
                (warp, warp.score(&trial))
            })
            .max_by(|a, b| a.1.total_cmp(&b.1));
        let warp = match best {
            Some((warp, score)) if score > linear_score + WORTH => warp,
            _ => linear,
        };
        (warp, warp.mixture(&points))
    }

    /// The mixture on this scale.
    fn mixture(&self, points: &[(f64, f64)]) -> Vec<Gaussian> {
        gmm::fit(&points.iter().map(|&(x, w)| (self.forward(x), w)).collect::<Vec<_>>())
    }

    /// The mean log density of the points, on the original scale, under the mixture on this one.
    fn score(&self, points: &[(f64, f64)]) -> f64 {
        let modes = self.mixture(points);
        let constants: Vec<f64> = modes.iter().map(|g| (g.weight / g.std).ln()).collect();
        let (mut sum, mut total) = (0.0, 0.0);
        for &(x, w) in points {
            let z = self.forward(x);
            let mut top = f64::NEG_INFINITY;
            let mut logs = [f64::NEG_INFINITY; 16];
            for ((log, g), constant) in logs.iter_mut().zip(&modes).zip(&constants) {
                let d = (z - g.mean) / g.std;
                *log = constant - 0.5 * d * d;
                top = top.max(*log);
            }
            let density = top + logs.iter().map(|log| (log - top).exp()).sum::<f64>().ln();
            let y = x / self.scale.0 - self.center.0 / self.scale.0;
            let slope = if self.log { -0.5 * (1.0 + y * y).ln() } else { 0.0 } - self.scale.0.ln();
            sum += w * (density + slope);
            total += w;
        }
        let score = sum / total;
        if score.is_nan() { f64::NEG_INFINITY } else { score }
    }

    /// To warped units.
    pub(crate) fn forward(&self, x: f64) -> f64 {
        let y = x / self.scale.0 - self.center.0 / self.scale.0;
        if self.log { y.asinh() } else { y }
    }

    /// From warped units; may overflow to infinity, which the grid's range cuts off.
    pub(crate) fn backward(&self, z: f64) -> f64 {
        let y = if self.log { z.sinh() } else { z };
        (y + self.center.0 / self.scale.0) * self.scale.0
    }

    /// Whether the parameters can be computed with.
    pub(crate) fn is_sane(&self) -> bool {
        self.center.0.is_finite()
            && self.scale.0.is_finite()
            && self.scale.0 > 0.0
            && (self.center.0 / self.scale.0).is_finite()
    }
}

/// A scale that `center` can be divided by.
fn usable(scale: f64, center: f64) -> f64 {
    if scale.is_finite() { scale.max(center.abs() * 1e-15).max(1e-290) } else { f64::MAX / 4.0 }
}

/// At most `most` points with the same distribution, sorted: the values at evenly spaced ranks where
/// there are more.
fn thin(values: &[(f64, f64)], most: usize) -> Vec<(f64, f64)> {
    let mut sorted = values.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    if sorted.len() <= most {
        return sorted;
    }
    let total: f64 = sorted.iter().map(|p| p.1).sum();
    let weight = total / most as f64;
    let (mut thinned, mut seen) = (Vec::with_capacity(most), 0.0);
    for (x, w) in sorted {
        seen += w;
        while thinned.len() < most && seen >= (thinned.len() as f64 + 0.5) * weight {
            thinned.push((x, weight));
        }
    }
    thinned
}

/// A weighted quantile of sorted points.
fn quantile(sorted: &[(f64, f64)], q: f64) -> f64 {
    let total: f64 = sorted.iter().map(|p| p.1).sum();
    let mut seen = 0.0;
    for &(x, w) in sorted {
        seen += w;
        if seen >= q * total {
            return x;
        }
    }
    sorted.last().map_or(0.0, |p| p.0)
}
