//! The feed's listener, over real sockets on loopback.
#![allow(missing_docs, clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

mod support;

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_tungstenite::tungstenite::{Bytes, Error, Message};
use async_tungstenite::{WebSocketStream, client_async};
use futures::io::{AsyncReadExt as _, AsyncWriteExt as _};
use futures::{FutureExt as _, StreamExt as _};
use peerage_core::teranode::feed::{Action, Event, SubscriberId};
use peerage_shell::http::feed::{Feed, FeedLimits};
use peerage_shell::http::hub::{Hub, frame};
use peerage_shell::http::server;
use peerage_shell::runtime::bind;
use smol::Async;
use support::{block_on, runtime};

struct Server {
    hub: Hub,
    addr: SocketAddr,
}

impl Server {
    fn start(limits: FeedLimits) -> Self {
        let runtime = runtime();
        let hub = Hub::new(limits.clone());
        let (listener, addr) = bind(&*runtime, ([127, 0, 0, 1], 0).into()).unwrap();
        let connections = limits.connections();
        let feed = Feed::new(runtime.clone(), hub.clone(), limits);
        let handler: server::Handler = Box::new(move |socket, from| feed.clone().serve(socket, from).boxed());
        runtime
            .spawn(server::accept(runtime.clone(), listener, connections, Arc::default(), handler).boxed());
        Self { hub, addr }
    }

    /// The next event of the hub.
    async fn event(&self) -> Event {
        std::future::poll_fn(|cx| self.hub.poll_event(cx)).await
    }

    /// A client that has had its first frame.
    async fn client(&self, path: &str) -> (Client, SubscriberId) {
        let client = self.connect(path).await.unwrap();
        let Event::Joined { id } = self.event().await else { panic!("no client joined") };
        self.hub.start(Action::Send { to: Some(id), frame: frame("first") });
        let mut client = client;
        assert_eq!(text(&mut client).await, "first");
        (client, id)
    }

    async fn connect(&self, path: &str) -> Result<Client, Error> {
        let stream = Async::<TcpStream>::connect(self.addr).await?;
        let url = format!("ws://{}{path}", self.addr);
        client_async(url, stream).await.map(|(client, _)| client)
    }

    fn show(&self, text: &str) {
        self.hub.start(Action::Send { to: None, frame: frame(text) });
    }

    async fn raw(&self, request: &[u8]) -> String {
        let mut stream = Async::<TcpStream>::connect(self.addr).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        // A server that has closed before we had written all may answer with a reset.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }
}

type Client = WebSocketStream<Async<TcpStream>>;

async fn text(client: &mut Client) -> String {
    loop {
        match client.next().await.unwrap().unwrap() {
            Message::Text(text) => return text.to_string(),
            Message::Ping(_) => {}
            other => panic!("not a text: {other:?}"),
        }
    }
}

/// The code with which the server closes.
async fn close_code(client: &mut Client) -> u16 {
    loop {
        match client.next().await {
            Some(Ok(Message::Close(Some(close)))) => return close.code.into(),
            Some(Ok(_)) => {}
            other => panic!("no close frame: {other:?}"),
        }
    }
}

fn header<'a>(answer: &'a str, name: &str) -> Vec<&'a str> {
    let head = answer.split("\r\n\r\n").next().unwrap();
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .filter(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
        .collect()
}

/// Each recorded request gets the recorded answer: status, each recorded header, body.
fn recorded_answers() {
    let vectors = include_str!("../../tests/vectors/teranode/http.json");
    let vectors: serde_json::Value = serde_json::from_str(vectors).unwrap();
    block_on(30, async {
        let server = Server::start(FeedLimits::default());
        for recorded in vectors["requests"].as_array().unwrap() {
            let name = recorded["request"].as_str().unwrap();
            let line = name.split(" with").next().unwrap();
            let mut request = format!("{line} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", server.addr);
            if name.contains("Origin") {
                request.push_str("Origin: http://x\r\n");
            }
            if name.contains("Access-Control-Request-Method") {
                request.push_str("Access-Control-Request-Method: GET\r\n");
            }
            request.push_str("\r\n");
            let answer = server.raw(request.as_bytes()).await;
            let status = format!("HTTP/1.1 {} ", recorded["status"]);
            assert!(answer.starts_with(&status), "{name}: {answer}");
            for (key, value) in recorded["headers"].as_object().unwrap() {
                let expected: Vec<&str> = match value {
                    serde_json::Value::Array(values) => {
                        values.iter().map(|value| value.as_str().unwrap()).collect()
                    }
                    value => vec![value.as_str().unwrap()],
                };
                assert_eq!(header(&answer, key), expected, "{name}: {key}");
            }
            let body = answer.split_once("\r\n\r\n").unwrap().1;
            assert_eq!(body, recorded["body"].as_str().unwrap(), "{name}");
        }
    });
}

