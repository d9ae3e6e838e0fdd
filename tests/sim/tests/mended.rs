//! Faults of the core that the simulator found, each with the shortest list of steps that showed it.

use peerage_core::record::{Frame, Reader};
use peerage_core::state::Alter as _;
use peerage_core::{Action, Core as _, Node, conn};
use peerage_sim::generator::script;
use peerage_sim::oracles::{self, Oracle, Seen};
use peerage_sim::run::{Outcome, run};
use peerage_sim::step::{Script, Step};
use peerage_sim::world::{Fault, Options, World};

fn play(script: &str) {
    let script = Script::parse(script).unwrap_or_else(|error| panic!("{error}"));
    let mut world = World::new(script.options, oracles::all());
    script.steps.iter().for_each(|step| world.apply(*step));
    world.run_ms(5000);
    world.assert_clean();
}

/// Seed 409. The topics of the older family were answered `Accept` without a look at the ban list.
#[test]
fn a_banned_author_is_not_accepted_on_the_topics_of_the_older_family() {
    play(
        "peerage steps 1
seed 409 nodes 4 puppets 4 latency_ms 80 faults 19094
puppet 0 2 0 0
puppet 0 3 0 0
advance 121
puppet 0 3 10 0
puppet 0 3 10 0
puppet 0 3 9 0
puppet 0 3 10 0
puppet 0 3 9 0
puppet 0 2 18 75881
",
    );
}

/// A connected peer owns its own entry and those of the strangers that it relays. Its own is the oldest of them, and was
/// the first to go when the registry was full.
#[test]
fn a_connected_peer_is_not_pushed_out_of_the_registry_by_strangers_that_it_relays() {
    let options = Options::calm(4, 2).with(Fault::Puppet).with(Fault::Crowded);
    let mut world = World::new(options, oracles::all());
    world.run_ms(15_000);
    for salt in 0..40 {
        // Statuses and subtrees of invented authors.
        world.apply(Step::Puppet { puppet: 0, node: 0, kind: 3 + 4 * (salt % 2), salt });
        world.run_ms(300);
    }
    world.assert_clean();
}

/// Nobody who is connected is dialled; and our own dials keep to the limit on connections, too.
struct Dials;

impl Oracle for Dials {
    fn name(&self) -> &'static str {
        "dials"
    }

    fn after(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        let table = seen.core.view().conns().table();
        let max = seen.core.config().limits.connections_max as usize;
        if table.connection_count() > max {
            return Err(format!("{} connections, limit {max}", table.connection_count()));
        }
        let is_connected = |action: &&Action| {
            let Action::Conn(conn::Action::Dial { peer: Some(peer), .. }) = action else { return false };
            table.is_connected(peer)
        };
        match seen.actions.iter().find(is_connected) {
            Some(dial) => Err(format!("a dial of a connected peer: {dial:?}")),
            None => Ok(()),
        }
    }
}

/// Seed 306. A peer connects while its dial is under way; the dial fails and was tried again.
#[test]
fn a_failed_dial_is_not_tried_again_when_the_peer_is_connected() {
    let options = Options { seed: 306, nodes: 4, puppets: 4, latency_ms: 2000, faults: 3525 };
    let mut world = World::new(options, vec![Box::new(Dials)]);
    world.apply(Step::Puppet { puppet: 1, node: 2, kind: 0, salt: 0 });
    world.apply(Step::Found { node: 2, other: 5, kind: 2 });
    world.run_ms(20_000);
    world.assert_clean();
}

/// The limit on connections held for inbound ones alone.
#[test]
fn own_dials_keep_to_the_limit_on_connections() {
    let options = Options::calm(3, 8).with(Fault::Tight);
    let mut world = World::new(options, vec![Box::new(Dials)]);
    for _ in 0..20 {
        (0..8).for_each(|other| world.apply(Step::Found { node: 7, other, kind: 0 }));
        world.run_ms(3000);
    }
    world.assert_clean();
}

