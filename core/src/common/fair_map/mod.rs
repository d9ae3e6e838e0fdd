//! A bounded map in which every entry has an owner, and no owner can push out another's last entry.
//!
//! Rule at insertion into a full map: an owner that holds its share (limit ÷ owners present) or more loses its own
//! oldest entry; any other displaces the oldest entry of whoever holds most of the next 64 owners in turn. When each of
//! those holds a single entry, the newcomer is refused. (Spec 14.2 displaces the oldest of all; that could take an
//! owner's last entry. Looking at 64 keeps an insertion cheap while somebody invents owners by the thousand.)
//!
//! Entries lie in a slab. A keyed index finds them, one list holds them by age, and one list for each owner holds its
//! own by their numbers. No order that can be seen follows from the index or from the slab.

mod index;
mod list;
mod walk;

#[cfg(test)]
mod tests;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use peerage_proto::peer_id::PeerId;

use super::sip::{HashKey, Hashed};
use crate::time::Instant;
use index::Index;
use list::{Links, List};

/// What can be a key.
pub trait Key: Hashed + Eq + Clone + fmt::Debug {}
impl<K: Hashed + Eq + Clone + fmt::Debug> Key for K {}

#[derive(Clone, Debug)]
struct Entry<K, V> {
    key: K,
    hash: u64,
    owner: PeerId,
    /// Its place among its owner's.
    seq: u64,
    at: Instant,
    value: V,
}

/// What one owner holds.
#[derive(Clone, Copy, Debug)]
struct Owned {
    count: u32,
    order: List,
}

/// Owners looked at for a victim.
const OWNERS_SEEN_MAX: usize = 64;
/// Entries of one owner looked at for one that is not kept.
const KEPT_SEEN_MAX: usize = 64;

/// See the module's documentation.
#[derive(Clone, Debug)]
pub struct FairMap<K: Key, V> {
    max: u32,
    hash_key: HashKey,
    /// Entries, and holes that are free.
    slots: Vec<Option<Entry<K, V>>>,
    free: Vec<u32>,
    index: Index,
    /// By age: when each was inserted or renewed.
    age: List,
    age_links: Vec<Links>,
    owners: BTreeMap<PeerId, Owned>,
    own_links: Vec<Links>,
    /// The owner at which the next search for a victim begins.
    turn: Option<PeerId>,
    next_seq: u64,
    evicted: u64,
    refused: u64,
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

/// Where an entry lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place(u32);

/// What becomes of an entry that is old.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Aged {
    /// It goes.
    Over,
    /// It is in use: it counts as new.
    InUse,
    /// It was used since: it waits, and so do those behind it.
    Young,
}

