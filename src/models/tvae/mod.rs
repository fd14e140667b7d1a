//! TVAE, a variational autoencoder of rows (Xu et al., "Modeling Tabular Data using Conditional GAN", NeurIPS 2019,
//! section 4.4; Kingma & Welling, "Auto-Encoding Variational Bayes", 2014).
//!
//! The encoder turns a row into a Gaussian over latent vectors, the decoder a latent vector into a distribution per
//! column: one of codes, or a Gaussian of a scalar. Generation draws from both, so a row is a draw from the model and not
//! its most probable value. The gradients are written out by hand, libtorch multiplies the matrices.

mod config;
mod dense;
mod kernels;
mod model;
mod network;
mod prior;
mod sampler;
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
use train::TvaeLearner;

/// TVAE.
#[derive(Debug, Clone, Copy)]
pub struct Tvae;

impl ModelKind for Tvae {
    fn name(&self) -> &'static str {
        "tvae"
    }

    fn description(&self) -> &'static str {
        "variational autoencoder with mode-specific normalisation (Xu et al. 2019)"
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
        Training::new(self, data, options, |split| TvaeLearner::new(data, options, split))?.run(resume, observer)
    }

    fn load(&self, layout: &Layout, state: ModelState) -> Result<Arc<dyn TableModel>> {
        Ok(Arc::new(model::TvaeModel::new(layout, state)?))
    }
}
