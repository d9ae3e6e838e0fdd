//! Broken and odd messages on every topic (checklist 5 to 15, 51, 156, 157).

mod rig;

use peerage_core::gossipsub::Acceptance;
use peerage_core::proto::network::Network;
use peerage_core::teranode::config::Envelope;
use peerage_core::teranode::verdict::Cause;
use peerage_core::teranode::{Config, TopicKind};
use rig::{Rig, block, hash_text, peer, rejected, subtree, us};

#[test]
fn t005_a_broken_envelope_is_skipped_and_the_next_message_is_handled() {
    let mut rig = Rig::mended();
    for broken in ["no json", r#"{"name":"n","data":"!!!"}"#, r#"{"name":1,"data":""}"#, "[]"] {
        let done = rig.gossip_raw(peer(1), peer(1), TopicKind::Subtree, broken.into());
        assert!(done.produced().is_empty());
        assert_eq!(done.acceptance(), Acceptance::Reject, "{broken}");
    }
    assert_eq!(rig.score(peer(1)), 0, "what does not decode costs nothing");
    let json = subtree(&peer(1).to_base58(), &hash_text(7));
    assert_eq!(rig.gossip(peer(1), TopicKind::Subtree, &json).produced().len(), 1);
}

#[test]
fn t006_our_own_message_never_reaches_a_handler() {
    for mut rig in [Rig::mended(), Rig::strict()] {
        rig.join_feed(1);
        let json = subtree(&us().to_base58(), &hash_text(7));
        let done = rig.gossip(us(), TopicKind::Subtree, &json);
        assert!(done.produced().is_empty() && done.frames().is_empty());
        assert!(rig.node.view().teranode().registry().is_empty());
    }
}

#[test]
fn t007_a_relayed_message_is_its_authors() {
    let mut rig = Rig::mended();
    let json = subtree(&peer(1).to_base58(), &hash_text(7));
    let mut data = Vec::new();
    peerage_core::proto::envelope::wrap("n", json.as_bytes(), &mut data);
    let done = rig.gossip_raw(peer(1), peer(2), TopicKind::Subtree, data);
    assert_eq!(done.produced().len(), 1);
    let view = rig.node.view();
    assert!(view.teranode().registry().get(&peer(1)).is_some());
    assert!(view.teranode().registry().get(&peer(2)).is_none());
}

#[test]
fn t012_the_document_null_is_dropped_for_its_content() {
    for kind in TopicKind::ALL {
        for mut rig in [Rig::mended(), Rig::strict()] {
            rig.gossip(peer(1), kind, "null");
            assert!(rig.node.view().counters().is_conserved());
        }
    }
}

#[test]
fn t013_other_documents_than_one_object_are_rejected() {
    let mut rig = Rig::mended();
    for document in ["[]", r#""x""#, "{} {}", "1", ""] {
        assert_eq!(
            rig.gossip(peer(1), TopicKind::Block, document).acceptance(),
            Acceptance::Reject,
            "{document}"
        );
    }
    assert_eq!(rig.ended(TopicKind::Block, Cause::NotJson), 5);
}

#[test]
fn t015_a_thousand_random_texts_on_each_topic_change_nothing() {
    let mut rng = peerage_core::rng::Rng::fork(&[1; 32], "test");
    for mut rig in [Rig::mended(), Rig::strict()] {
        for kind in TopicKind::ALL {
            for _ in 0..1000 {
                let bytes: Vec<u8> = (0..rng.below(200)).map(|_| rng.below(256) as u8).collect();
                let done = rig.gossip_raw(peer(1), peer(1), kind, bytes);
                assert!(done.produced().is_empty());
            }
        }
        assert!(rig.node.view().teranode().registry().is_empty());
    }
}

