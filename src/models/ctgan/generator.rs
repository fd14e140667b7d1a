//! The generator in training: noise and condition in, dense rows out, and its gradients, written out by hand.
//!
//! Two residual layers (each layer's input is all that came before, its output appended) and a linear head. All
//! layers read prefixes of one matrix, `[noise | hidden 1 | hidden 2]`, so nothing is concatenated. The condition
//! and the constant 1 are sparse rows: the first rows of every weight are theirs, and their product is a sum of few.
//!
//! For an embedded sub-column the head is factored: it makes a vector, and the logits of the codes are its products
//! with the rows of a table.

use super::{
    conditions::{Condition, Draw},
    config::Config,
    dense::{Dense, Segment},
    tables::Tables,
};
use crate::{
    Result,
    noise::{Noise, Purpose},
    torch::{
        Adam, Average, Element, Parameters, Rows, Team, by_kind,
        kernels::{
            activation::{self, Target},
            norm::{self, Statistics},
            segments::Segments,
            sparse::SparseRows,
        },
        multiply, overlapped, write_rows,
    },
};
use std::{rc::Rc, sync::Arc};
use tch::{Device, Kind, Tensor};

/// Row prefixes end at multiples of this many elements, for aligned loads.
pub(super) const ALIGNMENT: usize = 32;

/// Indices of a hidden layer's parameters.
#[derive(Debug, Clone, Copy)]
struct Hidden {
    weight: usize,
    scale: usize,
    shift: usize,
    /// Columns `0..input` of the matrix go in, `input..input + width` come out.
    input: usize,
    width: usize,
}

/// The generator: its parameters, and the average of their course.
#[derive(Debug)]
pub(super) struct Generator {
    dense: Arc<Dense>,
    /// The scalars and one-hot vectors of a row.
    segments: Rc<Segments>,
    /// The codes of the embedded sub-columns.
    codes: Rc<Segments>,
    kind: Kind,
    device: Device,
    tau: f32,
    adam: Adam,
    pub(super) parameters: Parameters,
    hidden: Vec<Hidden>,
    head: usize,
    tables: Tables,
    /// The first table's bias; the others' follow.
    table_bias: usize,
    noise_at: usize,
    latent: usize,
    /// What is validated and kept.
    pub(super) average: Average,
}

impl HiddenPass {
    /// Mean and biased variance of each hidden layer over the batch.
    pub(super) fn statistics(&self) -> impl Iterator<Item = (&Tensor, &Tensor)> {
        self.layers.iter().map(|(_, statistics)| (&statistics.mean, &statistics.variance))
    }
}

/// What a forward pass up to the head leaves.
#[derive(Debug)]
pub(super) struct HiddenPass {
    conditions: SparseRows,
    matrix: Tensor,
    /// Each layer's product, and the statistics of its normalisation.
    layers: Vec<(Tensor, Statistics)>,
}

/// What a forward pass leaves for the backward pass.
#[derive(Debug)]
pub(super) struct Pass {
    hidden: HiddenPass,
    logits: Tensor,
    /// Logits of the codes of embedded sub-columns.
    code_logits: Tensor,
    /// The codes of embedded sub-columns: soft one-hot vectors side by side.
    pub(super) codes: Tensor,
}

