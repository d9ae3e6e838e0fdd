//! The commands that talk to a running node, when there is none, or a stranger, or nobody who listens.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{Node, Scratch, command};

/// A data directory as a node leaves it, whose operator listener is said to be where a stranger listens.
fn leads_to_a_stranger(data: &Path) -> TcpListener {
    fs::create_dir_all(data).unwrap();
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    stranger.set_nonblocking(true).unwrap();
    fs::write(data.join("admin.addr"), stranger.local_addr().unwrap().to_string()).unwrap();
    fs::write(data.join("admin.key"), "0".repeat(64)).unwrap();
    fs::set_permissions(data.join("admin.key"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(data.join("lock"), "1\n").unwrap();
    stranger
}

fn ends(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn what_a_killed_node_left_behind_leads_no_client_to_a_stranger() {
    let scratch = Scratch::new();
    let data = scratch.join("data");
    let stranger = leads_to_a_stranger(&data);
    for arguments in [&["status"][..], &["shutdown"], &["announce", "block"]] {
        let (code, text) = ends(command(&data).args(arguments));
        assert_eq!(code, Some(69), "{text}");
        assert!(text.contains("no node runs on") && text.contains("remedy"), "{text}");
    }
    assert_eq!(stranger.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "nobody came by");
    // Nor does the next node leave it there.
    let node = Node::start(&data, &["admin_listen="]);
    assert!(!fs::read_to_string(data.join("admin.addr")).unwrap().contains("127.0.0.1"));
    drop(node);
}

#[test]
fn a_node_that_does_not_answer_is_given_up() {
    let scratch = Scratch::new();
    let data = scratch.join("data");
    let _silent = leads_to_a_stranger(&data);
    let lock = File::open(data.join("lock")).unwrap();
    lock.try_lock().unwrap();
    let (code, text) = ends(command(&data).args(["status", "--timeout", "1"]));
    assert_eq!(code, Some(69), "{text}");
    assert!(text.contains("does not answer within 1 s") && text.contains("--timeout"), "{text}");
}

#[test]
fn who_closes_the_pipe_has_read_enough_and_a_full_disk_is_told() {
    let scratch = Scratch::new();
    let node = Node::start(&scratch.join("data"), &[]);
    let mut child = command(&scratch.join("data"))
        .arg("status")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let (code, text) = ends(command(&scratch.join("data")).arg("status").stdout(full));
    assert_eq!(code, Some(73), "{text}");
    assert!(text.contains("standard output"), "{text}");
    drop(node);
}

#[test]
fn a_fault_that_nobody_can_be_told_keeps_its_exit_code() {
    let scratch = Scratch::new();
    let full = || OpenOptions::new().write(true).open("/dev/full").unwrap();
    let status = command(&scratch.join("data")).arg("status").stderr(full()).status().unwrap();
    assert_eq!(status.code(), Some(69));
}

#[test]
fn many_who_connect_and_say_nothing_are_in_the_way_of_nobody() {
    let scratch = Scratch::new();
    let node = Node::start(&scratch.join("data"), &["p2p_websocket_trusted_source_cidrs=none"]);
    let connect = |addr| std::net::TcpStream::connect(addr).unwrap();
    let _silent: Vec<_> = (0..100).map(|_| connect(node.admin())).collect();
    assert_eq!(node.status()["fsm_state"], "RUNNING");
    let _silent: Vec<_> = (0..100).map(|_| connect(node.feed())).collect();
    super::shown(&mut super::viewer(&node));
}

#[test]
fn an_operator_listener_that_others_reach_wants_the_key_for_every_look() {
    let scratch = Scratch::new();
    let node = Node::start(&scratch.join("data"), &["admin_listen=0.0.0.0:0"]);
    let host = format!("127.0.0.1:{}", node.admin().port());
    let get = |path: &str, key: &str| {
        super::http(host.parse().unwrap(), &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{key}"))
    };
    let refused = get("/metrics", "");
    assert!(refused.starts_with("HTTP/1.1 401 ") && refused.contains("admin.key"), "{refused}");
    assert!(get("/metrics", "Authorization: Bearer 0123\r\n").starts_with("HTTP/1.1 401 "));
    let key = fs::read_to_string(scratch.join("data").join("admin.key")).unwrap();
    let page = get("/metrics", &format!("Authorization: Bearer {key}\r\n"));
    assert!(page.starts_with("HTTP/1.1 200 ") && page.contains("peerage_peers_connected"), "{page}");
    assert!(get("/health", "").starts_with("HTTP/1.1 200 "));
    assert_eq!(node.status()["fsm_state"], "RUNNING", "the command line brings the key");
    fs::write(scratch.join("data").join("admin.key"), "0".repeat(64)).unwrap();
    assert_eq!(node.ask(&["status"]).status.code(), Some(77));
}

#[test]
fn an_address_that_is_missing_off_or_garbage_is_told_as_what_it_is() {
    let scratch = Scratch::new();
    let data = scratch.join("data");
    let _stranger = leads_to_a_stranger(&data);
    let lock = File::open(data.join("lock")).unwrap();
    lock.try_lock().unwrap();
    for (content, problem, remedy) in [
        (Some("garbage"), "admin.addr holds no address", "restart the node"),
        (Some(""), "operator listener is off", "set admin_listen"),
        (None, "not ready", "wait"),
    ] {
        match content {
            Some(content) => fs::write(data.join("admin.addr"), content).unwrap(),
            None => fs::remove_file(data.join("admin.addr")).unwrap(),
        }
        let (code, text) = ends(command(&data).arg("status"));
        assert_eq!(code, Some(69), "{text}");
        assert!(text.contains(problem), "{text}");
        assert!(text.split_once("remedy: ").is_some_and(|(_, told)| told.contains(remedy)), "{text}");
    }
}

#[test]
fn the_operator_listener_refuses_two_hosts_and_answers_alike_on_every_path() {
    let scratch = Scratch::new();
    let node = Node::start(&scratch.join("data"), &[]);
    let host = node.admin();
    let twice =
        super::http(host, &format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\nHost: evil.example\r\n"));
    assert!(twice.starts_with("HTTP/1.1 400 "), "{twice}");
    for path in ["/metrics", "/health", "/nothing"] {
        let answer = super::http(host, &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n")).to_lowercase();
        assert!(answer.contains("\r\nx-content-type-options: nosniff\r\n"), "{path}: {answer}");
        assert!(answer.contains("\r\ncontent-security-policy: default-src 'none'\r\n"), "{path}: {answer}");
    }
}
