//! The transport over loopback: against itself, and against libp2p's own TCP under tokio.
#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::{BoxFuture, select};
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerBox};
use libp2p::core::transport::{Boxed, DialOpts, ListenerId, PortUse, TransportEvent, upgrade::Version};
use libp2p::{Multiaddr, PeerId, Transport, identity, noise, yamux};
use peerage_shell::p2p::DialGuard;
use peerage_shell::p2p::dns::{self, DIALS_MAX, LOOKUPS_MAX, RECORDS_MAX, Resolve};
use peerage_smol::runtime::block_on;
use peerage_smol::transport::{Tcp, transport};

mod support;

use support::{opts, within};

type Secured = Boxed<(PeerId, StreamMuxerBox)>;

async fn event<T: Transport + Unpin>(transport: &mut T) -> TransportEvent<T::ListenerUpgrade, T::Error> {
    within(poll_fn(|cx| Pin::new(&mut *transport).poll(cx))).await
}

async fn listen<T: Transport + Unpin>(transport: &mut T, addr: &str) -> (ListenerId, Multiaddr) {
    let id = ListenerId::next();
    assert!(transport.listen_on(id, addr.parse().unwrap()).is_ok());
    let TransportEvent::NewAddress { listener_id, listen_addr } = event(transport).await else {
        panic!("no address")
    };
    assert_eq!(listener_id, id);
    (id, listen_addr)
}

async fn incoming<T: Transport + Unpin>(transport: &mut T) -> (T::Output, Multiaddr) {
    loop {
        if let TransportEvent::Incoming { upgrade, send_back_addr, .. } = event(transport).await {
            return (upgrade.await.ok().unwrap(), send_back_addr);
        }
    }
}

fn secure<T>(transport: T) -> (PeerId, Secured)
where
    T: Transport + Send + Unpin + 'static,
    T::Output: futures::AsyncRead + futures::AsyncWrite + Unpin + Send + 'static,
    T::Error: Send + Sync + 'static,
    T::ListenerUpgrade: Send,
    T::Dial: Send,
{
    let key = identity::Keypair::generate_ed25519();
    let upgraded = transport
        .upgrade(Version::V1)
        .authenticate(noise::Config::new(&key).unwrap())
        .multiplex(yamux::Config::default())
        .boxed();
    (key.public().to_peer_id(), upgraded)
}

