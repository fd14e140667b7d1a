//! Generation: column by column, a tile of rows at a time.
//!
//! A known code adds to the hidden layers of the columns that are still to come what its embedding does there. That is a
//! row of a table made when the model is loaded, so the first layer costs no product at all; only the heads multiply.
//! Columns that a question knows are added before the first draw: the networks have learned every order.

use super::{model::ArgnModel, network::Column};
use crate::{
    Result, SynthError,
    encode::{EncodedRows, KnownCodes, UNKNOWN},
    models::{
        AnyOrderSampler, BlockSampler, SamplerSettings,
        tiles::{self, TILE, TILES, TileWorker, push_codes},
    },
    noise::{BLOCK_ROWS, Noise, Purpose, unit},
    torch::{
        Rows, RowsMut,
        kernels::{draw, math::vectorised},
        resolve, use_threads, write_rows,
    },
};
use std::ops::Range;
use tch::{Device, Kind, Tensor};

/// A table of contributions is made up to this many bytes; above it, embeddings are multiplied as rows need them.
const TABLE_BYTES: usize = 64 << 20;
/// Logits held at once.
const LOGITS: usize = 1 << 22;
/// Tiles that are not full are padded to a multiple of this many rows.
const PADDING: usize = 64;
/// The logit of a code that must not be drawn.
const NEVER: f64 = -1e30;

/// Runs a trained model.
pub(super) struct Sampler {
    workers: Vec<Worker>,
}

/// Which columns a code can tell something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Those after it: enough to generate in the table's order.
    Later,
    /// All: what questions need.
    All,
}

impl Reach {
    /// The first of the columns after the `given` ones that column `k` tells something.
    fn first(self, k: usize, given: usize) -> usize {
        match self {
            Self::Later => given.max(k + 1),
            Self::All => given,
        }
    }
}

/// What a column's codes add to the hidden layers of the columns they reach.
enum Contribution {
    /// By code, `[K, reached columns * width]`.
    Table(Tensor),
    /// Embeddings `[K, d]` and their weights `[d, reached columns * width]`.
    Product(Tensor, Tensor),
}

/// One thread's share: tensors are shared between workers, buffers are not.
struct Worker {
    columns: Vec<Column>,
    /// The first so many columns have no hidden layer and no head: they are never drawn.
    given: usize,
    width: usize,
    device: Device,
    reach: Reach,
    /// Biases of all hidden layers, side by side, `[1, drawn columns * width]`.
    bias: Tensor,
    contributions: Vec<Contribution>,
    /// Weight and bias per drawn column.
    heads: Vec<(Tensor, Tensor)>,
    /// Hidden layers before their activation, `[TILE, drawn columns * width]`.
    sums: Tensor,
    /// One hidden layer, `[TILE, width]`.
    hidden: Tensor,
    rows: EncodedRows,
}

/// The noise of a block, and what is known of its rows.
struct Question {
    streams: Vec<Purpose>,
    known: KnownCodes,
}

impl Question {
    /// The codes of column `k` that are known in tile `tile`, padded with [`UNKNOWN`] to `rows` rows.
    fn known(&self, k: usize, tile: u64, rows: usize) -> Option<Vec<u32>> {
        let codes = self.known.subcolumn(k)?;
        let mut known = vec![UNKNOWN; rows];
        let codes = codes.get(first_row(tile)..).unwrap_or_default();
        known.iter_mut().zip(codes).for_each(|(known, &code)| *known = code);
        Some(known)
    }
}

/// Where tile `tile` begins in its block.
fn first_row(tile: u64) -> usize {
    (tile % TILES as u64) as usize * TILE
}

impl Sampler {
    pub(super) fn new(model: &ArgnModel, reach: Reach, settings: &SamplerSettings) -> Result<Self> {
        use_threads(1);
        let _guard = tch::no_grad_guard();
        let device = resolve(settings.device)?;
        let twin = |first: &Worker| first.twin(model);
        let first = Worker::new(model, reach, settings, device)?;
        Ok(Self { workers: tiles::workers(first, device, settings.threads, twin)? })
    }

