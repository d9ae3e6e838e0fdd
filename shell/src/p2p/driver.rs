//! The driver: swarm events become inputs of the core, actions of the core become calls on the swarm. No decisions.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::num::NonZeroU8;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use futures_timer::Delay;
use libp2p::Swarm;
use libp2p::core::transport::ListenerId;
use libp2p::gossipsub::{IdentTopic, MessageAcceptance, PublishError as StockPublishError, TopicHash};
use libp2p::swarm::Executor;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use peerage_core::conn::{Action as ConnAction, DialError, Event as ConnEvent, RECEIVED_BYTES_MIN};
use peerage_core::gossipsub::{
    Acceptance, Action as GossipAction, Event as GossipEvent, MessageId, PublishError, PublishResult, Topic,
};
use peerage_core::input::{Failed, Input, OpResult};
use peerage_core::op::OpId;
use peerage_proto::{Multiaddr, PeerId};

use super::behaviour::{self, Behaviour, Options};
use super::budget::Budget;
use super::gate::{Arrivals, Gate, Traffic};
use super::streams::Streams;
use super::transport::{self, RawTransport};
use super::{convert, dht, links};
use crate::http::server::Tally;

/// What identify tells about our addresses (spec 12.3).
#[derive(Clone, Debug)]
pub enum Announce {
    /// These and no others.
    Exactly(Vec<Multiaddr>),
    /// Those we listen on; private ones only if told so.
    Listening {
        /// Whether private ones are told.
        private: bool,
    },
}

/// What the driver is built from.
pub struct Start<'a> {
    /// TCP and DNS of the runtime, which already refuses private addresses if they are not to be dialled.
    pub raw: RawTransport,
    /// Runs connections.
    pub executor: Box<dyn Executor + Send>,
    /// Parts of the behaviour.
    pub options: Options<'a>,
    /// Our announced addresses.
    pub announce: Announce,
    /// What one connection may send.
    pub budget: Budget,
    /// Whether private addresses that peers tell are kept.
    pub dial_private: bool,
    /// Counts failures to accept.
    pub tally: Arc<Tally>,
}

/// An address that could not be listened on. The node cannot start without it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListenFailed {
    /// Where.
    pub addr: String,
    /// Why.
    pub cause: String,
}

/// libp2p, driven.
pub struct P2p {
    pub(super) swarm: Swarm<Behaviour>,
    pub(super) arrivals: Arrivals,
    pub(super) links: links::Links,
    pub(super) traffic: Traffic,
    pub(super) queries: dht::Queries,
    pub(super) queued: VecDeque<Input>,
    pub(super) announce: Announce,
    pub(super) dial_private: bool,
    pub(super) accepting: bool,
    pub(super) hearing: bool,
    streams: Streams,
    topics: HashMap<TopicHash, Topic>,
    payload_bytes_max: usize,
    mesh: BTreeSet<PeerId>,
    heartbeat: Delay,
    heartbeat_interval: Duration,
    pub(super) ignored: u64,
    pub(super) failed: Option<ListenFailed>,
    /// Listeners that have no address yet.
    pub(super) addressless: HashSet<ListenerId>,
    pub(super) tally: Arc<Tally>,
}

/// Swarm events handled in one go before others get their turn.
const EVENTS_MAX: usize = 64;

/// Longer than any node lives: the core closes idle connections.
const IDLE: Duration = Duration::from_secs(365 * 24 * 3600);

impl P2p {
    /// Builds the swarm. It listens and dials when told.
    ///
    /// # Errors
    /// When a part refuses its values.
    pub fn new(start: Start<'_>) -> Result<Self, String> {
        struct Run(Box<dyn Executor + Send>);
        impl Executor for Run {
            fn exec(&self, task: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>) {
                self.0.exec(task);
            }
        }
        let (gate, arrivals) = Gate::new(start.raw, start.budget);
        let traffic = gate.traffic();
        let stack = transport::upgrade(gate, start.options.key)?;
        let behaviour = behaviour::behaviour(&start.options)?;
        let streams = Streams::new(behaviour.stream.new_control())?;
        let config = libp2p::swarm::Config::with_executor(Run(start.executor))
            .with_idle_connection_timeout(IDLE)
            .with_dial_concurrency_factor(NonZeroU8::new(4).expect("4 is not 0"));
        let local = start.options.key.public().to_peer_id();
        let mut swarm = Swarm::new(stack, behaviour, local, config);
        if let Announce::Exactly(addrs) = &start.announce {
            addrs.iter().filter_map(convert::libp2p_addr).for_each(|addr| swarm.add_external_address(addr));
        }
        let values = start.options.gossipsub;
        Ok(Self {
            swarm,
            arrivals,
            links: links::Links::default(),
            traffic,
            queries: dht::Queries::default(),
            queued: VecDeque::new(),
            announce: start.announce,
            dial_private: start.dial_private,
            accepting: true,
            hearing: true,
            streams,
            topics: HashMap::new(),
            payload_bytes_max: usize::try_from(values.payload_bytes_max()).unwrap_or(usize::MAX),
            mesh: BTreeSet::new(),
            heartbeat: Delay::new(values.heartbeat_initial_delay),
            heartbeat_interval: values.heartbeat_interval,
            ignored: 0,
            failed: None,
            addressless: HashSet::new(),
            tally: start.tally,
        })
    }

