//! libp2p's TCP transport over async-io, and the names around it.
//!
//! libp2p's own TCP and DNS transports can only be built with tokio. Streams come out plain: security and muxer are
//! added above (profile of Teranode's libp2p, section 1).

mod dial;
#[cfg(feature = "dnsaddr")]
mod hickory;
mod listener;
mod stream;
mod system;

pub(crate) use dial::connect;
pub use stream::Stream;

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures::future::{BoxFuture, Ready};
use libp2p::core::multiaddr::{Multiaddr, Protocol};
use libp2p::core::transport::{DialOpts, ListenerId, PortUse, TransportError, TransportEvent};

use listener::Listener;
use peerage_shell::p2p::{DialGuard, dns};

type Event = TransportEvent<Ready<io::Result<Stream>>, io::Error>;

/// TCP with DNS in front, as `peerage-smol` uses it, and between them the gate that dials private addresses only with
/// `dial_private`.
///
/// # Errors
/// None today: the system's resolver settings are read when a name is first looked up.
pub fn transport(dial_private: bool) -> io::Result<dns::Transport<DialGuard<Tcp>>> {
    Ok(dns::Transport::new(DialGuard::new(Tcp::default(), dial_private), Arc::new(system::System)))
}

/// TCP over async-io: `/ip4/../tcp/..` and `/ip6/../tcp/..`, with an optional `/p2p/..` at the end.
#[derive(Default)]
pub struct Tcp {
    listeners: Vec<Listener>,
    /// Where the next round over `listeners` begins, so that a busy one starves no other.
    first: usize,
    closed: VecDeque<ListenerId>,
    waker: Option<Waker>,
}

impl Tcp {
    /// The address to bind before dialling `remote`, so that the peer sees a port it can dial back: the port of a
    /// listener of the same family and the same loopback-ness.
    fn reusable(&self, remote: SocketAddr) -> Option<SocketAddr> {
        let serves = |listener: &&Listener| {
            let own = listener.port() == remote.port() && listener.reports(remote.ip());
            !own && listener.reaches(remote.ip())
        };
        let listener = self.listeners.iter().find(serves)?;
        // Elsewhere the route chooses the address. On loopback the listener's own is as good, and no stranger's socket on
        // the same port of another one is in the way.
        let own = listener.ip();
        let ip = if own.is_loopback() { own } else { unspecified(remote.ip()) };
        Some(SocketAddr::new(ip, listener.port()))
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl libp2p::Transport for Tcp {
    type Output = Stream;
    type Error = io::Error;
    type ListenerUpgrade = Ready<io::Result<Stream>>;
    type Dial = BoxFuture<'static, io::Result<Stream>>;

    fn listen_on(&mut self, id: ListenerId, addr: Multiaddr) -> Result<(), TransportError<io::Error>> {
        let Some(socket) = socket_addr(&addr) else {
            return Err(TransportError::MultiaddrNotSupported(addr));
        };
        self.listeners.push(Listener::bind(id, socket).map_err(TransportError::Other)?);
        self.wake();
        Ok(())
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        let Some(at) = self.listeners.iter().position(|listener| listener.id() == id) else {
            return false;
        };
        self.listeners.remove(at);
        self.closed.push_back(id);
        self.wake();
        true
    }

    fn dial(&mut self, addr: Multiaddr, opts: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        let dialable = |socket: &SocketAddr| socket.port() != 0 && !socket.ip().is_unspecified();
        let Some(remote) = socket_addr(&addr).filter(dialable) else {
            return Err(TransportError::MultiaddrNotSupported(addr));
        };
        let local = match opts.port_use {
            PortUse::Reuse => self.reusable(remote),
            PortUse::New => None,
        };
        Ok(Box::pin(connect(remote, local)))
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Event> {
        let this = &mut *self;
        if let Some(listener_id) = this.closed.pop_front() {
            return Poll::Ready(TransportEvent::ListenerClosed { listener_id, reason: Ok(()) });
        }
        let count = this.listeners.len();
        for step in 0..count {
            let at = (this.first % count + step) % count;
            if let Poll::Ready(event) = this.listeners[at].poll(cx) {
                this.first = at + 1;
                return Poll::Ready(event);
            }
        }
        this.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

fn unspecified(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// The socket address of `/ip4|ip6/../tcp/..`, a trailing `/p2p/..` left out; `None` for anything else.
#[allow(clippy::wildcard_enum_match_arm, reason = "only these parts of many concern TCP")]
fn socket_addr(addr: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = addr.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => IpAddr::V4(ip),
        Protocol::Ip6(ip) => IpAddr::V6(ip),
        _ => return None,
    };
    let Protocol::Tcp(port) = parts.next()? else { return None };
    match (parts.next(), parts.next()) {
        (None | Some(Protocol::P2p(_)), None) => Some(SocketAddr::new(ip, port)),
        _ => None,
    }
}

fn multiaddr(addr: SocketAddr) -> Multiaddr {
    Multiaddr::from(addr.ip()).with(Protocol::Tcp(addr.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_tcp_addresses_are_understood() {
        let read = |text: &str| socket_addr(&text.parse().unwrap());
        assert_eq!(read("/ip4/127.0.0.1/tcp/5"), Some("127.0.0.1:5".parse().unwrap()));
        assert_eq!(read("/ip6/::1/tcp/5"), Some("[::1]:5".parse().unwrap()));
        let peer = libp2p::PeerId::random();
        assert_eq!(read(&format!("/ip4/127.0.0.1/tcp/5/p2p/{peer}")), Some("127.0.0.1:5".parse().unwrap()));
        for other in
            ["/ip4/127.0.0.1/udp/5", "/dns4/x/tcp/5", "/ip4/127.0.0.1/tcp/5/ws", "/tcp/5", "/ip4/127.0.0.1"]
        {
            assert_eq!(read(other), None, "{other}");
        }
        assert_eq!(read(&format!("/ip4/127.0.0.1/tcp/5/p2p/{peer}/p2p-circuit")), None);
    }
}
