//! The pump: input → actions → next deadline. Shared by both shells, the simulator and the fuzz targets.

use crate::contract::{Core, Demand};
use crate::sink::Actions;
use crate::time::{Deadline, Now};

/// Drives a [`Core`] with one reusable buffer.
#[derive(Debug)]
pub struct Pump<C: Core> {
    core: C,
    out: Actions<C::Action>,
}

impl<C: Core> Pump<C> {
    /// A pump around `core`, whose inputs cause at most `actions_max` actions each.
    pub fn new(core: C, actions_max: usize) -> Self {
        Self { core, out: Actions::bounded(actions_max) }
    }

    /// Feeds one input and hands every consequence to `start`, in order. The buffer is empty before the next input,
    /// always.
    pub fn feed(&mut self, now: Now, input: C::Input, start: impl FnMut(C::Action)) {
        debug_assert!(self.out.is_empty(), "the last input's actions were not all started");
        self.core.handle(now, input, &mut self.out);
        self.out.drain().for_each(start);
    }

    /// When to feed a timeout, and why.
    pub fn deadline(&self) -> Option<Deadline> {
        self.core.poll_timeout()
    }

    /// Sources that may be read from now.
    pub fn demand(&self) -> Demand {
        self.core.demand()
    }

    /// The machine, to read.
    pub fn core(&self) -> &C {
        &self.core
    }

    /// The machine, to alter (tests of the state hash; nothing else should).
    #[cfg(any(test, feature = "sim"))]
    pub fn core_mut(&mut self) -> &mut C {
        &mut self.core
    }
}