    /// Bytes that a sampler of one worker takes.
    pub(super) fn memory(columns: &[Column], given: usize, width: usize) -> usize {
        let total: usize = columns.iter().map(|column| column.width).sum();
        let tables = columns.iter().enumerate().map(|(k, column)| {
            let reach = if given == 0 { Reach::All } else { Reach::Later };
            let reached = (columns.len() - reach.first(k, given)) * width;
            let heads = (width + 1) * column.cardinality;
            heads + (column.cardinality * reached).min(TABLE_BYTES / 4 + column.cardinality * column.width)
        });
        let logits = columns.iter().map(|column| (TILE * column.cardinality).min(2 * LOGITS)).max().unwrap_or(0);
        let drawn = columns.len() - given;
        4 * (tables.sum::<usize>() + total * drawn * width + TILE * (drawn + 1) * width + logits)
    }

    fn streams(&self, noise: &Noise) -> Vec<Purpose> {
        let columns = self.workers.first().map_or(0, |worker| worker.columns.len());
        (0..columns).map(|k| noise.purpose(&format!("argn/code/{k}"))).collect()
    }

    fn first(&mut self) -> Result<&mut Worker> {
        self.workers.first_mut().ok_or_else(|| SynthError::Internal("a sampler without a worker".to_owned()))
    }
}

impl BlockSampler for Sampler {
    fn sample(&mut self, block: u64, noise: &Noise, out: &mut EncodedRows) -> Result<()> {
        let question = Question { streams: self.streams(noise), known: KnownCodes::default() };
        tiles::sample(&mut self.workers, block, BLOCK_ROWS, &question, out)
    }
}

impl AnyOrderSampler for Sampler {
    fn complete(&mut self, block: u64, noise: &Noise, known: &KnownCodes, out: &mut EncodedRows) -> Result<()> {
        let question = Question { streams: self.streams(noise), known: known.clone() };
        // With a context the caller decides how many rows there are, whatever is asked for; without one, LIMIT would.
        let rows = if self.first()?.given == 0 { BLOCK_ROWS } else { known.rows() };
        tiles::sample(&mut self.workers, block, rows, &question, out)
    }

    fn distribution(&mut self, known: &KnownCodes, subcolumn: usize) -> Result<Vec<f32>> {
        let worker = self.first()?;
        let mut out = Vec::with_capacity(known.rows() * worker.columns[subcolumn].cardinality);
        for first in (0..known.rows()).step_by(TILE) {
            let part = known.slice(first..(first + TILE).min(known.rows()));
            out.extend(worker.distribution(&part, subcolumn)?);
        }
        Ok(out)
    }

    fn log_probability(&mut self, known: &KnownCodes) -> Result<Vec<f64>> {
        let worker = self.first()?;
        let mut out = Vec::with_capacity(known.rows());
        for first in (0..known.rows()).step_by(TILE) {
            let part = known.slice(first..(first + TILE).min(known.rows()));
            out.extend(worker.log_probability(&part)?);
        }
        Ok(out)
    }
}

