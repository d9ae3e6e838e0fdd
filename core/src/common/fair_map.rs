//! A bounded map in which every entry has an owner, and no owner can push out another's last entry.
//!
//! Rule at insertion into a full map: an owner that holds its share (limit ÷ owners present) or more loses its own
//! oldest entry; any other displaces the oldest entry of the owner that holds most. When every owner holds a single
//! entry, a newcomer is refused. (Spec 14.2 displaces the oldest of all; that could take an owner's last entry.)

use alloc::collections::{BTreeMap, BTreeSet};
use core::fmt;

use peerage_proto::peer_id::PeerId;

use crate::state::state;
use crate::time::Instant;

/// What can be a key.
pub trait Key: Ord + Clone + fmt::Debug {}
impl<K: Ord + Clone + fmt::Debug> Key for K {}

state! {
    #[derive(Clone, Debug)]
    struct Entry<V> {
        owner: PeerId,
        seq: u64,
        at: Instant,
        value: V,
    }
}

state! {
    /// See the module's documentation.
    #[derive(Clone, Debug)]
    pub struct FairMap<K: Key, V> {
        max: u32,
        entries: BTreeMap<K, Entry<V>>,
        /// The keys of each owner, oldest first.
        owners: BTreeMap<PeerId, BTreeMap<u64, K>>,
        /// Owners by number of entries.
        by_count: BTreeSet<(u32, PeerId)>,
        next_seq: u64,
        evicted: u64,
        refused: u64,
    }
}

/// What an insertion did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Inserted<K, V> {
    /// The key is new.
    New,
    /// The key was there; its former value, and it has become the newest.
    Replaced(V),
    /// The key is new and pushed out another one.
    Evicted(K, V),
    /// There is no room: every owner holds one entry.
    Refused,
}

impl<K: Key, V> FairMap<K, V> {
    /// An empty map of at most `max` entries.
    pub fn new(max: u32) -> Self {
        Self {
            max,
            entries: BTreeMap::new(),
            owners: BTreeMap::new(),
            by_count: BTreeSet::new(),
            next_seq: 0,
            evicted: 0,
            refused: 0,
        }
    }

    /// Inserts or replaces; the entry is then the newest and belongs to `owner`.
    pub fn insert(&mut self, now: Instant, key: K, owner: PeerId, value: V) -> Inserted<K, V> {
        if let Some(entry) = self.entries.get_mut(&key) {
            let former = core::mem::replace(&mut entry.value, value);
            entry.at = now;
            self.rehold(&key, owner);
            return Inserted::Replaced(former);
        }
        let mut evicted = None;
        if self.entries.len() >= self.max as usize {
            let Some(victim) = self.victim(&owner) else {
                self.refused = self.refused.saturating_add(1);
                return Inserted::Refused;
            };
            evicted = self.remove(&victim).map(|value| (victim, value));
            self.evicted = self.evicted.saturating_add(1);
        }
        self.entries.insert(key.clone(), Entry { owner, seq: self.next_seq, at: now, value });
        self.hold(owner, key);
        match evicted {
            Some((key, value)) => Inserted::Evicted(key, value),
            None => Inserted::New,
        }
    }

    /// The key that has to go for a new entry of `owner`.
    fn victim(&self, owner: &PeerId) -> Option<K> {
        let oldest_of = |owner: &PeerId| self.owners.get(owner)?.values().next().cloned();
        let own = self.owned_by(owner);
        if own > 0 && own >= self.share() {
            return oldest_of(owner);
        }
        let (count, holder) = self.by_count.last()?;
        if *count < 2 {
            return None;
        }
        oldest_of(holder)
    }

    fn hold(&mut self, owner: PeerId, key: K) {
        let keys = self.owners.entry(owner).or_default();
        let before = count(keys);
        keys.insert(self.next_seq, key);
        let after = count(keys);
        self.next_seq += 1;
        self.recount(owner, before, after);
    }

    fn release(&mut self, owner: &PeerId, seq: u64) {
        let Some(keys) = self.owners.get_mut(owner) else { return };
        let before = count(keys);
        keys.remove(&seq);
        let after = count(keys);
        if keys.is_empty() {
            self.owners.remove(owner);
        }
        self.recount(*owner, before, after);
    }

