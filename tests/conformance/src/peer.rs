//! A foreign peer.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::process::Leash;
use crate::setup::setup;
use crate::wire::{self, Kind};
use crate::{Failure, Process, SOON, retry};

/// Who the peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Make {
    /// The Go message bus v0.1.7, which the vectors are of.
    Bus017,
    /// The Go message bus v0.1.22.
    Bus022,
    /// go-libp2p without manners.
    Raw,
    /// js-libp2p.
    Js,
    /// Stock rust-libp2p gossipsub (`rust-peer`, a binary of this package).
    Rust,
}

/// How long one message may take while a link is tried out.
pub const TRY_EVERY: Duration = Duration::from_millis(250);

/// How long messages must cross without a loss: one heartbeat and a bit.
const MESHED_AFTER: Duration = Duration::from_millis(1500);

/// A running foreign peer.
pub struct Peer {
    process: Process,
    make: Make,
    id: String,
    addr: String,
}

/// Cargo puts this package's binaries beside the folder of its tests, and beside other binaries.
fn rust_peer() -> Result<std::path::PathBuf, Failure> {
    let test = std::env::current_exe().map_err(|error| Failure::new(format!("who am I: {error}")))?;
    let folders = test.ancestors().skip(1).take(2).map(|folder| folder.join("rust-peer"));
    let missing = || Failure::new(format!("no rust-peer near {}", test.display()));
    folders.into_iter().find(|file| file.is_file()).ok_or_else(missing)
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer")
            .field("make", &self.make)
            .field("id", &self.id)
            .field("addr", &self.addr)
            .finish()
    }
}

impl Peer {
    /// Starts a peer and waits until it is ready. `options` are the members of its first line (see
    /// `Config` of each Go program and `peer.mjs`); without `topics` it subscribes to all four.
    ///
    /// # Errors
    /// If the peer cannot be built or is not ready in time.
    pub fn start(make: Make, name: &str, mut options: Value) -> Result<Self, Failure> {
        let peers = setup()?;
        let command = match make {
            Make::Bus017 => Command::new(peers.go("bus017")),
            Make::Bus022 => Command::new(peers.go("bus022")),
            Make::Raw => Command::new(peers.go("raw")),
            Make::Rust => Command::new(rust_peer()?),
            Make::Js => {
                let mut command = Command::new("node");
                command.arg(peers.js("peer.mjs"));
                command
            }
        };
        if options.get("topics").is_none() {
            options["topics"] = json!(wire::topics());
        }
        if make != Make::Raw && options.get("name").is_none() {
            options["name"] = json!(name);
        }
        let mut process = Process::spawn(name, command, Leash::Stdin)?;
        process.send(&options)?;
        let ready = process.expect("ready", SOON, |e| e["event"] == "ready")?;
        let id = ready["peer_id"].as_str().unwrap_or_default().to_owned();
        let addr = ready["addrs"][0].as_str().unwrap_or_default().to_owned();
        let dialable = options["listen"] != "none";
        // On loopback, or where it was told to: in a network of the test's own.
        let told = options["listen"].as_str().and_then(|listen| listen.split("/tcp/").next());
        if id.is_empty() || dialable && !addr.starts_with(told.unwrap_or("/ip4/127.0.0.")) {
            return Err(process.failure("ready without id, or not where it was to listen"));
        }
        Ok(Self { process, make, id, addr })
    }

    /// The peer id in base58.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A multiaddr with `/p2p/ID`, of loopback unless it was told another; empty for a peer that does not listen.
    pub fn addr(&self) -> &str {
        &self.addr
    }

    /// The port it listens on, to start the same peer again; 0 if it does not listen.
    pub fn port(&self) -> u16 {
        self.addr.split('/').nth(4).and_then(|port| port.parse().ok()).unwrap_or_default()
    }

    /// Who the peer is.
    pub fn make(&self) -> Make {
        self.make
    }

    /// The process, for its events.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Publishes an inner message in the bus envelope.
    ///
    /// # Errors
    /// If the peer refuses.
    pub fn publish(&mut self, topic: &str, inner: &Value) -> Result<Value, Failure> {
        self.process.call(json!({"cmd": "publish", "topic": topic, "json": inner}))
    }

    /// Publishes raw pubsub data, without envelope (raw and JS peers).
    ///
    /// # Errors
    /// If the peer refuses.
    pub fn publish_payload(&mut self, topic: &str, payload: &[u8]) -> Result<Value, Failure> {
        self.process.call(json!({"cmd": "publish", "topic": topic, "payload_b64": wire::base64(payload)}))
    }

    /// Publishes an envelope of exactly that many bytes (raw peer).
    ///
    /// # Errors
    /// If the peer refuses, as its router does above its own limit.
    pub fn publish_size(&mut self, topic: &str, bytes: usize) -> Result<Value, Failure> {
        self.process.call(json!({"cmd": "publish", "topic": topic, "size": bytes}))
    }

