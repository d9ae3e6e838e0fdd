//! Who is connected.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::IpAddr;

use peerage_proto::ip::{self, Subnet};
use peerage_proto::multiaddr::Multiaddr;
use peerage_proto::peer_id::PeerId;

use super::{ConnectionId, Direction, PendingId};
use crate::state::state;
use crate::time::Instant;

state! {
    /// One established connection.
    #[derive(Clone, Debug)]
    pub struct Connection {
        /// With whom.
        pub peer: PeerId,
        /// The other end.
        pub addr: Multiaddr,
        /// Who opened it.
        pub direction: Direction,
        /// Since when.
        pub since: Instant,
    }
}

state! {
    /// One accepted socket without a finished handshake.
    #[derive(Clone, Debug)]
    pub struct Pending {
        /// The other end.
        pub addr: Multiaddr,
        /// Whether it was let in; else it only waits for its end.
        pub admitted: bool,
    }
}

state! {
    /// What one address, or one network, holds.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Held {
        /// Connections.
        pub connections: u32,
        /// Unfinished handshakes that were let in.
        pub pending: u32,
    }
}

impl Held {
    /// Connections and handshakes.
    pub const fn all(self) -> u32 {
        self.connections.saturating_add(self.pending)
    }

    const fn is_nothing(self) -> bool {
        self.all() == 0
    }
}

state! {
    /// Connections and unfinished handshakes, with a count by address and by network: who dials in costs no walk.
    #[derive(Clone, Debug, Default)]
    pub struct Table {
        connections: BTreeMap<ConnectionId, Connection>,
        peers: BTreeMap<PeerId, Vec<ConnectionId>>,
        pending: BTreeMap<PendingId, Pending>,
        admitted: u32,
        by_address: BTreeMap<IpAddr, Held>,
        by_subnet: BTreeMap<Subnet, Held>,
    }
}

impl Table {
    /// Enters a connection. `true` if it is the peer's first.
    pub fn establish(&mut self, id: ConnectionId, connection: Connection) -> bool {
        // No shell gives an id twice; if one did, the former connection would be lost.
        self.close(id);
        let ids = self.peers.entry(connection.peer).or_default();
        let first = ids.is_empty();
        ids.push(id);
        self.count(&connection.addr, |held| held.connections = held.connections.saturating_add(1));
        self.connections.insert(id, connection);
        first
    }

    /// Takes a connection out. `true` beside it if it was the peer's last.
    pub fn close(&mut self, id: ConnectionId) -> Option<(Connection, bool)> {
        let connection = self.connections.remove(&id)?;
        self.count(&connection.addr, |held| held.connections = held.connections.saturating_sub(1));
        let ids = self.peers.get_mut(&connection.peer)?;
        ids.retain(|other| *other != id);
        let last = ids.is_empty();
        if last {
            self.peers.remove(&connection.peer);
        }
        Some((connection, last))
    }

    /// Enters an accepted socket.
    pub fn accept(&mut self, id: PendingId, pending: Pending) {
        self.end_pending(id);
        if pending.admitted {
            self.admitted = self.admitted.saturating_add(1);
            self.count(&pending.addr, |held| held.pending = held.pending.saturating_add(1));
        }
        self.pending.insert(id, pending);
    }

    /// The oldest unfinished handshake of the network that holds most of them, if that is more than the network of `addr`
    /// holds.
    pub fn crowding(&self, addr: &Multiaddr) -> Option<PendingId> {
        let held = |addr: &Multiaddr| addr.ip().map_or(0, |address| self.of_subnet(address).pending);
        let admitted = || self.pending.iter().filter(|(_, pending)| pending.admitted);
        let most = admitted().map(|(_, pending)| held(&pending.addr)).max()?;
        let (oldest, _) = admitted().find(|(_, pending)| held(&pending.addr) == most)?;
        (most > held(addr)).then_some(*oldest)
    }

    /// An unfinished handshake gives its place to another. It is gone when the shell says so.
    pub fn displace(&mut self, id: PendingId) {
        if let Some(pending) = self.end_pending(id) {
            self.accept(id, Pending { admitted: false, ..pending });
        }
    }

    /// Takes an accepted socket out.
    pub fn end_pending(&mut self, id: PendingId) -> Option<Pending> {
        let pending = self.pending.remove(&id)?;
        if pending.admitted {
            self.admitted = self.admitted.saturating_sub(1);
            self.count(&pending.addr, |held| held.pending = held.pending.saturating_sub(1));
        }
        Some(pending)
    }

