//! Ids of which a copy passed: when, and who brought it, in at most 64 bytes an id.
//!
//! There are millions of them, and every copy of a message asks for one. Entries lie in pieces of a slab, so that growing
//! moves none of them; a keyed index of 32-bit cells finds them, a list through them holds them by age, and an owner is a
//! number. No order that can be seen follows from the index or from the slab.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use peerage_proto::peer_id::PeerId;

use super::IdDigest;
use crate::codec::{Encode, Output};
use crate::common::sip::{HashKey, Hashed as _};
use crate::time::Instant;

/// Entries of one piece, as a power of two.
const PIECE_BITS: u32 = 10;
/// Cells of the smallest index.
const CELLS_MIN: usize = 16;
/// No slot.
const NONE: u32 = u32::MAX;

/// An id, in 52 bytes. Its time is cut in two, which leaves no gap.
#[derive(Clone, Debug)]
struct Entry {
    id: IdDigest,
    at: [u32; 2],
    owner: u32,
    before: u32,
    /// The next by age; of a free slot: the next that is free.
    after: u32,
}

impl Entry {
    fn at(&self) -> Instant {
        Instant::from_micros(u64::from(self.at[0]) << 32 | u64::from(self.at[1]))
    }
}

fn halves(at: Instant) -> [u32; 2] {
    [(at.as_micros() >> 32) as u32, at.as_micros() as u32]
}

#[derive(Clone, Copy, Debug)]
struct Owner {
    peer: PeerId,
    /// Its entries; with none, the number is free.
    count: u32,
}

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(super) struct Passed {
    max: u32,
    hash_key: HashKey,
    pieces: Vec<Vec<Entry>>,
    /// The first free slot.
    free: u32,
    oldest: u32,
    newest: u32,
    len: u32,
    /// Zero: empty; else the slot's number plus one in the low bits, as many as the limit takes, and above them as much of
    /// the hash as there is room for. The length is none or a power of two, of which at least a quarter is empty.
    cells: Vec<u32>,
    slot_mask: u32,
    owners: Vec<Owner>,
    owners_free: Vec<u32>,
    owner_of: BTreeMap<PeerId, u32>,
}

impl Passed {
    /// No ids; there is room for `max`.
    pub(super) fn new(max: u32, hash_key: HashKey) -> Self {
        Self {
            max,
            hash_key,
            pieces: Vec::new(),
            free: NONE,
            oldest: NONE,
            newest: NONE,
            len: 0,
            cells: Vec::new(),
            slot_mask: max.saturating_add(1).checked_next_power_of_two().map_or(u32::MAX, |power| power - 1),
            owners: Vec::new(),
            owners_free: Vec::new(),
            owner_of: BTreeMap::new(),
        }
    }

    /// Number of ids.
    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    /// When a copy of `id` passed.
    pub(super) fn at(&self, id: &IdDigest) -> Option<Instant> {
        let cell = self.position(self.hash(id), |slot| self.entry(slot).id == *id)?;
        Some(self.entry(self.slot_of(self.cells[cell])).at())
    }

    /// The id that passed first of all that are here, and when.
    pub(super) fn oldest(&self) -> Option<(IdDigest, Instant)> {
        let entry = (self.oldest != NONE).then(|| self.entry(self.oldest))?;
        Some((entry.id, entry.at()))
    }

    /// A copy of `id` passed, which `owner` brought. `false` if there is no room, or it is here.
    #[must_use]
    pub(super) fn insert(&mut self, now: Instant, id: IdDigest, owner: PeerId) -> bool {
        if self.len >= self.max || self.at(&id).is_some() {
            return false;
        }
        let owner = self.hold(owner);
        let entry = Entry { id, at: halves(now), owner, before: self.newest, after: NONE };
        let slot = self.put(entry);
        match self.newest {
            NONE => self.oldest = slot,
            newest => self.entry_mut(newest).after = slot,
        }
        self.newest = slot;
        self.len += 1;
        // A quarter stays empty.
        if self.len as usize * 4 > self.cells.len() * 3 {
            self.grow();
        } else {
            self.place(slot);
        }
        true
    }

    /// Takes `id` out. Who brought it.
    pub(super) fn remove(&mut self, id: &IdDigest) -> Option<PeerId> {
        let cell = self.position(self.hash(id), |slot| self.entry(slot).id == *id)?;
        let slot = self.slot_of(self.cells[cell]);
        self.empty(cell);
        let Entry { owner, before, after, .. } = *self.entry(slot);
        match before {
            NONE => self.oldest = after,
            before => self.entry_mut(before).after = after,
        }
        match after {
            NONE => self.newest = before,
            after => self.entry_mut(after).before = before,
        }
        self.entry_mut(slot).after = self.free;
        self.free = slot;
        self.len -= 1;
        Some(self.release(owner))
    }

    /// Ids, when they passed and who brought them, the oldest first.
    fn iter(&self) -> impl Iterator<Item = (&IdDigest, Instant, PeerId)> {
        let slot = |slot: u32| (slot != NONE).then_some(slot);
        let slots = core::iter::successors(slot(self.oldest), move |this| slot(self.entry(*this).after));
        slots.map(|slot| {
            let entry = self.entry(slot);
            (&entry.id, entry.at(), self.owners[entry.owner as usize].peer)
        })
    }

