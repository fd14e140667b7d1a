//! Generation: a block of rows is a pure function of the model, the noise and the block's number.
//!
//! A latent vector is drawn from the prior (a component, then its Gaussian), and every column from the distribution that the decoder makes of it: codes from
//! their softmax, a scalar from the Gaussian of the mode that was drawn.

use super::{
    dense::{Dense, Part},
    kernels::LOG_DEVIATIONS,
    model::{BOUNDS, TvaeModel},
};
use crate::{
    Result,
    encode::{EncodedRows, SubColumnData},
    models::{
        BlockSampler, HostTensor,
        tiles::{self, TILE, TileWorker, push_codes},
    },
    noise::{BLOCK_ROWS, Noise, Purpose},
    torch::{
        Rows,
        kernels::{
            draw,
            math::{exp, tanh, vectorised},
        },
        use_threads, write_rows,
    },
};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// Logits of an embedded column held at once.
const EMBEDDED_LOGITS: usize = 1 << 22;

/// Runs a trained decoder.
pub(super) struct Sampler {
    workers: Vec<Worker>,
}

/// One thread's share: tensors are shared between workers, buffers are not.
struct Worker {
    dense: Arc<Dense>,
    device: Device,
    /// Of the prior's components: cumulated probabilities, means, deviations.
    prior: (Arc<Vec<f64>>, Tensor, Tensor),
    /// Weight and bias of both layers.
    layers: [(Tensor, Tensor); 2],
    /// The head's weight, and its bias on the CPU.
    head: (Tensor, Tensor),
    /// Per slot of scalars: deviation, least, greatest value.
    slots: Arc<Vec<[f32; 3]>>,
    /// Weight (transposed) and bias of every embedded sub-column, on the CPU.
    tables: Vec<(Tensor, Tensor)>,
    /// Latent vectors, `[TILE, latent]`.
    latent: Tensor,
    rows: EncodedRows,
}

/// The streams of one noise.
struct Streams {
    component: Purpose,
    latent: Purpose,
    /// Per sub-column.
    draws: Vec<Purpose>,
}

impl Sampler {
    pub(super) fn new(model: &TvaeModel, device: Device, threads: usize) -> Result<Self> {
        use_threads(1);
        let _guard = tch::no_grad_guard();
        Ok(Self { workers: tiles::workers(Worker::new(model, device)?, device, threads, Worker::twin)? })
    }

    /// Bytes that a worker takes beside the weights.
    pub(super) fn tile_memory(dense: &Dense, latent: usize, width: usize) -> usize {
        let embedded = dense.tables().iter().map(|table| (TILE * table.cardinality).min(2 * EMBEDDED_LOGITS)).max();
        4 * (TILE * (latent + 2 * width + 2 * dense.width) + embedded.unwrap_or(0))
    }
}

impl BlockSampler for Sampler {
    fn sample(&mut self, block: u64, noise: &Noise, out: &mut EncodedRows) -> Result<()> {
        let streams = Streams {
            component: noise.purpose("tvae/component"),
            latent: noise.purpose("tvae/latent"),
            draws: (0..out.subcolumns.len()).map(|i| noise.purpose(&format!("tvae/draw/{i}"))).collect(),
        };
        tiles::sample(&mut self.workers, block, BLOCK_ROWS, &streams, out)
    }
}

impl Worker {
    fn new(model: &TvaeModel, device: Device) -> Result<Self> {
        let dense = model.dense();
        let tensor = |name: &str, device: Device| model.weight(name)?.tensor(Kind::Float, device);
        let layer = |name: &str| -> Result<(Tensor, Tensor)> {
            Ok((tensor(&format!("{name}.weight"), device)?, tensor(&format!("{name}.bias"), device)?))
        };
        let table = |subcolumn: usize| -> Result<(Tensor, Tensor)> {
            let name = format!("embedding.{subcolumn}");
            let weight = tensor(&format!("{name}.weight"), Device::Cpu)?.f_tr()?;
            Ok((weight, tensor(&format!("{name}.bias"), Device::Cpu)?))
        };
        let deviation = tensor("prior.log_variance", Device::Cpu)?.f_mul_scalar(0.5)?.f_exp()?;
        let cumulated = cumulated(&model.weight("prior.logit")?.data);
        Ok(Self {
            dense: dense.clone(),
            device,
            prior: (Arc::new(cumulated), tensor("prior.mean", Device::Cpu)?, deviation),
            layers: [layer("decoder.0")?, layer("decoder.1")?],
            head: (tensor("head.weight", device)?, tensor("head.bias", Device::Cpu)?),
            slots: Arc::new(slots(model.weight("scalars.log_deviation")?, model.weight(BOUNDS)?)),
            tables: dense.tables().iter().map(|t| table(t.subcolumn)).collect::<Result<_>>()?,
            latent: Tensor::f_zeros([TILE as i64, model.latent() as i64], (Kind::Float, Device::Cpu))?,
            rows: EncodedRows::with_capacity(model.layout(), TILE),
        })
    }

