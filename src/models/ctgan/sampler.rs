//! Generation: a block of rows is a pure function of the model, the noise and the block's number.
//!
//! Batch normalisation is folded into the layers. What a condition adds to each layer is a row of a table, what a context
//! adds is a sum of such rows, so only noise and hidden outputs are multiplied. Rows are worked in tiles of a fixed size by single-threaded
//! products, so neither threads nor partitions can change a bit of the result.

use super::{
    conditions::GenerationSampler,
    dense::{Dense, Segment},
    model::Weights,
    tables::Table,
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
        Element, Rows, RowsMut, bf16_is_fast, by_kind,
        kernels::{
            draw,
            math::{tanh, vectorised},
        },
        use_threads, write_rows,
    },
};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// Logits of an embedded column held at once.
const EMBEDDED_LOGITS: usize = 1 << 22;

/// Runs a trained generator.
pub(super) struct Sampler {
    workers: Vec<Worker>,
}

/// One thread's share: tensors are shared between workers, buffers are not.
struct Worker {
    dense: Arc<Dense>,
    conditions: Arc<GenerationSampler>,
    device: Device,
    kind: Kind,
    latent: usize,
    /// Per layer, the head last: weights of noise and earlier outputs, and a table (f32, on the CPU). It has a row for each
    /// condition or, with a context, for each code that is given and one for the constant.
    layers: Vec<(Tensor, Tensor)>,
    /// The head's columns of scalars in f32, where the head itself is not: a scalar rounded to bf16 would show in the data.
    scalars: Option<Tensor>,
    /// Weight (transposed) and bias of every embedded column, f32 on the CPU.
    tables: Vec<(Tensor, Tensor)>,
    matrix: Tensor,
    rows: EncodedRows,
}

/// The streams of one noise.
struct Streams {
    latent: Purpose,
    condition: Purpose,
    codes: Vec<Purpose>,
    /// What is given of the block's rows.
    context: Option<KnownCodes>,
}

impl Streams {
    fn new(noise: &Noise, subcolumns: usize, context: Option<KnownCodes>) -> Self {
        Self {
            latent: noise.purpose("ctgan/latent"),
            condition: noise.purpose("ctgan/condition"),
            codes: (0..subcolumns).map(|i| noise.purpose(&format!("ctgan/code/{i}"))).collect(),
            context,
        }
    }
}

/// What conditions add to the layers of a tile: of row `r`, row `select[r]` of each layer's matrix.
struct Added {
    matrices: Vec<Tensor>,
    select: Vec<u32>,
}

