//! The exchange of the older family (spec 3.5 to 3.7, 2.6; checklist 52 to 57).

mod rig;

use peerage_core::proto::network::Network;
use peerage_core::teranode::config::{Envelope, TopicNames};
use peerage_core::teranode::{self, Config};
use rig::{Done, Rig, bare_block, hash_text, peer, us};

fn legacy() -> Config {
    let topics = TopicNames {
        handshake: "handshake".into(),
        best_block: "bestblock".into(),
        mining_on: "miningon".into(),
        ..TopicNames::default()
    };
    Config { topics, envelope: Envelope::None, allow_private_urls: true, ..Config::new(Network::Regtest) }
}

fn handshake(kind: &str, id: &str, prefix: &str) -> String {
    format!(
        r#"{{"type":"{kind}","peerID":"{id}","bestHeight":120,"bestHash":"{}","dataHubURL":"http://a.example","userAgent":"teranode/bitcoin/v1","services":1,"topicPrefix":"{prefix}"}}"#,
        hash_text(5)
    )
}

fn direct(rig: &mut Rig, from: u8, document: &str) -> Done {
    let data = document.as_bytes().to_vec().into();
    rig.feed(peerage_core::Input::Teranode(teranode::Input::Direct { from: peer(from), data }))
}

const PREFIX: &str = "teranode/bitcoin/1.0.0/regtest";

#[test]
fn t052_a_version_is_answered_by_a_verack_with_all_eight_members() {
    let mut rig = Rig::started(legacy());
    let sent = direct(&mut rig, 1, &handshake("version", &peer(1).to_base58(), PREFIX)).direct();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].0, peer(1));
    let value: serde_json::Value = serde_json::from_str(&sent[0].1).unwrap();
    let keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    let expected =
        ["type", "peerID", "bestHeight", "bestHash", "dataHubURL", "userAgent", "services", "topicPrefix"];
    assert_eq!(keys, expected);
    assert_eq!((&value["type"], &value["services"]), (&"verack".into(), &1.into()));
    let view = rig.node.view();
    let info = view.teranode().registry().get(&peer(1)).unwrap();
    assert_eq!((info.height, info.data_hub_url.as_str()), (120, "http://a.example"));
}

#[test]
fn t053_another_prefix_is_neither_answered_nor_stored() {
    let mut rig = Rig::started(legacy());
    for prefix in ["mainnet", ""] {
        assert!(direct(&mut rig, 1, &handshake("version", &peer(1).to_base58(), prefix)).direct().is_empty());
    }
    assert_eq!(rig.node.view().teranode().registry().get(&peer(1)).map(|info| info.height), Some(0));
}

#[test]
fn t054_our_own_handshake_is_ignored() {
    let mut rig = Rig::started(legacy());
    assert!(direct(&mut rig, 1, &handshake("version", &us().to_base58(), PREFIX)).direct().is_empty());
    assert!(rig.node.view().teranode().registry().is_empty());
}

#[test]
fn t055_an_empty_url_stays_empty_so_that_the_peer_is_no_sync_candidate() {
    let mut rig = Rig::started(legacy());
    let document = handshake("version", &peer(1).to_base58(), PREFIX).replace("http://a.example", "");
    direct(&mut rig, 1, &document);
    let view = rig.node.view();
    assert_eq!(view.teranode().registry().get(&peer(1)).map(|info| info.data_hub_url.as_str()), Some(""));
}

#[test]
fn t056_a_best_block_request_is_answered_to_the_asker_alone() {
    for spelling in ["PeerID", "PeerId"] {
        let mut rig = Rig::started(legacy());
        let topic = rig.node.config().teranode.full_name("bestblock");
        let request = format!(r#"{{"{spelling}":"{}"}}"#, peer(1).to_base58());
        rig.gossip_on(peer(1), peer(1), topic, request.into());
        let done = rig.answer_all();
        assert!(done.published().is_empty());
        let sent = done.direct();
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0].0, peer(1));
        assert!(sent[0].1.contains(r#""Height":100"#) && sent[0].1.contains("DataHubURL"));
    }
}

#[test]
fn t057_the_legacy_profile_has_no_envelope_and_takes_documents_from_direct_streams() {
    let mut rig = Rig::started(legacy());
    let topic = rig.node.config().teranode.topic(teranode::TopicKind::Block);
    let json = bare_block(&peer(1).to_base58(), &hash_text(7), 101);
    assert_eq!(rig.gossip_on(peer(1), peer(1), topic, json.into()).produced().len(), 1);
    direct(&mut rig, 2, &bare_block(&peer(2).to_base58(), &hash_text(8), 130));
    assert_eq!(rig.node.view().teranode().registry().get(&peer(2)).map(|info| info.height), Some(130));
}

#[test]
fn t057a_mining_on_is_a_frame() {
    let mut rig = Rig::started(legacy());
    rig.join_feed(1);
    let topic = rig.node.config().teranode.full_name("miningon");
    let json = format!(
        r#"{{"Hash":"{}","PreviousHash":"{}","DataHubURL":"http://a.example","PeerID":"{}","Height":7,"Miner":"/m/","SizeInBytes":9,"TxCount":3}}"#,
        hash_text(1),
        hash_text(2),
        peer(1).to_base58()
    );
    let frames = rig.gossip_on(peer(1), peer(1), topic, json.into()).frames();
    let frame = &frames[0].1;
    for part in [
        r#""type":"mining_on""#,
        r#""previousblockhash":"0202"#,
        r#""miner":"/m/""#,
        r#""size_in_bytes":9"#,
        r#""tx_count":3"#,
    ] {
        assert!(frame.contains(part), "{part} not in {frame}");
    }
}

#[test]
fn a_new_connection_is_greeted_and_the_topic_is_the_fallback() {
    use peerage_core::input::{Failed, OpResult};
    let mut rig = Rig::started(legacy());
    let done = rig.connect(1, peer(1));
    assert!(done.direct()[0].1.contains(r#""type":"version""#));
    let op = done.0.iter().find_map(|action| {
        let peerage_core::Action::Teranode(teranode::Action::SendDirect { op, .. }) = action else {
            return None;
        };
        Some(*op)
    });
    let failed = OpResult::SentDirect(Err(Failed("no stream".into())));
    let done = rig.feed(peerage_core::Input::Op(op.unwrap(), failed));
    let published = done.0.iter().any(|action| {
        matches!(action, peerage_core::Action::Gossipsub(peerage_core::gossipsub::Action::Publish { topic, .. })
            if topic.as_str().ends_with("-handshake"))
    });
    assert!(published);
}

#[test]
fn without_its_topic_the_legacy_exchange_is_off() {
    let mut rig = Rig::mended();
    assert!(rig.connect(1, peer(1)).direct().is_empty());
    assert!(direct(&mut rig, 1, &handshake("version", &peer(1).to_base58(), PREFIX)).direct().is_empty());
}
