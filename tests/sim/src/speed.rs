//! How fast worlds are, and how well messages spread in them.

use std::fmt;
use std::time::{Duration, Instant};

use peerage_core::Config;
use peerage_core::teranode::TopicKind;

use crate::world::{Options, World};

/// Virtual time that meshes have to form at most, before anything is measured; and what follows.
const FORMED_WITHIN_MS: u64 = 300_000;
const SETTLED_AFTER_MS: u64 = 5_000;
/// Between two announcements of subtrees, in the whole world.
const ANNOUNCED_EVERY_MS: u64 = 100;
/// Connections of a node.
const CONNECTIONS: u32 = 20;
/// How long is announced before anything is measured: as long as an id counts as seen.
const WARM_UP_S: u64 = 120;
/// Longer than any run: no node tells its status.
const NO_STATUS: Duration = Duration::from_secs(1 << 24);
/// Between two statuses of one node: rarer than by default, so that their number does not grow with the square of the
/// world.
pub const STATUS_EVERY: Duration = Duration::from_secs(60);

/// What was measured.
#[derive(Clone, PartialEq, Debug)]
pub struct Speed {
    /// Whether every mesh had as many members as it wants at least, before anything was measured.
    pub is_formed: bool,
    /// Virtual seconds for one of a core.
    pub times_real: f64,
    /// Inputs of all nodes in one of them.
    pub inputs_per_s: f64,
    /// Frames sent by all nodes in a virtual second.
    pub frames_per_s: f64,
    /// Messages handed to families, of those that should have been.
    pub delivered: f64,
    /// How often, and with which meshes.
    pub spread: Spread,
    /// Peers that a node is connected with, on average.
    pub connections: f64,
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { is_formed, times_real, inputs_per_s, frames_per_s, .. } = self;
        let Self { delivered, spread, connections, .. } = self;
        write!(
            f,
            "{times_real:.1} x real time, {inputs_per_s:.0} inputs/s, {frames_per_s:.0} frames per virtual second; \
             delivered {:.3} %, {spread}; {connections:.1} connections",
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
    /// Of them: those that were asked for.
    pub given: u64,
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
        all.given += router.tally().iwant_given;
        for topic in router.mesh().joined() {
            all.members += router.mesh().members(topic).count() as u64;
            all.meshes += 1;
        }
    }
    all
}

/// How often messages were handed over in meshes, and how often the protocol's published analysis says they are.
///
/// A link of a mesh carries a message at least once, and twice where both of its ends had it from others and neither had
/// heard of the other's; the links by which nodes hear of it first carry it once. With a degree d that is d / 2 − 1 to
/// d − 2 duplicates for each receiver. The degree is that of the meshes as they are: nodes graft until they have D members
/// and take grafts until they have D_high, as the protocol's documents have it and Go does, so that meshes settle between
/// the two. It is counted for each receiver: there is one node less of them.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Spread {
    /// Copies of each message at each receiver beyond the first, those not counted that it asked for.
    pub duplicates: f64,
    /// Members of all meshes for each receiver.
    pub degree: f64,
}

/// Meshes may change a little while messages spread.
const DEGREE_SLACK: f64 = 0.1;

impl Spread {
    /// Of what was counted in a world of `nodes` with one topic on which own messages go to the mesh alone.
    pub fn between(before: &Counts, after: &Counts, nodes: u32) -> Self {
        let delivered = (after.delivered - before.delivered).max(1) as f64;
        let copies = (after.copies - before.copies).saturating_sub(after.given - before.given);
        let members = (before.members + after.members) as f64 / 2.0;
        Self {
            duplicates: copies as f64 / delivered - 1.0,
            degree: members / f64::from(nodes.saturating_sub(1).max(1)),
        }
    }

    /// Whether there are as many duplicates as the analysis says.
    pub fn is_as_analysed(&self) -> bool {
        let (least, most) = self.bounds();
        (least..=most).contains(&self.duplicates)
    }

    /// The fewest and the most that it says.
    pub fn bounds(&self) -> (f64, f64) {
        (self.degree / 2.0 - 1.0 - DEGREE_SLACK, self.degree - 2.0 + DEGREE_SLACK)
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, most) = self.bounds();
        write!(
            f,
            "{:.2} duplicates, {least:.2} to {most:.2} by the degree of {:.2}",
            self.duplicates, self.degree
        )
    }
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

