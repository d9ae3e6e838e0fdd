//! The feed's clients and their queues. Broadcasting never waits: a full queue is reported, and the core closes its
//! client.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use async_tungstenite::tungstenite::Utf8Bytes;
use bytes::Bytes;
use peerage_core::teranode::feed::{Action, Event, SubscriberId};

use super::feed::FeedLimits;
use super::source::Sources;

/// The feed's clients, shared by the event loop and the clients' tasks.
#[derive(Clone, Debug)]
pub struct Hub {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    limits: FeedLimits,
    clients: BTreeMap<SubscriberId, Client>,
    sources: Sources,
    next: u64,
    accepting: bool,
    events: VecDeque<Event>,
    listening: Option<Waker>,
    refused: u64,
    /// Frames not queued because a queue was full, by kind of frame.
    dropped: [u64; KINDS.len()],
}

/// Kinds of frames, as their member `type` says; the last stands for any other.
pub const KINDS: [&str; 6] = ["node_status", "block", "subtree", "mining_on", "PING", "other"];

fn kind(frame: &str) -> usize {
    let named = |name: &&str| frame.contains(&format!("\"type\":\"{name}\""));
    KINDS.iter().position(named).unwrap_or(KINDS.len() - 1)
}

#[derive(Debug)]
struct Client {
    source: IpAddr,
    queue: VecDeque<Utf8Bytes>,
    /// Whether the first frame has come: only then does it get the frames for all.
    receiving: bool,
    lagged: bool,
    close: Option<u16>,
    waker: Option<Waker>,
}

/// What a client's task is to do next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Next {
    /// Send a frame.
    Frame(Utf8Bytes),
    /// Close the connection.
    Close(u16),
}

