//! The driver: swarm events become inputs of the core, actions of the core become calls on the swarm. No decisions.

use std::collections::{HashSet, VecDeque};
use std::num::NonZeroU8;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use futures_timer::Delay;
use libp2p::core::transport::ListenerId;
use libp2p::swarm::Executor;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Swarm, relay};
use peerage_core::conn::{
    Action as ConnAction, ConnectionId, DialError, Event as ConnEvent, RECEIVED_BYTES_MIN,
};
use peerage_core::gossipsub::stream::Action as GossipAction;
use peerage_core::input::{Failed, Input, OpResult};
use peerage_core::op::OpId;
use peerage_proto::{Multiaddr, PeerId};

use super::behaviour::{self, Behaviour, Options};
use super::budget::Budget;
use super::gate::{Arrivals, Gate, Traffic};
use super::mdns::Mdns;
use super::pubsub::{self, News, Theirs};
use super::reach::Reach;
use super::relief::{self, Relief};
use super::signatures::{Signatures, Unblock};
use super::streams::Streams;
use super::transport::{self, RawTransport};
use super::upnp::{self, Mapper};
use super::{convert, dht, links};
use crate::heap;
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
    /// Runs long checks of signatures, and what blocks.
    pub unblock: Unblock,
    /// Parts of the behaviour.
    pub options: Options<'a>,
    /// Our announced addresses.
    pub announce: Announce,
    /// What one connection may send.
    pub budget: Budget,
    /// Peers who may be our relays; none: no places on relays are sought.
    pub relays: Vec<Multiaddr>,
    /// Whether peers are looked for on the local network.
    pub mdns: bool,
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
    pub(super) reach: Reach,
    pub(super) mdns: Option<Mdns>,
    pub(super) mapper: Option<Mapper>,
    pub(super) accepting: bool,
    pub(super) hearing: bool,
    streams: Streams,
    signatures: Signatures,
    relief: Relief,
    /// When the heap is looked at next; none without a contract.
    relieving: Option<Delay>,
    news_in_row: u32,
    tick: Delay,
    unheard: u64,
    pub(super) failed: Option<ListenFailed>,
    /// Listeners that have no address yet.
    pub(super) addressless: HashSet<ListenerId>,
    pub(super) tally: Arc<Tally>,
}

/// Swarm events handled in one go before others get their turn.
const EVENTS_MAX: usize = 64;

/// News of pubsub before everything else gets its turn.
const NEWS_MAX: u32 = 64;

