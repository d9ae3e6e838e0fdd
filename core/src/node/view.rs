//! A read-only view of a node, for status, metrics and oracles.

use super::{Health, Node};
use crate::conn::Connections;
use crate::explain::counters::Counters;
use crate::gossipsub::interest::Interests;
use crate::gossipsub::router::Router;
use crate::gossipsub::watchdog::Watchdog;
use crate::memory::Ledger;
use crate::node::ctx::Purpose;
use crate::op::Ops;
use crate::teranode::Service;
use crate::time::Now;

/// What may be read.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    node: &'a Node,
}

impl<'a> View<'a> {
    pub(super) fn new(node: &'a Node) -> Self {
        Self { node }
    }

    /// Time of the last input.
    pub fn last(&self) -> Now {
        self.node.state.last
    }

    /// Connections, dialler, addresses.
    pub fn conns(&self) -> &'a Connections {
        &self.node.state.conns
    }

    /// The pubsub router.
    pub fn router(&self) -> &'a Router {
        &self.node.state.router
    }

    /// What was asked of the router at the last input.
    #[cfg(any(test, feature = "sim"))]
    pub fn asked(&self) -> &'a [crate::gossipsub::Command] {
        &self.node.asked
    }

    /// Subscriptions and mesh membership.
    pub fn interests(&self) -> &'a Interests {
        &self.node.state.interests
    }

    /// Who is watched for silence.
    pub fn watchdog(&self) -> &'a Watchdog {
        &self.node.state.watchdog
    }

    /// The Teranode service.
    pub fn teranode(&self) -> &'a Service {
        &self.node.state.teranode
    }

    /// Counters of every outcome.
    pub fn counters(&self) -> &'a Counters {
        &self.node.state.counters
    }

    /// Operations pending.
    pub fn ops(&self) -> &'a Ops<Purpose> {
        &self.node.state.ops
    }

    /// Which neighbours work.
    pub fn health(&self) -> &'a Health {
        &self.node.state.health
    }

    /// Bytes of what is held, by part.
    pub fn ledger(&self) -> Ledger {
        super::memory::ledger(&self.node.state)
    }

    /// Whether `Stop` was fed.
    pub fn is_stopped(&self) -> bool {
        self.node.state.is_stopped
    }
}
