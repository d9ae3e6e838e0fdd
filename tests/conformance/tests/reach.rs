//! How ours is reached where nobody knows its address. Relays: a Go host relays, ours has a place there, and another Go host
//! comes through it, then directly; with public addresses, for Go punches holes towards no other. mDNS: a message bus on the
//! same network. All of it in a network of the test's own.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::process::{Child, Command, Stdio};

use peerage_conformance::node::{Node, Shell};
use peerage_conformance::peer::{Make, Peer};
use peerage_conformance::wire::Kind;
use peerage_conformance::{Failure, SOON, on_both_shells};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::{Value, json};

#[path = "../../../shell/tests/support/namespace.rs"]
mod namespace;

const PUBLIC: [&str; 3] = ["1.0.0.1/24", "1.0.0.2/24", "1.0.0.3/24"];

/// Runs `body` in a namespace whose one cable has the addresses.
fn inside(
    test: &str,
    shell: Shell,
    addresses: &[&str],
    body: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let on = if shell == Shell::Tokio { "on_tokio" } else { "on_smol" };
    let mut outcome = Ok(());
    namespace::inside(&format!("{test}::{on}"), || {
        namespace::cable(addresses);
        outcome = body();
    });
    outcome
}

fn go(name: &str, options: &Value) -> Result<Peer, Failure> {
    Peer::start(Make::Raw, name, options.clone())
}

/// A relay, and a node of ours that seeks a place there if `nat` says so.
fn pair(shell: Shell, nat: &str) -> Result<(Peer, Node), Failure> {
    let relay = go("relay", &json!({"listen": "/ip4/1.0.0.1/tcp/0", "relay": "service"}))?;
    let ours = Node::start(
        shell,
        "ours",
        &[
            ("p2p_listen_addresses", "/ip4/1.0.0.2/tcp/0"),
            ("p2p_bootstrap_peers", relay.addr()),
            ("p2p_enable_nat", nat),
            ("p2p_allow_private_ips", "false"),
        ],
    )?;
    Ok((relay, ours))
}

fn is_circuit(addr: &Value) -> bool {
    addr.as_str().is_some_and(|addr| addr.contains("/p2p-circuit"))
}

fn a_place_on_a_go_relay_is_taken_and_told_and_a_go_host_comes_through_it(
    shell: Shell,
) -> Result<(), Failure> {
    inside("a_place_on_a_go_relay_is_taken_and_told_and_a_go_host_comes_through_it", shell, &PUBLIC, || {
        let (mut relay, mut ours) = pair(shell, "true")?;
        let id = ours.id().to_owned();
        let told = ours
            .process()
            .expect("place", SOON, |e| e["event"] == "listening" && is_circuit(&e["address"]))?;
        let place = told["address"].as_str().unwrap_or_default().to_owned();
        assert!(place.starts_with(relay.addr()), "{place}");
        let of_ours = |e: &Value| e["event"] == "identify" && e["peer"] == id.as_str();
        let seen = relay.process().expect("identify", SOON, of_ours)?;
        for protocol in ["/libp2p/circuit/relay/0.2.0/stop", "/libp2p/autonat/1.0.0"] {
            assert!(
                seen["protocols"].as_array().is_some_and(|all| all.contains(&json!(protocol))),
                "{protocol}"
            );
        }
        let mut client = go("client", &json!({"listen": "/ip4/1.0.0.3/tcp/0", "relay": "client"}))?;
        let circuit = place.split("/p2p-circuit").next().unwrap_or_default();
        client.connect(&format!("{circuit}/p2p-circuit/p2p/{id}"))?;
        let to_ours = |e: &Value| e["event"] == "connected" && e["peer"] == id.as_str();
        client.process().expect("way through the relay", SOON, |e| to_ours(e) && is_circuit(&e["addr"]))?;
        ours.expect_connected(client.id(), SOON)?;
        Ok(())
    })
}

/// Ours is where nobody is told that it is: what the relay saw of it is all that there is to go by.
fn who_came_through_a_relay_comes_to_a_direct_connection_by_hole_punching(
    shell: Shell,
) -> Result<(), Failure> {
    let test = "who_came_through_a_relay_comes_to_a_direct_connection_by_hole_punching";
    inside(test, shell, &[], || {
        let [at_relay, at_ours, at_client] =
            [("r", "1.0.2"), ("o", "10.0.1"), ("c", "1.0.3")].map(|(name, network)| Host::new(name, network));
        forward();
        let listen = |ip| json!({"listen": format!("/ip4/{ip}/tcp/0"), "relay": "service"});
        let relay = at_relay.enter(|| go("relay", &listen("1.0.2.2")))?;
        let settings = [
            ("p2p_listen_addresses", "/ip4/10.0.1.2/tcp/0"),
            ("p2p_bootstrap_peers", relay.addr()),
            ("p2p_enable_nat", "true"),
            ("p2p_allow_private_ips", "false"),
            ("p2p_share_private_addresses", "false"),
            ("p2p_dht_mode", "off"),
        ];
        let mut ours = at_ours.enter(|| Node::start(shell, "ours", &settings))?;
        let id = ours.id().to_owned();
        ours.process().expect("place", SOON, |e| e["event"] == "listening" && is_circuit(&e["address"]))?;
        let options = json!({"listen": "/ip4/1.0.3.2/tcp/0", "relay": "client"});
        let mut client = at_client.enter(|| go("client", &options))?;
        client.connect(&format!("{}/p2p-circuit/p2p/{id}", relay.addr()))?;
        let to_ours = |e: &Value| e["event"] == "connected" && e["peer"] == id.as_str();
        client.process().expect("way through the relay", SOON, |e| to_ours(e) && is_circuit(&e["addr"]))?;
        client.process().expect("way of their own", SOON, |e| to_ours(e) && !is_circuit(&e["addr"]))?;
        // What is published goes by that.
        client.expect_subscribed(&id, &Kind::Subtree.topic(), SOON)
    })
}

