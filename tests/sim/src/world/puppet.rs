//! Peers that are no nodes of ours: they connect and send whatever a step says.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use peerage_core::conn::{CloseReason, ConnectionId};
use peerage_core::gossipsub::Topic;
use peerage_core::gossipsub::stream;
use peerage_core::teranode::TopicKind;
use peerage_proto::envelope;
use peerage_proto::hash::Hash256;
use peerage_proto::json::{
    BlockMessage, HandshakeMessage, NodeStatusMessage, RejectedTxMessage, SubtreeMessage,
};
use peerage_proto::peer_id::PeerId;
use peerage_proto::pubsub::{Message, Rpc, RpcLimits, Subscription};

use super::neighbours::{hash_of, mined};
use super::node::peer_of;
use super::queue::Event;
use super::signer::signature_of;
use super::{End, World};
use crate::entropy::Dice;

/// Number of things that a puppet can send: messages, and then breaches of the protocol.
pub const KINDS: u64 = MESSAGE_KINDS + super::mischief::KINDS;
/// Of them: messages.
const MESSAGE_KINDS: u64 = 20;
/// Messages that puppets remember to forge or repeat.
const OVERHEARD_MAX: usize = 8;

/// A peer without a core.
#[derive(Clone, Debug, Default)]
pub(super) struct Puppet {
    /// Its links, and to whom each leads.
    pub(super) links: BTreeMap<u64, End>,
    /// Messages that it has handed on.
    pub(super) relayed: BTreeSet<Bytes>,
    /// Until when it may not graft, by link and topic.
    pub(super) barred: BTreeMap<(u64, Bytes), u64>,
}

impl World {
    /// A puppet sends something of `kind` to `node`; it connects first if it is not connected.
    pub fn puppet(&mut self, puppet: usize, node: usize, kind: u64, salt: u64) {
        let end = self.nodes.len() + puppet;
        let mut links = self.puppets[puppet].links.iter();
        let Some(link) = links.find(|(_, other)| **other == node).map(|(id, _)| *id) else {
            return self.puppet_dials(end, node);
        };
        let kind = kind % KINDS;
        if kind >= MESSAGE_KINDS {
            return self.mischief(end, link, node, kind - MESSAGE_KINDS, salt);
        }
        let frame = self.puppet_message(end, node, kind, salt);
        self.puppet_sends(end, link, frame);
    }

    /// A puppet sends one frame of any content to `node`, if it is connected.
    pub fn puppet_frame(&mut self, puppet: usize, node: usize, frame: &[u8]) {
        let mut links = self.puppets[puppet].links.iter();
        if let Some(link) = links.find(|(_, other)| **other == node).map(|(id, _)| *id) {
            self.puppet_sends(self.nodes.len() + puppet, link, frame.to_vec());
        }
    }

    pub(super) fn puppet_dials(&mut self, end: End, target: End) {
        let event = Event::Reach { dialer: end, life: 0, op: None, peer: None, target };
        self.queue.push(self.now + 1000, event);
    }

    /// A frame with one signed message of this kind, for a topic of `node`.
    pub(super) fn puppet_message(&mut self, end: End, node: usize, kind: u64, salt: u64) -> Vec<u8> {
        let (author, kind_of_topic, data) = self.content(end, kind, salt);
        let config = &self.nodes[node].config.teranode;
        let topic = match kind_of_topic {
            Some(kind) => config.topic(kind),
            None => {
                config.full_name(["nobody-knows", "handshake", "bestblock", "miningon"][salt as usize % 4])
            }
        };
        self.next_id += 1;
        signed_frame(&author, self.next_id, &topic, &data)
    }

    /// A puppet sends one frame.
    pub(super) fn puppet_sends(&mut self, end: End, link: u64, frame: Vec<u8>) {
        let (connection, frame) = (ConnectionId(link), frame.into());
        self.puppet_writes(end, link, stream::Event::Frame { connection, frame });
    }

