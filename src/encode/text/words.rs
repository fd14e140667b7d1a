//! Letters that read like words.

/// A source of random numbers for one row: a 64-bit counter through a mixer, started by the row's noise.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowNoise(pub u64);

impl RowNoise {
    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        crate::encode::hash::mix(self.0)
    }

    /// A number below `n` (which is positive), by multiplication instead of division.
    #[allow(clippy::cast_possible_truncation)]
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }
}

/// Letters at even positions of a word.
pub(crate) const CONSONANTS: &str = "bcdfghjklmnprstvwz";
/// Letters at odd positions of a word.
pub(crate) const VOWELS: &str = "aeiou";
