//! Counters of every outcome. They are part of the state: a replay must reproduce them.

use crate::codec::{Encode, Output};
use crate::conn::DisconnectReason;
use crate::state::state;
use crate::teranode::TopicKind;
use crate::teranode::verdict::Cause;

const REASONS: usize = 12;

/// A table of counters by topic and cause.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GossipTable([[u64; Cause::COUNT]; TopicKind::COUNT]);

/// A table of counters by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReasonTable([u64; REASONS]);

state! {
    /// Everything that is counted. Units are events unless said otherwise.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct Counters {
        /// Inputs taken.
        pub inputs: u64,
        /// Actions pushed.
        pub actions: u64,
        /// Messages that the router delivered = the sum of `gossip`, `gossip_legacy` and `gossip_unknown_topic`.
        pub delivered: u64,
        /// Bytes of them, as delivered.
        pub delivered_bytes: u64,
        /// Outcomes of delivered messages.
        pub gossip: GossipTable,
        /// Delivered on a topic of the older family.
        pub gossip_legacy: u64,
        /// Delivered on a topic that nobody here handles.
        pub gossip_unknown_topic: u64,
        /// Publications begun = sent + without peers + failed + pending.
        pub published: u64,
        /// Of them: sent to at least one neighbour.
        pub publish_sent: u64,
        /// Of them: nobody to send to.
        pub publish_no_peers: u64,
        /// Of them: failed.
        pub publish_failed: u64,
        /// Announcements kept back by the publish gate, and for lack of room.
        pub publish_blocked: u64,
        /// Rejected transactions not announced: repeated, or over the rate.
        pub rejected_tx_suppressed: u64,
        /// Records handed to the broker = acknowledged + failed + pending.
        pub produced: u64,
        /// Of them: acknowledged.
        pub produce_acked: u64,
        /// Of them: failed.
        pub produce_failed: u64,
        /// Frames for the feed's clients (one for all counts once).
        pub feed_frames: u64,
        /// Clients of the feed closed because they did not read.
        pub feed_evicted: u64,
        /// Clients of the feed refused for lack of room.
        pub feed_refused: u64,
        /// Connections refused, by reason.
        pub refused: ReasonTable,
        /// Connections that we closed, by reason.
        pub closed: ReasonTable,
        /// Found addresses dropped for lack of room.
        pub dial_targets_dropped: u64,
        /// Operations not begun for lack of room.
        pub ops_refused: u64,
        /// Completions of operations that were not pending: a shell's bug.
        pub ops_unknown: u64,
        /// Documents that could not be stored.
        pub store_failed: u64,
        /// Notifications of the chain that were broken.
        pub chain_malformed: u64,
        /// Inputs that came after `Stop`.
        pub after_stop: u64,
    }
}

impl Counters {
    /// One delivered message has come to its end.
    pub fn end(&mut self, kind: TopicKind, cause: Cause) {
        let slot = &mut self.gossip.0[kind as usize][cause as usize];
        *slot = slot.saturating_add(1);
    }

    /// Messages on `kind` that ended by `cause`.
    pub fn ended(&self, kind: TopicKind, cause: Cause) -> u64 {
        self.gossip.0[kind as usize][cause as usize]
    }

    /// One connection was refused.
    pub fn refuse(&mut self, reason: DisconnectReason) {
        let slot = &mut self.refused.0[reason as usize];
        *slot = slot.saturating_add(1);
    }

    /// One connection was closed by us.
    pub fn close(&mut self, reason: DisconnectReason) {
        let slot = &mut self.closed.0[reason as usize];
        *slot = slot.saturating_add(1);
    }

    /// Connections refused for `reason`.
    pub fn refused_for(&self, reason: DisconnectReason) -> u64 {
        self.refused.0[reason as usize]
    }

    /// Connections that we closed for `reason`.
    pub fn closed_for(&self, reason: DisconnectReason) -> u64 {
        self.closed.0[reason as usize]
    }

    /// Whether every delivered message came to exactly one end.
    pub fn is_conserved(&self) -> bool {
        let ended: u64 = self.gossip.0.iter().flatten().sum();
        ended + self.gossip_legacy + self.gossip_unknown_topic == self.delivered
    }
}

impl Encode for GossipTable {
    fn encode(&self, out: &mut impl Output) {
        self.0.iter().flatten().for_each(|count| count.encode(out));
    }
}

impl Encode for ReasonTable {
    fn encode(&self, out: &mut impl Output) {
        self.0.iter().for_each(|count| count.encode(out));
    }
}

#[cfg(any(test, feature = "sim"))]
mod alter {
    use super::{GossipTable, ReasonTable};
    use crate::state::{Alter, leaf};
    use alloc::format;
    use alloc::string::String;
    use alloc::vec::Vec;

    impl Alter for GossipTable {
        fn leaves(&self, path: &str, out: &mut Vec<String>) {
            let count = self.0.iter().flatten().count();
            (0..count).for_each(|n| out.push(format!("{path}[{n}]")));
        }
        fn alter(&mut self, nth: &mut usize) -> bool {
            self.0.iter_mut().flatten().any(|count| leaf(nth, || *count ^= 1))
        }
    }

    impl Alter for ReasonTable {
        fn leaves(&self, path: &str, out: &mut Vec<String>) {
            (0..self.0.len()).for_each(|n| out.push(format!("{path}[{n}]")));
        }
        fn alter(&mut self, nth: &mut usize) -> bool {
            self.0.iter_mut().any(|count| leaf(nth, || *count ^= 1))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_without_an_end_breaks_conservation() {
        let mut counters = Counters { delivered: 1, ..Counters::default() };
        assert!(!counters.is_conserved());
        counters.end(TopicKind::Block, Cause::Handled);
        assert!(counters.is_conserved());
        assert_eq!(counters.ended(TopicKind::Block, Cause::Handled), 1);
    }

    #[test]
    fn every_reason_has_its_slot() {
        let mut counters = Counters::default();
        counters.refuse(DisconnectReason::Shutdown);
        assert_eq!(DisconnectReason::Shutdown as usize + 1, REASONS);
        assert_eq!(counters.refused_for(DisconnectReason::Shutdown), 1);
    }
}
