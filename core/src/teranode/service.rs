//! The Teranode service: one component of the node. It routes; the rules stand in the files beside it.

use alloc::vec::Vec;

use bytes::Bytes;
use peerage_proto::notification::{Notification, timestamp};
use peerage_proto::peer_id::PeerId;

use super::announce::RejectedGate;
use super::ban::{BanManager, BanReason};
use super::chain::{self, Answer, QueryError};
use super::config::{Compat, Config};
use super::legacy::Parting;
use super::origin::Origins;
use super::registry::Registry;
use super::repeat::Repeats;
use super::status::OwnStatus;
use super::subscribers::Subscribers;
use super::{Action, Input, TopicKind, feed};
use crate::common::sip::HashKey;
use crate::common::timers::Timers;
use crate::explain::counters::BlockedAt;
use crate::gossipsub::{Command, PublishError, PublishResult, Topic};
use crate::input;
use crate::limits::Limits;
use crate::node::ctx::{Ctx, Purpose};
use crate::sink::Sink;
use crate::state::state;
use crate::time::{Now, Timer};

state! {
    /// Everything that the service remembers.
    #[derive(Clone, Debug)]
    pub struct Service {
        pub(super) bans: BanManager,
        pub(super) registry: Registry,
        pub(super) origins: Origins,
        pub(super) repeats: Repeats,
        pub(super) own: OwnStatus,
        pub(super) subscribers: Subscribers,
        pub(super) rejected: RejectedGate,
        pub(super) produce_inflight: u32,
        pub(super) publish_inflight: u32,
    }
}

/// What does not change in the life of a node.
#[derive(Clone, Copy, Debug)]
pub struct Env<'a> {
    /// Settings.
    pub config: &'a Config,
    /// Our id.
    pub local_peer: &'a PeerId,
    /// The same as text.
    pub local_text: &'a str,
    /// Names of the topics.
    pub topics: &'a Topics,
    /// Longest payload that may be published, in bytes.
    pub payload_bytes_max: u32,
}

impl Env<'_> {
    /// Whether the reference's quirks are asked for.
    pub fn is_strict(&self) -> bool {
        self.config.compat == Compat::Strict
    }
}

/// Full names of the topics.
#[derive(Clone, Debug)]
pub struct Topics {
    by_kind: [Topic; TopicKind::COUNT],
    /// The handshake topic of the older family, if it is on.
    pub handshake: Option<Topic>,
    /// The best-block topic of the older family, if it is on.
    pub best_block: Option<Topic>,
    /// The mining-on topic of the older family, if it is on.
    pub mining_on: Option<Topic>,
}

impl Topics {
    /// The names that `config` gives.
    pub fn new(config: &Config) -> Self {
        let optional = |name: &str| (!name.is_empty()).then(|| config.full_name(name));
        Self {
            by_kind: TopicKind::ALL.map(|kind| config.topic(kind)),
            handshake: optional(&config.topics.handshake),
            best_block: optional(&config.topics.best_block),
            mining_on: optional(&config.topics.mining_on),
        }
    }

    /// The topic of `kind`.
    pub fn of(&self, kind: TopicKind) -> &Topic {
        &self.by_kind[kind as usize]
    }

    /// The kind of `topic`, if it is one of the four.
    pub fn kind(&self, topic: &Topic) -> Option<TopicKind> {
        TopicKind::ALL.into_iter().find(|kind| self.of(*kind) == topic)
    }

    /// Whether `topic` is one of the older family that is on.
    pub fn is_legacy(&self, topic: &Topic) -> bool {
        [&self.handshake, &self.best_block, &self.mining_on]
            .into_iter()
            .flatten()
            .any(|legacy| legacy == topic)
    }

    /// Every topic that is joined.
    pub fn all(&self) -> impl Iterator<Item = &Topic> {
        let legacy = [&self.handshake, &self.best_block, &self.mining_on].into_iter().flatten();
        self.by_kind.iter().chain(legacy)
    }
}

impl Service {
    /// A service that knows nobody.
    pub fn new(config: &Config, limits: &Limits, key: HashKey, local_peer: &PeerId, now: Now) -> Self {
        Self {
            bans: BanManager::new(config.ban_threshold, config.ban_duration, limits, key),
            registry: Registry::new(limits, key),
            origins: Origins::new(limits, key),
            repeats: Repeats::new(limits, key),
            own: OwnStatus::new(local_peer.to_base58(), now),
            subscribers: Subscribers::default(),
            rejected: RejectedGate::new(config, limits, key),
            produce_inflight: 0,
            publish_inflight: 0,
        }
    }

