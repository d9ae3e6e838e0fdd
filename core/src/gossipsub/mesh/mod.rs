//! Per topic: the mesh, to whose members every message goes, and the fanout, to which own messages go of topics that are
//! not joined.
//!
//! Nothing is sent from here: every function says what is to be sent. Choices come from the seeded generator and from
//! scores. The rules are those of gossipsub 1.1; where they leave the mesh too large for one heartbeat (outbound quota and
//! opportunistic grafts on top of a full one), it is cut back in the same heartbeat, so that after each the mesh is within
//! its bounds.

mod fanout;
mod heartbeat;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use peerage_proto::peer_id::PeerId;

use super::backoff::{Backoffs, GraftTime};
use super::config::Config;
use super::peers::{Peer, Peers};
use super::topic::TopicName;
use crate::rng::Rng;
use crate::state::state;
use crate::time::Instant;

pub use heartbeat::Heartbeat;

/// Most peers named in a PRUNE.
pub const EXCHANGE_PEERS_MAX: usize = 16;

/// Scores below which a peer is left out, or above which the mesh is well. All zero with scoring off.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Thresholds {
    /// Below: no gossip to it. At most 0.
    pub gossip: f64,
    /// Below: own messages of topics not joined, and flooded ones, do not go to it. At most `gossip`.
    pub publish: f64,
    /// Median of a mesh below which better peers are grafted. At least 0.
    pub opportunistic: f64,
}

/// Sizes and times, from the configuration.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Rules {
    /// Wanted size, D.
    pub wanted: usize,
    /// Filled up below this, D_lo.
    pub low: usize,
    /// Cut above this, D_hi.
    pub high: usize,
    /// Outbound connections kept, D_out.
    pub outbound: usize,
    /// Best-scored members kept when cutting, D_score.
    pub by_score: usize,
    /// Peers that get gossip at least, D_lazy.
    pub lazy: usize,
    /// Share of the others that get gossip, in thousandths.
    pub gossip_factor_milli: usize,
    /// Heartbeats between opportunistic grafts; 0 for none.
    pub opportunistic_ticks: u64,
    /// Peers grafted then.
    pub opportunistic_peers: usize,
    /// How long a fanout is kept after the last publication.
    pub fanout_ttl: Duration,
    /// Backoff after a PRUNE.
    pub prune_backoff: Duration,
    /// Backoff after we leave a topic.
    pub unsubscribe_backoff: Duration,
    /// Whether own messages go to every subscriber.
    pub flood_publish: bool,
    /// Whether a PRUNE names other peers.
    pub peer_exchange: bool,
    /// Scores that matter.
    pub thresholds: Thresholds,
}

impl Rules {
    /// The rules that `config` asks for.
    pub fn new(config: &Config, thresholds: Thresholds) -> Self {
        Self {
            wanted: config.mesh_n as usize,
            low: config.mesh_n_low as usize,
            high: config.mesh_n_high as usize,
            outbound: config.mesh_outbound_min as usize,
            by_score: config.retain_scores as usize,
            lazy: config.gossip_lazy as usize,
            gossip_factor_milli: config.gossip_factor_milli as usize,
            opportunistic_ticks: config.opportunistic_graft_ticks.into(),
            opportunistic_peers: config.opportunistic_graft_peers as usize,
            fanout_ttl: config.fanout_ttl,
            prune_backoff: config.prune_backoff,
            unsubscribe_backoff: config.unsubscribe_backoff,
            flood_publish: config.flood_publish,
            peer_exchange: config.peer_exchange,
            thresholds,
        }
    }
}

/// What the mesh is decided by.
pub struct Around<'a, S> {
    /// The time.
    pub now: Instant,
    /// Sizes and times.
    pub rules: &'a Rules,
    /// The neighbours.
    pub peers: &'a Peers,
    /// Who may not be grafted.
    pub backoffs: &'a mut Backoffs,
    /// The score of each: 0 for all with scoring off.
    pub score: S,
}

/// A PRUNE to send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Prune {
    /// To whom.
    pub peer: PeerId,
    /// Of which topic.
    pub topic: TopicName,
    /// How long it may not graft us. `None` where its version knows no backoff.
    pub backoff: Option<Duration>,
    /// Other subscribers that it may try.
    pub exchange: Vec<PeerId>,
}

/// A change of a mesh that its member has to be told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// It is in.
    Graft {
        /// Who.
        peer: PeerId,
        /// Of which topic.
        topic: TopicName,
    },
    /// It is out.
    Prune(Prune),
}

