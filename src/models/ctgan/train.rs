//! The training loop: critic and generator, validation, recovery, checkpoints.
//!
//! A step takes the gradients of both networks at the same weights, side by side on two threads, then updates both.
//! Each half runs on its own half of the threads, so neither waits for the other between its small products.

use super::{
    conditions::{Draw, TrainingSampler},
    config::Config,
    critic::Critic,
    dense::Dense,
    generator::{ALIGNMENT, Generator},
    model::{CtganModel, Settings},
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
    torch::{Rows, Team, bf16_is_fast, kernels::sparse::SparseRows, resolve, use_threads},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tch::{Device, Kind, Tensor};

/// Losses are looked at every so many steps.
const CHECK_EVERY: u64 = 10;
/// Generated rows per validation, in blocks.
const VALIDATION_BLOCKS: u64 = 4;
/// Batches that the statistics of batch normalisation are taken over when a model is made.
const CALIBRATION_BATCHES: u64 = 20;
/// Steps between validations, at least.
const VALIDATION_STEPS: u64 = 250;
const CHECKPOINT_EVERY: Duration = Duration::from_secs(30);
const MAX_RECOVERIES: u32 = 5;

/// A training under way.
pub(super) struct Trainer<'a> {
    config: Config,
    seed: u64,
    patience: u32,
    threads: usize,
    team: Team,
    data: TrainingData<'a>,
    dense: Arc<Dense>,
    rows: TrainingSampler,
    validator: Validator,
    device: Device,
    kind: Kind,
    batch: usize,
    steps_per_epoch: u64,
    row_width: usize,
    streams: Streams,
    pub(super) generator: Generator,
    critic: Critic,
    position: Position,
    best: Option<ModelState>,
    /// Tests only: the step whose update breaks the weights, once or always.
    #[cfg(test)]
    pub(super) poison_at: Option<u64>,
    #[cfg(test)]
    pub(super) poison_always: bool,
}

/// Where the training stands; all of it is in a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Position {
    /// Steps done.
    step: u64,
    recoveries: u32,
    /// Sums over the current epoch.
    loss: f32,
    critic_loss: f32,
    best_score: Option<f32>,
    best_epoch: u32,
}

struct Streams {
    fake: Purpose,
    own: Purpose,
    critic_latent: Purpose,
    critic_gumbel: Purpose,
    latent: Purpose,
    gumbel: Purpose,
    dropout: Purpose,
    judge_dropout: Purpose,
    interpolation: Purpose,
    calibration: Purpose,
    calibration_latent: Purpose,
    calibration_gumbel: Purpose,
}

impl Streams {
    fn new(noise: &Noise) -> Self {
        let purpose = |name: &str| noise.purpose(&format!("ctgan/{name}"));
        Self {
            fake: purpose("critic/conditions"),
            own: purpose("generator/conditions"),
            critic_latent: purpose("critic/latent"),
            critic_gumbel: purpose("critic/gumbel"),
            latent: purpose("generator/latent"),
            gumbel: purpose("generator/gumbel"),
            dropout: purpose("critic/dropout"),
            judge_dropout: purpose("generator/dropout"),
            interpolation: purpose("critic/interpolation"),
            calibration: purpose("calibration/conditions"),
            calibration_latent: purpose("calibration/latent"),
            calibration_gumbel: purpose("calibration/gumbel"),
        }
    }
}

/// What a step reports.
#[derive(Debug, Clone, Copy)]
struct Losses {
    generator: f64,
    critic: f64,
}

