//! The router in worlds of many nodes: what spreads, how often, and after which trouble.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use peerage_core::Config;
use peerage_sim::oracles::{self, Oracle};
use peerage_sim::speed::{STATUS_EVERY, Spread, are_meshed, counts, only_meshes, only_subtrees};
use peerage_sim::step::Step;
use peerage_sim::watch::{Published, Watch};
use peerage_sim::world::{KINDS, Options, World};

/// Statuses that are rarer than usual: there are other messages to look at.
fn rarely(_: usize, config: &mut Config) {
    config.teranode.status_interval = STATUS_EVERY;
}

fn calm(seed: u64, nodes: u32) -> Options {
    Options { puppets: 0, ..Options::calm(seed, nodes) }
}

/// A world with the oracles `oracles`, and one that remembers.
fn watched(options: Options, mut oracles: Vec<Box<dyn Oracle>>) -> (World, Watch) {
    let watch = Watch::default();
    oracles.push(Box::new(watch.clone()));
    (World::configured(options, oracles, &rarely), watch)
}

/// `count` announcements by nodes all over the world, `every_ms`.
fn announce(world: &mut World, from: u64, count: u64, every_ms: u64) {
    for salt in from..from + count {
        world.apply(Step::Subtree { node: salt.wrapping_mul(7919), salt });
        world.run_ms(every_ms);
    }
}

/// How many had a message within `ms`, and how many should have, of `nodes`.
fn reached(messages: &[Published], nodes: usize, ms: u64) -> (usize, usize) {
    let in_time =
        |message: &Published| message.delivered.values().filter(|at| **at <= message.at + ms * 1000).count();
    (messages.iter().map(in_time).sum(), messages.len() * (nodes - 1))
}

fn subtrees(watch: &Watch, since: u64, until: u64) -> Vec<Published> {
    watch.log().of("-subtree", since, until).cloned().collect()
}

/// Every message reaches every subscriber, and duplicates are as many as the protocol's published analysis says. For more
/// nodes `sim speed` looks at the same.
fn everything_reaches_everybody(nodes: u32, mut oracles: Vec<Box<dyn Oracle>>, count: u64) {
    let watch = Watch::default();
    oracles.push(Box::new(watch.clone()));
    let mut world = World::configured(calm(3, nodes), oracles, &only_meshes);
    only_subtrees(&mut world);
    let are_meshed = world.run_until(180_000, are_meshed);
    world.assert_clean();
    assert!(are_meshed, "some find nobody");
    world.run_ms(5_000);
    let (since, before) = (world.now(), counts(&world));
    announce(&mut world, 0, count, 200);
    let until = world.now();
    world.run_ms(2_000);
    world.assert_clean();
    let messages = subtrees(&watch, since, until);
    assert_eq!(messages.len() as u64, count);
    let (reached, wanted) = reached(&messages, nodes as usize, 2_000);
    assert_eq!(reached, wanted, "of {nodes} nodes");
    let after = counts(&world);
    let mesh = after.members as f64 / after.meshes as f64;
    assert!((5.0..=12.0).contains(&mesh), "{mesh} members of a mesh");
    let spread = Spread::between(&before, &after, nodes);
    println!("{nodes} nodes: {spread}");
    assert!(spread.is_as_analysed(), "{spread}");
}

#[test]
fn every_message_reaches_each_of_twelve_nodes() {
    everything_reaches_everybody(12, oracles::all(), 50);
}

#[test]
fn every_message_reaches_each_of_two_hundred_nodes() {
    everything_reaches_everybody(200, vec![Box::new(oracles::Meshes::default())], 10);
}

#[test]
fn the_watchdog_sleeps_through_a_quiet_night() {
    let mut oracles: Vec<Box<dyn Oracle>> = Vec::new();
    let watch = Watch::default();
    oracles.push(Box::new(watch.clone()));
    let mut world = World::configured(calm(5, 5), oracles, &|_, _| {});
    world.run_ms(3600 * 1000);
    let log = watch.log();
    assert!(log.messages.len() > 1000, "{} statuses", log.messages.len());
    assert_eq!(log.barks, 0, "somebody was closed because nothing happened");
}

#[test]
fn messages_cross_soon_after_a_partition_is_healed() {
    let (mut world, watch) = watched(calm(7, 12), oracles::all());
    world.run_ms(30_000);
    let since = world.now();
    world.partition((1 << 6) - 1);
    announce(&mut world, 0, 20, 500);
    world.run_ms(20_000);
    let apart = subtrees(&watch, since, world.now());
    let sides = |message: &Published| message.delivered.keys().all(|node| (*node < 6) == (message.by < 6));
    assert!(apart.iter().all(sides), "the partition leaks");
    world.partition(0);
    let connected = |world: &World| {
        let peers = |node| world.core(node).map_or(0, |core| core.view().conns().table().peer_count());
        (0..12).all(|node| peers(node) >= 8)
    };
    assert!(world.run_until(120_000, connected), "they do not find each other again");
    world.run_ms(10_000);
    let since = world.now();
    announce(&mut world, 100, 20, 200);
    let until = world.now();
    world.run_ms(2_000);
    let messages = subtrees(&watch, since, until);
    let (reached, wanted) = reached(&messages, 12, 2_000);
    assert_eq!((reached, messages.len()), (wanted, 20));
    world.assert_clean();
}

