//! The training loop that every kind of model runs: epochs, validation, the kept weights, recovery, checkpoints.
//!
//! A kind brings a [`Learner`]: its networks and a step of theirs. All else is the same for all.

mod course;
mod parameters;
mod validation;

pub(super) use course::{Shuffled, one_cycle};

pub(super) use parameters::{kept, load_flat, load_parameters, save_flat, save_parameters};
pub(super) use validation::Split;

use super::{
    Checkpoint, EpochReport, FitObserver, FitOptions, FitReport, Fitted, HostTensor, ModelKind, ModelState,
    SamplerSettings, TrainingData,
};
use crate::{
    Result, SynthError,
    encode::EncodedRows,
    noise::{BLOCK_ROWS, Noise},
    torch::use_threads,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use validation::Validator;

/// Losses are looked at every so many steps.
const CHECK_EVERY: u64 = 10;
/// Generated rows per validation, in blocks.
const VALIDATION_BLOCKS: u64 = 4;
const CHECKPOINT_EVERY: Duration = Duration::from_secs(30);
const MAX_RECOVERIES: u32 = 5;

/// Networks that learn step by step.
pub(super) trait Learner {
    /// The options to lower where a training diverges, as an error names them.
    const RATES: &'static str;

    /// Epochs to run; 0 where there is nothing to learn.
    fn epochs(&self) -> u32;

    /// At least 1.
    fn steps_per_epoch(&self) -> u64;

    /// Rows learned from in an epoch.
    fn rows_per_epoch(&self) -> usize;

    /// Threads that a step wants libtorch to use.
    fn libtorch_threads(&self) -> usize;

    /// Takes a step. What it does depends on nothing but the networks and `step`.
    fn step(&mut self, step: Step) -> Result<Losses>;

    /// Whether the model is scored after `epoch` (from 1); it must be after the last.
    fn validation_due(&self, epoch: u32) -> bool;

    /// What the validation's weights are kept by, the higher the better; `score` is that of their samples.
    fn merit(&self, score: f32) -> Result<f32>;

    /// The model as it would be kept now.
    fn model_state(&self) -> Result<ModelState>;

    /// What is done to the model that is kept, at the end.
    fn finish(&self, best: ModelState) -> Result<ModelState> {
        Ok(best)
    }

    /// The settings of [`Learner::model_state`] alone.
    fn settings(&self) -> Result<serde_json::Value>;

    /// Adds what [`Learner::load`] needs.
    fn save(&self, tensors: &mut BTreeMap<String, HostTensor>) -> Result<()>;

    /// Takes back what [`Learner::save`] kept.
    fn load(&mut self, state: &ModelState) -> Result<()>;

    /// Makes every weight NaN.
    #[cfg(test)]
    fn poison(&mut self) -> Result<()>;
}

/// A step to take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    /// From 0.
    pub(super) number: u64,
    /// Steps of the whole training.
    pub(super) end: u64,
    /// Factor of the learning rates: halved at every recovery.
    pub(super) rate: f64,
}

/// What a step reports.
#[derive(Debug, Clone, Copy)]
pub(super) struct Losses {
    /// The generator's, or the model's only one.
    pub(super) loss: f64,
    /// The critic's, where there is one.
    pub(super) critic: Option<f64>,
}

/// Where a training stands; all of it is in a checkpoint. f32 goes through JSON unchanged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Position {
    /// Steps done.
    step: u64,
    recoveries: u32,
    /// Sums over the current epoch.
    loss: f32,
    critic_loss: Option<f32>,
    best: Option<Best>,
    /// The settings of the model that is learned; they may be other ones in another build.
    #[serde(default)]
    model: serde_json::Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Best {
    epoch: u32,
    merit: f32,
    score: f32,
}

/// A training under way.
pub(super) struct Training<'a, L> {
    kind: &'a dyn ModelKind,
    data: TrainingData<'a>,
    options: &'a FitOptions,
    pub(super) learner: L,
    validator: Validator,
    position: Position,
    best: Option<ModelState>,
    /// Whether the weights break before a step.
    #[cfg(test)]
    pub(super) poison: Box<dyn FnMut(u64) -> bool>,
}

