//! The memory contract for a minute, on the binaries that are shipped.

use std::time::Duration;

use peerage_conformance::contract::{self, Plan};
use peerage_conformance::node::{self, Shell};

use super::{Kinds, Options};

/// What small hosts get.
const MEMORY_MAX_MIB: u64 = 24;
/// Hostile peers at once.
const CROWD: usize = 500;
/// The fixed parts that `docs/memory.md` states, in MiB.
const FIXED_MIB: [(Shell, &str, u64); 2] = [(Shell::Tokio, "peerage", 12), (Shell::Smol, "peerage-smol", 9)];

/// Runs it on both and prints what was seen.
///
/// # Errors
/// If an honest peer is not served, or the contract is broken.
pub(super) fn measure(kinds: &Kinds, options: &Options) -> Result<(), String> {
    let [tokio, smol] = kinds.ours.each_ref().map(|ours| ours.path.clone());
    node::use_binaries(tokio, smol);
    let lasts = Duration::from_secs(if options.quick { 15 } else { 60 });
    let plan = Plan { memory_max_mib: MEMORY_MAX_MIB, hostile: CROWD, lasts };
    println!(
        "memory_max = {MEMORY_MAX_MIB} MiB, {CROWD} hostile peers for {} s, an honest Go bus publishing meanwhile",
        lasts.as_secs()
    );
    let mut broken = Vec::new();
    for (shell, name, fixed) in FIXED_MIB {
        let report = contract::run(shell, &plan).map_err(|e| e.to_string())?;
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        println!(
            "  {name:<13} RSS {:.1} MiB before, {:.1} at most, {:.1} after (to reach: <= {} + {fixed});\n\
             {:>16}heap of the contract {:.1} MiB at most, {:.1} after; {} sockets, {} connections, {} refused;\n\
             {:>16}honest messages served {}, the slowest in {:.0} ms; given up: {:?}",
            mib(report.before_bytes),
            mib(report.peak_bytes),
            mib(report.after_bytes),
            MEMORY_MAX_MIB,
            "",
            mib(report.counted_peak_bytes),
            mib(report.counted_after_bytes),
            report.sockets,
            report.connections,
            report.refused,
            "",
            report.served,
            report.slowest.as_secs_f64() * 1e3,
            report.shed,
        );
        if report.peak_bytes > (MEMORY_MAX_MIB + fixed) << 20 {
            broken.push(name);
        }
    }
    if broken.is_empty() { Ok(()) } else { Err(format!("the contract is broken by {}", broken.join(", "))) }
}
