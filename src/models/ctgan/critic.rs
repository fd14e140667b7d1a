//! The critic in training (WGAN-GP, Gulrajani et al. 2017) on packs of rows (PacGAN, Lin et al. 2018).
//!
//! Two layers of LeakyReLU and dropout and one output, so given the units' slopes it is linear: the gradient by its input
//! is `w3 · slope2 · W2ᵀ · slope1 · W1ᵀ`, three matrix products whose own gradient needs no second differentiation
//! of the network. The first layer is affine in its input, so an interpolated row needs no pass through it either:
//! its activations are the interpolation of those of the real and the generated row.
//!
//! Real and generated packs meet the same conditions, and the penalty is on the rows, not on the conditions. So real
//! rows and conditions stay sparse: only generated rows and input gradients are matrices of full width.

use super::config::Config;
use crate::{
    Result,
    noise::{Noise, Purpose},
    torch::{
        Adam, Parameters, Team, cast,
        kernels::{dropout::dropout_mask, sparse::SparseRows},
        multiply,
    },
};
use tch::{Device, Kind, Tensor};

const SLOPE: f64 = 0.2;
const W1: usize = 0;
/// The first layer's weight of the conditions.
const C1: usize = 1;
const B1: usize = 2;
const W2: usize = 3;
const B2: usize = 4;
const W3: usize = 5;
const B3: usize = 6;

/// The critic: parameters, and the matrices of one step.
#[derive(Debug)]
pub(super) struct Critic {
    kind: Kind,
    device: Device,
    dropout: f64,
    penalty_weight: f64,
    adam: Adam,
    pub(super) parameters: Parameters,
    packs: i64,
    /// Generated packs, then the gradient by the penalty's input gradient. With `right` the first layer's gradient
    /// is one matrix product over both.
    left: Tensor,
    right: Tensor,
}

/// Activations of some packs.
struct Pass {
    slope1: Tensor,
    hidden1: Tensor,
    slope2: Tensor,
    hidden2: Tensor,
}

impl Critic {
    /// A critic at its start, for batches of `packs` packs of `pac` rows of `row_width` numbers, of which the first
    /// `used` mean something, under conditions of `condition_width`.
    pub(super) fn new(
        config: &Config,
        packs: usize,
        (row_width, used, condition_width): (usize, usize, usize),
        noise: &Noise,
        kind: Kind,
        device: Device,
    ) -> Result<Self> {
        let (input, width) = (config.pac * row_width, config.critic_width);
        let shapes = [
            ("1.weight", input, width),
            ("1.condition", config.pac * condition_width, width),
            ("1.bias", 1, width),
            ("2.weight", width, width),
            ("2.bias", 1, width),
            ("3.weight", width, 1),
            ("3.bias", 1, 1),
        ];
        let shapes = shapes.map(|(name, rows, columns)| (format!("critic.{name}"), rows, columns));
        let parameters = Parameters::new(shapes.into(), kind, device)?;
        let zeros = |rows: usize, columns: usize| Tensor::f_zeros([rows as i64, columns as i64], (kind, device));
        let mut critic = Self {
            kind,
            device,
            dropout: config.dropout,
            penalty_weight: config.penalty_weight,
            adam: Adam { learning_rate: config.critic_rate, beta1: 0.5, beta2: 0.9, weight_decay: config.weight_decay },
            parameters,
            packs: packs as i64,
            left: zeros(2 * packs, input)?,
            right: zeros(2 * packs, width)?,
        };
        let first = config.pac * (used + condition_width);
        let inputs = [first, first, first, width, width, width, width];
        for ((name, mut master), inputs) in critic.parameters.named(&critic.parameters.master)?.into_iter().zip(inputs)
        {
            let (rows, columns) = master.size2()?;
            let mut values = vec![0f32; (rows * columns) as usize];
            noise.purpose(&format!("initial/{name}")).fill_uniform(0, &mut values);
            let bound = 1.0 / (inputs as f32).sqrt();
            for (row, values) in values.chunks_mut(columns as usize).enumerate() {
                let padding = name == "critic.1.weight" && row % row_width >= used;
                values.iter_mut().for_each(|v| *v = if padding { 0.0 } else { (*v * 2.0 - 1.0) * bound });
            }
            master.f_copy_(&Tensor::f_from_slice(&values)?.f_view([rows, columns])?)?;
        }
        critic.parameters.masters_changed()?;
        Ok(critic)
    }

    fn packs_of(&self, tensor: &Tensor, at: i64, count: i64) -> Result<Tensor> {
        Ok(tensor.f_narrow(0, at * self.packs, count * self.packs)?)
    }

    /// Where generated rows go: `[rows, row_width]`.
    pub(super) fn generated_rows(&self, row_width: usize) -> Result<Tensor> {
        Ok(self.packs_of(&self.left, 0, 1)?.f_view([-1, row_width as i64])?)
    }

