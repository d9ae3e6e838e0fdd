//! What was once fatal to other routers, one case each, played into ours.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "helpers of tests")]

mod rig;

use bytes::Bytes;
use peerage_core::gossipsub::stream;
use peerage_core::proto::pubsub::{Control, Graft, IHave, IWant, Prune, Rpc, Subscription};
use peerage_core::time::Instant;
use rig::frames::{Sent, TOPIC, deliveries, member, send};
use rig::{Rig, peer};

fn prune_for(rig: &mut Rig, backoff_s: u64) {
    let prune = vec![Prune { topic: Some(TOPIC.as_bytes()), backoff_s: Some(backoff_s), peers: vec![] }];
    rig.rpc(peer(1), &Rpc { control: Some(Control { prune, ..Control::default() }), ..Rpc::default() });
}

#[test]
fn cve_2026_33040_a_prune_with_the_longest_backoff_of_all_sets_no_time_off() {
    let mut rig = Rig::mended();
    member(&mut rig, 1);
    prune_for(&mut rig, u64::MAX);
    assert!(!rig.node.view().interests().in_mesh(&peer(1)));
    rig.run_ms(3_000);
    // No longer than an hour: it may be grafted again then.
    rig.advance_ms(3_603_000);
    rig.graft(peer(1), TOPIC);
    assert!(rig.node.view().interests().in_mesh(&peer(1)));
}

#[test]
fn cve_2026_34219_a_backoff_near_the_end_of_time_bears_its_slack_at_each_heartbeat() {
    for backoff_s in [u64::MAX - 1, u64::MAX / 1_000_000, u64::MAX / 1_000_000 - 1, i64::MAX as u64] {
        let mut rig = Rig::mended();
        member(&mut rig, 1);
        prune_for(&mut rig, backoff_s);
        rig.run_ms(5_000);
        rig.now.mono = Instant::FAR;
        rig.feed(peerage_core::Input::Timeout);
        assert!(rig.node.view().router().peers().get(&peer(1)).is_some());
    }
}

#[test]
fn rust_libp2p_6486_control_of_a_megabyte_of_tiny_entries_is_cut_before_it_is_kept() {
    let mut rig = Rig::mended();
    member(&mut rig, 1);
    let connection = rig.open_streams(peer(1));
    // Half a million empty IHAVEs, IWANTs, GRAFTs, PRUNEs and IDONTWANTs in one RPC.
    let entries: Vec<u8> =
        [0x0a, 0x12, 0x1a, 0x22, 0x2a].iter().flat_map(|tag| [*tag, 0].repeat(100_000)).collect();
    let mut frame = vec![0x1a];
    let mut length = entries.len();
    while length >= 0x80 {
        frame.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    frame.push(length as u8);
    frame.extend(entries);
    assert!(frame.len() <= 1 << 20);
    rig.stream(stream::Event::Frame { connection, frame: Bytes::from(frame) });
    assert!(rig.node.view().router().tally().control_excess > 400_000);
    send(&mut rig, peer(1), &Sent::default());
    assert_eq!(deliveries(&rig), 1, "its stream lives");
}

#[test]
fn ids_without_end_are_asked_for_and_given_within_their_shares() {
    let mut rig = Rig::mended();
    member(&mut rig, 1);
    let ids: Vec<[u8; 46]> = (0..9_000u32)
        .map(|n| {
            let mut id = [7; 46];
            id[..4].copy_from_slice(&n.to_be_bytes());
            id
        })
        .collect();
    for chunk in ids.chunks(3_000) {
        let message_ids: Vec<&[u8]> = chunk.iter().map(|id| &id[..]).collect();
        let ihave = vec![IHave { topic: Some(TOPIC.as_bytes()), message_ids: message_ids.clone() }];
        let iwant = vec![IWant { message_ids }];
        let control = Some(Control { ihave, iwant, ..Control::default() });
        rig.rpc(peer(1), &Rpc { control, ..Rpc::default() });
    }
    let tally = rig.node.view().router().tally();
    assert_eq!((tally.iwant_out, tally.iwant_given), (5_000, 0));
    assert!(rig.node.view().router().promises().len() <= 64);
}

#[test]
fn subscriptions_without_end_are_remembered_up_to_a_share_and_too_many_in_one_rpc_are_refused() {
    let mut rig = Rig::mended();
    member(&mut rig, 1);
    let names: Vec<[u8; 4]> = (0..5_000u32).map(u32::to_be_bytes).collect();
    let of = |names: &'static [[u8; 4]]| {
        let subscriptions =
            names.iter().map(|name| Subscription { subscribe: Some(true), topic: Some(name) }).collect();
        Rpc { subscriptions, ..Rpc::default() }
    };
    let names: &'static [[u8; 4]] = Box::leak(names.into_boxed_slice());
    rig.rpc(peer(1), &of(&names[..4_000]));
    let max = rig.node.config().limits.topics_per_peer_max as usize;
    let remembered = rig.node.view().router().peers().get(&peer(1)).unwrap().topics().count();
    assert!(remembered <= max + 1, "{remembered}");
    rig.rpc(peer(1), &of(names));
    assert_eq!(rig.node.view().router().tally().frames_malformed, 1);
}

#[test]
fn grafts_without_end_for_topics_of_nobody_are_not_answered() {
    let mut rig = Rig::mended();
    member(&mut rig, 1);
    let graft = vec![Graft { topic: Some(b"nobody's") }; 2_000];
    let done =
        rig.rpc(peer(1), &Rpc { control: Some(Control { graft, ..Control::default() }), ..Rpc::default() });
    assert!(done.0.is_empty(), "{:?}", done.0);
}

#[test]
fn names_of_topics_longer_than_anybody_needs_are_not_kept() {
    let mut rig = Rig::mended();
    member(&mut rig, 1);
    let long = vec![b'x'; 30_000];
    let subscription = Subscription { subscribe: Some(true), topic: Some(&long) };
    rig.rpc(peer(1), &Rpc { subscriptions: vec![subscription], ..Rpc::default() });
    assert_eq!(rig.node.view().router().peers().get(&peer(1)).unwrap().topics().count(), 1, "ours");
    assert_eq!(rig.node.view().router().peers().dropped().topics, 1);
}
