//! The gate around the raw transport: an accepted socket waits here for the core's word before a byte of it is read,
//! and every socket has a budget of bytes (design, decision 19).

use std::collections::{HashMap, VecDeque};
use std::io;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::channel::oneshot;
use futures::future::BoxFuture;
use futures::io::{AsyncRead, AsyncWrite};
use futures_timer::Delay;
use libp2p::Multiaddr;
use libp2p::Transport;
use libp2p::core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::multiaddr::Protocol;

use super::budget::{Bucket, Budget, Meter, PAUSE, Word, flood};
use super::convert;
use super::transport::{RawTransport, Socket};
use crate::heap;

/// Longest silence of whoever connected, once it is admitted: a dialler speaks first, and at once.
pub const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(5);

/// An accepted socket that waits for the core's word. Dropping it refuses the socket.
#[derive(Debug)]
pub struct Arrival {
    /// The other end.
    pub addr: Multiaddr,
    /// Sending lets the handshake begin.
    pub admit: oneshot::Sender<()>,
    /// Sending ends a handshake that has begun.
    pub cut: oneshot::Sender<()>,
}

/// Sockets accepted and not yet taken over, oldest first. The swarm reports each at once, so at most one waits.
pub type Arrivals = Arc<Mutex<VecDeque<Arrival>>>;

/// What came in on each socket that stands, by the other end's address as the swarm names it.
#[derive(Clone, Debug, Default)]
pub struct Traffic(Arc<Mutex<HashMap<Multiaddr, Arc<Meter>>>>);

impl Traffic {
    /// Begins to count a socket towards `addr`.
    fn begin(&self, addr: &Multiaddr) -> Counted {
        let addr = without_p2p(addr);
        let meter = Arc::<Meter>::default();
        self.lock().insert(addr.clone(), Arc::clone(&meter));
        Counted { traffic: self.clone(), addr, meter }
    }

    /// The count of the newest socket towards `addr`, while that is open.
    pub fn of(&self, addr: &Multiaddr) -> Option<Arc<Meter>> {
        self.lock().get(&without_p2p(addr)).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Multiaddr, Arc<Meter>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The swarm appends the peer that it expects. Of what comes through a relay the peer is all that tells one from another.
fn without_p2p(addr: &Multiaddr) -> Multiaddr {
    let is_direct = matches!(addr.iter().next(), Some(first) if !matches!(first, Protocol::P2p(_)))
        && !convert::is_relayed(addr);
    if !is_direct {
        return addr.clone();
    }
    addr.iter().filter(|part| !matches!(part, Protocol::P2p(_))).collect()
}

/// The count of one socket; it leaves the table with the socket.
struct Counted {
    traffic: Traffic,
    addr: Multiaddr,
    meter: Arc<Meter>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut table = self.traffic.lock();
        if table.get(&self.addr).is_some_and(|meter| Arc::ptr_eq(meter, &self.meter)) {
            table.remove(&self.addr);
        }
    }
}

/// The raw transport behind the gate.
pub struct Gate {
    inner: RawTransport,
    arrivals: Arrivals,
    budget: Budget,
    traffic: Traffic,
}

impl Gate {
    /// A gate before `inner`.
    pub fn new(inner: RawTransport, budget: Budget) -> (Self, Arrivals) {
        let arrivals = Arrivals::default();
        let traffic = Traffic::default();
        (Self { inner, arrivals: Arc::clone(&arrivals), budget, traffic }, arrivals)
    }

    /// How much one connection may send.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// What comes in on each socket.
    pub fn traffic(&self) -> Traffic {
        self.traffic.clone()
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("budget", &self.budget).finish_non_exhaustive()
    }
}

impl Transport for Gate {
    type Output = Metered;
    type Error = io::Error;
    type ListenerUpgrade = BoxFuture<'static, io::Result<Metered>>;
    type Dial = BoxFuture<'static, io::Result<Metered>>;

