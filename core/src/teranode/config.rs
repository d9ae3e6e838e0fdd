//! Settings of the Teranode service.

use alloc::borrow::ToOwned as _;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use peerage_proto::network::Network;

use super::TopicKind;
use crate::codec::{Decode, DecodeError, Encode, Output, Reader, codec_enum, codec_struct};
use crate::error::ConfigError;
use crate::gossipsub::Topic;

/// Which behaviour is asked for where papers differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Compat {
    /// The reference as mended, with the later hardening of gossip, floods, publishing and bans.
    #[default]
    Mended,
    /// The reference with the quirks that a peer or a dashboard can see.
    Strict,
}

/// What we let out (`listen_mode`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ListenMode {
    /// Everything.
    #[default]
    Full,
    /// Node status only, with an empty base URL.
    ListenOnly,
    /// Nothing.
    Silent,
}

impl ListenMode {
    /// The mode's name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::ListenOnly => "listen_only",
            Self::Silent => "silent",
        }
    }
}

/// Whether gossip payloads are wrapped in the message bus's envelope (spec 2.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Envelope {
    /// Always: what the present family does.
    #[default]
    Required,
    /// Both are taken; we wrap.
    Optional,
    /// Never: the older transport (spec 2.6).
    None,
}

/// Names of the topics below the prefix (spec 2.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicNames {
    /// `p2p_block_topic`.
    pub block: String,
    /// `p2p_subtree_topic`.
    pub subtree: String,
    /// `p2p_rejected_tx_topic`.
    pub rejected_tx: String,
    /// `p2p_node_status_topic`; empty means `node_status`.
    pub node_status: String,
    /// `p2p_handshake_topic`; empty: the legacy exchange is off.
    pub handshake: String,
    /// `p2p_bestblock_topic`; empty: off.
    pub best_block: String,
    /// `p2p_mining_on_topic`; empty: off.
    pub mining_on: String,
}

impl Default for TopicNames {
    fn default() -> Self {
        Self {
            block: "block".to_owned(),
            subtree: "subtree".to_owned(),
            rejected_tx: "rejected_tx".to_owned(),
            node_status: String::new(),
            handshake: String::new(),
            best_block: String::new(),
            mining_on: String::new(),
        }
    }
}

/// Everything that the service is told at start.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// Which behaviour.
    pub compat: Compat,
    /// The chain.
    pub network: Network,
    /// Prefix of the topics; that of the chain unless overridden (`p2p_topic_prefix`).
    pub topic_prefix: String,
    /// Names below the prefix.
    pub topics: TopicNames,
    /// Payload wrapping.
    pub envelope: Envelope,
    /// What we let out.
    pub listen_mode: ListenMode,
    /// Our name (`clientName`): display only.
    pub client_name: String,
    /// Our DataHub URL.
    pub base_url: String,
    /// Our version, as shown in the node status.
    pub version: String,
    /// Our commit, the same.
    pub commit_hash: String,
    /// `minminingtxfee` in BSV per kB; none: no policy known.
    pub min_mining_tx_fee: Option<f64>,
    /// `global_blockHeightRetention`: lag of the block persister up to which we count as full.
    pub block_height_retention: u32,
    /// Hosts whose announcements are dropped (`subtreevalidation_blacklisted_baseurls`).
    pub blacklisted_base_urls: Vec<String>,
    /// Whether URLs towards private hosts are taken (`p2p_allow_private_ips`).
    pub allow_private_urls: bool,
    /// Whether the author of a message must be the id that it claims.
    pub check_claim: bool,
    /// Whether headers are checked against hash and target.
    pub check_header: bool,
    /// Whether a block without header is refused (`require_header`).
    pub require_header: bool,
    /// Longest inner document by topic, bytes (spec 14.1): block, subtree, rejected_tx, node_status.
    pub payload_bytes_max: [u32; TopicKind::COUNT],
    /// Publishers of one hash handed on in one window (`p2p_seen_hash_max_publishers`).
    pub seen_hash_publishers_max: u32,
    /// That window.
    pub seen_hash_window: Duration,
    /// How long a hash is watched.
    pub seen_hash_ttl: Duration,
    /// How long origins are kept (`p2p_peer_map_ttl`).
    pub origin_ttl: Duration,
    /// Between sweeps (`p2p_peer_map_cleanup_interval`).
    pub sweep_interval: Duration,
    /// Between node statuses (10 s).
    pub status_interval: Duration,
    /// Between `PING` frames on the feed (10 s); zero: none.
    pub ping_interval: Duration,
    /// Rejected transactions announced per second, on average and at once (spec 14.2).
    pub rejected_tx_rate: (u32, u32),
    /// Score at which a peer is banned (`p2p_ban_threshold`).
    pub ban_threshold: u32,
    /// For how long (`p2p_ban_duration`).
    pub ban_duration: Duration,
    /// Peers not heard for this long, and not connected, leave the registry (24 h).
    pub peer_ttl: Duration,
    /// A dial-able height this far above our tip is not believed (spec 14.1).
    pub height_horizon: u32,
    /// Whether a handshake without topic prefix is taken (`p2p_accept_legacy_handshake`).
    pub accept_legacy_handshake: bool,
    /// Whether each verdict is told to the operator (`log_verdicts`).
    pub log_verdicts: bool,
}

