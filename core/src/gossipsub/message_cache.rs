//! Messages of the last heartbeats: what is named in IHAVE, and given to those that ask.
//!
//! Each heartbeat opens a window and the oldest falls away. Messages of the first few windows are gossiped about; those of
//! all are given on IWANT, to one peer no oftener than allowed. A message is kept in the form in which it is forwarded.
//! When its sender holds its share of the room, a message is not kept: it was forwarded all the same, only those that
//! missed it will not get it from here.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use bytes::Bytes;
use peerage_proto::peer_id::PeerId;

use super::MessageId;
use super::seen::IdDigest;
use super::topic::TopicName;
use crate::common::fair_map::{FairMap, Inserted};
use crate::common::share::Shares;
use crate::common::sip::HashKey;
use crate::state::state;
use crate::time::Instant;

/// Bounds of the cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Windows kept, at least 1 (history length).
    pub windows: u32,
    /// Windows gossiped about, at most as many.
    pub gossip_windows: u32,
    /// Messages.
    pub messages_max: u32,
    /// Bytes of them.
    pub bytes_max: u64,
    /// Peers for which it is remembered how often they were given one message; others are not given it.
    pub receivers_max: u32,
    /// Peers that room is guaranteed to.
    pub peers_max: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            windows: 5,
            gossip_windows: 3,
            messages_max: 65_536,
            bytes_max: 64 << 20,
            receivers_max: 1_000,
            peers_max: 1_000,
        }
    }
}

state! {
    /// A message that is kept.
    #[derive(Clone, Debug)]
    pub struct Cached {
        /// Its id.
        pub id: MessageId,
        /// Its topic.
        pub topic: TopicName,
        /// Its canonical form, as it is forwarded.
        pub message: Bytes,
        /// How often it was given to each peer on IWANT.
        given: BTreeMap<PeerId, u32>,
    }
}

/// What an IWANT for one id gets.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use]
pub enum Wanted {
    /// This: the message in its canonical form.
    Message(Bytes),
    /// Nothing: it is not here (any more).
    Absent,
    /// Nothing: the peer was given it as often as allowed.
    Spent,
}

/// Messages of one heartbeat, by topic, in the order in which they came.
type Window = BTreeMap<TopicName, Vec<IdDigest>>;

state! {
    /// See the module's documentation.
    #[derive(Clone, Debug)]
    pub struct MessageCache {
        gossip_windows: u32,
        receivers_max: u32,
        messages: FairMap<IdDigest, Cached>,
        shares: Shares,
        bytes: Shares,
        /// The newest first. Their number is the history length.
        windows: VecDeque<Window>,
        not_kept: u64,
    }
}

impl MessageCache {
    /// An empty cache.
    pub fn new(bounds: &Bounds, hash_key: HashKey) -> Self {
        Self {
            gossip_windows: bounds.gossip_windows,
            receivers_max: bounds.receivers_max,
            messages: FairMap::new(bounds.messages_max, hash_key),
            shares: Shares::new(bounds.messages_max.into(), bounds.peers_max),
            bytes: Shares::new(bounds.bytes_max, bounds.peers_max),
            windows: (0..bounds.windows.max(1)).map(|_| Window::new()).collect(),
            not_kept: 0,
        }
    }

    /// Keeps a message that `sender` delivered (ourselves, if it is our own). `false` if it is here already, or `sender` is
    /// over its share.
    pub fn put(
        &mut self,
        now: Instant,
        sender: PeerId,
        digest: IdDigest,
        id: MessageId,
        topic: TopicName,
        message: Bytes,
    ) -> bool {
        if self.messages.get(&digest).is_some() {
            return false;
        }
        let bytes = message.len() as u64;
        if !(self.shares.admits(&sender, 1) && self.bytes.admits(&sender, bytes)) {
            self.not_kept = self.not_kept.saturating_add(1);
            return false;
        }
        let taken = self.shares.take(sender, 1) && self.bytes.take(sender, bytes);
        debug_assert!(taken, "they admitted it");
        self.windows[0].entry(topic.clone()).or_default().push(digest);
        let cached = Cached { id, topic, message, given: BTreeMap::new() };
        let inserted = self.messages.insert(now, digest, sender, cached);
        debug_assert!(matches!(inserted, Inserted::New), "the shares keep room");
        true
    }

