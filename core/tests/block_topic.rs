//! What a node does with block announcements (spec 3.1; checklist 16 to 30).

mod rig;

use peerage_core::gossipsub::Acceptance;
use peerage_core::proto::network::Network;
use peerage_core::teranode::verdict::Cause;
use peerage_core::teranode::{Config, TopicKind, chain};
use rig::{Rig, URL, bare_block, block, hash_text, peer, us};

const BLOCK: TopicKind = TopicKind::Block;

/// Protobuf of `KafkaBlockTopicMessage`.
fn record(hash: &str, peer: &str) -> Vec<u8> {
    let mut bytes = vec![0x0a, 64];
    bytes.extend_from_slice(hash.as_bytes());
    for (tag, text) in [(0x12, URL), (0x1a, peer)] {
        bytes.extend_from_slice(&[tag, text.len() as u8]);
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}

#[test]
fn t016_a_valid_block_is_one_record_with_hash_url_and_peer() {
    let mut rig = Rig::mended();
    let (json, hash) = block(&peer(1), 101, 7);
    let done = rig.gossip(peer(1), BLOCK, &json);
    let produced = done.produced();
    assert_eq!(produced.len(), 1);
    let (topic, key, value) = &produced[0];
    assert_eq!((*topic, key.as_str()), ("blocks", hash.as_str()));
    assert_eq!(value, &record(&hash, &peer(1).to_base58()));
    assert_eq!(done.acceptance(), Acceptance::Accept);
}

#[test]
fn t017_a_valid_block_is_one_frame_with_best_height_zero() {
    let mut rig = Rig::mended();
    rig.join_feed(1);
    let (json, hash) = block(&peer(1), 101, 7);
    let frames = rig.gossip(peer(1), BLOCK, &json).frames();
    let id = peer(1).to_base58();
    let expected = format!(
        r#"{{"timestamp":"2025-11-27T00:00:00Z","type":"block","hash":"{hash}","base_url":"{URL}","peer_id":"{id}","height":101,"best_height":0,"client_name":"n"}}"#
    );
    assert_eq!(frames, [(None, expected)]);
}

#[test]
fn t018_the_registry_knows_the_announcer() {
    let mut rig = Rig::mended();
    let (json, _) = block(&peer(1), 101, 7);
    rig.advance_ms(5000);
    rig.gossip(peer(1), BLOCK, &json);
    let view = rig.node.view();
    let info = view.teranode().registry().get(&peer(1)).unwrap();
    assert_eq!((info.height, info.data_hub_url.as_str(), info.client_name.as_str()), (101, URL, "n"));
    assert_eq!(info.last_message, Some(rig.now.wall));
    assert_eq!(info.bytes_received, json.len() as u64);
}

#[test]
fn t019_the_registry_knows_the_hash_too() {
    let mut rig = Rig::mended();
    let (json, hash) = block(&peer(1), 101, 7);
    rig.gossip(peer(1), BLOCK, &json);
    let view = rig.node.view();
    let info = view.teranode().registry().get(&peer(1)).unwrap();
    assert_eq!(info.block_hash.map(|hash| hash.to_string()), Some(hash));
}

#[test]
fn t020_a_block_in_our_name_by_another_is_no_record() {
    for (mut rig, cause) in [(Rig::mended(), Cause::ForeignClaim), (Rig::strict(), Cause::Own)] {
        let (json, _) = block(&us(), 101, 7);
        let done = rig.gossip(peer(1), BLOCK, &json);
        assert!(done.produced().is_empty());
        assert_eq!(rig.ended(BLOCK, cause), 1);
        assert!(rig.node.view().teranode().registry().get(&us()).is_none());
    }
}

#[test]
fn t021_a_banned_announcer_is_no_record() {
    let mut rig = Rig::mended();
    rig.ban(peer(1));
    let (json, _) = block(&peer(1), 101, 7);
    let done = rig.gossip(peer(1), BLOCK, &json);
    assert!(done.produced().is_empty());
    assert_eq!((done.acceptance(), rig.ended(BLOCK, Cause::Banned)), (Acceptance::Ignore, 1));
}

#[test]
fn t022_a_low_score_does_not_hide_blocks_default() {
    let mut rig = Rig::mended();
    let (json, _) = block(&peer(1), 101, 7);
    rig.gossip(peer(1), BLOCK, &json);
    rig.set_reputation(peer(1), 19.99);
    let (json, _) = block(&peer(1), 102, 8);
    assert_eq!(rig.gossip(peer(1), BLOCK, &json).produced().len(), 1);
}

#[test]
fn t022_a_score_of_1999_is_no_record_and_20_is_one_reference() {
    let mut rig = Rig::strict();
    let (json, _) = block(&peer(1), 101, 7);
    rig.gossip(peer(1), BLOCK, &json);
    rig.set_reputation(peer(1), 19.99);
    let done = rig.gossip(peer(1), BLOCK, &json);
    assert!(done.produced().is_empty());
    assert_eq!(done.acceptance(), Acceptance::Accept, "the network is not censored");
    rig.set_reputation(peer(1), 20.0);
    assert_eq!(rig.gossip(peer(1), BLOCK, &json).produced().len(), 1);
}

#[test]
fn t023_a_hash_of_65_characters_or_with_a_g_is_no_record() {
    for hash in ["a".repeat(65), "g".repeat(64)] {
        for mut rig in [Rig::mended(), Rig::strict()] {
            let json = bare_block(&peer(1).to_base58(), &hash, 101);
            assert!(rig.gossip(peer(1), BLOCK, &json).produced().is_empty());
            assert_eq!(rig.ended(BLOCK, Cause::BadField), 1);
        }
    }
}

#[test]
fn t024_an_empty_or_short_hash_is_no_record() {
    for hash in ["", "ab"] {
        let mut rig = Rig::mended();
        let json = bare_block(&peer(1).to_base58(), hash, 101);
        assert!(rig.gossip(peer(1), BLOCK, &json).produced().is_empty());
    }
}

#[test]
fn t025_three_publishers_of_a_hash_are_records_in_15_seconds_default() {
    let mut rig = Rig::mended();
    let (_, hash) = block(&peer(1), 101, 7);
    let mut produced = 0;
    for n in 1..=5 {
        let json = bare_block(&peer(n).to_base58(), &hash, 101);
        let done = rig.gossip(peer(n), BLOCK, &json);
        produced += done.produced().len();
        let expected = if n <= 3 { Acceptance::Accept } else { Acceptance::Ignore };
        assert_eq!(done.acceptance(), expected);
    }
    assert_eq!(produced, 3);
}

#[test]
fn t025_every_publisher_of_a_hash_is_a_record_reference() {
    let mut rig = Rig::strict();
    let hash = hash_text(7);
    let count: usize = (1..=5)
        .map(|n| rig.gossip(peer(n), BLOCK, &bare_block(&peer(n).to_base58(), &hash, 101)).produced().len())
        .sum();
    assert_eq!(count, 5);
}

#[test]
fn t026_records_are_produced_while_catching_up_too() {
    let mut rig = Rig::mended();
    rig.chain_says(chain::Event::Fsm { state: Some(chain::FsmState::CatchingBlocks) });
    let (json, _) = block(&peer(1), 101, 7);
    assert_eq!(rig.gossip(peer(1), BLOCK, &json).produced().len(), 1);
}

#[test]
fn t029_a_header_that_does_not_match_its_hash_is_rejected_and_costs_20() {
    let mut rig = Rig::mended();
    let (json, hash) = block(&peer(1), 101, 7);
    let json = json.replace(&hash, &hash_text(0x11));
    let done = rig.gossip(peer(1), BLOCK, &json);
    assert!(done.produced().is_empty());
    assert_eq!((done.acceptance(), rig.score(peer(1))), (Acceptance::Reject, 20));
}

#[test]
fn t030_a_banned_author_is_no_frame() {
    let mut rig = Rig::mended();
    rig.join_feed(1);
    rig.ban(peer(1));
    let (json, _) = block(&peer(1), 101, 7);
    assert!(rig.gossip(peer(1), BLOCK, &json).frames().is_empty());
}

#[test]
fn a_block_without_header_is_taken_unless_headers_are_required() {
    let json = bare_block(&peer(1).to_base58(), &hash_text(7), 101);
    assert_eq!(Rig::mended().gossip(peer(1), BLOCK, &json).produced().len(), 1);
    let config = Config { require_header: true, allow_private_urls: true, ..Config::new(Network::Regtest) };
    let mut rig = Rig::started(config);
    let done = rig.gossip(peer(1), BLOCK, &json);
    assert!(done.produced().is_empty());
    assert_eq!((done.acceptance(), rig.score(peer(1))), (Acceptance::Ignore, 0));
}

#[test]
fn a_height_beyond_our_horizon_is_forwarded_and_not_used() {
    let mut rig = Rig::mended();
    let (json, _) = block(&peer(1), 100 + 10_001, 7);
    let done = rig.gossip(peer(1), BLOCK, &json);
    assert!(done.produced().is_empty());
    assert_eq!(done.acceptance(), Acceptance::Accept);
    assert_eq!(rig.node.view().teranode().registry().get(&peer(1)).map(|info| info.height), Some(0));
}

#[test]
fn a_private_url_is_forwarded_and_not_used_unless_allowed() {
    let mut rig = Rig::started(Config::new(Network::Regtest));
    let (json, _) = block(&peer(1), 101, 7);
    let done = rig.gossip(peer(1), BLOCK, &json);
    assert!(done.produced().is_empty());
    assert_eq!((done.acceptance(), rig.ended(BLOCK, Cause::PrivateUrl)), (Acceptance::Accept, 1));
}

#[test]
fn our_full_queue_towards_the_broker_costs_nobody_anything() {
    let mut config =
        peerage_core::Config::new(us(), Config { allow_private_urls: true, ..Config::new(Network::Regtest) });
    config.limits.produce_inflight_max = 2;
    let mut rig = Rig::with(config);
    rig.start();
    let mut last = None;
    for salt in 1..=3 {
        let (json, _) = block(&peer(1), 101, salt);
        last = Some(rig.gossip(peer(1), BLOCK, &json));
    }
    let last = last.unwrap();
    assert!(last.produced().is_empty());
    assert_eq!(last.acceptance(), Acceptance::Ignore);
    assert_eq!((rig.ended(BLOCK, Cause::QueueFull), rig.score(peer(1))), (1, 0));
    assert!(peerage_core::Core::demand(&rig.node).gossip, "other gossip goes on");
}

#[test]
fn t164_200_repetitions_in_a_minute_cost_nothing_and_are_a_record_every_15_seconds_at_most() {
    let mut rig = Rig::mended();
    let (json, _) = block(&peer(1), 101, 7);
    let mut records = 0;
    for _ in 0..200 {
        records += rig.gossip(peer(1), BLOCK, &json).produced().len();
        rig.advance_ms(300);
    }
    assert!((1..=4).contains(&records), "{records}");
    assert_eq!(rig.score(peer(1)), 0);
}
