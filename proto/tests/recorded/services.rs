//! `node_event_log.json`, `listen_only.json` and `grpc.json`: what goes to and comes from neighbouring services.

use peerage_proto::envelope::{self, Mode};
use peerage_proto::kafka::{KafkaBlockTopicMessage, KafkaSubtreeTopicMessage};
use peerage_proto::{Network, PeerId, p2p_api};
use prost::Message;

use crate::{hex, list, rewritten, str, vectors};

#[test]
fn recorded_documents_of_the_event_log_come_back_byte_for_byte() {
    let file = vectors("node_event_log.json");
    let mut documents = 0;
    for event in ["node_a", "node_b"].iter().flat_map(|node| list(&file, node)) {
        if str(event, "dir") != "KAFKA_OUT" {
            let text = str(event, "json_text");
            assert_eq!(rewritten(str(event, "topic"), text.as_bytes()).unwrap(), text.as_bytes());
            documents += 1;
        }
    }
    assert!(documents > 30);
}

#[test]
fn recorded_kafka_records_come_back_byte_for_byte() {
    let file = vectors("node_event_log.json");
    let mut records = 0;
    for event in ["node_a", "node_b"].iter().flat_map(|node| list(&file, node)) {
        if str(event, "dir") == "KAFKA_OUT" {
            let bytes = hex(event, "value_protobuf_hex");
            let (hash, url, peer_id, written) = match str(event, "producer") {
                "blocks" => {
                    let record = KafkaBlockTopicMessage::decode(&*bytes).unwrap();
                    let written = record.encode_to_vec();
                    (record.hash, record.url, record.peer_id, written)
                }
                "subtrees" => {
                    let record = KafkaSubtreeTopicMessage::decode(&*bytes).unwrap();
                    let written = record.encode_to_vec();
                    (record.hash, record.url, record.peer_id, written)
                }
                other => panic!("unknown producer {other}"),
            };
            assert_eq!(written, bytes);
            assert_eq!(hash, str(event, "key_text"));
            assert_eq!(url, "http://127.0.0.1:8090/api/v1");
            assert!(PeerId::from_base58(&peer_id).is_ok(), "{peer_id}");
            records += 1;
        }
    }
    assert!(records > 5);
}

#[test]
fn a_listen_only_node_sends_its_status_with_an_empty_url() {
    let file = vectors("listen_only.json");
    for event in list(&file, "tx") {
        let text = str(event, "json_text");
        let topic = format!("{}-node_status", Network::Testnet.topic_prefix());
        assert_eq!(str(event, "topic"), topic);
        assert_eq!(rewritten(str(event, "topic"), text.as_bytes()).unwrap(), text.as_bytes());
        let status = peerage_proto::json::NodeStatusMessage::decode(text.as_bytes()).unwrap();
        assert_eq!((&*status.base_url, &*status.listen_mode), ("", "listen_only"));
        let (mut wrapped, mut inner) = (Vec::new(), Vec::new());
        envelope::wrap("lo", text.as_bytes(), &mut wrapped);
        assert_eq!(envelope::unwrap(Mode::Required, &wrapped, &mut inner).unwrap().inner, text.as_bytes());
    }
}

fn rewrite<M: Message + Default>(bytes: &[u8]) -> Vec<u8> {
    M::decode(bytes).unwrap().encode_to_vec()
}

macro_rules! methods {
    ($($name:literal: $request:ty => $response:ty,)*) => {
        const METHODS: &[&str] = &[$($name),*];

        fn rewrite_call(method: &str, request: &[u8], response: &[u8]) -> (Vec<u8>, Vec<u8>) {
            match method {
                $($name => (rewrite::<$request>(request), rewrite::<$response>(response)),)*
                other => panic!("unknown method {other}"),
            }
        }
    };
}

