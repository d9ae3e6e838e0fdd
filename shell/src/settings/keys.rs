//! Every setting that is known (spec 13.2, 13.3, and our own).

/// What a setting does here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// It works.
    Works,
    /// Another name of this one.
    Alias(&'static str),
    /// Taken and without effect, on purpose: it is meant for other programs, or always so here.
    Inert,
    /// Refused when set to anything but its default; the text names what is missing.
    Missing(&'static str),
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// Its value when nothing sets it, in profile `standard`.
    pub default: &'static str,
    /// The same in profile `dev`, if it differs.
    pub dev: Option<&'static str>,
    /// What it does.
    pub effect: Effect,
}

const fn works(name: &'static str, default: &'static str) -> Key {
    Key { name, default, dev: None, effect: Effect::Works }
}

const fn by_profile(name: &'static str, default: &'static str, dev: &'static str) -> Key {
    Key { name, default, dev: Some(dev), effect: Effect::Works }
}

const fn alias(name: &'static str, of: &'static str) -> Key {
    Key { name, default: "", dev: None, effect: Effect::Alias(of) }
}

const fn inert(name: &'static str, default: &'static str) -> Key {
    Key { name, default, dev: None, effect: Effect::Inert }
}

const fn missing(name: &'static str, default: &'static str, what: &'static str) -> Key {
    Key { name, default, dev: None, effect: Effect::Missing(what) }
}

const LEGACY: &str = "the exchange with nodes of the older transport is not built";
const PRIVATE_DHT: &str = "private networks of the older transport are not built";
const PEER_SERVICE: &str = "the gRPC PeerService is not built";
const BANLIST: &str = "the ban list is not built";
const SYNC: &str = "the sync coordinator is not built";
const BLOCKCHAIN: &str =
    "the client of the blockchain service is not built; the embedded chain serves instead";
const KAFKA: &str = "the Kafka client is not built; the embedded broker serves instead";

/// Every setting, ours last.
pub const KEYS: &[Key] = &[
    works("p2p_block_topic", "block"),
    works("p2p_subtree_topic", "subtree"),
    works("p2p_rejected_tx_topic", "rejected_tx"),
    works("p2p_node_status_topic", ""),
    missing("p2p_bestblock_topic", "", LEGACY),
    missing("p2p_mining_on_topic", "", LEGACY),
    missing("p2p_handshake_topic", "", LEGACY),
    works("p2p_topic_prefix", ""),
    by_profile("p2p_listen_addresses", "0.0.0.0", "127.0.0.1"),
    alias("p2p_ip", "p2p_listen_addresses"),
    works("p2p_port", "9905"),
    works("p2p_advertise_addresses", ""),
    by_profile("p2p_share_private_addresses", "false", "true"),
    inert("p2p_peer_id", ""),
    works("p2p_private_key", ""),
    works("p2p_peer_cache_dir", ""),
    works("p2p_static_peers", ""),
    works("p2p_bootstrap_peers", ""),
    alias("p2p_bootstrap_addresses", "p2p_bootstrap_peers"),
    inert("p2p_bootstrap_persistent", "true"),
    works("p2p_dht_mode", "server"),
    inert("p2p_dht_cleanup_interval", "24h"),
    missing("p2p_dht_protocol_id", "", PRIVATE_DHT),
    missing("p2p_dht_use_private", "false", PRIVATE_DHT),
    missing("p2p_shared_key", "", PRIVATE_DHT),
    inert("p2p_optimise_retries", "true"),
    works("p2p_enable_nat", "false"),
    works("p2p_enable_mdns", "false"),
    by_profile("p2p_allow_private_ips", "false", "true"),
    by_profile("p2p_httpListenAddress", ":9906", "127.0.0.1:9906"),
    inert("p2p_httpAddress", "localhost:9906"),
    alias("p2p_http_listen_address", "p2p_httpListenAddress"),
    inert("p2p_http_address", "localhost:9906"),
    missing("p2p_grpcListenAddress", "", PEER_SERVICE),
    inert("p2p_grpcAddress", ""),
    missing("p2p_grpc_listen_address", "", PEER_SERVICE),
    inert("p2p_grpc_address", ""),
    works("listen_mode", "full"),
    works("p2p_ban_threshold", "100"),
    works("p2p_ban_duration", "24h"),
    missing("p2p_ban_default_duration", "", BANLIST),
    missing("p2p_ban_persist_path", "", BANLIST),
    missing("p2p_ban_max_entries", "", BANLIST),
    missing("banlist_db", "", BANLIST),
    missing("ban_default_duration", "24h", BANLIST),
    missing("ban_max_entries", "1000", BANLIST),
    missing("p2p_force_sync_peer", "", SYNC),
    missing("p2p_allow_pruned_node_fallback", "true", SYNC),
    missing("p2p_sync_coordinator_periodic_evaluation_interval", "30s", SYNC),
    inert("p2p_sync_stuck_retry_threshold", "1"),
    works("p2p_peer_map_max_size", "10000"),
    works("p2p_peer_map_ttl", "10m"),
    works("p2p_peer_map_cleanup_interval", "1m"),
    works("p2p_seen_hash_max_publishers", "3"),
    works("p2p_websocket_max_connections", "1000"),
    works("p2p_websocket_max_connections_per_ip", "0"),
    works("p2p_websocket_trusted_source_cidrs", "127.0.0.0/8|::1/128"),
    works("p2p_websocket_allowed_origins", ""),
    by_profile("network", "mainnet", "regtest"),
    works("clientName", "peerage"),
    works("asset_httpAddress", "http://localhost:8090/api/v1"),
    works("asset_httpPublicAddress", ""),
    works("securityLevelHTTP", "0"),
    works("server_certFile", ""),
    works("server_keyFile", ""),
    missing("security_level_grpc", "0", PEER_SERVICE),
    missing("securityLevelGRPC", "0", PEER_SERVICE),
    missing("grpc_admin_api_key", "", PEER_SERVICE),
    inert("grpc_max_retries", "40"),
    inert("grpc_retry_backoff", "250ms"),
    missing("blockchain_grpcAddress", "", BLOCKCHAIN),
    inert("blockchain_maxRetries", "3"),
    inert("blockchain_retrySleep", "1000"),
    missing("blockassembly_grpcAddress", "", BLOCKCHAIN),
    inert("blockassembly_grpcMaxRetries", "3"),
    inert("blockassembly_grpcRetryBackoff", "2s"),
    inert("use_prometheus_grpc_metrics", "true"),
    inert("prometheusEndpoint", ""),
    missing("blockchain_store", "sqlite:///blockchain", BLOCKCHAIN),
    works("global_blockHeightRetention", "288"),
    works("subtreevalidation_blacklisted_baseurls", ""),
    works("minminingtxfee", "0.000005"),
    missing("useLocalValidator", "false", BLOCKCHAIN),
    missing(
        "health_check_httpListenAddress",
        "",
        "the daemon's health server is not built; `/health` of the feed serves",
    ),
    inert("rpc_client_call_timeout", "5s"),
    missing("KAFKA_HOSTS", "", KAFKA),
    missing("kafka_blocksConfig", "", KAFKA),
    missing("kafka_subtreesConfig", "", KAFKA),
    missing("kafka_rejectedTxConfig", "", KAFKA),
    missing("kafka_invalidBlocksConfig", "", KAFKA),
    missing("kafka_invalidSubtreesConfig", "", KAFKA),
    by_profile("profile", "standard", "dev"),
    works("admin_listen", "127.0.0.1:9907"),
    works("compat", "mended"),
    works("envelope", "required"),
    works("require_header", "false"),
    works("log_verdicts", "false"),
    works("p2p_low_water", "25"),
    works("p2p_high_water", "35"),
    works("p2p_loopback_exempt", "true"),
    works("p2p_connections_per_address_max", "8"),
    works("p2p_connections_per_subnet24_max", "32"),
    works("p2p_connections_per_subnet48_max", "64"),
    works("p2p_pending_handshakes_max", "128"),
    works("p2p_pending_per_address_max", "16"),
    works("p2p_bytes_per_second_max", "33554432"),
    works("p2p_messages_per_second_max", "16000"),
    works("memory_max", ""),
    works("connections_max", "1000"),
    works("peers_known_max", "10000"),
    works("seen_hashes_max", "10000"),
    works("ops_inflight_max", "4096"),
    works("produce_inflight_max", "1024"),
    works("subscriber_frames_max", "100"),
    works("work_per_input_max", "64"),
];

/// Settings whose values are shown nowhere and put into no other value.
const SECRETS: [&str; 3] = ["p2p_private_key", "p2p_shared_key", "grpc_admin_api_key"];

/// Whether `name`, with or without a context, is that of a secret.
pub fn is_secret(name: &str) -> bool {
    name.split('.').next().is_some_and(|base| SECRETS.contains(&base))
}

/// Looks a setting up by its exact name.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The known name nearest to `name`, if one is near.
pub fn nearest(name: &str) -> Option<&'static str> {
    let distance = |key: &Key| super::values::edit_distance(&key.name.to_lowercase(), &name.to_lowercase());
    KEYS.iter().map(|key| (distance(key), key.name)).min().filter(|(far, _)| *far <= 4).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_stands_once_and_each_alias_leads_somewhere() {
        for (index, key) in KEYS.iter().enumerate() {
            assert!(!KEYS[..index].iter().any(|other| other.name == key.name), "{} stands twice", key.name);
            if let Effect::Alias(of) = key.effect {
                assert_eq!(find(of).map(|key| key.effect), Some(Effect::Works), "{}", key.name);
            }
        }
    }

    #[test]
    fn a_mistyped_name_gets_a_hint() {
        assert_eq!(nearest("p2p_prot"), Some("p2p_port"));
        assert_eq!(nearest("P2P_HTTPLISTENADDRESS"), Some("p2p_httpListenAddress"));
        assert_eq!(nearest("something_else_entirely"), None);
    }
}
