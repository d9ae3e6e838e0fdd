//! One node, driven by hand: what is fed, and what came of it.
#![allow(dead_code, reason = "each test file uses another part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    missing_docs,
    unreachable_pub,
    reason = "test support"
)]

pub mod frames;

use bytes::Bytes;
use peerage_core::conn::{self, ConnectionId, Direction};
use peerage_core::gossipsub::peers::Version;
use peerage_core::gossipsub::stream::{self, CheckEnd};
use peerage_core::gossipsub::{self, Acceptance, Command, MessageId};
use peerage_core::input::{Action, Input, OpResult};
use peerage_core::op::OpId;
use peerage_core::proto::network::Network;
use peerage_core::proto::pubsub::{Control, Graft, Rpc, Subscription};
use peerage_core::proto::{BlockHeader, Hash256, PeerId, envelope};
use peerage_core::teranode::chain::{self, Answer, Block, FsmState, Query, QueryError};
use peerage_core::teranode::feed::{self, SubscriberId};
use peerage_core::teranode::verdict::Cause;
use peerage_core::teranode::{self, TopicKind};
use peerage_core::time::{Instant, Now, UnixTime};
use peerage_core::{Config, Core as _, Node};

pub const WALL_MS: u64 = 1_764_201_600_000;

pub fn peer(n: u8) -> PeerId {
    PeerId::from_ed25519(&[n; 32])
}

/// The local peer of every rig.
pub fn us() -> PeerId {
    peer(200)
}

pub struct Rig {
    pub node: Node,
    pub now: Now,
    next_message: u64,
    /// Connections made by the rig for those that were never connected by a test.
    next_connection: u64,
    /// Whether the router's signatures are made and checked at once, all well.
    pub signs: bool,
    /// Questions to the chain that were not answered yet.
    pub queries: Vec<(OpId, Query)>,
    pub chain: chain::Status,
}

/// What came of one input, and what was asked of the router meanwhile.
#[derive(Debug, Default)]
pub struct Done(pub Vec<Action>, pub Vec<Command>);

impl Done {
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
        self.1.extend(other.1);
    }
}

impl Rig {
    pub fn new(teranode: teranode::Config) -> Self {
        let mut config = Config::new(us(), teranode);
        config.conn.allow_private = true;
        Self::with(config)
    }

    /// A node that has not started.
    pub fn with(config: Config) -> Self {
        let now = Now { mono: Instant::ZERO, wall: UnixTime::from_millis(WALL_MS) };
        let chain = chain::Status {
            best: Some(tip(Network::Regtest, 100)),
            fsm: Some(FsmState::Running),
            tx_count: Some(42),
            subtree_count: Some(3),
            persisted_height: Some(100),
        };
        let node = Node::new(config, [7; 32], now).unwrap();
        Self { node, now, next_message: 1, next_connection: 1 << 32, signs: true, queries: Vec::new(), chain }
    }

    /// A node in the mended mode that has started and heard of its chain.
    pub fn mended() -> Self {
        Self::started(teranode::Config {
            allow_private_urls: true,
            ..teranode::Config::new(Network::Regtest)
        })
    }

    /// The same in the strict mode.
    pub fn strict() -> Self {
        Self::started(teranode::Config::strict(Network::Regtest))
    }

    pub fn started(config: teranode::Config) -> Self {
        let mut rig = Self::new(config);
        rig.start();
        rig
    }

    pub fn start(&mut self) -> Done {
        let mut done = self.feed(Input::Start);
        done.extend(self.answer_all());
        done
    }

    pub fn feed(&mut self, input: Input) -> Done {
        let mut done = Done::default();
        self.feed_into(input, &mut done);
        done
    }

    fn feed_into(&mut self, input: Input, done: &mut Done) {
        let mut out = Vec::new();
        self.node.handle(self.now, input, &mut out);
        self.take(out, done);
    }

