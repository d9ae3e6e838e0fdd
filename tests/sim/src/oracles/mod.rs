//! Oracles: what must hold after every input. One file each; each is seen failing once by its own test.

mod banned;
mod conservation;
mod deaf;
mod echo;
mod fair_share;
mod first_frame;
mod honest;
mod limits;
mod meshes;
mod ops;
mod per_peer;
mod private_dial;
mod promises;
pub mod replay;
mod reports;
mod spin;
mod stale;
mod streams;
#[cfg(test)]
mod testing;
mod verified;

use bytes::Bytes;
use peerage_core::conn::ConnectionId;
use peerage_core::gossipsub::{Acceptance, stream};
use peerage_core::time::{Deadline, Now};
use peerage_core::{Action, Input, Node};
use peerage_proto::peer_id::PeerId;
use peerage_proto::pubsub::{Rpc, RpcLimits};

use crate::world::{Heard, Heards};

pub use banned::Banned;
pub use conservation::Conservation;
pub use deaf::Deaf;
pub use echo::Echo;
pub use fair_share::FairShare;
pub use first_frame::FirstFrame;
pub use honest::Honest;
pub use limits::WithinLimits;
pub use meshes::Meshes;
pub use ops::Completions;
pub use per_peer::PerPeer;
pub use private_dial::PrivateDial;
pub use promises::Promises;
pub use reports::Reports;
pub use spin::Spin;
pub use stale::Stale;
pub use streams::Streams;
pub use verified::Verified;

/// A node that is about to be fed.
#[derive(Clone, Copy, Debug)]
pub struct Before<'a> {
    /// Which node.
    pub node: usize,
    /// The input's time.
    pub now: Now,
    /// The input.
    pub input: &'a Input,
    /// The node before it.
    pub core: &'a Node,
    /// Its deadline before it.
    pub deadline: Option<Deadline>,
    /// Messages that were found true and have no verdict yet: this input may bring it.
    pub heard: &'a Heards,
}

/// A node that was fed.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Which node.
    pub node: usize,
    /// The world's time, in microseconds.
    pub at: u64,
    /// The input's time at the node.
    pub now: Now,
    /// The input.
    pub input: &'a Input,
    /// Its consequences.
    pub actions: &'a [Action],
    /// Messages that its families judged.
    pub delivered: &'a [Delivered],
    /// The node after it.
    pub core: &'a Node,
    /// Its deadline after it.
    pub deadline: Option<Deadline>,
}

/// A message that the families of a node judged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivered {
    /// Its id.
    pub id: Bytes,
    /// Author, topic, payload.
    pub heard: Heard,
    /// Who sent it.
    pub propagation_source: PeerId,
    /// The verdict.
    pub acceptance: Acceptance,
}

/// Watches every input of every node.
pub trait Oracle {
    /// Its name.
    fn name(&self) -> &'static str;

    /// A node is about to be fed.
    fn before(&mut self, _before: &Before<'_>) {}

    /// A node was fed.
    ///
    /// # Errors
    /// What must not be.
    fn after(&mut self, _seen: &Seen<'_>) -> Result<(), String> {
        Ok(())
    }

    /// What comes to a node over this connection is not heard any more.
    fn choked(&mut self, _node: usize, _id: ConnectionId) {}

    /// A node's process is gone.
    fn died(&mut self, _node: usize) {}
}

/// Every oracle.
pub fn all() -> Vec<Box<dyn Oracle>> {
    vec![
        Box::new(WithinLimits),
        Box::new(FairShare::default()),
        Box::new(Conservation),
        Box::new(PerPeer),
        Box::new(Echo::default()),
        Box::new(Verified::default()),
        Box::new(Meshes::default()),
        Box::new(Streams::default()),
        Box::new(Promises::default()),
        Box::new(Banned::default()),
        Box::new(Reports::default()),
        Box::new(Completions::default()),
        Box::new(FirstFrame::default()),
        Box::new(Spin::default()),
        Box::new(Stale::default()),
        Box::new(PrivateDial),
        Box::new(Deaf::default()),
        Box::new(Honest::default()),
    ]
}

/// An error unless `holds`.
fn ensure(holds: bool, problem: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(problem()) }
}

/// Frames that a node sends, and to whom: in the order of the actions.
fn frames_sent<'a>(seen: &Seen<'a>) -> Vec<(PeerId, &'a Bytes)> {
    let table = seen.core.view().conns().table();
    let mut sent = Vec::new();
    for action in seen.actions {
        if let Action::Gossipsub(stream::Action::Send { connection, frames }) = action
            && let Some(peer) = table.get(*connection).map(|entry| entry.peer)
        {
            sent.extend(frames.iter().map(|frame| (peer, frame)));
        }
    }
    sent
}

/// An RPC, without its length.
fn read(frame: &[u8]) -> Option<Rpc<'_>> {
    Rpc::decode(frame, &RpcLimits::default()).ok()
}

/// An RPC after its length.
fn read_sent(frame: &[u8]) -> Option<Rpc<'_>> {
    let length = frame.iter().position(|byte| byte & 0x80 == 0)? + 1;
    read(frame.get(length..)?)
}
