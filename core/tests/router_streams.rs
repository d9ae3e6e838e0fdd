//! The router within its node: streams, meshes and gossip.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "helpers of tests")]

mod rig;

use std::time::Duration;

use bytes::Bytes;
use peerage_core::conn::{ConnectionId, DisconnectReason};
use peerage_core::gossipsub::peers::Version;
use peerage_core::gossipsub::stream::{self, CheckEnd, StreamEnd};
use peerage_core::input::{Action, Input};
use peerage_core::proto::PeerId;
use peerage_core::proto::pubsub::{Control, Extensions, Graft, IWant, PeerInfo, Prune, Rpc, Subscription};
use peerage_core::teranode::TopicKind;
use peerage_core::{conn, gossipsub};
use rig::frames::{Sent, TOPIC, deliveries, got_message, inner, member, rpc, send, sent, verified, verifies};
use rig::{Done, Rig, peer, us};

#[test]
fn the_first_frame_of_our_stream_tells_all_topics_and_nothing_precedes_it() {
    let mut rig = Rig::mended();
    let done = rig.connect(1, peer(1));
    let opens = |done: &Done| {
        done.0.iter().any(|action| matches!(action, Action::Gossipsub(stream::Action::Open { .. })))
    };
    assert!(opens(&done) && sent(&done).is_empty());
    let done = rig.stream(stream::Event::Opened { connection: ConnectionId(1), version: Version::V13 });
    let frames = sent(&done);
    assert_eq!(frames.len(), 1);
    let hello = rpc(&frames[0].1);
    let mut names: Vec<_> = hello
        .subscriptions
        .iter()
        .map(|subscription| String::from_utf8(subscription.topic.unwrap().to_vec()).unwrap())
        .collect();
    names.sort();
    let mut ours: Vec<_> = TopicKind::ALL
        .iter()
        .map(|kind| rig.node.config().teranode.topic(*kind).as_str().to_owned())
        .collect();
    ours.sort();
    assert_eq!(names, ours);
    assert!(hello.subscriptions.iter().all(|subscription| subscription.subscribe == Some(true)));
    assert_eq!((hello.publish.len(), hello.control), (0, None));
}

#[test]
fn a_frame_that_is_no_rpc_resets_its_stream_and_the_connection_stays() {
    let mut rig = Rig::mended();
    let connection = rig.open_streams(peer(1));
    let done = rig.stream(stream::Event::Frame { connection, frame: Bytes::from_static(&[0xff; 9]) });
    assert!(
        matches!(done.0[..], [Action::Gossipsub(stream::Action::Reset { connection: at })] if at == connection)
    );
    rig.stream(stream::Event::InboundEnded { connection });
    rig.stream(stream::Event::InboundOpened { connection, version: Version::V12 });
    send(&mut rig, peer(1), &Sent::default());
    assert_eq!(deliveries(&rig), 1);
    assert_eq!(rig.node.view().router().tally().frames_malformed, 1);
}

#[test]
fn an_empty_rpc_and_one_of_unknown_fields_are_taken() {
    let mut rig = Rig::mended();
    let connection = rig.open_streams(peer(1));
    for frame in [&[][..], &[0x7a, 2, 1, 1], &[0x1a, 4, 0x7a, 2, 1, 1]] {
        let frame = Bytes::copy_from_slice(frame);
        assert!(rig.stream(stream::Event::Frame { connection, frame }).0.is_empty());
    }
    assert_eq!(rig.node.view().router().tally().frames_malformed, 0);
}

#[test]
fn extensions_count_in_the_first_rpc_of_a_stream_alone() {
    let mut rig = Rig::mended();
    let control = Some(Control { extensions: Some(Extensions::default()), ..Control::default() });
    let extensions = Rpc { control, ..Rpc::default() };
    rig.rpc(peer(1), &extensions);
    assert_eq!(rig.node.view().router().tally().extensions_late, 0);
    rig.rpc(peer(1), &extensions);
    assert_eq!(rig.node.view().router().tally().extensions_late, 1);
}

