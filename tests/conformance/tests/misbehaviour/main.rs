//! Peers that break the router's rules, or press them hard: what our node does to them, to itself, and to the others.
//!
//! A raw Go peer writes frames by hand. Where something must *not* happen, the test waits for what would come after it on
//! the same stream, and only where nothing does, for a time.

mod control;
mod forged;
mod streams;
mod unwanted;

use peerage_conformance::node::{Node, Shell};
use peerage_conformance::peer::Peer;
use peerage_conformance::wire::{self, Kind};
use peerage_conformance::{Failure, SOON};
use serde_json::{Value, json};

/// A node that finds nobody by itself.
pub(crate) fn start(shell: Shell) -> Result<Node, Failure> {
    Node::start(shell, "ours", &[("p2p_dht_mode", "server")])
}

/// A raw peer in mode `frames`, connected, its hello written.
pub(crate) fn join(ours: &mut Node, name: &str, options: Value) -> Result<Peer, Failure> {
    let peer = Peer::start_frames(name, &ours.addr()?, options)?;
    ours.expect_connected(peer.id(), SOON)?;
    Ok(peer)
}

/// One honest message, judged: whatever the peer wrote before on this stream was read.
pub(crate) fn is_heard(ours: &mut Node, peer: &mut Peer) -> Result<Value, Failure> {
    let (to, inner) = (ours.id().to_owned(), wire::subtree(peer.id()));
    let id = peer.forge_one(&to, &inner, json!({}))?;
    ours.expect_produced(&Kind::Subtree.mark(&inner), SOON)?;
    Ok(id)
}

/// Waits until `peer` was sent a message of `author`, and hence what it was to be told before.
pub(crate) fn caught_up(ours: &mut Node, author: &mut Peer, peer: &mut Peer) -> Result<(), Failure> {
    let id = is_heard(ours, author)?;
    let to = ours.id().to_owned();
    peer.expect_named(&to, "messages", &id).map(|_| ())
}

/// Whether a frame asks for messages.
pub(crate) fn asks(frame: &Value) -> bool {
    frame["iwant_b64"].as_array().is_some_and(|ids| !ids.is_empty())
}

/// Asserts that the peer's one connection never ended and that it was not punished.
pub(crate) fn assert_in_good_standing(ours: &mut Node, peer: &Peer) {
    let of_peer = |e: &Value| {
        let bad = ["peer_disconnected", "penalised", "banned"].iter().any(|bad| e["event"] == *bad);
        bad && e["peer_id"] == peer.id()
    };
    let events = ours.process().all(of_peer);
    assert!(events.is_empty(), "{events:?}");
}

/// Waits until the router has handed on that many messages of the author, and asserts that it has handed on no more.
pub(crate) fn expect_handed_on(ours: &mut Node, author: &str, count: usize) -> Result<(), Failure> {
    let of_author = |e: &Value| e["event"] == "verdict" && e["source"] == author;
    // Those that nobody has waited for yet are waited for one by one.
    while ours.process().count(of_author) < count {
        ours.process().expect("verdict", SOON, of_author)?;
    }
    assert_eq!(ours.process().count(of_author), count);
    Ok(())
}
