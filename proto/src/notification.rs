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
