//! The scale on which a column's mixture is fitted: as it is, or logarithmic in the tails.

use super::{
    gmm::{self, Gaussian},
    wide::Float,
};
use serde::{Deserialize, Serialize};

/// Points a mixture is fitted on at most.
const MAX_POINTS: usize = 10_000;
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
        let points = thin(values);
        let quantile = |q: f64| quantile(&points, q);
        let (q05, q25, median, q75, q95) =
            (quantile(0.05), quantile(0.25), quantile(0.5), quantile(0.75), quantile(0.95));
        // Halves first: the difference of two huge values overflows.
        let extent = points.iter().fold(0.0_f64, |most, p| most.max((p.0 / 2.0 - median / 2.0).abs() * 2.0));
        let linear = Self { center: Float(median), scale: Float(usable(extent, median)), log: false };
        let (linear_fit, linear_score) = linear.score(&points);
        let body = [q75 / 2.0 - q25 / 2.0, q95 / 2.0 - q05 / 2.0].into_iter().find(|d| *d > 0.0).unwrap_or(extent);
        let center = if q25 - quantile(0.0) < 0.1 * (quantile(1.0) - q75) { quantile(0.0) } else { median };
        let candidates = [(center, body), (center, body / 10.0)];
        let best = candidates
            .into_iter()
            .map(|(center, scale)| {
                let warp = Self { center: Float(center), scale: Float(usable(scale, center)), log: true };
                let (fit, score) = warp.score(&points);
                (warp, fit, score)
            })
            .max_by(|a, b| a.2.total_cmp(&b.2));
        match best {
            Some((warp, fit, score)) if score > linear_score + WORTH => (warp, fit),
            _ => (linear, linear_fit),
        }
    }

    /// The mixture on this scale, and the mean log density of the points on the original one.
    fn score(&self, points: &[(f64, f64)]) -> (Vec<Gaussian>, f64) {
        let warped: Vec<(f64, f64)> = points.iter().map(|&(x, w)| (self.forward(x), w)).collect();
        let modes = gmm::fit(&warped);
        let constants: Vec<f64> = modes.iter().map(|g| (g.weight / g.std).ln()).collect();
        let (mut sum, mut total) = (0.0, 0.0);
        for (&(x, w), &(z, _)) in points.iter().zip(&warped) {
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
        (modes, if score.is_nan() { f64::NEG_INFINITY } else { score })
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

/// At most [`MAX_POINTS`] points with the same distribution, sorted: the values at evenly spaced ranks
/// where there are more.
fn thin(values: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut sorted = values.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    if sorted.len() <= MAX_POINTS {
        return sorted;
    }
    let total: f64 = sorted.iter().map(|p| p.1).sum();
    let weight = total / MAX_POINTS as f64;
    let (mut thinned, mut seen) = (Vec::with_capacity(MAX_POINTS), 0.0);
    for (x, w) in sorted {
        seen += w;
        while thinned.len() < MAX_POINTS && seen >= (thinned.len() as f64 + 0.5) * weight {
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
