//! The inner messages of the four topics, built by hand from the wire's description, so that the
//! tests do not lean on the code under test.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The four kinds of messages, by the last part of their topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A block announcement.
    Block,
    /// A subtree announcement.
    Subtree,
    /// A node's own state.
    NodeStatus,
    /// A rejected transaction.
    RejectedTx,
}

/// All four.
pub const KINDS: [Kind; 4] = [Kind::Block, Kind::Subtree, Kind::NodeStatus, Kind::RejectedTx];

impl Kind {
    /// The full topic name on regtest.
    pub fn topic(self) -> String {
        let name = match self {
            Self::Block => "block",
            Self::Subtree => "subtree",
            Self::NodeStatus => "node_status",
            Self::RejectedTx => "rejected_tx",
        };
        format!("teranode/bitcoin/1.0.0/regtest-{name}")
    }

    /// A fresh valid message of this kind, claimed by the given peer id.
    pub fn message(self, peer_id: &str) -> Value {
        match self {
            Self::Block => block(peer_id),
            Self::Subtree => subtree(peer_id),
            Self::NodeStatus => node_status(peer_id),
            Self::RejectedTx => rejected_tx(peer_id),
        }
    }

    /// The hash or transaction id that tells a message of this kind from all others.
    pub fn mark(self, message: &Value) -> String {
        let key = match self {
            Self::Block | Self::Subtree => "Hash",
            Self::NodeStatus => "best_block_hash",
            Self::RejectedTx => "TxID",
        };
        message[key].as_str().unwrap_or_default().to_owned()
    }
}

/// The full names of all topics on regtest.
pub fn topics() -> Vec<String> {
    KINDS.iter().map(|k| k.topic()).collect()
}

/// A base URL as publishers send it; loopback, so nodes must allow private addresses.
pub const BASE_URL: &str = "http://127.0.0.1:8090/api/v1";

/// A subtree announcement with a fresh hash.
pub fn subtree(peer_id: &str) -> Value {
    json!({"PeerID": peer_id, "ClientName": "conformance", "DataHubURL": BASE_URL, "Hash": fresh_hash()})
}

/// A rejected transaction with a fresh id.
pub fn rejected_tx(peer_id: &str) -> Value {
    json!({"PeerID": peer_id, "ClientName": "conformance", "TxID": fresh_hash(),
           "Reason": "TX_INVALID (31): input amount lower than output amount"})
}

/// A node status on a fresh best block of height 1.
pub fn node_status(peer_id: &str) -> Value {
    json!({"peer_id": peer_id, "client_name": "conformance", "type": "node_status", "base_url": BASE_URL,
           "version": "v0.11.0", "commit_hash": "18714b9", "best_block_hash": fresh_hash(), "best_height": 1,
           "fsm_state": "RUNNING", "start_time": 1_795_248_309_i64, "uptime": 8.5, "miner_name": "/conformance/",
           "listen_mode": "full", "min_mining_tx_fee": 0, "storage": "full",
           "chain_work": "0000000000000000000000000000000000000000000000000000000000000004"})
}

/// A block announcement whose header meets regtest's target and hashes to `Hash`.
pub fn block(peer_id: &str) -> Value {
    let (header, hash) = mined_header();
    json!({"PeerID": peer_id, "ClientName": "conformance", "DataHubURL": BASE_URL, "Hash": hash, "Height": 1,
           "Header": header, "Coinbase": ""})
}

/// A block announcement whose header is valid and hashes to something else than `Hash`.
pub fn block_with_wrong_hash(peer_id: &str) -> Value {
    let mut message = block(peer_id);
    message["Hash"] = json!(format!("00{}", &fresh_hash()[2..]));
    message
}

/// A subtree announcement of exactly that many bytes of inner JSON, padded by an unknown member.
pub fn subtree_of_size(peer_id: &str, bytes: usize) -> Value {
    let mut message = subtree(peer_id);
    message["pad"] = json!("");
    let pad = bytes.saturating_sub(message.to_string().len());
    message["pad"] = json!("x".repeat(pad));
    message
}

