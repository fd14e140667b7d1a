//! Generation: column by column, a tile of rows at a time.
//!
//! The hidden layer of a column is its bias and, for every column whose code is known by then, what the embedding of that
//! code does there. That is a row of a table made when the model is loaded, so the first layer costs no product at all: it
//! is gathered from tables that stay in the processor's cache. Only the heads multiply. Columns that a question knows
//! count from the first draw on: the networks have learned every order.

mod candidates;

use super::{
    activation::Activation,
    model::ArgnModel,
    network::Column,
    zeros::{Masks, NEVER, lost, members, only},
};
use crate::{
    Result, SynthError,
    encode::{EncodedRows, KnownCodes, UNKNOWN},
    models::{
        AnyOrderSampler, BlockSampler, ContextSampler, SamplerSettings,
        tiles::{self, TILE, TileWorker, first_row, padded, push_codes, rows_in},
    },
    noise::{BLOCK_ROWS, Noise, Purpose, unit},
    torch::{
        Rows, RowsMut,
        kernels::{draw, math::vectorised},
        multiply, resolve, use_threads,
    },
};
use std::{ops::Range, sync::Arc};
use tch::{Device, Kind, Tensor};

/// A table of contributions is made up to this many bytes; above it, embeddings are multiplied as rows need them.
const TABLE_BYTES: usize = 64 << 20;
/// Logits held at once: few enough for the processor's cache.
const LOGITS: usize = 1 << 16;

/// Runs a trained model.
pub(super) struct Sampler {
    workers: Vec<Worker>,
    /// The columns, in the order that they are drawn in.
    order: Vec<usize>,
    /// Of the candidates that rows get; of none where one alone would.
    shifts: Arc<Vec<Vec<u32>>>,
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

/// One thread's share: weights are shared between workers, what is known of a tile is not.
struct Worker {
    columns: Vec<Column>,
    /// The first so many columns have no hidden layer and no head: they are never drawn.
    given: usize,
    device: Device,
    reach: Reach,
    activation: Activation,
    /// What columns make of those before them, per drawn column.
    layers: Vec<Layer>,
    masks: Arc<Masks>,
    /// The codes that may be drawn, by column.
    all: Vec<Box<[u64]>>,
    /// What a column's codes add to the hidden layers of the columns they reach, `[reached columns * K, width]`; none where
    /// that is multiplied as rows need it.
    tables: Vec<Option<Tensor>>,
    /// Of the columns without a table: `[K, d]`, and where it is in `vectors`.
    embeddings: Vec<Option<(Tensor, usize)>>,
    /// What is known of the tile's codes, by column; empty if nothing is.
    codes: Vec<Vec<u32>>,
    /// Embeddings of the known codes of columns without a table, side by side, `[TILE, D]`; 0 where nothing is known.
    vectors: Tensor,
    /// One hidden layer, `[TILE, width]`.
    hidden: Tensor,
    /// Logits of some rows, flat.
    logits: Tensor,
    rows: EncodedRows,
}

/// A drawn column's weights.
struct Layer {
    /// Of `vectors`, `[D, width]`.
    input: Tensor,
    /// How much of `vectors` belongs to columns that reach this one.
    seen: usize,
    /// `[1, width]`.
    bias: Tensor,
    /// Transposed, `[K, width]`: products by code are fastest so.
    head: Tensor,
    /// `[1, K]`.
    head_bias: Tensor,
    /// The same, codes that are never drawn included.
    learned_bias: Tensor,
}

impl Layer {
    /// On the same memory.
    fn shallow_clone(&self) -> Self {
        let Self { input, seen, bias, head, head_bias, learned_bias } = self;
        Self {
            input: input.shallow_clone(),
            seen: *seen,
            bias: bias.shallow_clone(),
            head: head.shallow_clone(),
            head_bias: head_bias.shallow_clone(),
            learned_bias: learned_bias.shallow_clone(),
        }
    }
}

/// The noise of a block, and what is known of its rows.
struct Question {
    streams: Vec<Purpose>,
    known: KnownCodes,
    order: Vec<usize>,
    /// Of the candidates that rows get, and which of them is chosen.
    shifts: Arc<Vec<Vec<u32>>>,
    choices: Vec<Purpose>,
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

impl Sampler {
    pub(super) fn new(model: &ArgnModel, reach: Reach, settings: &SamplerSettings) -> Result<Self> {
        use_threads(1);
        let _guard = tch::no_grad_guard();
        let device = resolve(settings.device)?;
        let twin = |first: &Worker| first.twin(model);
        let first = Worker::new(model, reach, settings, device, TABLE_BYTES)?;
        let workers = tiles::workers(first, device, settings.threads, twin)?;
        let columns = model.columns().len();
        let several = if settings.candidates > 1 { settings.candidates } else { 0 };
        let shifts = Arc::new(candidates::shifts(several, columns));
        Ok(Self { workers, order: (model.given()..columns).collect(), shifts })
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
        let logits = columns.iter().map(|column| rows_at_once(column) * column.cardinality).max().unwrap_or(0);
        let drawn = columns.len() - given;
        // Codes: known ones, random bits, those of a candidate, those of the chosen one.
        let tile = TILE * (width + total + 5 * columns.len());
        4 * (tables.sum::<usize>() + total * drawn * width + tile + logits)
    }

