//! What the operator is told: one line for each fact, as text or as JSON. A reader that does not read costs lines, never
//! time.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use peerage_core::conn::{CloseReason, DialError, DisconnectReason, Source};
use peerage_core::explain::Notice;
use peerage_core::gossipsub::Acceptance;
use peerage_core::teranode::ProduceTopic;
use peerage_proto::kafka::KafkaBlockTopicMessage;
use prost::Message as _;
use serde_json::{Value, json};

/// How facts are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    /// For people; rate-limited by kind of fact.
    #[default]
    Text,
    /// One JSON object a line: every fact, but of what strangers cause at will before they are anybody no more than as text.
    Json,
}

/// Lines waiting for a reader.
const LINES_MAX: usize = 4096;
/// Lines of one kind in one window, as text; as JSON, of the kinds of [`is_cut_as_json`].
const KIND_LINES_MAX: u32 = 10;
/// The window.
const WINDOW: Duration = Duration::from_secs(10);

/// Writes lines to standard output from a thread of its own.
#[derive(Debug)]
pub struct Report {
    format: Format,
    lines: Option<SyncSender<String>>,
    writer: Option<JoinHandle<()>>,
    kinds: BTreeMap<&'static str, (Instant, u32, u64)>,
    lost: u64,
}

impl Report {
    /// Begins to write.
    pub fn new(format: Format) -> Self {
        let (lines, receiver) = sync_channel(LINES_MAX);
        let writer = std::thread::Builder::new()
            .name("report".to_owned())
            .stack_size(64 * 1024)
            .spawn(move || write(&receiver))
            .ok();
        Self { format, lines: Some(lines), writer, kinds: BTreeMap::new(), lost: 0 }
    }

    /// Lines lost because nobody read.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Tells one fact.
    pub fn notice(&mut self, notice: &Notice) {
        if let Some(before) = self.wanted(kind_of(notice)) {
            self.write(event(notice), before);
        }
    }

    /// Tells that a record goes to the broker.
    pub fn produced(&mut self, topic: ProduceTopic, value: &[u8]) {
        let Some(before) = self.wanted("produced") else { return };
        // Both records have the same members under the same numbers.
        let Ok(record) = KafkaBlockTopicMessage::decode(value) else { return };
        let kind = match topic {
            ProduceTopic::Blocks => "block",
            ProduceTopic::Subtrees => "subtree",
        };
        let event = json!({
            "event": "produced",
            "kind": kind,
            "hash": record.hash,
            "url": record.url,
            "peer_id": record.peer_id,
        });
        self.write(event, before);
    }

    /// Tells one fact of the shell's own, given as a JSON object with a member `event`. These are few.
    pub fn event(&mut self, event: &Value) {
        self.write(event.clone(), 0);
    }

    /// Whether a line of this kind is to be made: as text each kind has its share, as JSON those have that strangers cause,
    /// and what is kept back is counted. Gives how many were kept back before. Asked first, so that a line that nobody gets
    /// costs nothing.
    fn wanted(&mut self, kind: &'static str) -> Option<u64> {
        if self.format == Format::Json && !is_cut_as_json(kind) {
            return Some(0);
        }
        let now = Instant::now();
        let (since, told, kept_back) = self.kinds.entry(kind).or_insert((now, 0, 0));
        let mut before = 0;
        if now.saturating_duration_since(*since) >= WINDOW {
            (*since, *told) = (now, 0);
            before = std::mem::take(kept_back);
        }
        if *told >= KIND_LINES_MAX {
            *kept_back += 1;
            return None;
        }
        *told += 1;
        Some(before)
    }

    fn write(&mut self, event: Value, before: u64) {
        let line = line_of(self.format, event, before);
        let sent = self.lines.as_ref().is_some_and(|lines| lines.try_send(line).is_ok());
        if !sent {
            self.lost += 1;
        }
    }

