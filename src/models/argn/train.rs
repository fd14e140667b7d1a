//! The training loop: one-cycle learning rate, averaged weights judged by the likelihood of held-out rows, recovery, checkpoints.

use super::{
    config::Config,
    model::{ArgnModel, Settings, cardinalities},
    network::{Batch, Network, Regularisation, columns},
};
use crate::{
    Result, SynthError,
    encode::{CodeMatrix, EncodedRows},
    models::{
        BlockSampler, Checkpoint, EpochReport, FitObserver, FitOptions, FitReport, Fitted, HostTensor, ModelState,
        TrainingData,
        training::{load_flat, load_parameters, save_flat, save_parameters},
        validation::{Split, Validator},
    },
    noise::{Noise, Purpose},
    torch::{Team, resolve, use_threads},
};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tch::Device;

/// Losses are looked at every so many steps.
const CHECK_EVERY: u64 = 10;
/// Generated rows per validation, in blocks.
const VALIDATION_BLOCKS: u64 = 4;
const CHECKPOINT_EVERY: Duration = Duration::from_secs(30);
const MAX_RECOVERIES: u32 = 5;
/// Rows judged at once.
const JUDGED: usize = 1024;
/// Share of the steps in which the learning rate rises.
const RISE: f64 = 0.3;

/// A training under way.
pub(super) struct Trainer<'a> {
    config: Config,
    seed: u64,
    patience: u32,
    threads: usize,
    team: Team,
    data: TrainingData<'a>,
    split: Split,
    validator: Validator,
    device: Device,
    steps_per_epoch: u64,
    shuffle: Purpose,
    orders: Purpose,
    dropout: Purpose,
    network: Network,
    position: Position,
    best: Option<ModelState>,
    /// Rows in the order of the current epoch.
    epoch_rows: (Option<u64>, Vec<u32>),
    #[cfg(test)]
    pub(super) poison_at: Option<u64>,
}

/// Where the training stands; all of it is in a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Position {
    /// Steps done.
    step: u64,
    recoveries: u32,
    /// Sum over the current epoch.
    loss: f32,
    /// Of held-out rows, at its lowest; its score and epoch.
    best_loss: Option<f32>,
    best_score: f32,
    best_epoch: u32,
}

impl<'a> Trainer<'a> {
    pub(super) fn new(data: &TrainingData<'a>, options: &FitOptions) -> Result<Self> {
        if data.rows.rows == 0 {
            return Err(SynthError::NoRows { reason: "the table is empty".to_owned() });
        }
        if u32::try_from(data.rows.rows).is_err() {
            return Err(SynthError::Model(format!("{} rows; at most 2^32 - 1 can be learned", data.rows.rows)));
        }
        let device = resolve(options.device)?;
        use_threads(1);
        let split = Split::new(data.rows.rows, options.seed);
        let config = Config::new(options, split.train.len())?;
        let validator = Validator::new(data.layout, data.rows, &split.held_out);
        let noise = Noise::new(options.seed, b"training");
        let cardinalities = cardinalities(data.layout)?;
        let frequencies = frequencies(&cardinalities, data.rows, &split.train);
        let columns = columns(&cardinalities, config.embedding_width);
        let regularisation =
            Regularisation { weight_decay: config.shrinkage / split.train.len() as f64, dropout: config.dropout };
        let network = Network::new(columns, config.width, &frequencies, regularisation, &noise, device)?;
        Ok(Self {
            seed: options.seed,
            patience: options.patience,
            threads: options.threads,
            team: Team::new(if device == Device::Cpu { options.threads.min(2) } else { 1 })?,
            data: *data,
            steps_per_epoch: split.train.len().div_ceil(config.batch) as u64,
            split,
            validator,
            device,
            shuffle: noise.purpose("argn/shuffle"),
            orders: noise.purpose("argn/orders"),
            dropout: noise.purpose("argn/dropout"),
            network,
            position: Position { step: 0, recoveries: 0, loss: 0.0, best_loss: None, best_score: 0.0, best_epoch: 0 },
            best: None,
            epoch_rows: (None, Vec::new()),
            #[cfg(test)]
            poison_at: None,
            config,
        })
    }