    fn question(&self, noise: &Noise, known: KnownCodes) -> Question {
        let columns = self.workers.first().map_or(0, |worker| worker.columns.len());
        let streams = (0..columns).map(|k| noise.purpose(&format!("argn/code/{k}"))).collect();
        let choice = |number: usize| noise.purpose(&format!("argn/choice/{number}"));
        let choices = (0..self.shifts.len()).map(choice).collect();
        Question { streams, known, order: self.order.clone(), shifts: Arc::clone(&self.shifts), choices }
    }

    fn first(&mut self) -> Result<&mut Worker> {
        self.workers.first_mut().ok_or_else(|| SynthError::Internal("a sampler without a worker".to_owned()))
    }
}

impl BlockSampler for Sampler {
    fn sample(&mut self, block: u64, noise: &Noise, out: &mut EncodedRows) -> Result<()> {
        let question = self.question(noise, KnownCodes::default());
        tiles::sample(&mut self.workers, block, BLOCK_ROWS, &question, out)
    }
}

impl ContextSampler for Sampler {
    fn complete(&mut self, block: u64, noise: &Noise, known: &KnownCodes, out: &mut EncodedRows) -> Result<()> {
        let question = self.question(noise, known.clone());
        // With a context the caller decides how many rows there are, whatever is asked for; without one, LIMIT would.
        let rows = if self.first()?.given == 0 { BLOCK_ROWS } else { known.rows() };
        tiles::sample(&mut self.workers, block, rows, &question, out)
    }

    fn heeds_more(&self) -> bool {
        true
    }
}

impl AnyOrderSampler for Sampler {
    fn draw_first(&mut self, first: &[usize]) {
        if self.workers.first().is_some_and(|worker| worker.reach == Reach::All) {
            self.order.sort_by_key(|&k| (first.iter().position(|&f| f == k).unwrap_or(first.len()), k));
        }
    }

    fn tilt(&mut self, subcolumn: usize, logs: &[f32]) -> Result<()> {
        let worker = self.first()?;
        let layer = subcolumn.checked_sub(worker.given).and_then(|drawn| worker.layers.get(drawn));
        let layer = layer.ok_or_else(|| SynthError::Internal(format!("no sub-column {subcolumn}")))?;
        let logs = Tensor::f_from_slice(logs)?.f_view([1, -1])?.f_to_device(worker.device)?;
        // All workers are on these biases, and no other sampler is.
        let _ = layer.head_bias.shallow_clone().f_add_(&logs)?;
        Ok(())
    }

    fn distribution(&mut self, known: &KnownCodes, subcolumn: usize) -> Result<Vec<f32>> {
        let worker = self.first()?;
        let mut out = Vec::with_capacity(known.rows() * worker.columns[subcolumn].cardinality);
        for part in tiles_of(known.rows()) {
            out.extend(worker.distribution(&known.slice(part), subcolumn)?);
        }
        Ok(out)
    }

