//! The critic in training (WGAN-GP, Gulrajani et al. 2017) on packs of rows (PacGAN, Lin et al. 2018).
//!
//! Two layers of LeakyReLU and dropout and one output, so given the units' slopes it is linear: the gradient by its input
//! is `w3 · slope2 · W2ᵀ · slope1 · W1ᵀ`, three matrix products whose own gradient needs no second differentiation
//! of the network. The first layer is affine in its input, so an interpolated row needs no pass through it either:
//! its activations are the interpolation of those of the real and the generated row.
//!
//! Real and generated packs meet the same conditions, and the penalty is on the rows, not on the conditions. So real
//! rows and conditions stay sparse: only generated rows and input gradients are matrices of full width.
//!
//! For an embedded sub-column the first layer is factored: a table, the same for every place of a pack, turns codes into
//! vectors, which is what the layer sees. The input is still the one-hot vector: by it the penalty's gradient is `t Eᵀ`,
//! where `t` is that by the vector and `E` the table, and its square is `t EᵀE tᵀ`.

use super::{
    config::Config,
    dense::Dense,
    tables::{Table, Tables},
};
use crate::{
    Result,
    noise::{Noise, Purpose},
    torch::{
        Adam, Parameters, Team, cast,
        kernels::{dropout::dropout_mask, leaky, sparse::SparseRows},
        multiply,
    },
};
use tch::{Device, Kind, Tensor};

const LEAK: f32 = 0.2;
const W1: usize = 0;
/// The first layer's weight of the conditions.
const C1: usize = 1;
const B1: usize = 2;
const W2: usize = 3;
const B2: usize = 4;
const W3: usize = 5;
const B3: usize = 6;
/// The first of the tables.
const E: usize = 7;

/// The critic: parameters, and the matrices of one step.
#[derive(Debug)]
pub(super) struct Critic {
    kind: Kind,
    device: Device,
    dropout: f64,
    penalty_weight: f64,
    adam: Adam,
    pub(super) parameters: Parameters,
    tables: Tables,
    packs: i64,
    pac: i64,
    /// Where a row's vectors begin, and their width.
    vectors: (i64, i64),
    /// Generated packs, then the gradient by the penalty's input gradient. With `right` the first layer's gradient
    /// is one matrix product over both.
    left: Tensor,
    right: Tensor,
}

/// Real rows.
#[derive(Debug)]
pub(super) struct RealRows {
    /// Their scalars and one-hot vectors, pack by pack.
    pub(super) packs: SparseRows,
    /// The codes of each embedded sub-column, row by row, as one-hot vectors.
    pub(super) codes: Vec<SparseRows>,
}

/// Activations of some packs.
struct Pass {
    slope1: Tensor,
    hidden1: Tensor,
    slope2: Tensor,
}

impl Critic {
    /// A critic at its start, for batches of `packs` packs.
    pub(super) fn new(
        config: &Config,
        packs: usize,
        dense: &Dense,
        noise: &Noise,
        kind: Kind,
        device: Device,
    ) -> Result<Self> {
        let row_width = dense.padded_width();
        let (input, width) = (config.pac * row_width, config.critic_width);
        let shapes = [
            ("1.weight", input, width),
            ("1.condition", config.pac * dense.condition_width, width),
            ("1.bias", 1, width),
            ("2.weight", width, width),
            ("2.bias", 1, width),
            ("3.weight", width, 1),
            ("3.bias", 1, 1),
        ];
        let shapes = shapes.map(|(name, rows, columns)| (format!("critic.{name}"), rows, columns));
        let tables = dense.tables.iter().map(|table| {
            let name = format!("critic.embedding.{}.weight", table.subcolumn);
            (name, table.cardinality, table.width)
        });
        let parameters = Parameters::new(shapes.into_iter().chain(tables).collect(), kind, device)?;
        let zeros = |rows: usize, columns: usize| Tensor::f_zeros([rows as i64, columns as i64], (kind, device));
        let mut critic = Self {
            kind,
            device,
            dropout: config.dropout,
            penalty_weight: config.penalty_weight,
            adam: Adam { learning_rate: config.critic_rate, beta1: 0.5, beta2: 0.9, weight_decay: config.weight_decay },
            parameters,
            tables: Tables::new(&dense.tables, E),
            packs: packs as i64,
            pac: config.pac as i64,
            vectors: (dense.vectors_at() as i64, (dense.width - dense.vectors_at()) as i64),
            left: zeros(2 * packs, input)?,
            right: zeros(2 * packs, width)?,
        };
        let first = config.pac * (dense.width + dense.condition_width);
        let inputs = [first, first, first, width, width, width, width];
        for (index, (name, mut master)) in critic.parameters.named(&critic.parameters.master)?.into_iter().enumerate() {
            let (rows, columns) = master.size2()?;
            let mut values = vec![0f32; (rows * columns) as usize];
            let purpose = noise.purpose(&format!("initial/{name}"));
            if let Some(&inputs) = inputs.get(index) {
                purpose.fill_uniform(0, &mut values);
                let bound = 1.0 / (inputs as f32).sqrt();
                for (row, values) in values.chunks_mut(columns as usize).enumerate() {
                    let padding = index == W1 && row % row_width >= dense.width;
                    values.iter_mut().for_each(|v| *v = if padding { 0.0 } else { (*v * 2.0 - 1.0) * bound });
                }
            } else {
                purpose.fill_normal(0, &mut values); // a code's vector is about as long as its one-hot vector
                values.iter_mut().for_each(|v| *v /= (columns as f32).sqrt());
            }
            master.f_copy_(&Tensor::f_from_slice(&values)?.f_view([rows, columns])?)?;
        }
        critic.parameters.masters_changed()?;
        Ok(critic)
    }

