//! What a node announces, and when (spec 3.8; checklist 27, 28, 49, 50, 58 to 63, 163).

mod rig;

use peerage_core::explain::counters::BlockedAt;
use peerage_core::proto::network::Network;
use peerage_core::teranode::chain::{Event, FsmState};
use peerage_core::teranode::{self, Config, ListenMode, Record, TopicKind};
use rig::{Rig, hash_text, peer, us};

fn tip_event(rig: &Rig) -> Event {
    let hash = rig.chain.best.as_ref().expect("a tip").header.hash();
    Event::Block { hash: hash.0.to_vec().into() }
}

fn rejected(peer_id: &str, tx_id: &str) -> peerage_core::Input {
    let record = Record::RejectedTx { tx_id: tx_id.into(), reason: "no".into(), peer_id: peer_id.into() };
    peerage_core::Input::Teranode(teranode::Input::Record(record))
}

#[test]
fn t027_the_genesis_is_announced_with_its_header() {
    let mut rig = Rig::mended();
    let genesis = Network::Regtest.genesis().unwrap();
    rig.chain.best.as_mut().unwrap().header = genesis;
    let event = tip_event(&rig);
    let published = rig.chain_says(event).published_on("block");
    let value: serde_json::Value = serde_json::from_str(&published[0]).unwrap();
    assert_eq!(value["Header"], genesis.to_hex());
    assert_eq!(value["Hash"], genesis.hash().to_string());
}

#[test]
fn t028_a_block_has_all_seven_members_in_order() {
    let mut rig = Rig::mended();
    let event = tip_event(&rig);
    let published = rig.chain_says(event).published_on("block");
    let value: serde_json::Value = serde_json::from_str(&published[0]).unwrap();
    let keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["PeerID", "ClientName", "DataHubURL", "Hash", "Height", "Header", "Coinbase"]);
    assert_eq!((&value["PeerID"], &value["Coinbase"]), (&us().to_base58().into(), &"".into()));
}

#[test]
fn t049_an_own_rejected_transaction_is_one_message() {
    let mut rig = Rig::mended();
    let published = rig.feed(rejected("", &hash_text(7))).published_on("rejected_tx");
    let expected = format!(
        r#"{{"PeerID":"{}","ClientName":"peerage","TxID":"{}","Reason":"no"}}"#,
        us().to_base58(),
        hash_text(7)
    );
    assert_eq!(published, [expected]);
}

#[test]
fn t050_nothing_of_peers_nor_while_syncing_nor_listen_only_nor_with_a_bad_hash() {
    let mut rig = Rig::mended();
    assert!(rig.feed(rejected(&peer(1).to_base58(), &hash_text(7))).published().is_empty());
    assert!(rig.feed(rejected("", "xyz")).published().is_empty());
    rig.chain_says(Event::Fsm { state: Some(FsmState::CatchingBlocks) });
    assert!(rig.feed(rejected("", &hash_text(7))).published().is_empty());
    let config = Config { listen_mode: ListenMode::ListenOnly, ..Config::new(Network::Regtest) };
    assert!(Rig::started(config).feed(rejected("", &hash_text(7))).published().is_empty());
}

#[test]
fn rejected_transactions_are_neither_repeated_nor_flooded() {
    let mut rig = Rig::mended();
    rig.subscribe(peer(1), "teranode/bitcoin/1.0.0/regtest-rejected_tx");
    let mut sent = 0;
    for n in 0..200u8 {
        sent += rig.feed(rejected("", &hash_text(n))).published().len();
        sent += rig.feed(rejected("", &hash_text(n))).published().len();
    }
    assert_eq!(sent, 100, "the burst, and none twice");
    assert_eq!(rig.node.view().counters().rejected_tx_suppressed, 300);
}

#[test]
fn t058_a_block_is_described_first_and_an_invalid_one_is_not_announced() {
    let mut rig = Rig::mended();
    let event = tip_event(&rig);
    assert_eq!(rig.chain_says(event.clone()).published_on("block").len(), 1);
    rig.chain.best.as_mut().unwrap().invalid = true;
    assert!(rig.chain_says(event).published().is_empty());
}