    fn log_probability(&mut self, known: &KnownCodes) -> Result<Vec<f64>> {
        let shifts = &*self.shifts;
        let parts: Vec<KnownCodes> = tiles_of(known.rows()).map(|part| known.slice(part)).collect();
        let share = parts.len().div_ceil(self.workers.len().max(1)).max(1);
        std::thread::scope(|scope| {
            let of_worker = |(worker, parts): (&'_ mut Worker, &'_ [KnownCodes])| {
                let logs = parts.iter().map(|part| worker.log_marginal(part, shifts));
                Ok::<_, SynthError>(logs.collect::<Result<Vec<_>>>()?.concat())
            };
            let shares = self.workers.iter_mut().zip(parts.chunks(share));
            let handles: Vec<_> = shares.map(|share| scope.spawn(move || of_worker(share))).collect();
            let logs = handles.into_iter().map(|handle| {
                handle.join().map_err(|_| SynthError::Internal("a thread that judges rows panicked".to_owned()))?
            });
            Ok(logs.collect::<Result<Vec<_>>>()?.concat())
        })
    }

    fn log_weight(&mut self, known: &KnownCodes, whole: &KnownCodes) -> Result<Vec<f64>> {
        let worker = self.first()?;
        let mut out = Vec::with_capacity(known.rows());
        for part in tiles_of(known.rows()) {
            out.extend(worker.log_weight(&known.slice(part.clone()), &whole.slice(part))?);
        }
        Ok(out)
    }
}

impl Worker {
    /// A worker whose tables take up to `table_bytes` each.
    fn new(
        model: &ArgnModel,
        reach: Reach,
        settings: &SamplerSettings,
        device: Device,
        table_bytes: usize,
    ) -> Result<Self> {
        let (columns, given, width) = (model.columns().to_vec(), model.given(), model.width());
        let ready = |name: &str, k: usize| model.weight(name, k)?.tensor(Kind::Float, device);
        let all = |name: &str| (given..columns.len()).map(|k| ready(name, k)).collect::<Result<Vec<_>>>();
        let inputs = all("input")?;
        let zeros = |rows: usize, columns: usize| Tensor::f_zeros([rows as i64, columns as i64], (Kind::Float, device));
        let mut tables = Vec::with_capacity(columns.len());
        let mut embeddings = Vec::with_capacity(columns.len());
        let mut total = 0;
        for (k, column) in columns.iter().enumerate() {
            let embedding = ready("embedding", k)?;
            let reached = &inputs[reach.first(k, given) - given..];
            if device != Device::Cpu || 4 * column.cardinality * reached.len() * width > table_bytes {
                tables.push(None);
                embeddings.push(Some((embedding, total)));
                total += column.width;
                continue;
            }
            let table = zeros(reached.len() * column.cardinality, width)?;
            for (to, input) in reached.iter().enumerate() {
                let place = table.f_narrow(0, (to * column.cardinality) as i64, column.cardinality as i64)?;
                multiply(&embedding, &input.f_narrow(0, column.at as i64, column.width as i64)?, &place)?;
            }
            tables.push(Some(table));
            embeddings.push(None);
        }
        let weights = all("bias")?.into_iter().zip(all("head")?).zip(all("head_bias")?);
        let mut layers = Vec::with_capacity(inputs.len());
        for (k, (input, ((bias, head), head_bias))) in (given..).zip(inputs.iter().zip(weights)) {
            let without = columns.iter().zip(&embeddings).filter(|(_, embedding)| embedding.is_some());
            let parts = without
                .map(|(column, _)| input.f_narrow(0, column.at as i64, column.width as i64))
                .collect::<std::result::Result<Vec<_>, _>>()?;
            let seen = columns.iter().zip(&embeddings).take(if reach == Reach::All { columns.len() } else { k });
            let seen = seen.filter_map(|(column, embedding)| embedding.as_ref().map(|_| column.width)).sum();
            let input = if parts.is_empty() { zeros(0, width)? } else { Tensor::f_cat(&parts, 0)? };
            let head = head.f_tr()?.f_contiguous()?;
            let (head, head_bias) = match f64::from(settings.temperature) {
                1.0 => (head, head_bias),
                temperature => (head.f_div_scalar(temperature)?, head_bias.f_div_scalar(temperature)?),
            };
            let learned_bias = head_bias.shallow_clone();
            layers.push(Layer { input, seen, bias, head, head_bias, learned_bias });
        }
        for &(k, code) in &settings.never {
            let layer = k.checked_sub(given).and_then(|drawn| layers.get_mut(drawn));
            let layer = layer.ok_or_else(|| SynthError::Internal(format!("no sub-column {k}")))?;
            let index = Tensor::f_from_slice(&[i64::from(code)])?.f_to_device(device)?;
            layer.head_bias = layer.head_bias.f_index_fill(1, &index, f64::from(NEVER))?;
        }
        let logits = columns.iter().map(|column| rows_at_once(column) * column.cardinality).max().unwrap_or(0);
        Ok(Self {
            codes: vec![Vec::new(); columns.len()],
            vectors: zeros(TILE, total)?,
            hidden: zeros(TILE, width)?,
            logits: zeros(1, if device == Device::Cpu { logits } else { 0 })?,
            rows: EncodedRows::with_capacity(model.layout(), TILE),
            all: (0..columns.len()).map(|k| model.masks().all_but(k, &settings.never)).collect(),
            masks: Arc::clone(model.masks()),
            columns,
            given,
            device,
            reach,
            activation: model.activation(),
            layers,
            tables,
            embeddings,
        })
    }

