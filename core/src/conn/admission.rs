//! Who is let in: the private-address gate and the limits by address, network, peer and handshake.

use core::net::IpAddr;

use peerage_proto::ip;
use peerage_proto::multiaddr::Multiaddr;
use peerage_proto::peer_id::PeerId;

use super::table::Table;
use super::{Config, DisconnectReason, PendingId};
use crate::limits::Limits;

/// Whether `addr` may be dialled or accepted at all: private addresses only where they are allowed (spec 2.5). Names
/// pass; what they resolve to is looked at when it is known.
pub fn passes_gate(config: &Config, addr: &Multiaddr) -> bool {
    config.allow_private || !addr.ip().is_some_and(ip::is_private)
}

/// Why an accepted socket from `addr` is not let in, before any handshake, while `dialing` dials of ours run.
pub fn refuse_incoming(
    config: &Config,
    limits: &Limits,
    table: &Table,
    dialing: u32,
    addr: &Multiaddr,
) -> Option<DisconnectReason> {
    if !passes_gate(config, addr) {
        return Some(DisconnectReason::PrivateAddress);
    }
    if table.connection_count() + table.pending_count() + dialing as usize >= limits.connections_max as usize
    {
        return Some(DisconnectReason::ConnectionLimit);
    }
    if table.pending_count() >= config.pending_handshakes_max as usize {
        return Some(DisconnectReason::HandshakeLimit);
    }
    addr.ip().and_then(|address| refuse_address(config, table, address))
}

/// The unfinished handshake that makes room for one from `addr` when there is none: the oldest of the network with most of
/// them, so that no number of silent strangers keeps everybody else out.
pub fn displaces(config: &Config, table: &Table, addr: &Multiaddr) -> Option<PendingId> {
    let is_full = table.pending_count() >= config.pending_handshakes_max as usize;
    let may_come = || {
        passes_gate(config, addr)
            && addr.ip().and_then(|address| refuse_address(config, table, address)).is_none()
    };
    if is_full && may_come() { table.crowding(addr) } else { None }
}

fn refuse_address(config: &Config, table: &Table, address: IpAddr) -> Option<DisconnectReason> {
    if config.loopback_exempt && ip::is_loopback(address) {
        return None;
    }
    let (of_address, of_subnet) = (table.of_address(address), table.of_subnet(address));
    if of_address.all() >= config.connections_per_address_max {
        return Some(DisconnectReason::AddressLimit);
    }
    if of_address.pending >= config.pending_per_address_max
        || of_subnet.pending >= config.pending_per_subnet_max()
    {
        return Some(DisconnectReason::HandshakeLimit);
    }
    let subnet_max = match address {
        IpAddr::V4(_) => config.connections_per_subnet24_max,
        IpAddr::V6(_) => config.connections_per_subnet48_max,
    };
    (of_subnet.all() >= subnet_max).then_some(DisconnectReason::SubnetLimit)
}

/// Why a connection that has just been established is closed again.
pub fn refuse_established(
    config: &Config,
    limits: &Limits,
    table: &Table,
    local_peer: &PeerId,
    peer: &PeerId,
    addr: &Multiaddr,
) -> Option<DisconnectReason> {
    if peer == local_peer {
        return Some(DisconnectReason::Ourselves);
    }
    // A name that was dialled may have led anywhere.
    if !passes_gate(config, addr) {
        return Some(DisconnectReason::PrivateAddress);
    }
    if table.connection_count() >= limits.connections_max as usize {
        return Some(DisconnectReason::ConnectionLimit);
    }
    let count = table.of_peer(peer).len();
    (count >= config.connections_per_peer_max as usize).then_some(DisconnectReason::PeerLimit)
}

#[cfg(test)]
mod tests {
    use super::super::table::Pending;
    use super::super::{ConnectionId, Direction, PendingId};
    use super::*;
    use crate::conn::table::Connection;
    use crate::time::Instant;

