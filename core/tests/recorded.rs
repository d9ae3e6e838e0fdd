//! The recorded order of events at two nodes of the reference, replayed in the core's strict mode.
//!
//! What may differ stands in two tables and nowhere else: [`SUBSTITUTIONS`], values that are another run's, and
//! [`DEVIATIONS`], what the core does on purpose in another way or does not do yet.

mod rig;

use std::collections::VecDeque;

use peerage_core::input::{Input, OpResult};
use peerage_core::proto::network::Network;
use peerage_core::proto::{BlockHeader, Hash256, PeerId, hex};
use peerage_core::teranode::chain::{self, Answer, Block, FsmState, Query, Status};
use peerage_core::teranode::{self, Config, ListenMode, Record, TopicKind};
use peerage_core::time::{Instant, Now, UnixTime};
use peerage_core::{Config as NodeConfig, Node};
use rig::{Done, Rig};
use serde_json::Value;

/// Members whose recorded value is replaced by ours before comparing, and why.
const SUBSTITUTIONS: &[(&str, &str)] = &[
    ("uptime", "recorded in nanoseconds; the core counts microseconds"),
    ("timestamp", "the wall clock of the moment, which the log does not hold"),
];

/// What the reference did and the core does not, by number of spec section 15 or as a later area.
const DEVIATIONS: &[(&str, &str)] = &[
    ("sync_peer_id", "the sync coordinator is a later area"),
    ("sync_peer_height", "the sync coordinator is a later area"),
    ("sync_peer_block_hash", "the sync coordinator is a later area"),
    ("sync_connected_at", "the sync coordinator is a later area"),
];

/// Records that the reference's coordinator put on `blocks` by itself: the first comes with the choice of a sync peer,
/// the others repeat it (defect 30).
const TRIGGERED_RECORDS: usize = 4;

const ALL_STATES: [FsmState; 4] =
    [FsmState::Idle, FsmState::Running, FsmState::CatchingBlocks, FsmState::LegacySyncing];

#[derive(Clone, Debug)]
struct Logged {
    dir: String,
    kind: Option<TopicKind>,
    json: String,
    record: Vec<u8>,
    key: String,
}

