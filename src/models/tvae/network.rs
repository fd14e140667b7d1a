//! The autoencoder in training: its losses and their gradients, written out by hand.
//!
//! Encoder: a sparse row and its context, two layers with ReLU, means and log-variances of the latent vector. Decoder: two
//! layers with ReLU, of which the first sees the context too (Sohn et al., "Learning Structured Output Representation using
//! Deep Conditional Generative Models", 2015), a linear head. An embedded sub-column has one matrix for both: the encoder
//! reads a code's vector, the decoder compares its query with all of them, and it learns from either side.

use super::{
    config::Config,
    dense::{Dense, Table},
    kernels::{self, Targets, on_host},
    prior::{self, Prior},
};
use crate::{
    Result,
    encode::{CodeMatrix, EncodedRows},
    noise::{Noise, Purpose},
    torch::{Adam, Average, Parameters, Rows, Team, kernels::sparse::SparseRows, multiply, write_rows},
};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// Decay per step of the average of the parameters.
const AVERAGING: f64 = 0.999;
/// Rows judged at once.
const JUDGED: usize = 512;
/// A scalar's deviation at the start.
const FIRST_DEVIATION: f32 = 0.1;

/// The layers, each a weight and the bias after it.
const ENCODER: [usize; 2] = [0, 2];
const STATISTICS: usize = 4;
const PRIOR: usize = 6;
const DECODER: [usize; 2] = [9, 11];
const HEAD: usize = 13;
const LOG_DEVIATIONS: usize = 15;
/// The embeddings, each a matrix and a bias; after them, where there is a context, the decoder's weight of it.
const EMBEDDINGS: usize = 16;
/// Parameters from here on make the trained model.
pub(super) const KEPT: usize = PRIOR;

/// The sizes that shape an autoencoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) latent: usize,
    pub(super) encoder: usize,
    pub(super) decoder: usize,
    pub(super) components: usize,
}

/// Name and shape of every parameter.
pub(super) fn shapes(dense: &Dense, sizes: Sizes) -> Vec<(String, usize, usize)> {
    let layer = |name: &str, inputs, outputs| {
        [(format!("{name}.weight"), inputs, outputs), (format!("{name}.bias"), 1, outputs)]
    };
    let Sizes { latent, encoder, decoder: width, components } = sizes;
    let mut shapes = [
        layer("encoder.0", dense.width + dense.context.width, encoder),
        layer("encoder.1", encoder, encoder),
        layer("statistics", encoder, latent.saturating_mul(2)),
    ]
    .concat();
    shapes.extend(prior::shapes(components, latent));
    let decoder =
        [layer("decoder.0", latent, width), layer("decoder.1", width, width), layer("head", width, dense.width)];
    shapes.extend(decoder.concat());
    shapes.push(("scalars.log_deviation".to_owned(), 1, dense.slots));
    for table in dense.tables() {
        let name = format!("embedding.{}", table.subcolumn);
        shapes.push((format!("{name}.weight"), table.cardinality, table.width));
        shapes.push((format!("{name}.bias"), 1, table.cardinality));
    }
    if dense.context.width > 0 {
        shapes.push((CONTEXT.to_owned(), dense.context.width, width));
    }
    shapes
}

/// The decoder's weight of the context.
pub(super) const CONTEXT: &str = "decoder.0.context";

/// The autoencoder of a table in training.
#[derive(Debug)]
pub(super) struct Network {
    dense: Arc<Dense>,
    tables: Vec<Table>,
    device: Device,
    latent: usize,
    reconstruction_weight: f32,
    adam: Adam,
    pub(super) parameters: Parameters,
    /// The gradients by the second half of a batch, laid out as the parameters.
    second: Tensor,
    /// What is validated and kept.
    pub(super) average: Average,
    /// [`Dense::bounds`].
    pub(super) bounds: Vec<f32>,
}

