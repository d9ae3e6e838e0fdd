//! The feed's clients (spec 4.3; checklist 66, 69 to 72).

mod rig;

use peerage_core::proto::network::Network;
use peerage_core::teranode::feed::{Event, SubscriberId};
use peerage_core::teranode::{self, Config, TopicKind};
use rig::{Done, Rig, hash_text, peer, subtree, us};

fn lag(rig: &mut Rig, id: u64) -> Done {
    rig.feed(peerage_core::Input::Teranode(teranode::Input::Feed(Event::Lagged { id: SubscriberId(id) })))
}

#[test]
fn t066_the_first_frame_is_the_own_status() {
    let mut rig = Rig::mended();
    let frames = rig.join_feed(1).frames();
    assert_eq!(frames.len(), 1);
    assert_eq!(frames[0].0, Some(SubscriberId(1)));
    assert!(frames[0].1.contains(r#""type":"node_status""#) && frames[0].1.contains(&us().to_base58()));
}

#[test]
fn whoever_joins_before_the_chain_answered_waits_for_the_status_and_sees_nothing_before_it() {
    let mut rig = Rig::new(Config { allow_private_urls: true, ..Config::new(Network::Regtest) });
    rig.feed(peerage_core::Input::Start);
    assert!(rig.join_feed(1).frames().is_empty());
    let json = subtree(&peer(1).to_base58(), &hash_text(7));
    assert!(rig.gossip(peer(1), TopicKind::Subtree, &json).frames().is_empty());
    let frames = rig.answer_all().frames();
    assert_eq!(frames.len(), 1);
    assert!(frames[0].1.contains(r#""type":"node_status""#));
}

#[test]
fn t069_a_ping_frame_goes_to_all_every_10_seconds() {
    let mut rig = Rig::mended();
    rig.join_feed(1);
    let pings: Vec<String> = rig
        .run_ms(30_000)
        .frames()
        .into_iter()
        .map(|(_, frame)| frame)
        .filter(|frame| frame.contains("PING"))
        .collect();
    assert_eq!(pings.len(), 3);
    let expected = format!(
        r#"{{"timestamp":"2025-11-27T00:00:10Z","type":"PING","base_url":"http://localhost:8090/api/v1","peer_id":"{}","best_height":0}}"#,
        us().to_base58()
    );
    assert_eq!(pings[0], expected);
}

#[test]
fn t070_a_frame_is_for_all_clients() {
    let mut rig = Rig::mended();
    rig.join_feed(1);
    rig.join_feed(2);
    let json = subtree(&peer(1).to_base58(), &hash_text(7));
    let frames = rig.gossip(peer(1), TopicKind::Subtree, &json).frames();
    assert_eq!(frames.iter().map(|(to, _)| *to).collect::<Vec<_>>(), [None]);
}

#[test]
fn t071_a_client_that_does_not_read_is_closed_and_counted() {
    let mut rig = Rig::mended();
    rig.join_feed(1);
    assert_eq!(lag(&mut rig, 1).closed_clients(), [(SubscriberId(1), 1008)]);
    assert!(lag(&mut rig, 1).closed_clients().is_empty(), "once");
    assert_eq!(rig.node.view().counters().feed_evicted, 1);
}

#[test]
fn t072_a_thousand_clients_come_and_go_and_leave_nothing() {
    let mut rig = Rig::mended();
    for id in 0..1000 {
        rig.join_feed(id);
        rig.feed(peerage_core::Input::Teranode(teranode::Input::Feed(Event::Left { id: SubscriberId(id) })));
    }
    assert!(rig.node.view().teranode().subscribers().is_empty());
}

#[test]
fn one_client_too_many_is_asked_to_come_back_later() {
    let mut config = peerage_core::Config::new(us(), Config::new(Network::Regtest));
    config.limits.subscribers_max = 2;
    let mut rig = Rig::with(config);
    rig.start();
    rig.join_feed(1);
    assert!(peerage_core::Core::demand(&rig.node).feed);
    rig.join_feed(2);
    assert!(!peerage_core::Core::demand(&rig.node).feed);
    assert_eq!(rig.join_feed(3).closed_clients(), [(SubscriberId(3), 1013)]);
}

#[test]
fn clients_are_told_that_the_node_stops() {
    let mut rig = Rig::mended();
    rig.join_feed(1);
    assert_eq!(rig.feed(peerage_core::Input::Stop).closed_clients(), [(SubscriberId(1), 1001)]);
}
