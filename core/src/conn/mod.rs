//! Who is connected, whom to dial and when, limits, addresses. No topics, no tags.

pub mod address_book;
pub mod admission;
pub mod config;
pub mod connections;
pub mod dialer;
pub mod discovery;
pub mod outbox;
pub mod table;
pub mod trim;

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use peerage_proto::multiaddr::Multiaddr;
use peerage_proto::peer_id::PeerId;

use crate::codec::{codec_enum, codec_struct};
use crate::op::OpId;
use crate::state::alter_leaf;

pub use config::{Config, DhtMode};
pub use connections::Connections;

/// Fewer bytes in a second are not worth an [`Event::Received`].
pub const RECEIVED_BYTES_MIN: u64 = 16 << 10;

/// Names one established connection. Chosen by the shell, never reused by it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnectionId(pub u64);

/// Names one accepted socket whose handshake has not ended. Chosen by the shell, never reused by it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PendingId(pub u64);

/// Names one question of a peer for another's addresses. Chosen by the shell, never reused by it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AskId(pub u64);

/// Who opened a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// They did; the socket was announced as this.
    Inbound(PendingId),
    /// We did, for this operation (none: a library below dialled by itself).
    Outbound(Option<OpId>),
}

/// Why the core closes or refuses a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum DisconnectReason {
    /// Over the high-water mark, and of the least value.
    Trimmed,
    /// Silent while others delivered.
    Deaf,
    /// A private address while those are not allowed.
    PrivateAddress,
    /// Too many connections of one address.
    AddressLimit,
    /// Too many connections of one network (/24 or /48).
    SubnetLimit,
    /// Too many connections of one peer.
    PeerLimit,
    /// Too many unfinished handshakes.
    HandshakeLimit,
    /// No room for any further connection.
    ConnectionLimit,
    /// Banned.
    Banned,
    /// More bytes or messages than its budget.
    Flood,
    /// Our own id at the other end.
    Ourselves,
    /// The node stops.
    Shutdown,
    /// A node of another chain, as its greeting says.
    OtherNetwork,
    /// Our pubsub stream on it ended again and again.
    StreamLost,
    /// Too little memory (`memory_max`).
    Memory,
}

/// Why a connection ended, as the shell saw it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum CloseReason {
    /// The core asked for it.
    Local,
    /// The other end closed it.
    Remote,
    /// The transport failed, or a time-out of it.
    Transport,
    /// Our transport closed it: it sent more bytes or messages than its budget, though it was read more slowly.
    Flood,
}

/// Why a dial failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DialError {
    /// Nobody answers at any of the addresses.
    Unreachable(String),
    /// Somebody else answers there.
    WrongPeer(PeerId),
    /// No address that our transports can dial.
    NoAddress,
    /// It took too long.
    TimedOut,
    /// Ourselves.
    Ourselves,
    /// A name in the address stands for nothing, or nobody could say for what.
    NameNotResolved,
}

/// Where an address came from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Source {
    /// `p2p_bootstrap_peers`.
    Bootstrap,
    /// `p2p_static_peers`.
    Static,
    /// The address cache.
    Cache,
    /// The DHT.
    Dht,
    /// Peer exchange, or an address request.
    Peer,
    /// The local network.
    Mdns,
}

/// What happens to connections. Every transport reports here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// We listen on this address now.
    Listening {
        /// Where, with the actual port.
        addr: Multiaddr,
    },
    /// We listen there no more.
    ListeningEnded {
        /// Where.
        addr: Multiaddr,
    },
    /// A socket was accepted; its handshake waits for [`Action::Admit`] or [`Action::Refuse`].
    Incoming {
        /// Which.
        pending: PendingId,
        /// The other end.
        addr: Multiaddr,
    },
    /// Its handshake failed, or it was refused: it is gone.
    IncomingEnded {
        /// Which.
        pending: PendingId,
    },
    /// A connection stands.
    Established {
        /// Which.
        id: ConnectionId,
        /// With whom: proved by the handshake.
        peer: PeerId,
        /// The other end.
        addr: Multiaddr,
        /// Who opened it. An inbound one ends its [`PendingId`].
        direction: Direction,
    },
    /// Many bytes arrived on a connection in about a second: at least [`RECEIVED_BYTES_MIN`], else it is not told.
    Received {
        /// Which.
        id: ConnectionId,
        /// How many.
        bytes: u64,
    },
    /// A connection ended.
    Closed {
        /// Which.
        id: ConnectionId,
        /// Why.
        reason: CloseReason,
    },
    /// A peer said who it is (identify).
    Identified {
        /// Who.
        peer: PeerId,
        /// Its program.
        agent_version: String,
        /// Its protocol version: informational.
        protocol_version: String,
        /// Where it listens, as it says.
        listen_addrs: Vec<Multiaddr>,
    },
    /// Addresses of a peer became known.
    Found {
        /// Whose.
        peer: PeerId,
        /// Which.
        addrs: Vec<Multiaddr>,
        /// From where.
        source: Source,
    },
    /// A peer asks for another's addresses (`/p2p-msg-bus/peer-addr-request/1.0.0`).
    AddressesAsked {
        /// Which question.
        ask: AskId,
        /// Who asks.
        from: PeerId,
        /// Whose addresses.
        target: PeerId,
    },
}