/// Part of a batch, and where its gradients go.
struct Part {
    rows: EncodedRows,
    /// Standard normal numbers, `[rows, latent]`, on the CPU.
    normal: Tensor,
    gradients: Vec<Tensor>,
    /// Reciprocal of the whole batch's rows.
    share: f32,
}

impl Network {
    /// An autoencoder at its start; `frequencies` of every code sub-column give the decoder's biases.
    pub(super) fn new(
        dense: Arc<Dense>,
        config: &Config,
        frequencies: &[Vec<f32>],
        bounds: Vec<f32>,
        noise: &Noise,
        device: Device,
    ) -> Result<Self> {
        let shapes = shapes(&dense, config.sizes);
        let parameters = Parameters::new(shapes, Kind::Float, device)?;
        let second = parameters.master.f_zeros_like()?;
        let average = Average::new(&parameters, AVERAGING)?;
        let adam =
            Adam { learning_rate: config.learning_rate, beta1: 0.9, beta2: 0.999, weight_decay: config.weight_decay };
        let mut network = Self {
            tables: dense.tables(),
            dense,
            device,
            latent: config.sizes.latent,
            reconstruction_weight: config.reconstruction_weight,
            adam,
            parameters,
            second,
            average,
            bounds,
        };
        network.initialise(frequencies, noise)?;
        Ok(network)
    }

    /// Uniform weights within 1 / sqrt(entries of an input), biases of codes by their frequencies.
    #[allow(clippy::cast_precision_loss)]
    fn initialise(&mut self, frequencies: &[Vec<f32>], noise: &Noise) -> Result<()> {
        let logs = |index: usize| frequencies[index].iter().map(|f| (f + 1e-6).ln());
        for (index, (name, mut master)) in self.parameters.named(&self.parameters.master)?.into_iter().enumerate() {
            let purpose = noise.purpose(&format!("initial/tvae/{name}"));
            let (rows, columns) = master.size2()?;
            let mut values = vec![0f32; (rows * columns) as usize];
            if index == LOG_DEVIATIONS {
                values.fill(FIRST_DEVIATION.ln());
            } else if (EMBEDDINGS..self.context_weight()).contains(&index) {
                let table = self.tables[(index - EMBEDDINGS) / 2];
                if name.ends_with("weight") {
                    purpose.fill_normal(0, &mut values);
                    values.iter_mut().for_each(|v| *v /= (columns as f32).sqrt());
                } else {
                    values.iter_mut().zip(logs(table.subcolumn)).for_each(|(v, log)| *v = log);
                }
            } else if name.ends_with("weight") || name == CONTEXT {
                purpose.fill_uniform(0, &mut values);
                // A row has about as many entries of size 1 as there are sub-columns.
                let sparse = index == ENCODER[0] || name == CONTEXT;
                let entries = if sparse { self.dense.parts.len() } else { rows as usize };
                let bound = 1.0 / (entries.max(1) as f32).sqrt();
                values.iter_mut().for_each(|v| *v = (*v * 2.0 - 1.0) * bound);
            } else if index == HEAD + 1 {
                for (subcolumn, at, length) in self.dense.one_hots() {
                    values[at..at + length].iter_mut().zip(logs(subcolumn)).for_each(|(v, log)| *v = log);
                }
            }
            master.f_copy_(&Tensor::f_from_slice(&values)?.f_view([rows, columns])?)?;
        }
        Prior::initialise(&self.parameters, PRIOR, noise)?;
        self.average.restart(&self.parameters)
    }

    /// The parameter that is the decoder's weight of the context, where there is one.
    fn context_weight(&self) -> usize {
        EMBEDDINGS + 2 * self.tables.len()
    }

    /// The contexts of a part's rows; none where there are none.
    fn contexts(&self, rows: &EncodedRows) -> Option<SparseRows> {
        if self.dense.context.width == 0 {
            return None;
        }
        let mut contexts = SparseRows::new(self.dense.context.width);
        for row in 0..rows.rows {
            self.dense.context.push(rows, row, 0, &mut contexts);
            contexts.end_row();
        }
        Some(contexts)
    }