#[test]
fn a_cold_boot_of_a_whole_world_carries_messages_within_half_a_minute() {
    let (mut world, watch) = watched(calm(9, 12), oracles::all());
    for node in 0..12 {
        world.apply(Step::Crash { node });
        world.apply(Step::Spurious { node });
    }
    assert!((0..12).all(|node| world.core(node).is_none()), "all are dead");
    (0..12).for_each(|node| world.apply(Step::Restart { node }));
    world.run_ms(30_000);
    let since = world.now();
    announce(&mut world, 0, 20, 200);
    let until = world.now();
    world.run_ms(2_000);
    let (reached, wanted) = reached(&subtrees(&watch, since, until), 12, 2_000);
    assert_eq!(reached, wanted);
    world.assert_clean();
}

#[test]
fn messages_reach_those_who_stay_while_others_come_and_go() {
    let (mut world, watch) = watched(calm(11, 16), oracles::all());
    world.run_ms(30_000);
    let since = world.now();
    for round in 0..30 {
        // The last four come and go; the first twelve stay, and speak.
        let node = 12 + round % 4;
        world.apply(if round % 8 < 4 { Step::Crash { node } } else { Step::Restart { node } });
        world.apply(Step::Subtree { node: round % 12, salt: round });
        world.run_ms(1_000);
    }
    let until = world.now();
    world.run_ms(5_000);
    let messages = subtrees(&watch, since, until);
    assert_eq!(messages.len(), 30);
    for message in messages {
        let missing = (0..12).find(|node| *node != message.by && !message.delivered.contains_key(node));
        assert_eq!(missing, None, "of {message:?}");
    }
    world.assert_clean();
}

#[test]
fn a_stream_that_ends_is_made_good_for_within_seconds() {
    let options = calm(13, 8).with(peerage_sim::world::Fault::Stream);
    let (mut world, watch) = watched(options, oracles::all());
    world.run_ms(30_000);
    let since = world.now();
    for salt in 0..40 {
        world.apply(Step::EndStream { link: salt * 31 });
        world.apply(Step::Subtree { node: salt, salt });
        world.run_ms(500);
    }
    let until = world.now();
    world.run_ms(Duration::from_secs(8).as_millis() as u64);
    let messages = subtrees(&watch, since, until);
    let (reached, wanted) = reached(&messages, 8, 8_000);
    assert_eq!((reached, messages.len()), (wanted, 40));
    let ended: u64 = (0..8).map(|node| world.core(node).unwrap().view().router().tally().streams_ended).sum();
    assert!(ended >= 20, "{ended} streams ended");
    world.assert_clean();
}

#[test]
fn of_two_neighbours_each_has_the_other_in_its_mesh_or_neither() {
    let (mut world, _) = watched(calm(19, 20), oracles::all());
    world.run_ms(30_000);
    for node in 0..5 {
        world.apply(Step::Crash { node });
        world.run_ms(5_000);
        world.apply(Step::Restart { node });
        world.run_ms(5_000);
    }
    world.check_agreement();
    world.assert_clean();
}

/// What nodes counted of what puppets did, by name.
fn mischief(world: &World) -> Vec<(&'static str, u64)> {
    let mut all = Vec::new();
    for node in 0..world.options().nodes as usize {
        let router = world.core(node).unwrap().view().router();
        let (tally, outcomes) = (router.tally(), router.seen().outcomes());
        let of_node = [
            ("broken frames", tally.frames_malformed),
            ("endless frames", tally.frames_too_long),
            ("unsigned messages", tally.messages_breach),
            ("forged messages", outcomes.failed),
            ("copies", outcomes.duplicates),
            ("grafts refused", tally.grafts_refused),
            ("prunes", tally.prunes_in),
            ("broken promises", tally.promises_broken),
            ("messages given", tally.iwant_given),
            ("messages not given", tally.iwant_not_given),
            ("messages declined", tally.idontwant_in),
            ("topics too many", router.peers().dropped().topics),
            ("late extensions", tally.extensions_late),
        ];
        all.extend(of_node);
    }
    all
}

#[test]
fn whatever_puppets_do_against_the_protocol_comes_in_and_harms_nobody() {
    let (mut world, watch) = watched(Options::calm(17, 6), oracles::all());
    world.run_ms(20_000);
    let since = world.now();
    for round in 0..60 {
        world.apply(Step::Subtree { node: round, salt: round });
        let (puppet, node) = (round, round / 2);
        // It connects first.
        world.apply(Step::Puppet { puppet, node, kind: 0, salt: round });
        world.run_ms(500);
        (20..KINDS).for_each(|kind| world.apply(Step::Puppet { puppet, node, kind, salt: round }));
        if round % 10 == 9 {
            // They leave with promises that they did not keep.
            (0..4).for_each(|puppet| world.puppet_leave(puppet));
        }
        world.run_ms(500);
        world.assert_clean();
    }
    let until = world.now();
    world.run_ms(10_000);
    world.assert_clean();
    let counted = mischief(&world);
    for (name, _) in &counted {
        let total: u64 = counted.iter().filter(|(other, _)| other == name).map(|(_, count)| count).sum();
        assert!(total > 0, "no {name}");
    }
    let messages = subtrees(&watch, since, until);
    let (reached, wanted) = reached(&messages, 6, 10_000);
    assert_eq!((reached, messages.len()), (wanted, 60));
}
