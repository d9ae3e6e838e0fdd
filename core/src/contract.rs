//! The contract between the core and whoever drives it.
//!
//! *`handle` applies one input and returns after pushing every consequence. Start the actions in order; each
//! destination keeps that order. Between destinations only a completion ([`crate::op::OpId`]) orders: the core waits
//! for it before it pushes what depends on it. Then wait for an input or for `poll_timeout`.*

use crate::sink::Sink;
use crate::time::{Deadline, Now};

/// A deterministic protocol machine: same configuration, seed and inputs, same actions, byte for byte.
pub trait Core {
    /// What happens to it.
    type Input;
    /// What it wants done.
    type Action;

    /// Applies one input at `now` and pushes every consequence, in order. Never blocks, never panics on remote data.
    /// A `now` older than the last one is treated as the last one.
    fn handle(&mut self, now: Now, input: Self::Input, out: &mut impl Sink<Self::Action>);

    /// Earliest pending deadline. Early and spurious timeouts are no-ops.
    fn poll_timeout(&self) -> Option<Deadline>;

    /// Sources that may be read from now.
    fn demand(&self) -> Demand;
}

/// Which sources the core can take more from. A source that is `false` is not read (or, where reading cannot stop,
/// answered `Ignore` and counted).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Demand {
    /// Gossip messages.
    pub gossip: bool,
    /// New inbound connections.
    pub accept: bool,
    /// Notifications of the blockchain service.
    pub chain: bool,
    /// New clients of the feed.
    pub feed: bool,
}

impl Demand {
    /// Everything may be read.
    pub const ALL: Self = Self { gossip: true, accept: true, chain: true, feed: true };
}
