//! What peers do with their streams, and what they say on them.

extern crate alloc;

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;
use peerage_core::Input;
use peerage_core::conn::ConnectionId;
use peerage_core::gossipsub::stream::{self, StreamEnd};
use peerage_core::gossipsub::{self, MessageId};
use peerage_core::teranode::{self, TopicKind};
use peerage_proto::envelope;
use peerage_proto::json::{BestBlockMessage, MiningOnMessage};
use peerage_proto::peer_id::PeerId;
use peerage_proto::pubsub::{
    Control, Extensions, Graft, IDontWant, IHave, IWant, Message, PeerInfo, Prune, Rpc, Subscription,
};

use super::documents::*;
use super::{PEERS, Stage, addr, digest};

impl Stage {
    /// An RPC of somebody who is connected.
    pub(super) fn rpc(&mut self, rpc: &Rpc<'_>) {
        let Some(connection) = self.some_connection() else { return };
        if self.inbound.insert(connection) {
            let version = self.version();
            self.feed(Input::Gossipsub(stream::Event::InboundOpened { connection, version }));
        }
        let mut frame = Vec::new();
        rpc.encode(&mut frame);
        self.feed(Input::Gossipsub(stream::Event::Frame { connection, frame: frame.into() }));
    }

    /// Messages of one author in one RPC: the same payload under several numbers.
    pub(super) fn deliver(&mut self, topic: &gossipsub::Topic, source: PeerId, data: &[u8]) {
        let count = if self.below(5) == 0 { 5 } else { 1 };
        let numbers: Vec<[u8; 8]> = (0..count).map(|_| self.id().to_be_bytes()).collect();
        let of_author = |number: &[u8; 8]| MessageId([source.as_bytes(), number].concat().into());
        self.ids.extend(numbers.iter().map(of_author));
        let publish = numbers.iter().map(|number| Message {
            from: Some(source.as_bytes()),
            data: Some(data),
            seqno: Some(number),
            topic: Some(topic.as_str().as_bytes()),
            signature: Some(&[5; 64]),
            ..Message::default()
        });
        let publish: Vec<_> = publish.collect();
        // Some copies come twice.
        for _ in 0..=u64::from(self.below(4) == 0) {
            self.rpc(&Rpc { publish: publish.clone(), ..Rpc::default() });
        }
    }

    pub(super) fn gossip(&mut self) {
        let source = self.some_peer();
        // Every other pair of seeds has worse peers: more of them are banned.
        let honest = if self.seed_number % 4 < 2 { 12 } else { 2 };
        let name = if self.below(honest) == 0 { String::from("nobody") } else { source.to_base58() };
        let number = self.below(8);
        let kind = TopicKind::ALL[self.below(4) as usize];
        let mut inner = Vec::new();
        match kind {
            TopicKind::Block => block(&name, number).encode(&mut inner),
            TopicKind::Subtree => subtree(&name, number).encode(&mut inner),
            TopicKind::NodeStatus => status(&name, number).encode(&mut inner),
            TopicKind::RejectedTx => inner.extend_from_slice(b"{\"PeerID\":1}"),
        }
        let mut data = Vec::new();
        envelope::wrap("scenario", &inner, &mut data);
        let topic = self.config.teranode.topic(kind);
        self.deliver(&topic, source, &data);
    }

    pub(super) fn legacy(&mut self) {
        let (source, choice) = (self.some_peer(), self.below(3));
        let (name, mut data) = (source.to_base58(), Vec::new());
        let topic = ["handshake", "bestblock", "miningon"][choice as usize];
        let hash = text(digest("best", choice));
        match choice {
            0 => {
                let direct =
                    teranode::Input::Direct { from: source, data: Bytes::from_static(b"{\"Hash\":\"\"}") };
                return self.feed(Input::Teranode(direct));
            }
            1 => BestBlockMessage::Request { peer_id: Cow::Borrowed(&name) }.encode(&mut data),
            _ => MiningOnMessage {
                hash: Cow::Owned(hash),
                peer_id: Cow::Borrowed(&name),
                ..MiningOnMessage::default()
            }
            .encode(&mut data),
        }
        let topic = self.config.teranode.full_name(topic);
        self.deliver(&topic, source, &data);
    }