    fn take(&mut self, out: Vec<Action>, done: &mut Done) {
        self.node.check_invariants().unwrap();
        done.1.extend(self.node.view().asked().iter().cloned());
        for action in out {
            let mut ended = None;
            match &action {
                Action::Teranode(teranode::Action::Query { op, query }) => {
                    self.queries.push((*op, query.clone()));
                }
                Action::Gossipsub(stream::Action::Verify { op, checks }) if self.signs => {
                    ended = Some((*op, OpResult::Verified(vec![CheckEnd::Valid; checks.len()])));
                }
                Action::Gossipsub(stream::Action::Sign { op, .. }) if self.signs => {
                    ended = Some((*op, OpResult::Signed(Ok(vec![5; 64].into()))));
                }
                _ => {}
            }
            done.0.push(action);
            if let Some((op, result)) = ended {
                self.feed_into(Input::Op(op, result), done);
            }
        }
    }

    /// Asks something of the router as a family would.
    pub fn command(&mut self, command: Command) -> Done {
        let mut out = Vec::new();
        self.node.ask_router(self.now, command, &mut out);
        let mut done = Done::default();
        self.take(out, &mut done);
        done
    }

    /// Streams both ways with `who`, on the connection that it has or on one made for it.
    pub fn open_streams(&mut self, who: PeerId) -> ConnectionId {
        let table = self.node.view().conns().table();
        let connection = match table.of_peer(&who).first() {
            Some(connection) => *connection,
            None => {
                self.next_connection += 1;
                let id = self.next_connection;
                self.connect(id, who);
                ConnectionId(id)
            }
        };
        if !self.node.view().router().streams().is_heard(&who) {
            let version = Version::V12;
            self.stream(stream::Event::Opened { connection, version });
            self.stream(stream::Event::InboundOpened { connection, version });
        }
        connection
    }

    pub fn stream(&mut self, event: stream::Event) -> Done {
        self.feed(Input::Gossipsub(event))
    }

    /// One RPC of `who`.
    pub fn rpc(&mut self, who: PeerId, rpc: &Rpc<'_>) -> Done {
        let connection = self.open_streams(who);
        let mut frame = Vec::new();
        rpc.encode(&mut frame);
        self.stream(stream::Event::Frame { connection, frame: frame.into() })
    }

    pub fn subscribe(&mut self, who: PeerId, topic: &str) -> Done {
        let subscription = Subscription { subscribe: Some(true), topic: Some(topic.as_bytes()) };
        self.rpc(who, &Rpc { subscriptions: vec![subscription], ..Rpc::default() })
    }

    /// `who` takes us into its mesh of this topic, and we take it.
    pub fn graft(&mut self, who: PeerId, topic: &str) -> Done {
        let graft = vec![Graft { topic: Some(topic.as_bytes()) }];
        let control = Some(Control { graft, ..Control::default() });
        self.rpc(who, &Rpc { control, ..Rpc::default() })
    }

    /// Answers every open question to the chain out of `self.chain`.
    pub fn answer_all(&mut self) -> Done {
        let mut done = Done::default();
        while let Some((op, query)) = (!self.queries.is_empty()).then(|| self.queries.remove(0)) {
            let answer = match query {
                Query::Status => Ok(Answer::Status(Box::new(self.chain.clone()))),
                Query::Header { hash } => match &self.chain.best {
                    Some(best) if best.header.hash() == hash => Ok(Answer::Header(best.clone())),
                    _ => Err(QueryError::NotFound),
                },
            };
            done.extend(self.feed(Input::Op(op, OpResult::Queried(answer))));
        }
        done
    }

    pub fn advance_ms(&mut self, millis: u64) {
        self.now = Now {
            mono: self.now.mono.after(std::time::Duration::from_millis(millis)),
            wall: UnixTime::from_millis(self.now.wall.as_millis() + millis),
        };
    }

    /// Lets time pass up to `millis` later, feeding every timeout on the way and answering the chain's questions.
    pub fn run_ms(&mut self, millis: u64) -> Done {
        let end = self.now.mono.after(std::time::Duration::from_millis(millis));
        let mut done = Done::default();
        while let Some(deadline) = self.node.poll_timeout().filter(|deadline| deadline.at <= end) {
            let step = deadline.at.saturating_since(self.now.mono);
            self.now.mono = self.now.mono.max(deadline.at);
            self.now.wall = self.now.wall.after(step);
            done.extend(self.feed(Input::Timeout));
            done.extend(self.answer_all());
        }
        let rest = end.saturating_since(self.now.mono);
        self.now = Now { mono: end, wall: self.now.wall.after(rest) };
        done
    }

