//! What one message costs the whole handler: envelope, JSON, verdict, registry, notification and record, in
//! nanoseconds and allocations. Run with `cargo bench -p peerage-core`.
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
use std::time::Instant;

use peerage_core::gossipsub::{Event, MessageId};
use peerage_core::input::{Action, Input, OpResult};
use peerage_core::proto::envelope;
use peerage_core::sink::Actions;
use peerage_core::teranode::{self, TopicKind};
use peerage_core::{Core as _, Limits};
use rig::{Rig, block, hash_text, peer, status, subtree};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static GLOBAL: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const MESSAGES: usize = 20_000;
const ROUNDS: usize = 7;

/// Distinct messages of one known author.
fn messages(kind: TopicKind, count: usize) -> Vec<Vec<u8>> {
    let id = peer(1).to_base58();
    let (block_json, _) = block(&peer(1), 101, 7);
    let inner = |n: usize| match kind {
        TopicKind::Block => block_json.clone(),
        TopicKind::Subtree => {
            let hash = format!("{n:064x}");
            subtree(&id, &hash)
        }
        TopicKind::RejectedTx => rig::rejected(&id, &hash_text(1)),
        TopicKind::NodeStatus => {
            status(&id, 101, r#","tx_count":42,"subtree_count":3,"min_mining_tx_fee":5e-7,"storage":"full""#)
        }
    };
    (0..count)
        .map(|n| {
            let mut data = Vec::new();
            envelope::wrap("peer", inner(n).as_bytes(), &mut data);
            data
        })
        .collect()
}

fn main() {
    println!("{:<12} {:>10} {:>12} {:>14}", "topic", "ns", "allocations", "bytes");
    let only = std::env::args().nth(1).filter(|name| !name.starts_with("--"));
    for kind in TopicKind::ALL.into_iter().filter(|kind| only.as_ref().is_none_or(|only| only == kind.name()))
    {
        let mut rounds: Vec<(f64, f64, f64)> = (0..ROUNDS).map(|_| round(kind)).collect();
        rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (ns, allocations, bytes) = rounds[ROUNDS / 2];
        println!("{:<12} {ns:>10.0} {allocations:>12.2} {bytes:>14.0}", kind.name());
    }
}

fn round(kind: TopicKind) -> (f64, f64, f64) {
    let mut rig = Rig::mended();
    rig.join_feed(1);
    let topic = rig.node.config().teranode.topic(kind);
    let messages = messages(kind, MESSAGES);
    let events: Vec<Event> = messages
        .into_iter()
        .enumerate()
        .map(|(n, data)| {
            let mut id = peer(1).as_bytes().to_vec();
            id.extend_from_slice(&n.to_be_bytes());
            let (source, topic) = (peer(1), topic.clone());
            Event::Delivered {
                id: MessageId(id.into()),
                topic,
                propagation_source: source,
                source,
                data: data.into(),
            }
        })
        .collect();
    let mut out: Actions<Action> = Actions::bounded(Limits::default().actions_per_input_max());
    let mut acks = Vec::with_capacity(8);
    let (mut spent, mut allocations, mut bytes) = (std::time::Duration::ZERO, 0, 0);
    for event in events {
        rig.advance_ms(20_000 / 1000);
        let region = Region::new(GLOBAL);
        let began = Instant::now();
        rig.node.tell_families(rig.now, event, &mut out);
        spent += began.elapsed();
        let change = region.change();
        allocations += change.allocations + change.reallocations;
        bytes += change.bytes_allocated;
        for action in out.drain() {
            if let Action::Teranode(teranode::Action::Produce { op, .. }) = action {
                acks.push(op);
            }
        }
        for op in acks.drain(..) {
            rig.node.handle(rig.now, Input::Op(op, OpResult::Produced(Ok(()))), &mut out);
        }
        out.drain().for_each(drop);
    }
    let per = |total: f64| total / MESSAGES as f64;
    (per(spent.as_nanos() as f64), per(allocations as f64), per(bytes as f64))
}
