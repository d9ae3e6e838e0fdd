//! A world of nodes on one clock. Nothing in it happens but by its queue and the steps that are applied to it.

mod choke;
mod feeding;
mod links;
mod mischief;
mod neighbours;
mod node;
mod options;
mod puppet;
mod queue;
mod signer;
mod steps;
mod streams;
mod sybils;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use bytes::Bytes;
use peerage_core::conn::AskId;
use peerage_core::op::OpId;
use peerage_core::{Action, Config, Node};
use peerage_proto::hash::Hash256;
use peerage_proto::peer_id::PeerId;
use sha2::{Digest as _, Sha256};

use crate::entropy::Dice;
use crate::oracles::Oracle;

pub use neighbours::{hash_of, mined};
pub use node::{addr_of, config, peer_of};
pub use options::{Fault, Options};
pub use puppet::KINDS;
pub use signer::{Heard, Heards, signature, signature_of};
pub use sybils::Sybils;

use links::Link;
use neighbours::WorldBlock;
use node::SimNode;
use puppet::Puppet;
use queue::{Event, Queue};

/// A node or a puppet: nodes first.
pub type End = usize;

/// Inputs between two full structural checks of a node.
const CHECK_EVERY: u64 = 64;
/// Inputs of a node at one moment, at most: more is a spin.
const INPUTS_PER_MOMENT_MAX: u32 = 10_000;

/// How long GRAFTs and PRUNEs may be on their way.
const AGREED_WITHIN_S: u64 = 15;

/// An oracle saw something that must not be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Which oracle.
    pub oracle: &'static str,
    /// At which node.
    pub node: usize,
    /// When, in microseconds of the world.
    pub at: u64,
    /// What.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { oracle, node, at, detail } = self;
        write!(f, "{oracle}: node {node} at {}.{:06} s: {detail}", at / 1_000_000, at % 1_000_000)
    }
}

/// A world.
pub struct World {
    options: Options,
    /// Microseconds since the beginning.
    now: u64,
    queue: Queue,
    dice: Dice,
    /// Names connections, questions, clients and messages.
    next_id: u64,
    nodes: Vec<SimNode>,
    puppets: Vec<Puppet>,
    links: BTreeMap<u64, Link>,
    /// What puppets are up to together, if anything.
    sybils: Option<Sybils>,
    /// Messages that puppets have heard of late.
    overheard: VecDeque<Bytes>,
    asks: BTreeMap<AskId, (usize, u32, OpId)>,
    blocks: BTreeMap<Hash256, WorldBlock>,
    dht: BTreeMap<Bytes, BTreeSet<End>>,
    partition: u64,
    oracles: Vec<Box<dyn Oracle>>,
    violation: Option<Violation>,
    trace: Sha256,
    inputs: u64,
    /// What an input caused; its memory is kept.
    actions: Vec<Action>,
    /// Inputs of one node at the present moment.
    moment: (u64, usize, u32),
    /// Frames that nodes have sent.
    frames_sent: u64,
    /// Whether nothing is looked at: no oracles, no hash.
    is_fast: bool,
    /// Whether every life is recorded, and replayed at its end.
    recorded: bool,
    recordings: Vec<(String, Vec<u8>)>,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { options, now, inputs, violation, .. } = self;
        write!(f, "World {{ {options}, at {now} us, {inputs} inputs, {violation:?} }}")
    }
}

impl World {
    /// A world in which every node has just started.
    pub fn new(options: Options, oracles: Vec<Box<dyn Oracle>>) -> Self {
        Self::begun(options, oracles, false, &|_, _| {})
    }

    /// The same, with configurations that `alter` has changed.
    pub fn configured(
        options: Options,
        oracles: Vec<Box<dyn Oracle>>,
        alter: &dyn Fn(End, &mut Config),
    ) -> Self {
        Self::begun(options, oracles, false, alter)
    }

    /// The same, and nobody looks: no oracles, no hash. For measurements.
    pub fn fast(options: Options, alter: &dyn Fn(End, &mut Config)) -> Self {
        let mut world = Self::begun(options, Vec::new(), false, alter);
        world.is_fast = true;
        world
    }

    /// The same, with every life of a node recorded; each recording is replayed at its end and must come to the same
    /// state.
    pub fn recorded(options: Options, oracles: Vec<Box<dyn Oracle>>) -> Self {
        Self::begun(options, oracles, true, &|_, _| {})
    }