    /// A puppet is connected: it is interested in everything.
    pub(super) fn puppet_greets(&mut self, link: u64, end: End, node: End) {
        let topics = self.topics(node.min(self.nodes.len() - 1));
        let all: Vec<_> = topics.iter().map(|topic| (true, name(topic))).collect();
        self.puppet_sends(end, link, subscriptions(&all));
        if self.sybils.is_some() {
            self.sybil_grafts(link, end, node);
        }
    }

    /// Topics that a node joins.
    pub(super) fn topics(&self, node: usize) -> Vec<Topic> {
        let config = &self.nodes[node].config.teranode;
        let legacy = [&config.topics.handshake, &config.topics.best_block, &config.topics.mining_on];
        let legacy = legacy.into_iter().filter(|name| !name.is_empty()).map(|name| config.full_name(name));
        TopicKind::ALL.into_iter().map(|kind| config.topic(kind)).chain(legacy).collect()
    }

    /// A puppet hears something, and remembers messages.
    pub(super) fn puppet_hears(&mut self, link: u64, to: End, event: &stream::Event) {
        let stream::Event::Frame { frame, .. } = event else { return };
        if self.sybils.is_some() {
            return self.sybil_hears(link, to, frame);
        }
        let Ok(rpc) = Rpc::decode(frame, &RpcLimits::default()) else { return };
        for message in &rpc.publish {
            let mut copy = Vec::new();
            message.encode(&mut copy);
            self.overheard.push_back(copy.into());
            if self.overheard.len() > OVERHEARD_MAX {
                self.overheard.pop_front();
            }
        }
    }

    /// A puppet closes its connections, or has them closed for its flood.
    pub fn puppet_leave(&mut self, puppet: usize) {
        let end = self.nodes.len() + puppet;
        for id in std::mem::take(&mut self.puppets[puppet].links).into_keys() {
            let reason = if id % 3 == 0 { CloseReason::Flood } else { CloseReason::Remote };
            self.close(id, end, reason);
        }
    }

    fn content(&self, end: End, kind: u64, salt: u64) -> (PeerId, Option<TopicKind>, Vec<u8>) {
        use TopicKind::{Block, NodeStatus, RejectedTx, Subtree};
        let own = self.peer(end);
        // Invented authors: their messages are validly signed, too.
        let author = if kind % 4 == 3 { peer_of(salt % 50, 1000 + end) } else { own };
        let id = author.to_base58();
        let foreign = self.nodes[0].peer.to_base58();
        let good = Forged { peer_id: &id, url: "http://puppet.example/api", salt };
        let (topic, inner) = match kind {
            0 | 1 => (Some(NodeStatus), good.status()),
            2 | 3 => (Some(Block), good.block(true)),
            4 | 5 => (Some(Subtree), good.subtree()),
            6 | 7 => (Some(RejectedTx), good.rejected()),
            8 => (Some(NodeStatus), Forged { peer_id: &foreign, ..good }.status()),
            9 => (Some(Block), Forged { peer_id: &foreign, ..good }.block(true)),
            10 => (Some(Block), good.block(false)),
            11 => (Some(Block), Forged { url: "http://192.168.0.1/", ..good }.block(true)),
            12 => (Some(Subtree), Forged { url: "", ..good }.subtree()),
            13 => (Some(Block), Forged { url: "", ..good }.block(true)),
            14 => (Some(NodeStatus), vec![b'{'; 70_000]),
            15 => (Some(TopicKind::ALL[salt as usize % 4]), mutated(good.status(), salt)),
            16 => return (author, Some(Block), good.block(true)),
            17 => return (author, Some(Subtree), mutated(good.subtree(), salt)),
            _ => return (author, None, good.handshake()),
        };
        let mut data = Vec::new();
        envelope::wrap("puppet", &inner, &mut data);
        (author, topic, data)
    }
}

/// A topic's name on the wire.
pub(super) fn name(topic: &Topic) -> Bytes {
    Bytes::copy_from_slice(topic.as_str().as_bytes())
}

