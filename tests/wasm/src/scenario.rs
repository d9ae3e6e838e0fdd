//! A scenario of one node, drawn from a seed: peers come and go, gossip good and bad arrives, neighbours answer and
//! fail, time passes. It uses nothing of the machine that it runs on.

extern crate alloc;

#[path = "scenario/documents.rs"]
mod documents;
#[path = "scenario/pubsub.rs"]
mod pubsub;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use peerage_core::codec::Encode as _;
use peerage_core::conn::{self, AskId, CloseReason, ConnectionId, DhtMode, DialError, Direction, PendingId};
use peerage_core::gossipsub::MessageId;
use peerage_core::gossipsub::config::Scoring;
use peerage_core::gossipsub::peers::Version;
use peerage_core::gossipsub::score::{Params, TopicParams};
use peerage_core::gossipsub::stream::{self, CheckEnd};
use peerage_core::gossipsub::topic::TopicName;
use peerage_core::input::{Document, Failed, Neighbour, OpResult, StoreError};
use peerage_core::op::OpId;
use peerage_core::teranode::chain::{Answer, Event as ChainEvent, FsmState, Query, QueryError, Status};
use peerage_core::teranode::feed::{self, SubscriberId};
use peerage_core::teranode::{self, ProduceError, Record, TopicKind};
use peerage_core::time::Now;
use peerage_core::{Action, Config, Core as _, Input, Node};
use peerage_proto::hash::Hash256;
use peerage_proto::multiaddr::Multiaddr;
use peerage_proto::network::Network;
use peerage_proto::peer_id::PeerId;
use sha2::{Digest as _, Sha256};

use documents::{described, mined, text};

/// Inputs of a scenario, beside completions and timeouts.
const ROUNDS: u32 = 1000;
/// Peers that exist.
const PEERS: u64 = 6;

/// The hash of the scenario of `seed`. If `altered`, one input is another.
pub fn run(seed: u64, altered: bool) -> [u8; 32] {
    play(seed, altered).hash
}

/// A scenario that was played.
#[derive(Debug)]
pub struct Played {
    /// What the node was told at start.
    pub config: Config,
    /// Its seed.
    pub seed: [u8; 32],
    /// When it was made.
    pub start: Now,
    /// Every input, in order.
    pub inputs: Vec<(Now, Input)>,
    /// Over all inputs, actions and the last state.
    pub hash: [u8; 32],
}

/// Plays the scenario of `seed`. If `altered`, one input is another.
pub fn play(seed: u64, altered: bool) -> Played {
    let mut stage = Stage::new(seed);
    stage.feed(Input::Start);
    for round in 0..ROUNDS {
        if altered && round == ROUNDS / 2 {
            stage.feed(Input::Health { neighbour: Neighbour::Store, up: false, detail: String::new() });
        }
        stage.round();
    }
    stage.feed(Input::Stop);
    stage.played()
}

/// What waits for an answer.
enum Pending {
    Dial(Option<PeerId>),
    Sign,
    Verify(usize),
    Produce,
    Query(Query),
    Store,
    Provide,
    Search,
    Ask,
    Direct,
}

struct Stage {
    config: Config,
    seed_number: u64,
    seed: [u8; 32],
    node: Node,
    random: u64,
    micros: u64,
    next_id: u64,
    pending: Vec<(OpId, Pending)>,
    connections: BTreeMap<u64, PeerId>,
    /// Connections on which our stream is to be opened, or stands, and on which the peer's is there.
    opening: Vec<ConnectionId>,
    opened: BTreeSet<ConnectionId>,
    inbound: BTreeSet<ConnectionId>,
    /// Bytes sent and not told as written.
    unwritten: BTreeMap<ConnectionId, u64>,
    /// Messages sent by others.
    ids: Vec<MessageId>,
    clients: Vec<SubscriberId>,
    inputs: Vec<(Now, Input)>,
    hash: Sha256,
}

fn peer(number: u64) -> PeerId {
    PeerId::from_ed25519(&digest("peer", number).0)
}

fn digest(label: &str, number: u64) -> Hash256 {
    let mut hash = Sha256::new();
    hash.update(label.as_bytes());
    hash.update(number.to_le_bytes());
    Hash256(hash.finalize().into())
}

fn addr(number: u64) -> Option<Multiaddr> {
    format!("/ip4/20.0.{}.1/tcp/9905", number % 250).parse().ok()
}

