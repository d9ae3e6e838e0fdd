//! The services beside a node: chain, broker, store, DHT, direct streams, clients of the feed.

use bytes::Bytes;
use peerage_core::Input;
use peerage_core::conn::{self, Source};
use peerage_core::input::{Document, Failed, Neighbour, OpResult, StoreError};
use peerage_core::op::OpId;
use peerage_core::teranode::chain::{
    Answer, Block, Event as ChainEvent, FsmState, Query, QueryError, Status,
};
use peerage_core::teranode::feed::{self, SubscriberId};
use peerage_core::teranode::{self, ProduceError, ProduceTopic, Record};
use peerage_proto::hash::Hash256;
use peerage_proto::header::BlockHeader;
use peerage_proto::network::Network;
use peerage_proto::peer_id::PeerId;
use sha2::{Digest as _, Sha256};

use super::links::pick;
use super::node::addr_of;
use super::queue::Event;
use super::{End, World};

/// Answers of the DHT to one search, at most.
const FOUND_MAX: usize = 6;

/// A block of the world.
#[derive(Clone, Debug)]
pub(super) struct WorldBlock {
    header: BlockHeader,
    height: u32,
}

/// A hash from a number.
pub fn hash_of(label: &str, number: u64) -> Hash256 {
    let mut hash = Sha256::new();
    hash.update(label.as_bytes());
    hash.update(number.to_le_bytes());
    Hash256(hash.finalize().into())
}

/// A header on `previous` that proves its work on the regtest chain.
pub fn mined(previous: Hash256, merkle_root: Hash256, time: u32) -> BlockHeader {
    let bits = Network::Regtest.pow_limit_bits();
    let mut header = BlockHeader::new(0x2000_0000, previous, merkle_root, time, bits, 0);
    assert!(header.mine(1 << 16), "no nonce below 65,536");
    header
}

impl World {
    pub(super) fn genesis() -> (Hash256, WorldBlock) {
        let header = Network::Regtest.genesis().unwrap_or_else(|| mined(Hash256::ZERO, Hash256::ZERO, 0));
        (header.hash(), WorldBlock { header, height: 0 })
    }

    /// The chain of `node` mines a block on its tip and says so.
    pub fn mine(&mut self, node: usize) -> Hash256 {
        let tip = self.nodes[node].tip;
        let height = self.blocks.get(&tip).map_or(0, |block| block.height) + 1;
        self.next_id += 1;
        let root = hash_of("merkle root", self.next_id ^ self.options.seed << 20);
        let header = mined(tip, root, 1_764_201_600 + (self.now / 1_000_000) as u32);
        let hash = header.hash();
        self.blocks.insert(hash, WorldBlock { header, height });
        self.adopt(node, hash);
        hash
    }

    /// Height of the tip of `node`'s chain.
    pub fn height(&self, node: usize) -> u32 {
        self.blocks.get(&self.nodes[node].tip).map_or(0, |block| block.height)
    }

    fn adopt(&mut self, node: usize, hash: Hash256) {
        self.nodes[node].tip = hash;
        self.chain_event(node, ChainEvent::Block { hash: Bytes::copy_from_slice(&hash.0) });
    }

    pub(super) fn on_adopt(&mut self, node: usize, hash: Hash256) {
        let height = |hash| self.blocks.get(&hash).map_or(0, |block| block.height);
        if height(hash) > height(self.nodes[node].tip) {
            self.adopt(node, hash);
        }
    }

    pub(super) fn chain_event(&mut self, node: usize, event: ChainEvent) {
        let takes_more = self.nodes[node].pump.as_ref().is_some_and(|pump| pump.demand().chain);
        let input = Input::Teranode(teranode::Input::Chain(event));
        // What is not taken now comes later, once.
        let delay = if takes_more { 0 } else { 200_000 };
        self.input_after(node, delay, input);
    }

    pub(super) fn query(&mut self, node: usize, op: OpId, query: &Query) {
        let delay = 500 + self.dice.roll(20_000);
        let state = &self.nodes[node];
        let describe = |hash: &Hash256| {
            let block = self.blocks.get(hash)?;
            Some(Block {
                header: block.header,
                height: block.height,
                miner: "/sim/".into(),
                chain_work: vec![0; 31].into_iter().chain([block.height as u8]).collect(),
                invalid: false,
            })
        };
        let result = match query {
            _ if state.chain_state % 2 == 1 => Err(QueryError::Unavailable("it does not answer".into())),
            Query::Header { hash } => describe(hash).map(Answer::Header).ok_or(QueryError::NotFound),
            Query::Status => Ok(Answer::Status(Box::new(Status {
                best: describe(&state.tip),
                fsm: state.fsm,
                tx_count: Some(self.now / 1000),
                subtree_count: Some(1),
                persisted_height: Some(1),
            }))),
        };
        let delay = if result.is_err() { 1_000_000 } else { delay };
        self.complete(node, delay, op, OpResult::Queried(result));
    }

    pub(super) fn produce(&mut self, node: usize, op: OpId, topic: ProduceTopic, key: &Bytes) {
        let (delay, result) = match self.nodes[node].broker_state % 3 {
            0 => (1000 + self.dice.roll(20_000), Ok(())),
            1 => (1000, Err(ProduceError::Unavailable("no broker".into()))),
            _ => (20_000_000 + self.dice.roll(20_000_000), Ok(())),
        };
        let hash = std::str::from_utf8(key).ok().and_then(|text| Hash256::from_display(text).ok());
        if let (ProduceTopic::Blocks, Ok(()), Some(hash)) = (topic, &result, hash) {
            // Block validation consumes the record, and the chain takes the block over.
            let at = self.now + delay + 50_000 + self.dice.roll(500_000);
            let life = self.life(node);
            if self.blocks.contains_key(&hash) {
                self.queue.push(at, Event::Adopt { node, life, hash });
            }
        }
        self.complete(node, delay, op, OpResult::Produced(result));
    }