    /// Trains to the end (or to `patience`'s).
    pub(super) fn run(mut self, observer: &mut dyn FitObserver) -> Result<Fitted> {
        use_threads(1);
        let _guard = tch::no_grad_guard();
        let start = Instant::now();
        let first_step = self.position.step;
        let mut good = self.snapshot()?;
        let mut checkpointed = Instant::now();
        let mut epoch_start = Instant::now();
        let epochs = if self.network.columns.is_empty() { 0 } else { self.config.epochs };
        let end = u64::from(epochs) * self.steps_per_epoch;
        while self.position.step < end {
            if observer.cancelled() {
                observer.checkpoint(self.checkpoint()?)?;
                return Err(SynthError::Cancelled);
            }
            #[cfg(test)]
            if self.poison_at.take_if(|at| *at == self.position.step).is_some() {
                let _ = self.network.parameters.master.f_fill_(f64::NAN)?;
            }
            let loss = self.step(end)?;
            self.position.step += 1;
            self.position.loss += loss as f32;
            let epoch_over = self.position.step.is_multiple_of(self.steps_per_epoch);
            if (epoch_over || self.position.step.is_multiple_of(CHECK_EVERY)) && !loss.is_finite() {
                self.recover(&good)?;
                continue;
            }
            if !epoch_over {
                continue;
            }
            let epoch = (self.position.step / self.steps_per_epoch) as u32;
            let score = self.validate(epoch)?;
            let elapsed = start.elapsed().as_secs_f64();
            let done = self.position.step - first_step;
            observer.epoch(&EpochReport {
                epoch,
                epochs,
                loss: f64::from(self.position.loss) / self.steps_per_epoch as f64,
                critic_loss: None,
                score: Some(score),
                rows_per_second: self.split.train.len() as f64 / epoch_start.elapsed().as_secs_f64().max(1e-9),
                elapsed_seconds: elapsed,
                eta_seconds: elapsed / done as f64 * (end - self.position.step) as f64,
            })?;
            epoch_start = Instant::now();
            self.position.loss = 0.0;
            good = self.snapshot()?;
            if checkpointed.elapsed() >= CHECKPOINT_EVERY {
                observer.checkpoint(self.checkpoint()?)?;
                checkpointed = Instant::now();
            }
            if self.patience > 0 && epoch >= self.position.best_epoch + self.patience {
                break;
            }
        }
        let epochs = (self.position.step / self.steps_per_epoch) as u32;
        let (state, score) = match self.best.take() {
            Some(best) => (best, f64::from(self.position.best_score)),
            None => (self.model_state()?, 1.0), // nothing to learn
        };
        let report = FitReport {
            rows: self.data.rows.rows as u64,
            epochs,
            best_epoch: self.position.best_epoch,
            score,
            seconds: start.elapsed().as_secs_f64(),
            recoveries: self.position.recoveries,
        };
        Ok(Fitted { model: Arc::new(ArgnModel::new(self.data.layout, state)?), report })
    }

    fn step(&mut self, end: u64) -> Result<f64> {
        let step = self.position.step;
        let (epoch, at) = (step / self.steps_per_epoch, (step % self.steps_per_epoch) as usize);
        if self.epoch_rows.0 != Some(epoch) {
            let mut rows = self.split.train.clone();
            rows.shuffle(&mut self.shuffle.block(epoch));
            self.epoch_rows = (Some(epoch), rows);
        }
        let rows = &self.epoch_rows.1[at * self.config.batch..];
        let rows = &rows[..rows.len().min(self.config.batch)];
        let free = (self.config.any_order * rows.len() as f64).round() as usize;
        let batch = self.batch(rows, &self.random_ranks(step, free))?;
        let loss = self.network.gradients(&batch, &self.dropout, step, &self.team)?;
        let rate = self.config.learning_rate * one_cycle(step as f64 / end as f64);
        let rate = rate * 0.5f64.powi(self.position.recoveries as i32);
        self.network.update(step + 1, rate, &self.team)?;
        Ok(loss)
    }

    fn batch(&self, rows: &[u32], ranks: &[f32]) -> Result<Batch> {
        let of = |codes: &crate::encode::SubColumnData| -> Vec<i64> {
            rows.iter().map(|&row| i64::from(codes.code(row as usize))).collect()
        };
        let codes: Vec<_> = self.data.rows.subcolumns.iter().map(of).collect();
        Batch::new(&codes, ranks, self.device)
    }

    /// Random ranks of the columns for `rows` rows.
    fn random_ranks(&self, step: u64, rows: usize) -> Vec<f32> {
        let mut random = self.orders.block(step);
        let mut order: Vec<f32> = (0..self.network.columns.len()).map(|k| k as f32).collect();
        let mut ranks = Vec::with_capacity(rows * order.len());
        for _ in 0..rows {
            order.shuffle(&mut random);
            ranks.extend_from_slice(&order);
        }
        ranks
    }

    /// Mean negative log-likelihood of the held-out rows in the table's order.
    fn held_out_loss(&self) -> Result<f64> {
        let network = self.network.averaged()?;
        let mut sum = 0.0;
        for rows in self.split.held_out.chunks(JUDGED) {
            sum += network.loss(&self.batch(rows, &[])?)? * rows.len() as f64;
        }
        Ok(sum / self.split.held_out.len() as f64)
    }