    /// Full structural check: list, index and owners agree.
    ///
    /// # Errors
    /// What does not.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        if self.len > self.max || self.iter().take(self.len() + 1).count() != self.len() {
            return Err("ids that passed, and their number, disagree");
        }
        if self.cells.iter().filter(|cell| **cell != 0).count() != self.len() {
            return Err("ids that passed, and their index, disagree");
        }
        if self.iter().any(|(id, at, _)| self.at(id) != Some(at)) {
            return Err("an id that passed is not found");
        }
        let mut counts: BTreeMap<PeerId, u32> = BTreeMap::new();
        self.iter().for_each(|(_, _, owner)| *counts.entry(owner).or_default() += 1);
        let held = |(peer, number): (&PeerId, &u32)| (*peer, self.owners[*number as usize].count);
        if !self.owner_of.iter().map(held).eq(counts) {
            return Err("ids that passed, and who brought them, disagree");
        }
        Ok(())
    }
}

/// The slab.
impl Passed {
    fn entry(&self, slot: u32) -> &Entry {
        &self.pieces[(slot >> PIECE_BITS) as usize][(slot & ((1 << PIECE_BITS) - 1)) as usize]
    }

    fn entry_mut(&mut self, slot: u32) -> &mut Entry {
        &mut self.pieces[(slot >> PIECE_BITS) as usize][(slot & ((1 << PIECE_BITS) - 1)) as usize]
    }

    fn put(&mut self, entry: Entry) -> u32 {
        if self.free != NONE {
            let slot = self.free;
            self.free = self.entry(slot).after;
            *self.entry_mut(slot) = entry;
            return slot;
        }
        if self.pieces.last().is_none_or(|piece| piece.len() == 1 << PIECE_BITS) {
            // Only the first grows by and by: most tables are small.
            let room = if self.pieces.is_empty() { 0 } else { 1 << PIECE_BITS };
            self.pieces.push(Vec::with_capacity(room));
        }
        let piece = self.pieces.len() - 1;
        let place = self.pieces[piece].len();
        self.pieces[piece].push(entry);
        // The limit is a u32, and no table holds more.
        (piece << PIECE_BITS | place) as u32
    }

    fn hold(&mut self, peer: PeerId) -> u32 {
        if let Some(number) = self.owner_of.get(&peer) {
            self.owners[*number as usize].count += 1;
            return *number;
        }
        let owner = Owner { peer, count: 1 };
        let number = if let Some(number) = self.owners_free.pop() {
            self.owners[number as usize] = owner;
            number
        } else {
            self.owners.push(owner);
            (self.owners.len() - 1) as u32
        };
        self.owner_of.insert(peer, number);
        number
    }

    fn release(&mut self, number: u32) -> PeerId {
        let owner = &mut self.owners[number as usize];
        owner.count -= 1;
        let Owner { peer, count } = *owner;
        if count == 0 {
            self.owner_of.remove(&peer);
            self.owners_free.push(number);
        }
        peer
    }
}

/// The index.
impl Passed {
    fn hash(&self, id: &IdDigest) -> u64 {
        id.hashed(self.hash_key)
    }

    fn slot_of(&self, cell: u32) -> u32 {
        (cell & self.slot_mask).wrapping_sub(1)
    }

    /// The cell at which a search for `hash` begins.
    fn home(&self, hash: u64) -> usize {
        hash as usize & (self.cells.len() - 1)
    }

    /// Where the slot under `hash` is named for which `is_it` holds.
    fn position(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<usize> {
        if self.cells.is_empty() {
            return None;
        }
        let tag = (hash >> 32) as u32 & !self.slot_mask;
        let mut at = self.home(hash);
        loop {
            let cell = self.cells[at];
            if cell == 0 {
                return None;
            }
            if cell & !self.slot_mask == tag && is_it(self.slot_of(cell)) {
                return Some(at);
            }
            at = (at + 1) & (self.cells.len() - 1);
        }
    }

    fn place(&mut self, slot: u32) {
        let hash = self.hash(&self.entry(slot).id);
        let mut at = self.home(hash);
        while self.cells[at] != 0 {
            at = (at + 1) & (self.cells.len() - 1);
        }
        self.cells[at] = ((hash >> 32) as u32 & !self.slot_mask) | (slot + 1);
    }

    /// Twice as many cells, in which everything has a place.
    fn grow(&mut self) {
        self.cells = alloc::vec![0; (self.cells.len() * 2).max(CELLS_MIN)];
        let mut slot = self.oldest;
        while slot != NONE {
            self.place(slot);
            slot = self.entry(slot).after;
        }
    }

    /// Empties a cell; those behind it that were kept from their home by it move up.
    fn empty(&mut self, mut hole: usize) {
        let mask = self.cells.len() - 1;
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let next = self.cells[at];
            if next == 0 {
                break;
            }
            let home = self.home(self.hash(&self.entry(self.slot_of(next)).id));
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(hole) & mask {
                self.cells[hole] = next;
                hole = at;
            }
        }
        self.cells[hole] = 0;
    }
}

