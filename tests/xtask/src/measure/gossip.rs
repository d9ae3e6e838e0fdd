//! One publisher, one receiver: the Go message bus publishes; the bus and both of our binaries receive in turn.

use std::time::Duration;

use peerage_conformance::peer::{Make, Peer};
use peerage_conformance::{SOON, wire};
use serde_json::{Value, json};

use super::cpu::Cpu;
use super::figures::{Counts, Series, judged, loss_percent, median, void_reason};
use super::ours::{Ours, sample};
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
}

const ROWS: [Row; 3] = [
    Row {
        name: "receive 300 B, 1,000/s",
        kind: "subtree",
        size_bytes: 300,
        rate_per_s: 1_000,
        ratio_max: Some(0.6),
    },
    Row {
        name: "receive 300 B, 4,000/s",
        kind: "subtree",
        size_bytes: 300,
        rate_per_s: 4_000,
        ratio_max: Some(0.6),
    },
    Row {
        name: "receive 64 KiB, 200/s",
        kind: "node_status",
        size_bytes: 65_536,
        rate_per_s: 200,
        ratio_max: Some(0.55),
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
        "pairs on loopback, fresh processes each run, alternating; publisher {GO}; CPU from per-thread run time.\n\
         ours: default text output into nothing, one WebSocket client reads the feed (its frames cost us, not the bus).\n\
         a run counts only if delivered = accepted = notified = unique = sent, and for subtrees = produced = acknowledged;\n\
         node_status makes no record. the bus: received = unique = sent. signature checks are not counted by either."
    );
    let seconds = options.seconds();
    for row in ROWS {
        let mut run = |name: &str, number| receive(kinds, name, row, number, seconds);
        rounds(row, options, &[GO, "peerage", "peerage-smol"], &mut run);
    }
    Ok(())
}