impl Sampler {
    pub(super) fn new(weights: &Weights, device: Device, threads: usize) -> Result<Self> {
        use_threads(1);
        let _guard = tch::no_grad_guard();
        let kind = if bf16_is_fast(device) { Kind::BFloat16 } else { Kind::Float };
        let workers = tiles::workers(Worker::new(weights, device, kind)?, device, threads, Worker::twin)?;
        Ok(Self { workers })
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

impl TileWorker for Worker {
    type Streams = Streams;

    fn tile(&mut self, tile: u64, streams: &Streams) -> Result<()> {
        self.generate(tile, streams)
    }

    fn rows(&self) -> &EncodedRows {
        &self.rows
    }
}

impl Worker {
    fn new(weights: &Weights, device: Device, kind: Kind) -> Result<Self> {
        let dense = &weights.dense;
        let vectors = weights.condition_vectors()?;
        let layer = |weight: &HostTensor| -> Result<(Tensor, Tensor)> {
            let weight = weight.tensor(Kind::Float, Device::Cpu)?;
            let conditions = dense.condition_width as i64;
            let table = if dense.takes_context() {
                weight.f_narrow(0, 0, conditions + 1)?.f_contiguous()?
            } else {
                vectors.f_mm(&weight.f_narrow(0, 0, conditions)?)?.f_add(&weight.f_narrow(0, conditions, 1)?)?
            };
            let at = weights.noise_at as i64;
            let rest = weight.f_narrow(0, at, weight.size()[0] - at)?.f_contiguous()?;
            Ok((rest, table))
        };
        let ready = |tensor: &Tensor| tensor.f_to_kind(kind)?.f_to_device(device);
        let mut layers = Vec::new();
        for folded in weights.folded_hidden()? {
            let (weight, table) = layer(&folded)?;
            layers.push((ready(&weight)?, table));
        }
        let (head, table) = layer(&weights.head)?;
        layers.push((ready(&head)?, table));
        let positions: Vec<i64> = dense.scalars().iter().map(|&at| at as i64).collect();
        let scalars = if positions.is_empty() || kind == Kind::Float {
            None
        } else {
            Some(head.f_index_select(1, &Tensor::f_from_slice(&positions)?)?.f_to_device(device)?)
        };
        let tables = weights
            .tables
            .iter()
            .map(|(weight, bias)| {
                let weight = weight.tensor(Kind::Float, Device::Cpu)?;
                Ok((weight.f_tr()?, bias.tensor(Kind::Float, Device::Cpu)?))
            })
            .collect::<Result<_>>()?;
        let width = head.size()[0];
        Ok(Self {
            dense: dense.clone(),
            conditions: Arc::new(GenerationSampler::new(dense, &weights.frequencies.data)),
            device,
            kind,
            latent: weights.latent,
            layers,
            scalars,
            tables,
            matrix: Tensor::f_zeros([TILE as i64, width], (kind, device))?,
            rows: EncodedRows::with_capacity(&weights.layout, TILE),
        })
    }

    /// Another worker on the same weights.
    fn twin(&self) -> Result<Self> {
        let pair = |(a, b): &(Tensor, Tensor)| (a.shallow_clone(), b.shallow_clone());
        Ok(Self {
            dense: self.dense.clone(),
            conditions: self.conditions.clone(),
            device: self.device,
            kind: self.kind,
            latent: self.latent,
            layers: self.layers.iter().map(pair).collect(),
            scalars: self.scalars.as_ref().map(Tensor::shallow_clone),
            tables: self.tables.iter().map(pair).collect(),
            matrix: self.matrix.f_zeros_like()?,
            rows: self.rows.clone(),
        })
    }

    fn generate(&mut self, tile: u64, streams: &Streams) -> Result<()> {
        use_threads(1);
        let _guard = tch::no_grad_guard();
        self.rows.clear();
        let wanted = streams.context.as_ref().map_or(TILE, |known| rows_in(tile, known.rows()));
        self.rows.rows = wanted;
        if let Some(context) = &streams.context {
            self.dense.context.copy((context, tile, wanted), &mut self.rows);
        }
        if self.dense.width == 0 {
            return Ok(());
        }
        let added = self.added(tile, streams, padded(wanted))?;
        let rows = added.select.len() as i64;
        let latent = self.latent;
        let matrix = self.matrix.f_narrow(0, 0, rows)?;
        let mut place = matrix.f_narrow(1, 0, latent as i64)?;
        by_kind!(self.kind, T => write_rows::<T>(&mut place, |mut rows| {
            T::latent(&streams.latent, tile, latent, &mut rows);
        }))?;
        let mut at = latent as i64;
        let mut layers = self.layers.iter().zip(&added.matrices);
        let head = layers.next_back();
        for ((weight, _), table) in layers {
            let y = matrix.f_narrow(1, 0, at)?.f_mm(weight)?;
            let mut place = matrix.f_narrow(1, at, weight.size()[1])?;
            at += weight.size()[1];
            if self.device == Device::Cpu {
                by_kind!(self.kind, T => {
                    add_relu::<T>(Rows::of(&y)?, Rows::of(table)?, &added.select, RowsMut::of(&mut place)?);
                    Ok(())
                })?;
            } else {
                let chosen: Vec<i64> = added.select.iter().map(|&s| i64::from(s)).collect();
                let added = table.f_index_select(0, &Tensor::f_from_slice(&chosen)?)?.f_to_device(self.device)?;
                place.f_copy_(&y.f_add(&added)?.f_relu()?)?;
            }
        }
        let Some(((weight, _), extra)) = head else { return Ok(()) };
        let logits = matrix.f_mm(weight)?.f_to_device(Device::Cpu)?;
        let scalars = match &self.scalars {
            Some(weight) => Some(matrix.f_to_kind(Kind::Float)?.f_mm(weight)?.f_to_device(Device::Cpu)?),
            None => None,
        };
        by_kind!(self.kind, T => {
            let logits = draw::Logits { main: Rows::<T>::of(&logits)?, extra: Rows::of(extra)?, select: &added.select };
            self.draw::<T>(tile, streams, logits, scalars.as_ref())
        })?;
        self.rows.subcolumns.iter_mut().for_each(|column| column.truncate(wanted));
        Ok(())
    }

    /// What the conditions of a tile of `rows` rows add.
    fn added(&self, tile: u64, streams: &Streams, rows: usize) -> Result<Added> {
        let Some(context) = &streams.context else {
            let mut bits = vec![0u32; 2 * rows];
            streams.condition.fill_u32(tile, &mut bits);
            let draw = |&pair| self.conditions.draw(&self.dense, pair);
            return Ok(Added {
                matrices: self.layers.iter().map(|(_, table)| table.shallow_clone()).collect(),
                select: bits.as_chunks::<2>().0.iter().map(draw).collect(),
            });
        };
        let constant = self.dense.condition_width;
        let given = self.dense.context.sparse((context, tile, rows), constant + 1, |given| given.push(constant, 1.0));
        let matrix = |(_, table): &(Tensor, Tensor)| {
            let mut out = Tensor::f_empty([rows as i64, table.size()[1]], (Kind::Float, Device::Cpu))?;
            given.product(table, &mut out)?;
            Ok(out)
        };
        Ok(Added {
            matrices: self.layers.iter().map(matrix).collect::<Result<_>>()?,
            select: (0..rows as u32).collect(),
        })
    }

    fn draw<T: Element>(
        &mut self,
        tile: u64,
        streams: &Streams,
        logits: draw::Logits<'_, T>,
        scalars: Option<&Tensor>,
    ) -> Result<()> {
        let select = logits.select;
        let count = select.len();
        let (mut bits, mut codes) = (vec![0u32; count], vec![0u32; count]);
        let mut scalar = 0;
        for (index, &segment) in self.dense.segments.iter().enumerate() {
            match segment {
                Segment::Given => {}
                Segment::Scalar { at } => {
                    let SubColumnData::Scalar(out) = &mut self.rows.subcolumns[index] else { continue };
                    let added = (select.iter()).map(|&which| logits.extra.row(which as usize)[at]);
                    match scalars {
                        Some(scalars) => {
                            let values = Rows::<f32>::of(scalars)?;
                            out.extend(added.enumerate().map(|(r, added)| values.row(r)[scalar] + added));
                        }
                        None => out.extend(added.enumerate().map(|(r, added)| logits.main.row(r)[at].to_f32() + added)),
                    }
                    scalar += 1;
                    tanh_all(out);
                }
                Segment::OneHot { at, cardinality, .. } => {
                    streams.codes[index].fill_u32(tile, &mut bits);
                    draw::codes(logits, at, cardinality, &bits, &mut codes);
                    push_codes(&mut self.rows.subcolumns[index], &codes);
                }
                Segment::Embedded { table } => {
                    let Table { at, width, cardinality, .. } = self.dense.tables[table];
                    streams.codes[index].fill_u32(tile, &mut bits);
                    let (weight, bias) = &self.tables[table];
                    let bias = Rows::<f32>::of(bias)?;
                    let step = (EMBEDDED_LOGITS / cardinality).next_multiple_of(16).min(TILE);
                    for first in (0..count).step_by(step) {
                        let rows = first..(first + step).min(count);
                        let mut query = Vec::with_capacity(rows.len() * width);
                        for r in rows.clone() {
                            let extra = &logits.extra.row(select[r] as usize)[at..at + width];
                            let main = &logits.main.row(r)[at..at + width];
                            query.extend(main.iter().zip(extra).map(|(m, e)| m.to_f32() + e));
                        }
                        let all = Tensor::f_from_slice(&query)?.f_view([-1, width as i64])?.f_mm(weight)?;
                        let zeros = vec![0u32; rows.len()];
                        let all = draw::Logits { main: Rows::<f32>::of(&all)?, extra: bias, select: &zeros };
                        draw::codes(all, 0, cardinality, &bits[rows.clone()], &mut codes[rows]);
                    }
                    push_codes(&mut self.rows.subcolumns[index], &codes);
                }
            }
        }
        Ok(())
    }
}

fn add_relu<T: Element>(x: Rows<'_, T>, table: Rows<'_, f32>, select: &[u32], mut out: RowsMut<'_, T>) {
    for (r, &which) in select.iter().enumerate() {
        add_relu_row(x.row(r), table.row(which as usize), out.row(r));
    }
}

vectorised! {
    fn add_relu_row<T: Element>(x: &[T], added: &[f32], out: &mut [T]) {
        for ((out, x), added) in out.iter_mut().zip(x).zip(added) {
            *out = T::from_f32((x.to_f32() + added).max(0.0));
        }
    }
}

vectorised! {
    fn tanh_all(values: &mut [f32]) {
        values.iter_mut().for_each(|x| *x = tanh(*x));
    }
}

/// Latent noise in the kind that the generator multiplies in.
trait Latent: Element {
    fn latent(purpose: &Purpose, tile: u64, width: usize, rows: &mut RowsMut<'_, Self>);
}

impl Latent for f32 {
    fn latent(purpose: &Purpose, tile: u64, width: usize, rows: &mut RowsMut<'_, Self>) {
        let mut values = vec![0.0; rows.rows() * width];
        purpose.fill_normal(tile, &mut values);
        values.chunks(width).enumerate().for_each(|(r, values)| rows.row(r).copy_from_slice(values));
    }
}

impl Latent for half::bf16 {
    fn latent(purpose: &Purpose, tile: u64, width: usize, rows: &mut RowsMut<'_, Self>) {
        let mut values = vec![Self::ZERO; rows.rows() * width];
        purpose.fill_normal_bf16(tile, &mut values);
        values.chunks(width).enumerate().for_each(|(r, values)| rows.row(r).copy_from_slice(values));
    }
}
