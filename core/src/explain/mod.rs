//! Why things happened: typed facts for the operator and for oracles, and counters of every outcome.

pub mod counters;

use alloc::string::String;

use peerage_proto::hash::Hash256;
use peerage_proto::multiaddr::Multiaddr;
use peerage_proto::peer_id::PeerId;

use crate::conn::{CloseReason, ConnectionId, DialError, DisconnectReason, Source};
use crate::gossipsub::Acceptance;
use crate::input::Neighbour;
use crate::teranode::TopicKind;
use crate::teranode::ban::BanReason;
use crate::teranode::verdict::Cause;
use crate::time::UnixTime;

/// A fact worth telling. The shell turns it into a log line or an event; nothing is decided from it.
#[derive(Clone, PartialEq, Debug)]
pub enum Notice {
    /// We listen on this address.
    Listening {
        /// Where.
        addr: Multiaddr,
    },
    /// A peer has its first connection with us.
    PeerConnected {
        /// Who.
        peer: PeerId,
        /// By which connection.
        id: ConnectionId,
        /// Whether they opened it.
        inbound: bool,
        /// The other end.
        addr: Multiaddr,
    },
    /// A peer's last connection ended.
    PeerDisconnected {
        /// Who.
        peer: PeerId,
        /// As the shell saw it.
        reason: CloseReason,
        /// What the core had asked for, if it had.
        asked: Option<DisconnectReason>,
    },
    /// A dial failed.
    DialFailed {
        /// Who was expected, if known.
        peer: Option<PeerId>,
        /// Where the address came from.
        source: Source,
        /// Why.
        error: DialError,
        /// Milliseconds until the next attempt; none: given up.
        retry_ms: Option<u64>,
    },
    /// An accepted socket was refused.
    Refused {
        /// The other end.
        addr: Multiaddr,
        /// Why.
        reason: DisconnectReason,
    },
    /// A verdict on a message (only with `log_verdicts`).
    Verdict {
        /// Which topic.
        kind: TopicKind,
        /// What the router was told.
        acceptance: Acceptance,
        /// Why.
        cause: Cause,
        /// The signed author.
        source: PeerId,
    },
    /// We announced something.
    Announced {
        /// What.
        kind: TopicKind,
        /// Its hash.
        hash: Hash256,
        /// Its height, for a block.
        height: Option<u32>,
    },
    /// A peer lost points.
    Penalised {
        /// Who.
        peer: PeerId,
        /// Why.
        reason: BanReason,
        /// Its score now.
        score: u32,
    },
    /// A peer is banned.
    Banned {
        /// Who.
        peer: PeerId,
        /// The last reason.
        reason: BanReason,
        /// Until when.
        until: UnixTime,
    },
    /// A neighbour's health changed.
    Health {
        /// Which.
        neighbour: Neighbour,
        /// Whether it works.
        up: bool,
        /// More about it.
        detail: String,
    },
    /// A file that was to be loaded is broken; it was set aside.
    Unreadable {
        /// Which one.
        what: String,
        /// Why.
        problem: String,
    },
}
