//! A step of the training.
//!
//! It takes the gradients of both networks at the same weights, side by side on two threads, then updates both.
//! Each half runs on its own half of the threads, so neither waits for the other between its small products.

use super::{
    conditions::{Draw, TrainingSampler},
    config::Config,
    critic::{Critic, RealRows},
    dense::Dense,
    generator::{Generator, Pass},
    model::Settings,
};
use crate::{
    Result,
    models::{
        FitOptions, HostTensor, ModelState, TrainingData,
        embedding::frequencies,
        training::{Learner, Losses, Split, Step, load_flat, load_parameters, save_flat, save_parameters},
    },
    noise::{Noise, Purpose},
    torch::{Rows, Team, bf16_is_fast, kernels::sparse::SparseRows, resolve, use_threads},
};
use std::{collections::BTreeMap, sync::Arc};
use tch::{Device, Kind, Tensor};

/// Batches that the statistics of batch normalisation are taken over when a model is made.
const CALIBRATION_BATCHES: u64 = 20;
/// Steps between validations, at least.
const VALIDATION_STEPS: u64 = 250;

/// The two networks, learning.
pub(super) struct CtganLearner<'a> {
    config: Config,
    team: Team,
    data: TrainingData<'a>,
    dense: Arc<Dense>,
    rows: TrainingSampler<'a>,
    device: Device,
    kind: Kind,
    batch: usize,
    steps_per_epoch: u64,
    streams: Streams,
    generator: Generator,
    critic: Critic,
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
        }
    }
}

impl<'a> CtganLearner<'a> {
    pub(super) fn new(data: &TrainingData<'a>, options: &FitOptions, split: Split) -> Result<Self> {
        let config = Config::new(options);
        let device = resolve(options.device)?;
        use_threads(1);
        let kind = if config.mixed_precision && bf16_is_fast(device) { Kind::BFloat16 } else { Kind::Float };
        let dense = Arc::new(Dense::new(data.layout, config.embedding_threshold));
        let frequencies: Vec<_> = (dense.tables.iter())
            .map(|table| frequencies(data.rows, table.subcolumn, table.cardinality, &split.train))
            .collect();
        // A whole number of packs; a small table is drawn from with replacement anyway.
        let batch = config.batch.min(split.train.len()).next_multiple_of(config.pac);
        let steps_per_epoch = (split.train.len() / batch).max(1) as u64;
        let rows = TrainingSampler::new(&dense, data.rows, split.train);
        let noise = Noise::new(options.seed, b"training");
        let generator = Generator::new(dense.clone(), &config, &frequencies, &noise, kind, device)?;
        let critic = Critic::new(&config, batch / config.pac, &dense, &noise, kind, device)?;
        Ok(Self {
            // A GPU is fed by one thread.
            team: Team::new(if device == Device::Cpu { options.threads } else { 1 })?,
            data: *data,
            dense,
            rows,
            device,
            kind,
            batch,
            steps_per_epoch,
            streams: Streams::new(&noise),
            generator,
            critic,
            config,
        })
    }

    fn unpadded(&self, rows: &Tensor) -> Result<Tensor> {
        Ok(rows.f_narrow(1, 0, self.dense.width as i64)?)
    }

    /// Generates batch `number` under the conditions of `draw`: rows `[rows, padded width]` without vectors, which the
    /// critic fills in, and the pass that made them.
    fn generate(&self, draw: &Draw, noise: (&Purpose, &Purpose), number: u64) -> Result<(Tensor, Pass)> {
        let shape = [self.batch as i64, self.dense.padded_width() as i64];
        let rows = Tensor::f_zeros(shape, (self.kind, self.device))?;
        let pass = self.generator.forward(draw, self.batch, noise, number, &mut self.unpadded(&rows)?)?;
        Ok((rows, pass))
    }

    /// The generator's gradients at `step`, and its loss.
    fn generator_gradients(&self, step: u64) -> Result<f64> {
        let draw = self.rows.draw(&self.streams.own, step, self.batch);
        let (rows, pass) = self.generate(&draw, (&self.streams.latent, &self.streams.gumbel), step)?;
        let conditions = self.packed_conditions(&draw)?;
        let dropout = &self.streams.judge_dropout;
        let (loss, by_rows, by_codes) = self.critic.judge((&rows, &pass.codes), &conditions, dropout, step)?;
        let by_output = (&self.unpadded(&by_rows)?, &by_codes);
        Ok(loss + self.generator.gradients(&pass, &draw.conditions, &self.unpadded(&rows)?, by_output)?)
    }

    /// The critic's gradients at its step `number`, and its loss.
    fn critic_gradients(&self, number: u64) -> Result<f64> {
        let draw = self.rows.draw(&self.streams.fake, number, self.batch);
        let (rows, pass) = self.generate(&draw, (&self.streams.critic_latent, &self.streams.critic_gumbel), number)?;
        let conditions = self.packed_conditions(&draw)?;
        let due = number.is_multiple_of(self.config.penalty_every);
        let penalty = if due { self.config.penalty_every as f64 } else { 0.0 };
        let noise = (&self.streams.dropout, &self.streams.interpolation);
        let generated = (&rows, &pass.codes);
        self.critic.gradients((&self.real_rows(&draw), generated, &conditions), noise, number, penalty)
    }

