//! Pubsub's streams: frames with latency, in order on each connection; their ends, with their connection or without it.
//!
//! Whatever an end is to be told of one link waits in its port and is told in order. A stream has a number: what belongs
//! to one that was replaced, or reset, is void.

use std::collections::VecDeque;

use bytes::Bytes;
use peerage_core::Input;
use peerage_core::conn::ConnectionId;
use peerage_core::gossipsub::peers::Version;
use peerage_core::gossipsub::stream::{self, StreamEnd, WRITTEN_BYTES_MIN};

use super::links::pick;
use super::queue::Event;
use super::{End, Fault, World};

/// Before a node that takes no more is offered a frame again.
const BLOCKED_US: u64 = 5000;

/// What one end of a link is to be told.
#[derive(Clone, Debug)]
struct Item {
    at: u64,
    /// The stream that it is about.
    stream: u32,
    event: stream::Event,
}

/// One end of a link, as far as streams go.
#[derive(Clone, Debug, Default)]
pub(super) struct Port {
    inbox: VecDeque<Item>,
    /// When the last item comes.
    last: u64,
    /// Streams opened from here so far.
    opened: u32,
    /// The one that is being opened, or stands.
    writing: Option<u32>,
    stands: bool,
    /// The other end's stream that is read here.
    reading: Option<u32>,
    /// Bytes written and not told.
    unwritten: u64,
}

impl Port {
    /// Whether what comes now is about a stream that there is; what it changes.
    fn takes(&mut self, item: &Item) -> bool {
        match item.event {
            stream::Event::Opened { .. } => {
                self.stands = self.writing == Some(item.stream);
                self.stands
            }
            stream::Event::Ended { .. } => {
                let is_ours = self.writing == Some(item.stream);
                if is_ours {
                    (self.writing, self.stands) = (None, false);
                }
                is_ours
            }
            stream::Event::Written { .. } => self.writing == Some(item.stream),
            stream::Event::InboundOpened { .. } => {
                self.reading = Some(item.stream);
                true
            }
            stream::Event::InboundEnded { .. } => {
                let is_read = self.reading == Some(item.stream);
                if is_read {
                    self.reading = None;
                }
                is_read
            }
            stream::Event::Frame { .. } | stream::Event::FrameTooLong { .. } => {
                self.reading == Some(item.stream)
            }
        }
    }

    /// The number of a new stream of this end.
    fn open(&mut self) -> u32 {
        self.opened += 1;
        (self.writing, self.stands, self.unwritten) = (Some(self.opened), false, 0);
        self.opened
    }

    /// Whether a stream of the other end is read here.
    pub(super) fn reads(&self) -> bool {
        self.reading.is_some()
    }

    /// Nothing of a stream comes any more.
    fn lose(&mut self, number: u32) {
        let is_lost = |event: &stream::Event| {
            matches!(
                event,
                stream::Event::Frame { .. }
                    | stream::Event::FrameTooLong { .. }
                    | stream::Event::InboundEnded { .. }
            )
        };
        self.inbox.retain(|item| item.stream != number || !is_lost(&item.event));
    }
}

impl World {
    /// Tells an end of a link something of a stream, after what it was told before.
    fn post(&mut self, link: u64, to: End, delay: u64, number: u32, event: stream::Event) {
        let now = self.now;
        let Some(port) = self.links.get_mut(&link).map(|link| link.port_mut(to)) else { return };
        let at = port.last.max(now + delay);
        let is_announced = port.inbox.back().is_some_and(|item| item.at == at);
        port.last = at;
        port.inbox.push_back(Item { at, stream: number, event });
        if !is_announced {
            self.queue.push(at, Event::Arrive { link, to });
        }
    }

    /// An end of a link hears what is due.
    pub(super) fn on_arrive(&mut self, link: u64, to: End) {
        if to < self.nodes.len() && self.postpone(to, &Event::Arrive { link, to }) {
            return;
        }
        let takes_more =
            self.nodes.get(to).is_none_or(|node| node.pump.as_ref().is_none_or(|pump| pump.demand().gossip));
        loop {
            let now = self.now;
            let Some(state) = self.links.get_mut(&link) else { return };
            let cut = state.cut;
            let port = state.port_mut(to);
            let Some(front) = port.inbox.front().filter(|item| item.at <= now) else { return };
            if matches!(front.event, stream::Event::Frame { .. }) && !takes_more && !cut {
                return self.queue.push(now + BLOCKED_US, Event::Arrive { link, to });
            }
            let Some(item) = port.inbox.pop_front() else { return };
            let is_end =
                matches!(item.event, stream::Event::Ended { .. } | stream::Event::InboundEnded { .. });
            if port.takes(&item) && (!cut || is_end) {
                self.tell_stream(link, to, item.event);
            }
        }
    }