    fn recount(&mut self, owner: PeerId, before: u32, after: u32) {
        if before > 0 {
            self.by_count.remove(&(before, owner));
        }
        if after > 0 {
            self.by_count.insert((after, owner));
        }
    }

    /// The value of `key`.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|entry| &entry.value)
    }

    /// The value of `key`, to change. Its age and owner stay.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key).map(|entry| &mut entry.value)
    }

    /// Who owns `key`, and since when.
    pub fn owner(&self, key: &K) -> Option<(PeerId, Instant)> {
        self.entries.get(key).map(|entry| (entry.owner, entry.at))
    }

    /// Makes `key` the newest of its owner's.
    pub fn renew(&mut self, now: Instant, key: &K) {
        if let Some((owner, _)) = self.owner(key) {
            self.rehold(key, owner);
            if let Some(entry) = self.entries.get_mut(key) {
                entry.at = now;
            }
        }
    }

    /// Gives `key` to `owner`; its age stays.
    pub fn reassign(&mut self, key: &K, owner: PeerId) {
        if self.owner(key).is_some_and(|(present, _)| present != owner) {
            self.rehold(key, owner);
        }
    }

    fn rehold(&mut self, key: &K, owner: PeerId) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let (former_owner, former_seq) = (entry.owner, entry.seq);
        (entry.owner, entry.seq) = (owner, self.next_seq);
        self.release(&former_owner, former_seq);
        self.hold(owner, key.clone());
    }

    /// Takes `key` out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let entry = self.entries.remove(key)?;
        self.release(&entry.owner, entry.seq);
        Some(entry.value)
    }

    /// Takes out what was inserted before `oldest`; returns how many.
    pub fn expire(&mut self, oldest: Instant) -> usize {
        self.expire_if(oldest, |_, _| true)
    }

    /// Takes out what was inserted before `oldest` and satisfies `condition`.
    pub fn expire_if(&mut self, oldest: Instant, condition: impl Fn(&K, &V) -> bool) -> usize {
        let old: alloc::vec::Vec<K> = self
            .entries
            .iter()
            .filter(|(key, entry)| entry.at < oldest && condition(key, &entry.value))
            .map(|(key, _)| key.clone())
            .collect();
        old.iter().for_each(|key| drop(self.remove(key)));
        old.len()
    }

    /// Takes out everything that belongs to `owner`; returns how many.
    pub fn remove_owner(&mut self, owner: &PeerId) -> usize {
        let Some(keys) = self.owners.remove(owner) else { return 0 };
        self.by_count.remove(&(count(&keys), *owner));
        keys.values().for_each(|key| drop(self.entries.remove(key)));
        keys.len()
    }

    /// Entries in key order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, entry)| (key, &entry.value))
    }

    /// Values in key order, to change.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.entries.values_mut().map(|entry| &mut entry.value)
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The limit.
    pub fn max(&self) -> u32 {
        self.max
    }

    /// Number of entries that belong to `owner`.
    pub fn owned_by(&self, owner: &PeerId) -> u32 {
        self.owners.get(owner).map_or(0, count)
    }

    /// What each owner may hold of a full map: at least one.
    pub fn share(&self) -> u32 {
        let owners = u32::try_from(self.owners.len()).unwrap_or(u32::MAX).max(1);
        (self.max / owners).max(1)
    }

    /// Entries pushed out and newcomers refused so far.
    pub fn shed(&self) -> (u64, u64) {
        (self.evicted, self.refused)
    }

    /// Full structural check: the three indices agree.
    ///
    /// # Errors
    /// What does not.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.entries.len() > self.max as usize {
            return Err("more entries than the limit");
        }
        let held: usize = self.owners.values().map(BTreeMap::len).sum();
        if held != self.entries.len() || self.by_count.len() != self.owners.len() {
            return Err("owners and entries disagree");
        }
        let counted = self.owners.iter().all(|(owner, keys)| self.by_count.contains(&(count(keys), *owner)));
        let owned = self.entries.iter().all(|(key, entry)| {
            self.owners.get(&entry.owner).and_then(|keys| keys.get(&entry.seq)) == Some(key)
        });
        if counted && owned { Ok(()) } else { Err("an entry is not where its owner says") }
    }
}

