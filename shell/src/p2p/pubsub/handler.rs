//! The two streams of one connection.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use bytes::Bytes;
use libp2p::Stream;
use libp2p::core::upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo};
use libp2p::swarm::handler::{ConnectionEvent, FullyNegotiatedInbound, FullyNegotiatedOutbound};
use libp2p::swarm::{
    ConnectionHandler, ConnectionHandlerEvent, ConnectionId, StreamUpgradeError, SubstreamProtocol,
};
use peerage_core::gossipsub::peers::Version;
use peerage_core::gossipsub::stream::StreamEnd;

use super::Attempt;
use super::credit::Share;
use super::inbound::{BATCH_MAX, Inbound};
use super::mail::{Inbox, Orders};
use super::outbound::Outbound;

/// What a handler is told to do.
#[derive(Debug)]
pub enum Order {
    /// Listen to the peer: the connection is known.
    Begin,
    /// Open our stream.
    Open(Attempt),
    /// End it.
    Close,
    /// Write frames to it.
    Send(Vec<Bytes>),
    /// Reset the peer's.
    Reset,
}

/// Moves the frames of one connection.
#[derive(Debug)]
pub struct Handler {
    connection: ConnectionId,
    inbox: Inbox,
    orders: Orders,
    has_begun: bool,
    versions: &'static [Version],
    outbound: Outbound<Stream>,
    inbound: Inbound<Stream>,
}

impl Handler {
    /// Speaks `versions`. A frame of the peer may have `frame_bytes_max` bytes.
    pub(super) fn new(
        connection: ConnectionId,
        versions: &'static [Version],
        (inbox, orders): (Inbox, Orders),
        share: Share,
        frame_bytes_max: usize,
    ) -> Self {
        let (outbound, inbound) = (Outbound::new(), Inbound::new(share, frame_bytes_max));
        Self { connection, inbox, orders, has_begun: false, versions, outbound, inbound }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Begin => self.has_begun = true,
            Order::Open(attempt) => {
                self.outbound.open(attempt);
                if self.versions.is_empty() {
                    self.outbound.refuse();
                }
            }
            Order::Close => self.outbound.close(),
            Order::Send(frames) => self.outbound.send(frames),
            Order::Reset => self.inbound.reset(),
        }
    }

    fn offer<Info>(&self, info: Info) -> SubstreamProtocol<Offer, Info> {
        SubstreamProtocol::new(Offer(self.versions), info)
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Infallible;
    type ToBehaviour = Infallible;
    type InboundProtocol = Offer;
    type OutboundProtocol = Offer;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Attempt;

    fn listen_protocol(&self) -> SubstreamProtocol<Offer> {
        self.offer(())
    }

    /// The core decides which connections end.
    fn connection_keep_alive(&self) -> bool {
        true
    }

    fn on_behaviour_event(&mut self, event: Infallible) {
        match event {}
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Offer, Offer, (), Attempt>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, .. }) => {
                self.inbound.opened(protocol.0, protocol.1);
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, info }) => {
                self.outbound.opened(info, protocol.0, protocol.1);
            }
            ConnectionEvent::DialUpgradeError(error) => {
                let end = match error.error {
                    StreamUpgradeError::NegotiationFailed => StreamEnd::Unsupported,
                    StreamUpgradeError::Timeout | StreamUpgradeError::Io(_) => StreamEnd::Failed,
                };
                self.outbound.failed(error.info, end);
            }
            ConnectionEvent::AddressChange(_)
            | ConnectionEvent::ListenUpgradeError(_)
            | ConnectionEvent::LocalProtocolsChange(_)
            | ConnectionEvent::RemoteProtocolsChange(_) => {}
            // The enum is open.
            _ => {}
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Offer, Attempt, Infallible>> {
        for order in self.orders.take(cx) {
            self.obey(order);
        }
        if let Some(attempt) = self.outbound.take_wanted() {
            let protocol = self.offer(attempt);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        let mut told = Vec::new();
        self.outbound.poll(cx, &mut told);
        if self.has_begun {
            self.inbound.poll(cx, &mut told);
        }
        if told.len() >= BATCH_MAX {
            cx.waker().wake_by_ref();
        }
        if !told.is_empty() {
            self.inbox.put(self.connection, told);
        }
        Poll::Pending
    }
}

/// The protocols offered, in both directions.
#[derive(Clone, Copy, Debug)]
pub struct Offer(&'static [Version]);

/// A protocol's name.
#[derive(Clone, Copy, Debug)]
pub struct Name(Version);

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        self.0.protocol()
    }
}

impl UpgradeInfo for Offer {
    type Info = Name;
    type InfoIter = std::iter::Map<std::slice::Iter<'static, Version>, fn(&Version) -> Name>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.iter().map(|version| Name(*version))
    }
}

impl<S> InboundUpgrade<S> for Offer {
    type Output = (S, Version);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: S, name: Name) -> Self::Future {
        ready(Ok((stream, name.0)))
    }
}

impl<S> OutboundUpgrade<S> for Offer {
    type Output = (S, Version);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_outbound(self, stream: S, name: Name) -> Self::Future {
        ready(Ok((stream, name.0)))
    }
}
