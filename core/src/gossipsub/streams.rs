//! Our stream to each peer and the peer's to us: which connection carries them, and what happens when they end.
//!
//! One stream of ours goes to each peer. It moves to another connection when its own closes. When it ends while the
//! connection stands, it is opened again after a while; too often, and the connection is closed, to be dialled again. So it is
//! when a peer's last stream ended and it opens no other: some routers sleep then until the connection is a new one.

use alloc::collections::{BTreeMap, BTreeSet};
use core::time::Duration;

use peerage_proto::peer_id::PeerId;

use super::peers::Version;
use super::stream::StreamEnd;
use super::topic::TopicName;
use crate::codec::codec_enum;
use crate::common::backoff::Backoff;
use crate::conn::ConnectionId;
use crate::rng::Rng;
use crate::state::{alter_leaf, state};
use crate::time::Instant;

/// How often a stream is opened again on one connection.
pub const REOPENINGS_MAX: u32 = 3;
/// Before it is for the first time.
const REOPEN_FIRST: Duration = Duration::from_millis(100);
/// How long a peer may be without a stream to us after it had one.
const INBOUND_WITHIN: Duration = Duration::from_secs(3);
/// Longest wait before it is.
const REOPEN_MAX: Duration = Duration::from_secs(10);

/// Our stream to a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outbound {
    /// There is none, and none is wanted: the peer speaks nothing of ours on this connection.
    Unsupported(ConnectionId),
    /// It is being opened.
    Opening(ConnectionId),
    /// It stands.
    Open(ConnectionId),
    /// It ended, and is opened again then.
    Waiting(ConnectionId, Instant),
}

impl Outbound {
    fn connection(self) -> ConnectionId {
        match self {
            Self::Unsupported(id) | Self::Opening(id) | Self::Open(id) | Self::Waiting(id, _) => id,
        }
    }
}

codec_enum!(Outbound { 0 => Unsupported(id), 1 => Opening(id), 2 => Open(id), 3 => Waiting(id, at) });
alter_leaf!(Outbound => |v| *v = if *v == Self::Opening(ConnectionId(0)) {
    Self::Open(ConnectionId(0))
} else {
    Self::Opening(ConnectionId(0))
});

state! {
    /// A peer's stream to us.
    #[derive(Clone, Debug)]
    struct Inbound {
        version: Version,
        /// Whether something came on it: what names extensions must come first.
        is_heard: bool,
    }
}

state! {
    /// The streams with one peer.
    #[derive(Clone, Debug)]
    struct OfPeer {
        outbound: Outbound,
        backoff: Backoff,
        reopenings: u32,
        inbound: BTreeMap<ConnectionId, Inbound>,
        /// Whether it ever had one.
        had_inbound: bool,
        /// What it was subscribed to when its last one ended. A router that opens another and says nothing of topics there
        /// takes them for known.
        before: BTreeSet<TopicName>,
        /// Until when it may be without.
        inbound_until: Option<Instant>,
        /// Topics that we told it on the stream that stands.
        told: BTreeSet<TopicName>,
        /// The version of our topics that these are; 0 for none.
        told_version: u64,
    }
}

state! {
    /// See the module's documentation. Nothing of a peer is left when its last connection closes.
    #[derive(Clone, Debug)]
    pub struct Streams {
        peers: BTreeMap<PeerId, OfPeer>,
        rng: Rng,
    }
}

impl OfPeer {
    fn forget_told(&mut self) {
        self.told.clear();
        self.told_version = 0;
    }
}

/// What the end of a stream of ours asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Ended {
    /// Nothing: it was not ours any more, or another is opened later.
    Wait,
    /// Nothing is lost that stood.
    Unsupported,
    /// The connection is of no use: close it.
    GiveUp,
}

/// What the end of a connection asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[must_use]
pub struct Closed {
    /// Our stream was on it.
    pub outbound_lost: bool,
    /// The last stream of the peer was on it.
    pub inbound_lost: bool,
    /// Open ours here.
    pub open: Option<ConnectionId>,
    /// Nothing of the peer is left.
    pub is_gone: bool,
}

impl Streams {
    /// No peers.
    pub fn new(seed: &[u8; 32]) -> Self {
        Self { peers: BTreeMap::new(), rng: Rng::fork(seed, "gossipsub/streams") }
    }

