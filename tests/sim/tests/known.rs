//! Faults of the core that the simulator found, each with the shortest list of steps that shows it. A test here goes red
//! when its fault is mended: then it belongs among the scenarios, turned round.

use peerage_sim::oracles;
use peerage_sim::step::{Script, Step};
use peerage_sim::world::{Fault, Options, World};

fn play(script: &str) {
    let script = Script::parse(script).unwrap_or_else(|error| panic!("{error}"));
    let mut world = World::new(script.options, oracles::all());
    script.steps.iter().for_each(|step| world.apply(*step));
    world.run_ms(5000);
    world.assert_clean();
}

/// Seed 409. The topics of the older family are answered `Accept` without a look at the ban list.
#[test]
#[should_panic(expected = "a message of a banned author is accepted")]
fn a_banned_author_is_accepted_on_the_topics_of_the_older_family() {
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

/// A connected peer owns its own entry and those of the strangers that it relays. Its own is the oldest of them, and the
/// first to go when the registry is full.
#[test]
#[should_panic(expected = "is connected and was pushed out of the registry")]
fn a_connected_peer_is_pushed_out_of_the_registry_by_strangers_that_it_relays() {
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
