//! Where actions go: one ordered, bounded list.

use alloc::vec::Vec;

/// Takes the consequences of one input, in order.
pub trait Sink<A> {
    /// Appends one action.
    fn push(&mut self, action: A);
}

impl<A> Sink<A> for Vec<A> {
    fn push(&mut self, action: A) {
        Self::push(self, action);
    }
}

/// A reusable buffer of actions. `max` follows from `Limits`, so exceeding it is a bug of the core, not load.
#[derive(Debug)]
pub struct Actions<A> {
    buf: Vec<A>,
    max: usize,
}

impl<A> Actions<A> {
    /// A buffer for at most `max` actions an input.
    pub fn bounded(max: usize) -> Self {
        Self { buf: Vec::with_capacity(max.min(64)), max }
    }

    /// Hands out all actions, in order; the buffer's memory stays.
    pub fn drain(&mut self) -> impl Iterator<Item = A> + '_ {
        self.buf.drain(..)
    }

    /// Number of actions waiting.
    pub fn len(&self) -> usize {
        self.buf.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.buf.is_empty()
    }

    /// The actions, in order.
    pub fn as_slice(&self) -> &[A] {
        &self.buf
    }
}

impl<A> Sink<A> for Actions<A> {
    fn push(&mut self, action: A) {
        assert!(self.buf.len() < self.max, "more than Limits::actions_per_input_max = {} actions", self.max);
        self.buf.push(action);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_keep_their_order() {
        let mut out = Actions::bounded(3);
        for n in 1..=3 {
            out.push(n);
        }
        assert_eq!(out.drain().collect::<Vec<_>>(), [1, 2, 3]);
        assert!(out.is_empty());
    }

    #[test]
    #[should_panic(expected = "actions_per_input_max = 1")]
    fn exceeding_the_bound_is_a_bug() {
        let mut out = Actions::bounded(1);
        out.push(1);
        out.push(2);
    }
}
