//! CTGAN (Xu et al., "Modeling Tabular Data using Conditional GAN", NeurIPS 2019).
//!
//! The networks' gradients are written out by hand: both are short, the same matrices serve every step, and one
//! product often yields the gradient of several losses (see `critic.rs`). libtorch multiplies the matrices.

mod conditions;
mod config;
mod critic;
mod dense;
mod generator;
mod model;
mod sampler;
mod tables;
#[cfg(test)]
mod tests;
mod train;

use super::{
    Checkpoint, FitObserver, FitOptions, Fitted, ModelKind, ModelState, OptionSpec, TableModel, TrainingData,
    training::Training,
};
use crate::{
    Result,
    encode::{Layout, Scheme},
};
use std::sync::Arc;
use train::CtganLearner;

/// CTGAN.
#[derive(Debug, Clone, Copy)]
pub struct Ctgan;

impl ModelKind for Ctgan {
    fn name(&self) -> &'static str {
        "ctgan"
    }

    fn description(&self) -> &'static str {
        "conditional tabular GAN with mode-specific normalisation (Xu et al. 2019)"
    }

    fn scheme(&self) -> Scheme {
        Scheme::ModeSpecific
    }

    fn options(&self) -> &'static [OptionSpec] {
        config::OPTIONS
    }

    fn takes_context(&self) -> bool {
        true
    }

    fn fit(
        &self,
        data: &TrainingData<'_>,
        options: &FitOptions,
        resume: Option<&Checkpoint>,
        observer: &mut dyn FitObserver,
    ) -> Result<Fitted> {
        Training::new(self, data, options, |split| CtganLearner::new(data, options, split))?.run(resume, observer)
    }

    fn load(&self, layout: &Layout, state: ModelState) -> Result<Arc<dyn TableModel>> {
        Ok(Arc::new(model::CtganModel::new(layout, state)?))
    }
}
