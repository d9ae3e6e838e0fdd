//! The ledger of what the node's state holds, and what gives way when it holds too much ([`crate::memory`]).

use super::{Node, NodeState};
use crate::conn::outbox::Class;
use crate::conn::trim::Worth;
use crate::input::Action;
use crate::memory::{
    CONNECTION_BYTES, FRAME_BYTES, HANDSHAKE_BYTES, HASH_BYTES, Ledger, MESSAGE_BYTES, OP_BYTES, PEER_BYTES,
    Part, SEEN_BYTES, Shed, TARGET_BYTES,
};
use crate::sink::Sink;
use crate::time::Now;

/// Bytes of the state by part. The work does not grow with what is held.
pub(super) fn ledger(state: &NodeState) -> Ledger {
    let priced = |count: usize, price: u64| (count as u64).saturating_mul(price);
    let mut ledger = Ledger::default();
    let (cache, seen, conns) = (state.router.cache(), state.router.seen(), &state.conns);
    ledger.add(Part::Cache, cache.bytes().saturating_add(priced(cache.len(), MESSAGE_BYTES)));
    for (part, class) in
        [(Part::Own, Class::High), (Part::Forwards, Class::Normal), (Part::Bulk, Class::Bulk)]
    {
        let of = conns.outboxes().outcomes(class);
        ledger.add(part, of.waiting_bytes.saturating_add(of.waiting().saturating_mul(FRAME_BYTES)));
    }
    ledger.add(Part::Connections, priced(conns.table().connection_count(), CONNECTION_BYTES));
    ledger.add(Part::Connections, priced(conns.table().pending_count(), HANDSHAKE_BYTES));
    let (checks, ids, refused) = seen.len();
    ledger.add(Part::Seen, priced(ids.saturating_add(refused), SEEN_BYTES));
    ledger.add(Part::Checks, seen.pending_bytes().saturating_add(priced(checks, MESSAGE_BYTES)));
    let teranode = &state.teranode;
    let (blocks, subtrees) = teranode.origins().len();
    let peers = teranode.registry().len().max(conns.book().len()).max(teranode.bans().len());
    ledger.add(Part::Known, priced(peers, PEER_BYTES));
    ledger.add(Part::Known, priced(blocks.saturating_add(subtrees) / 2, HASH_BYTES));
    ledger.add(Part::Known, priced(teranode.repeats().len(), HASH_BYTES));
    ledger.add(Part::Known, priced(conns.dialer().len(), TARGET_BYTES));
    ledger.add(Part::Operations, priced(state.ops.len(), OP_BYTES));
    ledger
}

impl Node {
    /// Whether a further connection would be too much even if all were given up that can be at once.
    pub(super) fn is_short_of_memory(&self) -> bool {
        let Some(most) = self.config.limits.memory_max else { return false };
        ledger(&self.state).firm().saturating_add(CONNECTION_BYTES) > most
    }

    /// Gives up what is too much, in the order of [`Shed::ORDER`]; newcomers are refused when they come. A connection that is
    /// being closed is given up already, however long its end takes.
    pub(super) fn relieve(&mut self, now: Now, out: &mut impl Sink<Action>) {
        let Some(most) = self.config.limits.memory_max else { return };
        let excess = |state: &NodeState| {
            ledger(state).total().saturating_sub(most).saturating_sub(state.conns.closing_bytes())
        };
        if excess(&self.state) == 0 {
            return;
        }
        while excess(&self.state) > 0 {
            let Some((messages, bytes)) = self.state.router.shed_cache() else { break };
            self.state.counters.shed.count(Shed::Cache, messages, bytes);
        }
        for (what, class) in [(Shed::Bulk, Class::Bulk), (Shed::Forwards, Class::Normal)] {
            let (frames, bytes) = match excess(&self.state) {
                0 => return,
                excess => self.state.conns.outboxes_mut().shed(class, excess),
            };
            self.state.counters.shed.count(what, frames, bytes);
        }
        let excess = excess(&self.state);
        let (mut cx, parts) = self.split(now, out);
        let interests = parts.interests;
        parts.conns.shed(&mut cx, excess, |peer| match interests.in_mesh(peer) {
            true => Worth::Protected,
            false => Worth::Points(interests.topic_count(peer)),
        });
    }
}
