//! What ends a stream, and what comes after.

use peerage_conformance::frames::{How, Whose};
use peerage_conformance::node::{Node, Shell};
use peerage_conformance::peer::{Make, Peer};
use peerage_conformance::wire::{self, Kind, topics};
use peerage_conformance::{Failure, LATE, SOON, on_both_shells};
use serde_json::{Value, json};

use crate::{assert_in_good_standing, is_heard, join, start};

fn a_broken_frame_costs_the_stream_and_not_the_connection(shell: Shell) -> Result<(), Failure> {
    let mut ours = start(shell)?;
    let mut peer = join(&mut ours, "peer", json!({}))?;
    let to = ours.id().to_owned();
    for broken in [vec![0x0a, 0xff, 0x01, 0x00], vec![0xff; 40], vec![0x12, 0x02, 0x0a, 0x7f], vec![0x07]] {
        is_heard(&mut ours, &mut peer)?;
        peer.write_frame(&to, &broken)?;
        let ended = |e: &Value| e["event"] == "own_stream_ended" && e["how"] == "reset";
        peer.process().expect("end of the stream with the broken frame", SOON, ended)?;
    }
    is_heard(&mut ours, &mut peer)?;
    assert_in_good_standing(&mut ours, &peer);
    Ok(())
}

fn empty_frames_and_unknown_fields_are_skipped(shell: Shell) -> Result<(), Failure> {
    let mut ours = start(shell)?;
    let mut peer = join(&mut ours, "peer", json!({}))?;
    let to = ours.id().to_owned();
    peer.write_rpc(&to, &json!({}), 20)?;
    is_heard(&mut ours, &mut peer)?;
    let inner = wire::subtree(peer.id());
    peer.forge(&to, &Kind::Subtree.topic(), &inner, &json!({"rpc_unknown": true}))?;
    ours.expect_produced(&Kind::Subtree.mark(&inner), SOON)?;
    is_heard(&mut ours, &mut peer)?;
    assert_eq!(peer.process().count(|e| e["event"] == "own_stream_ended"), 0);
    assert_in_good_standing(&mut ours, &peer);
    Ok(())
}

fn tells_all_topics(frame: &Value) -> bool {
    let told = frame["subscriptions"].as_array().map_or(&[][..], Vec::as_slice);
    topics().iter().all(|topic| told.contains(&json!({"topic": topic, "subscribe": true})))
}

/// Waits for the stream of that number and asserts that its first frame tells all our topics.
fn expect_hello(peer: &mut Peer, from: &str, stream: u64) -> Result<(), Failure> {
    let opened = |e: &Value| e["event"] == "stream_opened" && e["peer"] == from && e["number"] == stream;
    peer.process().expect(&format!("stream {stream}"), SOON, opened)?;
    let first = peer.expect_frame(from, "hello", |f| f["stream"] == stream && f["nth"] == 0)?;
    assert!(tells_all_topics(&first), "{first}");
    Ok(())
}

fn the_first_frame_of_our_stream_tells_all_our_topics(shell: Shell) -> Result<(), Failure> {
    let mut ours = start(shell)?;
    let mut peer = join(&mut ours, "peer", json!({}))?;
    expect_hello(&mut peer, ours.id(), 1)
}

/// Go forgets what we told it when its own stream to us ends, and would be silent towards us from then on.
fn who_opens_its_stream_anew_is_told_all_our_topics_again(shell: Shell) -> Result<(), Failure> {
    let mut ours = start(shell)?;
    let mut peer = join(&mut ours, "peer", json!({}))?;
    let to = ours.id().to_owned();
    expect_hello(&mut peer, &to, 1)?;
    for (broken, how) in [(true, How::Close), (false, How::Close), (false, How::Reset)] {
        is_heard(&mut ours, &mut peer)?;
        if broken {
            peer.write_frame(&to, &[7])?;
            peer.process().expect("end of the stream", SOON, |e| e["event"] == "own_stream_ended")?;
        } else {
            peer.end_stream(&to, Whose::Ours, how)?;
        }
        peer.greet(&to)?;
        peer.expect_frame(&to, "all our topics", |f| f["nth"] != 0 && tells_all_topics(f))?;
    }
    assert_in_good_standing(&mut ours, &peer);
    Ok(())
}

fn our_stream_ended_while_idle_is_opened_again_with_a_full_hello(shell: Shell) -> Result<(), Failure> {
    let mut ours = start(shell)?;
    let mut peer = join(&mut ours, "peer", json!({}))?;
    let to = ours.id().to_owned();
    for (stream, how) in [(1, How::Reset), (2, How::Close)] {
        expect_hello(&mut peer, &to, stream)?;
        peer.end_stream(&to, Whose::Theirs, how)?;
    }
    expect_hello(&mut peer, &to, 3)?;
    is_heard(&mut ours, &mut peer)?;
    assert_in_good_standing(&mut ours, &peer);
    Ok(())
}

/// How often in a row a stream may be ended before the connection is given up.
const STREAMS_LOST_MAX: u64 = 3;

fn a_stream_that_ends_again_and_again_costs_the_connection_and_it_is_dialled_again(
    shell: Shell,
) -> Result<(), Failure> {
    let mut peer = Peer::start(Make::Raw, "peer", json!({"mode": "frames"}))?;
    let settings = [("p2p_dht_mode", "server"), ("p2p_static_peers", peer.addr())];
    let mut ours = Node::start(shell, "ours", &settings)?;
    ours.expect_connected(peer.id(), SOON)?;
    let to = ours.id().to_owned();
    for stream in 1..=STREAMS_LOST_MAX {
        expect_hello(&mut peer, &to, stream)?;
        peer.end_stream(&to, Whose::Theirs, How::Reset)?;
    }
    expect_hello(&mut peer, &to, STREAMS_LOST_MAX + 1)?;
    assert_in_good_standing(&mut ours, &peer);
    peer.end_stream(&to, Whose::Theirs, How::Reset)?;
    ours.expect_disconnected(peer.id(), SOON)?;
    ours.expect_connected(peer.id(), LATE)?;
    expect_hello(&mut peer, &to, STREAMS_LOST_MAX + 2)?;
    is_heard(&mut ours, &mut peer).map(|_| ())
}

on_both_shells!(
    a_broken_frame_costs_the_stream_and_not_the_connection,
    empty_frames_and_unknown_fields_are_skipped,
    the_first_frame_of_our_stream_tells_all_our_topics,
    who_opens_its_stream_anew_is_told_all_our_topics_again,
    our_stream_ended_while_idle_is_opened_again_with_a_full_hello,
    a_stream_that_ends_again_and_again_costs_the_connection_and_it_is_dialled_again
);