impl Worker {
    fn new(model: &ArgnModel, reach: Reach, settings: &SamplerSettings, device: Device) -> Result<Self> {
        let (columns, given, width) = (model.columns().to_vec(), model.given(), model.width());
        let ready = |name: &str, k: usize| model.weight(name, k)?.tensor(Kind::Float, device);
        let all = |name: &str| (given..columns.len()).map(|k| ready(name, k)).collect::<Result<Vec<_>>>();
        let inputs = all("input")?;
        let embeddings = (0..columns.len()).map(|k| ready("embedding", k)).collect::<Result<Vec<_>>>()?;
        let mut contributions = Vec::with_capacity(columns.len());
        for (k, (column, embedding)) in columns.iter().zip(embeddings).enumerate() {
            let place = |input: &Tensor| input.f_narrow(0, column.at as i64, column.width as i64);
            let reached = inputs[reach.first(k, given) - given..]
                .iter()
                .map(place)
                .collect::<std::result::Result<Vec<_>, _>>()?;
            let weights = match reached.as_slice() {
                [] => Tensor::f_zeros([column.width as i64, 0], (Kind::Float, device))?,
                reached => Tensor::f_cat(reached, 1)?,
            };
            let bytes = 4 * column.cardinality * reached.len() * width;
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
        let heads = all("head")?.into_iter().zip(all("head_bias")?);
        let heads = match settings.temperature {
            1.0 => heads.collect(),
            temperature => heads
                .map(|(weight, bias)| {
                    Ok((weight.f_div_scalar(f64::from(temperature))?, bias.f_div_scalar(f64::from(temperature))?))
                })
                .collect::<Result<Vec<_>>>()?,
        };
        for &(k, code) in &settings.never {
            let head = k.checked_sub(given).and_then(|drawn| heads.get(drawn));
            let (_, bias) = head.ok_or_else(|| SynthError::Internal(format!("no sub-column {k}")))?;
            let _ = bias.f_narrow(1, i64::from(code), 1)?.f_fill_(NEVER)?;
        }
        Ok(Self {
            sums: Tensor::f_zeros([TILE as i64, ((columns.len() - given) * width) as i64], (Kind::Float, device))?,
            hidden: Tensor::f_zeros([TILE as i64, width as i64], (Kind::Float, device))?,
            rows: EncodedRows::with_capacity(model.layout(), TILE),
            columns,
            given,
            width,
            device,
            reach,
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
            given: self.given,
            width: self.width,
            device: self.device,
            reach: self.reach,
            bias: self.bias.shallow_clone(),
            contributions: self.contributions.iter().map(contribution).collect(),
            heads: self.heads.iter().map(|(a, b)| (a.shallow_clone(), b.shallow_clone())).collect(),
            sums: self.sums.f_zeros_like()?,
            hidden: self.hidden.f_zeros_like()?,
            rows: EncodedRows::with_capacity(model.layout(), TILE),
        })
    }

    /// Forgets all that was contributed.
    fn begin(&mut self) -> Result<()> {
        Ok(self.sums.f_copy_(&self.bias.f_expand_as(&self.sums)?)?)
    }

    /// The hidden layer of column `k` in the first `rows` rows.
    fn hidden(&mut self, k: usize, rows: usize) -> Result<()> {
        let (at, width) = ((k - self.given) * self.width, self.width);
        if self.device != Device::Cpu {
            let hidden = self.sums.f_narrow(1, at as i64, width as i64)?.f_relu()?;
            return Ok(self.hidden.f_copy_(&hidden)?);
        }
        let sums = Rows::<f32>::of(&self.sums)?;
        let mut hidden = RowsMut::<f32>::of(&mut self.hidden)?;
        (0..rows).for_each(|row| relu(&sums.row(row)[at..at + width], hidden.row(row)));
        Ok(())
    }

    /// Tiles are worked on in parts of this many rows, so that the logits of column `k` stay small.
    fn rows_at_once(&self, k: usize) -> usize {
        (LOGITS / self.columns[k].cardinality.max(1)).max(1).next_multiple_of(16).min(TILE)
    }

    /// Draws column `k` of as many rows as there are `bits`.
    fn draw(&mut self, k: usize, bits: &[u32]) -> Result<Vec<u32>> {
        let rows = bits.len();
        self.hidden(k, rows)?;
        let (weight, bias) = &self.heads[k - self.given];
        let mut codes = vec![0u32; rows];
        if self.device != Device::Cpu {
            let hidden = self.hidden.f_narrow(0, 0, rows as i64)?;
            let logits = bias.f_addmm(&hidden, weight)?;
            let cumulated = logits.f_softmax(-1, Kind::Float)?.f_cumsum(-1, Kind::Float)?;
            let uniform: Vec<f32> = bits.iter().map(|&bits| unit(bits)).collect();
            let uniform = Tensor::f_from_slice(&uniform)?.f_view([-1, 1])?.f_to_device(self.device)?;
            let passed = cumulated.f_le_tensor(&uniform)?.f_sum_dim_intlist(-1, false, Kind::Int64)?;
            let drawn = passed.f_clamp_max(self.columns[k].cardinality as f64 - 1.0)?.f_to_device(Device::Cpu)?;
            let drawn = Vec::<i64>::try_from(&drawn)?;
            codes.iter_mut().zip(drawn).for_each(|(code, drawn)| *code = u32::try_from(drawn).unwrap_or(0));
            return Ok(codes);
        }
        let bias = Rows::<f32>::of(bias)?;
        let step = self.rows_at_once(k);
        for first in (0..rows).step_by(step) {
            let part = first..(first + step).min(rows);
            let logits = self.hidden.f_narrow(0, first as i64, part.len() as i64)?.f_mm(weight)?;
            let select = vec![0u32; part.len()];
            let logits = draw::Logits { main: Rows::<f32>::of(&logits)?, extra: bias, select: &select };
            draw::codes(logits, 0, self.columns[k].cardinality, &bits[part.clone()], &mut codes[part]);
        }
        Ok(codes)
    }

    /// Adds what the known ones of column `k`'s codes mean for the columns `to`.
    fn contribute(&mut self, k: usize, codes: &[u32], to: Range<usize>) -> Result<()> {
        if to.is_empty() {
            return Ok(());
        }
        let (at, length) = ((to.start - self.given) * self.width, to.len() * self.width);
        let from = (to.start - self.reach.first(k, self.given)) * self.width;
        if let (Contribution::Table(table), Device::Cpu) = (&self.contributions[k], self.device) {
            let table = Rows::<f32>::of(table)?;
            return write_rows::<f32>(&mut self.sums, |mut sums| {
                for (row, &code) in codes.iter().enumerate().filter(|(_, code)| **code != UNKNOWN) {
                    add(&table.row(code as usize)[from..from + length], &mut sums.row(row)[at..at + length]);
                }
            });
        }
        let index: Vec<i64> = codes.iter().map(|&code| if code == UNKNOWN { 0 } else { i64::from(code) }).collect();
        let index = Tensor::f_from_slice(&index)?.f_to_device(self.device)?;
        let known: Vec<f32> = codes.iter().map(|&code| f32::from(u8::from(code != UNKNOWN))).collect();
        let known = Tensor::f_from_slice(&known)?.f_view([-1, 1])?.f_to_device(self.device)?;
        let added = match &self.contributions[k] {
            Contribution::Table(table) => table.f_narrow(1, from as i64, length as i64)?.f_index_select(0, &index)?,
            Contribution::Product(embedding, weights) => {
                embedding.f_index_select(0, &index)?.f_mm(&weights.f_narrow(1, from as i64, length as i64)?)?
            }
        };
        let mut sums = self.sums.f_narrow(0, 0, codes.len() as i64)?.f_narrow(1, at as i64, length as i64)?;
        let _ = sums.f_addcmul_(&added, &known)?;
        Ok(())
    }

    /// Log-probabilities of column `k`'s codes for the first `rows` rows, `[rows, K]`.
    fn log_probabilities(&mut self, k: usize, rows: Range<usize>) -> Result<Vec<f32>> {
        let (weight, bias) = &self.heads[k - self.given];
        let hidden = self.hidden.f_narrow(0, rows.start as i64, rows.len() as i64)?;
        let logs = bias.f_addmm(&hidden, weight)?.f_log_softmax(-1, Kind::Float)?.f_to_device(Device::Cpu)?;
        Ok(Vec::<f32>::try_from(logs.f_contiguous()?.f_view([-1])?)?)
    }

    /// Probabilities of column `k`'s codes in up to [`TILE`] rows given what is known, `[rows * K]`.
    fn distribution(&mut self, known: &KnownCodes, k: usize) -> Result<Vec<f32>> {
        use_threads(1);
        let _guard = tch::no_grad_guard();
        self.begin()?;
        for other in (0..self.columns.len()).filter(|&other| other != k) {
            if let Some(codes) = known.subcolumn(other) {
                self.contribute(other, codes, k..k + 1)?;
            }
        }
        self.hidden(k, known.rows())?;
        let mut out = Vec::with_capacity(known.rows() * self.columns[k].cardinality);
        for first in (0..known.rows()).step_by(self.rows_at_once(k)) {
            let rows = first..(first + self.rows_at_once(k)).min(known.rows());
            out.extend(self.log_probabilities(k, rows)?.into_iter().map(f32::exp));
        }
        Ok(out)
    }

    /// Log-probabilities of the known codes of up to [`TILE`] rows: the chain rule in the table's order.
    fn log_probability(&mut self, known: &KnownCodes) -> Result<Vec<f64>> {
        use_threads(1);
        let _guard = tch::no_grad_guard();
        self.begin()?;
        let mut out = vec![0f64; known.rows()];
        for k in 0..self.columns.len() {
            let Some(codes) = known.subcolumn(k) else { continue };
            self.hidden(k, known.rows())?;
            for first in (0..known.rows()).step_by(self.rows_at_once(k)) {
                let rows = first..(first + self.rows_at_once(k)).min(known.rows());
                let logs = self.log_probabilities(k, rows.clone())?;
                for (row, logs) in rows.zip(logs.chunks(self.columns[k].cardinality)) {
                    out[row] += logs.get(codes[row] as usize).map_or(0.0, |&log| f64::from(log));
                }
            }
            self.contribute(k, codes, k + 1..self.columns.len())?;
        }
        Ok(out)
    }
}

impl TileWorker for Worker {
    type Streams = Question;

