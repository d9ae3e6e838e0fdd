//! Routing of inputs to components.

use alloc::string::String;
use alloc::vec::Vec;

use peerage_proto::peer_id::PeerId;

use super::ctx::{Ctx, Purpose};
use super::{Node, Parts};
use crate::conn::connections::Change;
use crate::conn::{self, DisconnectReason};
use crate::explain::Notice;
use crate::gossipsub::{self, Acceptance, Command};
use crate::gossipsub::{stream, watchdog};
use crate::input::{Action, Document, Failed, Input, OpResult};
use crate::op::OpId;
use crate::sink::Sink;
use crate::teranode::gossip::Delivered;
use crate::teranode::legacy::Parting;
use crate::time::{Now, Timer};

impl Node {
    pub(super) fn dispatch(&mut self, now: Now, input: Input, out: &mut impl Sink<Action>) {
        if self.state.is_stopped {
            return self.after_stop(now, input, out);
        }
        match input {
            Input::Start => self.on_start(now, out),
            Input::Timeout => self.on_timeout(now, out),
            Input::Conn(event) => self.on_conn(now, event, out),
            Input::Gossipsub(event) => {
                let (mut cx, mut parts) = self.split(now, out);
                if let stream::Event::Frame { connection, .. } = &event
                    && let Some(entry) = parts.conns.table().get(*connection)
                {
                    parts.watchdog.on_frame(now, &entry.peer);
                }
                let (router, mut hand) = parts.router(&mut cx);
                router.on_event(&mut hand, event);
            }
            Input::Teranode(input) => {
                let (mut cx, parts) = self.split(now, out);
                let connected = parts.conns.table().peer_count();
                let parting = parts.teranode.on_input(&mut cx, &parts.env, connected, input);
                if let Some((peer, reason)) = parting {
                    parts.conns.disconnect(&mut cx, &peer, reason);
                }
            }
            Input::Op(op, result) => self.on_op(now, op, result, out),
            Input::Loaded(Document::AddressCache, content) => {
                let (mut cx, parts) = self.split(now, out);
                parts.conns.load_cache(&mut cx, parts.conn_config, parts.timers, parts.local_peer, &content);
            }
            Input::Health { neighbour, up, detail } => {
                if self.state.health.is_up(neighbour) != up {
                    self.state.health.set(neighbour, up);
                    out.push(Notice::Health { neighbour, up, detail }.into());
                }
            }
            Input::Stop => self.on_stop(now, out),
        }
    }

    fn on_start(&mut self, now: Now, out: &mut impl Sink<Action>) {
        if core::mem::replace(&mut self.state.is_started, true) {
            return;
        }
        let (mut cx, mut parts) = self.split(now, out);
        parts.conns.start(&mut cx, parts.conn_config, parts.timers);
        let (router, mut hand) = parts.router(&mut cx);
        router.start(&mut hand);
        parts.teranode.start(&mut cx, &parts.env, parts.timers);
    }

    fn on_stop(&mut self, now: Now, out: &mut impl Sink<Action>) {
        let (mut cx, mut parts) = self.split(now, out);
        parts.teranode.stop(&mut cx);
        save_addresses(&mut cx, &mut parts);
        parts.router.stop();
        self.state.is_stopped = true;
    }

    /// What still comes after `Stop` is brought to its end and begins nothing.
    fn after_stop(&mut self, now: Now, input: Input, out: &mut impl Sink<Action>) {
        self.state.counters.after_stop = self.state.counters.after_stop.saturating_add(1);
        match input {
            Input::Conn(conn::Event::Incoming { pending, .. }) => {
                let reason = DisconnectReason::Shutdown;
                out.push(conn::Action::Refuse { pending, reason }.into());
            }
            Input::Conn(event @ (conn::Event::Closed { .. } | conn::Event::IncomingEnded { .. })) => {
                self.on_conn(now, event, out);
            }
            Input::Conn(conn::Event::AddressesAsked { ask, .. }) => {
                out.push(conn::Action::AnswerAddresses { ask, addrs: Vec::new() }.into());
            }
            Input::Op(op, result) => self.on_op_after_stop(now, op, result, out),
            Input::Start
            | Input::Timeout
            | Input::Conn(_)
            | Input::Gossipsub(_)
            | Input::Teranode(_)
            | Input::Loaded(..)
            | Input::Health { .. }
            | Input::Stop => {}
        }
    }

