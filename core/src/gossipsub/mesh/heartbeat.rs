//! What a heartbeat does: meshes within their bounds, fanouts alive, and who gets gossip.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use peerage_proto::peer_id::PeerId;

use super::{Around, Change, Mesh};
use crate::gossipsub::peers::Peer;
use crate::gossipsub::topic::TopicName;

/// What is to be sent after a heartbeat.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Heartbeat {
    /// GRAFTs and PRUNEs: at most one for a peer and topic.
    pub changes: Vec<Change>,
    /// Who gets the ids of which topic's messages. None of them was in its mesh before the last heartbeat, or is in its
    /// fanout.
    pub gossip: Vec<(TopicName, Vec<PeerId>)>,
}

impl Mesh {
    /// A heartbeat.
    pub fn heartbeat<S: Fn(&PeerId) -> f64>(&mut self, around: &mut Around<'_, S>) -> Heartbeat {
        self.ticks = self.ticks.saturating_add(1);
        let mut heartbeat = Heartbeat::default();
        let joined: Vec<_> = self.topics.keys().cloned().collect();
        for topic in joined {
            self.maintain(&topic, around, &mut heartbeat.changes);
            self.gossip(topic, around, &mut heartbeat);
        }
        self.newcomers.clear();
        for topic in self.maintain_fanouts(around) {
            self.gossip(topic, around, &mut heartbeat);
        }
        heartbeat
    }

    fn maintain<S: Fn(&PeerId) -> f64>(
        &mut self,
        topic: &TopicName,
        around: &mut Around<'_, S>,
        changes: &mut Vec<Change>,
    ) {
        let before = self.members_of(topic);
        let (kept, disliked): (BTreeSet<_>, BTreeSet<_>) =
            before.iter().partition(|peer| (around.score)(peer) >= 0.0);
        self.topics.insert(topic.clone(), kept);
        if self.members_of(topic).len() < around.rules.low {
            self.fill(topic, around, around.rules.wanted, |_, _| true);
        }
        self.fill_outbound(topic, around);
        if self.members_of(topic).len() > around.rules.high {
            self.cut(topic, around);
        }
        if around.rules.opportunistic_ticks > 0 && self.ticks.is_multiple_of(around.rules.opportunistic_ticks)
        {
            self.graft_better(topic, around);
        }
        let after = self.members_of(topic);
        for peer in before.difference(&after) {
            let exchange = !disliked.contains(peer);
            let backoff = around.rules.prune_backoff;
            changes.push(Change::Prune(self.prune(*peer, topic, backoff, exchange, around)));
        }
        let grafts = after.difference(&before);
        self.newcomers.entry(topic.clone()).or_default().extend(grafts.clone());
        changes.extend(grafts.map(|peer| Change::Graft { peer: *peer, topic: topic.clone() }));
    }

    fn members_of(&self, topic: &TopicName) -> BTreeSet<PeerId> {
        self.topics.get(topic).cloned().unwrap_or_default()
    }

    /// Takes candidates that `also` holds for into the mesh, until it has `size` members.
    fn fill<S: Fn(&PeerId) -> f64>(
        &mut self,
        topic: &TopicName,
        around: &Around<'_, S>,
        size: usize,
        also: impl Fn(&PeerId, &Peer) -> bool,
    ) {
        let room = size.saturating_sub(self.members_of(topic).len());
        let candidates = self.candidates(topic, around, also);
        let grafts = self.choose(candidates, room);
        self.graft_all(topic, grafts);
    }

    /// Takes outbound peers into the mesh until it has its quota of them. It may be too large then.
    fn fill_outbound<S: Fn(&PeerId) -> f64>(&mut self, topic: &TopicName, around: &Around<'_, S>) {
        let members = self.members_of(topic);
        let present = members.iter().filter(|peer| is_outbound(around, peer)).count();
        let missing = around.rules.outbound.saturating_sub(present);
        if missing > 0 && members.len() >= around.rules.low {
            self.fill(topic, around, members.len() + missing, |_, entry| entry.outbound);
        }
    }

