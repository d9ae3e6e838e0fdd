//! Two neighbours that graft and prune each other, in every order: all states that they can reach within a few steps.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use peerage_proto::peer_id::PeerId;

use super::{Around, Change, Grafted, Mesh, Prune, Rules, Thresholds};
use crate::codec::to_vec;
use crate::common::sip::HashKey;
use crate::gossipsub::backoff::{Backoffs, Times};
use crate::gossipsub::config::Config;
use crate::gossipsub::peers::{self, Peers, Version};
use crate::gossipsub::topic::TopicName;
use crate::time::Instant;

/// What is on its way.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Told {
    Graft,
    Prune(Option<u64>),
}

/// What can happen next.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A heartbeat of one side.
    Heartbeat(usize),
    /// One side leaves the topic and joins it again.
    Rejoin(usize),
    /// The oldest of what is on its way to one side arrives.
    Arrive(usize),
    /// Time passes.
    Wait(u64),
}

const STEPS: [Step; 8] = [
    Step::Heartbeat(0),
    Step::Heartbeat(1),
    Step::Rejoin(0),
    Step::Rejoin(1),
    Step::Arrive(0),
    Step::Arrive(1),
    Step::Wait(5),
    Step::Wait(70),
];

#[derive(Clone)]
struct Side {
    mesh: Mesh,
    backoffs: Backoffs,
    peers: Peers,
    to_it: VecDeque<Told>,
    charged: u32,
}

#[derive(Clone)]
struct Pair {
    now: Instant,
    sides: [Side; 2],
}

fn peer(n: usize) -> PeerId {
    PeerId::from_ed25519(&[n as u8 + 1; 32])
}

fn topic() -> TopicName {
    "t".into()
}

fn side(other: usize) -> Side {
    let mut peers = Peers::new(&peers::Bounds::default());
    assert!(peers.add(peer(other), Version::V12, true, false));
    let _ = peers.subscribe(peer(other), b"t", true);
    let mut side = Side {
        mesh: Mesh::new(&[7; 32], 4),
        backoffs: Backoffs::new(&Times::default(), 8, HashKey::known()),
        peers,
        to_it: VecDeque::new(),
        charged: 0,
    };
    side.decide(Instant::ZERO, |mesh, around| mesh.join(topic(), around));
    side
}

impl Side {
    fn decide<R>(
        &mut self,
        now: Instant,
        decide: impl FnOnce(&mut Mesh, &mut Around<'_, fn(&PeerId) -> f64>) -> R,
    ) -> R {
        let rules = Rules::new(&Config::default(), Thresholds::default());
        let score: fn(&PeerId) -> f64 = |_| 0.0;
        let (peers, backoffs) = (&self.peers, &mut self.backoffs);
        decide(&mut self.mesh, &mut Around { now, rules: &rules, peers, backoffs, score })
    }

    fn has(&self, other: usize) -> bool {
        self.mesh.members(&topic()).any(|member| *member == peer(other))
    }
}

impl Pair {
    fn tell(&mut self, to: usize, changes: Vec<Change>) {
        for change in changes {
            let told = match change {
                Change::Graft { .. } => Told::Graft,
                Change::Prune(Prune { backoff, .. }) => Told::Prune(backoff.map(|backoff| backoff.as_secs())),
            };
            self.sides[to].to_it.push_back(told);
        }
    }