    /// `x · weight + bias` of a layer.
    fn affine(&self, x: &Tensor, layer: usize) -> Result<Tensor> {
        Ok(self.parameters.weight(layer + 1)?.f_addmm(x, &self.parameters.weight(layer)?)?)
    }

    fn relu(&self, x: &Tensor, layer: usize) -> Result<Tensor> {
        Ok(self.affine(x, layer)?.f_relu_()?)
    }

    /// The gradients of the mean loss of the rows `rows` of `table`: the reconstruction loss, weighted, and the divergence
    /// of latent vectors from the prior.
    /// Returns the loss. The latent vectors are drawn from block `block` of `latent`.
    pub(super) fn gradients(
        &self,
        table: &CodeMatrix,
        rows: &[u32],
        (latent, block): (&Purpose, u64),
        team: &Team,
    ) -> Result<f64> {
        let normal = self.normal(rows.len(), latent, block)?;
        let prior = Prior::new(&self.parameters, PRIOR)?;
        // Two parts, whatever the threads: the sums of gradients stay in one order.
        let middle = rows.len().div_ceil(2);
        let part = |range: std::ops::Range<usize>, gradients: Vec<Tensor>| -> Result<Part> {
            let normal = normal.f_narrow(0, range.start as i64, range.len() as i64)?;
            Ok(Part { rows: table.read(&rows[range]), normal, gradients, share: 1.0 / rows.len() as f32 })
        };
        let named = self.parameters.named(&self.second)?;
        let own = (0..named.len()).map(|index| self.parameters.gradient(index)).collect::<Result<_>>()?;
        let first = part(0..middle, own)?;
        let second = part(middle..rows.len(), named.into_iter().map(|(_, gradient)| gradient).collect())?;
        if second.rows.rows == 0 {
            return self.part_gradients(&prior, &first);
        }
        let (one, other) = team.side_by_side(
            &(self, &prior, &first, &second),
            |(this, prior, part, _)| this.part_gradients(prior, part),
            |(this, prior, _, part)| this.part_gradients(prior, part),
        );
        let loss = one? + other?;
        for (gradient, other) in first.gradients.iter().zip(&second.gradients) {
            let _ = gradient.shallow_clone().f_add_(other)?;
        }
        Ok(loss)
    }

    /// The mean loss of the rows `rows` of `table` at the average weights, their latent vectors drawn from block 0 of
    /// `latent`. The gradients are lost.
    pub(super) fn average_loss(&self, table: &CodeMatrix, rows: &[u32], latent: &Purpose) -> Result<f64> {
        let network = Self {
            dense: self.dense.clone(),
            tables: self.tables.clone(),
            parameters: self.parameters.with_values(&self.average.values)?,
            second: self.second.shallow_clone(),
            average: self.average.shallow_clone(),
            bounds: self.bounds.clone(),
            ..*self
        };
        let prior = Prior::new(&network.parameters, PRIOR)?;
        let gradients: Vec<_> =
            self.parameters.named(&self.second)?.into_iter().map(|(_, gradient)| gradient).collect();
        let normal = self.normal(rows.len(), latent, 0)?;
        let share = 1.0 / rows.len() as f32;
        let mut loss = 0.0;
        for (number, rows) in rows.chunks(JUDGED).enumerate() {
            let normal = normal.f_narrow(0, (number * JUDGED) as i64, rows.len() as i64)?;
            let gradients = gradients.iter().map(Tensor::shallow_clone).collect();
            loss += network.part_gradients(&prior, &Part { rows: table.read(rows), normal, gradients, share })?;
        }
        Ok(loss)
    }

    /// Standard normal numbers of block `block`, `[rows, latent]`, on the CPU.
    fn normal(&self, rows: usize, latent: &Purpose, block: u64) -> Result<Tensor> {
        let mut flat = Tensor::f_empty([1, (rows * self.latent) as i64], (Kind::Float, Device::Cpu))?;
        write_rows::<f32>(&mut flat, |mut values| latent.fill_normal(block, values.row(0)))?;
        Ok(flat.f_view([rows as i64, self.latent as i64])?)
    }

