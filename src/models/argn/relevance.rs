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

/// By which shares of itself a decay falls and rises in an epoch at most.
const FALL: f64 = 0.3;
const RISE: f64 = 0.5;

/// A decay is at most so many times the least one.
const MOST: f64 = 100.0;

/// The decays of all pairs of columns and of all heads.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Decays {
    /// Of all parameters, and of pairs and heads at first and at least.
    least: f64,
    /// Per learned column: of what it sees of every column, then of its head. Kept as checkpoints keep them.
    parts: Vec<f32>,
}

impl Decays {
    /// `parts` decays at their least.
    #[allow(clippy::cast_possible_truncation)]
    pub(super) fn new(least: f64, parts: usize) -> Self {
        Self { least, parts: vec![least as f32; parts] }
    }

    pub(super) fn least(&self) -> f64 {
        self.least
    }

    pub(super) fn parts(&self) -> &[f32] {
        &self.parts
    }

    /// Takes up decays, as many as there are, where a checkpoint left them.
    pub(super) fn resume(&mut self, parts: &[f32]) {
        self.parts = parts.to_vec();
    }

    /// Moves every decay by what held-out rows want it to be more.
    #[allow(clippy::cast_possible_truncation)]
    pub(super) fn follow(&mut self, wanted: &[f64]) {
        for (decay, wanted) in self.parts.iter_mut().zip(wanted) {
            let now = f64::from(*decay);
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
        let mut decays = Decays::new(0.5, 5);
        decays.resume(&[4.0, 4.0, 4.0, 0.5, 50.0]);
        decays.follow(&[1.0, 100.0, -100.0, -1.0, 1.0]);
        assert_eq!(decays.parts(), [5.0, 6.0, 2.8, 0.5, 50.0]);
        let mut none = Decays::new(0.0, 1);
        none.follow(&[1.0]);
        assert_eq!(none.parts(), [0.0]);
    }
}
