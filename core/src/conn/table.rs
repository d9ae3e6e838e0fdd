//! Who is connected.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::IpAddr;

use peerage_proto::ip::Subnet;
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
    /// Connections and unfinished handshakes.
    #[derive(Clone, Debug, Default)]
    pub struct Table {
        connections: BTreeMap<ConnectionId, Connection>,
        peers: BTreeMap<PeerId, Vec<ConnectionId>>,
        pending: BTreeMap<PendingId, Pending>,
    }
}

impl Table {
    /// Enters a connection. `true` if it is the peer's first.
    pub fn establish(&mut self, id: ConnectionId, connection: Connection) -> bool {
        let ids = self.peers.entry(connection.peer).or_default();
        let first = ids.is_empty();
        ids.push(id);
        self.connections.insert(id, connection);
        first
    }

    /// Takes a connection out. `true` beside it if it was the peer's last.
    pub fn close(&mut self, id: ConnectionId) -> Option<(Connection, bool)> {
        let connection = self.connections.remove(&id)?;
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
        self.pending.insert(id, pending);
    }

    /// Takes an accepted socket out.
    pub fn end_pending(&mut self, id: PendingId) -> Option<Pending> {
        self.pending.remove(&id)
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
        self.pending.values().filter(|pending| pending.admitted).count()
    }

    /// Unfinished handshakes that were let in, from `address`.
    pub fn pending_of(&self, address: IpAddr) -> usize {
        let of = |pending: &&Pending| pending.admitted && pending.addr.ip() == Some(address);
        self.pending.values().filter(of).count()
    }

    /// Connections and handshakes with addresses for which `same` holds.
    fn count(&self, same: impl Fn(IpAddr) -> bool) -> usize {
        let established = self.connections.values().map(|connection| &connection.addr);
        let pending = self.pending.values().filter(|pending| pending.admitted).map(|pending| &pending.addr);
        established.chain(pending).filter(|addr| addr.ip().is_some_and(&same)).count()
    }

    /// Connections and handshakes with `address`.
    pub fn count_address(&self, address: IpAddr) -> usize {
        self.count(|other| other == address)
    }

    /// Connections and handshakes with the /24 or /48 of `address`.
    pub fn count_subnet(&self, address: IpAddr) -> usize {
        let subnet = Subnet::of(address);
        self.count(|other| Subnet::of(other) == subnet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
