//! One publisher, one receiver: the Go message bus publishes, or at 4,000/s, where it loses messages of its own, a node of
//! ours; the bus and both of our binaries receive in turn.

use std::time::{Duration, Instant};

use peerage_conformance::peer::{Make, Peer};
use peerage_conformance::{SOON, wire};
use serde_json::{Value, json};

use super::cpu::Cpu;
use super::feed::Feed;
use super::figures::{Counts, Seen, Series, judged, loss_percent, median, void_reason};
use super::ours::{Ours, sample};
use super::publisher::Publisher;
use super::{Kinds, Options};

/// The Go bus in tables.
pub(super) const GO: &str = "Go bus 0.1.7";
/// After subscribing: two heartbeats, in which both sides graft, and what follows a connection is over.
pub(super) const SETTLE: Duration = Duration::from_millis(2500);
/// After a flood: what is under way arrives.
pub(super) const DRAIN: Duration = Duration::from_millis(500);

/// One load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    pub(super) size_bytes: u32,
    pub(super) rate_per_s: u32,
    pub(super) ratio_max: Option<f64>,
    /// What is not in a figure that is judged; stands behind the word.
    pub(super) left_out: &'static str,
}

/// One line of a row's table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    /// The kind of peer.
    pub(super) peer: &'static str,
    /// What is different from the line that is judged; such a line is not.
    pub(super) variant: Option<&'static str>,
}

impl Line {
    /// The peer as it is compared.
    pub(super) fn plain(peer: &'static str) -> Self {
        Self { peer, variant: None }
    }

    /// The peer under other conditions.
    pub(super) fn variant(peer: &'static str, variant: &'static str) -> Self {
        Self { peer, variant: Some(variant) }
    }

    fn name(&self) -> String {
        self.variant.map_or_else(|| self.peer.to_owned(), |variant| format!("{} {variant}", self.peer))
    }

    /// The ratio that it must keep, if it is judged.
    fn ratio_max(&self, row: &Row) -> Option<f64> {
        row.ratio_max.filter(|_| self.variant.is_none() && self.peer != GO)
    }
}

/// The line that keeps the feed in use.
const WITH_FEED: &str = "with a feed client";
/// In a figure without a client of the feed there is no notifying.
pub(super) const NOT_NOTIFIED: &str = ", nothing notified";
/// Between two frames of one kind that the node makes of itself: its status and its ping.
const OWN_FRAME_EVERY: Duration = Duration::from_secs(10);
/// Frames made for the feed, whoever reads them.
const FRAMES: &str = "peerage_feed_frames_total";

const ROWS: [Row; 3] = [
    Row {
        name: "receive 300 B, 1,000/s",
        kind: "subtree",
        size_bytes: 300,
        rate_per_s: 1_000,
        ratio_max: Some(0.6),
        left_out: NOT_NOTIFIED,
    },
    Row {
        name: "receive 300 B, 4,000/s",
        kind: "subtree",
        size_bytes: 300,
        rate_per_s: 4_000,
        ratio_max: Some(0.6),
        left_out: NOT_NOTIFIED,
    },
    Row {
        name: "receive 64 KiB, 200/s",
        kind: "node_status",
        size_bytes: 65_536,
        rate_per_s: 200,
        ratio_max: Some(0.55),
        left_out: NOT_NOTIFIED,
    },
];

/// What one run gave.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) counts: Counts,
    pub(super) cpu_us: f64,
    pub(super) rss_mib: f64,
    pub(super) security: String,
}

/// Measures every row and prints the table.
///
/// # Errors
/// Never so far: a run that fails is a void run.
pub(super) fn measure(kinds: &Kinds, options: &Options) -> Result<(), String> {
    println!(
        "pairs on loopback, fresh processes each run, alternating; CPU from per-thread run time. publisher {GO}, at\n\
         4,000/s `peerage`, since the bus loses there what it publishes; its node status, every 10 s, is taken off.\n\
         ours: default text output into nothing. the bus has no feed; judged is ours without a client of the feed.\n\
         a run counts only if delivered = accepted = sent, and for subtrees = produced = acknowledged (node_status makes\n\
         no record). without a client the node makes no frames: nothing is notified, {FRAMES} must not\n\
         move, and what notifying costs is NOT in the judged figure. that messages are unique is told by the node's own\n\
         gossipsub, which delivers no message twice, and by the records produced; nobody outside compares hashes.\n\
         \"{WITH_FEED}\" (not judged): one WebSocket client reads the feed, which costs us and not the bus; besides the\n\
         above, notified = unique = sent by the client's own count of hashes, and the frames made are those and few of\n\
         the node itself (its status and a ping every {} s).\n\
         the bus: received = unique = sent. signature checks are not counted by either.",
        OWN_FRAME_EVERY.as_secs()
    );
    let seconds = options.seconds();
    for row in ROWS {
        let mut run = |line: &Line, number| receive(kinds, line, row, number, seconds);
        rounds(row, options, &lines(row), &mut run);
    }
    Ok(())
}