/// What the core wants done with connections.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Listen there. Reported by [`Event::Listening`].
    Listen {
        /// Where.
        addr: Multiaddr,
    },
    /// Let the handshake of an accepted socket begin.
    Admit {
        /// Which.
        pending: PendingId,
    },
    /// Drop an accepted socket, whether its handshake has begun or not.
    Refuse {
        /// Which.
        pending: PendingId,
        /// Why.
        reason: DisconnectReason,
    },
    /// Dial. Answered by `OpResult::Dialed`.
    Dial {
        /// The operation.
        op: OpId,
        /// Who is expected there; none: whoever answers.
        peer: Option<PeerId>,
        /// Where, best first; without `/p2p`.
        addrs: Vec<Multiaddr>,
    },
    /// Close a connection. Reported by [`Event::Closed`].
    Close {
        /// Which.
        id: ConnectionId,
        /// Why.
        reason: DisconnectReason,
    },
    /// Announce in the DHT that we provide `key` (a multihash). Answered by `OpResult::Provided`.
    Provide {
        /// The operation.
        op: OpId,
        /// What.
        key: Bytes,
    },
    /// Look up who provides `key`. Each find is an [`Event::Found`]; the end is `OpResult::Searched`.
    Search {
        /// The operation.
        op: OpId,
        /// What.
        key: Bytes,
    },
    /// Ask `via` for the addresses of `target`. Answered by `OpResult::Addresses`.
    AskAddresses {
        /// The operation.
        op: OpId,
        /// Whom to ask.
        via: PeerId,
        /// About whom.
        target: PeerId,
    },
    /// Answer a question.
    AnswerAddresses {
        /// Which.
        ask: AskId,
        /// The addresses known, possibly none.
        addrs: Vec<Multiaddr>,
    },
}

codec_struct!(ConnectionId(id));
codec_struct!(PendingId(id));
codec_struct!(AskId(id));
codec_enum!(Direction { 0 => Inbound(pending), 1 => Outbound(op) });
codec_enum!(DisconnectReason {
    0 => Trimmed, 1 => Deaf, 2 => PrivateAddress, 3 => AddressLimit, 4 => SubnetLimit, 5 => PeerLimit,
    6 => HandshakeLimit, 7 => ConnectionLimit, 8 => Banned, 9 => Flood, 10 => Ourselves, 11 => Shutdown,
    12 => OtherNetwork, 13 => StreamLost, 14 => Memory,
});
codec_enum!(CloseReason { 0 => Local, 1 => Remote, 2 => Transport, 3 => Flood });
codec_enum!(DialError {
    0 => Unreachable(cause), 1 => WrongPeer(peer), 2 => NoAddress, 3 => TimedOut, 4 => Ourselves,
    5 => NameNotResolved,
});
codec_enum!(Source { 0 => Bootstrap, 1 => Static, 2 => Cache, 3 => Dht, 4 => Peer, 5 => Mdns });
codec_enum!(Event {
    0 => Listening { addr },
    1 => ListeningEnded { addr },
    2 => Incoming { pending, addr },
    3 => IncomingEnded { pending },
    4 => Established { id, peer, addr, direction },
    5 => Closed { id, reason },
    6 => Identified { peer, agent_version, protocol_version, listen_addrs },
    7 => Found { peer, addrs, source },
    8 => AddressesAsked { ask, from, target },
    9 => Received { id, bytes },
});
codec_enum!(Action {
    0 => Listen { addr },
    1 => Admit { pending },
    2 => Refuse { pending, reason },
    3 => Dial { op, peer, addrs },
    4 => Close { id, reason },
    5 => Provide { op, key },
    6 => Search { op, key },
    7 => AskAddresses { op, via, target },
    8 => AnswerAddresses { ask, addrs },
});
alter_leaf!(
    ConnectionId => |id| id.0 ^= 1,
    PendingId => |id| id.0 ^= 1,
    Direction => |direction| *direction = match direction {
        Direction::Inbound(_) => Direction::Outbound(None),
        Direction::Outbound(_) => Direction::Inbound(PendingId(0)),
    },
    DisconnectReason => |reason| *reason = if *reason == DisconnectReason::Trimmed { DisconnectReason::Deaf } else { DisconnectReason::Trimmed },
    Source => |source| *source = if *source == Source::Dht { Source::Peer } else { Source::Dht },
);
