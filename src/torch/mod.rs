//! libtorch, behind one wall: devices, threads, and the kernels that libtorch lacks or is slow at.

mod device;
pub(crate) mod kernels;
mod parameters;
mod rows;
mod threads;

pub use device::{DeviceKind, bf16_is_fast, resolve};
pub(crate) use parameters::{Adam, Average, Parameters};
pub(crate) use rows::{Element, Rows, RowsMut, by_kind};
pub use threads::use_threads;
pub(crate) use threads::{Team, cores, overlapped};

use crate::Result;
use tch::{Device, Kind, Tensor};

/// `tensor` as another kind; itself when it already is of that kind.
pub(crate) fn cast(tensor: &Tensor, kind: Kind) -> Result<Tensor> {
    Ok(if tensor.f_kind()? == kind { tensor.shallow_clone() } else { tensor.f_to_kind(kind)? })
}

/// Has `write` fill `tensor`: in place on the CPU, through a copy elsewhere. `write` must set every element.
pub(crate) fn write_rows<T: Element>(tensor: &mut Tensor, write: impl FnOnce(RowsMut<'_, T>)) -> Result<()> {
    if tensor.device() == Device::Cpu {
        write(RowsMut::of(tensor)?);
    } else {
        let mut host = Tensor::f_zeros(tensor.size().as_slice(), (T::KIND, Device::Cpu))?;
        write(RowsMut::of(&mut host)?);
        tensor.f_copy_(&host)?;
    }
    Ok(())
}

/// `out = a b` (matrices), into the memory of `out`.
pub(crate) fn multiply(a: &Tensor, b: &Tensor, out: &Tensor) -> Result<()> {
    let _ = a.f_mm_out(out, b)?;
    Ok(())
}
