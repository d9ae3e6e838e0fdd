//! The router's neighbours: what each speaks, what it subscribed to, and what is left of its share of this heartbeat.

use alloc::collections::{BTreeMap, BTreeSet};

use peerage_proto::peer_id::PeerId;

use super::seen::IdDigest;
use super::topic::TopicName;
use crate::codec::codec_enum;
use crate::state::{alter_leaf, state};

/// The protocol of a neighbour's stream. What a version can, later ones can.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Version {
    /// `/floodsub/1.0.0`: subscriptions and messages, no control.
    Floodsub,
    /// `/meshsub/1.0.0`: the mesh.
    V10,
    /// `/meshsub/1.1.0`: backoff and peers in PRUNE, scores.
    V11,
    /// `/meshsub/1.2.0`: IDONTWANT.
    V12,
    /// `/meshsub/1.3.0`: extensions.
    V13,
}

impl Version {
    /// All, the preferred first: the order in which they are offered.
    pub const ALL: [Self; 5] = [Self::V13, Self::V12, Self::V11, Self::V10, Self::Floodsub];

    /// The protocol's name on the wire.
    pub const fn protocol(self) -> &'static str {
        match self {
            Self::Floodsub => "/floodsub/1.0.0",
            Self::V10 => "/meshsub/1.0.0",
            Self::V11 => "/meshsub/1.1.0",
            Self::V12 => "/meshsub/1.2.0",
            Self::V13 => "/meshsub/1.3.0",
        }
    }

    /// The version with this name.
    pub fn from_protocol(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.protocol() == name)
    }

    /// Whether it knows a mesh, and hence any control.
    pub fn has_mesh(self) -> bool {
        self >= Self::V10
    }

    /// Whether its PRUNE names a backoff and other peers.
    pub fn has_peer_exchange(self) -> bool {
        self >= Self::V11
    }

    /// Whether it knows IDONTWANT.
    pub fn has_idontwant(self) -> bool {
        self >= Self::V12
    }

    /// Whether its first RPC names extensions.
    pub fn has_extensions(self) -> bool {
        self >= Self::V13
    }
}

codec_enum!(Version { 0 => Floodsub, 1 => V10, 2 => V11, 3 => V12, 4 => V13 });
alter_leaf!(Version => |v| *v = if *v == Self::V13 { Self::V12 } else { Self::V13 });

/// Longest name of a topic that is remembered of a neighbour, unless it is ours, in bytes.
pub const TOPIC_BYTES_MAX: usize = 512;

/// Bounds for each neighbour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Neighbours. More are not taken.
    pub peers_max: u32,
    /// Topics remembered of one neighbour that are not ours.
    pub topics_max: u32,
    /// IHAVE messages taken from one neighbour in one heartbeat.
    pub ihave_messages_max: u32,
    /// Ids asked of one neighbour in one heartbeat.
    pub asked_ids_max: u32,
    /// Unwanted messages remembered of one neighbour.
    pub unwanted_max: u32,
    /// Heartbeats for which they are.
    pub unwanted_heartbeats: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            peers_max: 1_000,
            topics_max: 32,
            ihave_messages_max: 10,
            asked_ids_max: 5_000,
            unwanted_max: 2_048,
            unwanted_heartbeats: 3,
        }
    }
}

state! {
    /// A neighbour.
    #[derive(Clone, Debug)]
    pub struct Peer {
        /// What it speaks.
        pub version: Version,
        /// Whether we dialled it: a mesh of such peers is harder to take over.
        pub outbound: bool,
        /// Whether the operator named it: always sent to, never in a mesh.
        pub direct: bool,
        topics: BTreeSet<TopicName>,
        ihave_messages: u32,
        asked_ids: u32,
        /// Messages that it does not want, and heartbeats for which that holds.
        unwanted: BTreeMap<IdDigest, u32>,
    }
}

impl Peer {
    /// What it subscribed to.
    pub fn topics(&self) -> impl Iterator<Item = &TopicName> {
        self.topics.iter()
    }