/// An 80-byte header on a fresh parent with regtest's bits, and its hash in display order.
pub fn mined_header() -> (String, String) {
    let mut header = [0_u8; 80];
    header[0..4].copy_from_slice(&0x2000_0000_u32.to_le_bytes());
    header[4..36].copy_from_slice(&fresh_bytes());
    header[36..68].copy_from_slice(&fresh_bytes());
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    header[68..72].copy_from_slice(&u32::try_from(seconds).unwrap_or(u32::MAX).to_le_bytes());
    header[72..76].copy_from_slice(&0x207f_ffff_u32.to_le_bytes());
    let mut nonce = 0_u32;
    loop {
        header[76..80].copy_from_slice(&nonce.to_le_bytes());
        let hash = double_sha256(&header);
        if meets_regtest_target(&hash) {
            return (hex(&header), hex(&hash));
        }
        nonce = nonce.wrapping_add(1);
    }
}

/// The hash of a header in display order (the last byte first).
pub fn double_sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash: [u8; 32] = Sha256::digest(Sha256::digest(bytes)).into();
    hash.reverse();
    hash
}

/// Target 0x207fffff: 7fffff and 29 zero bytes.
fn meets_regtest_target(display: &[u8; 32]) -> bool {
    let mut target = [0_u8; 32];
    target[0..3].copy_from_slice(&[0x7f, 0xff, 0xff]);
    *display <= target
}

/// 64 hex digits that no other call gives.
pub fn fresh_hash() -> String {
    hex(&fresh_bytes())
}

fn fresh_bytes() -> [u8; 32] {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos());
    let text = format!("{} {nanos} {}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    Sha256::digest(text.as_bytes()).into()
}

/// Lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The bytes of an even number of hex digits; nothing if it is anything else.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// Standard base64 with padding.
pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let b = [chunk[0], *chunk.get(1).unwrap_or(&0), *chunk.get(2).unwrap_or(&0)];
        let word = u32::from_be_bytes([0, b[0], b[1], b[2]]);
        for place in 0..4 {
            let digit = ALPHABET[(word >> (18 - 6 * place) & 63) as usize] as char;
            text.push(if place <= chunk.len() { digit } else { '=' });
        }
    }
    text
}

/// The bytes of standard base64, its padding left aside; nothing from the first character on that is none of it.
pub fn unbase64(text: &str) -> Vec<u8> {
    let (mut bytes, mut word, mut bits) = (Vec::with_capacity(text.len() / 4 * 3), 0_u32, 0_u32);
    for digit in text.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => break,
        };
        word = (word << 6 | u32::from(value)) & 0xffff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((word >> bits & 0xff) as u8);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_comes_back_from_each_remainder() {
        for length in 0..9_u8 {
            let bytes: Vec<u8> = (0..length).map(|n| n.wrapping_mul(37) ^ 0xf5).collect();
            assert_eq!(unbase64(&base64(&bytes)), bytes);
        }
    }

    #[test]
    fn base64_of_each_remainder() {
        assert_eq!(base64(b""), "");
        assert_eq!(base64(b"f"), "Zg==");
        assert_eq!(base64(b"fo"), "Zm8=");
        assert_eq!(base64(b"foo"), "Zm9v");
        assert_eq!(base64(b"\xff\xfe\xfd\xfc"), "//79/A==");
    }

    #[test]
    fn the_genesis_header_hashes_to_the_genesis_block() {
        let header = "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd\
                      7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c";
        assert_eq!(
            hex(&double_sha256(&unhex(header).unwrap())),
            "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"
        );
    }

    #[test]
    fn a_block_with_a_wrong_hash_differs_from_its_header_alone() {
        let message = block_with_wrong_hash("p");
        let header = message["Header"].as_str().unwrap();
        assert_eq!(header.len(), 160);
        assert_ne!(message["Hash"], block("p")["Hash"]);
        assert_eq!(message["Hash"].as_str().unwrap().len(), 64);
    }

    #[test]
    fn a_padded_subtree_has_the_size_asked_for() {
        assert_eq!(subtree_of_size("p", 40_000).to_string().len(), 40_000);
    }
}
