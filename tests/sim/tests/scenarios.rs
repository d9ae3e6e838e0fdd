//! Scripted worlds: latency, partition, restart.

#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::rc::Rc;

use peerage_core::record::{Frame, Reader};
use peerage_core::state::Alter as _;
use peerage_core::{Core as _, Node};
use peerage_proto::peer_id::PeerId;
use peerage_sim::generator::script;
use peerage_sim::oracles::{self, Delivered, Oracle, Seen};
use peerage_sim::run::{Outcome, run};
use peerage_sim::step::Step;
use peerage_sim::world::{Fault, Options, World, hash_of, peer_of};

/// Both halves of `nodes` nodes apart; puppets are in neither.
fn halves(nodes: u32) -> u64 {
    (1 << (nodes / 2)) - 1
}

/// A block announced on one side of a partition: known there, unknown beyond, and known to all after healing.
fn a_block_crosses_after_healing(nodes: u32, latency_ms: u32) {
    let mut world = World::new(Options { latency_ms, ..Options::calm(5, nodes) }, oracles::all());
    let all = 0..nodes as usize;
    let left = 0..nodes as usize / 2;
    let mut right = left.end..nodes as usize;
    let connected = |world: &World| {
        let peers = |node| world.core(node).map_or(0, |core| core.view().conns().table().peer_count());
        all.clone().all(|node| peers(node) > 0)
    };
    assert!(world.run_until(60_000, connected), "somebody stays alone");
    world.run_ms(30_000);
    world.partition(halves(nodes));
    world.run_ms(20_000);
    let block = world.mine(0);
    let on_the_left = |world: &World| left.clone().all(|node| world.knows(node, &block));
    assert!(world.run_until(20_000, on_the_left), "not all of its own side know the block");
    assert!(right.all(|node| !world.knows(node, &block)), "the partition leaks");
    world.apply(Step::Crash { node: u64::from(nodes) - 1 });
    world.run_ms(5000);
    world.apply(Step::Heal {});
    world.apply(Step::Restart { node: u64::from(nodes) - 1 });
    let everywhere = |world: &World| all.clone().all(|node| world.knows(node, &block));
    assert!(world.run_until(120_000, everywhere), "not all know the block after healing");
    let next = world.mine(0);
    let announced = |world: &World| all.clone().all(|node| world.knows(node, &next));
    assert!(world.run_until(30_000, announced), "not all know the next block");
    let adopted = |world: &World| all.clone().all(|node| world.height(node) == 2);
    assert!(world.run_until(30_000, adopted), "not all chains took the block over");
    world.assert_clean();
}

#[test]
fn a_block_reaches_three_nodes_across_a_partition_and_a_restart() {
    a_block_crosses_after_healing(3, 400);
}

#[test]
fn a_block_reaches_fifty_nodes_across_a_partition_and_a_restart() {
    a_block_crosses_after_healing(50, 80);
}

#[test]
fn a_subtree_reaches_fifty_nodes_because_others_forward_it() {
    let mut world = World::new(Options::calm(9, 50), oracles::all());
    world.run_ms(40_000);
    world.apply(Step::Subtree { node: 17, salt: 1 });
    let subtree = hash_of("subtree", 1);
    let origin = |world: &World, node| {
        world.core(node).and_then(|core| core.view().teranode().origins().subtree_origin(&subtree))
    };
    let all = |world: &World| {
        (0..50).filter(|node| *node != 17).all(|node| origin(world, node) == Some(world.peer(17)))
    };
    assert!(world.run_until(20_000, all), "somebody has not heard of the subtree");
    let neighbours = world.core(17).unwrap().view().conns().table().peer_count();
    assert!(neighbours < 40, "{neighbours} neighbours: nothing had to be forwarded");
    world.assert_clean();
}

#[test]
fn a_restarted_node_finds_its_peers_again_by_its_address_cache() {
    let mut world = World::new(Options::calm(6, 3), oracles::all());
    world.run_ms(20_000);
    world.apply(Step::Crash { node: 2 });
    world.run_ms(20_000);
    assert!(world.core(2).is_none(), "a crash takes the process away");
    world.apply(Step::Restart { node: 2 });
    let back =
        |world: &World| world.core(2).is_some_and(|core| core.view().conns().table().peer_count() == 2);
    assert!(world.run_until(40_000, back));
    world.assert_clean();
}

#[test]
fn a_client_of_the_feed_sees_blocks_and_a_slow_one_is_closed() {
    let mut world = World::new(Options::calm(7, 2), oracles::all());
    world.join_feed(0);
    world.join_feed(0);
    world.run_ms(15_000);
    world.apply(Step::FeedLag { node: 0, client: 0 });
    let block = world.mine(1);
    assert!(world.run_until(10_000, |world| world.knows(0, &block)));
    let counters = world.core(0).unwrap().view().counters().clone();
    assert_eq!(counters.feed_evicted, 1);
    assert!(counters.feed_frames > 3, "{}", counters.feed_frames);
    world.assert_clean();
}