/// The bus, ours, and ours with a reader of the feed; at 4,000/s without it.
fn lines(row: Row) -> Vec<Line> {
    let mut lines = vec![Line::plain(GO), Line::plain("peerage"), Line::plain("peerage-smol")];
    if row.rate_per_s <= 1_000 {
        lines.extend(["peerage", "peerage-smol"].map(|peer| Line::variant(peer, WITH_FEED)));
    }
    lines
}

/// Alternates until each line has as many runs that count as were asked for, or twice as many have been tried.
pub(super) fn rounds(
    row: Row,
    options: &Options,
    lines: &[Line],
    run: &mut dyn FnMut(&Line, u32) -> Result<Outcome, String>,
) {
    let mut all: Vec<(Line, Series)> = lines.iter().map(|line| (*line, Series::default())).collect();
    let mut securities: Vec<String> = Vec::new();
    let mut number = 1;
    for round in 0..2 * options.runs {
        if round > 0 && all.iter().all(|(_, series)| series.values.len() >= options.runs) {
            break;
        }
        for (line, series) in &mut all {
            number += 2;
            match run(line, number) {
                Ok(outcome) => {
                    // Of two of ours nobody tells it.
                    if !outcome.security.is_empty() && !securities.contains(&outcome.security) {
                        securities.push(outcome.security.clone());
                    }
                    note(series, outcome);
                }
                Err(e) => series.void.push(e.lines().next().unwrap_or_default().to_owned()),
            }
        }
    }
    print(row, options, &all, &securities);
}

fn note(series: &mut Series, outcome: Outcome) {
    series.loss_worst_percent = series.loss_worst_percent.max(loss_percent(&outcome.counts));
    match void_reason(&outcome.counts) {
        Some(reason) => series.void.push(reason),
        None => {
            series.values.push(outcome.cpu_us);
            series.rss_mib.push(outcome.rss_mib);
        }
    }
}

fn print(row: Row, options: &Options, all: &[(Line, Series)], securities: &[String]) {
    println!("\n{} (security: {})", row.name, securities.join(" and "));
    println!(
        "  {:<31} {:>8} {:>8} {:>8} {:>9} {:>6} {:>9} {:>7} {:>8}  outcome",
        "", "CPU us", "least", "most", "RSS MiB", "runs", "loss max", "ratio", "target"
    );
    let theirs = all.first().and_then(|(_, series)| series.result(options.runs));
    for (index, (line, series)) in all.iter().enumerate() {
        let ratio_max = line.ratio_max(&row);
        let result = series.result(options.runs);
        let (ratio, word) = if index == 0 {
            ("1".to_owned(), if result.is_some() { "measured" } else { "VOID" })
        } else {
            judged(result, theirs, ratio_max)
        };
        // Of securities that differ, no comparison is like for like.
        let word = if securities.len() > 1 { "VOID: securities differ" } else { word };
        let left_out = if matches!(word, "reached" | "MISSED") { row.left_out } else { "" };
        let shown = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.1}"));
        let runs = format!("{}/{}", series.values.len(), series.values.len() + series.void.len());
        let target = ratio_max.map_or_else(|| "-".to_owned(), |most| format!("<= {most}"));
        println!(
            "  {:<31} {:>8} {:>8} {:>8} {:>9} {runs:>6} {:>7.2} % {ratio:>7} {target:>8}  {word}{left_out}",
            line.name(),
            shown(result),
            shown(series.values.iter().copied().reduce(f64::min)),
            shown(series.values.iter().copied().reduce(f64::max)),
            shown(median(&series.rss_mib)),
            series.loss_worst_percent,
        );
    }
    for (line, series) in all {
        series.void.iter().for_each(|reason| println!("  void run of {}: {reason}", line.name()));
    }
}

/// A Go bus peer as Teranode runs it: DHT in server mode, no bootstrap.
pub(super) fn go_peer(name: &str) -> Result<Peer, String> {
    Peer::start(Make::Bus017, name, json!({"dht": "server"})).map_err(|e| e.to_string())
}