fn count<K>(keys: &BTreeMap<u64, K>) -> u32 {
    u32::try_from(keys.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn peer(n: u8) -> PeerId {
        PeerId::from_ed25519(&[n; 32])
    }

    #[test]
    fn a_full_map_takes_from_whoever_holds_most() {
        let mut map = FairMap::new(4);
        for key in 0..4u32 {
            let _ = map.insert(Instant::ZERO, key, peer(1), ());
        }
        assert_eq!(map.insert(Instant::ZERO, 10, peer(2), ()), Inserted::Evicted(0, ()));
        assert_eq!(map.insert(Instant::ZERO, 11, peer(2), ()), Inserted::Evicted(1, ()));
        assert_eq!(map.insert(Instant::ZERO, 12, peer(2), ()), Inserted::Evicted(10, ()), "its own oldest");
    }

    #[test]
    fn the_last_entry_of_an_owner_is_never_pushed_out() {
        let mut map = FairMap::new(3);
        for n in 1..=3 {
            let _ = map.insert(Instant::ZERO, u32::from(n), peer(n), ());
        }
        assert_eq!(map.insert(Instant::ZERO, 9, peer(9), ()), Inserted::Refused);
        assert_eq!(
            map.insert(Instant::ZERO, 8, peer(1), ()),
            Inserted::Evicted(1, ()),
            "its own may be replaced"
        );
        assert_eq!(map.shed(), (1, 1));
    }

    #[test]
    fn a_known_key_goes_to_its_newest_announcer_and_becomes_newest() {
        let mut map = FairMap::new(2);
        let _ = map.insert(Instant::ZERO, 1u32, peer(1), 'a');
        let _ = map.insert(Instant::ZERO, 2, peer(1), 'b');
        assert_eq!(map.insert(Instant::from_micros(5), 1, peer(2), 'c'), Inserted::Replaced('a'));
        assert_eq!(map.owner(&1), Some((peer(2), Instant::from_micros(5))));
        assert_eq!((map.owned_by(&peer(1)), map.owned_by(&peer(2))), (1, 1));
    }

    #[test]
    fn what_is_old_expires() {
        let mut map = FairMap::new(9);
        let _ = map.insert(Instant::from_micros(1), 1u32, peer(1), ());
        let _ = map.insert(Instant::from_micros(2), 2, peer(1), ());
        assert_eq!(map.expire(Instant::from_micros(2)), 1);
        assert_eq!(map.get(&1), None);
        assert_eq!(map.remove_owner(&peer(1)), 1);
        assert!(map.is_empty());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u8, u8),
        Remove(u8),
        RemoveOwner(u8),
        Expire(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (0..40u8, 0..6u8).prop_map(|(key, owner)| Step::Insert(key, owner)),
            2 => (0..40u8).prop_map(Step::Remove),
            1 => (0..6u8).prop_map(Step::RemoveOwner),
            1 => (0..200u64).prop_map(Step::Expire),
        ]
    }

    proptest! {
        #[test]
        fn any_history_leaves_the_indices_agreed_and_no_owner_robbed_of_its_last(
            steps in proptest::collection::vec(step(), 0..200),
            max in 1..20u32,
        ) {
            let mut map = FairMap::new(max);
            for (at, step) in steps.into_iter().enumerate() {
                let held: std::vec::Vec<u32> = (0..6).map(|n| map.owned_by(&peer(n))).collect();
                match step {
                    Step::Insert(key, owner) => {
                        let reassigned = map.owner(&key).map(|(owner, _)| owner);
                        let _ = map.insert(Instant::from_micros(at as u64), key, peer(owner), at);
                        for n in 0..6u8 {
                            let robbed = held[n as usize] > 0 && map.owned_by(&peer(n)) == 0;
                            prop_assert!(!robbed || reassigned == Some(peer(n)), "owner {n} lost its last entry");
                        }
                    }
                    Step::Remove(key) => drop(map.remove(&key)),
                    Step::RemoveOwner(owner) => drop(map.remove_owner(&peer(owner))),
                    Step::Expire(at) => drop(map.expire(Instant::from_micros(at))),
                }
                prop_assert_eq!(map.check(), Ok(()));
            }
        }
    }
}
