//! Messages of others: from the frame to the verdict, and on to those that do not have them.

use alloc::vec::Vec;

use bytes::Bytes;
use peerage_proto::peer_id::PeerId;
use peerage_proto::pubsub::Message;

use super::copy::Copy;
use super::{Hand, Router, bump, control_frames};
use crate::conn::outbox::Class;
use crate::gossipsub::policy::Breach;
use crate::gossipsub::seen::{Arrival, Checked, IdDigest, Identity};
use crate::gossipsub::stream::{Action, Check, CheckEnd};
use crate::gossipsub::topic::TopicName;
use crate::gossipsub::{Acceptance, Event, MessageId, lazy};
use crate::input;
use crate::node::ctx::Purpose;
use crate::op::OpId;
use crate::sink::Sink;
use crate::state::state;
use crate::time::Timer;

state! {
    /// A copy whose signature is being checked.
    #[derive(Clone, Debug)]
    pub(super) struct Waiting {
        id: MessageId,
        topic: TopicName,
        author: Option<PeerId>,
        copy: Copy,
    }
}

state! {
    /// A message whose verdict is awaited.
    #[derive(Clone, Debug)]
    pub(super) struct Judging {
        digest: IdDigest,
        topic: TopicName,
        author: Option<PeerId>,
        copy: Copy,
        /// Those that have it, the one that it came from first.
        senders: Vec<PeerId>,
    }
}

/// Signatures of one frame that are to be checked.
#[derive(Default)]
struct Batch {
    identities: Vec<Identity>,
    checks: Vec<Check>,
}

