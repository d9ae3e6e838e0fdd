//! The router within its node: what becomes of messages, in the order of work that decision 26 asks for.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "helpers of tests")]

mod rig;

use peerage_core::gossipsub::policy::Policy;
use peerage_core::gossipsub::stream::{Check, CheckEnd};
use peerage_core::op::OpId;
use peerage_core::proto::pubsub::{Control, IDontWant, IHave, Message, Rpc};
use rig::frames::{
    AUTHOR, Sent, TOPIC, by_hand, deliveries, got_message, inner, member, rpc, send, sent, verified, verifies,
};
use rig::{Done, Rig, peer, us};

#[test]
fn a_true_message_goes_to_the_mesh_but_not_to_its_sender_nor_its_author() {
    let mut rig = by_hand();
    for n in [1, 2, 3, AUTHOR] {
        member(&mut rig, n);
    }
    let done = send(&mut rig, peer(1), &Sent::default());
    assert!(sent(&done).is_empty(), "nothing before the check");
    let [(op, checks)] = &verifies(&done)[..] else { panic!("one check") };
    assert_eq!(checks.len(), 1);
    assert!(checks[0].signed.starts_with(b"libp2p-pubsub:"));
    let done = verified(&mut rig, *op, &[CheckEnd::Valid]);
    assert_eq!(got_message(&done), [2, 3]);
    assert_eq!(deliveries(&rig), 1);
}

#[test]
fn a_copy_of_what_was_seen_costs_no_check_and_goes_nowhere() {
    let mut rig = Rig::mended();
    member(&mut rig, 1);
    member(&mut rig, 2);
    send(&mut rig, peer(1), &Sent::default());
    let done = send(&mut rig, peer(2), &Sent::default());
    assert!(done.0.is_empty(), "{:?}", done.0);
    assert_eq!((deliveries(&rig), rig.node.view().router().seen().outcomes().duplicates), (1, 1));
}

#[test]
fn whoever_sent_a_copy_while_it_was_checked_does_not_get_it_back() {
    let mut rig = by_hand();
    for n in [1, 2, 3] {
        member(&mut rig, n);
    }
    let checks = verifies(&send(&mut rig, peer(1), &Sent::default()));
    assert!(verifies(&send(&mut rig, peer(2), &Sent::default())).is_empty(), "it joins the first check");
    let done = verified(&mut rig, checks[0].0, &[CheckEnd::Valid]);
    assert_eq!(got_message(&done), [3]);
}

/// A forged copy of the true message: other content under its id, an added unknown field, another signature.
fn forgeries() -> Vec<Sent<'static>> {
    vec![
        Sent { data: inner(9), ..Sent::default() },
        Sent { unknown: &[0x3a, 1, 7], ..Sent::default() },
        Sent { signature: &[6; 64], ..Sent::default() },
    ]
}

#[test]
fn no_forged_copy_keeps_the_true_message_away_before_during_or_after_its_check() {
    for forged in forgeries() {
        for when in ["before", "during", "after the check began", "after"] {
            let mut rig = by_hand();
            for n in [1, 2, 3] {
                member(&mut rig, n);
            }
            let mut forged_op = Vec::new();
            let mut forge = |rig: &mut Rig| forged_op.extend(verifies(&send(rig, peer(1), &forged)));
            if when == "before" {
                forge(&mut rig);
            }
            let fail = |rig: &mut Rig, ops: &mut Vec<(OpId, Vec<Check>)>| {
                for (op, _) in ops.drain(..) {
                    verified(rig, op, &[CheckEnd::Invalid]);
                }
            };
            if when == "during" {
                forge(&mut rig);
            }
            let checks = verifies(&send(&mut rig, peer(2), &Sent::default()));
            assert_eq!(checks.len(), 1, "{when}: the true copy is checked on its own");
            if when == "after the check began" {
                forged_op.extend(verifies(&send(&mut rig, peer(1), &forged)));
            }
            if when == "before" {
                fail(&mut rig, &mut forged_op);
            }
            let done = verified(&mut rig, checks[0].0, &[CheckEnd::Valid]);
            assert_eq!(got_message(&done), [1, 3], "{when}");
            fail(&mut rig, &mut forged_op);
            if when == "after" {
                assert!(verifies(&send(&mut rig, peer(1), &forged)).is_empty(), "its id is seen");
            }
            assert_eq!(deliveries(&rig), 1, "{when}");
        }
    }
}

