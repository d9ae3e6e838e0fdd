//! Announcements over the control service, one a call, as fast as a load generator makes them.

use std::time::Instant;

use peerage_conformance::control::Control;
use peerage_conformance::node::{Node, Shell};
use peerage_conformance::peer::{Make, Peer, TRY_EVERY};
use peerage_conformance::wire::Kind;
use peerage_conformance::{Failure, SOON, on_both_shells, retry};
use serde_json::json;

const COUNT: u32 = 500;
const PER_SECOND: u32 = 500;

fn each_announcement_reaches_a_go_peer(shell: Shell) -> Result<(), Failure> {
    let ours = Node::start(shell, "ours", &[])?;
    let mut go = Peer::start(Make::Bus017, "go", json!({"bootstrap": [ours.addr()?]}))?;
    let control = Control::connect(ours.data_dir())?;
    retry(SOON, || {
        control.announce_subtrees(1, 1)?;
        go.process().expect("our subtree", TRY_EVERY, |e| {
            e["event"] == "message" && e["topic"] == Kind::Subtree.topic() && e["from"] == ours.id()
        })
    })?;
    let before = ours.metric("publications_sent_total")?;
    go.process().call(json!({"cmd": "count", "on": true}))?;
    control.announce_subtrees(COUNT, PER_SECOND)?;
    let deadline = Instant::now() + SOON;
    let received = loop {
        let stats = go.process().call(json!({"cmd": "stats"}))?;
        match stats["received"].as_u64() {
            Some(received) if received >= u64::from(COUNT) => break received,
            _ => assert!(Instant::now() < deadline, "{stats}"),
        }
    };
    // Our status, every ten seconds, may be among them.
    assert!(received <= u64::from(COUNT) + 3, "{received} of {COUNT}");
    assert!(ours.metric("publications_sent_total")? - before >= f64::from(COUNT));
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
