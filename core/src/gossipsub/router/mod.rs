//! The pubsub router: its parts put together. No decision of a part is made here, and no socket is seen.
//!
//! The order of work on a message is that of decision 26: size, topic, signing policy and origin, seen ids, pending and
//! refused copies, the check of the signature, the family's verdict, and only then anybody else.

mod control;
mod control_frames;
mod copy;
mod exchange;
mod heartbeat;
mod links;
mod messages;
mod own;
mod setup;
mod tally;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use bytes::Bytes;
use peerage_proto::peer_id::PeerId;
use peerage_proto::pubsub::{Rpc, Subscription};

use super::backoff::{Backoffs, Times};
use super::mesh::{Around, Mesh};
use super::message_cache::{self, MessageCache};
use super::peers::{self, Peers};
use super::promises::Promises;
use super::score::{self, Scores};
use super::seen::{self, Identity, Seen};
use super::stream::{Action, CheckEnd};
use super::streams::Streams;
use super::topic::TopicName;
use super::{Command, Event, MessageId, Topic};
use crate::common::sip::HashKey;
use crate::common::timers::Timers;
use crate::conn::Connections;
use crate::conn::outbox::Class;
use crate::input;
use crate::limits::Limits;
use crate::node::ctx::Ctx;
use crate::op::OpId;
use crate::rng::Rng;
use crate::sink::Sink;
use crate::state::state;
use crate::time::{Instant, Timer};

use exchange::Named;
use messages::{Judging, Waiting};
use own::Unsigned;
pub use setup::Setup;
pub use tally::Tally;
use tally::bump;

state! {
    /// See the module's documentation.
    #[derive(Clone, Debug)]
    pub struct Router {
        /// Topics that are joined, by their name on the wire.
        joined: BTreeMap<TopicName, Topic>,
        names: BTreeSet<TopicName>,
        /// Raised with each change of them.
        names_version: u64,
        streams: Streams,
        peers: Peers,
        mesh: Mesh,
        /// Neighbours that were told to be in a mesh.
        members: BTreeSet<PeerId>,
        backoffs: Backoffs,
        seen: Seen,
        promises: Promises,
        cache: MessageCache,
        scores: Scores,
        /// Copies whose signature is being checked: those that are pending in `seen`.
        waiting: BTreeMap<Identity, Waiting>,
        verifying: BTreeMap<OpId, Vec<Identity>>,
        /// Checks that ended and were not acted upon yet.
        checked: VecDeque<(Identity, CheckEnd)>,
        /// Messages whose verdict is awaited.
        judging: BTreeMap<MessageId, Judging>,
        /// Records of peers whose signature is being checked.
        exchanging: BTreeMap<OpId, Vec<Named>>,
        /// Own messages whose signature is being made.
        signing: BTreeMap<OpId, Unsigned>,
        /// Sequence number of the last own message.
        sequence: u64,
        rng: Rng,
        is_stopped: bool,
        tally: Tally,
    }
}

/// What the router works with beside its own state.
pub struct Hand<'a, 'c, S> {
    /// Time, operations, counters, and where actions go.
    pub cx: &'a mut Ctx<'c, S>,
    /// What it was told at start.
    pub setup: &'a Setup,
    /// Who is connected, and what waits to be sent.
    pub conns: &'a mut Connections,
    /// When it is called again.
    pub timers: &'a mut Timers,
    /// What the family is told.
    pub events: &'a mut VecDeque<Event>,
}

impl<S: Sink<input::Action>> Hand<'_, '_, S> {
    fn now(&self) -> Instant {
        self.cx.now.mono
    }

    fn queue(&mut self, peer: PeerId, class: Class, frame: Bytes) -> bool {
        let now = self.now();
        self.conns.outboxes_mut().push(now, &self.setup.outbox, peer, class, frame)
    }
}