impl Hub {
    /// No clients yet.
    pub fn new(limits: FeedLimits) -> Self {
        let state = State {
            limits,
            clients: BTreeMap::new(),
            sources: Sources::default(),
            next: 0,
            accepting: true,
            events: VecDeque::new(),
            listening: None,
            refused: 0,
            dropped: [0; KINDS.len()],
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the core takes new clients.
    pub fn set_accepting(&self, accepting: bool) {
        self.lock().accepting = accepting;
    }

    /// Takes a client in, if there is room. The membership ends with its value.
    pub fn join(&self, source: IpAddr) -> Option<Membership> {
        let mut state = self.lock();
        let State { limits, clients, sources, accepting, events, .. } = &mut *state;
        let max = usize::try_from(limits.clients_max).unwrap_or(usize::MAX);
        // An event that the core has not taken keeps its client's place.
        let room = clients.len() + events.len() < max.saturating_mul(2) && clients.len() < max;
        if !*accepting || !room || !sources.enter(source, limits.per_source_max, &limits.trusted) {
            state.refused += 1;
            return None;
        }
        state.next += 1;
        let id = SubscriberId(state.next);
        let client = Client {
            source,
            queue: VecDeque::new(),
            receiving: false,
            lagged: false,
            close: None,
            waker: None,
        };
        state.clients.insert(id, client);
        Some(Membership { hub: self.clone(), id, joined: false })
    }

    /// Number of clients.
    pub fn len(&self) -> usize {
        self.lock().clients.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Clients refused for lack of room.
    pub fn refused(&self) -> u64 {
        self.lock().refused
    }

    /// Frames not queued because a client's queue was full, in the order of [`KINDS`].
    pub fn dropped(&self) -> [u64; KINDS.len()] {
        self.lock().dropped
    }

    /// Does what the core asks for.
    pub fn start(&self, action: Action) {
        let mut state = self.lock();
        match action {
            Action::Send { to, frame } => {
                // A frame that is no text would break the protocol; the core writes JSON only.
                let Ok(frame) = Utf8Bytes::try_from(frame) else { return };
                state.send(to, &frame);
            }
            Action::Close { id, code } => {
                if let Some(client) = state.clients.get_mut(&id) {
                    client.close.get_or_insert(code);
                    wake(&mut client.waker);
                }
            }
        }
    }

    /// Closes every client.
    pub fn close_all(&self, code: u16) {
        let mut state = self.lock();
        state.accepting = false;
        for client in state.clients.values_mut() {
            client.close.get_or_insert(code);
            wake(&mut client.waker);
        }
    }

    /// The next thing that the core is told.
    pub fn poll_event(&self, cx: &mut Context<'_>) -> Poll<Event> {
        let mut state = self.lock();
        match state.events.pop_front() {
            Some(event) => Poll::Ready(event),
            None => {
                state.listening = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl State {
    fn tell(&mut self, event: Event) {
        self.events.push_back(event);
        wake(&mut self.listening);
    }

    fn send(&mut self, to: Option<SubscriberId>, frame: &Utf8Bytes) {
        let max = self.limits.frames_max;
        let mut lagged = Vec::new();
        let mut dropped = 0;
        match to {
            Some(id) => {
                if let Some(client) = self.clients.get_mut(&id) {
                    client.receiving = true;
                    dropped += client.push(id, frame, max, &mut lagged);
                }
            }
            None => {
                for (id, client) in self.clients.iter_mut().filter(|(_, client)| client.receiving) {
                    dropped += client.push(*id, frame, max, &mut lagged);
                }
            }
        }
        if dropped > 0 {
            let slot = &mut self.dropped[kind(frame)];
            *slot = slot.saturating_add(dropped);
        }
        lagged.into_iter().for_each(|id| self.tell(Event::Lagged { id }));
    }
}

impl Client {
    /// Queues a frame; gives how many were dropped: one or none.
    fn push(
        &mut self,
        id: SubscriberId,
        frame: &Utf8Bytes,
        max: usize,
        lagged: &mut Vec<SubscriberId>,
    ) -> u64 {
        if self.close.is_some() || self.lagged {
            return 1;
        }
        if self.queue.len() >= max {
            self.lagged = true;
            lagged.push(id);
            return 1;
        }
        self.queue.push_back(frame.clone());
        wake(&mut self.waker);
        0
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

/// A client's place. Dropping it tells the core that the client is gone.
#[derive(Debug)]
pub struct Membership {
    hub: Hub,
    id: SubscriberId,
    joined: bool,
}

impl Membership {
    /// The upgrade succeeded: the core is told, and answers with the first frame.
    pub fn joined(&mut self) {
        if !std::mem::replace(&mut self.joined, true) {
            self.hub.lock().tell(Event::Joined { id: self.id });
        }
    }

    /// What to do next. A wish to close comes before what is queued.
    pub fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Next> {
        let mut state = self.hub.lock();
        let Some(client) = state.clients.get_mut(&self.id) else { return Poll::Ready(Next::Close(1001)) };
        if let Some(code) = client.close {
            return Poll::Ready(Next::Close(code));
        }
        if let Some(frame) = client.queue.pop_front() {
            return Poll::Ready(Next::Frame(frame));
        }
        client.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Ready when the client is to be closed, whatever is queued.
    pub fn poll_close(&self, cx: &mut Context<'_>) -> Poll<u16> {
        let mut state = self.hub.lock();
        let Some(client) = state.clients.get_mut(&self.id) else { return Poll::Ready(1001) };
        match client.close {
            Some(code) => Poll::Ready(code),
            None => {
                client.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut state = self.hub.lock();
        if let Some(client) = state.clients.remove(&self.id) {
            let trusted = state.limits.trusted.iter().any(|cidr| cidr.contains(client.source));
            if !trusted {
                state.sources.leave(client.source);
            }
        }
        if self.joined {
            state.tell(Event::Left { id: self.id });
        }
    }
}

/// A frame of text, for tests and callers with a `&str`.
pub fn frame(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::task::noop_waker_ref;

    fn hub(frames_max: usize) -> Hub {
        Hub::new(FeedLimits { clients_max: 3, per_source_max: Some(2), frames_max, ..FeedLimits::default() })
    }

    fn next(member: &Membership) -> Option<Next> {
        match member.poll_next(&mut Context::from_waker(noop_waker_ref())) {
            Poll::Ready(next) => Some(next),
            Poll::Pending => None,
        }
    }

    fn events(hub: &Hub) -> Vec<Event> {
        let mut cx = Context::from_waker(noop_waker_ref());
        std::iter::from_fn(|| match hub.poll_event(&mut cx) {
            Poll::Ready(event) => Some(event),
            Poll::Pending => None,
        })
        .collect()
    }

    const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7));

    #[test]
    fn a_client_gets_the_frames_for_all_only_after_its_first_one() {
        let hub = hub(10);
        let mut member = hub.join(SOURCE).unwrap();
        member.joined();
        assert_eq!(events(&hub), [Event::Joined { id: member.id }]);
        hub.start(Action::Send { to: None, frame: frame("early") });
        assert_eq!(next(&member), None);
        hub.start(Action::Send { to: Some(member.id), frame: frame("first") });
        hub.start(Action::Send { to: None, frame: frame("second") });
        assert_eq!(next(&member), Some(Next::Frame("first".into())));
        assert_eq!(next(&member), Some(Next::Frame("second".into())));
    }

    #[test]
    fn a_full_queue_is_reported_once_and_grows_no_further() {
        let hub = hub(2);
        let member = hub.join(SOURCE).unwrap();
        for text in ["a", "b", "{\"type\":\"block\"}", "d"] {
            hub.start(Action::Send { to: Some(member.id), frame: frame(text) });
        }
        assert_eq!(hub.dropped(), [0, 1, 0, 0, 0, 1], "each dropped frame is counted by its kind");
        assert_eq!(events(&hub), [Event::Lagged { id: member.id }]);
        hub.start(Action::Close { id: member.id, code: 1008 });
        assert_eq!(next(&member), Some(Next::Close(1008)), "closing does not wait for the queue");
    }

    #[test]
    fn room_is_limited_in_all_and_by_source_and_comes_back() {
        let hub = hub(1);
        let first = hub.join(SOURCE).unwrap();
        let _second = hub.join(SOURCE).unwrap();
        assert!(hub.join(SOURCE).is_none(), "the source has its share");
        let _third = hub.join([203, 0, 113, 8].into()).unwrap();
        assert!(hub.join([203, 0, 113, 9].into()).is_none(), "no room at all");
        drop(first);
        assert!(hub.join(SOURCE).is_some());
        assert_eq!(hub.refused(), 2);
    }

    #[test]
    fn t072_thousand_comings_and_goings_leave_nothing() {
        let hub = hub(1);
        for _ in 0..1000 {
            let mut member = hub.join(SOURCE).unwrap();
            member.joined();
            drop(member);
            assert_eq!(events(&hub).len(), 2);
        }
        assert!(hub.is_empty() && hub.lock().sources.is_empty() && hub.lock().events.is_empty());
    }
}
