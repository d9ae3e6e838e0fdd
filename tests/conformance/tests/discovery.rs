//! Finding peers, and finding them again.

use peerage_conformance::node::{Node, Shell};
use peerage_conformance::peer::{Make, Peer};
use peerage_conformance::wire::Kind;
use peerage_conformance::{Failure, LATE, SOON, on_both_shells, retry};
use serde_json::json;

const SEED: &str = "4242424242424242424242424242424242424242424242424242424242424242";

/// From the hub's address alone to a peer that only the hub knows.
fn finds_through_the_dht(shell: Shell, mode: &str) -> Result<(), Failure> {
    let hub = Peer::start(Make::Bus017, "hub", json!({"dht": "server"}))?;
    let other = Peer::start(Make::Bus017, "other", json!({"dht": "server", "bootstrap": [hub.addr()]}))?;
    let settings = [("p2p_bootstrap_peers", hub.addr()), ("p2p_dht_mode", mode)];
    let mut ours = Node::start(shell, "ours", &settings)?;
    ours.expect_connected(hub.id(), SOON)?;
    ours.expect_connected(other.id(), LATE).map(|_| ())
}

fn one_bootstrap_address_leads_to_the_others_as_server(shell: Shell) -> Result<(), Failure> {
    finds_through_the_dht(shell, "server")
}

fn one_bootstrap_address_leads_to_the_others_as_client(shell: Shell) -> Result<(), Failure> {
    finds_through_the_dht(shell, "client")
}

/// As an operator names a peer: the system knows this name without asking anybody.
fn a_bootstrap_peer_is_found_by_its_name(shell: Shell) -> Result<(), Failure> {
    let go = Peer::start(Make::Bus017, "go", json!({}))?;
    let name = format!("/dns4/localhost/tcp/{}/p2p/{}", go.port(), go.id());
    let mut ours = Node::start(shell, "ours", &[("p2p_bootstrap_peers", &name)])?;
    ours.expect_connected(go.id(), SOON).map(|_| ())
}

/// The other way round: a Go peer that only searches must find what we have announced.
fn a_go_peer_finds_us_through_the_dht(shell: Shell) -> Result<(), Failure> {
    let hub = Peer::start(Make::Bus017, "hub", json!({"dht": "server"}))?;
    let settings = [("p2p_bootstrap_peers", hub.addr()), ("p2p_dht_mode", "server")];
    let mut ours = Node::start(shell, "ours", &settings)?;
    ours.expect_connected(hub.id(), SOON)?;
    let mut late = Peer::start(Make::Bus022, "late", json!({"dht": "client", "bootstrap": [hub.addr()]}))?;
    let id = ours.id().to_owned();
    late.process().expect("ours", LATE, |e| e["event"] == "connected" && e["peer"] == id.as_str()).map(|_| ())
}

fn a_restarted_peer_is_dialled_again(shell: Shell) -> Result<(), Failure> {
    let first = Peer::start(Make::Bus017, "first", json!({"seed": SEED}))?;
    let (id, port) = (first.id().to_owned(), first.port());
    let mut ours = Node::start(shell, "ours", &[("p2p_static_peers", first.addr())])?;
    ours.expect_connected(&id, SOON)?;
    first.stop()?;
    ours.expect_disconnected(&id, SOON)?;
    let mut again = Peer::start(Make::Bus017, "again", json!({"seed": SEED, "port": port}))?;
    assert_eq!(again.id(), id);
    ours.expect_connected(&id, LATE)?;
    hears(&mut ours, &mut again)
}

fn we_are_dialled_again_after_our_restart(shell: Shell) -> Result<(), Failure> {
    let mut ours = Node::start(shell, "ours", &[])?;
    let id = ours.id().to_owned();
    let mut peer = Peer::start(Make::Bus022, "peer", json!({"bootstrap": [ours.addr()?]}))?;
    ours.expect_connected(peer.id(), SOON)?;
    ours.restart()?;
    assert_eq!(ours.id(), id, "the key is kept in the data directory");
    ours.expect_connected(peer.id(), LATE)?;
    hears(&mut ours, &mut peer)
}

fn hears(ours: &mut Node, peer: &mut Peer) -> Result<(), Failure> {
    retry(SOON, || {
        let message = Kind::Subtree.message(peer.id());
        peer.publish(&Kind::Subtree.topic(), &message)?;
        ours.expect_produced(&Kind::Subtree.mark(&message), std::time::Duration::from_millis(500))
    })
    .map(|_| ())
}

on_both_shells!(
    one_bootstrap_address_leads_to_the_others_as_server,
    one_bootstrap_address_leads_to_the_others_as_client,
    a_bootstrap_peer_is_found_by_its_name,
    a_go_peer_finds_us_through_the_dht,
    a_restarted_peer_is_dialled_again,
    we_are_dialled_again_after_our_restart,
);
