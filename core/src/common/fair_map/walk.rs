//! The canonical walk of a map, for the state's hash, and its check. Both go by age and by owner, never by the layout.

use alloc::collections::BTreeMap;

use peerage_proto::peer_id::PeerId;

use super::{FairMap, Key};
use crate::codec::{Encode, Output};

impl<K: Key + Encode, V: Encode> Encode for FairMap<K, V> {
    /// The entries by age, each with its owner and its number: what the owners hold, and in which order, follows.
    fn encode(&self, out: &mut impl Output) {
        self.max.encode(out);
        u32::try_from(self.len()).unwrap_or(u32::MAX).encode(out);
        for entry in self.by_age() {
            entry.key.encode(out);
            entry.owner.encode(out);
            entry.seq.encode(out);
            entry.at.encode(out);
            entry.value.encode(out);
        }
        self.turn.encode(out);
        self.next_seq.encode(out);
        self.evicted.encode(out);
        self.refused.encode(out);
    }
}

impl<K: Key, V> FairMap<K, V> {
    /// Full structural check: entries, owners, index and lists agree.
    ///
    /// # Errors
    /// What does not.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.len() > self.max as usize {
            return Err("more entries than the limit");
        }
        let slots = self.slots.iter().flatten().count();
        if slots != self.len() || slots + self.free.len() != self.slots.len() {
            return Err("entries and the index disagree");
        }
        let mut counts: BTreeMap<PeerId, u32> = BTreeMap::new();
        let mut by_age = 0;
        for slot in self.age.iter(&self.age_links) {
            let entry = self.entry(slot);
            if self.find(&entry.key) != Some(slot) {
                return Err("an entry is not found under its key");
            }
            *counts.entry(entry.owner).or_default() += 1;
            by_age += 1;
        }
        if by_age != slots {
            return Err("entries and their ages disagree");
        }
        let held = self.owners.iter().map(|(owner, owned)| (*owner, owned.count));
        if !held.eq(counts) {
            return Err("an owner does not hold what it counts");
        }
        for (owner, owned) in &self.owners {
            let mut order = owned.order.iter(&self.own_links).map(|slot| self.entry(slot));
            let mut last = None;
            let ordered = order.by_ref().take(owned.count as usize).filter(|entry| {
                let is_next = entry.owner == *owner && last.is_none_or(|last| last < entry.seq);
                last = Some(entry.seq);
                is_next
            });
            if ordered.count() != owned.count as usize || order.next().is_some() {
                return Err("owners and entries disagree");
            }
        }
        Ok(())
    }
}

#[cfg(any(test, feature = "sim"))]
mod alter {
    use alloc::format;
    use alloc::string::String;
    use alloc::vec::Vec;

    use super::super::{FairMap, Key};
    use crate::state::Alter;

    impl<K: Key, V: Alter> Alter for FairMap<K, V> {
        fn leaves(&self, path: &str, out: &mut Vec<String>) {
            self.max.leaves(&format!("{path}.max"), out);
            match self.by_age().next() {
                Some(first) => {
                    out.push(format!("{path}.entries"));
                    let path = format!("{path}.entries[first]");
                    first.owner.leaves(&format!("{path}.owner"), out);
                    first.seq.leaves(&format!("{path}.seq"), out);
                    first.at.leaves(&format!("{path}.at"), out);
                    first.value.leaves(&format!("{path}.value"), out);
                }
                None => out.push(format!("{path}.entries?")),
            }
            self.turn.leaves(&format!("{path}.turn"), out);
            self.next_seq.leaves(&format!("{path}.next_seq"), out);
            self.evicted.leaves(&format!("{path}.evicted"), out);
            self.refused.leaves(&format!("{path}.refused"), out);
        }

        fn alter(&mut self, nth: &mut usize) -> bool {
            self.max.alter(nth)
                || self.alter_entries(nth)
                || self.turn.alter(nth)
                || self.next_seq.alter(nth)
                || self.evicted.alter(nth)
                || self.refused.alter(nth)
        }
    }

    impl<K: Key, V: Alter> FairMap<K, V> {
        fn alter_entries(&mut self, nth: &mut usize) -> bool {
            let Some(first) = self.age.first() else { return crate::state::leaf(nth, || {}) };
            if *nth == 0 {
                if let Some(newest) = self.age.last() {
                    self.take(newest);
                }
                return true;
            }
            *nth -= 1;
            let entry = self.entry_mut(first);
            entry.owner.alter(nth) || entry.seq.alter(nth) || entry.at.alter(nth) || entry.value.alter(nth)
        }
    }
}