impl Router {
    /// A router without topics or peers.
    pub fn new(setup: &Setup, limits: &Limits, seed: &[u8; 32], key: HashKey) -> Self {
        let config = &setup.config;
        let peers_max = limits.connections_max;
        let times = Times {
            prune: config.prune_backoff,
            graft_flood: config.graft_flood_threshold,
            slack: config.heartbeat_interval.saturating_mul(2),
        };
        let backoffs_max = peers_max.saturating_mul(BACKOFFS_PER_PEER);
        Self {
            joined: BTreeMap::new(),
            names: BTreeSet::new(),
            names_version: 1,
            streams: Streams::new(seed),
            peers: Peers::new(&peers::Bounds {
                peers_max,
                topics_max: limits.topics_per_peer_max,
                ihave_messages_max: config.ihave_messages_max,
                asked_ids_max: config.ihave_ids_max,
                ..peers::Bounds::default()
            }),
            mesh: Mesh::new(seed, FANOUTS_MAX),
            members: BTreeSet::new(),
            backoffs: Backoffs::new(&times, backoffs_max, key),
            seen: Seen::new(
                &seen::Bounds {
                    ttl: config.seen_ttl,
                    peers_max,
                    pending_max: limits.checks_max,
                    pending_bytes_max: limits.checks_bytes_max,
                    seen_max: limits.seen_ids_max,
                    refused_max: limits.refused_copies_max,
                    ..seen::Bounds::default()
                },
                key,
            ),
            promises: Promises::new(config.iwant_followup),
            cache: MessageCache::new(
                &message_cache::Bounds {
                    windows: config.history_length,
                    gossip_windows: config.history_gossip,
                    messages_max: limits.cached_messages_max,
                    bytes_max: limits.cached_bytes_max,
                    peers_max,
                    ..message_cache::Bounds::default()
                },
                key,
            ),
            scores: Scores::new(&score::Bounds::default(), key),
            waiting: BTreeMap::new(),
            verifying: BTreeMap::new(),
            checked: VecDeque::new(),
            judging: BTreeMap::new(),
            exchanging: BTreeMap::new(),
            signing: BTreeMap::new(),
            sequence: 0,
            rng: Rng::fork(seed, "gossipsub/router"),
            is_stopped: false,
            tally: Tally::default(),
        }
    }

    /// The node starts: the first heartbeat is due soon.
    pub fn start<S: Sink<input::Action>>(&mut self, hand: &mut Hand<'_, '_, S>) {
        let first = hand.now().after(hand.setup.config.heartbeat_initial_delay);
        hand.timers.set(Timer::Heartbeat, first);
    }

    /// The node stops: nothing is opened any more.
    pub fn stop(&mut self) {
        self.is_stopped = true;
    }

    /// The family asks for something.
    pub fn on_command<S: Sink<input::Action>>(&mut self, hand: &mut Hand<'_, '_, S>, command: Command) {
        match command {
            Command::Subscribe { topic } => self.subscribe(hand, topic),
            Command::Unsubscribe { topic } => self.unsubscribe(hand, &topic),
            Command::Publish { op, topic, data } => self.publish(hand, op, &topic, data),
            Command::Report { id, propagation_source: _, acceptance, again } => {
                self.on_report(hand, &id, acceptance, again);
            }
        }
    }