    fn tell_stream(&mut self, link: u64, to: End, event: stream::Event) {
        if to >= self.nodes.len() {
            return self.puppet_hears(link, to, &event);
        }
        if !self.nodes[to].links.contains(&link) {
            return;
        }
        let meter = self.links.get_mut(&link).map(|link| link.meter_mut(to));
        match &event {
            stream::Event::InboundOpened { .. } => {
                if let Some(meter) = meter {
                    meter.choked = false;
                }
            }
            stream::Event::Frame { frame, .. } => {
                let is_choked = meter.is_some_and(|meter| meter.choked);
                self.meter(link, to, frame.len() as u64);
                if is_choked {
                    return;
                }
            }
            stream::Event::Opened { .. }
            | stream::Event::Ended { .. }
            | stream::Event::Written { .. }
            | stream::Event::InboundEnded { .. }
            | stream::Event::FrameTooLong { .. } => {}
        }
        self.feed(to, Input::Gossipsub(event));
    }

    /// What is spoken on a link; none: the puppet at its end speaks nothing of it. Nodes' own streams have the same both
    /// ways, as both prefer the highest that both know.
    fn version(&self, link: u64, to: End) -> Option<Version> {
        let dice = link.wrapping_add(self.options.seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        let is_puppet = self.links.get(&link).is_some_and(|link| {
            let count = self.nodes.len();
            link.ends.iter().any(|end| *end >= count)
        });
        match dice % 16 {
            0 if is_puppet && to >= self.nodes.len() => None,
            1 | 2 if is_puppet => Some(Version::Floodsub),
            3 => Some(Version::V10),
            4 => Some(Version::V11),
            5..=8 => Some(Version::V12),
            _ => Some(Version::V13),
        }
    }

    /// An end opens its stream on a link.
    pub(super) fn open_stream(&mut self, from: End, id: u64) {
        let Some(link) = self.links.get_mut(&id).filter(|link| link.passes()) else { return };
        let (to, number) = (link.other(from), link.port_mut(from).open());
        let (there, back) = (self.latency(id), self.latency(id));
        let connection = ConnectionId(id);
        let fails = self.options.has(Fault::Stream) && from < self.nodes.len() && self.dice.chance(10);
        let end = match self.version(id, to) {
            _ if fails => StreamEnd::Failed,
            Some(version) => {
                self.post(id, to, there, number, stream::Event::InboundOpened { connection, version });
                let opened = stream::Event::Opened { connection, version };
                return self.post(id, from, there + back, number, opened);
            }
            None => StreamEnd::Unsupported,
        };
        self.post(id, from, there + back, number, stream::Event::Ended { connection, end });
    }

    /// An end closes its stream.
    pub(super) fn close_stream(&mut self, from: End, id: u64) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let to = link.other(from);
        let port = link.port_mut(from);
        port.stands = false;
        let Some(number) = port.writing.take() else { return };
        let delay = self.latency(id);
        self.post(id, to, delay, number, stream::Event::InboundEnded { connection: ConnectionId(id) });
    }

