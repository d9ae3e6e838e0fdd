//! Whom a node dials, lets in, closes and remembers (libp2p profile, sections 1 and 4).

mod rig;

use std::time::Duration;

use peerage_core::conn::{
    self, CloseReason, ConnectionId, DhtMode, DialError, Direction, DisconnectReason, PendingId,
};
use peerage_core::gossipsub::Topic;
use peerage_core::input::{Action, Document, Input, OpResult};
use peerage_core::op::OpId;
use peerage_core::proto::network::Network;
use peerage_core::proto::{Multiaddr, PeerId};
use peerage_core::teranode::{self, TopicKind};
use peerage_core::time::Now;
use peerage_core::{Config, Node};
use rig::{Done, Rig, hash_text, peer, subtree, us};

const TOPIC: &str = "teranode/bitcoin/1.0.0/regtest-block";

fn addr(n: u8) -> Multiaddr {
    format!("/ip4/127.0.0.1/tcp/{}", 4000 + u32::from(n)).parse().expect("an address")
}

fn at(n: u8) -> Multiaddr {
    addr(n).with_p2p(peer(n))
}

fn config(change: impl FnOnce(&mut conn::Config)) -> Config {
    let teranode = teranode::Config { allow_private_urls: true, ..teranode::Config::new(Network::Regtest) };
    let mut config = Config::new(us(), teranode);
    config.conn.allow_private = true;
    change(&mut config.conn);
    config
}

fn started(change: impl FnOnce(&mut conn::Config)) -> (Rig, Done) {
    let mut rig = Rig::with(config(change));
    let done = rig.start();
    (rig, done)
}

fn conn_actions(done: &Done) -> Vec<conn::Action> {
    done.0
        .iter()
        .filter_map(|action| if let Action::Conn(action) = action { Some(action.clone()) } else { None })
        .collect()
}

fn dials(done: &Done) -> Vec<(OpId, Option<PeerId>, Vec<Multiaddr>)> {
    conn_actions(done)
        .into_iter()
        .filter_map(|action| {
            let conn::Action::Dial { op, peer, addrs } = action else { return None };
            Some((op, peer, addrs))
        })
        .collect()
}

fn closes(done: &Done) -> Vec<(ConnectionId, DisconnectReason)> {
    conn_actions(done)
        .into_iter()
        .filter_map(|action| {
            let conn::Action::Close { id, reason } = action else { return None };
            Some((id, reason))
        })
        .collect()
}

fn fail(rig: &mut Rig, op: OpId) -> Done {
    rig.feed(Input::Op(op, OpResult::Dialed(Err(DialError::Unreachable("refused".into())))))
}

fn establish(rig: &mut Rig, id: u64, who: PeerId, direction: Direction, from: &Multiaddr) -> Done {
    let event = conn::Event::Established { id: ConnectionId(id), peer: who, addr: from.clone(), direction };
    rig.feed(Input::Conn(event))
}

fn close(rig: &mut Rig, id: u64) -> Done {
    rig.feed(Input::Conn(conn::Event::Closed { id: ConnectionId(id), reason: CloseReason::Remote }))
}

#[test]
fn bootstrap_and_static_peers_are_dialled_at_start_without_their_id_in_the_address() {
    let (mut rig, _) = started(|conn| {
        conn.bootstrap = vec![at(1)];
        conn.static_peers = vec![at(2)];
    });
    let mut dialled: Vec<_> =
        dials(&rig.run_ms(0)).into_iter().map(|(_, peer, addrs)| (peer, addrs)).collect();
    dialled.sort();
    let mut expected = vec![(Some(peer(1)), vec![addr(1)]), (Some(peer(2)), vec![addr(2)])];
    expected.sort();
    assert_eq!(dialled, expected);
}

#[test]
fn a_kept_peer_is_redialled_for_ever_with_growing_delays_of_30_seconds_at_most() {
    let (mut rig, _) = started(|conn| conn.bootstrap = vec![at(1)]);
    let mut delays = Vec::new();
    let (mut op, ..) = dials(&rig.run_ms(0)).remove(0);
    for _ in 0..10 {
        fail(&mut rig, op);
        let failed_at = rig.now.mono;
        let done = loop {
            let done = rig.run_ms(100);
            if !dials(&done).is_empty() {
                break done;
            }
        };
        (op, ..) = dials(&done).remove(0);
        delays.push(rig.now.mono.saturating_since(failed_at).as_secs_f64());
    }
    assert!(delays[0] <= 1.4 && delays[0] >= 0.7, "{delays:?}");
    assert!(delays.iter().all(|delay| *delay <= 37.6) && delays[9] >= 22.0, "{delays:?}");
}