    /// Whether every message goes to it, since it is direct or its protocol knows no mesh.
    pub fn gets_everything(&self) -> bool {
        self.direct || !self.version.has_mesh()
    }
}

/// What a subscription did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Subscribed {
    /// It is new.
    New,
    /// It was known.
    Known,
    /// It is not remembered: the neighbour has its share, or is none.
    NoRoom,
}

state! {
    /// See the module's documentation. Nothing of a neighbour is left when it is removed.
    #[derive(Clone, Debug)]
    pub struct Peers {
        peers_max: u32,
        topics_max: u32,
        ihave_messages_max: u32,
        asked_ids_max: u32,
        unwanted_max: u32,
        unwanted_heartbeats: u32,
        by_peer: BTreeMap<PeerId, Peer>,
        by_topic: BTreeMap<TopicName, BTreeSet<PeerId>>,
        /// Neighbours that get every message.
        unmeshed: u32,
        /// Subscriptions not remembered, IHAVEs not taken, unwanted messages not remembered.
        topics_dropped: u64,
        ihave_dropped: u64,
        unwanted_dropped: u64,
    }
}

/// What was dropped because a neighbour had its share.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Dropped {
    /// Subscriptions.
    pub topics: u64,
    /// IHAVE messages.
    pub ihave: u64,
    /// Ids of IDONTWANT.
    pub unwanted: u64,
}

impl Peers {
    /// No neighbours.
    pub fn new(bounds: &Bounds) -> Self {
        Self {
            peers_max: bounds.peers_max,
            topics_max: bounds.topics_max,
            ihave_messages_max: bounds.ihave_messages_max,
            asked_ids_max: bounds.asked_ids_max,
            unwanted_max: bounds.unwanted_max,
            unwanted_heartbeats: bounds.unwanted_heartbeats,
            by_peer: BTreeMap::new(),
            by_topic: BTreeMap::new(),
            unmeshed: 0,
            topics_dropped: 0,
            ihave_dropped: 0,
            unwanted_dropped: 0,
        }
    }

    /// A neighbour's outbound stream is there. One that is known keeps its subscriptions. `false` if there is no room.
    pub fn add(&mut self, peer: PeerId, version: Version, outbound: bool, direct: bool) -> bool {
        let is_unmeshed = u32::from(direct || !version.has_mesh());
        if let Some(present) = self.by_peer.get_mut(&peer) {
            let was_unmeshed = u32::from(present.gets_everything());
            (present.version, present.outbound, present.direct) = (version, outbound, direct);
            self.unmeshed = self.unmeshed.saturating_add(is_unmeshed).saturating_sub(was_unmeshed);
            return true;
        }
        let has_room = self.by_peer.len() < self.peers_max as usize;
        if has_room {
            self.unmeshed = self.unmeshed.saturating_add(is_unmeshed);
            let (topics, unwanted) = (BTreeSet::new(), BTreeMap::new());
            let entry = Peer { version, outbound, direct, topics, ihave_messages: 0, asked_ids: 0, unwanted };
            self.by_peer.insert(peer, entry);
        }
        has_room
    }

    /// A neighbour is gone.
    pub fn remove(&mut self, peer: &PeerId) -> bool {
        self.clear_subscriptions(peer);
        let removed = self.by_peer.remove(peer);
        let was_unmeshed = removed.as_ref().is_some_and(Peer::gets_everything);
        self.unmeshed = self.unmeshed.saturating_sub(u32::from(was_unmeshed));
        removed.is_some()
    }

    /// The last stream on which a neighbour told its subscriptions is gone. What it was subscribed to.
    pub fn clear_subscriptions(&mut self, peer: &PeerId) -> BTreeSet<TopicName> {
        let topics =
            self.by_peer.get_mut(peer).map(|entry| core::mem::take(&mut entry.topics)).unwrap_or_default();
        topics.iter().for_each(|topic| self.drop_subscriber(peer, topic));
        topics
    }