    /// What was begun before is counted to its end; nothing follows from it any more.
    fn on_op_after_stop(&mut self, now: Now, op: OpId, result: OpResult, out: &mut impl Sink<Action>) {
        let (mut cx, parts) = self.split(now, out);
        let Ok(purpose) = cx.ops.complete(op) else {
            cx.counters.ops_unknown = cx.counters.ops_unknown.saturating_add(1);
            return;
        };
        match purpose {
            Purpose::Publish(_)
            | Purpose::PublishLegacy
            | Purpose::Sign
            | Purpose::Produce { .. }
            | Purpose::Store(_) => complete(&mut cx, parts, op, purpose, result),
            Purpose::Dial(_)
            | Purpose::BlockHeader(_)
            | Purpose::BestBlock(_)
            | Purpose::Status
            | Purpose::Ask(_)
            | Purpose::Provide
            | Purpose::Search
            | Purpose::SendDirect(_)
            | Purpose::Greet(_)
            | Purpose::Verify => {}
        }
    }

    fn on_conn(&mut self, now: Now, event: conn::Event, out: &mut impl Sink<Action>) {
        let (mut cx, mut parts) = self.split(now, out);
        let (established, closed) = (established(&event), closed(parts.conns, &event));
        let change = parts.conns.on_event(&mut cx, parts.conn_config, parts.timers, parts.local_peer, event);
        if let Some((peer, id)) = closed {
            let (router, mut hand) = parts.router(&mut cx);
            router.on_closed(&mut hand, peer, id);
        }
        match change {
            Change::None => {}
            Change::Received(peer, bytes) => parts.watchdog.on_bytes(now, &peer, bytes),
            Change::Connected(peer) | Change::Another(peer) => {
                if change == Change::Connected(peer) {
                    parts.teranode.on_connected(&mut cx, &parts.env, peer);
                }
                if parts.teranode.bans().is_banned(now, &peer) {
                    parts.conns.disconnect(&mut cx, &peer, DisconnectReason::Banned);
                }
                if let Some(id) = established.filter(|id| !parts.conns.is_closing(*id)) {
                    let (router, mut hand) = parts.router(&mut cx);
                    router.on_connected(&mut hand, peer, id);
                }
            }
            Change::Disconnected(peer) => parts.forget(&peer),
            Change::Flooded { peer, was_last } => {
                if was_last {
                    parts.forget(&peer);
                }
                if let Some(peer) = parts.teranode.on_flood(&mut cx, &parts.env, peer) {
                    parts.conns.disconnect(&mut cx, &peer, DisconnectReason::Banned);
                }
            }
        }
    }

    /// Brings what families and router ask of each other to its end, and sends what may be sent.
    pub(super) fn settle(&mut self, now: Now, out: &mut impl Sink<Action>) {
        #[cfg(any(test, feature = "sim"))]
        self.asked.clear();
        loop {
            if let Some(command) = self.commands.pop_front() {
                #[cfg(any(test, feature = "sim"))]
                self.asked.push(command.clone());
                let (mut cx, mut parts) = self.split(now, out);
                let (router, mut hand) = parts.router(&mut cx);
                router.on_command(&mut hand, command);
            } else if let Some(event) = self.events.pop_front() {
                self.on_gossipsub(now, event, out);
            } else {
                break;
            }
        }
        let (mut cx, mut parts) = self.split(now, out);
        let (router, mut hand) = parts.router(&mut cx);
        router.flush(&mut hand);
    }

