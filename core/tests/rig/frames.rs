//! Frames by hand: what a neighbour sends to a [`Rig`], and what is sent to it.

use bytes::Bytes;
use peerage_core::conn::ConnectionId;
use peerage_core::gossipsub::stream::{self, Check, CheckEnd};
use peerage_core::input::{Action, Input, OpResult};
use peerage_core::op::OpId;
use peerage_core::proto::PeerId;
use peerage_core::proto::pubsub::{Message, Rpc, RpcLimits};

use super::{Done, Rig, hash_text, peer, subtree};

pub const TOPIC: &str = "teranode/bitcoin/1.0.0/regtest-subtree";
pub const AUTHOR: u8 = 50;

/// A node whose signatures are made and checked by hand.
pub fn by_hand() -> Rig {
    let mut rig = Rig::mended();
    rig.signs = false;
    rig
}

pub fn inner(n: u8) -> Vec<u8> {
    let mut data = Vec::new();
    let json = subtree(&peer(AUTHOR).to_base58(), &hash_text(n));
    peerage_core::proto::envelope::wrap("name", json.as_bytes(), &mut data);
    data
}

pub struct Sent<'a> {
    pub author: PeerId,
    pub seqno: [u8; 8],
    pub data: Vec<u8>,
    pub unknown: &'a [u8],
    pub key: Option<&'a [u8]>,
    pub signature: &'a [u8],
}

impl Default for Sent<'_> {
    fn default() -> Self {
        let (author, seqno) = (peer(AUTHOR), [1; 8]);
        Self { author, seqno, data: inner(1), unknown: &[], key: None, signature: &[5; 64] }
    }
}

impl Sent<'_> {
    pub fn message(&self) -> Message<'_> {
        Message {
            from: Some(self.author.as_bytes()),
            data: Some(&self.data),
            seqno: Some(&self.seqno),
            topic: Some(TOPIC.as_bytes()),
            signature: Some(self.signature),
            key: self.key,
            unknown: self.unknown.into(),
        }
    }
}

pub fn send(rig: &mut Rig, from: PeerId, sent: &Sent<'_>) -> Done {
    rig.rpc(from, &Rpc { publish: vec![sent.message()], ..Rpc::default() })
}

pub fn verifies(done: &Done) -> Vec<(OpId, Vec<Check>)> {
    done.0
        .iter()
        .filter_map(|action| match action {
            Action::Gossipsub(stream::Action::Verify { op, checks }) => Some((*op, checks.clone())),
            _ => None,
        })
        .collect()
}

pub fn verified(rig: &mut Rig, op: OpId, ends: &[CheckEnd]) -> Done {
    rig.feed(Input::Op(op, OpResult::Verified(ends.to_vec())))
}

/// What was sent: to which connection, and the RPC.
pub fn sent(done: &Done) -> Vec<(ConnectionId, Bytes)> {
    let frames = done.0.iter().filter_map(|action| match action {
        Action::Gossipsub(stream::Action::Send { connection, frames }) => Some((*connection, frames)),
        _ => None,
    });
    frames
        .flat_map(|(connection, frames)| frames.iter().map(move |frame| (connection, content(frame))))
        .collect()
}

pub fn content(frame: &Bytes) -> Bytes {
    let skip = frame.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    frame.slice(skip..)
}

pub fn rpc(frame: &Bytes) -> Rpc<'_> {
    Rpc::decode(frame, &RpcLimits::default()).unwrap()
}

/// Connections that got a message.
pub fn got_message(done: &Done) -> Vec<u64> {
    let with_message = sent(done).into_iter().filter(|(_, frame)| !rpc(frame).publish.is_empty());
    with_message.map(|(connection, _)| connection.0).collect()
}

/// `who` is in the mesh of the topic with us, on a connection of this number.
pub fn member(rig: &mut Rig, n: u8) {
    rig.connect(n.into(), peer(n));
    rig.subscribe(peer(n), TOPIC);
    rig.graft(peer(n), TOPIC);
    assert!(rig.node.view().interests().in_mesh(&peer(n)));
}

pub fn deliveries(rig: &Rig) -> u64 {
    rig.node.view().counters().delivered
}