impl Config {
    /// The defaults on `network`.
    pub fn new(network: Network) -> Self {
        Self {
            compat: Compat::Mended,
            network,
            topic_prefix: network.topic_prefix().to_owned(),
            topics: TopicNames::default(),
            envelope: Envelope::Required,
            listen_mode: ListenMode::Full,
            client_name: "peerage".to_owned(),
            base_url: "http://localhost:8090/api/v1".to_owned(),
            version: String::new(),
            commit_hash: String::new(),
            min_mining_tx_fee: Some(0.000_005),
            block_height_retention: 288,
            blacklisted_base_urls: Vec::new(),
            allow_private_urls: false,
            check_claim: true,
            check_header: true,
            require_header: false,
            payload_bytes_max: [32 << 10, 32 << 10, 16 << 10, 64 << 10],
            seen_hash_publishers_max: 3,
            seen_hash_window: Duration::from_secs(15),
            seen_hash_ttl: Duration::from_secs(120),
            origin_ttl: Duration::from_secs(600),
            sweep_interval: Duration::from_secs(60),
            status_interval: Duration::from_secs(10),
            ping_interval: Duration::from_secs(10),
            rejected_tx_rate: (10, 100),
            ban_threshold: 100,
            ban_duration: Duration::from_secs(24 * 3600),
            peer_ttl: Duration::from_secs(24 * 3600),
            height_horizon: 10_000,
            accept_legacy_handshake: false,
            log_verdicts: false,
        }
    }

    /// The reference with its visible quirks: no checks of its successors.
    pub fn strict(network: Network) -> Self {
        Self {
            compat: Compat::Strict,
            check_claim: false,
            check_header: false,
            payload_bytes_max: [u32::MAX; TopicKind::COUNT],
            seen_hash_publishers_max: u32::MAX,
            origin_ttl: Duration::from_secs(30 * 60),
            sweep_interval: Duration::from_secs(300),
            ping_interval: Duration::ZERO,
            rejected_tx_rate: (u32::MAX, u32::MAX),
            height_horizon: u32::MAX,
            ..Self::new(network)
        }
    }

    /// The DataHub URL that others are told: none while we only listen.
    pub fn base_url_shown(&self) -> &str {
        match self.listen_mode {
            ListenMode::Full => &self.base_url,
            ListenMode::ListenOnly | ListenMode::Silent => "",
        }
    }

    /// Full name of a topic: prefix, dash, name.
    pub fn topic(&self, kind: TopicKind) -> Topic {
        let name = match kind {
            TopicKind::Block => &self.topics.block,
            TopicKind::Subtree => &self.topics.subtree,
            TopicKind::RejectedTx => &self.topics.rejected_tx,
            TopicKind::NodeStatus if self.topics.node_status.is_empty() => "node_status",
            TopicKind::NodeStatus => &self.topics.node_status,
        };
        self.full_name(name)
    }

    /// Prefix, dash, `name`.
    pub fn full_name(&self, name: &str) -> Topic {
        Topic(alloc::format!("{}-{name}", self.topic_prefix).into())
    }

