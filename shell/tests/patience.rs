//! Time limits and shares of the listeners, by raw sockets. Each wait is for the server's close, never for a while.
#![allow(missing_docs, clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

mod support;

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use futures::channel::mpsc;
use futures::future::BoxFuture;
use futures::io::{AsyncReadExt as _, AsyncWriteExt as _};
use peerage_shell::http::admin::{self, Admin};
use peerage_shell::http::control::{Access, CALLS_MAX};
use peerage_shell::http::feed::{Feed, FeedLimits};
use peerage_shell::http::hub::Hub;
use peerage_shell::http::patience::Patience;
use peerage_shell::http::server;
use peerage_shell::p2p::Socket;
use peerage_shell::runtime::{Listener, bind};
use peerage_shell::settings::Secret;
use smol::Async;
use support::{block_on, runtime};

/// Longer than any test: what is not under test does not end it.
const NEVER: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_millis(100);
const UNHURRIED: Patience = Patience { first: NEVER, request: NEVER, idle: NEVER, write: NEVER };

fn serve(handler: server::Handler, limits: server::Limits) -> SocketAddr {
    let runtime = runtime();
    let (listener, addr) = bind(&*runtime, ([127, 0, 0, 1], 0).into()).unwrap();
    runtime.spawn(server::accept(runtime.clone(), listener, limits, Arc::default(), handler).boxed());
    addr
}

/// An operator's listener before a node that answers nothing.
fn operator(patience: Patience) -> SocketAddr {
    let (calls, unanswered) = mpsc::channel(CALLS_MAX);
    std::mem::forget(unanswered);
    let admin = Admin::new(runtime(), calls, Access::new(Secret::new("key".to_owned()), true), patience);
    serve(Box::new(move |socket, from| admin.clone().serve(socket, from).boxed()), admin::connections())
}

fn feed(patience: Patience, limits: FeedLimits) -> SocketAddr {
    let limits = FeedLimits { patience, ..limits };
    let connections = limits.connections();
    let feed = Feed::new(runtime(), Hub::new(limits.clone()), limits);
    serve(Box::new(move |socket, from| feed.clone().serve(socket, from).boxed()), connections)
}

async fn connect(addr: SocketAddr) -> Async<TcpStream> {
    Async::<TcpStream>::connect(addr).await.unwrap()
}

/// What the server says until it closes.
async fn rest(socket: &mut Async<TcpStream>) -> String {
    let mut said = Vec::new();
    let _ = socket.read_to_end(&mut said).await;
    String::from_utf8_lossy(&said).into_owned()
}

const GET: &[u8] = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
/// The beginning of HTTP/2, and settings without a setting.
const H2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

#[test]
fn who_says_nothing_or_too_little_is_closed() {
    block_on(20, async {
        let hurried = Patience { first: SOON, ..UNHURRIED };
        for addr in [operator(hurried), feed(hurried, FeedLimits::default())] {
            for beginning in [&b""[..], b"P", b"PRI * HTTP/2", b"GET /health HTTP/1.1\r\nHost: lo", H2] {
                let mut socket = connect(addr).await;
                socket.write_all(beginning).await.unwrap();
                rest(&mut socket).await;
            }
        }
    });
}

#[test]
fn who_asks_nothing_more_is_closed() {
    block_on(20, async {
        let hurried = Patience { idle: SOON, ..UNHURRIED };
        for addr in [operator(hurried), feed(hurried, FeedLimits::default())] {
            let mut socket = connect(addr).await;
            socket.write_all(GET).await.unwrap();
            let said = rest(&mut socket).await;
            assert!(said.starts_with("HTTP/1.1 200 OK"), "{said}");
        }
    });
}

#[test]
fn a_request_that_takes_too_long_ends_with_its_connection() {
    block_on(20, async {
        let mut socket = connect(operator(Patience { request: SOON, ..UNHURRIED })).await;
        socket.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        assert_eq!(rest(&mut socket).await, "");
    });
}

#[test]
fn who_takes_nothing_of_its_answers_is_closed() {
    block_on(30, async {
        let addr = feed(Patience { write: SOON, ..UNHURRIED }, FeedLimits::default());
        let mut socket = connect(addr).await;
        // Questions without end, until the server neither reads nor writes any more: it has closed.
        let questions = GET.repeat(1000);
        while socket.write_all(&questions).await.is_ok() {}
    });
}

#[test]
fn the_oldest_of_a_source_gives_way_to_its_newest() {
    block_on(20, async {
        let addr = operator(UNHURRIED);
        let mut silent = Vec::new();
        for _ in 0..40 {
            silent.push(connect(addr).await);
        }
        let mut asking = connect(addr).await;
        asking
            .write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        assert!(rest(&mut asking).await.starts_with("HTTP/1.1 200 OK"));
        assert_eq!(rest(&mut silent[0]).await, "", "the oldest was closed");
    });
}

#[test]
fn a_source_that_is_not_trusted_gets_its_share_of_the_feed_before_any_upgrade() {
    block_on(20, async {
        let limits = FeedLimits { per_source_max: Some(4), ..FeedLimits::default() };
        let addr = feed(UNHURRIED, limits.clone());
        let share = limits.connections().per_source_max.unwrap();
        let mut silent = Vec::new();
        for _ in 0..=share {
            silent.push(connect(addr).await);
        }
        assert_eq!(rest(&mut silent[0]).await, "");
        let trusted = FeedLimits { trusted: vec!["127.0.0.0/8".parse().unwrap()], ..limits };
        let addr = feed(UNHURRIED, trusted);
        let mut proxied = Vec::new();
        for _ in 0..=share {
            proxied.push(connect(addr).await);
        }
        for socket in &mut proxied {
            socket.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
            assert!(rest(socket).await.starts_with("HTTP/1.1 200 OK"), "a proxy speaks for many");
        }
    });
}

/// Fails as without descriptors, until it is told that there are some; then nobody comes.
struct Broken(Arc<AtomicBool>);

impl Listener for Broken {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Socket, SocketAddr)>> {
        match self.0.load(Ordering::Relaxed) {
            false => async { Err(io::Error::other("too many open files")) }.boxed(),
            true => futures::future::pending().boxed(),
        }
    }
}

/// Ends when the tally is so; the test has its deadline.
async fn until(fits: impl Fn() -> bool) {
    while !fits() {
        smol::future::yield_now().await;
    }
}

#[test]
fn a_listener_through_which_nobody_gets_in_is_known_as_failing_until_it_works() {
    block_on(20, async {
        let repaired = Arc::<AtomicBool>::default();
        let tally = Arc::<server::Tally>::default();
        let handler: server::Handler = Box::new(|_, _| async {}.boxed());
        let accept = server::accept(
            runtime(),
            Box::new(Broken(Arc::clone(&repaired))),
            admin::connections(),
            Arc::clone(&tally),
            handler,
        );
        smol::spawn(accept).detach();
        until(|| tally.is_failing()).await;
        assert!(tally.failed() >= 10);
        repaired.store(true, Ordering::Relaxed);
        until(|| !tally.is_failing()).await;
    });
}
