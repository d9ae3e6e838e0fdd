//! What a node does with the status of others, and its own (spec 3.4, 3.9; checklist 36 to 48).

mod rig;

use peerage_core::gossipsub::Acceptance;
use peerage_core::proto::network::Network;
use peerage_core::teranode::verdict::Cause;
use peerage_core::teranode::{Config, ListenMode, TopicKind, chain};
use rig::{Rig, URL, hash_text, peer, status, us};

const STATUS: TopicKind = TopicKind::NodeStatus;

fn from(n: u8, height: u32, extra: &str) -> String {
    status(&peer(n).to_base58(), height, extra)
}

#[test]
fn t036_a_status_sets_height_hash_url_name_and_storage() {
    for mut rig in [Rig::mended(), Rig::strict()] {
        rig.gossip(peer(1), STATUS, &from(1, 101, r#","storage":"full""#));
        let view = rig.node.view();
        let info = view.teranode().registry().get(&peer(1)).unwrap();
        assert_eq!((info.height, info.data_hub_url.as_str(), info.client_name.as_str()), (101, URL, "n"));
        assert_eq!(info.block_hash.map(|hash| hash.to_string()), Some(hash_text(0xab)));
        assert_eq!(info.storage, "full");
    }
}

#[test]
fn t037_height_0_stores_nothing_but_the_author() {
    for mut rig in [Rig::mended(), Rig::strict()] {
        rig.gossip(peer(1), STATUS, &from(1, 0, ""));
        let view = rig.node.view();
        let info = view.teranode().registry().get(&peer(1)).unwrap();
        assert_eq!((info.height, info.data_hub_url.as_str()), (0, ""));
    }
}

#[test]
fn t038_an_undecodable_id_books_nothing_and_is_shown_in_strict_mode() {
    let mut rig = Rig::strict();
    rig.join_feed(1);
    let done = rig.gossip(peer(1), STATUS, &status("nobody", 101, ""));
    assert_eq!(done.frames().len(), 1);
    let view = rig.node.view();
    assert_eq!(view.teranode().registry().get(&peer(1)).map(|info| info.height), Some(0));
    assert_eq!(view.teranode().registry().len(), 1);
}

#[test]
fn t038a_a_status_in_our_name_creates_no_entry_for_us() {
    for mut rig in [Rig::mended(), Rig::strict()] {
        rig.gossip(peer(1), STATUS, &status(&us().to_base58(), 101, ""));
        assert!(rig.node.view().teranode().registry().get(&us()).is_none());
    }
}

#[test]
fn t039_an_invalid_hash_stores_no_data() {
    for mut rig in [Rig::mended(), Rig::strict()] {
        let json = from(1, 101, "").replace(&hash_text(0xab), "xyz");
        rig.gossip(peer(1), STATUS, &json);
        let view = rig.node.view();
        assert!(view.teranode().registry().get(&peer(1)).is_none_or(|info| info.height == 0));
    }
}

#[test]
fn t040_an_unhealthy_author_is_shown_and_not_believed() {
    for mut rig in [Rig::mended(), Rig::strict()] {
        rig.join_feed(1);
        rig.gossip(peer(1), STATUS, &from(1, 101, ""));
        rig.set_reputation(peer(1), 19.9);
        let done = rig.gossip(peer(1), STATUS, &from(1, 102, ""));
        assert_eq!((done.frames().len(), done.acceptance()), (1, Acceptance::Accept));
        assert_eq!(rig.node.view().teranode().registry().get(&peer(1)).map(|info| info.height), Some(101));
    }
}

#[test]
fn t041_an_absent_fee_stays_absent_and_zero_is_written() {
    let mut rig = Rig::mended();
    rig.join_feed(1);
    let frames = rig.gossip(peer(1), STATUS, &from(1, 101, "")).frames();
    assert!(!frames[0].1.contains("min_mining_tx_fee"));
    let frames = rig.gossip(peer(1), STATUS, &from(1, 101, r#","min_mining_tx_fee":0"#)).frames();
    assert!(frames[0].1.contains(r#""min_mining_tx_fee":0"#));
}

#[test]
fn t042_absent_storage_leaves_the_stored_one() {
    let mut rig = Rig::mended();
    rig.gossip(peer(1), STATUS, &from(1, 101, r#","storage":"pruned""#));
    rig.gossip(peer(1), STATUS, &from(1, 102, ""));
    let view = rig.node.view();
    assert_eq!(view.teranode().registry().get(&peer(1)).map(|info| info.storage.as_str()), Some("pruned"));
}

#[test]
fn t043_the_own_status_goes_out_at_start_every_10_seconds_and_after_a_block() {
    let mut rig = Rig::new(Config::new(Network::Regtest));
    assert_eq!(rig.start().published_on("node_status").len(), 1, "at start");
    assert_eq!(rig.run_ms(9_000).published_on("node_status").len(), 0);
    assert_eq!(rig.run_ms(2_000).published_on("node_status").len(), 1, "after 10 s");
    assert_eq!(rig.run_ms(60_000).published_on("node_status").len(), 6);
    let hash = rig.chain.best.as_ref().unwrap().header.hash();
    let done = rig.chain_says(chain::Event::Block { hash: hash.0.to_vec().into() });
    let topics: Vec<String> = done.published().into_iter().map(|(topic, _)| topic).collect();
    assert_eq!(topics, ["block", "node_status"]);
}

#[test]
fn t044_a_listen_only_node_publishes_its_status_without_url() {
    let config = Config { listen_mode: ListenMode::ListenOnly, ..Config::new(Network::Regtest) };
    let mut rig = Rig::new(config);
    let published = rig.start().published_on("node_status");
    assert!(
        published[0].contains(r#""base_url":"","#) && published[0].contains(r#""listen_mode":"listen_only""#)
    );
}

#[test]
fn t047_the_chain_failing_shows_height_0_and_the_own_genesis() {
    let mut rig = Rig::new(Config::new(Network::Regtest));
    rig.chain = chain::Status::default();
    let published = rig.start().published_on("node_status");
    let genesis = Network::Regtest.genesis().unwrap().hash();
    assert!(published[0].contains(&format!(r#""best_block_hash":"{genesis}","best_height":0"#)));
}

#[test]
fn a_banned_author_is_neither_shown_nor_believed() {
    let mut rig = Rig::mended();
    rig.join_feed(1);
    rig.ban(peer(1));
    let done = rig.gossip(peer(1), STATUS, &from(1, 101, ""));
    assert!(done.frames().is_empty());
    assert_eq!(rig.ended(STATUS, Cause::Banned), 1);
}

#[test]
fn what_a_page_could_misread_is_taken_out() {
    let mut rig = Rig::mended();
    rig.join_feed(1);
    let json = from(1, 101, r#","storage":"huge","sync_peer_block_hash":"<script>""#)
        .replace(r#""version":"v""#, r#""version":"v<b>&\"1""#)
        .replace(r#""listen_mode":"full""#, r#""listen_mode":"loud""#)
        .replace(r#""client_name":"n""#, &format!(r#""client_name":"{}""#, "x".repeat(100)));
    let frame = &rig.gossip(peer(1), STATUS, &json).frames()[0].1;
    assert!(frame.contains(r#""version":"vb1""#), "{frame}");
    assert!(frame.contains(&format!(r#""client_name":"{}""#, "x".repeat(64))), "{frame}");
    for absent in ["loud", "huge", "script", "\\u003c"] {
        assert!(!frame.contains(absent), "{absent} in {frame}");
    }
}

#[test]
fn t171_a_status_of_a_newer_peer_is_taken_whole() {
    let mut rig = Rig::mended();
    rig.join_feed(1);
    let policy = r#","propagation_url":"http://127.0.0.1:1/p","fee_policy":{"miningFee":{"satoshis":1,"bytes":1000},"maxscriptsizepolicy":1,"maxtxsizepolicy":2,"maxtxsigopscountspolicy":3},"storage":"full""#;
    let done = rig.gossip(peer(1), STATUS, &from(1, 101, policy));
    assert_eq!(done.acceptance(), Acceptance::Accept);
    let frame = &done.frames()[0].1;
    assert!(frame.contains("propagation_url") && frame.contains(r#""maxtxsizepolicy":2"#), "{frame}");
    assert_eq!(rig.node.view().teranode().registry().get(&peer(1)).map(|info| info.height), Some(101));
}

#[test]
fn the_strict_mode_keeps_of_a_text_of_any_length_what_memory_allows_and_shows_ordinary_ones_whole() {
    let mut rig = Rig::strict();
    rig.join_feed(1);
    let named = |length: usize| {
        from(1, 101, "")
            .replace(r#""client_name":"n""#, &format!(r#""client_name":"{}""#, "x".repeat(length)))
    };
    let done = rig.gossip(peer(1), STATUS, &named(10_000));
    assert!(done.frames()[0].1.contains(&"x".repeat(10_000)), "what is shown is whole");
    let kept = |rig: &Rig| rig.node.view().teranode().registry().get(&peer(1)).unwrap().client_name.len();
    assert_eq!(kept(&rig), 256);
    let done = rig.gossip(peer(1), STATUS, &named(500_000));
    assert!(done.frames().is_empty(), "no client has to keep that");
    assert_eq!((kept(&rig), rig.node.view().counters().feed_oversized), (256, 1));
}