    pub(super) fn streams(&mut self) {
        let Some(connection) = self.some_connection() else { return };
        let event = match self.below(10) {
            0..=3 => match self.opening.pop() {
                Some(connection) => return self.open(connection),
                None => return,
            },
            4 if self.opened.remove(&connection) => {
                stream::Event::Ended { connection, end: StreamEnd::Closed }
            }
            5 if self.inbound.remove(&connection) => stream::Event::InboundEnded { connection },
            6 => stream::Event::FrameTooLong { connection, bytes: 2 << 20 },
            7 | 8 => match self.unwritten.remove(&connection) {
                Some(bytes) => stream::Event::Written { connection, bytes },
                None => return,
            },
            _ => {
                self.inbound.insert(connection);
                let version = self.version();
                stream::Event::InboundOpened { connection, version }
            }
        };
        self.feed(Input::Gossipsub(event));
    }

    pub(super) fn open(&mut self, connection: ConnectionId) {
        let end = match self.below(16) {
            0 => StreamEnd::Unsupported,
            1 => StreamEnd::Failed,
            _ => {
                self.opened.insert(connection);
                let version = self.version();
                return self.feed(Input::Gossipsub(stream::Event::Opened { connection, version }));
            }
        };
        self.feed(Input::Gossipsub(stream::Event::Ended { connection, end }));
    }

    /// What others tell about meshes and messages.
    pub(super) fn control(&mut self) {
        let config = &self.config.teranode;
        let mut topics: Vec<_> = TopicKind::ALL.iter().map(|kind| config.topic(*kind)).collect();
        topics.extend(["handshake", "bestblock", "miningon"].map(|name| config.full_name(name)));
        let topic = topics.swap_remove(self.below(7) as usize);
        let name = topic.as_str().as_bytes();
        let invented = format!("topic {}", self.below(50));
        // One of the last: older ones are not kept.
        let last = self.ids.len().saturating_sub(30);
        let (known, random) = (self.ids[last..].to_vec(), digest("nobody has it", self.below(500)));
        let message_ids: Vec<&[u8]> = known.iter().map(|id| &id.0[..]).chain([&random.0[..]]).collect();
        let named = self.some_peer();
        let record = addr(self.below(PEERS)).map(|addr| signed_record(&named, &addr)).unwrap_or_default();
        let mut rpc = Rpc::default();
        let mut control = Control::default();
        let number = self.below(12);
        match number {
            0..=2 => {
                let ours = Subscription { subscribe: Some(true), topic: Some(name) };
                let theirs = Subscription { subscribe: Some(true), topic: Some(invented.as_bytes()) };
                rpc.subscriptions = vec![ours, theirs];
                control.graft = vec![Graft { topic: Some(name) }];
            }
            3 => rpc.subscriptions = vec![Subscription { subscribe: Some(false), topic: Some(name) }],
            4 | 5 => control.graft = vec![Graft { topic: Some(name) }],
            6 => {
                let named = PeerInfo {
                    peer_id: Some(named.as_bytes()),
                    signed_peer_record: Some(&record).filter(|record| !record.is_empty()).map(|it| &it[..]),
                };
                control.prune = vec![Prune { topic: Some(name), backoff_s: Some(30), peers: vec![named] }];
            }
            7 | 8 => control.ihave = vec![IHave { topic: Some(name), message_ids }],
            9 => control.iwant = vec![IWant { message_ids }],
            10 => control.idontwant = vec![IDontWant { message_ids: vec![&random.0] }],
            _ => control.extensions = Some(Extensions::default()),
        }
        if number != 3 {
            rpc.control = Some(control);
        }
        self.rpc(&rpc);
    }
}