    fn listen_on(&mut self, id: ListenerId, addr: Multiaddr) -> Result<(), TransportError<io::Error>> {
        self.inner.listen_on(id, addr)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(&mut self, addr: Multiaddr, opts: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        let dial = self.inner.dial(addr.clone(), opts)?;
        let (budget, traffic) = (self.budget.clone(), self.traffic.clone());
        Ok(async move { Ok(Metered::new(dial.await?, budget, traffic.begin(&addr))) }.boxed())
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        let event = ready!(Pin::new(&mut self.inner).poll(cx));
        if let TransportEvent::Incoming { send_back_addr, .. } = &event {
            let (admit, admitted) = oneshot::channel();
            let (cut, is_cut) = oneshot::channel();
            let arrival = Arrival { addr: send_back_addr.clone(), admit, cut };
            self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).push_back(arrival);
            let (budget, traffic, addr) = (self.budget.clone(), self.traffic.clone(), send_back_addr.clone());
            return Poll::Ready(event.map_upgrade(move |upgrade| {
                async move {
                    admitted.await.map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
                    Ok(Metered::new(upgrade.await?, budget, traffic.begin(&addr))
                        .accepted(FIRST_BYTE_TIMEOUT, is_cut))
                }
                .boxed()
            }));
        }
        Poll::Ready(event.map_upgrade(|_| async { Err(io::Error::from(io::ErrorKind::Unsupported)) }.boxed()))
    }
}

/// A socket whose incoming bytes are counted. Over the budget it is read more slowly; after long enough it fails.
pub struct Metered {
    socket: Socket,
    counted: Counted,
    budget: Budget,
    bucket: Bucket,
    /// Set while over the budget.
    pause: Option<Delay>,
    /// Whoever dialled us speaks first; set until it has.
    silence: Option<Delay>,
    /// Whether an accepted socket has to give its place to another; set until its handshake has ended.
    cut: Option<oneshot::Receiver<()>>,
}

impl Metered {
    fn new(socket: Socket, budget: Budget, counted: Counted) -> Self {
        let bucket = Bucket::new(budget.bytes_per_second_max, budget.patience, Instant::now());
        Self { socket, counted, budget, bucket, pause: None, silence: None, cut: None }
    }

    fn accepted(self, first_byte: Duration, cut: oneshot::Receiver<()>) -> Self {
        Self { silence: Some(Delay::new(first_byte)), cut: Some(cut), ..self }
    }

    /// Ready when the socket has to give its place to another.
    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(cut) = &mut self.cut else { return Poll::Pending };
        match ready!(cut.poll_unpin(cx)) {
            Ok(()) => Poll::Ready(()),
            // Its handshake has ended: nobody will cut it any more.
            Err(oneshot::Canceled) => {
                self.cut = None;
                Poll::Pending
            }
        }
    }

    /// How many bytes may be read, when any may be.
    fn poll_budget(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.poll_unpin(cx));
                self.pause = None;
            }
            // What is not read stays with its sender.
            if heap::is_full() {
                self.pause = Some(Delay::new(PAUSE));
                continue;
            }
            match self.bucket.ask(Instant::now()) {
                Word::Read(credit) => return Poll::Ready(Ok(credit)),
                Word::Wait => self.pause = Some(Delay::new(PAUSE)),
                Word::Flood => {
                    if self.counted.meter.flood() {
                        self.budget.floods.fetch_add(1, Ordering::Relaxed);
                    }
                    return Poll::Ready(Err(flood("bytes")));
                }
            }
        }
    }
}

