//! What the conformance tests do for a minute, for long: the mesh of all makes under churn, and the router that keeps scores.

use std::time::Duration;

use peerage_conformance::churn::{self, Plan};
use peerage_conformance::{node, score};

use super::{Kinds, Options};
use crate::run::{Totals, cargo, run};

/// How long the mesh is restarted member by member, and the scores are kept.
const CHURN: Duration = Duration::from_secs(600);
const SCORES: Duration = Duration::from_secs(180);
/// The same when it is to be quick.
const QUICK: Duration = Duration::from_secs(30);

/// Messages published while all are up, between two restarts.
const BATCH: usize = 60;

/// Runs both and prints what was seen.
///
/// # Errors
/// If a message is lost or comes twice, or a score of ours falls below 0.
pub(super) fn measure(kinds: &Kinds, options: &Options) -> Result<(), String> {
    let build = ["build", "--locked", "-p", "peerage-conformance", "--bin", "rust-peer"];
    run(&mut cargo(build), &mut Totals::default())?;
    let [tokio, smol] = kinds.ours.each_ref().map(|ours| ours.path.clone());
    node::use_binaries(tokio, smol);
    let [traffic, judged] = if options.quick { [QUICK; 2] } else { [CHURN, SCORES] };
    println!(
        "a mesh of 12 (peerage and peerage-smol twice each, Go buses 0.1.7 and 0.1.22 and go-libp2p twice each, js-libp2p,\n\
         rust-libp2p), three publishing, the others restarted one at a time for {} s. each message must reach each node that\n\
         is up, once.",
        traffic.as_secs()
    );
    let plan = Plan { traffic, restarts_max: usize::MAX, batch: BATCH };
    let report = churn::run(&plan).map_err(|e| e.to_string())?;
    println!(
        "{} messages, {} deliveries of those that had to be, all once; {} restarts",
        report.published, report.delivered, report.restarts
    );
    for (name, before, after) in &report.resident_bytes {
        let mib = |bytes: &u64| *bytes as f64 / f64::from(1 << 20);
        println!("  {name:<13} {:>6.1} MiB at first, {:>6.1} at the end", mib(before), mib(after));
    }
    println!("before a Go router that keeps scores, liars on the other side, for {} s.", judged.as_secs());
    let report = score::run(judged).map_err(|e| e.to_string())?;
    for ours in &report.ours {
        println!("  {:<13} worst score {}, in {} meshes: {}", ours.name, ours.worst, ours.meshes, ours.told);
    }
    println!("  {} rounds, {} looks; a liar had {}", report.rounds, report.looks, report.liar);
    if report.ours.iter().any(|ours| ours.worst < 0.0) {
        return Err("a score of ours fell below 0".to_owned());
    }
    Ok(())
}