impl Generator {
    /// A generator at its start. `frequencies` gives the bias of every embedded sub-column.
    pub(super) fn new(
        dense: Arc<Dense>,
        config: &Config,
        frequencies: &[Vec<f32>],
        noise: &Noise,
        kind: Kind,
        device: Device,
    ) -> Result<Self> {
        let noise_at = (dense.condition_width + 1).next_multiple_of(ALIGNMENT);
        let mut shapes = Vec::new();
        let mut hidden = Vec::new();
        let mut input = config.latent;
        for (i, &width) in config.generator_widths.iter().enumerate() {
            let at = shapes.len();
            hidden.push(Hidden { weight: at, scale: at + 1, shift: at + 2, input, width });
            shapes.push((format!("hidden.{i}.weight"), noise_at + input, width));
            shapes.push((format!("hidden.{i}.scale"), 1, width));
            shapes.push((format!("hidden.{i}.shift"), 1, width));
            input += width;
        }
        let head = shapes.len();
        shapes.push(("head.weight".to_owned(), noise_at + input, dense.width));
        let tables = Tables::new(&dense.tables, shapes.len());
        for table in &dense.tables {
            shapes.push((format!("embedding.{}.weight", table.subcolumn), table.cardinality, table.width));
        }
        let table_bias = shapes.len();
        for table in &dense.tables {
            shapes.push((format!("embedding.{}.bias", table.subcolumn), 1, table.cardinality));
        }
        let adam =
            Adam { learning_rate: config.generator_rate, beta1: 0.5, beta2: 0.9, weight_decay: config.weight_decay };
        let parameters = Parameters::new(shapes, kind, device)?;
        let average = Average::new(&parameters, config.averaging)?;
        let segments = Segments::new(dense.width, dense.scalars(), dense.distributions(), device)?;
        let codes = dense.tables.iter().map(|table| (table.first, table.cardinality)).collect();
        let codes = Segments::new(dense.code_count(), Vec::new(), codes, device)?;
        let mut generator = Self {
            dense,
            segments: Rc::new(segments),
            codes: Rc::new(codes),
            kind,
            device,
            tau: config.tau,
            adam,
            parameters,
            hidden,
            head,
            tables,
            table_bias,
            noise_at,
            latent: config.latent,
            average,
        };
        generator.initialise(frequencies, noise)?;
        Ok(generator)
    }

    /// Uniform weights within 1 / sqrt(inputs) as in the reference implementation; no weight at the padding.
    fn initialise(&mut self, frequencies: &[Vec<f32>], noise: &Noise) -> Result<()> {
        let padding = self.dense.condition_width + 1..self.noise_at;
        let layers: Vec<_> = self.hidden.iter().map(|h| h.weight).chain([self.head]).collect();
        for (name, mut master) in self.parameters.named(&self.parameters.master)? {
            let purpose = noise.purpose(&format!("initial/generator/{name}"));
            let (rows, columns) = master.size2()?;
            let mut values = vec![0f32; (rows * columns) as usize];
            if name.ends_with("scale") {
                values.fill(1.0);
            } else if name.starts_with("embedding") && name.ends_with("weight") {
                purpose.fill_normal(0, &mut values);
                values.iter_mut().for_each(|v| *v /= (columns as f32).sqrt());
            } else if name.ends_with("weight") {
                purpose.fill_uniform(0, &mut values);
                let bound = 1.0 / ((rows as usize - padding.len()) as f32).sqrt();
                for (row, values) in values.chunks_mut((columns as usize).max(1)).enumerate() {
                    let bound = if padding.contains(&row) { 0.0 } else { bound };
                    values.iter_mut().for_each(|v| *v = (*v * 2.0 - 1.0) * bound);
                }
            }
            master.f_copy_(&Tensor::f_from_slice(&values)?.f_view([rows, columns])?)?;
        }
        debug_assert_eq!(layers.len(), self.hidden.len() + 1);
        for (bias, frequencies) in (self.table_bias..).zip(frequencies) {
            let logs: Vec<f32> = frequencies.iter().map(|f| (f + 1e-6).ln()).collect();
            let mut bias = self.parameters.master(bias)?;
            bias.f_copy_(&Tensor::f_from_slice(&logs)?.f_view([1, -1])?)?;
        }
        self.average.restart(&self.parameters)?;
        self.parameters.masters_changed()
    }

    /// The conditional vectors of `count` rows as sparse rows, the constant 1 after each.
    fn sparse_conditions(&self, draw: &Draw, count: usize) -> Result<SparseRows> {
        let embeddings = self.tables.host(&self.parameters)?;
        let embeddings = embeddings.iter().map(Rows::<f32>::of).collect::<Result<Vec<_>>>()?;
        let mut rows = SparseRows::new(self.dense.condition_width + 1);
        for row in 0..count {
            self.dense.push_conditions(draw, row, &embeddings, 0, &mut rows);
            rows.push(self.dense.condition_width, 1.0);
            rows.end_row();
        }
        Ok(rows)
    }

    /// A weight's rows of condition and constant.
    fn condition_rows(&self, weight: &Tensor) -> Result<Tensor> {
        Ok(weight.f_narrow(0, 0, self.dense.condition_width as i64 + 1)?)
    }

    /// A weight's rows of the matrix, from column `from` on.
    fn matrix_rows(&self, weight: &Tensor, from: usize) -> Result<Tensor> {
        let at = (self.noise_at + from) as i64;
        Ok(weight.f_narrow(0, at, weight.size()[0] - at)?)
    }

