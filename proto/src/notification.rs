//! WebSocket frames of the feed (spec 4.2, with the additions of 14.6).

use alloc::borrow::Cow;

use crate::json::{BlockMessage, FeePolicy, MiningOnMessage, NodeStatusMessage, SubtreeMessage, message};

message! {
    /// One frame of the feed. Zero and empty members are left out, except `type` and `best_height`.
    pub struct Notification {
        /// Time of the frame, see [`timestamp`].
        omit "timestamp" timestamp: Cow<'a, str>,
        /// `block`, `subtree`, `node_status`, `mining_on` or `PING`; member `type`.
        always "type" kind: Cow<'a, str>,
        /// Hash of the block or subtree in display order.
        omit "hash" hash: Cow<'a, str>,
        /// Asset URL of the publisher.
        omit "base_url" base_url: Cow<'a, str>,
        /// Propagation URL of the publisher, when another one.
        omit "propagation_url" propagation_url: Cow<'a, str>,
        /// Publisher's peer id, base58.
        omit "peer_id" peer_id: Cow<'a, str>,
        /// Hash of the preceding block in display order; member `previousblockhash`.
        omit "previousblockhash" previous_block_hash: Cow<'a, str>,
        /// Transactions in block assembly or in the block.
        omit "tx_count" tx_count: u64,
        /// Height of the block.
        omit "height" height: u32,
        /// Size of the block in bytes.
        omit "size_in_bytes" size_in_bytes: u64,
        /// Miner text of the block.
        omit "miner" miner: Cow<'a, str>,
        /// Software version.
        omit "version" version: Cow<'a, str>,
        /// Commit the software was built from.
        omit "commit_hash" commit_hash: Cow<'a, str>,
        /// Hash of the best block in display order.
        omit "best_block_hash" best_block_hash: Cow<'a, str>,
        /// Height of the best block.
        always "best_height" best_height: u32,
        /// Subtrees in block assembly.
        omit "subtree_count" subtree_count: u32,
        /// Name of the state of the node's state machine.
        omit "fsm_state" fsm_state: Cow<'a, str>,
        /// Start of the node in Unix seconds.
        omit "start_time" start_time: i64,
        /// Seconds since the start, with a fraction.
        omit "uptime" uptime: f64,
        /// Publisher's client name.
        omit "client_name" client_name: Cow<'a, str>,
        /// Miner text of the best block.
        omit "miner_name" miner_name: Cow<'a, str>,
        /// `full` or `listen_only`.
        omit "listen_mode" listen_mode: Cow<'a, str>,
        /// Work of the chain in hexadecimal.
        omit "chain_work" chain_work: Cow<'a, str>,
        /// Peer id of the peer that the node syncs from.
        omit "sync_peer_id" sync_peer_id: Cow<'a, str>,
        /// That peer's height.
        omit "sync_peer_height" sync_peer_height: u32,
        /// That peer's best block in display order.
        omit "sync_peer_block_hash" sync_peer_block_hash: Cow<'a, str>,
        /// Since when it is the sync peer, in Unix seconds.
        omit "sync_connected_at" sync_connected_at: i64,
        /// Lowest fee in BSV per kB of transactions that are mined; `None` = not known.
        omit "min_mining_tx_fee" min_mining_tx_fee: Option<f64>,
        /// Fees and sizes that the node accepts; `None` = not known.
        omit "fee_policy" fee_policy: Option<FeePolicy>,
        /// Number of connected peers.
        omit "connected_peers_count" connected_peers_count: i64,
        /// `full`, `pruned` or empty.
        omit "storage" storage: Cow<'a, str>,
    }
}

fn borrow(text: &str) -> Cow<'_, str> {
    Cow::Borrowed(text)
}

impl<'a> Notification<'a> {
    fn of(kind: &'a str, timestamp: &'a [u8; 20]) -> Self {
        let timestamp = Cow::Borrowed(core::str::from_utf8(timestamp).unwrap_or_default());
        Self { timestamp, kind: Cow::Borrowed(kind), ..Self::default() }
    }

