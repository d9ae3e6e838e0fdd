//! Names of connections: the core's numbers and libp2p's, and what each waits for.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use futures::channel::oneshot;
use libp2p::swarm;
use peerage_core::conn::{ConnectionId, PendingId};
use peerage_core::op::OpId;

use super::budget::Meter;

/// Every connection, handshake and dial that stands.
#[derive(Debug, Default)]
pub struct Links {
    next: u64,
    by_swarm: HashMap<swarm::ConnectionId, ConnectionId>,
    by_core: BTreeMap<ConnectionId, swarm::ConnectionId>,
    pending: HashMap<swarm::ConnectionId, PendingId>,
    waiting: BTreeMap<PendingId, oneshot::Sender<()>>,
    /// Handshakes that can be cut.
    cuts: BTreeMap<PendingId, oneshot::Sender<()>>,
    dials: HashMap<swarm::ConnectionId, OpId>,
    closing: HashSet<swarm::ConnectionId>,
    traffic: BTreeMap<ConnectionId, Counter>,
}

/// What came in on a connection, and how many bytes of it the core was told about.
#[derive(Debug)]
struct Counter {
    meter: Arc<Meter>,
    told: u64,
}

impl Links {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// A socket was accepted; `admit` lets its handshake begin, and `cut` ends it.
    pub fn arrived(
        &mut self,
        id: swarm::ConnectionId,
        admit: oneshot::Sender<()>,
        cut: oneshot::Sender<()>,
    ) -> PendingId {
        let pending = PendingId(self.number());
        self.pending.insert(id, pending);
        self.waiting.insert(pending, admit);
        self.cuts.insert(pending, cut);
        pending
    }

    /// Lets a handshake begin.
    pub fn admit(&mut self, pending: PendingId) {
        if let Some(admit) = self.waiting.remove(&pending) {
            // It fails only when the socket has gone meanwhile, which is reported on its own.
            let _ = admit.send(());
        }
    }

    /// Drops an accepted socket, whether its handshake has begun or not.
    pub fn refuse(&mut self, pending: PendingId) {
        let waits = self.waiting.remove(&pending).is_some();
        let cut = self.cuts.remove(&pending);
        if let (false, Some(cut)) = (waits, cut) {
            // It fails only when the socket has gone meanwhile, which is reported on its own.
            let _ = cut.send(());
        }
    }

    /// A handshake ended, well or not.
    pub fn handshake_ended(&mut self, id: swarm::ConnectionId) -> Option<PendingId> {
        let pending = self.pending.remove(&id)?;
        self.waiting.remove(&pending);
        self.cuts.remove(&pending);
        Some(pending)
    }

    /// A dial begins.
    pub fn dialling(&mut self, id: swarm::ConnectionId, op: OpId) {
        self.dials.insert(id, op);
    }

    /// A dial ended, well or not.
    pub fn dial_ended(&mut self, id: swarm::ConnectionId) -> Option<OpId> {
        self.dials.remove(&id)
    }

    /// A connection stands.
    pub fn established(&mut self, id: swarm::ConnectionId) -> ConnectionId {
        let number = ConnectionId(self.number());
        self.by_swarm.insert(id, number);
        self.by_core.insert(number, id);
        number
    }

    /// The core's name of a connection.
    pub fn of(&self, id: swarm::ConnectionId) -> Option<ConnectionId> {
        self.by_swarm.get(&id).copied()
    }

    /// libp2p's name of a connection.
    pub fn named(&self, id: ConnectionId) -> Option<swarm::ConnectionId> {
        self.by_core.get(&id).copied()
    }

    /// Counts what comes in on a connection.
    pub fn count(&mut self, id: ConnectionId, meter: Arc<Meter>) {
        self.traffic.insert(id, Counter { meter, told: 0 });
    }

    /// Every connection with its meter, but for those that are being closed.
    pub fn meters(&self) -> impl Iterator<Item = (ConnectionId, swarm::ConnectionId, &Meter)> {
        let named =
            self.traffic.iter().filter_map(|(id, counter)| Some((id, self.by_core.get(id)?, counter)));
        let named = named.filter(|(_, stock, _)| !self.closing.contains(stock));
        named.map(|(id, stock, counter)| (*id, *stock, &*counter.meter))
    }