    fn tile(&mut self, tile: u64, question: &Self::Streams) -> Result<()> {
        use_threads(1);
        let _guard = tch::no_grad_guard();
        self.rows.clear();
        self.begin()?;
        let (columns, given) = (self.columns.len(), self.given);
        let wanted = if given == 0 { TILE } else { (question.known.rows() - first_row(tile)).min(TILE) };
        let rows = wanted.next_multiple_of(PADDING).min(TILE);
        let known: Vec<_> = (0..columns).map(|k| question.known(k, tile, rows)).collect();
        for (k, codes) in known.iter().enumerate() {
            if let Some(codes) = codes {
                self.contribute(k, codes, self.reach.first(k, given)..columns)?;
            }
        }
        for (k, known) in known.iter().take(given).enumerate() {
            let code = |code: &u32| if *code == UNKNOWN { 0 } else { *code };
            let codes = known.as_ref().map_or_else(|| vec![0; wanted], |known| known.iter().map(code).collect());
            push_codes(&mut self.rows.subcolumns[k], &codes[..wanted]);
        }
        let mut bits = vec![0u32; rows];
        for (k, purpose) in question.streams.iter().enumerate().skip(given) {
            if let Some(known) = known[k].as_ref().filter(|known| !known[..wanted].contains(&UNKNOWN)) {
                push_codes(&mut self.rows.subcolumns[k], &known[..wanted]);
                continue;
            }
            purpose.fill_u32(tile, &mut bits);
            let mut codes = self.draw(k, &bits)?;
            if let Some(known) = &known[k] {
                let drawn =
                    codes.iter().zip(known).map(|(&code, &known)| if known == UNKNOWN { code } else { UNKNOWN });
                self.contribute(k, &drawn.collect::<Vec<_>>(), k + 1..columns)?;
                let known = known.iter().zip(&mut codes).filter(|(known, _)| **known != UNKNOWN);
                known.for_each(|(&known, code)| *code = known);
            } else {
                self.contribute(k, &codes, k + 1..columns)?;
            }
            push_codes(&mut self.rows.subcolumns[k], &codes[..wanted]);
        }
        self.rows.rows = wanted;
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