    /// Another worker on the same weights.
    fn twin(&self) -> Result<Self> {
        let pair = |(a, b): &(Tensor, Tensor)| (a.shallow_clone(), b.shallow_clone());
        Ok(Self {
            dense: self.dense.clone(),
            device: self.device,
            prior: (self.prior.0.clone(), self.prior.1.shallow_clone(), self.prior.2.shallow_clone()),
            layers: [pair(&self.layers[0]), pair(&self.layers[1])],
            head: pair(&self.head),
            slots: self.slots.clone(),
            tables: self.tables.iter().map(pair).collect(),
            latent: self.latent.f_zeros_like()?,
            rows: self.rows.clone(),
        })
    }

    /// The decoder's output for the latent vectors of a tile, without the head's bias: `[TILE, width]`, on the CPU.
    fn decode(&mut self, tile: u64, streams: &Streams) -> Result<Tensor> {
        let mut bits = vec![0u32; TILE];
        streams.component.fill_u32(tile, &mut bits);
        let (cumulated, means, deviations) = &self.prior;
        let (means, deviations) = (Rows::<f32>::of(means)?, Rows::<f32>::of(deviations)?);
        let mut normal = vec![0f32; self.latent.numel()];
        streams.latent.fill_normal(tile, &mut normal);
        let width = means.columns();
        write_rows::<f32>(&mut self.latent, |mut rows| {
            for (r, (normal, &bits)) in normal.chunks(width).zip(&bits).enumerate() {
                let uniform = f64::from(bits) / 4_294_967_296.0;
                let component = cumulated.partition_point(|&c| c <= uniform).min(cumulated.len() - 1);
                gaussian(means.row(component), deviations.row(component), normal, rows.row(r));
            }
        })?;
        let mut x = self.latent.f_to_device(self.device)?;
        for (weight, bias) in &self.layers {
            x = bias.f_addmm(&x, weight)?.f_relu_()?;
        }
        Ok(x.f_mm(&self.head.0)?.f_to_device(Device::Cpu)?)
    }

    /// Draws the codes of an embedded sub-column, whose queries (with their bias) are at `at` of the logits.
    fn embedded(
        &self,
        logits: Rows<'_, f32>,
        bias: &[f32],
        (at, width, cardinality, table): (usize, usize, usize, usize),
        bits: &[u32],
        codes: &mut [u32],
    ) -> Result<()> {
        let (vectors, extra) = &self.tables[table];
        let extra = Rows::<f32>::of(extra)?;
        let step = (EMBEDDED_LOGITS / cardinality.max(1)).max(1).next_multiple_of(16).min(TILE);
        for first in (0..TILE).step_by(step) {
            let rows = first..(first + step).min(TILE);
            let mut queries = Vec::with_capacity(rows.len() * width);
            for r in rows.clone() {
                let query = logits.row(r)[at..at + width].iter().zip(&bias[at..at + width]);
                queries.extend(query.map(|(x, bias)| x + bias));
            }
            let all = Tensor::f_from_slice(&queries)?.f_view([-1, width as i64])?.f_mm(vectors)?;
            let all = draw::Logits { main: Rows::<f32>::of(&all)?, extra, select: &vec![0u32; rows.len()] };
            draw::codes(all, 0, cardinality, &bits[rows.clone()], &mut codes[rows]);
        }
        Ok(())
    }
}

impl TileWorker for Worker {
    type Streams = Streams;