    /// Something that the router tells.
    fn on_gossipsub(&mut self, now: Now, event: gossipsub::Event, out: &mut impl Sink<Action>) {
        let (mut cx, parts) = self.split(now, out);
        let is_connected = |peer: &PeerId| parts.conns.table().is_connected(peer);
        match event {
            gossipsub::Event::Delivered { id, topic, propagation_source, source, data } => {
                parts.watchdog.on_delivered(now, &propagation_source, data.len());
                let delivered = Delivered { id, propagation_source, source, data };
                let parting =
                    on_delivered(&mut cx, parts.env, parts.teranode, parts.inner, &topic, delivered);
                if let Some((peer, reason)) = parting {
                    parts.conns.disconnect(&mut cx, &peer, reason);
                }
            }
            gossipsub::Event::Subscribed { peer, topic } => {
                // Other topics are worth nothing to us, and anybody can invent them.
                let is_ours = parts.env.topics.all().any(|ours| *ours == topic);
                if is_ours
                    && is_connected(&peer)
                    && parts.interests.subscribe(peer, topic, cx.limits.topics_per_peer_max)
                {
                    parts
                        .timers
                        .set_earlier(Timer::AddressCache, now.mono.after(parts.conn_config.cache_delay));
                }
            }
            gossipsub::Event::Unsubscribed { peer, topic } => parts.interests.unsubscribe(&peer, &topic),
            gossipsub::Event::Mesh { peer, member } => {
                if member && is_connected(&peer) {
                    parts.interests.set_mesh(peer, true);
                    parts.watchdog.join(now, peer);
                    parts.timers.set_earlier(Timer::Watchdog, now.mono.after(watchdog::INTERVAL));
                } else if !member {
                    if is_connected(&peer) {
                        parts.interests.set_mesh(peer, false);
                    }
                    parts.watchdog.leave(&peer);
                }
            }
            // Nobody's fault: it may be of use for addresses.
            gossipsub::Event::Unsupported { peer: _ } => {}
            gossipsub::Event::Exchanged { peer, addrs } => {
                let found = conn::Event::Found { peer, addrs, source: conn::Source::Peer };
                self.on_conn(now, found, out);
            }
            gossipsub::Event::Published { op, result } => match cx.ops.complete(op) {
                Ok(Purpose::Publish(kind)) => parts.teranode.on_published(&mut cx, Some(kind), &result),
                Ok(_) => parts.teranode.on_published(&mut cx, None, &result),
                Err(_) => cx.counters.ops_unknown = cx.counters.ops_unknown.saturating_add(1),
            },
        }
    }

    fn on_op(&mut self, now: Now, op: OpId, result: OpResult, out: &mut impl Sink<Action>) {
        let (mut cx, parts) = self.split(now, out);
        let Ok(purpose) = cx.ops.complete(op) else {
            cx.counters.ops_unknown = cx.counters.ops_unknown.saturating_add(1);
            return;
        };
        complete(&mut cx, parts, op, purpose, result);
    }
}

/// The connection that an event begins.
fn established(event: &conn::Event) -> Option<conn::ConnectionId> {
    if let conn::Event::Established { id, .. } = event { Some(*id) } else { None }
}

/// Whose connection an event ends, and which.
fn closed(conns: &conn::Connections, event: &conn::Event) -> Option<(PeerId, conn::ConnectionId)> {
    let conn::Event::Closed { id, .. } = event else { return None };
    Some((conns.table().get(*id)?.peer, *id))
}

/// A message on any topic. Returns whom to part from.
fn on_delivered<S: Sink<Action>>(
    cx: &mut Ctx<'_, S>,
    env: crate::teranode::service::Env<'_>,
    teranode: &mut crate::teranode::Service,
    inner: &mut Vec<u8>,
    topic: &gossipsub::Topic,
    delivered: Delivered,
) -> Option<Parting> {
    cx.counters.delivered = cx.counters.delivered.saturating_add(1);
    cx.counters.delivered_bytes = cx.counters.delivered_bytes.saturating_add(delivered.data.len() as u64);
    if let Some(kind) = env.topics.kind(topic) {
        let banned = teranode.on_delivered(cx, &env, inner, kind, delivered)?;
        return Some((banned, DisconnectReason::Banned));
    }
    let end = teranode.on_legacy_topic(cx, &env, topic, &delivered);
    let acceptance = match end {
        Some((cause, _)) => {
            cx.counters.end_legacy(cause);
            cause.acceptance_by(&env)
        }
        None => {
            cx.counters.gossip_unknown_topic = cx.counters.gossip_unknown_topic.saturating_add(1);
            Acceptance::Ignore
        }
    };
    let Delivered { id, propagation_source, .. } = delivered;
    cx.ask_router(Command::Report { id, propagation_source, acceptance, again: false });
    end.and_then(|(_, parting)| parting)
}

