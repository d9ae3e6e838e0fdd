//! A message above our limit must not make us deaf towards its sender.
//!
//! When we reset the stream, a Go sender takes us for unsubscribed and sends nothing any more while
//! the connection stays up (another Go node stays deaf just so); a fresh connection mends it.

use std::time::Duration;

use peerage_conformance::node::{Node, Shell};
use peerage_conformance::peer::{Make, Peer};
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

fn a_sender_of_an_oversized_message_is_heard_again(shell: Shell) -> Result<(), Failure> {
    let mut large = Peer::start(Make::Raw, "large", json!({"max_message_size": 4 << 20}))?;
    let mut third = Peer::start(Make::Bus017, "third", json!({}))?;
    let mut ours = Node::start(shell, "ours", &[("p2p_static_peers", large.addr())])?;
    third.connect(&ours.addr()?)?;
    retry(SOON, || {
        let message = Kind::Subtree.message(large.id());
        large.publish(&Kind::Subtree.topic(), &message)?;
        ours.expect_produced(&Kind::Subtree.mark(&message), Duration::from_millis(500))
    })?;
    drip(&mut third, 3, 400)?;
    ours.process().expect("the third peer", SOON, produced_of(3))?;
    large.publish_size(&Kind::Subtree.topic(), OVERSIZED_BYTES)?;
    drip(&mut large, 1, 100)?;
    ours.process().expect("the large sender, heard again", HEARD_WITHIN, produced_of(1))?;
    let before = ours.process().count(produced_of(3));
    ours.process().expect("the third peer, still heard", SOON, produced_of(3))?;
    assert!(before > 0);
    Ok(())
}

on_both_shells!(a_sender_of_an_oversized_message_is_heard_again);