/// The security protocol of `peer`'s connection to `other`.
pub(super) fn security(peer: &mut Peer, other: &str) -> Result<String, String> {
    let event =
        peer.process().expect("connection", SOON, |e| e["event"] == "connected" && e["peer"] == other);
    let event = event.map_err(|e| e.to_string())?;
    Ok(event["security"].as_str().unwrap_or("not told").to_owned())
}

/// The full name of the topic.
pub(super) fn topic(kind: &str) -> String {
    let kind = if kind == "subtree" { wire::Kind::Subtree } else { wire::Kind::NodeStatus };
    kind.topic()
}

/// Makes the bus publish; gives how many it sent.
pub(super) fn flood(publisher: &mut Peer, row: Row, run: u32, count: u32) -> Result<u64, String> {
    let command = json!({
        "cmd": "flood", "topic": topic(row.kind), "kind": row.kind, "count": count, "rate": row.rate_per_s,
        "size": row.size_bytes, "run": run,
    });
    let within = SOON + Duration::from_secs(u64::from(count / row.rate_per_s));
    let answer = publisher.process().call_within(command, within).map_err(|e| e.to_string())?;
    Ok(answer["sent"].as_u64().unwrap_or(0))
}

/// One command of a Go peer.
pub(super) fn ask(peer: &mut Peer, command: Value) -> Result<Value, String> {
    peer.process().call(command).map_err(|e| e.to_string())
}

/// Used time in microseconds a message, and resident MiB.
pub(super) fn cost(pid: u32, before: &Cpu, messages: u64) -> Result<(f64, f64), String> {
    let used = Cpu::of(pid)?.since(before)?;
    let usage = peerage_conformance::usage::of(pid).map_err(|e| e.to_string())?;
    Ok((used.as_secs_f64() * 1e6 / messages.max(1) as f64, usage.rss_bytes as f64 / f64::from(1 << 20)))
}

/// From this rate on the bus loses messages that it publishes.
const BUS_LOSES_FROM: u32 = 4_000;

fn receive(kinds: &Kinds, line: &Line, row: Row, run: u32, seconds: u32) -> Result<Outcome, String> {
    let by = |addr: &str, id: &str| match kinds.binary("peerage") {
        Some(binary) if row.rate_per_s >= BUS_LOSES_FROM => {
            Ok((Publisher::ours(binary, addr)?, String::new()))
        }
        _ => Publisher::go(addr, id, row),
    };
    match kinds.binary(line.peer) {
        Some(binary) => {
            let receiver = Ours::start(binary, &[])?;
            let feed = line.variant.map(|_| receiver.feed()).transpose()?;
            let (addr, id) = receiver.addr()?;
            let (publisher, security) = by(&addr, &id)?;
            receive_ours(publisher, security, &receiver, feed.as_ref(), row, run, seconds)
        }
        None => {
            let mut receiver = go_peer("receiver")?;
            ask(&mut receiver, json!({"cmd": "count", "on": true}))?;
            let (publisher, security) = by(receiver.addr(), receiver.id())?;
            receive_go(publisher, security, &mut receiver, row, run, seconds)
        }
    }
}

/// Waits for the mesh, and publishes a quarter of a second that nobody measures.
fn warm_up(publisher: &mut Publisher, row: Row, run: u32) -> Result<(), String> {
    std::thread::sleep(SETTLE);
    publisher.publish(row, run, row.rate_per_s / 4)?;
    std::thread::sleep(DRAIN);
    Ok(())
}

/// What a load consisted of, and what came besides: statuses of the publisher.
struct Sent {
    sent: u64,
    others: u64,
}

/// Publishes what is measured, and waits until it has arrived.
fn load(publisher: &mut Publisher, row: Row, run: u32, seconds: u32) -> Result<Sent, String> {
    let before = publisher.published()?;
    let sent = publisher.publish(row, run, row.rate_per_s * seconds)?;
    std::thread::sleep(DRAIN);
    Ok(Sent { sent, others: (publisher.published()? - before).saturating_sub(sent) })
}

fn receive_go(
    mut publisher: Publisher,
    security: String,
    receiver: &mut Peer,
    row: Row,
    run: u32,
    seconds: u32,
) -> Result<Outcome, String> {
    let pid = receiver.process().pid();
    warm_up(&mut publisher, row, run)?;
    ask(receiver, json!({"cmd": "count", "on": true}))?;
    let before = Cpu::of(pid)?;
    let Sent { sent, others } = load(&mut publisher, row, run + 1, seconds)?;
    let (cpu_us, rss_mib) = cost(pid, &before, sent)?;
    let stats = ask(receiver, json!({"cmd": "stats"}))?;
    let count = |name: &str| stats[name].as_u64().unwrap_or(0);
    let seen = match publisher {
        Publisher::Go(_) => ["received", "unique"].map(|name| Seen::all(name, count(name))).to_vec(),
        // The bus tells messages apart by what its own publishers write into them.
        Publisher::Ours(_) => vec![Seen::all_and_own("received", count("received"), others)],
    };
    Ok(Outcome { counts: Counts { sent, seen }, cpu_us, rss_mib, security })
}

