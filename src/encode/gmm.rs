//! A variational Gaussian mixture in one dimension.

use statrs::function::gamma::digamma;

/// Components fitted at most.
const COMPONENTS: usize = 10;
/// Components of less weight are dropped.
const MIN_WEIGHT: f64 = 0.005;
/// Concentration of the Dirichlet process: small, so that data that needs few components gets few.
const CONCENTRATION: f64 = 1e-3;
const MAX_ITERATIONS: usize = 100;
/// Iteration ends when no component's weight or mean moves more than this (in standard deviations).
const TOLERANCE: f64 = 5e-4;

/// One Gaussian of a mixture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Gaussian {
    pub weight: f64,
    pub mean: f64,
    pub std: f64,
}

/// Fits a mixture to weighted points (finite, not empty, weights positive), ordered by mean, weights
/// summing to 1. Deterministic.
///
/// Coordinate ascent on the variational posterior of a Gaussian mixture (Bishop, PRML §10.2) with
/// a stick-breaking Dirichlet-process prior on the weights (Blei & Jordan 2006).
pub(crate) fn fit(points: &[(f64, f64)]) -> Vec<Gaussian> {
    let total: f64 = points.iter().map(|p| p.1).sum();
    let mean = points.iter().map(|(x, w)| x * w).sum::<f64>() / total;
    let variance = points.iter().map(|(x, w)| w * (x - mean) * (x - mean)).sum::<f64>() / total;
    if !(variance > 0.0 && variance.is_finite()) {
        return vec![Gaussian { weight: 1.0, mean, std: f64::MIN_POSITIVE.max(mean.abs() * 1e-12) }];
    }
    // Standardised, so that the priors mean the same for every column.
    let std = variance.sqrt();
    let data: Vec<(f64, f64)> = points.iter().map(|&(x, w)| ((x - mean) / std, w)).collect();
    let mut posterior = Posterior::start(&data);
    for _ in 0..MAX_ITERATIONS {
        let before = posterior;
        let statistics = posterior.responsibilities(&data);
        posterior.update(&statistics);
        if posterior.moved(&before) < TOLERANCE {
            break;
        }
    }
    let mut modes: Vec<Gaussian> = posterior
        .gaussians()
        .into_iter()
        .filter(|g| g.weight > MIN_WEIGHT)
        .map(|g| Gaussian { weight: g.weight, mean: mean + std * g.mean, std: std * g.std })
        .collect();
    let kept: f64 = modes.iter().map(|g| g.weight).sum();
    modes.iter_mut().for_each(|g| g.weight /= kept);
    modes.sort_by(|a, b| a.mean.total_cmp(&b.mean));
    modes
}

/// Weighted count, mean and variance of the points a component answers for.
#[derive(Debug, Clone, Copy, Default)]
struct Statistics {
    count: f64,
    mean: f64,
    variance: f64,
}

/// The variational posterior: Beta sticks, and a normal-Wishart (here normal-gamma) per component.
#[derive(Debug, Clone, Copy)]
struct Posterior {
    stick: [(f64, f64); COMPONENTS],
    mean: [f64; COMPONENTS],
    /// β: pseudo-counts of the mean.
    strength: [f64; COMPONENTS],
    /// ν: degrees of freedom of the precision.
    freedom: [f64; COMPONENTS],
    /// The variance whose inverse is the expected precision.
    variance: [f64; COMPONENTS],
}

