//! Doubly linked lists over a slab: the links lie beside the entries, and an entry leaves its list without a search.

/// No slot.
pub(super) const NONE: u32 = u32::MAX;

/// The neighbours of a slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Links {
    before: u32,
    after: u32,
}

impl Links {
    /// In no list.
    pub(super) const LOOSE: Self = Self { before: NONE, after: NONE };

    /// The slot after this one.
    pub(super) fn after(self) -> Option<u32> {
        (self.after != NONE).then_some(self.after)
    }
}

/// The ends of a list.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    first: u32,
    last: u32,
}

impl List {
    /// A list of nothing.
    pub(super) const EMPTY: Self = Self { first: NONE, last: NONE };

    /// The first slot.
    pub(super) fn first(self) -> Option<u32> {
        (self.first != NONE).then_some(self.first)
    }

    /// The last slot.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn last(self) -> Option<u32> {
        (self.last != NONE).then_some(self.last)
    }

    /// Appends `slot`, which is in no list of these links.
    pub(super) fn push(&mut self, links: &mut [Links], slot: u32) {
        links[slot as usize] = Links { before: self.last, after: NONE };
        match self.last {
            NONE => self.first = slot,
            last => links[last as usize].after = slot,
        }
        self.last = slot;
    }

    /// Takes `slot` out of this list, in which it is.
    pub(super) fn unlink(&mut self, links: &mut [Links], slot: u32) {
        let Links { before, after } = core::mem::replace(&mut links[slot as usize], Links::LOOSE);
        match before {
            NONE => self.first = after,
            before => links[before as usize].after = after,
        }
        match after {
            NONE => self.last = before,
            after => links[after as usize].before = before,
        }
    }

    /// The slots, first to last.
    pub(super) fn iter(self, links: &[Links]) -> impl Iterator<Item = u32> {
        core::iter::successors(self.first(), |slot| links[*slot as usize].after())
    }
}
