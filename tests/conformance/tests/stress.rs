//! Too many, too slow, too much: both binaries under peers that use them up, and what comes back when those have gone.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use peerage_conformance::contract::{self, Plan, descriptors, falls};
use peerage_conformance::node::{Node, Shell};
use peerage_conformance::{Failure, LATE, SOON, on_both_shells, usage};

/// The contract that small hosts get.
const MEMORY_MAX_MIB: u64 = 24;
/// Hostile peers at once.
const CROWD: usize = 500;
/// How long they are at work here. `cargo xtask measure contract` has them for a minute.
const LASTS: Duration = Duration::from_secs(15);

fn socket(ours: &Node) -> Result<SocketAddr, Failure> {
    let addr = ours.addr()?;
    let mut words = addr.split('/').skip(2);
    let text = format!("{}:{}", words.next().unwrap_or_default(), words.nth(1).unwrap_or_default());
    text.parse().map_err(|_| Failure::new(format!("{addr}: no IPv4 and TCP")))
}

fn connect(to: SocketAddr) -> Result<TcpStream, Failure> {
    let stream = TcpStream::connect_timeout(&to, SOON).map_err(|e| Failure::new(format!("{to}: {e}")))?;
    stream.set_read_timeout(Some(SOON)).map_err(|e| Failure::new(e.to_string()))?;
    Ok(stream)
}

/// Whether somebody answers with a byte: a handshake began.
fn is_answered(to: SocketAddr) -> Result<(), Failure> {
    let mut stream = connect(to)?;
    let failed = |e: std::io::Error| Failure::new(format!("no answer: {e}"));
    stream.write_all(b"\x13/multistream/1.0.0\n").map_err(failed)?;
    stream.read_exact(&mut [0]).map_err(failed)
}

fn a_memory_contract_is_kept_before_a_hostile_crowd_and_an_honest_peer_is_served(
    shell: Shell,
) -> Result<(), Failure> {
    let plan = Plan { memory_max_mib: MEMORY_MAX_MIB, hostile: CROWD, lasts: LASTS };
    let report = contract::run(shell, &plan)?;
    assert!(report.connections > 0 && report.served > 0, "{report:#?}");
    assert!(report.counted_peak_bytes <= MEMORY_MAX_MIB << 20, "{report:#?}");
    assert!(report.grown_bytes <= MEMORY_MAX_MIB << 20, "{report:#?}");
    assert!(report.refused > 0, "a crowd of {CROWD} is too much: {report:#?}");
    Ok(())
}

fn sockets_that_are_opened_and_dropped_leave_nothing(shell: Shell) -> Result<(), Failure> {
    let mut ours = Node::start(shell, "ours", &[])?;
    let (to, pid) = (socket(&ours)?, ours.process().pid());
    let before = descriptors(pid)?;
    for _ in 0..5 {
        let open = (0..100).map(|_| connect(to)).collect::<Result<Vec<_>, _>>()?;
        drop(open);
    }
    falls("handshakes", 0.0, LATE, || ours.metric("peerage_handshakes_pending"))?;
    falls("descriptors", before as f64, LATE, || descriptors(pid).map(|open| open as f64))?;
    let grown = usage::of(pid)?.rss_bytes;
    for _ in 0..5 {
        drop((0..100).map(|_| connect(to)).collect::<Result<Vec<_>, _>>()?);
    }
    falls("descriptors", before as f64, LATE, || descriptors(pid).map(|open| open as f64))?;
    let again = usage::of(pid)?.rss_bytes;
    assert!(again <= grown + (2 << 20), "the next 500 cost nothing more: {grown} {again}");
    is_answered(to)
}

fn half_open_and_slow_handshakes_hold_their_places_for_seconds_only(shell: Shell) -> Result<(), Failure> {
    let ours = Node::start(shell, "ours", &[("p2p_pending_handshakes_max", "20")])?;
    let to = socket(&ours)?;
    let silent = (0..20).map(|_| connect(to)).collect::<Result<Vec<_>, _>>()?;
    let mut slow = (0..20).map(|_| connect(to)).collect::<Result<Vec<_>, _>>()?;
    for (at, byte) in b"\x13/multi".iter().enumerate() {
        for stream in &mut slow {
            // The node may have closed it: that is what is waited for.
            let _ = stream.write_all(&[*byte]);
        }
        if at == 0 {
            retry_refused(&ours)?;
        }
    }
    falls("handshakes", 0.0, LATE, || ours.metric("peerage_handshakes_pending"))?;
    for mut stream in silent.into_iter().chain(slow) {
        let mut rest = Vec::new();
        let end = stream.read_to_end(&mut rest);
        let timed_out = end.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!timed_out, "the node has not closed it");
    }
    is_answered(to)
}

/// Waits until somebody was refused.
fn retry_refused(ours: &Node) -> Result<(), Failure> {
    falls("places not refused", 0.0, SOON, || {
        let refused = ours.metric("peerage_connections_refused_total")?;
        Ok(if refused > 0.0 { 0.0 } else { 1.0 })
    })
    .map(drop)
}

fn without_descriptors_it_refuses_counts_and_recovers(shell: Shell) -> Result<(), Failure> {
    let mut ours = Node::start_limited(shell, "ours", &[], 64)?;
    let (to, pid) = (socket(&ours)?, ours.process().pid());
    let before = descriptors(pid)?;
    let mut open = Vec::new();
    for _ in 0..100 {
        // Those that are not accepted wait in the system's queue.
        open.push(connect(to)?);
    }
    falls("free descriptors", 0.0, SOON, || Ok(64.0 - descriptors(pid)? as f64))?;
    drop(open);
    falls("descriptors", before as f64, LATE, || descriptors(pid).map(|open| open as f64))?;
    let failed = ours.metric("peerage_listener_accept_failed_total")?;
    assert!(failed > 0.0, "it counts what it could not accept");
    peerage_conformance::retry(SOON, || is_answered(to))
}

on_both_shells!(
    a_memory_contract_is_kept_before_a_hostile_crowd_and_an_honest_peer_is_served,
    sockets_that_are_opened_and_dropped_leave_nothing,
    half_open_and_slow_handshakes_hold_their_places_for_seconds_only,
    without_descriptors_it_refuses_counts_and_recovers,
);