    /// `conditions · weight + input · weight`, each with its rows.
    fn affine(&self, conditions: &SparseRows, input: &Tensor, weight: usize) -> Result<Tensor> {
        let weight = self.parameters.weight(weight)?;
        let mut out = Tensor::f_empty([input.size()[0], weight.size()[1]], (self.kind, self.device))?;
        conditions.product(&self.condition_rows(&weight)?, &mut out)?;
        Ok(out.f_addmm_(input, &self.matrix_rows(&weight, 0)?)?)
    }

    /// The gradient by a weight, given that by [`Generator::affine`]'s result.
    fn affine_gradient(&self, conditions: &SparseRows, input: &Tensor, grad: &Tensor, weight: usize) -> Result<()> {
        let by_weight = self.parameters.gradient(weight)?;
        multiply(&input.f_tr()?, grad, &self.matrix_rows(&by_weight, 0)?)?;
        let mut by_conditions = self.condition_rows(&by_weight)?;
        let _ = by_conditions.f_zero_()?;
        conditions.add_transposed_product(grad, &mut by_conditions)
    }

    /// Generates a batch under the conditions of `draw` (`count` rows), with the noise of `block`: scalars and one-hot vectors
    /// into `out` (`[count, width]`), the codes of embedded sub-columns into [`Pass::codes`].
    pub(super) fn forward(
        &self,
        draw: &Draw,
        count: usize,
        (latent, gumbel): (&Purpose, &Purpose),
        block: u64,
        out: &mut Tensor,
    ) -> Result<Pass> {
        let n = count as i64;
        let hidden = self.hidden_layers(draw, count, latent, block)?;
        let logits = self.affine(&hidden.conditions, &hidden.matrix, self.head)?;
        let noise = self.gumbel(gumbel, block, n, &self.segments)?;
        activation::forward(&self.segments, &logits, &noise, self.tau, out)?;
        let code_logits = Tensor::f_empty([n, self.codes.width as i64], (self.kind, self.device))?;
        self.tables.to_codes(&self.parameters, &logits, &code_logits)?;
        for ((table, _), bias) in self.tables.iter().zip(self.table_bias..) {
            let _ = table.codes(&code_logits)?.f_add_(&self.parameters.weight(bias)?)?;
        }
        // Blocks of its own: the purpose is the row's.
        let noise = self.gumbel(gumbel, block ^ (1 << 48), n, &self.codes)?;
        let mut codes = code_logits.f_empty_like()?;
        activation::forward(&self.codes, &code_logits, &noise, self.tau, &mut codes)?;
        Ok(Pass { hidden, logits, code_logits, codes })
    }

    /// The hidden layers of [`Generator::forward`].
    pub(super) fn hidden_layers(&self, draw: &Draw, count: usize, latent: &Purpose, block: u64) -> Result<HiddenPass> {
        let n = count as i64;
        let last = self.hidden.last().map_or(self.latent, |h| h.input + h.width);
        let conditions = self.sparse_conditions(draw, count)?;
        let matrix = Tensor::f_empty([n, last as i64], (self.kind, self.device))?;
        let mut place = matrix.f_narrow(1, 0, self.latent as i64)?;
        by_kind!(self.kind, T => write_rows::<T>(&mut place, |mut rows| {
            let mut normal = vec![0f32; count * self.latent];
            latent.fill_normal(block, &mut normal);
            for (r, values) in normal.chunks(self.latent).enumerate() {
                rows.row(r).iter_mut().zip(values).for_each(|(slot, &value)| *slot = T::from_f32(value));
            }
        }))?;
        let mut layers = Vec::with_capacity(self.hidden.len());
        for layer in &self.hidden {
            let x = self.affine(&conditions, &matrix.f_narrow(1, 0, layer.input as i64)?, layer.weight)?;
            let mut y = matrix.f_narrow(1, layer.input as i64, layer.width as i64)?;
            let (scale, shift) = (self.parameters.master(layer.scale)?, self.parameters.master(layer.shift)?);
            let statistics = norm::forward(&x, &scale, &shift, &mut y)?;
            layers.push((x, statistics));
        }
        Ok(HiddenPass { conditions, matrix, layers })
    }