impl<'a, L: Learner> Training<'a, L> {
    /// Splits off the rows to validate with; `learner` learns the others.
    pub(super) fn new(
        kind: &'a dyn ModelKind,
        data: &TrainingData<'a>,
        options: &'a FitOptions,
        learner: impl FnOnce(Split) -> Result<L>,
    ) -> Result<Self> {
        kind.check(options)?;
        if data.rows.is_empty() {
            return Err(SynthError::NoRows { reason: "the table is empty".to_owned() });
        }
        if u32::try_from(data.rows.len()).is_err() {
            return Err(SynthError::Model(format!("{} rows; at most 2^32 - 1 can be learned", data.rows.len())));
        }
        let split = Split::new(data.rows.len(), options.seed);
        let validator = Validator::new(data.layout, data.rows.read(&split.held_out));
        let learner = learner(split)?;
        let model = learner.settings()?;
        Ok(Self {
            kind,
            data: *data,
            options,
            learner,
            validator,
            position: Position { step: 0, recoveries: 0, loss: 0.0, critic_loss: None, best: None, model },
            best: None,
            #[cfg(test)]
            poison: Box::new(|_| false),
        })
    }

    /// Trains, from where `resume` stood, to the end (or to that of the patience).
    pub(super) fn run(mut self, resume: Option<&Checkpoint>, observer: &mut dyn FitObserver) -> Result<Fitted> {
        use_threads(self.learner.libtorch_threads());
        let _guard = tch::no_grad_guard();
        if let Some(checkpoint) = resume {
            self.restore(&checkpoint.state)?;
        }
        let start = Instant::now();
        let first_step = self.position.step;
        let mut good = self.snapshot()?;
        let mut checkpointed = Instant::now();
        let mut epoch_start = Instant::now();
        let (epochs, steps_per_epoch) = (self.learner.epochs(), self.learner.steps_per_epoch());
        let end = u64::from(epochs) * steps_per_epoch;
        while self.position.step < end {
            if observer.cancelled() {
                observer.checkpoint(self.checkpoint()?)?;
                return Err(SynthError::Cancelled);
            }
            #[cfg(test)]
            if (self.poison)(self.position.step) {
                self.learner.poison()?;
            }
            let losses = self.step(end)?;
            let epoch_over = self.position.step.is_multiple_of(steps_per_epoch);
            let finite = losses.loss.is_finite() && losses.critic.is_none_or(f64::is_finite);
            if !finite && (epoch_over || self.position.step.is_multiple_of(CHECK_EVERY)) {
                self.recover(&good)?;
                continue;
            }
            if !epoch_over {
                continue;
            }
            let epoch = self.epoch();
            let score = if self.learner.validation_due(epoch) { Some(self.validate()?) } else { None };
            let elapsed = start.elapsed().as_secs_f64();
            let (share, done) = (1.0 / steps_per_epoch as f64, self.position.step - first_step);
            observer.epoch(&EpochReport {
                epoch,
                epochs,
                loss: f64::from(self.position.loss) * share,
                critic_loss: self.position.critic_loss.map(|loss| f64::from(loss) * share),
                score,
                rows_per_second: self.learner.rows_per_epoch() as f64 / epoch_start.elapsed().as_secs_f64().max(1e-9),
                elapsed_seconds: elapsed,
                eta_seconds: elapsed / done as f64 * (end - self.position.step) as f64,
            })?;
            epoch_start = Instant::now();
            (self.position.loss, self.position.critic_loss) = (0.0, None);
            if score.is_some() {
                good = self.snapshot()?;
            }
            if checkpointed.elapsed() >= CHECKPOINT_EVERY {
                observer.checkpoint(self.checkpoint()?)?;
                checkpointed = Instant::now();
            }
            let patience = self.options.patience;
            if patience > 0 && score.is_some() && self.position.best.is_some_and(|best| epoch >= best.epoch + patience)
            {
                break;
            }
        }
        let state = match self.best.take() {
            Some(best) => best,
            None => self.learner.model_state()?, // nothing to learn
        };
        let state = self.learner.finish(state)?;
        let report = FitReport {
            rows: self.data.rows.len() as u64,
            epochs: self.epoch(),
            best_epoch: self.position.best.map_or(0, |best| best.epoch),
            score: self.position.best.map_or(1.0, |best| f64::from(best.score)),
            seconds: start.elapsed().as_secs_f64(),
            recoveries: self.position.recoveries,
        };
        Ok(Fitted { model: self.kind.load(self.data.layout, state)?, report })
    }

