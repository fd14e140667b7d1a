//! Parameters in and out of checkpoints.

use crate::{
    Result, SynthError,
    models::{HostTensor, ModelState},
    torch::Parameters,
};
use std::collections::BTreeMap;
use tch::{Device, Kind, Tensor};

/// Weights and Adam's moments as `prefix/part/name`.
pub(in crate::models) fn save_parameters(
    prefix: &str,
    parameters: &Parameters,
    tensors: &mut BTreeMap<String, HostTensor>,
) -> Result<()> {
    for (part, flat) in parts(parameters) {
        save_flat(&format!("{prefix}/{part}"), parameters, flat, tensors)?;
    }
    Ok(())
}

/// Takes back what [`save_parameters`] kept.
pub(in crate::models) fn load_parameters(prefix: &str, parameters: &mut Parameters, state: &ModelState) -> Result<()> {
    for (part, flat) in parts(parameters) {
        load_flat(&format!("{prefix}/{part}"), parameters, flat, state)?;
    }
    parameters.masters_changed()
}

/// One flat run of values, laid out as `parameters`, as `prefix/name`.
pub(in crate::models) fn save_flat(
    prefix: &str,
    parameters: &Parameters,
    flat: &Tensor,
    tensors: &mut BTreeMap<String, HostTensor>,
) -> Result<()> {
    for (name, tensor) in parameters.named(flat)? {
        tensors.insert(format!("{prefix}/{name}"), HostTensor::of(&tensor)?);
    }
    Ok(())
}

/// Takes back what [`save_flat`] kept.
pub(in crate::models) fn load_flat(
    prefix: &str,
    parameters: &Parameters,
    flat: &Tensor,
    state: &ModelState,
) -> Result<()> {
    for (name, mut tensor) in parameters.named(flat)? {
        let host = kept(state, &format!("{prefix}/{name}"), &tensor.size())?;
        tensor.f_copy_(&host.tensor(Kind::Float, Device::Cpu)?)?;
    }
    Ok(())
}

/// The tensor `name` of a checkpoint, which must have this shape.
pub(in crate::models) fn kept<'a>(state: &'a ModelState, name: &str, shape: &[i64]) -> Result<&'a HostTensor> {
    let damaged = |reason: String| SynthError::Artifact { path: "checkpoint".to_owned(), reason };
    let host = state.tensors.get(name).ok_or_else(|| damaged(format!("`{name}` is missing")))?;
    if host.shape.iter().map(|&n| n as i64).ne(shape.iter().copied()) {
        return Err(damaged(format!("`{name}` has shape {:?} instead of {shape:?}", host.shape)));
    }
    Ok(host)
}

fn parts(parameters: &Parameters) -> [(&'static str, &Tensor); 3] {
    [("weight", &parameters.master), ("first", &parameters.first), ("second", &parameters.second)]
}
