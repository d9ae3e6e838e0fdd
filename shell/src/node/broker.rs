//! The broker: what the loop needs of it, and the embedded one that serves when there is no other.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use bytes::Bytes;
use peerage_core::input::{Input, OpResult};
use peerage_core::op::OpId;
use peerage_core::teranode::ProduceTopic;

/// The broker as the event loop sees it.
pub trait Broker: Send {
    /// Produces a record. Answered by [`Broker::poll_next`].
    fn start(&mut self, op: OpId, topic: ProduceTopic, key: Bytes, value: Bytes);
    /// The next acknowledgement.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Input>;
}

/// Acknowledges every record at once and keeps none.
#[derive(Debug, Default)]
pub struct EmbeddedBroker {
    done: VecDeque<OpId>,
}

impl Broker for EmbeddedBroker {
    fn start(&mut self, op: OpId, _topic: ProduceTopic, _key: Bytes, _value: Bytes) {
        self.done.push_back(op);
    }

    /// Records are begun by the loop itself, which asks again after that: there is nobody to wake it.
    fn poll_next(&mut self, _cx: &mut Context<'_>) -> Poll<Input> {
        match self.done.pop_front() {
            Some(op) => Poll::Ready(Input::Op(op, OpResult::Produced(Ok(())))),
            None => Poll::Pending,
        }
    }
}
