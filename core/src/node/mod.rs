//! The node: composition and routing, no protocol logic.

pub mod ctx;
mod inputs;
mod memory;
mod timeouts;
mod view;

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

use peerage_proto::peer_id::PeerId;

use crate::codec::{Encode, Output};
use crate::common::sip::HashKey;
use crate::common::timers::Timers;
use crate::config::Config;
use crate::conn::Connections;
use crate::contract::{Core, Demand};
use crate::error::ConfigError;
use crate::explain::counters::Counters;
use crate::gossipsub::interest::Interests;
use crate::gossipsub::router::{Hand, Router, Setup};
use crate::gossipsub::watchdog::Watchdog;
use crate::gossipsub::{self, Command};
use crate::input::{Action, Input, Neighbour};
use crate::op::Ops;
use crate::sink::Sink;
use crate::state::{state, state_hash};
use crate::teranode::service::{Env, Service, Topics};
use crate::time::{Deadline, Now};

use ctx::{Ctx, Purpose};
pub use view::View;

state! {
    /// Everything that a node remembers: the state hash covers this and nothing else.
    #[derive(Debug)]
    pub struct NodeState {
        last: Now,
        is_started: bool,
        is_stopped: bool,
        timers: Timers,
        ops: Ops<Purpose>,
        counters: Counters,
        conns: Connections,
        router: Router,
        interests: Interests,
        watchdog: Watchdog,
        teranode: Service,
        health: Health,
    }
}

#[cfg(any(test, feature = "sim"))]
impl NodeState {
    /// The Teranode service, to prepare what another service would do to it.
    pub fn teranode_mut(&mut self) -> &mut Service {
        &mut self.teranode
    }
}

state! {
    /// Which neighbours are known to fail.
    #[derive(Clone, Debug, Default)]
    pub struct Health {
        chain_down: bool,
        broker_down: bool,
        store_down: bool,
    }
}

impl Health {
    fn set(&mut self, neighbour: Neighbour, up: bool) {
        match neighbour {
            Neighbour::Chain => self.chain_down = !up,
            Neighbour::Broker => self.broker_down = !up,
            Neighbour::Store => self.store_down = !up,
        }
    }

    /// Whether `neighbour` works, as far as is known.
    pub fn is_up(&self, neighbour: Neighbour) -> bool {
        !match neighbour {
            Neighbour::Chain => self.chain_down,
            Neighbour::Broker => self.broker_down,
            Neighbour::Store => self.store_down,
        }
    }
}

/// A node: give it inputs and times, take its actions.
#[derive(Debug)]
pub struct Node {
    config: Config,
    topics: Topics,
    local_text: String,
    state: NodeState,
    /// Decoded payloads; its memory is kept, its content means nothing.
    inner: Vec<u8>,
    /// What is being encoded; the same.
    scratch: Vec<u8>,
    /// What the router was told at start.
    setup: Setup,
    /// What families asked of the router, and what it told them: both empty between inputs.
    commands: VecDeque<Command>,
    events: VecDeque<gossipsub::Event>,
    /// What was asked of the router at the last input, for tests to see.
    #[cfg(any(test, feature = "sim"))]
    asked: Vec<Command>,
}

impl Node {
    /// A node that has not started. `seed` is the only entropy that it ever sees: each component gets a fork of it
    /// labelled by its name, so that a new draw in one does not shift the others.
    ///
    /// # Errors
    /// The first relation between settings that does not hold.
    pub fn new(config: Config, seed: [u8; 32], now: Now) -> Result<Self, ConfigError> {
        config.validate()?;
        let topics = Topics::new(&config.teranode);
        let key = HashKey::fork(&seed);
        let joined: Vec<_> = topics.all().cloned().collect();
        let setup = Setup::new(config.local_peer, &config.gossipsub, &config.limits);
        let state = NodeState {
            last: now,
            is_started: false,
            is_stopped: false,
            timers: Timers::default(),
            ops: Ops::default(),
            counters: Counters::default(),
            conns: Connections::new(&config.limits, &seed, key, &joined, &setup.outbox),
            router: Router::new(&setup, &config.limits, &seed, key),
            interests: Interests::default(),
            watchdog: Watchdog::default(),
            teranode: Service::new(&config.teranode, &config.limits, key, &config.local_peer, now),
            health: Health::default(),
        };
        let local_text = config.local_peer.to_base58();
        Ok(Self {
            config,
            topics,
            local_text,
            state,
            inner: Vec::new(),
            scratch: Vec::new(),
            setup,
            commands: VecDeque::new(),
            events: VecDeque::new(),
            #[cfg(any(test, feature = "sim"))]
            asked: Vec::new(),
        })
    }

    /// SHA-256 over the canonical walk of the state.
    pub fn state_hash(&self) -> [u8; 32] {
        state_hash(&self.state)
    }