    pub fn connect(&mut self, id: u64, who: PeerId) -> Done {
        self.feed(Input::Conn(conn::Event::Established {
            id: ConnectionId(id),
            peer: who,
            addr: format!("/ip4/127.0.0.1/tcp/{}", 4000 + id % 50_000).parse().unwrap(),
            direction: Direction::Outbound(None),
        }))
    }

    pub fn join_feed(&mut self, id: u64) -> Done {
        self.feed(Input::Teranode(teranode::Input::Feed(feed::Event::Joined { id: SubscriberId(id) })))
    }

    pub fn chain_says(&mut self, event: chain::Event) -> Done {
        let mut done = self.feed(Input::Teranode(teranode::Input::Chain(event)));
        done.extend(self.answer_all());
        done
    }

    /// A message of `author`, delivered by itself, inside an envelope.
    pub fn gossip(&mut self, author: PeerId, kind: TopicKind, inner: &str) -> Done {
        let mut data = Vec::new();
        envelope::wrap("name", inner.as_bytes(), &mut data);
        self.gossip_raw(author, author, kind, data)
    }

    /// Any bytes on a topic.
    pub fn gossip_raw(&mut self, author: PeerId, via: PeerId, kind: TopicKind, data: Vec<u8>) -> Done {
        let topic = self.node.config().teranode.topic(kind);
        self.gossip_on(author, via, topic, data)
    }

    pub fn gossip_on(&mut self, author: PeerId, via: PeerId, topic: gossipsub::Topic, data: Vec<u8>) -> Done {
        let mut id = author.as_bytes().to_vec();
        id.extend_from_slice(&self.next_message.to_be_bytes());
        self.next_message += 1;
        let event = gossipsub::Event::Delivered {
            id: MessageId(id.into()),
            topic,
            propagation_source: via,
            source: author,
            data: data.into(),
        };
        let mut out = Vec::new();
        self.node.tell_families(self.now, event, &mut out);
        let mut done = Done::default();
        self.take(out, &mut done);
        done
    }

    pub fn ended(&self, kind: TopicKind, cause: Cause) -> u64 {
        self.node.view().counters().ended(kind, cause)
    }

    pub fn score(&self, who: PeerId) -> u32 {
        self.node.view().teranode().bans().score(self.now, &who)
    }

    /// Bans `who` by two bad headers' worth of points and more.
    pub fn ban(&mut self, who: PeerId) {
        for n in 0..5 {
            let claim = subtree(&peer(9).to_base58(), &hash_text(n));
            self.gossip(who, TopicKind::Subtree, &claim);
        }
        assert!(self.node.view().teranode().bans().is_banned(self.now, &who));
    }

    pub fn set_reputation(&mut self, who: PeerId, reputation: f64) {
        self.node.state_mut().teranode_mut().registry_mut().set_reputation(&who, reputation);
    }
}

impl Done {
    pub fn published(&self) -> Vec<(String, String)> {
        let mut inner = Vec::new();
        self.1
            .iter()
            .filter_map(|command| match command {
                Command::Publish { topic, data, .. } => {
                    let unwrapped = envelope::unwrap(envelope::Mode::Required, data, &mut inner).unwrap();
                    let name = topic.as_str().rsplit('-').next().unwrap().to_owned();
                    Some((name, String::from_utf8(unwrapped.inner.to_vec()).unwrap()))
                }
                _ => None,
            })
            .collect()
    }

    pub fn published_on(&self, name: &str) -> Vec<String> {
        self.published().into_iter().filter(|(topic, _)| topic == name).map(|(_, json)| json).collect()
    }

    /// Topic, key and value of each record.
    pub fn produced(&self) -> Vec<(&'static str, String, Bytes)> {
        self.0
            .iter()
            .filter_map(|action| match action {
                Action::Teranode(teranode::Action::Produce { topic, key, value, .. }) => {
                    Some((topic.name(), String::from_utf8(key.to_vec()).unwrap(), value.clone()))
                }
                _ => None,
            })
            .collect()
    }

