//! CPU kernels over tensor memory for what libtorch lacks or is slow at: activations of mixed rows, draws from
//! many small distributions, batch normalisation fused with its ReLU, Adam over all parameters at once.
//!
//! Each kernel is one pass with a fixed order of additions and only correctly rounded operations, so a result
//! does not depend on the vector width it was compiled for. Tensors on a GPU take the same formulas in libtorch's operations;
//! tests hold both equal.

pub(crate) mod activation;
pub(crate) mod adam;
pub(crate) mod draw;
pub(crate) mod dropout;
pub(crate) mod leaky;
pub(crate) mod math;
pub(crate) mod norm;
pub(crate) mod segments;
pub(crate) mod sparse;
