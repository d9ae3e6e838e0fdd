//! How a node is fed, watched, recorded, woken, killed and started.

use bytes::Bytes;
use peerage_core::codec::Encode as _;
use peerage_core::input::{Document, OpResult};
use peerage_core::op::OpId;
use peerage_core::record::{Frame, Recorder, replay};
use peerage_core::time::Now;
use peerage_core::{Action, Input, Node, Pump, conn, gossipsub, teranode};
use sha2::Digest as _;

use super::queue::Event;
use super::{CHECK_EVERY, Dice, INPUTS_PER_MOMENT_MAX, Violation, World};
use crate::oracles::{Before, Seen};

impl World {
    pub(super) fn input_after(&mut self, node: usize, delay: u64, input: Input) {
        let life = self.nodes[node].life;
        self.queue.push(self.now + delay, Event::Input { node, life, input: Box::new(input) });
    }

    pub(super) fn complete(&mut self, node: usize, delay: u64, op: OpId, result: OpResult) {
        self.input_after(node, delay, Input::Op(op, result));
    }

    /// Puts an event off while its node is paused.
    pub(super) fn postpone(&mut self, node: usize, event: Event) -> bool {
        let until = self.nodes[node].paused_until;
        if until > self.now {
            self.queue.push(until, event);
        }
        until > self.now
    }

    pub(super) fn on_wake(&mut self, node: usize, generation: u64) {
        if self.nodes[node].generation == generation {
            self.nodes[node].wake_at = None;
            self.feed(node, Input::Timeout);
        }
    }

    /// Feeds one input at the node's present time.
    pub(super) fn feed(&mut self, node: usize, input: Input) {
        if self.nodes[node].pump.is_none() {
            return;
        }
        let life = self.nodes[node].life;
        if self.nodes[node].paused_until > self.now {
            self.postpone(node, Event::Input { node, life, input: Box::new(input) });
        } else {
            let now = self.nodes[node].clock.now(self.now);
            self.feed_at(node, now, input);
        }
    }

    pub(super) fn feed_at(&mut self, node: usize, now: Now, input: Input) {
        if self.violation.is_some() || self.nodes[node].pump.is_none() {
            return;
        }
        self.count_moment(node);
        self.record(node, now, &input);
        let Some(pump) = &mut self.nodes[node].pump else { return };
        let before = Before { node, now, input: &input, core: pump.core(), deadline: pump.deadline() };
        self.oracles.iter_mut().for_each(|oracle| oracle.before(&before));
        let mut actions = Vec::new();
        pump.feed(now, input.clone(), |action| actions.push(action));
        self.inputs += 1;
        self.trace.put_input(self.now, node, now, &input, &actions);
        self.judge(node, now, &input, &actions);
        let doomed = self.nodes[node].doomed;
        for (nth, action) in (0u64..).zip(actions) {
            if doomed == Some(nth) {
                break;
            }
            self.begin(node, action);
        }
        match doomed {
            Some(_) => self.kill(node),
            None => self.plan_wake(node),
        }
    }

    fn count_moment(&mut self, node: usize) {
        let (at, last, count) = self.moment;
        let count = if (at, last) == (self.now, node) { count + 1 } else { 0 };
        self.moment = (self.now, node, count);
        if count > INPUTS_PER_MOMENT_MAX {
            self.violate("spin", node, format!("{count} inputs at one moment"));
        }
    }

    fn judge(&mut self, node: usize, now: Now, input: &Input, actions: &[Action]) {
        let Some(pump) = &self.nodes[node].pump else { return };
        let deadline = pump.deadline();
        let seen = Seen { node, now, input, actions, core: pump.core(), deadline };
        let mut found = None;
        for oracle in &mut self.oracles {
            if let Err(detail) = oracle.after(&seen) {
                found = found.or_else(|| Some((oracle.name(), detail)));
            }
        }
        if self.inputs.is_multiple_of(CHECK_EVERY)
            && let Err(detail) = pump.core().check_invariants()
        {
            found = found.or_else(|| Some(("invariants", detail.into())));
        }
        if let Some((oracle, detail)) = found {
            self.violate(oracle, node, detail);
        }
    }

    pub(super) fn violate(&mut self, oracle: &'static str, node: usize, detail: String) {
        let at = self.now;
        self.violation.get_or_insert(Violation { oracle, node, at, detail });
    }

    fn plan_wake(&mut self, node: usize) {
        let now = self.now;
        let state = &mut self.nodes[node];
        let Some(pump) = &state.pump else { return };
        let at = pump.deadline().map(|deadline| state.clock.when(deadline.at).max(now));
        if at != state.wake_at {
            state.wake_at = at;
            state.generation += 1;
            let generation = state.generation;
            if let Some(at) = at {
                self.queue.push(at, Event::Wake { node, generation });
            }
        }
    }

