//! The way through the rows, and the learning rate along it.

use crate::noise::Purpose;
use rand::seq::SliceRandom;

/// Share of the steps in which the learning rate rises.
const RISE: f64 = 0.3;

/// The learning rate's course over a training (Smith & Topin 2019): from 1/25 up to 1, then down to nothing, by cosines.
pub(in crate::models) fn one_cycle(done: f64) -> f64 {
    let cosine = |share: f64| (1.0 - (std::f64::consts::PI * share).cos()) / 2.0;
    if done < RISE { 0.04 + 0.96 * cosine(done / RISE) } else { 1.0 - 0.9999 * cosine((done - RISE) / (1.0 - RISE)) }
}

/// Rows in an order of their own in every epoch.
pub(in crate::models) struct Shuffled {
    shuffle: Purpose,
    /// The epoch whose order is in hand.
    current: (Option<u64>, Vec<u32>),
}

impl Shuffled {
    pub(in crate::models) fn new(shuffle: Purpose) -> Self {
        Self { shuffle, current: (None, Vec::new()) }
    }

    /// Those of `rows` that step `number` is about: `size` of them, but at the end of an epoch.
    pub(in crate::models) fn batch(&mut self, rows: &[u32], number: u64, size: usize) -> &[u32] {
        let steps = rows.len().div_ceil(size) as u64;
        let (epoch, at) = (number / steps, (number % steps) as usize);
        if self.current.0 != Some(epoch) {
            let mut rows = rows.to_vec();
            rows.shuffle(&mut self.shuffle.block(epoch));
            self.current = (Some(epoch), rows);
        }
        let rows = &self.current.1[at * size..];
        &rows[..rows.len().min(size)]
    }
}