impl Posterior {
    /// From a hard assignment: k-means in one dimension, started at quantiles.
    fn start(data: &[(f64, f64)]) -> Self {
        let mut sorted = data.to_vec();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        let total: f64 = sorted.iter().map(|p| p.1).sum();
        let mut centers = [0.0; COMPONENTS];
        let (mut seen, mut k) = (0.0, 0);
        for &(x, w) in &sorted {
            seen += w;
            while k < COMPONENTS && seen >= total * (k as f64 + 0.5) / COMPONENTS as f64 {
                centers[k] = x;
                k += 1;
            }
        }
        // Rounding may leave the last quantiles unreached.
        let last = sorted.last().map_or(0.0, |p| p.0);
        centers[k..].fill(last);
        let mut statistics = [Statistics::default(); COMPONENTS];
        for _ in 0..30 {
            statistics = assign(&sorted, &centers);
            let mut moved = 0.0_f64;
            for (center, s) in centers.iter_mut().zip(&statistics) {
                if s.count > 0.0 {
                    moved = moved.max((*center - s.mean).abs());
                    *center = s.mean;
                }
            }
            centers.sort_by(f64::total_cmp);
            if moved < 1e-4 {
                break;
            }
        }
        let mut posterior = Self {
            stick: [(1.0, CONCENTRATION); COMPONENTS],
            mean: [0.0; COMPONENTS],
            strength: [1.0; COMPONENTS],
            freedom: [1.0; COMPONENTS],
            variance: [1.0; COMPONENTS],
        };
        posterior.update(&statistics);
        posterior
    }

    /// The M step: posterior parameters from the statistics, with the prior N(0, 1) in standard units.
    fn update(&mut self, statistics: &[Statistics; COMPONENTS]) {
        let mut after = 0.0;
        for k in (0..COMPONENTS).rev() {
            let Statistics { count, mean, variance } = statistics[k];
            self.stick[k] = (1.0 + count, CONCENTRATION + after);
            after += count;
            self.strength[k] = 1.0 + count;
            self.freedom[k] = 1.0 + count;
            self.mean[k] = count * mean / self.strength[k];
            let scatter = 1.0 + count * variance + count / self.strength[k] * mean * mean;
            self.variance[k] = (scatter / self.freedom[k]).max(1e-12);
        }
    }

    /// The E step: expected log densities, normalised per point and summed up.
    fn responsibilities(&self, data: &[(f64, f64)]) -> [Statistics; COMPONENTS] {
        let mut log_weight = [0.0; COMPONENTS];
        let mut remaining = 0.0;
        for (log_weight, (a, b)) in log_weight.iter_mut().zip(self.stick) {
            let both = digamma(a + b);
            *log_weight = digamma(a) - both + remaining;
            remaining += digamma(b) - both;
        }
        // E[log density] = constant - precision / 2 * distance².
        let mut constant = [0.0; COMPONENTS];
        let mut precision = [0.0; COMPONENTS];
        for k in 0..COMPONENTS {
            precision[k] = 1.0 / self.variance[k];
            let log_precision = digamma(0.5 * self.freedom[k]) - (0.5 * self.freedom[k]).ln() - self.variance[k].ln();
            constant[k] = log_weight[k] + 0.5 * log_precision - 0.5 / self.strength[k];
        }
        let (mut s0, mut s1, mut s2) = ([0.0; COMPONENTS], [0.0; COMPONENTS], [0.0; COMPONENTS]);
        for &(x, w) in data {
            let mut log = [0.0; COMPONENTS];
            let mut top = f64::NEG_INFINITY;
            for k in 0..COMPONENTS {
                let d = x - self.mean[k];
                log[k] = constant[k] - 0.5 * precision[k] * d * d;
                top = top.max(log[k]);
            }
            let mut sum = 0.0;
            for value in &mut log {
                let d = *value - top;
                *value = if d < -40.0 { 0.0 } else { d.exp() };
                sum += *value;
            }
            let scale = w / sum;
            for k in 0..COMPONENTS {
                let r = log[k] * scale;
                let d = x - self.mean[k];
                s0[k] += r;
                s1[k] += r * d;
                s2[k] += r * d * d;
            }
        }
        std::array::from_fn(|k| {
            if s0[k] < 1e-12 {
                return Statistics::default();
            }
            // Moments about the old mean: no cancellation far from zero.
            let shift = s1[k] / s0[k];
            let variance = (s2[k] / s0[k] - shift * shift).max(0.0);
            Statistics { count: s0[k], mean: self.mean[k] + shift, variance }
        })
    }