/// Without a DHT, whom neighbours were asked for was remembered until it connects, which it may never do; with 1,024
/// remembered nobody else was asked for.
#[test]
fn authors_that_were_asked_for_are_forgotten() {
    let options = Options::calm(4, 2).with(Fault::Puppet).with(Fault::NoDht);
    let mut world = World::recorded(options, oracles::all());
    for salt in 0..40 {
        world.apply(Step::Puppet { puppet: 0, node: 0, kind: 3 + 4 * (salt % 2), salt });
        world.run_ms(1000);
    }
    world.puppet_leave(0);
    world.apply(Step::Crash { node: 1 });
    world.run_ms(26 * 3600 * 1000);
    world.finish();
    world.assert_clean();
    let mut recordings = world.recordings().iter();
    let (_, file) = recordings.find(|(name, _)| name.starts_with("node-0")).unwrap_or_else(|| panic!("none"));
    let mut leaves = Vec::new();
    replayed(file).state_mut().leaves("", &mut leaves);
    assert!(leaves.contains(&".conns.discovery.asked?".into()), "somebody is still remembered");
}

fn replayed(file: &[u8]) -> Node {
    let (header, mut reader) = Reader::open(file).unwrap_or_else(|error| panic!("{error}"));
    let node = Node::new(header.config, header.seed, header.start);
    let mut node = node.unwrap_or_else(|error| panic!("{error}"));
    while let Ok(Some(frame)) = reader.next_frame() {
        if let Frame::Input(now, input) = frame {
            node.handle(now, input, &mut Vec::new());
        }
    }
    node
}

/// A puppet spoke of meshes on one connection and knew none on another, to which our stream moved: it stayed in the mesh.
#[test]
fn who_knows_no_mesh_on_another_connection_is_in_none() {
    for seed in 0..100 {
        let mut world = World::new(Options { latency_ms: 2000, ..Options::calm(seed, 1) }, oracles::all());
        // Two dials at once: two connections, on each of which the seed chooses what is spoken.
        world.puppet(0, 0, 0, 0);
        world.puppet(0, 0, 0, 0);
        world.run_ms(20_000);
        world.apply(Step::Reset { link: 0 });
        world.run_ms(20_000);
        world.assert_clean();
    }
}

/// A node to which a puppet has just named messages that nobody has.
fn promised() -> World {
    let mut world = World::new(Options::calm(5, 1), oracles::all());
    world.puppet(0, 0, 0, 0);
    world.run_ms(5000);
    let ihave = 25;
    world.puppet(0, 0, ihave, 0);
    world.run_ms(300);
    assert!(
        !world.core(0).is_none_or(|core| core.view().router().promises().is_empty()),
        "it promised nothing"
    );
    world
}

/// Nothing is expected of those who left.
#[test]
fn promises_of_those_who_left_are_gone() {
    let mut world = promised();
    world.puppet_leave(0);
    world.run_ms(1000);
    world.assert_clean();
}

/// A promise that is not kept is held against whoever gave it, and is over.
#[test]
fn promises_that_are_not_kept_end() {
    let mut world = promised();
    world.run_ms(10_000);
    world.assert_clean();
    let broken = world.core(0).map(|core| core.view().router().tally().promises_broken);
    assert_eq!(broken, Some(1));
}

/// A handshake that a partition cut was forgotten, and its dial never answered: two of them, and a node stayed alone.
#[test]
fn a_dial_that_a_partition_cut_is_answered() {
    let script = "peerage steps 1
seed 20427 nodes 4 puppets 4 latency_ms 400 faults 2
advance 284
partition 2228203119746336844
advance 408
";
    let script = Script::parse(script).unwrap_or_else(|error| panic!("{error}"));
    let outcome = run(&script);
    assert_eq!(outcome.failure(), None, "{outcome:?}");
}

/// Seeds 9158, 9185, 9193 and 9214. When our stream moved to another connection of its peer, the peer was in our mesh no
/// more, and never learnt of it: it had not lost a stream of its own.
#[test]
fn meshes_agree_after_a_stream_moved_to_another_connection() {
    for seed in [9158, 9185, 9193, 9214] {
        let outcome = run(&script(seed, 9, 100));
        assert!(matches!(outcome, Outcome::Clean { .. }), "seed {seed}: {outcome:?}");
    }
}
