//! One seed, one hash: in one process, in two, and not with another input.

#![allow(clippy::unwrap_used)]

use std::process::Command;

use peerage_core::record::replay;
use peerage_sim::generator::script;
use peerage_sim::run::{Outcome, run, run_recorded};
use peerage_sim::scenario;
use peerage_sim::step::Step;

fn hash_of(outcome: &Outcome) -> [u8; 32] {
    match outcome {
        Outcome::Clean { hash, .. } => *hash,
        other @ (Outcome::Violated(_) | Outcome::Panicked(_)) => panic!("{other:?}"),
    }
}

/// What the `sim` binary prints in a process of its own, but for its speed.
fn printed(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_sim")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.split(" (").next().unwrap().trim().to_string()
}

#[test]
fn a_seed_has_one_hash_in_one_process_and_in_two() {
    let arguments = ["run", "--seed", "11", "--nodes", "4", "--secs", "60"];
    let (first, second) = (printed(&arguments), printed(&arguments));
    assert_eq!(first, second);
    let script = script(11, 4, 60);
    let hash = hash_of(&run(&script));
    assert_eq!(hash, hash_of(&run(&script)));
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(first, format!("seed 11: clean {hex}"));
}

#[test]
fn one_input_more_gives_another_hash() {
    let mut script = script(11, 4, 60);
    let hash = hash_of(&run(&script));
    // Nobody is dead yet.
    script.steps.insert(1, Step::Spurious { node: 2 });
    assert_ne!(hash, hash_of(&run(&script)));
}

#[test]
fn recording_changes_nothing_and_every_recording_replays() {
    let script = script(12, 3, 120);
    let (outcome, recordings) = run_recorded(&script);
    assert_eq!(hash_of(&outcome), hash_of(&run(&script)));
    assert!(recordings.len() >= 3);
    for (name, file) in recordings {
        let replayed = replay(&file, |_, _, _| {}).unwrap();
        assert!(replayed.is_complete && replayed.inputs > 0, "{name}");
    }
}

#[test]
fn the_fixed_scenario_has_one_hash_a_seed_and_another_with_one_input_altered() {
    let hash = scenario::run(7, false);
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(printed(&["scenario", "--seed", "7"]), hex);
    assert_ne!(hash, scenario::run(7, true));
    assert_ne!(hash, scenario::run(8, false));
}
