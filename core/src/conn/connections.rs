//! The connection room: one component of the node, made of table, dialer, address book and discovery.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use peerage_proto::multiaddr::Multiaddr;
use peerage_proto::peer_id::PeerId;

use super::address_book::{self, AddressBook};
use super::dialer::Dialer;
use super::discovery::Discovery;
use super::outbox::{self, Outboxes};
use super::table::{Connection, Pending, Table};
use super::trim::{self, Worth};
use super::{
    Action, CloseReason, Config, ConnectionId, Direction, DisconnectReason, Event, Source, admission,
};
use crate::common::sip::HashKey;
use crate::common::timers::Timers;
use crate::explain::Notice;
use crate::gossipsub::Topic;
use crate::input::{self, Document};
use crate::limits::Limits;
use crate::memory::CONNECTION_BYTES;
use crate::node::ctx::{Ctx, DialTarget, Purpose};
use crate::sink::Sink;
use crate::state::state;
use crate::time::{Instant, Now, Timer};

state! {
    /// Who is connected, whom to dial and when, limits, addresses.
    #[derive(Clone, Debug)]
    pub struct Connections {
        table: Table,
        dialer: Dialer,
        book: AddressBook,
        discovery: Discovery,
        /// What we asked to be closed, and why.
        closing: BTreeMap<ConnectionId, DisconnectReason>,
        /// When each connected peer's first connection was made.
        since: BTreeMap<PeerId, Instant>,
        listening: Vec<Multiaddr>,
        outboxes: Outboxes,
        /// Whether the address cache is being written, and whether it has changed since.
        is_saving: bool,
        is_dirty: bool,
    }
}

/// What an event changed for the rest of the node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Change {
    /// Nothing beyond this room.
    None,
    /// A peer has its first connection.
    Connected(PeerId),
    /// A peer has one more connection, or one that is refused.
    Another(PeerId),
    /// A peer's last connection ended.
    Disconnected(PeerId),
    /// A connection ended because its peer flooded it.
    Flooded {
        /// Who.
        peer: PeerId,
        /// Whether it was its last.
        was_last: bool,
    },
    /// Many bytes came from a peer.
    Received(PeerId, u64),
}

impl Connections {
    /// An empty room, to search the members of `topics`.
    pub fn new(
        limits: &Limits,
        seed: &[u8; 32],
        key: HashKey,
        topics: &[Topic],
        outbox: &outbox::Bounds,
    ) -> Self {
        Self {
            table: Table::default(),
            dialer: Dialer::new(seed),
            book: AddressBook::new(limits, key),
            discovery: Discovery::new(topics),
            closing: BTreeMap::new(),
            since: BTreeMap::new(),
            listening: Vec::new(),
            outboxes: Outboxes::new(outbox),
            is_saving: false,
            is_dirty: false,
        }
    }

