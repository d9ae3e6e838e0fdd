//! The pubsub protocols on the wire: streams and frames, nothing of what is in them. The router is in the core; what it wants
//! and is told stands in [`peerage_core::gossipsub::stream`].

pub mod credit;
pub mod handler;
mod inbound;
mod mail;
mod outbound;
mod splitter;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::convert::Infallible;
use std::task::{Context, Poll};

use bytes::Bytes;
use libp2p::PeerId;
use libp2p::core::transport::PortUse;
use libp2p::core::{Endpoint, Multiaddr};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished, DialFailure, ListenFailure};
use libp2p::swarm::{ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandlerInEvent, ToSwarm};
use peerage_core::conn;
use peerage_core::gossipsub::peers::Version;
use peerage_core::gossipsub::stream::{Event, StreamEnd};

use credit::{Credit, InTransit};
use handler::{Handler, Order};
use mail::{Inbox, Orders};

/// Which of the streams wanted on a connection, from 1.
pub type Attempt = u64;

/// What a handler tells.
#[derive(Debug)]
pub enum Told {
    /// Of our stream.
    Ours(Attempt, Ours),
    /// Of the peer's.
    Theirs(Theirs, InTransit),
}

/// What happens to our stream on a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ours {
    /// It stands.
    Opened(Version),
    /// It does not, or no more.
    Ended(StreamEnd),
    /// So many bytes were written.
    Written(u64),
}

/// What happens to the peer's stream on a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Theirs {
    /// It stands.
    Opened(Version),
    /// It does no more.
    Ended,
    /// A frame came.
    Frame(Bytes),
    /// One was announced that is too long.
    TooLong(u64),
}

/// What happens to a stream of a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum News {
    /// Ours.
    Ours(Ours),
    /// The peer's.
    Theirs(Theirs),
}

impl News {
    /// What the core is told.
    pub fn of(self, connection: conn::ConnectionId) -> Event {
        match self {
            Self::Ours(Ours::Opened(version)) => Event::Opened { connection, version },
            Self::Ours(Ours::Ended(end)) => Event::Ended { connection, end },
            Self::Ours(Ours::Written(bytes)) => Event::Written { connection, bytes },
            Self::Theirs(Theirs::Opened(version)) => Event::InboundOpened { connection, version },
            Self::Theirs(Theirs::Ended) => Event::InboundEnded { connection },
            Self::Theirs(Theirs::Frame(frame)) => Event::Frame { connection, frame },
            Self::Theirs(Theirs::TooLong(bytes)) => Event::FrameTooLong { connection, bytes },
        }
    }
}

/// Moves frames. Its event says that [`next`](Self::next) has something.
#[derive(Debug)]
pub struct Behaviour {
    frame_bytes_max: usize,
    credit: Credit,
    links: HashMap<ConnectionId, Link>,
    inbox: Inbox,
}

#[derive(Debug, Default)]
struct Link {
    orders: Orders,
    attempts: Attempt,
    /// Whether the last of them is still wanted.
    wanted: bool,
}

impl Behaviour {
    /// Frames up to `frame_bytes_max` are taken.
    pub fn new(frame_bytes_max: usize) -> Self {
        Self { frame_bytes_max, credit: Credit::default(), links: HashMap::new(), inbox: Inbox::default() }
    }

    /// Begins to open our stream.
    pub fn open(&mut self, connection: ConnectionId) {
        let Some(link) = self.links.get_mut(&connection) else { return };
        link.attempts += 1;
        link.wanted = true;
        let attempt = link.attempts;
        self.order(connection, Order::Open(attempt));
    }

    /// Ends our stream.
    pub fn close(&mut self, connection: ConnectionId) {
        if let Some(link) = self.links.get_mut(&connection) {
            link.wanted = false;
        }
        self.order(connection, Order::Close);
    }

    /// Writes to our stream.
    pub fn send(&mut self, connection: ConnectionId, frames: Vec<Bytes>) {
        self.order(connection, Order::Send(frames));
    }

    /// Resets the peer's stream.
    pub fn reset(&mut self, connection: ConnectionId) {
        self.order(connection, Order::Reset);
    }

    fn order(&self, connection: ConnectionId, order: Order) {
        if let Some(link) = self.links.get(&connection) {
            link.orders.give(order);
        }
    }

    /// What happened next. What is on a peer's stream waits until the core hears it; what happens to ours does not: it is little,
    /// and what we send waits for it. Each of the two is in order.
    pub fn next(&mut self, hearing: bool) -> Option<(ConnectionId, News)> {
        while let Some((connection, attempt, news)) = self.inbox.next_ours() {
            // Of a stream that the core has closed, and of a connection that has, nothing more is told.
            let link = self.links.get_mut(&connection);
            let Some(link) = link.filter(|link| link.wanted && link.attempts == attempt) else { continue };
            link.wanted = !matches!(news, Ours::Ended(_));
            return Some((connection, News::Ours(news)));
        }
        let (connection, news) = if hearing { self.inbox.next_theirs()? } else { return None };
        Some((connection, News::Theirs(news)))
    }

    /// As its handler tells what happened on a connection.
    #[cfg(test)]
    pub(super) fn tell(&self, connection: ConnectionId, told: Vec<Told>) {
        self.inbox.put(connection, told);
    }

    /// Ready when something came since [`next`](Self::next) was asked; the task is woken when something comes.
    pub fn poll_news(&self, cx: &Context<'_>) -> Poll<()> {
        self.inbox.poll_fresh(cx)
    }

    /// What is on its way to the core has at most so many bytes.
    pub fn bound_incoming(&self, bytes: usize) {
        self.credit.bound(bytes);
    }

    /// Bytes that one connection holds: on their way to the core, and of a frame that has not come whole.
    pub fn held(&self, connection: ConnectionId) -> usize {
        self.credit.held(connection)
    }

    /// What waits for the core and what is on its way here, in bytes.
    pub fn in_transit(&self) -> usize {
        self.credit.in_transit()
    }

    fn handler(&mut self, connection: ConnectionId, addrs: &[&Multiaddr]) -> Handler {
        let is_circuit = |addr: &&Multiaddr| addr.iter().any(|part| part == Protocol::P2pCircuit);
        // As in Go: somebody else's link is not for gossip.
        let versions: &[Version] = if addrs.iter().any(is_circuit) { &[] } else { &Version::ALL };
        let link = self.links.entry(connection).or_default();
        let mail = (self.inbox.clone(), link.orders.clone());
        Handler::new(connection, versions, mail, self.credit.share(connection), self.frame_bytes_max)
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = ();

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(self.handler(connection, &[local, remote]))
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        _: PeerId,
        addr: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(self.handler(connection, &[addr]))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        // What concerns addresses and listeners is nothing to streams.
        if let FromSwarm::ConnectionEstablished(ConnectionEstablished { connection_id, .. }) = event {
            // Nobody hears of what comes on a connection before the connection.
            self.order(connection_id, Order::Begin);
        } else if let FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. })
        | FromSwarm::ListenFailure(ListenFailure { connection_id, .. })
        | FromSwarm::DialFailure(DialFailure { connection_id, .. }) = event
        {
            self.links.remove(&connection_id);
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, told: Infallible) {
        match told {}
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<(), THandlerInEvent<Self>>> {
        self.inbox.poll_fresh(cx).map(ToSwarm::GenerateEvent)
    }
}
