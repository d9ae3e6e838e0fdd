//! What goes wrong is told with its place and its remedy, and with the documented exit code; nothing is overwritten.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use super::{Node, Scratch, command};

/// Runs to its end; the exit code and what it says.
fn ends(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

fn ends_with(scratch: &Scratch, arguments: &[&str]) -> (Option<i32>, String) {
    let ephemeral = super::EPHEMERAL.iter().flat_map(|setting| ["--set", setting]);
    ends(command(&scratch.join("data")).args(ephemeral).args(arguments))
}

#[test]
fn a_second_process_on_the_data_directory_is_told_the_pid_of_the_first() {
    let scratch = Scratch::new();
    let node = Node::start(&scratch.join("data"), &[]);
    let (code, text) = ends_with(&scratch, &[]);
    assert_eq!(code, Some(75), "{text}");
    assert!(text.contains(&node.child.id().to_string()) && text.contains("remedy"), "{text}");
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let scratch = Scratch::new();
    for (setting, name) in [
        (format!("p2p_httpListenAddress={addr}"), addr.to_string()),
        (format!("admin_listen={addr}"), addr.to_string()),
        (format!("p2p_listen_addresses=/ip4/127.0.0.1/tcp/{}", addr.port()), format!("tcp/{}", addr.port())),
    ] {
        let (code, text) = ends_with(&scratch, &["--set", &setting]);
        assert_eq!(code, Some(71), "{text}");
        assert!(text.contains(&name) && text.contains("in use") && text.contains("remedy"), "{text}");
    }
}

#[test]
fn a_wrong_setting_is_named_with_its_origin_and_remedy() {
    let scratch = Scratch::new();
    let file = scratch.join("my.conf");
    fs::write(&file, "# comment\np2p_prot = 5\n").unwrap();
    for (arguments, wanted) in [
        (
            vec!["--set", "p2p_bootstrap_peers=/ip4/1.2.3/tcp/1"],
            vec!["/ip4/1.2.3/tcp/1", "p2p_bootstrap_peers", "--set"],
        ),
        (vec!["--set", "p2p_prot=5"], vec!["p2p_prot", "did you mean `p2p_port`?"]),
        (vec!["--config", file.to_str().unwrap()], vec!["p2p_prot", "my.conf:2"]),
        (vec!["--set", "p2p_dht_use_private=true"], vec!["p2p_dht_use_private", "not built"]),
        (vec!["--set", "p2p_port=0"], vec!["p2p_port not set in config"]),
        (vec!["--config", "/nonexistent/my.conf"], vec!["/nonexistent/my.conf"]),
        (vec!["--set", "network=moon"], vec!["network", "mainnet"]),
        (vec!["--set", "profile=foo"], vec!["profile", "`foo`", "--set", "dev, standard"]),
        (vec!["--set", "p2p_peer_map_cleanup_interval=0s"], vec!["cleanup_interval", "`0s`", "1s to 24h"]),
        (
            vec!["--set", "p2p_pending_handshakes_max=0"],
            vec!["p2p_pending_handshakes_max", "out of range: 1 to"],
        ),
        (vec!["--set", "clientName=${p2p_private_key}"], vec!["clientName", "--set", "is a secret"]),
        (vec!["--set", "p2p_listen_addresses=/ip4/127.0.0.1/udp/9"], vec!["/udp/9", "only TCP"]),
        (vec!["--set", "p2p_listen_addresses=/dns4/localhost/tcp/9"], vec!["/dns4/localhost", "only TCP"]),
    ] {
        let (code, text) = ends_with(&scratch, &arguments);
        assert_eq!(code, Some(78), "{text}");
        assert!(wanted.iter().all(|part| text.contains(part)), "{wanted:?} in {text}");
        assert!(text.contains("remedy"), "{text}");
    }
    assert_eq!(ends_with(&scratch, &["--nonsense"]).0, Some(2));
}

#[test]
fn a_broken_key_is_left_alone_and_named() {
    let scratch = Scratch::new();
    let data = scratch.join("data");
    fs::create_dir_all(&data).unwrap();
    let key = data.join("p2p.key");
    fs::write(&key, "this is no key").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let (code, text) = ends_with(&scratch, &[]);
    assert_eq!(code, Some(65), "{text}");
    assert!(
        text.contains("p2p.key") && text.contains("failed to decode key") && text.contains("remedy"),
        "{text}"
    );
    assert_eq!(fs::read_to_string(&key).unwrap(), "this is no key");
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let scratch = Scratch::new();
    Node::start(&scratch.join("data"), &[]).stop();
    let key = scratch.join("data").join("p2p.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let (code, text) = ends_with(&scratch, &[]);
    assert_eq!(code, Some(77), "{text}");
    assert!(text.contains("640") && text.contains("chmod 600"), "{text}");
}

#[test]
fn a_data_directory_that_cannot_be_made_is_named() {
    let scratch = Scratch::new();
    fs::write(scratch.join("data"), "a file").unwrap();
    let (code, text) = ends_with(&scratch, &[]);
    assert_eq!(code, Some(73), "{text}");
    assert!(text.contains("data") && text.contains("remedy"), "{text}");
}

#[test]
fn a_broken_address_cache_is_set_aside_and_the_node_starts() {
    let scratch = Scratch::new();
    let data = scratch.join("data");
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("teranode_peers.json"), "[{\"id\": torn").unwrap();
    let node = Node::start(&data, &[]);
    node.told(&["status"]);
    let aside = data.join("teranode_peers.json.broken-0");
    assert_eq!(fs::read_to_string(aside).unwrap(), "[{\"id\": torn");
    node.told(&["shutdown"]);
    node.event("stopped");
}

#[test]
fn a_port_that_another_node_listens_on_is_in_use_though_ports_can_be_shared() {
    let scratch = Scratch::new();
    let node = Node::start(&scratch.join("one"), &[]);
    for ip in ["127.0.0.1", "0.0.0.0"] {
        let setting = format!("p2p_listen_addresses=/ip4/{ip}/tcp/{}", node.p2p_port());
        let (code, text) = ends_with(&scratch, &["--set", &setting]);
        assert_eq!(code, Some(71), "{text}");
        assert!(text.contains("in use") && text.contains("remedy: stop whatever uses the port"), "{text}");
    }
}

#[test]
fn a_start_that_fails_leaves_no_stub_in_the_way_of_the_next() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let scratch = Scratch::new();
    let file = scratch.join("recording");
    for setting in ["admin_listen", "p2p_httpListenAddress"] {
        let setting = format!("{setting}={}", taken.local_addr().unwrap());
        let (code, text) = ends_with(&scratch, &["--record", file.to_str().unwrap(), "--set", &setting]);
        assert_eq!(code, Some(71), "{text}");
        assert!(!file.exists());
    }
    Node::start_with(&scratch.join("data"), &[], &["--record", file.to_str().unwrap()]).stop();
}

