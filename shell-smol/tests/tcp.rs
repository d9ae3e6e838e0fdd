//! What libp2p's own tests check of its TCP transport, of ours: its unit tests name for name, and besides them failed
//! dials, translation of addresses, and interfaces that come and go.
#![allow(missing_docs, clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::future::{Either, join, select};
use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::core::multiaddr::Protocol;
use libp2p::core::transport::{ListenerId, PortUse, TransportError, TransportEvent};
use libp2p::{Multiaddr, Transport as _};
use peerage_smol::runtime::block_on;
use peerage_smol::transport::{Stream, Tcp};
use socket2::{Domain, Socket, Type};

#[path = "../../shell/tests/support/namespace.rs"]
mod namespace;
mod support;

use support::{opts, within};

type Event = TransportEvent<futures::future::Ready<io::Result<Stream>>, io::Error>;

const LOOPBACK: [&str; 2] = ["/ip4/127.0.0.1/tcp/0", "/ip6/::1/tcp/0"];

async fn event(tcp: &mut Tcp) -> Event {
    within(poll_fn(|cx| Pin::new(&mut *tcp).poll(cx))).await
}

fn listen(tcp: &mut Tcp, addr: &str) -> ListenerId {
    let id = ListenerId::next();
    tcp.listen_on(id, addr.parse().unwrap()).unwrap();
    id
}

/// The next address that is told, and whose.
async fn address(tcp: &mut Tcp) -> (ListenerId, Multiaddr) {
    match event(tcp).await {
        TransportEvent::NewAddress { listener_id, listen_addr } => (listener_id, listen_addr),
        other => panic!("no address: {other:?}"),
    }
}

async fn listening(addr: &str) -> (Tcp, Multiaddr) {
    let mut tcp = Tcp::default();
    listen(&mut tcp, addr);
    let (_, addr) = address(&mut tcp).await;
    (tcp, addr)
}

async fn incoming(tcp: &mut Tcp) -> (Stream, Multiaddr) {
    loop {
        if let TransportEvent::Incoming { upgrade, send_back_addr, .. } = event(tcp).await {
            return (upgrade.await.unwrap(), send_back_addr);
        }
    }
}

fn is_quiet(tcp: &mut Tcp) -> bool {
    Pin::new(tcp).poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

fn port(addr: &Multiaddr) -> u16 {
    let port = |part| if let Protocol::Tcp(port) = part { Some(port) } else { None };
    addr.iter().find_map(port).unwrap()
}

#[test]
fn dialler_and_listener_talk_over_each_family() {
    for family in LOOPBACK {
        block_on(async {
            let (mut listener, addr) = listening(family).await;
            let dial = Tcp::default().dial(addr, opts(PortUse::New)).unwrap();
            let (dialled, (mut accepted, _)) = within(join(dial, incoming(&mut listener))).await;
            let mut dialled = dialled.unwrap();
            let mut text = [0; 3];
            dialled.write_all(&[1, 2, 3]).await.unwrap();
            accepted.read_exact(&mut text).await.unwrap();
            assert_eq!(text, [1, 2, 3]);
            accepted.write_all(&[4, 5, 6]).await.unwrap();
            dialled.read_exact(&mut text).await.unwrap();
            assert_eq!(text, [4, 5, 6]);
            assert!(accepted.get_ref().nodelay().unwrap() && dialled.get_ref().nodelay().unwrap());
        });
    }
}

#[test]
fn a_wildcard_listener_tells_no_wildcard_and_is_reached_where_it_tells() {
    for (wildcard, loopback) in [("/ip4/0.0.0.0/tcp/0", "/ip4/127.0.0.1"), ("/ip6/::/tcp/0", "/ip6/::1")] {
        block_on(async {
            let mut listener = Tcp::default();
            listen(&mut listener, wildcard);
            let told = loop {
                let (_, addr) = address(&mut listener).await;
                assert!(!addr.to_string().contains("/0.0.0.0/") && !addr.to_string().contains("/::/"));
                if addr.to_string().starts_with(loopback) {
                    break addr;
                }
            };
            let dial = Tcp::default().dial(told, opts(PortUse::New)).unwrap();
            assert!(within(join(dial, incoming(&mut listener))).await.0.is_ok());
        });
    }
}

#[test]
fn a_dial_that_reuses_a_port_is_seen_from_it_in_each_family() {
    for family in LOOPBACK {
        block_on(async {
            let (mut listener, to) = listening(family).await;
            let (mut dialler, own) = listening(family).await;
            let dial = dialler.dial(to.clone(), opts(PortUse::Reuse)).unwrap();
            let (first, (_accepted, seen)) = within(join(dial, incoming(&mut listener))).await;
            assert_eq!((first.is_ok(), seen), (true, own.clone()));
            // The same way is taken now: the system gives another port, or none. Never does it fail otherwise.
            let again = dialler.dial(to, opts(PortUse::Reuse)).unwrap();
            let (again, (_accepted, seen)) = within(join(again, incoming(&mut listener))).await;
            assert!(again.is_ok() && seen != own);
        });
    }
}

#[test]
fn one_address_is_listened_on_twice() {
    block_on(async {
        let (mut tcp, addr) = listening(LOOPBACK[0]).await;
        let second = listen(&mut tcp, &addr.to_string());
        assert_eq!(address(&mut tcp).await, (second, addr));
    });
}

#[test]
fn port_0_becomes_a_port_in_each_family() {
    for family in LOOPBACK {
        assert_ne!(port(&block_on(listening(family)).1), 0);
    }
}

#[test]
fn what_is_no_tcp_address_is_not_listened_on() {
    for unfit in ["/ip4/127.0.0.1/tcp/12345/tcp/12345", "/ip4/127.0.0.1/udp/1", "/dns4/localhost/tcp/1"] {
        let refused = Tcp::default().listen_on(ListenerId::next(), unfit.parse().unwrap());
        assert!(matches!(refused, Err(TransportError::MultiaddrNotSupported(_))), "{unfit}");
    }
}

#[test]
fn listeners_are_removed_again_and_again_and_each_says_that_it_closed() {
    block_on(async {
        let mut tcp = Tcp::default();
        for _ in 0..100 {
            let id = listen(&mut tcp, LOOPBACK[0]);
            let (_, addr) = address(&mut tcp).await;
            assert!(tcp.remove_listener(id));
            let closed = event(&mut tcp).await;
            assert!(
                matches!(closed, TransportEvent::ListenerClosed { listener_id, reason: Ok(()) } if listener_id == id)
            );
            assert!(is_quiet(&mut tcp) && !tcp.remove_listener(id));
            let dial = Tcp::default().dial(addr, opts(PortUse::New)).unwrap();
            assert_eq!(within(dial).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        }
    });
}

#[test]
fn ipv4_and_ipv6_are_listened_on_separately_at_one_port() {
    namespace::inside("ipv4_and_ipv6_are_listened_on_separately_at_one_port", || {
        block_on(async {
            let (mut six, addr) = listening("/ip6/::/tcp/0").await;
            let four: Multiaddr = format!("/ip4/127.0.0.1/tcp/{}", port(&addr)).parse().unwrap();
            let refused = within(Tcp::default().dial(four.clone(), opts(PortUse::New)).unwrap()).await;
            assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::ConnectionRefused, "it is for IPv6 alone");
            let (mut four_too, told) = listening(&four.to_string()).await;
            assert_eq!(told, four);
            let dial = Tcp::default().dial(four, opts(PortUse::New)).unwrap();
            assert!(within(join(dial, incoming(&mut four_too))).await.0.is_ok());
            assert!(is_quiet(&mut six), "nobody came there");
        });
    });
}

/// A listener whose backlog is full: the system answers nobody there any more.
fn deaf() -> (Socket, Vec<TcpStream>, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let addr = socket.local_addr().unwrap().as_socket().unwrap();
    let mut held = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&addr, Duration::from_millis(200)) {
        held.push(stream);
    }
    (socket, held, addr)
}