    /// Another worker on the same weights.
    fn twin(&self, model: &ArgnModel) -> Result<Self> {
        let embedding = |known: &Option<(Tensor, usize)>| known.as_ref().map(|(e, at)| (e.shallow_clone(), *at));
        Ok(Self {
            columns: self.columns.clone(),
            given: self.given,
            device: self.device,
            reach: self.reach,
            activation: self.activation,
            layers: self.layers.iter().map(Layer::shallow_clone).collect(),
            masks: Arc::clone(&self.masks),
            all: self.all.clone(),
            tables: self.tables.iter().map(|table| table.as_ref().map(Tensor::shallow_clone)).collect(),
            embeddings: self.embeddings.iter().map(embedding).collect(),
            codes: vec![Vec::new(); self.columns.len()],
            vectors: self.vectors.f_zeros_like()?,
            hidden: self.hidden.f_zeros_like()?,
            logits: self.logits.f_zeros_like()?,
            rows: EncodedRows::with_capacity(model.layout(), TILE),
        })
    }

    /// Knows nothing of the tile.
    fn forget(&mut self) -> Result<()> {
        self.codes.iter_mut().for_each(Vec::clear);
        let _ = self.vectors.f_zero_()?;
        Ok(())
    }

    /// Takes in column `k`'s codes of the first rows, [`UNKNOWN`] where they are not known.
    fn know(&mut self, k: usize, codes: &[u32]) -> Result<()> {
        self.codes[k].clear();
        self.codes[k].extend_from_slice(codes);
        let Some((embedding, at)) = &self.embeddings[k] else { return Ok(()) };
        let index: Vec<i64> = codes.iter().map(|&code| if code == UNKNOWN { 0 } else { i64::from(code) }).collect();
        let index = Tensor::f_from_slice(&index)?.f_to_device(self.device)?;
        let known: Vec<f32> = codes.iter().map(|&code| f32::from(u8::from(code != UNKNOWN))).collect();
        let known = Tensor::f_from_slice(&known)?.f_view([-1, 1])?.f_to_device(self.device)?;
        let place = self.vectors.f_narrow(0, 0, codes.len() as i64)?;
        let mut place = place.f_narrow(1, *at as i64, self.columns[k].width as i64)?;
        Ok(place.f_copy_(&embedding.f_index_select(0, &index)?.f_mul(&known)?)?)
    }