impl AsyncRead for Metered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.poll_cut(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let credit = ready!(self.poll_budget(cx))?;
        let most = buf.len().min(usize::try_from(credit).unwrap_or(usize::MAX));
        let Poll::Ready(read) = Pin::new(&mut self.socket).poll_read(cx, &mut buf[..most])? else {
            if let Some(silence) = &mut self.silence {
                ready!(silence.poll_unpin(cx));
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "timeout: it says nothing")));
            }
            return Poll::Pending;
        };
        self.silence = None;
        self.bucket.spend(read as u64);
        self.counted.meter.add(read as u64);
        Poll::Ready(Ok(read))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::AsyncReadExt as _;
    use futures::executor::block_on;

    struct Endless;
    impl AsyncRead for Endless {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
            buf.fill(7);
            Poll::Ready(Ok(buf.len()))
        }
    }
    impl AsyncWrite for Endless {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(buf.len()))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn metered(rate: u64, patience: Duration) -> Metered {
        let budget = Budget {
            bytes_per_second_max: rate,
            messages_per_second_max: u64::MAX,
            patience,
            floods: Arc::default(),
        };
        let addr: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
        Metered::new(Box::new(Endless), budget, Traffic::default().begin(&addr))
    }

    #[test]
    fn what_comes_in_is_counted_until_the_socket_is_gone() {
        let mut socket = metered(1 << 20, Duration::ZERO);
        let (traffic, addr) = (socket.counted.traffic.clone(), socket.counted.addr.clone());
        block_on(socket.read_exact(&mut vec![0; 1000])).unwrap();
        assert_eq!(traffic.of(&addr).map(|meter| meter.bytes()), Some(1000));
        drop(socket);
        assert!(traffic.of(&addr).is_none());
    }

    #[test]
    fn what_comes_through_a_relay_is_counted_by_its_peer() {
        let traffic = Traffic::default();
        let [one, two] = [(); 2].map(|()| Multiaddr::from(Protocol::P2p(libp2p::PeerId::random())));
        let relay: Multiaddr = format!("/ip4/127.0.0.1/tcp/1{one}/p2p-circuit").parse().unwrap();
        let to_two = relay.clone().with(two.iter().next().unwrap());
        let ways = [one, two, relay, to_two];
        let sockets = ways.each_ref().map(|way| traffic.begin(way));
        for (socket, way) in sockets.iter().zip(&ways) {
            assert!(traffic.of(way).is_some_and(|meter| Arc::ptr_eq(&meter, &socket.meter)), "{way}");
        }
        drop(sockets);
        assert!(traffic.lock().is_empty());
    }

    #[test]
    fn a_socket_that_gives_its_place_to_another_ends_though_it_says_nothing() {
        let (cut, is_cut) = oneshot::channel();
        let mut socket = metered(1 << 20, Duration::ZERO).accepted(Duration::from_secs(3600), is_cut);
        socket.socket = Box::new(futures::io::Cursor::new(Vec::new()));
        let mut cx = Context::from_waker(futures::task::noop_waker_ref());
        cut.send(()).unwrap();
        let read = Pin::new(&mut socket).poll_read(&mut cx, &mut [0; 8]);
        assert!(matches!(read, Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionAborted));
        let (cut, is_cut) = oneshot::channel();
        let mut socket = metered(1 << 20, Duration::ZERO).accepted(Duration::from_secs(3600), is_cut);
        drop(cut);
        block_on(socket.read_exact(&mut [0; 8])).unwrap();
        assert!(socket.cut.is_none(), "its handshake has ended: it is asked no more");
    }

    #[test]
    fn a_socket_within_its_budget_is_read_at_once() {
        let mut socket = metered(1 << 20, Duration::ZERO);
        block_on(socket.read_exact(&mut vec![0; 2 << 20])).unwrap();
        assert_eq!(socket.budget.floods.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_socket_over_its_budget_is_slowed_down_and_then_closed() {
        let mut socket = metered(1 << 20, Duration::from_millis(200));
        let started = Instant::now();
        let error = block_on(socket.read_exact(&mut vec![0; 64 << 20])).unwrap_err();
        assert!(error.to_string().starts_with("flood"), "{error}");
        assert!(started.elapsed() >= Duration::from_millis(200), "it was slowed down first");
        assert_eq!(socket.budget.floods.load(Ordering::Relaxed), 1);
        assert!(socket.counted.meter.is_flooded());
    }

    /// Says nothing, and stays.
    struct Silent;
    impl AsyncRead for Silent {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
            Poll::Pending
        }
    }
    impl AsyncWrite for Silent {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(buf.len()))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn who_connects_and_says_nothing_gives_its_place_back() {
        let mut socket = metered(1 << 20, Duration::ZERO);
        socket.socket = Box::new(Silent);
        let mut socket = socket.accepted(Duration::from_millis(50), oneshot::channel().1);
        let error = block_on(socket.read(&mut [0; 1])).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
