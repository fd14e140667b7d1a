//! Counter-based randomness: the ground of the determinism contract.
//!
//! Every random number is addressed, never drawn in turn: (seed, domain, purpose, block) names a
//! ChaCha8 stream, so a row's values do not depend on which partition, batch, process or machine
//! asks for them, nor in which order. Nothing here reads a clock or a global generator.
//!
//! Normal and Gumbel numbers are quantiles looked up by 16 uniform bits: the inverse of the cumulative
//! distribution at `(i + 1/2) / 65536`. That is exact in distribution up to steps of probability
//! 2^-16 (normals end at ±4.2 standard deviations), costs two bytes of ChaCha and one load, and needs
//! no transcendental function whose last bit could differ between builds.
//!
//! Source: D. J. Bernstein, "ChaCha, a variant of Salsa20" (2008); the key is SHA-256 of the
//! address' slow part, the 64-bit stream number is the block.

use half::bf16;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};
use statrs::distribution::{ContinuousCDF, Normal};
use std::{ops::Range, sync::LazyLock};

/// Rows are generated in blocks of this many, whatever the batch size, so that matrix shapes (and
/// with them floating-point results) never depend on `LIMIT` or partitioning.
pub const BLOCK_ROWS: usize = 4096;

/// The blocks of `rows`, each with the part of it that is asked for.
pub fn blocks(rows: Range<u64>) -> impl Iterator<Item = (u64, Range<usize>)> + Send {
    const BLOCK: u64 = BLOCK_ROWS as u64;
    let first = rows.start / BLOCK;
    let end = if rows.is_empty() { first } else { (rows.end - 1) / BLOCK + 1 };
    (first..end).map(move |block| {
        let offset = block * BLOCK;
        let within = |row: u64| usize::try_from(row.saturating_sub(offset).min(BLOCK)).unwrap_or(BLOCK_ROWS);
        (block, within(rows.start)..within(rows.end))
    })
}

/// The randomness of one (seed, domain): a domain is a model's content hash, or a training's name.
#[derive(Debug, Clone)]
pub struct Noise {
    root: [u8; 32],
}

impl Noise {
    /// Randomness of `seed` in `domain`.
    #[must_use]
    pub fn new(seed: u64, domain: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"synthohive/noise/1");
        hash.update(seed.to_le_bytes());
        hash.update((domain.len() as u64).to_le_bytes());
        hash.update(domain);
        Self { root: hash.finalize().into() }
    }

    /// The randomness of a part of the domain: its purposes are other streams than those of the whole.
    #[must_use]
    pub fn part(&self, name: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(self.root);
        hash.update(b"part");
        hash.update(name.as_bytes());
        Self { root: hash.finalize().into() }
    }

    /// The stream of `purpose` (what the numbers are for: `"latent"`, `"decode/age"`): cheap to keep,
    /// and addressed by block.
    #[must_use]
    pub fn purpose(&self, purpose: &str) -> Purpose {
        let mut hash = Sha256::new();
        hash.update(self.root);
        hash.update(purpose.as_bytes());
        Purpose { key: hash.finalize().into() }
    }
}

/// One use of randomness within a [`Noise`].
#[derive(Debug, Clone)]
pub struct Purpose {
    key: [u8; 32],
}

impl Purpose {
    /// The generator of block `block` (or of training step `block`), at its beginning.
    #[must_use]
    pub fn block(&self, block: u64) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::from_seed(self.key);
        rng.set_stream(block);
        rng
    }

    /// Fills `out` with uniform bits of block `block`.
    pub fn fill_u8(&self, block: u64, out: &mut [u8]) {
        self.block(block).fill_bytes(out);
    }

    /// Fills `out` with uniform bits of block `block`.
    pub fn fill_u16(&self, block: u64, out: &mut [u16]) {
        self.fill(block, out, u16::from_le_bytes);
    }

    /// Fills `out` with uniform bits of block `block`.
    pub fn fill_u32(&self, block: u64, out: &mut [u32]) {
        self.fill(block, out, u32::from_le_bytes);
    }

    /// Fills `out` with uniform numbers in `0.0..1.0` (multiples of 2^-24) of block `block`.
    pub fn fill_uniform(&self, block: u64, out: &mut [f32]) {
        self.fill(block, out, |bytes| unit(u32::from_le_bytes(bytes)));
    }

    /// Fills `out` with standard normal numbers (16-bit quantiles) of block `block`.
    pub fn fill_normal(&self, block: u64, out: &mut [f32]) {
        let table = &*NORMAL;
        self.fill(block, out, |bytes| table[usize::from(u16::from_le_bytes(bytes))]);
    }

    /// As [`Purpose::fill_normal`], each number rounded to bf16.
    pub fn fill_normal_bf16(&self, block: u64, out: &mut [bf16]) {
        let table = &*NORMAL_BF16;
        self.fill(block, out, |bytes| table[usize::from(u16::from_le_bytes(bytes))]);
    }

    /// Fills `out` with standard Gumbel numbers (16-bit quantiles) of block `block`.
    pub fn fill_gumbel(&self, block: u64, out: &mut [f32]) {
        let table = &*GUMBEL;
        self.fill(block, out, |bytes| table[usize::from(u16::from_le_bytes(bytes))]);
    }

    /// Fills `out` with values made of `N` random bytes each.
    fn fill<const N: usize, T>(&self, block: u64, out: &mut [T], value: impl Fn([u8; N]) -> T) {
        let mut rng = self.block(block);
        let mut bytes = [0u8; 4096];
        for chunk in out.chunks_mut(bytes.len() / N) {
            let bytes = &mut bytes[..chunk.len() * N];
            rng.fill_bytes(bytes);
            for (slot, &bytes) in chunk.iter_mut().zip(bytes.as_chunks::<N>().0) {
                *slot = value(bytes);
            }
        }
    }
}

