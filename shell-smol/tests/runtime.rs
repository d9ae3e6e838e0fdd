//! What the shell supplies, used as the neutral crate would.
#![allow(clippy::unwrap_used)]

use futures::channel::oneshot;
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt, future};
use peerage_smol::runtime::{Signal, TcpListener, block_on, connect, resolve, signals, spawn, unblock};

#[test]
fn a_spawned_task_runs_on_the_thread_that_blocks() {
    let (send, receive) = oneshot::channel();
    spawn(async move {
        let _ = send.send(7);
    });
    assert_eq!(block_on(receive).unwrap(), 7);
    assert_eq!(block_on(unblock(|| 8)), 8);
}

#[test]
fn a_stream_is_accepted_with_nodelay_and_the_peers_address() {
    block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = listener.local_addr().unwrap();
        let (accepted, connected) = future::join(listener.accept(), connect(addr)).await;
        let ((mut accepted, peer), mut connected) = (accepted.unwrap(), connected.unwrap());
        assert_eq!(peer, connected.local_addr().unwrap());
        assert!(accepted.nodelay().unwrap() && connected.nodelay().unwrap());
        connected.write_all(b"ping").await.unwrap();
        connected.close().await.unwrap();
        let mut text = String::new();
        accepted.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "ping");
    });
}

#[test]
fn a_port_in_use_is_said_with_its_address() {
    let held = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = held.local_addr().unwrap();
    let error = TcpListener::bind(addr).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    assert_eq!(error.to_string(), format!("cannot listen on {addr}: the port is already in use"));
}

#[test]
fn localhost_resolves_to_loopback() {
    let found = block_on(resolve("localhost", 80)).unwrap();
    assert!(!found.is_empty() && found.iter().all(|addr| addr.ip().is_loopback() && addr.port() == 80));
}

#[test]
fn sigterm_is_told_and_does_not_end_the_process() {
    let mut caught = signals().unwrap();
    let kill = format!("kill -TERM {}", std::process::id());
    assert!(std::process::Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    assert_eq!(block_on(caught.next()), Some(Signal::Terminate));
}
