//! What the shell supplies, used as the neutral crate would.
#![allow(clippy::unwrap_used)]

use futures::channel::oneshot;
use futures::{AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _, StreamExt as _, future};
use peerage_shell::runtime::{Runtime as _, bind, unblock};
use peerage_smol::runtime::{Smol, block_on};

#[test]
fn a_spawned_task_runs_on_the_thread_that_blocks() {
    let (send, receive) = oneshot::channel();
    let task = async move {
        let _ = send.send(std::thread::current().id());
    };
    Smol.spawn(task.boxed());
    assert_eq!(block_on(receive).unwrap(), std::thread::current().id());
}

#[test]
fn blocking_work_runs_on_another_thread() {
    let elsewhere = block_on(unblock(&Smol, || std::thread::current().id())).unwrap();
    assert_ne!(elsewhere, std::thread::current().id());
}

#[test]
fn a_stream_is_accepted_and_says_from_where() {
    block_on(async {
        let (mut listener, addr) = bind(&Smol, "127.0.0.1:0".parse().unwrap()).unwrap();
        let (accepted, connected) = future::join(listener.accept(), Smol.connect(addr)).await;
        let ((mut accepted, from), mut connected) = (accepted.unwrap(), connected.unwrap());
        assert!(from.ip().is_loopback());
        connected.write_all(b"ping").await.unwrap();
        connected.close().await.unwrap();
        let mut text = String::new();
        accepted.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "ping");
    });
}

#[test]
fn a_port_in_use_is_refused() {
    let (_held, addr) = bind(&Smol, "127.0.0.1:0".parse().unwrap()).unwrap();
    let error = bind(&Smol, addr).err().unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
}

#[test]
fn sigterm_is_told_and_does_not_end_the_process() {
    let mut caught = Smol.signals().unwrap();
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM).unwrap();
    assert_eq!(block_on(caught.next()), Some(()));
}