    /// The conditional vectors of a batch, pack by pack.
    fn packed_conditions(&self, draw: &Draw) -> Result<SparseRows> {
        let embeddings = self.critic.embeddings()?;
        let embeddings = embeddings.iter().map(Rows::<f32>::of).collect::<Result<Vec<_>>>()?;
        Ok(self.packed(self.dense.condition_width, |r, offset, packs| {
            self.dense.push_conditions(draw, r, &embeddings, offset, packs);
        }))
    }

    /// The real rows of a batch.
    fn real_rows(&self, draw: &Draw) -> RealRows {
        let block = draw.context.clone().unwrap_or_else(|| self.data.rows.read(&draw.rows));
        let packs = self.packed(self.dense.padded_width(), |r, offset, packs| {
            self.dense.push_row(&block, r, offset, packs);
        });
        let codes = self.dense.tables.iter().map(|table| {
            let mut codes = SparseRows::new(table.cardinality);
            for row in 0..block.rows {
                codes.push(block.subcolumns[table.subcolumn].code(row) as usize, 1.0);
                codes.end_row();
            }
            codes
        });
        RealRows { packs, codes: codes.collect() }
    }

    /// Packs of rows of `width` columns; `push` adds row `r` at its offset.
    fn packed(&self, width: usize, push: impl Fn(usize, usize, &mut SparseRows)) -> SparseRows {
        let mut packs = SparseRows::new(self.config.pac * width);
        for r in 0..self.batch {
            let place = r % self.config.pac;
            push(r, place * width, &mut packs);
            if place + 1 == self.config.pac {
                packs.end_row();
            }
        }
        packs
    }

    /// Mean and variance of each hidden layer of `generator` over [`CALIBRATION_BATCHES`].
    fn calibrate(&self, generator: &Generator) -> Result<Vec<(Tensor, Tensor)>> {
        // Mean, mean of squares.
        let mut moments: Vec<(Tensor, Tensor)> = Vec::new();
        let share = 1.0 / CALIBRATION_BATCHES as f64;
        for batch in 0..CALIBRATION_BATCHES {
            let draw = self.rows.draw(&self.streams.calibration, batch, self.batch);
            let latent = &self.streams.calibration_latent;
            let hidden = generator.hidden_layers(&draw, self.batch, latent, batch)?;
            for (layer, (mean, variance)) in hidden.statistics().enumerate() {
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
}

impl Learner for CtganLearner<'_> {
    const RATES: &'static str = "`generator_learning_rate` and `critic_learning_rate`";

    fn epochs(&self) -> u32 {
        if self.dense.width == 0 { 0 } else { self.config.epochs }
    }

    fn steps_per_epoch(&self) -> u64 {
        self.steps_per_epoch
    }

    fn rows_per_epoch(&self) -> usize {
        self.steps_per_epoch as usize * self.batch
    }

    fn libtorch_threads(&self) -> usize {
        1 // libtorch's own threads would spin beside the team's
    }

    fn step(&mut self, Step { number, rate, .. }: Step) -> Result<Losses> {
        let last = (number + 1) * self.config.critic_steps - 1;
        for step in last + 1 - self.config.critic_steps..last {
            self.critic_gradients(step)?;
            self.critic.update(step + 1, rate, &self.team)?;
        }
        let (critic, generator) = self.team.side_by_side(
            &*self,
            |learner| learner.critic_gradients(last),
            |learner| learner.generator_gradients(number),
        );
        let (critic, generator) = (critic?, generator?);
        self.critic.update(last + 1, rate, &self.team)?;
        self.generator.update(number + 1, rate, &self.team)?;
        Ok(Losses { loss: generator, critic: Some(critic) })
    }

    fn validation_due(&self, epoch: u32) -> bool {
        let every = VALIDATION_STEPS.div_ceil(self.steps_per_epoch);
        epoch == self.config.epochs || u64::from(epoch).is_multiple_of(every)
    }

    /// A generator has no likelihood: its samples are judged.
    fn merit(&self, score: f32) -> Result<f32> {
        Ok(score)
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
        ModelState::settings_of(&Settings {
            latent: self.config.latent,
            widths: self.config.generator_widths.to_vec(),
            embedding_threshold: self.config.embedding_threshold,
        })
    }

    fn save(&self, tensors: &mut BTreeMap<String, HostTensor>) -> Result<()> {
        save_parameters("generator", &self.generator.parameters, tensors)?;
        save_parameters("critic", &self.critic.parameters, tensors)?;
        save_flat("generator/average", &self.generator.parameters, &self.generator.average.values, tensors)
    }

    fn load(&mut self, state: &ModelState) -> Result<()> {
        load_parameters("generator", &mut self.generator.parameters, state)?;
        load_parameters("critic", &mut self.critic.parameters, state)?;
        load_flat("generator/average", &self.generator.parameters, &self.generator.average.values, state)
    }

    #[cfg(test)]
    fn poison(&mut self) -> Result<()> {
        let _ = self.generator.parameters.master.f_fill_(f64::NAN)?;
        self.generator.parameters.masters_changed()
    }
}
