//! The networks, their likelihood and its gradients, written out by hand.
//!
//! Column `k` has codes `0..K_k` and an embedding `E_k: [K_k, d_k]`. With `x` the row's embeddings side by side
//! (`[D]`, invisible columns zero), the logits of column `k` are `a(x W_k + b_k) V_k + c_k`, `a` being the
//! [`Activation`]. `E_k` and `V_k` have smooth parts where codes stand for numbers (see [`polynomials`](super::polynomials)).

use super::{
    activation::Activation,
    polynomials::{self, Polynomials},
    relevance::Decays,
};
use crate::{
    Result,
    encode::Ascending,
    models::embedding::embedding_width,
    noise::{Noise, Purpose},
    torch::{Adam, Average, Parameters, Team, kernels::dropout::dropout_mask, multiply},
};
use tch::{Device, Kind, Tensor};

/// Columns are learned in this many groups, whatever the threads: the sums of gradients stay in one order.
const GROUPS: usize = 2;

/// A column of codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Column {
    /// Number of codes.
    pub(super) cardinality: usize,
    /// Where its embedding begins in `x`.
    pub(super) at: usize,
    /// Width of its embedding.
    pub(super) width: usize,
}

/// What columns are learned from at first.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Start {
    /// Of every code, in the rows to learn from.
    pub(super) frequencies: Vec<f32>,
    pub(super) ascending: Ascending,
}

/// The columns of a table whose embeddings are at most `widest`, and `D`.
pub(super) fn columns(cardinalities: &[usize], widest: usize) -> (Vec<Column>, usize) {
    let mut at = 0;
    let columns = cardinalities
        .iter()
        .map(|&cardinality| {
            let width = embedding_width(cardinality, widest);
            at += width;
            Column { cardinality, at: at - width, width }
        })
        .collect();
    (columns, at)
}

/// Name, rows and columns of a parameter.
type Shape = (String, usize, usize);

/// Shape of every parameter: `embedding.k` `[K, d]`, `input.k` `[D, width]`, `bias.k` `[1, width]`, `head.k`
/// `[width, K]`, `head_bias.k` `[1, K]`. The first `given` columns have embeddings alone.
pub(super) fn shapes(columns: &[Column], given: usize, total: usize, width: usize) -> Vec<Shape> {
    let of = |(k, column): (usize, &Column)| {
        let shapes = [
            (format!("embedding.{k}"), column.cardinality, column.width),
            (format!("input.{k}"), total, width),
            (format!("bias.{k}"), 1, width),
            (format!("head.{k}"), width, column.cardinality),
            (format!("head_bias.{k}"), 1, column.cardinality),
        ];
        shapes.into_iter().take(if k < given { 1 } else { PER_COLUMN })
    };
    columns.iter().enumerate().flat_map(of).collect()
}

/// The polynomials of the columns that have some, and the shapes of their parameters, which follow `plain` others:
/// `embedding_polynomials.k` `[m, d]` and, of columns that are learned, `head_polynomials.k` `[width, m]`.
fn smooth(
    columns: &[Column],
    given: usize,
    width: usize,
    start: &[Start],
    plain: usize,
    device: Device,
) -> Result<(Vec<Option<Polynomials>>, Vec<Shape>)> {
    let mut shapes = Vec::new();
    let mut all = Vec::with_capacity(columns.len());
    for (k, (column, Start { frequencies, ascending })) in columns.iter().zip(start).enumerate() {
        let m = polynomials::count(*ascending);
        if m == 0 {
            all.push(None);
            continue;
        }
        let mut parameter = |name: &str, rows, columns| {
            shapes.push((format!("{name}.{k}"), rows, columns));
            plain + shapes.len() - 1
        };
        let embedding = parameter("embedding_polynomials", m, column.width);
        let head = (k >= given).then(|| parameter("head_polynomials", width, m));
        all.push(Some(Polynomials::new(*ascending, frequencies, (embedding, head), device)?));
    }
    Ok((all, shapes))
}

const PER_COLUMN: usize = 5;
const EMBEDDING: usize = 0;
const INPUT: usize = 1;
const BIAS: usize = 2;
const HEAD: usize = 3;
const HEAD_BIAS: usize = 4;

