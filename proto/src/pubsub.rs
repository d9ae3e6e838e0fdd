//! The protobuf messages of gossipsub, borrowed from the frame they came in.
//!
//! By hand, because unknown fields of a message are covered by its signature and must come back as they were, and because
//! limits are checked before memory is taken. What is written is what go-libp2p writes: fields in the order of their
//! numbers, then the unknown ones.

mod control;
mod message;
mod peer_record;
mod rpc;
mod wire;

#[cfg(test)]
mod tests;

pub use control::{Control, Extensions, Graft, IDontWant, IHave, IWant, PeerInfo, Prune};
pub use message::Message;
pub use peer_record::PeerRecord;
pub use rpc::{Excess, Rpc, RpcLimits, Subscription};

use core::fmt;

/// What precedes the message in the bytes that its signature covers.
pub const SIGNING_PREFIX: &[u8] = b"libp2p-pubsub:";

/// Largest RPC that peers send and take, in bytes, without its length prefix.
pub const RPC_BYTES_MAX: usize = 1 << 20;

/// Longest message id that is kept or asked for, in bytes. Ids of this family are 46 bytes long.
pub const MESSAGE_ID_BYTES_MAX: usize = 128;

/// Why bytes are no message or RPC, and at which byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PubsubError {
    /// What was wrong.
    pub kind: PubsubErrorKind,
    /// Offset in bytes, within the innermost message, of the field that is wrong.
    pub at: usize,
}

/// What was wrong with a message or RPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PubsubErrorKind {
    /// It is not protobuf: a varint, a length or a group is broken.
    Malformed,
    /// A known field has another wire type than it should.
    WireType,
    /// It has more entries of a kind than [`RpcLimits`] allow.
    Limit,
    /// Its id is longer than [`MESSAGE_ID_BYTES_MAX`]: the author's profile and ours are incompatible.
    Incompatible,
}

impl fmt::Display for PubsubError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            PubsubErrorKind::Malformed => "broken protobuf",
            PubsubErrorKind::WireType => "field of a wrong wire type",
            PubsubErrorKind::Limit => "too many entries",
            PubsubErrorKind::Incompatible => "message id that is too long",
        };
        write!(f, "pubsub: {what} at byte {}", self.at)
    }
}

impl core::error::Error for PubsubError {}