    fn drop_subscriber(&mut self, peer: &PeerId, topic: &TopicName) {
        if let Some(subscribers) = self.by_topic.get_mut(topic) {
            subscribers.remove(peer);
            if subscribers.is_empty() {
                self.by_topic.remove(topic);
            }
        }
    }

    /// A neighbour subscribed. Topics that are not ours count for its share; ours are always remembered, for their number
    /// is ours to choose.
    pub fn subscribe(&mut self, peer: PeerId, topic: &[u8], is_ours: bool) -> Subscribed {
        let Some(entry) = self.by_peer.get_mut(&peer) else { return Subscribed::NoRoom };
        if entry.topics.contains(topic) {
            return Subscribed::Known;
        }
        let is_remembered = entry.topics.len() < self.topics_max as usize && topic.len() <= TOPIC_BYTES_MAX;
        if !is_ours && !is_remembered {
            self.topics_dropped = self.topics_dropped.saturating_add(1);
            return Subscribed::NoRoom;
        }
        // One copy of the name for all.
        let name = self.by_topic.get_key_value(topic).map_or_else(|| topic.into(), |(name, _)| name.clone());
        entry.topics.insert(name.clone());
        self.by_topic.entry(name).or_default().insert(peer);
        Subscribed::New
    }

    /// A neighbour unsubscribed. Whether it had been subscribed.
    pub fn unsubscribe(&mut self, peer: &PeerId, topic: &TopicName) -> bool {
        let was = self.by_peer.get_mut(peer).is_some_and(|entry| entry.topics.remove(topic));
        self.drop_subscriber(peer, topic);
        was
    }

    /// A neighbour.
    pub fn get(&self, peer: &PeerId) -> Option<&Peer> {
        self.by_peer.get(peer)
    }

    /// Subscribers of a topic, in the order of their ids.
    pub fn subscribers(&self, topic: &TopicName) -> impl Iterator<Item = (&PeerId, &Peer)> {
        let subscribers = self.by_topic.get(topic).into_iter().flatten();
        subscribers.filter_map(|peer| self.by_peer.get_key_value(peer))
    }

    /// Whether there is a neighbour that gets every message. Asked for each of them: mostly there is none.
    pub fn some_get_everything(&self) -> bool {
        self.unmeshed > 0
    }

    /// Whether `peer` subscribed to `topic`.
    pub fn is_subscribed(&self, peer: &PeerId, topic: &TopicName) -> bool {
        self.by_topic.get(topic).is_some_and(|subscribers| subscribers.contains(peer))
    }

    /// Whether one more IHAVE of `peer` is taken in this heartbeat.
    pub fn take_ihave(&mut self, peer: &PeerId) -> bool {
        let Some(entry) = self.by_peer.get_mut(peer) else { return false };
        let is_taken = entry.ihave_messages < self.ihave_messages_max;
        if is_taken {
            entry.ihave_messages += 1;
        } else {
            self.ihave_dropped = self.ihave_dropped.saturating_add(1);
        }
        is_taken
    }

    /// How many of `wanted` ids may be asked of `peer`; they count as asked.
    pub fn take_asked(&mut self, peer: &PeerId, wanted: u32) -> u32 {
        let Some(entry) = self.by_peer.get_mut(peer) else { return 0 };
        let asked = wanted.min(self.asked_ids_max.saturating_sub(entry.asked_ids));
        entry.asked_ids = entry.asked_ids.saturating_add(asked);
        asked
    }

    /// `peer` has a message and does not want it from us.
    pub fn on_unwanted(&mut self, peer: &PeerId, id: IdDigest) {
        let Some(entry) = self.by_peer.get_mut(peer) else { return };
        if entry.unwanted.len() >= self.unwanted_max as usize && !entry.unwanted.contains_key(&id) {
            self.unwanted_dropped = self.unwanted_dropped.saturating_add(1);
        } else {
            entry.unwanted.insert(id, self.unwanted_heartbeats);
        }
    }

    /// Whether a message may be sent to `peer`: it did not say otherwise. For forwards and answers to IWANT alike.
    pub fn wants(&self, peer: &PeerId, id: &IdDigest) -> bool {
        self.by_peer.get(peer).is_some_and(|entry| !entry.unwanted.contains_key(id))
    }

