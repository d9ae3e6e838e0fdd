//! One source against all others: floods, shares of places and turns, and work that is cut into steps.

mod rig;

use std::time::Duration;

use peerage_core::conn::{self, CloseReason, ConnectionId, Direction, DisconnectReason, PendingId, Source};
use peerage_core::explain::Notice;
use peerage_core::gossipsub::stream;
use peerage_core::input::{Action, Input, OpResult};
use peerage_core::op::OpId;
use peerage_core::proto::network::Network;
use peerage_core::proto::{Multiaddr, PeerId};
use peerage_core::teranode::ban::BanReason;
use peerage_core::teranode::{self, TopicKind};
use peerage_core::time::Timer;
use peerage_core::{Config, Core as _};
use rig::{Done, Rig, hash_text, peer, subtree, us};

fn addr(n: u8) -> Multiaddr {
    format!("/ip4/127.0.0.1/tcp/{}", 4000 + u32::from(n)).parse().expect("an address")
}

fn config(change: impl FnOnce(&mut Config)) -> Config {
    let teranode = teranode::Config { allow_private_urls: true, ..teranode::Config::new(Network::Regtest) };
    let mut config = Config::new(us(), teranode);
    config.conn.allow_private = true;
    change(&mut config);
    config
}

fn started(change: impl FnOnce(&mut Config)) -> Rig {
    let mut rig = Rig::with(config(change));
    rig.start();
    rig
}

fn dials(done: &Done) -> Vec<(OpId, Option<PeerId>)> {
    let dial = |action: &Action| {
        let Action::Conn(conn::Action::Dial { op, peer, .. }) = action else { return None };
        Some((*op, *peer))
    };
    done.0.iter().filter_map(dial).collect()
}

fn closes(done: &Done) -> Vec<(ConnectionId, DisconnectReason)> {
    let close = |action: &Action| {
        let Action::Conn(conn::Action::Close { id, reason }) = action else { return None };
        Some((*id, *reason))
    };
    done.0.iter().filter_map(close).collect()
}

fn notices(done: &Done) -> Vec<&Notice> {
    done.0
        .iter()
        .filter_map(|action| if let Action::Notice(notice) = action { Some(notice) } else { None })
        .collect()
}

fn establish(rig: &mut Rig, id: u64, n: u8) -> Done {
    rig.feed(Input::Conn(conn::Event::Established {
        id: ConnectionId(id),
        peer: peer(n),
        addr: addr(n),
        direction: Direction::Inbound(PendingId(id)),
    }))
}

fn closed(rig: &mut Rig, id: u64, reason: CloseReason) -> Done {
    rig.feed(Input::Conn(conn::Event::Closed { id: ConnectionId(id), reason }))
}

fn found(rig: &mut Rig, n: u8, source: Source) -> Done {
    rig.feed(Input::Conn(conn::Event::Found { peer: peer(n), addrs: vec![addr(n)], source }))
}

fn floods(rig: &Rig) -> u64 {
    rig.node.view().counters().closed_for(DisconnectReason::Flood)
}

#[test]
fn a_connection_closed_for_a_flood_is_counted_told_and_costs_its_peer_50_points() {
    let mut rig = started(|_| {});
    establish(&mut rig, 1, 1);
    let done = closed(&mut rig, 1, CloseReason::Flood);
    let penalty = Notice::Penalised { peer: peer(1), reason: BanReason::Spam, score: 50 };
    let parting = Notice::PeerDisconnected { peer: peer(1), reason: CloseReason::Flood, asked: None };
    assert_eq!(notices(&done), [&parting, &penalty]);
    assert_eq!((floods(&rig), rig.score(peer(1))), (1, 50));
    assert!(rig.node.view().interests().is_empty());
}

#[test]
fn a_second_flood_bans_the_peer_and_closes_what_else_it_has_open() {
    let mut rig = started(|_| {});
    (1..=3).for_each(|id| drop(establish(&mut rig, id, 1)));
    assert!(closes(&closed(&mut rig, 1, CloseReason::Flood)).is_empty(), "once may be a mishap");
    let done = closed(&mut rig, 2, CloseReason::Flood);
    assert_eq!(closes(&done), [(ConnectionId(3), DisconnectReason::Banned)]);
    assert!(rig.node.view().teranode().bans().is_banned(rig.now, &peer(1)));
    closed(&mut rig, 3, CloseReason::Flood);
    assert_eq!(floods(&rig), 2, "the third one we had closed already");
}