    /// A connection with `peer` stands. Whether our stream is to be opened on it.
    #[must_use]
    pub fn on_connected(&mut self, peer: PeerId, connection: ConnectionId) -> bool {
        if let Some(streams) = self.peers.get_mut(&peer) {
            let wants = matches!(streams.outbound, Outbound::Unsupported(_));
            if wants {
                streams.outbound = Outbound::Opening(connection);
            }
            return wants;
        }
        let streams = OfPeer {
            outbound: Outbound::Opening(connection),
            backoff: Backoff::new(REOPEN_FIRST, REOPEN_MAX),
            reopenings: 0,
            inbound: BTreeMap::new(),
            had_inbound: false,
            before: BTreeSet::new(),
            inbound_until: None,
            told: BTreeSet::new(),
            told_version: 0,
        };
        self.peers.insert(peer, streams);
        true
    }

    /// Our stream to `peer` stands on `connection`. `false` if it was not asked for (any more).
    #[must_use]
    pub fn on_opened(&mut self, peer: &PeerId, connection: ConnectionId) -> bool {
        let Some(streams) = self.peers.get_mut(peer) else { return false };
        let expected = streams.outbound == Outbound::Opening(connection);
        if expected {
            streams.outbound = Outbound::Open(connection);
            streams.forget_told();
        }
        expected
    }

    /// Our stream on `connection` ended, or could not be opened.
    pub fn on_ended(
        &mut self,
        now: Instant,
        peer: &PeerId,
        connection: ConnectionId,
        end: StreamEnd,
    ) -> Ended {
        let Some(streams) = self.peers.get_mut(peer) else { return Ended::Wait };
        let is_ours = matches!(streams.outbound, Outbound::Opening(_) | Outbound::Open(_))
            && streams.outbound.connection() == connection;
        if !is_ours {
            return Ended::Wait;
        }
        streams.forget_told();
        if end == StreamEnd::Unsupported {
            streams.outbound = Outbound::Unsupported(connection);
            return Ended::Unsupported;
        }
        if streams.reopenings >= REOPENINGS_MAX {
            // The end of the connection follows, and moves the stream.
            streams.outbound = Outbound::Waiting(connection, Instant::FAR);
            return Ended::GiveUp;
        }
        let at = now.after(streams.backoff.next(&mut self.rng));
        streams.outbound = Outbound::Waiting(connection, at);
        Ended::Wait
    }

    /// A connection of `peer` closed; `others` are those that are left.
    pub fn on_closed(&mut self, peer: &PeerId, connection: ConnectionId, others: &[ConnectionId]) -> Closed {
        let Some(streams) = self.peers.get_mut(peer) else { return Closed::default() };
        let had_inbound = streams.inbound.remove(&connection).is_some();
        streams.before.clear();
        if streams.inbound.is_empty() {
            // Its streams come with its other connections, or not at all.
            streams.inbound_until = None;
        }
        let mut closed = Closed {
            inbound_lost: had_inbound && streams.inbound.is_empty(),
            outbound_lost: streams.outbound.connection() == connection,
            ..Closed::default()
        };
        if others.is_empty() {
            self.peers.remove(peer);
            closed.is_gone = true;
        } else if closed.outbound_lost {
            // The newest: the oldest of two is the one that dies first.
            let next = others[others.len() - 1];
            streams.outbound = Outbound::Opening(next);
            streams.reopenings = 0;
            streams.backoff.reset();
            streams.forget_told();
            closed.open = Some(next);
        }
        closed
    }

    /// Peers that have been without a stream to us for too long, each once.
    pub fn silent(&mut self, now: Instant) -> alloc::vec::Vec<PeerId> {
        let is_over = |streams: &&mut OfPeer| streams.inbound_until.is_some_and(|until| until <= now);
        let mut silent = alloc::vec::Vec::new();
        for (peer, streams) in &mut self.peers {
            if is_over(&streams) {
                streams.inbound_until = None;
                silent.push(*peer);
            }
        }
        silent
    }

    /// Streams whose time to be opened again has come.
    pub fn reopen(&mut self, now: Instant) -> alloc::vec::Vec<ConnectionId> {
        let mut due = alloc::vec::Vec::new();
        for streams in self.peers.values_mut() {
            if let Outbound::Waiting(connection, at) = streams.outbound
                && at <= now
            {
                streams.outbound = Outbound::Opening(connection);
                streams.reopenings = streams.reopenings.saturating_add(1);
                due.push(connection);
            }
        }
        due
    }

    /// When the next one has come, or the next peer is without a stream for too long.
    pub fn next_reopening(&self) -> Option<Instant> {
        let waiting = self.peers.values().filter_map(|streams| match streams.outbound {
            Outbound::Waiting(_, at) if at < Instant::FAR => Some(at),
            Outbound::Waiting(..) | Outbound::Unsupported(_) | Outbound::Opening(_) | Outbound::Open(_) => {
                None
            }
        });
        waiting.chain(self.peers.values().filter_map(|streams| streams.inbound_until)).min()
    }