    /// A frame of `peer`.
    fn on_frame<S: Sink<input::Action>>(
        &mut self,
        hand: &mut Hand<'_, '_, S>,
        peer: PeerId,
        connection: crate::conn::ConnectionId,
        frame: &Bytes,
    ) {
        bump(&mut self.tally.frames, 1);
        bump(&mut self.tally.frame_bytes, frame.len());
        let Some((version, is_first)) = self.streams.hear(&peer, connection) else {
            return bump(&mut self.tally.frames_stray, 1);
        };
        let mut excess = peerage_proto::pubsub::Excess::default();
        let Ok(rpc) = Rpc::decode_counting(frame, &hand.setup.rpc, &mut excess) else {
            bump(&mut self.tally.frames_malformed, 1);
            self.scores.penalize(&peer, 1);
            return hand.cx.push(Action::Reset { connection });
        };
        bump(&mut self.tally.control_excess, (excess.entries as usize).saturating_add(excess.ids as usize));
        bump(&mut self.tally.ids_too_long, excess.ids_too_long as usize);
        if !self.is_heard(hand.setup, &peer) {
            return bump(&mut self.tally.frames_graylisted, 1);
        }
        if is_first {
            let before = self.streams.take_before(&peer);
            let says_more = !rpc.publish.is_empty() || rpc.control.is_some();
            for topic in before.iter().filter(|_| rpc.subscriptions.is_empty() && says_more) {
                let subscription = Subscription { subscribe: Some(true), topic: Some(&topic.0) };
                self.on_subscription(hand, peer, &subscription);
            }
        }
        for subscription in &rpc.subscriptions {
            self.on_subscription(hand, peer, subscription);
        }
        self.on_messages(hand, peer, &rpc.publish);
        if let Some(control) = &rpc.control {
            self.on_control(hand, peer, version, is_first, control);
        }
    }

    /// Whether anything is taken from `peer` at all.
    fn is_heard(&self, setup: &Setup, peer: &PeerId) -> bool {
        let Some(scoring) = setup.scoring() else { return true };
        setup.direct.contains(peer) || self.score(setup, peer) >= scoring.graylist_threshold
    }

    fn score(&self, setup: &Setup, peer: &PeerId) -> f64 {
        setup.scoring().map_or(0.0, |scoring| self.scores.score(peer, &scoring.params))
    }

    fn on_subscription<S: Sink<input::Action>>(
        &mut self,
        hand: &mut Hand<'_, '_, S>,
        peer: PeerId,
        subscription: &Subscription<'_>,
    ) {
        let name = subscription.topic.unwrap_or_default();
        let known = self.joined.get_key_value(name).map(|(name, topic)| (name.clone(), topic.clone()));
        if subscription.subscribe.unwrap_or(false) {
            let subscribed = self.peers.subscribe(peer, name, known.is_some());
            if let (peers::Subscribed::New, Some((_, topic))) = (subscribed, known) {
                hand.events.push_back(Event::Subscribed { peer, topic });
            }
        } else {
            let name = known.map_or_else(|| TopicName::from(name), |(name, _)| name);
            if self.peers.unsubscribe(&peer, &name) {
                self.forget_subscription(hand, peer, &name);
            }
        }
    }

    /// `peer` is not subscribed to `name` any more.
    fn forget_subscription<S: Sink<input::Action>>(
        &mut self,
        hand: &mut Hand<'_, '_, S>,
        peer: PeerId,
        name: &TopicName,
    ) {
        if self.mesh.on_unsubscribed(&peer, name) {
            self.left_mesh(hand, peer, name);
        }
        if let Some(topic) = self.joined.get(name) {
            hand.events.push_back(Event::Unsubscribed { peer, topic: topic.clone() });
        }
    }

    /// `peer` is in the mesh of `topic`.
    fn entered_mesh<S: Sink<input::Action>>(
        &mut self,
        hand: &mut Hand<'_, '_, S>,
        peer: PeerId,
        topic: &TopicName,
    ) {
        if let Some(scoring) = hand.setup.scoring() {
            self.scores.graft(hand.cx.now.mono, &peer, topic, &scoring.params);
        }
        self.tell_mesh(hand, peer);
    }

    /// `peer` is in the mesh of `topic` no more.
    fn left_mesh<S: Sink<input::Action>>(
        &mut self,
        hand: &mut Hand<'_, '_, S>,
        peer: PeerId,
        topic: &TopicName,
    ) {
        if let Some(scoring) = hand.setup.scoring() {
            self.scores.prune(&peer, topic, &scoring.params);
        }
        self.tell_mesh(hand, peer);
    }

    /// Tells the node if `peer` entered its first mesh or left its last one.
    fn tell_mesh<S: Sink<input::Action>>(&mut self, hand: &mut Hand<'_, '_, S>, peer: PeerId) {
        let member = self.mesh.is_member(&peer);
        let was = if member { !self.members.insert(peer) } else { self.members.remove(&peer) };
        if member != was {
            hand.events.push_back(Event::Mesh { peer, member });
        }
    }

