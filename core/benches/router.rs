//! What one copy of a message costs the router, without the check of its signature: the first one, which is judged and
//! handed on to a mesh, and those that follow. In nanoseconds and allocations. Run with
//! `cargo bench -p peerage-core --bench router`.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a benchmark reads the clock"
)]

#[path = "../tests/rig/mod.rs"]
mod rig;

use std::alloc::System;
use std::time::{Duration, Instant};

use bytes::Bytes;
use peerage_core::conn::ConnectionId;
use peerage_core::gossipsub::stream::{self, CheckEnd};
use peerage_core::input::{Action, Input, OpResult};
use peerage_core::proto::envelope;
use peerage_core::proto::pubsub::{Message, Rpc};
use peerage_core::sink::Actions;
use peerage_core::teranode::TopicKind;
use peerage_core::{Core as _, Limits};
use rig::{Rig, peer, subtree};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static GLOBAL: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const MESSAGES: u64 = 10_000;
const ROUNDS: usize = 7;
const PEERS: u8 = 6;

#[derive(Default, Clone, Copy)]
struct Cost {
    spent: Duration,
    allocations: usize,
    count: u64,
}

impl Cost {
    fn print(&self, name: &str) {
        let count = self.count as f64;
        let ns = self.spent.as_nanos() as f64 / count;
        println!("{name:<12} {ns:>10.0} {:>12.2}", self.allocations as f64 / count);
    }
}

fn frame(topic: &str, n: u64) -> Bytes {
    let mut data = Vec::new();
    let json = subtree(&peer(1).to_base58(), &format!("{n:064x}"));
    envelope::wrap("peer", json.as_bytes(), &mut data);
    let seqno = n.to_be_bytes();
    let author = peer(1);
    let message = Message {
        from: Some(author.as_bytes()),
        data: Some(&data),
        seqno: Some(&seqno),
        topic: Some(topic.as_bytes()),
        signature: Some(&[5; 64]),
        ..Message::default()
    };
    let mut out = Vec::new();
    Rpc { publish: vec![message], ..Rpc::default() }.encode(&mut out);
    out.into()
}

fn main() {
    println!("{:<12} {:>10} {:>12}", "copy", "ns", "allocations");
    let mut rounds: Vec<(Cost, Cost)> = (0..ROUNDS).map(|_| round()).collect();
    rounds.sort_by_key(|(first, _)| first.spent);
    let (first, _) = rounds[ROUNDS / 2];
    rounds.sort_by_key(|(_, later)| later.spent);
    let (_, later) = rounds[ROUNDS / 2];
    first.print("first");
    later.print("later");
}

fn round() -> (Cost, Cost) {
    let mut rig = Rig::mended();
    let topic = rig.node.config().teranode.topic(TopicKind::Subtree).as_str().to_owned();
    for n in 1..=PEERS {
        rig.connect(n.into(), peer(n));
        rig.subscribe(peer(n), &topic);
        rig.graft(peer(n), &topic);
    }
    let mut produced = Vec::new();
    let mut out: Actions<Action> = Actions::bounded(Limits::default().actions_per_input_max());
    let (mut first, mut later) = (Cost::default(), Cost::default());
    for n in 0..MESSAGES {
        rig.advance_ms(1);
        let frame = frame(&topic, n);
        for at in 0..u64::from(PEERS) {
            let connection = ConnectionId(1 + (n + at) % u64::from(PEERS));
            let cost = if at == 0 { &mut first } else { &mut later };
            let event = stream::Event::Frame { connection, frame: frame.clone() };
            let mut next = Some(Input::Gossipsub(event));
            cost.count += 1;
            while let Some(input) = next.take() {
                let region = Region::new(GLOBAL);
                let began = Instant::now();
                rig.node.handle(rig.now, input, &mut out);
                cost.spent += began.elapsed();
                let change = region.change();
                cost.allocations += change.allocations + change.reallocations;
                for action in out.drain() {
                    match action {
                        Action::Gossipsub(stream::Action::Verify { op, checks }) => {
                            let ends = vec![CheckEnd::Valid; checks.len()];
                            next = Some(Input::Op(op, OpResult::Verified(ends)));
                        }
                        Action::Teranode(peerage_core::teranode::Action::Produce { op, .. }) => {
                            produced.push(op);
                        }
                        Action::Conn(_)
                        | Action::Gossipsub(_)
                        | Action::Teranode(_)
                        | Action::Store { .. }
                        | Action::Notice(_) => {}
                    }
                }
            }
        }
        for op in produced.drain(..) {
            rig.node.handle(rig.now, Input::Op(op, OpResult::Produced(Ok(()))), &mut out);
        }
        for n in 1..=PEERS {
            let written = stream::Event::Written { connection: ConnectionId(n.into()), bytes: 1 << 20 };
            rig.node.handle(rig.now, Input::Gossipsub(written), &mut out);
        }
        out.drain().for_each(drop);
    }
    (first, later)
}