    /// Read-only view for status, metrics and oracles.
    pub fn view(&self) -> View<'_> {
        View::new(self)
    }

    /// What the node was told at start.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The state, to alter in tests of the hash.
    #[cfg(any(test, feature = "sim"))]
    pub fn state_mut(&mut self) -> &mut NodeState {
        &mut self.state
    }

    /// Asks something of the router as a family would, in tests.
    #[cfg(any(test, feature = "sim"))]
    pub fn ask_router(&mut self, now: Now, command: Command, out: &mut impl Sink<Action>) {
        self.commands.push_back(command);
        self.settle(now, out);
    }

    /// Tells what the router would tell, in tests of what families make of it.
    #[cfg(any(test, feature = "sim"))]
    pub fn tell_families(&mut self, now: Now, event: gossipsub::Event, out: &mut impl Sink<Action>) {
        self.events.push_back(event);
        self.settle(now, out);
    }

    /// Full structural check.
    ///
    /// # Errors
    /// What does not hold.
    pub fn check_invariants(&self) -> Result<(), &'static str> {
        let state = &self.state;
        state.teranode.check()?;
        state.conns.check()?;
        state.router.check()?;
        if !state.counters.is_conserved() {
            return Err("a delivered message has no end, or two");
        }
        if state.ops.begun() != state.ops.completed() + state.ops.len() as u64 {
            return Err("an operation is lost");
        }
        if state.ops.len() > self.config.limits.ops_inflight_max as usize {
            return Err("more operations than the limit");
        }
        if state.conns.table().connection_count() > self.config.limits.connections_max as usize {
            return Err("more connections than the limit");
        }
        Ok(())
    }

    /// The time of an input: one that is older than the last is taken as the last.
    fn advance(&mut self, now: Now) -> Now {
        if now.mono >= self.state.last.mono {
            self.state.last = now;
        }
        self.state.last
    }

    /// Splits the node into what a component is handed and the components.
    fn split<'a, S>(&'a mut self, now: Now, out: &'a mut S) -> (Ctx<'a, S>, Parts<'a>) {
        let is_short_of_memory = self.is_short_of_memory();
        let NodeState { timers, ops, counters, conns, router, interests, watchdog, teranode, .. } =
            &mut self.state;
        let cx = Ctx {
            now,
            limits: &self.config.limits,
            ops,
            counters,
            is_short_of_memory,
            scratch: &mut self.scratch,
            commands: &mut self.commands,
            out,
        };
        let env = Env {
            config: &self.config.teranode,
            local_peer: &self.config.local_peer,
            local_text: &self.local_text,
            topics: &self.topics,
            payload_bytes_max: self.config.gossipsub.payload_bytes_max(),
        };
        let parts = Parts {
            conn_config: &self.config.conn,
            local_peer: &self.config.local_peer,
            env,
            timers,
            conns,
            router,
            setup: &self.setup,
            events: &mut self.events,
            interests,
            watchdog,
            teranode,
            inner: &mut self.inner,
        };
        (cx, parts)
    }
}

/// The components, each borrowed apart from the others.
struct Parts<'a> {
    conn_config: &'a crate::conn::Config,
    local_peer: &'a PeerId,
    env: Env<'a>,
    timers: &'a mut Timers,
    conns: &'a mut Connections,
    router: &'a mut Router,
    setup: &'a Setup,
    events: &'a mut VecDeque<gossipsub::Event>,
    interests: &'a mut Interests,
    watchdog: &'a mut Watchdog,
    teranode: &'a mut Service,
    inner: &'a mut Vec<u8>,
}

impl Parts<'_> {
    /// The router, and what it works with.
    fn router<'p, 'c, S>(&'p mut self, cx: &'p mut Ctx<'c, S>) -> (&'p mut Router, Hand<'p, 'c, S>) {
        let Self { router, setup, conns, timers, events, .. } = self;
        (router, Hand { cx, setup, conns, timers, events })
    }

    /// The last connection of `peer` ended: nothing outlives it.
    fn forget(&mut self, peer: &PeerId) {
        self.teranode.on_disconnected(peer);
        self.interests.forget(peer);
        self.watchdog.leave(peer);
    }
}

impl Encode for Node {
    fn encode(&self, out: &mut impl Output) {
        self.state.encode(out);
    }
}

impl Core for Node {
    type Input = Input;
    type Action = Action;

    fn handle(&mut self, now: Now, input: Input, out: &mut impl Sink<Action>) {
        let now = self.advance(now);
        self.state.counters.inputs = self.state.counters.inputs.saturating_add(1);
        let mut counted = Counted { sink: out, count: 0 };
        self.dispatch(now, input, &mut counted);
        self.settle(now, &mut counted);
        self.relieve(now, &mut counted);
        let pushed = counted.count;
        self.state.counters.actions = self.state.counters.actions.saturating_add(pushed);
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        if self.state.is_stopped { None } else { self.state.timers.next() }
    }

    fn demand(&self) -> Demand {
        let state = &self.state;
        let limits = &self.config.limits;
        let (_, publish) = state.teranode.inflight();
        let room = state.ops.len() + 16 < limits.ops_inflight_max as usize;
        Demand {
            gossip: room,
            accept: room,
            chain: room
                && publish < limits.publish_inflight_max
                && !state.conns.outboxes().is_congested(&self.setup.outbox),
            feed: state.teranode.subscribers().len() < limits.subscribers_max as usize,
        }
    }
}

/// Counts what passes.
struct Counted<'s, S> {
    sink: &'s mut S,
    count: u64,
}

impl<S: Sink<Action>> Sink<Action> for Counted<'_, S> {
    fn push(&mut self, action: Action) {
        self.count += 1;
        self.sink.push(action);
    }
}