#[test]
fn a_stream_that_ends_is_opened_again_with_a_full_hello_and_the_mesh_is_lost_meanwhile() {
    let mut rig = Rig::mended();
    member(&mut rig, 1);
    let connection = ConnectionId(1);
    let opened = |done: &Done| {
        done.0.iter().any(|action| *action == Action::Gossipsub(stream::Action::Open { connection }))
    };
    for nth in 0..3 {
        rig.stream(stream::Event::Ended { connection, end: StreamEnd::Closed });
        assert!(!rig.node.view().interests().in_mesh(&peer(1)));
        assert!(opened(&rig.run_ms(13_000)), "reopening {nth}");
        let done = rig.stream(stream::Event::Opened { connection, version: Version::V12 });
        assert!(!rpc(&sent(&done)[0].1).subscriptions.is_empty(), "a full hello");
    }
    let done = rig.stream(stream::Event::Ended { connection, end: StreamEnd::Closed });
    let reason = DisconnectReason::StreamLost;
    assert!(done.0.contains(&Action::Conn(conn::Action::Close { id: connection, reason })));
}

#[test]
fn what_a_peer_told_is_gone_with_its_last_stream() {
    let mut rig = Rig::mended();
    member(&mut rig, 1);
    rig.stream(stream::Event::InboundEnded { connection: ConnectionId(1) });
    let interests = rig.node.view().interests();
    assert_eq!((interests.topic_count(&peer(1)), interests.in_mesh(&peer(1))), (0, false));
}

#[test]
fn a_peer_that_lost_its_stream_and_opens_no_other_is_closed_to_be_dialled_again() {
    let mut rig = Rig::mended();
    member(&mut rig, 1);
    let connection = ConnectionId(1);
    let done = rig.stream(stream::Event::InboundEnded { connection });
    assert!(!rpc(&sent(&done)[0].1).subscriptions.is_empty(), "that may wake it");
    let reason = DisconnectReason::StreamLost;
    let close = Action::Conn(conn::Action::Close { id: connection, reason });
    assert!(!rig.run_ms(2_900).0.contains(&close));
    assert!(rig.run_ms(200).0.contains(&close));
}

#[test]
fn a_peer_that_says_nothing_of_topics_on_its_new_stream_is_subscribed_as_before() {
    for (names_topics, expected) in [(false, 1), (true, 0)] {
        let mut rig = Rig::mended();
        member(&mut rig, 1);
        let connection = ConnectionId(1);
        rig.stream(stream::Event::InboundEnded { connection });
        rig.stream(stream::Event::InboundOpened { connection, version: Version::V12 });
        if names_topics {
            rig.rpc(peer(1), &Rpc::default());
        }
        send(&mut rig, peer(1), &Sent::default());
        assert_eq!(rig.node.view().interests().topic_count(&peer(1)), expected);
        assert!(
            rig.run_ms(5_000)
                .0
                .iter()
                .all(|action| !matches!(action, Action::Conn(conn::Action::Close { .. })))
        );
    }
}

#[test]
fn a_peer_that_opens_its_stream_anew_is_told_all_topics_again() {
    let mut rig = Rig::mended();
    member(&mut rig, 1);
    let connection = ConnectionId(1);
    rig.stream(stream::Event::InboundEnded { connection });
    let done = rig.stream(stream::Event::InboundOpened { connection, version: Version::V12 });
    let frames = sent(&done);
    assert_eq!(rpc(&frames[0].1).subscriptions.len(), TopicKind::ALL.len());
}

#[test]
fn a_graft_before_the_backoff_is_over_is_answered_by_prune_with_its_length() {
    let mut rig = Rig::mended();
    member(&mut rig, 1);
    let prune = vec![Prune { topic: Some(TOPIC.as_bytes()), backoff_s: Some(60), peers: vec![] }];
    rig.rpc(peer(1), &Rpc { control: Some(Control { prune, ..Control::default() }), ..Rpc::default() });
    assert!(!rig.node.view().interests().in_mesh(&peer(1)));
    let done = rig.graft(peer(1), TOPIC);
    let frames = sent(&done);
    let control = rpc(&frames[0].1).control.unwrap();
    assert_eq!(control.prune.len(), 1);
    assert_eq!((control.prune[0].topic, control.prune[0].backoff_s), (Some(TOPIC.as_bytes()), Some(60)));
    rig.advance_ms(61_000);
    rig.graft(peer(1), TOPIC);
    assert!(rig.node.view().interests().in_mesh(&peer(1)), "it is over");
}

