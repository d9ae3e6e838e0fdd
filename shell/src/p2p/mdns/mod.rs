//! Peers on the same network, by mDNS over IPv4 (libp2p profile, section 4). One thread of its own with a blocking socket
//! serves every runtime.

pub mod wire;

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::Stream as _;
use futures::channel::mpsc;
use peerage_core::conn::{Event, Source};
use peerage_proto::{Multiaddr, PeerId};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use wire::Heard;

/// Where all speak and listen (RFC 6762).
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const PORT: u16 = 5353;
/// Between questions; the first few come sooner, each after twice the time.
const ASK_FIRST: Duration = Duration::from_secs(2);
const ASK_MAX: Duration = Duration::from_secs(60);
/// Between answers: who asks meanwhile has heard the one before (RFC 6762, section 6).
const ANSWER_EVERY: Duration = Duration::from_secs(1);
/// How soon the thread sees that it is to end, and a new interface.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Finds that wait for the core; further ones are dropped, and come again with the next answer.
const FINDS_MAX: usize = 64;
/// Longest message (RFC 6762, section 17).
const MESSAGE_MAX: usize = 9000;

/// What the thread is told.
#[derive(Debug, Default)]
struct Ours {
    is_over: bool,
    /// Our addresses by interface.
    addrs: BTreeMap<Ipv4Addr, Vec<Multiaddr>>,
    /// Whether an interface has come since the last question.
    is_new: bool,
}

/// mDNS, running. Its thread ends with it.
#[derive(Debug)]
pub struct Mdns {
    local: PeerId,
    socket: Arc<UdpSocket>,
    ours: Arc<Mutex<Ours>>,
    found: mpsc::Receiver<(PeerId, Vec<Multiaddr>)>,
}

impl Mdns {
    /// Begins to listen. Nothing is sent before an interface is known.
    ///
    /// # Errors
    /// When the port cannot be shared, or there can be no thread.
    pub fn start(local: PeerId) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        // Every program on the machine that speaks mDNS has this port.
        socket.set_reuse_address(true)?;
        #[cfg(unix)]
        socket.set_reuse_port(true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)).into())?;
        socket.set_read_timeout(Some(LOOK_EVERY))?;
        let socket = Arc::new(UdpSocket::from(socket));
        let ours = Arc::<Mutex<Ours>>::default();
        let (finds, found) = mpsc::channel(FINDS_MAX);
        let speaker = Speaker {
            instance: instance()?,
            local,
            socket: Arc::clone(&socket),
            ours: Arc::clone(&ours),
            finds,
            ask_at: Instant::now(),
            ask_next: ASK_FIRST,
            answered: None,
        };
        std::thread::Builder::new().name("mdns".to_owned()).spawn(move || speaker.run())?;
        Ok(Self { local, socket, ours, found })
    }

    /// We listen on `addr` now: there we can be found, if it is of a network.
    pub fn listening(&self, addr: &Multiaddr) {
        let Some(ip) = interface(addr) else { return };
        let mut ours = lock(&self.ours);
        let addrs = ours.addrs.entry(ip).or_insert_with(|| {
            // An interface without multicast finds nobody; the address may also be gone again already.
            let _ = self.socket.join_multicast_v4(&GROUP, &ip);
            Vec::new()
        });
        addrs.push(addr.with_p2p(self.local));
        ours.is_new = true;
    }

    /// We listen there no more.
    pub fn listening_ended(&self, addr: &Multiaddr) {
        let Some(ip) = interface(addr) else { return };
        let mut ours = lock(&self.ours);
        let Some(addrs) = ours.addrs.get_mut(&ip) else { return };
        let named = addr.with_p2p(self.local);
        addrs.retain(|other| *other != named);
        if addrs.is_empty() {
            ours.addrs.remove(&ip);
            // With its interface the membership has gone.
            let _ = self.socket.leave_multicast_v4(&GROUP, &ip);
        }
    }

    /// Who was found next.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        match Pin::new(&mut self.found).poll_next(cx) {
            Poll::Ready(Some((peer, addrs))) => {
                Poll::Ready(Event::Found { peer, addrs, source: Source::Mdns })
            }
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for Mdns {
    fn drop(&mut self) {
        lock(&self.ours).is_over = true;
    }
}

fn lock(ours: &Mutex<Ours>) -> MutexGuard<'_, Ours> {
    ours.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The interface of a listen address: loopback has no neighbours, and what comes by relay has no interface.
fn interface(addr: &Multiaddr) -> Option<Ipv4Addr> {
    match addr.ip()? {
        IpAddr::V4(ip) if !ip.is_loopback() && !addr.is_relayed() => Some(ip),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

/// A name that nobody else has, and that tells nothing.
fn instance() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The thread.
struct Speaker {
    instance: String,
    local: PeerId,
    socket: Arc<UdpSocket>,
    ours: Arc<Mutex<Ours>>,
    finds: mpsc::Sender<(PeerId, Vec<Multiaddr>)>,
    ask_at: Instant,
    ask_next: Duration,
    answered: Option<Instant>,
}

impl Speaker {
    fn run(mut self) {
        let mut message = vec![0; MESSAGE_MAX];
        loop {
            let (over, new) = {
                let mut ours = lock(&self.ours);
                (ours.is_over, std::mem::take(&mut ours.is_new))
            };
            if over {
                return;
            }
            self.ask_if_due(new);
            match self.socket.recv_from(&mut message) {
                Ok((length, _)) => self.hear(&message[..length]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                // Such as an interface that went down under a message: never in a tight loop.
                Err(_) => std::thread::park_timeout(LOOK_EVERY),
            }
        }
    }

    /// Asks when it is time, and anew where an interface has come.
    fn ask_if_due(&mut self, is_new: bool) {
        let now = Instant::now();
        if is_new {
            (self.ask_at, self.ask_next) = (now, ASK_FIRST);
        }
        if now >= self.ask_at {
            self.ask_at = now + self.ask_next;
            self.ask_next = (self.ask_next * 2).min(ASK_MAX);
            self.send(|_, _| Some(wire::question()));
        }
    }

    fn hear(&mut self, message: &[u8]) {
        match wire::read(message) {
            Heard::Nothing => {}
            Heard::Asked => {
                let now = Instant::now();
                if self.answered.is_none_or(|at| now >= at + ANSWER_EVERY) {
                    self.answered = Some(now);
                    let answer = |ip, addrs: &[Multiaddr]| {
                        let port = addrs.first()?.tcp_port()?;
                        Some(wire::answer(&self.instance, ip, port, addrs))
                    };
                    self.send(answer);
                }
            }
            Heard::Found(addrs) => {
                let mut peers = BTreeMap::<PeerId, Vec<Multiaddr>>::new();
                for addr in addrs {
                    if let Some(peer) = addr.peer_id().filter(|peer| *peer != self.local) {
                        peers.entry(peer).or_default().push(addr);
                    }
                }
                for found in peers {
                    // It comes again with the next answer.
                    let _ = self.finds.try_send(found);
                }
            }
        }
    }

    /// Sends on each interface what is to be sent there.
    fn send(&self, message: impl Fn(Ipv4Addr, &[Multiaddr]) -> Option<Vec<u8>>) {
        for (ip, addrs) in &lock(&self.ours).addrs {
            if let Some(message) = message(*ip, addrs)
                && SockRef::from(&*self.socket).set_multicast_if_v4(ip).is_ok()
            {
                // An interface that is down now hears it the next time.
                let _ = self.socket.send_to(&message, (GROUP, PORT));
            }
        }
    }
}