/// The uniform number in `0.0..1.0` of 32 random bits: their upper 24.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn unit(bits: u32) -> f32 {
    (bits >> 8) as f32 * (1.0 / 16_777_216.0)
}

static NORMAL: LazyLock<Box<[f32]>> = LazyLock::new(|| {
    let normal = Normal::standard();
    quantiles(|p| normal.inverse_cdf(p))
});
static NORMAL_BF16: LazyLock<Box<[bf16]>> = LazyLock::new(|| NORMAL.iter().map(|&x| bf16::from_f32(x)).collect());
static GUMBEL: LazyLock<Box<[f32]>> = LazyLock::new(|| quantiles(|p| -(-p.ln()).ln()));

#[allow(clippy::cast_possible_truncation)]
fn quantiles(inverse_cdf: impl Fn(f64) -> f64) -> Box<[f32]> {
    (0..1u32 << 16).map(|i| inverse_cdf((f64::from(i) + 0.5) / 65_536.0) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_stream_depends_on_its_whole_address_and_nothing_else() {
        let draw = |seed, domain: &[u8], purpose, block| {
            let mut out = [0u32; 8];
            Noise::new(seed, domain).purpose(purpose).fill_u32(block, &mut out);
            out
        };
        let base = draw(1, b"m", "latent", 7);
        assert_eq!(base, draw(1, b"m", "latent", 7));
        assert_ne!(base, draw(2, b"m", "latent", 7));
        assert_ne!(base, draw(1, b"n", "latent", 7));
        assert_ne!(base, draw(1, b"m", "decode", 7));
        assert_ne!(base, draw(1, b"m", "latent", 8));
    }

    fn moments(values: &[f32]) -> (f64, f64) {
        let n = values.len() as f64;
        let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
        (mean, values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n)
    }

    #[test]
    fn normal_and_gumbel_numbers_have_their_moments() {
        let purpose = Noise::new(3, b"m").purpose("latent");
        let mut out = vec![0f32; 200_000];
        purpose.fill_normal(0, &mut out);
        let (mean, variance) = moments(&out);
        assert!(mean.abs() < 0.01 && (variance - 1.0).abs() < 0.01, "{mean} {variance}");
        purpose.fill_gumbel(0, &mut out);
        let (mean, variance) = moments(&out);
        let expected = std::f64::consts::PI.powi(2) / 6.0;
        assert!((mean - 0.577_2).abs() < 0.015 && (variance - expected).abs() < 0.04, "{mean} {variance}");
        purpose.fill_uniform(0, &mut out);
        assert!(out.iter().all(|x| (0.0..1.0).contains(x)));
    }

    #[test]
    fn a_prefix_does_not_depend_on_how_much_is_asked_for() {
        let purpose = Noise::new(3, b"m").purpose("latent");
        let (mut long, mut short) = (vec![0f32; 9_001], vec![0f32; 17]);
        purpose.fill_normal(5, &mut long);
        purpose.fill_normal(5, &mut short);
        assert_eq!(long[..17], short);
        let mut halves = vec![bf16::ZERO; 17];
        purpose.fill_normal_bf16(5, &mut halves);
        assert!(short.iter().zip(&halves).all(|(&x, &half)| bf16::from_f32(x) == half));
    }

    proptest! {
        #[test]
        fn blocks_cover_the_range_once(start in 0u64..1_000_000_000_000_000, len in 0u64..50_000) {
            let mut next = start;
            for (block, part) in blocks(start..start + len) {
                prop_assert!(part.end <= BLOCK_ROWS && !part.is_empty());
                prop_assert_eq!(block * BLOCK_ROWS as u64 + part.start as u64, next);
                next = block * BLOCK_ROWS as u64 + part.end as u64;
            }
            prop_assert_eq!(next, start + len);
        }
    }
}