    fn gaussians(&self) -> [Gaussian; COMPONENTS] {
        let mut left = 1.0;
        std::array::from_fn(|k| {
            let (a, b) = self.stick[k];
            let weight = left * a / (a + b);
            left *= b / (a + b);
            Gaussian { weight, mean: self.mean[k], std: self.variance[k].sqrt() }
        })
    }

    /// The largest change of a weight, or of the mean of a component that matters.
    fn moved(&self, before: &Self) -> f64 {
        let (now, then) = (self.gaussians(), before.gaussians());
        now.iter().zip(&then).fold(0.0_f64, |most, (a, b)| {
            let mean = if a.weight > MIN_WEIGHT { (a.mean - b.mean).abs() / a.std.max(1e-9) * a.weight } else { 0.0 };
            most.max((a.weight - b.weight).abs()).max(mean)
        })
    }
}

/// Statistics of the points (sorted) nearest to each center (sorted).
fn assign(sorted: &[(f64, f64)], centers: &[f64; COMPONENTS]) -> [Statistics; COMPONENTS] {
    let (mut s0, mut s1, mut s2) = ([0.0; COMPONENTS], [0.0; COMPONENTS], [0.0; COMPONENTS]);
    let mut k = 0;
    for &(x, w) in sorted {
        while k + 1 < COMPONENTS && (centers[k + 1] - x).abs() < (centers[k] - x).abs() {
            k += 1;
        }
        let d = x - centers[k];
        s0[k] += w;
        s1[k] += w * d;
        s2[k] += w * d * d;
    }
    std::array::from_fn(|k| {
        if s0[k] <= 0.0 {
            return Statistics::default();
        }
        let shift = s1[k] / s0[k];
        Statistics { count: s0[k], mean: centers[k] + shift, variance: (s2[k] / s0[k] - shift * shift).max(0.0) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_distr::{Distribution, Normal};

    fn draw(parts: &[(usize, f64, f64)]) -> Vec<(f64, f64)> {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(7);
        parts
            .iter()
            .flat_map(|&(n, mean, std)| {
                Normal::new(mean, std).unwrap().sample_iter(&mut rng).take(n).collect::<Vec<_>>()
            })
            .map(|x| (x, 1.0))
            .collect()
    }

    #[test]
    fn recovers_a_known_mixture() {
        let modes = fit(&draw(&[(3000, -50.0, 1.0), (5000, 0.0, 3.0), (2000, 400.0, 10.0)]));
        let near = |mean: f64, reach: f64| {
            let close = modes.iter().filter(|g| (g.mean - mean).abs() < reach);
            close.fold((0.0, 0.0), |(w, m), g| (w + g.weight, m + g.weight * g.mean))
        };
        for (weight, mean, reach) in [(0.3, -50.0, 10.0), (0.5, 0.0, 20.0), (0.2, 400.0, 60.0)] {
            let (w, m) = near(mean, reach);
            assert!((w - weight).abs() < 0.01, "weight at {mean}: {w} in {modes:?}");
            assert!((m / w - mean).abs() < 0.5 + mean.abs() * 0.01, "mean at {mean}: {} in {modes:?}", m / w);
        }
    }

    #[test]
    fn survives_extremes() {
        for points in [
            vec![(5.0, 1.0)],
            vec![(1e300, 1.0), (1e300, 3.0)],
            vec![(0.0, 1e9), (1.0, 1.0)],
            vec![(-1.0, 1.0), (1.0, 1.0)],
            (0..1000).map(|i| (f64::from(i).exp2().min(1e150), 1.0)).collect(),
        ] {
            let modes = fit(&points);
            assert!(!modes.is_empty());
            assert!((modes.iter().map(|g| g.weight).sum::<f64>() - 1.0).abs() < 1e-9, "{modes:?}");
            assert!(modes.iter().all(|g| g.mean.is_finite() && g.std > 0.0 && g.std.is_finite()), "{modes:?}");
        }
    }
}