#[test]
fn a_lost_kept_peer_is_dialled_again_and_a_found_one_is_not() {
    let (mut rig, _) = started(|conn| conn.static_peers = vec![at(1)]);
    let (op, ..) = dials(&rig.run_ms(0)).remove(0);
    establish(&mut rig, 1, peer(1), Direction::Outbound(Some(op)), &addr(1));
    rig.feed(Input::Op(op, OpResult::Dialed(Ok(ConnectionId(1)))));
    establish(&mut rig, 2, peer(2), Direction::Outbound(None), &addr(2));
    assert!(dials(&rig.run_ms(60_000)).is_empty(), "connected");
    close(&mut rig, 2);
    close(&mut rig, 1);
    let again = dials(&rig.run_ms(2_000));
    assert_eq!(again.iter().map(|(_, peer, _)| *peer).collect::<Vec<_>>(), [Some(peer(1))]);
}

#[test]
fn a_found_peer_is_given_up_after_three_failures() {
    let (mut rig, _) = started(|_| {});
    let found = conn::Event::Found { peer: peer(1), addrs: vec![at(1)], source: conn::Source::Dht };
    rig.feed(Input::Conn(found));
    let mut count = 0;
    for _ in 0..10 {
        for (op, ..) in dials(&rig.run_ms(60_000)) {
            count += 1;
            fail(&mut rig, op);
        }
    }
    assert_eq!(count, 3);
}

#[test]
fn private_addresses_are_neither_dialled_nor_kept_unless_allowed() {
    let (mut rig, _) = started(|conn| conn.allow_private = false);
    let public: Multiaddr = "/ip4/203.0.113.7/tcp/9905".parse().expect("an address");
    let found = conn::Event::Found {
        peer: peer(1),
        addrs: vec![addr(1), "/ip4/10.0.0.1/tcp/1".parse().expect("an address"), public.clone()],
        source: conn::Source::Peer,
    };
    rig.feed(Input::Conn(found));
    assert_eq!(dials(&rig.run_ms(0))[0].2, [public]);
    let done = rig.feed(Input::Conn(conn::Event::Incoming { pending: PendingId(1), addr: addr(2) }));
    let refused = conn::Action::Refuse { pending: PendingId(1), reason: DisconnectReason::PrivateAddress };
    assert_eq!(conn_actions(&done), [refused]);
    let done = establish(&mut rig, 9, peer(9), Direction::Outbound(None), &addr(9));
    assert_eq!(closes(&done), [(ConnectionId(9), DisconnectReason::PrivateAddress)], "a name led there");
}

#[test]
fn an_accepted_socket_waits_for_its_admission() {
    let (mut rig, _) = started(|_| {});
    let done = rig.feed(Input::Conn(conn::Event::Incoming { pending: PendingId(1), addr: addr(2) }));
    assert_eq!(conn_actions(&done), [conn::Action::Admit { pending: PendingId(1) }]);
    establish(&mut rig, 1, peer(2), Direction::Inbound(PendingId(1)), &addr(2));
    assert_eq!(rig.node.view().conns().table().pending_count(), 0);
}

#[test]
fn the_fifth_connection_of_one_peer_is_closed_and_so_is_one_to_ourselves() {
    let (mut rig, _) = started(|_| {});
    for id in 1..=4 {
        let done = establish(&mut rig, id, peer(1), Direction::Outbound(None), &addr(1));
        assert!(closes(&done).is_empty());
    }
    let done = establish(&mut rig, 5, peer(1), Direction::Outbound(None), &addr(1));
    assert_eq!(closes(&done), [(ConnectionId(5), DisconnectReason::PeerLimit)]);
    let done = establish(&mut rig, 6, us(), Direction::Outbound(None), &addr(3));
    assert_eq!(closes(&done), [(ConnectionId(6), DisconnectReason::Ourselves)]);
}