    /// `peer` opened a stream to us; it replaces one on the same connection. Whether it had one before: then it may have
    /// forgotten what we told it, as Go does when its stream was reset, and is to be told everything again.
    #[must_use]
    pub fn on_inbound_opened(&mut self, peer: &PeerId, connection: ConnectionId, version: Version) -> bool {
        let Some(streams) = self.peers.get_mut(peer) else { return false };
        streams.inbound.insert(connection, Inbound { version, is_heard: false });
        streams.inbound_until = None;
        let again = core::mem::replace(&mut streams.had_inbound, true);
        if again {
            streams.forget_told();
        }
        again
    }

    /// The last stream of `peer` ended while its connection stands. It was subscribed to `topics`; it is told everything
    /// again, which wakes those that sleep, and has a while to open another.
    pub fn lose_inbound(&mut self, now: Instant, peer: &PeerId, topics: BTreeSet<TopicName>) {
        let Some(streams) = self.peers.get_mut(peer) else { return };
        streams.forget_told();
        streams.before = topics;
        streams.inbound_until = Some(now.after(INBOUND_WITHIN));
    }

    /// What `peer` was subscribed to before it opened its stream anew; it is not told again.
    pub fn take_before(&mut self, peer: &PeerId) -> BTreeSet<TopicName> {
        self.peers.get_mut(peer).map(|streams| core::mem::take(&mut streams.before)).unwrap_or_default()
    }

    /// A stream of `peer` ended. Whether it was the last.
    pub fn on_inbound_ended(&mut self, peer: &PeerId, connection: ConnectionId) -> bool {
        self.peers.get_mut(peer).is_some_and(|streams| {
            streams.inbound.remove(&connection).is_some() && streams.inbound.is_empty()
        })
    }

    /// A frame came on the stream of `peer` on `connection`: what it speaks there, and whether it is the first. `None`
    /// without such a stream.
    pub fn hear(&mut self, peer: &PeerId, connection: ConnectionId) -> Option<(Version, bool)> {
        let inbound = self.peers.get_mut(peer)?.inbound.get_mut(&connection)?;
        let is_first = !core::mem::replace(&mut inbound.is_heard, true);
        Some((inbound.version, is_first))
    }

    /// The connection on which our stream to `peer` stands.
    pub fn connection(&self, peer: &PeerId) -> Option<ConnectionId> {
        match self.peers.get(peer)?.outbound {
            Outbound::Open(connection) => Some(connection),
            Outbound::Unsupported(_) | Outbound::Opening(_) | Outbound::Waiting(..) => None,
        }
    }

    /// Whether our stream to `peer` stands or is being opened.
    pub fn has_outbound(&self, peer: &PeerId) -> bool {
        let streams = self.peers.get(peer);
        streams.is_some_and(|streams| matches!(streams.outbound, Outbound::Open(_) | Outbound::Opening(_)))
    }

    /// Whether `peer` is known to speak nothing of ours.
    pub fn is_unsupported(&self, peer: &PeerId) -> bool {
        self.peers.get(peer).is_some_and(|streams| matches!(streams.outbound, Outbound::Unsupported(_)))
    }

    /// Whether `peer` has a stream to us.
    pub fn is_heard(&self, peer: &PeerId) -> bool {
        self.peers.get(peer).is_some_and(|streams| !streams.inbound.is_empty())
    }

    /// What `peer` is to be told so that it knows of `joined` and of no other topic: each topic and whether it is joined.
    /// It counts as told. Every change of `joined` has another `version`, from 1 on.
    pub fn untold(
        &mut self,
        peer: &PeerId,
        joined: &BTreeSet<TopicName>,
        version: u64,
    ) -> alloc::vec::Vec<(TopicName, bool)> {
        let Some(streams) = self.peers.get_mut(peer) else { return alloc::vec::Vec::new() };
        if core::mem::replace(&mut streams.told_version, version) == version {
            return alloc::vec::Vec::new();
        }
        let left = streams.told.difference(joined).map(|topic| (topic.clone(), false));
        let news = joined.difference(&streams.told).map(|topic| (topic.clone(), true));
        let changes = left.chain(news).collect();
        streams.told.clone_from(joined);
        changes
    }

    /// Peers with a connection.
    pub fn peers(&self) -> impl Iterator<Item = &PeerId> {
        self.peers.keys()
    }

    /// Number of peers.
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ConnectionId = ConnectionId(1);
    const B: ConnectionId = ConnectionId(2);

    fn peer() -> PeerId {
        PeerId::from_ed25519(&[1; 32])
    }

    fn secs(secs: u64) -> Instant {
        Instant::from_micros(secs * 1_000_000)
    }