    pub fn produce_ops(&self) -> Vec<OpId> {
        self.0
            .iter()
            .filter_map(|action| match action {
                Action::Teranode(teranode::Action::Produce { op, .. }) => Some(*op),
                _ => None,
            })
            .collect()
    }

    pub fn frames(&self) -> Vec<(Option<SubscriberId>, String)> {
        self.0
            .iter()
            .filter_map(|action| match action {
                Action::Teranode(teranode::Action::Feed(feed::Action::Send { to, frame })) => {
                    Some((*to, String::from_utf8(frame.to_vec()).unwrap()))
                }
                _ => None,
            })
            .collect()
    }

    pub fn closed_clients(&self) -> Vec<(SubscriberId, u16)> {
        self.0
            .iter()
            .filter_map(|action| match action {
                Action::Teranode(teranode::Action::Feed(feed::Action::Close { id, code })) => {
                    Some((*id, *code))
                }
                _ => None,
            })
            .collect()
    }

    /// The one verdict that the router was told.
    pub fn acceptance(&self) -> Acceptance {
        let reports: Vec<Acceptance> = self
            .1
            .iter()
            .filter_map(|command| match command {
                Command::Report { acceptance, .. } => Some(*acceptance),
                _ => None,
            })
            .collect();
        assert_eq!(reports.len(), 1, "exactly one verdict for a message: {:?}", self.0);
        reports[0]
    }

    pub fn direct(&self) -> Vec<(PeerId, String)> {
        self.0
            .iter()
            .filter_map(|action| match action {
                Action::Teranode(teranode::Action::SendDirect { to, data, .. }) => {
                    Some((*to, String::from_utf8(data.to_vec()).unwrap()))
                }
                _ => None,
            })
            .collect()
    }
}

/// A regtest header on `previous`, mined.
pub fn mined(previous: Hash256, salt: u8) -> BlockHeader {
    let mut header =
        BlockHeader::new(0x2000_0000, previous, Hash256([salt; 32]), 1_764_201_600, 0x207f_ffff, 0);
    assert!(header.mine(1 << 20));
    header
}

pub fn tip(network: Network, height: u32) -> Block {
    let _ = network;
    Block {
        header: mined(Hash256::ZERO, 1),
        height,
        miner: "/test/".into(),
        chain_work: vec![0; 32].into(),
        invalid: false,
    }
}

pub fn hash_text(n: u8) -> String {
    format!("{n:02x}").repeat(32)
}

pub const URL: &str = "http://127.0.0.1:8090/api/v1";

/// A block announcement with a header that proves it.
pub fn block(author: &PeerId, height: u32, salt: u8) -> (String, String) {
    let header = mined(Hash256::ZERO, salt);
    let hash = header.hash().to_string();
    let json = format!(
        r#"{{"PeerID":"{author}","ClientName":"n","DataHubURL":"{URL}","Hash":"{hash}","Height":{height},"Header":"{}","Coinbase":""}}"#,
        header.to_hex()
    );
    (json, hash)
}

/// A block announcement without a header.
pub fn bare_block(author: &str, hash: &str, height: u32) -> String {
    format!(
        r#"{{"PeerID":"{author}","ClientName":"n","DataHubURL":"{URL}","Hash":"{hash}","Height":{height},"Header":"","Coinbase":""}}"#
    )
}

pub fn subtree(author: &str, hash: &str) -> String {
    subtree_at(author, hash, URL)
}

pub fn subtree_at(author: &str, hash: &str, url: &str) -> String {
    format!(r#"{{"PeerID":"{author}","ClientName":"n","DataHubURL":"{url}","Hash":"{hash}"}}"#)
}

pub fn rejected(author: &str, tx_id: &str) -> String {
    format!(r#"{{"PeerID":"{author}","ClientName":"","TxID":"{tx_id}","Reason":"no"}}"#)
}

pub fn status(author: &str, height: u32, extra: &str) -> String {
    format!(
        r#"{{"peer_id":"{author}","client_name":"n","type":"node_status","base_url":"{URL}","version":"v","commit_hash":"c","best_block_hash":"{}","best_height":{height},"fsm_state":"RUNNING","start_time":1,"uptime":2.5,"miner_name":"m","listen_mode":"full","chain_work":"00"{extra}}}"#,
        hash_text(0xab)
    )
}
