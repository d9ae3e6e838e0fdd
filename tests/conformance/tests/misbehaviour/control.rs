//! Control: grafts out of season, floods of it, more of it than anybody needs.

use peerage_conformance::node::Shell;
use peerage_conformance::wire::{Kind, topics};
use peerage_conformance::{Failure, SOON, THREE_HEARTBEATS, on_both_shells, retry};
use serde_json::{Value, json};

use crate::{asks, assert_in_good_standing, caught_up, is_heard, join, start};

/// IHAVEs taken from a peer in a heartbeat, ids asked of it, and how often it is given one message.
const IHAVES_MAX: usize = 10;
const ASKED_MAX: usize = 5_000;
const GIVEN_MAX: usize = 3;

/// Heartbeats over which a burst may be spread before a busy machine has read it.
const HEARTBEATS_OF_A_BURST: usize = 3;

fn a_graft_during_backoff_is_answered_by_prune_with_backoff(shell: Shell) -> Result<(), Failure> {
    let mut ours = start(shell)?;
    let mut peer = join(&mut ours, "peer", json!({}))?;
    let mut author = join(&mut ours, "author", json!({}))?;
    let (to, topic) = (ours.id().to_owned(), Kind::Subtree.topic());
    let before = is_heard(&mut ours, &mut author)?;
    peer.expect_named(&to, "messages", &before)?;
    peer.write_rpc(&to, &json!({"prune": [{"topic": topic, "backoff_s": 60}]}), 1)?;
    for _ in 0..2 {
        peer.write_rpc(&to, &json!({"graft": [topic]}), 1)?;
        let answer = peer.expect_frame(&to, "PRUNE", |f| f["prune"] == json!([topic]))?;
        let backoff = answer["prune_backoff_s"][0].as_u64().unwrap_or_default();
        assert!((30..=3600).contains(&backoff), "{answer}");
    }
    // It is in no mesh: what others publish is named to it, not sent.
    let after = is_heard(&mut ours, &mut author)?;
    peer.expect_named(&to, "ihave_b64", &after)?;
    assert_eq!(peer.count_named(&to, "messages", &after), 0);
    assert_in_good_standing(&mut ours, &peer);
    Ok(())
}

fn a_flood_of_prunes_costs_its_sender_nothing_but_the_mesh(shell: Shell) -> Result<(), Failure> {
    let mut ours = start(shell)?;
    let mut peer = join(&mut ours, "peer", json!({}))?;
    let to = ours.id().to_owned();
    let prunes: Vec<Value> = topics().iter().map(|t| json!({"topic": t, "backoff_s": 60})).collect();
    peer.write_rpc(&to, &json!({"prune": prunes}), 1_000)?;
    let absurd =
        json!({"prune": [{"topic": Kind::Block.topic(), "backoff_s": u64::MAX}, {"topic": "no topic"}]});
    peer.write_rpc(&to, &absurd, 1_000)?;
    is_heard(&mut ours, &mut peer)?;
    assert_in_good_standing(&mut ours, &peer);
    Ok(())
}

fn no_more_ihaves_are_followed_than_a_heartbeat_allows(shell: Shell) -> Result<(), Failure> {
    let mut ours = start(shell)?;
    let mut peer = join(&mut ours, "peer", json!({}))?;
    let mut author = join(&mut ours, "author", json!({}))?;
    let to = ours.id().to_owned();
    let ihave = json!({"ihave": [{"topic": Kind::Subtree.topic(), "fresh": 1}]});
    peer.write_rpc(&to, &ihave, 200)?;
    peer.expect_frame(&to, "IWANT", asks)?;
    is_heard(&mut ours, &mut peer)?;
    caught_up(&mut ours, &mut author, &mut peer)?;
    let asked = peer.count_ids(&to, "iwant_b64");
    assert!((1..=HEARTBEATS_OF_A_BURST * IHAVES_MAX).contains(&asked), "asked for {asked} of 200");
    // The next heartbeat begins anew.
    retry(SOON, || {
        peer.write_rpc(&to, &ihave, 1)?;
        peer.process()
            .expect("IWANT in another heartbeat", THREE_HEARTBEATS, |e| e["event"] == "frame" && asks(e))
    })?;
    assert_in_good_standing(&mut ours, &peer);
    Ok(())
}

