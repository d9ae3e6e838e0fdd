//! Crowds of connections, those that never finish, and no descriptors left: the node refuses, counts, and recovers.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::network::{metric, refusals};
use super::{Node, PATIENCE, Scratch};

fn connect(node: &Node) -> TcpStream {
    TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], node.p2p_port()))).unwrap()
}

fn proc(node: &Node, file: &str) -> String {
    format!("/proc/{}/{file}", node.child.id())
}

fn descriptors(node: &Node) -> usize {
    std::fs::read_dir(proc(node, "fd")).unwrap().count()
}

/// Resident memory, in KiB.
fn resident(node: &Node) -> usize {
    let status = std::fs::read_to_string(proc(node, "status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Waits until at most so many descriptors are open. Each look goes through the node, which closes its own again.
fn wait_descriptors(node: &Node, most: usize) {
    node.wait_status("so few descriptors", |_| descriptors(node) <= most);
}

/// Another node gets in, and is heard of.
fn serves(node: &Node, scratch: &Scratch, name: &str) {
    let bootstrap = format!("p2p_bootstrap_peers={}", node.address());
    let honest = Node::start(&scratch.join(name), &[&bootstrap]);
    let id = honest.peer_id();
    node.event_where("peer_connected", |event| event["peer_id"] == id.as_str());
}

#[test]
fn five_hundred_connections_that_come_and_go_leave_neither_descriptors_nor_memory() {
    let scratch = Scratch::new();
    let node = Node::start(&scratch.join("data"), &[]);
    node.status();
    let before = descriptors(&node);
    let crowd = || {
        (0..500).for_each(|_| drop(connect(&node)));
        wait_descriptors(&node, before);
    };
    crowd();
    let warm = resident(&node);
    (0..3).for_each(|_| crowd());
    let after = resident(&node);
    assert!(after <= warm + 2048, "{after} KiB after {warm} KiB");
    serves(&node, &scratch, "honest");
}

#[test]
fn who_opens_and_never_finishes_holds_no_place_for_longer_than_the_handshake_may_last() {
    let scratch = Scratch::new();
    let node = Node::start(&scratch.join("data"), &[]);
    node.status();
    let before = descriptors(&node);
    let silent: Vec<TcpStream> = (0..300).map(|_| connect(&node)).collect();
    // As many as there are places; the others are refused.
    node.wait_status("refused", |_| refusals(&node, "handshake_limit") >= 300 - 128);
    assert!(descriptors(&node) <= before + 128 + 8);
    wait_descriptors(&node, before);
    drop(silent);
    // Byte after byte, each well in time: the whole has its time too.
    let mut slow = connect(&node);
    let start = Instant::now();
    slow.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let greeting = b"\x13/multistream/1.0.0\n\x07/noise\n";
    let mut bytes = greeting.iter().copied().chain(std::iter::repeat(0));
    loop {
        assert!(start.elapsed() < PATIENCE, "it is never closed");
        let mut answer = [0; 64];
        if slow.write_all(&[bytes.next().unwrap()]).is_err() {
            break;
        }
        match slow.read(&mut answer) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    wait_descriptors(&node, before);
    serves(&node, &scratch, "honest");
}

#[test]
fn without_descriptors_nobody_gets_in_which_is_told_and_counted_until_there_are_some_again() {
    let scratch = Scratch::new();
    let node = Node::start(&scratch.join("data"), &[]);
    let before = descriptors(&node);
    let limit = Rlimit { current: Some(64), maximum: Some(64) };
    prlimit(Some(Pid::from_child(&node.child)), Resource::Nofile, limit).unwrap();
    let crowd: Vec<TcpStream> = (0..100).map(|_| connect(&node)).collect();
    node.event_where("listener_failing", |event| event["listener"] == "p2p");
    drop(crowd);
    node.event_where("listener_works", |event| event["listener"] == "p2p");
    assert!(metric(&node, "peerage_listener_accept_failed_total{listener=\"p2p\"}") > 0);
    wait_descriptors(&node, before);
    serves(&node, &scratch, "honest");
}
