//! `gossipsub_rpc_frames.json`: every frame of a real node, played into the router in order.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "helpers of tests")]

mod rig;

use std::collections::BTreeSet;

use bytes::Bytes;
use peerage_core::gossipsub::peers::Version;
use peerage_core::gossipsub::stream;
use peerage_core::input::Action;
use peerage_core::proto::pubsub::{Rpc, RpcLimits};
use rig::{Done, Rig, peer};
use serde_json::Value;

fn recorded() -> Vec<Vec<u8>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/teranode/gossipsub_rpc_frames.json");
    let file: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let frames = file["rpcs"].as_array().unwrap().iter().filter(|frame| frame["dir"] == "recv");
    frames.map(|frame| bytes(frame["hex"].as_str().unwrap())).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn checks(done: &Done) -> usize {
    done.0
        .iter()
        .map(|action| match action {
            Action::Gossipsub(stream::Action::Verify { checks, .. }) => checks.len(),
            _ => 0,
        })
        .sum()
}

/// Messages sent to the connection with this number.
fn sent_to(done: &Done, number: u64) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    for action in &done.0 {
        let Action::Gossipsub(stream::Action::Send { connection, frames }) = action else { continue };
        for frame in frames.iter().filter(|_| connection.0 == number) {
            let skip = frame.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
            let rpc = Rpc::decode(&frame[skip..], &RpcLimits::default()).unwrap();
            for message in rpc.publish {
                let mut out = Vec::new();
                message.encode(&mut out);
                messages.push(out);
            }
        }
    }
    messages
}

#[test]
fn a_real_nodes_frames_are_taken_checked_once_each_and_handed_on_byte_for_byte() {
    let mut rig = Rig::strict();
    let topics: Vec<String> = rig
        .node
        .view()
        .router()
        .mesh()
        .joined()
        .map(|topic| String::from_utf8(topic.0.to_vec()).unwrap())
        .collect();
    rig.connect(2, peer(2));
    for topic in &topics {
        rig.subscribe(peer(2), topic);
        rig.graft(peer(2), topic);
    }
    rig.connect(1, peer(1));
    let connection = peerage_core::conn::ConnectionId(1);
    rig.stream(stream::Event::Opened { connection, version: Version::V12 });
    rig.stream(stream::Event::InboundOpened { connection, version: Version::V12 });
    let (mut expected, mut handed_on, mut checked) = (Vec::new(), Vec::new(), 0);
    let mut ids = BTreeSet::new();
    for frame in recorded() {
        let rpc = Rpc::decode(&frame, &RpcLimits::default()).unwrap();
        for message in &rpc.publish {
            if ids.insert(message.message_id()) {
                let mut out = Vec::new();
                message.encode(&mut out);
                expected.push(out);
            }
        }
        let done = rig.stream(stream::Event::Frame { connection, frame: Bytes::from(frame) });
        checked += checks(&done);
        handed_on.extend(sent_to(&done, 2));
    }
    assert!(expected.len() >= 5, "{}", expected.len());
    assert_eq!(checked, expected.len());
    assert_eq!(handed_on, expected);
    let router = rig.node.view().router();
    assert_eq!((router.tally().frames_malformed, router.tally().messages_breach), (0, 0));
    assert!(rig.node.view().interests().topic_count(&peer(1)) >= 1, "it said what it is subscribed to");
}