    /// Scores the model by its samples, and keeps it if held-out rows are likelier than ever.
    fn validate(&mut self, epoch: u32) -> Result<f64> {
        let state = self.model_state()?;
        let mut sampler = ArgnModel::new(self.data.layout, state.clone())?.sampler_on(self.device, self.threads)?;
        let noise = Noise::new(self.seed, b"validation");
        let mut blocks = Vec::new();
        for block in 0..VALIDATION_BLOCKS {
            let mut rows = EncodedRows::with_capacity(self.data.layout, crate::noise::BLOCK_ROWS);
            sampler.sample(block, &noise, &mut rows)?;
            blocks.push(rows);
        }
        let score = self.validator.score(&blocks);
        let loss = self.held_out_loss()? as f32;
        if self.position.best_loss.is_none_or(|best| loss < best) {
            self.position.best_loss = Some(loss);
            self.position.best_score = score as f32;
            self.position.best_epoch = epoch;
            self.best = Some(state);
        }
        Ok(score)
    }

    /// Goes back to the last good state with half the learning rate.
    fn recover(&mut self, good: &ModelState) -> Result<()> {
        let recoveries = self.position.recoveries + 1;
        if recoveries > MAX_RECOVERIES {
            return Err(SynthError::Model(format!(
                "the loss became infinite or NaN {recoveries} times, each time with half the learning rate; \
                 lower `learning_rate`"
            )));
        }
        log::warn!("argn: the loss is not finite; going back with half the learning rate ({recoveries})");
        let best = self.best.take();
        self.restore(good)?;
        self.best = best;
        self.position.recoveries = recoveries;
        Ok(())
    }

    fn settings(&self) -> Result<serde_json::Value> {
        let settings = Settings { width: self.config.width, embedding_width: self.config.embedding_width };
        serde_json::to_value(settings).map_err(|error| SynthError::Internal(error.to_string()))
    }

    fn model_state(&self) -> Result<ModelState> {
        let network = &self.network;
        let tensors = network.parameters.named(&network.average)?.into_iter();
        let tensors = tensors.map(|(name, t)| Ok((name, HostTensor::of(&t)?))).collect::<Result<_>>()?;
        Ok(ModelState { settings: self.settings()?, tensors })
    }

    fn checkpoint(&self) -> Result<Checkpoint> {
        let mut state = self.snapshot()?;
        if let Some(best) = &self.best {
            state.tensors.extend(best.tensors.iter().map(|(name, t)| (format!("best/{name}"), t.clone())));
        }
        Ok(Checkpoint { epoch: (self.position.step / self.steps_per_epoch) as u32, state })
    }

    /// Everything but the best model so far.
    fn snapshot(&self) -> Result<ModelState> {
        let mut tensors = BTreeMap::new();
        save_parameters("network", &self.network.parameters, &mut tensors)?;
        save_flat("network/average", &self.network.parameters, &self.network.average, &mut tensors)?;
        let settings = serde_json::to_value(&self.position).map_err(|error| SynthError::Internal(error.to_string()))?;
        Ok(ModelState { settings, tensors })
    }

    /// Takes back a [`Trainer::snapshot`] or a checkpoint's state.
    pub(super) fn restore(&mut self, state: &ModelState) -> Result<()> {
        let damaged = |reason: String| SynthError::Artifact { path: "checkpoint".to_owned(), reason };
        let position: Position =
            serde_json::from_value(state.settings.clone()).map_err(|error| damaged(error.to_string()))?;
        load_parameters("network", &mut self.network.parameters, state)?;
        load_flat("network/average", &self.network.parameters, &self.network.average, state)?;
        let best: BTreeMap<_, _> = (state.tensors.iter())
            .filter_map(|(name, tensor)| Some((name.strip_prefix("best/")?.to_owned(), tensor.clone())))
            .collect();
        self.best = if best.is_empty() { None } else { Some(ModelState { settings: self.settings()?, tensors: best }) };
        self.position = position;
        Ok(())
    }
}

/// The learning rate's course over a training (Smith & Topin 2019): from 1/25 up to 1, then down to nothing, by cosines.
fn one_cycle(done: f64) -> f64 {
    let cosine = |share: f64| (1.0 - (std::f64::consts::PI * share).cos()) / 2.0;
    if done < RISE { 0.04 + 0.96 * cosine(done / RISE) } else { 1.0 - 0.9999 * cosine((done - RISE) / (1.0 - RISE)) }
}

/// Frequencies of every column's codes.
fn frequencies(cardinalities: &[usize], table: &CodeMatrix, rows: &[u32]) -> Vec<Vec<f32>> {
    let of = |(codes, &cardinality): (&crate::encode::SubColumnData, &usize)| {
        let mut counts = vec![0f32; cardinality];
        rows.iter().for_each(|&row| counts[codes.code(row as usize) as usize] += 1.0);
        counts.iter_mut().for_each(|count| *count /= rows.len() as f32);
        counts
    };
    table.subcolumns.iter().zip(cardinalities).map(of).collect()
}
