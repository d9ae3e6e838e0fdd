//! `teranode_peers.*.json` and `identify.json`: peers and their addresses.

use peerage_proto::addr_cache;
use peerage_proto::{Multiaddr, Network, PeerId};

use crate::{list, str, text, vectors};

#[test]
fn recorded_address_caches_come_back_byte_for_byte() {
    for (name, peers) in [("teranode_peers.node_a.json", 2), ("teranode_peers.node_b.json", 1)] {
        let text = text(name);
        let cache = addr_cache::decode(text.as_bytes()).unwrap();
        assert_eq!((cache.peers.len(), cache.skipped), (peers, 0));
        let mut written = Vec::new();
        addr_cache::encode(&cache.peers, &mut written);
        assert_eq!(String::from_utf8(written).unwrap(), text.trim_end());
    }
}

#[test]
fn a_torn_address_cache_is_an_error_wherever_it_is_torn() {
    let text = text("teranode_peers.node_a.json");
    let text = text.trim_end();
    for cut in 0..text.len() {
        assert!(addr_cache::decode(&text.as_bytes()[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn recorded_addresses_of_identify_come_back() {
    let file = vectors("identify.json");
    for identify in list(&file, "identify") {
        let id = PeerId::from_base58(str(identify, "peer")).unwrap();
        let listen = list(identify, "listen_addrs").iter().map(|address| address.as_str().unwrap());
        for text in listen.chain([str(identify, "observed")]) {
            let address: Multiaddr = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
            assert_eq!(Multiaddr::from_bytes(address.as_bytes()), Ok(address.clone()));
            assert_eq!(address.with_p2p(id).to_string(), format!("{text}/p2p/{id}"));
            assert!(address.ip().unwrap().is_loopback() && address.tcp_port().is_some());
        }
        assert_eq!(str(identify, "protocol_version"), Network::Regtest.identify_protocol_version());
        let protocols = list(identify, "protocols");
        assert!(protocols.iter().any(|name| name == peerage_proto::peer_addr_request::PROTOCOL));
    }
}
