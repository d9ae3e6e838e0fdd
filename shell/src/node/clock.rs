//! The clock: both times of an input.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use peerage_core::time::{Instant as Mono, Now, UnixTime};

/// Monotonic time since the clock was made, and wall time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Default for Clock {
    fn default() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Clock {
    /// Microseconds since the clock was made.
    pub fn mono_us(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Now.
    pub fn now(&self) -> Now {
        let mono = self.mono_us();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        Now {
            mono: Mono::from_micros(mono),
            wall: UnixTime::from_millis(u64::try_from(wall).unwrap_or(u64::MAX)),
        }
    }
}

/// Seconds since the epoch, as a block header holds them.
pub fn header_time(now: Now) -> u32 {
    u32::try_from(now.wall.as_secs()).unwrap_or(u32::MAX)
}
