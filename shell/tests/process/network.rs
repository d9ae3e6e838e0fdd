//! Two nodes and more.

use std::io::{ErrorKind, Read as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::{Node, PATIENCE, Scratch, http, shown, viewer};

/// Two nodes, the second connected to the first and both in each other's mesh.
fn pair(scratch: &Scratch) -> (Node, Node) {
    let one = Node::start(&scratch.join("one"), &["log_verdicts=true"]);
    let bootstrap = format!("p2p_bootstrap_peers={}", one.address());
    let two = Node::start(&scratch.join("two"), &["log_verdicts=true", &bootstrap]);
    let (id_one, id_two) = (one.peer_id(), two.peer_id());
    let met = one.event("peer_connected");
    assert_eq!((met["peer_id"].as_str(), met["direction"].as_str()), (Some(&*id_two), Some("in")));
    let met = two.event("peer_connected");
    assert_eq!((met["peer_id"].as_str(), met["direction"].as_str()), (Some(&*id_one), Some("out")));
    (one, two)
}

/// Announces until the other has it: the mesh forms within a few heartbeats.
fn announce_until_produced(from: &Node, to: &Node, kind: &str) {
    let deadline = Instant::now() + PATIENCE;
    let mut looks = 0;
    while to.status()["counters"]["produced"] == 0 {
        assert!(Instant::now() < deadline, "nothing arrived");
        if looks % 20 == 0 {
            from.told(&["announce", kind]);
        }
        looks += 1;
    }
    to.event_where("produced", |event| event["kind"] == kind);
}

#[test]
fn a_block_announced_at_one_node_is_produced_at_the_other_and_shown() {
    let scratch = Scratch::new();
    let (one, two) = pair(&scratch);
    announce_until_produced(&one, &two, "block");
    let mut viewer = viewer(&two);
    assert_eq!(shown(&mut viewer)["peer_id"], two.ready["peer_id"]);
    let told = one.told(&["announce", "block"]);
    let hash = told.split_whitespace().next().unwrap().to_owned();
    let produced = two.event_where("produced", |event| event["hash"] == hash.as_str());
    assert_eq!((&produced["kind"], &produced["peer_id"]), (&"block".into(), &one.ready["peer_id"]));
    two.event_where("verdict", |event| event["topic"] == "block" && event["acceptance"] == "accept");
    loop {
        let frame = shown(&mut viewer);
        if frame["type"] == "block" && frame["hash"] == hash.as_str() {
            assert_eq!(frame["peer_id"], one.ready["peer_id"]);
            break;
        }
    }
    let told = one.told(&["announce", "subtree"]);
    let hash = told.split_whitespace().next().unwrap().to_owned();
    two.event_where("produced", |event| event["kind"] == "subtree" && event["hash"] == hash.as_str());
}

#[test]
fn what_is_announced_at_a_rate_arrives_whole_and_in_order() {
    let scratch = Scratch::new();
    let (one, two) = pair(&scratch);
    announce_until_produced(&one, &two, "subtree");
    let told = one.told(&["announce", "subtree", "--count", "1200", "--rate", "2000"]);
    let hashes: Vec<&str> = told.split_whitespace().collect();
    assert_eq!(hashes.len(), 1200);
    for hash in [hashes[0], hashes[600], hashes[1199]] {
        two.event_where("produced", |event| event["hash"] == hash);
    }
    two.wait_status("all of them", |status| status["counters"]["produced"].as_u64() >= Some(1200));
}

#[test]
fn a_lost_bootstrap_peer_is_found_again() {
    let scratch = Scratch::new();
    let (one, two) = pair(&scratch);
    let port = format!("p2p_listen_addresses=/ip4/127.0.0.1/tcp/{}", one.p2p_port());
    let id = one.peer_id();
    one.stop();
    let lost = two.event("peer_disconnected");
    assert_eq!((lost["peer_id"].as_str(), lost["reason"].as_str()), (Some(&*id), Some("remote")));
    let _again = Node::start(&scratch.join("one"), &[&port]);
    assert_eq!(two.event("peer_connected")["peer_id"].as_str(), Some(&*id));
}

#[test]
fn t166_without_private_addresses_an_incoming_connection_from_loopback_is_refused() {
    let scratch = Scratch::new();
    let one = Node::start(&scratch.join("one"), &["p2p_allow_private_ips=false"]);
    let bootstrap = format!("p2p_bootstrap_peers={}", one.address());
    let two = Node::start(&scratch.join("two"), &[&bootstrap]);
    assert_eq!(one.event("refused")["reason"], "private_address");
    two.event("dial_failed");
    assert_eq!(one.status()["peers"].as_array().unwrap().len(), 0);
}

/// A connection to the node from this address of 127/8.
fn from(address: &str, node: &Node) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let own: SocketAddr = format!("{address}:0").parse().unwrap();
    socket.bind(&own.into()).unwrap();
    let there: SocketAddr = format!("127.0.0.1:{}", node.p2p_port()).parse().unwrap();
    socket.connect(&there.into()).unwrap();
    socket
}

