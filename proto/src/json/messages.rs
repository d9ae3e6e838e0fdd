//! The gossip messages (spec 3.1 to 3.7), one table each: whether a zero value is written, key, field, type.

use alloc::borrow::Cow;

use super::{FeePolicy, Field, JsonError, Parser};

/// Declares a message from its table of keys, in the order in which they are written.
macro_rules! message {
    ($(#[$meta:meta])* pub struct $name:ident {
        $($(#[$field_meta:meta])* $presence:ident $key:literal $field:ident: $type:ty,)*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $name<'a> {
            $($(#[$field_meta])* pub $field: $type,)*
        }

        impl<'a> $name<'a> {
            /// The keys, in the order in which they are written.
            pub const KEYS: &'static [&'static str] = &[$($key),*];

            /// Reads the message from a whole JSON document.
            ///
            /// # Errors
            /// When `data` is no JSON object and not `null`, or a known member is not of its type.
            pub fn decode(data: &'a [u8]) -> Result<Self, $crate::json::JsonError> {
                let mut message = Self::default();
                $crate::json::decode_document(data, |parser, key| message.read_member(parser, &key))?;
                Ok(message)
            }

            fn read_member(
                &mut self,
                parser: &mut $crate::json::Parser<'a>,
                key: &str,
            ) -> Result<(), $crate::json::JsonError> {
                match key {
                    $($key => return $crate::json::messages::read_field(&mut self.$field, parser),)*
                    _ => {}
                }
                $(if key.eq_ignore_ascii_case($key) {
                    return $crate::json::messages::read_field(&mut self.$field, parser);
                })*
                parser.skip_value()
            }

            /// Appends the message to `out` as Go writes it.
            pub fn encode(&self, out: &mut alloc::vec::Vec<u8>) {
                let mut separator = b'{';
                $(if $crate::json::messages::$presence(&self.$field) {
                    out.push(separator);
                    separator = b',';
                    out.extend_from_slice(concat!("\"", $key, "\":").as_bytes());
                    $crate::json::Field::write(&self.$field, out);
                })*
                if separator == b'{' {
                    out.push(separator);
                }
                out.push(b'}');
            }
        }
    };
}
pub(crate) use message;

pub(crate) fn read_field<'a, F: Field<'a>>(field: &mut F, parser: &mut Parser<'a>) -> Result<(), JsonError> {
    if parser.null()? {
        field.read_null();
        return Ok(());
    }
    field.read(parser)
}

/// Presence of a member that is always written.
pub(crate) fn always<'a, F: Field<'a>>(_: &F) -> bool {
    true
}

/// Presence of a member that is left out when zero.
pub(crate) fn omit<'a, F: Field<'a>>(field: &F) -> bool {
    !field.is_zero()
}

message! {
    /// Announcement of a block (topic `block`, spec 3.1).
    pub struct BlockMessage {
        /// Publisher's peer id, base58.
        always "PeerID" peer_id: Cow<'a, str>,
        /// Publisher's client name.
        always "ClientName" client_name: Cow<'a, str>,
        /// Base URL of the publisher's asset service.
        always "DataHubURL" data_hub_url: Cow<'a, str>,
        /// Block hash in display order.
        always "Hash" hash: Cow<'a, str>,
        /// Block height.
        always "Height" height: u32,
        /// The header as 160 hexadecimal characters; empty from older nodes.
        always "Header" header: Cow<'a, str>,
        /// Coinbase transaction in hexadecimal; publishers leave it empty.
        always "Coinbase" coinbase: Cow<'a, str>,
    }
}

message! {
    /// Announcement of a subtree (topic `subtree`, spec 3.2).
    pub struct SubtreeMessage {
        /// Publisher's peer id, base58.
        always "PeerID" peer_id: Cow<'a, str>,
        /// Publisher's client name.
        always "ClientName" client_name: Cow<'a, str>,
        /// Base URL of the publisher's asset service.
        always "DataHubURL" data_hub_url: Cow<'a, str>,
        /// Root hash of the subtree in display order.
        always "Hash" hash: Cow<'a, str>,
    }
}

message! {
    /// A transaction that the publisher refused (topic `rejected_tx`, spec 3.3).
    pub struct RejectedTxMessage {
        /// Publisher's peer id, base58.
        always "PeerID" peer_id: Cow<'a, str>,
        /// Publisher's client name; empty from the reference.
        always "ClientName" client_name: Cow<'a, str>,
        /// Transaction id in display order.
        always "TxID" tx_id: Cow<'a, str>,
        /// The validator's reason.
        always "Reason" reason: Cow<'a, str>,
    }
}

message! {
    /// State of a node (topic `node_status`, spec 3.4 with the additions of 14.6).
    pub struct NodeStatusMessage {
        /// Publisher's peer id, base58.
        always "peer_id" peer_id: Cow<'a, str>,
        /// Publisher's client name.
        always "client_name" client_name: Cow<'a, str>,
        /// Constant [`NodeStatusMessage::KIND`]; member `type`.
        always "type" kind: Cow<'a, str>,
        /// Base URL of the asset service; empty in listen-only mode.
        always "base_url" base_url: Cow<'a, str>,
        /// Base URL of the propagation service; empty when it is `base_url`.
        omit "propagation_url" propagation_url: Cow<'a, str>,
        /// Software version.
        always "version" version: Cow<'a, str>,
        /// Commit the software was built from.
        always "commit_hash" commit_hash: Cow<'a, str>,
        /// Hash of the best block in display order.
        always "best_block_hash" best_block_hash: Cow<'a, str>,
        /// Height of the best block.
        always "best_height" best_height: u32,
        /// Transactions in block assembly.
        omit "tx_count" tx_count: u64,
        /// Subtrees in block assembly.
        omit "subtree_count" subtree_count: u32,
        /// Name of the state of the node's state machine.
        always "fsm_state" fsm_state: Cow<'a, str>,
        /// Start of the node in Unix seconds.
        always "start_time" start_time: i64,
        /// Seconds since the start, with a fraction.
        always "uptime" uptime: f64,
        /// Miner text of the best block.
        always "miner_name" miner_name: Cow<'a, str>,
        /// `full` or `listen_only`.
        always "listen_mode" listen_mode: Cow<'a, str>,
        /// Work of the chain in hexadecimal.
        always "chain_work" chain_work: Cow<'a, str>,
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

impl NodeStatusMessage<'_> {
    /// Value of the member `type`.
    pub const KIND: &'static str = "node_status";
}

message! {
    /// Greeting of older nodes (direct stream, or topic `handshake`, spec 3.5).
    pub struct HandshakeMessage {
        /// `version` or `verack`; member `type`.
        always "type" kind: Cow<'a, str>,
        /// Sender's peer id, base58.
        always "peerID" peer_id: Cow<'a, str>,
        /// Height of the sender's best block.
        always "bestHeight" best_height: u32,
        /// Hash of the sender's best block in display order.
        always "bestHash" best_hash: Cow<'a, str>,
        /// Asset URL; an empty one rules the sender out as sync peer.
        always "dataHubURL" data_hub_url: Cow<'a, str>,
        /// `teranode/bitcoin/` and the version.
        always "userAgent" user_agent: Cow<'a, str>,
        /// Bitmap of services; send 1.
        always "services" services: u64,
        /// Topic prefix of the chain.
        always "topicPrefix" topic_prefix: Cow<'a, str>,
    }
}

message! {
    /// What an older node mines on (topic `miningon`, spec 3.7).
    pub struct MiningOnMessage {
        /// Hash of the block mined on, in display order.
        always "Hash" hash: Cow<'a, str>,
        /// Its predecessor's hash, in display order.
        always "PreviousHash" previous_hash: Cow<'a, str>,
        /// Asset URL of the publisher.
        always "DataHubURL" data_hub_url: Cow<'a, str>,
        /// Publisher's peer id, base58.
        always "PeerID" peer_id: Cow<'a, str>,
        /// Height of the block.
        always "Height" height: u32,
        /// Miner text of the block.
        always "Miner" miner: Cow<'a, str>,
        /// Size of the block in bytes.
        always "SizeInBytes" size_in_bytes: u64,
        /// Transactions in the block.
        always "TxCount" tx_count: u64,
    }
}