/// Dials, opens a stream and gets one text to the other side; both learn the right peer id.
async fn talk(
    (dialler_id, mut dialler): (PeerId, Secured),
    (listener_id, mut listener): (PeerId, Secured),
    at: &str,
) {
    let (_, addr) = listen(&mut listener, at).await;
    let dial = dialler.dial(addr, opts(PortUse::Reuse)).unwrap();
    let accept = async {
        let ((peer, mut muxer), _) = incoming(&mut listener).await;
        assert_eq!(peer, dialler_id);
        let mut text = String::new();
        let mut stream = None;
        let mut muxer_runs = poll_fn(|cx| {
            if stream.is_none()
                && let std::task::Poll::Ready(opened) = Pin::new(&mut muxer).poll_inbound(cx)
            {
                stream = Some(opened.unwrap());
            }
            let _ = Pin::new(&mut muxer).poll(cx);
            let Some(stream) = &mut stream else { return std::task::Poll::Pending };
            let mut bytes = [0; 16];
            match futures::ready!(Pin::new(stream).as_mut().poll_read_some(cx, &mut bytes)) {
                Ok(read) => {
                    text.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
                    if text.len() >= 5 { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
                }
                Err(error) => panic!("{error}"),
            }
        });
        (&mut muxer_runs).await;
        drop(muxer_runs);
        assert_eq!(text, "hello");
    };
    let send = async {
        let (peer, mut muxer) = dial.await.unwrap();
        assert_eq!(peer, listener_id);
        let mut stream = poll_fn(|cx| {
            let _ = Pin::new(&mut muxer).poll(cx);
            Pin::new(&mut muxer).poll_outbound(cx)
        })
        .await
        .unwrap();
        stream.write_all(b"hello").await.unwrap();
        stream.flush().await.unwrap();
        poll_fn(|cx| Pin::new(&mut muxer).poll(cx).map(|_| ())).await;
    };
    within(async {
        let (accept, send) = (std::pin::pin!(accept), std::pin::pin!(send));
        select(accept, send).await;
    })
    .await;
}

trait ReadSome {
    fn poll_read_some(
        self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        to: &mut [u8],
    ) -> std::task::Poll<io::Result<usize>>;
}
impl<T: futures::AsyncRead + ?Sized> ReadSome for T {
    fn poll_read_some(
        self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        to: &mut [u8],
    ) -> std::task::Poll<io::Result<usize>> {
        self.poll_read(cx, to)
    }
}

#[test]
fn two_of_ours_talk_over_ipv4() {
    block_on(talk(
        secure(transport(true).unwrap()),
        secure(transport(true).unwrap()),
        "/ip4/127.0.0.1/tcp/0",
    ));
}

#[test]
fn two_of_ours_talk_over_ipv6() {
    block_on(talk(secure(transport(true).unwrap()), secure(transport(true).unwrap()), "/ip6/::1/tcp/0"));
}

fn stock() -> (PeerId, Secured) {
    secure(libp2p::tcp::tokio::Transport::new(libp2p::tcp::Config::new()))
}

fn with_tokio(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    runtime.block_on(test);
}

#[test]
fn ours_dials_the_stock_tokio_transport() {
    with_tokio(async { talk(secure(transport(true).unwrap()), stock(), "/ip4/127.0.0.1/tcp/0").await });
}

#[test]
fn the_stock_tokio_transport_dials_ours() {
    with_tokio(async { talk(stock(), secure(transport(true).unwrap()), "/ip4/127.0.0.1/tcp/0").await });
}

#[test]
fn a_dial_that_reuses_comes_from_the_listen_port_and_a_new_one_does_not() {
    block_on(async {
        let (mut one, mut two) = (Tcp::default(), Tcp::default());
        let (_, from) = listen(&mut one, "/ip4/127.0.0.1/tcp/0").await;
        let (_, to) = listen(&mut two, "/ip4/127.0.0.1/tcp/0").await;
        for (port_use, same) in [(PortUse::Reuse, true), (PortUse::New, false)] {
            let dial = one.dial(to.clone(), opts(port_use)).unwrap();
            let (dialled, (_accepted, seen)) = within(futures::future::join(dial, incoming(&mut two))).await;
            assert!(dialled.unwrap().get_ref().nodelay().unwrap());
            assert_eq!(seen == from, same);
        }
    });
}

#[test]
fn a_refused_dial_is_an_error_and_an_unfit_address_is_not_supported() {
    block_on(async {
        let mut tcp = Tcp::default();
        let (id, addr) = listen(&mut tcp, "/ip4/127.0.0.1/tcp/0").await;
        tcp.remove_listener(id);
        let error = within(tcp.dial(addr, opts(PortUse::Reuse)).unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        for unfit in ["/ip4/127.0.0.1/tcp/0", "/ip4/0.0.0.0/tcp/5", "/ip4/127.0.0.1/udp/5"] {
            assert!(tcp.dial(unfit.parse().unwrap(), opts(PortUse::New)).is_err(), "{unfit}");
        }
    });
}

#[test]
fn a_removed_listener_wakes_the_poller_and_says_that_it_closed() {
    block_on(async {
        let mut tcp = Tcp::default();
        let (id, _) = listen(&mut tcp, "/ip4/127.0.0.1/tcp/0").await;
        let woken = Arc::new(Woken(AtomicUsize::new(0)));
        let waker = woken.clone().into();
        assert!(Pin::new(&mut tcp).poll(&mut std::task::Context::from_waker(&waker)).is_pending());
        assert!(tcp.remove_listener(id));
        assert!(woken.0.load(Ordering::SeqCst) > 0);
        let TransportEvent::ListenerClosed { listener_id, reason } = event(&mut tcp).await else {
            panic!("not closed")
        };
        assert!(listener_id == id && reason.is_ok());
        assert!(!tcp.remove_listener(id));
    });
}

struct Woken(AtomicUsize);
impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_dial_does_nothing_before_it_is_polled_and_dropping_it_closes_the_socket() {
    block_on(async {
        let (mut one, mut two) = (Tcp::default(), Tcp::default());
        let (_, to) = listen(&mut two, "/ip4/127.0.0.1/tcp/0").await;
        drop(one.dial(to.clone(), opts(PortUse::New)).unwrap());
        let mut idle = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(Pin::new(&mut two).poll(&mut idle).is_pending());
        let mut dial = one.dial(to, opts(PortUse::New)).unwrap();
        let _ = dial.poll_unpin(&mut idle);
        let (mut accepted, _) = incoming(&mut two).await;
        drop(dial);
        assert_eq!(within(accepted.read(&mut [0; 1])).await.unwrap(), 0);
    });
}

/// Answers from lists; counts look-ups.
#[derive(Default)]
struct Fake {
    ips: Vec<IpAddr>,
    txt: Vec<String>,
    lookups: AtomicUsize,
}

impl Resolve for Fake {
    fn ips(&self, _: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        self.lookups.fetch_add(1, Ordering::SeqCst);
        futures::future::ready(Ok(self.ips.clone())).boxed()
    }
    fn txt(&self, name: String) -> BoxFuture<'static, io::Result<Vec<String>>> {
        assert_eq!(name, "_dnsaddr.peers.test");
        self.lookups.fetch_add(1, Ordering::SeqCst);
        futures::future::ready(Ok(self.txt.clone())).boxed()
    }
}

/// Refuses every dial, and remembers it.
#[derive(Default)]
struct Refusing(Arc<AtomicUsize>);

impl Transport for Refusing {
    type Output = ();
    type Error = io::Error;
    type ListenerUpgrade = futures::future::Ready<io::Result<()>>;
    type Dial = futures::future::Ready<io::Result<()>>;
    fn listen_on(&mut self, _: ListenerId, _: Multiaddr) -> Result<(), libp2p::TransportError<io::Error>> {
        Ok(())
    }
    fn remove_listener(&mut self, _: ListenerId) -> bool {
        false
    }
    fn dial(&mut self, _: Multiaddr, _: DialOpts) -> Result<Self::Dial, libp2p::TransportError<io::Error>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(futures::future::ready(Err(io::ErrorKind::ConnectionRefused.into())))
    }
    fn poll(
        self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        std::task::Poll::Pending
    }
}