/// Between looks at what came in and at what has expired.
const TICK: Duration = Duration::from_secs(1);

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
        let local = start.options.key.public().to_peer_id();
        let (relays, relay_client) = relay::client::new(local);
        let (gate, arrivals) = Gate::new(transport::with_relays(start.raw, relays), start.budget);
        let traffic = gate.traffic();
        let stack = transport::upgrade(gate, start.options.key)?;
        let behaviour = behaviour::behaviour(&start.options, relay_client);
        let streams = Streams::new(behaviour.stream.new_control())?;
        let config = libp2p::swarm::Config::with_executor(Run(start.executor))
            .with_idle_connection_timeout(IDLE)
            .with_dial_concurrency_factor(NonZeroU8::new(4).expect("4 is not 0"));
        let mut swarm = Swarm::new(stack, behaviour, local, config);
        let id = convert::peer(&local).filter(|_| start.mdns);
        let mdns = id.map(Mdns::start);
        if let Announce::Exactly(addrs) = &start.announce {
            addrs.iter().filter_map(convert::libp2p_addr).for_each(|addr| swarm.add_external_address(addr));
        }
        Ok(Self {
            swarm,
            arrivals,
            links: links::Links::default(),
            traffic,
            queries: dht::Queries::default(),
            queued: VecDeque::new(),
            announce: start.announce,
            dial_private: start.options.dial_private,
            mapper: start.options.nat.then(|| Mapper::new(upnp::aside())),
            mdns: mdns.transpose().map_err(|error| format!("mDNS: {error}"))?,
            reach: Reach::new(start.relays.iter().filter_map(convert::libp2p_addr)),
            accepting: true,
            hearing: true,
            streams,
            signatures: Signatures::new(start.options.key.clone(), start.unblock),
            relief: Relief::default(),
            relieving: None,
            news_in_row: 0,
            tick: Delay::new(TICK),
            unheard: 0,
            failed: None,
            addressless: HashSet::new(),
            tally: start.tally,
        })
    }

    /// What the core can take now: while it can not, sockets are refused and what came on streams of pubsub waits; when enough
    /// waits, they are not read.
    pub fn set_demand(&mut self, accept: bool, gossip: bool) {
        self.accepting = accept;
        self.hearing = gossip;
    }

    /// Frames that waited for demand when their connection closed.
    pub fn unheard(&self) -> u64 {
        self.unheard
    }

    /// Bytes of pubsub between their streams and the core.
    pub fn in_transit(&self) -> usize {
        self.swarm.behaviour().pubsub.in_transit()
    }

    /// The heap has a contract, `bytes` of it for what came in and the core has not taken.
    pub fn keep_contract(&mut self, bytes: usize) {
        self.swarm.behaviour().pubsub.bound_incoming(bytes);
        if let Some(kad) = self.swarm.behaviour_mut().kad.as_mut() {
            kad.store_mut().bound(bytes / 4);
        }
        self.relieving = Some(Delay::new(relief::INTERVAL));
    }

    /// Connections closed because the heap was over its contract, and the bytes that they were thought to hold.
    pub fn relieved(&self) -> (u64, u64) {
        self.relief.closed()
    }

    fn relieve(&mut self) {
        let Self { swarm, links, relief, .. } = self;
        let pubsub = &swarm.behaviour().pubsub;
        let held = links.meters().map(|(id, stock, meter)| (id, meter, pubsub.held(stock) as u64));
        for id in relief.look(held, heap::excess()) {
            if let Some(id) = links.closing(id) {
                swarm.close_connection(id);
            }
        }
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
            if let Some(input) = self.next_at_hand(cx) {
                return Poll::Ready(input);
            }
            if self.tick.poll_unpin(cx).is_ready() {
                self.tick.reset(TICK);
                if let Some(kad) = self.swarm.behaviour_mut().kad.as_mut() {
                    kad.store_mut().sweep(std::time::Instant::now());
                }
                self.seek_relays();
                if let Some(mapper) = &mut self.mapper {
                    mapper.begin(std::time::Instant::now());
                }
                let received = self.links.received(RECEIVED_BYTES_MIN).into_iter();
                self.queued
                    .extend(received.map(|(id, bytes)| Input::Conn(ConnEvent::Received { id, bytes })));
                continue;
            }
            if self.relieving.as_mut().is_some_and(|delay| delay.poll_unpin(cx).is_ready()) {
                self.relieving = Some(Delay::new(relief::INTERVAL));
                self.relieve();
                continue;
            }
            if let Poll::Ready(input) = self.streams.poll_next(cx) {
                return Poll::Ready(input);
            }
            if let Some(mapper) = &mut self.mapper
                && let Poll::Ready(changes) = mapper.poll_next(cx, std::time::Instant::now())
            {
                changes.into_iter().for_each(|change| self.on_mapping(change));
                continue;
            }
            if let Some(Poll::Ready(found)) = self.mdns.as_mut().map(|mdns| mdns.poll_next(cx)) {
                return Poll::Ready(Input::Conn(found));
            }
            match self.swarm.poll_next_unpin(cx) {
                Poll::Ready(Some(event)) => self.on_swarm_event(event),
                Poll::Ready(None) | Poll::Pending => {
                    self.news_in_row = 0;
                    let next = self.next_checked().or_else(|| self.next_news());
                    // Something came while we looked elsewhere.
                    if next.is_none() && self.swarm.behaviour().pubsub.poll_news(cx).is_ready() {
                        cx.waker().wake_by_ref();
                    }
                    return next.map_or(Poll::Pending, Poll::Ready);
                }
            }
        }
        self.news_in_row = 0;
        match self.next_checked() {
            Some(input) => Poll::Ready(input),
            None => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    /// What needs no look at the swarm. News of pubsub let everything else have its turn: it may come without end.
    fn next_at_hand(&mut self, cx: &mut Context<'_>) -> Option<Input> {
        if let Some(input) = self.queued.pop_front() {
            return Some(input);
        }
        if let Poll::Ready((op, ends)) = self.signatures.poll_next(cx) {
            return Some(Input::Op(op, OpResult::Verified(ends)));
        }
        if self.signatures.is_full() {
            return self.next_checked();
        }
        let news = if self.news_in_row < NEWS_MAX { self.next_news() } else { None };
        self.news_in_row += u32::from(news.is_some());
        news
    }

    fn next_checked(&mut self) -> Option<Input> {
        self.signatures.check_waiting().map(|(op, ends)| Input::Op(op, OpResult::Verified(ends)))
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

    /// Starts an action of the pubsub router. What concerns a connection that has closed is nothing any more.
    pub fn start_gossip(&mut self, action: GossipAction) {
        match action {
            GossipAction::Open { connection } => self.with_pubsub(connection, pubsub::Behaviour::open),
            GossipAction::Close { connection } => self.with_pubsub(connection, pubsub::Behaviour::close),
            GossipAction::Reset { connection } => self.with_pubsub(connection, pubsub::Behaviour::reset),
            GossipAction::Send { connection, frames } => {
                self.with_pubsub(connection, |pubsub, id| pubsub.send(id, frames));
            }
            GossipAction::Sign { op, bytes } => {
                let signed = self.signatures.sign(&bytes).map_err(Failed);
                self.queued.push_back(Input::Op(op, OpResult::Signed(signed)));
            }
            GossipAction::Verify { op, checks } => self.signatures.check(op, checks),
        }
    }

    fn with_pubsub(
        &mut self,
        connection: ConnectionId,
        order: impl FnOnce(&mut pubsub::Behaviour, libp2p::swarm::ConnectionId),
    ) {
        if let Some(id) = self.links.named(connection) {
            order(&mut self.swarm.behaviour_mut().pubsub, id);
        }
    }

    /// What happened on a stream of pubsub, if the core can take it.
    pub(super) fn next_news(&mut self) -> Option<Input> {
        while let Some((connection, news)) = self.swarm.behaviour_mut().pubsub.next(self.hearing) {
            if let Some(connection) = self.links.of(connection) {
                return Some(Input::Gossipsub(news.of(connection)));
            }
            self.unheard += u64::from(matches!(news, News::Theirs(Theirs::Frame(_))));
        }
        None
    }

    /// Direct streams of the older transport have a protocol name without a leading slash, which stock libp2p refuses.
    pub fn refuse_direct(&mut self, op: OpId) {
        let failed = Failed("direct streams of the older transport are not built".to_owned());
        self.queued.push_back(Input::Op(op, OpResult::SentDirect(Err(failed))));
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
