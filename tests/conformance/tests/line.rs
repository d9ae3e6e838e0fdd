//! Lines: what crosses our node between two peers that never meet, and what never does.

use peerage_conformance::node::{Node, Shell};
use peerage_conformance::peer::{Make, Peer, is_message};
use peerage_conformance::wire::{self, KINDS, Kind};
use peerage_conformance::{Failure, LATE, SOON, THREE_HEARTBEATS, on_both_shells};
use serde_json::{Value, json};

/// The peer limit of a subtree message's inner JSON, in bytes.
const SUBTREE_BYTES_MAX: usize = 32 * 1024;

/// An id that nobody in these tests has.
const NOBODY: &str = "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5";

/// A node that asks no neighbour for addresses, so that its line stays a line.
const STAY_IN_LINE: (&str, &str) = ("p2p_dht_mode", "server");

/// Go A – ours – Go B. A listens nowhere, so that B, which asks us for the addresses of authors it
/// hears, cannot reach it.
struct Line {
    a: Peer,
    ours: Node,
    b: Peer,
}

impl Line {
    fn start(shell: Shell, mode_of_a: &str) -> Result<Self, Failure> {
        let ours = Node::start(shell, "ours", &[STAY_IN_LINE])?;
        let b = Peer::start(Make::Bus017, "b", json!({"bootstrap": [ours.addr()?]}))?;
        let a = Peer::start(
            Make::Raw,
            "a",
            json!({"listen": "none", "mode": mode_of_a, "connect": [ours.addr()?]}),
        )?;
        Ok(Self { a, ours, b })
    }

    fn assert_never_met(&mut self) -> Result<(), Failure> {
        self.a.assert_never_connected(self.b.id())?;
        self.b.assert_never_connected(self.a.id())
    }
}

fn every_kind_crosses_both_ways(shell: Shell) -> Result<(), Failure> {
    let mut line = Line::start(shell, "gossipsub")?;
    for kind in KINDS {
        let event = line.a.until_crosses(kind, &mut line.b, SOON)?;
        assert_eq!(event["from"], line.a.id(), "the author, not the neighbour");
        line.b.until_crosses(kind, &mut line.a, SOON)?;
    }
    line.assert_never_met()
}

fn provably_wrong_messages_reach_us_and_never_cross(shell: Shell) -> Result<(), Failure> {
    let mut line = Line::start(shell, "gossipsub")?;
    for kind in [Kind::Subtree, Kind::Block] {
        line.a.until_meshed(kind, &mut line.b, LATE)?;
    }
    let id = line.a.id().to_owned();
    let hostile = [
        (Kind::Subtree, wire::subtree(NOBODY)),
        (Kind::Block, wire::block_with_wrong_hash(&id)),
        (Kind::Subtree, wire::subtree_of_size(&id, SUBTREE_BYTES_MAX + 1)),
    ];
    for (kind, message) in &hostile {
        line.a.publish(&kind.topic(), message)?;
        line.ours.expect_verdict(*kind, &id, "reject", SOON)?;
    }
    let largest = wire::subtree_of_size(&id, SUBTREE_BYTES_MAX);
    line.a.publish(&Kind::Subtree.topic(), &largest)?;
    line.b.expect_message(Kind::Subtree, &Kind::Subtree.mark(&largest), SOON)?;
    for kind in [Kind::Subtree, Kind::Block] {
        line.a.until_crosses(kind, &mut line.b, SOON)?;
    }
    line.b.process().expect_none("hostile message", THREE_HEARTBEATS, |e| {
        hostile.iter().any(|(kind, message)| is_message(e, *kind, &kind.mark(message)))
    })?;
    line.assert_never_met()
}

fn a_message_without_envelope_stays_with_us(shell: Shell) -> Result<(), Failure> {
    let mut line = Line::start(shell, "gossipsub")?;
    line.a.until_meshed(Kind::Subtree, &mut line.b, LATE)?;
    let id = line.a.id().to_owned();
    let bare = wire::subtree(&id).to_string();
    line.a.publish_payload(&Kind::Subtree.topic(), bare.as_bytes())?;
    line.ours.expect_verdict(Kind::Subtree, &id, "ignore", SOON)?;
    line.a.until_crosses(Kind::Subtree, &mut line.b, SOON)?;
    Ok(())
}

fn forged_signatures_never_cross(shell: Shell) -> Result<(), Failure> {
    let mut line = Line::start(shell, "frames")?;
    let (to, own, topic) = (line.ours.id().to_owned(), line.a.id().to_owned(), Kind::Subtree.topic());
    line.b.expect_subscribed(&to, &topic, SOON)?;
    let send = |line: &mut Line, forge: &Value| -> Result<String, Failure> {
        let message = wire::subtree(&own);
        line.a.forge(&to, &topic, &message, forge)?;
        Ok(Kind::Subtree.mark(&message))
    };
    let mut forged = Vec::new();
    for lie in [
        json!({"tamper": true}),
        json!({"unsigned": true}),
        json!({"from": NOBODY}),
        json!({"sign_seed": "07".repeat(32)}),
        json!({"no_from": true}),
    ] {
        forged.push(send(&mut line, &lie)?);
    }
    peerage_conformance::retry(SOON, || {
        let honest = send(&mut line, &json!({}))?;
        line.b.expect_message(Kind::Subtree, &honest, std::time::Duration::from_secs(1))
    })?;
    line.b.process().expect_none("forged message", THREE_HEARTBEATS, |e| {
        forged.iter().any(|mark| is_message(e, Kind::Subtree, mark))
    })?;
    assert_eq!(line.ours.process().count(|e| forged.iter().any(|m| e["hash"] == m.as_str())), 0);
    Ok(())
}

/// Go – smol – JS – tokio – Go, the ends never connected, nor our two nodes.
#[test]
fn a_mixed_line_carries_every_kind_end_to_end() -> Result<(), Failure> {
    let mut smol = Node::start(Shell::Smol, "smol", &[STAY_IN_LINE])?;
    let mut tokio = Node::start(Shell::Tokio, "tokio", &[STAY_IN_LINE])?;
    let middle = json!({"listen": "none", "connect": [smol.addr()?, tokio.addr()?]});
    let _js = Peer::start(Make::Js, "js", middle)?;
    let end =
        |node: &Node| -> Result<Value, Failure> { Ok(json!({"listen": "none", "connect": [node.addr()?]})) };
    let mut left = Peer::start(Make::Raw, "left", end(&smol)?)?;
    let mut right = Peer::start(Make::Raw, "right", end(&tokio)?)?;
    for kind in KINDS {
        left.until_crosses(kind, &mut right, LATE)?;
        right.until_crosses(kind, &mut left, LATE)?;
    }
    left.assert_never_connected(right.id())?;
    right.assert_never_connected(left.id())?;
    let (smol_id, tokio_id) = (smol.id().to_owned(), tokio.id().to_owned());
    for (node, other) in [(&mut smol, tokio_id), (&mut tokio, smol_id)] {
        let met = node.process().count(|e| e["event"] == "peer_connected" && e["peer_id"] == other.as_str());
        assert_eq!(met, 0, "{} met the other node of ours", node.process().name());
    }
    Ok(())
}

on_both_shells!(
    every_kind_crosses_both_ways,
    provably_wrong_messages_reach_us_and_never_cross,
    a_message_without_envelope_stays_with_us,
    forged_signatures_never_cross,
);