    fn packs_of(&self, tensor: &Tensor, at: i64, count: i64) -> Result<Tensor> {
        Ok(tensor.f_narrow(0, at * self.packs, count * self.packs)?)
    }

    /// The tables in host memory.
    pub(super) fn embeddings(&self) -> Result<Vec<Tensor>> {
        self.tables.host(&self.parameters)
    }

    /// Packs as rows.
    fn rows(&self, packs: &Tensor) -> Result<Tensor> {
        Ok(packs.f_view([-1, packs.size()[1] / self.pac])?)
    }

    /// What of a first layer's matrix belongs to the vectors of a pack's row `place`.
    fn of_vectors(&self, matrix: &Tensor, place: i64) -> Result<Tensor> {
        let row_width = matrix.size()[0] / self.pac;
        Ok(matrix.f_narrow(0, place * row_width + self.vectors.0, self.vectors.1)?)
    }

    /// The vectors of real rows, `[rows, width of the vectors]`.
    fn real_vectors(&self, real: &RealRows) -> Result<Tensor> {
        let vectors = Tensor::f_empty([self.packs * self.pac, self.vectors.1], (self.kind, self.device))?;
        for ((table, index), codes) in self.tables.iter().zip(&real.codes) {
            codes.product(&self.parameters.weight(index)?, &mut self.among_vectors(table, &vectors)?)?;
        }
        Ok(vectors)
    }

    /// A table's columns of rows that are vectors only.
    fn among_vectors(&self, table: &Table, vectors: &Tensor) -> Result<Tensor> {
        Ok(vectors.f_narrow(1, table.at as i64 - self.vectors.0, table.width as i64)?)
    }

    /// The vectors of each pack's row `place`, of rows that are vectors only.
    fn at_place(&self, vectors: &Tensor, place: i64) -> Result<Tensor> {
        Ok(vectors.f_view([-1, self.pac, self.vectors.1])?.f_select(1, place)?)
    }

    /// The masks of both layers' kept units; none where no unit is dropped.
    fn dropout_masks(&self, packs: i64, purpose: &Purpose, block: u64) -> Result<Option<[Tensor; 2]>> {
        if self.dropout == 0.0 {
            return Ok(None);
        }
        let width = self.right.size()[1];
        let mask = dropout_mask(2 * packs * width, self.dropout, (purpose, block), (self.kind, self.device))?;
        let mask = mask.f_view([2, packs, width])?;
        Ok(Some([mask.f_select(0, 0)?, mask.f_select(0, 1)?]))
    }

