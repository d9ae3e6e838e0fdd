//! The memory contract: what is held is counted, and what is too much gives way in the written order.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "helpers of tests")]

mod rig;

use peerage_core::conn::outbox::Class;
use peerage_core::conn::{
    self, Action as ConnAction, CloseReason, ConnectionId, DisconnectReason, PendingId,
};
use peerage_core::input::{Action, Input};
use peerage_core::memory::{CONNECTION_BYTES, Part, Shed};
use peerage_core::proto::envelope;
use peerage_core::proto::network::Network;
use peerage_core::{Config, teranode};
use rig::frames::{AUTHOR, Sent, member, send};
use rig::{Done, Rig, hash_text, peer, subtree, us};

/// Members of the mesh that read nothing.
const MEMBERS: u8 = 8;

fn started(memory_max: u64) -> Rig {
    let teranode = teranode::Config { allow_private_urls: true, ..teranode::Config::new(Network::Regtest) };
    let mut config = Config::new(us(), teranode);
    config.conn.allow_private = true;
    config.limits.memory_max = Some(memory_max);
    config.limits.window_bytes = 1;
    let mut rig = Rig::with(config);
    rig.start();
    rig
}

/// One message of some 24 KiB, each another.
fn deliver(rig: &mut Rig, n: u64) -> Done {
    let mut json = subtree(&peer(AUTHOR).to_base58(), &hash_text(n as u8));
    json.truncate(json.len() - 1);
    json.push_str(&format!(r#","pad":"{}"}}"#, "x".repeat(24 << 10)));
    let mut data = Vec::new();
    envelope::wrap("name", json.as_bytes(), &mut data);
    send(rig, peer(AUTHOR), &Sent { data, seqno: (1000 + n).to_be_bytes(), ..Sent::default() })
}

fn refused(done: &Done) -> Vec<DisconnectReason> {
    let refused = |action: &Action| match action {
        Action::Conn(ConnAction::Refuse { reason, .. }) => Some(*reason),
        _ => None,
    };
    done.0.iter().filter_map(refused).collect()
}

fn closed(done: &Done) -> Vec<(ConnectionId, DisconnectReason)> {
    let close = |action: &Action| match action {
        Action::Conn(ConnAction::Close { id, reason }) => Some((*id, *reason)),
        _ => None,
    };
    done.0.iter().filter_map(close).collect()
}

fn incoming(rig: &mut Rig, n: u64) -> Done {
    let addr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
    rig.feed(Input::Conn(conn::Event::Incoming { pending: PendingId(n), addr }))
}

fn shed(rig: &Rig) -> [u64; Shed::COUNT] {
    Shed::ORDER.map(|what| rig.node.view().counters().shed.of(what))
}

#[test]
fn what_is_held_never_passes_the_contract_and_gives_way_in_the_written_order() {
    let most = u64::from(MEMBERS + 8) * CONNECTION_BYTES;
    let mut rig = started(most);
    (1..=MEMBERS).for_each(|n| member(&mut rig, n));
    member(&mut rig, AUTHOR);
    for n in 0..100 {
        let before = shed(&rig);
        deliver(&mut rig, n);
        let (ledger, after) = (rig.node.view().ledger(), shed(&rig));
        assert!(ledger.total() <= most, "{ledger:?}");
        assert_eq!(rig.node.check_invariants(), Ok(()));
        let [_, bulk, forwards, newcomers, connections] = [0, 1, 2, 3, 4].map(|at| after[at] - before[at]);
        assert_eq!((newcomers, connections), (0, 0), "no more than that had to go");
        assert!(bulk + forwards == 0 || ledger.of(Part::Cache) == 0, "{n}: {ledger:?} {after:?}");
        assert!(forwards == 0 || ledger.of(Part::Bulk) == 0, "{n}: {ledger:?} {after:?}");
    }
    let [cache, _, forwards, ..] = shed(&rig);
    assert!(cache > 0 && forwards > 0, "{:?}", shed(&rig));
    let outcomes = *rig.node.view().conns().outboxes().outcomes(Class::Normal);
    assert_eq!(outcomes.shed, rig.node.view().counters().shed.of(Shed::Forwards));
    let held = outcomes.waiting_bytes;
    (1..=MEMBERS).for_each(|n| {
        rig.feed(Input::Conn(conn::Event::Closed {
            id: ConnectionId(n.into()),
            reason: CloseReason::Remote,
        }));
    });
    let ledger = rig.node.view().ledger();
    assert!(held > 0 && ledger.of(Part::Forwards) == 0, "what a peer held comes back with it");
    assert_eq!(ledger.of(Part::Connections), CONNECTION_BYTES);
}

#[test]
fn newcomers_are_refused_before_anybody_is_closed_and_let_in_when_there_is_room() {
    let mut rig = started(3 * CONNECTION_BYTES);
    member(&mut rig, 1);
    member(&mut rig, 2);
    assert_eq!(refused(&incoming(&mut rig, 90)), [DisconnectReason::Memory]);
    assert_eq!(shed(&rig), [0, 0, 0, 1, 0]);
    rig.feed(Input::Conn(conn::Event::IncomingEnded { pending: PendingId(90) }));
    rig.feed(Input::Conn(conn::Event::Closed { id: ConnectionId(2), reason: CloseReason::Remote }));
    assert!(refused(&incoming(&mut rig, 91)).is_empty(), "there is room again");
}

#[test]
fn where_nothing_else_is_left_the_least_valued_are_closed_and_the_mesh_is_not() {
    let mut rig = started(4 * CONNECTION_BYTES);
    member(&mut rig, 1);
    for n in 2..=5 {
        let done = rig.connect(n.into(), peer(n));
        let others: Vec<_> = closed(&done);
        assert_eq!(others.is_empty(), n < 4, "{n}: {others:?}");
        assert!(others.iter().all(|close| *close != (ConnectionId(1), DisconnectReason::Memory)));
        for (id, reason) in others {
            assert_eq!(reason, DisconnectReason::Memory);
            rig.feed(Input::Conn(conn::Event::Closed { id, reason: CloseReason::Local }));
        }
        assert!(rig.node.view().ledger().total() <= 4 * CONNECTION_BYTES);
    }
    assert!(rig.node.view().conns().table().is_connected(&peer(1)));
    assert_eq!(rig.node.view().counters().shed.of(Shed::Connections), 2);
}