impl Router {
    /// The messages of one frame.
    pub(super) fn on_messages<S: Sink<input::Action>>(
        &mut self,
        hand: &mut Hand<'_, '_, S>,
        peer: PeerId,
        messages: &[Message<'_>],
    ) {
        let mut batch = Batch::default();
        for message in messages {
            bump(&mut self.tally.messages, 1);
            self.on_message(hand, peer, message, &mut batch);
        }
        let Batch { identities, checks } = batch;
        match (!checks.is_empty()).then(|| hand.cx.begin(Purpose::Verify)).flatten() {
            Some(op) => {
                self.verifying.insert(op, identities);
                hand.cx.push(Action::Verify { op, checks });
            }
            None => self.checked.extend(identities.into_iter().map(|identity| (identity, CheckEnd::Unknown))),
        }
        // What is not signed, or finds no room for its check, waits for nobody.
        self.act_on_checks(hand);
    }

    fn on_message<S: Sink<input::Action>>(
        &mut self,
        hand: &Hand<'_, '_, S>,
        peer: PeerId,
        message: &Message<'_>,
        batch: &mut Batch,
    ) {
        let Some((topic, _)) = self.joined.get_key_value(message.topic.unwrap_or_default()) else {
            return bump(&mut self.tally.messages_unknown_topic, 1);
        };
        let topic = topic.clone();
        let policy = hand.setup.policy(&topic);
        let found = match policy.look(message) {
            Ok(found) => found,
            Err(Breach::IdTooLong) => return bump(&mut self.tally.messages_incompatible, 1),
            Err(_) => {
                bump(&mut self.tally.messages_breach, 1);
                return self.charge(hand, &peer, &topic);
            }
        };
        if found.author == Some(hand.setup.own) {
            return bump(&mut self.tally.messages_own, 1);
        }
        let mut id = Vec::with_capacity(64);
        policy.write_id(message, &mut id);
        let (now, digest) = (hand.now(), IdDigest::of(&id));
        if self.seen.is_duplicate(now, &digest) {
            return self.on_duplicate(hand, peer, &digest, &id);
        }
        let copy = Copy::of(message);
        let identity = Identity::of(copy.message());
        match self.seen.on_copy(now, peer, identity, digest, copy.message().len() as u64) {
            Arrival::Check => {}
            Arrival::Refused => return self.charge(hand, &peer, &topic),
            Arrival::Joined | Arrival::Duplicate | Arrival::OverShare => return,
        }
        match found.key {
            Some(key) => {
                let mut signed = Vec::new();
                message.signing_bytes(&mut signed);
                let signature = Bytes::copy_from_slice(message.signature.unwrap_or_default());
                batch.identities.push(identity);
                batch.checks.push(Check { key, signed: signed.into(), signature });
            }
            None => self.checked.push_back((identity, CheckEnd::Valid)),
        }
        self.waiting
            .insert(identity, Waiting { id: MessageId(id.into()), topic, author: found.author, copy });
    }

    /// `peer` sent what is invalid by itself.
    fn charge<S>(&mut self, hand: &Hand<'_, '_, S>, peer: &PeerId, topic: &TopicName) {
        if let Some(scoring) = hand.setup.scoring() {
            self.scores.invalid(peer, topic, &scoring.params);
        }
    }

    fn on_duplicate<S>(&mut self, hand: &Hand<'_, '_, S>, peer: PeerId, digest: &IdDigest, id: &[u8]) {
        if let Some(scoring) = hand.setup.scoring() {
            self.scores.duplicate(hand.cx.now.mono, digest, peer, &scoring.params);
        }
        if self.judging.is_empty() {
            return;
        }
        // It has the message: it need not get it from us.
        if let Some(judging) = self.judging.get_mut(&MessageId(Bytes::copy_from_slice(id)))
            && !judging.senders.contains(&peer)
            && judging.senders.len() < SENDERS_MAX
        {
            judging.senders.push(peer);
        }
    }

    /// Checks ended. What is missing in `ends` could not be checked.
    pub fn on_verified<S: Sink<input::Action>>(
        &mut self,
        hand: &mut Hand<'_, '_, S>,
        op: OpId,
        ends: &[CheckEnd],
    ) {
        self.on_records_checked(hand, op, ends);
        let identities = self.verifying.remove(&op).unwrap_or_default();
        let ends = ends.iter().copied().chain(core::iter::repeat(CheckEnd::Unknown));
        self.checked.extend(identities.into_iter().zip(ends));
        self.act_on_checks(hand);
    }

    /// Acts on checks that ended, so many as one input may cause; the rest waits for the next.
    pub(super) fn act_on_checks<S: Sink<input::Action>>(&mut self, hand: &mut Hand<'_, '_, S>) {
        for _ in 0..hand.cx.limits.work_per_input_max {
            let Some((identity, end)) = self.checked.pop_front() else { return };
            self.act_on_check(hand, identity, end);
        }
        if !self.checked.is_empty() {
            hand.timers.set_earlier(Timer::Router, hand.cx.now.mono);
        }
    }

    fn act_on_check<S: Sink<input::Action>>(
        &mut self,
        hand: &mut Hand<'_, '_, S>,
        identity: Identity,
        end: CheckEnd,
    ) {
        let Some(waiting) = self.waiting.remove(&identity) else { return };
        if end == CheckEnd::Unknown {
            self.seen.on_unchecked(identity);
            return;
        }
        match self.seen.on_checked(hand.now(), identity, end == CheckEnd::Valid) {
            Checked::First(senders) => self.deliver(hand, waiting, senders),
            Checked::Late(senders) => {
                let digest = IdDigest::of(&waiting.id.0);
                senders.iter().for_each(|peer| self.on_duplicate(hand, *peer, &digest, &waiting.id.0));
            }
            Checked::Failed(senders) => {
                senders.iter().for_each(|peer| self.charge(hand, peer, &waiting.topic));
            }
            Checked::Unknown => {}
        }
    }

    /// A message is true, and new: others are told not to send it, and the family judges it.
    fn deliver<S: Sink<input::Action>>(
        &mut self,
        hand: &mut Hand<'_, '_, S>,
        waiting: Waiting,
        senders: Vec<PeerId>,
    ) {
        let Waiting { id, topic, author, copy } = waiting;
        // Left while it was being checked.
        let Some(name) = self.joined.get(&topic).cloned() else { return };
        let digest = IdDigest::of(&id.0);
        self.promises.fulfil(&id);
        if hand.setup.scoring().is_some() {
            self.scores.delivered(hand.cx.now.mono, digest, &topic, &senders);
        }
        let data = copy.data();
        self.decline(hand, &id, &topic, &senders, data.len());
        let propagation_source = senders[0];
        // A message without an author is its bearer's.
        let source = author.unwrap_or(propagation_source);
        self.judging.insert(id.clone(), Judging { digest, topic, author, copy, senders });
        bump(&mut self.tally.delivered, 1);
        hand.events.push_back(Event::Delivered { id, topic: name, propagation_source, source, data });
    }

    /// Tells members of the mesh not to send what is long and here already.
    fn decline<S: Sink<input::Action>>(
        &mut self,
        hand: &mut Hand<'_, '_, S>,
        id: &MessageId,
        topic: &TopicName,
        senders: &[PeerId],
        payload_bytes: usize,
    ) {
        let Self { mesh, peers, .. } = &*self;
        let members = mesh.members(topic);
        let config = &hand.setup.config;
        let told = lazy::receivers_of_idontwant(members, senders, payload_bytes, peers, config);
        if told.is_empty() {
            return;
        }
        bump(&mut self.tally.idontwant_out, told.len());
        for frame in control_frames::idontwant(core::slice::from_ref(id)) {
            for peer in &told {
                hand.queue(*peer, Class::High, frame.clone());
            }
        }
    }

    /// The family judged a message. With `again` it did so for reasons of its own: another copy may come.
    pub(super) fn on_report<S: Sink<input::Action>>(
        &mut self,
        hand: &mut Hand<'_, '_, S>,
        id: &MessageId,
        acceptance: Acceptance,
        again: bool,
    ) {
        let Some(judging) = self.judging.remove(id) else {
            return bump(&mut self.tally.reports_unknown, 1);
        };
        if let Some(scoring) = hand.setup.scoring() {
            self.scores.judged(hand.cx.now.mono, &judging.digest, acceptance, &scoring.params);
        }
        if again {
            self.seen.forget(&judging.digest);
        }
        if acceptance == Acceptance::Accept {
            self.forward(hand, id.clone(), judging);
        }
    }

    fn forward<S: Sink<input::Action>>(
        &mut self,
        hand: &mut Hand<'_, '_, S>,
        id: MessageId,
        judging: Judging,
    ) {
        let Judging { digest, topic, author, copy, senders } = judging;
        let now = hand.now();
        let receivers = self.with_mesh(now, hand.setup, |mesh, around| {
            mesh.receivers_of_forward(&topic, author.as_ref(), &senders, around)
        });
        for peer in receivers {
            if !self.peers.wants(&peer, &digest) {
                bump(&mut self.tally.forwards_declined, 1);
            } else if hand.queue(peer, Class::Normal, copy.frame.clone()) {
                bump(&mut self.tally.forwarded, 1);
            }
        }
        self.cache.put(now, senders[0], digest, id, topic, copy.frame);
    }
}

/// Peers remembered to have a message that is being judged.
const SENDERS_MAX: usize = 64;