fn refused(fake: Fake, addr: &str) -> (usize, usize, String) {
    let (fake, dials) = (Arc::new(fake), Arc::new(AtomicUsize::new(0)));
    let mut transport = dns::Transport::new(Refusing(dials.clone()), fake.clone());
    let dial = transport.dial(addr.parse().unwrap(), opts(PortUse::New)).unwrap();
    assert_eq!(fake.lookups.load(Ordering::SeqCst), 0, "looked up before it was polled");
    let error = block_on(within(dial)).unwrap_err();
    (fake.lookups.load(Ordering::SeqCst), dials.load(Ordering::SeqCst), error.to_string())
}

#[test]
fn localhost_is_dialled_by_name() {
    block_on(async {
        let (mut one, mut two) = (transport(true).unwrap(), Tcp::default());
        let (_, to) = listen(&mut two, "/ip4/127.0.0.1/tcp/0").await;
        let name = to.to_string().replace("/ip4/127.0.0.1", "/dns4/localhost");
        let dial = one.dial(name.parse().unwrap(), opts(PortUse::Reuse)).unwrap();
        let (dialled, _) = within(futures::future::join(dial, incoming(&mut two))).await;
        assert!(dialled.is_ok());
    });
}

#[test]
fn dnsaddr_goes_on_to_the_second_record_when_the_first_refuses() {
    block_on(async {
        let mut two = Tcp::default();
        let (_, to) = listen(&mut two, "/ip4/127.0.0.1/tcp/0").await;
        let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let dead: SocketAddr = held.local_addr().unwrap();
        drop(held);
        let peer = PeerId::random();
        let txt = vec![
            "no address".to_owned(),
            format!("dnsaddr=/ip4/127.0.0.1/tcp/{}/p2p/{}", dead.port(), peer),
            format!("dnsaddr={to}/p2p/{}", PeerId::random()),
            format!("dnsaddr={to}/p2p/{peer}"),
        ];
        let mut one = dns::Transport::new(Tcp::default(), Arc::new(Fake { txt, ..Fake::default() }));
        let name = format!("/dnsaddr/peers.test/p2p/{peer}");
        let dial = one.dial(name.parse().unwrap(), opts(PortUse::New)).unwrap();
        let (dialled, _) = within(futures::future::join(dial, incoming(&mut two))).await;
        assert!(dialled.is_ok());
    });
}