    /// Changes what the address of `addr` and its network hold.
    fn count(&mut self, addr: &Multiaddr, change: impl Fn(&mut Held)) {
        let Some(address) = addr.ip().map(ip::unmap) else { return };
        let of_address = self.by_address.entry(address).or_default();
        change(of_address);
        if of_address.is_nothing() {
            self.by_address.remove(&address);
        }
        let of_subnet = self.by_subnet.entry(Subnet::of(address)).or_default();
        change(of_subnet);
        if of_subnet.is_nothing() {
            self.by_subnet.remove(&Subnet::of(address));
        }
    }

    /// One connection.
    pub fn get(&self, id: ConnectionId) -> Option<&Connection> {
        self.connections.get(&id)
    }

    /// Whether `peer` has at least one connection.
    pub fn is_connected(&self, peer: &PeerId) -> bool {
        self.peers.contains_key(peer)
    }

    /// The connections of `peer`, oldest first.
    pub fn of_peer(&self, peer: &PeerId) -> &[ConnectionId] {
        self.peers.get(peer).map_or(&[], Vec::as_slice)
    }

    /// Connected peers, in order of their ids.
    pub fn peers(&self) -> impl Iterator<Item = &PeerId> {
        self.peers.keys()
    }

    /// Number of connected peers.
    pub fn peer_count(&self) -> usize {
        self.peers.len()
    }

    /// All connections, in order of their ids.
    pub fn connections(&self) -> impl Iterator<Item = (ConnectionId, &Connection)> {
        self.connections.iter().map(|(id, connection)| (*id, connection))
    }

    /// Number of connections.
    pub fn connection_count(&self) -> usize {
        self.connections.len()
    }

    /// Number of unfinished handshakes that were let in.
    pub fn pending_count(&self) -> usize {
        self.admitted as usize
    }

    /// What `address` holds; an IPv4-mapped one is taken as the IPv4 address inside.
    pub fn of_address(&self, address: IpAddr) -> Held {
        self.by_address.get(&ip::unmap(address)).copied().unwrap_or_default()
    }

    /// What the /24 or /48 of `address` holds.
    pub fn of_subnet(&self, address: IpAddr) -> Held {
        self.by_subnet.get(&Subnet::of(address)).copied().unwrap_or_default()
    }

    /// Full structural check: the counts are those of the connections and handshakes.
    ///
    /// # Errors
    /// What does not hold.
    pub fn check(&self) -> Result<(), &'static str> {
        let admitted = self.pending.values().filter(|pending| pending.admitted);
        if admitted.clone().count() != self.admitted as usize {
            return Err("handshakes that were let in are miscounted");
        }
        let mut counted = Self::default();
        for connection in self.connections.values() {
            counted.count(&connection.addr, |held| held.connections += 1);
        }
        for pending in admitted {
            counted.count(&pending.addr, |held| held.pending += 1);
        }
        let agree = counted.by_address == self.by_address && counted.by_subnet == self.by_subnet;
        if agree { Ok(()) } else { Err("connections by address or network are miscounted") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_counts_by_address_are_those_of_a_walk_after_any_history(
            steps in proptest::collection::vec((0..4u8, 0..6u64, 0..5u8), 0..60),
        ) {
            let mut table = Table::default();
            for (kind, id, host) in steps {
                let text = if host == 4 { "/ip6/2001:db8::1/tcp/1".into() } else { std::format!("/ip4/10.0.{}.{host}/tcp/1", host / 2) };
                let addr: Multiaddr = text.parse().unwrap();
                match kind {
                    0 => {
                        table.establish(ConnectionId(id), Connection { addr, ..connection(host) });
                    }
                    1 => drop(table.close(ConnectionId(id))),
                    2 => table.accept(PendingId(id), Pending { addr, admitted: host > 0 }),
                    _ => drop(table.end_pending(PendingId(id))),
                }
                prop_assert_eq!(table.check(), Ok(()));
            }
        }
    }

    fn connection(peer: u8) -> Connection {
        Connection {
            peer: PeerId::from_ed25519(&[peer; 32]),
            addr: "/ip4/127.0.0.1/tcp/1".parse().unwrap(),
            direction: Direction::Outbound(None),
            since: Instant::ZERO,
        }
    }

    #[test]
    fn a_peer_is_connected_from_its_first_connection_to_its_last() {
        let mut table = Table::default();
        let peer = connection(1).peer;
        assert!(table.establish(ConnectionId(1), connection(1)));
        assert!(!table.establish(ConnectionId(2), connection(1)));
        assert!(!table.close(ConnectionId(1)).unwrap().1);
        assert!(table.is_connected(&peer));
        assert!(table.close(ConnectionId(2)).unwrap().1);
        assert!(!table.is_connected(&peer));
        assert!(table.close(ConnectionId(2)).is_none());
    }
}
