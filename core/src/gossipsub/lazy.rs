//! Lazy gossip: naming messages to those outside the mesh, asking for those that we miss, giving those that are asked for.
//!
//! Only an id of which a copy passed its check keeps us from asking for it: a pending or refused copy must not, or whoever
//! sends a forged copy first could keep the true one away.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use bytes::Bytes;
use peerage_proto::peer_id::PeerId;

use super::MessageId;
use super::config::Config;
use super::message_cache::{MessageCache, Wanted};
use super::peers::Peers;
use super::promises::Promises;
use super::seen::{IdDigest, Seen};
use super::topic::TopicName;
use crate::rng::Rng;
use crate::time::Instant;

/// Limits of gossip, from the configuration.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Rules {
    /// Ids named to one peer in one heartbeat.
    pub named_max: usize,
    /// How often one message is given to one peer.
    pub given_max: u32,
    /// Score below which a peer neither asks nor is asked. At most 0.
    pub threshold: f64,
}

impl Rules {
    /// The rules that `config` asks for.
    pub fn new(config: &Config, threshold: f64) -> Self {
        Self { named_max: config.ihave_ids_max as usize, given_max: config.retransmissions_max, threshold }
    }
}

/// Ids of a topic's messages to be named to one peer, in an order of chance: where there are too many, each peer hears of
/// others.
pub fn ids_to_name(cache: &MessageCache, topic: &TopicName, rules: &Rules, rng: &mut Rng) -> Vec<MessageId> {
    let mut ids: Vec<_> = cache.gossip_ids(topic).cloned().collect();
    rng.shuffle(&mut ids);
    ids.truncate(rules.named_max);
    ids
}

/// A peer that named messages, and what decides about asking for them.
pub struct Asking<'a> {
    /// The time.
    pub now: Instant,
    /// Who named them.
    pub peer: PeerId,
    /// Its score.
    pub score: f64,
    /// Whether their topic is joined.
    pub is_joined: bool,
    /// The neighbours.
    pub peers: &'a mut Peers,
    /// What was seen.
    pub seen: &'a Seen,
    /// What was promised.
    pub promises: &'a mut Promises,
    /// For choices.
    pub rng: &'a mut Rng,
}

impl Asking<'_> {
    /// An IHAVE came in. Returns the ids to ask for; one of them is a promise.
    pub fn on_ihave(self, ids: &[&[u8]], rules: &Rules) -> Vec<MessageId> {
        // It counts even where nothing comes of it.
        if self.score < rules.threshold || !self.peers.take_ihave(&self.peer) || !self.is_joined {
            return Vec::new();
        }
        let unseen: BTreeSet<&[u8]> =
            ids.iter().copied().filter(|id| !self.seen.has_seen(self.now, &IdDigest::of(id))).collect();
        let mut unseen: Vec<_> = unseen.into_iter().collect();
        self.rng.shuffle(&mut unseen);
        let wanted = u32::try_from(unseen.len()).unwrap_or(u32::MAX);
        unseen.truncate(self.peers.take_asked(&self.peer, wanted) as usize);
        let asked: Vec<_> = unseen.into_iter().map(|id| MessageId(Bytes::copy_from_slice(id))).collect();
        self.promises.add(self.now, self.peer, &asked, self.rng);
        asked
    }
}

/// What an IWANT got.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Given {
    /// Messages in their canonical form, each once, in the order asked for.
    pub messages: Vec<Bytes>,
    /// Ids that are not here (any more).
    pub absent: u32,
    /// Ids that the peer was given as often as allowed.
    pub spent: u32,
    /// Ids that it had said it does not want.
    pub unwanted: u32,
}