    /// Gumbel noise for `n` rows of `segments`.
    fn gumbel(&self, purpose: &Purpose, block: u64, n: i64, segments: &Segments) -> Result<Tensor> {
        let width = segments.width as i64;
        let mut noise = Tensor::f_empty([1, n * width], (Kind::Float, Device::Cpu))?;
        write_rows::<f32>(&mut noise, |mut rows| purpose.fill_gumbel(block, rows.row(0)))?;
        Ok(noise.f_view([n, width])?.f_to_device(self.device)?)
    }

    /// The gradients of all parameters, given a forward pass, its output and the critic's gradients by it and by its
    /// codes, with the cross-entropy on the conditions added. Returns the cross-entropy.
    ///
    /// Where the tables represent conditions they are constants.
    pub(super) fn gradients(
        &self,
        pass: &Pass,
        conditions: &[Condition],
        out: &Tensor,
        (grad_out, grad_codes): (&Tensor, &Tensor),
    ) -> Result<f64> {
        let mut grad = pass.logits.f_empty_like()?;
        activation::backward(&self.segments, out, grad_out, self.tau, &mut grad)?;
        let mut by_codes = pass.codes.f_empty_like()?;
        activation::backward(&self.codes, &pass.codes, grad_codes, self.tau, &mut by_codes)?;
        // Per row, what it must show: among the one-hot vectors, or among the codes.
        let (mut one_hot, mut embedded) = (Vec::new(), Vec::new());
        for row in 0..pass.logits.size()[0] as usize {
            let target = conditions.get(row).map(|condition| {
                let column = &self.dense.conditions[condition.column];
                (self.dense.segments[column.subcolumn], condition.code)
            });
            one_hot.push(match target {
                Some((Segment::OneHot { distribution, .. }, code)) => Some(Target { distribution, code }),
                _ => None,
            });
            embedded.push(match target {
                Some((Segment::Embedded { table }, code)) => Some(Target { distribution: table, code }),
                _ => None,
            });
        }
        let weight = 1.0 / one_hot.len() as f32;
        let loss = activation::cross_entropy(&self.segments, &pass.logits, &one_hot, weight, &mut grad)?
            + activation::cross_entropy(&self.codes, &pass.code_logits, &embedded, weight, &mut by_codes)?;
        self.tables.gradient(&self.parameters, &by_codes, &pass.logits)?;
        self.tables.to_vectors(&self.parameters, &by_codes, &grad)?;
        for ((table, _), bias) in self.tables.iter().zip(self.table_bias..) {
            let sum = table.codes(&by_codes)?.f_sum_dim_intlist(0, true, Kind::Float)?;
            self.parameters.gradient(bias)?.f_copy_(&sum)?;
        }
        self.backward(&pass.hidden, &grad)?;
        Ok(loss)
    }

    /// Adam's step `number` by the gradients, with the learning rate times `rate`.
    pub(super) fn update(&mut self, number: u64, rate: f64, team: &Team) -> Result<()> {
        let adam = Adam { learning_rate: self.adam.learning_rate * rate, ..self.adam };
        self.parameters.step(&adam, number, team)?;
        self.average.follow(&self.parameters, number, team)
    }

    /// The generator at its average weights, to run, not to learn.
    pub(super) fn averaged(&self) -> Result<Self> {
        Ok(Self {
            dense: self.dense.clone(),
            segments: self.segments.clone(),
            codes: self.codes.clone(),
            parameters: self.parameters.with_values(&self.average.values)?,
            hidden: self.hidden.clone(),
            tables: self.tables.clone(),
            average: self.average.shallow_clone(),
            ..*self
        })
    }

    /// The gradients of all layers, from that of the logits.
    fn backward(&self, pass: &HiddenPass, grad_logits: &Tensor) -> Result<()> {
        // Nothing waits for a weight's gradient: it may be taken on another thread.
        let head = |(this, pass, grad): &(&Self, &HiddenPass, &Tensor)| {
            this.affine_gradient(&pass.conditions, &pass.matrix, grad, this.head)
        };
        let hidden = |(this, pass, grad): &(&Self, &HiddenPass, &Tensor)| {
            // By the hidden outputs only: neither noise nor condition learns.
            let weight = this.matrix_rows(&this.parameters.weight(this.head)?, this.latent)?;
            this.backward_hidden(pass, &grad.f_mm(&weight.f_tr()?)?, this.hidden.len())
        };
        let (hidden, head) = overlapped(&(self, pass, grad_logits), hidden, head);
        hidden.and(head)
    }

