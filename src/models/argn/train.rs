//! A step of the training: one-cycle learning rate, averaged weights judged by the likelihood of held-out rows.

use super::{
    calibration::calibrate,
    config::Config,
    model::{ArgnModel, Settings, cardinalities},
    network::{Batch, Network, Regularisation, Start, columns},
    zeros::Zeros,
};
use crate::{
    Result,
    encode::{SubColumn, SubColumnData},
    models::{
        FitOptions, HostTensor, ModelState, TableModel, TrainingData,
        embedding::frequencies,
        training::{
            Learner, Losses, Shuffled, Split, Step, kept, load_flat, load_parameters, one_cycle, save_flat,
            save_parameters,
        },
    },
    noise::{Noise, Purpose},
    torch::{Team, resolve, use_threads},
};
use rand::seq::SliceRandom;
use std::collections::BTreeMap;
use tch::Device;

/// Rows judged at once.
const JUDGED: usize = 1024;

/// What a checkpoint calls the decays.
const DECAYS: &str = "network/decays";

/// The networks, learning.
pub(super) struct ArgnLearner<'a> {
    config: Config,
    team: Team,
    data: TrainingData<'a>,
    split: Split,
    device: Device,
    orders: Purpose,
    held_out_orders: Purpose,
    dropout: Purpose,
    network: Network,
    zeros: Zeros,
    calibration: Noise,
    rows: Shuffled,
}

impl<'a> ArgnLearner<'a> {
    pub(super) fn new(data: &TrainingData<'a>, options: &FitOptions, split: Split) -> Result<Self> {
        let device = resolve(options.device)?;
        use_threads(1);
        let config = Config::new(options, split.train.len(), data.layout.given);
        let noise = Noise::new(options.seed, b"training");
        let cardinalities = cardinalities(data.layout)?;
        let start = |(at, (subcolumn, &cardinality)): (usize, (&SubColumn, &usize))| Start {
            frequencies: frequencies(data.rows, at, cardinality, &split.train),
            ascending: subcolumn.ascending(),
        };
        let start: Vec<Start> = data.layout.subcolumns.iter().zip(&cardinalities).enumerate().map(start).collect();
        let columns = columns(&cardinalities, config.embedding_width);
        let regularisation = Regularisation {
            weight_decay: config.shrinkage / split.train.len() as f64,
            gap_weight: config.gap_weight,
            dropout: config.dropout,
        };
        let zeros = Zeros::of(data.rows, data.layout);
        let network = Network::new(
            columns,
            data.layout.given,
            (config.width, config.activation),
            &start,
            regularisation,
            &noise,
            device,
        )?;
        Ok(Self {
            team: Team::new(if device == Device::Cpu { options.threads.min(2) } else { 1 })?,
            data: *data,
            split,
            device,
            rows: Shuffled::new(noise.purpose("argn/shuffle")),
            orders: noise.purpose("argn/orders"),
            held_out_orders: noise.purpose("argn/held-out orders"),
            dropout: noise.purpose("argn/dropout"),
            network,
            zeros,
            calibration: Noise::new(options.seed, b"calibration"),
            config,
        })
    }

    fn batch(&self, rows: &[u32], ranks: &[f32]) -> Result<Batch> {
        let of = |codes: &SubColumnData| (0..codes.len()).map(|row| i64::from(codes.code(row))).collect();
        let codes: Vec<Vec<i64>> = self.data.rows.read(rows).subcolumns.iter().map(of).collect();
        Batch::new(&codes, ranks, self.device)
    }

    /// The rows as they are learned: the last of them in random orders of the columns, from block `block` of `orders`.
    fn in_orders(&self, rows: &[u32], orders: &Purpose, block: u64) -> Result<Batch> {
        let free = (self.config.any_order * rows.len() as f64).round() as usize;
        self.batch(rows, &self.random_ranks(orders, block, free))
    }

    /// Random ranks of the columns for `rows` rows, after those of the given ones.
    fn random_ranks(&self, orders: &Purpose, block: u64, rows: usize) -> Vec<f32> {
        let mut random = orders.block(block);
        let mut order: Vec<f32> = (0..self.network.columns.len()).map(|k| k as f32).collect();
        let mut ranks = Vec::with_capacity(rows * order.len());
        for _ in 0..rows {
            order[self.data.layout.given..].shuffle(&mut random);
            ranks.extend_from_slice(&order);
        }
        ranks
    }

