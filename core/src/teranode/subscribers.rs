//! Clients of the feed, and the rule of the first frame: whoever joins sees our own status before anything else.

use alloc::collections::BTreeMap;

use bytes::Bytes;

use super::feed::{Action, Event, SubscriberId};
use crate::input;
use crate::node::ctx::Ctx;
use crate::sink::Sink;
use crate::state::{alter_leaf, state};

/// WebSocket close code: the client broke a rule (it did not read).
const CLOSE_POLICY: u16 = 1008;
/// WebSocket close code: no room now.
const CLOSE_TRY_AGAIN: u16 = 1013;
/// WebSocket close code: the server goes away.
const CLOSE_GOING_AWAY: u16 = 1001;

/// Longest frame shown, in bytes. No mended node makes one half as long; without a bound, what the strict mode shows would
/// fill the memory of every client's queue.
const FRAME_BYTES_MAX: usize = 64 << 10;

state! {
    /// Whether a client had its first frame.
    #[derive(Clone, Debug)]
    struct Subscriber {
        is_greeted: bool,
    }
}

state! {
    /// Clients of the feed.
    #[derive(Clone, Debug, Default)]
    pub struct Subscribers {
        clients: BTreeMap<SubscriberId, Subscriber>,
    }
}

impl Subscribers {
    /// A client did something. `status`: our own status as a frame, once it is known.
    pub fn on_event<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        event: &Event,
        status: impl FnOnce() -> Option<Bytes>,
    ) {
        match *event {
            Event::Joined { id } => {
                if self.clients.len() >= cx.limits.subscribers_max as usize {
                    cx.counters.feed_refused = cx.counters.feed_refused.saturating_add(1);
                    close(cx, id, CLOSE_TRY_AGAIN);
                    return;
                }
                let frame = status();
                self.clients.insert(id, Subscriber { is_greeted: frame.is_some() });
                if let Some(frame) = frame {
                    send(cx, Some(id), frame);
                }
            }
            Event::Left { id } => drop(self.clients.remove(&id)),
            Event::Lagged { id } => {
                if self.clients.remove(&id).is_some() {
                    cx.counters.feed_evicted = cx.counters.feed_evicted.saturating_add(1);
                    close(cx, id, CLOSE_POLICY);
                }
            }
        }
    }

    /// Our own status: the first frame for those who wait for one, and a frame for all others.
    pub fn show_status<S: Sink<input::Action>>(&mut self, cx: &mut Ctx<'_, S>, frame: &Bytes) {
        self.show(cx, || frame.clone());
        for (id, client) in self.clients.iter_mut().filter(|(_, client)| !client.is_greeted) {
            client.is_greeted = true;
            send(cx, Some(*id), frame.clone());
        }
    }

    /// A frame for all that had their first one; it is made only if there is any.
    pub fn show<S: Sink<input::Action>>(&self, cx: &mut Ctx<'_, S>, frame: impl FnOnce() -> Bytes) {
        if !self.has_greeted() {
            return;
        }
        let frame = frame();
        if frame.len() <= FRAME_BYTES_MAX {
            send(cx, None, frame);
        } else {
            cx.counters.feed_oversized = cx.counters.feed_oversized.saturating_add(1);
        }
    }

    /// Whether a frame for all would reach anybody.
    pub fn has_greeted(&self) -> bool {
        self.clients.values().any(|client| client.is_greeted)
    }

    /// Closes every client: the node stops.
    pub fn close_all<S: Sink<input::Action>>(&mut self, cx: &mut Ctx<'_, S>) {
        for id in core::mem::take(&mut self.clients).into_keys() {
            close(cx, id, CLOSE_GOING_AWAY);
        }
    }

    /// Number of clients.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }
}

fn send<S: Sink<input::Action>>(cx: &mut Ctx<'_, S>, to: Option<SubscriberId>, frame: Bytes) {
    cx.counters.feed_frames = cx.counters.feed_frames.saturating_add(1);
    cx.push(super::Action::Feed(Action::Send { to, frame }));
}

fn close<S: Sink<input::Action>>(cx: &mut Ctx<'_, S>, id: SubscriberId, code: u16) {
    cx.push(super::Action::Feed(Action::Close { id, code }));
}

alter_leaf!(SubscriberId => |id| id.0 ^= 1);