    /// Cuts the mesh down to the wanted size: the best by score stay, the quota of outbound peers, and the rest by chance.
    fn cut<S: Fn(&PeerId) -> f64>(&mut self, topic: &TopicName, around: &Around<'_, S>) {
        let rules = around.rules;
        let mut by_score: Vec<_> = self.members_of(topic).into_iter().collect();
        self.rng.shuffle(&mut by_score);
        // The sort is stable: equals stay in the order of chance.
        by_score.sort_by(|one, other| (around.score)(other).total_cmp(&(around.score)(one)));
        // The quota comes before the scores where both together are more than is wanted.
        let best = rules.by_score.min(rules.wanted.saturating_sub(rules.outbound));
        let mut others = by_score.split_off(best.min(by_score.len()));
        self.rng.shuffle(&mut others);
        let kept_outbound = by_score.iter().filter(|peer| is_outbound(around, peer)).count();
        let room = rules.wanted.saturating_sub(by_score.len());
        let quota = rules.outbound.saturating_sub(kept_outbound).min(room);
        let chosen = others.iter().filter(|peer| is_outbound(around, peer)).take(quota).copied();
        let outbound: Vec<_> = chosen.collect();
        let rest = others.into_iter().filter(|peer| !outbound.contains(peer));
        let rest: Vec<_> = rest.take(room - outbound.len()).collect();
        self.topics.insert(topic.clone(), by_score.into_iter().chain(outbound).chain(rest).collect());
    }

    /// Where the median member is worse than it should be, takes a few better ones in, as far as there is room.
    fn graft_better<S: Fn(&PeerId) -> f64>(&mut self, topic: &TopicName, around: &Around<'_, S>) {
        let mut scores: Vec<_> = self.members_of(topic).iter().map(|peer| (around.score)(peer)).collect();
        scores.sort_by(f64::total_cmp);
        let Some(median) = scores.get(scores.len() / 2).copied().filter(|_| scores.len() > 1) else { return };
        if median < around.rules.thresholds.opportunistic {
            let size = (scores.len() + around.rules.opportunistic_peers).min(around.rules.high);
            self.fill(topic, around, size, |peer, _| (around.score)(peer) > median);
        }
    }

    /// Adds who gets gossip about `topic`: of those neither in its mesh nor its fanout, some by chance; and those that have
    /// just come into its mesh, for they got nothing of what came before.
    fn gossip<S: Fn(&PeerId) -> f64>(
        &mut self,
        topic: TopicName,
        around: &Around<'_, S>,
        heartbeat: &mut Heartbeat,
    ) {
        let has_it = |peer: &PeerId| {
            self.topics.get(&topic).is_some_and(|members| members.contains(peer))
                || self.fanouts.get(&topic).is_some_and(|fanout| fanout.peers.contains(peer))
        };
        let gets = |(peer, entry): &(&PeerId, &Peer)| {
            entry.version.has_mesh()
                && !entry.direct
                && !has_it(peer)
                && (around.score)(peer) >= around.rules.thresholds.gossip
        };
        let others: Vec<_> = around.peers.subscribers(&topic).filter(gets).map(|(peer, _)| *peer).collect();
        let count = around.rules.lazy.max(others.len() * around.rules.gossip_factor_milli / 1000);
        let mut chosen = self.choose(others, count);
        let newcomers = self.newcomers.get(&topic).into_iter().flatten();
        let is_member =
            |peer: &&PeerId| self.topics.get(&topic).is_some_and(|members| members.contains(*peer));
        chosen.extend(newcomers.filter(is_member));
        if !chosen.is_empty() {
            heartbeat.gossip.push((topic, chosen));
        }
    }
}

fn is_outbound<S>(around: &Around<'_, S>, peer: &PeerId) -> bool {
    around.peers.get(peer).is_some_and(|entry| entry.outbound)
}
