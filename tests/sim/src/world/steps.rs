//! Steps applied to a world.

use peerage_core::Input;
use peerage_core::input::Neighbour;
use peerage_core::teranode::chain::Event as ChainEvent;
use peerage_core::teranode::feed;
use peerage_core::time::{Instant, Now};

use super::{Fault, World, hash_of};
use crate::step::Step;

impl World {
    /// Applies one step. After a violation nothing happens any more.
    pub fn apply(&mut self, step: Step) {
        if self.violation.is_some() {
            return;
        }
        let count = self.nodes.len() as u64;
        let at = |node: u64| (node % count) as usize;
        match step {
            Step::Advance { ms } => self.run_ms(ms),
            Step::Mine { node } => drop(self.mine(at(node))),
            Step::Subtree { node, salt } => {
                // Some are announced again.
                self.announce(node, salt % 1000);
            }
            Step::Reject { node, salt } => self.reject(at(node), salt),
            Step::Crash { node } => {
                let after = self.dice.roll(5);
                let state = &mut self.nodes[at(node)];
                state.doomed = state.pump.as_ref().map(|_| after);
            }
            Step::Restart { node } => self.restart(at(node)),
            Step::Stop { node } => self.stop(at(node)),
            Step::Pause { node, ms } => self.nodes[at(node)].paused_until = self.now + ms * 1000,
            Step::Partition { mask } => self.partition(mask),
            Step::Heal {} => self.partition(0),
            Step::Reset { link } => self.reset(link),
            Step::Choke { link, kib } => drop(self.choke(link, kib)),
            Step::EndStream { link } => self.end_stream(link),
            Step::Broker { node, state } => {
                self.nodes[at(node)].broker_state = state;
                self.set_health(at(node), Neighbour::Broker, state % 3 != 1);
            }
            Step::Chain { node, state } => {
                self.nodes[at(node)].chain_state = state;
                let up = state.is_multiple_of(2);
                self.chain_event(at(node), if up { ChainEvent::Connected } else { ChainEvent::Disconnected });
                self.set_health(at(node), Neighbour::Chain, up);
            }
            Step::Fsm { node, state } => self.set_fsm(at(node), state),
            Step::Store { node, state } => {
                self.nodes[at(node)].store_state = state;
                self.set_health(at(node), Neighbour::Store, state % 3 != 1);
            }
            Step::FeedJoin { node } => self.join_feed(at(node)),
            Step::FeedLeave { node, client } => {
                if let Some(id) = self.client(at(node), client) {
                    self.nodes[at(node)].clients.remove(&id);
                    self.feed_event(at(node), feed::Event::Left { id });
                }
            }
            Step::FeedLag { node, client } => {
                if let Some(id) = self.client(at(node), client) {
                    self.feed_event(at(node), feed::Event::Lagged { id });
                }
            }
            Step::Puppet { puppet, node, kind, salt } => {
                if let Some(puppet) = self.some_puppet(puppet) {
                    self.puppet(puppet, at(node), kind, salt);
                }
            }
            Step::PuppetLeave { puppet } => {
                if let Some(puppet) = self.some_puppet(puppet) {
                    self.puppet_leave(puppet);
                }
            }
            Step::Found { node, other, kind } => {
                let kind = if self.options.has(Fault::Address) { kind } else { 0 };
                self.found(at(node), other, kind);
            }
            Step::Spurious { node } => self.feed(at(node), Input::Timeout),
            Step::Stale { node, ms } => self.stale(at(node), ms),
            Step::WallStep { node, secs } => {
                self.nodes[at(node)].clock.wall_offset_ms += secs % 100_000 * 1000
            }
        }
    }

    /// A node announces the subtree with this number. After the last node comes the first.
    pub fn announce(&mut self, node: u64, salt: u64) {
        let node = (node % self.nodes.len() as u64) as usize;
        let hash = hash_of("subtree", salt).0.to_vec().into();
        self.chain_event(node, ChainEvent::Subtree { hash });
    }

    fn some_puppet(&self, puppet: u64) -> Option<usize> {
        let count = self.puppets.len() as u64;
        (count > 0).then(|| (puppet % count) as usize)
    }

    /// A node is told to stop and ends when its goodbyes are said.
    fn stop(&mut self, node: usize) {
        self.feed(node, Input::Stop);
        self.feed(node, Input::Timeout);
        self.kill(node);
    }

    fn stale(&mut self, node: usize, ms: u64) {
        let now = self.nodes[node].clock.now(self.now);
        let micros = now.mono.as_micros().saturating_sub(ms * 1000 + 1);
        self.feed_at(node, Now { mono: Instant::from_micros(micros), ..now }, Input::Timeout);
    }
}
