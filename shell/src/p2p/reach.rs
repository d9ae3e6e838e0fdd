//! To be reached behind a NAT: places on relays, while others cannot reach us (libp2p profile, section 4: the bootstrap
//! peers are the relays, as Go's AutoRelay takes them).

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use libp2p::autonat::NatStatus;
use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId, StreamProtocol, relay};

/// Relays on which we have a place at a time, as in Go.
pub const RELAYS_MAX: usize = 2;
/// Between two attempts at one relay.
pub const RETRY: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Relay {
    /// Its address and `/p2p-circuit`.
    circuit: Multiaddr,
    /// It is connected and says that it relays.
    serves: bool,
    listener: Option<ListenerId>,
    /// The place is ours.
    stands: bool,
    /// Not asked again before.
    not_before: Option<Instant>,
}

/// Which relays we may use, and on which we have a place.
#[derive(Debug, Default)]
pub struct Reach {
    relays: BTreeMap<PeerId, Relay>,
    listeners: HashMap<ListenerId, PeerId>,
    is_public: bool,
}

impl Reach {
    /// Relays are those of `peers` whose address names them; with none of them no place is ever asked for.
    pub fn new(peers: impl IntoIterator<Item = Multiaddr>) -> Self {
        let relay = |addr: Multiaddr| {
            let Some(Protocol::P2p(peer)) = addr.iter().last() else { return None };
            let circuit = addr.with(Protocol::P2pCircuit);
            Some((peer, Relay { circuit, serves: false, listener: None, stands: false, not_before: None }))
        };
        Self { relays: peers.into_iter().filter_map(relay).collect(), ..Self::default() }
    }

    /// A peer said what it speaks.
    pub fn identified(&mut self, peer: &PeerId, protocols: &[StreamProtocol]) {
        if let Some(relay) = self.relays.get_mut(peer) {
            relay.serves = protocols.contains(&relay::HOP_PROTOCOL_NAME);
        }
    }

    /// A peer's last connection ended.
    pub fn gone(&mut self, peer: &PeerId) {
        if let Some(relay) = self.relays.get_mut(peer) {
            relay.serves = false;
        }
    }

    /// What others found who tried to reach us.
    pub fn found(&mut self, status: &NatStatus) {
        self.is_public = status.is_public();
    }

    /// Where to ask for a place at `now`, by listening there: while nobody is known to reach us. A place that we have is
    /// kept, for stock libp2p panics when a relay's word comes after its listener was removed.
    pub fn due(&mut self, now: Instant) -> Vec<(PeerId, Multiaddr)> {
        let room = if self.is_public { 0 } else { RELAYS_MAX.saturating_sub(self.listeners.len()) };
        let due = |relay: &Relay| {
            relay.serves && relay.listener.is_none() && relay.not_before.is_none_or(|at| at <= now)
        };
        let due = self.relays.iter_mut().filter(|(_, relay)| due(relay)).take(room);
        due.map(|(peer, relay)| {
            relay.not_before = Some(now + RETRY);
            (*peer, relay.circuit.clone())
        })
        .collect()
    }

    /// The place at `peer` is this listener's.
    pub fn asked(&mut self, peer: PeerId, listener: ListenerId) {
        if let Some(relay) = self.relays.get_mut(&peer) {
            relay.listener = Some(listener);
            self.listeners.insert(listener, peer);
        }
    }

    /// Whether a listener is a place on a relay.
    pub fn is_place(&self, listener: ListenerId) -> bool {
        self.listeners.contains_key(&listener)
    }

    /// A relay has given us a place. The address by which we know the relay, once: others that it tells are its own word.
    pub fn stands(&mut self, listener: ListenerId) -> Option<Multiaddr> {
        let relay = self.relays.get_mut(self.listeners.get(&listener)?)?;
        (!std::mem::replace(&mut relay.stands, true)).then(|| relay.circuit.clone())
    }

    /// A place is lost, or was not given; it may be asked for again. The address, if it stood.
    pub fn ended(&mut self, listener: ListenerId) -> Option<Multiaddr> {
        let relay = self.relays.get_mut(&self.listeners.remove(&listener)?)?;
        relay.listener = None;
        std::mem::take(&mut relay.stands).then(|| relay.circuit.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relay(number: u16) -> (PeerId, Multiaddr) {
        let peer = PeerId::random();
        (peer, format!("/ip4/127.0.0.1/tcp/{number}/p2p/{peer}").parse().unwrap())
    }

    #[test]
    fn places_are_asked_for_at_two_relays_that_serve_and_again_after_a_while() {
        let relays = [relay(1), relay(2), relay(3)];
        let nameless = "/ip4/127.0.0.1/tcp/4".parse().unwrap();
        let mut reach = Reach::new(relays.iter().map(|(_, addr)| addr.clone()).chain([nameless]));
        let now = Instant::now();
        assert!(reach.due(now).is_empty(), "nobody has said that it relays");
        relays.iter().for_each(|(peer, _)| reach.identified(peer, &[relay::HOP_PROTOCOL_NAME]));
        reach.identified(&PeerId::random(), &[relay::HOP_PROTOCOL_NAME]);
        let due = reach.due(now);
        assert_eq!(due.len(), RELAYS_MAX);
        let ids = due.into_iter().map(|(peer, addr)| {
            let known = relays.iter().find(|(id, _)| *id == peer).unwrap();
            assert_eq!(addr, known.1.clone().with(Protocol::P2pCircuit));
            let id = ListenerId::next();
            reach.asked(peer, id);
            (peer, id)
        });
        let ids: Vec<_> = ids.collect();
        assert!(reach.due(now + RETRY).is_empty(), "there are two");
        let (lost, id) = ids[0];
        reach.gone(&lost);
        let circuit = reach.stands(id);
        assert!(circuit.is_some() && reach.is_place(id));
        assert_eq!(reach.stands(id), None, "it is told once");
        assert_eq!(reach.ended(id), circuit);
        assert!(!reach.is_place(id) && reach.ended(id).is_none());
        assert_eq!(reach.due(now).len(), 1, "the third instead");
        reach.identified(&lost, &[relay::HOP_PROTOCOL_NAME]);
        assert!(reach.due(now).is_empty(), "each was asked just now");
        assert_eq!(reach.due(now + RETRY).len(), 1, "one place is free");
    }

    #[test]
    fn whoever_is_reached_directly_asks_for_no_place() {
        let (peer, addr) = relay(1);
        let mut reach = Reach::new([addr]);
        reach.identified(&peer, &[relay::HOP_PROTOCOL_NAME]);
        let now = Instant::now();
        reach.found(&NatStatus::Public("/ip4/203.0.113.7/tcp/1".parse().unwrap()));
        assert!(reach.due(now).is_empty());
        reach.found(&NatStatus::Private);
        assert_eq!(reach.due(now).len(), 1);
        let id = ListenerId::next();
        reach.asked(peer, id);
        assert_eq!(reach.ended(id), None, "it was not given");
        assert!(reach.due(now).is_empty(), "it was asked just now");
        assert_eq!(reach.due(now + RETRY).len(), 1);
    }
}