    /// The message with this id, if it is here.
    pub fn get(&self, digest: &IdDigest) -> Option<&Cached> {
        self.messages.get(digest)
    }

    /// `peer` wants a message; it counts as given, at most `times_max` times.
    pub fn want(&mut self, peer: PeerId, digest: &IdDigest, times_max: u32) -> Wanted {
        let receivers_max = self.receivers_max as usize;
        let Some(cached) = self.messages.get_mut(digest) else { return Wanted::Absent };
        let given = cached.given.get(&peer).copied().unwrap_or(0);
        if given >= times_max || (given == 0 && cached.given.len() >= receivers_max) {
            return Wanted::Spent;
        }
        cached.given.insert(peer, given + 1);
        Wanted::Message(cached.message.clone())
    }

    /// Ids of a topic's messages that are gossiped about, the newest window first.
    pub fn gossip_ids(&self, topic: &TopicName) -> impl Iterator<Item = &MessageId> {
        let windows = self.windows.iter().take(self.gossip_windows as usize);
        let digests = windows.filter_map(|window| window.get(topic)).flatten();
        digests.filter_map(|digest| Some(&self.messages.get(digest)?.id))
    }

    /// A heartbeat: a new window opens, and what was in the oldest one is gone.
    pub fn shift(&mut self) {
        let oldest = self.windows.pop_back().unwrap_or_default();
        let _ = self.forget(oldest);
        self.windows.push_front(Window::new());
    }

    /// Gives up the oldest window that has messages: their number and bytes.
    pub fn shed_oldest(&mut self) -> Option<(u64, u64)> {
        let oldest = self.windows.iter_mut().rev().find(|window| !window.is_empty())?;
        let oldest = core::mem::take(oldest);
        Some(self.forget(oldest))
    }

    /// Takes out the messages of a window: their number and bytes.
    fn forget(&mut self, window: Window) -> (u64, u64) {
        let (mut messages, mut bytes) = (0u64, 0u64);
        for digest in window.into_values().flatten() {
            let Some((owner, _)) = self.messages.owner(&digest) else { continue };
            if let Some(cached) = self.messages.remove(&digest) {
                let length = cached.message.len() as u64;
                self.shares.give(&owner, 1);
                self.bytes.give(&owner, length);
                (messages, bytes) = (messages + 1, bytes.saturating_add(length));
            }
        }
        (messages, bytes)
    }

    /// Number of messages.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Bytes of all messages.
    pub fn bytes(&self) -> u64 {
        self.bytes.used()
    }

    /// Messages that were not kept because their sender was over its share.
    pub fn not_kept(&self) -> u64 {
        self.not_kept
    }

