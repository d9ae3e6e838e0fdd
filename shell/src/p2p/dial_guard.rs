//! The private-address gate for dials (spec 2.5). It sits directly on TCP, below DNS, so that a name cannot lead past it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use libp2p::core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::{Multiaddr, Transport};
use peerage_proto::ip::is_private;

use super::convert;

/// A TCP transport that dials no private address unless that is allowed, whoever asks for it.
#[derive(Debug)]
pub struct DialGuard<T> {
    inner: T,
    dial_private: bool,
}

impl<T> DialGuard<T> {
    /// Guards `inner`. It is given resolved addresses only.
    pub fn new(inner: T, dial_private: bool) -> Self {
        Self { inner, dial_private }
    }
}

impl<T: Transport<Error = io::Error> + Unpin> Transport for DialGuard<T> {
    type Output = T::Output;
    type Error = io::Error;
    type ListenerUpgrade = T::ListenerUpgrade;
    type Dial = T::Dial;

    fn listen_on(&mut self, id: ListenerId, addr: Multiaddr) -> Result<(), TransportError<io::Error>> {
        self.inner.listen_on(id, addr)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(&mut self, addr: Multiaddr, opts: DialOpts) -> Result<T::Dial, TransportError<io::Error>> {
        if !self.dial_private && convert::ip(&addr).is_some_and(is_private) {
            let cause = "a private address, and p2p_allow_private_ips is false";
            return Err(TransportError::Other(io::Error::new(io::ErrorKind::PermissionDenied, cause)));
        }
        self.inner.dial(addr, opts)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<T::ListenerUpgrade, io::Error>> {
        Pin::new(&mut self.inner).poll(cx)
    }
}