    /// The masks of both layers' kept units.
    fn dropout_masks(&self, packs: i64, purpose: &Purpose, block: u64) -> Result<[Tensor; 2]> {
        let width = self.right.size()[1];
        let mask = dropout_mask(2 * packs * width, self.dropout, (purpose, block), (self.kind, self.device))?;
        let mask = mask.f_view([2, packs, width])?;
        Ok([mask.f_select(0, 0)?, mask.f_select(0, 1)?])
    }

    /// From the first layer's pre-activations on.
    fn pass(&self, pre1: &Tensor, dropout: &[Tensor; 2]) -> Result<Pass> {
        let slope = |pre: &Tensor, dropout: &Tensor| -> Result<Tensor> {
            let positive = pre.f_gt(0.0)?.f_to_kind(self.kind)?;
            Ok(positive.f_mul_scalar(1.0 - SLOPE)?.f_add_scalar(SLOPE)?.f_mul(dropout)?)
        };
        let slope1 = slope(pre1, &dropout[0])?;
        let hidden1 = pre1.f_mul(&slope1)?;
        let pre2 = hidden1.f_mm(&self.parameters.weight(W2)?)?.f_add(&self.parameters.weight(B2)?)?;
        let slope2 = slope(&pre2, &dropout[1])?;
        let hidden2 = pre2.f_mul(&slope2)?;
        Ok(Pass { slope1, hidden1, slope2, hidden2 })
    }

    fn output(&self, pass: &Pass) -> Result<Tensor> {
        Ok(pass.hidden2.f_mm(&self.parameters.weight(W3)?)?.f_add(&self.parameters.weight(B3)?)?)
    }

    /// The first layer's part of conditions and bias.
    fn conditioned(&self, conditions: &SparseRows) -> Result<Tensor> {
        let mut out = Tensor::f_empty([self.packs, self.right.size()[1]], (self.kind, self.device))?;
        conditions.product(&self.parameters.weight(C1)?, &mut out)?;
        Ok(out.f_add_(&self.parameters.weight(B1)?)?)
    }

    /// The first layer of dense packs, given its part of the conditions.
    fn first_layer(&self, packs: &Tensor, conditioned: &Tensor) -> Result<Tensor> {
        Ok(conditioned.f_addmm(packs, &self.parameters.weight(W1)?)?)
    }

