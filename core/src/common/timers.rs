//! The timer table: one slot a kind, no handles, no cancellation races.

use crate::codec::{Encode, Output};
use crate::time::{Deadline, Instant, Timer};

/// When each kind of work is due next.
#[derive(Clone, Debug, Default)]
pub struct Timers {
    at: [Option<Instant>; Timer::COUNT],
}

impl Timers {
    /// Sets `timer` to `at`, whatever it was.
    pub fn set(&mut self, timer: Timer, at: Instant) {
        self.at[timer as usize] = Some(at);
    }

    /// Sets `timer` to `at` unless it is due earlier.
    pub fn set_earlier(&mut self, timer: Timer, at: Instant) {
        let slot = &mut self.at[timer as usize];
        *slot = Some(slot.map_or(at, |present| present.min(at)));
    }

    /// Clears `timer`.
    pub fn stop(&mut self, timer: Timer) {
        self.at[timer as usize] = None;
    }

    /// When `timer` is due.
    pub fn get(&self, timer: Timer) -> Option<Instant> {
        self.at[timer as usize]
    }

    /// Whether `timer` is due at `now`; if so it is cleared.
    #[must_use]
    pub fn take_expired(&mut self, timer: Timer, now: Instant) -> bool {
        let slot = &mut self.at[timer as usize];
        if slot.is_some_and(|at| at <= now) {
            *slot = None;
            return true;
        }
        false
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Deadline> {
        Timer::ALL.into_iter().filter_map(|timer| Some(Deadline { at: self.get(timer)?, timer })).min()
    }
}

impl Encode for Timers {
    fn encode(&self, out: &mut impl Output) {
        self.at.iter().for_each(|at| at.encode(out));
    }
}

#[cfg(any(test, feature = "sim"))]
impl crate::state::Alter for Timers {
    fn leaves(&self, path: &str, out: &mut alloc::vec::Vec<alloc::string::String>) {
        out.extend(Timer::ALL.iter().map(|timer| alloc::format!("{path}.{timer:?}")));
    }

    fn alter(&mut self, nth: &mut usize) -> bool {
        Timer::ALL.into_iter().any(|timer| {
            crate::state::leaf(nth, || match self.get(timer) {
                Some(_) => self.stop(timer),
                None => self.set(timer, Instant::ZERO),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_timer_is_next_and_says_why() {
        let mut timers = Timers::default();
        assert_eq!(timers.next(), None);
        timers.set(Timer::Trim, Instant::from_micros(5));
        timers.set(Timer::NodeStatus, Instant::from_micros(3));
        assert_eq!(timers.next(), Some(Deadline { at: Instant::from_micros(3), timer: Timer::NodeStatus }));
        assert!(!timers.take_expired(Timer::NodeStatus, Instant::from_micros(2)));
        assert!(timers.take_expired(Timer::NodeStatus, Instant::from_micros(3)));
        assert_eq!(timers.next().map(|deadline| deadline.timer), Some(Timer::Trim));
    }

    #[test]
    fn set_earlier_never_postpones() {
        let mut timers = Timers::default();
        timers.set_earlier(Timer::Dial, Instant::from_micros(9));
        timers.set_earlier(Timer::Dial, Instant::from_micros(12));
        assert_eq!(timers.get(Timer::Dial), Some(Instant::from_micros(9)));
    }
}