/// Whether `reader` has had a message from `sender` itself.
struct Hears {
    reader: usize,
    sender: PeerId,
    heard: Rc<Cell<bool>>,
}

impl Oracle for Hears {
    fn name(&self) -> &'static str {
        "hears"
    }

    fn after(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        let is_sender = |delivered: &Delivered| delivered.propagation_source == self.sender;
        if seen.node == self.reader && seen.delivered.iter().any(is_sender) {
            self.heard.set(true);
        }
        Ok(())
    }
}

#[test]
fn a_choked_member_is_heard_again_within_ten_seconds_while_others_speak() {
    for seed in 0..10 {
        let heard = Rc::new(Cell::new(false));
        // The same seed chokes the same link: the first world tells which.
        let mut first = World::new(Options::calm(seed, 4), oracles::all());
        first.run_ms(20_000);
        let (reader, sender) = first.choke(seed, 700).unwrap();
        let hears = Hears { reader, sender: peer_of(seed, sender), heard: Rc::clone(&heard) };
        let mut oracles = oracles::all();
        oracles.push(Box::new(hears));
        let mut world = World::new(Options::calm(seed, 4), oracles);
        world.run_ms(20_000);
        assert_eq!(world.choke(seed, 700), Some((reader, sender)));
        // What was on its way has arrived.
        world.run_ms(200);
        heard.set(false);
        let third = (0..4).find(|node| ![reader, sender].contains(node)).unwrap() as u64;
        for round in 0..49 {
            world.apply(Step::Subtree { node: third, salt: 2 * round });
            world.apply(Step::Subtree { node: sender as u64, salt: 2 * round + 1 });
            world.run_ms(200);
            assert!(round > 10 || !heard.get(), "seed {seed}: it was never deaf");
        }
        assert!(heard.get(), "seed {seed}: {reader} does not hear {sender} again");
        world.assert_clean();
    }
}

#[test]
fn seeds_of_every_fault_class_are_clean() {
    for seed in 0..40 {
        let nodes = 1 + (seed % 5) as u32;
        let script = script(seed, nodes, 60);
        assert!(
            matches!(run(&script), Outcome::Clean { .. }),
            "sim run --seed {seed} --nodes {nodes} --secs 60"
        );
    }
}

/// Collections that hold something of a peer, by the path of their leaf.
const OF_PEERS: &[&str] = &[
    "conns.table.connections",
    "conns.table.peers",
    "conns.table.pending",
    "conns.table.by_address",
    "conns.table.by_subnet",
    "conns.dialer.targets",
    "conns.dialer.due_kept",
    "conns.dialer.due_found",
    "conns.dialer.by_source",
    "conns.dialer.counts",
    "conns.book.peers.entries",
    "conns.closing",
    "conns.since",
    "interests.peers",
    "watchdog.members",
    "watchdog.in_vain",
    "teranode.bans.scores.entries",
    "teranode.bans.ends",
    "teranode.registry.peers.entries",
    "teranode.origins.blocks.entries",
    "teranode.origins.subtrees.entries",
    "teranode.repeats.seen.entries",
    "teranode.rejected.recent.entries",
];

/// The leaves of the state of a node, as they are at the end of its recording.
fn leaves_at_the_end(file: &[u8]) -> Vec<String> {
    let (header, mut reader) = Reader::open(file).unwrap();
    let mut node = Node::new(header.config, header.seed, header.start).unwrap();
    while let Some(frame) = reader.next_frame().unwrap() {
        if let Frame::Input(now, input) = frame {
            node.handle(now, input, &mut Vec::new());
        }
    }
    let mut leaves = Vec::new();
    node.state_mut().leaves("", &mut leaves);
    leaves
}

#[test]
fn everything_that_belongs_to_peers_is_gone_a_day_after_the_last_of_them() {
    let mut world = World::recorded(Options::calm(8, 1).with(Fault::Puppet), oracles::all());
    for round in 0..40 {
        for kind in 0..16 {
            world.apply(Step::Puppet { puppet: round % 4, node: 0, kind, salt: round * 16 + kind });
        }
        world.run_ms(500);
    }
    let filled = world.core(0).unwrap().view();
    assert!(filled.teranode().registry().len() > 4 && !filled.teranode().bans().is_empty());
    (0..4).for_each(|puppet| world.puppet_leave(puppet));
    world.run_ms(26 * 3600 * 1000);
    let idle = |world: &World| world.core(0).is_some_and(|core| core.view().ops().is_empty());
    assert!(world.run_until(2000, idle), "an operation hangs");
    world.finish();
    world.assert_clean();
    let leaves = leaves_at_the_end(&world.recordings()[0].1);
    for path in OF_PEERS {
        assert!(leaves.contains(&format!(".{path}?")), "{path} is not empty, or not there");
    }
}
