//! The harness against itself: the foreign peers among each other. What they refuse and forward here
//! is what the tests of our own node rest on.

use std::collections::HashSet;
use std::process::Command;
use std::time::Instant;

use peerage_conformance::feed::Feed;
use peerage_conformance::peer::{Make, Peer, TRY_EVERY, is_message};
use peerage_conformance::process::Leash;
use peerage_conformance::setup::setup;
use peerage_conformance::wire::{self, KINDS, Kind};
use peerage_conformance::{Failure, LATE, Process, SOON, THREE_HEARTBEATS, retry};
use serde_json::{Value, json};

/// Sends a message of each kind from one to the other and back.
fn exchange(a: &mut Peer, b: &mut Peer) -> Result<(), Failure> {
    for kind in KINDS {
        let there = a.until_crosses(kind, b, SOON)?;
        assert_eq!(there["from"], a.id());
        assert_eq!(there["name"], "a");
        let back = b.until_crosses(kind, a, SOON)?;
        assert_eq!(back["from"], b.id());
        assert_eq!(back["name"], "b");
    }
    Ok(())
}

#[test]
fn both_versions_of_the_go_bus_exchange_all_four_topics() -> Result<(), Failure> {
    let mut a = Peer::start(Make::Bus017, "a", json!({}))?;
    let mut b = Peer::start(Make::Bus022, "b", json!({"bootstrap": [a.addr()]}))?;
    exchange(&mut a, &mut b)?;
    a.stop()?;
    b.stop()
}

#[test]
fn go_and_js_exchange_all_four_topics_over_noise() -> Result<(), Failure> {
    let mut a = Peer::start(Make::Bus017, "a", json!({}))?;
    let mut b = Peer::start(Make::Js, "b", json!({"connect": [a.addr()], "security": ["noise"]}))?;
    exchange(&mut a, &mut b)?;
    let id = b.id().to_owned();
    let link = a.process().expect("link", SOON, |e| e["event"] == "connected" && e["peer"] == id.as_str())?;
    assert_eq!(link["security"], "/noise");
    Ok(())
}

#[test]
fn go_and_js_exchange_all_four_topics_over_tls() -> Result<(), Failure> {
    let mut a = Peer::start(Make::Bus022, "a", json!({}))?;
    let mut b = Peer::start(Make::Js, "b", json!({"security": ["tls"]}))?;
    let addr = b.addr().to_owned();
    a.connect(&addr)?;
    exchange(&mut a, &mut b)?;
    let id = b.id().to_owned();
    let link = a.process().expect("link", SOON, |e| e["event"] == "connected" && e["peer"] == id.as_str())?;
    assert_eq!(link["security"], "/tls/1.0.0");
    Ok(())
}

#[test]
fn go_refuses_forged_messages_and_takes_honest_ones() -> Result<(), Failure> {
    let mut go = Peer::start(Make::Bus017, "go", json!({}))?;
    let mut raw = Peer::start(Make::Raw, "raw", json!({"mode": "frames", "connect": [go.addr()]}))?;
    let (topic, to, own) = (Kind::Subtree.topic(), go.id().to_owned(), raw.id().to_owned());
    let lies = [
        json!({"tamper": true}),
        json!({"unsigned": true}),
        json!({"from": go.id(), "seqno": "0000000000000001"}),
        json!({"sign_seed": "07".repeat(32)}),
        json!({"no_from": true}),
    ];
    let mut marks = Vec::new();
    for lie in &lies {
        let message = wire::subtree(&own);
        marks.push(Kind::Subtree.mark(&message));
        raw.forge(&to, &topic, &message, lie)?;
    }
    let honest = wire::subtree(&own);
    raw.forge(&to, &topic, &honest, &json!({}))?;
    go.expect_message(Kind::Subtree, &Kind::Subtree.mark(&honest), SOON)?;
    go.process().expect_none("forged message", THREE_HEARTBEATS, |e| {
        marks.iter().any(|mark| is_message(e, Kind::Subtree, mark))
    })
}

