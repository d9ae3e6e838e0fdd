//! Messages that no mesh carries: announced by IHAVE, asked for by IWANT, and sent on that alone.
//!
//! An aloof Go peer keeps the stock router and takes nobody into a mesh. What passes between it and ours passes only
//! because both compute the same message id: the one announces it, the other asks for it, and it is asked for once,
//! because the arrived message is known by the id under which it was announced.

use peerage_conformance::node::{Node, Shell};
use peerage_conformance::peer::{Make, Peer, is_message};
use peerage_conformance::wire::{Kind, topics};
use peerage_conformance::{Failure, LATE, SOON, on_both_shells, retry};
use serde_json::{Value, json};

/// Announcing peers of a message go on for so many heartbeats.
const HEARTBEATS_GOSSIPED: usize = 3;

/// Enough for a full mesh: a router whose mesh is not sends its own messages to others as well.
const CROWD: usize = 10;

fn aloof(name: &str) -> Result<Peer, Failure> {
    Peer::start(Make::Raw, name, json!({"aloof": true}))
}

/// Whether the event is an RPC, sent or received as `way` says, whose list of that name holds the text.
fn tells(event: &Value, way: &str, list: &str, text: &Value) -> bool {
    let found = event[list].as_array().is_some_and(|list| list.contains(text));
    event["event"] == "rpc" && event["way"] == way && found
}

/// What an aloof peer saw of a message, in order: RPCs of that way with its id in the list of that name.
fn seen(peer: &mut Peer, id: &Value) -> Vec<(&'static str, &'static str)> {
    const KINDS: [(&str, &str); 6] = [
        ("sent", "ihave_b64"),
        ("sent", "iwant_b64"),
        ("sent", "messages_b64"),
        ("received", "ihave_b64"),
        ("received", "iwant_b64"),
        ("received", "messages_b64"),
    ];
    let kinds = |event: &Value| {
        KINDS.into_iter().filter(|(way, list)| tells(event, way, list, id)).collect::<Vec<_>>()
    };
    peer.process().all(|event| event["event"] == "rpc").iter().flat_map(kinds).collect()
}

fn count(seen: &[(&str, &str)], wanted: (&str, &str)) -> usize {
    seen.iter().filter(|one| **one == wanted).count()
}

/// Asserts that the three came first and in this order, and the last two once.
fn assert_in_order(seen: &[(&str, &str)], order: [(&str, &str); 3]) {
    assert!(seen.starts_with(&order), "{seen:?}");
    assert_eq!((count(seen, order[1]), count(seen, order[2])), (1, 1), "{seen:?}");
}

/// Asserts that the message came because it was asked for, and was asked for once, though announced several times.
fn assert_asked_by(reader: &mut Peer, id: &Value) {
    let order = [("received", "ihave_b64"), ("sent", "iwant_b64"), ("received", "messages_b64")];
    assert_in_order(&seen(reader, id), order);
}

/// Asserts that the message left its author and reached its reader by being asked for, and that we did not ask the
/// reader for what we had sent it.
fn assert_asked(id: &Value, author: &mut Peer, reader: &mut Peer) {
    let order = [("sent", "ihave_b64"), ("received", "iwant_b64"), ("sent", "messages_b64")];
    assert_in_order(&seen(author, id), order);
    assert_asked_by(reader, id);
    let seen = seen(reader, id);
    assert_eq!(count(&seen, ("received", "iwant_b64")), 0, "{seen:?}");
}

/// One subtree from one aloof peer to the other by way of ours. Gives its id as the Go router computes it.
fn cross(from: &mut Peer, ours: &mut Node, to: &mut Peer) -> Result<Value, Failure> {
    let message = Kind::Subtree.message(from.id());
    let mark = Kind::Subtree.mark(&message);
    from.publish(&Kind::Subtree.topic(), &message)?;
    ours.expect_produced(&mark, SOON)?;
    Ok(to.expect_message(Kind::Subtree, &mark, SOON)?["id_b64"].clone())
}

fn expect_rpc(peer: &mut Peer, way: &str, list: &str, text: &Value) -> Result<(), Failure> {
    let what = format!("{list} with {text} {way}");
    peer.process().expect(&what, SOON, |e| tells(e, way, list, text)).map(|_| ())
}

fn a_message_crosses_us_by_ihave_and_iwant_alone(shell: Shell) -> Result<(), Failure> {
    let (mut a, mut b) = (aloof("a")?, aloof("b")?);
    let both = format!("{}|{}", a.addr(), b.addr());
    let mut ours = Node::start(shell, "ours", &[("p2p_static_peers", &both), ("p2p_dht_mode", "server")])?;
    for peer in [&mut a, &mut b] {
        peer.expect_subscribed(ours.id(), &Kind::Subtree.topic(), SOON)?;
        expect_rpc(peer, "sent", "prune", &json!(Kind::Subtree.topic()))?;
    }
    // What crosses from a peer came after its refusals on the same stream: from then on it is in no mesh of ours.
    cross(&mut b, &mut ours, &mut a)?;
    let there = cross(&mut a, &mut ours, &mut b)?;
    for _ in 1..HEARTBEATS_GOSSIPED {
        expect_rpc(&mut b, "received", "ihave_b64", &there)?;
    }
    // B announces to us what came from us. We know it by the same id, and do not ask.
    expect_rpc(&mut b, "sent", "ihave_b64", &there)?;
    let back = cross(&mut b, &mut ours, &mut a)?;
    assert_asked(&there, &mut a, &mut b);
    assert_asked(&back, &mut b, &mut a);
    for peer in [&mut a, &mut b] {
        assert_eq!(peer.process().count(|e| e["event"] == "grafted"), 0);
    }
    a.assert_never_connected(b.id())
}