    /// The gradients of all parameters by the packs `real` and those written to [`Critic::generated_rows`], both
    /// under `conditions`, with the dropout and interpolation noise of `block`, and the penalty `penalty` times as
    /// strong. Returns the loss.
    pub(super) fn gradients(
        &self,
        (real, conditions): (&SparseRows, &SparseRows),
        (dropout, interpolation): (&Purpose, &Purpose),
        block: u64,
        penalty: f64,
    ) -> Result<f64> {
        let n = self.packs;
        let share = 1.0 / n as f64;
        let transposed = |index: usize| -> Result<Tensor> { Ok(self.parameters.weight(index)?.f_tr()?) };
        let masks = self.dropout_masks(2 * n, dropout, 2 * block)?;
        let conditioned = self.conditioned(conditions)?;
        let pre1 = Tensor::f_empty([2 * n, conditioned.size()[1]], (self.kind, self.device))?;
        let (mut pre_real, mut pre_generated) = (self.packs_of(&pre1, 0, 1)?, self.packs_of(&pre1, 1, 1)?);
        real.product(&self.parameters.weight(W1)?, &mut pre_real)?;
        let _ = pre_real.f_add_(&conditioned)?;
        pre_generated.f_copy_(&self.first_layer(&self.packs_of(&self.left, 0, 1)?, &conditioned)?)?;
        let pass = self.pass(&pre1, &masks)?;
        let out = self.output(&pass)?;
        let mean = |at| -> Result<f64> { Ok(self.packs_of(&out, at, 1)?.f_mean(Kind::Double)?.f_double_value(&[])?) };
        let mut loss = mean(1)? - mean(0)?;
        // The loss is mean(generated) - mean(real).
        let by_out = out.f_full_like(share)?;
        let _ = self.packs_of(&by_out, 0, 1)?.f_neg_()?;
        let by_pre2 = pass.slope2.f_mul(&transposed(W3)?)?.f_mul(&by_out)?;
        let by_pre1 = by_pre2.f_mm(&transposed(W2)?)?.f_mul(&pass.slope1)?;
        let (by_real, by_generated) = (self.packs_of(&by_pre1, 0, 1)?, self.packs_of(&by_pre1, 1, 1)?);
        self.packs_of(&self.right, 0, 1)?.f_copy_(&by_generated)?;
        let sum = |t: &Tensor| t.f_sum_dim_intlist(0, true, self.kind);
        self.parameters.gradient(B1)?.f_copy_(&sum(&by_pre1)?)?;
        self.parameters.gradient(B2)?.f_copy_(&sum(&by_pre2)?)?;
        let _ = self.parameters.gradient(B3)?.f_zero_()?;
        let by_w2 = self.parameters.gradient(W2)?;
        multiply(&pass.hidden1.f_tr()?, &by_pre2, &by_w2)?;
        let mut by_w3 = self.parameters.gradient(W3)?;
        multiply(&pass.hidden2.f_tr()?, &by_out, &by_w3)?;
        let mut stacked = 1;
        if penalty > 0.0 && self.penalty_weight > 0.0 {
            stacked = 2;
            let masks = self.dropout_masks(n, dropout, 2 * block + 1)?;
            let mut mix = vec![0f32; n as usize];
            interpolation.fill_uniform(block, &mut mix);
            let mix = Tensor::f_from_slice(&mix)?.f_view([-1, 1])?.f_to_device(self.device)?.f_to_kind(self.kind)?;
            let pass = self.pass(&pre_generated.f_lerp_tensor(&pre_real, &mix)?, &masks)?;
            let a = pass.slope2.f_mul(&transposed(W3)?)?;
            let mut c = self.packs_of(&self.right, 1, 1)?;
            c.f_copy_(&a.f_mm(&transposed(W2)?)?.f_mul(&pass.slope1)?)?;
            let gradient = cast(&c.f_mm(&transposed(W1)?)?, Kind::Float)?;
            let norm = gradient.f_square()?.f_sum_dim_intlist(1, true, Kind::Float)?.f_sqrt()?;
            let excess = norm.f_sub_scalar(1.0)?;
            let weight = penalty * self.penalty_weight * share;
            loss += excess.f_square()?.f_sum(Kind::Double)?.f_double_value(&[])? * weight;
            let factor = excess.f_mul_scalar(2.0 * weight)?.f_div(&norm.f_add_scalar(1e-12)?)?;
            let mut by_gradient = self.packs_of(&self.left, 1, 1)?;
            by_gradient.f_copy_(&gradient.f_mul(&factor)?)?;
            let by_b = by_gradient.f_mm(&self.parameters.weight(W1)?)?.f_mul(&pass.slope1)?;
            let by_a = by_b.f_mm(&self.parameters.weight(W2)?)?.f_mul(&pass.slope2)?;
            let _ = by_w2.f_addmm_out(&by_w2, &by_b.f_tr()?, &a)?;
            let _ = by_w3.f_add_(&sum(&by_a)?.f_tr()?)?;
        }
        let (left, right) = (self.packs_of(&self.left, 0, stacked)?, self.packs_of(&self.right, 0, stacked)?);
        let mut by_w1 = self.parameters.gradient(W1)?;
        multiply(&left.f_tr()?, &right, &by_w1)?;
        real.add_transposed_product(&by_real, &mut by_w1)?;
        let mut by_c1 = self.parameters.gradient(C1)?;
        let _ = by_c1.f_zero_()?;
        conditions.add_transposed_product(&by_real.f_add(&by_generated)?, &mut by_c1)?;
        Ok(loss)
    }

    /// Adam's step `number` by the gradients, with the learning rate times `rate`.
    pub(super) fn update(&mut self, number: u64, rate: f64, team: &Team) -> Result<()> {
        let adam = Adam { learning_rate: self.adam.learning_rate * rate, ..self.adam };
        self.parameters.step(&adam, number, team)
    }