#[test]
fn the_reference_knows_no_floods_so_that_in_the_strict_mode_they_are_only_counted() {
    let mut rig = Rig::strict();
    rig.connect(1, peer(1));
    closed(&mut rig, 1, CloseReason::Flood);
    assert_eq!((floods(&rig), rig.score(peer(1))), (1, 0));
}

#[test]
fn a_peer_that_is_kept_finds_a_place_and_its_turn_whatever_is_found() {
    let mut rig = Rig::with(config(|config| {
        config.conn.static_peers = (100..106).map(|n| addr(n).with_p2p(peer(n))).collect();
        config.conn.dials_inflight_max = 8;
        config.limits.dial_targets_max = 8;
    }));
    for n in 1..=20 {
        found(&mut rig, n, Source::Dht);
    }
    assert_eq!(rig.node.view().conns().dialer().len(), 8);
    rig.start();
    assert_eq!(rig.node.view().conns().dialer().len(), 8);
    assert!((100..106).all(|n| rig.node.view().conns().dialer().keeps(&peer(n))));
    let dialled: Vec<PeerId> = dials(&rig.run_ms(0)).into_iter().filter_map(|(_, peer)| peer).collect();
    assert!((100..106).all(|n| dialled[..6].contains(&peer(n))), "they go first");
    assert_eq!(dialled.len(), 8);
}

#[test]
fn dials_of_found_peers_leave_a_place_for_a_kept_one_that_is_lost() {
    let mut rig = started(|config| {
        config.conn.static_peers = vec![addr(200).with_p2p(peer(99))];
        config.conn.dials_inflight_max = 4;
    });
    let (op, _) = dials(&rig.run_ms(0)).remove(0);
    establish(&mut rig, 1, 99);
    rig.feed(Input::Op(op, OpResult::Dialed(Ok(ConnectionId(1)))));
    for n in 1..=20 {
        found(&mut rig, n, Source::Dht);
    }
    assert_eq!(dials(&rig.run_ms(0)).len(), 3);
    closed(&mut rig, 1, CloseReason::Remote);
    let again: Vec<Option<PeerId>> = dials(&rig.run_ms(3_000)).into_iter().map(|(_, peer)| peer).collect();
    assert_eq!(again, [Some(peer(99))]);
}

#[test]
fn no_source_of_found_peers_takes_the_places_of_another() {
    let mut rig = started(|config| {
        config.limits.dial_targets_max = 9;
    });
    (1..=20).for_each(|n| drop(found(&mut rig, n, Source::Dht)));
    (101..=120).for_each(|n| drop(found(&mut rig, n, Source::Peer)));
    let dialled: Vec<PeerId> = dials(&rig.run_ms(0)).into_iter().filter_map(|(_, peer)| peer).collect();
    let of_peers = (101..=120).filter(|n| dialled.contains(&peer(*n))).count();
    assert_eq!((dialled.len(), of_peers), (9, 4));
    let dropped = rig.node.view().counters().dial_targets_dropped;
    assert_eq!(dropped, 40 - 9, "each that found no place, or lost it, is counted");
}

#[test]
fn a_banned_peer_that_is_found_is_not_dialled() {
    let mut rig = started(|_| {});
    rig.ban(peer(1));
    for source in [Source::Dht, Source::Peer, Source::Cache] {
        found(&mut rig, 1, source);
        assert!(dials(&rig.run_ms(60_000)).is_empty());
    }
    assert!(rig.node.view().conns().dialer().is_empty());
    assert_eq!(rig.node.view().counters().dials_banned, 3);
}

#[test]
fn a_kept_peer_that_is_banned_is_dialled_again_when_the_ban_is_over() {
    let mut rig = started(|config| {
        config.conn.static_peers = vec![addr(1).with_p2p(peer(1))];
        config.teranode.ban_duration = Duration::from_secs(600);
    });
    rig.ban(peer(1));
    assert!(dials(&rig.run_ms(599_000)).is_empty());
    assert_eq!(dials(&rig.run_ms(40_000)).len(), 1);
}

