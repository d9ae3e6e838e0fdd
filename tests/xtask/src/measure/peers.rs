//! What a connected, subscribed peer costs in resident memory.

use std::time::{Duration, Instant};

use peerage_conformance::peer::{Make, Peer};
use peerage_conformance::{SOON, usage, wire};
use serde_json::json;

use super::figures::median;
use super::gossip::{GO, ask, go_peer};
use super::ours::{Ours, sample};
use super::{Kinds, Options};

/// How many connect.
const COUNTS: [u32; 2] = [50, 200];
/// The target of the design.
const PEER_KB_MAX: f64 = 50.0;
/// From listening, and from the last subscription, until memory is read: meshes have settled and what a start held is given up.
const REST: Duration = Duration::from_secs(10);

/// A node of either kind, alive.
enum Alive {
    Ours(Ours),
    Go(Box<Peer>),
}

/// Measures and prints the table.
///
/// # Errors
/// Never so far: a run that fails is a void run.
pub(super) fn measure(kinds: &Kinds, options: &Options) -> Result<(), String> {
    println!(
        "idle Go peers of one process, each with its own identity, connected and subscribed to four topics; growth of resident\n\
         memory over the node alone, {} s after it listened and after the last subscription, fresh processes each run,\n\
         alternating. `written`: pages of its own that it wrote, so without its code.",
        REST.as_secs()
    );
    println!(
        "\n  {:<14} {:>6} {:>12} {:>7} {:>7} {:>6} {:>12} | {:>10}",
        "", "peers", "KB a peer", "least", "most", "ratio", "<= 50 KB", "written KB"
    );
    for count in COUNTS {
        let mut theirs = None;
        let names = [GO, "peerage", "peerage-smol"];
        let mut figures = [const { (Vec::new(), Vec::new()) }; 3];
        for run in 0..options.runs {
            for ((resident, written), name) in figures.iter_mut().zip(names) {
                match grown(kinds, name, count) {
                    Ok(grown) => {
                        resident.push(grown.0);
                        written.push(grown.1);
                    }
                    Err(problem) => println!("  {name}, {count} peers, run {}: void, {problem}", run + 1),
                }
            }
        }
        for ((resident, written), name) in figures.iter().zip(names) {
            let (kb, own) = (median(resident).unwrap_or(f64::NAN), median(written).unwrap_or(f64::NAN));
            let go = *theirs.get_or_insert(kb);
            let word = match (name == GO, kb <= PEER_KB_MAX) {
                (true, _) => "",
                (false, true) => "reached",
                (false, false) => "MISSED",
            };
            println!(
                "  {name:<14} {count:>6} {kb:>12.1} {:>7.1} {:>7.1} {:>6.2} {word:>12} | {own:>10.1}",
                resident.iter().copied().fold(f64::INFINITY, f64::min),
                resident.iter().copied().fold(0.0, f64::max),
                kb / go,
            );
        }
    }
    Ok(())
}

/// KB a peer: resident, and written pages of its own.
fn grown(kinds: &Kinds, name: &str, count: u32) -> Result<(f64, f64), String> {
    let (mut alive, pid, addr) = match kinds.binary(name) {
        Some(binary) => {
            let ours =
                Ours::start(binary, &["p2p_high_water=900".to_owned(), "p2p_low_water=800".to_owned()])?;
            let (pid, addr) = (ours.pid(), ours.addr()?.0);
            (Alive::Ours(ours), pid, addr)
        }
        None => {
            let mut peer = go_peer("host")?;
            let (pid, addr) = (peer.process().pid(), peer.addr().to_owned());
            (Alive::Go(Box::new(peer)), pid, addr)
        }
    };
    let mut crowd =
        Peer::start(Make::Raw, "crowd", json!({"topics": wire::topics()})).map_err(|e| e.to_string())?;
    std::thread::sleep(REST);
    let before = memory(pid)?;
    let command = json!({"cmd": "crowd", "addr": addr, "count": count});
    crowd.process().call_within(command, 4 * SOON).map_err(|e| e.to_string())?;
    await_connected(&mut alive, u64::from(count))?;
    std::thread::sleep(REST);
    let after = memory(pid)?;
    let each = |at: usize| (after[at] - before[at]) / f64::from(count);
    Ok((each(0), each(1)))
}

/// Until ours counts as many peers that speak pubsub as there are; the bus tells of nothing but who is connected.
fn await_connected(alive: &mut Alive, wanted: u64) -> Result<(), String> {
    let deadline = Instant::now() + 4 * SOON;
    loop {
        let found = match alive {
            Alive::Ours(ours) => sample(&ours.metrics()?, "peerage_pubsub_peers"),
            Alive::Go(peer) => {
                let told = ask(peer, json!({"cmd": "peers"}))?;
                told["connected"].as_array().map_or(0, |all| all.len() as u64)
            }
        };
        if found >= wanted {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("{found} of {wanted} in {} s", (4 * SOON).as_secs()));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// KB: resident, and written pages of its own.
fn memory(pid: u32) -> Result<[f64; 2], String> {
    let usage = usage::of(pid).map_err(|e| e.to_string())?;
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
    let written = text
        .lines()
        .find_map(|line| line.strip_prefix("Private_Dirty:")?.trim().strip_suffix(" kB")?.parse().ok())
        .ok_or_else(|| format!("{path} does not tell Private_Dirty"))?;
    Ok([usage.rss_bytes as f64 / 1024.0, written])
}