    /// The frame of a block announcement.
    #[must_use]
    pub fn block(message: &'a BlockMessage<'_>, timestamp: &'a [u8; 20]) -> Self {
        Self {
            hash: borrow(&message.hash),
            base_url: borrow(&message.data_hub_url),
            peer_id: borrow(&message.peer_id),
            height: message.height,
            client_name: borrow(&message.client_name),
            ..Self::of("block", timestamp)
        }
    }

    /// The frame of a subtree announcement.
    #[must_use]
    pub fn subtree(message: &'a SubtreeMessage<'_>, timestamp: &'a [u8; 20]) -> Self {
        Self {
            hash: borrow(&message.hash),
            base_url: borrow(&message.data_hub_url),
            peer_id: borrow(&message.peer_id),
            client_name: borrow(&message.client_name),
            ..Self::of("subtree", timestamp)
        }
    }

    /// The frame of a node status, another node's or the own.
    #[must_use]
    pub fn node_status(message: &'a NodeStatusMessage<'_>, timestamp: &'a [u8; 20]) -> Self {
        Self {
            base_url: borrow(&message.base_url),
            propagation_url: borrow(&message.propagation_url),
            peer_id: borrow(&message.peer_id),
            tx_count: message.tx_count,
            version: borrow(&message.version),
            commit_hash: borrow(&message.commit_hash),
            best_block_hash: borrow(&message.best_block_hash),
            best_height: message.best_height,
            subtree_count: message.subtree_count,
            fsm_state: borrow(&message.fsm_state),
            start_time: message.start_time,
            uptime: message.uptime,
            client_name: borrow(&message.client_name),
            miner_name: borrow(&message.miner_name),
            listen_mode: borrow(&message.listen_mode),
            chain_work: borrow(&message.chain_work),
            sync_peer_id: borrow(&message.sync_peer_id),
            sync_peer_height: message.sync_peer_height,
            sync_peer_block_hash: borrow(&message.sync_peer_block_hash),
            sync_connected_at: message.sync_connected_at,
            min_mining_tx_fee: message.min_mining_tx_fee,
            fee_policy: message.fee_policy,
            connected_peers_count: message.connected_peers_count,
            storage: borrow(&message.storage),
            ..Self::of("node_status", timestamp)
        }
    }

    /// The frame of a mining-on message of an older node.
    #[must_use]
    pub fn mining_on(message: &'a MiningOnMessage<'_>, timestamp: &'a [u8; 20]) -> Self {
        Self {
            hash: borrow(&message.hash),
            base_url: borrow(&message.data_hub_url),
            peer_id: borrow(&message.peer_id),
            previous_block_hash: borrow(&message.previous_hash),
            tx_count: message.tx_count,
            height: message.height,
            size_in_bytes: message.size_in_bytes,
            miner: borrow(&message.miner),
            ..Self::of("mining_on", timestamp)
        }
    }

    /// The frame that shows a client that the feed lives; `base_url` and `peer_id` are the own node's.
    #[must_use]
    pub fn ping(base_url: &'a str, peer_id: &'a str, timestamp: &'a [u8; 20]) -> Self {
        Self {
            base_url: Cow::Borrowed(base_url),
            peer_id: Cow::Borrowed(peer_id),
            ..Self::of("PING", timestamp)
        }
    }
}

