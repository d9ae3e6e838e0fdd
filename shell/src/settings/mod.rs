//! Settings: default < file < environment < `--set` (spec section 13; design, decision 16).

pub mod file;
pub mod keys;
pub mod layers;
pub mod reader;
#[cfg(test)]
mod refusals;
pub mod sources;
pub mod values;

use std::net::SocketAddr;
use std::path::PathBuf;

use peerage_core::config::Config as CoreConfig;
use peerage_core::conn::{self, DhtMode};
use peerage_core::error::ConfigError;
use peerage_core::limits::Limits;
use peerage_core::memory;
use peerage_core::teranode::config::{Envelope, TopicNames};
use peerage_core::teranode::url::URL_BYTES_MAX;
use peerage_core::teranode::{self, Compat, ListenMode};
use peerage_core::{gossipsub, proto};
use proto::{Multiaddr, Network, PeerId};

pub use layers::{Layers, Sources};

use crate::http::feed::FeedLimits;
use crate::http::patience::Patience;
use crate::p2p::Announce;
use reader::Reader;

/// Least budget of bytes: handshake, identify and the subscriptions of a neighbour pass without a pause.
const BYTES_PER_SECOND_MIN: u64 = 64 << 10;
/// Least budget of messages, for the same reason.
const MESSAGES_PER_SECOND_MIN: u64 = 100;
/// Longest name, prefix or topic, in bytes: as much as is kept of a peer's. Each stands in every message or is sent to
/// every neighbour.
const TEXT_BYTES_MAX: usize = 256;

/// Everything that was set, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `dev` or `standard`.
    pub profile: &'static str,
    /// Connections.
    pub conn: conn::Config,
    /// Bounds.
    pub limits: Limits,
    /// The memory contract, in bytes (`memory_max`); the limits here keep to it already.
    pub memory_max: Option<u64>,
    /// The Teranode service.
    pub teranode: teranode::Config,
    /// The pubsub router.
    pub gossipsub: gossipsub::config::Config,
    /// What identify tells about our addresses.
    pub announce: Announce,
    /// Whether ways through NATs are sought: port mapping, hole punching, AutoNAT, places on relays.
    pub nat: bool,
    /// Whether peers are looked for on the local network.
    pub mdns: bool,
    /// Bytes a second that one connection may send us.
    pub bytes_per_second_max: u64,
    /// Messages a second that one connection may send us.
    pub messages_per_second_max: u64,
    /// `p2p_private_key`: hex; empty: the key file.
    pub private_key: Secret,
    /// `p2p_peer_cache_dir`: key and address cache; none: the data directory.
    pub peer_cache_dir: Option<PathBuf>,
    /// Where the feed listens; none: nowhere.
    pub feed: Option<SocketAddr>,
    /// Certificate and key of the feed, when it speaks TLS.
    pub feed_tls: Option<(PathBuf, PathBuf)>,
    /// Limits of the feed.
    pub feed_limits: FeedLimits,
    /// Where the operator's listener is; none: nowhere.
    pub admin: Option<SocketAddr>,
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_empty() { "(none)" } else { "(secret)" })
    }
}

