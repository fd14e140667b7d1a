//! libtorch, behind one wall: devices, threads, and the kernels that libtorch lacks or is slow at.

mod device;

pub use device::DeviceKind;
