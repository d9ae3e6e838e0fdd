//! Seeded randomness: the only entropy the core ever sees.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use sha2::{Digest as _, Sha256};

use crate::codec::{Encode, Output};

/// A stream of random numbers, the same on every platform and release for the same seed and label.
#[derive(Clone, Debug)]
pub struct Rng {
    stream: ChaCha8Rng,
}

impl Rng {
    /// The stream of the component `label`. A new draw in one component does not shift another's stream.
    pub fn fork(seed: &[u8; 32], label: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"peerage/rng/");
        hash.update(seed);
        hash.update(label.as_bytes());
        Self { stream: ChaCha8Rng::from_seed(hash.finalize().into()) }
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.stream.next_u64()
    }

    /// A number below `bound` (0 if `bound` is 0), without modulo bias worth speaking of.
    pub fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next_u64()).saturating_mul(u128::from(bound));
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// A delay between 3/4 and 5/4 of `delay`, so that nodes started together part.
    pub fn jitter(&mut self, delay: core::time::Duration) -> core::time::Duration {
        let micros = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        let half = micros / 2;
        core::time::Duration::from_micros(
            (micros - micros / 4).saturating_add(self.below(half.saturating_add(1))),
        )
    }

    /// Exchanges the items of `slice` at random.
    pub fn shuffle<T>(&mut self, slice: &mut [T]) {
        for last in (1..slice.len()).rev() {
            let other = self.below(last as u64 + 1);
            slice.swap(last, usize::try_from(other).unwrap_or(0));
        }
    }
}

impl Encode for Rng {
    fn encode(&self, out: &mut impl Output) {
        out.put(&self.stream.get_seed());
        self.stream.get_word_pos().encode(out);
    }
}

#[cfg(any(test, feature = "sim"))]
impl crate::state::Alter for Rng {
    fn leaves(&self, path: &str, out: &mut alloc::vec::Vec<alloc::string::String>) {
        out.push(path.into());
    }

    fn alter(&mut self, nth: &mut usize) -> bool {
        crate::state::leaf(nth, || {
            self.next_u64();
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_has_its_own_stream_and_a_fixed_one() {
        let mut conn = Rng::fork(&[7; 32], "conn");
        let mut other = Rng::fork(&[7; 32], "teranode");
        assert_ne!(conn.next_u64(), other.next_u64());
        assert_eq!(Rng::fork(&[7; 32], "conn").next_u64(), Rng::fork(&[7; 32], "conn").next_u64());
    }

    #[test]
    fn a_number_stays_below_its_bound() {
        let mut rng = Rng::fork(&[1; 32], "test");
        assert!((0..1000).all(|_| rng.below(3) < 3));
        assert_eq!(rng.below(0), 0);
    }

    #[test]
    fn jitter_stays_within_a_quarter() {
        let mut rng = Rng::fork(&[1; 32], "test");
        let delay = core::time::Duration::from_secs(4);
        for _ in 0..1000 {
            let jittered = rng.jitter(delay).as_secs_f64();
            assert!((3.0..=5.0).contains(&jittered));
        }
    }
}