/// `peer` asks for messages.
pub fn on_iwant(
    peer: PeerId,
    score: f64,
    ids: &[&[u8]],
    peers: &Peers,
    cache: &mut MessageCache,
    rules: &Rules,
) -> Given {
    let mut given = Given::default();
    if score < rules.threshold {
        return given;
    }
    let mut asked = BTreeSet::new();
    for id in ids {
        let digest = IdDigest::of(id);
        if !asked.insert(digest) {
            continue;
        }
        if !peers.wants(&peer, &digest) {
            given.unwanted = given.unwanted.saturating_add(1);
            continue;
        }
        match cache.want(peer, &digest, rules.given_max) {
            Wanted::Message(message) => given.messages.push(message),
            Wanted::Absent => given.absent = given.absent.saturating_add(1),
            Wanted::Spent => given.spent = given.spent.saturating_add(1),
        }
    }
    given
}

/// Who is told that we have a message and do not want it again: members of the mesh that know how to be told, but not those
/// that sent it. Only for a message whose signature passed and whose payload is long enough for that to be worth it.
pub fn receivers_of_idontwant<'a>(
    members: impl Iterator<Item = &'a PeerId>,
    senders: &[PeerId],
    payload_bytes: usize,
    peers: &Peers,
    config: &Config,
) -> Vec<PeerId> {
    if payload_bytes < config.idontwant_bytes_min as usize {
        return Vec::new();
    }
    let knows = |peer: &PeerId| peers.get(peer).is_some_and(|entry| entry.version.has_idontwant());
    members.filter(|peer| knows(peer) && !senders.contains(peer)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::sip::HashKey;
    use crate::gossipsub::message_cache;
    use crate::gossipsub::peers::{self, Version};
    use crate::gossipsub::seen::{self, Arrival, Checked, Identity};
    use crate::rng::Rng;
    use core::time::Duration;

    struct World {
        peers: Peers,
        seen: Seen,
        promises: Promises,
        cache: MessageCache,
        rules: Rules,
        rng: Rng,
    }

    fn peer(n: u8) -> PeerId {
        PeerId::from_ed25519(&[n; 32])
    }

    fn world() -> World {
        let bounds = peers::Bounds { asked_ids_max: 5, ihave_messages_max: 3, ..peers::Bounds::default() };
        let mut peers = Peers::new(&bounds);
        for (n, version) in [(1, Version::V13), (2, Version::V12), (3, Version::V11)] {
            assert!(peers.add(peer(n), version, false, false));
        }
        World {
            peers,
            seen: Seen::new(&seen::Bounds::default(), HashKey::known()),
            promises: Promises::new(Duration::from_secs(3)),
            cache: MessageCache::new(&message_cache::Bounds::default(), HashKey::known()),
            rules: Rules::new(&Config { ihave_ids_max: 4, ..Config::default() }, -1.0),
            rng: Rng::fork(&[1; 32], "test"),
        }
    }

    impl World {
        fn ihave(&mut self, score: f64, is_joined: bool, ids: &[&[u8]]) -> Vec<MessageId> {
            let asking = Asking {
                now: Instant::ZERO,
                peer: peer(1),
                score,
                is_joined,
                peers: &mut self.peers,
                seen: &self.seen,
                promises: &mut self.promises,
                rng: &mut self.rng,
            };
            let mut asked = asking.on_ihave(ids, &self.rules);
            asked.sort();
            asked
        }

        fn iwant(&mut self, score: f64, ids: &[&[u8]]) -> Given {
            on_iwant(peer(1), score, ids, &self.peers, &mut self.cache, &self.rules)
        }

        fn put(&mut self, n: u8) {
            let id = MessageId(Bytes::copy_from_slice(&[n]));
            let message = Bytes::copy_from_slice(&[n; 3]);
            let digest = IdDigest::of(&[n]);
            assert!(self.cache.put(Instant::ZERO, peer(9), digest, id, "t".into(), message));
        }
    }

    fn id(bytes: &'static [u8]) -> MessageId {
        MessageId(Bytes::from_static(bytes))
    }

    #[test]
    fn what_passed_is_not_asked_for_and_what_is_pending_or_refused_is() {
        let mut world = world();
        for (copy, name) in [(1u8, b"a"), (2, b"b"), (3, b"c")] {
            let identity = Identity::of(&[copy]);
            let arrival = world.seen.on_copy(Instant::ZERO, peer(2), identity, IdDigest::of(name), 9);
            assert_eq!(arrival, Arrival::Check);
        }
        let passed = world.seen.on_checked(Instant::ZERO, Identity::of(&[1]), true);
        assert!(matches!(passed, Checked::First(_)));
        let failed = world.seen.on_checked(Instant::ZERO, Identity::of(&[2]), false);
        assert!(matches!(failed, Checked::Failed(_)));
        assert_eq!(world.ihave(0.0, true, &[b"a", b"b", b"c", b"b"]), [id(b"b"), id(b"c")]);
        assert_eq!(world.promises.len(), 1);
    }

    #[test]
    fn no_more_is_asked_for_than_a_heartbeat_allows_and_every_ihave_counts() {
        let mut world = world();
        let many: Vec<[u8; 1]> = (0..9).map(|n| [n]).collect();
        let many: Vec<&[u8]> = many.iter().map(|id| &id[..]).collect();
        assert_eq!(world.ihave(0.0, false, &many), [], "the topic is not joined");
        assert_eq!(world.ihave(0.0, true, &many).len(), 5);
        assert_eq!(world.ihave(0.0, true, &many), [], "enough was asked for");
        world.peers.on_heartbeat();
        assert_eq!(world.ihave(0.0, true, &[]), []);
        (0..2).for_each(|_| assert!(world.peers.take_ihave(&peer(1))));
        assert_eq!(world.ihave(0.0, true, &many), [], "enough was named");
        world.peers.on_heartbeat();
        assert_eq!(world.ihave(-1.5, true, &many), [], "its score is too low");
        assert_eq!(world.ihave(-1.0, true, &many).len(), 5);
    }

    #[test]
    fn what_is_asked_for_is_given_once_a_request_and_thrice_in_all() {
        let mut world = world();
        world.put(1);
        world.put(2);
        world.peers.on_unwanted(&peer(1), IdDigest::of(&[2]));
        assert_eq!(world.iwant(-1.5, &[&[1]]), Given::default(), "its score is too low");
        for _ in 0..3 {
            let given = world.iwant(0.0, &[&[1], &[7], &[1], &[2]]);
            let messages = alloc::vec![Bytes::from_static(&[1; 3])];
            assert_eq!(given, Given { messages, absent: 1, spent: 0, unwanted: 1 });
        }
        assert_eq!(world.iwant(0.0, &[&[1]]), Given { spent: 1, ..Given::default() });
    }

    #[test]
    fn of_too_many_ids_each_peer_is_named_others() {
        let mut world = world();
        (0..20).for_each(|n| world.put(n));
        let mut names = || ids_to_name(&world.cache, &"t".into(), &world.rules, &mut world.rng);
        let (one, other) = (names(), names());
        assert_eq!((one.len(), other.len()), (4, 4));
        assert_ne!(one, other);
        assert_eq!(ids_to_name(&world.cache, &"u".into(), &world.rules, &mut world.rng), []);
    }

    #[test]
    fn long_messages_are_declined_from_members_that_know_how_but_not_from_their_senders() {
        let world = world();
        let members = [1, 2, 3].map(peer);
        let told = |senders: &[PeerId], bytes| {
            receivers_of_idontwant(members.iter(), senders, bytes, &world.peers, &Config::default())
        };
        assert_eq!(told(&[], 1023), []);
        let mut all = told(&[], 1024);
        all.sort();
        let mut expected = [peer(1), peer(2)];
        expected.sort();
        assert_eq!(all, expected);
        assert_eq!(told(&[peer(1)], 1024), [peer(2)]);
    }
}
