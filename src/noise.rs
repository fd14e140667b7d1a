//! Counter-based randomness: the ground of the determinism contract.
//!
//! Every random number is addressed, never drawn in turn: (seed, domain, purpose, block) names a
//! ChaCha8 stream, so a row's values do not depend on which partition, batch, process or machine
//! asks for them, nor in which order. Nothing here reads a clock or a global generator.
//!
//! Source: D. J. Bernstein, "ChaCha, a variant of Salsa20" (2008); the key is SHA-256 of the
//! address' slow part, the 64-bit stream number is the block.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

/// Rows are generated in blocks of this many, whatever the batch size, so that matrix shapes (and
/// with them floating-point results) never depend on `LIMIT` or partitioning.
pub const BLOCK_ROWS: usize = 4096;

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
    pub fn fill_u16(&self, block: u64, out: &mut [u16]) {
        let mut rng = self.block(block);
        let mut bytes = [0u8; 4096];
        for chunk in out.chunks_mut(bytes.len() / 2) {
            let bytes = &mut bytes[..chunk.len() * 2];
            rng.fill_bytes(bytes);
            for (value, pair) in chunk.iter_mut().zip(bytes.chunks_exact(2)) {
                *value = u16::from_le_bytes([pair[0], pair[1]]);
            }
        }
    }

    /// Fills `out` with uniform bits of block `block`.
    pub fn fill_u32(&self, block: u64, out: &mut [u32]) {
        let mut rng = self.block(block);
        let mut bytes = [0u8; 4096];
        for chunk in out.chunks_mut(bytes.len() / 4) {
            let bytes = &mut bytes[..chunk.len() * 4];
            rng.fill_bytes(bytes);
            for (value, quad) in chunk.iter_mut().zip(bytes.chunks_exact(4)) {
                *value = u32::from_le_bytes([quad[0], quad[1], quad[2], quad[3]]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
