//! One listening socket: the addresses it is reached at, and the connections that come in.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_io::Async;
use futures::{FutureExt, future};
use futures_timer::Delay;
use if_watch::IfEvent;
use if_watch::smol::IfWatcher;
use libp2p::core::transport::{ListenerId, TransportEvent};
use socket2::{Domain, Protocol, Socket, Type};

use super::dial::share_port;
use super::{Event, Stream, multiaddr};

/// How long nothing is accepted after an error such as `EMFILE`.
const PAUSE: Duration = Duration::from_millis(100);
const BACKLOG: i32 = 1024;

pub(super) struct Listener {
    id: ListenerId,
    socket: Async<TcpListener>,
    local: SocketAddr,
    /// Tells the interface addresses; only when bound to an unspecified address.
    interfaces: Option<IfWatcher>,
    reported: BTreeSet<IpAddr>,
    queued: VecDeque<Event>,
    /// The backlog was empty, and the reactor has not said since that somebody came.
    accept_blocked: bool,
    pause: Option<Delay>,
}

impl Listener {
    pub(super) fn bind(id: ListenerId, addr: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        if addr.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_tcp_nodelay(true)?;
        share_port(&socket)?;
        socket.set_nonblocking(true)?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        let socket = Async::new_nonblocking(TcpListener::from(socket))?;
        let local = socket.get_ref().local_addr()?;
        let interfaces = if local.ip().is_unspecified() { Some(IfWatcher::new()?) } else { None };
        let mut listener = Self {
            id,
            socket,
            local,
            interfaces,
            reported: BTreeSet::new(),
            queued: VecDeque::new(),
            accept_blocked: false,
            pause: None,
        };
        if listener.interfaces.is_none() {
            listener.interface_up(local.ip());
        }
        Ok(listener)
    }

    pub(super) fn id(&self) -> ListenerId {
        self.id
    }

    /// The address that it is bound to.
    pub(super) fn ip(&self) -> IpAddr {
        self.local.ip()
    }

    pub(super) fn port(&self) -> u16 {
        self.local.port()
    }

    /// Whether `ip` was reported as an address of this listener.
    pub(super) fn reports(&self, ip: IpAddr) -> bool {
        self.reported.contains(&ip)
    }

    /// Whether a dial to `ip` may start from this listener's port.
    pub(super) fn reaches(&self, ip: IpAddr) -> bool {
        let alike = |own: &IpAddr| own.is_ipv4() == ip.is_ipv4() && own.is_loopback() == ip.is_loopback();
        self.reported.iter().any(alike)
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.poll_unpin(cx));
            self.pause = None;
        }
        if let Err(error) = self.poll_interfaces(cx) {
            return Poll::Ready(self.fail(error));
        }
        if let Some(event) = self.queued.pop_front() {
            return Poll::Ready(event);
        }
        match ready!(self.poll_accept(cx)) {
            Ok(event) => Poll::Ready(event),
            Err(error) => Poll::Ready(self.fail(error)),
        }
    }

    fn poll_interfaces(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        // One event at a time: `queued` never holds more than what one change brings.
        while self.queued.is_empty() {
            let Some(interfaces) = &mut self.interfaces else { break };
            match interfaces.poll_if_event(cx) {
                Poll::Pending => break,
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Ready(Ok(IfEvent::Up(net))) => self.interface_up(net.addr()),
                Poll::Ready(Ok(IfEvent::Down(net))) => self.interface_down(net.addr()),
            }
        }
        Ok(())
    }

    fn interface_up(&mut self, ip: IpAddr) {
        if ip.is_ipv4() == self.local.is_ipv4() && self.reported.insert(ip) {
            let listen_addr = multiaddr(SocketAddr::new(ip, self.port()));
            self.queued.push_back(TransportEvent::NewAddress { listener_id: self.id, listen_addr });
        }
    }

    fn interface_down(&mut self, ip: IpAddr) {
        if self.reported.remove(&ip) {
            let listen_addr = multiaddr(SocketAddr::new(ip, self.port()));
            self.queued.push_back(TransportEvent::AddressExpired { listener_id: self.id, listen_addr });
        }
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Event>> {
        loop {
            if self.accept_blocked {
                ready!(self.socket.poll_readable(cx))?;
                self.accept_blocked = false;
            }
            match self.socket.get_ref().accept() {
                Ok((stream, remote)) => {
                    // Gone again already: nobody to talk to.
                    let Ok(local) = stream.local_addr() else { continue };
                    return Poll::Ready(Ok(TransportEvent::Incoming {
                        listener_id: self.id,
                        upgrade: future::ready(prepare(stream)),
                        local_addr: multiaddr(local),
                        send_back_addr: multiaddr(remote),
                    }));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.accept_blocked = true,
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Reports an error of the listener and accepts nothing for a moment, so that a full file table does not spin.
    fn fail(&mut self, error: io::Error) -> Event {
        self.pause = Some(Delay::new(PAUSE));
        TransportEvent::ListenerError { listener_id: self.id, error }
    }
}

/// Errors of a connection that died in the backlog: the next one may be well.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

fn prepare(stream: TcpStream) -> io::Result<Stream> {
    stream.set_nodelay(true)?;
    Ok(Async::new(stream)?.into())
}
