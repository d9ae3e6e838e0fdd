//! Time as the core sees it: two numbers in every input, never a clock.

use core::fmt;
use core::time::Duration;

use crate::codec::codec_struct;

/// Monotonic time in microseconds since an origin chosen by the shell.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// The origin.
    pub const ZERO: Self = Self(0);
    /// Later than everything that happens.
    pub const FAR: Self = Self(u64::MAX);

    /// The instant `micros` microseconds after the origin.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the origin.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// This instant moved on by `delay`, at most [`Instant::FAR`].
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        let micros = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }

    /// This instant moved back by `age`, at least [`Instant::ZERO`].
    #[must_use]
    pub fn before(self, age: Duration) -> Self {
        let micros = u64::try_from(age.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(micros))
    }

    /// Time since `earlier`, zero if `earlier` is later.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// Wall time in milliseconds since the UNIX epoch. It may jump; only what leaves the node (status, notifications,
/// files) and stored bans read it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct UnixTime(u64);

impl UnixTime {
    /// The time `millis` milliseconds after the epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the epoch.
    pub fn as_secs(self) -> i64 {
        i64::try_from(self.0 / 1000).unwrap_or(i64::MAX)
    }

    /// This time moved on by `delay`, saturating.
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(millis))
    }
}

/// Both times of one input.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Now {
    /// Monotonic time: every delay and deadline.
    pub mono: Instant,
    /// Wall time: what is shown to others.
    pub wall: UnixTime,
}

impl Now {
    /// A time for tests: `secs` after the origin, with the wall clock at 2025-11-27 plus the same.
    pub fn at_secs(secs: u64) -> Self {
        Self::at_micros(secs.saturating_mul(1_000_000))
    }

    /// As [`Now::at_secs`], in microseconds.
    pub fn at_micros(micros: u64) -> Self {
        Self {
            mono: Instant::from_micros(micros),
            wall: UnixTime::from_millis(1_764_201_600_000u64.saturating_add(micros / 1000)),
        }
    }
}

/// When to feed `Input::Timeout`, and why.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Deadline {
    /// The earliest pending instant. It may lie in the past: then there is work left over.
    pub at: Instant,
    /// What is due then, so that a busy loop is diagnosed from one line.
    pub timer: Timer,
}

/// Every reason for a deadline. A new variant must be met by both shells and the simulator.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Timer {
    /// A peer may be dialled (again).
    Dial,
    /// Connections over the high-water mark are closed.
    Trim,
    /// The address cache is due to be written.
    AddressCache,
    /// Topics are looked up in the DHT, or authors asked for.
    Discovery,
    /// Topics are announced in the DHT.
    Provide,
    /// Peers that fell silent are redialled.
    Watchdog,
    /// The own node status is due.
    NodeStatus,
    /// `PING` frames for the feed's clients are due.
    FeedPing,
    /// Origins and seen hashes are swept.
    Sweep,
    /// The router's heartbeat.
    Heartbeat,
    /// Pubsub streams that ended are opened again.
    Reopen,
    /// The router has work left over from earlier inputs.
    Router,
}

impl Timer {
    /// Number of variants.
    pub const COUNT: usize = 12;
    /// Every variant, in order.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Dial,
        Self::Trim,
        Self::AddressCache,
        Self::Discovery,
        Self::Provide,
        Self::Watchdog,
        Self::NodeStatus,
        Self::FeedPing,
        Self::Sweep,
        Self::Heartbeat,
        Self::Reopen,
        Self::Router,
    ];
}

codec_struct!(Instant(micros));
codec_struct!(UnixTime(millis));
codec_struct!(Now { mono, wall });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_arithmetic_saturates() {
        assert_eq!(Instant::FAR.after(Duration::MAX), Instant::FAR);
        assert_eq!(Instant::ZERO.saturating_since(Instant::FAR), Duration::ZERO);
        assert_eq!(Instant::ZERO.before(Duration::MAX), Instant::ZERO);
        assert_eq!(UnixTime::from_millis(u64::MAX).after(Duration::MAX).as_millis(), u64::MAX);
    }

    #[test]
    fn every_timer_stands_at_its_own_place() {
        for (index, timer) in Timer::ALL.into_iter().enumerate() {
            assert_eq!(timer as usize, index);
        }
    }
}