    /// The checks of spec 12.1 that concern topics.
    ///
    /// # Errors
    /// The first that fails, in the spec's own words.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let required = [
            ("network", &self.topic_prefix, "missing config ChainCfgParams.TopicPrefix"),
            ("p2p_block_topic", &self.topics.block, "p2p_block_topic not set in config"),
            ("p2p_subtree_topic", &self.topics.subtree, "p2p_subtree_topic not set in config"),
            ("p2p_rejected_tx_topic", &self.topics.rejected_tx, "p2p_rejected_tx_topic not set in config"),
        ];
        for (key, value, problem) in required {
            if value.is_empty() {
                return Err(ConfigError::new(key, "", problem, "set it, or leave it out to get the default"));
            }
        }
        if self.client_name.is_empty() {
            return Err(ConfigError::new(
                "clientName",
                "",
                "failed to create p2p client: the name is empty",
                "give the node a name",
            ));
        }
        if self.ban_threshold == 0 {
            return Err(ConfigError::new(
                "p2p_ban_threshold",
                "0",
                "every peer would be banned at its first point",
                "use at least 1; the default is 100",
            ));
        }
        Ok(())
    }
}

impl Encode for Network {
    fn encode(&self, out: &mut impl Output) {
        self.name().encode(out);
    }
}

impl Decode for Network {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let name = String::decode(input)?;
        Self::from_name(&name).ok_or_else(|| input.error("the name of a network"))
    }
}

impl Encode for [u32; TopicKind::COUNT] {
    fn encode(&self, out: &mut impl Output) {
        self.iter().for_each(|item| item.encode(out));
    }
}

impl Decode for [u32; TopicKind::COUNT] {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut items = [0; TopicKind::COUNT];
        for item in &mut items {
            *item = u32::decode(input)?;
        }
        Ok(items)
    }
}

codec_enum!(Compat { 0 => Mended, 1 => Strict });
codec_enum!(ListenMode { 0 => Full, 1 => ListenOnly, 2 => Silent });
codec_enum!(Envelope { 0 => Required, 1 => Optional, 2 => None });
codec_struct!(TopicNames { block, subtree, rejected_tx, node_status, handshake, best_block, mining_on });
codec_struct!(Config {
    compat,
    network,
    topic_prefix,
    topics,
    envelope,
    listen_mode,
    client_name,
    base_url,
    version,
    commit_hash,
    min_mining_tx_fee,
    block_height_retention,
    blacklisted_base_urls,
    allow_private_urls,
    check_claim,
    check_header,
    require_header,
    payload_bytes_max,
    seen_hash_publishers_max,
    seen_hash_window,
    seen_hash_ttl,
    origin_ttl,
    sweep_interval,
    status_interval,
    ping_interval,
    rejected_tx_rate,
    ban_threshold,
    ban_duration,
    peer_ttl,
    height_horizon,
    accept_legacy_handshake,
    log_verdicts,
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t001_the_four_topics_of_mainnet_have_the_names_of_the_family() {
        let config = Config::new(Network::Mainnet);
        let names = TopicKind::ALL.map(|kind| config.topic(kind));
        let names = names.each_ref().map(Topic::as_str);
        assert_eq!(
            names,
            [
                "teranode/bitcoin/1.0.0/mainnet-block",
                "teranode/bitcoin/1.0.0/mainnet-subtree",
                "teranode/bitcoin/1.0.0/mainnet-rejected_tx",
                "teranode/bitcoin/1.0.0/mainnet-node_status",
            ]
        );
    }

    #[test]
    fn t002_an_empty_node_status_topic_means_node_status() {
        let mut config = Config::new(Network::Regtest);
        assert!(config.topic(TopicKind::NodeStatus).as_str().ends_with("-node_status"));
        config.topics.node_status = "status2".to_owned();
        assert!(config.topic(TopicKind::NodeStatus).as_str().ends_with("-status2"));
    }

    #[test]
    fn a_required_topic_set_to_empty_gives_the_exact_text() {
        let mut config = Config::new(Network::Regtest);
        config.topics.block.clear();
        assert_eq!(config.validate().unwrap_err().problem, "p2p_block_topic not set in config");
        let mut config = Config::new(Network::Regtest);
        config.topic_prefix.clear();
        assert_eq!(config.validate().unwrap_err().problem, "missing config ChainCfgParams.TopicPrefix");
    }
}