impl Settings {
    /// Reads all layers. The checks of spec 12.1 come in its order.
    ///
    /// # Errors
    /// The first thing that is wrong: key, value, origin, remedy.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let layers = Layers::new(sources)?;
        layers.refuse_missing()?;
        let reader = Reader::new(&layers);
        let listen = reader.listen_addresses()?;
        let teranode = teranode_config(&reader)?;
        teranode.validate().map_err(|error| reader.with_origin(error))?;
        let mut conn = conn_config(&reader, listen)?;
        conn.validate().map_err(|error| reader.with_origin(error))?;
        let mut limits = limits(&reader)?;
        let mut gossipsub = gossipsub::config::Config::default();
        let memory_max = reader.bytes("memory_max")?;
        if let Some(most) = memory_max {
            let bounded = memory::bound(most, &mut limits, &mut conn, &mut gossipsub);
            bounded.map_err(|error| reader.with_origin(error))?;
        }
        limits.validate().map_err(|error| reader.with_origin(error))?;
        Ok(Self {
            profile: if layers.is_dev() { "dev" } else { "standard" },
            announce: announce(&reader, &conn)?,
            // Who is silent does not want to be found.
            nat: reader.boolean("p2p_enable_nat") && reader.text("listen_mode") != "silent",
            mdns: reader.boolean("p2p_enable_mdns") && reader.text("listen_mode") != "silent",
            bytes_per_second_max: reader
                .within("p2p_bytes_per_second_max", BYTES_PER_SECOND_MIN..=u64::MAX)?,
            messages_per_second_max: reader
                .within("p2p_messages_per_second_max", MESSAGES_PER_SECOND_MIN..=u64::MAX)?,
            private_key: Secret::new(reader.text("p2p_private_key")),
            peer_cache_dir: Some(reader.text("p2p_peer_cache_dir"))
                .filter(|dir| !dir.is_empty())
                .map(PathBuf::from),
            feed: reader.socket("p2p_httpListenAddress")?,
            feed_tls: feed_tls(&reader)?,
            feed_limits: feed_limits(&reader, &limits)?,
            admin: reader.socket("admin_listen")?,
            memory_max,
            gossipsub,
            conn,
            limits,
            teranode,
        })
    }

    /// Peers on whose relays places are sought. What is announced explicitly is reached without one.
    pub fn relays(&self) -> Vec<Multiaddr> {
        match self.announce {
            Announce::Listening { .. } if self.nat => self.conn.bootstrap.clone(),
            Announce::Listening { .. } | Announce::Exactly(_) => Vec::new(),
        }
    }

    /// What the core is told.
    ///
    /// # Errors
    /// When values do not fit together.
    pub fn core(&self, local_peer: PeerId) -> Result<CoreConfig, ConfigError> {
        let mut config = CoreConfig::new(local_peer, self.teranode.clone());
        config.conn = self.conn.clone();
        config.limits = self.limits.clone();
        config.gossipsub = self.gossipsub.clone();
        config.validate()?;
        Ok(config)
    }
}

fn teranode_config(reader: &Reader<'_>) -> Result<teranode::Config, ConfigError> {
    let network = reader.parsed(
        "network",
        Network::from_name,
        "use mainnet, testnet, regtest, stn, teratestnet or tstn",
    )?;
    let compat = reader.choice("compat", &[("mended", Compat::Mended), ("strict", Compat::Strict)])?;
    let mut config = match compat {
        Compat::Mended => teranode::Config::new(network),
        Compat::Strict => teranode::Config::strict(network),
    };
    let prefix = reader.found("p2p_topic_prefix");
    if !prefix.is_default {
        config.topic_prefix = reader.short_text("p2p_topic_prefix", TEXT_BYTES_MAX)?;
        if prefix.text.is_empty() {
            let problem = "missing config ChainCfgParams.TopicPrefix";
            return Err(reader.error("p2p_topic_prefix", problem, "leave it out to get that of the network"));
        }
    }
    config.topics = topics(reader)?;
    config.listen_mode = listen_mode(reader)?;
    config.envelope = reader.choice(
        "envelope",
        &[("required", Envelope::Required), ("optional", Envelope::Optional), ("none", Envelope::None)],
    )?;
    config.client_name = reader.short_text("clientName", TEXT_BYTES_MAX)?;
    let own = reader.short_text("asset_httpAddress", URL_BYTES_MAX)?;
    let public = reader.short_text("asset_httpPublicAddress", URL_BYTES_MAX)?;
    config.base_url = if public.is_empty() { own } else { public };
    config.version = format!("v{}", env!("CARGO_PKG_VERSION"));
    config.commit_hash = option_env!("PEERAGE_COMMIT").unwrap_or_default().to_owned();
    config.min_mining_tx_fee = Some(reader.amount("minminingtxfee")?);
    config.block_height_retention = reader.number("global_blockHeightRetention")?;
    config.blacklisted_base_urls = reader.list("subtreevalidation_blacklisted_baseurls");
    config.allow_private_urls = reader.boolean("p2p_allow_private_ips");
    config.require_header = reader.boolean("require_header");
    reader.if_set("p2p_seen_hash_max_publishers", |reader, key| {
        config.seen_hash_publishers_max = reader.above_zero(key)?;
        Ok(())
    })?;
    reader.if_set("p2p_peer_map_ttl", |reader, key| {
        config.origin_ttl = reader.duration(key)?;
        Ok(())
    })?;
    reader.if_set("p2p_peer_map_cleanup_interval", |reader, key| {
        config.sweep_interval = reader.interval(key)?;
        Ok(())
    })?;
    config.ban_threshold = reader.number("p2p_ban_threshold")?;
    config.ban_duration = reader.duration("p2p_ban_duration")?;
    config.log_verdicts = reader.boolean("log_verdicts");
    Ok(config)
}

