//! A node to show oracles, and violations to feed them.

use bytes::Bytes;
use peerage_core::codec;
use peerage_core::conn::{self, ConnectionId, Direction};
use peerage_core::gossipsub::{self, MessageId};
use peerage_core::op::OpId;
use peerage_core::state::Alter as _;
use peerage_core::teranode::TopicKind;
use peerage_core::time::Now;
use peerage_core::{Action, Config, Core as _, Input, Node};
use peerage_proto::peer_id::PeerId;

use super::{Before, Oracle, Seen};
use crate::world::{self, Options};

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
    let mut node = node_of(config);
    let (peer, addr) = (peer(9), "/ip4/20.9.9.9/tcp/1".parse().unwrap());
    let direction = Direction::Outbound(None);
    let events = [
        Input::Conn(conn::Event::Established { id: ConnectionId(1), peer, addr, direction }),
        Input::Gossipsub(gossipsub::Event::Subscribed { peer, topic }),
        Input::Gossipsub(gossipsub::Event::Mesh { peer, member: true }),
    ];
    for event in events {
        node.handle(Now::at_secs(1), event, &mut Vec::new());
    }
    node
}

/// Alters the first leaf of the node's state whose path ends in `path`.
pub(super) fn alter(node: &mut Node, path: &str) {
    let mut leaves = Vec::new();
    node.state_mut().leaves("", &mut leaves);
    let mut nth = leaves.iter().position(|leaf| leaf.ends_with(path)).unwrap_or_else(|| panic!("{leaves:?}"));
    assert!(node.state_mut().alter(&mut nth));
}

pub(super) fn delivered(source: PeerId, data: &'static [u8]) -> Input {
    Input::Gossipsub(gossipsub::Event::Delivered {
        id: MessageId(Bytes::from_static(b"id")),
        topic: config().teranode.topic(TopicKind::Block),
        propagation_source: peer(9),
        source,
        data: Bytes::from_static(data),
    })
}

pub(super) fn report(acceptance: gossipsub::Acceptance) -> Action {
    let (id, propagation_source) = (MessageId(Bytes::from_static(b"id")), peer(9));
    Action::Gossipsub(gossipsub::Action::Report { id, propagation_source, acceptance })
}

pub(super) fn before(oracle: &mut impl Oracle, core: &Node, now: Now, input: &Input) {
    oracle.before(&Before { node: 0, now, input, core, deadline: core.poll_timeout() });
}

pub(super) fn after(
    oracle: &mut impl Oracle,
    core: &Node,
    now: Now,
    input: &Input,
    actions: &[Action],
) -> Result<(), String> {
    oracle.after(&Seen { node: 0, now, input, actions, core, deadline: core.poll_timeout() })
}