/// The networks of a table in training.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) columns: Vec<Column>,
    /// The first so many columns are seen by all others, and not learned.
    given: usize,
    total: i64,
    width: i64,
    device: Device,
    /// Of columns whose codes stand for numbers.
    polynomials: Vec<Option<Polynomials>>,
    pub(super) parameters: Parameters,
    /// What is validated and kept.
    pub(super) average: Average,
    decays: Decays,
    /// Every parameter's L2 decay, laid out as those are.
    pull: Tensor,
    dropout: f64,
    activation: Activation,
}

/// What keeps the networks from learning rows by heart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Regularisation {
    /// L2 decay of all parameters but the heads' biases, at least (see [`relevance`](super::relevance)).
    pub(super) weight_decay: f64,
    /// How much the gaps between learned and held-out rows count where decays are found.
    pub(super) gap_weight: f64,
    /// Share of hidden units dropped per row and step (Srivastava et al. 2014).
    pub(super) dropout: f64,
}

/// Decay per step of the average of the parameters.
const AVERAGING: f64 = 0.99;

/// Standard deviations of embeddings at the start: of those without a smooth part, of the free and the smooth part.
const ALONE: f32 = 0.5;
const FREE: f32 = 0.25;
const SMOOTH: f32 = 0.3;

/// Rows to learn from or to judge.
#[derive(Debug)]
pub(super) struct Batch {
    /// Codes per column, i64 `[rows]`.
    codes: Vec<Tensor>,
    rows: i64,
    /// The first rows see what stands left of a column; the others what `ranks` puts before it.
    ordered: i64,
    /// Per column, its rank in each row's order, f32 `[rows - ordered, 1]`.
    ranks: Vec<Tensor>,
}

impl Batch {
    /// `codes` column by column, all of one length; `ranks` row by row for the last rows: a permutation each, given
    /// columns before all others.
    pub(super) fn new(codes: &[Vec<i64>], ranks: &[f32], device: Device) -> Result<Self> {
        let rows = codes.first().map_or(0, Vec::len) as i64;
        let free = (ranks.len() / codes.len().max(1)) as i64;
        let table = Tensor::f_from_slice(ranks)?.f_view([free, codes.len() as i64])?.f_to_device(device)?;
        Ok(Self {
            codes: codes.iter().map(|c| Ok(Tensor::f_from_slice(c)?.f_to_device(device)?)).collect::<Result<_>>()?,
            rows,
            ordered: rows - free,
            ranks: (0..codes.len() as i64)
                .map(|k| Ok(table.f_narrow(1, k, 1)?.f_contiguous()?))
                .collect::<Result<_>>()?,
        })
    }
}

/// What all columns share in a pass.
struct Inputs {
    /// Embeddings, `[rows, D]`.
    x: Tensor,
    /// Of the freely ordered rows, the rank of the column that an element of `x` belongs to.
    ranks: Tensor,
}

