//! The prior of latent vectors: a mixture of Gaussians with diagonal covariances, learned with the autoencoder.
//!
//! What the encoder makes of a table's rows, taken together, is never quite the standard normal distribution that the
//! decoder would be fed at generation; where the two differ, it makes rows that no table has. A prior that learns where
//! rows lie closes the gap (Tomczak & Welling, "VAE with a VampPrior", 2018, with free components). With one component it
//! is the paper's: a shift and a scale of latent vectors are nothing that the layers around them cannot undo.

use crate::{Result, noise::Noise, torch::Parameters};
use tch::{Kind, Tensor};

/// Deviation of the components' means at the start.
const SPREAD: f32 = 0.3;

/// Names and shapes of the prior's parameters.
pub(super) fn shapes(components: usize, latent: usize) -> [(String, usize, usize); 3] {
    [
        ("prior.mean".to_owned(), components, latent),
        ("prior.log_variance".to_owned(), components, latent),
        ("prior.logit".to_owned(), 1, components),
    ]
}

/// The prior at its parameters: what all rows of a batch share.
#[derive(Debug)]
pub(super) struct Prior {
    mean: Tensor,
    /// Reciprocal variances, `[components, latent]`.
    precision: Tensor,
    /// The log-density of a component is `[z², z] · weightsᵀ + constant`; `[components, 2 latent]`.
    weights: Tensor,
    /// `[1, components]`.
    constant: Tensor,
    probability: Tensor,
}

/// The latent vectors of some rows under the prior.
pub(super) struct Judged {
    /// `[z², z]`.
    input: Tensor,
    /// Probability of each component, given the vector: `[rows, components]`.
    responsibility: Tensor,
    /// Sum over rows of the log-density, less that of a standard normal distribution at 0.
    pub(super) log_density: f64,
}

impl Prior {
    /// Components near each other, in which the encoder's first outputs all have a share.
    pub(super) fn initialise(parameters: &Parameters, first: usize, noise: &Noise) -> Result<()> {
        let mut master = parameters.master(first)?;
        let size = master.size();
        let mut values = vec![0f32; master.numel()];
        noise.purpose("initial/tvae/prior").fill_normal(0, &mut values);
        values.iter_mut().for_each(|value| *value *= SPREAD);
        master.f_copy_(&Tensor::f_from_slice(&values)?.f_view(size.as_slice())?)?;
        Ok(())
    }

    /// The prior whose parameters begin at index `first`.
    pub(super) fn new(parameters: &Parameters, first: usize) -> Result<Self> {
        let (mean, log_variance) = (parameters.weight(first)?, parameters.weight(first + 1)?);
        let logit = parameters.weight(first + 2)?;
        let precision = log_variance.f_neg()?.f_exp()?;
        let scaled = precision.f_mul(&mean)?;
        let weights = Tensor::f_cat(&[&precision.f_mul_scalar(-0.5)?, &scaled], 1)?;
        let norm = scaled.f_mul(&mean)?.f_add(&log_variance)?.f_sum_dim_intlist(1, false, Kind::Float)?;
        let constant = logit.f_log_softmax(-1, Kind::Float)?.f_sub(&norm.f_mul_scalar(0.5)?)?;
        Ok(Self { mean, precision, weights, constant, probability: logit.f_softmax(-1, Kind::Float)? })
    }

    /// Judges latent vectors, `[rows, latent]`.
    pub(super) fn judge(&self, z: &Tensor) -> Result<Judged> {
        let input = Tensor::f_cat(&[&z.f_square()?, z], 1)?;
        let logs = self.constant.f_addmm(&input, &self.weights.f_tr()?)?;
        let log_density = logs.f_logsumexp(-1, false)?.f_sum(Kind::Double)?.f_double_value(&[])?;
        Ok(Judged { input, responsibility: logs.f_softmax(-1, Kind::Float)?, log_density })
    }

    /// The gradients of minus the log-density, `weight` times: returns that by the latent vectors, and writes those by the
    /// parameters (in the order of [`shapes`]).
    pub(super) fn gradients(&self, judged: &Judged, weight: f64, gradients: &[Tensor]) -> Result<Tensor> {
        let latent = self.mean.size()[1];
        let halves = |t: &Tensor| -> Result<(Tensor, Tensor)> {
            Ok((t.f_narrow(1, 0, latent)?, t.f_narrow(1, latent, latent)?))
        };
        let z = judged.input.f_narrow(1, latent, latent)?;
        let (by_square, by_z) = halves(&judged.responsibility.f_mm(&self.weights)?)?;
        let by_latent = by_square.f_mul(&z)?.f_mul_scalar(2.0)?.f_add(&by_z)?.f_mul_scalar(-weight)?;

        // Per component: the sum of responsibilities, and of vectors and squares weighted by them.
        let share = judged.responsibility.f_sum_dim_intlist(0, false, Kind::Float)?.f_view([-1, 1])?;
        let (squares, vectors) = halves(&judged.responsibility.f_tr()?.f_mm(&judged.input)?)?;
        let by_mean = self.mean.f_mul(&share)?.f_sub(&vectors)?.f_mul(&self.precision)?;
        // Sum of squared distances from the mean.
        let distance =
            squares.f_sub(&self.mean.f_mul(&vectors.f_mul_scalar(2.0)?.f_sub(&self.mean.f_mul(&share)?)?)?)?;
        let by_log_variance = share.f_sub(&distance.f_mul(&self.precision)?)?.f_mul_scalar(0.5)?;
        let rows = judged.input.size()[0] as f64;
        let by_logit = self.probability.f_mul_scalar(rows)?.f_sub(&share.f_view([1, -1])?)?;
        for (gradient, by) in gradients.iter().zip([by_mean, by_log_variance, by_logit]) {
            gradient.shallow_clone().f_copy_(&by.f_mul_scalar(weight)?)?;
        }
        Ok(by_latent)
    }
}