/// Go's router looks at the signature alone: the author's bytes are then the whole message id.
#[test]
fn go_takes_a_signed_message_without_a_sequence_number() -> Result<(), Failure> {
    let mut go = Peer::start(Make::Bus017, "go", json!({}))?;
    let mut raw = Peer::start(Make::Raw, "raw", json!({"mode": "frames", "connect": [go.addr()]}))?;
    let message = wire::subtree(raw.id());
    let to = go.id().to_owned();
    raw.forge(&to, &Kind::Subtree.topic(), &message, &json!({"no_seqno": true}))?;
    go.expect_message(Kind::Subtree, &Kind::Subtree.mark(&message), SOON).map(|_| ())
}

#[test]
fn the_raw_peer_publishes_under_a_foreign_identity() -> Result<(), Failure> {
    let mut go = Peer::start(Make::Bus017, "go", json!({}))?;
    let mut raw = Peer::start(Make::Raw, "raw", json!({"connect": [go.addr()]}))?;
    let event = retry(SOON, || {
        let message = wire::subtree("somebody");
        raw.process().call(json!({"cmd": "publish", "topic": Kind::Subtree.topic(), "json": message,
                                  "as_seed": "09".repeat(32)}))?;
        go.expect_message(Kind::Subtree, &Kind::Subtree.mark(&message), TRY_EVERY)
    })?;
    assert_ne!(event["from"], raw.id());
    Ok(())
}

#[test]
fn only_a_raised_limit_lets_an_oversized_message_out() -> Result<(), Failure> {
    let mut listener = Peer::start(Make::Raw, "listener", json!({"max_message_size": 4 << 20}))?;
    let connect = json!([listener.addr()]);
    let mut small = Peer::start(Make::Raw, "small", json!({"connect": connect}))?;
    let mut large =
        Peer::start(Make::Raw, "large", json!({"connect": connect, "max_message_size": 4 << 20}))?;
    small.until_meshed(Kind::Subtree, &mut listener, SOON)?;
    large.until_meshed(Kind::Subtree, &mut listener, SOON)?;
    small.publish_size(&Kind::Subtree.topic(), 1_500_000)?;
    small.until_crosses(Kind::Subtree, &mut listener, SOON)?;
    large.publish_size(&Kind::Subtree.topic(), 1_500_000)?;
    let id = large.id().to_owned();
    let is_large = |e: &Value| e["payload_b64"].as_str().is_some_and(|p| p.len() == 2_000_000);
    listener.process().expect("large message", SOON, |e| is_large(e) && e["from"] == id.as_str())?;
    assert_eq!(listener.process().count(is_large), 1, "the other one must not have left its router");
    Ok(())
}

#[test]
fn the_raw_peer_asks_for_addresses_and_reads_identify() -> Result<(), Failure> {
    let options = json!({"protocol_version": "/teranode/bitcoin/regtest/1.0.0", "dht": "server"});
    let go = Peer::start(Make::Bus017, "go", options)?;
    let mut raw = Peer::start(Make::Raw, "raw", json!({"connect": [go.addr()]}))?;
    let (go_id, own) = (go.id().to_owned(), raw.id().to_owned());
    let identify = raw
        .process()
        .expect("identify", SOON, |e| e["event"] == "identify" && e["peer"] == go_id.as_str())?;
    assert_eq!(identify["protocol_version"], "/teranode/bitcoin/regtest/1.0.0");
    assert_eq!(identify["signed_record"], true);
    let protocols = identify["protocols"].to_string();
    assert!(
        protocols.contains("\"/ipfs/kad/1.0.0\"") && protocols.contains("\"/meshsub/1.3.0\""),
        "{protocols}"
    );
    // The bus knows the addresses once it has identified the asker.
    retry(SOON, || {
        let answer = raw.process().call(json!({"cmd": "addr_request", "peer": go_id, "text": own}))?;
        match answer["answer"].as_str() {
            Some(text) if text.starts_with("[\"/ip4/127.0.0.1/tcp/") => Ok(()),
            _ => Err(raw.process().failure("no address in the answer")),
        }
    })?;
    Ok(())
}