impl Network {
    /// Networks at their start; the frequencies of every column's codes give the heads' biases.
    pub(super) fn new(
        (columns, total): (Vec<Column>, usize),
        given: usize,
        (width, activation): (usize, Activation),
        start: &[Start],
        regularisation: Regularisation,
        noise: &Noise,
        device: Device,
    ) -> Result<Self> {
        let mut all = shapes(&columns, given, total, width);
        let plain = all.len();
        let (polynomials, smooth) = smooth(&columns, given, width, start, plain, device)?;
        all.extend(smooth);
        let parameters = Parameters::new(all, Kind::Float, device)?;
        let average = Average::new(&parameters, AVERAGING)?;
        let Regularisation { weight_decay, gap_weight, dropout } = regularisation;
        let decays = Decays::new(weight_decay, gap_weight, columns.len() - given, columns.len() + 1);
        let mut network = Self {
            columns,
            given,
            total: total as i64,
            width: width as i64,
            device,
            polynomials,
            decays,
            pull: parameters.master.f_zeros_like()?,
            parameters,
            average,
            dropout,
            activation,
        };
        network.spread_decays()?;
        for (index, (name, mut master)) in network.parameters.named(&network.parameters.master)?.into_iter().enumerate()
        {
            let (rows, columns) = master.size2()?;
            let mut values = vec![0f32; (rows * columns) as usize];
            let purpose = noise.purpose(&format!("initial/{name}"));
            let mut normal = |scale: f32| {
                purpose.fill_normal(0, &mut values);
                values.iter_mut().for_each(|v| *v *= scale);
            };
            if index >= plain {
                // The heads' smooth parts begin at zero, as their free parts nearly do.
                if network.polynomials.iter().flatten().any(|polynomials| polynomials.embedding == index) {
                    normal(SMOOTH);
                }
            } else {
                let (column, which) =
                    index.checked_sub(given).map_or((index, EMBEDDING), |i| (given + i / PER_COLUMN, i % PER_COLUMN));
                match which {
                    EMBEDDING => normal(if network.polynomials[column].is_some() { FREE } else { ALONE }),
                    INPUT | HEAD => {
                        purpose.fill_uniform(0, &mut values);
                        let bound = if which == INPUT { 1.0 } else { 0.5 } / (rows as f32).sqrt();
                        values.iter_mut().for_each(|v| *v = (*v * 2.0 - 1.0) * bound);
                    }
                    HEAD_BIAS => {
                        let logs = start[column].frequencies.iter().map(|f| (f + 1e-6).ln());
                        values.iter_mut().zip(logs).for_each(|(v, log)| *v = log);
                    }
                    _ => {}
                }
            }
            master.f_copy_(&Tensor::f_from_slice(&values)?.f_view([rows, columns])?)?;
        }
        network.average.restart(&network.parameters)?;
        Ok(network)
    }

    /// The number of a column's parameter.
    fn parameter(&self, column: usize, which: usize) -> usize {
        column.checked_sub(self.given).map_or(column, |learned| self.given + learned * PER_COLUMN + which)
    }

    fn weight(&self, column: usize, which: usize) -> Result<Tensor> {
        self.parameters.weight(self.parameter(column, which))
    }

    fn gradient(&self, column: usize, which: usize) -> Result<Tensor> {
        self.parameters.gradient(self.parameter(column, which))
    }

    /// The embedding of column `k`, `[K, d]`.
    fn embedding(&self, k: usize) -> Result<Tensor> {
        let free = self.weight(k, EMBEDDING)?;
        let Some(polynomials) = &self.polynomials[k] else { return Ok(free) };
        polynomials.embed(&free, &self.parameters.weight(polynomials.embedding)?)
    }

    /// The head of column `k`, `[width, K]`.
    fn head(&self, k: usize) -> Result<Tensor> {
        let free = self.weight(k, HEAD)?;
        let smooth = self.polynomials[k].as_ref().and_then(|polynomials| Some((polynomials, polynomials.head?)));
        let Some((polynomials, smooth)) = smooth else { return Ok(free) };
        polynomials.head(&free, &self.parameters.weight(smooth)?)
    }