#[test]
fn two_nodes_cannot_share_a_folder_of_key_and_cache() {
    let scratch = Scratch::new();
    let shared = format!("p2p_peer_cache_dir={}", scratch.join("shared").display());
    let node = Node::start(&scratch.join("one"), &[&shared]);
    let (code, text) = ends_with(&scratch, &["--set", &shared]);
    assert_eq!(code, Some(75), "{text}");
    let pid = node.child.id().to_string();
    assert!(text.contains(&pid) && text.contains("p2p_peer_cache_dir") && text.contains("remedy"), "{text}");
    let theirs = format!("p2p_peer_cache_dir={}", scratch.join("one").display());
    assert_eq!(ends_with(&scratch, &["--set", &theirs]).0, Some(75), "nor that of a data directory");
}

#[test]
fn a_folder_in_place_of_the_key_is_named_as_one() {
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.join("data").join("p2p.key")).unwrap();
    let (code, text) = ends_with(&scratch, &[]);
    assert_eq!(code, Some(65), "{text}");
    assert!(
        text.contains("p2p.key") && text.contains("a folder stands where the key file belongs"),
        "{text}"
    );
}

#[test]
fn a_broken_cache_that_cannot_be_set_aside_is_not_overwritten() {
    let scratch = Scratch::new();
    // So deep that the file has a name and the same name with an addition is too long.
    let mut data = scratch.join("data");
    while data.as_os_str().len() + 101 < 4068 {
        data = data.join("d".repeat(99));
    }
    let data = data.join("d".repeat(4069 - data.as_os_str().len() - 1));
    fs::create_dir_all(&data).unwrap();
    let cache = data.join("teranode_peers.json");
    fs::write(&cache, "[{\"id\": torn").unwrap();
    let node = Node::start(&data, &[]);
    let other = Node::start(&scratch.join("other"), &[&format!("p2p_bootstrap_peers={}", node.address())]);
    // Who is met is remembered, or would be.
    let down = node.event_where("health", |event| event["up"] == false);
    assert!(down["detail"].as_str().unwrap().contains("could not be set aside"), "{down}");
    assert_eq!(fs::read_to_string(&cache).unwrap(), "[{\"id\": torn");
    drop(other);
}
