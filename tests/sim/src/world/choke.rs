//! Bytes that come in, and streams that fall silent without a word.
//!
//! Some peers end the stream on which a message over their reader's limit was sent, and open no other. The connection stays
//! up, nothing of the sender is heard on it any more, and nobody is told: what shows is the count of bytes alone.

use peerage_core::Input;
use peerage_core::conn::{self, ConnectionId, RECEIVED_BYTES_MIN};

use super::links::pick;
use super::queue::Event;
use super::{End, World};

/// How long bytes are counted before they are told.
const METERED_US: u64 = 1_000_000;
/// What arrives of an oversized message at least before its stream ends: the window of a fresh stream.
const CHOKING_BYTES_MIN: u64 = 256 << 10;
/// And at most: what its reader takes of one message.
const CHOKING_BYTES_MAX: u64 = (1 << 20) + (1 << 16);

/// What came in at one end of a link.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Meter {
    since: u64,
    bytes: u64,
    /// What comes is not heard.
    pub(super) choked: bool,
}

impl World {
    /// One end of a link sends more than the other takes: 256 KiB of it arrive, and `kib` more. Returns the reader and
    /// the sender; none if nobody reads there.
    pub fn choke(&mut self, link: u64, kib: u64) -> Option<(End, End)> {
        let open: Vec<u64> = self.links.iter().filter(|(_, link)| link.passes()).map(|(id, _)| *id).collect();
        let (id, side) = (pick(&open, link / 2)?, (link % 2) as usize);
        let ends = self.links.get(&id)?.ends;
        let (reader, sender) = (ends[side], ends[1 - side]);
        // Of several connections to a peer, one carries the messages.
        let carries = |id: &&u64| {
            self.links.get(id).is_some_and(|link| link.other(reader) == sender && link.port(reader).reads())
        };
        let id = *self.nodes.get(reader)?.links.iter().find(carries)?;
        self.links.get_mut(&id)?.meter_mut(reader).choked = true;
        let bytes = CHOKING_BYTES_MIN + (kib << 10) % (CHOKING_BYTES_MAX - CHOKING_BYTES_MIN);
        self.meter(id, reader, bytes);
        self.oracles.iter_mut().for_each(|oracle| oracle.choked(reader, ConnectionId(id)));
        Some((reader, sender))
    }

    /// Counts what came in. Much of it is told when its second is over.
    pub(super) fn meter(&mut self, link: u64, to: End, bytes: u64) {
        let now = self.now;
        let Some(meter) = self.links.get_mut(&link).map(|link| link.meter_mut(to)) else { return };
        if now >= meter.since + METERED_US {
            (meter.since, meter.bytes) = (now, 0);
        }
        let before = meter.bytes;
        meter.bytes += bytes;
        if before < RECEIVED_BYTES_MIN && meter.bytes >= RECEIVED_BYTES_MIN {
            self.queue.push(meter.since + METERED_US, Event::Metered { link, to });
        }
    }

    pub(super) fn on_metered(&mut self, link: u64, to: End) {
        let now = self.now;
        let Some(meter) = self.links.get_mut(&link).map(|link| link.meter_mut(to)) else { return };
        let bytes = std::mem::take(&mut meter.bytes);
        meter.since = now;
        if self.nodes.get(to).is_some_and(|node| node.links.contains(&link)) {
            self.feed(to, Input::Conn(conn::Event::Received { id: ConnectionId(link), bytes }));
        }
    }
}