#[test]
fn t059_nothing_is_announced_while_syncing() {
    for state in [FsmState::CatchingBlocks, FsmState::LegacySyncing] {
        for mut rig in [Rig::mended(), Rig::strict()] {
            rig.chain_says(Event::Fsm { state: Some(state) });
            let event = tip_event(&rig);
            assert!(rig.chain_says(event).published().is_empty());
            assert!(rig.chain_says(Event::Subtree { hash: vec![7; 32].into() }).published().is_empty());
        }
    }
}

#[test]
fn t060_a_notification_with_31_bytes_is_dropped_and_counted() {
    let mut rig = Rig::mended();
    assert!(rig.chain_says(Event::Block { hash: vec![7; 31].into() }).published().is_empty());
    assert!(rig.chain_says(Event::Subtree { hash: vec![7; 33].into() }).published().is_empty());
    assert_eq!(rig.node.view().counters().chain_malformed, 2);
}

#[test]
fn t061_a_state_notification_opens_and_closes_the_gate() {
    let mut rig = Rig::mended();
    rig.chain_says(Event::Fsm { state: Some(FsmState::CatchingBlocks) });
    assert_eq!(rig.node.view().teranode().own().fsm(), Some(FsmState::CatchingBlocks));
    rig.chain_says(Event::Fsm { state: Some(FsmState::Running) });
    let event = tip_event(&rig);
    assert_eq!(rig.chain_says(event).published_on("block").len(), 1);
}

#[test]
fn t163_the_tip_is_announced_again_after_the_stream_came_back() {
    let mut rig = Rig::mended();
    let event = tip_event(&rig);
    assert_eq!(rig.chain_says(event.clone()).published_on("block").len(), 1);
    rig.chain_says(Event::Disconnected);
    rig.chain_says(Event::Connected);
    assert_eq!(rig.chain_says(event).published_on("block").len(), 1);
}

#[test]
fn a_subtree_is_announced_without_a_question() {
    let mut rig = Rig::mended();
    let published = rig.chain_says(Event::Subtree { hash: vec![7; 32].into() }).published_on("subtree");
    assert!(published[0].contains(&hash_text(7)));
}

#[test]
fn t008_a_listen_only_node_joins_all_four_topics_default() {
    let config = Config { listen_mode: ListenMode::ListenOnly, ..Config::new(Network::Regtest) };
    joins_four_and_publishes_status_only(config);
}

#[test]
fn t008_a_listen_only_node_joins_all_four_topics_reference() {
    let config = Config { listen_mode: ListenMode::ListenOnly, ..Config::strict(Network::Regtest) };
    joins_four_and_publishes_status_only(config);
}

fn joins_four_and_publishes_status_only(config: Config) {
    use peerage_core::gossipsub::Command;
    let mut rig = Rig::new(config);
    let done = rig.start();
    let joined = |command: &&Command| matches!(command, Command::Subscribe { .. });
    assert_eq!(done.1.iter().filter(joined).count(), 4);
    assert_eq!(done.published().len(), 1);
    let event = tip_event(&rig);
    assert!(rig.chain_says(event).published().is_empty());
}

#[test]
fn what_is_kept_back_is_counted_by_topic_state_and_stage() {
    let kept_back =
        |rig: &Rig, kind, state, at| rig.node.view().counters().publish_blocked.of(kind, state, at);
    let mut rig = Rig::mended();
    rig.chain_says(Event::Fsm { state: Some(FsmState::CatchingBlocks) });
    let event = tip_event(&rig);
    rig.chain_says(event);
    rig.chain_says(Event::Subtree { hash: vec![7; 32].into() });
    rig.feed(rejected("", &hash_text(1)));
    let catching = Some(FsmState::CatchingBlocks);
    for kind in [TopicKind::Block, TopicKind::Subtree, TopicKind::RejectedTx] {
        assert_eq!(kept_back(&rig, kind, catching, BlockedAt::Precheck), 1, "{kind:?}");
    }
    rig.chain_says(Event::Fsm { state: Some(FsmState::Running) });
    let event = tip_event(&rig);
    let asked = rig.feed(peerage_core::Input::Teranode(teranode::Input::Chain(event)));
    assert!(asked.published().is_empty());
    // The state changes while the block is being described.
    rig.feed(peerage_core::Input::Teranode(teranode::Input::Chain(Event::Fsm { state: catching })));
    rig.answer_all();
    assert_eq!(kept_back(&rig, TopicKind::Block, catching, BlockedAt::Chokepoint), 1);
    assert_eq!(rig.node.view().counters().publish_blocked.total(), 4);
}
