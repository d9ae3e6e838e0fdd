//! Scores of gossipsub 1.1: what each neighbour did for us and against us, in seven parts.
//!
//! Only sums, differences, products and quotients are used, decays are constants, and every value is bounded by
//! [`VALUE_MAX`]: the same numbers come out on every machine, and none is infinite or no number. A score that is not
//! positive outlives its connection for a while, so that nobody is forgiven for coming back.

mod params;
mod stats;

#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use peerage_proto::peer_id::PeerId;

use super::Acceptance;
use super::seen::IdDigest;
use super::topic::TopicName;
use crate::codec::codec_enum;
use crate::common::fair_map::{Aged, FairMap};
use crate::common::sip::HashKey;
use crate::state::{alter_leaf, state};
use crate::time::Instant;

pub use params::{Params, TopicParams, VALUE_MAX};
use stats::{Stats, add};

/// Peers remembered for one message.
const DELIVERERS_MAX: usize = 64;

/// An address, or the /64 that an IPv6 address lies in: whether it is IPv6, and the bits.
type Place = (bool, u64);

fn place(address: IpAddr) -> Place {
    match address.to_canonical() {
        IpAddr::V4(v4) => (false, u32::from(v4).into()),
        // The upper half.
        IpAddr::V6(v6) => (true, (u128::from(v6) >> 64) as u64),
    }
}

/// Where a message stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Standing {
    /// Its verdict is awaited.
    Awaited,
    /// It was accepted.
    Accepted,
    /// It was rejected.
    Rejected,
    /// It was ignored.
    Ignored,
}

codec_enum!(Standing { 0 => Awaited, 1 => Accepted, 2 => Rejected, 3 => Ignored });
alter_leaf!(Standing => |v| *v = if *v == Self::Awaited { Self::Ignored } else { Self::Awaited });

state! {
    /// A message whose signature passed.
    #[derive(Clone, Debug)]
    struct Delivery {
        topic: TopicName,
        standing: Standing,
        judged: Instant,
        /// Those that delivered it, each once, the first one first.
        peers: Vec<PeerId>,
    }
}

/// Bounds of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Peers, those included that are gone and not forgotten: more than can be connected at once.
    pub peers_max: u32,
    /// Messages for which it is remembered who delivered them.
    pub deliveries_max: u32,
    /// How long that is.
    pub deliveries_ttl: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { peers_max: 4_096, deliveries_max: 65_536, deliveries_ttl: Duration::from_secs(120) }
    }
}

state! {
    /// See the module's documentation.
    #[derive(Clone, Debug)]
    pub struct Scores {
        peers_max: u32,
        deliveries_ttl: Duration,
        peers: BTreeMap<PeerId, Stats>,
        places: BTreeMap<Place, BTreeSet<PeerId>>,
        deliveries: FairMap<IdDigest, Delivery>,
        forgotten: u64,
    }
}

impl Scores {
    /// No scores.
    pub fn new(bounds: &Bounds, hash_key: HashKey) -> Self {
        Self {
            peers_max: bounds.peers_max,
            deliveries_ttl: bounds.deliveries_ttl,
            peers: BTreeMap::new(),
            places: BTreeMap::new(),
            deliveries: FairMap::new(bounds.deliveries_max, hash_key),
            forgotten: 0,
        }
    }

    /// A neighbour is there, at these addresses (none for those that are not counted, as the loopback's).
    pub fn add_peer(&mut self, peer: PeerId, addresses: &[IpAddr]) {
        if !self.peers.contains_key(&peer) && self.peers.len() >= self.peers_max as usize {
            self.forget_one();
        }
        self.leave_places(&peer);
        let stats = self.peers.entry(peer).or_default();
        stats.gone_until = None;
        for place in addresses.iter().map(|address| place(*address)) {
            stats.places.insert(place);
            self.places.entry(place).or_default().insert(peer);
        }
    }

    /// Of those that are gone, the one that would be forgotten first is so now.
    fn forget_one(&mut self) {
        let gone = self.peers.iter().filter_map(|(peer, stats)| Some((stats.gone_until?, *peer)));
        if let Some((_, peer)) = gone.min() {
            self.forget(&peer);
            self.forgotten = self.forgotten.saturating_add(1);
        }
    }

    fn forget(&mut self, peer: &PeerId) {
        self.leave_places(peer);
        self.peers.remove(peer);
    }

    fn leave_places(&mut self, peer: &PeerId) {
        let left = self.peers.get_mut(peer).map(|stats| core::mem::take(&mut stats.places));
        for place in left.into_iter().flatten() {
            if let Some(peers) = self.places.get_mut(&place) {
                peers.remove(peer);
                if peers.is_empty() {
                    self.places.remove(&place);
                }
            }
        }
    }

    /// A neighbour is gone. A positive score goes with it; another is kept for a while.
    pub fn remove_peer(&mut self, now: Instant, peer: &PeerId, params: &Params) {
        if self.score(peer, params) > 0.0 {
            self.forget(peer);
        } else if let Some(stats) = self.peers.get_mut(peer) {
            stats.leave(params);
            stats.gone_until = Some(now.after(params.retain));
        }
    }

    /// `peer` entered the mesh of `topic`.
    pub fn graft(&mut self, now: Instant, peer: &PeerId, topic: &TopicName, params: &Params) {
        if params.topics.contains_key(topic)
            && let Some(stats) = self.peers.get_mut(peer)
        {
            stats.topic(topic).graft(now);
        }
    }

    /// `peer` left the mesh of `topic`.
    pub fn prune(&mut self, peer: &PeerId, topic: &TopicName, params: &Params) {
        if let Some(of_topic) = params.topics.get(topic)
            && let Some(stats) = self.peers.get_mut(peer)
        {
            stats.topic(topic).prune(of_topic);
        }
    }