    /// The hidden layer of column `k` in the first `rows` rows, given what is known.
    fn hidden(&mut self, k: usize, rows: usize) -> Result<()> {
        let layer = &self.layers[k - self.given];
        let mut hidden = self.hidden.f_narrow(0, 0, rows as i64)?;
        let by_product = layer.seen > 0 || self.device != Device::Cpu;
        if by_product {
            let seen = self.vectors.f_narrow(0, 0, rows as i64)?.f_narrow(1, 0, layer.seen as i64)?;
            hidden.f_copy_(&layer.bias.f_addmm(&seen, &layer.input.f_narrow(0, 0, layer.seen as i64)?)?)?;
        }
        if self.device != Device::Cpu {
            return Ok(hidden.f_copy_(&self.activation.apply(&hidden)?)?); // there no column has a table
        }
        let mut sources = Vec::with_capacity(self.columns.len());
        for (j, (codes, table)) in self.codes.iter().zip(&self.tables).enumerate() {
            let (Some(table), false) = (table, codes.is_empty()) else { continue };
            if let Some(to) = k.checked_sub(self.reach.first(j, self.given)) {
                sources.push(Source { codes, table: Rows::of(table)?, first: to * self.columns[j].cardinality });
            }
        }
        let start = if by_product { None } else { Some(Rows::of(&layer.bias)?.row(0)) };
        gather(start, &sources, self.activation, &mut RowsMut::of(&mut hidden)?);
        Ok(())
    }

    /// Draws column `k` of as many rows as there are `bits`; fills `odds` with the probabilities of what is drawn.
    fn draw(&mut self, k: usize, bits: &[u32], mut odds: Option<&mut [f32]>) -> Result<Vec<u32>> {
        let rows = bits.len();
        self.hidden(k, rows)?;
        let (layer, cardinality) = (&self.layers[k - self.given], self.columns[k].cardinality);
        let mut codes = vec![0u32; rows];
        if self.device != Device::Cpu {
            let hidden = self.hidden.f_narrow(0, 0, rows as i64)?;
            let mut logits = layer.head_bias.f_addmm(&hidden, &layer.head.f_tr()?)?;
            let mut masked: Vec<f32> = Vec::new();
            self.masks.for_each((k, &self.all[k]), &self.codes, 0..rows, |row, left| {
                masked.resize(rows * cardinality, 0.0);
                lost(&self.all[k], left).for_each(|code| masked[row * cardinality + code] = NEVER);
            });
            if !masked.is_empty() {
                let masked = Tensor::f_from_slice(&masked)?.f_view([rows as i64, cardinality as i64])?;
                let _ = logits.f_add_(&masked.f_to_device(self.device)?)?;
            }
            let probabilities = logits.f_softmax(-1, Kind::Float)?;
            let cumulated = probabilities.f_cumsum(-1, Kind::Float)?;
            let uniform: Vec<f32> = bits.iter().map(|&bits| unit(bits)).collect();
            let uniform = Tensor::f_from_slice(&uniform)?.f_view([-1, 1])?.f_to_device(self.device)?;
            let passed = cumulated.f_le_tensor(&uniform)?.f_sum_dim_intlist(-1, false, Kind::Int64)?;
            let drawn = passed.f_clamp_max(cardinality as f64 - 1.0)?;
            if let Some(odds) = odds {
                let of_drawn = probabilities.f_gather(1, &drawn.f_unsqueeze(1)?, false)?.f_view([-1])?;
                odds.copy_from_slice(&Vec::<f32>::try_from(&of_drawn.f_to_device(Device::Cpu)?)?);
            }
            let drawn = Vec::<i64>::try_from(&drawn.f_to_device(Device::Cpu)?)?;
            codes.iter_mut().zip(drawn).for_each(|(code, drawn)| *code = u32::try_from(drawn).unwrap_or(0));
            return Ok(codes);
        }
        let bias = Rows::<f32>::of(&layer.head_bias)?;
        for part in parts(&self.columns[k], rows) {
            let mut logits = self.logits(k, &part)?;
            let mut logits = RowsMut::of(&mut logits)?;
            let mut decided = Vec::new();
            self.masks.for_each((k, &self.all[k]), &self.codes, part.clone(), |row, left| match only(left) {
                Some(code) => decided.push((row, code)),
                None => lost(&self.all[k], left).for_each(|code| logits.row(code)[row - part.start] = NEVER),
            });
            draw::by_code(&mut logits, bias.row(0), &bits[part.clone()], &mut codes[part.clone()]);
            if let Some(odds) = &mut odds {
                draw::probabilities(&mut logits, &codes[part.clone()], &mut odds[part]);
                decided.iter().for_each(|&(row, _)| odds[row] = 1.0);
            }
            decided.into_iter().for_each(|(row, code)| codes[row] = code);
        }
        Ok(codes)
    }

