//! Teranode's P2P service: gossip handlers and verdicts, node status, origins, bans, registry, the feed.

pub mod announce;
pub mod ban;
pub mod chain;
pub mod config;
pub mod feed;
pub mod gossip;
pub mod header;
pub mod legacy;
pub mod origin;
pub mod produce;
pub mod publish;
pub mod registry;
pub mod repeat;
pub mod service;
pub mod status;
pub mod subscribers;
pub mod url;
pub mod verdict;

use alloc::string::String;

use bytes::Bytes;
use peerage_proto::peer_id::PeerId;

use crate::codec::codec_enum;
use crate::op::OpId;
use crate::state::alter_leaf;

pub use config::{Compat, Config, ListenMode};
pub use service::Service;

/// The four topics of the family (spec 2.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum TopicKind {
    /// Block announcements.
    Block,
    /// Subtree announcements.
    Subtree,
    /// Rejected transactions.
    RejectedTx,
    /// Node status.
    NodeStatus,
}

impl TopicKind {
    /// Number of kinds.
    pub const COUNT: usize = 4;
    /// Every kind.
    pub const ALL: [Self; Self::COUNT] = [Self::Block, Self::Subtree, Self::RejectedTx, Self::NodeStatus];

    /// Name for metrics and logs; the topic's own name is a setting.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Subtree => "subtree",
            Self::RejectedTx => "rejected_tx",
            Self::NodeStatus => "node_status",
        }
    }
}

/// A Kafka topic that we produce to (spec 6.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ProduceTopic {
    /// `blocks`.
    Blocks,
    /// `subtrees`.
    Subtrees,
}

impl ProduceTopic {
    /// The topic's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blocks => "blocks",
            Self::Subtrees => "subtrees",
        }
    }
}

/// Why a record could not be produced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ProduceError {
    /// The broker cannot be reached, or does not acknowledge.
    Unavailable(String),
    /// The producer's own queue is full.
    QueueFull,
}

/// A record consumed from Kafka.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record {
    /// `rejectedtx`: a transaction that our validator refused. `peer_id` is empty for own ones.
    RejectedTx {
        /// Transaction id, text.
        tx_id: String,
        /// Why.
        reason: String,
        /// From whom it came, if from a peer.
        peer_id: String,
    },
}

/// What happens to the service.
#[derive(Clone, PartialEq, Debug)]
pub enum Input {
    /// The blockchain service says something.
    Chain(chain::Event),
    /// The feed's clients do something.
    Feed(feed::Event),
    /// Kafka delivers a record.
    Record(Record),
    /// A peer sent a document on a direct stream (legacy, spec 2.6).
    Direct {
        /// Who.
        from: PeerId,
        /// The document.
        data: Bytes,
    },
}

/// What the service wants done.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    /// Ask the blockchain service. Answered by `OpResult::Queried`.
    Query {
        /// The operation.
        op: OpId,
        /// The question.
        query: chain::Query,
    },
    /// Produce a Kafka record. Answered by `OpResult::Produced`.
    Produce {
        /// The operation.
        op: OpId,
        /// Where.
        topic: ProduceTopic,
        /// The key: the hash as text.
        key: Bytes,
        /// The record, protobuf.
        value: Bytes,
    },
    /// Something for the feed's clients.
    Feed(feed::Action),
    /// Send a document on a direct stream (legacy, spec 2.6). Answered by `OpResult::SentDirect`.
    SendDirect {
        /// The operation.
        op: OpId,
        /// To whom.
        to: PeerId,
        /// The document.
        data: Bytes,
    },
}

codec_enum!(TopicKind { 0 => Block, 1 => Subtree, 2 => RejectedTx, 3 => NodeStatus });
codec_enum!(ProduceTopic { 0 => Blocks, 1 => Subtrees });
codec_enum!(ProduceError { 0 => Unavailable(cause), 1 => QueueFull });
codec_enum!(Record { 0 => RejectedTx { tx_id, reason, peer_id } });
codec_enum!(Input { 0 => Chain(event), 1 => Feed(event), 2 => Record(record), 3 => Direct { from, data } });
codec_enum!(Action {
    0 => Query { op, query },
    1 => Produce { op, topic, key, value },
    2 => Feed(action),
    3 => SendDirect { op, to, data },
});
alter_leaf!(TopicKind => |kind| *kind = if *kind == TopicKind::Block { TopicKind::Subtree } else { TopicKind::Block });
