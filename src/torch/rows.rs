//! The memory of a CPU tensor, row by row: the one place where kernels touch it.

#![allow(unsafe_code)]

use crate::{Result, SynthError};
use half::bf16;
use std::marker::PhantomData;
use tch::{Device, Kind, Tensor};

/// A floating-point type that kernels read and write; they compute in f32.
pub(crate) trait Element: Copy + Default + Send + Sync + 'static {
    /// libtorch's name of the type.
    const KIND: Kind;
    /// Widens exactly.
    fn to_f32(self) -> f32;
    /// Rounds to nearest, ties to even.
    fn from_f32(value: f32) -> Self;
}

impl Element for f32 {
    const KIND: Kind = Kind::Float;
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }
    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        value
    }
}

impl Element for bf16 {
    const KIND: Kind = Kind::BFloat16;
    #[inline(always)]
    fn to_f32(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
    // Not `bf16::from_f32`: without a branch the loop vectorises. A NaN of all-ones payload stays a NaN
    // because libtorch's and the processor's NaNs have the top mantissa bit set and an empty payload.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation)]
    fn from_f32(value: f32) -> Self {
        let bits = value.to_bits();
        Self::from_bits((bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16) as u16)
    }
}

/// Runs an expression with `$element` standing for the Rust type of `$kind`.
macro_rules! by_kind {
    ($kind:expr, $element:ident => $run:expr) => {
        match $kind {
            tch::Kind::Float => {
                type $element = f32;
                $run
            }
            tch::Kind::BFloat16 => {
                type $element = half::bf16;
                $run
            }
            other => Err($crate::SynthError::Internal(format!("no kernel for {other:?}"))),
        }
    };
}
pub(crate) use by_kind;

/// Where the rows of a tensor lie.
#[derive(Clone, Copy)]
struct Extent {
    rows: usize,
    columns: usize,
    stride: usize,
}

fn extent<T: Element>(tensor: &Tensor) -> Result<Extent> {
    let (size, stride) = (tensor.size(), tensor.stride());
    let (rows, columns, stride) = match (size.as_slice(), stride.as_slice()) {
        ([columns], [1]) => (1, *columns, *columns),
        ([rows, columns], [stride, 1]) => (*rows, *columns, *stride),
        ([rows, columns], [stride, _]) if *columns == 1 => (*rows, 1, *stride),
        _ => return Err(SynthError::Internal(format!("a tensor of sizes {size:?}, strides {stride:?} has no rows"))),
    };
    if tensor.device() != Device::Cpu || tensor.f_kind()? != T::KIND {
        return Err(SynthError::Internal(format!("a {tensor:?} where {:?} on the CPU is wanted", T::KIND)));
    }
    let to = |n: i64| usize::try_from(n).map_err(|_| SynthError::Internal("a negative stride".to_owned()));
    Ok(Extent { rows: to(rows)?, columns: to(columns)?, stride: to(stride)? })
}

/// Read access to a one- or two-dimensional CPU tensor whose rows are contiguous.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a, T> {
    data: *const T,
    extent: Extent,
    tensor: PhantomData<&'a Tensor>,
}

// SAFETY: it is a shared borrow of plain numbers; nobody writes them while it lives (see `Rows::of`).
unsafe impl<T: Element> Send for Rows<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Element> Sync for Rows<'_, T> {}

impl<'a, T: Element> Rows<'a, T> {
    /// The rows of `tensor`. Tensors can share memory; a kernel's caller never passes a tensor to read whose
    /// elements overlap one to write.
    pub(crate) fn of(tensor: &'a Tensor) -> Result<Self> {
        Ok(Self { extent: extent::<T>(tensor)?, data: tensor.data_ptr().cast(), tensor: PhantomData })
    }

    pub(crate) fn rows(&self) -> usize {
        self.extent.rows
    }

    pub(crate) fn columns(&self) -> usize {
        self.extent.columns
    }

    /// Row `row`.
    #[inline(always)]
    pub(crate) fn row(&self, row: usize) -> &'a [T] {
        assert!(row < self.extent.rows);
        if self.extent.columns == 0 {
            return &[]; // an empty tensor has no memory
        }
        // SAFETY: within the tensor by its sizes and strides; the tensor outlives 'a.
        unsafe { std::slice::from_raw_parts(self.data.add(row * self.extent.stride), self.extent.columns) }
    }
}

/// Write access to a one- or two-dimensional CPU tensor whose rows are contiguous.
pub(crate) struct RowsMut<'a, T> {
    data: *mut T,
    extent: Extent,
    tensor: PhantomData<&'a mut Tensor>,
}

impl<'a, T: Element> RowsMut<'a, T> {
    /// The rows of `tensor`; see [`Rows::of`] on overlap.
    pub(crate) fn of(tensor: &'a mut Tensor) -> Result<Self> {
        Ok(Self { extent: extent::<T>(tensor)?, data: tensor.data_ptr().cast(), tensor: PhantomData })
    }

    pub(crate) fn rows(&self) -> usize {
        self.extent.rows
    }

    /// Row `row`.
    #[inline(always)]
    pub(crate) fn row(&mut self, row: usize) -> &mut [T] {
        assert!(row < self.extent.rows);
        if self.extent.columns == 0 {
            return &mut [];
        }
        // SAFETY: within the tensor by its sizes and strides; `&mut self` makes it the only row at hand.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(row * self.extent.stride), self.extent.columns) }
    }
}