#[test]
fn a_dial_that_nobody_answers_times_out_and_leaves_nothing() {
    let (_socket, _held, addr) = deaf();
    let to: Multiaddr = format!("/ip4/127.0.0.1/tcp/{}", addr.port()).parse().unwrap();
    block_on(async {
        let mut tcp = libp2p::core::transport::timeout::TransportTimeout::with_outgoing_timeout(
            Tcp::default(),
            Duration::from_millis(100),
        );
        let error = within(tcp.dial(to, opts(PortUse::New)).unwrap()).await.unwrap_err();
        assert!(error.to_string().contains("Timeout"), "{error}");
    });
}

#[test]
fn a_dial_is_translated_to_the_port_that_is_listened_on() {
    use libp2p::swarm::{Config, Executor, SwarmEvent};
    use libp2p::{Swarm, identify, identity, noise, yamux};
    struct Run;
    impl Executor for Run {
        fn exec(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) {
            peerage_smol::runtime::spawn(task);
        }
    }
    let swarm = || {
        let key = identity::Keypair::generate_ed25519();
        let stack = Tcp::default()
            .upgrade(libp2p::core::upgrade::Version::V1)
            .authenticate(noise::Config::new(&key).unwrap())
            .multiplex(yamux::Config::default())
            .boxed();
        let identify = identify::Behaviour::new(identify::Config::new("/test/1".to_owned(), key.public()));
        let idle = Duration::from_secs(60);
        let config = Config::with_executor(Run).with_idle_connection_timeout(idle);
        Swarm::new(stack, identify, key.public().to_peer_id(), config)
    };
    block_on(within(async {
        use futures::StreamExt as _;
        let (mut dialler, mut listener) = (swarm(), swarm());
        let mut own = BTreeSet::new();
        listener.listen_on(LOOPBACK[0].parse().unwrap()).unwrap();
        dialler.listen_on(LOOPBACK[0].parse().unwrap()).unwrap();
        loop {
            match select(dialler.next(), listener.next()).await {
                Either::Left((Some(SwarmEvent::NewListenAddr { address, .. }), _)) => {
                    own.insert(address);
                }
                Either::Left((Some(SwarmEvent::NewExternalAddrCandidate { address }), _)) => {
                    assert!(own.contains(&address), "{address} is none of {own:?}");
                    return;
                }
                Either::Right((Some(SwarmEvent::NewListenAddr { address, .. }), _)) => {
                    let peer = *listener.local_peer_id();
                    let to = libp2p::swarm::dial_opts::DialOpts::peer_id(peer)
                        .addresses(vec![address])
                        .allocate_new_port()
                        .build();
                    dialler.dial(to).unwrap();
                }
                _ => {}
            }
        }
    }));
}