/// `YYYY-MM-DDTHH:MM:SSZ` of a time in Unix milliseconds, whole seconds, UTC. From the year 10000 on it stays at the last
/// second of 9999.
#[must_use]
pub fn timestamp(unix_ms: u64) -> [u8; 20] {
    crate::time::date_time((unix_ms / 1000).min(crate::time::SECONDS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::vec::Vec;

    fn text(frame: &Notification<'_>) -> String {
        let mut out = Vec::new();
        frame.encode(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn t067_keys_stand_in_the_order_of_the_table() {
        let added = ["propagation_url", "fee_policy"];
        let keys: Vec<_> = Notification::KEYS.iter().filter(|key| !added.contains(key)).copied().collect();
        let table = "timestamp type hash base_url peer_id previousblockhash tx_count height size_in_bytes miner version \
            commit_hash best_block_hash best_height subtree_count fsm_state start_time uptime client_name miner_name \
            listen_mode chain_work sync_peer_id sync_peer_height sync_peer_block_hash sync_connected_at \
            min_mining_tx_fee connected_peers_count storage";
        assert_eq!(keys, table.split_whitespace().collect::<Vec<_>>());
        let after = |key| Notification::KEYS[Notification::KEYS.iter().position(|k| *k == key).unwrap() - 1];
        assert_eq!((after("propagation_url"), after("fee_policy")), ("base_url", "min_mining_tx_fee"));
    }

    #[test]
    fn t017_a_block_frame_has_best_height_zero_before_its_client_name() {
        let message = BlockMessage {
            peer_id: "12D3KooWExampleExampleExampleExampleExampleExampleAA".into(),
            client_name: "alice-node".into(),
            data_hub_url: "https://alice.example/api/v1".into(),
            hash: "00000000000000000a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f6071".into(),
            height: 924_001,
            ..BlockMessage::default()
        };
        let expected = r#"{"timestamp":"2025-11-27T00:00:01Z","type":"block","hash":"00000000000000000a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f6071","base_url":"https://alice.example/api/v1","peer_id":"12D3KooWExampleExampleExampleExampleExampleExampleAA","height":924001,"best_height":0,"client_name":"alice-node"}"#;
        assert_eq!(text(&Notification::block(&message, &timestamp(1_764_201_601_999))), expected);
    }

    #[test]
    fn t041_an_absent_fee_stays_absent_and_zero_is_written() {
        let of = |fee| NodeStatusMessage { min_mining_tx_fee: fee, ..NodeStatusMessage::default() };
        let time = timestamp(0);
        assert!(!text(&Notification::node_status(&of(None), &time)).contains("min_mining_tx_fee"));
        assert!(text(&Notification::node_status(&of(Some(0.0)), &time)).contains("\"min_mining_tx_fee\":0}"));
        assert!(
            text(&Notification::node_status(&of(Some(5e-7)), &time)).contains("\"min_mining_tx_fee\":5e-7}")
        );
    }

    #[test]
    fn t057_a_mining_on_message_gives_its_frame() {
        let message = MiningOnMessage {
            hash: "aa".into(),
            previous_hash: "bb".into(),
            data_hub_url: "u".into(),
            peer_id: "p".into(),
            height: 5,
            miner: "/m/".into(),
            size_in_bytes: 6,
            tx_count: 7,
        };
        let expected = r#"{"timestamp":"1970-01-01T00:00:00Z","type":"mining_on","hash":"aa","base_url":"u","peer_id":"p","previousblockhash":"bb","tx_count":7,"height":5,"size_in_bytes":6,"miner":"/m/","best_height":0}"#;
        assert_eq!(text(&Notification::mining_on(&message, &timestamp(0))), expected);
    }

    #[test]
    fn t069_a_ping_has_type_time_url_id_and_best_height_only() {
        let id = "12D3KooWExampleExampleExampleExampleExampleExampleBB";
        let expected = r#"{"timestamp":"2025-11-27T00:00:10Z","type":"PING","base_url":"https://me.example/api/v1","peer_id":"12D3KooWExampleExampleExampleExampleExampleExampleBB","best_height":0}"#;
        let time = timestamp(1_764_201_610_000);
        assert_eq!(text(&Notification::ping("https://me.example/api/v1", id, &time)), expected);
    }

    #[test]
    fn t068_times_keep_their_form_whatever_the_clock_says() {
        for unix_ms in
            [0, 1, 951_782_400_000, 1_764_201_601_999, 253_402_300_799_999, 253_402_300_800_000, u64::MAX]
        {
            let time = timestamp(unix_ms);
            let form: Vec<u8> =
                time.iter().map(|&byte| if byte.is_ascii_digit() { b'0' } else { byte }).collect();
            assert_eq!(form, b"0000-00-00T00:00:00Z");
        }
        assert_eq!(&timestamp(u64::MAX), b"9999-12-31T23:59:59Z");
        assert_eq!(&timestamp(1_795_248_316_912), b"2026-11-21T08:05:16Z");
    }
}
