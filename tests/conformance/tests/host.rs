//! What a Go host sees of ours besides gossip: security, identify, ping, address requests.

use std::collections::BTreeSet;

use peerage_conformance::node::{Node, Shell};
use peerage_conformance::peer::{Make, Peer};
use peerage_conformance::{Failure, SOON, on_both_shells};
use serde_json::{Value, json};

/// What a host saw of the reference by identify.
fn recorded() -> Result<Value, Failure> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../vectors/teranode/identify.json");
    let text = std::fs::read_to_string(file).map_err(|error| Failure::new(format!("{file}: {error}")))?;
    let vector: Value = serde_json::from_str(&text).map_err(|error| Failure::new(error.to_string()))?;
    Ok(vector["identify"][0].clone())
}

fn names(list: &Value) -> BTreeSet<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn identify_tells_what_was_recorded_of_a_teranode(shell: Shell) -> Result<(), Failure> {
    let recorded = recorded()?;
    let ours = Node::start(shell, "ours", &[("p2p_dht_mode", "server")])?;
    let mut raw = Peer::start(Make::Raw, "raw", json!({"connect": [ours.addr()?]}))?;
    let id = ours.id().to_owned();
    let seen =
        raw.process().expect("identify", SOON, |e| e["event"] == "identify" && e["peer"] == id.as_str())?;
    assert_eq!(seen["protocol_version"], recorded["protocol_version"]);
    assert_eq!(names(&seen["protocols"]), names(&recorded["protocols"]));
    let link =
        raw.process().expect("link", SOON, |e| e["event"] == "connected" && e["peer"] == id.as_str())?;
    assert_eq!((&link["security"], &link["muxer"]), (&recorded["security"], &recorded["muxer"]));
    raw.process().call(json!({"cmd": "ping", "peer": id}))?;
    Ok(())
}

fn both_security_protocols_are_taken(shell: Shell) -> Result<(), Failure> {
    let ours = Node::start(shell, "ours", &[])?;
    let id = ours.id().to_owned();
    for (offered, used) in [
        (json!(["tls"]), "/tls/1.0.0"),
        (json!(["noise"]), "/noise"),
        (json!(["tls", "noise"]), "/tls/1.0.0"),
    ] {
        let mut raw = Peer::start(Make::Raw, "raw", json!({"connect": [ours.addr()?], "security": offered}))?;
        let link =
            raw.process().expect("link", SOON, |e| e["event"] == "connected" && e["peer"] == id.as_str())?;
        assert_eq!(link["security"], used);
        assert_eq!(link["muxer"], "/yamux/1.0.0");
    }
    Ok(())
}

fn address_requests_are_answered_and_nonsense_is_not(shell: Shell) -> Result<(), Failure> {
    let mut ours = Node::start(shell, "ours", &[])?;
    let known = Peer::start(Make::Bus017, "known", json!({"bootstrap": [ours.addr()?]}))?;
    ours.expect_connected(known.id(), SOON)?;
    let mut raw = Peer::start(Make::Raw, "raw", json!({"connect": [ours.addr()?]}))?;
    let id = ours.id().to_owned();
    let mut ask = |text: &str| -> Result<String, Failure> {
        let answer = raw.process().call(json!({"cmd": "addr_request", "peer": id, "text": text}))?;
        Ok(answer["answer"].as_str().unwrap_or_default().to_owned())
    };
    let address = known.addr().split("/p2p/").next().unwrap_or_default().to_owned();
    let answer = peerage_conformance::retry(SOON, || {
        let answer = ask(known.id())?;
        if answer.contains(&address) {
            Ok(answer)
        } else {
            Err(Failure::new(format!("{address} not in {answer}")))
        }
    })?;
    assert!(!answer.contains("/p2p/"), "{answer}");
    assert_eq!(ask("12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5")?, "[]");
    assert_eq!(ask("no peer id")?, "");
    Ok(())
}

on_both_shells!(
    identify_tells_what_was_recorded_of_a_teranode,
    both_security_protocols_are_taken,
    address_requests_are_answered_and_nonsense_is_not,
);