    fn part_gradients(&self, prior: &Prior, part: &Part) -> Result<f64> {
        let n = part.rows.rows as i64;
        let input = self.sparse_rows(&part.rows)?;
        let mut first =
            Tensor::f_empty([n, self.parameters.weight(ENCODER[0])?.size()[1]], (Kind::Float, self.device))?;
        input.product(&self.parameters.weight(ENCODER[0])?, &mut first)?;
        let first = first.f_add_(&self.parameters.weight(ENCODER[0] + 1)?)?.f_relu_()?;
        let encoded = self.relu(&first, ENCODER[1])?;
        let mut statistics = on_host(&self.affine(&encoded, STATISTICS)?)?;
        let mut z = part.normal.f_empty_like()?;
        let log_density = kernels::latent(&statistics, &part.normal, &mut z)?;
        let z = z.f_to_device(self.device)?;
        let judged = prior.judge(&z)?;
        let mut loss = (log_density - judged.log_density) * f64::from(part.share);
        let contexts = self.contexts(&part.rows);
        let mut decoded = self.affine(&z, DECODER[0])?;
        if let Some(contexts) = &contexts {
            let mut added = decoded.f_empty_like()?;
            contexts.product(&self.parameters.weight(self.context_weight())?, &mut added)?;
            let _ = decoded.f_add_(&added)?;
        }
        let decoded = decoded.f_relu_()?;
        let decoded2 = self.relu(&decoded, DECODER[1])?;
        let logits = self.affine(&decoded2, HEAD)?;

        let (by_logits, reconstruction) = self.reconstruction(part, &logits)?;
        loss += reconstruction;
        let by_decoded2 = self.affine_gradient(part, &decoded2, &by_logits, HEAD)?;
        let by_decoded = self.affine_gradient(part, &decoded, &slope(&by_decoded2, &decoded2)?, DECODER[1])?;
        let by_decoded = slope(&by_decoded, &decoded)?;
        if let Some(contexts) = &contexts {
            let mut by_context = part.gradients[self.context_weight()].shallow_clone().f_zero_()?;
            contexts.add_transposed_product(&by_decoded, &mut by_context)?;
        }
        let by_z = self.affine_gradient(part, &z, &by_decoded, DECODER[0])?;
        let by_prior = prior.gradients(&judged, f64::from(part.share), &part.gradients[PRIOR..])?;
        let by_z = by_z.f_add(&by_prior)?;
        kernels::latent_gradient(&mut statistics, &part.normal, &on_host(&by_z)?, part.share)?;
        let by_statistics = statistics.f_to_device(self.device)?;
        let by_encoded = self.affine_gradient(part, &encoded, &by_statistics, STATISTICS)?;
        let by_first = self.affine_gradient(part, &first, &slope(&by_encoded, &encoded)?, ENCODER[1])?;
        let by_first = slope(&by_first, &first)?;

        let mut by_input = part.gradients[ENCODER[0]].shallow_clone().f_zero_()?;
        input.add_transposed_product(&by_first, &mut by_input)?;
        sum_rows(&by_first, &part.gradients[ENCODER[0] + 1])?;
        for (number, embedded) in self.tables.iter().enumerate() {
            let weight = self.parameters.weight(ENCODER[0])?.f_narrow(0, embedded.at as i64, embedded.width as i64)?;
            let by_vectors = by_first.f_mm(&weight.f_tr()?)?;
            let codes = self.codes(&part.rows, embedded)?;
            let _ = part.gradients[EMBEDDINGS + 2 * number].shallow_clone().f_index_add_(0, &codes, &by_vectors)?;
        }
        Ok(loss)
    }

