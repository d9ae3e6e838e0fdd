//! A node to show oracles, and violations to feed them.

use bytes::Bytes;
use peerage_core::codec;
use peerage_core::conn::{self, ConnectionId, Direction};
use peerage_core::gossipsub::peers::Version;
use peerage_core::gossipsub::{Acceptance, stream};
use peerage_core::op::OpId;
use peerage_core::state::Alter as _;
use peerage_core::teranode::TopicKind;
use peerage_core::time::Now;
use peerage_core::{Action, Config, Core as _, Input, Node};
use peerage_proto::peer_id::PeerId;
use peerage_proto::pubsub::{Control, Graft, Message, Rpc, Subscription};

use super::{Before, Delivered, Oracle, Seen};
use crate::world::{self, Heard, Heards, Options};

/// The connection of the connected peer.
const ID: ConnectionId = ConnectionId(1);

pub(super) fn config() -> Config {
    world::config(&Options::calm(1, 1), 0)
}

pub(super) fn peer(n: u8) -> PeerId {
    PeerId::from_ed25519(&[n; 32])
}

/// The `number`th operation of a node.
pub(super) fn op(number: u64) -> OpId {
    codec::decode_all(&number.to_le_bytes()).unwrap()
}

pub(super) fn node() -> Node {
    node_of(config())
}

pub(super) fn node_of(config: Config) -> Node {
    let mut node = Node::new(config, [7; 32], Now::at_secs(0)).unwrap();
    node.handle(Now::at_secs(0), Input::Start, &mut Vec::new());
    node
}

/// A node with one connected peer that subscribed to a topic and is in the mesh.
pub(super) fn connected(config: Config) -> Node {
    let topic = config.teranode.topic(TopicKind::Block);
    let topic = Some(topic.as_str().as_bytes());
    let mut node = node_of(config);
    let (peer, addr) = (peer(9), "/ip4/20.9.9.9/tcp/1".parse().unwrap());
    let direction = Direction::Outbound(None);
    let subscriptions = vec![Subscription { subscribe: Some(true), topic }];
    let control = Some(Control { graft: vec![Graft { topic }], ..Control::default() });
    let (connection, version) = (ID, Version::V12);
    let events = [
        Input::Conn(conn::Event::Established { id: ID, peer, addr, direction }),
        Input::Gossipsub(stream::Event::Opened { connection, version }),
        Input::Gossipsub(stream::Event::InboundOpened { connection, version }),
        frame(&Rpc { subscriptions, control, ..Rpc::default() }),
    ];
    for event in events {
        node.handle(Now::at_secs(1), event, &mut Vec::new());
    }
    assert!(node.view().router().mesh().is_member(&peer));
    node
}

/// A frame of the connected peer.
pub(super) fn frame(rpc: &Rpc<'_>) -> Input {
    let mut frame = Vec::new();
    rpc.encode(&mut frame);
    Input::Gossipsub(stream::Event::Frame { connection: ID, frame: frame.into() })
}

/// A frame that is sent to the connected peer.
pub(super) fn send(frame: &[u8]) -> Action {
    let frames = vec![Bytes::copy_from_slice(frame)];
    Action::Gossipsub(stream::Action::Send { connection: ID, frames })
}

/// A message of `author` as it is sent: with its length.
pub(super) fn framed(author: PeerId, data: &[u8]) -> Vec<u8> {
    let message = Message { from: Some(author.as_bytes()), data: Some(data), ..Message::default() };
    let mut frame = Vec::new();
    message.encode_frame(&mut frame);
    frame
}

/// The same, accepted from the connected peer.
pub(super) fn delivered(author: PeerId, data: &'static [u8]) -> Delivered {
    let topic = config().teranode.topic(TopicKind::Block);
    let topic = Bytes::copy_from_slice(topic.as_str().as_bytes());
    let (id, data) = (Bytes::copy_from_slice(author.as_bytes()), Bytes::from_static(data));
    let heard = Heard { author, topic, data, at: 0 };
    Delivered { id, heard, propagation_source: peer(9), acceptance: Acceptance::Accept }
}

/// Alters the first leaf of the node's state whose path ends in `path`.
pub(super) fn alter(node: &mut Node, path: &str) {
    let mut leaves = Vec::new();
    node.state_mut().leaves("", &mut leaves);
    let mut nth =
        leaves.iter().position(|leaf| leaf.ends_with(path)).unwrap_or_else(|| panic!("no leaf is {path}"));
    assert!(node.state_mut().alter(&mut nth));
}

pub(super) fn before(oracle: &mut impl Oracle, core: &Node, now: Now, input: &Input) {
    let heard = &Heards::new();
    oracle.before(&Before { node: 0, now, input, core, deadline: core.poll_timeout(), heard });
}

/// The same with an input that may bring a message.
pub(super) fn before_heard(oracle: &mut impl Oracle, core: &Node, now: Now, input: &Input, one: &Delivered) {
    let heard = &Heards::from([(one.id.clone(), one.heard.clone())]);
    oracle.before(&Before { node: 0, now, input, core, deadline: core.poll_timeout(), heard });
}

pub(super) fn after(
    oracle: &mut impl Oracle,
    core: &Node,
    now: Now,
    input: &Input,
    actions: &[Action],
) -> Result<(), String> {
    after_delivered(oracle, core, now, input, actions, &[])
}

pub(super) fn after_delivered(
    oracle: &mut impl Oracle,
    core: &Node,
    now: Now,
    input: &Input,
    actions: &[Action],
    delivered: &[Delivered],
) -> Result<(), String> {
    oracle.after(&Seen {
        node: 0,
        at: 0,
        now,
        input,
        actions,
        delivered,
        core,
        deadline: core.poll_timeout(),
    })
}