    /// Writes out what waits, but does not wait for a reader that is asleep.
    pub fn close(mut self) {
        self.lines = None;
        let Some(writer) = self.writer.take() else { return };
        let until = Instant::now() + Duration::from_millis(300);
        while !writer.is_finished() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Whether strangers cause facts of this kind at will, before they are anybody: thousands a second.
fn is_cut_as_json(kind: &str) -> bool {
    matches!(kind, "refused" | "dial_failed")
}

/// One line: a fact, and how many of its kind were kept back before it.
fn line_of(format: Format, mut event: Value, before: u64) -> String {
    match (format, before) {
        (Format::Json, 0) => event.to_string(),
        (Format::Json, before) => {
            event["kept_back"] = before.into();
            event.to_string()
        }
        (Format::Text, 0) => text(&event),
        (Format::Text, before) => format!("{} (and {before} more of this kind before)", text(&event)),
    }
}

fn write(lines: &Receiver<String>) {
    let mut out = std::io::stdout();
    while let Ok(line) = lines.recv() {
        // A closed pipe: nobody wants to know. The node goes on.
        if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
            return;
        }
    }
}

/// The fact as a JSON object. Addresses of peers stay out (design, law 11).
fn event(notice: &Notice) -> Value {
    match notice {
        Notice::Listening { addr } => json!({"event": "listening", "address": addr.to_string()}),
        Notice::PeerConnected { peer, id, inbound, addr: _ } => json!({
            "event": "peer_connected",
            "peer_id": peer.to_base58(),
            "connection": id.0,
            "direction": if *inbound { "in" } else { "out" },
        }),
        Notice::PeerDisconnected { peer, reason, asked } => json!({
            "event": "peer_disconnected",
            "peer_id": peer.to_base58(),
            "reason": close_reason(*reason),
            "asked": asked.map(disconnect_reason),
        }),
        Notice::DialFailed { peer, source, error, retry_ms } => json!({
            "event": "dial_failed",
            "peer_id": peer.map(|peer| peer.to_base58()),
            "source": source_name(*source),
            "error": dial_error(error),
            "retry_ms": retry_ms,
        }),
        Notice::Refused { addr: _, reason } => {
            json!({"event": "refused", "reason": disconnect_reason(*reason)})
        }
        Notice::Verdict { kind, acceptance, cause, source } => json!({
            "event": "verdict",
            "topic": kind.name(),
            "acceptance": acceptance_name(*acceptance),
            "cause": cause.name(),
            "source": source.to_base58(),
        }),
        Notice::Announced { kind, hash, height } => json!({
            "event": "announced",
            "kind": kind.name(),
            "hash": hash.to_string(),
            "height": height,
        }),
        Notice::Penalised { peer, reason, score } => json!({
            "event": "penalised",
            "peer_id": peer.to_base58(),
            "reason": format!("{reason:?}"),
            "score": score,
        }),
        Notice::Banned { peer, reason, until } => json!({
            "event": "banned",
            "peer_id": peer.to_base58(),
            "reason": format!("{reason:?}"),
            "until_ms": until.as_millis(),
        }),
        Notice::Health { neighbour, up, detail } => json!({
            "event": "health",
            "neighbour": neighbour.name(),
            "up": up,
            "detail": detail,
        }),
        Notice::Unreadable { what, problem } => {
            json!({"event": "unreadable", "what": what, "problem": problem})
        }
    }
}

/// The fact in words: its kind, then its members.
fn text(event: &Value) -> String {
    let mut line = event["event"].as_str().unwrap_or_default().replace('_', " ");
    // By name, whatever order the map keeps.
    let fields: BTreeMap<_, _> = event.as_object().into_iter().flatten().collect();
    for (name, value) in fields.into_iter().filter(|(name, _)| *name != "event") {
        match value {
            Value::Null => {}
            Value::String(text) => line.push_str(&format!(" {name}={text}")),
            other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                line.push_str(&format!(" {name}={other}"))
            }
        }
    }
    line
}

/// The kind of a fact, as its event is named.
const fn kind_of(notice: &Notice) -> &'static str {
    match notice {
        Notice::Listening { .. } => "listening",
        Notice::PeerConnected { .. } => "peer_connected",
        Notice::PeerDisconnected { .. } => "peer_disconnected",
        Notice::DialFailed { .. } => "dial_failed",
        Notice::Refused { .. } => "refused",
        Notice::Verdict { .. } => "verdict",
        Notice::Announced { .. } => "announced",
        Notice::Penalised { .. } => "penalised",
        Notice::Banned { .. } => "banned",
        Notice::Health { .. } => "health",
        Notice::Unreadable { .. } => "unreadable",
    }
}

/// A reason's name, for metrics too.
pub const fn disconnect_reason(reason: DisconnectReason) -> &'static str {
    match reason {
        DisconnectReason::Trimmed => "trimmed",
        DisconnectReason::Deaf => "deaf",
        DisconnectReason::PrivateAddress => "private_address",
        DisconnectReason::AddressLimit => "address_limit",
        DisconnectReason::SubnetLimit => "subnet_limit",
        DisconnectReason::PeerLimit => "peer_limit",
        DisconnectReason::HandshakeLimit => "handshake_limit",
        DisconnectReason::ConnectionLimit => "connection_limit",
        DisconnectReason::Banned => "banned",
        DisconnectReason::Flood => "flood",
        DisconnectReason::Ourselves => "ourselves",
        DisconnectReason::Shutdown => "shutdown",
        DisconnectReason::OtherNetwork => "other_network",
        DisconnectReason::StreamLost => "stream_lost",
        DisconnectReason::Memory => "memory",
    }
}