/// Runs a calm world of `nodes` for `secs` virtual seconds under the load of the figure: ten announcements of some 300
/// bytes a second in the whole world, on one topic, which every node takes in, verifies by model and judges; 20 connections
/// a node, or as many as there are others.
pub fn measure(seed: u64, nodes: u32, secs: u64) -> Speed {
    let options = Options { puppets: 0, ..Options::calm(seed, nodes) };
    let mut world = World::fast(options, &only_meshes);
    only_subtrees(&mut world);
    let is_formed = world.run_until(FORMED_WITHIN_MS, are_meshed);
    world.run_ms(SETTLED_AFTER_MS);
    // Tables of what was seen are full before anything is measured: that is what a look-up costs in a long run.
    announce(&mut world, 0, WARM_UP_S);
    let (before, inputs, frames, started) =
        (counts(&world), world.inputs(), world.frames_sent(), OneCore::now());
    announce(&mut world, WARM_UP_S, secs);
    let took = started.elapsed().as_secs_f64().max(1e-9);
    let (inputs, frames) = (world.inputs() - inputs, world.frames_sent() - frames);
    // What is on its way arrives; what is published meanwhile may not.
    let published = counts(&world).published - before.published;
    world.run_ms(3000);
    let after = counts(&world);
    let delivered = after.delivered - before.delivered;
    let wanted = published * u64::from(nodes.saturating_sub(1)).max(1);
    let peers = |node| world.core(node).map_or(0, |core| core.view().conns().table().peer_count());
    Speed {
        is_formed,
        times_real: secs as f64 / took,
        inputs_per_s: inputs as f64 / took,
        frames_per_s: frames as f64 / secs.max(1) as f64,
        delivered: (delivered as f64 / wanted.max(1) as f64).min(1.0),
        spread: Spread::between(&before, &after, nodes),
        connections: (0..nodes as usize).map(peers).sum::<usize>() as f64 / f64::from(nodes),
    }
}

/// No statuses, own messages to the mesh alone, and so many connections.
pub fn only_meshes(_: usize, config: &mut Config) {
    config.teranode.status_interval = NO_STATUS;
    config.gossipsub.flood_publish = false;
    (config.conn.low_water, config.conn.high_water) = (CONNECTIONS / 2, CONNECTIONS);
}

/// The nodes of a world that has just begun leave all topics but that of subtrees.
pub fn only_subtrees(world: &mut World) {
    (0..world.options().nodes as usize).for_each(|node| world.leave_topics_but(node, TopicKind::Subtree));
}

/// `secs` of announcements by nodes all over the world, the first of them at the second `from`.
fn announce(world: &mut World, from: u64, secs: u64) {
    let per_s = 1000 / ANNOUNCED_EVERY_MS;
    for salt in from * per_s..(from + secs) * per_s {
        world.announce(salt.wrapping_mul(7919), salt);
        world.run_ms(ANNOUNCED_EVERY_MS);
    }
}

/// The time that this thread has had a core for: what others do on the machine does not count. Where the system does not
/// tell it, the time that passed.
struct OneCore {
    had: Option<Duration>,
    began: Instant,
}

impl OneCore {
    fn now() -> Self {
        Self { had: Self::had(), began: Instant::now() }
    }

    fn had() -> Option<Duration> {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        text.split_ascii_whitespace().next()?.parse().ok().map(Duration::from_nanos)
    }

    fn elapsed(&self) -> Duration {
        let had = self.had.zip(Self::had()).map(|(before, after)| after.saturating_sub(before));
        had.unwrap_or_else(|| self.began.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicates_beyond_the_analysis_are_seen_and_those_asked_for_do_not_count() {
        // Eleven nodes with eight members each: 8.8 for each receiver of a message.
        let spread = |copies, given| {
            let before = Counts { members: 88, ..Counts::default() };
            let after = Counts { delivered: 100, copies, given, ..before };
            Spread::between(&before, &after, 11)
        };
        assert_eq!(spread(500, 0), Spread { duplicates: 4.0, degree: 8.8 });
        assert_eq!(
            [400, 450, 780, 800].map(|copies| spread(copies, 0).is_as_analysed()),
            [false, true, true, false]
        );
        assert!(spread(800, 50).is_as_analysed());
    }
}