    /// Full structural check: messages, windows and shares agree.
    ///
    /// # Errors
    /// What does not.
    pub fn check(&self) -> Result<(), &'static str> {
        self.messages.check()?;
        self.shares.check()?;
        self.bytes.check()?;
        let listed: usize = self.windows.iter().flat_map(|window| window.values()).map(Vec::len).sum();
        if listed != self.len() || self.shares.used() != listed as u64 {
            return Err("messages, windows and shares disagree");
        }
        if self.messages.iter().map(|(_, cached)| cached.message.len() as u64).sum::<u64>() != self.bytes() {
            return Err("bytes and messages disagree");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn peer(n: u8) -> PeerId {
        PeerId::from_ed25519(&[n; 32])
    }

    fn cache(bounds: Bounds) -> MessageCache {
        MessageCache::new(&bounds, HashKey::known())
    }

    fn put(cache: &mut MessageCache, sender: u8, n: u8, topic: &str, bytes: usize) -> bool {
        let message = alloc::vec![n; bytes].into();
        let id = MessageId(Bytes::copy_from_slice(&[n]));
        cache.put(Instant::ZERO, peer(sender), IdDigest::of(&[n]), id, topic.into(), message)
    }

    fn ids(cache: &MessageCache, topic: &str) -> Vec<u8> {
        cache.gossip_ids(&topic.into()).map(|id| id.0[0]).collect()
    }

    #[test]
    fn a_message_is_gossiped_about_for_three_heartbeats_and_given_for_five() {
        let mut cache = cache(Bounds::default());
        assert!(put(&mut cache, 1, 1, "t", 10));
        assert!(!put(&mut cache, 2, 1, "t", 10), "it is here already");
        for heartbeat in 1..=5 {
            assert_eq!(ids(&cache, "t").len(), usize::from(heartbeat <= 3), "{heartbeat}");
            assert!(cache.get(&IdDigest::of(&[1])).is_some(), "{heartbeat}");
            cache.shift();
        }
        assert_eq!(cache.want(peer(3), &IdDigest::of(&[1]), 3), Wanted::Absent);
        assert!(cache.is_empty());
        assert_eq!((cache.bytes(), cache.check()), (0, Ok(())));
    }

    #[test]
    fn gossip_names_a_topics_own_messages_the_newest_window_first() {
        let mut cache = cache(Bounds::default());
        assert!(put(&mut cache, 1, 1, "a", 1) && put(&mut cache, 1, 2, "b", 1));
        cache.shift();
        assert!(put(&mut cache, 1, 3, "a", 1) && put(&mut cache, 1, 4, "a", 1));
        assert_eq!(ids(&cache, "a"), [3, 4, 1]);
        assert_eq!(ids(&cache, "b"), [2]);
        assert_eq!(ids(&cache, "c"), []);
    }

    #[test]
    fn one_peer_is_given_a_message_three_times_and_another_still_is() {
        let mut cache = cache(Bounds { receivers_max: 2, ..Bounds::default() });
        assert!(put(&mut cache, 1, 1, "t", 3));
        let id = IdDigest::of(&[1]);
        for _ in 0..3 {
            assert_eq!(cache.want(peer(2), &id, 3), Wanted::Message(Bytes::from_static(&[1, 1, 1])));
        }
        assert_eq!(cache.want(peer(2), &id, 3), Wanted::Spent);
        assert_eq!(cache.want(peer(3), &id, 3), Wanted::Message(Bytes::from_static(&[1, 1, 1])));
        assert_eq!(cache.want(peer(4), &id, 3), Wanted::Spent, "no room to remember a third peer");
    }

    #[test]
    fn a_sender_over_its_share_in_number_or_bytes_keeps_nothing_more() {
        let bounds = Bounds { messages_max: 8, bytes_max: 800, peers_max: 2, ..Bounds::default() };
        let mut by_number = cache(bounds);
        // 2 are guaranteed and 2 of the common 4 are the first one's.
        assert!((0..4).all(|n| put(&mut by_number, 1, n, "t", 1)));
        assert!(!put(&mut by_number, 1, 9, "t", 1));
        assert!(put(&mut by_number, 2, 9, "t", 1));
        let mut by_bytes = cache(bounds);
        assert!(put(&mut by_bytes, 1, 1, "t", 400));
        assert!(!put(&mut by_bytes, 1, 2, "t", 1));
        assert!(put(&mut by_bytes, 2, 2, "t", 200));
        assert_eq!((by_number.not_kept(), by_bytes.not_kept()), (1, 1));
    }

    proptest! {
        #[test]
        fn messages_windows_and_shares_agree_whatever_comes(
            steps in proptest::collection::vec((0u8..8, 0u8..3, any::<u8>(), 0usize..200), 0..200),
        ) {
            let bounds = Bounds { messages_max: 12, bytes_max: 2_000, peers_max: 3, ..Bounds::default() };
            let mut cache = cache(bounds);
            for (kind, sender, n, bytes) in steps {
                match kind {
                    0 => cache.shift(),
                    1 => drop(cache.want(peer(sender), &IdDigest::of(&[n]), 3)),
                    _ => drop(put(&mut cache, sender, n, ["a", "b"][usize::from(n % 2)], bytes)),
                }
                prop_assert_eq!(cache.check(), Ok(()));
                prop_assert!(cache.len() <= 12 && cache.bytes() <= 2_000);
                prop_assert!(ids(&cache, "a").iter().all(|n| n % 2 == 0));
            }
            (0..5).for_each(|_| cache.shift());
            prop_assert!(cache.is_empty());
            prop_assert_eq!(cache.check(), Ok(()));
        }
    }
}