const fn close_reason(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::Local => "local",
        CloseReason::Remote => "remote",
        CloseReason::Transport => "transport",
        CloseReason::Flood => "flood",
    }
}

const fn source_name(source: Source) -> &'static str {
    match source {
        Source::Bootstrap => "bootstrap",
        Source::Static => "static",
        Source::Cache => "cache",
        Source::Dht => "dht",
        Source::Peer => "peer",
        Source::Mdns => "mdns",
    }
}

const fn acceptance_name(acceptance: Acceptance) -> &'static str {
    match acceptance {
        Acceptance::Accept => "accept",
        Acceptance::Reject => "reject",
        Acceptance::Ignore => "ignore",
    }
}

/// The failure without the address that a system's text may hold.
fn dial_error(error: &DialError) -> String {
    match error {
        DialError::Unreachable(_) => "unreachable".to_owned(),
        DialError::WrongPeer(peer) => format!("another peer answers there: {peer}"),
        DialError::NoAddress => "no address that can be dialled".to_owned(),
        DialError::TimedOut => "timed out".to_owned(),
        DialError::Ourselves => "ourselves".to_owned(),
        DialError::NameNotResolved => "its name cannot be resolved".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_one_kind_is_cut_and_counted_and_leaves_other_kinds_alone() {
        let mut report = Report::new(Format::Text);
        let told = (0..100).filter(|_| report.wanted("refused").is_some()).count();
        assert_eq!(told, 10);
        assert_eq!(report.wanted("banned"), Some(0));
        report.kinds.get_mut("refused").unwrap().0 = Instant::now() - WINDOW;
        assert_eq!(report.wanted("refused"), Some(90), "what was kept back is told once");
        assert_eq!(report.wanted("refused"), Some(0));
    }

    #[test]
    fn as_json_only_what_strangers_cause_at_will_is_cut() {
        let mut report = Report::new(Format::Json);
        for kind in ["refused", "dial_failed"] {
            assert_eq!((0..100).filter(|_| report.wanted(kind).is_some()).count(), 10, "{kind}");
        }
        for kind in ["verdict", "produced", "peer_connected", "peer_disconnected", "banned", "health"] {
            assert!((0..100).all(|_| report.wanted(kind) == Some(0)), "{kind}");
        }
        report.kinds.get_mut("refused").unwrap().0 = Instant::now() - WINDOW;
        assert_eq!(report.wanted("refused"), Some(90));
    }

    #[test]
    fn what_was_kept_back_is_told_with_the_next_line_of_its_kind() {
        let fact = json!({"event": "refused", "reason": "banned"});
        let line = |format, before| line_of(format, fact.clone(), before);
        assert_eq!(line(Format::Text, 90), "refused reason=banned (and 90 more of this kind before)");
        assert_eq!(line(Format::Text, 0), "refused reason=banned");
        let told: Value = serde_json::from_str(&line(Format::Json, 90)).unwrap();
        assert_eq!(told, json!({"event": "refused", "reason": "banned", "kept_back": 90}));
        assert_eq!(line(Format::Json, 0), fact.to_string(), "nothing kept back: no member");
    }

    #[test]
    fn the_kind_of_a_fact_is_the_name_of_its_event() {
        let addr: peerage_proto::Multiaddr = "/ip4/127.0.0.1/tcp/9".parse().unwrap();
        for notice in [
            Notice::Listening { addr: addr.clone() },
            Notice::Refused { addr, reason: DisconnectReason::Banned },
            Notice::Unreadable { what: String::new(), problem: String::new() },
        ] {
            assert_eq!(event(&notice)["event"], kind_of(&notice));
        }
    }

    #[test]
    fn a_fact_is_told_in_words_without_what_is_missing() {
        let line = text(&json!({"event": "peer_connected", "peer_id": "12D3", "asked": null, "n": 3}));
        assert_eq!(line, "peer connected n=3 peer_id=12D3");
    }

    #[test]
    fn no_address_of_a_peer_is_told() {
        let addr: peerage_proto::Multiaddr = "/ip4/203.0.113.7/tcp/9".parse().unwrap();
        let refused = event(&Notice::Refused { addr, reason: DisconnectReason::Banned });
        assert!(!refused.to_string().contains("203.0.113.7"));
        assert!(!dial_error(&DialError::Unreachable("203.0.113.7 refused".into())).contains("203"));
    }
}
