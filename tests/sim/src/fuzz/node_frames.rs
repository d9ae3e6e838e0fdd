//! Frames of the fuzzer's own on the streams of a node, oracles on.

use crate::oracles;
use crate::step::Step;
use crate::world::{KINDS, Options, World};

/// Things done in one case, at most.
const DONE_MAX: usize = 400;

/// One case: a world's seed, and then what two puppets do. Most of it is frames, each after its length.
///
/// # Panics
/// When an oracle objects.
pub fn run(bytes: &[u8]) {
    let Some((seed, mut bytes)) = bytes.split_first() else { return };
    let mut world = World::new(Options { puppets: 2, ..Options::calm(u64::from(*seed), 1) }, oracles::all());
    for puppet in 0..2 {
        world.puppet(puppet, 0, 0, 0);
    }
    world.run_ms(2000);
    for _ in 0..DONE_MAX {
        let [choice, number, rest @ ..] = bytes else { break };
        let (puppet, number) = (usize::from(*choice) / 8 % 2, u64::from(*number));
        bytes = rest;
        match choice % 8 {
            0 => world.run_ms(number * 20),
            1 => world.puppet(puppet, 0, number % KINDS, number),
            2 => world.apply(Step::Subtree { node: 0, salt: number }),
            3 => world.apply(Step::Reset { link: number }),
            _ => {
                let (frame, rest) = bytes.split_at((number as usize).min(bytes.len()));
                world.puppet_frame(puppet, 0, frame);
                bytes = rest;
            }
        }
        world.run_ms(1);
        world.assert_clean();
    }
    world.quiesce(5000);
    world.assert_clean();
}
