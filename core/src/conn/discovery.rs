//! Finding peers: announcing and searching topics in the DHT, or asking neighbours where there is no DHT.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;
use peerage_proto::peer_id::PeerId;
use sha2::{Digest as _, Sha256};

use super::{Action, Config, DhtMode};
use crate::common::timers::Timers;
use crate::gossipsub::Topic;
use crate::input;
use crate::node::ctx::{Ctx, Purpose};
use crate::sink::Sink;
use crate::state::state;
use crate::time::Timer;

/// Authors asked for in one round of questions.
const ASKED_PER_ROUND_MAX: usize = 8;
/// Authors whose questions are remembered.
const ASKED_MAX: usize = 1024;

state! {
    /// What is looked for, and whom we asked already.
    #[derive(Clone, Debug)]
    pub struct Discovery {
        keys: Vec<Bytes>,
        provided: bool,
        /// For each author sought: the last neighbour asked.
        asked: BTreeMap<PeerId, PeerId>,
    }
}

/// The DHT's key of a topic: the SHA-256 multihash of its name, which is what Go puts on the wire for a CID (spec 2.7).
pub fn topic_key(topic: &Topic) -> Bytes {
    let mut key = Vec::with_capacity(34);
    key.extend_from_slice(&[0x12, 0x20]);
    key.extend_from_slice(&Sha256::digest(topic.as_str().as_bytes()));
    key.into()
}

impl Discovery {
    /// A search for the members of `topics`.
    pub fn new(topics: &[Topic]) -> Self {
        Self { keys: topics.iter().map(topic_key).collect(), provided: false, asked: BTreeMap::new() }
    }

    /// Plans the first round.
    pub fn start(&self, config: &Config, now: crate::time::Now, timers: &mut Timers) {
        let first = match config.dht_mode {
            DhtMode::Server | DhtMode::Client => config.search_first,
            DhtMode::Off => config.ask_interval,
        };
        timers.set(Timer::Discovery, now.mono.after(first));
    }

    /// The first peer is there: the DHT can be told of us. (The reference tries for 10 s and never again.)
    pub fn on_peer(&self, config: &Config, now: crate::time::Now, timers: &mut Timers) {
        if config.dht_mode != DhtMode::Off && !self.provided && timers.get(Timer::Provide).is_none() {
            timers.set(Timer::Provide, now.mono.after(config.search_first));
        }
    }

    /// Announces every topic, and again before the records expire.
    pub fn provide<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        config: &Config,
        timers: &mut Timers,
    ) {
        for key in &self.keys {
            let Some(op) = cx.begin(Purpose::Provide) else { break };
            cx.push(Action::Provide { op, key: key.clone() });
        }
        self.provided = true;
        timers.set(Timer::Provide, cx.now.mono.after(config.provide_interval));
    }

    /// An announcement failed: it is repeated with the next search's delay.
    pub fn on_provide_failed(&mut self, config: &Config, now: crate::time::Now, timers: &mut Timers) {
        timers.set_earlier(Timer::Provide, now.mono.after(config.search_interval));
    }

    /// One round: a search for each topic, or questions about authors that we hear but are not connected to.
    pub fn round<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        config: &Config,
        timers: &mut Timers,
        neighbours: &[PeerId],
        strangers: impl Iterator<Item = PeerId>,
    ) {
        match config.dht_mode {
            DhtMode::Server | DhtMode::Client => {
                timers.set(Timer::Discovery, cx.now.mono.after(config.search_interval));
                for key in &self.keys {
                    let Some(op) = cx.begin(Purpose::Search) else { break };
                    cx.push(Action::Search { op, key: key.clone() });
                }
            }
            DhtMode::Off => {
                timers.set(Timer::Discovery, cx.now.mono.after(config.ask_interval));
                self.ask(cx, neighbours, strangers);
            }
        }
    }

    /// Asks, for each stranger, the neighbour after the last one asked.
    fn ask<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        neighbours: &[PeerId],
        strangers: impl Iterator<Item = PeerId>,
    ) {
        let mut asked = 0;
        for author in strangers {
            let last = self.asked.get(&author).copied();
            let next =
                neighbours.iter().find(|peer| **peer != author && last.is_none_or(|last| **peer > last));
            let Some(via) = next.copied() else { continue };
            if last.is_none() && self.asked.len() >= ASKED_MAX {
                continue;
            }
            let Some(op) = cx.begin(Purpose::Ask(author)) else { return };
            self.asked.insert(author, via);
            cx.push(Action::AskAddresses { op, via, target: author });
            asked += 1;
            if asked >= ASKED_PER_ROUND_MAX {
                return;
            }
        }
    }

    /// Keeps the authors for whom `is_known` holds.
    pub fn retain_asked(&mut self, is_known: impl Fn(&PeerId) -> bool) {
        self.asked.retain(|author, _| is_known(author));
    }

    /// An author is connected or out of the registry: nothing to ask any more.
    pub fn forget(&mut self, author: &PeerId) {
        self.asked.remove(author);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t008c_the_key_of_the_mainnet_block_topic_is_that_of_the_go_nodes() {
        use core::fmt::Write as _;
        let key = topic_key(&Topic::from("teranode/bitcoin/1.0.0/mainnet-block"));
        let hex = key.iter().fold(alloc::string::String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        assert_eq!(hex, "12201c33f7ce7b6853431544de447d66a56ba0f70e3a10913e5184688885ac621230");
    }
}