/// The topics' names; no two kinds of message share one.
fn topics(reader: &Reader<'_>) -> Result<TopicNames, ConfigError> {
    const KEYS: [&str; 4] =
        ["p2p_block_topic", "p2p_subtree_topic", "p2p_rejected_tx_topic", "p2p_node_status_topic"];
    let name = |key| reader.short_text(key, TEXT_BYTES_MAX);
    let [block, subtree, rejected_tx, node_status] = KEYS.map(name);
    let names = TopicNames {
        block: block?,
        subtree: subtree?,
        rejected_tx: rejected_tx?,
        node_status: node_status?,
        ..TopicNames::default()
    };
    let own = if names.node_status.is_empty() { "node_status" } else { &names.node_status };
    let taken = [names.block.as_str(), &names.subtree, &names.rejected_tx, own];
    for (index, name) in taken.iter().enumerate() {
        let other = taken.iter().skip(index + 1).position(|other| other == name && !name.is_empty());
        if let Some(other) = other.map(|at| KEYS[index + 1 + at]) {
            let problem = format!("the topic of {other} as well: two kinds of message on one");
            return Err(reader.error(KEYS[index], &problem, "give each kind a topic of its own"));
        }
    }
    Ok(names)
}

fn listen_mode(reader: &Reader<'_>) -> Result<ListenMode, ConfigError> {
    let found = reader.found("listen_mode");
    match found.text.as_str() {
        "full" => Ok(ListenMode::Full),
        "listen_only" => Ok(ListenMode::ListenOnly),
        "silent" => Ok(ListenMode::Silent),
        other => Err(reader.error(
            "listen_mode",
            &format!("listen_mode must be either 'full' or 'listen_only' (got '{other}')"),
            "use full, listen_only or silent",
        )),
    }
}

fn conn_config(reader: &Reader<'_>, listen: Vec<Multiaddr>) -> Result<conn::Config, ConfigError> {
    Ok(conn::Config {
        listen,
        bootstrap: reader.peers("p2p_bootstrap_peers")?,
        static_peers: reader.peers("p2p_static_peers")?,
        // Any other text means server (spec 2.5). Who is silent is not found in the DHT either (spec 14.3).
        dht_mode: match reader.text("p2p_dht_mode").as_str() {
            _ if reader.text("listen_mode") == "silent" => DhtMode::Off,
            "client" => DhtMode::Client,
            "off" => DhtMode::Off,
            _ => DhtMode::Server,
        },
        allow_private: reader.boolean("p2p_allow_private_ips"),
        loopback_exempt: reader.boolean("p2p_loopback_exempt"),
        low_water: reader.number("p2p_low_water")?,
        high_water: reader.number("p2p_high_water")?,
        connections_per_address_max: reader.above_zero("p2p_connections_per_address_max")?,
        connections_per_subnet24_max: reader.above_zero("p2p_connections_per_subnet24_max")?,
        connections_per_subnet48_max: reader.above_zero("p2p_connections_per_subnet48_max")?,
        pending_handshakes_max: reader.above_zero("p2p_pending_handshakes_max")?,
        pending_per_address_max: reader.above_zero("p2p_pending_per_address_max")?,
        ..conn::Config::default()
    })
}

fn limits(reader: &Reader<'_>) -> Result<Limits, ConfigError> {
    Ok(Limits {
        connections_max: reader.above_zero("connections_max")?,
        peers_known_max: reader.above_zero("peers_known_max")?,
        origins_max: reader.above_zero("p2p_peer_map_max_size")?,
        seen_hashes_max: reader.above_zero("seen_hashes_max")?,
        ops_inflight_max: reader.number("ops_inflight_max")?,
        produce_inflight_max: reader.above_zero("produce_inflight_max")?,
        subscribers_max: reader.number("p2p_websocket_max_connections")?,
        subscriber_frames_max: reader.above_zero("subscriber_frames_max")?,
        work_per_input_max: reader.above_zero("work_per_input_max")?,
        ..Limits::default()
    })
}

fn announce(reader: &Reader<'_>, conn: &conn::Config) -> Result<Announce, ConfigError> {
    let explicit = reader.advertise_addresses()?;
    Ok(match explicit.is_empty() {
        false => Announce::Exactly(explicit),
        true => Announce::Listening {
            private: conn.allow_private || reader.boolean("p2p_share_private_addresses"),
        },
    })
}