fn receive_ours(
    mut publisher: Publisher,
    security: String,
    receiver: &Ours,
    feed: Option<&Feed>,
    row: Row,
    run: u32,
    seconds: u32,
) -> Result<Outcome, String> {
    warm_up(&mut publisher, row, run)?;
    let begin = Instant::now();
    let page = receiver.metrics()?;
    let before = Cpu::of(receiver.pid())?;
    let Sent { sent, others } = load(&mut publisher, row, run + 1, seconds)?;
    let (cpu_us, rss_mib) = cost(receiver.pid(), &before, sent)?;
    let page_after = receiver.metrics()?;
    let grown = |name: &str| sample(&page_after, name).saturating_sub(sample(&page, name));
    let handled = format!("peerage_gossip_ended_total{{topic=\"{}\",cause=\"handled\"}}", row.kind);
    let mut seen = vec![
        Seen::all("delivered", grown("peerage_gossip_delivered_total").saturating_sub(others)),
        Seen::all("accepted", grown(&handled)),
    ];
    if row.kind == "subtree" {
        seen.push(Seen::all("produced", grown("peerage_kafka_records_total")));
        seen.push(Seen::all("acknowledged", grown("peerage_kafka_records_acknowledged_total")));
    }
    let client = feed.map(|feed| feed.counts(run + 1));
    seen.extend(notified(client, grown(FRAMES), begin.elapsed()));
    Ok(Outcome { counts: Counts { sent, seen }, cpu_us, rss_mib, security })
}

/// What the feed must have had. `client`: frames and different messages that its reader counted, if there is one;
/// `frames`: how many the node made within `elapsed`, for all readers together.
fn notified(client: Option<(u64, u64)>, frames: u64, elapsed: Duration) -> Vec<Seen> {
    let Some((notified, unique)) = client else { return vec![Seen::none("frames", frames)] };
    let of_a_kind_max = elapsed.as_secs() / OWN_FRAME_EVERY.as_secs() + 1;
    vec![
        Seen::all("notified", notified),
        Seen::all("unique", unique),
        Seen::all_and_own("frames", frames, 2 * of_a_kind_max),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn void(client: Option<(u64, u64)>, frames: u64, seconds: u64) -> Option<String> {
        let mut seen = vec![Seen::all("delivered", 100)];
        seen.extend(notified(client, frames, Duration::from_secs(seconds)));
        void_reason(&Counts { sent: 100, seen })
    }

    #[test]
    fn without_a_feed_client_no_frame_may_have_been_made() {
        assert_eq!(void(None, 0, 3), None);
        assert_eq!(void(None, 100, 3).as_deref(), Some("sent 100, but frames 100"));
    }

    #[test]
    fn a_feed_client_must_see_every_message_once_and_the_node_makes_few_frames_of_its_own() {
        assert_eq!(void(Some((100, 100)), 100, 3), None);
        assert_eq!(void(Some((100, 100)), 102, 3), None);
        assert_eq!(void(Some((100, 100)), 103, 3).as_deref(), Some("sent 100, but frames 103"));
        assert_eq!(void(Some((100, 100)), 104, 10), None);
        assert!(void(Some((100, 100)), 99, 3).is_some());
        assert!(void(Some((99, 99)), 100, 3).is_some());
        assert!(void(Some((100, 99)), 100, 3).is_some(), "one message was shown twice");
    }

    #[test]
    fn only_ours_without_a_feed_client_is_judged() {
        for row in ROWS {
            let lines = lines(row);
            let judged: Vec<_> = lines.iter().filter(|line| line.ratio_max(&row).is_some()).collect();
            assert_eq!(
                judged.iter().map(|line| line.name()).collect::<Vec<_>>(),
                ["peerage", "peerage-smol"]
            );
            let with_feed = lines.iter().filter(|line| line.name().ends_with(WITH_FEED)).count();
            assert_eq!(with_feed, if row.rate_per_s == 4_000 { 0 } else { 2 }, "{}", row.name);
        }
    }
}