#[test]
fn a_paced_flood_is_counted_without_loss() -> Result<(), Failure> {
    let mut a = Peer::start(Make::Bus017, "a", json!({}))?;
    let mut b = Peer::start(Make::Bus022, "b", json!({"bootstrap": [a.addr()]}))?;
    a.until_meshed(Kind::Subtree, &mut b, SOON)?;
    a.until_meshed(Kind::NodeStatus, &mut b, SOON)?;
    for (kind, name, size) in [(Kind::Subtree, "subtree", 300), (Kind::NodeStatus, "node_status", 65_536)] {
        b.process().call(json!({"cmd": "count", "on": true}))?;
        let sent =
            a.process().call(json!({"cmd": "flood", "topic": kind.topic(), "kind": name, "count": 50,
                                           "rate": 100, "size": size, "run": 1}))?;
        assert_eq!(sent["sent"], 50);
        let mut stats = b.process().call(json!({"cmd": "stats"}))?;
        for _ in 0..100 {
            if stats["unique"] == 50 {
                break;
            }
            stats = b.process().call(json!({"cmd": "stats"}))?;
        }
        assert_eq!(stats["unique"], 50, "{stats}");
        assert_eq!(stats["bytes"], 50 * size);
        assert!(stats["run_used_us"].as_i64().is_some_and(|us| us > 0), "{stats}");
    }
    Ok(())
}

#[test]
fn a_go_peer_ends_when_its_standard_input_closes() -> Result<(), Failure> {
    for make in [Make::Bus017, Make::Bus022, Make::Raw, Make::Js] {
        Peer::start(make, "p", json!({}))?.stop()?;
    }
    Ok(())
}

#[test]
fn go_peers_find_each_other_through_the_dht() -> Result<(), Failure> {
    let hub = Peer::start(Make::Bus017, "hub", json!({"dht": "server"}))?;
    let options = json!({"dht": "server", "bootstrap": [hub.addr()]});
    let a = Peer::start(Make::Bus017, "a", options.clone())?;
    let mut b = Peer::start(Make::Bus022, "b", options)?;
    let id = a.id().to_owned();
    b.process().expect("a", LATE, |e| e["event"] == "connected" && e["peer"] == id.as_str())?;
    Ok(())
}

#[test]
fn a_crowd_in_one_process_subscribes_as_single_peers_do() -> Result<(), Failure> {
    let mut go = Peer::start(Make::Bus017, "go", json!({"max_connections": 100}))?;
    let mut raw = Peer::start(Make::Raw, "raw", json!({}))?;
    raw.process().call(json!({"cmd": "crowd", "addr": go.addr(), "count": 20}))?;
    let topic = Kind::Subtree.topic();
    let mut subscribed = HashSet::new();
    while subscribed.len() < 20 {
        let event = go
            .process()
            .expect("subscription", SOON, |e| e["event"] == "subscribed" && e["topic"] == topic.as_str())?;
        subscribed.insert(event["peer"].to_string());
    }
    assert_eq!(go.connected()?.len(), 20);
    Ok(())
}

/// A feed that greets each client and then sends numbers without end, for the feed client's test.
const SERVER: &str = "
import { WebSocketServer } from 'ws'
const server = new WebSocketServer({ host: '127.0.0.1', port: 0 })
server.on('connection', (socket) => {
  socket.send(JSON.stringify({ type: 'hello' }))
  const timer = setInterval(() => { for (let i = 0; i < 20; i++) socket.send('x'.repeat(2000)) }, 5)
  socket.on('close', () => clearInterval(timer))
})
server.on('listening', () => console.log(JSON.stringify({ event: 'ready', port: server.address().port })))
process.stdin.on('end', () => process.exit(0)).resume()
";

#[test]
fn a_paused_feed_client_receives_nothing_while_others_do() -> Result<(), Failure> {
    let mut command = Command::new("node");
    let folder = setup()?.js("");
    command.current_dir(folder).args(["--input-type=module", "-e", SERVER]);
    let mut server = Process::spawn("server", command, Leash::Stdin)?;
    let port = server.expect("ready", SOON, |e| e["event"] == "ready")?["port"].clone();
    let url = format!("ws://127.0.0.1:{port}/p2p-ws");
    let mut watcher = Feed::watch(&url)?;
    watcher.expect_frame("greeting", SOON, |frame| frame["type"] == "hello")?;
    let mut feed = Feed::count(&url, 3, "xxx")?;
    feed.pause(1)?;
    let before = feed.counts()?;
    let deadline = Instant::now() + SOON;
    loop {
        let now = feed.counts()?;
        // What was already read from the socket may still be handed on after the pause.
        assert!(now[1] <= before[1] + 100, "{now:?}");
        if now[0] > before[0] + 500 && now[2] > before[2] + 500 {
            return Ok(());
        }
        assert!(Instant::now() < deadline, "{now:?}");
    }
}
