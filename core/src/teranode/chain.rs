//! The blockchain service as the core sees it: notifications in, questions out (spec 3.8, 5.2).

use alloc::string::String;

use bytes::Bytes;
use peerage_proto::hash::Hash256;
use peerage_proto::header::BlockHeader;

use crate::codec::{Decode, DecodeError, Encode, Output, Reader, codec_enum, codec_struct};
use crate::state::alter_leaf;

/// State of the blockchain service's machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FsmState {
    /// `IDLE`.
    Idle,
    /// `RUNNING`.
    Running,
    /// `CATCHINGBLOCKS`.
    CatchingBlocks,
    /// `LEGACYSYNCING`.
    LegacySyncing,
}

impl FsmState {
    /// Number of states.
    pub const COUNT: usize = 4;
    /// Every state.
    pub const ALL: [Self; Self::COUNT] =
        [Self::Idle, Self::Running, Self::CatchingBlocks, Self::LegacySyncing];

    /// The state's name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "IDLE",
            Self::Running => "RUNNING",
            Self::CatchingBlocks => "CATCHINGBLOCKS",
            Self::LegacySyncing => "LEGACYSYNCING",
        }
    }

    /// "Syncing" in the sense of spec 1.2: own announcements wait.
    pub const fn is_syncing(self) -> bool {
        matches!(self, Self::CatchingBlocks | Self::LegacySyncing)
    }
}

/// A notification of the blockchain service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A block was added. The bytes are as received: anything but 32 of them is dropped.
    Block {
        /// Its hash, internal order.
        hash: Bytes,
    },
    /// A subtree was made.
    Subtree {
        /// Its hash, internal order.
        hash: Bytes,
    },
    /// The machine changed its state.
    Fsm {
        /// To this one; none: a name that we do not know.
        state: Option<FsmState>,
    },
    /// Another service failed with a peer.
    PeerFailure {
        /// The peer, text.
        peer_id: String,
        /// `catchup`, or anything else.
        failure_type: String,
        /// Free text.
        reason: String,
    },
    /// The stream of notifications ended; the adapter subscribes again by itself.
    Disconnected,
    /// The stream stands (again).
    Connected,
}

/// A question to the blockchain service and its companions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Query {
    /// One block.
    Header {
        /// Its hash.
        hash: Hash256,
    },
    /// Everything that the node status shows, in one go, each part with a deadline of at most 1 s (spec 3.9).
    Status,
}

/// A block as the blockchain service describes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Block {
    /// Its header.
    pub header: BlockHeader,
    /// Its height.
    pub height: u32,
    /// Its miner's text.
    pub miner: String,
    /// Chain work up to it, as stored (32 bytes).
    pub chain_work: Bytes,
    /// Whether it was found invalid: then it is not announced.
    pub invalid: bool,
}

/// What the node status needs. A part is none when its service did not answer in time.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Status {
    /// The tip.
    pub best: Option<Block>,
    /// The machine's state.
    pub fsm: Option<FsmState>,
    /// Transactions in block assembly.
    pub tx_count: Option<u64>,
    /// Subtrees in block assembly.
    pub subtree_count: Option<u32>,
    /// `BlockPersisterHeight`: none when missing or shorter than four bytes.
    pub persisted_height: Option<u32>,
}

/// The answer to a [`Query`].
#[derive(Clone, PartialEq, Debug)]
pub enum Answer {
    /// To [`Query::Header`].
    Header(Block),
    /// To [`Query::Status`].
    Status(Box<Status>),
}

use alloc::boxed::Box;

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum QueryError {
    /// No such block.
    NotFound,
    /// The service does not answer.
    Unavailable(String),
}

impl Encode for BlockHeader {
    fn encode(&self, out: &mut impl Output) {
        self.as_bytes().encode(out);
    }
}

impl Decode for BlockHeader {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let bytes = <[u8; 80]>::decode(input)?;
        Self::from_bytes(&bytes).map_err(|_| input.error("a block header"))
    }
}

codec_enum!(FsmState { 0 => Idle, 1 => Running, 2 => CatchingBlocks, 3 => LegacySyncing });
codec_enum!(Event {
    0 => Block { hash },
    1 => Subtree { hash },
    2 => Fsm { state },
    3 => PeerFailure { peer_id, failure_type, reason },
    4 => Disconnected,
    5 => Connected,
});
codec_enum!(Query { 0 => Header { hash }, 1 => Status });
codec_struct!(Block { header, height, miner, chain_work, invalid });
codec_struct!(Status { best, fsm, tx_count, subtree_count, persisted_height });
codec_enum!(Answer { 0 => Header(block), 1 => Status(status) });
codec_enum!(QueryError { 0 => NotFound, 1 => Unavailable(cause) });
alter_leaf!(
    FsmState => |state| *state = if *state == FsmState::Idle { FsmState::Running } else { FsmState::Idle },
    Block => |block| block.height ^= 1,
    Status => |status| status.tx_count = Some(status.tx_count.map_or(1, |count| count ^ 1)),
);
