//! The trained model: weights in host memory.

use super::{
    activation::Activation,
    network::{Column, columns, shapes},
    sampler::{Reach, Sampler},
    zeros::{Masks, Zeros},
};
use crate::{
    Result, SynthError,
    encode::{Layout, SubColumn},
    models::{AnyOrderSampler, BlockSampler, ContextSampler, HostTensor, ModelState, SamplerSettings, TableModel},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// What the weights alone do not say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    pub(super) width: usize,
    pub(super) embedding_width: usize,
    /// Models of before units were squared do not say.
    #[serde(default)]
    pub(super) activation: Activation,
}

/// A trained autoregressive model.
#[derive(Debug)]
pub(super) struct ArgnModel {
    settings: Settings,
    layout: Layout,
    columns: Vec<Column>,
    tensors: BTreeMap<String, HostTensor>,
    masks: Arc<Masks>,
}

/// The cardinality of every sub-column.
pub(super) fn cardinalities(layout: &Layout) -> Result<Vec<usize>> {
    let of = |subcolumn: &SubColumn| match subcolumn {
        SubColumn::Code { cardinality, .. } => Ok(*cardinality as usize),
        SubColumn::Scalar => Err(SynthError::Model("a scalar sub-column; this model learns codes only".to_owned())),
    };
    layout.subcolumns.iter().map(of).collect()
}

impl ArgnModel {
    /// Checks `state` against `layout`.
    pub(super) fn new(layout: &Layout, state: ModelState) -> Result<Self> {
        let settings: Settings = state.model_settings("argn")?;
        let cardinalities = cardinalities(layout)?;
        let (columns, total) = columns(&cardinalities, settings.embedding_width);
        for (name, rows, width) in shapes(&columns, layout.given, total, settings.width) {
            state.weight(&name, &[rows, width])?;
        }
        let masks = Masks::new(&Zeros::load(&state.tensors, &cardinalities)?, &cardinalities, &layout.siblings);
        Ok(Self { settings, layout: layout.clone(), columns, tensors: state.tensors, masks: Arc::new(masks) })
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(super) fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// How many columns the model is given.
    pub(super) fn given(&self) -> usize {
        self.layout.given
    }

    pub(super) fn width(&self) -> usize {
        self.settings.width
    }

    pub(super) fn activation(&self) -> Activation {
        self.settings.activation
    }

    /// Which codes never go together.
    pub(super) fn masks(&self) -> &Arc<Masks> {
        &self.masks
    }

    /// The weight `name` of column `k`.
    pub(super) fn weight(&self, name: &str, k: usize) -> Result<&HostTensor> {
        let name = format!("{name}.{k}");
        self.tensors.get(&name).ok_or_else(|| SynthError::Internal(format!("no tensor `{name}`")))
    }

    /// Replaces the biases of column `k`'s head, as many as they are.
    pub(super) fn set_head_bias(&mut self, k: usize, bias: Vec<f32>) -> Result<()> {
        let name = format!("head_bias.{k}");
        let kept = self.tensors.get_mut(&name).filter(|kept| kept.data.len() == bias.len());
        kept.ok_or_else(|| SynthError::Internal(format!("no tensor `{name}` of as many biases")))?.data = bias;
        Ok(())
    }
}

impl TableModel for ArgnModel {
    fn state(&self) -> Result<ModelState> {
        Ok(ModelState { settings: ModelState::settings_of(&self.settings)?, tensors: self.tensors.clone() })
    }

    fn sampler(&self, settings: &SamplerSettings) -> Result<Box<dyn BlockSampler>> {
        Ok(Box::new(Sampler::new(self, Reach::Later, settings)?))
    }

    fn context_sampler(&self, settings: &SamplerSettings) -> Result<Box<dyn ContextSampler>> {
        Ok(self.any_order_sampler(settings)?)
    }

    fn any_order(&self) -> bool {
        self.given() == 0
    }

    fn any_order_sampler(&self, settings: &SamplerSettings) -> Result<Box<dyn AnyOrderSampler>> {
        // What is given comes first, and what is known of the others must follow it without a gap.
        let reach = if self.given() == 0 { Reach::All } else { Reach::Later };
        Ok(Box::new(Sampler::new(self, reach, settings)?))
    }

    fn sampler_memory(&self) -> usize {
        Sampler::memory(&self.columns, self.given(), self.settings.width)
    }
}