/// A frame with a message that its author signed.
pub(super) fn signed_frame(author: &PeerId, number: u64, topic: &Topic, data: &[u8]) -> Vec<u8> {
    let seqno = number.to_be_bytes();
    let mut message = Message {
        from: Some(author.as_bytes()),
        data: Some(data),
        seqno: Some(&seqno),
        topic: Some(topic.as_str().as_bytes()),
        ..Message::default()
    };
    let mut bytes = Vec::new();
    message.signing_bytes(&mut bytes);
    let signature = signature_of(author, &bytes);
    message.signature = Some(&signature);
    written(|out| Rpc { publish: vec![message], ..Rpc::default() }.encode(out))
}

/// A frame that joins and leaves topics.
pub(super) fn subscriptions(changes: &[(bool, Bytes)]) -> Vec<u8> {
    let changes = changes.iter();
    let subscriptions = changes
        .map(|(joined, topic)| Subscription { subscribe: Some(*joined), topic: Some(topic) })
        .collect();
    written(|out| Rpc { subscriptions, ..Rpc::default() }.encode(out))
}

/// What a puppet claims.
#[derive(Clone, Copy)]
struct Forged<'a> {
    peer_id: &'a str,
    url: &'a str,
    salt: u64,
}

impl Forged<'_> {
    fn status(self) -> Vec<u8> {
        let hash = text(hash_of("puppet tip", self.salt));
        let message = NodeStatusMessage {
            peer_id: Cow::Borrowed(self.peer_id),
            client_name: Cow::Borrowed("puppet"),
            kind: Cow::Borrowed(NodeStatusMessage::KIND),
            base_url: Cow::Borrowed(self.url),
            best_block_hash: Cow::Owned(hash),
            best_height: (self.salt % 20_000) as u32,
            storage: Cow::Borrowed("full"),
            ..NodeStatusMessage::default()
        };
        written(|out| message.encode(out))
    }

    fn block(self, is_proven: bool) -> Vec<u8> {
        let header = mined(Hash256::ZERO, hash_of("puppet block", self.salt % 64), 7);
        let hash = if is_proven { header.hash() } else { hash_of("no work", self.salt) };
        let message = BlockMessage {
            peer_id: Cow::Borrowed(self.peer_id),
            data_hub_url: Cow::Borrowed(self.url),
            hash: Cow::Owned(text(hash)),
            height: (self.salt % 64) as u32,
            header: Cow::Owned(header.to_hex()),
            ..BlockMessage::default()
        };
        written(|out| message.encode(out))
    }

    fn subtree(self) -> Vec<u8> {
        let message = SubtreeMessage {
            peer_id: Cow::Borrowed(self.peer_id),
            data_hub_url: Cow::Borrowed(self.url),
            hash: Cow::Owned(text(hash_of("puppet subtree", self.salt % 64))),
            ..SubtreeMessage::default()
        };
        written(|out| message.encode(out))
    }

    fn rejected(self) -> Vec<u8> {
        let message = RejectedTxMessage {
            peer_id: Cow::Borrowed(self.peer_id),
            tx_id: Cow::Owned(text(hash_of("puppet tx", self.salt))),
            reason: Cow::Borrowed("dust"),
            ..RejectedTxMessage::default()
        };
        written(|out| message.encode(out))
    }

    fn handshake(self) -> Vec<u8> {
        let hash = text(hash_of("puppet tip", self.salt));
        let message = HandshakeMessage {
            kind: Cow::Borrowed("version"),
            peer_id: Cow::Borrowed(self.peer_id),
            best_height: (self.salt % 100) as u32,
            best_hash: Cow::Owned(hash),
            topic_prefix: Cow::Borrowed(peerage_proto::network::Network::Regtest.topic_prefix()),
            ..HandshakeMessage::default()
        };
        written(|out| message.encode(out))
    }
}

fn text(hash: Hash256) -> String {
    let mut text = String::new();
    hash.write_display(&mut text);
    text
}

pub(super) fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

pub(super) fn mutated(mut bytes: Vec<u8>, salt: u64) -> Vec<u8> {
    let mut dice = Dice::new(salt, "mutation");
    for _ in 0..=dice.roll(4) {
        let at = dice.roll(bytes.len() as u64) as usize;
        bytes[at] = dice.next_u64() as u8;
    }
    bytes
}
