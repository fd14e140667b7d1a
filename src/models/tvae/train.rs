//! A step of the training.

use super::{
    config::Config,
    dense::Dense,
    model::{BOUNDS, Settings},
    network::{KEPT, Network},
};
use crate::{
    Result,
    encode::SubColumn,
    models::{
        FitOptions, HostTensor, ModelState, TrainingData,
        embedding::frequencies,
        training::{
            Learner, Losses, Shuffled, Split, Step, load_flat, load_parameters, one_cycle, save_flat, save_parameters,
        },
    },
    noise::{Noise, Purpose},
    torch::{Team, resolve, use_threads},
};
use std::{collections::BTreeMap, sync::Arc};
use tch::Device;

/// Codes of a larger cardinality are learned through entity embeddings instead of one-hot vectors.
const EMBEDDING_THRESHOLD: u32 = 128;
/// Steps between validations, at least.
const VALIDATION_STEPS: u64 = 500;

/// The autoencoder, learning.
pub(super) struct TvaeLearner<'a> {
    config: Config,
    team: Team,
    data: TrainingData<'a>,
    split: Split,
    latent: Purpose,
    /// Of the latent vectors of held-out rows.
    judged: Purpose,
    network: Network,
    width: usize,
    rows: Shuffled,
}

impl<'a> TvaeLearner<'a> {
    pub(super) fn new(data: &TrainingData<'a>, options: &FitOptions, split: Split) -> Result<Self> {
        let device = resolve(options.device)?;
        use_threads(1);
        let rows = &split.train;
        let config = Config::new(options, rows.len());
        let dense = Arc::new(Dense::new(data.layout, EMBEDDING_THRESHOLD));
        let of = |(at, subcolumn): (usize, &SubColumn)| match *subcolumn {
            SubColumn::Code { cardinality, .. } => frequencies(data.rows, at, cardinality as usize, rows),
            SubColumn::Scalar => Vec::new(),
        };
        let frequencies: Vec<_> = data.layout.subcolumns.iter().enumerate().map(of).collect();
        let bounds = dense.bounds(data.rows, rows);
        let noise = Noise::new(options.seed, b"training");
        let width = dense.width;
        Ok(Self {
            team: Team::new(if device == Device::Cpu { options.threads.min(2) } else { 1 })?,
            data: *data,
            split,
            rows: Shuffled::new(noise.purpose("tvae/shuffle")),
            latent: noise.purpose("tvae/latent"),
            judged: noise.purpose("tvae/held out"),
            network: Network::new(dense, &config, &frequencies, bounds, &noise, device)?,
            width,
            config,
        })
    }
}

impl Learner for TvaeLearner<'_> {
    const RATES: &'static str = "`autoencoder_learning_rate`";

    fn epochs(&self) -> u32 {
        if self.width == 0 { 0 } else { self.config.epochs }
    }

    fn steps_per_epoch(&self) -> u64 {
        self.split.train.len().div_ceil(self.config.batch) as u64
    }

    fn rows_per_epoch(&self) -> usize {
        self.split.train.len()
    }

    fn libtorch_threads(&self) -> usize {
        1
    }

    fn step(&mut self, Step { number, rate, end }: Step) -> Result<Losses> {
        let rows = self.rows.batch(&self.split.train, number, self.config.batch);
        let loss = self.network.gradients(self.data.rows, rows, (&self.latent, number), &self.team)?;
        self.network.update(number + 1, rate * one_cycle(number as f64 / end as f64), &self.team)?;
        Ok(Losses { loss, critic: None })
    }

    fn validation_due(&self, epoch: u32) -> bool {
        let every = VALIDATION_STEPS.div_ceil(self.steps_per_epoch());
        epoch == self.config.epochs || u64::from(epoch).is_multiple_of(every)
    }

    /// The loss of held-out rows: a bound of their likelihood. It tells more than the samples' score, which does not miss
    /// the dependences of more than two columns.
    fn merit(&self, _score: f32) -> Result<f32> {
        Ok(-self.network.average_loss(self.data.rows, &self.split.held_out, &self.judged)? as f32)
    }

    fn model_state(&self) -> Result<ModelState> {
        let network = &self.network;
        let named = network.parameters.named(&network.average.values)?.split_off(KEPT).into_iter();
        let mut tensors: BTreeMap<_, _> =
            named.map(|(name, tensor)| Ok((name, HostTensor::of(&tensor)?))).collect::<Result<_>>()?;
        let shape = vec![2, network.bounds.len() / 2];
        tensors.insert(BOUNDS.to_owned(), HostTensor { shape, data: network.bounds.clone() });
        Ok(ModelState { settings: self.settings()?, tensors })
    }

    fn settings(&self) -> Result<serde_json::Value> {
        ModelState::settings_of(&Settings {
            latent: self.config.sizes.latent,
            width: self.config.sizes.decoder,
            components: self.config.sizes.components,
            embedding_threshold: EMBEDDING_THRESHOLD,
        })
    }

    fn save(&self, tensors: &mut BTreeMap<String, HostTensor>) -> Result<()> {
        save_parameters("network", &self.network.parameters, tensors)?;
        save_flat("network/average", &self.network.parameters, &self.network.average.values, tensors)
    }

    fn load(&mut self, state: &ModelState) -> Result<()> {
        load_parameters("network", &mut self.network.parameters, state)?;
        load_flat("network/average", &self.network.parameters, &self.network.average.values, state)
    }

    #[cfg(test)]
    fn poison(&mut self) -> Result<()> {
        let _ = self.network.parameters.master.f_fill_(f64::NAN)?;
        Ok(())
    }
}