    /// Starts one action.
    fn begin(&mut self, node: usize, action: Action) {
        match action {
            Action::Conn(action) => self.begin_conn(node, action),
            Action::Gossipsub(gossipsub::Action::Subscribe { topic }) => {
                self.nodes[node].topics.insert(topic);
            }
            Action::Gossipsub(gossipsub::Action::Publish { op, topic, data }) => {
                self.publish(node, op, topic, data);
            }
            Action::Gossipsub(gossipsub::Action::Report { id, propagation_source: _, acceptance }) => {
                self.on_report(node, &id, acceptance);
            }
            Action::Teranode(teranode::Action::Query { op, query }) => self.query(node, op, &query),
            Action::Teranode(teranode::Action::Produce { op, topic, key, value: _ }) => {
                self.produce(node, op, topic, &key);
            }
            Action::Teranode(teranode::Action::Feed(action)) => self.on_feed(node, &action),
            Action::Teranode(teranode::Action::SendDirect { op, to, data }) => {
                self.send_direct(node, op, &to, data);
            }
            Action::Store { op, document, content } => self.store(node, op, document, content),
            Action::Notice(_) => {}
        }
    }

    fn begin_conn(&mut self, node: usize, action: conn::Action) {
        match action {
            conn::Action::Listen { addr } => {
                self.nodes[node].listening = true;
                self.input_after(node, 0, Input::Conn(conn::Event::Listening { addr }));
            }
            conn::Action::Admit { pending } => self.admit(pending),
            conn::Action::Refuse { pending, reason: _ } => self.refuse(node, pending),
            conn::Action::Dial { op, peer, addrs } => self.dial(node, op, peer, &addrs),
            conn::Action::Close { id, reason: _ } => self.close(id.0, node, conn::CloseReason::Remote),
            conn::Action::Provide { op, key } => self.provide(node, op, key),
            conn::Action::Search { op, key } => self.search(node, op, &key),
            conn::Action::AskAddresses { op, via, target } => self.ask_addresses(node, op, &via, target),
            conn::Action::AnswerAddresses { ask, addrs } => self.answer_addresses(ask, addrs),
        }
    }

    /// A process starts with what its disk holds.
    pub(super) fn start(&mut self, node: usize) {
        let mut dice = Dice::new(self.options.seed, &format!("life {node} {}", self.nodes[node].life));
        let seed = dice.seed();
        let state = &mut self.nodes[node];
        let now = state.clock.now(self.now);
        let core = Node::new(state.config.clone(), seed, now)
            .unwrap_or_else(|error| panic!("the simulated configuration is refused: {error}"));
        state.pump = Some(Pump::new(core, state.config.limits.actions_per_input_max()));
        if self.recorded {
            let mut recorder = Recorder::default();
            let file = recorder.begin(&state.config, seed, now).to_vec();
            state.recording = Some((recorder, file));
        }
        let cache: Option<Bytes> = state.disk.get(&Document::AddressCache).cloned();
        self.feed(node, Input::Start);
        if let Some(cache) = cache {
            self.feed(node, Input::Loaded(Document::AddressCache, cache));
        }
    }

    /// A process dies.
    pub(super) fn kill(&mut self, node: usize) {
        if self.nodes[node].pump.is_none() {
            return;
        }
        self.end_recording(node);
        self.oracles.iter_mut().for_each(|oracle| oracle.died(node));
        self.drop_links(node);
        self.nodes[node].die();
    }

    pub(super) fn restart(&mut self, node: usize) {
        if self.nodes[node].pump.is_none() {
            self.start(node);
        }
    }

    fn record(&mut self, node: usize, now: Now, input: &Input) {
        let state = &mut self.nodes[node];
        if let (Some((recorder, file)), Some(pump)) = (&mut state.recording, &state.pump) {
            file.extend_from_slice(recorder.input(now, input, || pump.core().state_hash()));
        }
    }

    /// Replays the recording of a life that ends, and keeps it.
    pub(super) fn end_recording(&mut self, node: usize) {
        let state = &mut self.nodes[node];
        let (Some((mut recorder, mut file)), Some(pump)) = (state.recording.take(), &state.pump) else {
            return;
        };
        let hash = pump.core().state_hash();
        file.extend_from_slice(recorder.end(hash));
        let name = format!("node-{node}-life-{}", state.life);
        let detail = crate::oracles::replay::compare(&file, hash, recorder.inputs(), |file| {
            replay(file, |_: Now, _: &Frame, _: &[Action]| {})
        });
        if let Err(detail) = detail {
            self.violate("replay", node, detail);
        }
        self.recordings.push((name, file));
    }
}

/// Hashes what happened.
trait Trace {
    fn put_input(&mut self, at: u64, node: usize, now: Now, input: &Input, actions: &[Action]);
}

impl Trace for sha2::Sha256 {
    fn put_input(&mut self, at: u64, node: usize, now: Now, input: &Input, actions: &[Action]) {
        at.encode(self);
        (node as u64).encode(self);
        now.encode(self);
        input.encode(self);
        for action in actions {
            match action {
                Action::Conn(action) => action.encode(self),
                Action::Gossipsub(action) => action.encode(self),
                Action::Teranode(action) => action.encode(self),
                Action::Store { op, document, content } => {
                    op.encode(self);
                    document.encode(self);
                    content.encode(self);
                }
                // Notices follow from the state, which is hashed at the end.
                Action::Notice(_) => self.update([0xff]),
            }
        }
    }
}