    /// Writes one message past the router to one peer (raw peer in mode `frames`). `forge` says how
    /// it lies; see `forge` in `go/raw/forge.go`.
    ///
    /// # Errors
    /// If the stream cannot be opened.
    pub fn forge(&mut self, to: &str, topic: &str, inner: &Value, forge: &Value) -> Result<Value, Failure> {
        self.process.call(json!({"cmd": "forge", "peer": to, "topic": topic, "json": inner, "forge": forge}))
    }

    /// Connects to a multiaddr with `/p2p/ID`.
    ///
    /// # Errors
    /// If the connection fails.
    pub fn connect(&mut self, addr: &str) -> Result<(), Failure> {
        self.process.call(json!({"cmd": "connect", "addr": addr})).map(|_| ())
    }

    /// Closes the connections to a peer.
    ///
    /// # Errors
    /// If the id cannot be read.
    pub fn disconnect(&mut self, peer_id: &str) -> Result<(), Failure> {
        self.process.call(json!({"cmd": "disconnect", "peer": peer_id})).map(|_| ())
    }

    /// The ids of the peers with an open connection.
    ///
    /// # Errors
    /// If the peer does not answer.
    pub fn connected(&mut self) -> Result<Vec<String>, Failure> {
        let answer = self.process.call(json!({"cmd": "peers"}))?;
        let ids = answer["connected"].as_array().cloned().unwrap_or_default();
        Ok(ids.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect())
    }

    /// Asserts that this peer has never had a connection to the other.
    ///
    /// # Errors
    /// If it had one.
    pub fn assert_never_connected(&mut self, peer_id: &str) -> Result<(), Failure> {
        if self.process.count(|e| e["event"] == "connected" && e["peer"] == peer_id) > 0 {
            return Err(self.process.failure(&format!("it was connected to {peer_id}")));
        }
        Ok(())
    }

    /// Waits until the other peer has subscribed to the topic.
    ///
    /// # Errors
    /// When the time is over.
    pub fn expect_subscribed(&mut self, peer_id: &str, topic: &str, within: Duration) -> Result<(), Failure> {
        let what = format!("subscription of {peer_id} to {topic}");
        let found = |e: &Value| e["event"] == "subscribed" && e["peer"] == peer_id && e["topic"] == topic;
        self.process.expect(&what, within, found).map(|_| ())
    }

    /// Waits for a message with the given hash or transaction id.
    ///
    /// # Errors
    /// When the time is over.
    pub fn expect_message(&mut self, kind: Kind, mark: &str, within: Duration) -> Result<Value, Failure> {
        self.process.expect(&format!("{kind:?} {mark}"), within, |e| is_message(e, kind, mark))
    }

    /// Fails if the message has come, or comes within the time.
    ///
    /// # Errors
    /// With the message.
    pub fn expect_no_message(&mut self, kind: Kind, mark: &str, during: Duration) -> Result<(), Failure> {
        self.process.expect_none(&format!("{kind:?} {mark}"), during, |e| is_message(e, kind, mark))
    }

    /// Publishes fresh messages of the kind until one of them has reached the other peer: gossip
    /// acknowledges nothing and a young mesh loses some. Gives the event at the other peer.
    ///
    /// # Errors
    /// When the time is over.
    pub fn until_crosses(&mut self, kind: Kind, to: &mut Self, within: Duration) -> Result<Value, Failure> {
        retry(within, || self.try_cross(kind, to))
    }

    /// As [`Self::until_crosses`] until messages have crossed for longer than one heartbeat without
    /// a loss, after which a single message may be counted on.
    ///
    /// # Errors
    /// When the time is over.
    pub fn until_meshed(&mut self, kind: Kind, to: &mut Self, within: Duration) -> Result<(), Failure> {
        retry(within, || {
            let start = Instant::now();
            while start.elapsed() < MESHED_AFTER {
                self.try_cross(kind, to)?;
                // Nothing but its own message is to be expected in between: this only paces.
                to.process.expect_none("end of the world", TRY_EVERY / 2, |_| false)?;
            }
            Ok(())
        })
    }

    fn try_cross(&mut self, kind: Kind, to: &mut Self) -> Result<Value, Failure> {
        let message = kind.message(&self.id);
        self.publish(&kind.topic(), &message)?;
        to.expect_message(kind, &kind.mark(&message), TRY_EVERY)
    }

    /// Closes the peer down and waits for its end.
    ///
    /// # Errors
    /// If it does not end in time.
    pub fn stop(mut self) -> Result<(), Failure> {
        self.process.finish(SOON).map(|_| ())
    }
}

/// Whether the event is the message of that kind with that hash or transaction id.
pub fn is_message(event: &Value, kind: Kind, mark: &str) -> bool {
    event["event"] == "message" && event["topic"] == kind.topic() && kind.mark(&event["json"]) == mark
}