    fn open() -> Streams {
        let mut streams = Streams::new(&[1; 32]);
        assert!(streams.on_connected(peer(), A));
        assert!(streams.on_opened(&peer(), A));
        streams
    }

    #[test]
    fn one_stream_goes_to_a_peer_however_many_connections_it_has() {
        let mut streams = open();
        assert!(!streams.on_connected(peer(), B));
        assert_eq!(streams.connection(&peer()), Some(A));
        assert!(!streams.on_opened(&peer(), B), "it was not asked for");
    }

    #[test]
    fn a_stream_moves_when_its_connection_closes() {
        let mut streams = open();
        let _ = streams.on_connected(peer(), B);
        let closed = streams.on_closed(&peer(), A, &[B]);
        assert_eq!(closed, Closed { outbound_lost: true, open: Some(B), ..Closed::default() });
        assert_eq!(streams.connection(&peer()), None);
        assert!(streams.on_opened(&peer(), B));
        let closed = streams.on_closed(&peer(), B, &[]);
        assert_eq!(closed, Closed { outbound_lost: true, is_gone: true, ..Closed::default() });
        assert!(streams.is_empty());
    }

    #[test]
    fn a_stream_that_ends_is_opened_again_three_times_and_then_the_connection_is_given_up() {
        let mut streams = open();
        let mut waits = alloc::vec::Vec::new();
        for at in [10, 20, 30] {
            assert_eq!(streams.on_ended(secs(at), &peer(), A, StreamEnd::Closed), Ended::Wait);
            let due = streams.next_reopening().unwrap();
            waits.push(due.saturating_since(secs(at)).as_millis());
            assert_eq!(streams.reopen(due.before(Duration::from_micros(1))), []);
            assert_eq!(streams.reopen(due), [A]);
            assert!(streams.on_opened(&peer(), A));
        }
        for (wait, expected) in waits.into_iter().zip([100, 200, 400]) {
            assert!((expected * 3 / 4..=expected * 5 / 4).contains(&wait), "{wait}");
        }
        assert_eq!(streams.on_ended(secs(40), &peer(), A, StreamEnd::Closed), Ended::GiveUp);
        assert_eq!(streams.next_reopening(), None);
    }

    #[test]
    fn who_speaks_nothing_of_ours_is_asked_again_on_its_next_connection_alone() {
        let mut streams = Streams::new(&[1; 32]);
        assert!(streams.on_connected(peer(), A));
        assert_eq!(streams.on_ended(secs(1), &peer(), A, StreamEnd::Unsupported), Ended::Unsupported);
        assert_eq!(streams.next_reopening(), None);
        assert!(streams.on_connected(peer(), B));
    }

    #[test]
    fn the_end_of_the_last_inbound_stream_is_told_and_a_newer_one_replaces_its_elder() {
        let mut streams = open();
        let _ = streams.on_connected(peer(), B);
        assert!(!streams.on_inbound_opened(&peer(), A, Version::V11));
        assert!(streams.on_inbound_opened(&peer(), B, Version::V12));
        assert_eq!(streams.hear(&peer(), A), Some((Version::V11, true)));
        assert_eq!(streams.hear(&peer(), A), Some((Version::V11, false)));
        assert!(streams.on_inbound_opened(&peer(), A, Version::V13));
        assert_eq!(streams.hear(&peer(), A), Some((Version::V13, true)), "another stream begins anew");
        assert!(!streams.on_inbound_ended(&peer(), A));
        assert!(!streams.on_inbound_ended(&peer(), A), "it had ended");
        assert!(streams.on_inbound_ended(&peer(), B));
        assert_eq!(streams.hear(&peer(), B), None);
    }

    #[test]
    fn a_peer_is_told_what_changed_since_it_was_told_last_and_all_on_a_new_stream() {
        let mut streams = open();
        let topics =
            |names: &[&str]| names.iter().map(|name| TopicName::from(*name)).collect::<BTreeSet<_>>();
        let untold = streams.untold(&peer(), &topics(&["a", "b"]), 1);
        assert_eq!(untold, [("a".into(), true), ("b".into(), true)]);
        assert_eq!(streams.untold(&peer(), &topics(&["a", "b"]), 1), []);
        let untold = streams.untold(&peer(), &topics(&["b", "c"]), 2);
        assert_eq!(untold, [("a".into(), false), ("c".into(), true)]);
        let _ = streams.on_ended(secs(1), &peer(), A, StreamEnd::Closed);
        let _ = streams.reopen(secs(9));
        assert!(streams.on_opened(&peer(), A));
        assert_eq!(streams.untold(&peer(), &topics(&["b"]), 3), [("b".into(), true)]);
    }
}
