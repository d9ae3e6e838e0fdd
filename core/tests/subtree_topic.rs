//! What a node does with subtree announcements (spec 3.2; checklist 31 to 35).

mod rig;

use peerage_core::gossipsub::Acceptance;
use peerage_core::proto::Hash256;
use peerage_core::proto::network::Network;
use peerage_core::teranode::verdict::Cause;
use peerage_core::teranode::{Config, TopicKind};
use rig::{Rig, hash_text, peer, subtree, subtree_at};

const SUBTREE: TopicKind = TopicKind::Subtree;

fn announcement(n: u8, hash: u8) -> String {
    subtree(&peer(n).to_base58(), &hash_text(hash))
}

#[test]
fn t031_a_valid_subtree_is_one_record_and_one_frame() {
    for mut rig in [Rig::mended(), Rig::strict()] {
        rig.join_feed(1);
        let done = rig.gossip(peer(1), SUBTREE, &announcement(1, 7));
        let produced = done.produced();
        assert_eq!(produced.len(), 1);
        assert_eq!((produced[0].0, produced[0].1.as_str()), ("subtrees", hash_text(7).as_str()));
        let frames = done.frames();
        assert_eq!(frames.len(), 1);
        assert!(
            frames[0].1.contains(r#""type":"subtree","hash":"0707"#)
                && frames[0].1.contains(r#""best_height":0"#)
        );
    }
}

#[test]
fn t033_a_blacklisted_subtree_leaves_no_trace() {
    let list = vec!["http://bad.example:1234".to_owned(), "no url".to_owned()];
    let mended = Config { blacklisted_base_urls: list.clone(), ..Config::new(Network::Regtest) };
    let strict = Config { blacklisted_base_urls: list, ..Config::strict(Network::Regtest) };
    for config in [mended, strict] {
        let mut rig = Rig::started(config);
        rig.join_feed(1);
        let json = subtree_at(&peer(1).to_base58(), &hash_text(7), "https://BAD.example/x");
        let done = rig.gossip(peer(1), SUBTREE, &json);
        assert!(done.frames().is_empty() && done.produced().is_empty());
        assert!(rig.node.view().teranode().registry().is_empty());
        assert_eq!((done.acceptance(), rig.ended(SUBTREE, Cause::BlacklistedUrl)), (Acceptance::Accept, 1));
    }
}

#[test]
fn t034_a_banned_or_unhealthy_author_is_no_record() {
    let mut rig = Rig::mended();
    rig.ban(peer(1));
    assert!(rig.gossip(peer(1), SUBTREE, &announcement(1, 7)).produced().is_empty());
    for mut rig in [Rig::mended(), Rig::strict()] {
        rig.gossip(peer(2), SUBTREE, &announcement(2, 7));
        rig.set_reputation(peer(2), 19.0);
        let done = rig.gossip(peer(2), SUBTREE, &announcement(2, 8));
        assert!(done.produced().is_empty());
        assert_eq!(done.acceptance(), Acceptance::Accept, "others may think better of it");
    }
}

#[test]
fn t035_the_hash_is_mapped_to_its_author() {
    let mut rig = Rig::mended();
    rig.gossip(peer(1), SUBTREE, &announcement(1, 7));
    let origin = rig.node.view().teranode().origins().subtree_origin(&Hash256([7; 32]));
    assert_eq!(origin, Some(peer(1)));
}

#[test]
fn a_foreign_claim_is_rejected_and_costs_20_and_the_fifth_bans() {
    let mut rig = Rig::mended();
    for n in 1..=5 {
        let done = rig.gossip(peer(1), SUBTREE, &announcement(2, 7));
        assert_eq!(done.acceptance(), Acceptance::Reject);
        assert_eq!(rig.score(peer(1)), 20 * n);
    }
    assert!(rig.node.view().teranode().bans().is_banned(rig.now, &peer(1)));
    assert_eq!(rig.score(peer(2)), 0, "who was claimed pays nothing");
}

#[test]
fn a_failed_record_frees_its_place_in_the_window() {
    let mut rig = Rig::mended();
    let done = rig.gossip(peer(1), SUBTREE, &announcement(1, 7));
    let op = done.produce_ops()[0];
    assert!(rig.gossip(peer(1), SUBTREE, &announcement(1, 7)).produced().is_empty());
    let failed = peerage_core::teranode::ProduceError::Unavailable("down".into());
    rig.feed(peerage_core::Input::Op(op, peerage_core::input::OpResult::Produced(Err(failed))));
    assert_eq!(rig.gossip(peer(1), SUBTREE, &announcement(1, 7)).produced().len(), 1);
    assert_eq!(rig.node.view().counters().produce_failed, 1);
}

#[test]
fn the_strict_mode_hands_no_record_on_that_would_fill_the_brokers_queue() {
    let mut rig = Rig::strict();
    let at = |n: u8, length: usize| {
        let url = format!("http://a.example/{}", "x".repeat(length));
        subtree_at(&peer(1).to_base58(), &hash_text(n), &url)
    };
    assert_eq!(rig.gossip(peer(1), SUBTREE, &at(1, 10_000)).produced().len(), 1);
    let done = rig.gossip(peer(1), SUBTREE, &at(2, 500_000));
    assert_eq!((done.produced().len(), done.acceptance()), (0, Acceptance::Accept));
    assert_eq!(rig.ended(SUBTREE, Cause::TooLarge), 1);
}