impl<'a> Trainer<'a> {
    pub(super) fn new(data: &TrainingData<'a>, options: &FitOptions) -> Result<Self> {
        let config = Config::new(options)?;
        if data.rows.rows == 0 {
            return Err(SynthError::NoRows { reason: "the table is empty".to_owned() });
        }
        if u32::try_from(data.rows.rows).is_err() {
            return Err(SynthError::Model(format!("{} rows; at most 2^32 - 1 can be learned", data.rows.rows)));
        }
        let device = resolve(options.device)?;
        use_threads(options.threads);
        let kind = if config.mixed_precision && bf16_is_fast(device) { Kind::BFloat16 } else { Kind::Float };
        let dense = Arc::new(Dense::new(data.layout, config.embedding_threshold));
        let split = Split::new(data.rows.rows, options.seed);
        let validator = Validator::new(data.layout, data.rows, &split.held_out);
        let frequencies = embedded_frequencies(&dense, data.rows, &split.train);
        // A whole number of packs; a small table is drawn from with replacement anyway.
        let batch = config.batch.min(split.train.len()).next_multiple_of(config.pac);
        let steps_per_epoch = (split.train.len() / batch).max(1) as u64;
        let rows = TrainingSampler::new(&dense, data.rows, split.train);
        let noise = Noise::new(options.seed, b"training");
        let row_width = dense.width.next_multiple_of(ALIGNMENT);
        let generator = Generator::new(dense.clone(), &config, &frequencies, &noise, kind, device)?;
        let critic = Critic::new(
            &config,
            batch / config.pac,
            (row_width, dense.width, dense.condition_width),
            &noise,
            kind,
            device,
        )?;
        let position =
            Position { step: 0, recoveries: 0, loss: 0.0, critic_loss: 0.0, best_score: None, best_epoch: 0 };
        Ok(Self {
            seed: options.seed,
            patience: options.patience,
            threads: options.threads,
            // A GPU is fed by one thread.
            team: Team::new(if device == Device::Cpu { options.threads } else { 1 })?,
            data: *data,
            dense,
            rows,
            validator,
            device,
            kind,
            batch,
            steps_per_epoch,
            row_width,
            streams: Streams::new(&noise),
            generator,
            critic,
            position,
            best: None,
            #[cfg(test)]
            poison_at: None,
            #[cfg(test)]
            poison_always: false,
            config,
        })
    }

    /// Trains to the end (or to `patience`'s).
    pub(super) fn run(mut self, observer: &mut dyn FitObserver) -> Result<Fitted> {
        use_threads(self.threads);
        let _guard = tch::no_grad_guard();
        let start = Instant::now();
        let first_step = self.position.step;
        let mut good = self.snapshot()?;
        let mut checkpointed = Instant::now();
        let mut epoch_start = Instant::now();
        let epochs = if self.dense.width == 0 { 0 } else { self.config.epochs };
        let end = u64::from(epochs) * self.steps_per_epoch;
        while self.position.step < end {
            if observer.cancelled() {
                observer.checkpoint(self.checkpoint()?)?;
                return Err(SynthError::Cancelled);
            }
            #[cfg(test)]
            if self.poison_always || self.poison_at.take_if(|at| *at == self.position.step).is_some() {
                let _ = self.generator.parameters.master.f_fill_(f64::NAN)?;
                self.generator.parameters.masters_changed()?;
            }
            let losses = self.step()?;
            self.position.step += 1;
            self.position.loss += losses.generator as f32;
            self.position.critic_loss += losses.critic as f32;
            let epoch_over = self.position.step.is_multiple_of(self.steps_per_epoch);
            if (epoch_over || self.position.step.is_multiple_of(CHECK_EVERY))
                && !(losses.generator.is_finite() && losses.critic.is_finite())
            {
                self.recover(&good)?;
                continue;
            }
            if !epoch_over {
                continue;
            }
            let epoch = (self.position.step / self.steps_per_epoch) as u32;
            let score = if self.validation_due(epoch) { Some(self.validate(epoch)?) } else { None };
            let elapsed = start.elapsed().as_secs_f64();
            let (share, done) = (1.0 / self.steps_per_epoch as f64, self.position.step - first_step);
            observer.epoch(&EpochReport {
                epoch,
                epochs,
                loss: f64::from(self.position.loss) * share,
                critic_loss: Some(f64::from(self.position.critic_loss) * share),
                score,
                rows_per_second: self.steps_per_epoch as f64 * self.batch as f64
                    / epoch_start.elapsed().as_secs_f64().max(1e-9),
                elapsed_seconds: elapsed,
                eta_seconds: elapsed / done as f64 * (end - self.position.step) as f64,
            })?;
            epoch_start = Instant::now();
            (self.position.loss, self.position.critic_loss) = (0.0, 0.0);
            if score.is_some() {
                good = self.snapshot()?;
            }
            if checkpointed.elapsed() >= CHECKPOINT_EVERY {
                observer.checkpoint(self.checkpoint()?)?;
                checkpointed = Instant::now();
            }
            if self.patience > 0 && score.is_some() && epoch >= self.position.best_epoch + self.patience {
                break;
            }
        }
        let epochs = (self.position.step / self.steps_per_epoch) as u32;
        let state = match self.best.take() {
            Some(best) => best,
            None => self.model_state()?, // nothing to learn
        };
        let model = CtganModel::new(self.data.layout, state)?;
        let report = FitReport {
            rows: self.data.rows.rows as u64,
            epochs,
            best_epoch: self.position.best_epoch,
            score: f64::from(self.position.best_score.unwrap_or(1.0)),
            seconds: start.elapsed().as_secs_f64(),
            recoveries: self.position.recoveries,
        };
        Ok(Fitted { model: Arc::new(model), report })
    }

