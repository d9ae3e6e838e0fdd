//! Between the core's names and libp2p's.

use std::net::IpAddr;

use libp2p::core::multiaddr::Protocol;
use peerage_proto::peer_id::PEER_ID_BYTES_MAX;
use peerage_proto::{Multiaddr, PeerId};

/// The core's form of a peer id; none for a kind that the core does not know.
pub fn peer(peer: &libp2p::PeerId) -> Option<PeerId> {
    // Each message has two: no allocation.
    let mut bytes = [0; PEER_ID_BYTES_MAX];
    let length = peer.as_ref().write(&mut bytes[..]).ok()?;
    PeerId::from_bytes(&bytes[..length]).ok()
}

/// libp2p's form of a peer id.
pub fn libp2p_peer(peer: &PeerId) -> Option<libp2p::PeerId> {
    libp2p::PeerId::from_bytes(peer.as_bytes()).ok()
}

/// The core's form of an address; none for one with protocols that the core does not know.
pub fn addr(addr: &libp2p::Multiaddr) -> Option<Multiaddr> {
    Multiaddr::from_bytes(addr.as_ref()).ok()
}

/// libp2p's form of an address.
pub fn libp2p_addr(addr: &Multiaddr) -> Option<libp2p::Multiaddr> {
    libp2p::Multiaddr::try_from(addr.as_bytes().to_vec()).ok()
}

/// The IP address that an address begins with.
pub fn ip(addr: &libp2p::Multiaddr) -> Option<IpAddr> {
    let first = addr.iter().next()?;
    if let Protocol::Ip4(ip) = first {
        return Some(ip.into());
    }
    if let Protocol::Ip6(ip) = first { Some(ip.into()) } else { None }
}

/// Whether the way leads through a relay.
pub fn is_relayed(addr: &libp2p::Multiaddr) -> bool {
    addr.iter().any(|part| part == Protocol::P2pCircuit)
}

/// The other end of an accepted connection: whoever comes through a relay is where the relay is.
pub fn origin<'a>(local: &'a libp2p::Multiaddr, send_back: &'a libp2p::Multiaddr) -> &'a libp2p::Multiaddr {
    if is_relayed(local) { local } else { send_back }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_addresses_come_back_unchanged() {
        let key = libp2p::identity::Keypair::generate_ed25519();
        let theirs = key.public().to_peer_id();
        assert_eq!(libp2p_peer(&peer(&theirs).unwrap()), Some(theirs));
        assert_eq!(peer(&theirs).unwrap().to_base58(), theirs.to_base58());
        let text = "/ip4/127.0.0.1/tcp/9905";
        let theirs: libp2p::Multiaddr = text.parse().unwrap();
        assert_eq!(addr(&theirs).unwrap().to_string(), text);
        assert_eq!(libp2p_addr(&text.parse().unwrap()), Some(theirs.clone()));
        assert_eq!(ip(&theirs), Some([127, 0, 0, 1].into()));
    }
}
