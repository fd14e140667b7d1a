//! Trained state outside libtorch: named tensors and settings.

use std::collections::BTreeMap;

/// A dense, row-major f32 tensor in host memory.
#[derive(Debug, Clone, PartialEq)]
pub struct HostTensor {
    /// Lengths of the dimensions.
    pub shape: Vec<usize>,
    /// The values.
    pub data: Vec<f32>,
}

/// A model's (or a checkpoint's) state: what an artifact keeps.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ModelState {
    /// Settings and sizes, kept in `manifest.json`.
    pub settings: serde_json::Value,
    /// Weights, kept in `weights.safetensors`.
    pub tensors: BTreeMap<String, HostTensor>,
}