    fn step(&mut self) -> Result<Losses> {
        let step = self.position.step;
        let rate = 0.5f64.powi(self.position.recoveries as i32);
        let last = (step + 1) * self.config.critic_steps - 1;
        for number in last + 1 - self.config.critic_steps..last {
            self.critic_gradients(number)?;
            self.critic.update(number + 1, rate, &self.team)?;
        }
        let (critic, generator) = self.team.side_by_side(
            &*self,
            |trainer| trainer.critic_gradients(last),
            |trainer| trainer.generator_gradients(step),
        );
        let (critic, generator) = (critic?, generator?);
        self.critic.update(last + 1, rate, &self.team)?;
        self.generator.update(step + 1, rate, &self.team)?;
        Ok(Losses { generator, critic })
    }

    /// The generator's gradients at `step`, and its loss.
    fn generator_gradients(&self, step: u64) -> Result<f64> {
        let draw = self.rows.draw(&self.streams.own, step, self.batch);
        let rows = Tensor::f_zeros([self.batch as i64, self.row_width as i64], (self.kind, self.device))?;
        let mut out = rows.f_narrow(1, 0, self.dense.width as i64)?;
        let noise = (&self.streams.latent, &self.streams.gumbel);
        let pass = self.generator.forward(&draw.conditions, self.batch, noise, step, &mut out)?;
        let conditions = self.packed_conditions(&draw)?;
        let (loss, grad) = self.critic.judge(&rows, &conditions, &self.streams.judge_dropout, step)?;
        let grad = grad.f_narrow(1, 0, self.dense.width as i64)?;
        Ok(loss + self.generator.gradients(&pass, &draw.conditions, &out, &grad)?)
    }

    /// The critic's gradients at its step `number`, and its loss.
    fn critic_gradients(&self, number: u64) -> Result<f64> {
        let draw = self.rows.draw(&self.streams.fake, number, self.batch);
        let mut out = self.critic.generated_rows(self.row_width)?.f_narrow(1, 0, self.dense.width as i64)?;
        let noise = (&self.streams.critic_latent, &self.streams.critic_gumbel);
        self.generator.forward(&draw.conditions, self.batch, noise, number, &mut out)?;
        let real = self.packed_rows(&draw)?;
        let conditions = self.packed_conditions(&draw)?;
        let due = number.is_multiple_of(self.config.penalty_every);
        let penalty = if due { self.config.penalty_every as f64 } else { 0.0 };
        let noise = (&self.streams.dropout, &self.streams.interpolation);
        self.critic.gradients((&real, &conditions), noise, number, penalty)
    }

    /// The conditional vectors of a batch, pack by pack.
    fn packed_conditions(&self, draw: &Draw) -> Result<SparseRows> {
        self.packed(self.dense.condition_width, |r, offset, embeddings, pack| {
            if let Some(condition) = draw.conditions.get(r) {
                self.dense.push_condition(*condition, embeddings, offset, pack);
            }
        })
    }

