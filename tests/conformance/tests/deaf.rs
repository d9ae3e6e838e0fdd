//! A message above our limit must not make us deaf towards its sender.
//!
//! When we reset the stream, a Go sender takes us for unsubscribed and sends nothing any more while the connection stays up
//! (another Go node stays deaf just so), unless it is told our topics again. Stock rust-libp2p opens another stream, tells
//! its own topics no second time, and may sleep until something comes to it.

use std::time::Duration;

use peerage_conformance::node::{Node, Shell};
use peerage_conformance::peer::{Make, Peer, TRY_EVERY};
use peerage_conformance::wire::Kind;
use peerage_conformance::{Failure, SOON, on_both_shells, retry};
use serde_json::{Value, json};

const OVERSIZED_BYTES: usize = 1_500_000;

/// How soon the sender must be heard again.
const HEARD_WITHIN: Duration = Duration::from_secs(10);

/// What opens the hash of every message of a flood of that run.
fn flood_prefix(run: u32) -> String {
    format!("f100d5eb{run:08x}")
}

/// Starts subtrees at 10 a second, without waiting for their end.
fn drip(peer: &mut Peer, run: u32, count: u32) -> Result<(), Failure> {
    let topic = Kind::Subtree.topic();
    peer.process().send(&json!({"cmd": "flood", "topic": topic, "count": count, "rate": 10, "run": run}))
}

fn produced_of(run: u32) -> impl Fn(&Value) -> bool {
    let prefix = flood_prefix(run);
    move |e| e["event"] == "produced" && e["hash"].as_str().is_some_and(|h| h.starts_with(&prefix))
}

/// Two senders with a limit of 4 MiB, of Go and of Rust, each send what is too much for us, then 100 small messages, while
/// a third peer delivers 10 a second.
fn senders_of_oversized_messages_are_heard_again(shell: Shell) -> Result<(), Failure> {
    let mut third = Peer::start(Make::Bus017, "third", json!({}))?;
    let options = json!({"max_message_size": 4 << 20});
    let mut go = Peer::start(Make::Raw, "go", options.clone())?;
    let mut rust = Peer::start(Make::Rust, "rust", options)?;
    let both = format!("{}|{}", go.addr(), rust.addr());
    let mut ours = Node::start(shell, "ours", &[("p2p_static_peers", &both)])?;
    third.connect(&ours.addr()?)?;
    for large in [&mut go, &mut rust] {
        retry(SOON, || {
            let message = Kind::Subtree.message(large.id());
            large.publish(&Kind::Subtree.topic(), &message)?;
            ours.expect_produced(&Kind::Subtree.mark(&message), Duration::from_millis(500))
        })?;
    }
    drip(&mut third, 3, 400)?;
    ours.process().expect("the third peer", SOON, produced_of(3))?;
    for (run, large) in [(1, &mut go), (2, &mut rust)] {
        large.publish_size(&Kind::Subtree.topic(), OVERSIZED_BYTES)?;
        drip(large, run, 100)?;
    }
    for (run, who) in [(1, "the Go sender, heard again"), (2, "the Rust sender, heard again")] {
        ours.process().expect(who, HEARD_WITHIN, produced_of(run))?;
    }
    let before = ours.process().count(produced_of(3));
    ours.process().expect("the third peer, still heard", SOON, produced_of(3))?;
    assert!(before > 0);
    Ok(())
}

/// Has ours announce until an announcement has come.
fn hears(peer: &mut Peer, ours: &mut Node, within: Duration) -> Result<(), Failure> {
    retry(within, || {
        ours.announce("subtree", 1)?;
        let announced = ours.process().expect("announcement", SOON, |e| e["event"] == "announced")?;
        let hash = announced["hash"].as_str().unwrap_or_default();
        peer.expect_message(Kind::Subtree, hash, TRY_EVERY).map(drop)
    })
}

/// Go forgets our topics when its stream is reset; stock rust-libp2p does not tell its own a second time.
fn senders_of_oversized_messages_hear_us_again(shell: Shell) -> Result<(), Failure> {
    let topic = Kind::Subtree.topic();
    for make in [Make::Raw, Make::Rust] {
        let mut large = Peer::start(make, "large", json!({"max_message_size": 4 << 20}))?;
        let mut ours = Node::start(shell, "ours", &[("p2p_static_peers", large.addr())])?;
        hears(&mut large, &mut ours, SOON)?;
        retry(SOON, || {
            large.publish_size(&topic, OVERSIZED_BYTES)?;
            // It goes to whoever is in the mesh, where we may not be yet.
            large.process().expect_none("end of the world", TRY_EVERY, |_| false)?;
            match ours.metric("pubsub_frames_too_long_total")? {
                refused if refused > 0.0 => Ok(()),
                _ => Err(Failure::new("nothing was too long")),
            }
        })?;
        hears(&mut large, &mut ours, HEARD_WITHIN)?;
    }
    Ok(())
}

on_both_shells!(senders_of_oversized_messages_are_heard_again, senders_of_oversized_messages_hear_us_again);

fn a_sender_of_one_long_message_is_not_taken_for_deaf(shell: Shell) -> Result<(), Failure> {
    let mut third = Peer::start(Make::Bus017, "third", json!({}))?;
    let mut go = Peer::start(Make::Bus017, "go", json!({}))?;
    let mut ours = Node::start(shell, "ours", &[("p2p_static_peers", go.addr())])?;
    third.connect(&ours.addr()?)?;
    for peer in [&mut go, &mut third] {
        retry(SOON, || {
            let message = Kind::Subtree.message(peer.id());
            peer.publish(&Kind::Subtree.topic(), &message)?;
            ours.expect_produced(&Kind::Subtree.mark(&message), Duration::from_millis(500))
        })?;
    }
    drip(&mut third, 3, 200)?;
    let topic = Kind::NodeStatus.topic();
    let long = json!({"cmd": "flood", "topic": topic, "kind": "node_status", "count": 1, "rate": 1, "size": 65_536, "run": 9});
    go.process().call(long)?;
    ours.expect_verdict(Kind::NodeStatus, go.id(), "accept", SOON)?;
    let id = go.id().to_owned();
    ours.process().expect_none("end of a healthy connection", HEARD_WITHIN, |e| {
        e["event"] == "peer_disconnected" && e["peer_id"] == id.as_str()
    })
}

on_both_shells!(a_sender_of_one_long_message_is_not_taken_for_deaf);
