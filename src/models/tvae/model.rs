//! The trained model: the decoder's weights in host memory.

use super::{
    dense::Dense,
    network::{KEPT, Sizes, shapes},
    sampler::Sampler,
};
use crate::{
    Result, SynthError,
    encode::Layout,
    models::{BlockSampler, ContextSampler, HostTensor, ModelState, SamplerSettings, TableModel},
    torch::resolve,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// What the weights alone do not say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    pub(super) latent: usize,
    pub(super) width: usize,
    pub(super) components: usize,
    pub(super) embedding_threshold: u32,
}

/// Least and greatest scalar of every slot, among the weights.
pub(super) const BOUNDS: &str = "scalars.bounds";

/// A trained TVAE: its decoder.
#[derive(Debug)]
pub(super) struct TvaeModel {
    settings: Settings,
    layout: Layout,
    dense: Arc<Dense>,
    tensors: BTreeMap<String, HostTensor>,
}

impl TvaeModel {
    /// Checks `state` against `layout`.
    pub(super) fn new(layout: &Layout, state: ModelState) -> Result<Self> {
        let settings: Settings = state.model_settings("tvae")?;
        let dense = Dense::new(layout, settings.embedding_threshold);
        let Settings { latent, width, components, .. } = settings;
        let sizes = Sizes { latent, encoder: 0, decoder: width, components };
        for (name, rows, columns) in shapes(&dense, sizes).split_off(KEPT) {
            state.weight(&name, &[rows, columns])?;
        }
        state.weight(BOUNDS, &[2, dense.slots])?;
        Ok(Self { settings, layout: layout.clone(), dense: Arc::new(dense), tensors: state.tensors })
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(super) fn dense(&self) -> &Arc<Dense> {
        &self.dense
    }

    pub(super) fn latent(&self) -> usize {
        self.settings.latent
    }

    /// The weight `name`.
    pub(super) fn weight(&self, name: &str) -> Result<&HostTensor> {
        self.tensors.get(name).ok_or_else(|| SynthError::Internal(format!("no tensor `{name}`")))
    }
}

impl TableModel for TvaeModel {
    fn state(&self) -> Result<ModelState> {
        Ok(ModelState { settings: ModelState::settings_of(&self.settings)?, tensors: self.tensors.clone() })
    }

    fn sampler(&self, settings: &SamplerSettings) -> Result<Box<dyn BlockSampler>> {
        Ok(Box::new(Sampler::new(self, resolve(settings.device)?, settings.threads)?))
    }

    fn context_sampler(&self, settings: &SamplerSettings) -> Result<Box<dyn ContextSampler>> {
        Ok(Box::new(Sampler::new(self, resolve(settings.device)?, settings.threads)?))
    }

    fn sampler_memory(&self) -> usize {
        let weights: usize = self.tensors.values().map(|tensor| 4 * tensor.data.len()).sum();
        weights + Sampler::tile_memory(&self.dense, self.settings.latent, self.settings.width)
    }
}