#[test]
fn addresses_are_told_as_interfaces_come_and_expire_as_they_go() {
    namespace::inside("addresses_are_told_as_interfaces_come_and_expire_as_they_go", || {
        block_on(async {
            let mut tcp = Tcp::default();
            listen(&mut tcp, "/ip4/0.0.0.0/tcp/0");
            let (_, loopback) = address(&mut tcp).await;
            assert!(loopback.to_string().starts_with("/ip4/127.0.0.1/"));
            assert!(is_quiet(&mut tcp), "there is nothing else yet");
            namespace::cable(&["198.51.100.7/24"]);
            let (_, told) = address(&mut tcp).await;
            assert_eq!(told, format!("/ip4/198.51.100.7/tcp/{}", port(&loopback)).parse().unwrap());
            let dial = Tcp::default().dial(told.clone(), opts(PortUse::New)).unwrap();
            assert!(within(join(dial, incoming(&mut tcp))).await.0.is_ok());
            namespace::ip("addr add 203.0.113.7/24 dev net0");
            let (_, second) = address(&mut tcp).await;
            assert!(second.to_string().starts_with("/ip4/203.0.113.7/"));
            namespace::ip("addr del 203.0.113.7/24 dev net0");
            assert!(
                matches!(event(&mut tcp).await, TransportEvent::AddressExpired { listen_addr, .. } if listen_addr == second)
            );
            namespace::ip("link del net0");
            assert!(
                matches!(event(&mut tcp).await, TransportEvent::AddressExpired { listen_addr, .. } if listen_addr == told)
            );
            let dial = Tcp::default().dial(told, opts(PortUse::New)).unwrap();
            assert!(within(dial).await.is_err(), "nobody is there any more");
        });
    });
}

#[test]
fn a_machine_with_ipv6_alone_listens_tells_and_dials() {
    namespace::inside("a_machine_with_ipv6_alone_listens_tells_and_dials", || {
        namespace::ip("addr del 127.0.0.1/8 dev lo");
        namespace::cable(&["2001:db8::7/64"]);
        block_on(async {
            let mut tcp = Tcp::default();
            listen(&mut tcp, "/ip6/::/tcp/0");
            let mut told = BTreeSet::new();
            while !told.iter().any(|addr: &Multiaddr| addr.to_string().starts_with("/ip6/2001:db8::7/")) {
                told.insert(address(&mut tcp).await.1);
            }
            assert!(told.iter().all(|addr| addr.to_string().starts_with("/ip6/")));
            for addr in told.iter().filter(|addr| !addr.to_string().starts_with("/ip6/fe80")) {
                let dial = Tcp::default().dial(addr.clone(), opts(PortUse::New)).unwrap();
                assert!(within(join(dial, incoming(&mut tcp))).await.0.is_ok(), "{addr}");
            }
        });
    });
}

#[test]
fn listeners_that_are_removed_give_their_descriptors_back() {
    namespace::inside("listeners_that_are_removed_give_their_descriptors_back", || {
        let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        block_on(async {
            let mut tcp = Tcp::default();
            // The reactor's own are opened once.
            for _ in 0..2 {
                let id = listen(&mut tcp, "/ip4/0.0.0.0/tcp/0");
                address(&mut tcp).await;
                tcp.remove_listener(id);
                event(&mut tcp).await;
            }
            let before = open();
            let ids: Vec<_> = (0..20).map(|_| listen(&mut tcp, "/ip4/0.0.0.0/tcp/0")).collect();
            assert!(open() >= before + 40, "a socket, and one that watches interfaces, for each");
            assert!(ids.into_iter().all(|id| tcp.remove_listener(id)));
            assert!(open() <= before, "{} and {before}", open());
            // A dial that is dropped closes its socket too.
            let (_socket, _held, deaf) = deaf();
            let before = open();
            let to: Multiaddr = format!("/ip4/127.0.0.1/tcp/{}", deaf.port()).parse().unwrap();
            let mut dial = Tcp::default().dial(to, opts(PortUse::New)).unwrap();
            let mut cx = Context::from_waker(Waker::noop());
            assert!(matches!(dial.as_mut().poll(&mut cx), Poll::Pending) && open() == before + 1);
            drop(dial);
            assert_eq!(open(), before);
        });
    });
}

/// One that holds its listener open for nobody.
#[test]
fn a_port_that_somebody_holds_alone_is_an_error() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = format!("/ip4/127.0.0.1/tcp/{}", held.local_addr().unwrap().port());
    let refused = Tcp::default().listen_on(ListenerId::next(), addr.parse().unwrap());
    let Err(TransportError::Other(error)) = refused else { panic!("{refused:?}") };
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
}