#[test]
fn heartbeats_fill_the_mesh_and_name_messages_to_those_outside_it() {
    let mut rig = Rig::mended();
    for n in 1..=20 {
        rig.connect(n.into(), peer(n));
        rig.subscribe(peer(n), TOPIC);
    }
    let done = rig.run_ms(2_000);
    let grafts = |done: &Done| {
        let grafted = sent(done).into_iter().filter(|(_, frame)| {
            let control = rpc(frame).control;
            control.is_some_and(|control| {
                control.graft.iter().any(|graft| graft.topic == Some(TOPIC.as_bytes()))
            })
        });
        grafted.count()
    };
    assert_eq!(grafts(&done), 6, "D");
    send(&mut rig, peer(1), &Sent::default());
    let done = rig.run_ms(1_500);
    let id = Sent::default().message().message_id();
    let named = sent(&done).into_iter().filter(|(_, frame)| {
        rpc(frame)
            .control
            .is_some_and(|control| control.ihave.iter().any(|entry| entry.message_ids.contains(&&id[..])))
    });
    assert!(named.count() >= 3, "some outside hear of it");
    let iwant = vec![IWant { message_ids: vec![&id] }];
    let asks = Rpc { control: Some(Control { iwant, ..Control::default() }), ..Rpc::default() };
    for nth in 0..4 {
        let done = rig.rpc(peer(2), &asks);
        assert_eq!(got_message(&done).len(), usize::from(nth < 3), "it is given three times");
    }
}

#[test]
fn a_reader_that_reads_nothing_is_sent_a_window_and_no_more() {
    let mut rig = Rig::mended();
    member(&mut rig, 1);
    member(&mut rig, 2);
    let mut bytes = 0;
    for n in 0..200u8 {
        let next = Sent { seqno: [n; 8], data: inner(n), ..Sent::default() };
        let done = send(&mut rig, peer(1), &next);
        bytes += sent(&done).iter().map(|(_, frame)| frame.len() as u64).sum::<u64>();
    }
    assert!((stream::WINDOW_BYTES / 2..stream::WINDOW_BYTES + 1000).contains(&bytes), "{bytes}");
    let done = rig.stream(stream::Event::Written { connection: ConnectionId(2), bytes });
    assert!(!got_message(&done).is_empty(), "what waits follows");
}

#[test]
fn a_floodsub_peer_gets_every_message_and_never_control() {
    let mut rig = Rig::mended();
    member(&mut rig, 1);
    rig.connect(2, peer(2));
    let (connection, version) = (ConnectionId(2), Version::Floodsub);
    rig.stream(stream::Event::Opened { connection, version });
    rig.stream(stream::Event::InboundOpened { connection, version });
    let subscription = Subscription { subscribe: Some(true), topic: Some(TOPIC.as_bytes()) };
    rig.rpc(peer(2), &Rpc { subscriptions: vec![subscription], ..Rpc::default() });
    let done = rig.run_ms(5_000);
    assert!(sent(&done).iter().all(|(connection, _)| connection.0 != 2), "no control");
    assert_eq!(got_message(&send(&mut rig, peer(1), &Sent::default())), [2]);
    let graft = vec![Graft { topic: Some(TOPIC.as_bytes()) }];
    rig.rpc(peer(2), &Rpc { control: Some(Control { graft, ..Control::default() }), ..Rpc::default() });
    assert!(!rig.node.view().interests().in_mesh(&peer(2)));
}

#[test]
fn nothing_of_a_peer_is_left_when_its_last_connection_closes() {
    let mut rig = Rig::mended();
    member(&mut rig, 1);
    let id = ConnectionId(1);
    rig.feed(Input::Conn(conn::Event::Closed { id, reason: conn::CloseReason::Remote }));
    let view = rig.node.view();
    let router = view.router();
    assert!(router.streams().is_empty() && router.peers().is_empty() && view.conns().outboxes().is_empty());
    assert!(!router.mesh().is_member(&peer(1)) && router.promises().is_empty());
}

