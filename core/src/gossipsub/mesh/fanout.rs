//! Who gets a message: members, fanout, direct and floodsub peers.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use peerage_proto::peer_id::PeerId;

use super::{Around, Fanout, Mesh};
use crate::gossipsub::peers::Peer;
use crate::gossipsub::topic::TopicName;

impl Mesh {
    /// Who gets an own message. On a topic that is not joined, its fanout is renewed by that. A mesh smaller than wanted is
    /// helped out by other subscribers: a message of which nobody hears is lost.
    pub fn receivers_of_own<S: Fn(&PeerId) -> f64>(
        &mut self,
        topic: &TopicName,
        around: &Around<'_, S>,
    ) -> BTreeSet<PeerId> {
        let is_liked = |peer: &PeerId| (around.score)(peer) >= around.rules.thresholds.publish;
        if around.rules.flood_publish {
            let gets = |(peer, entry): &(&PeerId, &Peer)| entry.direct || is_liked(peer);
            return around.peers.subscribers(topic).filter(gets).map(|(peer, _)| *peer).collect();
        }
        let mut receivers = always(topic, around);
        let members = match self.topics.get(topic) {
            Some(members) => {
                let mut members = members.clone();
                let missing = around.rules.wanted.saturating_sub(members.len());
                let others = fanout_candidates(topic, around, &members);
                members.extend(self.choose(others, missing));
                members
            }
            None => self.renewed_fanout(topic, around),
        };
        receivers.extend(members);
        receivers
    }

    /// Who gets a message that is forwarded: not its author, and not those that sent it to us.
    pub fn receivers_of_forward<S: Fn(&PeerId) -> f64>(
        &self,
        topic: &TopicName,
        author: Option<&PeerId>,
        senders: &[PeerId],
        around: &Around<'_, S>,
    ) -> BTreeSet<PeerId> {
        let mut receivers = always(topic, around);
        receivers.extend(self.members(topic));
        receivers.retain(|peer| Some(peer) != author && !senders.contains(peer));
        receivers
    }

    fn renewed_fanout<S: Fn(&PeerId) -> f64>(
        &mut self,
        topic: &TopicName,
        around: &Around<'_, S>,
    ) -> BTreeSet<PeerId> {
        let present = self.fanouts.get(topic).map(|fanout| fanout.peers.clone()).unwrap_or_default();
        let missing = if present.is_empty() { around.rules.wanted } else { 0 };
        let candidates = fanout_candidates(topic, around, &present);
        let mut peers = self.choose(candidates, missing).into_iter().collect::<BTreeSet<_>>();
        peers.extend(present);
        // Without room the message goes out all the same; the next one goes to others.
        if self.fanouts.contains_key(topic) || self.fanouts.len() < self.fanouts_max as usize {
            let fanout = Fanout { published: around.now, peers: peers.clone() };
            self.fanouts.insert(topic.clone(), fanout);
        }
        peers
    }

    /// Ends fanouts that are not published to any more, fills up the others, and tells their topics.
    pub(super) fn maintain_fanouts<S: Fn(&PeerId) -> f64>(
        &mut self,
        around: &Around<'_, S>,
    ) -> Vec<TopicName> {
        let ttl = around.rules.fanout_ttl;
        self.fanouts.retain(|_, fanout| fanout.published.after(ttl) > around.now);
        let topics: Vec<_> = self.fanouts.keys().cloned().collect();
        for topic in &topics {
            let Some(fanout) = self.fanouts.get_mut(topic) else { continue };
            let is_liked = |peer: &PeerId| (around.score)(peer) >= around.rules.thresholds.publish;
            fanout.peers.retain(|peer| around.peers.is_subscribed(peer, topic) && is_liked(peer));
            let missing = around.rules.wanted.saturating_sub(fanout.peers.len());
            let candidates = fanout_candidates(topic, around, &fanout.peers);
            let more = self.choose(candidates, missing);
            if let Some(fanout) = self.fanouts.get_mut(topic) {
                fanout.peers.extend(more);
            }
        }
        topics
    }

    /// Topics with a fanout.
    pub fn fanout_topics(&self) -> impl Iterator<Item = &TopicName> {
        self.fanouts.keys()
    }
}

/// Direct and floodsub subscribers: they get every message.
fn always<S: Fn(&PeerId) -> f64>(topic: &TopicName, around: &Around<'_, S>) -> BTreeSet<PeerId> {
    if !around.peers.some_get_everything() {
        return BTreeSet::new();
    }
    let is_liked = |peer: &PeerId| (around.score)(peer) >= around.rules.thresholds.publish;
    let gets = |(peer, entry): &(&PeerId, &Peer)| entry.gets_everything() && (entry.direct || is_liked(peer));
    around.peers.subscribers(topic).filter(gets).map(|(peer, _)| *peer).collect()
}

/// Subscribers that own messages may go to, besides `present` and those that get everything.
fn fanout_candidates<S: Fn(&PeerId) -> f64>(
    topic: &TopicName,
    around: &Around<'_, S>,
    present: &BTreeSet<PeerId>,
) -> Vec<PeerId> {
    let may = |(peer, entry): &(&PeerId, &Peer)| {
        entry.version.has_mesh()
            && !entry.direct
            && !present.contains(*peer)
            && (around.score)(peer) >= around.rules.thresholds.publish
    };
    around.peers.subscribers(topic).filter(may).map(|(peer, _)| *peer).collect()
}