    /// The real rows of a batch, pack by pack.
    fn packed_rows(&self, draw: &Draw) -> Result<SparseRows> {
        self.packed(self.row_width, |r, offset, embeddings, pack| {
            self.dense.push_row(self.data.rows, draw.rows[r] as usize, embeddings, offset, pack);
        })
    }

    /// Packs of rows of `width` columns; `push` adds row `r` at its offset.
    fn packed(
        &self,
        width: usize,
        push: impl Fn(usize, usize, &[Rows<'_, f32>], &mut SparseRows),
    ) -> Result<SparseRows> {
        let embeddings = self.generator.embeddings()?;
        let embeddings = embeddings.iter().map(Rows::<f32>::of).collect::<Result<Vec<_>>>()?;
        let mut packs = SparseRows::new(self.config.pac * width);
        for r in 0..self.batch {
            let place = r % self.config.pac;
            push(r, place * width, &embeddings, &mut packs);
            if place + 1 == self.config.pac {
                packs.end_row();
            }
        }
        Ok(packs)
    }

    fn validation_due(&self, epoch: u32) -> bool {
        let every = VALIDATION_STEPS.div_ceil(self.steps_per_epoch);
        epoch == self.config.epochs || u64::from(epoch).is_multiple_of(every)
    }

    /// Scores the generator as it would sample, and keeps it if it is the best so far.
    fn validate(&mut self, epoch: u32) -> Result<f64> {
        let state = self.model_state()?;
        let model = CtganModel::new(self.data.layout, state.clone())?;
        let mut sampler = model.sampler_on(self.device, self.threads)?;
        let noise = Noise::new(self.seed, b"validation");
        let mut blocks = Vec::new();
        for block in 0..VALIDATION_BLOCKS {
            let mut rows = EncodedRows::with_capacity(self.data.layout, crate::noise::BLOCK_ROWS);
            sampler.sample(block, &noise, &mut rows)?;
            blocks.push(rows);
        }
        use_threads(self.threads);
        let score = self.validator.score(&blocks) as f32;
        if self.position.best_score.is_none_or(|best| score > best) {
            self.position.best_score = Some(score);
            self.position.best_epoch = epoch;
            self.best = Some(state);
        }
        Ok(f64::from(score))
    }

    /// Goes back to the last good state with half the learning rate.
    fn recover(&mut self, good: &ModelState) -> Result<()> {
        let recoveries = self.position.recoveries + 1;
        if recoveries > MAX_RECOVERIES {
            return Err(SynthError::Model(format!(
                "the losses became infinite or NaN {recoveries} times, each time with half the learning rate; \
                 lower `generator_learning_rate` and `critic_learning_rate`"
            )));
        }
        log::warn!("ctgan: a loss is not finite; going back with half the learning rate ({recoveries})");
        let best = (self.best.take(), self.position.best_score, self.position.best_epoch);
        self.restore(good)?;
        (self.best, self.position.best_score, self.position.best_epoch) = best;
        self.position.recoveries = recoveries;
        Ok(())
    }

    /// What a finished model is made of: the average weights, and for batch normalisation their own statistics, taken
    /// over the same batches every time.
    fn model_state(&self) -> Result<ModelState> {
        let generator = self.generator.averaged()?;
        let mut tensors = BTreeMap::new();
        for (name, tensor) in generator.parameters.named(&generator.parameters.master)? {
            tensors.insert(name, HostTensor::of(&tensor)?);
        }
        for (i, (mean, variance)) in self.calibrate(&generator)?.into_iter().enumerate() {
            tensors.insert(format!("hidden.{i}.mean"), HostTensor::of(&mean)?);
            tensors.insert(format!("hidden.{i}.variance"), HostTensor::of(&variance)?);
        }
        let frequencies = self.rows.frequencies();
        let frequencies = HostTensor { shape: vec![frequencies.len()], data: frequencies };
        tensors.insert("conditions.frequencies".to_owned(), frequencies);
        Ok(ModelState { settings: self.settings()?, tensors })
    }

    fn settings(&self) -> Result<serde_json::Value> {
        let settings = Settings {
            latent: self.config.latent,
            widths: self.config.generator_widths.to_vec(),
            embedding_threshold: self.config.embedding_threshold,
        };
        serde_json::to_value(settings).map_err(|error| SynthError::Internal(error.to_string()))
    }

    /// Mean and variance of each hidden layer of `generator` over [`CALIBRATION_BATCHES`].
    fn calibrate(&self, generator: &Generator) -> Result<Vec<(Tensor, Tensor)>> {
        let noise = (&self.streams.calibration_latent, &self.streams.calibration_gumbel);
        let mut out = Tensor::f_zeros([self.batch as i64, self.dense.width as i64], (self.kind, self.device))?;
        // Mean, mean of squares.
        let mut moments: Vec<(Tensor, Tensor)> = Vec::new();
        let share = 1.0 / CALIBRATION_BATCHES as f64;
        for batch in 0..CALIBRATION_BATCHES {
            let draw = self.rows.draw(&self.streams.calibration, batch, self.batch);
            let pass = generator.forward(&draw.conditions, self.batch, noise, batch, &mut out)?;
            for (layer, (mean, variance)) in pass.statistics().enumerate() {
                let (first, second) =
                    (mean.f_mul_scalar(share)?, variance.f_add(&mean.f_square()?)?.f_mul_scalar(share)?);
                match moments.get_mut(layer) {
                    Some(sum) => *sum = (sum.0.f_add(&first)?, sum.1.f_add(&second)?),
                    None => moments.push((first, second)),
                }
            }
        }
        let variance = |(mean, square): (Tensor, Tensor)| {
            let variance = square.f_sub(&mean.f_square()?)?.f_clamp_min(0.0)?;
            Ok((mean, variance))
        };
        moments.into_iter().map(variance).collect()
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
        save_parameters("generator", &self.generator.parameters, &mut tensors)?;
        save_parameters("critic", &self.critic.parameters, &mut tensors)?;
        save_flat("generator/average", &self.generator.parameters, &self.generator.average, &mut tensors)?;
        let settings = serde_json::to_value(&self.position).map_err(|error| SynthError::Internal(error.to_string()))?;
        Ok(ModelState { settings, tensors })
    }

    /// Takes back a [`Trainer::snapshot`] or a checkpoint's state.
    pub(super) fn restore(&mut self, state: &ModelState) -> Result<()> {
        let damaged = |reason: String| SynthError::Artifact { path: "checkpoint".to_owned(), reason };
        let position: Position =
            serde_json::from_value(state.settings.clone()).map_err(|error| damaged(error.to_string()))?;
        load_parameters("generator", &mut self.generator.parameters, state)?;
        load_parameters("critic", &mut self.critic.parameters, state)?;
        load_flat("generator/average", &self.generator.parameters, &self.generator.average, state)?;
        let best: BTreeMap<_, _> = (state.tensors.iter())
            .filter_map(|(name, tensor)| Some((name.strip_prefix("best/")?.to_owned(), tensor.clone())))
            .collect();
        self.best = if best.is_empty() { None } else { Some(ModelState { settings: self.settings()?, tensors: best }) };
        self.position = position;
        Ok(())
    }
}

/// Frequencies of the codes of every embedded sub-column.
fn embedded_frequencies(dense: &Dense, table: &CodeMatrix, rows: &[u32]) -> Vec<Vec<f32>> {
    let of = |table_: &super::dense::Table| {
        let mut counts = vec![0f32; table_.cardinality];
        let codes = &table.subcolumns[table_.subcolumn];
        rows.iter().for_each(|&row| counts[codes.code(row as usize) as usize] += 1.0);
        counts.iter_mut().for_each(|count| *count /= rows.len() as f32);
        counts
    };
    dense.tables().iter().map(of).collect()
}
