//! An index over a slab: from a key's hash to the slot that holds it. Open addressing, linear probing, no tombstones.
//! Nobody walks it, so its layout shows nowhere.

use alloc::vec::Vec;

/// Cells of the smallest table.
const CELLS_MIN: usize = 16;

/// From hashes to slots.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    /// Zero: empty; else the hash's upper half and the slot's number plus one. The length is none or a power of two, of
    /// which at least half is empty.
    cells: Vec<u64>,
    len: usize,
}

fn cell(hash: u64, slot: u32) -> u64 {
    (hash & !u64::from(u32::MAX)) | (u64::from(slot) + 1)
}

fn slot_of(cell: u64) -> u32 {
    (cell as u32).wrapping_sub(1)
}

impl Index {
    /// The cell at which a search for `hash` begins.
    fn home(&self, hash: u64) -> usize {
        (hash >> 32) as usize & (self.cells.len() - 1)
    }

    /// The slot under `hash` for which `is_it` holds.
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        self.position(hash, is_it).map(|at| slot_of(self.cells[at]))
    }

    fn position(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<usize> {
        if self.cells.is_empty() {
            return None;
        }
        let mut at = self.home(hash);
        loop {
            let found = self.cells[at];
            if found == 0 {
                return None;
            }
            if found >> 32 == hash >> 32 && is_it(slot_of(found)) {
                return Some(at);
            }
            at = (at + 1) & (self.cells.len() - 1);
        }
    }

    /// Enters `slot` under `hash`. It must not be there.
    pub(super) fn insert(&mut self, hash: u64, slot: u32) {
        if (self.len + 1) * 2 > self.cells.len() {
            let grown = (self.cells.len() * 2).max(CELLS_MIN);
            let cells = core::mem::replace(&mut self.cells, alloc::vec![0; grown]);
            cells.into_iter().filter(|cell| *cell != 0).for_each(|cell| self.place(cell));
        }
        self.place(cell(hash, slot));
        self.len += 1;
    }

    fn place(&mut self, cell: u64) {
        let mut at = self.home(cell);
        while self.cells[at] != 0 {
            at = (at + 1) & (self.cells.len() - 1);
        }
        self.cells[at] = cell;
    }

    /// Takes `slot` out, which lies under `hash`.
    pub(super) fn remove(&mut self, hash: u64, slot: u32) {
        let Some(mut hole) = self.position(hash, |other| other == slot) else { return };
        let mask = self.cells.len() - 1;
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let next = self.cells[at];
            if next == 0 {
                break;
            }
            // It may lie in the hole if that is no nearer to its home than it lies now.
            if at.wrapping_sub(self.home(next)) & mask >= at.wrapping_sub(hole) & mask {
                self.cells[hole] = next;
                hole = at;
            }
        }
        self.cells[hole] = 0;
        self.len -= 1;
    }

    /// Number of slots.
    pub(super) fn len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_history_leaves_what_a_map_would_hold(
            steps in proptest::collection::vec((any::<bool>(), 0..64u32), 0..400),
            spread in prop_oneof![Just(0u64), Just(3), Just(u64::MAX)],
        ) {
            // A small spread makes homes collide, as a bad key or bad luck would.
            let hash = |slot: u32| u64::from(slot).wrapping_mul(0x9e37_79b9_7f4a_7c15) & (spread << 32 | spread);
            let (mut index, mut model) = (Index::default(), BTreeMap::new());
            for (insert, slot) in steps {
                match (insert, model.contains_key(&slot)) {
                    (true, false) => {
                        index.insert(hash(slot), slot);
                        model.insert(slot, ());
                    }
                    (false, _) => {
                        index.remove(hash(slot), slot);
                        model.remove(&slot);
                    }
                    (true, true) => {}
                }
                prop_assert_eq!(index.len(), model.len());
                for slot in 0..64 {
                    let found = index.find(hash(slot), |other| other == slot);
                    prop_assert_eq!(found.is_some(), model.contains_key(&slot), "slot {}", slot);
                }
            }
        }
    }
}
