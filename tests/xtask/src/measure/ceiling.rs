//! How many messages a second pass from one of our nodes to another without loss.

use super::cpu::Cpu;
use super::gossip::{DRAIN, Row, SETTLE, cost};
use super::ours::{Ours, sample};
use super::publisher::Publisher;
use super::{Kinds, Options};

/// What is tried, messages a second.
const RATES: [u32; 4] = [4_000, 8_000, 12_000, 16_000];
/// The target of the design.
const RATE_MIN: u32 = 8_000;
/// Counts what the receiver takes.
const ACCEPTED: &str = "peerage_gossip_ended_total{topic=\"subtree\",cause=\"handled\"}";
/// The load but for its rate.
const ROW: Row =
    Row { name: "ceiling", kind: "subtree", size_bytes: 300, rate_per_s: 0, ratio_max: None, left_out: "" };

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
    let receiver = Ours::start(binary(name)?, &[])?;
    let mut publisher = Publisher::ours(binary("peerage")?, &receiver.addr()?.0)?;
    let row = Row { rate_per_s: rate, ..ROW };
    std::thread::sleep(SETTLE);
    publisher.publish(row, 1, rate / 4)?;
    std::thread::sleep(DRAIN);
    let (page, pids) = (receiver.metrics()?, [publisher.pid(), receiver.pid()]);
    let published = publisher.published()?;
    let before = [Cpu::of(pids[0])?, Cpu::of(pids[1])?];
    let sent = publisher.publish(row, 2, rate * seconds)?;
    std::thread::sleep(DRAIN);
    let costs = [cost(pids[0], &before[0], sent)?.0, cost(pids[1], &before[1], sent)?.0];
    let published = publisher.published()? - published;
    let after = receiver.metrics()?;
    let accepted = sample(&after, ACCEPTED).saturating_sub(sample(&page, ACCEPTED));
    Ok((sent.saturating_sub(published.min(accepted)), costs[0], costs[1]))
}