    /// Connections on which at least `bytes_min` came in since this was asked last.
    pub fn received(&mut self, bytes_min: u64) -> Vec<(ConnectionId, u64)> {
        let news = |(id, counter): (&ConnectionId, &mut Counter)| {
            let bytes = counter.meter.bytes();
            let new = bytes - core::mem::replace(&mut counter.told, bytes);
            (new >= bytes_min).then_some((*id, new))
        };
        self.traffic.iter_mut().filter_map(news).collect()
    }

    /// libp2p's name of a connection that is now to be closed.
    pub fn closing(&mut self, id: ConnectionId) -> Option<swarm::ConnectionId> {
        let id = *self.by_core.get(&id)?;
        self.closing.insert(id);
        Some(id)
    }

    /// A connection ended; says whether we asked for it.
    pub fn closed(&mut self, id: swarm::ConnectionId) -> Option<(ConnectionId, bool)> {
        let number = self.by_swarm.remove(&id)?;
        self.by_core.remove(&number);
        self.traffic.remove(&number);
        Some((number, self.closing.remove(&id)))
    }

    /// Whether nothing is left: every connection, handshake and dial has ended.
    pub fn is_empty(&self) -> bool {
        self.by_swarm.is_empty() && self.pending.is_empty() && self.cuts.is_empty() && self.dials.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn swarm_id(number: usize) -> swarm::ConnectionId {
        swarm::ConnectionId::new_unchecked(number)
    }

    #[test]
    fn nothing_is_left_of_a_connection_that_ended() {
        let mut links = Links::default();
        let (admit, mut admitted) = oneshot::channel();
        let pending = links.arrived(swarm_id(1), admit, oneshot::channel().0);
        links.admit(pending);
        assert_eq!(admitted.try_recv(), Ok(Some(())));
        assert_eq!(links.handshake_ended(swarm_id(1)), Some(pending));
        let id = links.established(swarm_id(1));
        assert_eq!((links.of(swarm_id(1)), links.named(id)), (Some(id), Some(swarm_id(1))));
        assert_eq!(links.closing(id), Some(swarm_id(1)));
        assert_eq!(links.closed(swarm_id(1)), Some((id, true)));
        assert_eq!((links.of(swarm_id(1)), links.named(id)), (None, None));
        assert!(
            links.is_empty()
                && links.closing.is_empty()
                && links.waiting.is_empty()
                && links.by_core.is_empty()
        );
    }

    #[test]
    fn only_what_is_new_and_enough_is_told() {
        let mut links = Links::default();
        let id = links.established(swarm_id(1));
        let meter = Arc::<Meter>::default();
        meter.add(5000);
        links.count(id, Arc::clone(&meter));
        assert_eq!(links.received(4096), [(id, 5000)]);
        meter.add(100);
        assert!(links.received(4096).is_empty());
        links.closed(swarm_id(1));
        assert!(links.traffic.is_empty());
    }

    #[test]
    fn a_handshake_that_has_begun_is_cut_and_one_that_has_ended_is_left_alone() {
        let mut links = Links::default();
        for ended in [false, true] {
            let (admit, _admitted) = oneshot::channel();
            let (cut, mut is_cut) = oneshot::channel();
            let pending = links.arrived(swarm_id(1), admit, cut);
            links.admit(pending);
            if ended {
                links.handshake_ended(swarm_id(1));
            }
            links.refuse(pending);
            assert_eq!(is_cut.try_recv(), if ended { Err(oneshot::Canceled) } else { Ok(Some(())) });
            links.handshake_ended(swarm_id(1));
        }
        assert!(links.is_empty());
    }

    #[test]
    fn refusing_drops_the_socket() {
        let mut links = Links::default();
        let (admit, mut admitted) = oneshot::channel();
        let pending = links.arrived(swarm_id(1), admit, oneshot::channel().0);
        links.refuse(pending);
        assert!(admitted.try_recv().is_err(), "the waiting handshake sees its word-giver gone");
        assert_eq!(links.handshake_ended(swarm_id(1)), Some(pending));
        assert!(links.is_empty());
    }

    #[test]
    fn numbers_are_never_used_again() {
        let mut links = Links::default();
        let first = links.established(swarm_id(1));
        links.closed(swarm_id(1));
        assert_ne!(links.established(swarm_id(1)), first);
    }
}
