//! What nodes hold over half a day: the ledger's sum is flat once all is warm.

#![allow(clippy::unwrap_used)]

use peerage_core::memory::Part;
use peerage_sim::oracles;
use peerage_sim::step::Step;
use peerage_sim::world::{Options, World};

const NODES: u32 = 4;
const HOUR_MS: u64 = 3_600_000;
/// Between two announcements of each kind.
const EVERY_MS: u64 = 60_000;

/// The most that a node holds during the hour, looked at each minute.
fn hour(world: &mut World, salt: &mut u64) -> u64 {
    let mut most = 0;
    for minute in 0..HOUR_MS / EVERY_MS {
        *salt += 1;
        let node = minute % u64::from(NODES);
        world.apply(Step::Subtree { node, salt: *salt });
        if minute % 10 == 0 {
            world.mine(usize::try_from(node).unwrap());
        }
        world.run_ms(EVERY_MS);
        let ledger = |node| world.core(node).unwrap().view().ledger();
        let all = (0..NODES as usize).map(ledger);
        most = all.map(|ledger| ledger.total()).fold(most, u64::max);
    }
    most
}

#[test]
fn half_a_day_of_announcements_leaves_memory_flat_after_the_first_hours() {
    let mut world = World::new(Options::calm(11, NODES), oracles::all());
    let mut salt = 0;
    let hours: Vec<u64> = (0..12).map(|_| hour(&mut world, &mut salt)).collect();
    let warm = hours[2..6].iter().copied().max().unwrap();
    let late = hours[8..].iter().copied().max().unwrap();
    assert!(late <= warm + warm / 50, "{hours:?}");
    let ledger = world.core(0).unwrap().view().ledger();
    assert!(ledger.of(Part::Connections) > 0 && ledger.of(Part::Known) > 0, "{ledger:?}");
    world.assert_clean();
}