    /// Joins the topics, asks for the chain's state and sets the timers.
    pub fn start<S: Sink<input::Action>>(&mut self, cx: &mut Ctx<'_, S>, env: &Env<'_>, timers: &mut Timers) {
        for topic in env.topics.all() {
            cx.ask_router(Command::Subscribe { topic: topic.clone() });
        }
        self.ask_status(cx);
        timers.set(Timer::NodeStatus, cx.now.mono.after(env.config.status_interval));
        timers.set(Timer::Sweep, cx.now.mono.after(env.config.sweep_interval));
        if !env.config.ping_interval.is_zero() {
            timers.set(Timer::FeedPing, cx.now.mono.after(env.config.ping_interval));
        }
    }

    /// Applies one input of the service's own neighbours. Returns whom to part from.
    pub fn on_input<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        env: &Env<'_>,
        connected_peers: usize,
        input: Input,
    ) -> Option<Parting> {
        match input {
            Input::Chain(event) => self.on_chain(cx, env, event),
            Input::Feed(event) => self.on_feed(cx, env, connected_peers, &event),
            Input::Record(record) => self.on_record(cx, env, &record),
            Input::Direct { from, data } => return self.on_direct(cx, env, from, &data),
        }
        None
    }

    fn on_feed<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        env: &Env<'_>,
        connected_peers: usize,
        event: &feed::Event,
    ) {
        let connected_peers = self.peers_shown(env, connected_peers);
        let (own, now) = (&self.own, cx.now);
        let status = || own.is_known().then(|| status_frame(own, now, env, connected_peers));
        self.subscribers.on_event(cx, event, status);
    }

    /// The own status is due: asks for the chain's state, unless a question is under way.
    pub fn tick_status<S: Sink<input::Action>>(&mut self, cx: &mut Ctx<'_, S>) {
        if self.own.begin_tick() {
            self.ask_status(cx);
        }
    }

    pub(super) fn ask_status<S: Sink<input::Action>>(&mut self, cx: &mut Ctx<'_, S>) {
        if let Some(op) = cx.begin(Purpose::Status) {
            self.own.set_asked();
            cx.push(Action::Query { op, query: chain::Query::Status });
        }
    }

    /// The chain's state came, or did not: our own status goes to the peers and to the feed (spec 3.9).
    pub fn on_status<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        env: &Env<'_>,
        connected_peers: usize,
        result: Result<Answer, QueryError>,
    ) {
        let connected_peers = self.peers_shown(env, connected_peers);
        let answer = match result {
            Ok(Answer::Status(status)) => Some(status),
            Ok(Answer::Header(_)) | Err(_) => None,
        };
        self.own.on_answer(answer);
        let json = self.own.build(cx.now, env.config, connected_peers);
        self.publish(cx, env, TopicKind::NodeStatus, &json);
        if !self.subscribers.is_empty() {
            let frame = status_frame(&self.own, cx.now, env, connected_peers);
            self.subscribers.show_status(cx, &frame);
        }
        if self.own.take_again() {
            self.ask_status(cx);
        }
    }

    /// The reference counts whomever it ever heard.
    fn peers_shown(&self, env: &Env<'_>, connected_peers: usize) -> usize {
        if env.is_strict() { self.registry.len() } else { connected_peers }
    }

    /// A `PING` frame for every client of the feed (spec 4.3).
    pub fn ping_feed<S: Sink<input::Action>>(&self, cx: &mut Ctx<'_, S>, env: &Env<'_>) {
        let stamp = timestamp(cx.now.wall.as_millis());
        self.subscribers.show(cx, || {
            let mut frame = Vec::with_capacity(256);
            Notification::ping(&env.config.base_url, env.local_text, &stamp).encode(&mut frame);
            frame.into()
        });
    }

    /// Forgets what is old, up to `budget` of each kind; whether some is left.
    #[must_use]
    pub fn sweep(&mut self, now: Now, env: &Env<'_>, budget: u32) -> bool {
        [
            self.bans.sweep(now, budget),
            self.registry.sweep(now, env.config.peer_ttl, budget),
            self.origins.sweep(now, env.config, budget),
            self.repeats.sweep(now, env.config, budget),
            self.rejected.sweep(now, budget),
        ]
        .contains(&true)
    }

    /// Publishes an inner document on `kind`, wrapped as the family wants it. `false` if it could not be begun.
    pub fn publish<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        env: &Env<'_>,
        kind: TopicKind,
        inner: &[u8],
    ) -> bool {
        if !super::publish::may_publish(env.config, self.own.fsm(), kind) {
            cx.counters.publish_blocked.count(kind, self.own.fsm(), BlockedAt::Chokepoint);
            return false;
        }
        self.publish_on(cx, env, env.topics.of(kind).clone(), Purpose::Publish(kind), inner)
    }

    /// Publishes an inner document on any topic: wrapped as the family wants it, but bare on the topics of the older one.
    pub fn publish_on<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        env: &Env<'_>,
        topic: Topic,
        purpose: Purpose,
        inner: &[u8],
    ) -> bool {
        let data =
            if env.topics.is_legacy(&topic) { Bytes::copy_from_slice(inner) } else { wrap(env, inner) };
        let fits = data.len() <= env.payload_bytes_max as usize;
        let room = self.publish_inflight < cx.limits.publish_inflight_max;
        let Some(op) = (fits && room).then(|| cx.begin(purpose)).flatten() else {
            cx.counters.publish_no_room = cx.counters.publish_no_room.saturating_add(1);
            return false;
        };
        self.publish_inflight += 1;
        cx.counters.published = cx.counters.published.saturating_add(1);
        cx.ask_router(Command::Publish { op, topic, data });
        true
    }

    /// A publication ended.
    pub fn on_published<S>(&mut self, cx: &mut Ctx<'_, S>, kind: Option<TopicKind>, result: &PublishResult) {
        self.publish_inflight = self.publish_inflight.saturating_sub(1);
        let counter = match result {
            Ok(()) => &mut cx.counters.publish_sent,
            Err(PublishError::NoPeers) => &mut cx.counters.publish_no_peers,
            Err(PublishError::QueuesFull | PublishError::Refused(_)) => &mut cx.counters.publish_failed,
        };
        *counter = counter.saturating_add(1);
        if kind == Some(TopicKind::RejectedTx) && result.is_err() {
            self.rejected.give_back();
        }
    }

    /// A record was acknowledged, or failed: then its slot in the repetition window is free again.
    pub fn on_produced<S>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        kind: TopicKind,
        hash: peerage_proto::hash::Hash256,
        peer: &PeerId,
        ok: bool,
    ) {
        self.produce_inflight = self.produce_inflight.saturating_sub(1);
        if ok {
            cx.counters.produce_acked = cx.counters.produce_acked.saturating_add(1);
        } else {
            cx.counters.produce_failed = cx.counters.produce_failed.saturating_add(1);
            self.repeats.give_back(kind, hash, peer);
        }
    }

    /// A peer has its first connection.
    pub fn on_connected<S: Sink<input::Action>>(&mut self, cx: &mut Ctx<'_, S>, env: &Env<'_>, peer: PeerId) {
        // The reference knows only whom it heard.
        self.registry.connected(cx.now, peer, !env.is_strict());
        self.greet(cx, env, peer);
    }

    /// A peer's last connection ended.
    pub fn on_disconnected(&mut self, peer: &PeerId) {
        self.registry.disconnected(peer);
    }

    /// A connection of `peer` was closed because it sent more than its budget, though it was read more slowly for long:
    /// no honest peer does. Returns it if it is banned from now on. The reference knows no such thing.
    pub fn on_flood<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        env: &Env<'_>,
        peer: PeerId,
    ) -> Option<PeerId> {
        if env.is_strict() { None } else { self.penalise(cx, peer, peer, BanReason::Spam) }
    }

    /// The node stops: the feed's clients are told.
    pub fn stop<S: Sink<input::Action>>(&mut self, cx: &mut Ctx<'_, S>) {
        self.subscribers.close_all(cx);
    }

    /// Ban scores, to read.
    pub fn bans(&self) -> &BanManager {
        &self.bans
    }

    /// Peers, to read.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Peers, to change: reputation comes from other services.
    pub fn registry_mut(&mut self) -> &mut Registry {
        &mut self.registry
    }

    /// Origins, to read.
    pub fn origins(&self) -> &Origins {
        &self.origins
    }

    /// Our own state, to read.
    pub fn own(&self) -> &OwnStatus {
        &self.own
    }

    /// Clients of the feed, to read.
    pub fn subscribers(&self) -> &Subscribers {
        &self.subscribers
    }

    /// Records and publications pending.
    pub fn inflight(&self) -> (u32, u32) {
        (self.produce_inflight, self.publish_inflight)
    }

    /// Hashes watched for repetition, to read.
    pub fn repeats(&self) -> &Repeats {
        &self.repeats
    }

    /// Full structural check.
    ///
    /// # Errors
    /// What does not hold.
    pub fn check(&self) -> Result<(), &'static str> {
        self.bans.check()?;
        self.registry.check()?;
        self.origins.check()?;
        self.repeats.check()
    }
}

/// An inner document as it goes out: in the envelope, or bare for the older transport.
fn wrap(env: &Env<'_>, inner: &[u8]) -> Bytes {
    use super::config::Envelope;
    match env.config.envelope {
        Envelope::Required | Envelope::Optional => {
            let mut data = Vec::new();
            peerage_proto::envelope::wrap(&env.config.client_name, inner, &mut data);
            data.into()
        }
        Envelope::None => Bytes::copy_from_slice(inner),
    }
}

fn status_frame(own: &OwnStatus, now: Now, env: &Env<'_>, connected_peers: usize) -> Bytes {
    let stamp = timestamp(now.wall.as_millis());
    own.with_message(now, env.config, connected_peers, |message| {
        let mut frame = Vec::with_capacity(1024);
        Notification::node_status(message, &stamp).encode(&mut frame);
        frame.into()
    })
}