fn vector(name: &str) -> Value {
    let path = format!("{}/../tests/vectors/teranode/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).expect("the vector is there")).expect("and is JSON")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn log(value: &Value) -> Vec<Logged> {
    let kind = |topic: &str| match topic.rsplit('-').next() {
        Some("block") => Some(TopicKind::Block),
        Some("subtree") => Some(TopicKind::Subtree),
        Some("rejected_tx") => Some(TopicKind::RejectedTx),
        Some("node_status") => Some(TopicKind::NodeStatus),
        _ => None,
    };
    let entries = value.as_array().expect("a list of events");
    entries
        .iter()
        .map(|entry| Logged {
            dir: text(&entry["dir"]),
            kind: kind(&text(&entry["topic"])),
            json: text(&entry["json_text"]),
            record: hex::decode(&text(&entry["value_protobuf_hex"])).unwrap_or_default(),
            key: text(&entry["key_text"]),
        })
        .collect()
}

fn parse(json: &str) -> Value {
    serde_json::from_str(json).expect("recorded JSON")
}

/// Puts our values in place of what [`SUBSTITUTIONS`] names, and takes out of the node's own words what [`DEVIATIONS`]
/// names. What another node says is passed on whole: only the time of a frame is ours.
fn substituted(local: &str, recorded: &str, ours: &str) -> String {
    let (mut recorded, ours) = (parse(recorded), parse(ours));
    let is_own = text(&recorded["peer_id"]) == local || text(&recorded["PeerID"]) == local;
    let members = recorded.as_object_mut().expect("an object");
    for (name, _) in SUBSTITUTIONS.iter().filter(|(name, _)| is_own || *name == "timestamp") {
        if let (Some(member), Some(value)) = (members.get_mut(*name), ours.get(*name)) {
            *member = value.clone();
        }
    }
    for (name, _) in DEVIATIONS.iter().filter(|_| is_own) {
        members.shift_remove(*name);
    }
    recorded.to_string()
}

struct Replay {
    rig: Rig,
    network: Network,
    produced: VecDeque<(String, Vec<u8>)>,
    frames: Vec<String>,
    triggered: usize,
    joins_after: Option<usize>,
    local: String,
}

impl Replay {
    /// A node with the settings that the first status of `log` shows.
    fn new(log: &[Logged], network: Network, listen_mode: ListenMode) -> Self {
        let first = log.iter().find(|entry| entry.kind == Some(TopicKind::NodeStatus) && entry.dir == "TX");
        let status = parse(&first.expect("a status").json);
        let teranode = Config {
            client_name: text(&status["client_name"]),
            base_url: "http://127.0.0.1:8090/api/v1".into(),
            version: text(&status["version"]),
            commit_hash: text(&status["commit_hash"]),
            min_mining_tx_fee: status["min_mining_tx_fee"].as_f64(),
            listen_mode,
            ..Config::strict(network)
        };
        let local = PeerId::from_base58(&text(&status["peer_id"])).expect("an id");
        let mut rig = Rig::with(NodeConfig::new(local, teranode));
        let start = status["start_time"].as_u64().unwrap_or_default() * 1000;
        rig.now = Now { mono: Instant::ZERO, wall: UnixTime::from_millis(start) };
        rig.node = Node::new(rig.node.config().clone(), [7; 32], rig.now).expect("valid settings");
        let local = local.to_base58();
        Self {
            rig,
            network,
            produced: VecDeque::new(),
            frames: Vec::new(),
            triggered: 0,
            joins_after: None,
            local,
        }
    }

    fn take(&mut self, done: Done) -> Done {
        self.produced.extend(done.produced().into_iter().map(|(_, key, value)| (key, value.to_vec())));
        self.frames.extend(done.frames().into_iter().map(|(_, frame)| frame));
        done
    }

    fn feed(&mut self, input: Input) -> Done {
        let done = self.rig.feed(input);
        self.take(done)
    }

    fn run(&mut self, log: &[Logged]) {
        self.feed(Input::Start);
        for (at, entry) in log.iter().enumerate() {
            if self.joins_after == Some(at) {
                let done = self.rig.join_feed(1);
                self.take(done);
            }
            match (entry.dir.as_str(), entry.kind) {
                ("TX", Some(kind)) => self.on_sent(at, entry, kind),
                ("RX", Some(kind)) => {
                    let member = if kind == TopicKind::NodeStatus { "peer_id" } else { "PeerID" };
                    let author = PeerId::from_base58(&text(&parse(&entry.json)[member])).expect("an id");
                    let done = self.rig.gossip(author, kind, &entry.json);
                    self.take(done);
                }
                _ => self.on_record(at, entry),
            }
        }
        assert!(self.produced.is_empty(), "records that the reference did not produce: {:?}", self.produced);
    }

    fn on_record(&mut self, at: usize, entry: &Logged) {
        match self.produced.pop_front() {
            Some((key, value)) => assert_eq!((&key, &value), (&entry.key, &entry.record), "record at {at}"),
            None => self.triggered += 1,
        }
    }

    fn on_sent(&mut self, at: usize, entry: &Logged, kind: TopicKind) {
        let done = match kind {
            TopicKind::Block => self.send_block(entry),
            TopicKind::Subtree => {
                let hash = display_hash(&entry.json, "Hash");
                self.feed(chain_event(chain::Event::Subtree { hash: hash.0.to_vec().into() }))
            }
            TopicKind::RejectedTx => {
                let json = parse(&entry.json);
                let (tx_id, reason) = (text(&json["TxID"]), text(&json["Reason"]));
                let record = Record::RejectedTx { tx_id, reason, peer_id: String::new() };
                self.feed(Input::Teranode(teranode::Input::Record(record)))
            }
            TopicKind::NodeStatus => self.send_status(entry),
        };
        let published = done.published();
        assert_eq!(published.len(), 1, "entry {at}: {published:?}");
        assert_eq!(published[0].0, kind.name(), "entry {at}");
        assert_eq!(published[0].1, substituted(&self.local, &entry.json, &published[0].1), "entry {at}");
    }

    fn send_block(&mut self, entry: &Logged) -> Done {
        let json = parse(&entry.json);
        let hash = display_hash(&entry.json, "Hash");
        self.feed(chain_event(chain::Event::Block { hash: hash.0.to_vec().into() }));
        let at = self.rig.queries.iter().position(|(_, query)| *query == Query::Header { hash });
        let (op, _) = self.rig.queries.remove(at.expect("a question for the header"));
        let block = Block {
            header: BlockHeader::from_hex(&text(&json["Header"])).expect("a header"),
            height: json["Height"].as_u64().unwrap_or_default() as u32,
            miner: String::new(),
            chain_work: Default::default(),
            invalid: false,
        };
        self.feed(Input::Op(op, OpResult::Queried(Ok(Answer::Header(block)))))
    }

    fn send_status(&mut self, entry: &Logged) -> Done {
        let json = parse(&entry.json);
        let uptime = (json["uptime"].as_f64().unwrap_or_default() * 1e6) as u64;
        self.rig.now.mono = self.rig.now.mono.max(Instant::from_micros(uptime));
        while self.rig.queries.is_empty() {
            let due = self.rig.node.poll().at;
            self.rig.now.mono = self.rig.now.mono.max(due);
            self.feed(Input::Timeout);
        }
        let (op, query) = self.rig.queries.remove(0);
        assert_eq!(query, Query::Status);
        let header = header_with(&text(&json["best_block_hash"]), self.network);
        let status = Status {
            best: Some(Block {
                header,
                height: json["best_height"].as_u64().unwrap_or_default() as u32,
                miner: text(&json["miner_name"]),
                chain_work: hex::decode(&text(&json["chain_work"])).unwrap_or_default().into(),
                invalid: false,
            }),
            fsm: ALL_STATES.into_iter().find(|state| text(&json["fsm_state"]) == state.name()),
            tx_count: json["tx_count"].as_u64(),
            subtree_count: json["subtree_count"].as_u64().map(|count| count as u32),
            persisted_height: (text(&json["storage"]) == "full").then_some(100),
        };
        self.feed(Input::Op(op, OpResult::Queried(Ok(Answer::Status(Box::new(status))))))
    }
}

trait Poll {
    fn poll(&self) -> peerage_core::time::Deadline;
}

impl Poll for Node {
    fn poll(&self) -> peerage_core::time::Deadline {
        peerage_core::Core::poll_timeout(self).expect("a node always waits for something")
    }
}

fn chain_event(event: chain::Event) -> Input {
    Input::Teranode(teranode::Input::Chain(event))
}

fn display_hash(json: &str, member: &str) -> Hash256 {
    Hash256::from_display(&text(&parse(json)[member])).expect("a hash")
}

/// The header with `hash`, out of the recorded block announcements.
fn header_with(hash: &str, _network: Network) -> BlockHeader {
    let log_file = vector("node_event_log.json");
    let entries = ["node_a", "node_b"].into_iter().flat_map(|node| log(&log_file[node]));
    let mut blocks = entries.filter(|entry| entry.kind == Some(TopicKind::Block));
    let found = blocks.find(|entry| text(&parse(&entry.json)["Hash"]) == hash);
    let json = parse(&found.expect("the block was announced").json);
    BlockHeader::from_hex(&text(&json["Header"])).expect("a header")
}

fn replay(node: &str, joins_after: usize) -> Replay {
    let entries = log(&vector("node_event_log.json")[node]);
    let mut replay = Replay::new(&entries, Network::Regtest, ListenMode::Full);
    replay.joins_after = Some(joins_after);
    replay.run(&entries);
    replay
}

#[test]
fn node_a_does_what_was_recorded_in_the_recorded_order() {
    assert_eq!(replay("node_a", 3).triggered, 0);
}

#[test]
fn node_b_does_what_was_recorded_but_for_the_sync_coordinator() {
    assert_eq!(replay("node_b", 3).triggered, TRIGGERED_RECORDS);
}

#[test]
fn t159_the_feed_shows_what_was_recorded_in_the_recorded_order() {
    let recorded = vector("websocket.json");
    for node in ["a", "b"] {
        let Replay { frames, local, .. } = replay(&format!("node_{node}"), 3);
        let expected: Vec<String> = recorded[format!("node_{node}_ws")]
            .as_array()
            .expect("frames")
            .iter()
            .map(|frame| text(&frame["raw"]))
            .collect();
        assert!(frames.len() >= expected.len(), "node {node}: {frames:#?}");
        for (at, (ours, recorded)) in frames.iter().zip(&expected).enumerate() {
            assert_eq!(*ours, substituted(&local, recorded, ours), "node {node}, frame {at}");
        }
    }
}

#[test]
fn t044_a_listen_only_node_sends_what_was_recorded() {
    let recorded = vector("listen_only.json");
    let entries: Vec<Logged> = recorded["tx"]
        .as_array()
        .expect("messages")
        .iter()
        .map(|entry| Logged {
            dir: "TX".into(),
            kind: Some(TopicKind::NodeStatus),
            json: text(&entry["json_text"]),
            record: Vec::new(),
            key: String::new(),
        })
        .collect();
    let mut replay = Replay::new(&entries, Network::Testnet, ListenMode::ListenOnly);
    replay.feed(chain_event(chain::Event::Subtree { hash: vec![7; 32].into() }));
    replay.run(&entries);
    assert_eq!(replay.rig.node.view().counters().published, 2);
}

#[test]
fn any_other_changed_member_turns_the_comparison_red() {
    let entries = log(&vector("node_event_log.json")["node_a"]);
    for entry in entries.iter().filter(|entry| !entry.json.is_empty()) {
        let members = parse(&entry.json);
        for name in members.as_object().expect("an object").keys() {
            let named = |(known, _): &(&str, &str)| known == name;
            if SUBSTITUTIONS.iter().any(named) || DEVIATIONS.iter().any(named) {
                continue;
            }
            let mut altered = members.clone();
            altered[name] = Value::String("altered".into());
            let local = text(&members["PeerID"]) + &text(&members["peer_id"]);
            assert_ne!(substituted(&local, &altered.to_string(), &entry.json), entry.json, "{name}");
        }
    }
}