fn no_more_ids_are_asked_for_than_a_heartbeat_allows(shell: Shell) -> Result<(), Failure> {
    let mut ours = start(shell)?;
    let mut peer = join(&mut ours, "peer", json!({}))?;
    let mut author = join(&mut ours, "author", json!({}))?;
    let to = ours.id().to_owned();
    is_heard(&mut ours, &mut peer)?;
    // Well below what is taken of control in one frame.
    let ihave = json!({"ihave": [{"topic": Kind::Subtree.topic(), "fresh": 3_000}]});
    peer.write_rpc(&to, &ihave, 4)?;
    peer.expect_frame(&to, "IWANT", asks)?;
    is_heard(&mut ours, &mut peer)?;
    caught_up(&mut ours, &mut author, &mut peer)?;
    let asked = peer.count_ids(&to, "iwant_b64");
    assert!((3_000..=2 * ASKED_MAX).contains(&asked), "asked for {asked} of 12,000");
    assert_in_good_standing(&mut ours, &peer);
    Ok(())
}

fn who_asks_ten_times_is_given_a_message_three_times(shell: Shell) -> Result<(), Failure> {
    let mut ours = start(shell)?;
    let mut peer = join(&mut ours, "peer", json!({}))?;
    let mut author = join(&mut ours, "author", json!({}))?;
    let to = ours.id().to_owned();
    let (first, last) = (is_heard(&mut ours, &mut author)?, is_heard(&mut ours, &mut author)?);
    for id in [&first, &last] {
        peer.expect_named(&to, "messages", id)?;
    }
    peer.write_rpc(&to, &json!({"iwant_b64": [first]}), 10)?;
    peer.write_rpc(&to, &json!({"iwant_b64": [last]}), 1)?;
    peer.expect_named(&to, "messages", &last)?;
    assert_eq!(peer.count_named(&to, "messages", &first), 1 + GIVEN_MAX, "pushed once, then given");
    assert_in_good_standing(&mut ours, &peer);
    Ok(())
}

fn half_a_mebibyte_of_control_is_taken(shell: Shell) -> Result<(), Failure> {
    let mut ours = start(shell)?;
    let mut peer = join(&mut ours, "peer", json!({}))?;
    let mut author = join(&mut ours, "author", json!({}))?;
    let to = ours.id().to_owned();
    is_heard(&mut ours, &mut peer)?;
    // 48 bytes an id.
    let ihave = json!({"ihave": [{"topic": Kind::Subtree.topic(), "fresh": 10_800}]});
    let written = peer.write_rpc(&to, &ihave, 1)?;
    assert!((500 << 10..=512 << 10).contains(&written["bytes"].as_u64().unwrap_or_default()), "{written}");
    // They need not come by one frame.
    while peer.count_ids(&to, "iwant_b64") < ASKED_MAX {
        peer.expect_frame(&to, "IWANT", asks)?;
    }
    is_heard(&mut ours, &mut peer)?;
    caught_up(&mut ours, &mut author, &mut peer)?;
    assert_eq!(peer.process().count(|e| e["event"] == "own_stream_ended"), 0);
    assert_eq!(peer.count_ids(&to, "iwant_b64"), ASKED_MAX);
    assert_in_good_standing(&mut ours, &peer);
    Ok(())
}

on_both_shells!(
    a_graft_during_backoff_is_answered_by_prune_with_backoff,
    a_flood_of_prunes_costs_its_sender_nothing_but_the_mesh,
    no_more_ihaves_are_followed_than_a_heartbeat_allows,
    no_more_ids_are_asked_for_than_a_heartbeat_allows,
    who_asks_ten_times_is_given_a_message_three_times,
    half_a_mebibyte_of_control_is_taken
);