fn config(seed: u64) -> Config {
    let mut service = teranode::Config::new(Network::Regtest);
    service.topics.handshake = "handshake".into();
    service.topics.best_block = "bestblock".into();
    service.topics.mining_on = "miningon".into();
    let mut config = Config::new(peer(1000), service);
    config.conn.bootstrap = (0..2).filter_map(|n| Some(addr(n)?.with_p2p(peer(n)))).collect();
    config.conn.bootstrap.extend("/dns4/somebody.example/tcp/1".parse());
    config.conn.dht_mode = if seed.is_multiple_of(2) { DhtMode::Server } else { DhtMode::Off };
    config.conn.connections_per_address_max = 2;
    config.conn.loopback_exempt = false;
    if seed % 3 == 2 {
        // Every third seed has collections that are always full.
        config.limits.peers_known_max = 4;
        config.limits.origins_max = 4;
        config.limits.seen_hashes_max = 4;
        config.limits.ban_scores_max = 2;
        // And little is done at once.
        config.limits.work_per_input_max = 2;
    }
    config.gossipsub.take_exchange = seed.is_multiple_of(2);
    if seed % 4 == 3 {
        config.gossipsub.scoring = Some(scoring(&config.teranode));
    }
    config
}

/// Everything counts.
fn scoring(service: &teranode::Config) -> Scoring {
    let topic = TopicParams {
        time_in_mesh_weight: 0.01,
        first_deliveries_weight: 1.0,
        mesh_deliveries_weight: -0.1,
        mesh_failure_weight: -0.1,
        invalid_weight: -1.0,
        ..TopicParams::default()
    };
    let topics = TopicKind::ALL.iter().map(|kind| (TopicName::from(service.topic(*kind).as_str()), topic));
    Scoring {
        params: Params {
            topics: topics.collect(),
            behaviour_weight: -1.0,
            colocation_weight: -1.0,
            ..Params::default()
        },
        gossip_threshold: -500.0,
        publish_threshold: -1000.0,
        graylist_threshold: -2000.0,
        exchange_threshold: 10.0,
        opportunistic_threshold: 1.0,
    }
}

impl Stage {
    fn new(seed: u64) -> Self {
        let (config, node_seed) = (config(seed), digest("node", seed).0);
        let node = match Node::new(config.clone(), node_seed, Now::at_micros(0)) {
            Ok(node) => node,
            Err(error) => panic!("the scenario's configuration is refused: {error}"),
        };
        Self {
            config,
            seed_number: seed,
            seed: node_seed,
            node,
            random: seed,
            micros: 0,
            next_id: 0,
            pending: Vec::new(),
            connections: BTreeMap::new(),
            opening: Vec::new(),
            opened: BTreeSet::new(),
            inbound: BTreeSet::new(),
            unwritten: BTreeMap::new(),
            ids: Vec::new(),
            clients: Vec::new(),
            inputs: Vec::new(),
            hash: Sha256::new(),
        }
    }

    fn played(self) -> Played {
        let mut hash = self.hash;
        hash.update(self.node.state_hash());
        let start = Now::at_micros(0);
        let Self { config, seed, inputs, .. } = self;
        Played { config, seed, start, inputs, hash: hash.finalize().into() }
    }