    fn addr(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    fn connect(table: &mut Table, id: u64, at: &str) {
        let mut key = [9; 32];
        key[0] = id as u8;
        let connection = Connection {
            peer: PeerId::from_ed25519(&key),
            addr: addr(at),
            direction: Direction::Inbound(PendingId(id)),
            since: Instant::ZERO,
        };
        table.establish(ConnectionId(id), connection);
    }

    fn open() -> Config {
        Config { allow_private: true, loopback_exempt: false, ..Config::default() }
    }

    #[test]
    fn t166_private_addresses_are_refused_in_and_out_unless_allowed() {
        let (table, limits) = (Table::default(), Limits::default());
        let refused = refuse_incoming(&Config::default(), &limits, &table, 0, &addr("/ip4/127.0.0.1/tcp/4"));
        assert_eq!(refused, Some(DisconnectReason::PrivateAddress));
        assert!(!passes_gate(&Config::default(), &addr("/ip4/10.1.2.3/tcp/4")));
        assert!(passes_gate(&Config::default(), &addr("/ip4/203.0.113.9/tcp/4")));
        assert!(passes_gate(&Config::default(), &addr("/dns4/node.example/tcp/4")));
        assert_eq!(refuse_incoming(&open(), &limits, &table, 0, &addr("/ip4/127.0.0.1/tcp/4")), None);
    }

    #[test]
    fn the_ninth_connection_of_an_address_is_refused_and_another_address_is_not() {
        let (mut table, limits) = (Table::default(), Limits::default());
        (0..8).for_each(|id| connect(&mut table, id, "/ip4/127.0.0.2/tcp/1"));
        let incoming = |at: &str| refuse_incoming(&open(), &limits, &table, 0, &addr(at));
        assert_eq!(incoming("/ip4/127.0.0.2/tcp/9"), Some(DisconnectReason::AddressLimit));
        assert_eq!(incoming("/ip4/127.0.0.3/tcp/9"), None);
    }

    #[test]
    fn a_network_has_a_limit_of_its_own() {
        let (mut table, limits) = (Table::default(), Limits::default());
        let config = Config { connections_per_subnet24_max: 2, connections_per_subnet48_max: 1, ..open() };
        connect(&mut table, 1, "/ip4/203.0.113.1/tcp/1");
        connect(&mut table, 2, "/ip4/203.0.113.2/tcp/1");
        connect(&mut table, 3, "/ip6/2001:db8:1:2::3/tcp/1");
        let incoming = |at: &str| refuse_incoming(&config, &limits, &table, 0, &addr(at));
        assert_eq!(incoming("/ip4/203.0.113.3/tcp/1"), Some(DisconnectReason::SubnetLimit));
        assert_eq!(incoming("/ip4/203.0.114.3/tcp/1"), None);
        assert_eq!(incoming("/ip6/2001:db8:1:9::9/tcp/1"), Some(DisconnectReason::SubnetLimit));
        assert_eq!(incoming("/ip6/2001:db8:2::9/tcp/1"), None);
    }

    #[test]
    fn unfinished_handshakes_are_limited_in_all_and_by_address() {
        let (mut table, limits) = (Table::default(), Limits::default());
        let config = Config { pending_handshakes_max: 3, pending_per_address_max: 2, ..open() };
        for id in 0..2 {
            table.accept(PendingId(id), Pending { addr: addr("/ip4/127.0.0.2/tcp/1"), admitted: true });
        }
        let refused = refuse_incoming(&config, &limits, &table, 0, &addr("/ip4/127.0.0.2/tcp/2"));
        assert_eq!(refused, Some(DisconnectReason::HandshakeLimit));
        assert_eq!(refuse_incoming(&config, &limits, &table, 0, &addr("/ip4/127.0.1.3/tcp/2")), None);
        table.accept(PendingId(7), Pending { addr: addr("/ip4/127.0.1.3/tcp/1"), admitted: true });
        let refused = refuse_incoming(&config, &limits, &table, 0, &addr("/ip4/127.0.2.4/tcp/2"));
        assert_eq!(refused, Some(DisconnectReason::HandshakeLimit));
    }

    #[test]
    fn strangers_who_hold_every_place_give_one_to_a_network_that_holds_fewer() {
        let (mut table, limits, config) = (Table::default(), Limits::default(), Config::default());
        // 16 networks hold 8 each.
        for n in 0..u64::from(config.pending_handshakes_max) {
            let host = addr(&std::format!("/ip4/20.0.{}.1/tcp/{n}", n % 16));
            assert_eq!(displaces(&config, &table, &host), None, "there is room");
            assert_eq!(refuse_incoming(&config, &limits, &table, 0, &host), None);
            table.accept(PendingId(n), Pending { addr: host, admitted: true });
        }
        let stranger = addr("/ip4/20.0.3.1/tcp/1");
        assert_eq!(displaces(&config, &table, &stranger), None, "it holds its share");
        let newcomer = addr("/ip4/198.51.100.1/tcp/1");
        assert_eq!(displaces(&config, &table, &newcomer), Some(PendingId(0)), "the oldest of the most");
        table.displace(PendingId(0));
        assert_eq!(refuse_incoming(&config, &limits, &table, 0, &newcomer), None);
        table.accept(PendingId(999), Pending { addr: newcomer, admitted: true });
        let next = addr("/ip4/198.51.101.1/tcp/1");
        assert_eq!(displaces(&config, &table, &next), Some(PendingId(1)), "not of the one that holds fewer");
        assert_eq!(table.check(), Ok(()));
        let private = addr("/ip4/10.0.0.1/tcp/1");
        let strict = Config { allow_private: false, ..config };
        assert_eq!(displaces(&strict, &table, &private), None, "whoever is refused anyway displaces nobody");
    }

    #[test]
    fn one_network_cannot_hold_every_unfinished_handshake() {
        for network in ["/ip4/203.0.113.", "/ip6/2001:db8:1:"] {
            let (mut table, limits, config) = (Table::default(), Limits::default(), Config::default());
            let host = |n: u64| {
                let tail =
                    if network.contains("ip6") { std::format!("{n:x}::1") } else { std::format!("{n}") };
                addr(&std::format!("{network}{tail}/tcp/1"))
            };
            let mut held = 0;
            for n in 1..=u64::from(config.pending_handshakes_max) {
                let refused = refuse_incoming(&config, &limits, &table, 0, &host(n));
                held += u32::from(refused.is_none());
                table.accept(PendingId(n), Pending { addr: host(n), admitted: refused.is_none() });
            }
            assert_eq!(held, config.pending_per_subnet_max(), "{network}");
            assert!(held <= config.pending_handshakes_max / 4);
            let other = addr("/ip4/198.51.100.1/tcp/1");
            assert_eq!(refuse_incoming(&config, &limits, &table, 0, &other), None);
        }
    }

    #[test]
    fn loopback_is_exempt_as_in_go_when_the_setting_says_so() {
        let (mut table, limits) = (Table::default(), Limits::default());
        (0..20).for_each(|id| connect(&mut table, id, "/ip4/127.0.0.1/tcp/1"));
        let config = Config { loopback_exempt: true, ..open() };
        assert_eq!(refuse_incoming(&config, &limits, &table, 0, &addr("/ip4/127.0.0.1/tcp/2")), None);
    }
}