#[test]
fn t051_a_rejected_transaction_of_a_peer_is_counted_and_nothing_more() {
    for mut rig in [Rig::mended(), Rig::strict()] {
        rig.join_feed(1);
        let json = rejected(&peer(1).to_base58(), &hash_text(7));
        let done = rig.gossip(peer(1), TopicKind::RejectedTx, &json);
        assert!(done.produced().is_empty() && done.frames().is_empty() && done.published().is_empty());
        let view = rig.node.view();
        let info = view.teranode().registry().get(&peer(1)).unwrap();
        assert_eq!((info.bytes_received, info.last_message), (json.len() as u64, Some(rig.now.wall)));
    }
}

#[test]
fn t156_the_last_of_two_spellings_counts_and_a_fraction_rejects() {
    let mut rig = Rig::mended();
    let (json, _) = block(&peer(1), 101, 7);
    rig.gossip(peer(1), TopicKind::Block, &json.replace(r#""Height":101"#, r#""Height":1,"height":5"#));
    assert_eq!(rig.node.view().teranode().registry().get(&peer(1)).map(|info| info.height), Some(5));
    let done = rig.gossip(peer(1), TopicKind::Block, &json.replace(":101", ":1.0"));
    assert_eq!(done.acceptance(), Acceptance::Reject);
}

#[test]
fn t157_an_envelope_without_data_changes_nothing_and_the_next_message_is_handled() {
    for mut rig in [Rig::mended(), Rig::strict()] {
        rig.join_feed(1);
        for envelope in [r#"{"name":"n"}"#, "null", r#"{"name":"n","data":null}"#] {
            let done = rig.gossip_raw(peer(1), peer(1), TopicKind::Block, envelope.into());
            assert!(done.produced().is_empty() && done.frames().is_empty());
        }
        assert!(rig.node.view().teranode().registry().is_empty());
        let (json, _) = block(&peer(1), 101, 7);
        assert_eq!(rig.gossip(peer(1), TopicKind::Block, &json).produced().len(), 1);
    }
}

#[test]
fn a_bare_document_is_ignored_where_envelopes_are_asked_for_and_taken_where_they_are_optional() {
    let json = subtree(&peer(1).to_base58(), &hash_text(7));
    let mut rig = Rig::mended();
    let done = rig.gossip_raw(peer(1), peer(1), TopicKind::Subtree, json.clone().into());
    assert_eq!(
        (done.acceptance(), rig.ended(TopicKind::Subtree, Cause::NoEnvelope)),
        (Acceptance::Ignore, 1)
    );
    let config =
        Config { envelope: Envelope::Optional, allow_private_urls: true, ..Config::new(Network::Regtest) };
    let mut rig = Rig::started(config);
    assert_eq!(rig.gossip_raw(peer(1), peer(1), TopicKind::Subtree, json.into()).produced().len(), 1);
}

#[test]
fn t008b_700_kb_pass_the_transport_and_are_rejected_by_the_topics_limit() {
    let mut rig = Rig::mended();
    let json = subtree(&peer(1).to_base58(), &hash_text(7));
    let padded = json.replace('}', &format!(r#","pad":"{}"}}"#, "x".repeat(700_000)));
    let done = rig.gossip(peer(1), TopicKind::Subtree, &padded);
    assert_eq!((done.acceptance(), rig.ended(TopicKind::Subtree, Cause::TooLarge)), (Acceptance::Reject, 1));
    assert_eq!(rig.score(peer(1)), 0);
    let mut rig = Rig::strict();
    assert_eq!(rig.gossip(peer(1), TopicKind::Subtree, &padded).produced().len(), 1);
}

#[test]
fn each_topic_has_its_own_limit_on_the_inner_document() {
    for (kind, max) in TopicKind::ALL.into_iter().zip([32 << 10, 32 << 10, 16 << 10, 64 << 10]) {
        let mut rig = Rig::mended();
        let fill = |len: usize| format!(r#"{{"pad":"{}"}}"#, "x".repeat(len - 10));
        rig.gossip(peer(1), kind, &fill(max));
        assert_eq!(rig.ended(kind, Cause::TooLarge), 0, "{kind:?}");
        rig.gossip(peer(1), kind, &fill(max + 1));
        assert_eq!(rig.ended(kind, Cause::TooLarge), 1, "{kind:?}");
    }
}
