//! A recording made by one shell, while it talked to a Go peer, replays to its hash on the other's build.

use std::path::Path;
use std::process::{Command, Output};

use peerage_conformance::node::{Node, Shell};
use peerage_conformance::peer::{Make, Peer};
use peerage_conformance::process::Signal;
use peerage_conformance::wire::Kind;
use peerage_conformance::{Failure, SOON, on_both_shells, retry};
use serde_json::json;

fn other(shell: Shell) -> Shell {
    match shell {
        Shell::Tokio => Shell::Smol,
        Shell::Smol => Shell::Tokio,
    }
}

fn replay(shell: Shell, file: &Path) -> Result<Output, Failure> {
    let output = Command::new(shell.binary()?).args(["--output", "json", "replay"]).arg(file).output();
    output.map_err(|error| Failure::new(format!("replay {}: {error}", file.display())))
}

/// The state that a replay leads to.
fn replayed(shell: Shell, file: &Path) -> Result<String, Failure> {
    let output = replay(shell, file)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let event: serde_json::Value = serde_json::from_str(text.trim()).unwrap_or_default();
    match event["state_hash"].as_str() {
        Some(hash) if output.status.success() => Ok(hash.to_owned()),
        _ => Err(Failure::new(format!("{text}{}", String::from_utf8_lossy(&output.stderr)))),
    }
}

/// A recorded node that has exchanged every kind with a Go peer and announced blocks and subtrees of its own.
fn busy(shell: Shell) -> Result<(Node, Peer), Failure> {
    let mut ours = Node::start_recorded(shell, "ours", &[])?;
    let mut go = Peer::start(Make::Bus017, "go", json!({"bootstrap": [ours.addr()?]}))?;
    ours.expect_connected(go.id(), SOON)?;
    for kind in [Kind::Block, Kind::Subtree, Kind::RejectedTx, Kind::NodeStatus] {
        let id = go.id().to_owned();
        retry(SOON, || {
            go.publish(&kind.topic(), &kind.message(&id))?;
            ours.expect_verdict(kind, &id, "accept", std::time::Duration::from_millis(500))
        })?;
    }
    ours.announce("block", 2)?;
    ours.announce("subtree", 3)?;
    Ok((ours, go))
}

fn a_stopped_node_replays_on_the_other_shell(shell: Shell) -> Result<(), Failure> {
    let (mut ours, _go) = busy(shell)?;
    ours.process().signal(Signal::INT)?;
    let stopped = ours.process().expect("stopped", SOON, |event| event["event"] == "stopped")?;
    ours.process().wait(SOON)?;
    let hash = replayed(other(shell), &ours.recording())?;
    assert_eq!(stopped["state_hash"], hash.as_str());
    assert_eq!(replayed(shell, &ours.recording())?, hash);
    Ok(())
}

fn a_killed_node_replays_on_the_other_shell(shell: Shell) -> Result<(), Failure> {
    let (mut ours, _go) = busy(shell)?;
    ours.process().kill();
    let file = ours.recording();
    assert_eq!(replayed(other(shell), &file)?, replayed(shell, &file)?);
    Ok(())
}

fn an_altered_recording_is_refused(shell: Shell) -> Result<(), Failure> {
    let (mut ours, _go) = busy(shell)?;
    ours.process().signal(Signal::INT)?;
    ours.process().wait(SOON)?;
    let file = ours.recording();
    let mut bytes = std::fs::read(&file).map_err(|error| Failure::new(error.to_string()))?;
    let midst = bytes.len() / 2;
    bytes[midst] ^= 1;
    std::fs::write(&file, bytes).map_err(|error| Failure::new(error.to_string()))?;
    let output = replay(other(shell), &file)?;
    assert_eq!(output.status.code(), Some(65), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

on_both_shells!(
    a_stopped_node_replays_on_the_other_shell,
    a_killed_node_replays_on_the_other_shell,
    an_altered_recording_is_refused,
);