    /// What column `k`'s head makes of the hidden layer of the rows `part`, code by code, `[K, rows]`, without its bias.
    fn logits(&self, k: usize, part: &Range<usize>) -> Result<Tensor> {
        let (cardinality, rows) = (self.columns[k].cardinality, part.len());
        let flat = self.logits.f_narrow(1, 0, (cardinality * rows) as i64)?;
        let logits = flat.f_view([cardinality as i64, rows as i64])?;
        let hidden = self.hidden.f_narrow(0, part.start as i64, rows as i64)?;
        multiply(&self.layers[k - self.given].head, &hidden.f_tr()?, &logits)?;
        Ok(logits)
    }

    /// What `of` makes of column `k`'s logits `[rows, K]` for some of the rows, on the host.
    fn of_logits(&self, k: usize, rows: Range<usize>, of: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Vec<f32>> {
        let Layer { head, head_bias, .. } = &self.layers[k - self.given];
        let hidden = self.hidden.f_narrow(0, rows.start as i64, rows.len() as i64)?;
        let made = of(&head_bias.f_addmm(&hidden, &head.f_tr()?)?)?.f_to_device(Device::Cpu)?;
        Ok(Vec::<f32>::try_from(made.f_contiguous()?.f_view([-1])?)?)
    }

    /// Probabilities of column `k`'s codes in up to [`TILE`] rows given what is known, `[rows * K]`.
    fn distribution(&mut self, known: &KnownCodes, k: usize) -> Result<Vec<f32>> {
        use_threads(1);
        let _guard = tch::no_grad_guard();
        self.forget()?;
        for other in (0..self.columns.len()).filter(|&other| other != k) {
            if let Some(codes) = known.subcolumn(other) {
                self.know(other, codes)?;
            }
        }
        self.hidden(k, known.rows())?;
        let mut out = Vec::with_capacity(known.rows() * self.columns[k].cardinality);
        for rows in parts(&self.columns[k], known.rows()) {
            out.extend(self.of_logits(k, rows, |logits| Ok(logits.f_softmax(-1, Kind::Float)?))?);
        }
        let cardinality = self.columns[k].cardinality;
        self.masks.for_each((k, &self.all[k]), &self.codes, 0..known.rows(), |row, left| {
            let odds = &mut out[row * cardinality..][..cardinality];
            let kept: f32 = members(left).map(|code| odds[code]).sum();
            // Where the network thinks all else impossible it is left alone.
            if kept > 0.0 {
                lost(&self.all[k], left).for_each(|code| odds[code] = 0.0);
                odds.iter_mut().for_each(|odds| *odds /= kept);
            }
        });
        Ok(out)
    }

    /// Log-probabilities of these codes of column `k` given what is known, as the network has learned them: 0 of [`UNKNOWN`] ones.
    fn log_odds(&mut self, k: usize, codes: &[u32]) -> Result<Vec<f64>> {
        let rows = codes.len();
        self.hidden(k, rows)?;
        let layer = &self.layers[k - self.given];
        let mut logs = vec![0f64; rows];
        if self.device != Device::Cpu {
            let hidden = self.hidden.f_narrow(0, 0, rows as i64)?;
            let logits = layer.learned_bias.f_addmm(&hidden, &layer.head.f_tr()?)?.f_log_softmax(-1, Kind::Float)?;
            let index: Vec<i64> = codes.iter().map(|&code| if code == UNKNOWN { 0 } else { i64::from(code) }).collect();
            let index = Tensor::f_from_slice(&index)?.f_view([-1, 1])?.f_to_device(self.device)?;
            let found = logits.f_gather(1, &index, false)?.f_view([-1])?.f_to_device(Device::Cpu)?;
            let found = Vec::<f32>::try_from(&found)?;
            let found = logs.iter_mut().zip(found).zip(codes).filter(|(_, code)| **code != UNKNOWN);
            found.for_each(|((log, found), _)| *log = f64::from(found));
            return Ok(logs);
        }
        let bias = Rows::<f32>::of(&layer.learned_bias)?;
        for part in parts(&self.columns[k], rows) {
            let mut logits = self.logits(k, &part)?;
            let mut logits = RowsMut::of(&mut logits)?;
            draw::log_probabilities(&mut logits, bias.row(0), &codes[part.clone()], &mut logs[part]);
        }
        Ok(logs)
    }
}

impl TileWorker for Worker {
    type Streams = Question;

