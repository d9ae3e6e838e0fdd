//! Control messages of others.

use peerage_proto::peer_id::PeerId;
use peerage_proto::pubsub::{Control, Prune};

use super::control_frames::{self, Changes};
use super::{Hand, Router, bump};
use crate::conn::outbox::Class;
use crate::gossipsub::lazy::{self, Asking};
use crate::gossipsub::mesh::Grafted;
use crate::gossipsub::peers::Version;
use crate::gossipsub::seen::IdDigest;
use crate::gossipsub::topic::TopicName;
use crate::input;
use crate::sink::Sink;

impl Router {
    /// Control of `peer`, on a stream of this version, in its first RPC or a later one.
    pub(super) fn on_control<S: Sink<input::Action>>(
        &mut self,
        hand: &mut Hand<'_, '_, S>,
        peer: PeerId,
        version: Version,
        is_first: bool,
        control: &Control<'_>,
    ) {
        if !version.has_mesh() {
            return bump(&mut self.tally.control_unexpected, 1);
        }
        if control.extensions.is_some() && !is_first {
            bump(&mut self.tally.extensions_late, 1);
            self.scores.penalize(&peer, 1);
        }
        for ihave in &control.ihave {
            self.on_ihave(hand, peer, ihave.topic.unwrap_or_default(), &ihave.message_ids);
        }
        for iwant in &control.iwant {
            self.on_iwant(hand, peer, &iwant.message_ids);
        }
        let mut answer = Changes::default();
        for graft in &control.graft {
            self.on_graft(hand, peer, graft.topic.unwrap_or_default(), &mut answer);
        }
        for prune in &control.prune {
            self.on_prune(hand, peer, prune);
        }
        for frame in answer.frames() {
            hand.queue(peer, Class::High, frame);
        }
        if version.has_idontwant() {
            for id in control.idontwant.iter().flat_map(|entry| &entry.message_ids) {
                bump(&mut self.tally.idontwant_in, 1);
                self.peers.on_unwanted(&peer, IdDigest::of(id));
            }
        }
    }

    fn on_ihave<S: Sink<input::Action>>(
        &mut self,
        hand: &mut Hand<'_, '_, S>,
        peer: PeerId,
        topic: &[u8],
        ids: &[&[u8]],
    ) {
        let asking = Asking {
            now: hand.cx.now.mono,
            peer,
            score: self.score(hand.setup, &peer),
            is_joined: self.joined.contains_key(topic),
            peers: &mut self.peers,
            seen: &self.seen,
            promises: &mut self.promises,
            rng: &mut self.rng,
        };
        let asked = asking.on_ihave(ids, &hand.setup.lazy);
        bump(&mut self.tally.iwant_out, asked.len());
        for frame in control_frames::iwant(&asked) {
            hand.queue(peer, Class::Bulk, frame);
        }
    }

    fn on_iwant<S: Sink<input::Action>>(&mut self, hand: &mut Hand<'_, '_, S>, peer: PeerId, ids: &[&[u8]]) {
        let score = self.score(hand.setup, &peer);
        let given = lazy::on_iwant(peer, score, ids, &self.peers, &mut self.cache, &hand.setup.lazy);
        let not_given = given.absent.saturating_add(given.spent).saturating_add(given.unwanted);
        bump(&mut self.tally.iwant_not_given, not_given as usize);
        for frame in given.messages {
            bump(&mut self.tally.iwant_given, usize::from(hand.queue(peer, Class::Bulk, frame)));
        }
    }

    fn on_graft<S: Sink<input::Action>>(
        &mut self,
        hand: &mut Hand<'_, '_, S>,
        peer: PeerId,
        topic: &[u8],
        answer: &mut Changes,
    ) {
        bump(&mut self.tally.grafts_in, 1);
        let Some((topic, _)) = self.joined.get_key_value(topic) else { return };
        let topic = topic.clone();
        let grafted =
            self.with_mesh(hand.now(), hand.setup, |mesh, around| mesh.on_graft(peer, &topic, around));
        match grafted {
            Grafted::Entered => self.entered_mesh(hand, peer, &topic),
            Grafted::Refused(prune, times) => {
                bump(&mut self.tally.grafts_refused, 1);
                bump(&mut self.tally.prunes_out, 1);
                self.scores.penalize(&peer, times);
                // Named twice in one RPC it is answered once.
                if !answer.prunes.iter().any(|other| other.topic == prune.topic) {
                    answer.prunes.push(prune);
                }
            }
            Grafted::Member | Grafted::Ignored => {}
        }
    }

    fn on_prune<S: Sink<input::Action>>(
        &mut self,
        hand: &mut Hand<'_, '_, S>,
        peer: PeerId,
        prune: &Prune<'_>,
    ) {
        bump(&mut self.tally.prunes_in, 1);
        let topic = TopicName::from(prune.topic.unwrap_or_default());
        let was_member = self.with_mesh(hand.now(), hand.setup, |mesh, around| {
            mesh.on_prune(&peer, &topic, prune.backoff_s, around)
        });
        if was_member {
            self.left_mesh(hand, peer, &topic);
        }
        self.take_exchange(hand, peer, &prune.peers);
    }
}
