//! What stands where in a dense row of mixed kinds.

use crate::Result;
use tch::{Device, Kind, Tensor};

/// The parts of a dense row that have an activation: scalars (tanh) and distributions (softmax). Other columns
/// (vectors of embedded codes) are passed over.
#[derive(Debug)]
pub(crate) struct Segments {
    /// Width of a row.
    pub(crate) width: usize,
    /// Positions of scalars.
    pub(crate) scalars: Vec<usize>,
    /// Distributions: first position, number of codes.
    pub(crate) distributions: Vec<(usize, usize)>,
    /// The same for libtorch's operations, made where the device needs it.
    pub(crate) index: Option<SegmentIndex>,
}

/// [`Segments`] as index tensors: rows are gathered into `distributions x longest`, padded by one extra column.
#[derive(Debug)]
pub(crate) struct SegmentIndex {
    /// Number of distributions, and the length of the longest.
    pub(crate) shape: (i64, i64),
    /// Per padded slot, its position in the row; `width` for padding.
    pub(crate) gather: Tensor,
    /// Per position, its padded slot (0 where none).
    pub(crate) slot: Tensor,
    /// Per position, its distribution (-1 where none).
    pub(crate) segment: Tensor,
    /// Per position, 1 for a scalar.
    pub(crate) is_scalar: Tensor,
}

impl Segments {
    /// For rows on `device`.
    pub(crate) fn new(
        width: usize,
        scalars: Vec<usize>,
        distributions: Vec<(usize, usize)>,
        device: Device,
    ) -> Result<Self> {
        let mut segments = Self { width, scalars, distributions, index: None };
        if device != Device::Cpu {
            segments.index = Some(SegmentIndex::new(&segments, device)?);
        }
        Ok(segments)
    }
}

impl SegmentIndex {
    /// Index tensors of `segments` on `device`.
    pub(crate) fn new(segments: &Segments, device: Device) -> Result<Self> {
        let width = segments.width;
        let count = segments.distributions.len();
        let longest = segments.distributions.iter().map(|d| d.1).max().unwrap_or(1);
        let mut gather = vec![width as i64; count.max(1) * longest];
        let mut slot = vec![0i64; width];
        let mut segment = vec![-1i64; width];
        let mut is_scalar = vec![0f32; width];
        for (s, &(at, length)) in segments.distributions.iter().enumerate() {
            for code in 0..length {
                gather[s * longest + code] = (at + code) as i64;
                slot[at + code] = (s * longest + code) as i64;
                segment[at + code] = s as i64;
            }
        }
        segments.scalars.iter().for_each(|&at| is_scalar[at] = 1.0);
        Ok(Self {
            shape: (count.max(1) as i64, longest as i64),
            gather: Tensor::f_from_slice(&gather)?.f_to_device(device)?,
            slot: Tensor::f_from_slice(&slot)?.f_to_device(device)?,
            segment: Tensor::f_from_slice(&segment)?.f_to_device(device)?,
            is_scalar: Tensor::f_from_slice(&is_scalar)?.f_to_kind(Kind::Float)?.f_to_device(device)?,
        })
    }
}
