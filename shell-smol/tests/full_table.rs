//! A file table that is full. A process of its own: the limit is the process's.
#![allow(missing_docs, clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

use std::future::poll_fn;
use std::net::TcpStream;
use std::pin::Pin;
use std::time::{Duration, Instant};

use libp2p::Transport as _;
use libp2p::core::transport::{ListenerId, TransportEvent};
use peerage_smol::runtime::block_on;
use peerage_smol::transport::Tcp;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const PAUSE: Duration = Duration::from_millis(100);

#[test]
fn errors_of_accept_are_told_a_few_times_a_second_until_there_is_room_again() {
    block_on(async {
        let mut tcp = Tcp::default();
        tcp.listen_on(ListenerId::next(), "/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
        let TransportEvent::NewAddress { listen_addr, .. } = poll_fn(|cx| Pin::new(&mut tcp).poll(cx)).await
        else {
            panic!("no address")
        };
        let port = listen_addr.to_string().rsplit('/').next().unwrap().parse().unwrap();
        let _waits = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let before = getrlimit(Resource::Nofile);
        // Those that are open stay so; there is no number below 3 for another.
        setrlimit(Resource::Nofile, Rlimit { current: Some(3), ..before }).unwrap();
        let start = Instant::now();
        for told in 0..4_u32 {
            let event = poll_fn(|cx| Pin::new(&mut tcp).poll(cx)).await;
            let TransportEvent::ListenerError { error, .. } = event else { panic!("{event:?}") };
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE), "{error}");
            assert!(start.elapsed() >= PAUSE * told, "it spins");
        }
        setrlimit(Resource::Nofile, before).unwrap();
        let event = poll_fn(|cx| Pin::new(&mut tcp).poll(cx)).await;
        assert!(matches!(event, TransportEvent::Incoming { .. }), "who waited comes in: {event:?}");
    });
}