impl<K: Key, V> FairMap<K, V> {
    /// An empty map of at most `max` entries, whose index is keyed by `hash_key`.
    pub fn new(max: u32, hash_key: HashKey) -> Self {
        Self {
            max,
            hash_key,
            slots: Vec::new(),
            free: Vec::new(),
            index: Index::default(),
            age: List::EMPTY,
            age_links: Vec::new(),
            owners: BTreeMap::new(),
            own_links: Vec::new(),
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
        let hash = key.hashed(self.hash_key);
        if let Some(slot) = self.find_hashed(hash, &key) {
            let entry = self.entry_mut(slot);
            let former = core::mem::replace(&mut entry.value, value);
            self.renew_slot(now, slot);
            self.rehold(slot, owner);
            return Inserted::Replaced(former);
        }
        let mut evicted = None;
        if self.len() >= self.max as usize {
            let Some(victim) = self.victim(&owner, &keeps).or_else(|| self.unkept(protects_last, &keeps))
            else {
                self.refused = self.refused.saturating_add(1);
                return Inserted::Refused;
            };
            evicted = Some(self.take(victim));
            self.evicted = self.evicted.saturating_add(1);
        }
        let slot = self.put(Entry { key, hash, owner, seq: self.next_seq, at: now, value });
        self.index.insert(hash, slot);
        self.age.push(&mut self.age_links, slot);
        self.hold(owner, slot);
        match evicted {
            Some((key, value)) => Inserted::Evicted(key, value),
            None => Inserted::New,
        }
    }

    /// The slot that has to go for a new entry of `owner`.
    fn victim(&mut self, owner: &PeerId, keeps: &impl Fn(&K, &V) -> bool) -> Option<u32> {
        let own = self.owned_by(owner);
        let holder = if own > 0 && own >= self.share() { *owner } else { self.largest_in_turn()? };
        for _ in 0..2 {
            let slot = self.owners.get(&holder)?.order.first()?;
            if !self.is_kept(slot, keeps) {
                return Some(slot);
            }
            self.rehold(slot, holder);
        }
        None
    }

    fn is_kept(&self, slot: u32, keeps: &impl Fn(&K, &V) -> bool) -> bool {
        let entry = self.entry(slot);
        keeps(&entry.key, &entry.value)
    }

    /// The oldest entry that is not kept, of the owners whose turn it is.
    fn unkept(&self, protects_last: bool, keeps: &impl Fn(&K, &V) -> bool) -> Option<u32> {
        if protects_last {
            return None;
        }
        let oldest = |(_, owned): (&PeerId, &Owned)| {
            let mut oldest_first = owned.order.iter(&self.own_links).take(KEPT_SEEN_MAX);
            oldest_first.find(|slot| !self.is_kept(*slot, keeps))
        };
        self.next_owners().filter_map(oldest).min_by_key(|slot| self.entry(*slot).seq)
    }

    /// The owners whose turn it is.
    fn next_owners(&self) -> impl Iterator<Item = (&PeerId, &Owned)> {
        use core::ops::Bound::{Excluded, Included, Unbounded};
        let from = self.turn.map_or(Unbounded, Excluded);
        let to = self.turn.map_or(Unbounded, Included);
        let wrapped = self.turn.is_some().then(|| self.owners.range((Unbounded, to))).into_iter().flatten();
        self.owners.range((from, Unbounded)).chain(wrapped).take(OWNERS_SEEN_MAX)
    }

    /// Who holds most, and more than one, of the owners whose turn it is.
    fn largest_in_turn(&mut self) -> Option<PeerId> {
        let (mut largest, mut last) = (None, None);
        for (owner, owned) in self.next_owners() {
            last = Some(owner);
            if owned.count > largest.map_or(1, |(count, _)| count) {
                largest = Some((owned.count, owner));
            }
        }
        let (largest, last) = (largest.map(|(_, owner)| *owner), last.copied());
        if self.owners.len() > OWNERS_SEEN_MAX {
            self.turn = last;
        }
        largest
    }

    /// The value of `key`.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.find(key).map(|slot| &self.entry(slot).value)
    }

    /// The value of `key`, to change. Its age and owner stay.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.find(key).map(|slot| &mut self.entry_mut(slot).value)
    }

    /// Who owns `key`, and since when.
    pub fn owner(&self, key: &K) -> Option<(PeerId, Instant)> {
        self.find(key).map(|slot| {
            let entry = self.entry(slot);
            (entry.owner, entry.at)
        })
    }

    /// Where `key` lies, until the map changes.
    pub fn place(&self, key: &K) -> Option<Place> {
        self.find(key).map(Place)
    }

    /// The value at a place, to change; it is the newest of its owner's from now on if it was not renewed for `after`.
    pub fn renewed(&mut self, now: Instant, Place(slot): Place, after: Duration) -> &mut V {
        let (owner, at) = (self.entry(slot).owner, self.entry(slot).at);
        if now.saturating_since(at) > after {
            self.renew_slot(now, slot);
            self.rehold(slot, owner);
        }
        &mut self.entry_mut(slot).value
    }

    /// Gives `key` to `owner`; its age stays.
    pub fn reassign(&mut self, key: &K, owner: PeerId) {
        if let Some(slot) = self.find(key)
            && self.entry(slot).owner != owner
        {
            self.rehold(slot, owner);
        }
    }

    /// Takes `key` out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.find(key).map(|slot| self.take(slot).1)
    }

    /// Looks at what was inserted before `oldest`, oldest first and at most `budget` of it, and does with each what
    /// `judge` says. Whether some of it is left to be looked at.
    #[must_use]
    pub fn expire(
        &mut self,
        now: Instant,
        oldest: Instant,
        budget: u32,
        judge: impl Fn(&K, &V) -> Aged,
    ) -> bool {
        for _ in 0..budget {
            let Some(slot) = self.oldest_before(oldest) else { return false };
            let entry = self.entry(slot);
            match judge(&entry.key, &entry.value) {
                Aged::Over => drop(self.take(slot)),
                Aged::InUse => self.renew_slot(now.max(oldest), slot),
                Aged::Young => return false,
            }
        }
        self.oldest_before(oldest).is_some()
    }

    fn oldest_before(&self, oldest: Instant) -> Option<u32> {
        self.age.first().filter(|slot| self.entry(*slot).at < oldest)
    }

    /// Entries, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.by_age().map(|entry| (&entry.key, &entry.value))
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
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
}

