//! The same frames into stock gossipsub and into the router: what each hands on, and where they differ.

use std::collections::{BTreeMap, BTreeSet};

use libp2p::gossipsub::{
    Behaviour as Stock, ConfigBuilder, IdentTopic, Message as StockMessage, MessageAuthenticity, MessageId,
    ValidationMode,
};
use peerage_core::conn::{self, ConnectionId as CoreConnection, Direction};
use peerage_core::gossipsub::stream::{Action as StreamAction, Event};
use peerage_core::input::{Action, OpResult};
use peerage_core::time::Now;
use peerage_core::{Config, Core as _, Input, Node as CoreNode, teranode};
use peerage_proto::network::Network;
use peerage_proto::pubsub::{Control, Graft, Message};
use peerage_proto::{PeerId as CorePeer, envelope};

use super::*;
use crate::p2p::signatures::judge;

const TOPIC: &str = "teranode/bitcoin/1.0.0/regtest-subtree";
/// Connections of the core's node: who writes, and who reads.
const WRITER: CoreConnection = CoreConnection(1);
const READER: CoreConnection = CoreConnection(2);

/// One frame, what it is, and who is expected to hand its message on.
struct Case {
    what: &'static str,
    frame: Vec<u8>,
    id: Vec<u8>,
    ours: bool,
    stock: bool,
}

/// What is special about a message.
#[derive(Clone, Copy, Default)]
struct Made<'a> {
    seqno: Option<&'a [u8]>,
    key: Option<&'a [u8]>,
    unknown: &'a [u8],
    topic: Option<&'a str>,
    is_forged: bool,
    is_unsigned: bool,
    padding: usize,
}

struct Author {
    keys: Keypair,
    number: u64,
}

impl Author {
    fn new() -> Self {
        Self { keys: Keypair::generate_ed25519(), number: 0 }
    }

    fn id(&self) -> CorePeer {
        CorePeer::from_bytes(&self.keys.public().to_peer_id().to_bytes()).unwrap()
    }

    /// A frame with one message, and the message's id.
    fn frame(&mut self, made: Made<'_>) -> (Vec<u8>, Vec<u8>) {
        self.number += 1;
        let (from, number) = (self.id(), self.number);
        let json = format!(
            r#"{{"PeerID":"{from}","ClientName":"{}","DataHubURL":"http://127.0.0.1:8090/api/v1","Hash":"{number:064x}"}}"#,
            "x".repeat(made.padding)
        );
        let mut data = Vec::new();
        envelope::wrap("name", json.as_bytes(), &mut data);
        let counted = number.to_be_bytes();
        let mut message = Message {
            from: Some(from.as_bytes()),
            data: Some(&data),
            seqno: Some(made.seqno.unwrap_or(&counted)).filter(|seqno| !seqno.is_empty()),
            topic: Some(made.topic.unwrap_or(TOPIC).as_bytes()),
            unknown: made.unknown.into(),
            ..Message::default()
        };
        let mut signed = Vec::new();
        message.signing_bytes(&mut signed);
        let mut signature = self.keys.sign(&signed).unwrap();
        if made.is_forged {
            signature[3] ^= 1;
        }
        message.signature = Some(&signature[..]).filter(|_| !made.is_unsigned);
        message.key = made.key;
        let id = message.message_id();
        let mut frame = Vec::new();
        Rpc { publish: vec![message.clone()], ..Rpc::default() }.encode(&mut frame);
        (frame, id)
    }

    fn case(&mut self, what: &'static str, made: Made<'_>, ours: bool, stock: bool) -> Case {
        let (frame, id) = self.frame(made);
        Case { what, frame, id, ours, stock }
    }
}