    /// `peer` broke the protocol so many times.
    pub fn penalize(&mut self, peer: &PeerId, times: u32) {
        if let Some(stats) = self.peers.get_mut(peer) {
            add(&mut stats.behaviour, f64::from(times), VALUE_MAX);
        }
    }

    /// What the application thinks of `peer`; what is no number counts as 0.
    pub fn set_application(&mut self, peer: &PeerId, value: f64) {
        if let Some(stats) = self.peers.get_mut(peer) {
            stats.application = if value.is_nan() { 0.0 } else { value.clamp(-VALUE_MAX, VALUE_MAX) };
        }
    }

    /// `peer` sent a message that is invalid by itself: its signature failed.
    pub fn invalid(&mut self, peer: &PeerId, topic: &TopicName, params: &Params) {
        if params.topics.contains_key(topic)
            && let Some(stats) = self.peers.get_mut(peer)
        {
            add(&mut stats.topic(topic).invalid, 1.0, VALUE_MAX);
        }
    }

    /// A message's signature passed; `senders` delivered it, the first one first. Its verdict is awaited.
    pub fn delivered(&mut self, now: Instant, id: IdDigest, topic: &TopicName, senders: &[PeerId]) {
        let Some(first) = senders.first() else { return };
        let peers = senders.iter().take(DELIVERERS_MAX).copied().collect();
        let delivery = Delivery { topic: topic.clone(), standing: Standing::Awaited, judged: now, peers };
        let _ = self.deliveries.insert(now, id, *first, delivery);
    }

    /// Another copy of a message came from `peer`.
    pub fn duplicate(&mut self, now: Instant, id: &IdDigest, peer: PeerId, params: &Params) {
        let Some(delivery) = self.deliveries.get_mut(id) else { return };
        if delivery.peers.contains(&peer) || delivery.peers.len() >= DELIVERERS_MAX {
            return;
        }
        delivery.peers.push(peer);
        let Some(of_topic) = params.topics.get(&delivery.topic) else { return };
        let Some(stats) = self.peers.get_mut(&peer) else { return };
        match delivery.standing {
            Standing::Accepted
                if now.saturating_since(delivery.judged) <= of_topic.mesh_deliveries_window =>
            {
                stats.topic(&delivery.topic).delivered(of_topic);
            }
            Standing::Rejected => add(&mut stats.topic(&delivery.topic).invalid, 1.0, VALUE_MAX),
            Standing::Accepted | Standing::Awaited | Standing::Ignored => {}
        }
    }

    /// The verdict on a message is there: its deliverers share in it.
    pub fn judged(&mut self, now: Instant, id: &IdDigest, acceptance: Acceptance, params: &Params) {
        let Some(delivery) = self.deliveries.get_mut(id) else { return };
        if delivery.standing != Standing::Awaited {
            return;
        }
        delivery.judged = now;
        delivery.standing = match acceptance {
            Acceptance::Accept => Standing::Accepted,
            Acceptance::Reject => Standing::Rejected,
            Acceptance::Ignore => Standing::Ignored,
        };
        let Some(of_topic) = params.topics.get(&delivery.topic) else { return };
        for (nth, peer) in delivery.peers.iter().enumerate() {
            let Some(stats) = self.peers.get_mut(peer) else { continue };
            let topic = stats.topic(&delivery.topic);
            match acceptance {
                Acceptance::Accept => {
                    if nth == 0 {
                        add(&mut topic.first_deliveries, 1.0, of_topic.first_deliveries_cap);
                    }
                    topic.delivered(of_topic);
                }
                Acceptance::Reject => add(&mut topic.invalid, 1.0, VALUE_MAX),
                Acceptance::Ignore => {}
            }
        }
    }

    /// The end of an interval: what was done fades, and who is gone long enough is forgotten. At most `budget` messages are.
    pub fn decay(&mut self, now: Instant, budget: u32, params: &Params) {
        let over: Vec<_> = self
            .peers
            .iter()
            .filter(|(_, stats)| stats.gone_until.is_some_and(|until| until <= now))
            .map(|(peer, _)| *peer)
            .collect();
        over.iter().for_each(|peer| self.forget(peer));
        // Who is gone is not forgiven meanwhile.
        self.peers
            .values_mut()
            .filter(|stats| stats.gone_until.is_none())
            .for_each(|stats| stats.decay(now, params));
        let oldest = now.before(self.deliveries_ttl);
        let _ = self.deliveries.expire(now, oldest, budget, |_, _| Aged::Over);
    }

    /// The score of `peer`: 0 of one that is not known.
    pub fn score(&self, peer: &PeerId, params: &Params) -> f64 {
        let Some(stats) = self.peers.get(peer) else { return 0.0 };
        let mut score = stats.topics_score(params);
        score += stats.application * params.application_weight;
        score += self.colocation(stats, params) * params.colocation_weight;
        score + stats.misbehaviour(params) * params.behaviour_weight
    }

    /// The sum over a peer's places of the square of the peers too many there.
    fn colocation(&self, stats: &Stats, params: &Params) -> f64 {
        let surplus = |place| {
            let peers = self.places.get(place).map_or(0, BTreeSet::len);
            let surplus = peers.saturating_sub(params.colocation_threshold as usize);
            // There are far fewer peers than a u32 holds.
            f64::from(u32::try_from(surplus).unwrap_or(u32::MAX))
        };
        stats.places.iter().map(surplus).map(|surplus| surplus * surplus).sum()
    }

    /// Peers and messages remembered.
    pub fn len(&self) -> (usize, usize) {
        (self.peers.len(), self.deliveries.len())
    }

    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.len() == (0, 0) && self.places.is_empty()
    }

    /// Peers that were forgotten before their time for lack of room.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }
}