/// The slab and its lists.
impl<K: Key, V> FairMap<K, V> {
    fn find(&self, key: &K) -> Option<u32> {
        if self.is_empty() { None } else { self.find_hashed(key.hashed(self.hash_key), key) }
    }

    fn find_hashed(&self, hash: u64, key: &K) -> Option<u32> {
        self.index.find(hash, |slot| self.entry(slot).key == *key)
    }

    /// An entry that the index or a list names: there is one.
    fn entry(&self, slot: u32) -> &Entry<K, V> {
        let Some(entry) = &self.slots[slot as usize] else { unreachable!("slot {slot} is free") };
        entry
    }

    fn entry_mut(&mut self, slot: u32) -> &mut Entry<K, V> {
        let Some(entry) = &mut self.slots[slot as usize] else { unreachable!("slot {slot} is free") };
        entry
    }

    fn put(&mut self, entry: Entry<K, V>) -> u32 {
        if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = Some(entry);
            return slot;
        }
        self.slots.push(Some(entry));
        self.age_links.push(Links::LOOSE);
        self.own_links.push(Links::LOOSE);
        // The limit is a u32, and no map holds more.
        (self.slots.len() - 1) as u32
    }

    /// Takes an entry out of everything.
    fn take(&mut self, slot: u32) -> (K, V) {
        let Some(entry) = self.slots[slot as usize].take() else { unreachable!("slot {slot} is free") };
        self.index.remove(entry.hash, slot);
        self.age.unlink(&mut self.age_links, slot);
        self.release(&entry.owner, slot);
        self.free.push(slot);
        (entry.key, entry.value)
    }

    fn renew_slot(&mut self, now: Instant, slot: u32) {
        self.entry_mut(slot).at = now;
        self.age.unlink(&mut self.age_links, slot);
        self.age.push(&mut self.age_links, slot);
    }

    /// Appends `slot` to what `owner` holds, with the next number.
    fn hold(&mut self, owner: PeerId, slot: u32) {
        let seq = self.next_seq;
        self.next_seq += 1;
        let entry = self.entry_mut(slot);
        (entry.owner, entry.seq) = (owner, seq);
        let owned = self.owners.entry(owner).or_insert(Owned { count: 0, order: List::EMPTY });
        owned.count += 1;
        owned.order.push(&mut self.own_links, slot);
    }

    fn release(&mut self, owner: &PeerId, slot: u32) {
        let Some(owned) = self.owners.get_mut(owner) else { return };
        owned.order.unlink(&mut self.own_links, slot);
        owned.count -= 1;
        if owned.count == 0 {
            self.owners.remove(owner);
        }
    }

    fn rehold(&mut self, slot: u32, owner: PeerId) {
        let former = self.entry(slot).owner;
        self.release(&former, slot);
        self.hold(owner, slot);
    }

    fn by_age(&self) -> impl Iterator<Item = &Entry<K, V>> {
        self.age.iter(&self.age_links).map(|slot| self.entry(slot))
    }
}