/// All cases. Where the two differ, the reason stands beside it; Go does in each as ours does.
fn cases() -> Vec<Case> {
    let mut author = Author::new();
    let own_key = author.id().as_bytes()[2..].to_vec();
    let foreign_key = Author::new().id().as_bytes()[2..].to_vec();
    let plain = Made::default();
    let mut cases = vec![
        author.case("plain", plain, true, true),
        author.case("forged", Made { is_forged: true, ..plain }, false, false),
        author.case("unsigned", Made { is_unsigned: true, ..plain }, false, false),
        author.case("its own key beside it", Made { key: Some(&own_key), ..plain }, true, true),
        author.case("another's key beside it", Made { key: Some(&foreign_key), ..plain }, false, false),
        author.case("of a topic that nobody joined", Made { topic: Some("other"), ..plain }, false, false),
        author.case("long", Made { padding: 40, ..plain }, true, true),
        // Stock forgets unknown fields when it decodes, and so checks the signature over other bytes.
        author.case("a signed unknown field", Made { unknown: &[0x3a, 1, 7], ..plain }, true, false),
        // Stock takes an empty key for none.
        author.case("an empty key", Made { key: Some(&[]), ..plain }, false, true),
        // Stock wants eight bytes.
        author.case(
            "a sequence number of four bytes",
            Made { seqno: Some(&[1, 2, 3, 4]), ..plain },
            true,
            false,
        ),
        author.case("no sequence number", Made { seqno: Some(&[]), ..plain }, true, false),
    ];
    // A forged copy first, then the true message of the same id.
    let (true_frame, id) = author.frame(Made { seqno: Some(&[9; 8]), ..plain });
    let (forged, _) = author.frame(Made { seqno: Some(&[9; 8]), is_forged: true, ..plain });
    cases.push(Case { what: "forged copy", frame: forged, id: id.clone(), ours: true, stock: true });
    cases.push(Case {
        what: "after a forged copy",
        frame: true_frame.clone(),
        id: id.clone(),
        ours: true,
        stock: true,
    });
    cases.push(Case { what: "again", frame: true_frame, id, ours: true, stock: true });
    // Three in one frame.
    let many: Vec<_> = (0..3).map(|_| author.frame(plain)).collect();
    let frame: Vec<u8> = many.iter().flat_map(|(frame, _)| frame.clone()).collect();
    for (_, id) in many {
        let frame = frame.clone();
        cases.push(Case { what: "three in one frame", frame, id, ours: true, stock: true });
    }
    cases.push(Case { what: "an empty frame", frame: vec![], id: vec![], ours: false, stock: false });
    cases
}

fn hello(graft: bool) -> Vec<u8> {
    let topic = Some(TOPIC.as_bytes());
    let control = Control { graft: vec![Graft { topic }], ..Control::default() };
    let mut frame = Vec::new();
    Rpc {
        subscriptions: vec![Subscription { subscribe: Some(true), topic }],
        control: Some(control).filter(|_| graft),
        ..Rpc::default()
    }
    .encode(&mut frame);
    frame
}

fn ids(frame: &[u8]) -> Vec<Vec<u8>> {
    let rpc = Rpc::decode(frame, &RpcLimits::default()).unwrap();
    rpc.publish.iter().map(Message::message_id).collect()
}

/// Ids that the router hands on to the reader, and how often it delivered.
fn by_ours(frames: &[&[u8]]) -> (BTreeSet<Vec<u8>>, u64) {
    let now = Now::at_secs(1);
    let us = CorePeer::from_ed25519(&[200; 32]);
    let mut config = Config::new(us, teranode::Config::new(Network::Regtest));
    (config.conn.allow_private, config.teranode.allow_private_urls) = (true, true);
    let mut node = CoreNode::new(config, [7; 32], now).unwrap();
    let mut handed_on = BTreeSet::new();
    let mut feed = |input: Input| {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut out = Vec::new();
            node.handle(now, input, &mut out);
            for action in out {
                match action {
                    Action::Gossipsub(StreamAction::Verify { op, checks }) => {
                        let ends = checks.iter().map(judge).collect();
                        inputs.push_back(Input::Op(op, OpResult::Verified(ends)));
                    }
                    Action::Gossipsub(StreamAction::Send { connection: READER, frames }) => {
                        for frame in frames {
                            let skip = frame.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
                            handed_on.extend(ids(&frame[skip..]));
                        }
                    }
                    Action::Conn(_)
                    | Action::Gossipsub(_)
                    | Action::Teranode(_)
                    | Action::Store { .. }
                    | Action::Notice(_) => {}
                }
            }
        }
        node.view().router().tally().delivered
    };
    feed(Input::Start);
    for (connection, key) in [(WRITER, 1), (READER, 2)] {
        let addr = format!("/ip4/127.0.0.1/tcp/{}", 4000 + u16::from(key)).parse().unwrap();
        let peer = CorePeer::from_ed25519(&[key; 32]);
        let direction = Direction::Outbound(None);
        feed(Input::Conn(conn::Event::Established { id: connection, peer, addr, direction }));
        feed(Input::Gossipsub(Event::Opened { connection, version: Version::V12 }));
        feed(Input::Gossipsub(Event::InboundOpened { connection, version: Version::V12 }));
        feed(Input::Gossipsub(Event::Frame { connection, frame: hello(true).into() }));
    }
    let mut delivered = 0;
    for frame in frames {
        let frame = Bytes::copy_from_slice(frame);
        delivered = feed(Input::Gossipsub(Event::Frame { connection: WRITER, frame }));
    }
    (handed_on, delivered)
}