    pub(super) fn store(&mut self, node: usize, op: OpId, document: Document, content: Bytes) {
        let (now, life) = (self.now, self.life(node));
        match self.nodes[node].store_state % 3 {
            1 => self.complete(node, 1000, op, OpResult::Stored(Err(StoreError::Full))),
            slow => {
                let delay = if slow == 2 { 5_000_000 } else { 2000 };
                self.queue.push(
                    now + delay,
                    Event::Stored { node, life, op, document, content: Box::new(content) },
                );
            }
        }
    }

    pub(super) fn provide(&mut self, node: usize, op: OpId, key: Bytes) {
        let result = if self.nodes[node].links.is_empty() { Err(Failed("alone".into())) } else { Ok(()) };
        if result.is_ok() {
            self.dht.entry(key).or_default().insert(node);
        }
        self.complete(node, 50_000, op, OpResult::Provided(result));
    }

    pub(super) fn search(&mut self, node: usize, op: OpId, key: &Bytes) {
        let providers: Vec<End> = self.dht.get(key).into_iter().flatten().copied().collect();
        let alone = self.nodes[node].links.is_empty();
        for _ in 0..if alone { 0 } else { FOUND_MAX.min(providers.len()) } {
            let number = self.dice.next_u64();
            let Some(other) = pick(&providers, number) else { break };
            let (peer, addrs) = (self.peer(other), vec![addr_of(other)]);
            let found = conn::Event::Found { peer, addrs, source: Source::Dht };
            self.input_after(node, 30_000, Input::Conn(found));
        }
        let result = if alone { Err(Failed("alone".into())) } else { Ok(()) };
        self.complete(node, 60_000, op, OpResult::Searched(result));
    }

    pub(super) fn send_direct(&mut self, node: usize, op: OpId, to: &PeerId, data: Bytes) {
        let other = (0..self.nodes.len()).find(|end| self.nodes[*end].peer == *to);
        let from = self.peer(node);
        let other =
            other.filter(|other| self.nodes[*other].pump.is_some() && self.are_reachable(node, *other));
        let result = match other {
            Some(other) => {
                let delay = self.latency(from.as_bytes().len() as u64);
                self.input_after(other, delay, Input::Teranode(teranode::Input::Direct { from, data }));
                Ok(())
            }
            None => Err(Failed("no stream".into())),
        };
        self.complete(node, 5000, op, OpResult::SentDirect(result));
    }

    pub(super) fn set_fsm(&mut self, node: usize, state: u64) {
        let state = match state % 5 {
            0 => Some(FsmState::Running),
            1 => Some(FsmState::CatchingBlocks),
            2 => Some(FsmState::LegacySyncing),
            3 => Some(FsmState::Idle),
            _ => None,
        };
        self.nodes[node].fsm = state;
        self.chain_event(node, ChainEvent::Fsm { state });
    }

    pub(super) fn set_health(&mut self, node: usize, neighbour: Neighbour, up: bool) {
        let detail = String::from(if up { "answers" } else { "fails" });
        self.input_after(node, 10_000, Input::Health { neighbour, up, detail });
    }

    pub(super) fn reject(&mut self, node: usize, salt: u64) {
        let mut tx_id = String::new();
        hash_of("tx", salt).write_display(&mut tx_id);
        let record = Record::RejectedTx { tx_id, reason: "dust".into(), peer_id: String::new() };
        // At least once: the broker delivers some records again.
        for again in 0..=u64::from(salt.is_multiple_of(3)) {
            let input = Input::Teranode(teranode::Input::Record(record.clone()));
            self.input_after(node, again * 500_000, input);
        }
    }

    /// A client joins the feed of `node`.
    pub fn join_feed(&mut self, node: usize) {
        let has_room = self.nodes[node].pump.as_ref().is_some_and(|pump| pump.demand().feed);
        self.next_id += 1;
        let id = SubscriberId(self.next_id);
        // Some shells look before they let a client in and some leave it to the core.
        if has_room || self.next_id.is_multiple_of(2) {
            self.nodes[node].clients.insert(id, false);
            self.feed_event(node, feed::Event::Joined { id });
        }
    }

    pub(super) fn feed_event(&mut self, node: usize, event: feed::Event) {
        self.feed(node, Input::Teranode(teranode::Input::Feed(event)));
    }

    pub(super) fn client(&self, node: usize, client: u64) -> Option<SubscriberId> {
        let clients: Vec<SubscriberId> = self.nodes[node].clients.keys().copied().collect();
        pick(&clients, client)
    }

    pub(super) fn on_feed(&mut self, node: usize, action: &feed::Action) {
        match action {
            feed::Action::Send { to: Some(id), .. } => {
                if let Some(greeted) = self.nodes[node].clients.get_mut(id) {
                    *greeted = true;
                }
            }
            feed::Action::Send { to: None, .. } => {}
            feed::Action::Close { id, .. } => drop(self.nodes[node].clients.remove(id)),
        }
    }
}