#[test]
fn a_refused_copy_is_not_checked_twice_and_stands_in_nobodys_way() {
    let mut rig = by_hand();
    let forged = Sent { data: inner(9), ..Sent::default() };
    let checks = verifies(&send(&mut rig, peer(1), &forged));
    verified(&mut rig, checks[0].0, &[CheckEnd::Invalid]);
    assert!(verifies(&send(&mut rig, peer(2), &forged)).is_empty());
    assert_eq!(rig.node.view().router().seen().outcomes().refused, 1);
    let ask = IHave { topic: Some(TOPIC.as_bytes()), message_ids: vec![] };
    let id = Sent::default().message().message_id();
    let control =
        Some(Control { ihave: vec![IHave { message_ids: vec![&id], ..ask }], ..Control::default() });
    let done = rig.rpc(peer(3), &Rpc { control, ..Rpc::default() });
    let asked = sent(&done).iter().any(|(_, frame)| rpc(frame).control.is_some_and(|c| c.iwant.len() == 1));
    assert!(asked, "the true one is asked for");
    assert_eq!(verifies(&send(&mut rig, peer(3), &Sent::default())).len(), 1);
}

#[test]
fn a_check_that_could_not_be_made_is_as_if_the_copy_had_never_come() {
    let mut rig = by_hand();
    for ends in [vec![CheckEnd::Unknown], vec![]] {
        let checks = verifies(&send(&mut rig, peer(1), &Sent::default()));
        verified(&mut rig, checks[0].0, &ends);
    }
    assert_eq!(deliveries(&rig), 0);
    assert_eq!(verifies(&send(&mut rig, peer(1), &Sent::default())).len(), 1);
}

#[test]
fn what_breaks_the_policy_is_of_an_unknown_topic_or_our_own_is_never_checked() {
    let mut rig = by_hand();
    let own = Sent { author: us(), ..Sent::default() };
    let empty_key = Sent { key: Some(&[]), ..Sent::default() };
    let unsigned = Sent { signature: &[], ..Sent::default() };
    for broken in [own, empty_key, unsigned] {
        assert!(verifies(&send(&mut rig, peer(1), &broken)).is_empty());
    }
    let sample = Sent::default();
    let message = Message { topic: Some(b"other"), ..sample.message() };
    assert!(verifies(&rig.rpc(peer(1), &Rpc { publish: vec![message], ..Rpc::default() })).is_empty());
    let tally = rig.node.view().router().tally();
    assert_eq!((tally.messages_own, tally.messages_breach, tally.messages_unknown_topic), (1, 2, 1));
}

#[test]
fn more_messages_than_one_input_may_cause_are_delivered_by_the_next_ones() {
    let mut rig = Rig::mended();
    let many: Vec<_> =
        (0..200u8).map(|n| Sent { seqno: [n; 8], data: inner(n), ..Sent::default() }).collect();
    let publish = many.iter().map(Sent::message).collect();
    rig.rpc(peer(1), &Rpc { publish, ..Rpc::default() });
    let budget = u64::from(rig.node.config().limits.work_per_input_max);
    assert_eq!(deliveries(&rig), budget);
    rig.run_ms(0);
    assert_eq!(deliveries(&rig), 200);
}

#[test]
fn a_long_message_is_declined_from_the_mesh_after_its_check_alone_and_what_is_declined_is_not_sent() {
    let mut rig = by_hand();
    for n in [1, 2, 3] {
        member(&mut rig, n);
    }
    let long = |seqno| Sent { seqno, data: vec![b'x'; 2000], ..Sent::default() };
    let declines = |done: &Done| {
        let with = sent(done)
            .into_iter()
            .filter(|(_, frame)| rpc(frame).control.is_some_and(|control| !control.idontwant.is_empty()));
        with.map(|(connection, _)| connection.0).collect::<Vec<_>>()
    };
    let done = send(&mut rig, peer(1), &long([1; 8]));
    assert!(declines(&done).is_empty(), "not yet");
    let (op, _) = verifies(&done)[0];
    assert_eq!(declines(&verified(&mut rig, op, &[CheckEnd::Valid])), [2, 3]);
    let checks = verifies(&send(&mut rig, peer(1), &long([2; 8])));
    assert!(declines(&verified(&mut rig, checks[0].0, &[CheckEnd::Invalid])).is_empty());
    // Peer 2 declines what peer 1 then sends.
    let next = Sent { seqno: [3; 8], data: inner(3), ..Sent::default() };
    let id = next.message().message_id();
    let idontwant = vec![IDontWant { message_ids: vec![&id] }];
    rig.rpc(peer(2), &Rpc { control: Some(Control { idontwant, ..Control::default() }), ..Rpc::default() });
    let checks = verifies(&send(&mut rig, peer(1), &next));
    assert_eq!(got_message(&verified(&mut rig, checks[0].0, &[CheckEnd::Valid])), [3]);
}