fn without_the_setting_no_place_is_sought(shell: Shell) -> Result<(), Failure> {
    inside("without_the_setting_no_place_is_sought", shell, &PUBLIC, || {
        let (mut relay, mut ours) = pair(shell, "false")?;
        let (id, relay_id) = (ours.id().to_owned(), relay.id().to_owned());
        ours.expect_connected(&relay_id, SOON)?;
        let of_ours = |e: &Value| e["event"] == "identify" && e["peer"] == id.as_str();
        let seen = relay.process().expect("identify", SOON, of_ours)?;
        assert!(
            seen["protocols"].as_array().is_some_and(|all| !all.contains(&json!("/libp2p/autonat/1.0.0")))
        );
        let mut client = go("client", &json!({"listen": "/ip4/1.0.0.3/tcp/0", "relay": "client"}))?;
        let circuit = format!("{}/p2p-circuit/p2p/{id}", relay.addr());
        assert!(client.connect(&circuit).is_err(), "the relay has no place of ours to offer");
        let places = ours.process().count(|e| e["event"] == "listening" && is_circuit(&e["address"]));
        assert_eq!(places, 0);
        Ok(())
    })
}

fn a_message_bus_on_the_same_network_is_met(shell: Shell) -> Result<(), Failure> {
    inside("a_message_bus_on_the_same_network_is_met", shell, &["10.77.0.1/24"], || {
        let settings = [
            ("p2p_listen_addresses", "/ip4/0.0.0.0/tcp/0"),
            ("p2p_enable_mdns", "true"),
            ("p2p_dht_mode", "off"),
        ];
        let mut ours = Node::start(shell, "ours", &settings)?;
        let bus = Peer::start(Make::Bus017, "bus", json!({"mdns": true}))?;
        ours.expect_connected(bus.id(), SOON).map(drop)
    })
}

/// Ours has peers enough from the start, and so dials none that it finds.
fn a_message_bus_finds_ours_which_dials_nobody(shell: Shell) -> Result<(), Failure> {
    inside("a_message_bus_finds_ours_which_dials_nobody", shell, &["10.77.0.1/24"], || {
        let settings = [
            ("p2p_listen_addresses", "/ip4/0.0.0.0/tcp/0"),
            ("p2p_enable_mdns", "true"),
            ("p2p_dht_mode", "off"),
            ("p2p_low_water", "0"),
            ("p2p_high_water", "0"),
        ];
        let mut ours = Node::start(shell, "ours", &settings)?;
        let bus = Peer::start(Make::Bus017, "bus", json!({"mdns": true}))?;
        let met = ours.expect_connected(bus.id(), SOON)?;
        assert_eq!(met["direction"], "in");
        Ok(())
    })
}

/// A host with a network of its own: it is 2 there, the test 1.
struct Host {
    holder: Child,
    inside: File,
}

impl Host {
    fn new(name: &str, network: &str) -> Self {
        // It holds the namespace until its input ends, and answers once it is there.
        let mut holder = Command::new("unshare");
        holder.args(["--net", "cat"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = holder.spawn().unwrap();
        holder.stdin.as_ref().unwrap().write_all(b"?").unwrap();
        holder.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let inside = File::open(format!("/proc/{}/ns/net", holder.id())).unwrap();
        let host = Self { holder, inside };
        namespace::ip(&format!("link add {name}1 type veth peer name {name}2"));
        namespace::ip(&format!("link set {name}2 netns {}", host.holder.id()));
        namespace::ip(&format!("addr add {network}.1/24 dev {name}1"));
        namespace::ip(&format!("link set {name}1 up"));
        host.enter(|| {
            namespace::ip("link set lo up");
            namespace::ip(&format!("addr add {network}.2/24 dev {name}2"));
            namespace::ip(&format!("link set {name}2 up"));
            namespace::ip(&format!("route add default via {network}.1"));
        });
        host
    }

    /// Calls `start` there: what it starts stays there.
    fn enter<T>(&self, start: impl FnOnce() -> T) -> T {
        let network = Some(LinkNameSpaceType::Network);
        let outside = File::open("/proc/thread-self/ns/net").unwrap();
        move_into_link_name_space(self.inside.as_fd(), network).unwrap();
        let started = start();
        move_into_link_name_space(outside.as_fd(), network).unwrap();
        started
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// The test's own host hands packets on between the others.
fn forward() {
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
}

on_both_shells!(
    who_came_through_a_relay_comes_to_a_direct_connection_by_hole_punching,
    a_message_bus_on_the_same_network_is_met,
    a_message_bus_finds_ours_which_dials_nobody,
    a_place_on_a_go_relay_is_taken_and_told_and_a_go_host_comes_through_it,
    without_the_setting_no_place_is_sought
);
