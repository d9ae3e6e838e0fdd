//! The one queue of a world: what happens next, in a total order.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use bytes::Bytes;
use peerage_core::Input;
use peerage_core::conn::{AskId, CloseReason};
use peerage_core::input::Document;
use peerage_core::op::OpId;
use peerage_proto::Hash256;
use peerage_proto::peer_id::PeerId;

use super::End;

/// What happens. A `life` that is over makes an event void. Small: the queue moves them about.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// A node's deadline, unless it has another one by now.
    Wake { node: usize, generation: u64 },
    /// An input of a node.
    Input { node: usize, life: u32, input: Box<Input> },
    /// A dial reaches its target.
    Reach { dialer: End, life: u32, op: Option<OpId>, peer: Option<Box<PeerId>>, target: End },
    /// A handshake ends well.
    Shaken { link: u64 },
    /// A handshake has taken too long.
    Expire { link: u64 },
    /// An end of a link learns that it is closed.
    Closed { link: u64, end: usize, reason: CloseReason },
    /// Many bytes came in at an end of a link, and their second is over.
    Metered { link: u64, to: End },
    /// An end of a link is to be told of its streams.
    Arrive { link: u64, to: End },
    /// A node goes on that stood still.
    Resume { node: usize },
    /// A node's chain takes a block over.
    Adopt { node: usize, life: u32, hash: Hash256 },
    /// A document is on a node's disk.
    Stored { node: usize, life: u32, op: OpId, document: Document, content: Box<Bytes> },
    /// A question for addresses reaches the node that is asked.
    Ask { via: usize, asker: usize, life: u32, op: OpId, target: Box<PeerId>, ask: AskId },
}

#[derive(Debug)]
struct Item {
    at: u64,
    seq: u64,
    event: Event,
}

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Item {}
impl PartialOrd for Item {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Item {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.seq).cmp(&(self.at, self.seq))
    }
}

/// Events by time; those of one time in the order in which they were pushed.
#[derive(Debug, Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Item>,
    seq: u64,
}

impl Queue {
    pub(super) fn push(&mut self, at: u64, event: Event) {
        self.seq += 1;
        self.heap.push(Item { at, seq: self.seq, event });
    }

    /// The next event up to `until`, and when it happens.
    pub(super) fn pop(&mut self, until: u64) -> Option<(u64, Event)> {
        if self.heap.peek()?.at > until {
            return None;
        }
        self.heap.pop().map(|item| (item.at, item.event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_one_time_keep_their_order_and_none_comes_early() {
        let mut queue = Queue::default();
        for (at, generation) in [(5, 1), (3, 2), (5, 3), (9, 4)] {
            queue.push(at, Event::Wake { node: 0, generation });
        }
        let mut order = Vec::new();
        while let Some((at, Event::Wake { generation, .. })) = queue.pop(5) {
            order.push((at, generation));
        }
        assert_eq!(order, [(3, 2), (5, 1), (5, 3)]);
    }
}
