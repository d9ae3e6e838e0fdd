//! Where we are reached: what each address of ours is good for, and what is done for more of them.

use std::time::Instant;

use libp2p::Multiaddr as StockAddr;
use libp2p::core::transport::ListenerId;
use peerage_core::conn::Event;
use peerage_proto::ip::is_private;

use super::convert;
use super::driver::{Announce, P2p};
use super::upnp;

impl P2p {
    /// Asks for places on relays.
    pub(super) fn seek_relays(&mut self) {
        for (peer, addr) in self.reach.due(Instant::now()) {
            // An address that is none for the transport is the operator's, and told of by its dials.
            if let Ok(listener) = self.swarm.listen_on(addr) {
                self.reach.asked(peer, listener);
            }
        }
    }

    /// A relay has given us a place, which the library announces by itself.
    pub(super) fn on_place(&mut self, listener: ListenerId) {
        if let Some(addr) = self.reach.stands(listener).as_ref().and_then(convert::addr) {
            self.conn(Event::Listening { addr });
        }
    }

    /// A place is lost, or was not given: nothing that the node could not do without.
    pub(super) fn on_place_ended(&mut self, listener: ListenerId) {
        if let Some(addr) = self.reach.ended(listener).as_ref().and_then(convert::addr) {
            self.conn(Event::ListeningEnded { addr });
        }
    }

    /// Whether identify may tell this address of ours.
    pub(super) fn announces(&self, address: &StockAddr) -> bool {
        match &self.announce {
            Announce::Exactly(addrs) => {
                addrs.iter().filter_map(convert::libp2p_addr).any(|ours| ours == *address)
            }
            Announce::Listening { private } => *private || !convert::ip(address).is_some_and(is_private),
        }
    }

    /// An address that a socket of ours listens on, or does no more: what else it is good for.
    pub(super) fn on_interface(&mut self, address: &StockAddr, up: bool) {
        let Some(addr) = convert::addr(address) else { return };
        if let Some(mdns) = &self.mdns {
            if up { mdns.listening(&addr) } else { mdns.listening_ended(&addr) }
        }
        let Some(mapper) = &mut self.mapper else { return };
        if up {
            mapper.listening(&addr, Instant::now());
        } else if let Some(change) = mapper.listening_ended(&addr) {
            self.on_mapping(change);
        }
    }

    /// A gateway has a port for us, or has it no more.
    pub(super) fn on_mapping(&mut self, change: upnp::Change) {
        match change {
            upnp::Change::Mapped(addr) => {
                if let Some(address) = convert::libp2p_addr(&addr) {
                    self.on_listening(&address);
                }
            }
            upnp::Change::Ended(addr) => {
                if let Some(address) = convert::libp2p_addr(&addr) {
                    self.on_listening_ended(&address);
                }
            }
        }
    }

    pub(super) fn on_listening(&mut self, address: &StockAddr) {
        let Some(addr) = convert::addr(address) else { return };
        if let Announce::Listening { .. } = self.announce
            && self.announces(address)
        {
            self.swarm.add_external_address(address.clone());
        }
        self.conn(Event::Listening { addr });
    }

    pub(super) fn on_listening_ended(&mut self, address: &StockAddr) {
        let Some(addr) = convert::addr(address) else { return };
        if let Announce::Listening { .. } = self.announce {
            self.swarm.remove_external_address(address);
        }
        self.conn(Event::ListeningEnded { addr });
    }
}
