//! Where decisions come from: a seeded stream in simulation, a fuzzer's bytes in fuzzing.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

/// A source of decisions.
pub trait Entropy {
    /// A number below `bound` (0 if `bound` is 0). None: exhausted.
    fn below(&mut self, bound: u32) -> Option<u32>;
}

/// An endless stream: the same on every platform for the same seed and label.
#[derive(Clone, Debug)]
pub struct Dice(ChaCha8Rng);

impl Dice {
    /// The stream `label` of `seed`. Streams of other labels are independent of it.
    pub fn new(seed: u64, label: &str) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        for (slot, byte) in key[8..].iter_mut().zip(label.bytes()) {
            *slot = byte;
        }
        Self(ChaCha8Rng::from_seed(key))
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound` (0 if `bound` is 0).
    pub fn roll(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next_u64()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// Whether an event of `percent` in a hundred happens.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.roll(100) < u64::from(percent)
    }

    /// 32 bytes, to seed something else.
    pub fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        for part in seed.chunks_exact_mut(8) {
            part.copy_from_slice(&self.next_u64().to_le_bytes());
        }
        seed
    }
}

impl Entropy for Dice {
    fn below(&mut self, bound: u32) -> Option<u32> {
        u32::try_from(self.roll(u64::from(bound))).ok()
    }
}

impl Entropy for arbitrary::Unstructured<'_> {
    fn below(&mut self, bound: u32) -> Option<u32> {
        if self.is_empty() {
            return None;
        }
        self.int_in_range(0..=bound.saturating_sub(1)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_has_its_own_stream_and_a_seed_always_the_same() {
        let draw = |seed, label| Dice::new(seed, label).next_u64();
        assert_eq!(draw(1, "a"), draw(1, "a"));
        assert_ne!(draw(1, "a"), draw(1, "b"));
        assert_ne!(draw(1, "a"), draw(2, "a"));
    }

    #[test]
    fn a_fuzzers_bytes_end() {
        let mut bytes = arbitrary::Unstructured::new(&[7]);
        assert!(bytes.below(10).is_some_and(|number| number < 10));
        assert_eq!(bytes.below(10), None);
    }
}
