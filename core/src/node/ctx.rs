//! What a component is handed beside its input.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use peerage_proto::hash::Hash256;
use peerage_proto::multiaddr::Multiaddr;
use peerage_proto::peer_id::PeerId;

use crate::codec::codec_enum;
use crate::explain::Notice;
use crate::explain::counters::Counters;
use crate::gossipsub::Command;
use crate::input::{Action, Document};
use crate::limits::Limits;
use crate::op::{OpId, Ops};
use crate::sink::Sink;
use crate::state::alter_leaf;
use crate::teranode::TopicKind;
use crate::time::Now;

/// What a pending operation is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// A dial of this target.
    Dial(DialTarget),
    /// A publication on this topic; for a rejected transaction its token is given back if it fails.
    Publish(TopicKind),
    /// A publication on a legacy topic.
    PublishLegacy,
    /// A record for this hash, announced by this peer.
    Produce {
        /// Block or subtree.
        kind: TopicKind,
        /// Which.
        hash: Hash256,
        /// Whose announcement.
        peer: PeerId,
    },
    /// A block to announce.
    BlockHeader(Hash256),
    /// A block to answer a legacy request of this peer with.
    BestBlock(PeerId),
    /// The chain's state, for the node status.
    Status,
    /// A document.
    Store(Document),
    /// Addresses of this author.
    Ask(PeerId),
    /// An announcement in the DHT.
    Provide,
    /// A search in the DHT.
    Search,
    /// A document for this peer on a direct stream.
    SendDirect(PeerId),
    /// A greeting of this peer on a direct stream; if it fails, it goes to the topic.
    Greet(PeerId),
    /// A signature of an own message.
    Sign,
    /// Signatures of the messages of one frame.
    Verify,
}

/// Whom a dial is for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum DialTarget {
    /// A peer.
    Peer(PeerId),
    /// Whoever answers at this address.
    Address(Multiaddr),
}

codec_enum!(DialTarget { 0 => Peer(peer), 1 => Address(addr) });
codec_enum!(Purpose {
    0 => Dial(target),
    1 => Publish(kind),
    2 => PublishLegacy,
    3 => Produce { kind, hash, peer },
    4 => BlockHeader(hash),
    5 => BestBlock(peer),
    6 => Status,
    7 => Store(document),
    8 => Ask(peer),
    9 => Provide,
    10 => Search,
    11 => SendDirect(peer),
    12 => Greet(peer),
    13 => Sign,
    14 => Verify,
});
alter_leaf!(DialTarget => |target| {
    let mut key = [0xa7; 32];
    key[0] ^= 1;
    *target = DialTarget::Peer(PeerId::from_ed25519(&key));
});
alter_leaf!(Purpose => |purpose| *purpose = if *purpose == Purpose::Provide { Purpose::Search } else { Purpose::Provide });

/// The time of the input, the operations, the counters, and where actions go.
pub struct Ctx<'a, S> {
    /// The time of the input.
    pub now: Now,
    /// Bounds.
    pub limits: &'a Limits,
    /// Operations pending.
    pub ops: &'a mut Ops<Purpose>,
    /// Counters of every outcome.
    pub counters: &'a mut Counters,
    /// Whether there is too little memory for a further connection.
    pub is_short_of_memory: bool,
    /// Memory to encode in; its content means nothing.
    pub scratch: &'a mut Vec<u8>,
    /// What families ask of the router; it does so before the input is over.
    pub commands: &'a mut VecDeque<Command>,
    /// Where actions go.
    pub out: &'a mut S,
}

impl<S: Sink<Action>> Ctx<'_, S> {
    /// Pushes an action.
    pub fn push(&mut self, action: impl Into<Action>) {
        self.out.push(action.into());
    }

    /// Asks something of the router.
    pub fn ask_router(&mut self, command: Command) {
        self.commands.push_back(command);
    }

    /// Tells the operator.
    pub fn tell(&mut self, notice: Notice) {
        self.out.push(Action::Notice(notice));
    }

    /// Begins an operation if there is room.
    pub fn begin(&mut self, purpose: Purpose) -> Option<OpId> {
        if self.ops.len() >= self.limits.ops_inflight_max as usize {
            self.counters.ops_refused = self.counters.ops_refused.saturating_add(1);
            return None;
        }
        Some(self.ops.begin(purpose))
    }
}
