//! The memory contract of a node before a hostile crowd: what it holds, what it gives up and in which order, and whether an
//! honest Go peer is served meanwhile.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::hostile::Crowd;
use crate::node::{Node, Shell};
use crate::peer::{Make, Peer};
use crate::wire::Kind;
use crate::{Failure, LATE, SOON, retry, usage};

/// What is put up.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The setting, in MiB.
    pub memory_max_mib: u64,
    /// Hostile peers.
    pub hostile: usize,
    /// For how long.
    pub lasts: Duration,
}

/// What was seen.
#[derive(Clone, Debug)]
pub struct Report {
    /// By how much the memory that is no page of the program grew at most, in bytes. Of a program that is built without
    /// optimisation pages come in for long.
    pub grown_bytes: u64,
    /// Resident memory before the crowd came, in bytes.
    pub before_bytes: u64,
    /// The most that it was.
    pub peak_bytes: u64,
    /// Resident memory after the crowd had gone.
    pub after_bytes: u64,
    /// The most of the heap that counted towards the contract.
    pub counted_peak_bytes: u64,
    /// The same when the crowd had gone.
    pub counted_after_bytes: u64,
    /// Messages of the honest peer that were served, each looked for.
    pub served: usize,
    /// The longest that one took.
    pub slowest: Duration,
    /// Sockets and connections of the crowd.
    pub sockets: u64,
    /// Of them: connections.
    pub connections: u64,
    /// What was given up, in the written order: component, reason, how often.
    pub shed: Vec<(&'static str, &'static str, u64)>,
    /// Connections refused because there were too many.
    pub refused: u64,
}

/// The written order.
pub const ORDER: [(&str, &str); 6] = [
    ("cache", "ledger"),
    ("bulk", "ledger"),
    ("forwards", "ledger"),
    ("newcomers", "ledger"),
    ("connections", "ledger"),
    ("connections", "heap"),
];

/// Number of descriptors that a process has open.
///
/// # Errors
/// If there is no such process.
pub fn descriptors(pid: u32) -> Result<usize, Failure> {
    let folder = format!("/proc/{pid}/fd");
    fs::read_dir(&folder).map(Iterator::count).map_err(|e| Failure::new(format!("{folder}: {e}")))
}

/// Waits until a figure falls to `most`.
///
/// # Errors
/// The last figure, when the time is over.
pub fn falls(
    what: &str,
    most: f64,
    within: Duration,
    mut figure: impl FnMut() -> Result<f64, Failure>,
) -> Result<f64, Failure> {
    let mut pause = Duration::from_millis(20);
    retry(within, || {
        let now = figure()?;
        if now <= most {
            return Ok(now);
        }
        // It looks at another process, and must not keep it busy.
        std::thread::park_timeout(pause);
        pause = (pause * 2).min(Duration::from_millis(500));
        Err(Failure::new(format!("{what}: {now}, and at most {most} were expected")))
    })
}

/// Runs it.
///
/// # Errors
/// If the node or the honest peer fails, or the honest peer is not served.
pub fn run(shell: Shell, plan: &Plan) -> Result<Report, Failure> {
    let memory_max = format!("{}MiB", plan.memory_max_mib);
    let mut honest = Peer::start(Make::Bus017, "honest", json!({}))?;
    // A peer that the operator keeps: among strangers who say the same, nobody can tell who is honest.
    let settings = [
        ("memory_max", memory_max.as_str()),
        ("p2p_static_peers", honest.addr()),
        ("p2p_dht_mode", "server"),
        ("log_verdicts", "false"),
    ];
    let mut ours = Node::start(shell, "ours", &settings)?;
    let pid = ours.process().pid();
    ours.expect_connected(honest.id(), SOON)?;
    // What is published before the streams stand reaches nobody.
    retry(LATE, || serve(&mut ours, &mut honest, Duration::from_secs(1)))?;
    let before = usage::of(pid)?;
    let open_before = descriptors(pid)?;
    let crowd = Crowd::start(&ours.addr()?, plan.hostile)?;
    let begun = Instant::now();
    let (mut served, mut slowest, mut counted_peak) = (0, Duration::ZERO, 0.0_f64);
    while begun.elapsed() < plan.lasts {
        let sent = Instant::now();
        retry(LATE, || serve(&mut ours, &mut honest, SOON))?;
        slowest = slowest.max(sent.elapsed());
        served += 1;
        counted_peak = counted_peak.max(ours.metric("peerage_memory_counted_bytes")?);
        std::thread::park_timeout(Duration::from_millis(250));
    }
    let (sockets, connections) = {
        let tally = crowd.tally();
        (
            tally.sockets.load(std::sync::atomic::Ordering::Relaxed),
            tally.connections.load(std::sync::atomic::Ordering::Relaxed),
        )
    };
    drop(crowd);
    let at_the_end = usage::of(pid)?;
    falls("connections", 2.0, LATE, || ours.metric("peerage_connections"))?;
    falls("handshakes", 0.0, LATE, || ours.metric("peerage_handshakes_pending"))?;
    falls("descriptors", (open_before + 4) as f64, LATE, || descriptors(pid).map(|open| open as f64))?;
    let quarter = (plan.memory_max_mib << 20) as f64 / 4.0;
    let counted_after = falls("heap", quarter, LATE, || ours.metric("peerage_memory_counted_bytes"))?;
    retry(LATE, || serve(&mut ours, &mut honest, SOON))?;
    let shed = |(component, reason)| -> Result<_, Failure> {
        let labels = [("component", component), ("reason", reason)];
        Ok((component, reason, ours.metric_of("peerage_memory_shed_total", &labels)? as u64))
    };
    let shed = ORDER.into_iter().map(shed).collect::<Result<Vec<_>, _>>()?;
    let refused = ours.metric("peerage_connections_refused_total")? as u64;
    Ok(Report {
        grown_bytes: own(at_the_end.rss_peak_bytes, &at_the_end)
            .saturating_sub(own(before.rss_bytes, &before)),
        before_bytes: before.rss_bytes,
        peak_bytes: at_the_end.rss_peak_bytes,
        after_bytes: usage::of(pid)?.rss_bytes,
        counted_peak_bytes: counted_peak as u64,
        counted_after_bytes: counted_after as u64,
        served,
        slowest,
        sockets,
        connections,
        shed,
        refused,
    })
}

/// Without the pages of the program.
fn own(bytes: u64, at: &usage::Usage) -> u64 {
    bytes.saturating_sub(at.rss_file_bytes)
}

/// One message of the honest peer that our node judges and hands on to the broker. What is published while a stream is opened
/// again reaches nobody, in any mesh: then the next one counts.
fn serve(ours: &mut Node, honest: &mut Peer, within: Duration) -> Result<(), Failure> {
    let message = Kind::Subtree.message(honest.id());
    honest.publish(&Kind::Subtree.topic(), &message)?;
    ours.expect_produced(&Kind::Subtree.mark(&message), within)?;
    // What is not forgotten here would grow with the time.
    ours.process().take();
    Ok(())
}
