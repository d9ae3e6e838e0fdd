//! Two swarms over the transport of a runtime: one sends more than the other's budget.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures::FutureExt as _;
use futures_timer::Delay;
use libp2p::identity::Keypair;
use peerage_core::conn::{Action as Conn, CloseReason, DhtMode, Event};
use peerage_core::gossipsub::stream::{Action as Gossip, Event as GossipEvent};
use peerage_core::input::Input;
use peerage_core::op::OpId;
use peerage_core::proto::pubsub::{Message, Rpc};
use peerage_shell::p2p::behaviour::Options;
use peerage_shell::p2p::budget::Budget;
use peerage_shell::p2p::{Announce, P2p, Start};
use peerage_shell::runtime::{Shared, Spawn};

pub const PUBLICATIONS: u32 = 3000;
const PATIENCE: Duration = Duration::from_secs(30);

fn swarm(runtime: &Shared, key: &Keypair, budget: Budget) -> P2p {
    P2p::new(Start {
        raw: runtime.transport(true).unwrap(),
        executor: Box::new(Spawn(Arc::clone(runtime))),
        unblock: Arc::new(|work| work()),
        options: Options {
            key,
            frame_bytes_max: 1 << 20,
            dht_mode: DhtMode::Off,
            protocol_version: String::new(),
            agent_version: String::new(),
            nat: false,
            dial_private: true,
        },
        announce: Announce::Listening { private: true },
        budget,
        relays: vec![],
        mdns: false,
        tally: Arc::default(),
    })
    .unwrap()
}

/// The flood: RPCs with one message each.
fn publications(message: usize) -> Vec<Vec<u8>> {
    let publication = |number: u32| {
        let mut data = vec![7; message];
        data[..4].copy_from_slice(&number.to_be_bytes());
        let publish = vec![Message { data: Some(&data), topic: Some(b"flood"), ..Message::default() }];
        let mut frame = Vec::new();
        Rpc { publish, ..Rpc::default() }.encode_delimited(&mut frame);
        frame
    };
    (0..PUBLICATIONS).map(publication).collect()
}

/// What the victim makes of it: how many messages it heard, and why the connection ended.
pub async fn flood(runtime: Shared, budget: Budget, message: usize) -> (u32, CloseReason) {
    let generous = Budget {
        bytes_per_second_max: 1 << 40,
        messages_per_second_max: 1 << 40,
        patience: Duration::from_secs(3600),
        floods: Arc::<AtomicU64>::default(),
    };
    let floods = Arc::clone(&budget.floods);
    let (one, two) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
    let (mut victim, mut flooder) = (swarm(&runtime, &one, budget), swarm(&runtime, &two, generous));
    victim.start_conn(Conn::Listen { addr: "/ip4/127.0.0.1/tcp/0".parse().unwrap() });
    let (mut heard, mut deadline) = (0, Delay::new(PATIENCE));
    let closed = poll_fn(|cx| {
        assert!(deadline.poll_unpin(cx).is_pending(), "the flood goes on; {heard} messages were heard");
        while let Poll::Ready(input) = flooder.poll_next(cx) {
            match input {
                Input::Conn(Event::Established { id, .. }) => {
                    flooder.start_gossip(Gossip::Open { connection: id });
                }
                Input::Gossipsub(GossipEvent::Opened { connection, .. }) => {
                    let frames = publications(message).into_iter().map(Into::into).collect();
                    flooder.start_gossip(Gossip::Send { connection, frames });
                }
                _ => {}
            }
        }
        while let Poll::Ready(input) = victim.poll_next(cx) {
            match input {
                Input::Conn(Event::Listening { addr }) => {
                    flooder.start_conn(Conn::Dial { op: op(0), peer: None, addrs: vec![addr] });
                }
                Input::Conn(Event::Incoming { pending, .. }) => victim.start_conn(Conn::Admit { pending }),
                Input::Conn(Event::Closed { reason, .. }) => return Poll::Ready(reason),
                Input::Gossipsub(GossipEvent::Frame { .. }) => heard += 1,
                _ => {}
            }
        }
        Poll::Pending
    })
    .await;
    assert_eq!(floods.load(Ordering::Relaxed), 1, "counted once");
    (heard, closed)
}

/// Budgets so small that the flood is over them, for 300 ms.
pub fn small(bytes_per_second_max: u64, messages_per_second_max: u64) -> Budget {
    let patience = Duration::from_millis(300);
    Budget { bytes_per_second_max, messages_per_second_max, patience, floods: Arc::default() }
}

fn op(number: u64) -> OpId {
    peerage_core::codec::decode_all(&number.to_le_bytes()).unwrap()
}
