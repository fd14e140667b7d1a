//! How far every pair of columns shrinks.
//!
//! What column `k` sees of column `j` (the rows of `W_k` that `E_j` is multiplied by) and the head of `k` have L2 decays of
//! their own, as the inputs of a network have in automatic relevance determination (MacKay 1994; Neal, "Bayesian Learning for
//! Neural Networks", 1996, §4.2). A column that says nothing of another is then hardly seen by it, so that rows are not
//! learned by heart through it, while what determines a column is not blurred.
//!
//! Rows held out find the decays (cf. Larsen et al., "Design and regularization of neural networks: the optimal use of a validation
//! set", 1996). Along weights `w` the slope of their loss is `g·w`: positive where shorter weights would serve them better. Once per
//! epoch a decay moves by `g·w / |w|²`, the decay that would make up for the slope.
//!
//! What serves held-out rows best still likens generated rows to those learned. Where half of the square of the gap between the
//! losses of held-out and learned rows counts too, `c` times, column by column, the slope is `(1 + c q) g·w - c q g'·w`, with `q` the
//! column's gap: what is known by heart weighs, and what is not is left alone. Learned rows want longer weights by just as much as
//! their decay `d` pulls, `g'·w = -d |w|²`, so that the decay moves by `(1 + c q) g·w / |w|² + c q d`. The last column's gap does
//! not count: no other column is drawn from it.

/// By which shares of itself a decay falls and rises in an epoch at most.
const FALL: f64 = 0.3;
const RISE: f64 = 0.5;

/// A decay is at most so many times the least one.
const MOST: f64 = 100.0;

/// The decays of all pairs of columns and of all heads.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Decays {
    /// Of all parameters but the heads' biases, and of pairs and heads at first and at least.
    least: f64,
    /// `c` of the module, per nat.
    gap_weight: f64,
    /// Per learned column: of what it sees of every column, then of its head. Kept as checkpoints keep them.
    parts: Vec<f32>,
    /// Parts per learned column.
    per_column: usize,
}

impl Decays {
    /// Decays of `learned` columns, `per_column` each, at their least.
    #[allow(clippy::cast_possible_truncation)]
    pub(super) fn new(least: f64, gap_weight: f64, learned: usize, per_column: usize) -> Self {
        Self { least, gap_weight, parts: vec![least as f32; learned * per_column], per_column }
    }

    pub(super) fn least(&self) -> f64 {
        self.least
    }

    pub(super) fn parts(&self) -> &[f32] {
        &self.parts
    }

    /// The decays of each learned column.
    pub(super) fn columns(&self) -> impl Iterator<Item = &[f32]> {
        self.parts.chunks_exact(self.per_column)
    }

    /// Takes up decays, as many as there are, where a checkpoint left them.
    pub(super) fn resume(&mut self, parts: &[f32]) {
        self.parts = parts.to_vec();
    }

    /// Moves every decay by what held-out rows want it to be more, and by what the gap of its column does: of every learned
    /// column, in nats.
    #[allow(clippy::cast_possible_truncation)]
    pub(super) fn follow(&mut self, wanted: &[f64], gaps: &[f64]) {
        let last = self.parts.len().saturating_sub(self.per_column);
        for (at, (decay, wanted)) in self.parts.iter_mut().zip(wanted).enumerate() {
            let now = f64::from(*decay);
            let weight = if at < last { self.gap_weight * gaps[at / self.per_column].max(0.0) } else { 0.0 };
            let wanted = (1.0 + weight) * wanted + weight * now;
            let next = now + wanted.clamp(-FALL * now, RISE * now);
            *decay = next.clamp(self.least, MOST * self.least) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decays_follow_what_held_out_rows_want_within_bounds() {
        let mut decays = Decays::new(0.5, 0.0, 1, 5);
        decays.resume(&[4.0, 4.0, 4.0, 0.5, 50.0]);
        decays.follow(&[1.0, 100.0, -100.0, -1.0, 1.0], &[1.0]);
        assert_eq!(decays.parts(), [5.0, 6.0, 2.8, 0.5, 50.0]);
        let mut none = Decays::new(0.0, 0.0, 1, 1);
        none.follow(&[1.0], &[1.0]);
        assert_eq!(none.parts(), [0.0]);
    }

    #[test]
    fn the_gap_of_every_column_but_the_last_weighs_as_much_as_it_is_large() {
        let mut decays = Decays::new(0.5, 2.0, 4, 2);
        decays.resume(&[8.0; 8]);
        // Held-out rows alone would have it stay or fall by 2.
        decays.follow(&[0.0, -2.0, 0.0, -2.0, 0.0, -2.0, 0.0, -2.0], &[0.25, 0.125, -0.5, 0.25]);
        assert_eq!(decays.parts(), [12.0, 9.0, 10.0, 7.5, 8.0, 6.0, 8.0, 6.0]);
        assert_eq!(decays.columns().nth(1), Some(&[10.0, 7.5][..]));
    }
}
