//! How a node is fed, watched, recorded, woken, killed and started.

use bytes::Bytes;
use peerage_core::codec::Encode as _;
use peerage_core::gossipsub::{Command, Topic, stream};
use peerage_core::input::{Document, OpResult};
use peerage_core::op::OpId;
use peerage_core::record::{Frame, Recorder, replay};
use peerage_core::teranode::TopicKind;
use peerage_core::time::Now;
use peerage_core::{Action, Input, Node, Pump, conn, teranode};
use sha2::Digest as _;

use super::node::SimNode;
use super::queue::Event;
use super::{CHECK_EVERY, Dice, INPUTS_PER_MOMENT_MAX, Violation, World};
use crate::oracles::{Before, Delivered, Seen};

impl World {
    pub(super) fn input_after(&mut self, node: usize, delay: u64, input: Input) {
        let life = self.nodes[node].life;
        self.queue.push(self.now + delay, Event::Input { node, life, input: Box::new(input) });
    }

    pub(super) fn complete(&mut self, node: usize, delay: u64, op: OpId, result: OpResult) {
        self.input_after(node, delay, Input::Op(op, result));
    }

    /// Puts an event off while its node stands still, or has not caught up with what happened meanwhile.
    pub(super) fn postpone(&mut self, node: usize, event: &Event) -> bool {
        let state = &mut self.nodes[node];
        let is_first = state.held.is_empty();
        if is_first && state.paused_until <= self.now {
            return false;
        }
        state.held.push_back(event.clone());
        if is_first {
            self.queue.push(state.paused_until, Event::Resume { node });
        }
        true
    }

    /// A node may go on: what was put off happens, in its order.
    pub(super) fn on_resume(&mut self, node: usize) {
        let state = &mut self.nodes[node];
        if state.paused_until > self.now {
            return self.queue.push(state.paused_until, Event::Resume { node });
        }
        std::mem::take(&mut state.held).into_iter().for_each(|event| self.happen(event));
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
        let state = &self.nodes[node];
        if state.paused_until > self.now || !state.held.is_empty() {
            let event = Event::Input { node, life: state.life, input: Box::new(input) };
            self.postpone(node, &event);
        } else {
            let now = state.clock.now(self.now);
            self.feed_at(node, now, input);
        }
    }

    pub(super) fn feed_at(&mut self, node: usize, now: Now, input: Input) {
        if self.violation.is_some() || self.nodes[node].pump.is_none() {
            return;
        }
        self.count_moment(node);
        self.record(node, now, &input);
        if let Input::Op(op, OpResult::Verified(_)) = &input {
            self.hear(node, *op);
        }
        let SimNode { pump: Some(pump), heard, .. } = &mut self.nodes[node] else { return };
        let (core, deadline) = (pump.core(), pump.deadline());
        let before = Before { node, now, input: &input, core, deadline, heard };
        self.oracles.iter_mut().for_each(|oracle| oracle.before(&before));
        let mut actions = std::mem::take(&mut self.actions);
        self.inputs += 1;
        if self.is_fast {
            pump.feed(now, input, |action| actions.push(action));
        } else {
            pump.feed(now, input.clone(), |action| actions.push(action));
            self.trace.put_input(self.now, node, now, &input, &actions);
            self.judge(node, now, &input, &actions);
        }
        let doomed = self.nodes[node].doomed;
        let begun = doomed.map_or(actions.len(), |doomed| actions.len().min(doomed as usize));
        actions.drain(..).take(begun).for_each(|action| self.begin(node, action));
        self.actions = actions;
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
        let delivered = self.delivered(node);
        let Some(pump) = &self.nodes[node].pump else { return };
        let deadline = pump.deadline();
        let (at, core) = (self.now, pump.core());
        let seen = Seen { node, at, now, input, actions, delivered: &delivered, core, deadline };
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

    /// What the last input of a node brought to its families, with their verdicts.
    fn delivered(&mut self, node: usize) -> Vec<Delivered> {
        let SimNode { pump: Some(pump), heard, .. } = &mut self.nodes[node] else { return Vec::new() };
        let reports = pump.core().view().asked().iter().filter_map(|command| {
            let Command::Report { id, propagation_source, acceptance, .. } = command else { return None };
            let heard = heard.remove(&id.0)?;
            let (propagation_source, acceptance) = (*propagation_source, *acceptance);
            Some(Delivered { id: id.0.clone(), heard, propagation_source, acceptance })
        });
        reports.collect()
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
            Action::Gossipsub(action) => self.begin_stream(node, action),
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

    fn begin_stream(&mut self, node: usize, action: stream::Action) {
        match action {
            stream::Action::Open { connection } => self.open_stream(node, connection.0),
            stream::Action::Close { connection } => self.close_stream(node, connection.0),
            stream::Action::Send { connection, frames } => self.send_frames(node, connection.0, frames),
            stream::Action::Reset { connection } => self.reset_stream(node, connection.0),
            stream::Action::Sign { op, bytes } => self.sign(node, op, &bytes),
            stream::Action::Verify { op, checks } => self.verify(node, op, &checks),
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

    /// A node that is connected with nobody yet leaves all topics but one: for measurements.
    pub fn leave_topics_but(&mut self, node: usize, kept: TopicKind) {
        let now = self.nodes[node].clock.now(self.now);
        let Some(pump) = &mut self.nodes[node].pump else { return };
        let core = pump.core_mut();
        let kept = core.config().teranode.topic(kept);
        let joined: Vec<_> = core.view().router().mesh().joined().cloned().collect();
        for name in joined.iter().filter(|name| name.0 != kept.as_str().as_bytes()) {
            let topic = Topic::from(&*String::from_utf8_lossy(&name.0));
            let mut actions: Vec<Action> = Vec::new();
            core.ask_router(now, Command::Unsubscribe { topic }, &mut actions);
            debug_assert!(actions.is_empty(), "nobody is there to be told");
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
        let held = std::mem::take(&mut self.nodes[node].held);
        held.into_iter().for_each(|event| self.queue.push(self.now, event));
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
