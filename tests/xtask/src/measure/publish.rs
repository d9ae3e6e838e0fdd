//! Publishing to the Go message bus, each message at its due time: both by a loop of their own, ours as `announce --rate` asks
//! for it. A further line tells what it costs when each message is a call of the control service.

use std::time::Duration;

use serde_json::json;

use super::cpu::Cpu;
use super::figures::{Counts, Seen};
use super::gossip::{
    DRAIN, GO, Line, Outcome, Row, SETTLE, ask, cost, flood, go_peer, rounds, security, topic,
};
use super::ours::{Ours, sample};
use super::{Kinds, Options};
use peerage_conformance::SOON;
use peerage_conformance::control::Control;

const ROW: Row = Row {
    name: "publish 300 B, 1,000/s",
    kind: "subtree",
    size_bytes: 300,
    rate_per_s: 1_000,
    ratio_max: Some(0.4),
    left_out: "",
};

/// The line in which each message is a call.
const BY_CALLS: &str = "one call each";

/// Measures and prints the row.
///
/// # Errors
/// Never so far: a run that fails is a void run.
pub(super) fn measure(kinds: &Kinds, options: &Options) -> Result<(), String> {
    println!(
        "pairs on loopback, fresh processes each run, alternating; receiver {GO}; CPU from per-thread run time.\n\
         the bus publishes by a loop of its own, ours by the embedded chain, which announces a new subtree at its due time\n\
         (`announce subtree --count N --rate {}`).\n\
         \"{BY_CALLS}\" (not judged): each message is a call of `Announce` at its due time, over one connection; taking and\n\
         answering it is in the figure, and nothing like it costs the bus.\n\
         a run counts only if published = received = sent; our node status, every 10 s, is taken off.",
        ROW.rate_per_s
    );
    let seconds = options.seconds();
    let mut run = |line: &Line, number| match kinds.binary(line.peer) {
        Some(binary) => {
            // With this URL the inner JSON has 300 bytes.
            let url = "http://127.0.0.1:8090/api/v1?".to_owned();
            let setting = format!("asset_httpPublicAddress={url}{}", "u".repeat(122 - url.len()));
            publish_ours(&Ours::start(binary, &[setting])?, line.variant.is_some(), seconds)
        }
        None => publish_go(number, seconds),
    };
    let ours = ["peerage", "peerage-smol"];
    let lines = [Line::plain(GO)].into_iter().chain(ours.map(Line::plain));
    let lines: Vec<Line> = lines.chain(ours.map(|peer| Line::variant(peer, BY_CALLS))).collect();
    rounds(ROW, options, &lines, &mut run);
    Ok(())
}

fn publish_go(run: u32, seconds: u32) -> Result<Outcome, String> {
    let (mut publisher, mut receiver) = (go_peer("publisher")?, go_peer("receiver")?);
    let pid = publisher.process().pid();
    let (addr, id) = (receiver.addr().to_owned(), receiver.id().to_owned());
    publisher.connect(&addr).map_err(|e| e.to_string())?;
    publisher.expect_subscribed(&id, &topic(ROW.kind), SOON).map_err(|e| e.to_string())?;
    let security = security(&mut publisher, &id)?;
    ask(&mut receiver, json!({"cmd": "count", "on": true}))?;
    std::thread::sleep(SETTLE);
    flood(&mut publisher, ROW, run, ROW.rate_per_s / 4)?;
    std::thread::sleep(DRAIN);
    ask(&mut receiver, json!({"cmd": "count", "on": true}))?;
    let before = Cpu::of(pid)?;
    let sent = flood(&mut publisher, ROW, run + 1, ROW.rate_per_s * seconds)?;
    std::thread::sleep(DRAIN);
    let (cpu_us, rss_mib) = cost(pid, &before, sent)?;
    let stats = ask(&mut receiver, json!({"cmd": "stats"}))?;
    let seen = vec![Seen::all("received", stats["received"].as_u64().unwrap_or(0))];
    Ok(Outcome { counts: Counts { sent, seen }, cpu_us, rss_mib, security })
}

/// Announces so many subtrees at the row's rate, and waits until the last is due.
fn announce(control: &Control, by_calls: bool, count: u32) -> Result<(), String> {
    if by_calls {
        return control.announce_subtrees(count, ROW.rate_per_s).map_err(|e| e.to_string());
    }
    control.announce_paced(count, ROW.rate_per_s).map_err(|e| e.to_string())?;
    std::thread::sleep(Duration::from_secs(1) * count / ROW.rate_per_s);
    Ok(())
}

fn publish_ours(publisher: &Ours, by_calls: bool, seconds: u32) -> Result<Outcome, String> {
    let mut receiver = go_peer("receiver")?;
    let (addr, id) = publisher.addr()?;
    receiver.connect(&addr).map_err(|e| e.to_string())?;
    receiver.expect_subscribed(&id, &topic(ROW.kind), SOON).map_err(|e| e.to_string())?;
    let security = security(&mut receiver, &id)?;
    ask(&mut receiver, json!({"cmd": "count", "on": true}))?;
    std::thread::sleep(SETTLE);
    let control = publisher.control()?;
    announce(&control, by_calls, ROW.rate_per_s / 4)?;
    std::thread::sleep(DRAIN);
    ask(&mut receiver, json!({"cmd": "count", "on": true}))?;
    let page = publisher.metrics()?;
    let before = Cpu::of(publisher.pid())?;
    let sent = u64::from(ROW.rate_per_s * seconds);
    announce(&control, by_calls, ROW.rate_per_s * seconds)?;
    std::thread::sleep(DRAIN);
    let (cpu_us, rss_mib) = cost(publisher.pid(), &before, sent)?;
    let page_after = publisher.metrics()?;
    let stats = ask(&mut receiver, json!({"cmd": "stats"}))?;
    let count = |name: &str| stats[name].as_u64().unwrap_or(0);
    // Our node status, every 10 s, is among what is published and received.
    let name = "peerage_publications_sent_total";
    let published = sample(&page_after, name).saturating_sub(sample(&page, name));
    let others = published.saturating_sub(sent);
    if others > u64::from(seconds) / 10 + 1 {
        return Err(format!("{published} publications for {sent} announcements"));
    }
    let received = count("received").saturating_sub(others);
    let mean = count("bytes") / count("received").max(1);
    if mean.abs_diff(u64::from(ROW.size_bytes)) > 5 {
        return Err(format!("messages of {mean} bytes, not of {}", ROW.size_bytes));
    }
    let seen = vec![Seen::all("published", published - others), Seen::all("received", received)];
    Ok(Outcome { counts: Counts { sent, seen }, cpu_us, rss_mib, security })
}
