//! Trained state outside libtorch: named tensors and settings.

use crate::{Result, SynthError};
use serde::{Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;
use tch::{Device, Kind, Tensor};

/// A dense, row-major f32 tensor in host memory.
#[derive(Debug, Clone, PartialEq)]
pub struct HostTensor {
    /// Lengths of the dimensions.
    pub shape: Vec<usize>,
    /// The values.
    pub data: Vec<f32>,
}

impl HostTensor {
    /// A copy of a tensor on any device.
    ///
    /// # Errors
    /// libtorch failed.
    pub fn of(tensor: &Tensor) -> Result<Self> {
        let shape = tensor.size().iter().map(|&n| usize::try_from(n).unwrap_or(0)).collect();
        let tensor = tensor.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?.f_contiguous()?;
        let mut data = vec![0.0; tensor.numel()];
        tensor.f_copy_data(&mut data, tensor.numel())?;
        Ok(Self { shape, data })
    }

    /// A copy as a tensor on `device`, in `kind`.
    ///
    /// # Errors
    /// The shape does not fit the values; libtorch failed.
    pub fn tensor(&self, kind: Kind, device: Device) -> Result<Tensor> {
        if self.shape.iter().product::<usize>() != self.data.len() {
            let found = self.data.len();
            return Err(SynthError::Model(format!("a tensor of shape {:?} with {found} values", self.shape)));
        }
        let shape: Vec<i64> = self.shape.iter().map(|&n| n as i64).collect();
        Ok(Tensor::f_from_slice(&self.data)?.f_view(shape.as_slice())?.f_to_device(device)?.f_to_kind(kind)?)
    }
}

/// A model's (or a checkpoint's) state: what an artifact keeps.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ModelState {
    /// Settings and sizes, kept in `manifest.json`.
    pub settings: serde_json::Value,
    /// Weights, kept in `weights.safetensors`.
    pub tensors: BTreeMap<String, HostTensor>,
}

impl ModelState {
    /// Settings as they are kept.
    pub(super) fn settings_of(settings: &impl Serialize) -> Result<serde_json::Value> {
        serde_json::to_value(settings).map_err(|error| SynthError::Internal(error.to_string()))
    }

    /// The settings of a stored model of kind `kind`.
    pub(super) fn model_settings<T: DeserializeOwned>(&self, kind: &str) -> Result<T> {
        serde_json::from_value(self.settings.clone()).map_err(|error| SynthError::Artifact {
            path: "manifest.json".to_owned(),
            reason: format!("the settings of {kind}: {error}"),
        })
    }

    /// The weight `name` of a stored model, which must have this shape.
    pub(super) fn weight(&self, name: &str, shape: &[usize]) -> Result<&HostTensor> {
        let damaged = |reason: String| SynthError::Artifact { path: "weights.safetensors".to_owned(), reason };
        match self.tensors.get(name) {
            Some(tensor) if tensor.shape == shape && tensor.data.len() == shape.iter().product::<usize>() => Ok(tensor),
            Some(tensor) => Err(damaged(format!(
                "`{name}` has shape {:?}, the manifest's encoder asks for {shape:?}",
                tensor.shape
            ))),
            None => Err(damaged(format!("`{name}` is missing"))),
        }
    }
}
