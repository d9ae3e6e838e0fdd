//! Announcing what our own services made or refused (spec 3.8).

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::time::Duration;

use peerage_proto::hash::Hash256;
use peerage_proto::json::{BlockMessage, RejectedTxMessage, SubtreeMessage};
use peerage_proto::peer_id::PeerId;

use super::chain::{self, Answer, Block, Event, QueryError};
use super::config::Config;
use super::registry::cut;
use super::service::{Env, Service};
use super::{Action, Record, TopicKind};
use crate::common::fair_map::{Aged, FairMap};
use crate::common::sip::HashKey;
use crate::common::token_bucket::TokenBucket;
use crate::explain::Notice;
use crate::explain::counters::BlockedAt;
use crate::input;
use crate::limits::Limits;
use crate::node::ctx::{Ctx, Purpose};
use crate::sink::Sink;
use crate::state::state;
use crate::time::Now;

/// A rejected transaction is not announced again within this time (spec 14.2).
const REJECTED_AGAIN: Duration = Duration::from_secs(30);
/// Longest reason sent, in bytes (spec 14.1).
const REASON_MAX: usize = 1024;

state! {
    /// Keeps rejected transactions from flooding the network.
    #[derive(Clone, Debug)]
    pub struct RejectedGate {
        bucket: TokenBucket,
        recent: FairMap<Hash256, ()>,
    }
}

impl RejectedGate {
    /// A gate that nothing has passed yet.
    pub fn new(config: &Config, limits: &Limits, key: HashKey) -> Self {
        let (per_second, burst) = config.rejected_tx_rate;
        let recent = FairMap::new(limits.seen_hashes_max, key);
        Self { bucket: TokenBucket::new(per_second, burst), recent }
    }

    fn pass(&mut self, now: Now, config: &Config, local_peer: &PeerId, tx_id: Hash256) -> bool {
        let repeated =
            self.recent.owner(&tx_id).is_some_and(|(_, at)| now.mono.saturating_since(at) < REJECTED_AGAIN);
        let unlimited = config.rejected_tx_rate.0 == u32::MAX;
        if !unlimited && (repeated || !self.bucket.take(now.mono)) {
            return false;
        }
        let _ = self.recent.insert(now.mono, tx_id, *local_peer, ());
        true
    }

    /// The announcement failed: its token is free again.
    pub fn give_back(&mut self) {
        self.bucket.give_back();
    }

    /// Forgets what may be announced again, up to `budget` of it; whether some is left.
    #[must_use]
    pub fn sweep(&mut self, now: Now, budget: u32) -> bool {
        self.recent.expire(now.mono, now.mono.before(REJECTED_AGAIN), budget, |_, ()| Aged::Over)
    }
}

impl Service {
    /// The blockchain service says something.
    pub fn on_chain<S: Sink<input::Action>>(&mut self, cx: &mut Ctx<'_, S>, env: &Env<'_>, event: Event) {
        match event {
            Event::Block { hash } => {
                let Some(hash) = hash_of(cx, &hash) else { return };
                if self.may_announce(cx, env, TopicKind::Block)
                    && let Some(op) = cx.begin(Purpose::BlockHeader(hash))
                {
                    cx.push(Action::Query { op, query: chain::Query::Header { hash } });
                }
            }
            Event::Subtree { hash } => {
                let Some(hash) = hash_of(cx, &hash) else { return };
                if self.may_announce(cx, env, TopicKind::Subtree) {
                    self.announce_subtree(cx, env, hash);
                }
            }
            Event::Fsm { state } => self.own.on_fsm(state),
            // Who failed is booked by the sync coordinator; without one it is only seen.
            Event::PeerFailure { .. } => {}
            Event::Disconnected | Event::Connected => {}
        }
    }

    fn may_announce<S>(&self, cx: &mut Ctx<'_, S>, env: &Env<'_>, kind: TopicKind) -> bool {
        let may = super::publish::may_publish(env.config, self.own.fsm(), kind);
        if !may {
            cx.counters.publish_blocked.count(kind, self.own.fsm(), BlockedAt::Precheck);
        }
        may
    }

