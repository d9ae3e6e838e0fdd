//! Announcements over the control service, one a call, as fast as a load generator makes them.

use peerage_conformance::control::Control;
use peerage_conformance::node::{Node, Shell};
use peerage_conformance::peer::{Make, Peer, TRY_EVERY};
use peerage_conformance::wire::Kind;
use peerage_conformance::{Failure, SOON, on_both_shells, retry};
use serde_json::json;

/// Fewer than the bus keeps for a subscriber that is slow: it drops what comes beyond.
const BATCH: u32 = 20;
const BATCHES: u32 = 20;
const PER_SECOND: u32 = 500;

fn each_announcement_reaches_a_go_peer(shell: Shell) -> Result<(), Failure> {
    let ours = Node::start(shell, "ours", &[])?;
    let mut go = Peer::start(Make::Bus017, "go", json!({"bootstrap": [ours.addr()?]}))?;
    let control = Control::connect(ours.data_dir())?;
    let expect_ours = |go: &mut Peer, within| {
        go.process().expect("our subtree", within, |e| {
            e["event"] == "message" && e["topic"] == Kind::Subtree.topic() && e["from"] == ours.id()
        })
    };
    retry(SOON, || {
        control.announce_subtrees(1, 1)?;
        expect_ours(&mut go, TRY_EVERY)
    })?;
    let before = ours.metric("publications_sent_total")?;
    for _ in 0..BATCHES {
        control.announce_subtrees(BATCH, PER_SECOND)?;
        for _ in 0..BATCH {
            expect_ours(&mut go, SOON)?;
        }
    }
    assert!(ours.metric("publications_sent_total")? - before >= f64::from(BATCH * BATCHES));
    Ok(())
}

fn a_call_with_a_wrong_key_is_refused(shell: Shell) -> Result<(), Failure> {
    let ours = Node::start(shell, "ours", &[])?;
    let key = ours.data_dir().join("admin.key");
    std::fs::write(key, "wrong").map_err(|error| Failure::new(error.to_string()))?;
    let refused = Control::connect(ours.data_dir())?.announce_subtrees(1, 1);
    assert!(refused.is_err_and(|failure| failure.to_string().contains("invalid")));
    Ok(())
}

on_both_shells!(each_announcement_reaches_a_go_peer, a_call_with_a_wrong_key_is_refused);
