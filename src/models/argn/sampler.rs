//! Generation: column by column, a tile of rows at a time.
//!
//! A drawn code adds to the hidden layers of all later columns what its embedding does there. That is a row of a table
//! made when the model is loaded, so the first layer costs no product at all; only the heads multiply.

use super::{model::ArgnModel, network::Column};
use crate::{
    Result,
    encode::EncodedRows,
    models::{
        BlockSampler,
        tiles::{self, TILE, TileWorker, push_codes},
    },
    noise::{Noise, Purpose, unit},
    torch::{
        Rows, RowsMut,
        kernels::{draw, math::vectorised},
        use_threads, write_rows,
    },
};
use tch::{Device, Kind, Tensor};

/// A table of contributions is made up to this many bytes; above it, embeddings are multiplied as rows need them.
const TABLE_BYTES: usize = 64 << 20;
/// Logits held at once.
const LOGITS: usize = 1 << 22;

/// Runs a trained model.
pub(super) struct Sampler {
    workers: Vec<Worker>,
}

/// What a column's codes add to the hidden layers of the columns after it.
enum Contribution {
    /// By code, `[K, later columns * width]`.
    Table(Tensor),
    /// Embeddings `[K, d]` and their weights `[d, later columns * width]`.
    Product(Tensor, Tensor),
}

/// One thread's share: tensors are shared between workers, buffers are not.
struct Worker {
    columns: Vec<Column>,
    width: usize,
    device: Device,
    /// Biases of all hidden layers, side by side, `[1, columns * width]`.
    bias: Tensor,
    contributions: Vec<Contribution>,
    /// Weight and bias per column.
    heads: Vec<(Tensor, Tensor)>,
    /// Hidden layers before their activation, `[TILE, columns * width]`.
    sums: Tensor,
    /// One hidden layer, `[TILE, width]`.
    hidden: Tensor,
    rows: EncodedRows,
}

impl Sampler {
    pub(super) fn new(model: &ArgnModel, device: Device, threads: usize) -> Result<Self> {
        use_threads(1);
        let _guard = tch::no_grad_guard();
        let twin = |first: &Worker| first.twin(model);
        Ok(Self { workers: tiles::workers(Worker::new(model, device)?, device, threads, twin)? })
    }

    /// Bytes that a sampler of one worker takes.
    pub(super) fn memory(columns: &[Column], width: usize) -> usize {
        let total: usize = columns.iter().map(|column| column.width).sum();
        let tables = columns.iter().enumerate().map(|(k, column)| {
            let later = (columns.len() - 1 - k) * width;
            let heads = (width + 1) * column.cardinality;
            heads + (column.cardinality * later).min(TABLE_BYTES / 4 + column.cardinality * column.width)
        });
        let logits = columns.iter().map(|column| (TILE * column.cardinality).min(2 * LOGITS)).max().unwrap_or(0);
        4 * (tables.sum::<usize>() + total * columns.len() * width + TILE * (columns.len() + 1) * width + logits)
    }
}

impl BlockSampler for Sampler {
    fn sample(&mut self, block: u64, noise: &Noise, out: &mut EncodedRows) -> Result<()> {
        let streams: Vec<_> = (0..out.subcolumns.len()).map(|k| noise.purpose(&format!("argn/code/{k}"))).collect();
        tiles::sample(&mut self.workers, block, &streams, out)
    }
}

impl Worker {
    fn new(model: &ArgnModel, device: Device) -> Result<Self> {
        let (columns, width) = (model.columns().to_vec(), model.width());
        let ready = |name: &str, k: usize| model.weight(name, k)?.tensor(Kind::Float, device);
        let all = |name: &str| (0..columns.len()).map(|k| ready(name, k)).collect::<Result<Vec<_>>>();
        let (inputs, embeddings) = (all("input")?, all("embedding")?);
        let mut contributions = Vec::with_capacity(columns.len());
        for (k, (column, embedding)) in columns.iter().zip(embeddings).enumerate() {
            let place = |input: &Tensor| input.f_narrow(0, column.at as i64, column.width as i64);
            let later = inputs[k + 1..].iter().map(place).collect::<std::result::Result<Vec<_>, _>>()?;
            let weights = match later.as_slice() {
                [] => Tensor::f_zeros([column.width as i64, 0], (Kind::Float, device))?,
                later => Tensor::f_cat(later, 1)?,
            };
            let bytes = 4 * column.cardinality * later.len() * width;
            contributions.push(if bytes <= TABLE_BYTES {
                Contribution::Table(embedding.f_mm(&weights)?)
            } else {
                Contribution::Product(embedding, weights)
            });
        }
        let biases = all("bias")?;
        let bias = match biases.as_slice() {
            [] => Tensor::f_zeros([1, 0], (Kind::Float, device))?,
            biases => Tensor::f_cat(biases, 1)?,
        };
        let heads = all("head")?.into_iter().zip(all("head_bias")?).collect();
        Ok(Self {
            sums: Tensor::f_zeros([TILE as i64, (columns.len() * width) as i64], (Kind::Float, device))?,
            hidden: Tensor::f_zeros([TILE as i64, width as i64], (Kind::Float, device))?,
            rows: EncodedRows::with_capacity(model.layout(), TILE),
            columns,
            width,
            device,
            bias,
            contributions,
            heads,
        })
    }

