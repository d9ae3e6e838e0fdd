//! Everything that happens to a node, and everything that it wants done.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use peerage_proto::multiaddr::Multiaddr;

use crate::codec::codec_enum;
use crate::conn::{self, ConnectionId, DialError};
use crate::explain::Notice;
use crate::gossipsub::stream::{self, CheckEnd};
use crate::op::OpId;
use crate::teranode::chain::{Answer, QueryError};
use crate::teranode::{self, ProduceError};

/// What happens to a node. Exhaustive on purpose: a new variant must not compile until both shells and the simulator
/// meet it.
#[derive(Clone, PartialEq, Debug)]
pub enum Input {
    /// The node starts: first input, once. It listens, joins topics and asks the chain for its state.
    Start,
    /// A deadline passed.
    Timeout,
    /// Something about connections.
    Conn(conn::Event),
    /// Something about pubsub's streams.
    Gossipsub(stream::Event),
    /// Something for the Teranode service.
    Teranode(teranode::Input),
    /// An operation ended.
    Op(OpId, OpResult),
    /// A stored document was loaded at start.
    Loaded(Document, Bytes),
    /// A neighbour's health changed.
    Health {
        /// Which.
        neighbour: Neighbour,
        /// Whether it works.
        up: bool,
        /// More about it, for people.
        detail: String,
    },
    /// The node stops: last input, once. Nothing is begun after it.
    Stop,
}

/// What a node wants done. Exhaustive, as [`Input`].
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    /// With connections.
    Conn(conn::Action),
    /// With pubsub's streams and signatures.
    Gossipsub(stream::Action),
    /// By the Teranode service's neighbours.
    Teranode(teranode::Action),
    /// Store a document durably, in place of its former content. Answered by [`OpResult::Stored`].
    Store {
        /// The operation.
        op: OpId,
        /// Which.
        document: Document,
        /// Its whole content.
        content: Bytes,
    },
    /// Tell the operator.
    Notice(Notice),
}

/// A stored document.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Document {
    /// `teranode_peers.json`: addresses of topic peers.
    AddressCache,
}

/// A service beside ours.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Neighbour {
    /// The blockchain service.
    Chain,
    /// The broker.
    Broker,
    /// The store.
    Store,
}

impl Neighbour {
    /// Every neighbour.
    pub const ALL: [Self; 3] = [Self::Chain, Self::Broker, Self::Store];

    /// Name for people and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chain => "blockchain",
            Self::Broker => "broker",
            Self::Store => "store",
        }
    }
}

/// How an operation ended.
#[derive(Clone, PartialEq, Debug)]
pub enum OpResult {
    /// A dial.
    Dialed(Result<ConnectionId, DialError>),
    /// A signature under our own name.
    Signed(Result<Bytes, Failed>),
    /// Checks of signatures: the end of each, in their order.
    Verified(Vec<CheckEnd>),
    /// A Kafka record.
    Produced(Result<(), ProduceError>),
    /// A document.
    Stored(Result<(), StoreError>),
    /// A question to the chain.
    Queried(Result<Answer, QueryError>),
    /// A question for addresses.
    Addresses(Result<Vec<Multiaddr>, Failed>),
    /// An announcement in the DHT.
    Provided(Result<(), Failed>),
    /// A search in the DHT ended.
    Searched(Result<(), Failed>),
    /// A document on a direct stream.
    SentDirect(Result<(), Failed>),
}

/// An operation failed; the text is for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failed(pub String);

/// Why something could not be stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StoreError {
    /// No room.
    Full,
    /// Anything else.
    Failed(String),
}

impl From<conn::Action> for Action {
    fn from(action: conn::Action) -> Self {
        Self::Conn(action)
    }
}

impl From<stream::Action> for Action {
    fn from(action: stream::Action) -> Self {
        Self::Gossipsub(action)
    }
}

impl From<teranode::Action> for Action {
    fn from(action: teranode::Action) -> Self {
        Self::Teranode(action)
    }
}

impl From<Notice> for Action {
    fn from(notice: Notice) -> Self {
        Self::Notice(notice)
    }
}

crate::codec::codec_struct!(Failed(cause));
codec_enum!(StoreError { 0 => Full, 1 => Failed(cause) });
codec_enum!(Document { 0 => AddressCache });
codec_enum!(Neighbour { 0 => Chain, 1 => Broker, 2 => Store });
codec_enum!(OpResult {
    0 => Dialed(result),
    1 => Signed(result),
    2 => Produced(result),
    3 => Stored(result),
    4 => Queried(result),
    5 => Addresses(result),
    6 => Provided(result),
    7 => Searched(result),
    8 => SentDirect(result),
    9 => Verified(ends),
});
codec_enum!(Input {
    0 => Start,
    1 => Timeout,
    2 => Conn(event),
    3 => Gossipsub(event),
    4 => Teranode(input),
    5 => Op(op, result),
    6 => Loaded(document, content),
    7 => Health { neighbour, up, detail },
    8 => Stop,
});