    /// A number below `bound` (SplitMix64).
    fn below(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn some_peer(&mut self) -> PeerId {
        peer(self.below(PEERS))
    }

    fn feed(&mut self, input: Input) {
        let now = Now::at_micros(self.micros);
        let mut actions = Vec::new();
        now.encode(&mut self.hash);
        input.encode(&mut self.hash);
        self.inputs.push((now, input.clone()));
        self.node.handle(now, input, &mut actions);
        actions.into_iter().for_each(|action| self.take(action));
    }

    fn take(&mut self, action: Action) {
        match &action {
            Action::Conn(action) => action.encode(&mut self.hash),
            Action::Gossipsub(action) => action.encode(&mut self.hash),
            Action::Teranode(action) => action.encode(&mut self.hash),
            Action::Store { content, .. } => content.encode(&mut self.hash),
            Action::Notice(_) => {}
        }
        let pending = match action {
            Action::Conn(conn::Action::Dial { op, peer, .. }) => (op, Pending::Dial(peer)),
            Action::Conn(conn::Action::Provide { op, .. }) => (op, Pending::Provide),
            Action::Conn(conn::Action::Search { op, .. }) => (op, Pending::Search),
            Action::Conn(conn::Action::AskAddresses { op, .. }) => (op, Pending::Ask),
            Action::Gossipsub(stream::Action::Sign { op, .. }) => (op, Pending::Sign),
            Action::Gossipsub(stream::Action::Verify { op, checks }) => (op, Pending::Verify(checks.len())),
            Action::Gossipsub(action) => return self.take_stream(action),
            Action::Teranode(teranode::Action::Query { op, query }) => (op, Pending::Query(query)),
            Action::Teranode(teranode::Action::Produce { op, .. }) => (op, Pending::Produce),
            Action::Teranode(teranode::Action::SendDirect { op, .. }) => (op, Pending::Direct),
            Action::Store { op, .. } => (op, Pending::Store),
            Action::Conn(_) | Action::Teranode(_) | Action::Notice(_) => return,
        };
        self.pending.push(pending);
    }

    fn take_stream(&mut self, action: stream::Action) {
        match action {
            stream::Action::Open { connection } => self.opening.push(connection),
            stream::Action::Close { connection } => {
                self.opening.retain(|other| *other != connection);
                self.opened.remove(&connection);
            }
            stream::Action::Send { connection, frames } => {
                let bytes: usize = frames.iter().map(Bytes::len).sum();
                *self.unwritten.entry(connection).or_default() += bytes as u64;
            }
            // The end of the stream comes in a later round, or never.
            stream::Action::Reset { .. } | stream::Action::Sign { .. } | stream::Action::Verify { .. } => {}
        }
    }

    fn round(&mut self) {
        self.micros += self.below(400_000);
        match self.below(34) {
            0..=2 => self.connect(),
            3 => self.disconnect(),
            4..=8 => self.gossip(),
            9..=13 | 24 | 25 => self.complete(),
            14..=16 | 26 => self.wait(),
            17 | 27..=29 => self.streams(),
            30..=33 => self.control(),
            18 => self.chain(),
            19 => self.clients(),
            20 => self.conn_event(),
            21 => self.misuse(),
            22 => self.record(),
            _ => self.legacy(),
        }
    }

    fn connect(&mut self) {
        let (id, number) = (self.id(), self.below(PEERS));
        let Some(addr) = addr(number) else { return };
        let pending = PendingId(id);
        self.feed(Input::Conn(conn::Event::Incoming { pending, addr: addr.clone() }));
        if self.below(5) == 0 {
            return; // The handshake hangs.
        }
        let event = conn::Event::Established {
            id: ConnectionId(id),
            peer: peer(number),
            addr,
            direction: Direction::Inbound(pending),
        };
        self.connections.insert(id, peer(number));
        self.feed(Input::Conn(event));
    }

    fn disconnect(&mut self) {
        let nth = self.below(self.connections.len() as u64);
        let Some(id) = self.connections.keys().nth(nth as usize).copied() else { return };
        self.connections.remove(&id);
        let connection = ConnectionId(id);
        self.opening.retain(|other| *other != connection);
        self.opened.remove(&connection);
        self.inbound.remove(&connection);
        self.unwritten.remove(&connection);
        let reason = [CloseReason::Local, CloseReason::Remote, CloseReason::Transport][(id % 3) as usize];
        self.feed(Input::Conn(conn::Event::Closed { id: ConnectionId(id), reason }));
    }

    /// Waits for the next deadline, or for a long time.
    fn wait(&mut self) {
        let due = self.node.poll_timeout().map_or(0, |deadline| deadline.at.as_micros());
        let longer = if self.below(12) == 0 { self.below(70_000_000) } else { 0 };
        self.micros = self.micros.max(due.min(self.micros + 20_000_000)) + longer;
        self.feed(Input::Timeout);
    }

    /// A connection that stands.
    fn some_connection(&mut self) -> Option<ConnectionId> {
        let nth = self.below(self.connections.len() as u64);
        self.connections.keys().nth(nth as usize).map(|id| ConnectionId(*id))
    }

    fn version(&mut self) -> Version {
        let nth = self.below(12);
        *Version::ALL.get(nth as usize).unwrap_or(&Version::V12)
    }

    fn chain(&mut self) {
        let number = self.below(8);
        let hash = mined(number).hash().0.to_vec().into();
        let state = [Some(FsmState::Running), Some(FsmState::CatchingBlocks), Some(FsmState::Idle), None];
        let event = match self.below(6) {
            0 | 1 => ChainEvent::Block { hash },
            2 => ChainEvent::Subtree { hash },
            3 => ChainEvent::Fsm { state: state[(number % 4) as usize] },
            4 => ChainEvent::Block { hash: Bytes::from_static(b"short") },
            _ => ChainEvent::PeerFailure {
                peer_id: "x".into(),
                failure_type: "catchup".into(),
                reason: "y".into(),
            },
        };
        self.feed(Input::Teranode(teranode::Input::Chain(event)));
    }

    fn clients(&mut self) {
        let event = match (self.below(4), self.clients.pop()) {
            (0, Some(id)) => feed::Event::Left { id },
            (1, Some(id)) => feed::Event::Lagged { id },
            (_, former) => {
                let id = SubscriberId(self.id());
                self.clients.extend(former);
                self.clients.push(id);
                feed::Event::Joined { id }
            }
        };
        self.feed(Input::Teranode(teranode::Input::Feed(event)));
    }

    fn conn_event(&mut self) {
        let (number, ask) = (self.below(2 * PEERS), AskId(self.id()));
        let (peer, addrs) = (peer(number), addr(number).into_iter().collect::<Vec<_>>());
        let source = if number < PEERS { conn::Source::Dht } else { conn::Source::Peer };
        let id = ConnectionId(self.below(self.next_id));
        let event = match self.below(5) {
            4 => conn::Event::Received { id, bytes: 5000 * number },
            0 => conn::Event::Found { peer, addrs, source },
            1 => conn::Event::AddressesAsked { ask, from: peer, target: peer },
            2 => match addrs.into_iter().next() {
                Some(addr) => conn::Event::Listening { addr },
                None => return,
            },
            _ => conn::Event::Identified {
                peer,
                agent_version: String::new(),
                protocol_version: String::new(),
                listen_addrs: addrs,
            },
        };
        self.feed(Input::Conn(event));
    }

    /// What a shell should not do, and a core survives.
    fn misuse(&mut self) {
        let id = self.below(50);
        let input = match self.below(5) {
            0 => Input::Conn(conn::Event::IncomingEnded { pending: PendingId(id) }),
            1 => Input::Loaded(Document::AddressCache, Bytes::from_static(b"[{\"id\":\"x\"}")),
            2 => {
                let neighbour = Neighbour::ALL[(id % 3) as usize];
                Input::Health { neighbour, up: id.is_multiple_of(2), detail: String::new() }
            }
            3 => match peerage_core::codec::decode_all::<OpId>(&(1_000_000 + id).to_le_bytes()) {
                Ok(op) => Input::Op(op, OpResult::Provided(Ok(()))),
                Err(_) => Input::Timeout,
            },
            _ => Input::Timeout,
        };
        self.feed(input);
    }

    fn record(&mut self) {
        let tx_id = text(digest("tx", self.below(9)));
        let record = Record::RejectedTx { tx_id, reason: "dust".into(), peer_id: String::new() };
        self.feed(Input::Teranode(teranode::Input::Record(record)));
    }

    /// Ends an operation, well or badly.
    fn complete(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let nth = self.below(self.pending.len() as u64);
        let (op, pending) = self.pending.remove(nth as usize);
        let (number, well) = (self.below(8), self.below(3) > 0);
        let failed = || Failed("no".into());
        let result = match pending {
            Pending::Dial(target) => return self.complete_dial(op, target, well),
            Pending::Sign if well => OpResult::Signed(Ok(Bytes::from_static(&[6; 64]))),
            Pending::Sign => OpResult::Signed(Err(failed())),
            Pending::Verify(count) => {
                let end = |nth: usize| match (number + nth as u64) % 8 {
                    0 => CheckEnd::Invalid,
                    1 => CheckEnd::Unknown,
                    _ => CheckEnd::Valid,
                };
                OpResult::Verified((0..count).map(end).collect())
            }
            Pending::Produce if well => OpResult::Produced(Ok(())),
            Pending::Produce => OpResult::Produced(Err(ProduceError::QueueFull)),
            Pending::Query(_) if !well => OpResult::Queried(Err(QueryError::NotFound)),
            Pending::Query(Query::Header { .. }) => OpResult::Queried(Ok(Answer::Header(described(number)))),
            Pending::Query(Query::Status) => OpResult::Queried(Ok(Answer::Status(Box::new(Status {
                best: Some(described(number)),
                fsm: Some(FsmState::Running),
                tx_count: Some(number),
                subtree_count: Some(1),
                persisted_height: Some(1),
            })))),
            Pending::Store if well => OpResult::Stored(Ok(())),
            Pending::Store => OpResult::Stored(Err(StoreError::Full)),
            Pending::Provide => OpResult::Provided(well.then_some(()).ok_or_else(failed)),
            Pending::Search => OpResult::Searched(well.then_some(()).ok_or_else(failed)),
            Pending::Ask if well => OpResult::Addresses(Ok(addr(number).into_iter().collect())),
            Pending::Ask => OpResult::Addresses(Err(failed())),
            Pending::Direct => OpResult::SentDirect(well.then_some(()).ok_or_else(failed)),
        };
        self.feed(Input::Op(op, result));
    }

    fn complete_dial(&mut self, op: OpId, target: Option<PeerId>, well: bool) {
        let (id, peer) = (self.id(), target.unwrap_or_else(|| peer(PEERS)));
        let addr = addr(id).filter(|_| well);
        let Some(addr) = addr else {
            return self.feed(Input::Op(op, OpResult::Dialed(Err(DialError::TimedOut))));
        };
        let (connection, direction) = (ConnectionId(id), Direction::Outbound(Some(op)));
        self.connections.insert(id, peer);
        self.feed(Input::Conn(conn::Event::Established { id: connection, peer, addr, direction }));
        self.feed(Input::Op(op, OpResult::Dialed(Ok(connection))));
    }
}