#[test]
fn an_own_message_is_signed_and_goes_to_those_that_subscribed() {
    let mut rig = Rig::mended();
    let topic = "teranode/bitcoin/1.0.0/regtest-node_status";
    for n in [1, 2] {
        rig.connect(n.into(), peer(n));
    }
    rig.subscribe(peer(1), topic);
    rig.open_streams(peer(2));
    let done = rig.run_ms(10_000);
    assert_eq!(got_message(&done), [1]);
    let frames = sent(&done);
    let (_, frame) = frames.iter().find(|(_, frame)| !rpc(frame).publish.is_empty()).unwrap();
    let message = &rpc(frame).publish[0];
    assert_eq!((message.author(), message.signature), (Some(us()), Some(&[5; 64][..])));
    assert_eq!((message.seqno.map(<[u8]>::len), message.key), (Some(8), None));
    let counters = rig.node.view().counters();
    assert_eq!(counters.publish_sent, 1);
}

#[test]
fn a_forged_copy_from_every_member_but_one_keeps_the_true_message_from_nobody() {
    let mut rig = by_hand();
    for n in 1..=6 {
        member(&mut rig, n);
    }
    let forgeries = forgeries();
    let mut forged = Vec::new();
    for n in 1..=5 {
        forged.extend(verifies(&send(&mut rig, peer(n), &forgeries[usize::from(n) % 3])));
    }
    let checks = verifies(&send(&mut rig, peer(6), &Sent::default()));
    for (op, _) in forged {
        verified(&mut rig, op, &[CheckEnd::Invalid]);
    }
    let done = verified(&mut rig, checks[0].0, &[CheckEnd::Valid]);
    assert_eq!(got_message(&done), [1, 2, 3, 4, 5]);
    assert_eq!(deliveries(&rig), 1);
}

fn with_config(change: impl FnOnce(&mut peerage_core::Config)) -> Rig {
    let network = peerage_core::proto::network::Network::Regtest;
    let teranode = peerage_core::teranode::Config {
        allow_private_urls: true,
        ..peerage_core::teranode::Config::new(network)
    };
    let mut config = peerage_core::Config::new(us(), teranode);
    config.conn.allow_private = true;
    change(&mut config);
    let mut rig = Rig::with(config);
    rig.start();
    rig.signs = false;
    rig
}

#[test]
fn what_its_topic_does_not_ask_to_be_signed_is_delivered_and_handed_on_at_once() {
    let mut rig = with_config(|config| config.gossipsub.policies = vec![(TOPIC.into(), Policy::Sourced)]);
    member(&mut rig, 1);
    member(&mut rig, 2);
    let (sample, author) = (Sent::default(), peer(AUTHOR));
    let message = Message { signature: None, from: Some(author.as_bytes()), ..sample.message() };
    let done = rig.rpc(peer(1), &Rpc { publish: vec![message], ..Rpc::default() });
    assert!(verifies(&done).is_empty());
    assert_eq!((deliveries(&rig), got_message(&done)), (1, vec![2]));
}

#[test]
fn a_copy_whose_check_finds_no_room_is_forgotten_at_once() {
    let mut rig = with_config(|config| {
        config.limits.ops_inflight_max = 16;
        config.limits.produce_inflight_max = 2;
        config.limits.publish_inflight_max = 2;
    });
    let mut begun = 0u8;
    loop {
        let next = Sent { seqno: [begun; 8], data: inner(begun), ..Sent::default() };
        if verifies(&send(&mut rig, peer(1), &next)).is_empty() {
            break;
        }
        begun += 1;
        assert!(begun < 20, "there is no room for so many");
    }
    let seen = rig.node.view().router().seen();
    assert_eq!((seen.outcomes().unchecked, seen.len().0), (1, begun.into()));
}