    /// An end resets the other's stream.
    pub(super) fn reset_stream(&mut self, reader: End, id: u64) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let writer = link.other(reader);
        let port = link.port_mut(reader);
        let Some(number) = port.reading else { return };
        port.lose(number);
        let (connection, delay) = (ConnectionId(id), self.latency(id));
        self.post(id, reader, 100, number, stream::Event::InboundEnded { connection });
        let ended = stream::Event::Ended { connection, end: StreamEnd::Closed };
        self.post(id, writer, delay, number, ended);
    }

    /// A stream ends, and its connection stands: what is in flight is lost, or all but the last of it arrives.
    pub fn end_stream(&mut self, which: u64) {
        let open: Vec<u64> = self.links.iter().filter(|(_, link)| link.passes()).map(|(id, _)| *id).collect();
        let Some(id) = pick(&open, which / 2) else { return };
        let Some(link) = self.links.get_mut(&id) else { return };
        let [one, other] = link.ends;
        let (writer, reader) = if which.is_multiple_of(2) { (one, other) } else { (other, one) };
        let Some(number) = link.port_mut(writer).writing.filter(|_| writer < self.nodes.len()) else {
            return;
        };
        if self.dice.chance(50)
            && let Some(link) = self.links.get_mut(&id)
        {
            link.port_mut(reader).lose(number);
        }
        self.both_hear_of_end(id, writer, reader, number);
    }

    fn both_hear_of_end(&mut self, id: u64, writer: End, reader: End, number: u32) {
        let connection = ConnectionId(id);
        let (one, other) = (self.latency(id), self.latency(id));
        let ended = stream::Event::Ended { connection, end: StreamEnd::Closed };
        self.post(id, writer, one, number, ended);
        self.post(id, reader, other, number, stream::Event::InboundEnded { connection });
    }

    /// A connection ends. Some transports tell first that its streams did.
    pub(super) fn streams_end_first(&mut self, id: u64) {
        let Some(link) = self.links.get(&id) else { return };
        let [one, other] = link.ends;
        for (writer, reader) in [(one, other), (other, one)] {
            let number = self.links.get_mut(&id).and_then(|link| link.port_mut(writer).writing);
            if let Some(number) = number.filter(|_| id.is_multiple_of(2)) {
                self.both_hear_of_end(id, writer, reader, number);
            }
        }
    }

    /// A node writes frames, each with its length in front.
    pub(super) fn send_frames(&mut self, from: End, id: u64, frames: Vec<Bytes>) {
        let Some(link) = self.links.get_mut(&id).filter(|link| link.passes()) else { return };
        let to = link.other(from);
        let port = link.port_mut(from);
        let Some(number) = port.writing.filter(|_| port.stands) else { return };
        port.unwritten += frames.iter().map(|frame| frame.len() as u64).sum::<u64>();
        let unwritten = port.unwritten;
        let (connection, delay) = (ConnectionId(id), self.latency(id));
        for frame in frames {
            self.frames_sent += 1;
            let event = stream::Event::Frame { connection, frame: without_length(&frame) };
            self.post(id, to, delay, number, event);
        }
        if unwritten >= WRITTEN_BYTES_MIN {
            if let Some(link) = self.links.get_mut(&id) {
                link.port_mut(from).unwritten = 0;
            }
            // Who stands still reads nothing, and what is written stays where it is.
            let paused = self.nodes.get(to).map_or(0, |node| node.paused_until.saturating_sub(self.now));
            let written = stream::Event::Written { connection, bytes: unwritten };
            self.post(id, from, delay.max(paused), number, written);
        }
    }

    /// A puppet writes something on its stream, which it opens if there is none.
    pub(super) fn puppet_writes(&mut self, from: End, id: u64, event: stream::Event) {
        let Some(link) = self.links.get_mut(&id).filter(|link| link.passes()) else { return };
        let to = link.other(from);
        let port = link.port_mut(from);
        let (number, is_new) = match port.writing {
            Some(number) => (number, false),
            None => (port.open(), true),
        };
        let (connection, delay) = (ConnectionId(id), self.latency(id));
        if is_new {
            let version = self.version(id, to).unwrap_or(Version::V12);
            self.post(id, to, delay, number, stream::Event::InboundOpened { connection, version });
        }
        let is_too_long = matches!(event, stream::Event::FrameTooLong { .. });
        self.post(id, to, delay, number, event);
        if is_too_long {
            self.close_stream(from, id);
        }
    }
}

/// A frame as it is told: without its length.
fn without_length(frame: &Bytes) -> Bytes {
    let length = frame.iter().position(|byte| byte & 0x80 == 0).map_or(frame.len(), |at| at + 1);
    frame.slice(length..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_about_another_stream_is_void() {
        let connection = ConnectionId(1);
        let item = |stream, event| Item { at: 0, stream, event };
        let mut port = Port::default();
        let number = port.open();
        let version = Version::V12;
        assert!(!port.takes(&item(number + 1, stream::Event::Opened { connection, version })));
        assert!(port.takes(&item(number, stream::Event::Opened { connection, version })) && port.stands);
        let frame = stream::Event::Frame { connection, frame: Bytes::new() };
        assert!(!port.takes(&item(1, frame.clone())), "no stream is read");
        assert!(port.takes(&item(1, stream::Event::InboundOpened { connection, version })));
        assert!(port.takes(&item(1, frame.clone())) && !port.takes(&item(2, frame)));
        assert!(port.takes(&item(1, stream::Event::InboundEnded { connection })) && !port.reads());
    }

    #[test]
    fn a_length_of_two_bytes_is_taken_off() {
        let frame = Bytes::from_static(&[0x80, 0x01, 7, 8]);
        assert_eq!(&without_length(&frame)[..], [7, 8]);
    }
}
