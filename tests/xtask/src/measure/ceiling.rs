//! How many messages a second pass from one of our nodes to another without loss.

use std::time::{Duration, Instant};

use peerage_conformance::control::Control;

use super::cpu::Cpu;
use super::gossip::{DRAIN, SETTLE, cost};
use super::ours::{Ours, START_MAX, sample};
use super::{Kinds, Options};

/// What is tried, messages a second.
const RATES: [u32; 4] = [4_000, 8_000, 12_000, 16_000];
/// The target of the design.
const RATE_MIN: u32 = 8_000;
/// What one call may ask for.
const COUNT_MAX: u32 = 20_000;

/// Measures and prints the table.
///
/// # Errors
/// If a node does not start or the two do not connect.
pub(super) fn measure(kinds: &Kinds, options: &Options) -> Result<(), String> {
    println!(
        "`peerage` announces subtrees at their due times, the receiver is connected to it alone; fresh processes each rate.\n\
         a rate is reached only if published = delivered = accepted = announced in every run, and if what is published ends\n\
         within {} ms of the last due time.",
        DRAIN.as_millis()
    );
    println!(
        "\n  {:<14} {:>8} {:>6} {:>10} {:>16} {:>16}",
        "receiver", "a second", "runs", "lost", "publisher us", "receiver us"
    );
    for name in ["peerage", "peerage-smol"] {
        let mut best = 0;
        for rate in RATES {
            let (mut lost, mut costs) = (0, [0.0; 2]);
            for _ in 0..options.runs {
                let run = run(kinds, name, rate, options.seconds())
                    .map_err(|e| format!("{name}, {rate}/s: {e}"))?;
                lost += run.0;
                (costs[0], costs[1]) = (costs[0] + run.1, costs[1] + run.2);
            }
            let runs = options.runs as f64;
            println!(
                "  {name:<14} {rate:>8} {:>6} {lost:>10} {:>16.1} {:>16.1}",
                options.runs,
                costs[0] / runs,
                costs[1] / runs
            );
            if lost > 0 {
                break;
            }
            best = rate;
        }
        let word = if best >= RATE_MIN { "reached" } else { "MISSED" };
        println!("  {name:<14} without loss: {best}/s, target {RATE_MIN}/s: {word}");
    }
    Ok(())
}

/// Messages that were lost, and the cost of one to either.
fn run(kinds: &Kinds, name: &str, rate: u32, seconds: u32) -> Result<(u64, f64, f64), String> {
    let binary = |name| kinds.binary(name).ok_or("no binary of ours");
    // With this URL the inner JSON has 300 bytes.
    let url = "http://127.0.0.1:8090/api/v1?".to_owned();
    let url = format!("asset_httpPublicAddress={url}{}", "u".repeat(122 - url.len()));
    let publisher = Ours::start(binary("peerage")?, &[url])?;
    let receiver = Ours::start(binary(name)?, &[format!("p2p_static_peers={}", publisher.addr()?.0)])?;
    await_mesh(&publisher)?;
    std::thread::sleep(SETTLE);
    let control = publisher.control()?;
    announce(&control, rate / 4, rate)?;
    std::thread::sleep(DRAIN);
    let (pages, pids) = ([publisher.metrics()?, receiver.metrics()?], [publisher.pid(), receiver.pid()]);
    let before = [Cpu::of(pids[0])?, Cpu::of(pids[1])?];
    let count = rate * seconds;
    announce(&control, count, rate)?;
    std::thread::sleep(DRAIN);
    let costs = [cost(pids[0], &before[0], count.into())?.0, cost(pids[1], &before[1], count.into())?.0];
    let after = [publisher.metrics()?, receiver.metrics()?];
    let grown = |at: usize, name: &str| sample(&after[at], name).saturating_sub(sample(&pages[at], name));
    let handled = "peerage_gossip_ended_total{topic=\"subtree\",cause=\"handled\"}";
    let came = [grown(0, "peerage_publications_sent_total"), grown(1, handled)];
    let least = came.into_iter().min().unwrap_or(0);
    Ok((u64::from(count).saturating_sub(least), costs[0], costs[1]))
}

/// Announces `count` subtrees, each at its due time, and waits until the last is due.
fn announce(control: &Control, count: u32, rate: u32) -> Result<(), String> {
    let mut left = count;
    while left > 0 {
        let now = left.min(COUNT_MAX);
        control.announce_paced(now, rate).map_err(|e| e.to_string())?;
        left -= now;
    }
    std::thread::sleep(Duration::from_secs(1) * count / rate);
    Ok(())
}

/// Until the receiver is in the publisher's four meshes.
fn await_mesh(publisher: &Ours) -> Result<(), String> {
    let begin = Instant::now();
    while sample(&publisher.metrics()?, "peerage_pubsub_mesh_members") < 4 {
        if begin.elapsed() > START_MAX {
            return Err(format!("no mesh within {START_MAX:?}"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