    /// From the first layer's pre-activations on; the second layer's activations go to `hidden2`, where they are wanted.
    fn pass(&self, pre1: &Tensor, masks: Option<&[Tensor; 2]>, hidden2: Option<&mut Tensor>) -> Result<Pass> {
        let [mut slope1, mut hidden1, mut slope2] = [pre1.f_empty_like()?, pre1.f_empty_like()?, pre1.f_empty_like()?];
        let mask = |layer: usize| masks.map(|masks| &masks[layer]);
        leaky::forward(pre1, LEAK, mask(0), &mut slope1, Some(&mut hidden1))?;
        let pre2 = self.parameters.weight(B2)?.f_addmm(&hidden1, &self.parameters.weight(W2)?)?;
        leaky::forward(&pre2, LEAK, mask(1), &mut slope2, hidden2)?;
        Ok(Pass { slope1, hidden1, slope2 })
    }

    fn output(&self, hidden2: &Tensor) -> Result<Tensor> {
        Ok(hidden2.f_mm(&self.parameters.weight(W3)?)?.f_add(&self.parameters.weight(B3)?)?)
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

    /// The gradients of all parameters by the rows `real` and generated ones (`[rows, padded width]` and their codes),
    /// both under `conditions`, with the dropout and interpolation noise of `block`, and the penalty `penalty` times as
    /// strong. Returns the loss.
    pub(super) fn gradients(
        &self,
        (real, (generated, codes), conditions): (&RealRows, (&Tensor, &Tensor), &SparseRows),
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
        let (mut pre_real, pre_generated) = (self.packs_of(&pre1, 0, 1)?, self.packs_of(&pre1, 1, 1)?);
        let mut packs = self.packs_of(&self.left, 0, 1)?;
        packs.f_copy_(&generated.f_view([n, -1])?)?;
        self.tables.to_vectors(&self.parameters, codes, &self.rows(&packs)?)?;
        let w1 = self.parameters.weight(W1)?;
        let real_vectors = self.real_vectors(real)?;
        real.packs.product(&w1, &mut pre_real)?;
        for place in 0..self.places() {
            let _ = pre_real.f_addmm_(&self.at_place(&real_vectors, place)?, &self.of_vectors(&w1, place)?)?;
        }
        let _ = pre_real.f_add_(&conditioned)?;
        let _ = conditioned.f_addmm_out(&pre_generated, &packs, &w1)?;
        let mut hidden2 = pre1.f_empty_like()?;
        let pass = self.pass(&pre1, masks.as_ref(), Some(&mut hidden2))?;
        let out = self.output(&hidden2)?;
        let mean = |at| -> Result<f64> { Ok(self.packs_of(&out, at, 1)?.f_mean(Kind::Double)?.f_double_value(&[])?) };
        let mut loss = mean(1)? - mean(0)?;
        // The loss is mean(generated) - mean(real).
        let by_out = out.f_full_like(share)?;
        let _ = self.packs_of(&by_out, 0, 1)?.f_neg_()?;
        let by_pre2 = pass.slope2.f_empty_like()?;
        for (at, share) in [(0, -share), (1, share)] {
            let by_hidden2 = transposed(W3)?.f_mul_scalar(share)?;
            let _ = self.packs_of(&pass.slope2, at, 1)?.f_mul_out(&self.packs_of(&by_pre2, at, 1)?, &by_hidden2)?;
        }
        let by_pre1 = by_pre2.f_mm(&transposed(W2)?)?.f_mul_(&pass.slope1)?;
        let (by_real, by_generated) = (self.packs_of(&by_pre1, 0, 1)?, self.packs_of(&by_pre1, 1, 1)?);
        self.packs_of(&self.right, 0, 1)?.f_copy_(&by_generated)?;
        let sum = |t: &Tensor| t.f_sum_dim_intlist(0, true, self.kind);
        self.parameters.gradient(B1)?.f_copy_(&sum(&by_pre1)?)?;
        self.parameters.gradient(B2)?.f_copy_(&sum(&by_pre2)?)?;
        let _ = self.parameters.gradient(B3)?.f_zero_()?;
        let by_w2 = self.parameters.gradient(W2)?;
        multiply(&pass.hidden1.f_tr()?, &by_pre2, &by_w2)?;
        let mut by_w3 = self.parameters.gradient(W3)?;
        multiply(&hidden2.f_tr()?, &by_out, &by_w3)?;
        self.table_gradients(real, codes, &by_pre1)?;
        let mut stacked = 1;
        if penalty > 0.0 && self.penalty_weight > 0.0 {
            stacked = 2;
            let masks = self.dropout_masks(n, dropout, 2 * block + 1)?;
            let mut mix = vec![0f32; n as usize];
            interpolation.fill_uniform(block, &mut mix);
            let mix = Tensor::f_from_slice(&mix)?.f_view([-1, 1])?.f_to_device(self.device)?.f_to_kind(self.kind)?;
            let pass = self.pass(&pre_generated.f_lerp_tensor(&pre_real, &mix)?, masks.as_ref(), None)?;
            let a = pass.slope2.f_mul(&transposed(W3)?)?;
            let c = self.packs_of(&self.right, 1, 1)?;
            let _ = a.f_mm(&transposed(W2)?)?.f_mul_out(&c, &pass.slope1)?;
            let gradient = cast(&c.f_mm(&transposed(W1)?)?, Kind::Float)?;
            let pulled = self.pulled(&gradient)?;
            let norm = gradient.f_mul(&pulled)?.f_sum_dim_intlist(1, true, Kind::Float)?.f_sqrt()?;
            let excess = norm.f_sub_scalar(1.0)?;
            let weight = penalty * self.penalty_weight * share;
            loss += excess.f_square()?.f_sum(Kind::Double)?.f_double_value(&[])? * weight;
            let factor = excess.f_mul_scalar(2.0 * weight)?.f_div(&norm.f_add_scalar(1e-12)?)?;
            let mut by_gradient = self.packs_of(&self.left, 1, 1)?;
            by_gradient.f_copy_(&pulled.f_mul(&factor)?)?;
            self.add_penalty_by_tables(&gradient, &factor)?;
            let by_b = by_gradient.f_mm(&self.parameters.weight(W1)?)?.f_mul_(&pass.slope1)?;
            let by_a = by_b.f_mm(&self.parameters.weight(W2)?)?.f_mul_(&pass.slope2)?;
            let _ = by_w2.f_addmm_out(&by_w2, &by_b.f_tr()?, &a)?;
            let _ = by_w3.f_add_(&sum(&by_a)?.f_tr()?)?;
        }
        let (left, right) = (self.packs_of(&self.left, 0, stacked)?, self.packs_of(&self.right, 0, stacked)?);
        let mut by_w1 = self.parameters.gradient(W1)?;
        multiply(&left.f_tr()?, &right, &by_w1)?;
        real.packs.add_transposed_product(&by_real, &mut by_w1)?;
        for place in 0..self.places() {
            let vectors = self.at_place(&real_vectors, place)?;
            let _ = self.of_vectors(&by_w1, place)?.f_addmm_(&vectors.f_tr()?, &by_real)?;
        }
        let mut by_c1 = self.parameters.gradient(C1)?;
        let _ = by_c1.f_zero_()?;
        conditions.add_transposed_product(&by_real.f_add(&by_generated)?, &mut by_c1)?;
        Ok(loss)
    }

    /// Places of a pack that hold vectors: none where nothing is embedded.
    fn places(&self) -> i64 {
        if self.vectors.1 == 0 { 0 } else { self.pac }
    }

    /// The gradients by the tables, given that by the first layer's pre-activations of real and generated packs.
    fn table_gradients(&self, real: &RealRows, codes: &Tensor, by_pre1: &Tensor) -> Result<()> {
        let w1 = self.parameters.weight(W1)?;
        let by_vectors = Tensor::f_empty([2 * self.packs * self.pac, self.vectors.1], (self.kind, self.device))?;
        for place in 0..self.places() {
            multiply(by_pre1, &self.of_vectors(&w1, place)?.f_tr()?, &self.at_place(&by_vectors, place)?)?;
        }
        let rows = self.packs * self.pac;
        let (by_real, by_generated) = (by_vectors.f_narrow(0, 0, rows)?, by_vectors.f_narrow(0, rows, rows)?);
        for ((table, index), real) in self.tables.iter().zip(&real.codes) {
            let mut by_table = self.parameters.gradient(index)?;
            multiply(&table.codes(codes)?.f_tr()?, &self.among_vectors(table, &by_generated)?, &by_table)?;
            real.add_transposed_product(&self.among_vectors(table, &by_real)?, &mut by_table)?;
        }
        Ok(())
    }

    /// `EᵀE` of a table, f32.
    fn metric(&self, index: usize) -> Result<Tensor> {
        let table = self.parameters.master(index)?;
        Ok(table.f_tr()?.f_mm(&table)?)
    }

    /// What the gradient's product with is its square by the one-hot input; `gradient` is by the packs, f32.
    fn pulled(&self, gradient: &Tensor) -> Result<Tensor> {
        if self.vectors.1 == 0 {
            return Ok(gradient.shallow_clone());
        }
        let mut pulled = gradient.f_empty_like()?;
        pulled.f_copy_(gradient)?;
        let (from, to) = (self.rows(gradient)?, self.rows(&pulled)?);
        for (table, index) in self.tables.iter() {
            multiply(&table.vectors(&from)?, &self.metric(index)?, &table.vectors(&to)?)?;
        }
        Ok(pulled)
    }

    /// Adds the penalty's gradient by the tables: `E tᵀ(factor t)`.
    fn add_penalty_by_tables(&self, gradient: &Tensor, factor: &Tensor) -> Result<()> {
        if self.vectors.1 == 0 {
            return Ok(());
        }
        let (from, scaled) = (self.rows(gradient)?, self.rows(&gradient.f_mul(factor)?)?);
        for (table, index) in self.tables.iter() {
            let square = cast(&table.vectors(&from)?.f_tr()?.f_mm(&table.vectors(&scaled)?)?, self.kind)?;
            let _ = self.parameters.gradient(index)?.f_addmm_(&self.parameters.weight(index)?, &square)?;
        }
        Ok(())
    }

    /// Adam's step `number` by the gradients, with the learning rate times `rate`.
    pub(super) fn update(&mut self, number: u64, rate: f64, team: &Team) -> Result<()> {
        let adam = Adam { learning_rate: self.adam.learning_rate * rate, ..self.adam };
        self.parameters.step(&adam, number, team)
    }

    /// The generator's side: -mean(critic) of generated rows under `conditions`, and its gradient by `rows` and `codes`.
    /// `rows` are `[rows, padded width]`, contiguous; what `codes` say of them is filled in.
    pub(super) fn judge(
        &self,
        (rows, codes): (&Tensor, &Tensor),
        conditions: &SparseRows,
        dropout: &Purpose,
        block: u64,
    ) -> Result<(f64, Tensor, Tensor)> {
        self.tables.to_vectors(&self.parameters, codes, rows)?;
        let masks = self.dropout_masks(self.packs, dropout, block)?;
        let packs = rows.f_view([self.packs, -1])?;
        let pre1 = self.first_layer(&packs, &self.conditioned(conditions)?)?;
        let mut hidden2 = pre1.f_empty_like()?;
        let pass = self.pass(&pre1, masks.as_ref(), Some(&mut hidden2))?;
        let loss = -self.output(&hidden2)?.f_mean(Kind::Double)?.f_double_value(&[])?;
        let by_hidden2 = self.parameters.weight(W3)?.f_tr()?.f_mul_scalar(-1.0 / self.packs as f64)?;
        let by_pre2 = pass.slope2.f_mul(&by_hidden2)?;
        let by_pre1 = by_pre2.f_mm(&self.parameters.weight(W2)?.f_tr()?)?.f_mul_(&pass.slope1)?;
        let by_rows = self.rows(&by_pre1.f_mm(&self.parameters.weight(W1)?.f_tr()?)?)?;
        let by_codes = codes.f_empty_like()?;
        self.tables.to_codes(&self.parameters, &by_rows, &by_codes)?;
        Ok((loss, by_rows, by_codes))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        encode::{ColumnLayout, Layout, SubColumn},
        models::{FitOptions, OptionValue},
    };

    const PACKS: usize = 6;
    const PAC: usize = 2;
    /// Scalars and one-hot vectors of a row, and the codes of its embedded sub-columns.
    const PLAIN: usize = 4;
    const CODES: [usize; 2] = [6, 5];

    fn dense() -> Dense {
        let column = |at: usize, discrete| ColumnLayout { subcolumns: at..at + 1, discrete };
        let code = |cardinality: usize| SubColumn::codes(cardinality as u32);
        let layout = Layout {
            given: 0,
            siblings: 0..0,
            columns: vec![column(0, false), column(1, true), column(2, false), column(3, false)],
            subcolumns: vec![code(CODES[0]), code(3), code(CODES[1]), SubColumn::Scalar],
        };
        Dense::new(&layout, 4)
    }

    fn leaky(x: &Tensor) -> Tensor {
        x.f_maximum(&x.f_mul_scalar(f64::from(LEAK)).unwrap()).unwrap()
    }

    /// The output for packs of rows that are one-hot throughout, `[packs, PAC * (PLAIN + codes)]`.
    fn network(weights: &[Tensor], x: &Tensor, conditions: &Tensor, masks: &[Tensor; 2]) -> Tensor {
        let rows = x.view([-1, (PLAIN + CODES[0] + CODES[1]) as i64]);
        let parts = rows.split_with_sizes([PLAIN as i64, CODES[0] as i64, CODES[1] as i64], 1);
        let vectors = [parts[1].matmul(&weights[E]), parts[2].matmul(&weights[E + 1])];
        let rows = Tensor::cat(&[&parts[0], &vectors[0], &vectors[1]], 1);
        let padding = weights[W1].size()[0] / PAC as i64 - rows.size()[1];
        let x = rows.constant_pad_nd([0, padding]).view([x.size()[0], -1]);
        let layer = |x: &Tensor, at: usize| x.f_mm(&weights[at]).unwrap().f_add(&weights[at + 1]).unwrap();
        let pre1 = x.matmul(&weights[W1]) + conditions.matmul(&weights[C1]) + &weights[B1];
        let hidden1 = leaky(&pre1).f_mul(&masks[0]).unwrap();
        let hidden2 = leaky(&layer(&hidden1, W2)).f_mul(&masks[1]).unwrap();
        layer(&hidden2, W3)
    }

    /// Real rows of these codes, and the same written out.
    fn real_rows(dense: &Dense) -> (RealRows, Tensor) {
        let mut real =
            RealRows { packs: SparseRows::new(PAC * dense.padded_width()), codes: CODES.map(SparseRows::new).into() };
        let mut written = Vec::new();
        for row in 0..PACKS * PAC {
            let offset = row % PAC * dense.padded_width();
            let scalar = row as f32 / 10.0 - 0.5;
            real.packs.push(offset + row % 3, 1.0);
            real.packs.push(offset + 3, scalar);
            if row % PAC + 1 == PAC {
                real.packs.end_row();
            }
            let mut values = vec![0f32; PLAIN];
            (values[row % 3], values[3]) = (1.0, scalar);
            for (codes, &cardinality) in real.codes.iter_mut().zip(&CODES) {
                let code = 5 * row % cardinality;
                codes.push(code, 1.0);
                codes.end_row();
                values.extend((0..cardinality).map(|i| f32::from(u8::from(i == code))));
            }
            written.extend(values);
        }
        (real, Tensor::from_slice(&written).view([PACKS as i64, -1]))
    }

    #[test]
    fn gradients_are_those_of_differentiating_twice() {
        let mut options = FitOptions::default();
        options.own.insert("pac".into(), OptionValue::Int(PAC as i64));
        options.own.insert("critic_width".into(), OptionValue::Int(16));
        options.own.insert("dropout".into(), OptionValue::Float(0.5));
        let config = Config::new(&options);
        let noise = Noise::new(1, b"test");
        let dense = dense();
        assert_eq!((dense.vectors_at(), dense.code_count()), (PLAIN, CODES[0] + CODES[1]));
        let critic = Critic::new(&config, PACKS, &dense, &noise, Kind::Float, Device::Cpu).unwrap();
        let n = PACKS as i64;
        let mut values = vec![0f32; PACKS * PAC * (PLAIN + dense.code_count())];
        noise.purpose("rows").fill_normal(0, &mut values);
        let generated = Tensor::from_slice(&values).view([n * PAC as i64, -1]);
        let codes = generated.narrow(1, PLAIN as i64, dense.code_count() as i64).contiguous();
        let rows = Tensor::zeros([n * PAC as i64, dense.padded_width() as i64], (Kind::Float, Device::Cpu));
        rows.narrow(1, 0, PLAIN as i64).copy_(&generated.narrow(1, 0, PLAIN as i64));
        let generated = generated.view([n, -1]);
        let (real, written) = real_rows(&dense);
        let mut conditions = SparseRows::new(PAC * dense.condition_width);
        let mut written_conditions = vec![0f32; PACKS * PAC * dense.condition_width];
        for pack in 0..PACKS {
            for column in [pack % 3, 3 + pack / 2] {
                conditions.push(column, 1.0);
                written_conditions[pack * PAC * dense.condition_width + column] = 1.0;
            }
            conditions.end_row();
        }
        let written_conditions = Tensor::from_slice(&written_conditions).view([n, -1]);
        let (dropout, interpolation) = (noise.purpose("dropout"), noise.purpose("mix"));
        let weights: Vec<Tensor> =
            (0..E + 2).map(|i| critic.parameters.master(i).unwrap().copy().set_requires_grad(true)).collect();

        // The reference: automatic differentiation, twice for the penalty.
        let masks = critic.dropout_masks(2 * n, &dropout, 6).unwrap().unwrap();
        let inputs = Tensor::cat(&[&written, &generated], 0);
        let out = network(&weights, &inputs, &written_conditions.repeat([2, 1]), &masks);
        let mut loss = out.narrow(0, n, n).mean(Kind::Float) - out.narrow(0, 0, n).mean(Kind::Float);
        let masks = critic.dropout_masks(n, &dropout, 7).unwrap().unwrap();
        let mut mix = vec![0f32; PACKS];
        interpolation.fill_uniform(3, &mut mix);
        let mix = Tensor::from_slice(&mix).view([-1, 1]);
        let between: Tensor = &mix * inputs.narrow(0, 0, n) - (&mix - 1.0) * inputs.narrow(0, n, n);
        let between = between.set_requires_grad(true);
        let out = network(&weights, &between, &written_conditions, &masks).sum(Kind::Float);
        let by_input = &Tensor::run_backward(&[out], &[&between], true, true)[0];
        let norm = by_input.square().sum_dim_intlist(1, false, Kind::Float).sqrt();
        loss += (norm - 1.0).square().mean(Kind::Float) * 30.0;
        loss.backward();

        let noise = (&dropout, &interpolation);
        let ours = critic.gradients((&real, (&rows, &codes), &conditions), noise, 3, 3.0).unwrap();
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

    #[test]
    fn the_generator_learns_by_the_gradient_of_the_judgement() {
        let mut options = FitOptions::default();
        options.own.insert("pac".into(), OptionValue::Int(PAC as i64));
        options.own.insert("critic_width".into(), OptionValue::Int(16));
        options.own.insert("dropout".into(), OptionValue::Float(0.5));
        let noise = Noise::new(1, b"test");
        let dense = dense();
        let critic = Critic::new(&Config::new(&options), PACKS, &dense, &noise, Kind::Float, Device::Cpu).unwrap();
        let (_, written) = real_rows(&dense);
        let wide = written.view([(PACKS * PAC) as i64, -1]);
        let codes = wide.narrow(1, PLAIN as i64, dense.code_count() as i64).contiguous();
        let rows = Tensor::zeros([(PACKS * PAC) as i64, dense.padded_width() as i64], (Kind::Float, Device::Cpu));
        rows.narrow(1, 0, PLAIN as i64).copy_(&wide.narrow(1, 0, PLAIN as i64));
        let mut conditions = SparseRows::new(PAC * dense.condition_width);
        (0..PACKS).for_each(|_| conditions.end_row());
        let dropout = noise.purpose("dropout");
        let (loss, by_rows, by_codes) = critic.judge((&rows, &codes), &conditions, &dropout, 3).unwrap();

        let weights: Vec<Tensor> = (0..E + 2).map(|i| critic.parameters.master(i).unwrap()).collect();
        let x = written.copy().set_requires_grad(true);
        let none = Tensor::zeros([PACKS as i64, (PAC * dense.condition_width) as i64], (Kind::Float, Device::Cpu));
        let masks = critic.dropout_masks(PACKS as i64, &dropout, 3).unwrap().unwrap();
        let wanted = -network(&weights, &x, &none, &masks).mean(Kind::Float);
        wanted.backward();
        assert!((loss - wanted.double_value(&[])).abs() < 1e-5);
        let ours = Tensor::cat(&[by_rows.narrow(1, 0, PLAIN as i64), by_codes], 1).view([PACKS as i64, -1]);
        assert!((ours - x.grad()).abs().max().double_value(&[]) < 1e-5);
    }
}
