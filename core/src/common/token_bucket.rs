//! A token bucket in integer arithmetic.

use crate::state::state;
use crate::time::Instant;

state! {
    /// Lets `per_second` pass on average and `burst` at once.
    #[derive(Clone, Debug)]
    pub struct TokenBucket {
        per_second: u32,
        burst: u32,
        /// Millionths of a token.
        level: u64,
        refilled: Instant,
    }
}

const TOKEN: u64 = 1_000_000;

impl TokenBucket {
    /// A full bucket.
    pub fn new(per_second: u32, burst: u32) -> Self {
        Self { per_second, burst, level: u64::from(burst) * TOKEN, refilled: Instant::ZERO }
    }

    /// Takes a token if there is one.
    #[must_use]
    pub fn take(&mut self, now: Instant) -> bool {
        let micros = now.as_micros().saturating_sub(self.refilled.as_micros());
        self.refilled = self.refilled.max(now);
        let gained = micros.saturating_mul(u64::from(self.per_second));
        self.level = self.level.saturating_add(gained).min(u64::from(self.burst) * TOKEN);
        if self.level < TOKEN {
            return false;
        }
        self.level -= TOKEN;
        true
    }

    /// Gives a token back that was taken for nothing.
    pub fn give_back(&mut self) {
        self.level = self.level.saturating_add(TOKEN).min(u64::from(self.burst) * TOKEN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let mut bucket = TokenBucket::new(10, 3);
        let at = |millis: u64| Instant::from_micros(millis * 1000);
        assert_eq!((0..5).filter(|_| bucket.take(at(0))).count(), 3);
        assert!(!bucket.take(at(99)));
        assert!(bucket.take(at(100)));
        bucket.give_back();
        assert!(bucket.take(at(100)));
        assert!(!bucket.take(at(100)));
    }

    #[test]
    fn time_that_jumps_overflows_nothing() {
        let mut bucket = TokenBucket::new(u32::MAX, u32::MAX);
        assert!(bucket.take(Instant::FAR));
        assert!(bucket.take(Instant::ZERO));
    }
}
