//! The trained model: weights in host memory, and their state.

use super::{
    dense::{Dense, Segment},
    generator::ALIGNMENT,
    sampler::Sampler,
};
use crate::{
    Result,
    encode::Layout,
    models::{BlockSampler, ContextSampler, HostTensor, ModelState, SamplerSettings, TableModel, tiles::TILE},
    torch::{kernels::norm, resolve},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};
use tch::{Kind, Tensor};

/// What the weights alone do not say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    pub(super) latent: usize,
    pub(super) widths: Vec<usize>,
    pub(super) embedding_threshold: u32,
}

/// A trained CTGAN.
#[derive(Debug)]
pub(super) struct CtganModel {
    settings: Settings,
    weights: Weights,
    tensors: BTreeMap<String, HostTensor>,
}

/// The generator's weights by their part.
#[derive(Debug)]
pub(super) struct Weights {
    pub(super) layout: Layout,
    pub(super) dense: Arc<Dense>,
    pub(super) latent: usize,
    /// Rows of every weight before this one belong to the condition, the constant 1 and padding.
    pub(super) noise_at: usize,
    hidden: Vec<HiddenWeights>,
    pub(super) head: HostTensor,
    /// Matrix and bias of every embedded sub-column.
    pub(super) tables: Vec<(HostTensor, HostTensor)>,
    /// True frequency of every condition.
    pub(super) frequencies: HostTensor,
}

#[derive(Debug)]
struct HiddenWeights {
    weight: HostTensor,
    scale: HostTensor,
    shift: HostTensor,
    mean: HostTensor,
    variance: HostTensor,
}

impl CtganModel {
    /// Checks `state` against `layout`.
    pub(super) fn new(layout: &Layout, state: ModelState) -> Result<Self> {
        let settings: Settings = state.model_settings("ctgan")?;
        let dense = Dense::new(layout, settings.embedding_threshold);
        let get = |name: &str, shape: &[usize]| state.weight(name, shape).cloned();
        let noise_at = (dense.condition_width + 1).next_multiple_of(ALIGNMENT);
        let mut input = noise_at.saturating_add(settings.latent);
        let mut hidden = Vec::new();
        for (i, &width) in settings.widths.iter().enumerate() {
            let vector = |what: &str, shape: &[usize]| get(&format!("hidden.{i}.{what}"), shape);
            hidden.push(HiddenWeights {
                weight: vector("weight", &[input, width])?,
                scale: vector("scale", &[1, width])?,
                shift: vector("shift", &[1, width])?,
                mean: vector("mean", &[width])?,
                variance: vector("variance", &[width])?,
            });
            input = input.saturating_add(width);
        }
        let head = get("head.weight", &[input, dense.width])?;
        let mut tables = Vec::new();
        for table in &dense.tables {
            tables.push((
                get(&format!("embedding.{}.weight", table.subcolumn), &[table.cardinality, table.width])?,
                get(&format!("embedding.{}.bias", table.subcolumn), &[1, table.cardinality])?,
            ));
        }
        let frequencies = get("conditions.frequencies", &[dense.condition_count])?;
        let weights = Weights {
            layout: layout.clone(),
            latent: settings.latent,
            noise_at,
            dense: Arc::new(dense),
            hidden,
            head,
            tables,
            frequencies,
        };
        Ok(Self { settings, weights, tensors: state.tensors })
    }
}

impl Weights {
    /// The weights of every hidden layer with its normalisation folded in: columns scaled, the constant's row
    /// carrying the shift.
    #[allow(clippy::cast_possible_truncation)]
    pub(super) fn folded_hidden(&self) -> Result<Vec<HostTensor>> {
        let fold = |layer: &HiddenWeights| -> Result<HostTensor> {
            let width = layer.scale.data.len();
            let factor = |c: usize| layer.scale.data[c] / (layer.variance.data[c] + norm::EPSILON as f32).sqrt();
            let mut weight = layer.weight.clone();
            for (r, row) in weight.data.chunks_mut(width).enumerate() {
                for (c, value) in row.iter_mut().enumerate() {
                    let mean = if r == self.dense.condition_width { layer.mean.data[c] } else { 0.0 };
                    let shift = if r == self.dense.condition_width { layer.shift.data[c] } else { 0.0 };
                    *value = (*value - mean) * factor(c) + shift;
                }
            }
            Ok(weight)
        };
        self.hidden.iter().map(fold).collect()
    }

    /// The conditional vector of every condition, `[conditions, condition_width]` (f32, on the CPU); one empty
    /// vector where there are none.
    pub(super) fn condition_vectors(&self) -> Result<Tensor> {
        let (count, width) = (self.dense.condition_count.max(1), self.dense.condition_width);
        let mut vectors = vec![0f32; count * width];
        for column in &self.dense.conditions {
            for code in 0..column.cardinality {
                let vector = &mut vectors[(column.first + code) * width..][..width];
                match self.dense.segments[column.subcolumn] {
                    Segment::Embedded { table } => {
                        let width = self.dense.tables[table].width;
                        let row = &self.tables[table].0.data[code * width..][..width];
                        vector[column.at..column.at + width].copy_from_slice(row);
                    }
                    _ => vector[column.at + code] = 1.0,
                }
            }
        }
        Ok(Tensor::f_from_slice(&vectors)?.f_view([count as i64, width as i64])?.f_to_kind(Kind::Float)?)
    }
}

impl TableModel for CtganModel {
    fn state(&self) -> Result<ModelState> {
        Ok(ModelState { settings: ModelState::settings_of(&self.settings)?, tensors: self.tensors.clone() })
    }

    fn sampler(&self, settings: &SamplerSettings) -> Result<Box<dyn BlockSampler>> {
        Ok(Box::new(Sampler::new(&self.weights, resolve(settings.device)?, settings.threads)?))
    }

    fn context_sampler(&self, settings: &SamplerSettings) -> Result<Box<dyn ContextSampler>> {
        Ok(Box::new(Sampler::new(&self.weights, resolve(settings.device)?, settings.threads)?))
    }

    fn sampler_memory(&self) -> usize {
        let weights: usize = self.tensors.values().map(|tensor| 4 * tensor.data.len()).sum();
        let dense = &self.weights.dense;
        let hidden: usize = self.settings.widths.iter().sum();
        let conditions = if dense.takes_context() { TILE } else { dense.condition_count };
        let tables = 4 * conditions * (hidden + dense.width + dense.condition_width);
        let tile = TILE * 4 * (2 * (self.settings.latent + hidden) + 2 * dense.width);
        let embedded = if self.weights.tables.is_empty() { 0 } else { 16 << 20 };
        weights + tables + 4 * tile + embedded
    }
}