/// Alternates until each kind has as many runs that count as were asked for, or twice as many have been tried.
pub(super) fn rounds(
    row: Row,
    options: &Options,
    names: &[&'static str],
    run: &mut dyn FnMut(&str, u32) -> Result<Outcome, String>,
) {
    let mut all: Vec<(&str, Series)> = names.iter().map(|name| (*name, Series::default())).collect();
    let mut securities: Vec<String> = Vec::new();
    let mut number = 1;
    for round in 0..2 * options.runs {
        if round > 0 && all.iter().all(|(_, series)| series.values.len() >= options.runs) {
            break;
        }
        for (name, series) in &mut all {
            number += 2;
            match run(name, number) {
                Ok(outcome) => {
                    if !securities.contains(&outcome.security) {
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

fn print(row: Row, options: &Options, all: &[(&str, Series)], securities: &[String]) {
    println!("\n{} (security: {})", row.name, securities.join(" and "));
    println!(
        "  {:<14} {:>8} {:>8} {:>8} {:>9} {:>6} {:>9} {:>7} {:>8}  outcome",
        "", "CPU us", "least", "most", "RSS MiB", "runs", "loss max", "ratio", "target"
    );
    let theirs = all.first().and_then(|(_, series)| series.result(options.runs));
    for (index, (name, series)) in all.iter().enumerate() {
        let result = series.result(options.runs);
        let (ratio, word) = if index == 0 {
            ("1".to_owned(), if result.is_some() { "measured" } else { "VOID" })
        } else {
            judged(result, theirs, row.ratio_max)
        };
        // Of securities that differ, no comparison is like for like.
        let word = if securities.len() > 1 { "VOID: securities differ" } else { word };
        let shown = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.1}"));
        let runs = format!("{}/{}", series.values.len(), series.values.len() + series.void.len());
        let target =
            row.ratio_max.filter(|_| index > 0).map_or_else(|| "-".to_owned(), |most| format!("<= {most}"));
        println!(
            "  {name:<14} {:>8} {:>8} {:>8} {:>9} {runs:>6} {:>7.2} % {ratio:>7} {target:>8}  {word}",
            shown(result),
            shown(series.values.iter().copied().reduce(f64::min)),
            shown(series.values.iter().copied().reduce(f64::max)),
            shown(median(&series.rss_mib)),
            series.loss_worst_percent,
        );
    }
    for (name, series) in all {
        series.void.iter().for_each(|reason| println!("  void run of {name}: {reason}"));
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

fn receive(kinds: &Kinds, name: &str, row: Row, run: u32, seconds: u32) -> Result<Outcome, String> {
    let mut publisher = go_peer("publisher")?;
    match kinds.binary(name) {
        Some(binary) => receive_ours(&mut publisher, &Ours::start(binary, &[])?, row, run, seconds),
        None => receive_go(&mut publisher, &mut go_peer("receiver")?, row, run, seconds),
    }
}

/// Connects, waits for the mesh, and publishes a quarter of a second that nobody measures.
fn join(publisher: &mut Peer, addr: &str, id: &str, row: Row, run: u32) -> Result<String, String> {
    publisher.connect(addr).map_err(|e| e.to_string())?;
    publisher.expect_subscribed(id, &topic(row.kind), SOON).map_err(|e| e.to_string())?;
    let security = security(publisher, id)?;
    std::thread::sleep(SETTLE);
    flood(publisher, row, run, row.rate_per_s / 4)?;
    std::thread::sleep(DRAIN);
    Ok(security)
}

fn receive_go(
    publisher: &mut Peer,
    receiver: &mut Peer,
    row: Row,
    run: u32,
    seconds: u32,
) -> Result<Outcome, String> {
    ask(receiver, json!({"cmd": "count", "on": true}))?;
    let (addr, id, pid) = (receiver.addr().to_owned(), receiver.id().to_owned(), receiver.process().pid());
    let security = join(publisher, &addr, &id, row, run)?;
    ask(receiver, json!({"cmd": "count", "on": true}))?;
    let before = Cpu::of(pid)?;
    let sent = flood(publisher, row, run + 1, row.rate_per_s * seconds)?;
    std::thread::sleep(DRAIN);
    let (cpu_us, rss_mib) = cost(pid, &before, sent)?;
    let stats = ask(receiver, json!({"cmd": "stats"}))?;
    let count = |name: &str| stats[name].as_u64().unwrap_or(0);
    let seen = vec![("received", count("received")), ("unique", count("unique"))];
    Ok(Outcome { counts: Counts { sent, seen }, cpu_us, rss_mib, security })
}

fn receive_ours(
    publisher: &mut Peer,
    receiver: &Ours,
    row: Row,
    run: u32,
    seconds: u32,
) -> Result<Outcome, String> {
    let (addr, id) = receiver.addr()?;
    let feed = receiver.feed()?;
    let security = join(publisher, &addr, &id, row, run)?;
    let page = receiver.metrics()?;
    let before = Cpu::of(receiver.pid())?;
    let sent = flood(publisher, row, run + 1, row.rate_per_s * seconds)?;
    std::thread::sleep(DRAIN);
    let (cpu_us, rss_mib) = cost(receiver.pid(), &before, sent)?;
    let page_after = receiver.metrics()?;
    let grown = |name: &str| sample(&page_after, name).saturating_sub(sample(&page, name));
    let handled = format!("peerage_gossip_ended_total{{topic=\"{}\",cause=\"handled\"}}", row.kind);
    let (notified, unique) = feed.counts(run + 1);
    let mut seen = vec![
        ("delivered", grown("peerage_gossip_delivered_total")),
        ("accepted", grown(&handled)),
        ("notified", notified),
        ("unique", unique),
    ];
    if row.kind == "subtree" {
        seen.push(("produced", grown("peerage_kafka_records_total")));
        seen.push(("acknowledged", grown("peerage_kafka_records_acknowledged_total")));
    }
    Ok(Outcome { counts: Counts { sent, seen }, cpu_us, rss_mib, security })
}