    fn step(&mut self, step: Step) {
        let now = self.now;
        match step {
            Step::Heartbeat(at) => {
                let heartbeat = self.sides[at].decide(now, |mesh, around| mesh.heartbeat(around));
                self.tell(1 - at, heartbeat.changes);
            }
            Step::Rejoin(at) => {
                let left = self.sides[at].decide(now, |mesh, around| mesh.leave(&topic(), around));
                let joined = self.sides[at].decide(now, |mesh, around| mesh.join(topic(), around));
                assert!(joined.is_empty() || left.is_empty(), "the backoff of leaving stands");
                self.tell(1 - at, left);
                self.tell(1 - at, joined);
            }
            Step::Arrive(at) => match self.sides[at].to_it.pop_front() {
                Some(Told::Graft) => {
                    let from = peer(1 - at);
                    let grafted =
                        self.sides[at].decide(now, |mesh, around| mesh.on_graft(from, &topic(), around));
                    if let Grafted::Refused(prune, times) = grafted {
                        self.sides[at].charged += times;
                        self.tell(1 - at, alloc::vec![Change::Prune(prune)]);
                    }
                }
                Some(Told::Prune(backoff)) => {
                    let from = peer(1 - at);
                    self.sides[at]
                        .decide(now, |mesh, around| mesh.on_prune(&from, &topic(), backoff, around));
                }
                None => {}
            },
            Step::Wait(secs) => self.now = now.after(Duration::from_secs(secs)),
        }
    }

    /// All that matters of a state: meshes, what is on its way, and how long each backoff has to go.
    fn key(&self) -> Vec<u8> {
        let mut key = Vec::new();
        for (at, side) in self.sides.iter().enumerate() {
            let left =
                side.backoffs.until(&peer(1 - at), &topic()).map(|until| until.saturating_since(self.now));
            key.extend(to_vec(&(side.has(1 - at), left)));
            for told in &side.to_it {
                key.extend(match told {
                    Told::Graft => [1, 0, 0],
                    Told::Prune(backoff) => [2, u8::from(backoff.is_some()), backoff.unwrap_or(0) as u8],
                });
            }
            key.push(9);
        }
        key
    }

    /// Lets everything arrive and all backoffs end, with heartbeats in between.
    fn rest(&mut self) {
        for _ in 0..3 {
            for _ in 0..16 {
                self.step(Step::Arrive(0));
                self.step(Step::Arrive(1));
            }
            self.step(Step::Wait(70));
            self.step(Step::Heartbeat(0));
            self.step(Step::Heartbeat(1));
        }
        for _ in 0..16 {
            self.step(Step::Arrive(0));
            self.step(Step::Arrive(1));
        }
    }
}

#[test]
fn two_neighbours_agree_on_their_mesh_in_the_end_whatever_came_between() {
    let start = Pair { now: Instant::ZERO, sides: [side(1), side(0)] };
    let mut seen = BTreeSet::from([start.key()]);
    let mut frontier = alloc::vec![start];
    for _ in 0..9 {
        let mut next = Vec::new();
        for pair in &frontier {
            for step in STEPS {
                let mut after = pair.clone();
                after.step(step);
                if after.sides.iter().all(|side| side.to_it.len() <= 3) && seen.insert(after.key()) {
                    next.push(after);
                }
            }
        }
        frontier = next;
    }
    assert!(seen.len() > 500, "{} states", seen.len());
    for mut pair in frontier {
        let before = pair.key();
        pair.rest();
        assert!(pair.sides[0].has(1) && pair.sides[1].has(0), "from {before:?}");
    }
}

#[test]
fn who_heeds_its_own_backoff_is_never_charged_unless_a_graft_and_a_prune_crossed() {
    let start = Pair { now: Instant::ZERO, sides: [side(1), side(0)] };
    let mut seen = BTreeSet::from([start.key()]);
    let mut frontier = alloc::vec![start];
    for _ in 0..12 {
        let mut next = Vec::new();
        for pair in &frontier {
            // Nothing is on its way when something is begun: then nothing crosses.
            let is_quiet = pair.sides.iter().all(|side| side.to_it.is_empty());
            for step in STEPS {
                let begins = matches!(step, Step::Heartbeat(_) | Step::Rejoin(_) | Step::Wait(_));
                if begins && !is_quiet {
                    continue;
                }
                let mut after = pair.clone();
                after.step(step);
                assert_eq!(after.sides.iter().map(|side| side.charged).sum::<u32>(), 0, "{step:?}");
                if seen.insert(after.key()) {
                    next.push(after);
                }
            }
        }
        frontier = next;
    }
    assert!(seen.len() > 10, "{} states", seen.len());
}
