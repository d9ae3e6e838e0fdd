//! Everything recorded from the Go service, at the level of the codecs: read, compared with the values beside the bytes,
//! and written again to the same bytes.

#![allow(clippy::unwrap_used)]

mod files;
mod gossip;
mod rpc;
mod services;
mod websocket;

use serde_json::Value;

/// A file of `tests/vectors/teranode`.
fn vectors(name: &str) -> Value {
    serde_json::from_str(&text(name)).unwrap()
}

fn text(name: &str) -> String {
    let path = format!("{}/../tests/vectors/teranode/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    let list = value[key].as_array().unwrap();
    assert!(!list.is_empty(), "{key}");
    list
}

fn str<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} in {value}"))
}

fn hex(value: &Value, key: &str) -> Vec<u8> {
    peerage_proto::hex::decode(str(value, key)).unwrap()
}

/// Reads an inner document as the message of its topic and writes it again.
fn rewritten(topic: &str, inner: &[u8]) -> Result<Vec<u8>, String> {
    use peerage_proto::json::{BlockMessage, NodeStatusMessage, RejectedTxMessage, SubtreeMessage};
    let mut out = Vec::new();
    let error = |error| format!("{error}");
    match topic.rsplit('-').next() {
        Some("block") => BlockMessage::decode(inner).map_err(error)?.encode(&mut out),
        Some("subtree") => SubtreeMessage::decode(inner).map_err(error)?.encode(&mut out),
        Some("rejected_tx") => RejectedTxMessage::decode(inner).map_err(error)?.encode(&mut out),
        Some("node_status") => NodeStatusMessage::decode(inner).map_err(error)?.encode(&mut out),
        other => return Err(format!("unknown topic {other:?}")),
    }
    Ok(out)
}
