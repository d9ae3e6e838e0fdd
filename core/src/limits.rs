//! Every bound in one place.

use crate::codec::codec_struct;
use crate::error::ConfigError;

/// Bounds on collections and work. Bounds on connections by address are policy and stand in `conn::Config`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Connections at once, in all.
    pub connections_max: u32,
    /// Peers in the registry, and in the address book.
    pub peers_known_max: u32,
    /// Peers and addresses that the dialer keeps in mind.
    pub dial_targets_max: u32,
    /// Addresses kept for one peer.
    pub addresses_per_peer_max: u32,
    /// Entries of block→peer and of subtree→peer (spec 14.2).
    pub origins_max: u32,
    /// Hashes watched for repetition (spec 14.2).
    pub seen_hashes_max: u32,
    /// Peers with a ban score.
    pub ban_scores_max: u32,
    /// Reasons remembered for one ban score (spec 14.4).
    pub ban_reasons_max: u32,
    /// Operations pending, in all.
    pub ops_inflight_max: u32,
    /// Records handed to the broker and not acknowledged.
    pub produce_inflight_max: u32,
    /// Publications pending.
    pub publish_inflight_max: u32,
    /// Clients of the feed.
    pub subscribers_max: u32,
    /// Frames queued for one client of the feed (spec 4.3).
    pub subscriber_frames_max: u32,
    /// Topics that one neighbour's subscriptions are remembered for.
    pub topics_per_peer_max: u32,
    /// Ids of messages remembered as seen. An id takes some 150 bytes. A peer that is our only one may hold a quarter of
    /// it, and has to for as long as ids are kept: the default bears some 8,700 messages a second from it.
    pub seen_ids_max: u32,
    /// Copies remembered for their wrong signature.
    pub refused_copies_max: u32,
    /// Copies whose signature is being checked.
    pub checks_max: u32,
    /// Bytes of them.
    pub checks_bytes_max: u64,
    /// Messages kept for those that ask.
    pub cached_messages_max: u32,
    /// Bytes of them.
    pub cached_bytes_max: u64,
    /// Bytes in flight to one peer from which nothing more is sent. One frame may pass it.
    pub window_bytes: u64,
    /// Bytes of all that the core holds, by its ledger ([`crate::memory`]); none: only the other limits hold.
    pub memory_max: Option<u64>,
    /// Items of scaling work done for one input; the rest waits for the next deadline of its kind.
    pub work_per_input_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 1000,
            peers_known_max: 10_000,
            dial_targets_max: 1024,
            addresses_per_peer_max: 8,
            origins_max: 10_000,
            seen_hashes_max: 10_000,
            ban_scores_max: 10_000,
            ban_reasons_max: 20,
            ops_inflight_max: 4096,
            produce_inflight_max: 1024,
            publish_inflight_max: 256,
            subscribers_max: 1000,
            subscriber_frames_max: 100,
            topics_per_peer_max: 32,
            seen_ids_max: 1 << 22,
            refused_copies_max: 16_384,
            checks_max: 8_192,
            checks_bytes_max: 32 << 20,
            cached_messages_max: 65_536,
            cached_bytes_max: 64 << 20,
            window_bytes: crate::gossipsub::stream::WINDOW_BYTES,
            memory_max: None,
            work_per_input_max: 64,
        }
    }
}

impl Limits {
    /// Most actions that one input can cause.
    pub const fn actions_per_input_max(&self) -> usize {
        // Work that scales is cut to `work_per_input_max` items of at most two actions for each kind of timer; the
        // feed's clients waiting for their first frame can all be served by one status; every other handler pushes a
        // dozen at most.
        // The router sends to each connection at most once an input, and opens at most one stream on each.
        256 + 16 * self.work_per_input_max as usize
            + 2 * self.subscribers_max as usize
            + 2 * self.connections_max as usize
    }

    /// Proves the relations between the bounds.
    ///
    /// # Errors
    /// The first relation that does not hold.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let inflight = self.produce_inflight_max.saturating_add(self.publish_inflight_max);
        if self.ops_inflight_max <= inflight {
            return Err(ConfigError::new(
                "ops_inflight_max",
                alloc::format!("{}", self.ops_inflight_max),
                alloc::format!("no room beside {inflight} records and publications"),
                "raise it, or lower produce_inflight_max",
            ));
        }
        for (key, value) in [
            ("connections_max", self.connections_max),
            ("peers_known_max", self.peers_known_max),
            ("origins_max", self.origins_max),
            ("seen_hashes_max", self.seen_hashes_max),
            ("work_per_input_max", self.work_per_input_max),
        ] {
            if value == 0 {
                return Err(ConfigError::new(key, "0", "nothing would fit", "use at least 1"));
            }
        }
        Ok(())
    }
}

codec_struct!(Limits {
    connections_max,
    peers_known_max,
    dial_targets_max,
    addresses_per_peer_max,
    origins_max,
    seen_hashes_max,
    ban_scores_max,
    ban_reasons_max,
    ops_inflight_max,
    produce_inflight_max,
    publish_inflight_max,
    subscribers_max,
    subscriber_frames_max,
    topics_per_peer_max,
    seen_ids_max,
    refused_copies_max,
    checks_max,
    checks_bytes_max,
    cached_messages_max,
    cached_bytes_max,
    window_bytes,
    memory_max,
    work_per_input_max,
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_starves_another_is_refused() {
        assert_eq!(Limits::default().validate(), Ok(()));
        let limits = Limits { ops_inflight_max: 10, ..Limits::default() };
        assert_eq!(limits.validate().unwrap_err().key, "ops_inflight_max");
        let limits = Limits { origins_max: 0, ..Limits::default() };
        assert_eq!(limits.validate().unwrap_err().key, "origins_max");
    }
}