impl Encode for Passed {
    /// The ids by age, each with who brought it.
    fn encode(&self, out: &mut impl Output) {
        self.max.encode(out);
        self.len.encode(out);
        for (id, at, owner) in self.iter() {
            id.encode(out);
            owner.encode(out);
            at.encode(out);
        }
    }
}

#[cfg(any(test, feature = "sim"))]
mod alter {
    use alloc::format;
    use alloc::string::String;
    use alloc::vec::Vec;

    use super::{NONE, Passed, halves};
    use crate::state::{Alter, leaf};

    impl Alter for Passed {
        fn leaves(&self, path: &str, out: &mut Vec<String>) {
            self.max.leaves(&format!("{path}.max"), out);
            if self.oldest == NONE {
                return out.push(format!("{path}.entries?"));
            }
            out.extend(
                ["entries", "entries[first].owner", "entries[first].at"].map(|leaf| format!("{path}.{leaf}")),
            );
        }

        fn alter(&mut self, nth: &mut usize) -> bool {
            if self.max.alter(nth) {
                return true;
            }
            let (oldest, newest) = (self.oldest, self.newest);
            if oldest == NONE {
                return leaf(nth, || {});
            }
            leaf(nth, || {
                let id = self.entry(newest).id;
                self.remove(&id);
            }) || leaf(nth, || {
                let number = self.entry(oldest).owner as usize;
                let _ = self.owners[number].peer.alter(&mut 0);
            }) || leaf(nth, || {
                let mut at = self.entry(oldest).at();
                let _ = at.alter(&mut 0);
                self.entry_mut(oldest).at = halves(at);
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn id(n: u32) -> IdDigest {
        IdDigest::of(&n.to_le_bytes())
    }

    fn peer(n: u8) -> PeerId {
        PeerId::from_ed25519(&[n; 32])
    }

    fn at(n: u64) -> Instant {
        Instant::from_micros(n << 20)
    }

    #[test]
    fn an_id_takes_at_most_sixty_four_bytes() {
        let mut passed = Passed::new(1 << 22, HashKey::known());
        // The index is at its largest for its content just after it grew.
        let mut most = 0f64;
        for n in 0..200_000u32 {
            assert!(passed.insert(at(n.into()), id(n), peer(1)));
            let entries: usize =
                passed.pieces.iter().map(|piece| piece.capacity() * size_of::<Entry>()).sum();
            let bytes = entries + passed.cells.capacity() * 4;
            if n >= 10 << PIECE_BITS && n % 1024 == 1023 {
                most = most.max(bytes as f64 / f64::from(n + 1));
            }
        }
        assert!(most <= 64.0, "{most} bytes");
    }

    #[test]
    fn a_full_table_and_an_id_that_is_there_take_nothing_in() {
        let mut passed = Passed::new(2, HashKey::known());
        assert!(passed.insert(at(1), id(1), peer(1)) && !passed.insert(at(2), id(1), peer(2)));
        assert!(passed.insert(at(2), id(2), peer(2)) && !passed.insert(at(3), id(3), peer(3)));
        assert_eq!((passed.oldest(), passed.remove(&id(1))), (Some((id(1), at(1))), Some(peer(1))));
        assert!(passed.insert(at(3), id(3), peer(3)));
        assert_eq!((passed.oldest(), passed.check()), (Some((id(2), at(2))), Ok(())));
    }

    proptest! {
        #[test]
        fn any_history_leaves_what_a_list_by_age_would_hold(
            steps in proptest::collection::vec((any::<bool>(), 0u32..96, 1u8..5), 0..400),
            max in prop_oneof![Just(1u32), Just(20), Just(70), Just(u32::MAX)],
        ) {
            let mut passed = Passed::new(max, HashKey::known());
            let mut model: Vec<(u32, Instant, PeerId)> = vec![];
            for (now, (inserts, n, owner)) in (0u64..).zip(steps) {
                let place = model.iter().position(|(other, ..)| *other == n);
                if inserts {
                    let is_new = place.is_none() && model.len() < max as usize;
                    prop_assert_eq!(passed.insert(at(now), id(n), peer(owner)), is_new);
                    if is_new {
                        model.push((n, at(now), peer(owner)));
                    }
                } else {
                    let removed = place.map(|place| model.remove(place).2);
                    prop_assert_eq!(passed.remove(&id(n)), removed);
                }
                prop_assert_eq!(passed.check(), Ok(()));
            }
            let held: Vec<_> = passed.iter().map(|(id, at, owner)| (*id, at, owner)).collect();
            let wanted: Vec<_> = model.iter().map(|(n, at, owner)| (id(*n), *at, *owner)).collect();
            prop_assert_eq!(held, wanted);
            for n in 0..96 {
                let wanted = model.iter().find(|(other, ..)| *other == n).map(|(_, at, _)| *at);
                prop_assert_eq!(passed.at(&id(n)), wanted);
            }
        }
    }
}
