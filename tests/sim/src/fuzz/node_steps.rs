//! Structured steps: the fuzzer's bytes are decisions, not packets. Oracles are on.

use arbitrary::Unstructured;

use crate::entropy::Entropy as _;
use crate::generator::Generator;
use crate::oracles;
use crate::world::{Options, World};

/// Steps of one case, at most.
const STEPS_MAX: u32 = 400;
/// Virtual time of one case, at most, in microseconds.
const TIME_MAX_US: u64 = 300_000_000;

/// One case.
///
/// # Panics
/// When an oracle objects.
pub fn run(bytes: &[u8]) {
    let mut entropy = Unstructured::new(bytes);
    let seed = u64::from(entropy.below(1 << 16).unwrap_or(0));
    let nodes = 1 + entropy.below(3).unwrap_or(0);
    let options = Options::draw(&mut entropy, seed, nodes);
    let mut world = World::new(options.clone(), oracles::all());
    let mut generator = Generator::new(&options, entropy);
    for _ in 0..STEPS_MAX {
        let Some(step) = generator.step().filter(|_| world.now() < TIME_MAX_US) else { break };
        world.apply(step);
        world.assert_clean();
    }
    world.quiesce(5000);
    world.assert_clean();
}
