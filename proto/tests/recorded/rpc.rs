//! `gossipsub_rpc_frames.json`: all frames of one stream, both ways.

use peerage_proto::pubsub::{Rpc, RpcLimits};

use crate::{hex, list, str, vectors};

#[test]
fn every_recorded_frame_comes_back_byte_for_byte() {
    for frame in list(&vectors("gossipsub_rpc_frames.json"), "rpcs") {
        let bytes = hex(frame, "hex");
        let rpc = Rpc::decode(&bytes, &RpcLimits::default()).unwrap();
        let mut written = Vec::new();
        rpc.encode(&mut written);
        assert_eq!(written, bytes, "{}", str(frame, "text"));
    }
}

#[test]
fn recorded_frames_hold_what_their_text_says() {
    let (mut subscriptions, mut messages, mut grafts, mut idontwants) = (0, 0, 0, 0);
    for frame in list(&vectors("gossipsub_rpc_frames.json"), "rpcs") {
        let bytes = hex(frame, "hex");
        let rpc = Rpc::decode(&bytes, &RpcLimits::default()).unwrap();
        let text = str(frame, "text");
        assert_eq!(rpc.subscriptions.len(), text.matches("subscriptions:<").count());
        assert_eq!(rpc.publish.len(), text.matches("publish:<").count());
        for subscription in &rpc.subscriptions {
            let topic = std::str::from_utf8(subscription.topic.unwrap()).unwrap();
            assert!(text.contains(&format!("subscriptions:<subscribe:true topicid:\"{topic}\" >")), "{text}");
            assert_eq!(subscription.subscribe, Some(true));
        }
        for message in &rpc.publish {
            let topic = message.topic_str().unwrap();
            // Long texts were cut off by the recorder.
            assert!(text.contains(&format!("topic:\"{topic}\"")) || !text.contains("topic:\""), "{text}");
            assert!(topic.starts_with("teranode/bitcoin/1.0.0/regtest-"));
        }
        let control = rpc.control.unwrap_or_default();
        assert_eq!(control.graft.len(), text.matches("graft:<").count());
        assert_eq!(control.idontwant.len(), text.matches("idontwant:<").count());
        for id in control.idontwant.iter().flat_map(|entry| &entry.message_ids) {
            assert_eq!(id.len(), 46);
        }
        subscriptions += rpc.subscriptions.len();
        messages += rpc.publish.len();
        grafts += control.graft.len();
        idontwants += control.idontwant.len();
    }
    assert_eq!((subscriptions, grafts, idontwants), (4, 4, 3));
    assert_eq!(messages, 16);
}