#[test]
fn above_35_peers_the_least_valued_go_until_25_are_left() {
    let (mut rig, _) = started(|_| {});
    for n in 1..=40 {
        establish(&mut rig, u64::from(n), peer(n), Direction::Outbound(None), &addr(n));
    }
    let topic = Topic::from("teranode/bitcoin/1.0.0/regtest-block");
    for n in 1..=20 {
        rig.subscribe(peer(n), topic.as_str());
    }
    for n in 21..=25 {
        rig.graft(peer(n), TOPIC);
    }
    assert!(closes(&rig.run_ms(19_000)).is_empty(), "all are young");
    let gone: Vec<u64> = closes(&rig.run_ms(12_000)).into_iter().map(|(id, _)| id.0).collect();
    assert_eq!(gone.len(), 10, "40 less 5 in the mesh less 25");
    assert!(gone.iter().all(|id| *id > 25), "{gone:?}");
}

#[test]
fn topics_are_searched_after_a_second_and_every_30_and_announced_once_somebody_is_there() {
    let (mut rig, _) = started(|_| {});
    let searches = |done: &Done| {
        conn_actions(done).iter().filter(|action| matches!(action, conn::Action::Search { .. })).count()
    };
    let provides = |done: &Done| {
        conn_actions(done).iter().filter(|action| matches!(action, conn::Action::Provide { .. })).count()
    };
    assert_eq!(searches(&rig.run_ms(1_000)), 4);
    assert_eq!(searches(&rig.run_ms(29_000)), 0);
    let done = rig.run_ms(1_000);
    assert_eq!((searches(&done), provides(&done)), (4, 0), "nobody to tell");
    establish(&mut rig, 1, peer(1), Direction::Outbound(None), &addr(1));
    assert_eq!(provides(&rig.run_ms(1_000)), 4);
    assert_eq!(provides(&rig.run_ms(3 * 3600 * 1000)), 4, "again before the records expire");
}

#[test]
fn without_a_dht_neighbours_are_asked_in_turn_for_authors_that_we_only_hear() {
    let (mut rig, _) = started(|conn| conn.dht_mode = DhtMode::Off);
    for n in [1, 2] {
        establish(&mut rig, u64::from(n), peer(n), Direction::Outbound(None), &addr(n));
    }
    let json = subtree(&peer(7).to_base58(), &hash_text(1));
    let mut data = Vec::new();
    peerage_core::proto::envelope::wrap("n", json.as_bytes(), &mut data);
    rig.gossip_raw(peer(7), peer(1), TopicKind::Subtree, data);
    let mut asked = Vec::new();
    for _ in 0..4 {
        for action in conn_actions(&rig.run_ms(15_000)) {
            if let conn::Action::AskAddresses { op, via, target } = action {
                assert_eq!(target, peer(7));
                asked.push((op, via));
            }
        }
    }
    assert_eq!(asked.len(), 2, "each neighbour once");
    assert_ne!(asked[0].1, asked[1].1);
    rig.feed(Input::Op(asked[1].0, OpResult::Addresses(Ok(vec![addr(7)]))));
    assert_eq!(dials(&rig.run_ms(0))[0].1, Some(peer(7)));
}

#[test]
fn a_question_for_addresses_is_answered_with_what_is_known_and_no_relay() {
    let (mut rig, _) = started(|_| {});
    establish(&mut rig, 1, peer(1), Direction::Outbound(None), &addr(1));
    let relayed = format!("/ip4/127.0.0.1/tcp/1/p2p/{}/p2p-circuit", peer(9)).parse().expect("an address");
    rig.feed(Input::Conn(conn::Event::Identified {
        peer: peer(1),
        agent_version: String::new(),
        protocol_version: String::new(),
        listen_addrs: vec![at(2), relayed],
    }));
    let ask = |target| conn::Event::AddressesAsked { ask: conn::AskId(5), from: peer(3), target };
    let answer = |addrs| [conn::Action::AnswerAddresses { ask: conn::AskId(5), addrs }];
    let known = rig.feed(Input::Conn(ask(peer(1))));
    assert_eq!(conn_actions(&known), answer(vec![addr(2)]));
    let unknown = rig.feed(Input::Conn(ask(peer(8))));
    assert_eq!(conn_actions(&unknown), answer(vec![]));
}