    /// Lets the held-out rows move the decays, and as many learned ones beside them where the gap weighs.
    fn follow_held_out(&mut self) -> Result<()> {
        let network = self.network.at_average()?;
        let wanted = |batch: &Batch| network.wanted_decays(batch, &self.team);
        let mut wanted = self.means_in_orders(&self.split.held_out, wanted)?;
        let held_out = wanted.split_off(network.decays().parts().len());
        let learned = match self.config.gap_weight > 0.0 {
            true => self.means_in_orders(&self.split.learned_as_many(), |batch| network.losses(batch))?,
            false => held_out.clone(),
        };
        let gaps: Vec<f64> = held_out.into_iter().zip(learned).map(|(held_out, learned)| held_out - learned).collect();
        self.network.change_decays(|decays| decays.follow(&wanted, &gaps))
    }

    /// Means over `rows`, in orders as they are learned.
    fn means_in_orders(&self, rows: &[u32], of: impl Fn(&Batch) -> Result<Vec<f64>>) -> Result<Vec<f64>> {
        means(rows, |block, some| of(&self.in_orders(some, &self.held_out_orders, block)?))
    }

    /// Mean negative log-likelihood of the held-out rows in the table's order.
    fn held_out_loss(&self) -> Result<f64> {
        let network = self.network.averaged()?;
        Ok(means(&self.split.held_out, |_, rows| network.losses(&self.batch(rows, &[])?))?.into_iter().sum())
    }
}

/// Means over `rows` of what `of` says of the rows of each block of them.
fn means(rows: &[u32], of: impl Fn(u64, &[u32]) -> Result<Vec<f64>>) -> Result<Vec<f64>> {
    let mut means = Vec::new();
    for (block, some) in (0..).zip(rows.chunks(JUDGED)) {
        let values = of(block, some)?;
        means.resize(values.len(), 0.0);
        let share = some.len() as f64 / rows.len() as f64;
        means.iter_mut().zip(values).for_each(|(mean, value)| *mean += value * share);
    }
    Ok(means)
}

impl Learner for ArgnLearner<'_> {
    const RATES: &'static str = "`learning_rate`";

    fn epochs(&self) -> u32 {
        if self.network.columns.len() == self.data.layout.given { 0 } else { self.config.epochs }
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

    fn step(&mut self, step: Step) -> Result<Losses> {
        let number = step.number;
        if number > 0 && number.is_multiple_of(self.steps_per_epoch()) && self.config.shrinkage > 0.0 {
            self.follow_held_out()?;
        }
        let rows = self.rows.batch(&self.split.train, number, self.config.batch).to_vec();
        let batch = self.in_orders(&rows, &self.orders, number)?;
        let losses = self.network.gradients(&batch, Some((&self.dropout, number)), &self.team)?;
        let rate = self.config.learning_rate * one_cycle(number as f64 / step.end as f64) * step.rate;
        self.network.update(number + 1, rate, &self.team)?;
        Ok(Losses { loss: losses.into_iter().sum(), critic: None })
    }

    fn validation_due(&self, _epoch: u32) -> bool {
        true
    }

    /// The likelihood of held-out rows.
    fn merit(&self, _score: f32) -> Result<f32> {
        Ok(-self.held_out_loss()? as f32)
    }

    fn model_state(&self) -> Result<ModelState> {
        let tensors = self.network.averaged()?.tensors()?.into_iter();
        let mut tensors = tensors.map(|(name, t)| Ok((name, HostTensor::of(&t)?))).collect::<Result<_>>()?;
        self.zeros.save(&mut tensors);
        Ok(ModelState { settings: self.settings()?, tensors })
    }

    fn finish(&self, best: ModelState) -> Result<ModelState> {
        let mut model = ArgnModel::new(self.data.layout, best)?;
        calibrate(&mut model, self.data.rows, &self.calibration)?;
        model.state()
    }

    fn settings(&self) -> Result<serde_json::Value> {
        let Config { width, embedding_width, activation, .. } = self.config;
        ModelState::settings_of(&Settings { width, embedding_width, activation })
    }

    fn save(&self, tensors: &mut BTreeMap<String, HostTensor>) -> Result<()> {
        save_parameters("network", &self.network.parameters, tensors)?;
        save_flat("network/average", &self.network.parameters, &self.network.average.values, tensors)?;
        let decays = self.network.decays().parts().to_vec();
        tensors.insert(DECAYS.to_owned(), HostTensor { shape: vec![decays.len()], data: decays });
        Ok(())
    }

    fn load(&mut self, state: &ModelState) -> Result<()> {
        load_parameters("network", &mut self.network.parameters, state)?;
        load_flat("network/average", &self.network.parameters, &self.network.average.values, state)?;
        let decays = kept(state, DECAYS, &[self.network.decays().parts().len() as i64])?;
        self.network.change_decays(|now| now.resume(&decays.data))
    }

    #[cfg(test)]
    fn poison(&mut self) -> Result<()> {
        let _ = self.network.parameters.master.f_fill_(f64::NAN)?;
        Ok(())
    }
}