    fn tile(&mut self, tile: u64, question: &Self::Streams) -> Result<()> {
        use_threads(1);
        let _guard = tch::no_grad_guard();
        self.rows.clear();
        let (columns, given) = (self.columns.len(), self.given);
        let wanted = if given == 0 { TILE } else { rows_in(tile, question.known.rows()) };
        let rows = padded(wanted);
        let mut known: Vec<_> = (0..columns).map(|k| question.known(k, tile, rows)).collect();
        if !question.shifts.is_empty() {
            self.choose((tile, rows), question, &mut known)?;
        }
        self.know_all(&known)?;
        for (k, known) in known.iter().take(given).enumerate() {
            let code = |code: &u32| if *code == UNKNOWN { 0 } else { *code };
            let codes = known.as_ref().map_or_else(|| vec![0; wanted], |known| known.iter().map(code).collect());
            push_codes(&mut self.rows.subcolumns[k], &codes[..wanted]);
        }
        let mut bits = vec![0u32; rows];
        for (k, purpose) in question.order.iter().map(|&k| (k, &question.streams[k])) {
            if let Some(known) = known[k].as_ref().filter(|known| !known[..wanted].contains(&UNKNOWN)) {
                push_codes(&mut self.rows.subcolumns[k], &known[..wanted]);
                continue;
            }
            purpose.fill_u32(tile, &mut bits);
            let mut codes = self.draw(k, &bits, None)?;
            if let Some(known) = &known[k] {
                let known = known.iter().zip(&mut codes).filter(|(known, _)| **known != UNKNOWN);
                known.for_each(|(&known, code)| *code = known);
            }
            self.know(k, &codes)?;
            push_codes(&mut self.rows.subcolumns[k], &codes[..wanted]);
        }
        self.rows.rows = wanted;
        Ok(())
    }

