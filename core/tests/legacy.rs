//! The exchange of the older family (spec 3.5 to 3.7, 2.6; checklist 52 to 57).

mod rig;

use peerage_core::conn::DisconnectReason;
use peerage_core::gossipsub::Acceptance;
use peerage_core::proto::network::Network;
use peerage_core::teranode::config::{Compat, Envelope, ListenMode, TopicNames};
use peerage_core::teranode::verdict::Cause;
use peerage_core::teranode::{self, Config};
use peerage_core::{Action, conn};
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
fn t057_a_new_connection_is_greeted_and_the_topic_is_the_fallback_without_an_envelope() {
    use peerage_core::input::{Failed, OpResult};
    let mut rig = Rig::started(Config { envelope: Envelope::Required, ..legacy() });
    let done = rig.connect(1, peer(1));
    assert!(done.direct()[0].1.contains(r#""type":"version""#));
    let op = done.0.iter().find_map(|action| {
        let Action::Teranode(teranode::Action::SendDirect { op, .. }) = action else {
            return None;
        };
        Some(*op)
    });
    let failed = OpResult::SentDirect(Err(Failed("no stream".into())));
    let done = rig.feed(peerage_core::Input::Op(op.unwrap(), failed));
    let published = done.1.iter().any(|command| {
        matches!(command, peerage_core::gossipsub::Command::Publish { topic, data, .. }
            if topic.as_str().ends_with("-handshake") && data.starts_with(br#"{"type":"version""#))
    });
    assert!(published);
}

#[test]
fn without_its_topic_the_legacy_exchange_is_off() {
    let mut rig = Rig::mended();
    assert!(rig.connect(1, peer(1)).direct().is_empty());
    assert!(direct(&mut rig, 1, &handshake("version", &peer(1).to_base58(), PREFIX)).direct().is_empty());
}

/// A document on a legacy topic, by `author`, delivered by `via`.
fn on_topic(rig: &mut Rig, name: &str, author: u8, via: u8, document: &str) -> Done {
    let topic = rig.node.config().teranode.full_name(name);
    rig.gossip_on(peer(author), peer(via), topic, document.into())
}

fn request(id: &str) -> String {
    format!(r#"{{"PeerID":"{id}"}}"#)
}

fn mining_on(id: &str, url: &str, miner: &str) -> String {
    format!(
        r#"{{"PreviousHash":"{}","DataHubURL":"{url}","PeerID":"{id}","Height":7,"Miner":"{miner}"}}"#,
        hash_text(2)
    )
}

fn closes(done: &Done) -> Vec<DisconnectReason> {
    let close = |action: &Action| {
        let Action::Conn(conn::Action::Close { reason, .. }) = action else { return None };
        Some(*reason)
    };
    done.0.iter().filter_map(close).collect()
}

#[test]
fn a_document_that_claims_another_id_is_rejected_and_costs_its_author_20_points() {
    let other = peer(9).to_base58();
    for (topic, document) in [
        ("handshake", handshake("version", &other, PREFIX)),
        ("bestblock", request(&other)),
        ("miningon", mining_on(&other, "", "")),
    ] {
        let mut rig = Rig::started(legacy());
        let done = on_topic(&mut rig, topic, 1, 2, &document);
        assert_eq!(done.acceptance(), Acceptance::Reject, "{topic}");
        assert_eq!((rig.score(peer(1)), rig.score(peer(2)), rig.score(peer(9))), (20, 0, 0), "{topic}");
        assert!(rig.answer_all().direct().is_empty(), "nobody is sent what he did not ask for");
        let view = rig.node.view();
        assert!(view.teranode().registry().is_empty(), "{topic}");
        assert_eq!(view.counters().ended_legacy(Cause::ForeignClaim), 1);
        let mut strict = Rig::started(Config { compat: Compat::Strict, check_claim: false, ..legacy() });
        let done = on_topic(&mut strict, topic, 1, 2, &document);
        assert_eq!((done.acceptance(), strict.score(peer(1))), (Acceptance::Accept, 0), "{topic}, reference");
    }
}

#[test]
fn a_foreign_claim_on_a_direct_stream_costs_its_sender_and_the_fifth_bans_it() {
    let mut rig = Rig::started(legacy());
    rig.connect(1, peer(1));
    let document = handshake("version", &peer(9).to_base58(), PREFIX);
    (0..4).for_each(|_| assert!(closes(&direct(&mut rig, 1, &document)).is_empty()));
    assert_eq!(rig.score(peer(1)), 80);
    assert_eq!(closes(&direct(&mut rig, 1, &document)), [DisconnectReason::Banned]);
}

#[test]
fn what_is_heard_through_a_neighbour_is_held_at_its_expense() {
    let mut config = peerage_core::Config::new(us(), legacy());
    config.limits.peers_known_max = 4;
    let mut rig = Rig::with(config);
    rig.start();
    for author in [1, 2, 11, 12, 13, 14, 15] {
        let via = if author < 10 { author } else { 3 };
        on_topic(&mut rig, "miningon", author, via, &mining_on(&peer(author).to_base58(), "", ""));
    }
    let registry = rig.node.view().teranode().registry();
    assert!(
        registry.get(&peer(1)).is_some() && registry.get(&peer(2)).is_some(),
        "others invented are not theirs"
    );
}

#[test]
fn texts_are_cut_and_urls_vetted_as_on_the_topics_of_today() {
    let mut rig = Rig::started(Config { allow_private_urls: false, ..legacy() });
    rig.join_feed(1);
    let me = peer(1).to_base58();
    let frames =
        on_topic(&mut rig, "miningon", 1, 1, &mining_on(&me, "http://10.0.0.1/x", &"<m>".repeat(100)))
            .frames();
    let expected = format!(r#""miner":"{}""#, "m".repeat(64));
    assert!(frames[0].1.contains(&expected) && !frames[0].1.contains("10.0.0.1"), "{}", frames[0].1);
    let private = handshake("version", &me, PREFIX).replace("a.example", "127.0.0.1");
    direct(&mut rig, 1, &private);
    direct(&mut rig, 1, &bare_block(&me, &hash_text(8), 130));
    let info = rig.node.view().teranode().registry().get(&peer(1)).cloned().unwrap();
    assert_eq!((info.height, info.data_hub_url.as_str()), (130, ""), "{}", rig::URL);
    let done =
        on_topic(&mut rig, "handshake", 1, 1, &handshake("version", &me, PREFIX).replace("0505", "zz"));
    assert_eq!((done.acceptance(), rig.score(peer(1))), (Acceptance::Ignore, 20), "a hash that is none");
}

#[test]
fn what_is_no_json_or_too_long_is_rejected_without_points() {
    for document in ["", "no json", "[]", &" ".repeat((64 << 10) + 1)] {
        for topic in ["handshake", "bestblock", "miningon"] {
            let mut rig = Rig::started(legacy());
            let done = on_topic(&mut rig, topic, 1, 1, document);
            assert_eq!((done.acceptance(), rig.score(peer(1))), (Acceptance::Reject, 0), "{topic}");
            let mut strict = Rig::started(Config { compat: Compat::Strict, ..legacy() });
            assert_eq!(
                on_topic(&mut strict, topic, 1, 1, document).acceptance(),
                Acceptance::Accept,
                "{topic}"
            );
        }
    }
}

#[test]
fn a_node_that_only_listens_tells_no_url_to_whoever_asks_for_its_best_block() {
    let mut rig = Rig::started(Config { listen_mode: ListenMode::ListenOnly, ..legacy() });
    on_topic(&mut rig, "bestblock", 1, 1, &request(&peer(1).to_base58()));
    let sent = rig.answer_all().direct();
    assert!(sent[0].1.contains(r#""DataHubURL":"""#), "{}", sent[0].1);
}

#[test]
fn a_node_of_another_chain_is_parted_from() {
    let mut rig = Rig::started(legacy());
    rig.connect(1, peer(1));
    let greeting = handshake("version", &peer(1).to_base58(), "mainnet");
    let done = direct(&mut rig, 1, &greeting);
    assert_eq!((closes(&done), rig.score(peer(1))), (vec![DisconnectReason::OtherNetwork], 0));
    let mut strict = Rig::started(Config { compat: Compat::Strict, ..legacy() });
    strict.connect(1, peer(1));
    assert!(closes(&direct(&mut strict, 1, &greeting)).is_empty(), "the reference only warns");
}
