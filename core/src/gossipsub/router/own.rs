//! Own topics and own messages.

use alloc::vec::Vec;

use bytes::Bytes;
use peerage_proto::peer_id::PeerId;
use peerage_proto::pubsub::Message;

use super::control_frames::Changes;
use super::copy::Copy;
use super::{Hand, Router, bump};
use crate::conn::Connections;
use crate::conn::outbox::Class;
use crate::gossipsub::mesh::Change;
use crate::gossipsub::policy::Policy;
use crate::gossipsub::seen::IdDigest;
use crate::gossipsub::stream::Action;
use crate::gossipsub::topic::TopicName;
use crate::gossipsub::{Event, MessageId, PublishError, PublishResult, Topic};
use crate::input;
use crate::node::ctx::Purpose;
use crate::op::OpId;
use crate::sink::Sink;
use crate::state::state;

state! {
    /// An own message whose signature is being made.
    #[derive(Clone, Debug)]
    pub(super) struct Unsigned {
        /// The operation that waits for it.
        op: OpId,
        topic: TopicName,
        sequence: u64,
        data: Bytes,
    }
}

impl Router {
    /// Joins a topic.
    pub(super) fn subscribe<S: Sink<input::Action>>(&mut self, hand: &mut Hand<'_, '_, S>, topic: Topic) {
        let name = TopicName::from(topic.as_str());
        if self.joined.insert(name.clone(), topic).is_some() {
            return;
        }
        self.names.insert(name.clone());
        self.names_version = self.names_version.saturating_add(1);
        self.tell_everybody(hand.conns);
        let changes = self.with_mesh(hand.now(), hand.setup, |mesh, around| mesh.join(name.clone(), around));
        self.send_changes(hand, changes);
        let topic = self.joined.get(&name);
        for ((peer, _), topic) in self.peers.subscribers(&name).zip(topic.into_iter().cycle()) {
            hand.events.push_back(Event::Subscribed { peer: *peer, topic: topic.clone() });
        }
    }

    /// Leaves a topic: everybody is told, and its mesh that it may not graft us for a while.
    pub(super) fn unsubscribe<S: Sink<input::Action>>(&mut self, hand: &mut Hand<'_, '_, S>, topic: &Topic) {
        let name = TopicName::from(topic.as_str());
        if self.joined.remove(&name).is_none() {
            return;
        }
        self.names.remove(&name);
        self.names_version = self.names_version.saturating_add(1);
        self.tell_everybody(hand.conns);
        let changes = self.with_mesh(hand.now(), hand.setup, |mesh, around| mesh.leave(&name, around));
        self.send_changes(hand, changes);
    }

    fn tell_everybody(&self, conns: &mut Connections) {
        for peer in self.streams.peers() {
            conns.outboxes_mut().touch(*peer);
        }
    }

    /// Changes of meshes that we decided: kept in the scores, told to the node and to the peers.
    pub(super) fn send_changes<S: Sink<input::Action>>(
        &mut self,
        hand: &mut Hand<'_, '_, S>,
        changes: Vec<Change>,
    ) {
        let mut by_peer = alloc::collections::BTreeMap::<PeerId, Changes>::new();
        for change in changes {
            match change {
                Change::Graft { peer, topic } => {
                    bump(&mut self.tally.grafts_out, 1);
                    self.entered_mesh(hand, peer, &topic);
                    by_peer.entry(peer).or_default().grafts.push(topic);
                }
                Change::Prune(prune) => {
                    bump(&mut self.tally.prunes_out, 1);
                    self.left_mesh(hand, prune.peer, &prune.topic);
                    by_peer.entry(prune.peer).or_default().prunes.push(prune);
                }
            }
        }
        for (peer, changes) in by_peer {
            for frame in changes.frames() {
                hand.queue(peer, Class::High, frame);
            }
        }
    }