    /// Listens, and begins to dial and to search.
    pub fn start<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        config: &Config,
        timers: &mut Timers,
    ) {
        for addr in &config.listen {
            cx.push(Action::Listen { addr: addr.clone() });
        }
        for (addrs, source) in
            [(&config.bootstrap, Source::Bootstrap), (&config.static_peers, Source::Static)]
        {
            for addr in addrs {
                let key = match addr.peer_id() {
                    Some(peer) => DialTarget::Peer(peer),
                    None => DialTarget::Address(addr.clone()),
                };
                self.dialer.add(cx, config, key, [addr.clone()], source);
            }
        }
        self.discovery.start(config, cx.now, timers);
        timers.set(Timer::Trim, cx.now.mono.after(config.trim_interval));
        self.plan_dials(cx.limits, config, timers);
    }

    /// Applies one event.
    pub fn on_event<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        config: &Config,
        timers: &mut Timers,
        local_peer: &PeerId,
        event: Event,
    ) -> Change {
        let change = match event {
            Event::Listening { addr } => {
                self.listening.push(addr.clone());
                cx.tell(Notice::Listening { addr });
                Change::None
            }
            Event::ListeningEnded { addr } => {
                self.listening.retain(|other| *other != addr);
                Change::None
            }
            Event::Incoming { pending, addr } => {
                if let Some(oldest) = admission::displaces(config, &self.table, &addr) {
                    self.table.displace(oldest);
                    cx.push(Action::Refuse { pending: oldest, reason: DisconnectReason::HandshakeLimit });
                    cx.counters.refuse(DisconnectReason::HandshakeLimit);
                }
                let refused =
                    admission::refuse_incoming(config, cx.limits, &self.table, self.dialer.inflight(), &addr)
                        .or_else(|| cx.is_short_of_memory.then_some(DisconnectReason::Memory));
                self.table.accept(pending, Pending { addr: addr.clone(), admitted: refused.is_none() });
                match refused {
                    Some(reason) => {
                        cx.push(Action::Refuse { pending, reason });
                        cx.counters.refuse(reason);
                        cx.tell(Notice::Refused { addr, reason });
                    }
                    None => cx.push(Action::Admit { pending }),
                }
                Change::None
            }
            Event::IncomingEnded { pending } => {
                self.table.end_pending(pending);
                Change::None
            }
            Event::Established { id, peer, addr, direction } => {
                let connection = Connection { peer, addr, direction, since: cx.now.mono };
                self.establish(cx, config, timers, local_peer, id, connection)
            }
            Event::Received { id, bytes } => match self.table.get(id) {
                Some(connection) => Change::Received(connection.peer, bytes),
                None => Change::None,
            },
            Event::Closed { id, reason } => self.on_closed(cx, config, id, reason),
            Event::Identified { peer, listen_addrs, agent_version: _, protocol_version: _ } => {
                if self.table.is_connected(&peer) {
                    self.book.learn(cx.now, config, peer, peer, listen_addrs);
                }
                Change::None
            }
            Event::Found { peer, addrs, source } => {
                self.found(cx, config, local_peer, peer, addrs, source);
                Change::None
            }
            Event::AddressesAsked { ask, from: _, target } => {
                let addrs = self.book.addrs(&target).to_vec();
                cx.push(Action::AnswerAddresses { ask, addrs });
                Change::None
            }
        };
        self.plan_dials(cx.limits, config, timers);
        change
    }

    fn establish<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        config: &Config,
        timers: &mut Timers,
        local_peer: &PeerId,
        id: ConnectionId,
        connection: Connection,
    ) -> Change {
        let inbound = match connection.direction {
            Direction::Inbound(pending) => {
                self.table.end_pending(pending);
                true
            }
            Direction::Outbound(_) => false,
        };
        let (peer, addr) = (connection.peer, connection.addr.clone());
        let refused = admission::refuse_established(config, cx.limits, &self.table, local_peer, &peer, &addr);
        self.table.establish(id, connection);
        if let Some(reason) = refused {
            self.close(cx, id, reason);
        }
        if refused.is_some() || self.since.contains_key(&peer) {
            return Change::Another(peer);
        }
        self.since.insert(peer, cx.now.mono);
        self.book.saw(cx.now, config, peer, (!inbound).then(|| addr.clone()));
        self.dialer.on_connected(peer);
        self.discovery.forget(&peer);
        self.discovery.on_peer(config, cx.now, timers);
        timers.set_earlier(Timer::AddressCache, cx.now.mono.after(config.cache_delay));
        cx.tell(Notice::PeerConnected { peer, id, inbound, addr });
        Change::Connected(peer)
    }

    fn on_closed<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        config: &Config,
        id: ConnectionId,
        reason: CloseReason,
    ) -> Change {
        let asked = self.closing.remove(&id);
        let Some((connection, last)) = self.table.close(id) else { return Change::None };
        let peer = connection.peer;
        // What we had asked for is counted already.
        let flooded = reason == CloseReason::Flood && asked.is_none();
        if flooded {
            cx.counters.close(DisconnectReason::Flood);
        }
        if !last {
            return if flooded { Change::Flooded { peer, was_last: false } } else { Change::None };
        }
        let Some(since) = self.since.remove(&peer) else {
            // Every connection of the peer was refused: nobody heard of it, and one that we keep is tried again.
            self.dialer.on_disconnected(cx.now, config, peer, Duration::ZERO);
            return Change::None;
        };
        self.book.gone(cx.now, &peer);
        cx.tell(Notice::PeerDisconnected { peer, reason, asked });
        if asked == Some(DisconnectReason::Deaf) {
            let addrs = self.book.addrs(&peer).to_vec();
            self.dialer.add(cx, config, DialTarget::Peer(peer), addrs, Source::Peer);
        }
        self.dialer.on_disconnected(cx.now, config, peer, cx.now.mono.saturating_since(since));
        if flooded { Change::Flooded { peer, was_last: true } } else { Change::Disconnected(peer) }
    }

    fn found<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        config: &Config,
        local_peer: &PeerId,
        peer: PeerId,
        addrs: Vec<Multiaddr>,
        source: Source,
    ) {
        if peer == *local_peer || self.table.is_connected(&peer) || self.has_enough(config) {
            return;
        }
        self.dialer.add(cx, config, DialTarget::Peer(peer), addrs, source);
    }

    fn has_enough(&self, config: &Config) -> bool {
        self.table.peer_count() >= config.high_water as usize
    }

    /// A dial ended.
    pub fn on_dialed<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        config: &Config,
        timers: &mut Timers,
        target: &DialTarget,
        result: Result<ConnectionId, super::DialError>,
    ) {
        let connected =
            result.as_ref().ok().and_then(|id| self.table.get(*id)).map(|connection| connection.peer);
        let table = &self.table;
        if let (DialTarget::Address(_), Some(peer)) = (target, connected) {
            self.dialer.identify(cx, config, target, peer);
        }
        self.dialer.on_dialed(cx, config, target, result.err(), |peer| table.is_connected(peer));
        match (target, connected) {
            (DialTarget::Address(_), Some(_)) => {}
            (DialTarget::Peer(_), Some(peer)) => self.dialer.on_connected(peer),
            (_, None) => {}
        }
        self.plan_dials(cx.limits, config, timers);
    }

    /// A neighbour answered where `author` is.
    pub fn on_addresses<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        config: &Config,
        timers: &mut Timers,
        local_peer: &PeerId,
        author: PeerId,
        addrs: Vec<Multiaddr>,
    ) {
        self.found(cx, config, local_peer, author, addrs, Source::Peer);
        self.plan_dials(cx.limits, config, timers);
    }

    /// An announcement in the DHT ended.
    pub fn on_provided(&mut self, now: Now, config: &Config, timers: &mut Timers, ok: bool) {
        if !ok {
            self.discovery.on_provide_failed(config, now, timers);
        }
    }

    /// What waits to be sent to each peer.
    pub fn outboxes(&self) -> &Outboxes {
        &self.outboxes
    }

    /// The same, to put in and take out.
    pub fn outboxes_mut(&mut self) -> &mut Outboxes {
        &mut self.outboxes
    }

    /// Whether we asked for a connection to be closed.
    pub fn is_closing(&self, id: ConnectionId) -> bool {
        self.closing.contains_key(&id)
    }

    /// Closes a connection.
    pub fn close<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        id: ConnectionId,
        reason: DisconnectReason,
    ) {
        if self.table.get(id).is_some() && !self.closing.contains_key(&id) {
            self.closing.insert(id, reason);
            cx.counters.close(reason);
            cx.push(Action::Close { id, reason });
        }
    }

    /// Closes every connection of `peer`.
    pub fn disconnect<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        peer: &PeerId,
        reason: DisconnectReason,
    ) {
        for id in self.table.of_peer(peer).to_vec() {
            self.close(cx, id, reason);
        }
    }

    /// Dials what is due, but nobody who `is_banned`.
    pub fn dial_due<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        config: &Config,
        timers: &mut Timers,
        is_banned: impl Fn(&PeerId) -> bool,
    ) {
        let (enough, room) = (self.has_enough(config), self.room(cx.limits));
        self.dialer.dial_due(cx, config, enough, room, is_banned);
        self.plan_dials(cx.limits, config, timers);
    }

    /// Connections that may still be made.
    fn room(&self, limits: &Limits) -> usize {
        let taken = self.table.connection_count() + self.table.pending_count();
        (limits.connections_max as usize).saturating_sub(taken)
    }

    fn plan_dials(&self, limits: &Limits, config: &Config, timers: &mut Timers) {
        match self.dialer.next_due(config, self.room(limits)) {
            Some(at) => timers.set(Timer::Dial, at),
            None => timers.stop(Timer::Dial),
        }
    }

    /// Closes what is too many, up to the budget of one input, and plans the next look: at once if some are left.
    pub fn trim<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        config: &Config,
        timers: &mut Timers,
        worth: impl Fn(&PeerId) -> Worth,
    ) {
        // A peer that we keep is known by its id once it is connected, though its address may not name it.
        let worth = |peer: &PeerId| if self.dialer.keeps(peer) { Worth::Protected } else { worth(peer) };
        let closing = |id: ConnectionId| self.closing.contains_key(&id);
        let victims = trim::victims(config, cx.now, &self.table, closing, worth);
        let budget = cx.limits.work_per_input_max as usize;
        for peer in victims.iter().take(budget) {
            self.disconnect(cx, peer, DisconnectReason::Trimmed);
        }
        let delay = if victims.len() > budget { Duration::ZERO } else { config.trim_interval };
        timers.set(Timer::Trim, cx.now.mono.after(delay));
    }

    /// Closes the least valued peers for lack of memory until `excess` bytes will be free, those of whom we asked it already
    /// included.
    pub fn shed<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        mut excess: u64,
        worth: impl Fn(&PeerId) -> Worth,
    ) {
        if excess == 0 {
            return;
        }
        let worth = |peer: &PeerId| if self.dialer.keeps(peer) { Worth::Protected } else { worth(peer) };
        let closing = |id: ConnectionId| self.closing.contains_key(&id);
        let victims = trim::least_valued(&self.table, closing, worth);
        for peer in victims.into_iter().take(cx.limits.work_per_input_max as usize) {
            if excess == 0 {
                break;
            }
            let connections = self.table.of_peer(&peer).len() as u64;
            self.disconnect(cx, &peer, DisconnectReason::Memory);
            excess = excess.saturating_sub(connections.saturating_mul(CONNECTION_BYTES));
        }
    }

    /// Bytes that are free once the connections have ended that are being closed.
    pub fn closing_bytes(&self) -> u64 {
        (self.closing.len() as u64).saturating_mul(CONNECTION_BYTES)
    }

    /// Forgets addresses that are too old, up to `budget` of them; whether some may be left.
    #[must_use]
    pub fn sweep(&mut self, now: Now, config: &Config, budget: u32) -> bool {
        self.book.sweep(now, config.cache_age_max, budget)
    }

    /// One round of discovery. `strangers`: authors that are heard but not connected.
    pub fn discover<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        config: &Config,
        timers: &mut Timers,
        strangers: impl Iterator<Item = PeerId>,
    ) {
        let neighbours: Vec<PeerId> = self.table.peers().copied().collect();
        self.discovery.round(cx, config, timers, &neighbours, strangers);
    }

    /// Forgets whom neighbours were asked for when nobody speaks of them any more.
    pub fn forget_asked(&mut self, is_known: impl Fn(&PeerId) -> bool) {
        self.discovery.retain_asked(is_known);
    }

    /// Announces the topics in the DHT.
    pub fn provide<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        config: &Config,
        timers: &mut Timers,
    ) {
        if self.table.peer_count() > 0 {
            self.discovery.provide(cx, config, timers);
        } else {
            self.discovery.on_provide_failed(config, cx.now, timers);
        }
    }

    /// Writes the address cache: the topic peers connected now, with their names.
    pub fn save_cache<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        topic_peers: impl Iterator<Item = (PeerId, String)>,
    ) {
        if self.is_saving {
            self.is_dirty = true;
            return;
        }
        let content = self.book.to_cache(topic_peers).into();
        let Some(op) = cx.begin(Purpose::Store(Document::AddressCache)) else { return };
        self.is_saving = true;
        cx.push(input::Action::Store { op, document: Document::AddressCache, content });
    }

    /// The address cache was written, or was not.
    pub fn on_saved(&mut self, now: Now, config: &Config, timers: &mut Timers) {
        self.is_saving = false;
        if core::mem::take(&mut self.is_dirty) {
            timers.set_earlier(Timer::AddressCache, now.mono.after(config.cache_delay));
        }
    }

    /// Takes the address cache of an earlier life.
    pub fn load_cache<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        config: &Config,
        timers: &mut Timers,
        local_peer: &PeerId,
        file: &[u8],
    ) {
        match address_book::from_cache(cx.now, config.cache_age_max, file) {
            Ok(peers) => {
                for (peer, addrs) in peers.into_iter().take(cx.limits.dial_targets_max as usize) {
                    self.found(cx, config, local_peer, peer, addrs, Source::Cache);
                }
            }
            Err(problem) => cx.tell(Notice::Unreadable { what: "teranode_peers.json".into(), problem }),
        }
        self.plan_dials(cx.limits, config, timers);
    }

    /// Full structural check.
    ///
    /// # Errors
    /// What does not hold.
    pub fn check(&self) -> Result<(), &'static str> {
        self.table.check()?;
        self.dialer.check()?;
        self.outboxes.check()?;
        self.book.check()
    }

    /// Who is connected.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Where peers can be reached.
    pub fn book(&self) -> &AddressBook {
        &self.book
    }

    /// Whom to dial.
    pub fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    /// Where we listen.
    pub fn listening(&self) -> &[Multiaddr] {
        &self.listening
    }
}
