//! Gossipsub: the router, its parts, and the watchdog over peers that fell silent. What topics mean is no business of this
//! folder: a family asks for something by [`Command`] and is told by [`Event`]; whoever moves frames speaks [`stream`].

pub mod backoff;
pub mod config;
pub mod interest;
pub mod lazy;
pub mod mesh;
pub mod message_cache;
pub mod peers;
pub mod policy;
pub mod promises;
pub mod router;
pub mod score;
pub mod seen;
pub mod stream;
pub mod streams;
pub mod topic;
pub mod watchdog;

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use peerage_proto::multiaddr::Multiaddr;
use peerage_proto::peer_id::PeerId;

use crate::codec::{codec_enum, codec_struct};
use crate::op::OpId;
use crate::state::alter_leaf;

/// A topic's name. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Topic(pub Arc<str>);

impl From<&str> for Topic {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl Topic {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Id of a gossip message: author's id followed by the sequence number (46 bytes for an Ed25519 author).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MessageId(pub Bytes);

/// What the router may do with a message: gossipsub's validation result.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Acceptance {
    /// Forward it.
    Accept,
    /// Do not forward it; its sender is at fault.
    Reject,
    /// Do not forward it; nobody is at fault.
    Ignore,
}

/// What the router tells the rest of the node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A message whose signature is valid, for the first time. It waits for a [`Command::Report`].
    Delivered {
        /// Its id.
        id: MessageId,
        /// Its topic.
        topic: Topic,
        /// The neighbour that sent it to us.
        propagation_source: PeerId,
        /// Its signed author.
        source: PeerId,
        /// Its payload.
        data: Bytes,
    },
    /// A neighbour subscribed to a topic.
    Subscribed {
        /// Who.
        peer: PeerId,
        /// To what.
        topic: Topic,
    },
    /// A neighbour unsubscribed.
    Unsubscribed {
        /// Who.
        peer: PeerId,
        /// From what.
        topic: Topic,
    },
    /// A neighbour entered or left the mesh of at least one topic.
    Mesh {
        /// Who.
        peer: PeerId,
        /// Whether it is in one now.
        member: bool,
    },
    /// A neighbour speaks no pubsub protocol of ours.
    Unsupported {
        /// Who.
        peer: PeerId,
    },
    /// A peer is named by another, with addresses that it signed.
    Exchanged {
        /// Who.
        peer: PeerId,
        /// Where it listens.
        addrs: Vec<Multiaddr>,
    },
    /// A publication ended.
    Published {
        /// The operation.
        op: OpId,
        /// How.
        result: PublishResult,
    },
}

/// What a family asks of the router.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Join a topic.
    Subscribe {
        /// Which.
        topic: Topic,
    },
    /// Leave a topic.
    Unsubscribe {
        /// Which.
        topic: Topic,
    },
    /// Publish under the own name; answered by [`Event::Published`].
    Publish {
        /// The operation.
        op: OpId,
        /// Where.
        topic: Topic,
        /// What.
        data: Bytes,
    },
    /// The verdict on a delivered message: exactly one for each.
    Report {
        /// Which message.
        id: MessageId,
        /// Who sent it to us.
        propagation_source: PeerId,
        /// What to do with it.
        acceptance: Acceptance,
        /// Whether that is for reasons of our own, such as a full queue: another copy of it may come and be judged anew.
        again: bool,
    },
}

/// How a publication ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PublishError {
    /// Nobody to send it to. Not a fault.
    NoPeers,
    /// Every queue that should have taken it was full.
    QueuesFull,
    /// The router refused it.
    Refused(String),
}

/// Result of a publication.
pub type PublishResult = Result<(), PublishError>;

codec_struct!(Topic(name));
codec_struct!(MessageId(bytes));
codec_enum!(Acceptance { 0 => Accept, 1 => Reject, 2 => Ignore });
codec_enum!(PublishError { 0 => NoPeers, 1 => QueuesFull, 2 => Refused(reason) });
alter_leaf!(Topic => |topic| topic.0 = alloc::format!("{}x", topic.0).into());
alter_leaf!(MessageId => |id| id.0 = [&id.0[..], b"x"].concat().into());