#[test]
fn t064_health_answers_ok() {
    block_on(10, async {
        let server = Server::start(FeedLimits::default());
        let answer = server.raw(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nOK"), "{answer}");
    });
}

#[test]
fn t160_every_recorded_request_gets_the_recorded_answer() {
    recorded_answers();
}

#[test]
fn t065_both_paths_upgrade_for_any_origin_reference() {
    block_on(10, async {
        let server = Server::start(FeedLimits::default());
        for path in ["/p2p-ws", "/ws"] {
            let _client = server.client(path).await;
            let request = format!(
                "GET {path} HTTP/1.1\r\nHost: x\r\nOrigin: http://evil.example\r\nConnection: keep-alive, Upgrade\r\n\
                 Upgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            );
            let mut stream = Async::<TcpStream>::connect(server.addr).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut head = [0; 12];
            stream.read_exact(&mut head).await.unwrap();
            assert_eq!(&head, b"HTTP/1.1 101");
            // Both clients of this path come and go before the next one's turn.
            assert!(matches!(server.event().await, Event::Joined { .. }));
            drop((_client, stream));
            server.event().await;
            server.event().await;
        }
    });
}

#[test]
fn t065_an_origin_off_the_list_is_refused_and_one_on_it_is_not_default() {
    block_on(10, async {
        let limits = FeedLimits { origins: vec!["http://Good.example".to_owned()], ..FeedLimits::default() };
        let server = Server::start(limits);
        let upgrade = |origin: &str| {
            format!(
                "GET /ws HTTP/1.1\r\nHost: x\r\nOrigin: {origin}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
        };
        let mut stream = Async::<TcpStream>::connect(server.addr).await.unwrap();
        stream.write_all(upgrade("http://evil.example").as_bytes()).await.unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 403");
        assert!(server.hub.is_empty());
        let mut stream = Async::<TcpStream>::connect(server.addr).await.unwrap();
        stream.write_all(upgrade("http://good.example").as_bytes()).await.unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 101");
    });
}

#[test]
fn t070_two_clients_both_get_each_frame() {
    block_on(10, async {
        let server = Server::start(FeedLimits::default());
        let (mut one, _) = server.client("/p2p-ws").await;
        let (mut two, _) = server.client("/ws").await;
        for number in 0..50 {
            server.show(&format!("{{\"n\":{number}}}"));
        }
        for number in 0..50 {
            assert_eq!(text(&mut one).await, format!("{{\"n\":{number}}}"));
            assert_eq!(text(&mut two).await, format!("{{\"n\":{number}}}"));
        }
    });
}

#[test]
fn t071_a_client_that_does_not_read_is_closed_and_delays_nobody() {
    block_on(30, async {
        let server = Server::start(FeedLimits { per_source_max: None, ..FeedLimits::default() });
        let (sleeper, asleep) = server.client("/ws").await;
        let mut others = Vec::new();
        for _ in 0..50 {
            others.push(server.client("/ws").await.0);
        }
        // Frames as large as it takes to fill the sleeper's socket buffers soon.
        let filling = "x".repeat(64 * 1024);
        let mut worst = Duration::ZERO;
        let mut evicted = false;
        for _ in 0..400 {
            let sent = Instant::now();
            server.show(&filling);
            for other in &mut others {
                assert_eq!(text(other).await.len(), filling.len());
            }
            worst = worst.max(sent.elapsed());
            if let Some(Event::Lagged { id }) = server.event().now_or_never() {
                assert_eq!(id, asleep);
                server.hub.start(Action::Close { id, code: 1008 });
                evicted = true;
                break;
            }
        }
        assert!(evicted, "the sleeper was never noticed");
        assert_eq!(server.event().await, Event::Left { id: asleep });
        assert_eq!(server.hub.len(), 50);
        // 3 MB a round through one test thread: the bound is for being blocked, not for being busy.
        assert!(worst < Duration::from_secs(1), "a frame took {worst:?}");
        drop(sleeper);
    });
}

#[test]
fn t072_a_client_that_closes_is_gone() {
    block_on(20, async {
        let server = Server::start(FeedLimits::default());
        for _ in 0..100 {
            let (mut client, id) = server.client("/ws").await;
            client.close(None).await.unwrap();
            assert_eq!(server.event().await, Event::Left { id });
        }
        assert!(server.hub.is_empty());
    });
}

#[test]
fn t073_a_plain_request_on_the_feed_is_refused_alone() {
    block_on(10, async {
        let server = Server::start(FeedLimits::default());
        let (mut client, _) = server.client("/p2p-ws").await;
        let answer = server.raw(b"GET /p2p-ws HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        server.show("still here");
        assert_eq!(text(&mut client).await, "still here");
    });
}

#[test]
fn a_frame_over_1024_bytes_closes_its_sender_with_1009() {
    block_on(10, async {
        let server = Server::start(FeedLimits::default());
        let (mut client, _) = server.client("/ws").await;
        client.send(Message::Text("x".repeat(1024).into())).await.unwrap();
        client.send(Message::Binary(Bytes::from(vec![0; 1025]))).await.unwrap();
        assert_eq!(close_code(&mut client).await, 1009);
    });
}

/// What comes back from a client that breaks the protocol so.
async fn close_code_for(server: &Server, broken: &[u8]) -> u16 {
    let mut stream = Async::<TcpStream>::connect(server.addr).await.unwrap();
    let upgrade = "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(upgrade.as_bytes()).await.unwrap();
    stream.write_all(broken).await.unwrap();
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said).await;
    let head = said.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    match said[head..] {
        [0x88, _, high, low, ..] => u16::from_be_bytes([high, low]),
        ref other => panic!("no close frame: {other:?}"),
    }
}

#[test]
fn who_breaks_the_protocol_is_told_so() {
    block_on(10, async {
        let server = Server::start(FeedLimits::default());
        // Masked with zeros: a text that is no UTF-8; then an unmasked frame, and a reserved kind of frame.
        assert_eq!(close_code_for(&server, b"\x81\x82\0\0\0\0\xff\xff").await, 1007);
        assert_eq!(close_code_for(&server, b"\x81\x01x").await, 1002);
        assert_eq!(close_code_for(&server, b"\x83\x80\0\0\0\0").await, 1002);
    });
}

#[test]
fn a_hundred_frames_a_minute_are_the_most_that_a_client_may_send() {
    block_on(10, async {
        let server = Server::start(FeedLimits::default());
        let (mut client, _) = server.client("/ws").await;
        for _ in 0..101 {
            // The server may have closed before the last one.
            let _ = client.send(Message::Text("x".into())).await;
        }
        assert_eq!(close_code(&mut client).await, 1008);
    });
}

#[test]
fn a_source_over_its_share_gets_503_and_its_place_comes_back() {
    block_on(10, async {
        let limits = FeedLimits { per_source_max: Some(2), ..FeedLimits::default() };
        let server = Server::start(limits);
        let (one, id) = server.client("/ws").await;
        let _two = server.client("/ws").await;
        let refused = server.connect("/ws").await;
        assert!(matches!(&refused, Err(Error::Http(answer)) if answer.status() == 503), "{refused:?}");
        drop(one);
        assert_eq!(server.event().await, Event::Left { id });
        server.client("/ws").await;
    });
}

#[test]
fn when_the_node_stops_every_client_is_closed_with_1001() {
    block_on(10, async {
        let server = Server::start(FeedLimits::default());
        let (mut client, _) = server.client("/ws").await;
        server.hub.close_all(1001);
        assert_eq!(close_code(&mut client).await, 1001);
        let refused = server.connect("/ws").await;
        assert!(matches!(&refused, Err(Error::Http(answer)) if answer.status() == 503), "{refused:?}");
    });
}

#[test]
fn garbage_and_endless_headers_are_cut_off_and_hurt_nobody() {
    block_on(20, async {
        let server = Server::start(FeedLimits::default());
        let (mut client, _) = server.client("/ws").await;
        for hostile in [
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
            [b"GET / HTTP/1.1\r\nX: ".to_vec(), vec![b'a'; 64 * 1024]].concat(),
            b"GET /ws HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n".to_vec(),
            vec![0; 4096],
        ] {
            server.raw(&hostile).await;
        }
        server.show("unharmed");
        assert_eq!(text(&mut client).await, "unharmed");
    });
}
