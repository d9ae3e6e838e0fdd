//! The WebSocket feed, read by a client written in JavaScript.

use std::time::{Duration, Instant};

use peerage_conformance::feed::Feed;
use peerage_conformance::node::{Node, Shell};
use peerage_conformance::peer::{Make, Peer, TRY_EVERY};
use peerage_conformance::wire::{self, Kind};
use peerage_conformance::{Failure, LATE, SOON, on_both_shells, retry};
use serde_json::{Value, json};

fn the_first_frame_is_our_status_and_each_message_follows(shell: Shell) -> Result<(), Failure> {
    let ours = Node::start(shell, "ours", &[])?;
    let mut go = Peer::start(Make::Bus017, "go", json!({"bootstrap": [ours.addr()?]}))?;
    let mut feed = Feed::watch(&ours.feed_url())?;
    let first = feed.process().expect("first frame", SOON, |e| e["event"] == "frame" && e["number"] == 1)?;
    let status: Value = serde_json::from_str(first["text"].as_str().unwrap_or_default())
        .map_err(|e| Failure::new(format!("first frame is not JSON: {e}")))?;
    assert_eq!(status["type"], "node_status");
    assert_eq!(status["peer_id"], ours.id());
    assert_eq!(first["binary"], false);
    for (kind, name, key) in [
        (Kind::Block, "block", "hash"),
        (Kind::Subtree, "subtree", "hash"),
        (Kind::NodeStatus, "node_status", "best_block_hash"),
    ] {
        let frame = retry(SOON, || {
            let message = kind.message(go.id());
            let mark = kind.mark(&message);
            go.publish(&kind.topic(), &message)?;
            feed.expect_frame(name, Duration::from_millis(500), |f| {
                f["type"] == name && f[key] == mark.as_str()
            })
        })?;
        assert_eq!(frame["peer_id"], go.id());
        assert_eq!(frame["base_url"], wire::BASE_URL);
    }
    Ok(())
}

const WATCHERS: usize = 50;

/// Enough to fill the socket buffers of one sleeper: 12 MB of notifications.
const MESSAGES: usize = 6000;
const URL_BYTES: usize = 2000;

/// What opens the hash of each message of the flood.
const FLOOD_HASH: &str = "f100d5eb00000001";

fn a_sleeper_is_closed_and_nobody_else_loses_a_frame(shell: Shell) -> Result<(), Failure> {
    let mut ours = Node::start(shell, "ours", &[])?;
    let mut go = Peer::start(Make::Bus017, "go", json!({"bootstrap": [ours.addr()?]}))?;
    retry(SOON, || {
        let message = Kind::Subtree.message(go.id());
        go.publish(&Kind::Subtree.topic(), &message)?;
        ours.expect_produced(&Kind::Subtree.mark(&message), Duration::from_millis(500))
    })?;
    let mut feed = Feed::count(&ours.feed_url(), WATCHERS + 1, FLOOD_HASH)?;
    feed.pause(WATCHERS)?;
    let flood = json!({"cmd": "flood", "topic": Kind::Subtree.topic(), "count": MESSAGES, "rate": 300,
                       "url_bytes": URL_BYTES, "run": 1});
    go.process().call_within(flood, LATE)?;
    // On a busy machine it takes its time: what must not be is that nothing moves.
    let (mut before, mut moved) = ((0, Vec::new()), Instant::now());
    loop {
        let now = (produced(&mut ours), feed.counts()?);
        let (handed_on, counts) = &now;
        if *handed_on > MESSAGES as u64 / 2 && counts[..WATCHERS].iter().all(|frames| frames == handed_on) {
            break;
        }
        if now != before {
            (before, moved) = (now, Instant::now());
        }
        assert!(moved.elapsed() < SOON, "{} handed on, watchers have {:?}", before.0, before.1);
        // Nothing is to be expected in between: this only paces.
        feed.process().expect_none("end of the world", TRY_EVERY, |_| false)?;
    }
    feed.process().call(json!({"cmd": "resume", "client": WATCHERS}))?;
    feed.process()
        .expect("the sleeper's end", SOON, |e| e["event"] == "closed" && e["client"] == WATCHERS)?;
    assert_eq!(feed.process().count(|e| e["event"] == "closed"), 1);
    assert!(ours.metric("websocket_clients_evicted_total")? >= 1.0);
    Ok(())
}

fn produced(ours: &mut Node) -> u64 {
    ours.process().count(|e| {
        e["event"] == "produced" && e["hash"].as_str().is_some_and(|hash| hash.starts_with(FLOOD_HASH))
    }) as u64
}

on_both_shells!(
    the_first_frame_is_our_status_and_each_message_follows,
    a_sleeper_is_closed_and_nobody_else_loses_a_frame,
);