#[test]
fn a_bootstrap_peer_behind_a_name_is_protected_by_the_id_that_it_turned_out_to_have() {
    let mut rig = started(|config| {
        config.conn.bootstrap = vec!["/dnsaddr/boot.example".parse().expect("an address")];
    });
    let (op, expected) = dials(&rig.run_ms(0)).remove(0);
    assert_eq!(expected, None, "the name does not tell");
    establish(&mut rig, 1, 1);
    rig.feed(Input::Op(op, OpResult::Dialed(Ok(ConnectionId(1)))));
    (2..=60).for_each(|n| drop(establish(&mut rig, u64::from(n), n)));
    let gone = closes(&rig.run_ms(40_000));
    assert_eq!(gone.len(), 60 - 1 - 25);
    assert!(!gone.contains(&(ConnectionId(1), DisconnectReason::Trimmed)));
}

#[test]
fn what_one_input_may_not_trim_is_trimmed_at_once_by_the_next_ones() {
    let mut rig = started(|config| config.limits.work_per_input_max = 8);
    (1..=60).for_each(|n| drop(establish(&mut rig, u64::from(n), n)));
    let mut steps = Vec::new();
    for _ in 0..1000 {
        let deadline = rig.node.poll_timeout().expect("a deadline");
        rig.now.mono = rig.now.mono.max(deadline.at);
        let gone = closes(&rig.feed(Input::Timeout));
        rig.answer_all();
        if !gone.is_empty() {
            steps.push((rig.now.mono, gone.len()));
        }
        if rig.now.mono.as_micros() > 60_000_000 {
            break;
        }
    }
    let at = steps[0].0;
    assert_eq!(steps, [(at, 8), (at, 8), (at, 8), (at, 8), (at, 3)]);
}

#[test]
fn what_is_old_goes_in_steps_that_are_due_at_once() {
    let mut rig = started(|config| config.limits.work_per_input_max = 16);
    for n in 0..100u8 {
        rig.gossip(peer(1), TopicKind::Subtree, &subtree(&peer(1).to_base58(), &hash_text(n)));
    }
    rig.now.mono = rig.now.mono.after(Duration::from_secs(3600));
    let mut left = Vec::new();
    while rig.node.poll_timeout().is_some_and(|deadline| deadline.at <= rig.now.mono) {
        rig.feed(Input::Timeout);
        rig.answer_all();
        left.push(rig.node.view().teranode().origins().len().1);
    }
    assert_eq!(&left[..7], [84, 68, 52, 36, 20, 4, 0]);
    let next = rig.node.poll_timeout().map(|deadline| deadline.timer);
    assert_ne!(next, Some(Timer::Sweep), "it is not due again");
}

#[test]
fn publications_and_records_that_end_after_the_stop_are_counted() {
    let mut rig = started(|_| {});
    let done = rig.gossip(peer(1), TopicKind::Subtree, &subtree(&peer(1).to_base58(), &hash_text(1)));
    let produce = done.produce_ops()[0];
    rig.subscribe(peer(1), "teranode/bitcoin/1.0.0/regtest-node_status");
    rig.signs = false;
    let done = rig.run_ms(10_000);
    let sign = done.0.iter().find_map(|action| {
        let Action::Gossipsub(stream::Action::Sign { op, .. }) = action else { return None };
        Some(*op)
    });
    rig.feed(Input::Stop);
    let sent = rig.feed(Input::Op(sign.expect("a status"), OpResult::Signed(Ok(vec![5; 64].into()))));
    assert!(matches!(sent.0[..], [Action::Gossipsub(stream::Action::Send { .. })]), "{:?}", sent.0);
    let done = rig.feed(Input::Op(produce, OpResult::Produced(Ok(()))));
    assert!(done.0.is_empty(), "nothing is begun any more");
    let counters = rig.node.view().counters();
    assert_eq!((counters.publish_sent, counters.produce_acked), (1, 1));
    assert_eq!(counters.ops_unknown, 0);
}