    /// What the core can take now: sockets are refused and gossip is answered `Ignore` while it can not.
    pub fn set_demand(&mut self, accept: bool, gossip: bool) {
        self.accepting = accept;
        self.hearing = gossip;
    }

    /// Gossip messages answered `Ignore` for want of demand.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Whether every listener has an address.
    pub fn listens_everywhere(&self) -> bool {
        self.addressless.is_empty()
    }

    /// Provider records of the DHT that found no room.
    pub fn providers_refused(&mut self) -> u64 {
        self.swarm.behaviour_mut().kad.as_mut().map_or(0, |kad| kad.store_mut().refused())
    }

    /// An address that could not be listened on, once.
    pub fn take_failure(&mut self) -> Option<ListenFailed> {
        self.failed.take()
    }

    /// The next thing that the core is told.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Input> {
        for _ in 0..EVENTS_MAX {
            if let Some(input) = self.queued.pop_front() {
                return Poll::Ready(input);
            }
            if self.heartbeat.poll_unpin(cx).is_ready() {
                self.heartbeat.reset(self.heartbeat_interval);
                self.compare_mesh();
                if let Some(kad) = self.swarm.behaviour_mut().kad.as_mut() {
                    kad.store_mut().sweep(std::time::Instant::now());
                }
                let received = self.links.received(RECEIVED_BYTES_MIN).into_iter();
                self.queued
                    .extend(received.map(|(id, bytes)| Input::Conn(ConnEvent::Received { id, bytes })));
                continue;
            }
            if let Poll::Ready(input) = self.streams.poll_next(cx) {
                return Poll::Ready(input);
            }
            match self.swarm.poll_next_unpin(cx) {
                Poll::Ready(Some(event)) => self.on_swarm_event(event),
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Starts an action about connections.
    pub fn start_conn(&mut self, action: ConnAction) {
        match action {
            ConnAction::Listen { addr } => self.listen(&addr),
            ConnAction::Admit { pending } => self.links.admit(pending),
            ConnAction::Refuse { pending, reason: _ } => self.links.refuse(pending),
            ConnAction::Dial { op, peer, addrs } => self.dial(op, peer, &addrs),
            ConnAction::Close { id, reason: _ } => {
                if let Some(id) = self.links.closing(id) {
                    self.swarm.close_connection(id);
                }
            }
            ConnAction::Provide { op, key } => {
                let kad = self.swarm.behaviour_mut().kad.as_mut();
                self.queued.extend(self.queries.provide(kad, op, &key));
            }
            ConnAction::Search { op, key } => {
                let kad = self.swarm.behaviour_mut().kad.as_mut();
                self.queued.extend(self.queries.search(kad, op, &key));
            }
            ConnAction::AskAddresses { op, via, target } => {
                match convert::libp2p_peer(&via).filter(|via| self.swarm.is_connected(via)) {
                    Some(via) => self.streams.ask(op, via, target),
                    None => {
                        let failed = Failed("not connected".to_owned());
                        self.queued.push_back(Input::Op(op, OpResult::Addresses(Err(failed))));
                    }
                }
            }
            ConnAction::AnswerAddresses { ask, addrs } => self.streams.answer(ask, addrs),
        }
    }

    /// Starts an action of the pubsub router.
    pub fn start_gossip(&mut self, action: GossipAction) {
        match action {
            GossipAction::Subscribe { topic } => {
                let stock = IdentTopic::new(topic.as_str());
                self.topics.insert(stock.hash(), topic);
                // The filter of stock gossipsub refuses only past 100 topics; we have four.
                let _ = self.swarm.behaviour_mut().gossipsub.subscribe(&stock);
            }
            GossipAction::Publish { op, topic, data } => {
                let result = self.publish(&topic, data);
                self.queued.push_back(Input::Op(op, OpResult::Published(result)));
            }
            GossipAction::Report { id, propagation_source, acceptance } => {
                let Some(source) = convert::libp2p_peer(&propagation_source) else { return };
                self.report(&id, &source, acceptance);
            }
        }
    }

    /// Direct streams of the older transport have a protocol name without a leading slash, which stock libp2p refuses.
    pub fn refuse_direct(&mut self, op: OpId) {
        let failed = Failed("direct streams of the older transport are not built".to_owned());
        self.queued.push_back(Input::Op(op, OpResult::SentDirect(Err(failed))));
    }

    fn publish(&mut self, topic: &Topic, data: Bytes) -> PublishResult {
        if data.len() > self.payload_bytes_max {
            let cause = format!("{} bytes, and {} is the most", data.len(), self.payload_bytes_max);
            return Err(PublishError::Refused(cause));
        }
        let topic = TopicHash::from_raw(topic.as_str());
        match self.swarm.behaviour_mut().gossipsub.publish(topic, data) {
            Ok(_) => Ok(()),
            Err(StockPublishError::NoPeersSubscribedToTopic) => Err(PublishError::NoPeers),
            Err(StockPublishError::AllQueuesFull(_)) => Err(PublishError::QueuesFull),
            Err(
                error @ (StockPublishError::Duplicate
                | StockPublishError::SigningError(_)
                | StockPublishError::MessageTooLarge
                | StockPublishError::TransformFailed(_)),
            ) => Err(PublishError::Refused(error.to_string())),
        }
    }

    pub(super) fn report(&mut self, id: &MessageId, source: &libp2p::PeerId, acceptance: Acceptance) {
        let acceptance = match acceptance {
            Acceptance::Accept => MessageAcceptance::Accept,
            Acceptance::Reject => MessageAcceptance::Reject,
            Acceptance::Ignore => MessageAcceptance::Ignore,
        };
        let id = libp2p::gossipsub::MessageId::new(&id.0);
        self.swarm.behaviour_mut().gossipsub.report_message_validation_result(&id, source, acceptance);
    }

    fn listen(&mut self, addr: &Multiaddr) {
        let failed = |cause: String| ListenFailed { addr: addr.to_string(), cause };
        let Some(stock) = convert::libp2p_addr(addr) else {
            self.failed = Some(failed("not a multiaddr that libp2p knows".to_owned()));
            return;
        };
        match self.swarm.listen_on(stock) {
            Ok(id) => drop(self.addressless.insert(id)),
            Err(error) => self.failed = Some(failed(chain(&error))),
        }
    }

    fn dial(&mut self, op: OpId, peer: Option<PeerId>, addrs: &[Multiaddr]) {
        let stock: Vec<_> = addrs.iter().filter_map(convert::libp2p_addr).collect();
        let opts = match (peer.as_ref().and_then(convert::libp2p_peer), stock.first()) {
            (_, None) => {
                return self.queued.push_back(Input::Op(op, OpResult::Dialed(Err(DialError::NoAddress))));
            }
            (Some(peer), Some(_)) => {
                DialOpts::peer_id(peer).condition(PeerCondition::Always).addresses(stock).build()
            }
            (None, Some(first)) => DialOpts::unknown_peer_id().address(first.clone()).build(),
        };
        let id = opts.connection_id();
        self.links.dialling(id, op);
        if let Err(error) = self.swarm.dial(opts) {
            self.links.dial_ended(id);
            let error = super::swarm_events::dial_error(&error);
            self.queued.push_back(Input::Op(op, OpResult::Dialed(Err(error))));
        }
    }

    /// The core's name of a topic.
    pub(super) fn topic(&self, hash: &TopicHash) -> Topic {
        self.topics.get(hash).cloned().unwrap_or_else(|| Topic::from(hash.as_str()))
    }

    /// Stock gossipsub does not tell when the mesh changes, so it is looked at after each heartbeat.
    fn compare_mesh(&mut self) {
        let gossipsub = &self.swarm.behaviour().gossipsub;
        let mesh: BTreeSet<PeerId> = gossipsub.all_mesh_peers().filter_map(convert::peer).collect();
        let left = self.mesh.difference(&mesh).map(|peer| (*peer, false));
        let joined = mesh.difference(&self.mesh).map(|peer| (*peer, true));
        let changes =
            left.chain(joined).map(|(peer, member)| Input::Gossipsub(GossipEvent::Mesh { peer, member }));
        self.queued.extend(changes);
        self.mesh = mesh;
    }
}

impl std::fmt::Debug for P2p {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("P2p").field("local", self.swarm.local_peer_id()).field("links", &self.links).finish()
    }
}

/// An error with its causes, each said once.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = cause.source();
    }
    text
}