    /// Calls `decide` with the mesh and what it is decided by.
    fn with_mesh<R>(
        &mut self,
        now: Instant,
        setup: &Setup,
        decide: impl FnOnce(&mut Mesh, &mut Around<'_, &dyn Fn(&PeerId) -> f64>) -> R,
    ) -> R {
        let Self { mesh, peers, backoffs, scores, .. } = self;
        let score = |peer: &PeerId| match setup.scoring() {
            Some(scoring) => scores.score(peer, &scoring.params),
            None => 0.0,
        };
        decide(mesh, &mut Around { now, rules: &setup.mesh, peers, backoffs, score: &score })
    }

    /// Work that is left over: checks that ended, ids that are over.
    pub fn on_left_over<S: Sink<input::Action>>(&mut self, hand: &mut Hand<'_, '_, S>) {
        self.act_on_checks(hand);
        self.expire(hand);
    }

    /// Sends what may be sent, to each peer at once.
    pub fn flush<S: Sink<input::Action>>(&mut self, hand: &mut Hand<'_, '_, S>) {
        let now = hand.now();
        while let Some(peer) = hand.conns.outboxes_mut().next_ready() {
            let Some(connection) = self.streams.connection(&peer) else { continue };
            let mut frames = Vec::new();
            let untold = self.streams.untold(&peer, &self.names, self.names_version);
            if !untold.is_empty() {
                let frame = control_frames::subscriptions(&untold);
                hand.conns.outboxes_mut().sent_directly(&peer, frame.len() as u64);
                frames.push(frame);
            }
            hand.conns.outboxes_mut().take(now, &hand.setup.outbox, &peer, &mut frames);
            if !frames.is_empty() {
                hand.cx.push(Action::Send { connection, frames });
            }
        }
    }

    /// What became of everything.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Copies and what became of them.
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Meshes and fanouts.
    pub fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    /// Neighbours and their subscriptions.
    pub fn peers(&self) -> &Peers {
        &self.peers
    }

    /// Streams.
    pub fn streams(&self) -> &Streams {
        &self.streams
    }

    /// Messages that are kept to be given.
    pub fn cache(&self) -> &MessageCache {
        &self.cache
    }

    /// Gives up the kept messages of the oldest heartbeat that has some: their number and bytes.
    pub fn shed_cache(&mut self) -> Option<(u64, u64)> {
        self.cache.shed_oldest()
    }

    /// Scores.
    pub fn scores(&self) -> &Scores {
        &self.scores
    }

    /// Promises that are watched.
    pub fn promises(&self) -> &Promises {
        &self.promises
    }

    /// Full structural check: parts agree with each other and within themselves.
    ///
    /// # Errors
    /// What does not.
    pub fn check(&self) -> Result<(), &'static str> {
        self.peers.check()?;
        self.seen.check()?;
        self.cache.check()?;
        self.promises.check()?;
        let of = &self.tally;
        let copies = self.seen.outcomes().copies;
        let others =
            of.messages_unknown_topic + of.messages_breach + of.messages_incompatible + of.messages_own;
        if of.messages != others + copies {
            return Err("a message has no end, or two");
        }
        if self.waiting.len() != self.seen.len().0 {
            return Err("copies that wait and copies that are pending disagree");
        }
        let is_member = |peer: &PeerId| self.mesh.is_member(peer);
        if !self.members.iter().all(is_member) {
            return Err("a neighbour is said to be in a mesh and is in none");
        }
        if self.names.len() != self.joined.len() {
            return Err("topics and their names disagree");
        }
        Ok(())
    }
}

/// Topics that are published to without being joined.
const FANOUTS_MAX: u32 = 64;
/// Backoffs kept for each peer: more than topics of ours.
const BACKOFFS_PER_PEER: u32 = 16;
