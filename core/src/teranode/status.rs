//! The own node status (spec 3.9): asked of the chain, built once, shown to peers and to the feed.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use peerage_proto::hash::Hash256;
use peerage_proto::header::BlockHeader;
use peerage_proto::header::Target;
use peerage_proto::hex;
use peerage_proto::json::NodeStatusMessage;

use super::chain::{self, Block, FsmState};
use super::config::Config;
use crate::state::state;
use crate::time::Now;

state! {
    /// What we know of our own chain, and when the node started.
    #[derive(Clone, Debug)]
    pub struct OwnStatus {
        peer_id: String,
        started: Now,
        /// The chain as of the last answer.
        chain: Box<chain::Status>,
        /// State by notification: newer than the answer's.
        fsm: Option<FsmState>,
        /// Whether the chain ever answered.
        is_known: bool,
        /// Whether a question is under way: a tick is skipped rather than queued.
        asked: bool,
        /// Whether a block was announced while it was: then it is asked once more.
        ask_again: bool,
    }
}

impl OwnStatus {
    /// Nothing known yet.
    pub fn new(peer_id: String, started: Now) -> Self {
        Self {
            peer_id,
            started,
            chain: Box::default(),
            fsm: None,
            is_known: false,
            asked: false,
            ask_again: false,
        }
    }

    /// A tick: whether to ask now.
    #[must_use]
    pub fn begin_tick(&self) -> bool {
        !self.asked
    }

    /// A block was announced: whether to ask now; if not, it is asked after the present answer.
    #[must_use]
    pub fn begin_after_block(&mut self) -> bool {
        self.ask_again |= self.asked;
        !self.asked
    }

    /// The question is under way.
    pub fn set_asked(&mut self) {
        self.asked = true;
    }

    /// Whether to ask once more, now that an answer came.
    #[must_use]
    pub fn take_again(&mut self) -> bool {
        core::mem::take(&mut self.ask_again)
    }

    /// The chain answered, or did not (none).
    pub fn on_answer(&mut self, answer: Option<Box<chain::Status>>) {
        self.asked = false;
        self.is_known = true;
        self.chain = answer.unwrap_or_default();
        self.fsm = self.chain.fsm;
    }

    /// The machine's state changed; an unknown name counts as `IDLE` (spec 5.2).
    pub fn on_fsm(&mut self, state: Option<FsmState>) {
        self.fsm = Some(state.unwrap_or(FsmState::Idle));
    }

    /// The machine's state, once known.
    pub fn fsm(&self) -> Option<FsmState> {
        self.fsm
    }

    /// Whether a status can be built.
    pub fn is_known(&self) -> bool {
        self.is_known
    }

    /// Our tip, once known.
    pub fn tip(&self) -> Option<&Block> {
        self.chain.best.as_ref()
    }

    /// Our tip's target, once known.
    pub fn tip_target(&self) -> Option<Target> {
        self.tip().and_then(|tip| tip.header.target())
    }

    /// The status as of `now`, as inner JSON.
    pub fn build(&self, now: Now, config: &Config, connected_peers: usize) -> Vec<u8> {
        let mut json = Vec::with_capacity(1024);
        self.with_message(now, config, connected_peers, |message| message.encode(&mut json));
        json
    }