    /// Begins a publication. Answered by [`Event::Published`].
    pub(super) fn publish<S: Sink<input::Action>>(
        &mut self,
        hand: &mut Hand<'_, '_, S>,
        op: OpId,
        topic: &Topic,
        data: Bytes,
    ) {
        let name = TopicName::from(topic.as_str());
        let most = hand.setup.config.payload_bytes_max();
        if data.len() > most as usize {
            let cause = alloc::format!("{} bytes, and {most} is the most", data.len());
            return ended(hand, op, Err(PublishError::Refused(cause)));
        }
        if self.peers.subscribers(&name).next().is_none() {
            return ended(hand, op, Err(PublishError::NoPeers));
        }
        // As Go: the wall clock's nanoseconds at first, and then one more for each.
        let clock = hand.cx.now.wall.as_millis().saturating_mul(1_000_000);
        self.sequence = if self.sequence == 0 { clock.max(1) } else { self.sequence.saturating_add(1) };
        let unsigned = Unsigned { op, topic: name, sequence: self.sequence, data };
        if hand.setup.policy(&unsigned.topic) != Policy::Signed {
            return self.send_own(hand, unsigned, None);
        }
        let Some(sign) = hand.cx.begin(Purpose::Sign) else {
            return ended(hand, op, Err(PublishError::QueuesFull));
        };
        let mut bytes = Vec::new();
        let sequence = unsigned.sequence.to_be_bytes();
        unsigned.message(hand.setup.own.as_bytes(), &sequence, None).signing_bytes(&mut bytes);
        self.signing.insert(sign, unsigned);
        hand.cx.push(Action::Sign { op: sign, bytes: bytes.into() });
    }

    /// A signature was made, or could not be.
    pub fn on_signed<S: Sink<input::Action>>(
        &mut self,
        hand: &mut Hand<'_, '_, S>,
        op: OpId,
        signature: Result<Bytes, input::Failed>,
    ) {
        let Some(unsigned) = self.signing.remove(&op) else { return };
        match signature {
            Ok(signature) => self.send_own(hand, unsigned, Some(&signature)),
            Err(input::Failed(cause)) => ended(hand, unsigned.op, Err(PublishError::Refused(cause))),
        }
    }

    fn send_own<S: Sink<input::Action>>(
        &mut self,
        hand: &mut Hand<'_, '_, S>,
        unsigned: Unsigned,
        signature: Option<&[u8]>,
    ) {
        let (now, own) = (hand.now(), hand.setup.own);
        let policy = hand.setup.policy(&unsigned.topic);
        let sequence = unsigned.sequence.to_be_bytes();
        let mut message = unsigned.message(own.as_bytes(), &sequence, signature);
        if policy == Policy::Anonymous {
            (message.from, message.seqno) = (None, None);
        }
        let mut id = Vec::new();
        policy.write_id(&message, &mut id);
        let (digest, copy) = (IdDigest::of(&id), Copy::of(&message));
        let _ = self.seen.see_own(now, own, digest);
        let topic = unsigned.topic.clone();
        self.cache.put(now, own, digest, MessageId(id.into()), topic.clone(), copy.frame.clone());
        let receivers = self.with_mesh(now, hand.setup, |mesh, around| mesh.receivers_of_own(&topic, around));
        let there_are = !receivers.is_empty();
        let mut sent = 0;
        for peer in receivers {
            sent += usize::from(hand.queue(peer, Class::High, copy.frame.clone()));
        }
        let result = match (sent, there_are) {
            (0, false) => Err(PublishError::NoPeers),
            (0, true) => Err(PublishError::QueuesFull),
            _ => Ok(()),
        };
        bump(&mut self.tally.published, usize::from(result.is_ok()));
        ended(hand, unsigned.op, result);
    }
}

impl Unsigned {
    fn message<'a>(&'a self, own: &'a [u8], sequence: &'a [u8], signature: Option<&'a [u8]>) -> Message<'a> {
        Message {
            from: Some(own),
            data: Some(&self.data),
            seqno: Some(sequence),
            topic: Some(&self.topic.0),
            signature,
            ..Message::default()
        }
    }
}

fn ended<S>(hand: &mut Hand<'_, '_, S>, op: OpId, result: PublishResult) {
    hand.events.push_back(Event::Published { op, result });
}