    /// The generator's side: -mean(critic) of generated `rows` (`[rows, row_width]`, contiguous) under `conditions`,
    /// and its gradient by them.
    pub(super) fn judge(
        &self,
        rows: &Tensor,
        conditions: &SparseRows,
        dropout: &Purpose,
        block: u64,
    ) -> Result<(f64, Tensor)> {
        let masks = self.dropout_masks(self.packs, dropout, block)?;
        let packs = rows.f_view([self.packs, -1])?;
        let pass = self.pass(&self.first_layer(&packs, &self.conditioned(conditions)?)?, &masks)?;
        let loss = -self.output(&pass)?.f_mean(Kind::Double)?.f_double_value(&[])?;
        let by_pre2 =
            pass.slope2.f_mul(&self.parameters.weight(W3)?.f_tr()?)?.f_mul_scalar(-1.0 / self.packs as f64)?;
        let by_pre1 = by_pre2.f_mm(&self.parameters.weight(W2)?.f_tr()?)?.f_mul(&pass.slope1)?;
        let by_input = by_pre1.f_mm(&self.parameters.weight(W1)?.f_tr()?)?;
        Ok((loss, by_input.f_view(rows.size().as_slice())?))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::models::{FitOptions, OptionValue};

    fn leaky(x: &Tensor) -> Tensor {
        x.f_maximum(&x.f_mul_scalar(SLOPE).unwrap()).unwrap()
    }

    fn network(weights: &[Tensor], x: &Tensor, conditions: &Tensor, masks: &[Tensor; 2]) -> Tensor {
        let layer = |x: &Tensor, at: usize| x.f_mm(&weights[at]).unwrap().f_add(&weights[at + 1]).unwrap();
        let pre1 = x.matmul(&weights[W1]) + conditions.matmul(&weights[C1]) + &weights[B1];
        let hidden1 = leaky(&pre1).f_mul(&masks[0]).unwrap();
        let hidden2 = leaky(&layer(&hidden1, W2)).f_mul(&masks[1]).unwrap();
        layer(&hidden2, W3)
    }

    #[test]
    fn gradients_are_those_of_differentiating_twice() {
        let mut options = FitOptions::default();
        options.own.insert("pac".into(), OptionValue::Int(2));
        options.own.insert("critic_width".into(), OptionValue::Int(16));
        let config = Config::new(&options);
        let noise = Noise::new(1, b"test");
        let (packs, row_width, used, condition_width) = (6, 8, 7, 3);
        let widths = (row_width, used, condition_width);
        let critic = Critic::new(&config, packs, widths, &noise, Kind::Float, Device::Cpu).unwrap();
        let mut values = vec![0f32; packs * 2 * row_width];
        noise.purpose("rows").fill_normal(0, &mut values);
        values.chunks_mut(row_width).for_each(|row| row[used] = 0.0);
        let rows = Tensor::from_slice(&values).view([-1, row_width as i64]);
        critic.generated_rows(row_width).unwrap().f_copy_(&rows).unwrap();
        let generated = rows.view([packs as i64, -1]);
        let (mut real, mut conditions) = (SparseRows::new(2 * row_width), SparseRows::new(2 * condition_width));
        let mut dense_real = vec![0f32; packs * 2 * row_width];
        let mut dense_conditions = vec![0f32; packs * 2 * condition_width];
        for pack in 0..packs {
            for (column, value) in [(pack, 1.0), (8 + pack, 0.5), (3, -0.25)] {
                real.push(column, value);
                dense_real[pack * 2 * row_width + column] += value;
            }
            real.end_row();
            for column in [pack % 3, 3 + pack / 2] {
                conditions.push(column, 1.0);
                dense_conditions[pack * 2 * condition_width + column] = 1.0;
            }
            conditions.end_row();
        }
        let dense_real = Tensor::from_slice(&dense_real).view([packs as i64, -1]);
        let dense_conditions = Tensor::from_slice(&dense_conditions).view([packs as i64, -1]);
        let (dropout, interpolation) = (noise.purpose("dropout"), noise.purpose("mix"));
        let weights: Vec<Tensor> =
            (0..7).map(|i| critic.parameters.master(i).unwrap().copy().set_requires_grad(true)).collect();

        // The reference: automatic differentiation, twice for the penalty.
        let n = packs as i64;
        let masks = critic.dropout_masks(2 * n, &dropout, 6).unwrap();
        let inputs = Tensor::cat(&[&dense_real, &generated], 0);
        let out = network(&weights, &inputs, &dense_conditions.repeat([2, 1]), &masks);
        let mut loss = out.narrow(0, n, n).mean(Kind::Float) - out.narrow(0, 0, n).mean(Kind::Float);
        let masks = critic.dropout_masks(n, &dropout, 7).unwrap();
        let mut mix = vec![0f32; packs];
        interpolation.fill_uniform(3, &mut mix);
        let mix = Tensor::from_slice(&mix).view([-1, 1]);
        let between: Tensor = &mix * inputs.narrow(0, 0, n) - (&mix - 1.0) * inputs.narrow(0, n, n);
        let between = between.set_requires_grad(true);
        let out = network(&weights, &between, &dense_conditions, &masks).sum(Kind::Float);
        let by_input = &Tensor::run_backward(&[out], &[&between], true, true)[0];
        let norm = by_input.square().sum_dim_intlist(1, false, Kind::Float).sqrt();
        loss += (norm - 1.0).square().mean(Kind::Float) * 30.0;
        loss.backward();

        let ours = critic.gradients((&real, &conditions), (&dropout, &interpolation), 3, 3.0).unwrap();
        assert!((ours - loss.double_value(&[])).abs() < 1e-4, "{ours} {loss:?}");
        for (i, weight) in weights.iter().enumerate() {
            let (wanted, got) = (weight.grad(), critic.parameters.gradient(i).unwrap());
            if i == B3 {
                continue; // the loss does not depend on it
            }
            let error = (&got - &wanted).abs().max().double_value(&[]);
            assert!(error < 1e-4 * wanted.abs().max().double_value(&[]).max(1.0), "parameter {i}: {error}");
        }
    }
}