    /// Hands the status as of `now` to `use_it`.
    pub fn with_message<T>(
        &self,
        now: Now,
        config: &Config,
        connected_peers: usize,
        use_it: impl FnOnce(&NodeStatusMessage<'_>) -> T,
    ) -> T {
        let fallback = fallback_tip(config);
        let tip = self.tip().unwrap_or(&fallback);
        let hash = tip_hash_text(&tip.header);
        let message = NodeStatusMessage {
            peer_id: Cow::Borrowed(&self.peer_id),
            client_name: Cow::Borrowed(&config.client_name),
            kind: Cow::Borrowed(NodeStatusMessage::KIND),
            base_url: Cow::Borrowed(config.base_url_shown()),
            version: Cow::Borrowed(&config.version),
            commit_hash: Cow::Borrowed(&config.commit_hash),
            best_block_hash: Cow::Borrowed(&hash),
            best_height: tip.height,
            tx_count: self.chain.tx_count.unwrap_or(0),
            subtree_count: self.chain.subtree_count.unwrap_or(0),
            fsm_state: Cow::Borrowed(self.fsm.map_or("UNKNOWN", FsmState::name)),
            start_time: self.started.wall.as_secs(),
            uptime: now.mono.saturating_since(self.started.mono).as_micros() as f64 / 1e6,
            miner_name: Cow::Borrowed(&tip.miner),
            listen_mode: Cow::Borrowed(config.listen_mode.name()),
            chain_work: Cow::Owned(hex::encode(&tip.chain_work)),
            min_mining_tx_fee: config.min_mining_tx_fee,
            connected_peers_count: i64::try_from(connected_peers).unwrap_or(i64::MAX),
            storage: Cow::Borrowed(storage(tip.height, self.chain.persisted_height, config)),
            ..NodeStatusMessage::default()
        };
        use_it(&message)
    }
}

/// The tip while the chain does not answer: the genesis of the own chain (the reference shows mainnet's on every one).
fn fallback_tip(config: &Config) -> Block {
    let genesis = config.network.genesis().or_else(|| peerage_proto::network::Network::Mainnet.genesis());
    let empty = || BlockHeader::new(0, Hash256::ZERO, Hash256::ZERO, 0, 0, 0);
    Block {
        header: genesis.unwrap_or_else(empty),
        height: 0,
        miner: String::new(),
        chain_work: bytes::Bytes::new(),
        invalid: false,
    }
}

fn tip_hash_text(header: &BlockHeader) -> String {
    let mut text = String::with_capacity(64);
    header.hash().write_display(&mut text);
    text
}

/// Storage mode: how far the block persister lags behind the tip (spec 3.9).
fn storage(best: u32, persisted: Option<u32>, config: &Config) -> &'static str {
    let retention = if config.block_height_retention == 0 { 288 } else { config.block_height_retention };
    match persisted {
        None | Some(0) => "pruned",
        Some(persisted) if best.saturating_sub(persisted) <= retention => "full",
        Some(_) => "pruned",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::teranode::config::ListenMode;
    use peerage_proto::network::Network;

    fn config() -> Config {
        Config { client_name: "a".into(), ..Config::new(Network::Regtest) }
    }

    fn text(status: &OwnStatus, config: &Config) -> String {
        String::from_utf8(status.build(Now::at_secs(5), config, 0)).unwrap()
    }

    fn answered(chain: chain::Status) -> OwnStatus {
        let mut status = OwnStatus::new("me".into(), Now::at_secs(0));
        status.on_answer(Some(Box::new(chain)));
        status
    }

    fn tip(height: u32) -> Block {
        let header = Network::Regtest.genesis().unwrap();
        Block { header, height, miner: String::new(), chain_work: [0u8; 32].to_vec().into(), invalid: false }
    }

    #[test]
    fn t046_storage_is_full_within_288_blocks_of_the_persister() {
        let config = config();
        assert_eq!(storage(1000, None, &config), "pruned");
        assert_eq!(storage(1000, Some(0), &config), "pruned");
        assert_eq!(storage(1000, Some(712), &config), "full");
        assert_eq!(storage(1000, Some(711), &config), "pruned");
    }

    #[test]
    fn t047_without_the_chain_the_status_shows_height_0_and_the_genesis() {
        let mut status = OwnStatus::new("me".into(), Now::at_secs(0));
        status.on_answer(None);
        let text = text(&status, &config());
        assert!(text.contains(
            r#""best_block_hash":"0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206","best_height":0"#
        ));
    }

    #[test]
    fn t048_without_the_machines_state_the_status_shows_unknown() {
        let status = answered(chain::Status { best: Some(tip(5)), ..chain::Status::default() });
        assert!(text(&status, &config()).contains(r#""fsm_state":"UNKNOWN""#));
    }

    #[test]
    fn t044_listen_only_shows_no_url() {
        let status = answered(chain::Status { best: Some(tip(5)), ..chain::Status::default() });
        let config = Config { listen_mode: ListenMode::ListenOnly, ..config() };
        let text = text(&status, &config);
        assert!(text.contains(r#""base_url":"""#) && text.contains(r#""listen_mode":"listen_only""#));
    }

    #[test]
    fn t045_zero_values_are_left_out_and_three_members_never_are() {
        let mut status = OwnStatus::new("me".into(), Now::at_secs(5));
        status.on_answer(None);
        let text = text(&status, &config());
        for absent in ["tx_count", "subtree_count", "sync_peer", "connected_peers_count"] {
            assert!(!text.contains(absent), "{absent} in {text}");
        }
        for present in [r#""uptime":0,"#, r#""chain_work":"","#, r#""miner_name":"","#] {
            assert!(text.contains(present), "{present} not in {text}");
        }
    }

    #[test]
    fn a_notified_state_is_newer_than_the_answer() {
        let mut status = answered(chain::Status { fsm: Some(FsmState::Running), ..chain::Status::default() });
        status.on_fsm(Some(FsmState::CatchingBlocks));
        assert_eq!(status.fsm(), Some(FsmState::CatchingBlocks));
        status.on_fsm(None);
        assert_eq!(status.fsm(), Some(FsmState::Idle), "an unknown name");
    }
}