    fn step(&mut self, end: u64) -> Result<Losses> {
        let position = &mut self.position;
        let rate = 0.5f64.powi(position.recoveries as i32);
        let losses = self.learner.step(Step { number: position.step, end, rate })?;
        position.step += 1;
        position.loss += losses.loss as f32;
        if let Some(loss) = losses.critic {
            *position.critic_loss.get_or_insert(0.0) += loss as f32;
        }
        Ok(losses)
    }

    /// Epochs done.
    fn epoch(&self) -> u32 {
        (self.position.step / self.learner.steps_per_epoch()) as u32
    }

    /// Scores the model by its samples, and keeps it if it is the best so far.
    fn validate(&mut self) -> Result<f64> {
        let state = self.learner.model_state()?;
        let model = self.kind.load(self.data.layout, state.clone())?;
        let settings = SamplerSettings::new(self.options.device, self.options.threads);
        let noise = Noise::new(self.options.seed, b"validation");
        let mut blocks: Vec<_> =
            (0..VALIDATION_BLOCKS).map(|_| EncodedRows::with_capacity(self.data.layout, BLOCK_ROWS)).collect();
        if self.data.layout.given == 0 {
            let mut sampler = model.sampler(&settings)?;
            (0..).zip(&mut blocks).try_for_each(|(block, rows)| sampler.sample(block, &noise, rows))?;
        } else {
            let mut sampler = model.context_sampler(&settings)?;
            for (block, rows) in (0..).zip(&mut blocks) {
                sampler.complete(block, &noise, &self.validator.contexts(block), rows)?;
            }
        }
        use_threads(self.learner.libtorch_threads());
        let score = self.validator.score(&blocks) as f32;
        let merit = self.learner.merit(score)?;
        if self.position.best.is_none_or(|best| merit > best.merit) {
            self.position.best = Some(Best { epoch: self.epoch(), merit, score });
            self.best = Some(state);
        }
        Ok(f64::from(score))
    }

    /// Goes back to the last good state with half the learning rate.
    fn recover(&mut self, good: &ModelState) -> Result<()> {
        let recoveries = self.position.recoveries + 1;
        let kind = self.kind.name();
        if recoveries > MAX_RECOVERIES {
            return Err(SynthError::Model(format!(
                "{kind}: the losses became infinite or NaN {recoveries} times, each time with half the learning rate; \
                 lower {}",
                L::RATES
            )));
        }
        log::warn!("{kind}: a loss is not finite; going back with half the learning rate ({recoveries})");
        let best = (self.best.take(), self.position.best);
        self.restore(good)?;
        (self.best, self.position.best) = best;
        self.position.recoveries = recoveries;
        Ok(())
    }

    fn checkpoint(&self) -> Result<Checkpoint> {
        let mut state = self.snapshot()?;
        if let Some(best) = &self.best {
            state.tensors.extend(best.tensors.iter().map(|(name, t)| (format!("best/{name}"), t.clone())));
        }
        Ok(Checkpoint { epoch: self.epoch(), state })
    }

    /// Everything but the best model so far.
    fn snapshot(&self) -> Result<ModelState> {
        let mut tensors = BTreeMap::new();
        self.learner.save(&mut tensors)?;
        Ok(ModelState { settings: ModelState::settings_of(&self.position)?, tensors })
    }

    /// Takes back a [`Training::snapshot`] or a checkpoint's state.
    fn restore(&mut self, state: &ModelState) -> Result<()> {
        let damaged = |reason: String| SynthError::Artifact { path: "checkpoint".to_owned(), reason };
        let position: Position =
            serde_json::from_value(state.settings.clone()).map_err(|error| damaged(error.to_string()))?;
        if position.model != self.position.model {
            return Err(damaged(format!(
                "it is that of a model with settings {}, this build learns one with {}; train anew, without `resume`",
                position.model, self.position.model
            )));
        }
        self.learner.load(state)?;
        let best: BTreeMap<_, _> = (state.tensors.iter())
            .filter_map(|(name, tensor)| Some((name.strip_prefix("best/")?.to_owned(), tensor.clone())))
            .collect();
        self.best =
            if best.is_empty() { None } else { Some(ModelState { settings: self.learner.settings()?, tensors: best }) };
        self.position = position;
        Ok(())
    }
}