    /// The loss of a part's rows under the head's output, and its gradient by that.
    fn reconstruction(&self, part: &Part, logits: &Tensor) -> Result<(Tensor, f64)> {
        let weight = self.reconstruction_weight * part.share;
        let mut loss = 0.0;
        let mut by_queries = Vec::with_capacity(self.tables.len());
        for (number, embedded) in self.tables.iter().enumerate() {
            let (part_loss, by_query) = self.embedded(part, number, embedded, logits)?;
            loss += part_loss;
            by_queries.push(by_query);
        }
        let log_deviations = on_host(&self.parameters.master(LOG_DEVIATIONS)?)?;
        let mut by_log_deviations = vec![0f32; self.dense.slots];
        let mut by_logits = on_host(logits)?;
        let targets = Targets { dense: &self.dense, rows: &part.rows, bounds: &self.bounds };
        let deviations = Rows::<f32>::of(&log_deviations)?.row(0);
        loss += kernels::reconstruction(&targets, &mut by_logits, deviations, weight, &mut by_log_deviations)?;
        let by_log_deviations = Tensor::f_from_slice(&by_log_deviations)?.f_view([1, -1])?;
        part.gradients[LOG_DEVIATIONS].shallow_clone().f_copy_(&by_log_deviations)?;
        let by_logits = by_logits.f_to_device(self.device)?;
        for (embedded, by_query) in self.tables.iter().zip(by_queries) {
            by_logits.f_narrow(1, embedded.at as i64, embedded.width as i64)?.f_copy_(&by_query)?;
        }
        Ok((by_logits, loss * f64::from(weight)))
    }

    /// The loss of an embedded sub-column (unweighted), and the weighted gradient by its query; writes those of its matrix
    /// and bias.
    fn embedded(&self, part: &Part, number: usize, embedded: &Table, logits: &Tensor) -> Result<(f64, Tensor)> {
        let index = EMBEDDINGS + 2 * number;
        let vectors = self.parameters.weight(index)?;
        let query = logits.f_narrow(1, embedded.at as i64, embedded.width as i64)?.f_contiguous()?;
        let logs =
            self.parameters.weight(index + 1)?.f_addmm(&query, &vectors.f_tr()?)?.f_log_softmax(-1, Kind::Float)?;
        let codes = self.codes(&part.rows, embedded)?.f_view([-1, 1])?;
        let loss = -logs.f_gather(1, &codes, false)?.f_sum(Kind::Double)?.f_double_value(&[])?;
        let mut by_logits = logs.f_exp()?;
        let _ = by_logits.f_scatter_add_(1, &codes, &codes.f_full_like(-1.0)?.f_to_kind(Kind::Float)?)?;
        let _ = by_logits.f_mul_scalar_(f64::from(self.reconstruction_weight * part.share))?;
        multiply(&by_logits.f_tr()?, &query, &part.gradients[index])?;
        sum_rows(&by_logits, &part.gradients[index + 1])?;
        Ok((loss, by_logits.f_mm(&vectors)?))
    }

    fn codes(&self, rows: &EncodedRows, embedded: &Table) -> Result<Tensor> {
        let data = &rows.subcolumns[embedded.subcolumn];
        let codes: Vec<i64> = (0..rows.rows).map(|row| i64::from(data.code(row))).collect();
        Ok(Tensor::f_from_slice(&codes)?.f_to_device(self.device)?)
    }

    fn sparse_rows(&self, rows: &EncodedRows) -> Result<SparseRows> {
        let host = |number| on_host(&self.parameters.master(EMBEDDINGS + 2 * number)?);
        let embeddings = (0..self.tables.len()).map(host).collect::<Result<Vec<_>>>()?;
        let embeddings = embeddings.iter().map(Rows::<f32>::of).collect::<Result<Vec<_>>>()?;
        let mut sparse = SparseRows::new(self.dense.width + self.dense.context.width);
        for row in 0..rows.rows {
            self.dense.push_row(rows, row, &embeddings, &mut sparse);
            sparse.end_row();
        }
        Ok(sparse)
    }