    /// The gradients of the first `layers` hidden layers, from that of all outputs (to which it adds).
    fn backward_hidden(&self, pass: &HiddenPass, by_hidden: &Tensor, layers: usize) -> Result<()> {
        let Some(earlier) = layers.checked_sub(1) else { return Ok(()) };
        let (matrix, first) = (&pass.matrix, self.latent);
        let (layer, (x, statistics)) = (&self.hidden[earlier], &pass.layers[earlier]);
        let place = |t: &Tensor, at: usize| t.f_narrow(1, at as i64, layer.width as i64);
        let mut grad_x = x.f_empty_like()?;
        norm::backward(
            x,
            &place(matrix, layer.input)?,
            &place(by_hidden, layer.input - first)?,
            statistics,
            &self.parameters.master(layer.scale)?,
            &mut grad_x,
            &mut self.parameters.gradient(layer.scale)?,
            &mut self.parameters.gradient(layer.shift)?,
        )?;
        let own = |(this, pass, _, grad_x): &(&Self, &HiddenPass, &Tensor, &Tensor)| {
            let input = pass.matrix.f_narrow(1, 0, layer.input as i64)?;
            this.affine_gradient(&pass.conditions, &input, grad_x, layer.weight)
        };
        let rest = |(this, pass, by_hidden, grad_x): &(&Self, &HiddenPass, &Tensor, &Tensor)| {
            if layer.input > first {
                let weight = this.matrix_rows(&this.parameters.weight(layer.weight)?, first)?;
                let mut earlier = by_hidden.f_narrow(1, 0, (layer.input - first) as i64)?;
                let _ = earlier.f_addmm_(grad_x, &weight.f_tr()?)?;
            }
            this.backward_hidden(pass, by_hidden, earlier)
        };
        let (rest, own) = overlapped(&(self, pass, by_hidden, &grad_x), rest, own);
        rest.and(own)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        encode::{ColumnLayout, EncodedRows, Layout, SubColumn},
        models::{FitOptions, OptionValue},
    };
    use rstest::rstest;

