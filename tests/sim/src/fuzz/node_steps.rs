//! Structured steps: the fuzzer's bytes are decisions, not packets. Oracles are on.

use arbitrary::Unstructured;

use crate::entropy::Entropy as _;
use crate::generator::Generator;
use crate::oracles;
use crate::step::{Script, Step};
use crate::world::{Options, World};

/// Steps of one case, at most.
const STEPS_MAX: usize = 400;
/// Virtual time of one case, at most, in milliseconds; its last step may go beyond.
const TIME_MAX_MS: u64 = 300_000;

/// The world and the steps that a case stands for.
pub fn script(bytes: &[u8]) -> Script {
    let mut entropy = Unstructured::new(bytes);
    let seed = u64::from(entropy.below(1 << 16).unwrap_or(0));
    let nodes = 1 + entropy.below(3).unwrap_or(0);
    let options = Options::draw(&mut entropy, seed, nodes);
    let mut generator = Generator::new(&options, entropy);
    let (mut steps, mut time) = (Vec::new(), 0);
    while steps.len() < STEPS_MAX && time < TIME_MAX_MS {
        let Some(step) = generator.step() else { break };
        if let Step::Advance { ms } = step {
            time += ms;
        }
        steps.push(step);
    }
    Script { options, steps }
}

/// One case.
///
/// # Panics
/// When an oracle objects.
pub fn run(bytes: &[u8]) {
    let script = script(bytes);
    let mut world = World::new(script.options, oracles::all());
    for step in script.steps {
        world.apply(step);
        world.assert_clean();
    }
    world.quiesce(5000);
    world.assert_clean();
}