#[test]
fn a_name_that_names_itself_ends_after_the_most_lookups() {
    let fake = Fake { txt: vec!["dnsaddr=/dnsaddr/peers.test".to_owned(); 2], ..Fake::default() };
    let (lookups, dials, error) = refused(fake, "/dnsaddr/peers.test");
    assert_eq!((lookups, dials), (LOOKUPS_MAX, 0));
    assert!(error.contains("more than 32 look-ups"), "{error}");
}

#[test]
fn records_and_dials_are_capped() {
    let many = (0..100).map(|port| format!("dnsaddr=/ip4/127.0.0.1/tcp/{}", port + 1)).collect();
    assert_eq!(refused(Fake { txt: many, ..Fake::default() }, "/dnsaddr/peers.test").1, RECORDS_MAX);
    let ips: VecDeque<IpAddr> = (0..100).map(|n| IpAddr::from([127, 0, 0, n])).collect();
    assert_eq!(refused(Fake { ips: ips.into(), ..Fake::default() }, "/dns/x.test/tcp/1").1, RECORDS_MAX);
    let names: Vec<_> = (1..9).map(|port| format!("dnsaddr=/dns4/x.test/tcp/{port}")).collect();
    let ips = (0..10).map(|n| IpAddr::from([127, 0, 0, n])).collect();
    assert_eq!(refused(Fake { txt: names, ips, ..Fake::default() }, "/dnsaddr/peers.test").1, DIALS_MAX);
}

#[test]
fn a_name_without_an_address_of_the_family_is_an_error() {
    let fake = Fake { ips: vec![IpAddr::from([127, 0, 0, 1])], ..Fake::default() };
    let (lookups, dials, error) = refused(fake, "/dns6/x.test/tcp/1");
    assert_eq!((lookups, dials), (1, 0));
    assert!(error.contains("/dns6/x.test: no matching record"), "{error}");
}

#[test]
fn a_dnsaddr_record_of_another_peer_is_not_dialled() {
    let txt = vec![format!("dnsaddr=/ip4/127.0.0.1/tcp/1/p2p/{}", PeerId::random())];
    let name = format!("/dnsaddr/peers.test/p2p/{}", PeerId::random());
    assert_eq!(refused(Fake { txt, ..Fake::default() }, &name).1, 0);
}

#[test]
fn a_name_that_leads_to_a_private_address_is_refused_below_dns_unless_allowed() {
    block_on(async {
        let mut two = Tcp::default();
        let (_, to) = listen(&mut two, "/ip4/127.0.0.1/tcp/0").await;
        let name: Multiaddr = to.to_string().replace("/ip4/127.0.0.1", "/dns4/public.test").parse().unwrap();
        let one = |dial_private| {
            let fake = Fake { ips: vec![IpAddr::from([127, 0, 0, 1])], ..Fake::default() };
            dns::Transport::new(DialGuard::new(Tcp::default(), dial_private), Arc::new(fake))
        };
        let refused = within(one(false).dial(name.clone(), opts(PortUse::New)).unwrap()).await.unwrap_err();
        assert!(refused.to_string().contains("p2p_allow_private_ips"), "{refused}");
        let direct = one(false).dial(to, opts(PortUse::New));
        assert!(direct.is_err(), "without a name as well");
        let dial = one(true).dial(name, opts(PortUse::New)).unwrap();
        let (dialled, _) = within(futures::future::join(dial, incoming(&mut two))).await;
        assert!(dialled.is_ok());
    });
}
