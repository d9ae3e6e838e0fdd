//! From nothing to listening, and what an idle node uses.

use std::time::{Duration, Instant};

use peerage_conformance::peer::{Make, Peer};
use serde_json::json;

use super::cpu::Cpu;
use super::figures::median;
use super::gossip::GO;
use super::ours::{Ours, await_port, free_port};
use super::{Kinds, Options};

/// From listening until memory is read.
const REST: Duration = Duration::from_secs(10);
/// Targets of the design.
const START_MS_MAX: f64 = 50.0;
const IDLE_PERCENT_MAX: f64 = 0.3;

/// A node of either kind, alive.
enum Alive {
    Ours(Ours),
    Go(Peer),
}

impl Alive {
    fn pid(&mut self) -> u32 {
        match self {
            Self::Ours(ours) => ours.pid(),
            Self::Go(peer) => peer.process().pid(),
        }
    }
}

/// Measures and prints the table.
///
/// # Errors
/// If a node does not start.
pub(super) fn measure(kinds: &Kinds, options: &Options) -> Result<(), String> {
    let idle = Duration::from_secs(if options.quick { 20 } else { 60 });
    println!(
        "start: from spawning the process to its peer-to-peer port answering, fresh data directory and key, alternating;\n\
         idle: alone, no peer, one after another; resident memory {} s after listening, then CPU over {} s",
        REST.as_secs(),
        idle.as_secs()
    );
    let names = [(GO, None), ("peerage", Some(12.0)), ("peerage-smol", Some(9.0))];
    let mut starts = [const { Vec::new() }; 3];
    for _ in 0..options.runs {
        for (times, (name, _)) in starts.iter_mut().zip(names) {
            times.push(start(kinds, name)?.1.as_secs_f64() * 1e3);
        }
    }
    println!(
        "\n  {:<14} {:>9} {:>7} {:>7} {:>6} {:>10} | {:>9} {:>6} {:>10} | {:>8} {:>9}",
        "",
        "start ms",
        "least",
        "most",
        "ratio",
        "<= 50 ms",
        "RSS MiB",
        "ratio",
        "target",
        "idle CPU",
        "<= 0.3 %"
    );
    let mut theirs: Option<(f64, f64)> = None;
    for (times, (name, rss_max)) in starts.iter().zip(names) {
        let (mut alive, _) = start(kinds, name)?;
        let (rss, percent) = rest(alive.pid(), idle)?;
        let start = median(times).ok_or("no start was measured")?;
        let (go_start, go_rss) = *theirs.get_or_insert((start, rss));
        let word = |ours: bool, met: bool| match (ours, met) {
            (false, _) => "",
            (true, true) => "reached",
            (true, false) => "MISSED",
        };
        let ours = rss_max.is_some();
        let rss_max = rss_max.unwrap_or(f64::INFINITY);
        println!(
            "  {name:<14} {start:>9.1} {:>7.1} {:>7.1} {:>6.2} {:>10} | {rss:>9.1} {:>6.2} {:>10} | {percent:>6.2} % {:>9}",
            times.iter().copied().fold(f64::INFINITY, f64::min),
            times.iter().copied().fold(0.0, f64::max),
            start / go_start,
            word(ours, start <= START_MS_MAX),
            rss / go_rss,
            if ours {
                format!("{} {rss_max}", if rss <= rss_max { "reached" } else { "MISSED" })
            } else {
                String::new()
            },
            word(ours, percent <= IDLE_PERCENT_MAX),
        );
    }
    Ok(())
}

fn start(kinds: &Kinds, name: &'static str) -> Result<(Alive, Duration), String> {
    if let Some(binary) = kinds.binary(name) {
        let ours = Ours::start(binary, &[])?;
        let start = ours.start;
        return Ok((Alive::Ours(ours), start));
    }
    let port = free_port()?;
    let begin = Instant::now();
    let watch = std::thread::spawn(move || await_port(port, begin));
    let peer =
        Peer::start(Make::Bus017, name, json!({"dht": "server", "port": port})).map_err(|e| e.to_string())?;
    let start = watch.join().map_err(|_| "the watch on the port failed".to_owned())??;
    Ok((Alive::Go(peer), start))
}

/// Resident MiB after a rest, then per cent of a processor.
fn rest(pid: u32, idle: Duration) -> Result<(f64, f64), String> {
    std::thread::sleep(REST);
    let usage = peerage_conformance::usage::of(pid).map_err(|e| e.to_string())?;
    let (before, begin) = (Cpu::of(pid)?, Instant::now());
    std::thread::sleep(idle);
    let used = Cpu::of(pid)?.since(&before)?;
    let percent = 100.0 * used.as_secs_f64() / begin.elapsed().as_secs_f64();
    Ok((usage.rss_bytes as f64 / f64::from(1 << 20), percent))
}