    /// What a model keeps: the tensors of [`shapes`], by name, of networks without smooth parts.
    pub(super) fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        let mut tensors = self.parameters.named(&self.parameters.master)?;
        tensors.truncate(self.given + (self.columns.len() - self.given) * PER_COLUMN);
        Ok(tensors)
    }

    fn inputs(&self, batch: &Batch) -> Result<Inputs> {
        let options = (Kind::Float, self.device);
        let x = Tensor::f_empty([batch.rows, self.total], options)?;
        let ranks = Tensor::f_empty([batch.rows - batch.ordered, self.total], options)?;
        for (k, column) in self.columns.iter().enumerate() {
            let place = |t: &Tensor| t.f_narrow(1, column.at as i64, column.width as i64);
            place(&x)?.f_copy_(&self.embedding(k)?.f_index_select(0, &batch.codes[k])?)?;
            place(&ranks)?.f_copy_(&batch.ranks[k].f_expand([-1, column.width as i64], false)?)?;
        }
        Ok(Inputs { x, ranks })
    }

    /// Sums of the hidden layer of column `k`, and the masked inputs of the freely ordered rows.
    fn hidden(&self, k: usize, batch: &Batch, inputs: &Inputs) -> Result<(Tensor, Tensor, Tensor)> {
        let (weight, bias) = (self.weight(k, INPUT)?, self.weight(k, BIAS)?);
        let hidden = Tensor::f_empty([batch.rows, self.width], (Kind::Float, self.device))?;
        let before = self.columns[k].at as i64;
        let x = inputs.x.f_narrow(0, 0, batch.ordered)?.f_narrow(1, 0, before)?;
        hidden.f_narrow(0, 0, batch.ordered)?.f_copy_(&bias.f_addmm(&x, &weight.f_narrow(0, 0, before)?)?)?;
        let free = batch.rows - batch.ordered;
        let mask = inputs.ranks.f_lt_tensor(&batch.ranks[k])?.f_to_kind(Kind::Float)?;
        let seen = inputs.x.f_narrow(0, batch.ordered, free)?.f_mul(&mask)?;
        hidden.f_narrow(0, batch.ordered, free)?.f_copy_(&bias.f_addmm(&seen, &weight)?)?;
        Ok((hidden, seen, mask))
    }

    /// Log-probabilities of column `k`, `[rows, K]`.
    fn log_probabilities(&self, k: usize, hidden: &Tensor, head: &Tensor) -> Result<Tensor> {
        let logits = self.weight(k, HEAD_BIAS)?.f_addmm(hidden, head)?;
        Ok(logits.f_log_softmax(-1, Kind::Float)?)
    }

    /// Mean negative log-likelihood of every learned column.
    pub(super) fn losses(&self, batch: &Batch) -> Result<Vec<f64>> {
        let inputs = self.inputs(batch)?;
        let of = |k: usize| {
            let (sums, _, _) = self.hidden(k, batch, &inputs)?;
            let logs = self.log_probabilities(k, &self.activation.apply(&sums)?, &self.head(k)?)?;
            let own = logs.f_gather(1, &batch.codes[k].f_view([-1, 1])?, false)?;
            Ok(-own.f_sum(Kind::Double)?.f_double_value(&[])? / batch.rows as f64)
        };
        (self.given..self.columns.len()).map(of).collect()
    }

    /// The gradients of the sum of every learned column's mean negative log-likelihood, which it returns. What is dropped is
    /// drawn from blocks of a purpose that belong to a step; without one all units are kept.
    pub(super) fn gradients(&self, batch: &Batch, dropout: Option<(&Purpose, u64)>, team: &Team) -> Result<Vec<f64>> {
        let inputs = self.inputs(batch)?;
        let group = |group: usize| {
            move |(this, batch, inputs): &(&Self, &Batch, &Inputs)| -> Result<(Vec<f64>, Tensor)> {
                let by_x = inputs.x.f_zeros_like()?;
                let mut losses = Vec::new();
                for k in (this.given + group..this.columns.len()).step_by(GROUPS) {
                    let block = |step: u64| step * this.columns.len() as u64 + k as u64;
                    let kept = this.kept_units(batch.rows, dropout.map(|(purpose, step)| (purpose, block(step))))?;
                    losses.push(this.column_gradients(k, batch, inputs, &kept, &by_x)?);
                }
                Ok((losses, by_x))
            }
        };
        let (first, second) = team.side_by_side(&(self, batch, &inputs), group(0), group(1));
        let ((first, by_x), (second, other)) = (first?, second?);
        let by_x = by_x.f_add(&other)?;
        for (k, column) in self.columns.iter().enumerate() {
            let mut gradient = self.gradient(k, EMBEDDING)?;
            let _ = gradient.f_zero_()?;
            let by_vector = by_x.f_narrow(1, column.at as i64, column.width as i64)?;
            let _ = gradient.f_index_add_(0, &batch.codes[k], &by_vector)?;
            if let Some(polynomials) = &self.polynomials[k] {
                self.parameters.gradient(polynomials.embedding)?.f_copy_(&polynomials.by_embedding(&gradient)?)?;
            }
        }
        let groups = [first, second];
        Ok((0..self.columns.len() - self.given).map(|at| groups[at % GROUPS][at / GROUPS]).collect())
    }

    /// The gradients of column `k`'s parameters; adds that of `x` to `by_x`.
    fn column_gradients(&self, k: usize, batch: &Batch, inputs: &Inputs, kept: &Tensor, by_x: &Tensor) -> Result<f64> {
        let (sums, seen, mask) = self.hidden(k, batch, inputs)?;
        let hidden = self.activation.apply(&sums)?.f_mul(kept)?;
        let head = self.head(k)?;
        let logs = self.log_probabilities(k, &hidden, &head)?;
        let codes = batch.codes[k].f_view([-1, 1])?;
        let share = 1.0 / batch.rows as f64;
        let loss = -logs.f_gather(1, &codes, false)?.f_sum(Kind::Double)?.f_double_value(&[])? * share;
        let mut by_logits = logs.f_exp()?;
        let _ = by_logits.f_scatter_add_(1, &codes, &codes.f_full_like(-1.0)?.f_to_kind(Kind::Float)?)?;
        let _ = by_logits.f_mul_scalar_(share)?;
        multiply(&hidden.f_tr()?, &by_logits, &self.gradient(k, HEAD)?)?;
        if let Some(polynomials) = &self.polynomials[k]
            && let Some(smooth) = polynomials.head
        {
            self.parameters.gradient(smooth)?.f_copy_(&polynomials.by_head(&self.gradient(k, HEAD)?)?)?;
        }
        let sum = |t: &Tensor| t.f_sum_dim_intlist(0, true, Kind::Float);
        self.gradient(k, HEAD_BIAS)?.f_copy_(&sum(&by_logits)?)?;
        let slope = self.activation.slope(&sums)?.f_mul(kept)?;
        let by_hidden = by_logits.f_mm(&head.f_tr()?)?.f_mul(&slope)?;
        self.gradient(k, BIAS)?.f_copy_(&sum(&by_hidden)?)?;

        let (weight, gradient) = (self.weight(k, INPUT)?, self.gradient(k, INPUT)?);
        let (ordered, before, free) = (batch.ordered, self.columns[k].at as i64, batch.rows - batch.ordered);
        let (by_ordered, by_free) = (by_hidden.f_narrow(0, 0, ordered)?, by_hidden.f_narrow(0, ordered, free)?);
        multiply(&seen.f_tr()?, &by_free, &gradient)?;
        let x = inputs.x.f_narrow(0, 0, ordered)?.f_narrow(1, 0, before)?;
        let _ = gradient.f_narrow(0, 0, before)?.f_addmm_(&x.f_tr()?, &by_ordered)?;
        let mut place = by_x.f_narrow(0, 0, ordered)?.f_narrow(1, 0, before)?;
        let _ = place.f_addmm_(&by_ordered, &weight.f_narrow(0, 0, before)?.f_tr()?)?;
        let mut place = by_x.f_narrow(0, ordered, free)?;
        let _ = place.f_addcmul_(&by_free.f_mm(&weight.f_tr()?)?, &mask)?;
        Ok(loss)
    }

    /// The mask of the hidden units kept, `[rows, width]`; a single 1 where none is dropped.
    fn kept_units(&self, rows: i64, dropout: Option<(&Purpose, u64)>) -> Result<Tensor> {
        let kind = (Kind::Float, self.device);
        match dropout {
            Some(block) if self.dropout > 0.0 => {
                Ok(dropout_mask(rows * self.width, self.dropout, block, kind)?.f_view([rows, self.width])?)
            }
            _ => Ok(Tensor::f_ones([1, 1], kind)?),
        }
    }

    /// The decays per pair of columns and head.
    pub(super) fn decays(&self) -> &Decays {
        &self.decays
    }

    /// Changes the decays.
    pub(super) fn change_decays(&mut self, change: impl FnOnce(&mut Decays)) -> Result<()> {
        change(&mut self.decays);
        self.spread_decays()
    }

    /// The matrices of column `k`'s head.
    fn head_parameters(&self, k: usize) -> impl Iterator<Item = usize> {
        let smooth = self.polynomials[k].as_ref().and_then(|polynomials| polynomials.head);
        [self.parameter(k, HEAD)].into_iter().chain(smooth)
    }

    /// Every parameter's decay.
    fn spread_decays(&mut self) -> Result<()> {
        let _ = self.pull.f_fill_(self.decays.least())?;
        let mut matrices = self.parameters.named(&self.pull)?;
        for (k, decays) in (self.given..).zip(self.decays.columns()) {
            let seen = self.columns.iter().zip(decays);
            let rows: Vec<f32> = seen.flat_map(|(column, &decay)| vec![decay; column.width]).collect();
            matrices[self.parameter(k, INPUT)].1.f_copy_(&Tensor::f_from_slice(&rows)?.f_view([self.total, 1])?)?;
            // What pulled them towards zero would flatten the frequencies of many codes.
            let _ = matrices[self.parameter(k, HEAD_BIAS)].1.f_zero_()?;
            for head in self.head_parameters(k) {
                let _ = matrices[head].1.f_fill_(f64::from(decays[self.columns.len()]))?;
            }
        }
        Ok(())
    }

    /// How much more every pair of columns and every head would have to decay to make up for the slope along their weights of
    /// the loss of `batch`; after them, the loss of every learned column.
    pub(super) fn wanted_decays(&self, batch: &Batch, team: &Team) -> Result<Vec<f64>> {
        let losses = self.gradients(batch, None, team)?;
        // Per row of a matrix: the slope along its weights, and their squared length.
        let rows = |index: usize| -> Result<Vec<(f64, f64)>> {
            let weight = self.parameters.weight(index)?;
            let sums = |by: &Tensor| -> Result<Vec<f64>> {
                Ok(Vec::try_from(weight.f_mul(by)?.f_sum_dim_intlist(1, false, Kind::Double)?.f_to(Device::Cpu)?)?)
            };
            Ok(sums(&self.parameters.gradient(index)?)?.into_iter().zip(sums(&weight)?).collect())
        };
        let wanted = |rows: &[(f64, f64)]| {
            let (slope, square) = rows.iter().fold((0.0, 0.0), |sums, row| (sums.0 + row.0, sums.1 + row.1));
            if square > 0.0 { slope / square } else { 0.0 }
        };
        let mut all = Vec::with_capacity(self.decays.parts().len() + losses.len());
        for k in self.given..self.columns.len() {
            let input = rows(self.parameter(k, INPUT))?;
            all.extend(self.columns.iter().map(|column| wanted(&input[column.at..column.at + column.width])));
            let head = self.head_parameters(k).map(rows).collect::<Result<Vec<_>>>()?;
            all.push(wanted(&head.concat()));
        }
        all.extend(losses);
        Ok(all)
    }

    /// Adam's step `number` (from 1) at `rate`.
    pub(super) fn update(&mut self, number: u64, rate: f64, team: &Team) -> Result<()> {
        self.parameters.shrink(&self.pull)?;
        let adam = Adam { learning_rate: rate, beta1: 0.9, beta2: 0.999, weight_decay: 0.0 };
        self.parameters.step(&adam, number, team)?;
        self.average.follow(&self.parameters, number, team)
    }

    /// The networks at their average weights, to take gradients by.
    pub(super) fn at_average(&self) -> Result<Self> {
        let polynomials =
            self.polynomials.iter().map(|polynomials| polynomials.as_ref().map(Polynomials::shallow_clone)).collect();
        Ok(self.with(polynomials, self.parameters.at_values(&self.average.values)?))
    }

    fn with(&self, polynomials: Vec<Option<Polynomials>>, parameters: Parameters) -> Self {
        Self {
            columns: self.columns.clone(),
            polynomials,
            parameters,
            average: self.average.shallow_clone(),
            decays: self.decays.clone(),
            pull: self.pull.shallow_clone(),
            ..*self
        }
    }

    /// The networks at their average weights, smooth parts folded into free ones: to run, not to learn.
    pub(super) fn averaged(&self) -> Result<Self> {
        let mut values = self.average.values.f_empty_like()?;
        values.f_copy_(&self.average.values)?;
        let none = self.columns.iter().map(|_| None).collect();
        let network = self.with(none, self.parameters.with_values(&values)?);
        for (k, polynomials) in self.polynomials.iter().enumerate() {
            let Some(polynomials) = polynomials else { continue };
            let value = |parameter| network.parameters.master(parameter);
            let mut free = value(network.parameter(k, EMBEDDING))?;
            free.f_copy_(&polynomials.embed(&free, &value(polynomials.embedding)?)?)?;
            if let Some(smooth) = polynomials.head {
                let mut free = value(network.parameter(k, HEAD))?;
                free.f_copy_(&polynomials.head(&free, &value(smooth)?)?)?;
            }
        }
        Ok(network)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Of columns with 3, 4 and 12 codes, eleven of the last being numbers; eight rows, three of them in random orders.
    fn setting(activation: Activation) -> (Network, Batch, Vec<Vec<i64>>, Vec<f32>) {
        let start = [(3, 0..0), (4, 0..0), (12, 1..12)].map(|(k, numbers)| Start {
            frequencies: vec![1.0 / k as f32; k],
            ascending: Ascending { start: numbers.start, end: numbers.end },
        });
        let noise = Noise::new(3, b"test");
        let regularisation = Regularisation { weight_decay: 0.5, gap_weight: 0.0, dropout: 0.25 };
        let columns = columns(&[3, 4, 12], 3);
        let network = Network::new(columns, 0, (6, activation), &start, regularisation, &noise, Device::Cpu).unwrap();
        let codes: Vec<Vec<i64>> =
            [3i64, 4, 12].iter().map(|&k| (0..8).map(|row| (row * 7 + 2) % k).collect()).collect();
        let ranks = vec![2.0, 0.0, 1.0, 0.0, 1.0, 2.0, 1.0, 2.0, 0.0];
        let batch = Batch::new(&codes, &ranks, Device::Cpu).unwrap();
        (network, batch, codes, ranks)
    }

    #[test]
    fn gradients_are_those_of_automatic_differentiation() {
        gradients_of(Activation::Rectified, Tensor::relu);
        gradients_of(Activation::Squared, Tensor::square);
    }

    fn gradients_of(activation: Activation, apply: fn(&Tensor) -> Tensor) {
        let (network, batch, codes, ranks) = setting(activation);
        // At its start the smooth head is zero.
        let _ = network.parameters.master(16).unwrap().fill_(0.1);
        let dropout = Noise::new(1, b"test").purpose("dropout");
        let masters: Vec<Tensor> =
            (0..17).map(|i| network.parameters.master(i).unwrap().copy().set_requires_grad(true)).collect();
        let smooth = network.polynomials[2].as_ref().unwrap();
        let embeddings = [0, 1, 2].map(|k| match k {
            2 => smooth.embed(&masters[10], &masters[15]).unwrap(),
            _ => masters[k * 5 + EMBEDDING].shallow_clone(),
        });
        let heads = [0, 1, 2].map(|k| match k {
            2 => smooth.head(&masters[13], &masters[16]).unwrap(),
            _ => masters[k * 5 + HEAD].shallow_clone(),
        });
        let mut losses = Vec::new();
        for k in 0..3 {
            let kept = network.kept_units(8, Some((&dropout, 5 * 3 + k as u64))).unwrap();
            let mut parts = Vec::new();
            for (j, column) in network.columns.iter().enumerate() {
                let seen: Vec<f32> = (0..8)
                    .map(|row| {
                        let before = if row < 5 { j < k } else { ranks[(row - 5) * 3 + j] < ranks[(row - 5) * 3 + k] };
                        f32::from(u8::from(before))
                    })
                    .collect();
                let embedded = embeddings[j].index_select(0, &Tensor::from_slice(&codes[j]));
                assert_eq!(embedded.size(), [8, column.width as i64]);
                parts.push(embedded * Tensor::from_slice(&seen).view([8, 1]));
            }
            let x = Tensor::cat(&parts, 1);
            let hidden = apply(&(x.matmul(&masters[k * 5 + INPUT]) + &masters[k * 5 + BIAS])) * kept;
            let logs = (hidden.matmul(&heads[k]) + &masters[k * 5 + HEAD_BIAS]).log_softmax(-1, Kind::Float);
            let chosen = logs.gather(1, &Tensor::from_slice(&codes[k]).view([8, 1]), false);
            losses.push(-chosen.mean(Kind::Float));
        }
        losses.iter().sum::<Tensor>().backward();
        let losses: Vec<f64> = losses.iter().map(|loss| loss.double_value(&[])).collect();
        for threads in [1, 2] {
            let ours = network.gradients(&batch, Some((&dropout, 5)), &Team::new(threads).unwrap()).unwrap();
            for (ours, loss) in ours.iter().zip(&losses) {
                assert!((ours - loss).abs() < 1e-5, "{ours}, expected {loss}");
            }
            for (i, master) in masters.iter().enumerate() {
                let (wanted, got) = (master.grad(), network.parameters.gradient(i).unwrap());
                let error = (&got - &wanted).abs().max().double_value(&[]);
                assert!(error < 1e-5, "{activation:?}, parameter {i}: {error}");
            }
        }
    }

    #[test]
    fn wanted_decays_are_slopes_along_weights_over_their_squared_length() {
        let (network, batch, _, _) = setting(Activation::Squared);
        let _ = network.parameters.master(16).unwrap().fill_(0.1);
        let wanted = network.wanted_decays(&batch, &Team::new(1).unwrap()).unwrap();
        let part = |k: usize, j: usize| {
            let head = vec![network.parameters.master(k * PER_COLUMN + HEAD), network.parameters.master(16)];
            let input = network.parameters.master(k * PER_COLUMN + INPUT).unwrap();
            let seen = network.columns.get(j).map(|c| vec![Ok(input.narrow(0, c.at as i64, c.width as i64))]);
            (k * 4 + j, seen.unwrap_or(head).into_iter().map(Result::unwrap).collect::<Vec<Tensor>>())
        };
        for (at, weights) in [part(1, 0), part(1, 2), part(2, 1), part(2, 3)] {
            let start: Vec<Tensor> = weights.iter().map(Tensor::copy).collect();
            let loss = |stretch: f64| {
                weights.iter().zip(&start).for_each(|(w, start)| w.shallow_clone().copy_(&(start * stretch)));
                network.losses(&batch).unwrap().iter().sum::<f64>()
            };
            let slope = (loss(1.01) - loss(0.99)) / 0.02;
            loss(1.0);
            let square: f64 = start.iter().map(|w| w.square().sum(Kind::Double).double_value(&[])).sum();
            let found = wanted[at] * square;
            assert!((found - slope).abs() < 1e-3 * (1.0 + slope.abs()), "{at}: {found}, expected {slope}");
        }
    }

    #[test]
    fn parameters_decay_with_their_columns() {
        let (mut network, ..) = setting(Activation::Squared);
        let parts: Vec<f32> = (1..=12).map(|part| part as f32).collect();
        network.change_decays(|decays| decays.resume(&parts)).unwrap();
        let pull = |index: usize| network.parameters.named(&network.pull).unwrap().remove(index).1;
        for k in 0..3 {
            let input = pull(k * PER_COLUMN + INPUT);
            for (j, column) in network.columns.iter().enumerate() {
                let rows = input.narrow(0, column.at as i64, column.width as i64);
                assert_eq!(rows, rows.full_like(f64::from(parts[k * 4 + j])));
            }
            let head = pull(k * PER_COLUMN + HEAD);
            assert_eq!(head, head.full_like(f64::from(parts[k * 4 + 3])));
            for other in [EMBEDDING, BIAS].map(|which| pull(k * PER_COLUMN + which)) {
                assert_eq!(other, other.full_like(0.5));
            }
            let biases = pull(k * PER_COLUMN + HEAD_BIAS);
            assert_eq!(biases, biases.zeros_like());
        }
        assert_eq!((pull(15), pull(16)), (pull(15).full_like(0.5), pull(16).full_like(12.0)));
    }

    #[test]
    fn the_first_column_sees_nothing_in_the_tables_order() {
        let (network, _, codes, _) = setting(Activation::Squared);
        let of = |codes: &[Vec<i64>]| network.losses(&Batch::new(codes, &[], Device::Cpu).unwrap()).unwrap();
        let before = of(&codes);
        // Only the last column's likelihood may change when its own codes do.
        let inputs = |codes: &[Vec<i64>]| network.inputs(&Batch::new(codes, &[], Device::Cpu).unwrap()).unwrap().x;
        let mut changed = codes.clone();
        changed[2].iter_mut().for_each(|code| *code = (*code + 1) % 12);
        assert_ne!(inputs(&codes), inputs(&changed));
        let batch = Batch::new(&changed, &[], Device::Cpu).unwrap();
        let hidden = |k: usize, codes: &[Vec<i64>]| {
            let batch = Batch::new(codes, &[], Device::Cpu).unwrap();
            network.hidden(k, &batch, &network.inputs(&batch).unwrap()).unwrap().0
        };
        for k in 0..3 {
            assert_eq!(hidden(k, &codes), hidden(k, &changed));
        }
        assert_ne!(before, network.losses(&batch).unwrap());
    }
}
