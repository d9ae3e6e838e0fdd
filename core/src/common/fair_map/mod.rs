//! A bounded map in which every entry has an owner, and no owner can push out another's last entry.
//!
//! Rule at insertion into a full map: an owner that holds its share (limit ÷ owners present) or more loses its own
//! oldest entry; any other displaces the oldest entry of whoever holds most of the next 64 owners in turn. When each of
//! those holds a single entry, the newcomer is refused. (Spec 14.2 displaces the oldest of all; that could take an
//! owner's last entry. Looking at 64 keeps an insertion cheap while somebody invents owners by the thousand.)

use alloc::collections::{BTreeMap, VecDeque};
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
    /// What one owner holds.
    #[derive(Clone, Debug)]
    struct Owned<K: Key> {
        count: u32,
        /// Keys by age, oldest first; one whose number is not its entry's has moved on and counts no more.
        order: VecDeque<(u64, K)>,
    }
}

/// Owners looked at for a victim.
const OWNERS_SEEN_MAX: usize = 64;

state! {
    /// See the module's documentation.
    #[derive(Clone, Debug)]
    pub struct FairMap<K: Key, V> {
        max: u32,
        entries: BTreeMap<K, Entry<V>>,
        owners: BTreeMap<PeerId, Owned<K>>,
        /// The owner at which the next search for a victim begins.
        turn: Option<PeerId>,
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
            turn: None,
            next_seq: 0,
            evicted: 0,
            refused: 0,
        }
    }

    /// Inserts or replaces; the entry is then the newest and belongs to `owner`.
    pub fn insert(&mut self, now: Instant, key: K, owner: PeerId, value: V) -> Inserted<K, V> {
        self.insert_or_refuse(now, key, owner, value, true, |_, _| false)
    }

    /// As [`FairMap::insert`], but an entry for which `keeps` holds is never pushed out, and one for which it does not is,
    /// rather than that a newcomer is refused: where owners come and go, their last entries would fill the map for long.
    pub fn insert_keeping(
        &mut self,
        now: Instant,
        key: K,
        owner: PeerId,
        value: V,
        keeps: impl Fn(&K, &V) -> bool,
    ) -> Inserted<K, V> {
        self.insert_or_refuse(now, key, owner, value, false, keeps)
    }

    fn insert_or_refuse(
        &mut self,
        now: Instant,
        key: K,
        owner: PeerId,
        value: V,
        protects_last: bool,
        keeps: impl Fn(&K, &V) -> bool,
    ) -> Inserted<K, V> {
        if let Some(entry) = self.entries.get_mut(&key) {
            let former = core::mem::replace(&mut entry.value, value);
            entry.at = now;
            self.rehold(&key, owner);
            return Inserted::Replaced(former);
        }
        let mut evicted = None;
        if self.entries.len() >= self.max as usize {
            let Some(victim) = self.victim(&owner, &keeps).or_else(|| self.unkept(protects_last, &keeps))
            else {
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
    fn victim(&mut self, owner: &PeerId, keeps: &impl Fn(&K, &V) -> bool) -> Option<K> {
        let own = self.owned_by(owner);
        let holder = if own > 0 && own >= self.share() { *owner } else { self.largest_in_turn()? };
        for _ in 0..2 {
            let key = self.oldest_of(&holder)?;
            if !self.entries.get(&key).is_some_and(|entry| keeps(&key, &entry.value)) {
                return Some(key);
            }
            self.rehold(&key, holder);
        }
        None
    }

    /// The oldest entry that is not kept, of the owners whose turn it is.
    fn unkept(&self, protects_last: bool, keeps: &impl Fn(&K, &V) -> bool) -> Option<K> {
        if protects_last {
            return None;
        }
        let owners: alloc::vec::Vec<PeerId> = self.next_owners().collect();
        let oldest = |owner: &PeerId| {
            let order = &self.owners.get(owner)?.order;
            order.iter().find_map(|(seq, key)| {
                let entry = self.entries.get(key).filter(|entry| entry.seq == *seq)?;
                (!keeps(key, &entry.value)).then(|| (*seq, key.clone()))
            })
        };
        let (_, key) = owners.iter().filter_map(oldest).min_by_key(|(seq, _)| *seq)?;
        Some(key)
    }

    /// The owners whose turn it is.
    fn next_owners(&self) -> impl Iterator<Item = PeerId> {
        use core::ops::Bound::{Excluded, Included, Unbounded};
        let from = self.turn.map_or(Unbounded, Excluded);
        let to = self.turn.map_or(Unbounded, Included);
        let wrapped = self.turn.is_some().then(|| self.owners.range((Unbounded, to))).into_iter().flatten();
        let owners = self.owners.range((from, Unbounded)).chain(wrapped).take(OWNERS_SEEN_MAX);
        owners.map(|(owner, _)| *owner)
    }

    /// Who holds most, and more than one, of the owners whose turn it is.
    fn largest_in_turn(&mut self) -> Option<PeerId> {
        let (mut largest, mut last) = (None, None);
        for owner in self.next_owners() {
            last = Some(owner);
            let count = self.owned_by(&owner);
            if count > largest.map_or(1, |(count, _)| count) {
                largest = Some((count, owner));
            }
        }
        if self.owners.len() > OWNERS_SEEN_MAX {
            self.turn = last;
        }
        largest.map(|(_, owner)| owner)
    }

    /// The oldest key of `owner`; what has moved on is forgotten on the way.
    fn oldest_of(&mut self, owner: &PeerId) -> Option<K> {
        let owned = self.owners.get_mut(owner)?;
        while let Some((seq, key)) = owned.order.front() {
            if self.entries.get(key).is_some_and(|entry| entry.seq == *seq) {
                return Some(key.clone());
            }
            owned.order.pop_front();
        }
        None
    }

    fn hold(&mut self, owner: PeerId, key: K) {
        let owned = self.owners.entry(owner).or_insert_with(|| Owned { count: 0, order: VecDeque::new() });
        owned.count += 1;
        owned.order.push_back((self.next_seq, key));
        self.next_seq += 1;
        if owned.order.len() > 2 * owned.count as usize + 8 {
            let entries = &self.entries;
            owned.order.retain(|(seq, key)| entries.get(key).is_some_and(|entry| entry.seq == *seq));
        }
    }

    fn release(&mut self, owner: &PeerId) {
        let Some(owned) = self.owners.get_mut(owner) else { return };
        owned.count -= 1;
        if owned.count == 0 {
            self.owners.remove(owner);
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
        let former = core::mem::replace(&mut entry.owner, owner);
        entry.seq = self.next_seq;
        self.hold(owner, key.clone());
        self.release(&former);
    }

    /// Takes `key` out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let entry = self.entries.remove(key)?;
        self.release(&entry.owner);
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
        let Some(owned) = self.owners.remove(owner) else { return 0 };
        for (seq, key) in &owned.order {
            if self.entries.get(key).is_some_and(|entry| entry.seq == *seq) {
                self.entries.remove(key);
            }
        }
        owned.count as usize
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
        self.owners.get(owner).map_or(0, |owned| owned.count)
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

    /// Full structural check: entries and owners agree.
    ///
    /// # Errors
    /// What does not.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.entries.len() > self.max as usize {
            return Err("more entries than the limit");
        }
        let live = |(seq, key): &&(u64, K)| self.entries.get(key).is_some_and(|entry| entry.seq == *seq);
        let counted = |owned: &Owned<K>| owned.order.iter().filter(live).count() == owned.count as usize;
        if !self.owners.values().all(|owned| owned.count > 0 && counted(owned)) {
            return Err("an owner does not hold what it counts");
        }
        let held: usize = self.owners.values().map(|owned| owned.count as usize).sum();
        if held == self.entries.len() { Ok(()) } else { Err("owners and entries disagree") }
    }
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