    /// A heartbeat: shares begin anew, and what is unwanted is so for one less.
    pub fn on_heartbeat(&mut self) {
        for entry in self.by_peer.values_mut() {
            (entry.ihave_messages, entry.asked_ids) = (0, 0);
            entry.unwanted.retain(|_, heartbeats| {
                *heartbeats = heartbeats.saturating_sub(1);
                *heartbeats > 0
            });
        }
    }

    /// What was dropped so far.
    pub fn dropped(&self) -> Dropped {
        Dropped { topics: self.topics_dropped, ihave: self.ihave_dropped, unwanted: self.unwanted_dropped }
    }

    /// Number of neighbours.
    pub fn len(&self) -> usize {
        self.by_peer.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_peer.is_empty()
    }

    /// Full structural check: both directions of the subscriptions agree.
    ///
    /// # Errors
    /// What does not.
    pub fn check(&self) -> Result<(), &'static str> {
        let listed: usize = self.by_topic.values().map(BTreeSet::len).sum();
        if listed != self.by_peer.values().map(|entry| entry.topics.len()).sum::<usize>() {
            return Err("subscriptions by topic and by peer disagree");
        }
        let agree = |(topic, peers): (&TopicName, &BTreeSet<PeerId>)| {
            let is_known = |peer| self.by_peer.get(peer).is_some_and(|entry| entry.topics.contains(topic));
            !peers.is_empty() && peers.iter().all(is_known)
        };
        if !self.by_topic.iter().all(agree) {
            return Err("a subscriber is no peer, or a topic has none");
        }
        if self.by_peer.values().filter(|entry| entry.gets_everything()).count() != self.unmeshed as usize {
            return Err("neighbours that get everything, and their number, disagree");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn peer(n: u8) -> PeerId {
        PeerId::from_ed25519(&[n; 32])
    }

    fn peers() -> Peers {
        let mut peers =
            Peers::new(&Bounds { peers_max: 3, topics_max: 2, unwanted_max: 2, ..Bounds::default() });
        assert!(peers.add(peer(1), Version::V13, true, false));
        assert!(peers.add(peer(2), Version::Floodsub, false, false));
        peers
    }

    #[test]
    fn each_version_has_its_name_and_what_those_before_it_have() {
        for version in Version::ALL {
            assert_eq!(Version::from_protocol(version.protocol()), Some(version));
        }
        assert_eq!(Version::from_protocol("/meshsub/1.4.0"), None);
        let of = |version: Version| {
            [
                version.has_mesh(),
                version.has_peer_exchange(),
                version.has_idontwant(),
                version.has_extensions(),
            ]
        };
        assert_eq!(of(Version::Floodsub), [false, false, false, false]);
        assert_eq!(of(Version::V10), [true, false, false, false]);
        assert_eq!(of(Version::V11), [true, true, false, false]);
        assert_eq!(of(Version::V12), [true, true, true, false]);
        assert_eq!(of(Version::V13), [true, true, true, true]);
    }

    #[test]
    fn a_topic_of_ours_is_remembered_of_a_peer_that_names_too_many_others() {
        let mut peers = peers();
        assert_eq!(peers.subscribe(peer(1), b"a", false), Subscribed::New);
        assert_eq!(peers.subscribe(peer(1), b"b", false), Subscribed::New);
        assert_eq!(peers.subscribe(peer(1), b"c", false), Subscribed::NoRoom);
        assert_eq!(peers.subscribe(peer(1), b"a", false), Subscribed::Known);
        assert_eq!(peers.subscribe(peer(1), b"ours", true), Subscribed::New);
        assert_eq!(peers.subscribe(peer(9), b"ours", true), Subscribed::NoRoom, "it is no neighbour");
        assert_eq!(peers.dropped(), Dropped { topics: 1, ..Dropped::default() });
        assert!(peers.is_subscribed(&peer(1), &"ours".into()));
        assert_eq!(peers.check(), Ok(()));
    }

    #[test]
    fn nothing_of_a_peer_is_left_when_it_is_gone_and_subscriptions_go_with_the_stream() {
        let mut peers = peers();
        assert_eq!(peers.subscribe(peer(1), &[0xff, 0], false), Subscribed::New);
        assert_eq!(peers.subscribe(peer(2), &[0xff, 0], false), Subscribed::New);
        let topic = TopicName::from(&[0xff, 0][..]);
        let names: Vec<_> = peers.subscribers(&topic).map(|(id, entry)| (*id, entry.version)).collect();
        assert!(names.contains(&(peer(2), Version::Floodsub)) && names.len() == 2);
        assert_eq!(peers.clear_subscriptions(&peer(1)), [topic.clone()].into());
        assert!(peers.get(&peer(1)).is_some() && !peers.is_subscribed(&peer(1), &topic));
        assert!(peers.remove(&peer(2)) && peers.remove(&peer(1)) && !peers.remove(&peer(1)));
        assert!(peers.is_empty() && peers.by_topic.is_empty());
    }

    #[test]
    fn there_is_room_for_so_many_and_a_known_one_may_change_its_version() {
        let mut peers = peers();
        assert!(peers.add(peer(3), Version::V11, false, true));
        assert!(!peers.add(peer(4), Version::V11, false, false));
        assert_eq!(peers.subscribe(peer(1), b"t", false), Subscribed::New);
        assert!(peers.add(peer(1), Version::V11, false, false));
        assert_eq!(peers.get(&peer(1)).unwrap().version, Version::V11);
        assert!(peers.is_subscribed(&peer(1), &"t".into()));
    }

    #[test]
    fn shares_of_a_heartbeat_end_and_begin_anew() {
        let mut peers = peers();
        assert_eq!((0..12).filter(|_| peers.take_ihave(&peer(1))).count(), 10);
        assert!(peers.take_ihave(&peer(2)), "another has its own");
        assert_eq!(peers.take_asked(&peer(1), 4_990), 4_990);
        assert_eq!(peers.take_asked(&peer(1), 100), 10);
        assert_eq!(peers.take_asked(&peer(1), 1), 0);
        assert_eq!(peers.dropped().ihave, 2);
        peers.on_heartbeat();
        assert!(peers.take_ihave(&peer(1)));
        assert_eq!(peers.take_asked(&peer(1), 9_999), 5_000);
    }

    #[test]
    fn what_is_unwanted_stays_so_for_three_heartbeats() {
        let mut peers = peers();
        let id = IdDigest::of(b"1");
        assert!(peers.wants(&peer(1), &id));
        peers.on_unwanted(&peer(1), id);
        for _ in 0..3 {
            assert!(!peers.wants(&peer(1), &id) && peers.wants(&peer(2), &id));
            peers.on_heartbeat();
        }
        assert!(peers.wants(&peer(1), &id));
        for n in 0..4 {
            peers.on_unwanted(&peer(1), IdDigest::of(&[n]));
        }
        assert_eq!(peers.dropped().unwanted, 2);
        assert!(!peers.wants(&peer(9), &id), "nothing is sent to who is no neighbour");
    }

    proptest! {
        #[test]
        fn both_directions_agree_whatever_comes(steps in proptest::collection::vec((0u8..6, 0u8..5, 0u8..4), 0..200)) {
            let mut peers = peers();
            for (kind, n, topic) in steps {
                match kind {
                    0 => drop(peers.add(peer(n), Version::ALL[usize::from(topic) + 1], n % 2 == 0, n == 3)),
                    1 => drop(peers.remove(&peer(n))),
                    2 => drop(peers.clear_subscriptions(&peer(n))),
                    3 => drop(peers.unsubscribe(&peer(n), &(&[topic][..]).into())),
                    _ => drop(peers.subscribe(peer(n), &[topic], topic == 0)),
                }
                prop_assert_eq!(peers.check(), Ok(()));
                prop_assert!(peers.len() <= 3);
            }
        }
    }
}
