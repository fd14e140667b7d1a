//! Generation: a block of rows is a pure function of the model, the noise and the block's number.
//!
//! A latent vector is drawn from the prior (a component, then its Gaussian), and every column from the distribution that the decoder makes of it: codes from
//! their softmax, a scalar from the Gaussian of the mode that was drawn.

use super::{
    dense::{Dense, Part},
    kernels::LOG_DEVIATIONS,
    model::{BOUNDS, TvaeModel},
    network::CONTEXT,
};
use crate::{
    Result,
    encode::{EncodedRows, KnownCodes, SubColumnData},
    models::{
        BlockSampler, ContextSampler, HostTensor,
        tiles::{self, TILE, TileWorker, padded, push_codes, rows_in},
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
    /// The first layer's weight of the context, on the CPU, where there is one.
    context: Option<Tensor>,
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
    /// What is given of the block's rows.
    context: Option<KnownCodes>,
}

impl Streams {
    fn new(noise: &Noise, subcolumns: usize, context: Option<KnownCodes>) -> Self {
        Self {
            component: noise.purpose("tvae/component"),
            latent: noise.purpose("tvae/latent"),
            draws: (0..subcolumns).map(|i| noise.purpose(&format!("tvae/draw/{i}"))).collect(),
            context,
        }
    }
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
        let streams = Streams::new(noise, out.subcolumns.len(), None);
        tiles::sample(&mut self.workers, block, BLOCK_ROWS, &streams, out)
    }
}

impl ContextSampler for Sampler {
    fn complete(&mut self, block: u64, noise: &Noise, known: &KnownCodes, out: &mut EncodedRows) -> Result<()> {
        let streams = Streams::new(noise, out.subcolumns.len(), Some(known.clone()));
        tiles::sample(&mut self.workers, block, known.rows(), &streams, out)
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
            context: if dense.context.width > 0 { Some(tensor(CONTEXT, Device::Cpu)?) } else { None },
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
            context: self.context.as_ref().map(Tensor::shallow_clone),
            head: pair(&self.head),
            slots: self.slots.clone(),
            tables: self.tables.iter().map(pair).collect(),
            latent: self.latent.f_zeros_like()?,
            rows: self.rows.clone(),
        })
    }

    /// The decoder's output for the latent vectors of a tile, without the head's bias: `[count, width]`, on the CPU.
    fn decode(&mut self, tile: u64, count: usize, streams: &Streams) -> Result<Tensor> {
        let mut bits = vec![0u32; count];
        streams.component.fill_u32(tile, &mut bits);
        let (cumulated, means, deviations) = &self.prior;
        let (means, deviations) = (Rows::<f32>::of(means)?, Rows::<f32>::of(deviations)?);
        let width = means.columns();
        let mut normal = vec![0f32; count * width];
        streams.latent.fill_normal(tile, &mut normal);
        let mut latent = self.latent.f_narrow(0, 0, count as i64)?;
        write_rows::<f32>(&mut latent, |mut rows| {
            for (r, (normal, &bits)) in normal.chunks(width).zip(&bits).enumerate() {
                let uniform = f64::from(bits) / 4_294_967_296.0;
                let component = cumulated.partition_point(|&c| c <= uniform).min(cumulated.len() - 1);
                gaussian(means.row(component), deviations.row(component), normal, rows.row(r));
            }
        })?;
        let mut x = latent.f_to_device(self.device)?;
        let mut added = self.added(tile, count, streams)?;
        for (weight, bias) in &self.layers {
            x = bias.f_addmm(&x, weight)?;
            if let Some(added) = added.take() {
                let _ = x.f_add_(&added)?;
            }
            let _ = x.f_relu_()?;
        }
        Ok(x.f_mm(&self.head.0)?.f_to_device(Device::Cpu)?)
    }

    /// What the contexts of a tile add to the first layer: `[count, width]`; none where there are none.
    fn added(&self, tile: u64, count: usize, streams: &Streams) -> Result<Option<Tensor>> {
        let (Some(weight), Some(known)) = (&self.context, &streams.context) else { return Ok(None) };
        let given = self.dense.context.sparse((known, tile, count), self.dense.context.width, |_| ());
        let mut out = Tensor::f_empty([count as i64, weight.size()[1]], (Kind::Float, Device::Cpu))?;
        given.product(weight, &mut out)?;
        Ok(Some(out.f_to_device(self.device)?))
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
        for first in (0..bits.len()).step_by(step) {
            let rows = first..(first + step).min(bits.len());
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
        let wanted = streams.context.as_ref().map_or(TILE, |known| rows_in(tile, known.rows()));
        let count = padded(wanted);
        self.rows.rows = wanted;
        if let Some(context) = &streams.context {
            self.dense.context.copy((context, tile, wanted), &mut self.rows);
        }
        if self.dense.width == 0 {
            return Ok(());
        }
        let decoded = self.decode(tile, count, streams)?;
        let (decoded, head_bias) = (Rows::<f32>::of(&decoded)?, self.head.1.shallow_clone());
        let extra = Rows::<f32>::of(&head_bias)?;
        let bias = extra.row(0);
        let logits = draw::Logits { main: decoded, extra, select: &[0u32; TILE][..count] };
        let (mut bits, mut normal, mut values) = (vec![0u32; count], vec![0f32; count], vec![0f32; count]);
        // Those of the sub-column before: what a scalar's slots go by.
        let mut codes = vec![0u32; count];
        for (index, part) in self.dense.parts.clone().into_iter().enumerate() {
            match part {
                Part::Given => {}
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
        self.rows.subcolumns.iter_mut().for_each(|column| column.truncate(wanted));
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
