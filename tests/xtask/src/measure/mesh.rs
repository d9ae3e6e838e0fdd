//! A mesh of six, everybody connected to everybody: five Go buses publish, and the sixth, whose CPU time is taken, is the bus
//! and each of our binaries in turn. A further peer, in nobody's mesh, sends the sixth forged messages.

use std::time::Duration;

use peerage_conformance::peer::{Make, Peer};
use peerage_conformance::{SOON, wire};
use serde_json::json;

use super::cpu::Cpu;
use super::figures::{Counts, Seen};
use super::gossip::{
    DRAIN, GO, Line, NOT_NOTIFIED, Outcome, Row, SETTLE, ask, cost, flood, go_peer, rounds, security, topic,
};
use super::ours::{Ours, sample};
use super::{Kinds, Options};

/// Besides the one that is measured.
const PUBLISHERS: u32 = 5;
/// What all publish together, and each.
const RATE_PER_S: u32 = 300;
const EACH_PER_S: u32 = RATE_PER_S / PUBLISHERS;
/// Forged messages, in per cent of what is published.
const FORGED_PERCENT: u32 = 1;

/// What each publisher publishes; the rate is its own.
const ROW: Row = Row {
    name: "mesh of 6, 300 B, 300/s, 1 % forged",
    kind: "subtree",
    size_bytes: 300,
    rate_per_s: EACH_PER_S,
    ratio_max: Some(0.65),
    left_out: NOT_NOTIFIED,
};

/// Measures and prints the row.
///
/// # Errors
/// Never so far: a run that fails is a void run.
pub(super) fn measure(kinds: &Kinds, options: &Options) -> Result<(), String> {
    println!(
        "{PUBLISHERS} publishers {GO}, {EACH_PER_S}/s each, all connected to each other and to the sixth, fresh processes\n\
         each run, alternating; CPU of the sixth by message published, copies included, from per-thread run time.\n\
         besides, {FORGED_PERCENT} % forged: messages in a publisher's name whose signature is another's, sent to the sixth\n\
         alone; none may be delivered.\n\
         a run counts only if nothing is lost by anybody: the sixth has each message once and no forged one (ours:\n\
         checked = delivered = accepted = produced = acknowledged = sent, nothing notified, and as many checks failed as were\n\
         forged;\n\
         the bus: received = unique = sent), and each publisher has each message of the others once."
    );
    let seconds = 3 * options.seconds();
    let lines = [GO, "peerage", "peerage-smol"].map(Line::plain);
    let mut run = |line: &Line, number| match kinds.binary(line.peer) {
        Some(binary) => measure_ours(&Ours::start(binary, &[])?, number, seconds),
        None => measure_go(&mut go_peer("sixth")?, number, seconds),
    };
    rounds(ROW, options, &lines, &mut run);
    Ok(())
}

/// The five, and the one that forges.
struct Others {
    publishers: Vec<Peer>,
    forger: Peer,
    /// Of the sixth.
    id: String,
    security: String,
}

/// What was sent in one load.
struct Sent {
    all: u64,
    forged: u64,
    /// Messages of the others that each publisher had, less those that there were.
    lost: Vec<Seen>,
}

impl Others {
    /// Starts them around the sixth, and has them publish what nobody measures.
    fn start(addr: &str, id: &str, run: u32) -> Result<Self, String> {
        let mut publishers: Vec<Peer> = Vec::new();
        for nth in 0..PUBLISHERS {
            let mut publisher = go_peer(&format!("publisher {nth}"))?;
            for other in publishers.iter().map(Peer::addr).chain([addr]) {
                publisher.connect(other).map_err(|e| e.to_string())?;
            }
            publisher.expect_subscribed(id, &topic(ROW.kind), SOON).map_err(|e| e.to_string())?;
            publishers.push(publisher);
        }
        let forger = Peer::start_frames("forger", addr, json!({"hello": "none", "topics": []}));
        let security = security(&mut publishers[0], id)?;
        let forger = forger.map_err(|e| e.to_string())?;
        let mut others = Self { publishers, forger, id: id.to_owned(), security };
        others.count()?;
        std::thread::sleep(SETTLE);
        others.load(run, EACH_PER_S / 2)?;
        Ok(others)
    }

    /// Has the publishers count anew.
    fn count(&mut self) -> Result<(), String> {
        self.publishers.iter_mut().try_for_each(|p| ask(p, json!({"cmd": "count", "on": true})).map(drop))
    }

