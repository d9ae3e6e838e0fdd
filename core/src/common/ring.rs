//! The last few of something.

use alloc::collections::VecDeque;

use crate::state::state;

state! {
    /// Keeps the newest `max` items and counts the rest.
    #[derive(Clone, Debug)]
    pub struct Ring<T: Clone> {
        max: u32,
        items: VecDeque<T>,
        forgotten: u64,
    }
}

impl<T: Clone> Ring<T> {
    /// An empty ring of at most `max` items.
    pub fn new(max: u32) -> Self {
        Self { max, items: VecDeque::new(), forgotten: 0 }
    }

    /// Appends an item; the oldest goes when there is no room.
    pub fn push(&mut self, item: T) {
        if self.items.len() >= self.max as usize {
            self.items.pop_front();
            self.forgotten = self.forgotten.saturating_add(1);
        }
        if self.max > 0 {
            self.items.push_back(item);
        }
    }

    /// The items, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.items.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn the_oldest_goes() {
        let mut ring = Ring::new(2);
        (1..=3u32).for_each(|n| ring.push(n));
        assert_eq!(ring.iter().copied().collect::<Vec<_>>(), [2, 3]);
        assert_eq!(ring.forgotten, 1);
    }
}