    /// A block to announce is described, or is not.
    pub fn on_block_header<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        env: &Env<'_>,
        hash: Hash256,
        result: Result<Answer, QueryError>,
    ) {
        let Ok(Answer::Header(block)) = result else { return };
        if block.invalid {
            return;
        }
        let mut json = Vec::with_capacity(512);
        with_block_message(env, &block, hash, |message| message.encode(&mut json));
        if self.publish(cx, env, TopicKind::Block, &json) {
            cx.tell(Notice::Announced { kind: TopicKind::Block, hash, height: Some(block.height) });
            if self.own.begin_after_block() {
                self.ask_status(cx);
            }
        }
    }

    fn announce_subtree<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        env: &Env<'_>,
        hash: Hash256,
    ) {
        let text = hash.to_display_bytes();
        let message = SubtreeMessage {
            peer_id: Cow::Borrowed(env.local_text),
            client_name: Cow::Borrowed(&env.config.client_name),
            data_hub_url: Cow::Borrowed(&env.config.base_url),
            hash: Cow::Borrowed(ascii(&text)),
        };
        let mut json = Vec::with_capacity(512);
        message.encode(&mut json);
        if self.publish(cx, env, TopicKind::Subtree, &json) {
            cx.tell(Notice::Announced { kind: TopicKind::Subtree, hash, height: None });
        }
    }

    /// Kafka delivers a record.
    pub fn on_record<S: Sink<input::Action>>(&mut self, cx: &mut Ctx<'_, S>, env: &Env<'_>, record: &Record) {
        let Record::RejectedTx { tx_id, reason, peer_id } = record;
        // What a peer sent us is that peer's to announce.
        if !peer_id.is_empty() || !self.may_announce(cx, env, TopicKind::RejectedTx) {
            return;
        }
        let Ok(hash) = Hash256::from_display(tx_id) else {
            cx.counters.chain_malformed = cx.counters.chain_malformed.saturating_add(1);
            return;
        };
        if !self.rejected.pass(cx.now, env.config, env.local_peer, hash) {
            cx.counters.rejected_tx_suppressed = cx.counters.rejected_tx_suppressed.saturating_add(1);
            return;
        }
        let message = RejectedTxMessage {
            peer_id: Cow::Borrowed(env.local_text),
            // The reference leaves its own name out.
            client_name: Cow::Borrowed(if env.is_strict() { "" } else { &env.config.client_name }),
            tx_id: Cow::Borrowed(tx_id),
            reason: Cow::Borrowed(cut(reason, if env.is_strict() { usize::MAX } else { REASON_MAX })),
        };
        let mut json = Vec::with_capacity(512);
        message.encode(&mut json);
        if !self.publish(cx, env, TopicKind::RejectedTx, &json) {
            self.rejected.give_back();
        }
    }
}

/// Hands the announcement of `block` to `use_it`.
pub(super) fn with_block_message<T>(
    env: &Env<'_>,
    block: &Block,
    hash: Hash256,
    use_it: impl FnOnce(&BlockMessage<'_>) -> T,
) -> T {
    let text = hash.to_display_bytes();
    use_it(&BlockMessage {
        peer_id: Cow::Borrowed(env.local_text),
        client_name: Cow::Borrowed(&env.config.client_name),
        data_hub_url: Cow::Borrowed(env.config.base_url_shown()),
        hash: Cow::Borrowed(ascii(&text)),
        height: block.height,
        header: Cow::Owned(block.header.to_hex()),
        coinbase: Cow::Borrowed(""),
    })
}

/// Hexadecimal digits are text.
pub(super) fn ascii(digits: &[u8; 64]) -> &str {
    core::str::from_utf8(digits).unwrap_or_default()
}

fn hash_of<S>(cx: &mut Ctx<'_, S>, bytes: &[u8]) -> Option<Hash256> {
    let hash = <[u8; 32]>::try_from(bytes).ok().map(Hash256);
    if hash.is_none() {
        cx.counters.chain_malformed = cx.counters.chain_malformed.saturating_add(1);
    }
    hash
}