    fn begun(
        options: Options,
        oracles: Vec<Box<dyn Oracle>>,
        recorded: bool,
        alter: &dyn Fn(End, &mut Config),
    ) -> Self {
        let mut dice = Dice::new(options.seed, "world");
        let (genesis, block) = Self::genesis();
        let nodes = (0..options.nodes as End).map(|end| {
            let mut config = config(&options, end);
            alter(end, &mut config);
            SimNode::new(&options, config, &mut dice, genesis)
        });
        let nodes: Vec<SimNode> = nodes.collect();
        let mut world = Self {
            now: 0,
            queue: Queue::default(),
            dice,
            next_id: 0,
            puppets: vec![Puppet::default(); options.puppets as usize],
            links: BTreeMap::new(),
            sybils: None,
            overheard: VecDeque::new(),
            asks: BTreeMap::new(),
            blocks: [(genesis, block)].into(),
            dht: BTreeMap::new(),
            partition: 0,
            oracles,
            violation: None,
            trace: Sha256::new(),
            inputs: 0,
            actions: Vec::new(),
            moment: (0, 0, 0),
            frames_sent: 0,
            is_fast: false,
            recorded,
            recordings: Vec::new(),
            nodes,
            options,
        };
        (0..world.nodes.len()).for_each(|node| world.start(node));
        world
    }

    /// What it is made of.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Microseconds since the beginning.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Inputs of all nodes so far.
    pub fn inputs(&self) -> u64 {
        self.inputs
    }

    /// Frames that nodes have sent so far.
    pub fn frames_sent(&self) -> u64 {
        self.frames_sent
    }

    /// The core of a node; none while it is dead.
    pub fn core(&self, node: usize) -> Option<&Node> {
        self.nodes.get(node)?.core()
    }

    /// The id of an endpoint.
    pub fn peer(&self, end: End) -> PeerId {
        self.nodes.get(end).map_or_else(|| peer_of(self.options.seed, end), |node| node.peer)
    }

    /// Nodes and puppets.
    pub fn ends(&self) -> usize {
        self.nodes.len() + self.puppets.len()
    }

    /// Lets `ms` virtual milliseconds pass.
    pub fn run_ms(&mut self, ms: u64) {
        let until = self.now + ms.saturating_mul(1000);
        while self.violation.is_none() {
            let Some((at, event)) = self.queue.pop(until) else { break };
            self.now = at;
            self.happen(event);
        }
        self.now = until;
    }