    /// Another worker on the same weights.
    fn twin(&self, model: &ArgnModel) -> Result<Self> {
        let contribution = |c: &Contribution| match c {
            Contribution::Table(table) => Contribution::Table(table.shallow_clone()),
            Contribution::Product(a, b) => Contribution::Product(a.shallow_clone(), b.shallow_clone()),
        };
        Ok(Self {
            columns: self.columns.clone(),
            width: self.width,
            device: self.device,
            bias: self.bias.shallow_clone(),
            contributions: self.contributions.iter().map(contribution).collect(),
            heads: self.heads.iter().map(|(a, b)| (a.shallow_clone(), b.shallow_clone())).collect(),
            sums: self.sums.f_zeros_like()?,
            hidden: self.hidden.f_zeros_like()?,
            rows: EncodedRows::with_capacity(model.layout(), TILE),
        })
    }

    /// Draws column `k` of all rows.
    fn draw(&mut self, k: usize, bits: &[u32]) -> Result<Vec<u32>> {
        let (at, width) = (k * self.width, self.width as i64);
        let (weight, bias) = &self.heads[k];
        let mut codes = vec![0u32; TILE];
        if self.device != Device::Cpu {
            let hidden = self.sums.f_narrow(1, at as i64, width)?.f_relu()?;
            let cumulated = bias.f_addmm(&hidden, weight)?.f_softmax(-1, Kind::Float)?.f_cumsum(-1, Kind::Float)?;
            let uniform: Vec<f32> = bits.iter().map(|&bits| unit(bits)).collect();
            let uniform = Tensor::f_from_slice(&uniform)?.f_view([-1, 1])?.f_to_device(self.device)?;
            let passed = cumulated.f_le_tensor(&uniform)?.f_sum_dim_intlist(-1, false, Kind::Int64)?;
            let drawn = passed.f_clamp_max(self.columns[k].cardinality as f64 - 1.0)?.f_to_device(Device::Cpu)?;
            let drawn = Vec::<i64>::try_from(&drawn)?;
            codes.iter_mut().zip(drawn).for_each(|(code, drawn)| *code = u32::try_from(drawn).unwrap_or(0));
            return Ok(codes);
        }
        let sums = Rows::<f32>::of(&self.sums)?;
        let mut hidden = RowsMut::<f32>::of(&mut self.hidden)?;
        (0..TILE).for_each(|row| relu(&sums.row(row)[at..at + self.width], hidden.row(row)));
        let bias = Rows::<f32>::of(bias)?;
        let step = (LOGITS / self.columns[k].cardinality.max(1)).max(1).next_multiple_of(16).min(TILE);
        for first in (0..TILE).step_by(step) {
            let rows = first..(first + step).min(TILE);
            let logits = self.hidden.f_narrow(0, first as i64, rows.len() as i64)?.f_mm(weight)?;
            let select = vec![0u32; rows.len()];
            let logits = draw::Logits { main: Rows::<f32>::of(&logits)?, extra: bias, select: &select };
            draw::codes(logits, 0, self.columns[k].cardinality, &bits[rows.clone()], &mut codes[rows]);
        }
        Ok(codes)
    }

    /// Adds what column `k` with these codes means for the columns after it.
    fn contribute(&mut self, k: usize, codes: &[u32]) -> Result<()> {
        let at = (k + 1) * self.width;
        let later = (self.columns.len() - 1 - k) * self.width;
        if later == 0 {
            return Ok(());
        }
        let index = || -> Result<Tensor> {
            let codes: Vec<i64> = codes.iter().map(|&code| i64::from(code)).collect();
            Ok(Tensor::f_from_slice(&codes)?.f_to_device(self.device)?)
        };
        match &self.contributions[k] {
            Contribution::Table(table) if self.device == Device::Cpu => {
                let table = Rows::<f32>::of(table)?;
                write_rows::<f32>(&mut self.sums, |mut sums| {
                    for (row, &code) in codes.iter().enumerate() {
                        add(table.row(code as usize), &mut sums.row(row)[at..]);
                    }
                })?;
            }
            Contribution::Table(table) => {
                let added = table.f_index_select(0, &index()?)?;
                let _ = self.sums.f_narrow(1, at as i64, later as i64)?.f_add_(&added)?;
            }
            Contribution::Product(embedding, weights) => {
                let added = embedding.f_index_select(0, &index()?)?.f_mm(weights)?;
                let _ = self.sums.f_narrow(1, at as i64, later as i64)?.f_add_(&added)?;
            }
        }
        Ok(())
    }
}

impl TileWorker for Worker {
    type Streams = Vec<Purpose>;

    fn tile(&mut self, tile: u64, streams: &Self::Streams) -> Result<()> {
        use_threads(1);
        let _guard = tch::no_grad_guard();
        self.rows.clear();
        self.sums.f_copy_(&self.bias.f_expand_as(&self.sums)?)?;
        let mut bits = vec![0u32; TILE];
        for (k, purpose) in streams.iter().enumerate() {
            purpose.fill_u32(tile, &mut bits);
            let codes = self.draw(k, &bits)?;
            self.contribute(k, &codes)?;
            push_codes(&mut self.rows.subcolumns[k], &codes);
        }
        self.rows.rows = TILE;
        Ok(())
    }

    fn rows(&self) -> &EncodedRows {
        &self.rows
    }
}

vectorised! {
    fn relu(x: &[f32], out: &mut [f32]) {
        out.iter_mut().zip(x).for_each(|(out, x)| *out = x.max(0.0));
    }
}

vectorised! {
    fn add(x: &[f32], out: &mut [f32]) {
        out.iter_mut().zip(x).for_each(|(out, x)| *out += x);
    }
}