/// Connected peers that subscribed to a topic of ours, with their names for the address cache.
fn topic_peers(parts: &Parts<'_>) -> Vec<(PeerId, String)> {
    let name = |peer: &PeerId| match parts.teranode.registry().get(peer) {
        Some(info) if !info.client_name.is_empty() => info.client_name.clone(),
        _ => "unknown".into(),
    };
    parts.interests.subscribers().map(|peer| (*peer, name(peer))).collect()
}

/// Writes the address cache, unless that would only forget those of an earlier time.
pub(super) fn save_addresses<S: Sink<Action>>(cx: &mut Ctx<'_, S>, parts: &mut Parts<'_>) {
    let topic_peers = topic_peers(parts);
    if !topic_peers.is_empty() {
        parts.conns.save_cache(cx, topic_peers.into_iter());
    }
}

/// Brings an operation to its end. A result of another kind than its purpose is a shell's bug and counts as a failure.
fn complete<S: Sink<Action>>(
    cx: &mut Ctx<'_, S>,
    mut parts: Parts<'_>,
    op: OpId,
    purpose: Purpose,
    result: OpResult,
) {
    use conn::DialError;
    if let Purpose::Sign | Purpose::Verify = purpose {
        let (router, mut hand) = parts.router(cx);
        match (purpose, result) {
            (Purpose::Sign, OpResult::Signed(signed)) => router.on_signed(&mut hand, op, signed),
            (Purpose::Sign, _) => router.on_signed(&mut hand, op, Err(Failed("no signature".into()))),
            (_, OpResult::Verified(ends)) => router.on_verified(&mut hand, op, &ends),
            (_, _) => router.on_verified(&mut hand, op, &[]),
        }
        return;
    }
    let Parts { conn_config, local_peer, env, timers, conns, teranode, .. } = parts;
    let mismatch = || gossipsub::PublishError::Refused("a result of another kind".into());
    let unavailable = || crate::teranode::chain::QueryError::Unavailable("a result of another kind".into());
    match (purpose, result) {
        (Purpose::Dial(target), OpResult::Dialed(result)) => {
            conns.on_dialed(cx, conn_config, timers, &target, result);
        }
        (Purpose::Dial(target), _) => {
            conns.on_dialed(cx, conn_config, timers, &target, Err(DialError::TimedOut));
        }
        // The router ends these; a shell that does is mistaken.
        (Purpose::Publish(kind), _) => teranode.on_published(cx, Some(kind), &Err(mismatch())),
        (Purpose::PublishLegacy, _) => teranode.on_published(cx, None, &Err(mismatch())),
        (Purpose::Sign | Purpose::Verify, _) => {}
        (Purpose::Produce { kind, hash, peer }, result) => {
            let ok = matches!(result, OpResult::Produced(Ok(())));
            teranode.on_produced(cx, kind, hash, &peer, ok);
        }
        (Purpose::BlockHeader(hash), result) => {
            let result = if let OpResult::Queried(result) = result { result } else { Err(unavailable()) };
            teranode.on_block_header(cx, &env, hash, result);
        }
        (Purpose::BestBlock(asker), result) => {
            let result = if let OpResult::Queried(result) = result { result } else { Err(unavailable()) };
            teranode.on_best_block_header(cx, &env, asker, result);
        }
        (Purpose::Status, result) => {
            let result = if let OpResult::Queried(result) = result { result } else { Err(unavailable()) };
            let connected = conns.table().peer_count();
            teranode.on_status(cx, &env, connected, result);
        }
        (Purpose::Store(_), result) => {
            if !matches!(result, OpResult::Stored(Ok(()))) {
                cx.counters.store_failed = cx.counters.store_failed.saturating_add(1);
            }
            conns.on_saved(cx.now, conn_config, timers);
        }
        (Purpose::Ask(author), result) => {
            if let OpResult::Addresses(Ok(addrs)) = result {
                conns.on_addresses(cx, conn_config, timers, local_peer, author, addrs);
            }
        }
        (Purpose::Provide, result) => {
            let ok = matches!(result, OpResult::Provided(Ok(())));
            conns.on_provided(cx.now, conn_config, timers, ok);
        }
        (Purpose::Search, _) => {}
        (Purpose::Greet(_), result) => {
            let ok = matches!(result, OpResult::SentDirect(Ok(())));
            teranode.on_greeted(cx, &env, ok);
        }
        (Purpose::SendDirect(_), _) => {}
    }
}
