//! Exponential backoff with jitter.

use core::time::Duration;

use crate::rng::Rng;
use crate::state::state;

state! {
    /// Grows by doubling from a first delay to a last one.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Backoff {
        first: Duration,
        max: Duration,
        failures: u32,
    }
}

impl Backoff {
    /// A backoff from `first` to `max`.
    pub fn new(first: Duration, max: Duration) -> Self {
        Self { first, max, failures: 0 }
    }

    /// One more failure: the delay before the next attempt, with jitter of a quarter either way.
    pub fn next(&mut self, rng: &mut Rng) -> Duration {
        let factor = 1u32.checked_shl(self.failures.min(31)).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        rng.jitter(self.first.saturating_mul(factor).min(self.max))
    }

    /// Success: the next failure begins anew.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_maximum_and_begin_anew_after_a_success() {
        let mut rng = Rng::fork(&[3; 32], "test");
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
        for expected in [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0] {
            let delay = backoff.next(&mut rng).as_secs_f64();
            assert!((expected * 0.75..=expected * 1.25).contains(&delay), "{delay} for {expected}");
        }
        backoff.reset();
        assert!(backoff.next(&mut rng) < Duration::from_secs(2));
    }

    #[test]
    fn endless_failures_do_not_overflow() {
        let mut rng = Rng::fork(&[3; 32], "test");
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
        for _ in 0..100 {
            assert!(backoff.next(&mut rng) <= Duration::from_millis(37_500));
        }
    }
}