    fn tile(&mut self, tile: u64, streams: &Streams) -> Result<()> {
        use_threads(1);
        let _guard = tch::no_grad_guard();
        self.rows.clear();
        self.rows.rows = TILE;
        if self.dense.width == 0 {
            return Ok(());
        }
        let decoded = self.decode(tile, streams)?;
        let (decoded, head_bias) = (Rows::<f32>::of(&decoded)?, self.head.1.shallow_clone());
        let extra = Rows::<f32>::of(&head_bias)?;
        let bias = extra.row(0);
        let logits = draw::Logits { main: decoded, extra, select: &[0u32; TILE] };
        let (mut bits, mut normal, mut values) = (vec![0u32; TILE], vec![0f32; TILE], vec![0f32; TILE]);
        // Those of the sub-column before: what a scalar's slots go by.
        let mut codes = vec![0u32; TILE];
        for (index, part) in self.dense.parts.clone().into_iter().enumerate() {
            match part {
                Part::Scalar { at, slots, first } => {
                    streams.draws[index].fill_normal(tile, &mut normal);
                    let slot = |row: usize| if slots == 1 { 0 } else { codes[row] as usize };
                    for (row, value) in values.iter_mut().enumerate() {
                        let at = at + slot(row);
                        *value = decoded.row(row)[at] + bias[at];
                    }
                    tanh_all(&mut values);
                    for (row, value) in values.iter_mut().enumerate() {
                        *value = within(*value, normal[row], self.slots[first + slot(row)]);
                    }
                    if let SubColumnData::Scalar(out) = &mut self.rows.subcolumns[index] {
                        out.extend_from_slice(&values);
                    }
                }
                Part::OneHot { at, cardinality } => {
                    streams.draws[index].fill_u32(tile, &mut bits);
                    draw::codes(logits, at, cardinality, &bits, &mut codes);
                    push_codes(&mut self.rows.subcolumns[index], &codes);
                }
                Part::Embedded { at, width, cardinality, table } => {
                    streams.draws[index].fill_u32(tile, &mut bits);
                    self.embedded(decoded, bias, (at, width, cardinality, table), &bits, &mut codes)?;
                    push_codes(&mut self.rows.subcolumns[index], &codes);
                }
            }
        }
        Ok(())
    }

    fn rows(&self) -> &EncodedRows {
        &self.rows
    }
}

/// Cumulated probabilities of a softmax.
fn cumulated(logits: &[f32]) -> Vec<f64> {
    let top = logits.iter().fold(f32::NEG_INFINITY, |top, &x| top.max(x));
    let mut sum = 0.0;
    let mut sums: Vec<f64> = Vec::with_capacity(logits.len());
    for &logit in logits {
        sum += f64::from(exp(logit - top));
        sums.push(sum);
    }
    sums.iter_mut().for_each(|c| *c /= sum);
    sums
}

/// Deviation, least and greatest value of every slot.
fn slots(log_deviations: &HostTensor, bounds: &HostTensor) -> Vec<[f32; 3]> {
    let (least, greatest) = bounds.data.split_at(log_deviations.data.len());
    let deviation = |log: &f32| exp(log.clamp(LOG_DEVIATIONS.0, LOG_DEVIATIONS.1));
    let slots = log_deviations.data.iter().zip(least).zip(greatest);
    slots.map(|((log, &least), &greatest)| [deviation(log), least, greatest]).collect()
}

/// A draw from the Gaussian of this mean, reflected at the bounds: clamped alone, draws would pile up there.
fn within(mean: f32, normal: f32, [deviation, least, greatest]: [f32; 3]) -> f32 {
    let x = mean + deviation * normal;
    let x = if x > greatest { 2.0 * greatest - x } else { x };
    let x = if x < least { 2.0 * least - x } else { x };
    x.clamp(least, greatest.max(least))
}

vectorised! {
    fn gaussian(mean: &[f32], deviation: &[f32], normal: &[f32], out: &mut [f32]) {
        for (((out, mean), deviation), normal) in out.iter_mut().zip(mean).zip(deviation).zip(normal) {
            *out = mean + deviation * normal;
        }
    }
}

vectorised! {
    fn tanh_all(values: &mut [f32]) {
        values.iter_mut().for_each(|x| *x = tanh(*x));
    }
}