    /// Lets time pass until `condition` holds, at most `ms`. Returns whether it does.
    pub fn run_until(&mut self, ms: u64, condition: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + ms * 1000;
        while !condition(self) {
            if self.now >= end || self.violation.is_some() {
                return false;
            }
            self.run_ms(100);
        }
        true
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Wake { node, generation } => self.on_wake(node, generation),
            Event::Input { node, life, input } => {
                if self.nodes[node].life == life {
                    self.feed(node, *input);
                }
            }
            Event::Reach { dialer, life, op, peer, target } => {
                self.on_reach(dialer, life, op, peer.map(|peer| *peer), target)
            }
            Event::Shaken { link } => self.on_shaken(link),
            Event::Expire { link } => self.on_expire(link),
            Event::Closed { link, end, reason } => self.on_closed(link, end, reason),
            Event::Metered { link, to } => self.on_metered(link, to),
            Event::Arrive { link, to } => self.on_arrive(link, to),
            Event::Resume { node } => self.on_resume(node),
            Event::Adopt { node, life, hash } => {
                if self.nodes[node].life == life {
                    self.on_adopt(node, hash);
                }
            }
            Event::Stored { node, life, op, document, content } => {
                if self.nodes[node].life == life {
                    self.nodes[node].disk.insert(document, *content);
                    let stored = peerage_core::input::OpResult::Stored(Ok(()));
                    self.complete(node, 0, op, stored);
                }
            }
            Event::Ask { via, asker, life, op, target, ask } => {
                self.on_ask(via, (asker, life), op, *target, ask);
            }
        }
    }

    /// Whether `node` knows of a block: by announcement, by another's status, or from its own chain.
    pub fn knows(&self, node: usize, hash: &Hash256) -> bool {
        let Some(core) = self.core(node) else { return false };
        let service = core.view().teranode();
        service.origins().block_origin(hash).is_some()
            || service.own().tip().is_some_and(|tip| tip.header.hash() == *hash)
            || service.registry().iter().any(|(_, info)| info.block_hash == Some(*hash))
    }

    /// Heals everything, starts what is dead, and lets `ms` pass.
    pub fn quiesce(&mut self, ms: u64) {
        self.partition(0);
        for node in 0..self.nodes.len() {
            let state = &mut self.nodes[node];
            (state.broker_state, state.chain_state, state.store_state) = (0, 0, 0);
            state.paused_until = state.paused_until.min(self.now);
            self.on_resume(node);
            if self.nodes[node].doomed.is_some() {
                self.kill(node);
            }
            self.restart(node);
            self.set_fsm(node, 0);
        }
        self.run_ms(ms);
    }

    /// Liveness: after everything was healed and time has passed, nodes are connected and no publication or record
    /// hangs.
    pub fn check_rest(&mut self) {
        for node in 0..self.nodes.len() {
            let Some(core) = self.core(node) else { continue };
            let view = core.view();
            let (records, _) = view.teranode().inflight();
            let alone = view.conns().table().peer_count() == 0;
            let may_be_alone = self.nodes.len() < 2 || self.options.has(Fault::Tight);
            let problem = if records > 0 && !self.options.has(Fault::Broker) {
                Some(format!("{records} records hang"))
            } else if alone && !may_be_alone {
                Some("alone after everything was healed".into())
            } else {
                None
            };
            if let Some(problem) = problem {
                self.violate("rest", node, problem);
            }
        }
    }

    /// Pairs of nodes of which only the first has the other in its mesh of a topic.
    fn one_sided(&self) -> BTreeSet<(usize, usize, Bytes)> {
        let of_peer: BTreeMap<PeerId, usize> =
            (0..self.nodes.len()).map(|node| (self.nodes[node].peer, node)).collect();
        let mut found = BTreeSet::new();
        for node in 0..self.nodes.len() {
            let Some(core) = self.core(node) else { continue };
            let mesh = core.view().router().mesh();
            for (topic, member) in
                mesh.joined().flat_map(|topic| mesh.members(topic).map(move |member| (topic, member)))
            {
                let Some(other) = of_peer.get(member) else { continue };
                let back = self.core(*other).is_some_and(|core| {
                    core.view().router().mesh().members(topic).any(|peer| *peer == self.nodes[node].peer)
                });
                if !back {
                    found.insert((node, *other, topic.0.clone()));
                }
            }
        }
        found
    }

    /// Meshes agree: of two neighbours both have the other in their mesh, or none.
    pub fn check_agreement(&mut self) {
        if self.options.has(Fault::Choke) {
            return; // What is swallowed without a word is never made good for.
        }
        let mut lasting = self.one_sided();
        for _ in 0..AGREED_WITHIN_S {
            if lasting.is_empty() {
                return;
            }
            self.run_ms(1000);
            lasting = lasting.intersection(&self.one_sided()).cloned().collect();
        }
        if let Some((node, other, topic)) = lasting.first() {
            let topic = String::from_utf8_lossy(topic);
            self.violate(
                "agreement",
                *node,
                format!("{other} is in its mesh of {topic}, and not the other way"),
            );
        }
    }

    /// Ends every recording and compares each with its replay.
    pub fn finish(&mut self) {
        (0..self.nodes.len()).for_each(|node| self.end_recording(node));
    }

    /// Recordings of lives that are over, each with a name.
    pub fn recordings(&self) -> &[(String, Vec<u8>)] {
        &self.recordings
    }

    /// What an oracle saw, if anything.
    pub fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// Panics with what an oracle saw, if anything.
    pub fn assert_clean(&self) {
        if let Some(violation) = &self.violation {
            panic!("{violation}\n{}", self.options);
        }
    }

    /// Hash over every input and action of every node, in order, and over the last states.
    pub fn hash(&self) -> [u8; 32] {
        let mut hash = self.trace.clone();
        for node in &self.nodes {
            hash.update(node.core().map_or([0; 32], Node::state_hash));
        }
        hash.finalize().into()
    }
}
