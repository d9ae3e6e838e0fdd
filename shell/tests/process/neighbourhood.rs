//! Nodes on one network: they find each other by mDNS, a gateway maps their ports, interfaces come and go.

use std::net::{Ipv4Addr, UdpSocket};

use super::{Node, PATIENCE, Scratch};

#[path = "../support/gateway.rs"]
mod gateway;
#[path = "../support/namespace.rs"]
mod namespace;

/// In a namespace; `test` is a test of this file.
fn inside(test: &str, body: impl FnOnce()) {
    namespace::inside(&format!("process::neighbourhood::{test}"), body);
}

const ALL: &str = "p2p_listen_addresses=/ip4/0.0.0.0/tcp/0";

#[test]
fn two_nodes_of_one_network_find_each_other_by_mdns() {
    inside("two_nodes_of_one_network_find_each_other_by_mdns", || {
        let scratch = Scratch::new();
        let silent = Node::start(&scratch.join("silent"), &[ALL, "p2p_dht_mode=off"]);
        let settings = [ALL, "p2p_dht_mode=off", "p2p_enable_mdns=true"];
        let one = Node::start(&scratch.join("one"), &settings);
        let two = Node::start(&scratch.join("two"), &settings);
        // The interface comes while they run.
        namespace::cable(&["10.77.0.1/24"]);
        let (id_one, id_two) = (one.peer_id(), two.peer_id());
        assert_eq!(one.event("peer_connected")["peer_id"].as_str(), Some(&*id_two));
        assert_eq!(two.event("peer_connected")["peer_id"].as_str(), Some(&*id_one));
        assert_eq!(silent.status()["peers"].as_array().map(Vec::len), Some(0), "it did not ask for it");
    });
}

#[test]
fn a_gateway_maps_the_port_and_the_address_outside_is_told_and_ends_with_the_interface() {
    let name = "a_gateway_maps_the_port_and_the_address_outside_is_told_and_ends_with_the_interface";
    inside(name, || {
        let ip = Ipv4Addr::new(10, 77, 0, 1);
        namespace::cable(&["10.77.0.1/24", "10.77.0.2/24"]);
        let searches = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 1900)).unwrap();
        searches.join_multicast_v4(&Ipv4Addr::new(239, 255, 255, 250), &ip).unwrap();
        let asked = gateway::gateway(searches, ip, None);
        let scratch = Scratch::new();
        let settings = ["p2p_listen_addresses=/ip4/0.0.0.0/tcp/0", "p2p_enable_nat=true"];
        let node = Node::start(&scratch.join("node"), &settings);
        let outside = format!("/ip4/{}/tcp/", gateway::OUTSIDE);
        let told = node.event_where("listening", |event| {
            event["address"].as_str().is_some_and(|a| a.starts_with(&outside))
        });
        let port = told["address"].as_str().unwrap().rsplit('/').next().unwrap();
        let request = asked.recv_timeout(PATIENCE).unwrap();
        assert!(request.contains(&format!("<NewExternalPort>{port}</NewExternalPort>")), "{request}");
        assert!(request.contains("<NewInternalClient>10.77.0."), "{request}");
        namespace::ip("link del net0");
        node.wait_status("without it", |status| {
            let addrs = status["p2p"].as_array().cloned().unwrap_or_default();
            addrs.iter().all(|addr| !addr.as_str().is_some_and(|addr| addr.starts_with(&outside)))
        });
    });
}

#[test]
fn a_machine_with_ipv6_alone_runs_two_nodes_that_meet() {
    inside("a_machine_with_ipv6_alone_runs_two_nodes_that_meet", || {
        namespace::ip("addr del 127.0.0.1/8 dev lo");
        namespace::cable(&["2001:db8::7/64"]);
        let scratch = Scratch::new();
        let settings = [
            "p2p_listen_addresses=/ip6/2001:db8::7/tcp/0",
            "p2p_httpListenAddress=[::1]:0",
            "admin_listen=[::1]:0",
        ];
        let one = Node::start(&scratch.join("one"), &settings);
        let bootstrap = format!("p2p_bootstrap_peers={}", one.address());
        let two = Node::start(&scratch.join("two"), &[&settings[..], &[&bootstrap]].concat());
        assert_eq!(two.event("peer_connected")["peer_id"].as_str(), Some(&*one.peer_id()));
        assert_eq!(one.event("peer_connected")["peer_id"].as_str(), Some(&*two.peer_id()));
    });
}
