//! An autoregressive model of codes: each column is drawn given those before it, by a small network of its own.
//!
//! The likelihood of a row is the product of its columns' (the chain rule); one hidden layer per column sees the
//! embeddings of the visible columns, as in neural autoregressive distribution estimation (Uria et al., "Neural
//! Autoregressive Distribution Estimation", JMLR 2016) and, for tables, TabularARGN (Tiwald et al. 2025). A share of
//! every batch is learned in random orders of the columns, so one network knows the distribution of any column given
//! any others; generation goes by the table's own order, which is learned best.

mod activation;
mod calibration;
mod config;
mod model;
mod network;
mod polynomials;
mod relevance;
mod sampler;
#[cfg(test)]
mod tests;
mod train;
mod zeros;

use super::{
    Checkpoint, FitObserver, FitOptions, Fitted, ModelKind, ModelState, OptionSpec, TableModel, TrainingData,
    training::Training,
};
use crate::{
    Result,
    encode::{Layout, Scheme},
};
use std::sync::Arc;
use train::ArgnLearner;

/// The autoregressive model.
#[derive(Debug, Clone, Copy)]
pub struct Argn;

impl ModelKind for Argn {
    fn name(&self) -> &'static str {
        "argn"
    }

    fn description(&self) -> &'static str {
        "autoregressive networks over codes, a column given those before it (NADE; TabularARGN)"
    }

    fn scheme(&self) -> Scheme {
        Scheme::Codes
    }

    fn options(&self) -> &'static [OptionSpec] {
        config::OPTIONS
    }

    fn check(&self, options: &FitOptions) -> Result<()> {
        options.check(self.name(), self.options())?;
        config::check(options)
    }

    fn any_order(&self) -> bool {
        true
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
        Training::new(self, data, options, |split| ArgnLearner::new(data, options, split))?.run(resume, observer)
    }

    fn load(&self, layout: &Layout, state: ModelState) -> Result<Arc<dyn TableModel>> {
        Ok(Arc::new(model::ArgnModel::new(layout, state)?))
    }
}