#[test]
fn an_address_gets_its_share_of_connections_and_the_next_address_its_own() {
    let scratch = Scratch::new();
    let settings = ["p2p_loopback_exempt=false", "p2p_connections_per_address_max=2"];
    let node = Node::start(&scratch.join("data"), &settings);
    let _within = [from("127.0.0.5", &node), from("127.0.0.5", &node), from("127.0.0.6", &node)];
    let _over = from("127.0.0.5", &node);
    assert_eq!(node.event("refused")["reason"], "address_limit");
    node.wait_status("quiet", |status| status["peers"].as_array().is_some_and(Vec::is_empty));
    assert!(refusals(&node, "address_limit") == 1, "the others were let in");
}

#[test]
fn a_network_gets_its_share_of_connections_and_the_next_network_its_own() {
    let scratch = Scratch::new();
    let settings = ["p2p_loopback_exempt=false", "p2p_connections_per_subnet24_max=3"];
    let node = Node::start(&scratch.join("data"), &settings);
    let _within: Vec<_> =
        ["127.1.1.1", "127.1.1.2", "127.1.1.3", "127.1.2.1"].map(|ip| from(ip, &node)).into();
    let _over = from("127.1.1.4", &node);
    assert_eq!(node.event("refused")["reason"], "subnet_limit");
    assert!(refusals(&node, "subnet_limit") == 1, "the others were let in");
}

#[test]
fn loopback_is_exempt_from_the_limits_by_address_unless_told_otherwise() {
    let scratch = Scratch::new();
    let node = Node::start(&scratch.join("data"), &["p2p_connections_per_address_max=2"]);
    let _many: Vec<_> = (0..10).map(|_| from("127.0.0.5", &node)).collect();
    let deadline = Instant::now() + PATIENCE;
    while metric(&node, "peerage_handshakes_pending") < 10 {
        assert!(Instant::now() < deadline, "they were not all let in");
    }
    assert_eq!(refusals(&node, "address_limit"), 0);
}

/// What the metrics say of refused connections.
pub(super) fn refusals(node: &Node, reason: &str) -> u64 {
    metric(node, &format!("peerage_connections_refused_total{{reason=\"{reason}\"}}"))
}

pub(super) fn metric(node: &Node, name: &str) -> u64 {
    let host = node.admin();
    let page = http(host, &format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\n"));
    let value = page.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    value.trim().parse().unwrap()
}

#[test]
fn sockets_over_the_handshake_limit_of_their_address_are_refused_unread() {
    let scratch = Scratch::new();
    let node =
        Node::start(&scratch.join("data"), &["p2p_pending_per_address_max=4", "p2p_loopback_exempt=false"]);
    let mut silent: Vec<_> =
        (0..5).map(|_| TcpStream::connect(("127.0.0.1", node.p2p_port())).unwrap()).collect();
    assert_eq!(node.event("refused")["reason"], "handshake_limit");
    // The refused one is closed without a byte; the admitted ones are greeted by nobody either, but stay.
    let mut last = silent.pop().unwrap();
    last.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(last.read(&mut [0; 1]).unwrap_or(0), 0);
    drop(silent);
    node.wait_status("answering", |status| status["fsm_state"] == "RUNNING");
}

#[test]
fn who_connects_and_says_nothing_gives_its_place_back() {
    let scratch = Scratch::new();
    let node = Node::start(&scratch.join("data"), &[]);
    let begun = Instant::now();
    let mut silent = TcpStream::connect(("127.0.0.1", node.p2p_port())).unwrap();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(silent.read(&mut [0; 1]).unwrap(), 0, "the node closes");
    assert!(
        begun.elapsed() < Duration::from_secs(9),
        "{:?}: before the time of a whole handshake",
        begun.elapsed()
    );
}

#[test]
fn a_name_that_leads_to_loopback_is_dialled_only_where_private_addresses_are() {
    let scratch = Scratch::new();
    let there = TcpListener::bind("127.0.0.1:0").unwrap();
    let bootstrap = format!("p2p_bootstrap_peers=/dns4/localhost/tcp/{}", there.local_addr().unwrap().port());
    let node = Node::start(&scratch.join("one"), &[&bootstrap, "p2p_allow_private_ips=false"]);
    node.event_where("dial_failed", |event| event["source"] == "bootstrap");
    there.set_nonblocking(true).unwrap();
    assert_eq!(there.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "nobody came");
    there.set_nonblocking(false).unwrap();
    let _allowed = Node::start(&scratch.join("two"), &[&bootstrap]);
    there.accept().unwrap();
}
