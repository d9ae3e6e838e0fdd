//! Counters of every outcome. They are part of the state: a replay must reproduce them.

use crate::codec::{Encode, Output};
use crate::conn::DisconnectReason;
use crate::memory::{CONNECTION_BYTES, Shed, ShedTable};
use crate::state::state;
use crate::teranode::TopicKind;
use crate::teranode::chain::FsmState;
use crate::teranode::verdict::Cause;

const REASONS: usize = 15;

/// A table of counters by topic and cause.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GossipTable([[u64; Cause::COUNT]; TopicKind::COUNT]);

/// Where an announcement was kept back: the values of the label `stage` (the reference's).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BlockedAt {
    /// Before any work was done for it.
    Precheck,
    /// When it was to be published, although the first look had let it pass.
    Chokepoint,
}

impl BlockedAt {
    /// Number of stages.
    pub const COUNT: usize = 2;
    /// Every stage.
    pub const ALL: [Self; Self::COUNT] = [Self::Precheck, Self::Chokepoint];

    /// The label's value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Precheck => "precheck",
            Self::Chokepoint => "chokepoint",
        }
    }
}

/// States of the blockchain service, and none known.
const STATES: usize = FsmState::COUNT + 1;

/// A table of counters by topic, state of the blockchain service and stage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockedTable([[[u64; BlockedAt::COUNT]; STATES]; TopicKind::COUNT]);

impl BlockedTable {
    fn slot(state: Option<FsmState>) -> usize {
        state.map_or(FsmState::COUNT, |state| state as usize)
    }

    /// One announcement on `kind` was kept back while the blockchain service was in `state`.
    pub fn count(&mut self, kind: TopicKind, state: Option<FsmState>, at: BlockedAt) {
        let slot = &mut self.0[kind as usize][Self::slot(state)][at as usize];
        *slot = slot.saturating_add(1);
    }

    /// Announcements on `kind` kept back in `state` (none: not known) at this stage.
    pub fn of(&self, kind: TopicKind, state: Option<FsmState>, at: BlockedAt) -> u64 {
        self.0[kind as usize][Self::slot(state)][at as usize]
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.0.iter().flatten().flatten().sum()
    }
}

/// A table of counters by cause.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CauseTable([u64; Cause::COUNT]);

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
        /// Outcomes of messages delivered on the topics of the older family.
        pub gossip_legacy: CauseTable,
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
        /// Announcements kept back by the publish gate.
        pub publish_blocked: BlockedTable,
        /// Publications not begun for lack of room, or because the message is too long.
        pub publish_no_room: u64,
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
        /// Frames not shown because they are longer than any client should have to keep.
        pub feed_oversized: u64,
        /// Clients of the feed closed because they did not read.
        pub feed_evicted: u64,
        /// Clients of the feed refused for lack of room.
        pub feed_refused: u64,
        /// Connections refused, by reason.
        pub refused: ReasonTable,
        /// Connections that we closed, by reason.
        pub closed: ReasonTable,
        /// What was given up for lack of memory, newcomers and connections included.
        pub shed: ShedTable,
        /// Found addresses dropped for lack of room.
        pub dial_targets_dropped: u64,
        /// Dials left out because the peer is banned.
        pub dials_banned: u64,
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

    /// One message on a topic of the older family has come to its end.
    pub fn end_legacy(&mut self, cause: Cause) {
        let slot = &mut self.gossip_legacy.0[cause as usize];
        *slot = slot.saturating_add(1);
    }

    /// Messages on topics of the older family that ended by `cause`.
    pub fn ended_legacy(&self, cause: Cause) -> u64 {
        self.gossip_legacy.0[cause as usize]
    }

    /// Messages on `kind` that ended by `cause`.
    pub fn ended(&self, kind: TopicKind, cause: Cause) -> u64 {
        self.gossip.0[kind as usize][cause as usize]
    }

    /// One connection was refused.
    pub fn refuse(&mut self, reason: DisconnectReason) {
        if reason == DisconnectReason::Memory {
            self.shed.count(Shed::Newcomers, 1, 0);
        }
        let slot = &mut self.refused.0[reason as usize];
        *slot = slot.saturating_add(1);
    }

    /// One connection was closed by us.
    pub fn close(&mut self, reason: DisconnectReason) {
        if reason == DisconnectReason::Memory {
            self.shed.count(Shed::Connections, 1, CONNECTION_BYTES);
        }
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
        let ended: u64 = self.gossip.0.iter().flatten().chain(&self.gossip_legacy.0).sum();
        ended + self.gossip_unknown_topic == self.delivered
    }
}

impl Encode for GossipTable {
    fn encode(&self, out: &mut impl Output) {
        self.0.iter().flatten().for_each(|count| count.encode(out));
    }
}

impl Encode for BlockedTable {
    fn encode(&self, out: &mut impl Output) {
        self.0.iter().flatten().flatten().for_each(|count| count.encode(out));
    }
}

impl Encode for CauseTable {
    fn encode(&self, out: &mut impl Output) {
        self.0.iter().for_each(|count| count.encode(out));
    }
}

impl Encode for ReasonTable {
    fn encode(&self, out: &mut impl Output) {
        self.0.iter().for_each(|count| count.encode(out));
    }
}

#[cfg(any(test, feature = "sim"))]
mod alter {
    use super::{BlockedTable, CauseTable, GossipTable, ReasonTable};
    use crate::state::{Alter, leaf};
    use alloc::format;
    use alloc::string::String;
    use alloc::vec::Vec;

    macro_rules! alter_tables {
        ($($table:ty: $($flatten:ident)*),* $(,)?) => {$(
            impl Alter for $table {
                fn leaves(&self, path: &str, out: &mut Vec<String>) {
                    let count = self.0.iter()$(.$flatten())*.count();
                    (0..count).for_each(|n| out.push(format!("{path}[{n}]")));
                }
                fn alter(&mut self, nth: &mut usize) -> bool {
                    self.0.iter_mut()$(.$flatten())*.any(|count| leaf(nth, || *count ^= 1))
                }
            }
        )*};
    }
    alter_tables!(
        BlockedTable: flatten flatten,
        GossipTable: flatten,
        CauseTable: ,
        ReasonTable: ,
    );
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
        counters.refuse(DisconnectReason::Memory);
        assert_eq!(DisconnectReason::Memory as usize + 1, REASONS);
        assert_eq!(counters.refused_for(DisconnectReason::Memory), 1);
    }
}
