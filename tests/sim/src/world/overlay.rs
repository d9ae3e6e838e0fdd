//! A plain model of the gossip overlay: flooding over the links, with latency, duplicates suppressed by a seen-cache,
//! and a verdict before anything is forwarded.

use std::rc::Rc;

use bytes::Bytes;
use peerage_core::Input;
use peerage_core::gossipsub::{self, Acceptance, MessageId, PublishError, Topic};
use peerage_core::input::OpResult;
use peerage_core::op::OpId;
use peerage_proto::peer_id::PeerId;

use super::queue::Event;
use super::{End, World};
use crate::oracles::Transmit;

/// How long an id counts as seen.
const SEEN_US: u64 = 120_000_000;
/// Links outside the mesh learn of a message with the next heartbeat.
const LAZY_US: u64 = 1_000_000;

/// A message on its way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Its signed author.
    pub author: PeerId,
    /// Its author's number for it; no two messages of a world have the same.
    pub seq: u64,
    /// Its topic.
    pub topic: Topic,
    /// Its payload.
    pub data: Bytes,
}

impl Message {
    /// Author and sequence number as gossipsub writes them.
    pub fn id(&self) -> Bytes {
        [self.author.as_bytes(), &self.seq.to_be_bytes()].concat().into()
    }
}

impl World {
    pub(super) fn publish(&mut self, node: usize, op: OpId, topic: Topic, data: Bytes) {
        self.next_id += 1;
        let message = Message { author: self.nodes[node].peer, seq: self.next_id, topic, data };
        self.saw(node, &message);
        let sent = self.flood(node, &Rc::new(message), None);
        let result = if sent > 0 { Ok(()) } else { Err(PublishError::NoPeers) };
        self.complete(node, 1000, op, OpResult::Published(result));
    }

    /// Remembers a message at `node`. False if it was seen before.
    fn saw(&mut self, node: usize, message: &Message) -> bool {
        let (now, state) = (self.now, &mut self.nodes[node]);
        while state.seen_order.front().is_some_and(|(at, _)| at + SEEN_US <= now) {
            if let Some((_, seq)) = state.seen_order.pop_front() {
                state.seen.remove(&seq);
            }
        }
        let is_new = state.seen.insert(message.seq);
        if is_new {
            state.seen_order.push_back((now, message.seq));
        }
        is_new
    }

    /// Sends `message` to all neighbours but the one that it came from. Returns how many.
    fn flood(&mut self, node: usize, message: &Rc<Message>, came_from: Option<End>) -> usize {
        let mut done: Vec<End> = Vec::new();
        for id in self.nodes[node].links.clone() {
            let Some(link) = self.links.get(&id) else { continue };
            let other = link.other(node);
            let is_author = self.peer(other) == message.author;
            if Some(other) == came_from || is_author || done.contains(&other) || !self.listens(other, message)
            {
                continue;
            }
            done.push(other);
            let lazy = if self.links.get(&id).is_some_and(|link| link.mesh) { 0 } else { LAZY_US };
            self.send(id, node, other, Rc::clone(message), came_from, lazy);
        }
        done.len()
    }

    fn listens(&self, end: End, message: &Message) -> bool {
        self.nodes.get(end).is_none_or(|node| node.topics.contains(&message.topic))
    }

    pub(super) fn send(
        &mut self,
        link: u64,
        from: End,
        to: End,
        message: Rc<Message>,
        came_from: Option<End>,
        delay: u64,
    ) {
        let transmit = Transmit {
            from,
            to: self.peer(to),
            came_from: came_from.map(|end| self.peer(end)),
            author: message.author,
        };
        self.oracles_transmitted(&transmit);
        let at = self.now + delay + self.latency(link);
        self.queue.push(at, Event::Message { link, to, message });
    }

    pub(super) fn on_message(&mut self, link: u64, to: End, message: Rc<Message>) {
        let Some(state) = self.links.get(&link) else { return };
        let from = state.other(to);
        // Puppets listen to nobody; a node that died or closed the link hears nothing.
        let hears = self.nodes.get(to).is_some_and(|node| node.links.contains(&link));
        if state.cut || !hears {
            return;
        }
        if self.postpone(to, Event::Message { link, to, message: Rc::clone(&message) }) {
            return;
        }
        self.meter(link, to, message.data.len() as u64);
        let is_heard = self.links.get_mut(&link).is_some_and(|link| !link.meter_mut(to).choked);
        if !is_heard || !self.nodes[to].topics.contains(&message.topic) {
            return;
        }
        let takes_more = self.nodes[to].pump.as_ref().is_some_and(|pump| pump.demand().gossip);
        if !self.saw(to, &message) || message.author == self.nodes[to].peer || !takes_more {
            return;
        }
        let id = message.id();
        let delivered = gossipsub::Event::Delivered {
            id: MessageId(id.clone()),
            topic: message.topic.clone(),
            propagation_source: self.peer(from),
            source: message.author,
            data: message.data.clone(),
        };
        self.nodes[to].pending.insert(id, (message, from));
        self.feed(to, Input::Gossipsub(delivered));
    }

    pub(super) fn on_report(&mut self, node: usize, id: &MessageId, acceptance: Acceptance) {
        let Some((message, from)) = self.nodes[node].pending.remove(&id.0) else { return };
        if acceptance == Acceptance::Accept {
            self.flood(node, &message, Some(from));
        }
    }
}