    /// Writes the gradients of a layer, given that of its output, and returns that of its input `x`.
    fn affine_gradient(&self, part: &Part, x: &Tensor, by_output: &Tensor, layer: usize) -> Result<Tensor> {
        multiply(&x.f_tr()?, by_output, &part.gradients[layer])?;
        sum_rows(by_output, &part.gradients[layer + 1])?;
        Ok(by_output.f_mm(&self.parameters.weight(layer)?.f_tr()?)?)
    }

    /// Adam's step `number` (from 1) by the gradients, with the learning rate times `rate`.
    pub(super) fn update(&mut self, number: u64, rate: f64, team: &Team) -> Result<()> {
        let adam = Adam { learning_rate: self.adam.learning_rate * rate, ..self.adam };
        self.parameters.step(&adam, number, team)?;
        self.average.follow(&self.parameters, number, team)
    }
}

/// `gradient` where the ReLU that gave `output` let through.
fn slope(gradient: &Tensor, output: &Tensor) -> Result<Tensor> {
    Ok(output.f_threshold_backward(gradient, 0)?)
}

fn sum_rows(rows: &Tensor, out: &Tensor) -> Result<()> {
    let _ = rows.f_sum_intlist_out(out, 0, true, Kind::Float)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        encode::{Layout, SubColumn},
        models::{FitOptions, OptionValue, test_support},
    };
    use rstest::rstest;

    const LATENT: i64 = 3;
    /// Codes of what may be given.
    const CONTEXTS: [i64; 2] = [2, 5];

    /// A one-hot code; a code of two modes with a scalar, constant in the first; an embedded code; a lone scalar.
    /// After as many of [`CONTEXTS`] as are given.
    fn setting(given: usize) -> (Network, EncodedRows) {
        let code = SubColumn::codes;
        let own = [code(3), code(2), SubColumn::Scalar, code(9), SubColumn::Scalar, SubColumn::Scalar];
        let column = |columns: std::ops::Range<usize>, discrete| {
            test_support::column(given + columns.start..given + columns.end, discrete)
        };
        let layout = Layout {
            given,
            siblings: 0..0,
            columns: vec![column(0..1, true), column(1..3, false), column(3..4, true), column(4..6, false)],
            subcolumns: CONTEXTS[..given].iter().map(|&k| code(k as u32)).chain(own).collect(),
        };
        let mut table = EncodedRows::with_capacity(&layout, 8);
        for row in 0..8u32 {
            let value = 0.1 * row as f32 - 0.35;
            let codes = [row % 3, row % 2, 0, (row * 5) % 9, 0, 0];
            let scalars = [0.0, 0.0, value * (row % 2) as f32, 0.0, -value, value * value];
            for (at, column) in table.subcolumns[..given].iter_mut().enumerate() {
                column.push_code((row + at as u32) % CONTEXTS[at] as u32);
            }
            for ((column, code), value) in table.subcolumns[given..].iter_mut().zip(codes).zip(scalars) {
                column.push_code(code);
                column.push_scalar(value);
            }
        }
        table.rows = 8;
        let mut options = FitOptions::default();
        for (name, value) in
            [("latent_width", LATENT), ("encoder_width", 5), ("decoder_width", 4), ("prior_components", 3)]
        {
            options.own.insert(name.into(), OptionValue::Int(value));
        }
        let cardinalities = CONTEXTS[..given].iter().map(|&k| k as usize).chain([3, 2, 0, 9, 0, 0]);
        let frequencies: Vec<_> = cardinalities.map(|k| vec![1.0 / k.max(1) as f32; k]).collect();
        let dense = Arc::new(Dense::new(&layout, 6));
        let bounds = dense.bounds(&table.clone().into(), &[0, 1, 2, 3, 4, 5, 6, 7]);
        let noise = Noise::new(3, b"test");
        let config = Config::new(&options, 8);
        let network = Network::new(dense, &config, &frequencies, bounds, &noise, Device::Cpu).unwrap();
        (network, table)
    }

    /// The loss by libtorch's operations.
    fn reference(weights: &[Tensor], table: &EncodedRows, rows: &[u32], normal: &Tensor) -> Tensor {
        let given = table.subcolumns.len() - 6;
        let n = rows.len() as i64;
        let codes = |k: usize| {
            let codes = &table.subcolumns[given + k];
            Tensor::from_slice(&rows.iter().map(|&row| i64::from(codes.code(row as usize))).collect::<Vec<_>>())
        };
        let contexts: Vec<Tensor> = (0..given)
            .map(|k| {
                let codes: Vec<_> = rows.iter().map(|&row| i64::from(table.subcolumns[k].code(row as usize))).collect();
                Tensor::from_slice(&codes).one_hot(CONTEXTS[k]).to_kind(Kind::Float)
            })
            .collect();
        let values = |k: usize| match &table.subcolumns[given + k] {
            crate::encode::SubColumnData::Scalar(values) => {
                Tensor::from_slice(&rows.iter().map(|&row| values[row as usize]).collect::<Vec<_>>()).view([-1, 1])
            }
            _ => Tensor::zeros([n, 1], (Kind::Float, Device::Cpu)),
        };
        let one_hot = |k: usize, width| codes(k).one_hot(width).to_kind(Kind::Float);
        let mut input = vec![
            one_hot(0, 3),
            one_hot(1, 2),
            one_hot(1, 2) * values(2),
            weights[EMBEDDINGS].index_select(0, &codes(3)),
            // More codes than six have slots too.
            one_hot(3, 9) * values(4),
            values(5),
        ];
        input.extend(contexts.iter().map(Tensor::shallow_clone));
        let affine = |x: &Tensor, at: usize| x.matmul(&weights[at]) + &weights[at + 1];
        let encoded = affine(&affine(&Tensor::cat(&input, 1), 0).relu(), 2).relu();
        let statistics = affine(&encoded, STATISTICS);
        let (mean, log_variance) = (statistics.narrow(1, 0, LATENT), statistics.narrow(1, LATENT, LATENT));
        let z = &mean + (&log_variance * 0.5).exp() * normal;
        // The density's parameters are constants here: see `kernels::latent_gradient`.
        let (mean, log_variance) = (mean.detach(), log_variance.detach());
        let own = (&log_variance + (&z - mean).square() / log_variance.exp()).sum(Kind::Float) * -0.5;
        let [mean, log_variance, logit] = [0, 1, 2].map(|i| &weights[PRIOR + i]);
        let distance = (z.unsqueeze(1) - mean).square() / log_variance.exp() + log_variance;
        let logs = distance.sum_dim_intlist(2, false, Kind::Float) * -0.5 + logit.log_softmax(-1, Kind::Float);
        let divergence = own - logs.logsumexp(-1, false).sum(Kind::Float);
        let mut first = affine(&z, DECODER[0]);
        if given > 0 {
            first += Tensor::cat(&contexts, 1).matmul(&weights[EMBEDDINGS + 2]);
        }
        let out = affine(&affine(&first.relu(), DECODER[1]).relu(), HEAD);
        let cross_entropy = |logits: Tensor, k: usize| {
            -logits.log_softmax(-1, Kind::Float).gather(1, &codes(k).view([-1, 1]), false).sum(Kind::Float)
        };
        let gaussian = |at: i64, code: &Tensor, first: i64, k: usize| {
            let log_deviation = weights[LOG_DEVIATIONS].view([-1]).index_select(0, &(code + first)).view([-1, 1]);
            let error = out.gather(1, &(code + at).view([-1, 1]), false).tanh() - values(k);
            (error / log_deviation.exp()).square() * 0.5 + log_deviation + HALF_LOG_TAU
        };
        let width = weights[EMBEDDINGS].size()[1];
        let all = out.narrow(1, 7, width).matmul(&weights[EMBEDDINGS].tr()) + &weights[EMBEDDINGS + 1];
        let zero = codes(0).zeros_like();
        let loss = cross_entropy(out.narrow(1, 0, 3), 0)
            + cross_entropy(out.narrow(1, 3, 2), 1)
            + cross_entropy(all, 3)
            + (gaussian(5, &codes(1), 0, 2) * codes(1).view([-1, 1])).sum(Kind::Float)
            + learned(gaussian(7 + width, &codes(3), 2, 4), &codes(3))
            + gaussian(16 + width, &zero, 11, 5).sum(Kind::Float);
        (loss * 2.0 + divergence) / n as f64
    }

    /// With 8 rows and 9 codes every row's code is its own, so none of these scalars is learned.
    fn learned(terms: Tensor, codes: &Tensor) -> Tensor {
        assert_eq!(codes.unique_dim(0, true, false, false).0.size()[0], codes.size()[0]);
        terms.sum(Kind::Float) * 0.0
    }

    const HALF_LOG_TAU: f64 = 0.918_938_533_204_672_7;

    #[rstest]
    #[case::alone(0)]
    #[case::context(2)]
    fn gradients_are_those_of_automatic_differentiation(#[case] given: usize) {
        let (network, table) = setting(given);
        let latent = Noise::new(1, b"test").purpose("latent");
        // Both parts, parts of different lengths, one part alone.
        for rows in [&[0u32, 5, 2, 7, 1, 3, 6, 4][..], &[3, 4, 7, 5, 0], &[5]] {
            let mut normal = vec![0f32; rows.len() * LATENT as usize];
            latent.fill_normal(4, &mut normal);
            let normal = Tensor::from_slice(&normal).view([-1, LATENT]);
            let names = network.parameters.named(&network.parameters.master).unwrap();
            let weights: Vec<_> = names.iter().map(|(_, master)| master.copy().set_requires_grad(true)).collect();
            let loss = reference(&weights, &table, rows, &normal);
            loss.backward();
            for threads in [1, 2] {
                let team = Team::new(threads).unwrap();
                let ours = network.gradients(&table.clone().into(), rows, (&latent, 4), &team).unwrap();
                assert!((ours - loss.double_value(&[])).abs() < 1e-4, "{ours} {loss:?}");
                for (i, (name, _)) in names.iter().enumerate() {
                    let (wanted, got) = (weights[i].grad(), network.parameters.gradient(i).unwrap());
                    let error = (&got - &wanted).abs().max().double_value(&[]);
                    assert!(error < 1e-4 * wanted.abs().max().double_value(&[]).max(1.0), "{name}: {error}");
                }
            }
        }
    }

    #[test]
    fn deviations_stay_in_their_range() {
        let (mut network, table) = setting(0);
        let team = Team::new(1).unwrap();
        let latent = Noise::new(1, b"test").purpose("latent");
        // Both ends: where the gradient would lead further out it is 0, where it leads back it is not.
        for (log, out) in [(-8f64, false), (3.0, true)] {
            let _ = network.parameters.master(LOG_DEVIATIONS).unwrap().fill_(log);
            network.gradients(&table.clone().into(), &[1, 3, 5], (&latent, 0), &team).unwrap();
            let by = network.parameters.gradient(LOG_DEVIATIONS).unwrap().view([-1]);
            let by = by.double_value(&[1]);
            assert!(if out { by > 0.0 } else { by < 0.0 }, "{log}: {by}");
        }
        network.adam.learning_rate = 0.05;
        for number in 1..=200 {
            network.gradients(&table.clone().into(), &[1, 3, 5], (&latent, number), &team).unwrap();
            network.update(number, 1.0, &team).unwrap();
        }
        let log = network.parameters.master(LOG_DEVIATIONS).unwrap().view([-1]).double_value(&[1]);
        assert!((-5.0..0.1).contains(&log), "{log}");
    }
}
