//! CTGAN (Xu et al., "Modeling Tabular Data using Conditional GAN", NeurIPS 2019).

use super::{Checkpoint, FitObserver, FitOptions, Fitted, ModelKind, ModelState, OptionSpec, TableModel, TrainingData};
use crate::{
    Result,
    encode::{Layout, Scheme},
};
use std::sync::Arc;

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
        &[]
    }

    fn fit(
        &self,
        _data: &TrainingData<'_>,
        _options: &FitOptions,
        _resume: Option<&Checkpoint>,
        _observer: &mut dyn FitObserver,
    ) -> Result<Fitted> {
        unimplemented!()
    }

    fn load(&self, _layout: &Layout, _state: ModelState) -> Result<Arc<dyn TableModel>> {
        unimplemented!()
    }
}