    #[rstest]
    #[case::conditions(0)]
    #[case::context(2)]
    fn gradients_are_those_of_automatic_differentiation(#[case] given: usize) {
        let mut options = FitOptions::default();
        for (name, value) in [("generator_width", 8), ("latent", 5), ("embedding_threshold", 6)] {
            options.own.insert(name.into(), OptionValue::Int(value));
        }
        let config = Config::new(&options);
        let cardinalities = [3, 9];
        let context = [2, 4];
        let column = |at, discrete| ColumnLayout { subcolumns: given + at..given + at + 1, discrete };
        let subcolumns = context[..given].iter().map(|&cardinality| SubColumn::codes(cardinality));
        let layout = Layout {
            given,
            siblings: 0..0,
            columns: vec![column(0, true), column(1, true), column(2, false)],
            subcolumns: subcolumns.chain([SubColumn::codes(3), SubColumn::codes(9), SubColumn::Scalar]).collect(),
        };
        let dense = Arc::new(Dense::new(&layout, 6));
        let noise = Noise::new(1, b"test");
        let (latent, gumbel) = (noise.purpose("latent"), noise.purpose("gumbel"));
        let generator =
            Generator::new(dense.clone(), &config, &[vec![1.0 / 9.0; 9]], &noise, Kind::Float, Device::Cpu).unwrap();
        let n = 12i64;
        let condition = |row| Condition { column: row % 2, code: (5 * row) % cardinalities[row % 2] };
        let conditions: Vec<_> = (0..if given == 0 { n as usize } else { 0 }).map(condition).collect();
        let given_code = |row: usize, at: usize| (3 * row + at) % context[at] as usize;
        let mut contexts = EncodedRows::with_capacity(&layout, n as usize);
        for (row, at) in (0..n as usize).flat_map(|row| (0..given).map(move |at| (row, at))) {
            contexts.subcolumns[at].push_code(given_code(row, at) as u32);
        }
        let mut out = Tensor::zeros([n, dense.width as i64], (Kind::Float, Device::Cpu));
        let draw = Draw { conditions: conditions.clone(), context: (given > 0).then_some(contexts), ..Draw::default() };
        let pass = generator.forward(&draw, n as usize, (&latent, &gumbel), 4, &mut out).unwrap();

        // The reference: the same network in libtorch's operations, its gradients automatic.
        let names = generator.parameters.named(&generator.parameters.master).unwrap();
        let weights: Vec<_> = names.iter().map(|(_, master)| master.copy().set_requires_grad(true)).collect();
        let mut matrix = pass.hidden.matrix.narrow(1, 0, generator.latent as i64).copy();
        let (table_at, table_width) = (generator.head + 1, dense.tables[0].width);
        let mut dense_conditions = vec![0f32; n as usize * generator.noise_at];
        for (number, row) in dense_conditions.chunks_mut(generator.noise_at).enumerate() {
            row[dense.condition_width] = 1.0;
            if given > 0 {
                row[given_code(number, 0)] = 1.0;
                row[context[0] as usize + given_code(number, 1)] = 1.0;
                continue;
            }
            let condition = &conditions[number];
            if condition.column == 0 {
                row[condition.code] = 1.0;
            } else {
                let table = weights[table_at].detach();
                for j in 0..table_width {
                    row[3 + j] = table.double_value(&[condition.code as i64, j as i64]) as f32;
                }
            }
        }
        let dense_conditions = Tensor::from_slice(&dense_conditions).view([n, -1]);
        let affine =
            |matrix: &Tensor, weight: usize| Tensor::cat(&[&dense_conditions, matrix], 1).matmul(&weights[weight]);
        for layer in &generator.hidden {
            let x = affine(&matrix, layer.weight);
            let centred = &x - x.mean_dim(0, true, Kind::Float);
            let deviation = (centred.square().mean_dim(0, true, Kind::Float) + norm::EPSILON).sqrt();
            let y = (centred / deviation * &weights[layer.scale] + &weights[layer.shift]).relu();
            matrix = Tensor::cat(&[&matrix, &y], 1);
        }
        let logits = affine(&matrix, generator.head);
        let mut values = vec![0f32; n as usize * dense.width];
        gumbel.fill_gumbel(4, &mut values);
        let row_noise = Tensor::from_slice(&values).view([n, -1]);
        let mut values = vec![0f32; n as usize * 9];
        gumbel.fill_gumbel(4 ^ (1 << 48), &mut values);
        let table_noise = Tensor::from_slice(&values).view([n, -1]);
        let tau = f64::from(config.tau);
        let one_hot = ((logits.narrow(1, 0, 3) + row_noise.narrow(1, 0, 3)) / tau).softmax(-1, Kind::Float);
        let scalar = logits.narrow(1, 3, 1).tanh();
        let query = logits.narrow(1, 4, table_width as i64);
        let all = query.matmul(&weights[table_at].tr()) + &weights[table_at + 1];
        let codes = ((&all + table_noise) / tau).softmax(-1, Kind::Float);
        let expected = Tensor::cat(&[one_hot, scalar], 1);
        assert!((&expected - out.narrow(1, 0, 4)).abs().max().double_value(&[]) < 1e-5);
        assert!((&codes - &pass.codes).abs().max().double_value(&[]) < 1e-5);
        let (grad_out, grad_codes) = ((&out * 3.0).sin(), (&pass.codes * 5.0).cos());
        let mut loss =
            (&expected * grad_out.narrow(1, 0, 4)).sum(Kind::Float) + (&codes * &grad_codes).sum(Kind::Float);
        let mut cross_entropy = 0.0;
        for (row, condition) in conditions.iter().enumerate() {
            let of = if condition.column == 0 { logits.narrow(1, 0, 3) } else { all.shallow_clone() };
            let part = -of.log_softmax(-1, Kind::Float).get(row as i64).get(condition.code as i64) / n as f64;
            cross_entropy += part.double_value(&[]);
            loss += part;
        }
        loss.backward();

        let ours = generator.gradients(&pass, &conditions, &out, (&grad_out, &grad_codes)).unwrap();
        assert!((ours - cross_entropy).abs() < 1e-5, "{ours} {cross_entropy}");
        for (i, (name, _)) in names.iter().enumerate() {
            let (wanted, got) = (weights[i].grad(), generator.parameters.gradient(i).unwrap());
            let error = (&got - &wanted).abs().max().double_value(&[]);
            assert!(error < 1e-4 * wanted.abs().max().double_value(&[]).max(1.0), "{name}: {error}");
        }
    }
}
