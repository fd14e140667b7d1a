//! Dropout (Srivastava et al. 2014, "Dropout: A Simple Way to Prevent Neural Networks from Overfitting") by addressed noise.

use crate::{
    Result,
    noise::Purpose,
    torch::{Element, by_kind, write_rows},
};
use tch::{Device, Kind, Tensor};

/// A mask of `count` units, `[1, count]`: 0 where a unit is dropped, else 1 / (1 - dropout); the dropout is rounded to a
/// 256th.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(crate) fn dropout_mask(
    count: i64,
    dropout: f64,
    (purpose, block): (&Purpose, u64),
    (kind, device): (Kind, Device),
) -> Result<Tensor> {
    let limit = (dropout * 256.0).round() as u8;
    let scale = 256.0 / (256.0 - f32::from(limit));
    let mut bytes = vec![0u8; count as usize];
    purpose.fill_u8(block, &mut bytes);
    let mut mask = Tensor::f_empty([1, count], (kind, device))?;
    by_kind!(kind, T => write_rows::<T>(&mut mask, |mut rows| {
        let values = [T::from_f32(0.0), T::from_f32(scale)];
        rows.row(0).iter_mut().zip(&bytes).for_each(|(slot, &byte)| *slot = values[usize::from(byte >= limit)]);
    }))?;
    Ok(mask)
}