/// What a GRAFT that came in did.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use]
pub enum Grafted {
    /// Its sender is in the mesh now.
    Entered,
    /// It was already.
    Member,
    /// Nothing: the topic is not joined, or the sender speaks of a mesh that its protocol does not know.
    Ignored,
    /// It is refused by this PRUNE, and held so many times against its sender.
    Refused(Prune, u32),
}

state! {
    #[derive(Clone, Debug)]
    struct Fanout {
        published: Instant,
        peers: BTreeSet<PeerId>,
    }
}

state! {
    /// Meshes and fanouts. A topic is in one of them at most.
    #[derive(Clone, Debug)]
    pub struct Mesh {
        topics: BTreeMap<TopicName, BTreeSet<PeerId>>,
        fanouts: BTreeMap<TopicName, Fanout>,
        fanouts_max: u32,
        ticks: u64,
        rng: Rng,
    }
}

impl Mesh {
    /// No topics; at most `fanouts_max` that are published to without being joined.
    pub fn new(seed: &[u8; 32], fanouts_max: u32) -> Self {
        Self {
            topics: BTreeMap::new(),
            fanouts: BTreeMap::new(),
            fanouts_max,
            ticks: 0,
            rng: Rng::fork(seed, "gossipsub/mesh"),
        }
    }

    /// Joins a topic: its mesh begins with those of its fanout. Returns who is grafted.
    pub fn join<S: Fn(&PeerId) -> f64>(
        &mut self,
        topic: TopicName,
        around: &mut Around<'_, S>,
    ) -> Vec<Change> {
        if self.topics.contains_key(&topic) {
            return Vec::new();
        }
        self.topics.insert(topic.clone(), BTreeSet::new());
        let fanout = self.fanouts.remove(&topic).map(|fanout| fanout.peers).unwrap_or_default();
        let (first, others): (Vec<_>, Vec<_>) =
            self.candidates(&topic, around, |_, _| true).into_iter().partition(|peer| fanout.contains(peer));
        let mut grafts = self.choose(first, around.rules.wanted);
        grafts.extend(self.choose(others, around.rules.wanted - grafts.len()));
        self.graft_all(&topic, grafts)
    }

    /// Leaves a topic. Returns the PRUNEs for its members.
    pub fn leave<S: Fn(&PeerId) -> f64>(
        &mut self,
        topic: &TopicName,
        around: &mut Around<'_, S>,
    ) -> Vec<Change> {
        let members = self.topics.remove(topic).unwrap_or_default();
        let backoff = around.rules.unsubscribe_backoff;
        members
            .into_iter()
            .map(|peer| Change::Prune(self.prune(peer, topic, backoff, true, around)))
            .collect()
    }

    /// `peer` takes us into its mesh.
    pub fn on_graft<S: Fn(&PeerId) -> f64>(
        &mut self,
        peer: PeerId,
        topic: &TopicName,
        around: &mut Around<'_, S>,
    ) -> Grafted {
        let Some(entry) = around.peers.get(&peer).filter(|entry| entry.version.has_mesh()) else {
            return Grafted::Ignored;
        };
        // Nothing is answered for a topic that is not joined: the peer could make us write.
        let Some(members) = self.topics.get_mut(topic) else { return Grafted::Ignored };
        if members.contains(&peer) {
            return Grafted::Member;
        }
        let (times, exchange) = match around.backoffs.on_graft(around.now, &peer, topic) {
            _ if entry.direct => (0, false),
            GraftTime::Early => (1, false),
            GraftTime::Flood => (2, false),
            GraftTime::Allowed if (around.score)(&peer) < 0.0 => (0, false),
            // Only connections that we chose ourselves get into a full mesh: nobody can take it over by dialling.
            GraftTime::Allowed if members.len() >= around.rules.high && !entry.outbound => (0, true),
            GraftTime::Allowed => {
                members.insert(peer);
                return Grafted::Entered;
            }
        };
        Grafted::Refused(self.prune(peer, topic, around.rules.prune_backoff, exchange, around), times)
    }