methods! {
    "GetPeers": () => p2p_api::GetPeersResponse,
    "BanPeer": p2p_api::BanPeerRequest => p2p_api::BanPeerResponse,
    "UnbanPeer": p2p_api::UnbanPeerRequest => p2p_api::UnbanPeerResponse,
    "IsBanned": p2p_api::IsBannedRequest => p2p_api::IsBannedResponse,
    "ListBanned": () => p2p_api::ListBannedResponse,
    "ClearBanned": () => p2p_api::ClearBannedResponse,
    "AddBanScore": p2p_api::AddBanScoreRequest => p2p_api::AddBanScoreResponse,
    "ConnectPeer": p2p_api::ConnectPeerRequest => p2p_api::ConnectPeerResponse,
    "DisconnectPeer": p2p_api::DisconnectPeerRequest => p2p_api::DisconnectPeerResponse,
    "RecordCatchupAttempt": p2p_api::RecordCatchupAttemptRequest => p2p_api::RecordCatchupAttemptResponse,
    "RecordCatchupSuccess": p2p_api::RecordCatchupSuccessRequest => p2p_api::RecordCatchupSuccessResponse,
    "RecordCatchupFailure": p2p_api::RecordCatchupFailureRequest => p2p_api::RecordCatchupFailureResponse,
    "RecordCatchupMalicious": p2p_api::RecordCatchupMaliciousRequest => p2p_api::RecordCatchupMaliciousResponse,
    "UpdateCatchupReputation": p2p_api::UpdateCatchupReputationRequest => p2p_api::UpdateCatchupReputationResponse,
    "UpdateCatchupError": p2p_api::UpdateCatchupErrorRequest => p2p_api::UpdateCatchupErrorResponse,
    "ResetReputation": p2p_api::ResetReputationRequest => p2p_api::ResetReputationResponse,
    "GetPeersForCatchup": p2p_api::GetPeersForCatchupRequest => p2p_api::GetPeersForCatchupResponse,
    "ReportValidSubtree": p2p_api::ReportValidSubtreeRequest => p2p_api::ReportValidSubtreeResponse,
    "ReportValidBlock": p2p_api::ReportValidBlockRequest => p2p_api::ReportValidBlockResponse,
    "IsPeerMalicious": p2p_api::IsPeerMaliciousRequest => p2p_api::IsPeerMaliciousResponse,
    "IsPeerUnhealthy": p2p_api::IsPeerUnhealthyRequest => p2p_api::IsPeerUnhealthyResponse,
    "GetPeerRegistry": () => p2p_api::GetPeerRegistryResponse,
    "RecordBytesDownloaded": p2p_api::RecordBytesDownloadedRequest => p2p_api::RecordBytesDownloadedResponse,
    "GetPeer": p2p_api::GetPeerRequest => p2p_api::GetPeerResponse,
}

#[test]
fn recorded_calls_come_back_byte_for_byte() {
    for call in list(&vectors("grpc.json"), "calls") {
        let method = str(call, "method").strip_prefix("/p2p_api.PeerService/").unwrap();
        let request = hex(call, "request_hex");
        let response = if call.get("error").is_some() { Vec::new() } else { hex(call, "response_hex") };
        assert_eq!(rewrite_call(method, &request, &response), (request, response), "{method}");
    }
}

#[test]
fn t076_the_service_has_the_recorded_methods_with_the_recorded_messages() {
    let proto = include_str!("../../proto/p2p_api.proto");
    let file = vectors("grpc.json");
    let recorded: Vec<_> = list(&file, "methods").iter().map(|method| str(method, "name")).collect();
    assert_eq!(
        recorded,
        METHODS.iter().map(|name| format!("p2p_api.PeerService.{name}")).collect::<Vec<_>>()
    );
    assert_eq!(recorded.len(), 24);
    for method in list(&file, "methods") {
        let name = str(method, "name").rsplit('.').next().unwrap();
        let [input, output] = ["input", "output"].map(|key| str(method, key).trim_start_matches("p2p_api."));
        assert!(proto.contains(&format!("rpc {name}({input}) returns ({output});")), "{name}");
    }
}

#[test]
fn recorded_answers_hold_the_recorded_values() {
    let file = vectors("grpc.json");
    let call =
        list(&file, "calls").iter().find(|call| str(call, "method").ends_with("/GetPeerRegistry")).unwrap();
    let answer = p2p_api::GetPeerRegistryResponse::decode(&*hex(call, "response_hex")).unwrap();
    let (peer, values) = (&answer.peers[0], &call["response"]["peers"][0]);
    assert_eq!(peer.id, str(values, "id"));
    assert_eq!(u64::from(peer.height), values["height"].as_u64().unwrap());
    assert_eq!(peer.block_hash, str(values, "block_hash"));
    assert_eq!(peer.bytes_received.to_string(), str(values, "bytes_received"));
    assert_eq!(peer.last_message_time.to_string(), str(values, "last_message_time"));
    assert_eq!(Some(peer.reputation_score), values["reputation_score"].as_f64());
    assert_eq!((&*peer.storage, &*peer.client_name), (str(values, "storage"), str(values, "client_name")));
}