#[test]
fn a_topic_that_is_left_is_told_to_all_and_pruned_with_ten_seconds() {
    let mut rig = Rig::mended();
    member(&mut rig, 1);
    rig.connect(2, peer(2));
    rig.open_streams(peer(2));
    let topic = gossipsub::Topic::from(TOPIC);
    let done = rig.command(gossipsub::Command::Unsubscribe { topic });
    let frames = sent(&done);
    let left = |n: u64| {
        frames.iter().any(|(connection, frame)| {
            let rpc = rpc(frame);
            connection.0 == n
                && rpc.subscriptions
                    == [Subscription { subscribe: Some(false), topic: Some(TOPIC.as_bytes()) }]
        })
    };
    assert!(left(1) && left(2));
    let pruned = frames.iter().find_map(|(_, frame)| rpc(frame).control.map(|c| c.prune[0].backoff_s));
    assert_eq!(pruned, Some(Some(10)));
    assert_eq!(Duration::from_secs(10), rig.node.config().gossipsub.unsubscribe_backoff);
}

/// A record of `who`, signed by nobody that matters: the check is by hand.
fn record(who: &PeerId, addr: &str) -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| [&[number << 3 | 2, bytes.len() as u8][..], bytes].concat();
    let addr: peerage_core::proto::Multiaddr = addr.parse().unwrap();
    let record = [field(1, who.as_bytes()), field(3, &field(1, addr.as_bytes()))].concat();
    [field(1, &who.as_bytes()[2..]), field(2, &[3, 1]), field(3, &record), field(5, &[9; 64])].concat()
}

fn prune_naming(rig: &mut Rig, named: &PeerId, record: &[u8]) -> Done {
    let info = PeerInfo { peer_id: Some(named.as_bytes()), signed_peer_record: Some(record) };
    let prune = vec![Prune { topic: Some(TOPIC.as_bytes()), backoff_s: Some(60), peers: vec![info] }];
    rig.rpc(peer(1), &Rpc { control: Some(Control { prune, ..Control::default() }), ..Rpc::default() })
}

fn dials(done: &Done) -> usize {
    done.0.iter().filter(|action| matches!(action, Action::Conn(conn::Action::Dial { .. }))).count()
}

#[test]
fn a_peer_named_in_a_prune_is_dialled_if_that_is_wanted_and_its_own_signature_says_where() {
    for (wanted, end, expected) in
        [(true, CheckEnd::Valid, 1), (true, CheckEnd::Invalid, 0), (false, CheckEnd::Valid, 0)]
    {
        let teranode = peerage_core::teranode::Config::new(peerage_core::proto::network::Network::Regtest);
        let mut config = peerage_core::Config::new(us(), teranode);
        config.conn.allow_private = true;
        config.gossipsub.take_exchange = wanted;
        let mut rig = Rig::with(config);
        rig.start();
        member(&mut rig, 1);
        rig.signs = false;
        let named = peer(77);
        let done = prune_naming(&mut rig, &named, &record(&named, "/ip4/127.0.0.1/tcp/4077"));
        let checks = verifies(&done);
        assert_eq!(checks.len(), usize::from(wanted));
        let mut all = 0;
        for (op, _) in checks {
            all += dials(&verified(&mut rig, op, &[end]));
        }
        all += dials(&rig.run_ms(3_000));
        assert_eq!(all, expected, "{wanted} {end:?}");
        let foreign = record(&peer(78), "/ip4/127.0.0.1/tcp/4078");
        assert!(verifies(&prune_naming(&mut rig, &named, &foreign)).is_empty(), "another's record");
    }
}

#[test]
fn a_peer_that_we_cannot_speak_to_is_in_no_mesh_whatever_it_tells_on_its_own_stream() {
    let mut rig = Rig::mended();
    rig.connect(1, peer(1));
    let connection = ConnectionId(1);
    rig.stream(stream::Event::Ended { connection, end: StreamEnd::Unsupported });
    rig.stream(stream::Event::InboundOpened { connection, version: Version::V12 });
    rig.subscribe(peer(1), TOPIC);
    rig.graft(peer(1), TOPIC);
    rig.run_ms(3_000);
    assert!(!rig.node.view().interests().in_mesh(&peer(1)));
    assert!(rig.node.view().router().peers().is_empty());
}