    fn rows(&self) -> &EncodedRows {
        &self.rows
    }
}

/// Tiles are worked on in parts of this many rows, so that the logits of a column stay few.
fn rows_at_once(column: &Column) -> usize {
    (LOGITS / column.cardinality.max(1)).max(1).next_multiple_of(16).min(TILE)
}

/// The parts of `rows` rows that a worker takes in at once.
fn tiles_of(rows: usize) -> impl Iterator<Item = Range<usize>> {
    (0..rows).step_by(TILE).map(move |first| first..(first + TILE).min(rows))
}

/// The parts of `rows` rows whose logits of a column are held at once.
fn parts(column: &Column, rows: usize) -> impl Iterator<Item = Range<usize>> + use<> {
    let step = rows_at_once(column);
    (0..rows).step_by(step).map(move |first| first..(first + step).min(rows))
}

/// A column that adds to a hidden layer.
struct Source<'a> {
    /// Its codes by row, or [`UNKNOWN`].
    codes: &'a [u32],
    table: Rows<'a, f32>,
    /// Where code 0 is in the table.
    first: usize,
}

/// Hidden units summed up in registers.
const UNITS: usize = 64;

vectorised! {
    /// Every row of `hidden`, or what it is to `start` with, and what its codes contribute.
    fn gather(start: Option<&[f32]>, sources: &[Source<'_>], activation: Activation, hidden: &mut RowsMut<'_, f32>) {
        for row in 0..hidden.rows() {
            let hidden = hidden.row(row);
            let start = start.unwrap_or_default().as_chunks::<UNITS>();
            let known = || {
                let known = sources.iter().filter(|source| source.codes[row] != UNKNOWN);
                known.map(|source| source.table.row(source.first + source.codes[row] as usize))
            };
            let (blocks, rest) = hidden.as_chunks_mut::<UNITS>();
            for (at, block) in blocks.iter_mut().enumerate() {
                let mut sums = *start.0.get(at).unwrap_or(block);
                for added in known() {
                    let (added, _) = added.as_chunks::<UNITS>();
                    sums.iter_mut().zip(&added[at]).for_each(|(sum, added)| *sum += added);
                }
                block.iter_mut().zip(sums).for_each(|(hidden, sum)| *hidden = activation.of(sum));
            }
            rest.iter_mut().zip(start.1).for_each(|(sum, start)| *sum = *start);
            for added in known() {
                let (_, added) = added.as_chunks::<UNITS>();
                rest.iter_mut().zip(added).for_each(|(sum, added)| *sum += added);
            }
            rest.iter_mut().for_each(|sum| *sum = activation.of(*sum));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{
        super::tests::{planted, small},
        *,
    };
    use crate::{
        models::{argn::Argn, test_support::fit},
        torch::DeviceKind,
    };

    #[test]
    fn columns_without_a_table_contribute_the_same() {
        for (rows, activation) in [(900, Activation::Rectified), (5600, Activation::Squared)] {
            contribute_the_same(rows, activation);
        }
    }

    fn contribute_the_same(rows: usize, activation: Activation) {
        let (layout, rows) = planted(rows);
        let layout = crate::encode::Layout { given: 1, ..layout };
        let model = ArgnModel::new(&layout, fit(&Argn, &layout, &rows, &small(3)).model.state().unwrap()).unwrap();
        assert_eq!(model.activation(), activation);
        let mut known = KnownCodes::nothing(3, TILE);
        known.set(0, (0..TILE as u32).map(|row| row % 3).collect());
        known.set(1, (0..TILE as u32).map(|row| if row % 2 == 0 { UNKNOWN } else { 2 }).collect());
        let noise = Noise::new(1, b"sample");
        // All by tables; the first column without; the first two without.
        let run = |table_bytes| {
            let settings = SamplerSettings::new(DeviceKind::Cpu, 1);
            let mut worker = Worker::new(&model, Reach::Later, &settings, Device::Cpu, table_bytes).unwrap();
            let tables = worker.tables.iter().filter(|table| table.is_some()).count();
            let streams = (0..3).map(|k| noise.purpose(&format!("{k}"))).collect();
            let (shifts, choices) = (Arc::default(), Vec::new());
            worker.tile(0, &Question { streams, known: known.clone(), order: vec![1, 2], shifts, choices }).unwrap();
            let codes = worker.rows.subcolumns.clone();
            (tables, codes, worker.distribution(&known, 2).unwrap())
        };
        let (tables, codes, odds) = run(TABLE_BYTES);
        assert_eq!(tables, 3);
        for (table_bytes, tables) in [(200, 2), (0, 1)] {
            let other = run(table_bytes);
            assert_eq!(other.0, tables, "the last column reaches none");
            let apart = odds.iter().zip(&other.2).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(apart < 1e-5, "{apart}");
            for (a, b) in codes.iter().zip(&other.1) {
                let same = (0..TILE).filter(|&row| a.code(row) == b.code(row)).count();
                assert!(same >= TILE - 2, "{same}");
            }
        }
    }
}