fn feed_tls(reader: &Reader<'_>) -> Result<Option<(PathBuf, PathBuf)>, ConfigError> {
    if reader.number::<u32>("securityLevelHTTP")? == 0 {
        return Ok(None);
    }
    let file = |key: &'static str| match reader.text(key) {
        text if text.is_empty() => Err(reader.error(
            key,
            "securityLevelHTTP asks for TLS, and this file is not named",
            "name it, or set securityLevelHTTP = 0",
        )),
        text => Ok(PathBuf::from(text)),
    };
    Ok(Some((file("server_certFile")?, file("server_keyFile")?)))
}

fn feed_limits(reader: &Reader<'_>, limits: &Limits) -> Result<FeedLimits, ConfigError> {
    let clients_max = limits.subscribers_max;
    let per_source: i64 = reader.number("p2p_websocket_max_connections_per_ip")?;
    Ok(FeedLimits {
        clients_max,
        per_source_max: match per_source {
            0 => Some((clients_max / 20).max(4)),
            above if above > 0 => Some(u32::try_from(above).unwrap_or(u32::MAX)),
            _ => None,
        },
        trusted: reader.subnets("p2p_websocket_trusted_source_cidrs")?,
        origins: reader.list("p2p_websocket_allowed_origins"),
        frames_max: usize::try_from(limits.subscriber_frames_max).unwrap_or(usize::MAX),
        patience: Patience::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(flags: &[(&str, &str)]) -> Result<Settings, ConfigError> {
        let flags = flags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Settings::load(&Sources { flags, ..Sources::default() })
    }

    #[test]
    fn without_configuration_the_node_is_a_lonely_regtest_node_on_loopback() {
        let settings = load(&[]).unwrap();
        assert_eq!((settings.profile, settings.teranode.network), ("dev", Network::Regtest));
        assert_eq!(settings.conn.listen, ["/ip4/127.0.0.1/tcp/9905".parse().unwrap()]);
        assert_eq!(settings.feed, "127.0.0.1:9906".parse().ok());
        assert_eq!(settings.admin, "127.0.0.1:9907".parse().ok());
        assert!(settings.conn.bootstrap.is_empty() && settings.conn.allow_private);
        assert_eq!(settings.conn.dht_mode, DhtMode::Server);
    }

    #[test]
    fn t143_each_row_of_the_construction_checks_gives_its_text() {
        let problem = |key, value| load(&[(key, value)]).unwrap_err().problem;
        assert_eq!(problem("p2p_port", "0"), "p2p_port not set in config");
        assert_eq!(problem("p2p_topic_prefix", ""), "missing config ChainCfgParams.TopicPrefix");
        assert_eq!(problem("p2p_block_topic", ""), "p2p_block_topic not set in config");
        assert_eq!(problem("p2p_subtree_topic", ""), "p2p_subtree_topic not set in config");
        assert_eq!(problem("p2p_rejected_tx_topic", ""), "p2p_rejected_tx_topic not set in config");
        assert_eq!(
            problem("listen_mode", "x"),
            "listen_mode must be either 'full' or 'listen_only' (got 'x')"
        );
        assert!(load(&[("p2p_node_status_topic", "")]).is_ok());
        assert!(problem("clientName", "").starts_with("failed to create p2p client"));
    }

    #[test]
    fn an_error_says_key_value_origin_and_remedy() {
        let error = load(&[("p2p_ban_threshold", "abc")]).unwrap_err();
        assert_eq!(
            (error.key.as_str(), error.value.as_str(), error.origin.as_str()),
            ("p2p_ban_threshold", "abc", "--set")
        );
        assert!(!error.remedy.is_empty());
        let error = load(&[("p2p_low_water", "99")]).unwrap_err();
        assert_eq!(
            (error.key.as_str(), error.origin.as_str()),
            ("p2p_low_water", "--set"),
            "the core's checks get an origin"
        );
    }

    #[test]
    fn t165_a_ban_threshold_that_is_no_number_stops_the_start() {
        assert_eq!(load(&[("p2p_ban_threshold", "abc")]).unwrap_err().problem, "not a number");
    }

    #[test]
    fn t154_each_listen_address_is_bound_with_the_port() {
        let listen = |value| {
            let settings = load(&[("p2p_listen_addresses", value), ("p2p_port", "7")]).unwrap();
            settings.conn.listen.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(listen("127.0.0.1 | ::1"), ["/ip4/127.0.0.1/tcp/7", "/ip6/::1/tcp/7"]);
        assert_eq!(listen("/ip4/127.0.0.1/tcp/0"), ["/ip4/127.0.0.1/tcp/0"]);
        assert_eq!(listen(""), Vec::<String>::new(), "an empty text is an empty list, not an absent one");
        for item in
            ["/ip4/127.0.0.1/udp/1", "/dns4/localhost/tcp/1", "/ip4/127.0.0.1", "/ip4/127.0.0.1/tcp/1/ws"]
        {
            let error = load(&[("p2p_listen_addresses", item)]).unwrap_err();
            assert_eq!((error.value.as_str(), error.problem.contains("only TCP")), (item, true), "{error}");
        }
        assert!(load(&[("p2p_listen_addresses", "/ip4/nonsense")]).is_err());
        assert!(load(&[("p2p_listen_addresses", "nonsense")]).is_err());
    }

    #[test]
    fn t153_advertised_addresses_get_the_port_and_their_form() {
        let advertise = |value| match load(&[("p2p_advertise_addresses", value)]).unwrap().announce {
            Announce::Exactly(addrs) => addrs.iter().map(ToString::to_string).collect::<Vec<_>>(),
            Announce::Listening { .. } => vec![],
        };
        assert_eq!(advertise("example.com"), ["/dns4/example.com/tcp/9905"]);
        assert_eq!(advertise("/ip4/203.0.113.7/tcp/9905"), ["/ip4/203.0.113.7/tcp/9905"]);
        assert_eq!(
            advertise("192.168.1.1|example.com:9906|::1"),
            ["/ip4/192.168.1.1/tcp/9905", "/dns4/example.com/tcp/9906", "/ip6/::1/tcp/9905"]
        );
        assert!(load(&[("p2p_advertise_addresses", "/ip4/nonsense")]).is_err());
    }

    #[test]
    fn t074_an_empty_feed_address_leaves_the_feed_out() {
        assert_eq!(load(&[("p2p_httpListenAddress", "")]).unwrap().feed, None);
        assert_eq!(load(&[("p2p_httpListenAddress", ":7")]).unwrap().feed, "0.0.0.0:7".parse().ok());
    }

    #[test]
    fn a_silent_node_takes_no_part_in_the_dht() {
        assert_eq!(load(&[("listen_mode", "silent")]).unwrap().conn.dht_mode, DhtMode::Off);
        assert_eq!(load(&[("listen_mode", "listen_only")]).unwrap().conn.dht_mode, DhtMode::Server);
    }

    #[test]
    fn ways_to_be_found_are_sought_when_told_and_never_by_who_is_silent() {
        let peer = "/ip4/203.0.113.7/tcp/1/p2p/12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5";
        let sought = |more: &[(&str, &str)]| {
            let told =
                [("p2p_enable_nat", "true"), ("p2p_enable_mdns", "true"), ("p2p_bootstrap_peers", peer)];
            let settings = load(&[&told, more].concat()).unwrap();
            (settings.nat, settings.mdns, settings.relays().len())
        };
        assert_eq!(sought(&[]), (true, true, 1));
        assert_eq!(sought(&[("p2p_advertise_addresses", "203.0.113.9")]), (true, true, 0), "it is reached");
        assert_eq!(sought(&[("listen_mode", "silent")]), (false, false, 0));
        let settings = load(&[("p2p_bootstrap_peers", peer)]).unwrap();
        assert_eq!((settings.nat, settings.mdns, settings.relays().len()), (false, false, 0));
    }

    #[test]
    fn a_secret_is_never_printed() {
        let settings = load(&[("p2p_private_key", "0123abcd")]).unwrap();
        assert!(!format!("{settings:?}").contains("0123abcd"));
    }

    #[test]
    fn a_bootstrap_peer_that_is_no_multiaddr_is_refused_by_name() {
        let error = load(&[("p2p_bootstrap_peers", "/ip4/127.0.0.1/tcp/1|garbage")]).unwrap_err();
        assert_eq!((error.key.as_str(), error.value.as_str()), ("p2p_bootstrap_peers", "garbage"));
    }

    #[test]
    fn strict_keeps_its_own_values_unless_they_are_set() {
        let strict = load(&[("compat", "strict")]).unwrap().teranode;
        assert_eq!(strict.origin_ttl, teranode::Config::strict(Network::Regtest).origin_ttl);
        let set = load(&[("compat", "strict"), ("p2p_peer_map_ttl", "5s")]).unwrap().teranode;
        assert_eq!(set.origin_ttl, std::time::Duration::from_secs(5));
    }
}