    /// `peer` takes us out of its mesh, for the time it names or the usual one. Whether it was a member.
    pub fn on_prune<S: Fn(&PeerId) -> f64>(
        &mut self,
        peer: &PeerId,
        topic: &TopicName,
        backoff_s: Option<u64>,
        around: &mut Around<'_, S>,
    ) -> bool {
        let Some(members) = self.topics.get_mut(topic) else { return false };
        let was_member = members.remove(peer);
        if let Some(entry) = around.peers.get(peer)
            && entry.version.has_mesh()
        {
            let backoff_s = backoff_s.filter(|_| entry.version.has_peer_exchange());
            let backoff = around.backoffs.of_prune(backoff_s);
            let peers = around.peers;
            around.backoffs.add(around.now, *peer, topic, backoff, |peer| peers.get(peer).is_some());
        }
        was_member
    }

    /// `peer` unsubscribed from `topic`. Whether it was a member of its mesh.
    pub fn on_unsubscribed(&mut self, peer: &PeerId, topic: &TopicName) -> bool {
        if let Some(fanout) = self.fanouts.get_mut(topic) {
            fanout.peers.remove(peer);
        }
        self.topics.get_mut(topic).is_some_and(|members| members.remove(peer))
    }

    /// `peer` is gone, or its streams are. Whether it was a member of any mesh.
    pub fn remove(&mut self, peer: &PeerId) -> bool {
        self.fanouts.values_mut().for_each(|fanout| {
            fanout.peers.remove(peer);
        });
        self.topics.values_mut().filter_map(|members| members.remove(peer).then_some(())).count() > 0
    }

    /// Whether `topic` is joined.
    pub fn is_joined(&self, topic: &TopicName) -> bool {
        self.topics.contains_key(topic)
    }

    /// Topics that are joined.
    pub fn joined(&self) -> impl Iterator<Item = &TopicName> {
        self.topics.keys()
    }

    /// Members of a topic's mesh.
    pub fn members(&self, topic: &TopicName) -> impl Iterator<Item = &PeerId> {
        self.topics.get(topic).into_iter().flatten()
    }

    /// Whether `peer` is a member of any mesh.
    pub fn is_member(&self, peer: &PeerId) -> bool {
        self.topics.values().any(|members| members.contains(peer))
    }

    /// Subscribers that may be grafted, and that `also` holds for.
    fn candidates<S: Fn(&PeerId) -> f64>(
        &self,
        topic: &TopicName,
        around: &Around<'_, S>,
        also: impl Fn(&PeerId, &Peer) -> bool,
    ) -> Vec<PeerId> {
        let members = self.topics.get(topic);
        let may = |peer: &PeerId, entry: &Peer| {
            entry.version.has_mesh()
                && !entry.direct
                && !members.is_some_and(|members| members.contains(peer))
                && (around.score)(peer) >= 0.0
                && around.backoffs.may_graft(around.now, peer, topic)
                && also(peer, entry)
        };
        let subscribers = around.peers.subscribers(topic);
        subscribers.filter(|(peer, entry)| may(peer, entry)).map(|(peer, _)| *peer).collect()
    }

    /// At most `count` of `from`, by chance.
    fn choose(&mut self, mut from: Vec<PeerId>, count: usize) -> Vec<PeerId> {
        self.rng.shuffle(&mut from);
        from.truncate(count);
        from
    }

    fn graft_all(&mut self, topic: &TopicName, grafts: Vec<PeerId>) -> Vec<Change> {
        if let Some(members) = self.topics.get_mut(topic) {
            members.extend(&grafts);
        }
        grafts.into_iter().map(|peer| Change::Graft { peer, topic: topic.clone() }).collect()
    }

    /// The PRUNE for `peer`, whose backoff is kept here too.
    fn prune<S: Fn(&PeerId) -> f64>(
        &mut self,
        peer: PeerId,
        topic: &TopicName,
        backoff: Duration,
        exchange: bool,
        around: &mut Around<'_, S>,
    ) -> Prune {
        let peers = around.peers;
        around.backoffs.add(around.now, peer, topic, backoff, |peer| peers.get(peer).is_some());
        let knows_backoff = peers.get(&peer).is_some_and(|entry| entry.version.has_peer_exchange());
        let exchange = if exchange && knows_backoff && around.rules.peer_exchange {
            let is_named = |(other, entry): &(&PeerId, &Peer)| {
                **other != peer && entry.version.has_mesh() && (around.score)(other) >= 0.0
            };
            let others = peers.subscribers(topic).filter(is_named).map(|(other, _)| *other).collect();
            self.choose(others, EXCHANGE_PEERS_MAX)
        } else {
            Vec::new()
        };
        Prune { peer, topic: topic.clone(), backoff: knows_backoff.then_some(backoff), exchange }
    }
}
