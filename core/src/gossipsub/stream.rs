//! The vocabulary between the router and whoever moves its frames: streams, frames, signatures.
//!
//! Each connection carries at most one stream of ours (outbound: we write) and one of the peer's (inbound: we read). What
//! was sent and not yet [`Event::Written`] is in flight; the router keeps that below [`WINDOW_BYTES`] and one frame, so that
//! whoever moves frames needs no queue with a bound of its own.

use alloc::vec::Vec;

use bytes::Bytes;

use super::peers::Version;
use crate::codec::{codec_enum, codec_struct};
use crate::conn::ConnectionId;
use crate::op::OpId;
use crate::state::alter_leaf;

/// Bytes in flight on one stream from which nothing more is sent. One frame may pass it.
pub const WINDOW_BYTES: u64 = 64 << 10;
/// Bytes written are told when they are at least as many: well below the window, so that a stream never stalls.
pub const WRITTEN_BYTES_MIN: u64 = 16 << 10;

/// What happens to streams. Those of one connection come in the order in which they happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// Our outbound stream stands: the answer to [`Action::Open`].
    Opened {
        /// On which connection.
        connection: ConnectionId,
        /// What the peer chose to speak on it.
        version: Version,
    },
    /// Our outbound stream could not be opened, or ended without our asking. What was in flight is lost.
    Ended {
        /// On which connection.
        connection: ConnectionId,
        /// Why.
        end: StreamEnd,
    },
    /// Bytes of frames sent reached the transport. Told when they are [`WRITTEN_BYTES_MIN`] or more; a rest is not.
    Written {
        /// On which connection.
        connection: ConnectionId,
        /// How many since this was told last.
        bytes: u64,
    },
    /// The peer opened a stream to us. One that it had on this connection is replaced: nothing more comes from that.
    InboundOpened {
        /// On which connection.
        connection: ConnectionId,
        /// What it chose to speak.
        version: Version,
    },
    /// The peer's stream ended, or was reset.
    InboundEnded {
        /// On which connection.
        connection: ConnectionId,
    },
    /// A frame came in on the peer's stream.
    Frame {
        /// On which connection.
        connection: ConnectionId,
        /// One RPC, without its length.
        frame: Bytes,
    },
    /// The peer announced a frame longer than `rpc_bytes_max`, or a length that is none. Its stream was reset: an
    /// [`Event::InboundEnded`] follows.
    FrameTooLong {
        /// On which connection.
        connection: ConnectionId,
        /// Its length; the largest number if it is none.
        bytes: u64,
    },
}

/// Why a stream of ours is not there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum StreamEnd {
    /// The peer speaks none of our protocols.
    Unsupported,
    /// It could not be opened: a time-out, or the transport failed.
    Failed,
    /// It stood, and the peer ended or reset it.
    Closed,
}

/// What the router wants done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Open our stream on a connection that has none. Answered by [`Event::Opened`] or [`Event::Ended`], unless the
    /// connection closes before.
    Open {
        /// On which connection.
        connection: ConnectionId,
    },
    /// End our stream. Nothing more is told of it.
    Close {
        /// On which connection.
        connection: ConnectionId,
    },
    /// Write frames to our stream, in order. On a connection without one they are dropped.
    Send {
        /// On which connection.
        connection: ConnectionId,
        /// RPCs, each with its length in front.
        frames: Vec<Bytes>,
    },
    /// Reset the peer's stream: what it sent was no RPC. Answered by [`Event::InboundEnded`].
    Reset {
        /// On which connection.
        connection: ConnectionId,
    },
    /// Sign with our key. Answered by `OpResult::Signed`.
    Sign {
        /// The operation.
        op: OpId,
        /// What the signature is to cover.
        bytes: Bytes,
    },
    /// Check signatures. Answered by `OpResult::Verified` with one outcome for each, in their order.
    Verify {
        /// The operation.
        op: OpId,
        /// Which.
        checks: Vec<Check>,
    },
}

/// A signature to check.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Check {
    /// Whose.
    pub key: AuthorKey,
    /// What it covers.
    pub signed: Bytes,
    /// The signature.
    pub signature: Bytes,
}

/// An author's public key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AuthorKey {
    /// Ed25519.
    Ed25519([u8; 32]),
    /// Another kind: the key in libp2p's protobuf. It matches the author's id.
    Other(Bytes),
}

/// How a check ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum CheckEnd {
    /// The signature is the author's.
    Valid,
    /// It is not.
    Invalid,
    /// Nobody here can tell: a kind of key that is not known, or the checker failed. No peer's fault.
    Unknown,
}

codec_enum!(StreamEnd { 0 => Unsupported, 1 => Failed, 2 => Closed });
codec_enum!(CheckEnd { 0 => Valid, 1 => Invalid, 2 => Unknown });
codec_enum!(AuthorKey { 0 => Ed25519(key), 1 => Other(key) });
codec_struct!(Check { key, signed, signature });
codec_enum!(Event {
    0 => Opened { connection, version },
    1 => Ended { connection, end },
    2 => Written { connection, bytes },
    3 => InboundOpened { connection, version },
    4 => InboundEnded { connection },
    5 => Frame { connection, frame },
    6 => FrameTooLong { connection, bytes },
});
codec_enum!(Action {
    0 => Open { connection },
    1 => Close { connection },
    2 => Send { connection, frames },
    3 => Reset { connection },
    4 => Sign { op, bytes },
    5 => Verify { op, checks },
});
alter_leaf!(CheckEnd => |v| *v = if *v == Self::Valid { Self::Unknown } else { Self::Valid });