#[test]
fn topic_peers_are_cached_half_a_second_later_and_dialled_in_the_next_life() {
    let (mut rig, _) = started(|_| {});
    establish(&mut rig, 1, peer(1), Direction::Outbound(None), &addr(1));
    let topic = Topic::from("teranode/bitcoin/1.0.0/regtest-block");
    rig.subscribe(peer(1), topic.as_str());
    let stored = rig.run_ms(500).0.into_iter().find_map(|action| {
        let Action::Store { document: Document::AddressCache, content, .. } = action else { return None };
        Some(content)
    });
    let content = stored.expect("a cache");
    assert!(String::from_utf8_lossy(&content).contains(r#""name": "unknown""#));
    let next = |later: Duration, content: &bytes::Bytes| {
        let mut rig = Rig::with(config(|_| {}));
        rig.now = Now { mono: rig.now.mono, wall: rig.now.wall.after(later) };
        rig.node = Node::new(config(|_| {}), [7; 32], rig.now).expect("valid settings");
        rig.start();
        rig.feed(Input::Loaded(Document::AddressCache, content.clone()));
        dials(&rig.run_ms(0)).len()
    };
    assert_eq!(next(Duration::from_secs(3600), &content), 1);
    assert_eq!(next(Duration::from_secs(25 * 3600), &content), 0, "older than a day");
    assert_eq!(
        next(Duration::ZERO, &bytes::Bytes::from_static(b"[{\"id\":")),
        0,
        "a torn file counts as empty"
    );
}

#[test]
fn a_lonely_node_that_stops_forgets_no_cached_peer() {
    let (mut rig, _) = started(|_| {});
    let done = rig.feed(Input::Stop);
    assert!(!done.0.iter().any(|action| matches!(action, Action::Store { .. })));
}

#[test]
fn a_peer_that_went_deaf_after_many_bytes_is_closed_and_dialled_again() {
    let (mut rig, _) = started(|_| {});
    for n in [1, 2] {
        establish(&mut rig, u64::from(n), peer(n), Direction::Outbound(None), &addr(n));
        rig.graft(peer(n), TOPIC);
    }
    rig.feed(Input::Conn(conn::Event::Received { id: ConnectionId(1), bytes: 200_000 }));
    let mut closed = Vec::new();
    for n in 0..60 {
        let json = subtree(&peer(2).to_base58(), &hash_text(n));
        rig.gossip(peer(2), TopicKind::Subtree, &json);
        closed.extend(closes(&rig.run_ms(100)));
    }
    assert_eq!(closed, [(ConnectionId(1), DisconnectReason::Deaf)]);
    rig.feed(Input::Conn(conn::Event::Closed { id: ConnectionId(1), reason: CloseReason::Local }));
    assert_eq!(dials(&rig.run_ms(0))[0].1, Some(peer(1)));
}

#[test]
fn a_peer_that_is_banned_loses_its_connection_and_is_not_let_in_again() {
    let (mut rig, _) = started(|_| {});
    establish(&mut rig, 1, peer(1), Direction::Outbound(None), &addr(1));
    let mut closed = Vec::new();
    for n in 0..5 {
        let claim = subtree(&peer(9).to_base58(), &hash_text(n));
        closed.extend(closes(&rig.gossip(peer(1), TopicKind::Subtree, &claim)));
    }
    assert_eq!(closed, [(ConnectionId(1), DisconnectReason::Banned)]);
    close(&mut rig, 1);
    let done = establish(&mut rig, 2, peer(1), Direction::Inbound(PendingId(1)), &addr(1));
    assert_eq!(closes(&done), [(ConnectionId(2), DisconnectReason::Banned)]);
}

#[test]
fn a_second_connection_of_a_banned_peer_is_closed_while_the_first_one_still_stands() {
    let (mut rig, _) = started(|_| {});
    establish(&mut rig, 1, peer(1), Direction::Outbound(None), &addr(1));
    rig.ban(peer(1));
    let done = establish(&mut rig, 2, peer(1), Direction::Inbound(PendingId(1)), &addr(1));
    assert_eq!(closes(&done), [(ConnectionId(2), DisconnectReason::Banned)]);
}

#[test]
fn a_connection_that_is_refused_is_heard_of_by_nobody() {
    let (mut rig, _) = started(|_| {});
    let done = establish(&mut rig, 1, us(), Direction::Outbound(None), &addr(1));
    assert_eq!(closes(&done), [(ConnectionId(1), DisconnectReason::Ourselves)]);
    assert!(rig.node.view().teranode().registry().is_empty() && rig.node.view().conns().book().is_empty());
    let done = close(&mut rig, 1);
    assert!(done.0.is_empty(), "{done:?}");
}

#[test]
fn a_kept_peer_whose_only_connection_was_refused_is_dialled_again() {
    let (mut rig, _) = started(|conn| {
        conn.allow_private = false;
        let named: Multiaddr = "/dns4/node.example/tcp/1".parse().expect("an address");
        conn.static_peers = vec![named.with_p2p(peer(1))];
    });
    let (op, ..) = dials(&rig.run_ms(0)).remove(0);
    let done = establish(&mut rig, 1, peer(1), Direction::Outbound(Some(op)), &addr(1));
    assert_eq!(closes(&done), [(ConnectionId(1), DisconnectReason::PrivateAddress)]);
    rig.feed(Input::Op(op, OpResult::Dialed(Ok(ConnectionId(1)))));
    close(&mut rig, 1);
    assert_eq!(dials(&rig.run_ms(2_000)).len(), 1);
}

#[test]
fn one_write_of_the_address_cache_runs_at_a_time_and_a_junk_topic_causes_none() {
    let (mut rig, _) = started(|_| {});
    let stores = |done: &Done| done.0.iter().filter(|action| matches!(action, Action::Store { .. })).count();
    establish(&mut rig, 1, peer(1), Direction::Outbound(None), &addr(1));
    let subscribe = |rig: &mut Rig, name: &str| {
        rig.subscribe(peer(1), name);
    };
    subscribe(&mut rig, "junk");
    assert_eq!(stores(&rig.run_ms(1000)), 0);
    for _ in 0..20 {
        subscribe(&mut rig, "teranode/bitcoin/1.0.0/regtest-block");
        establish(&mut rig, 2, peer(2), Direction::Outbound(None), &addr(2));
        rig.run_ms(600);
        close(&mut rig, 2);
    }
    let pending = rig
        .node
        .view()
        .ops()
        .iter()
        .filter(|(_, purpose)| matches!(purpose, peerage_core::node::ctx::Purpose::Store(_)));
    assert_eq!(pending.count(), 1);
}

#[test]
fn nothing_is_left_of_a_peer_that_is_gone_and_forgotten() {
    let (mut rig, _) = started(|_| {});
    establish(&mut rig, 1, peer(1), Direction::Outbound(None), &addr(1));
    rig.graft(peer(1), TOPIC);
    rig.gossip(peer(1), TopicKind::Subtree, &subtree(&peer(1).to_base58(), &hash_text(1)));
    close(&mut rig, 1);
    rig.run_ms(26 * 3600 * 1000);
    let view = rig.node.view();
    assert!(view.interests().is_empty() && view.watchdog().is_idle());
    assert!(view.teranode().registry().is_empty() && view.teranode().origins().is_empty());
    assert!(view.conns().book().is_empty() && view.conns().dialer().is_empty());
}

#[test]
fn a_completion_that_nobody_waits_for_is_counted_and_changes_nothing() {
    let (mut rig, _) = started(|conn| conn.bootstrap = vec![at(1)]);
    let (op, ..) = dials(&rig.run_ms(0)).remove(0);
    fail(&mut rig, op);
    let before = rig.node.view().ops().completed();
    fail(&mut rig, op);
    assert_eq!((rig.node.view().ops().completed(), rig.node.view().counters().ops_unknown), (before, 1));
}

#[test]
fn a_stale_time_is_taken_as_the_last_one() {
    let (mut rig, _) = started(|_| {});
    rig.advance_ms(5_000);
    rig.feed(Input::Timeout);
    let last = rig.node.view().last();
    rig.now =
        Now { mono: peerage_core::time::Instant::ZERO, wall: peerage_core::time::UnixTime::from_millis(1) };
    rig.feed(Input::Timeout);
    assert_eq!(rig.node.view().last(), last);
}
