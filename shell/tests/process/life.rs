//! Start, what it serves, stop.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Node, Scratch, command, http, shown, viewer};

#[test]
fn a_node_without_configuration_says_what_it_is() {
    let scratch = Scratch::new();
    let node = Node::start(&scratch.join("data"), &[]);
    assert_eq!((&node.ready["network"], &node.ready["profile"]), (&"regtest".into(), &"dev".into()));
    assert_eq!(node.ready["data_dir"], scratch.join("data").to_str().unwrap());
    let status = node.status();
    for member in ["peer_id", "p2p", "feed", "admin", "network"] {
        assert_eq!(status[member], node.ready[member], "{member}");
    }
    assert_eq!(status["fsm_state"], "RUNNING");
    assert!(node.told(&["status"]).contains(&node.peer_id()));
}

#[test]
fn t145_the_second_start_has_the_same_id() {
    let scratch = Scratch::new();
    let node = Node::start(&scratch.join("data"), &[]);
    let id = node.peer_id();
    node.stop();
    assert_eq!(Node::start(&scratch.join("data"), &[]).peer_id(), id);
}

#[test]
fn t066_the_first_frame_of_a_viewer_is_the_own_node_status() {
    let scratch = Scratch::new();
    let node = Node::start(&scratch.join("data"), &[]);
    let mut viewer = viewer(&node);
    let first = shown(&mut viewer);
    assert_eq!((&first["type"], &first["peer_id"]), (&"node_status".into(), &node.ready["peer_id"]));
    assert!(node.told(&["announce", "block"]).ends_with(" 1\n"));
    // The own block is shown by the status that follows it.
    while shown(&mut viewer)["best_height"] != 1 {}
}

#[test]
fn t074_without_a_feed_address_the_node_starts_without_http() {
    let scratch = Scratch::new();
    let node = Node::start(&scratch.join("data"), &["p2p_httpListenAddress="]);
    assert_eq!(node.ready["feed"], "");
    assert_eq!(node.status()["feed"], "");
}

#[test]
fn the_operator_listener_serves_metrics_to_local_names_alone() {
    let scratch = Scratch::new();
    let node = Node::start(&scratch.join("data"), &[]);
    let host = node.admin();
    let page = http(host, &format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\n"));
    assert!(page.starts_with("HTTP/1.1 200 ") && page.contains("\npeerage_peers_connected 0\n"), "{page}");
    let foreign = http(host, "GET /metrics HTTP/1.1\r\nHost: evil.example\r\n");
    assert!(foreign.starts_with("HTTP/1.1 403 "), "{foreign}");
    let page = format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\nOrigin: http://evil.example\r\n");
    assert!(http(host, &page).starts_with("HTTP/1.1 403 "));
    let feed = node.feed();
    let metrics = http(feed, &format!("GET /metrics HTTP/1.1\r\nHost: {feed}\r\n"));
    assert!(metrics.starts_with("HTTP/1.1 404 "), "metrics are not the feed's: {metrics}");
}

#[test]
fn a_signal_stops_the_node_within_two_seconds_and_says_goodbye() {
    for signal in ["INT", "TERM"] {
        let scratch = Scratch::new();
        let mut node = Node::start(&scratch.join("data"), &[]);
        let mut viewer = viewer(&node);
        shown(&mut viewer);
        let begun = Instant::now();
        node.signal(signal);
        node.event("stopping");
        let close = loop {
            if let tungstenite::Message::Close(close) = viewer.read().unwrap() {
                break close.unwrap();
            }
        };
        assert_eq!(u16::from(close.code), 1001);
        assert_eq!(node.exit_code(), 0);
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }
}

#[test]
fn a_second_signal_ends_the_node_at_once() {
    let scratch = Scratch::new();
    let mut node = Node::start(&scratch.join("data"), &[]);
    // A viewer that never reads keeps the node waiting for its goodbye.
    let mut viewer = viewer(&node);
    shown(&mut viewer);
    node.signal("INT");
    node.event("stopping");
    node.signal("INT");
    assert_eq!(node.exit_code(), 130);
}

#[test]
fn a_node_that_does_not_run_is_not_reached() {
    let scratch = Scratch::new();
    let output = command(&scratch.join("data")).arg("status").output().unwrap();
    assert_eq!(output.status.code(), Some(69));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("no node runs on") && text.contains("remedy"), "{text}");
}

#[test]
fn a_wrong_admin_key_is_refused() {
    let scratch = Scratch::new();
    let node = Node::start(&scratch.join("data"), &[]);
    std::fs::write(scratch.join("data").join("admin.key"), "0".repeat(64)).unwrap();
    let output = node.ask(&["announce", "block"]);
    assert_eq!(output.status.code(), Some(77));
    assert!(String::from_utf8_lossy(&output.stderr).contains("invalid API key"));
}

#[test]
fn what_cannot_be_announced_is_refused_with_the_reason() {
    let scratch = Scratch::new();
    let node = Node::start(&scratch.join("data"), &[]);
    let unknown = "0".repeat(64);
    for (arguments, reason, remedy) in [
        (&["announce", "block", "xyz"][..], "hash: want 64 hex", "64 hex characters"),
        (&["announce", "block", &unknown], "no such block", "leave HASH out"),
        (&["announce", "block", &unknown, "--count", "2"], "1 with a hash", "--count without HASH"),
        (&["announce", "subtree", "--count", "1001"], "at most 1000", "--count"),
    ] {
        let output = node.ask(arguments);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(65), "{text}");
        assert!(text.contains(reason), "{text}");
        assert!(text.split_once("remedy: ").is_some_and(|(_, told)| told.contains(remedy)), "{text}");
    }
    let status: Value = node.status();
    assert_eq!(status["tip_height"], 0);
}

#[test]
fn a_node_is_ready_when_each_of_its_listeners_is() {
    let scratch = Scratch::new();
    let listen = "p2p_listen_addresses=/ip4/0.0.0.0/tcp/0|/ip4/127.0.0.1/tcp/0|/ip6/::1/tcp/0";
    let node = Node::start(&scratch.join("data"), &[listen]);
    let listening: Vec<_> = node.ready["p2p"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let loopback = |addr: &&&str| addr.starts_with("/ip4/127.0.0.1/");
    assert_eq!(listening.iter().filter(loopback).count(), 2, "{listening:?}");
    assert!(listening.iter().any(|addr| addr.starts_with("/ip6/::1/")), "{listening:?}");
}

#[test]
fn a_data_directory_that_disappears_is_told_of() {
    let scratch = Scratch::new();
    let node = Node::start(&scratch.join("data"), &[]);
    std::fs::rename(scratch.join("data"), scratch.join("elsewhere")).unwrap();
    let gone = node.event("data_dir_gone");
    assert!(gone["problem"].as_str().unwrap().contains("removed or replaced"), "{gone}");
    std::fs::rename(scratch.join("elsewhere"), scratch.join("data")).unwrap();
    node.event("data_dir_back");
    node.told(&["status"]);
}