fn stock() -> Stock {
    let id = |message: &StockMessage| {
        let mut id = message.source.map(|source| source.to_bytes()).unwrap_or_default();
        id.extend_from_slice(&message.sequence_number.unwrap_or_default().to_be_bytes());
        MessageId::new(&id)
    };
    let config =
        ConfigBuilder::default().validation_mode(ValidationMode::Strict).message_id_fn(id).build().unwrap();
    let mut stock = Stock::new(MessageAuthenticity::Signed(Keypair::generate_ed25519()), config).unwrap();
    stock.subscribe(&IdentTopic::new(TOPIC)).unwrap();
    stock
}

/// A node whose stream to a stock peer stands, and which that has grafted.
async fn grafted(addr: &Multiaddr) -> Node {
    let mut node = Node::start();
    node.dial(addr).await;
    node.open().await;
    while !matches!(node.next().await, News::Ours(Ours::Opened(_))) {}
    node.send(&[&hello(false)]).await;
    next_rpc(&mut node, |rpc| {
        let grafts = rpc.control.iter().flat_map(|control| &control.graft);
        grafts.into_iter().any(|graft| graft.topic == Some(TOPIC.as_bytes()))
    })
    .await;
    node.send(&[&hello(true)]).await;
    node
}

/// Ids that a stock peer hands on to the reader. The last frame holds what ends the wait.
async fn by_stock(frames: &[&[u8]], last: &[u8]) -> BTreeSet<Vec<u8>> {
    let stock = Driven::start(stock(), |_| ());
    let addr = stock.listens().await;
    let mut reader = grafted(&addr).await;
    let mut writer = grafted(&addr).await;
    writer.send(frames).await;
    let mut handed_on = BTreeSet::new();
    while !handed_on.contains(last) {
        let frame = next_rpc(&mut reader, |rpc| !rpc.publish.is_empty()).await;
        handed_on.extend(ids(&frame));
    }
    handed_on
}

#[test]
fn stock_and_ours_hand_on_the_same_but_for_what_stands_in_the_table() {
    let mut cases = cases();
    cases.push(Author::new().case("the last", Made::default(), true, true));
    let frames: Vec<&[u8]> = cases.iter().map(|case| &case.frame[..]).collect();
    let last = cases[cases.len() - 1].id.clone();
    let (ours, delivered) = by_ours(&frames);
    let stock = block_on(by_stock(&frames, &last));
    assert_eq!(delivered, ours.len() as u64, "what is delivered is handed on, once");
    let mut known = BTreeMap::new();
    for case in cases.iter().filter(|case| !case.id.is_empty()) {
        known.insert(case.id.clone(), case.what);
        assert_eq!(ours.contains(&case.id), case.ours, "ours: {}", case.what);
        assert_eq!(stock.contains(&case.id), case.stock, "stock: {}", case.what);
    }
    assert!(ours.union(&stock).all(|id| known.contains_key(id)));
}
