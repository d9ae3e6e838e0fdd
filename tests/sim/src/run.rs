//! Running a script to its end.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::oracles;
use crate::step::Script;
use crate::world::{Violation, World};

/// Virtual milliseconds given to a world to come to rest after its last step.
const REST_MS: u64 = 60_000;

/// How a run ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// No oracle objected.
    Clean {
        /// Over everything that happened.
        hash: [u8; 32],
        /// Inputs of all nodes.
        inputs: u64,
    },
    /// An oracle objected.
    Violated(Violation),
    /// A core panicked: an assertion of its own.
    Panicked(String),
}

impl Outcome {
    /// What failed, without time and place: two runs with the same fail in the same way.
    pub fn failure(&self) -> Option<&str> {
        match self {
            Self::Clean { .. } => None,
            Self::Violated(violation) => Some(violation.oracle),
            Self::Panicked(_) => Some("panic"),
        }
    }
}

/// Runs `script`, then heals everything and looks whether the world comes to rest, and its meshes to agreement.
pub fn run(script: &Script) -> Outcome {
    caught(|| {
        let mut world = World::new(script.options.clone(), oracles::all());
        play(&mut world, script);
        world
    })
    .0
}

/// The same, with every life recorded and replayed. Returns the recordings, each with a name.
pub fn run_recorded(script: &Script) -> (Outcome, Vec<(String, Vec<u8>)>) {
    let (outcome, world) = caught(|| {
        let mut world = World::recorded(script.options.clone(), oracles::all());
        play(&mut world, script);
        world.finish();
        world
    });
    (outcome, world.map_or_else(Vec::new, |world| world.recordings().to_vec()))
}

fn play(world: &mut World, script: &Script) {
    script.steps.iter().for_each(|step| world.apply(*step));
    world.quiesce(REST_MS);
    world.check_rest();
    world.check_agreement();
}

fn caught(play: impl FnOnce() -> World) -> (Outcome, Option<World>) {
    match catch_unwind(AssertUnwindSafe(play)) {
        Ok(world) => {
            let outcome = match world.violation() {
                Some(violation) => Outcome::Violated(violation.clone()),
                None => Outcome::Clean { hash: world.hash(), inputs: world.inputs() },
            };
            (outcome, Some(world))
        }
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| String::from(*text)));
            (Outcome::Panicked(text.unwrap_or_default()), None)
        }
    }
}
