//! How fast worlds are, and how well messages spread in them.

use std::fmt;
use std::time::{Duration, Instant};

use crate::step::Step;
use crate::world::{Options, World};

/// Virtual time that meshes have to form at most, before anything is measured; and what follows.
const FORMED_WITHIN_MS: u64 = 300_000;
const SETTLED_AFTER_MS: u64 = 5_000;
/// Between two announcements of subtrees, in the whole world.
const ANNOUNCED_EVERY_MS: u64 = 500;
/// Between two statuses of one node: rarer than by default, so that their number does not grow with the square of the
/// world.
pub const STATUS_EVERY: Duration = Duration::from_secs(60);

/// What was measured.
#[derive(Clone, PartialEq, Debug)]
pub struct Speed {
    /// Whether every mesh had as many members as it wants at least, before anything was measured.
    pub is_formed: bool,
    /// Virtual seconds for one real one.
    pub times_real: f64,
    /// Inputs of all nodes in a real second.
    pub inputs_per_s: f64,
    /// Frames sent by all nodes in a virtual second.
    pub frames_per_s: f64,
    /// Messages handed to families, of those that should have been.
    pub delivered: f64,
    /// Copies of each message at each node beyond the first.
    pub duplicates: f64,
    /// Members of a mesh, on average over nodes and topics.
    pub mesh: f64,
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { is_formed, times_real, inputs_per_s, frames_per_s, delivered, duplicates, mesh } = self;
        write!(
            f,
            "{times_real:.1} x real time, {inputs_per_s:.0} inputs/s, {frames_per_s:.0} frames per virtual second; \
             delivered {:.3} %, {duplicates:.2} duplicates, mesh of {mesh:.1}",
            delivered * 100.0
        )?;
        f.write_str(if *is_formed { "" } else { " (not all meshes had formed)" })
    }
}

/// What all nodes counted.
#[derive(Clone, Copy, Default)]
pub struct Counts {
    /// Own messages sent.
    pub published: u64,
    /// Messages handed to families.
    pub delivered: u64,
    /// Copies that came in.
    pub copies: u64,
    /// Sizes of all meshes.
    pub members: u64,
    /// Number of them.
    pub meshes: u64,
}

/// The counts of all nodes together.
pub fn counts(world: &World) -> Counts {
    let mut all = Counts::default();
    for core in (0..world.options().nodes as usize).filter_map(|node| world.core(node)) {
        let router = core.view().router();
        all.published += router.tally().published;
        all.delivered += router.tally().delivered;
        all.copies += router.seen().outcomes().copies;
        for topic in router.mesh().joined() {
            all.members += router.mesh().members(topic).count() as u64;
            all.meshes += 1;
        }
    }
    all
}

/// Whether every mesh of every node has as many members as it wants at least.
pub fn are_meshed(world: &World) -> bool {
    let is_meshed = |node| {
        let Some(core) = world.core(node) else { return false };
        let (mesh, low) = (core.view().router().mesh(), core.config().gossipsub.mesh_n_low as usize);
        mesh.joined().all(|topic| mesh.members(topic).count() >= low)
    };
    (0..world.options().nodes as usize).all(is_meshed)
}

/// Runs a calm world of `nodes` for `secs` virtual seconds, with two announcements in each.
pub fn measure(seed: u64, nodes: u32, secs: u64) -> Speed {
    let options = Options { puppets: 0, ..Options::calm(seed, nodes) };
    let mut world = World::fast(options, &|_, config| config.teranode.status_interval = STATUS_EVERY);
    let is_formed = world.run_until(FORMED_WITHIN_MS, are_meshed);
    world.run_ms(SETTLED_AFTER_MS);
    let (before, inputs, frames, started) =
        (counts(&world), world.inputs(), world.frames_sent(), Instant::now());
    for salt in 0..secs * 1000 / ANNOUNCED_EVERY_MS {
        world.apply(Step::Subtree { node: salt.wrapping_mul(7919), salt });
        world.run_ms(ANNOUNCED_EVERY_MS);
    }
    let took = started.elapsed().as_secs_f64().max(1e-9);
    let (inputs, frames) = (world.inputs() - inputs, world.frames_sent() - frames);
    // What is on its way arrives; what is published meanwhile may not.
    let published = counts(&world).published - before.published;
    world.run_ms(3000);
    let after = counts(&world);
    let (delivered, copies) = (after.delivered - before.delivered, after.copies - before.copies);
    let wanted = published * u64::from(nodes.saturating_sub(1)).max(1);
    Speed {
        is_formed,
        times_real: secs as f64 / took,
        inputs_per_s: inputs as f64 / took,
        frames_per_s: frames as f64 / secs.max(1) as f64,
        delivered: (delivered as f64 / wanted.max(1) as f64).min(1.0),
        duplicates: copies as f64 / delivered.max(1) as f64 - 1.0,
        mesh: after.members as f64 / after.meshes.max(1) as f64,
    }
}
