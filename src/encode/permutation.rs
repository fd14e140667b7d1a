//! Pseudo-random permutations of `0..n` with random access.

use super::hash::mix;

const ROUNDS: usize = 6;

/// A bijection of `0..n`: a balanced Feistel network over the next even power of two, with cycle
/// walking back into the range (Black & Rogaway, "Ciphers with Arbitrary Finite Domains", 2002).
/// Spreads values; is no cipher.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Permutation {
    n: u64,
    half: u32,
    keys: [u64; ROUNDS],
}

impl Permutation {
    /// Of `0..n`, with `1 <= n <= 2^62`, chosen by `key`.
    pub(crate) fn new(n: u64, key: u64) -> Self {
        let n = n.clamp(1, 1 << 62);
        let bits = 64 - (n - 1).leading_zeros();
        let mut state = key;
        let keys = std::array::from_fn(|_| {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            mix(state)
        });
        Self { n, half: bits.div_ceil(2).max(1), keys }
    }

    /// Where `x` (below `n`) goes.
    pub(crate) fn apply(&self, mut x: u64) -> u64 {
        let mask = (1 << self.half) - 1;
        loop {
            let (mut left, mut right) = (x >> self.half, x & mask);
            for key in self.keys {
                (left, right) = (right, left ^ (mix(right ^ key) & mask));
            }
            x = left << self.half | right;
            if x < self.n {
                return x;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn is_a_bijection(n in 1u64..3000, key: u64) {
            let permutation = Permutation::new(n, key);
            let mut seen: Vec<u64> = (0..n).map(|x| permutation.apply(x)).collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..n).collect::<Vec<_>>());
        }

        #[test]
        fn stays_within_large_ranges(n in 1u64..=1 << 62, x: u64, key: u64) {
            prop_assert!(Permutation::new(n, key).apply(x % n) < n);
        }
    }
}