/// The members of a bus's mesh of subtrees.
fn mesh_of(bus: &mut Peer) -> Result<Value, Failure> {
    Ok(bus.process().call(json!({"cmd": "mesh", "topic": Kind::Subtree.topic()}))?["peers"].clone())
}

/// The same with a message bus, whose router tells nothing of itself but who is in its mesh: nobody. If its ids and ours
/// differed, it would be asked for what it does not have, and would ask for what we do not.
fn a_message_crosses_between_a_bus_and_us_without_a_mesh(shell: Shell, make: Make) -> Result<(), Failure> {
    let mut bus = Peer::start(make, "bus", json!({"aloof": true}))?;
    let mut raw = aloof("raw")?;
    let both = format!("{}|{}", bus.addr(), raw.addr());
    let mut ours = Node::start(shell, "ours", &[("p2p_static_peers", &both), ("p2p_dht_mode", "server")])?;
    for peer in [&mut bus, &mut raw] {
        peer.expect_subscribed(ours.id(), &Kind::Subtree.topic(), SOON)?;
    }
    expect_rpc(&mut raw, "sent", "prune", &json!(Kind::Subtree.topic()))?;
    for _ in 0..2 {
        let message = Kind::Subtree.message(bus.id());
        let mark = Kind::Subtree.mark(&message);
        bus.publish(&Kind::Subtree.topic(), &message)?;
        ours.expect_produced(&mark, SOON)?;
        raw.expect_message(Kind::Subtree, &mark, SOON)?;
        let message = Kind::Subtree.message(raw.id());
        let mark = Kind::Subtree.mark(&message);
        raw.publish(&Kind::Subtree.topic(), &message)?;
        bus.expect_message(Kind::Subtree, &mark, SOON)?;
        assert_eq!(bus.process().count(|e| is_message(e, Kind::Subtree, &mark)), 1);
        assert_eq!(mesh_of(&mut bus)?, json!([]));
    }
    assert_eq!(raw.process().count(|e| e["event"] == "grafted"), 0);
    raw.assert_never_connected(bus.id())
}

fn a_message_crosses_between_the_bus_017_and_us_without_a_mesh(shell: Shell) -> Result<(), Failure> {
    a_message_crosses_between_a_bus_and_us_without_a_mesh(shell, Make::Bus017)
}

fn a_message_crosses_between_the_bus_022_and_us_without_a_mesh(shell: Shell) -> Result<(), Failure> {
    a_message_crosses_between_a_bus_and_us_without_a_mesh(shell, Make::Bus022)
}

/// Whether the peer asked for the message before it came.
fn was_asked_for(peer: &mut Peer, id: &Value) -> bool {
    let seen = seen(peer, id);
    let at = |wanted: (&str, &str)| seen.iter().position(|one| *one == wanted);
    at(("sent", "iwant_b64"))
        .is_some_and(|asked| at(("received", "messages_b64")).is_some_and(|came| asked < came))
}

fn what_we_publish_reaches_a_peer_outside_our_mesh(shell: Shell) -> Result<(), Failure> {
    let mut aloof = aloof("aloof")?;
    let ours = Node::start(shell, "ours", &[("p2p_static_peers", aloof.addr())])?;
    aloof.expect_subscribed(ours.id(), &Kind::Subtree.topic(), SOON)?;
    let mut crowd = Peer::start(Make::Raw, "crowd", json!({"topics": topics()}))?;
    crowd.process().call(json!({"cmd": "crowd", "addr": ours.addr()?, "count": CROWD}))?;
    // Until the crowd fills our mesh, we push to the aloof one as well.
    let id = retry(LATE, || {
        ours.announce("subtree", 1)?;
        let message = aloof.process().expect("our subtree", SOON, |e| {
            e["event"] == "message" && e["topic"] == Kind::Subtree.topic() && e["from"] == ours.id()
        })?;
        let id = message["id_b64"].clone();
        if was_asked_for(&mut aloof, &id) { Ok(id) } else { Err(aloof.process().failure("it was pushed")) }
    })?;
    for _ in 1..HEARTBEATS_GOSSIPED {
        expect_rpc(&mut aloof, "received", "ihave_b64", &id)?;
    }
    assert_asked_by(&mut aloof, &id);
    assert_eq!(aloof.process().count(|e| e["event"] == "grafted"), 0);
    Ok(())
}

// covers: t008a_a_message_crosses_us_by_ihave_and_iwant_alone t008a_what_we_publish_reaches_a_peer_outside_our_mesh
on_both_shells!(
    a_message_crosses_us_by_ihave_and_iwant_alone,
    a_message_crosses_between_the_bus_017_and_us_without_a_mesh,
    a_message_crosses_between_the_bus_022_and_us_without_a_mesh,
    what_we_publish_reaches_a_peer_outside_our_mesh,
);
