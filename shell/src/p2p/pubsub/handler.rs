//! The two streams of one connection.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use bytes::Bytes;
use libp2p::Stream;
use libp2p::core::upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo};
use libp2p::swarm::handler::{ConnectionEvent, FullyNegotiatedInbound, FullyNegotiatedOutbound};
use libp2p::swarm::{ConnectionHandler, ConnectionHandlerEvent, StreamUpgradeError, SubstreamProtocol};
use peerage_core::gossipsub::peers::Version;
use peerage_core::gossipsub::stream::StreamEnd;

use super::credit::Share;
use super::inbound::Inbound;
use super::outbound::Outbound;
use super::{Attempt, Told};

/// What a handler is told to do.
#[derive(Debug)]
pub enum Order {
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
    versions: &'static [Version],
    outbound: Outbound<Stream>,
    inbound: Inbound<Stream>,
}

impl Handler {
    /// Speaks `versions`. A frame of the peer may have `frame_bytes_max` bytes.
    pub(super) fn new(versions: &'static [Version], share: Share, frame_bytes_max: usize) -> Self {
        Self { versions, outbound: Outbound::new(), inbound: Inbound::new(share, frame_bytes_max) }
    }

    fn offer<Info>(&self, info: Info) -> SubstreamProtocol<Offer, Info> {
        SubstreamProtocol::new(Offer(self.versions), info)
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Order;
    type ToBehaviour = Vec<Told>;
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

    fn on_behaviour_event(&mut self, order: Order) {
        match order {
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

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Offer, Attempt, Vec<Told>>> {
        if let Some(attempt) = self.outbound.take_wanted() {
            let protocol = self.offer(attempt);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        let mut told = Vec::new();
        self.outbound.poll(cx, &mut told);
        self.inbound.poll(cx, &mut told);
        match told.is_empty() {
            true => Poll::Pending,
            false => Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(told)),
        }
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
