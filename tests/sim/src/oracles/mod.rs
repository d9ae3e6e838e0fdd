//! Oracles: what must hold after every input. One file each; each is seen failing once by its own test.

mod banned;
mod conservation;
mod deaf;
mod echo;
mod fair_share;
mod first_frame;
mod honest;
mod limits;
mod ops;
mod per_peer;
mod private_dial;
pub mod replay;
mod reports;
mod spin;
mod stale;
#[cfg(test)]
mod testing;

use peerage_core::conn::ConnectionId;
use peerage_core::time::{Deadline, Now};
use peerage_core::{Action, Input, Node};
use peerage_proto::peer_id::PeerId;

pub use banned::Banned;
pub use conservation::Conservation;
pub use deaf::Deaf;
pub use echo::Echo;
pub use fair_share::FairShare;
pub use first_frame::FirstFrame;
pub use honest::Honest;
pub use limits::WithinLimits;
pub use ops::Completions;
pub use per_peer::PerPeer;
pub use private_dial::PrivateDial;
pub use reports::Reports;
pub use spin::Spin;
pub use stale::Stale;

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
}

/// A node that was fed.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Which node.
    pub node: usize,
    /// The input's time.
    pub now: Now,
    /// The input.
    pub input: &'a Input,
    /// Its consequences.
    pub actions: &'a [Action],
    /// The node after it.
    pub core: &'a Node,
    /// Its deadline after it.
    pub deadline: Option<Deadline>,
}

/// A message sent over a link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transmit {
    /// By this node or puppet.
    pub from: usize,
    /// To this peer.
    pub to: PeerId,
    /// From whom the sender has it; none: it is the author.
    pub came_from: Option<PeerId>,
    /// Who wrote it.
    pub author: PeerId,
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

    /// A message is sent.
    ///
    /// # Errors
    /// What must not be.
    fn transmitted(&mut self, _transmit: &Transmit) -> Result<(), String> {
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
        Box::new(Echo),
        Box::new(Banned::default()),
        Box::new(Reports),
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
