//! `websocket.json`: all frames that two viewers got.

use std::borrow::Cow;

use peerage_proto::json::{BlockMessage, NodeStatusMessage, SubtreeMessage};
use peerage_proto::notification::{Notification, timestamp};
use serde_json::Value;

use crate::{list, str, vectors};

fn frames() -> Vec<Value> {
    let file = vectors("websocket.json");
    let frames = ["node_a_ws", "node_b_ws"].map(|node| list(&file, node).to_vec());
    frames.concat()
}

/// Builds the frame anew from the values that another JSON reader finds in it.
fn rebuilt(frame: &Value) -> String {
    let time: [u8; 20] = str(frame, "timestamp").as_bytes().try_into().unwrap();
    let text = |key: &str| Cow::Owned(frame.get(key).map_or("", |value| value.as_str().unwrap()).to_string());
    let mut out = Vec::new();
    match str(frame, "type") {
        "block" => {
            let message = BlockMessage {
                peer_id: text("peer_id"),
                client_name: text("client_name"),
                data_hub_url: text("base_url"),
                hash: text("hash"),
                height: frame["height"].as_u64().unwrap().try_into().unwrap(),
                ..BlockMessage::default()
            };
            Notification::block(&message, &time).encode(&mut out);
        }
        "subtree" => {
            let message = SubtreeMessage {
                peer_id: text("peer_id"),
                client_name: text("client_name"),
                data_hub_url: text("base_url"),
                hash: text("hash"),
            };
            Notification::subtree(&message, &time).encode(&mut out);
        }
        "node_status" => {
            // The keys are those of the gossip message, in another order.
            let gossip = frame.to_string();
            let message = NodeStatusMessage::decode(gossip.as_bytes()).unwrap();
            Notification::node_status(&message, &time).encode(&mut out);
        }
        other => panic!("unknown type {other}"),
    }
    String::from_utf8(out).unwrap()
}

#[test]
fn t159_every_recorded_frame_is_written_byte_for_byte_from_its_own_values() {
    let mut kinds = std::collections::BTreeSet::new();
    for frame in frames() {
        let raw = str(&frame, "raw");
        let values: Value = serde_json::from_str(raw).unwrap();
        assert_eq!(rebuilt(&values), raw);
        let mut out = Vec::new();
        Notification::decode(raw.as_bytes()).unwrap().encode(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), raw);
        kinds.insert(str(&values, "type").to_string());
    }
    assert_eq!(kinds.len(), 3);
}

#[test]
fn t159_the_first_frame_of_both_nodes_is_their_own_node_status() {
    let file = vectors("websocket.json");
    for (node, name) in [("node_a_ws", "nodeA"), ("node_b_ws", "nodeB")] {
        let first = Notification::decode(str(&list(&file, node)[0], "raw").as_bytes()).unwrap();
        assert_eq!((&*first.kind, &*first.client_name), ("node_status", name));
    }
}

#[test]
fn t159_a_recorded_gossip_message_gives_the_recorded_frame() {
    let (file, frames) = (vectors("gossip_messages.json"), frames());
    let mut found = 0;
    for message in list(&file, "messages").iter().filter(|message| str(message, "kind") == "node_status") {
        let status = NodeStatusMessage::decode(str(message, "inner_json_text").as_bytes()).unwrap();
        for frame in &frames {
            let raw = str(frame, "raw");
            let recorded = Notification::decode(raw.as_bytes()).unwrap();
            if recorded.uptime == status.uptime && recorded.peer_id == status.peer_id {
                let time: [u8; 20] = recorded.timestamp.as_bytes().try_into().unwrap();
                let mut out = Vec::new();
                Notification::node_status(&status, &time).encode(&mut out);
                assert_eq!(String::from_utf8(out).unwrap(), raw);
                found += 1;
            }
        }
    }
    assert!(found >= 4, "{found}");
}

#[test]
fn t068_recorded_times_are_whole_seconds_of_the_arrival() {
    for frame in frames() {
        let arrival_ms = (frame["t"].as_f64().unwrap() * 1000.0) as u64;
        let recorded = Notification::decode(str(&frame, "raw").as_bytes()).unwrap();
        let candidates = [arrival_ms, arrival_ms - 1000].map(timestamp);
        assert!(
            candidates.iter().any(|time| time == recorded.timestamp.as_bytes()),
            "{}",
            recorded.timestamp
        );
    }
}