    /// Each publishes `count` messages while some are forged; waits until what is under way has arrived.
    fn load(&mut self, run: u32, count: u32) -> Result<Sent, String> {
        let author = self.publishers[0].id().to_owned();
        let (forger, id) = (&mut self.forger, &self.id);
        let forged = count * PUBLISHERS * FORGED_PERCENT / 100;
        let every = Duration::from_secs(1) * 100 / (RATE_PER_S * FORGED_PERCENT);
        let each = std::thread::scope(|scope| {
            let floods: Vec<_> = (1..)
                .zip(&mut self.publishers)
                .map(|(nth, publisher)| scope.spawn(move || flood(publisher, ROW, 10 * run + nth, count)))
                .collect();
            for _ in 0..forged {
                std::thread::sleep(every);
                let inner = wire::subtree_of_size(&author, ROW.size_bytes as usize);
                let lie = json!({"from": author});
                forger.forge_one(id, &inner, lie).map_err(|e| e.to_string())?;
            }
            let joined = floods.into_iter().map(|flood| flood.join());
            joined
                .map(|sent| sent.map_err(|_| "a publisher failed".to_owned())?)
                .collect::<Result<Vec<u64>, String>>()
        })?;
        std::thread::sleep(DRAIN);
        let all: u64 = each.iter().sum();
        let mut lost = Vec::new();
        for (publisher, own) in self.publishers.iter_mut().zip(each) {
            let stats = ask(publisher, json!({"cmd": "stats"}))?;
            let had = stats["unique"].as_u64().unwrap_or(0);
            lost.push(Seen::none("lost by a publisher", (all - own).abs_diff(had)));
        }
        Ok(Sent { all, forged: forged.into(), lost })
    }

    /// Asserts that forgeries were among the load, and makes the outcome.
    fn outcome(&self, sent: Sent, mut seen: Vec<Seen>, cost: (f64, f64)) -> Result<Outcome, String> {
        if sent.forged == 0 {
            return Err("nothing was forged".to_owned());
        }
        seen.extend(sent.lost);
        let (cpu_us, rss_mib) = cost;
        let counts = Counts { sent: sent.all, seen };
        Ok(Outcome { counts, cpu_us, rss_mib, security: self.security.clone() })
    }
}

fn measure_go(sixth: &mut Peer, run: u32, seconds: u32) -> Result<Outcome, String> {
    debug_assert_eq!(sixth.make(), Make::Bus017, "the peer that is compared with");
    ask(sixth, json!({"cmd": "count", "on": true}))?;
    let (addr, id, pid) = (sixth.addr().to_owned(), sixth.id().to_owned(), sixth.process().pid());
    let mut others = Others::start(&addr, &id, run)?;
    others.count()?;
    ask(sixth, json!({"cmd": "count", "on": true}))?;
    let before = Cpu::of(pid)?;
    let sent = others.load(run + 1, EACH_PER_S * seconds)?;
    let cost = cost(pid, &before, sent.all)?;
    let stats = ask(sixth, json!({"cmd": "stats"}))?;
    let count = |name: &str| stats[name].as_u64().unwrap_or(0);
    let mut seen = ["received", "unique"].map(|name| Seen::all(name, count(name))).to_vec();
    seen.push(Seen::none("forged", count("other")));
    others.outcome(sent, seen, cost)
}

fn measure_ours(sixth: &Ours, run: u32, seconds: u32) -> Result<Outcome, String> {
    let (addr, id) = sixth.addr()?;
    let mut others = Others::start(&addr, &id, run)?;
    others.count()?;
    let page = sixth.metrics()?;
    let before = Cpu::of(sixth.pid())?;
    let sent = others.load(run + 1, EACH_PER_S * seconds)?;
    let cost = cost(sixth.pid(), &before, sent.all)?;
    let after = sixth.metrics()?;
    let grown = |name: &str| sample(&after, name).saturating_sub(sample(&page, name));
    let handled = format!("peerage_gossip_ended_total{{topic=\"{}\",cause=\"handled\"}}", ROW.kind);
    let mut seen: Vec<Seen> = [
        ("delivered", "peerage_gossip_delivered_total"),
        ("accepted", handled.as_str()),
        ("produced", "peerage_kafka_records_total"),
        ("acknowledged", "peerage_kafka_records_acknowledged_total"),
    ]
    .map(|(name, metric)| Seen::all(name, grown(metric)))
    .to_vec();
    seen.push(Seen::none("frames", grown("peerage_feed_frames_total")));
    seen.push(Seen::all("checked", grown("peerage_pubsub_checks_total{outcome=\"first\"}")));
    let invalid = grown("peerage_pubsub_checks_total{outcome=\"failed\"}");
    seen.push(Seen::none("forged ones not found invalid", sent.forged.abs_diff(invalid)));
    others.outcome(sent, seen, cost)
}
