//! All four topics, both ways, both dial directions, with each foreign peer.

use peerage_conformance::node::{Node, Shell};
use peerage_conformance::peer::{Make, Peer, TRY_EVERY};
use peerage_conformance::wire::{self, KINDS, Kind};
use peerage_conformance::{Failure, LATE, SOON, on_both_shells, retry};
use serde_json::json;

/// Each kind from the foreign peer to ours: judged, and blocks and subtrees handed on.
fn theirs_arrive(peer: &mut Peer, ours: &mut Node) -> Result<(), Failure> {
    for kind in KINDS {
        retry(SOON, || {
            let message = kind.message(peer.id());
            peer.publish(&kind.topic(), &message)?;
            ours.expect_verdict(kind, peer.id(), "accept", TRY_EVERY)?;
            if kind == Kind::Block || kind == Kind::Subtree {
                let produced = ours.expect_produced(&kind.mark(&message), SOON)?;
                assert_eq!(produced["url"], wire::BASE_URL);
                assert_eq!(produced["peer_id"], peer.id());
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// What ours says by itself, to the foreign peer: a status every 10 s, blocks and subtrees when
/// announced. That it passes on rejected transactions is a matter of the line tests.
fn ours_arrives(peer: &mut Peer, ours: &Node) -> Result<(), Failure> {
    let expect = |peer: &mut Peer, kind: Kind, within| {
        peer.process().expect(&format!("{kind:?} of ours"), within, |e| {
            e["event"] == "message" && e["topic"] == kind.topic() && e["from"] == ours.id()
        })
    };
    let status = expect(peer, Kind::NodeStatus, LATE)?;
    assert_eq!(status["json"]["peer_id"], ours.id());
    assert_eq!(status["json"]["type"], "node_status");
    let subtree = retry(SOON, || {
        ours.announce("subtree", 1)?;
        expect(peer, Kind::Subtree, TRY_EVERY)
    })?;
    assert_eq!(subtree["json"]["PeerID"], ours.id());
    let block = retry(SOON, || {
        ours.announce("block", 1)?;
        expect(peer, Kind::Block, TRY_EVERY)
    })?;
    let header = wire::unhex(block["json"]["Header"].as_str().unwrap_or_default()).unwrap_or_default();
    assert_eq!(header.len(), 80);
    assert_eq!(block["json"]["Hash"], wire::hex(&wire::double_sha256(&header)));
    assert_eq!(block["name"], "ours");
    Ok(())
}

fn they_dial(shell: Shell, make: Make) -> Result<(), Failure> {
    let mut ours = Node::start(shell, "ours", &[("clientName", "ours")])?;
    let mut peer = Peer::start(make, "peer", json!({}))?;
    peer.connect(&ours.addr()?)?;
    ours.expect_connected(peer.id(), SOON)?;
    theirs_arrive(&mut peer, &mut ours)?;
    ours_arrives(&mut peer, &ours)
}

fn we_dial(shell: Shell, make: Make) -> Result<(), Failure> {
    let mut peer = Peer::start(make, "peer", json!({}))?;
    let settings = [("clientName", "ours"), ("p2p_static_peers", peer.addr())];
    let mut ours = Node::start(shell, "ours", &settings)?;
    ours.expect_connected(peer.id(), SOON)?;
    theirs_arrive(&mut peer, &mut ours)?;
    ours_arrives(&mut peer, &ours)
}

fn the_go_bus_017_dials_us(shell: Shell) -> Result<(), Failure> {
    they_dial(shell, Make::Bus017)
}

fn the_go_bus_022_dials_us(shell: Shell) -> Result<(), Failure> {
    they_dial(shell, Make::Bus022)
}

fn js_dials_us(shell: Shell) -> Result<(), Failure> {
    they_dial(shell, Make::Js)
}

fn we_dial_the_go_bus_017(shell: Shell) -> Result<(), Failure> {
    we_dial(shell, Make::Bus017)
}

fn we_dial_the_go_bus_022(shell: Shell) -> Result<(), Failure> {
    we_dial(shell, Make::Bus022)
}

fn we_dial_js(shell: Shell) -> Result<(), Failure> {
    we_dial(shell, Make::Js)
}

on_both_shells!(
    the_go_bus_017_dials_us,
    the_go_bus_022_dials_us,
    js_dials_us,
    we_dial_the_go_bus_017,
    we_dial_the_go_bus_022,
    we_dial_js,
);
