//! Connections and streams: what each beginning and end means for the parts.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::net::IpAddr;

use peerage_proto::peer_id::PeerId;

use super::control_frames::Changes;
use super::{Hand, Router, bump};
use crate::common::timers::Timers;
use crate::conn::outbox::Class;
use crate::conn::{ConnectionId, Direction, DisconnectReason};
use crate::gossipsub::Event;
use crate::gossipsub::peers::Version;
use crate::gossipsub::stream::{self, Action, StreamEnd};
use crate::gossipsub::streams::Ended;
use crate::gossipsub::topic::TopicName;
use crate::input;
use crate::sink::Sink;
use crate::time::Timer;

impl Router {
    /// A connection with `peer` stands.
    pub fn on_connected<S: Sink<input::Action>>(
        &mut self,
        hand: &mut Hand<'_, '_, S>,
        peer: PeerId,
        connection: ConnectionId,
    ) {
        hand.conns.outboxes_mut().add(peer);
        if hand.setup.scoring().is_some() {
            let table = hand.conns.table();
            let of = |id: &ConnectionId| table.get(*id).and_then(|connection| connection.addr.ip());
            // Every host has a loopback: it tells nothing of who shares it.
            let addresses: Vec<IpAddr> =
                table.of_peer(&peer).iter().filter_map(of).filter(|address| !address.is_loopback()).collect();
            self.scores.add_peer(peer, &addresses);
        }
        if self.streams.on_connected(peer, connection) && !self.is_stopped {
            hand.cx.push(Action::Open { connection });
        }
    }

    /// A connection of `peer` closed.
    pub fn on_closed<S: Sink<input::Action>>(
        &mut self,
        hand: &mut Hand<'_, '_, S>,
        peer: PeerId,
        connection: ConnectionId,
    ) {
        let closed = self.streams.on_closed(&peer, connection, hand.conns.table().of_peer(&peer));
        if closed.inbound_lost {
            self.clear_subscriptions(hand, peer);
        }
        match (closed.outbound_lost, closed.open) {
            // Our stream moves, and the peer may not learn that there was another: the meshes stay as they are, and it is
            // told of them on the new one.
            (true, Some(_)) => hand.conns.outboxes_mut().close(&peer),
            (true, None) => self.lose_mesh(hand, peer),
            (false, _) => {}
        }
        if closed.is_gone {
            self.clear_subscriptions(hand, peer);
            self.lose_mesh(hand, peer);
            self.peers.remove(&peer);
            self.promises.forget(&peer);
            if let Some(scoring) = hand.setup.scoring() {
                self.scores.remove_peer(hand.cx.now.mono, &peer, &scoring.params);
            }
            hand.conns.outboxes_mut().remove(&peer);
        }
        if let Some(connection) = closed.open.filter(|_| !self.is_stopped) {
            hand.cx.push(Action::Open { connection });
        }
    }

    /// Something happened to a stream.
    pub fn on_event<S: Sink<input::Action>>(&mut self, hand: &mut Hand<'_, '_, S>, event: stream::Event) {
        let connection = match &event {
            stream::Event::Opened { connection, .. }
            | stream::Event::Ended { connection, .. }
            | stream::Event::Written { connection, .. }
            | stream::Event::InboundOpened { connection, .. }
            | stream::Event::InboundEnded { connection }
            | stream::Event::Frame { connection, .. }
            | stream::Event::FrameTooLong { connection, .. } => *connection,
        };
        // What closed has been told, and may overtake what was on its way.
        let Some(peer) = hand.conns.table().get(connection).map(|entry| entry.peer) else {
            return if let stream::Event::Frame { frame, .. } = event {
                bump(&mut self.tally.frames, 1);
                bump(&mut self.tally.frame_bytes, frame.len());
                bump(&mut self.tally.frames_stray, 1);
            };
        };
        match event {
            stream::Event::Opened { version, .. } => self.on_opened(hand, peer, connection, version),
            stream::Event::Ended { end, .. } => self.on_ended(hand, peer, connection, end),
            stream::Event::Written { bytes, .. } => {
                if self.streams.connection(&peer) == Some(connection) {
                    hand.conns.outboxes_mut().written(peer, bytes);
                }
            }
            stream::Event::InboundOpened { version, .. } => {
                if self.streams.on_inbound_opened(&peer, connection, version) {
                    hand.conns.outboxes_mut().touch(peer);
                }
                if self.peers.get(&peer).is_none() && !self.streams.is_unsupported(&peer) {
                    self.add_peer(hand, peer, version);
                }
            }
            stream::Event::InboundEnded { .. } => {
                if self.streams.on_inbound_ended(&peer, connection) {
                    let topics = self.clear_subscriptions(hand, peer);
                    self.streams.lose_inbound(hand.now(), &peer, topics);
                    hand.conns.outboxes_mut().touch(peer);
                    self.plan_reopening(hand.timers);
                }
            }
            stream::Event::Frame { frame, .. } => self.on_frame(hand, peer, connection, &frame),
            stream::Event::FrameTooLong { .. } => {
                bump(&mut self.tally.frames_too_long, 1);
                self.scores.penalize(&peer, 1);
            }
        }
    }

    fn add_peer<S>(&mut self, hand: &Hand<'_, '_, S>, peer: PeerId, version: Version) {
        let table = hand.conns.table();
        let is_ours = |id: &ConnectionId| {
            table.get(*id).is_some_and(|connection| matches!(connection.direction, Direction::Outbound(_)))
        };
        let outbound = table.of_peer(&peer).iter().any(is_ours);
        // As many as there may be connections.
        let _ = self.peers.add(peer, version, outbound, hand.setup.direct.contains(&peer));
    }

    fn on_opened<S: Sink<input::Action>>(
        &mut self,
        hand: &mut Hand<'_, '_, S>,
        peer: PeerId,
        connection: ConnectionId,
        version: Version,
    ) {
        if !self.streams.on_opened(&peer, connection) {
            return hand.cx.push(Action::Close { connection });
        }
        self.add_peer(hand, peer, version);
        if !version.has_mesh() {
            // It may have been grafted by what it chose on its own stream, or on an earlier one of ours.
            self.lose_mesh(hand, peer);
        }
        hand.conns.outboxes_mut().open(peer);
        let is_member = |name: &&TopicName| self.mesh.members(name).any(|member| *member == peer);
        let grafts: Vec<_> = self.names.iter().filter(is_member).cloned().collect();
        for frame in (Changes { grafts, prunes: Vec::new() }).frames() {
            hand.queue(peer, Class::High, frame);
        }
    }

    fn on_ended<S: Sink<input::Action>>(
        &mut self,
        hand: &mut Hand<'_, '_, S>,
        peer: PeerId,
        connection: ConnectionId,
        end: StreamEnd,
    ) {
        let stood = self.streams.connection(&peer) == Some(connection);
        let ended = self.streams.on_ended(hand.now(), &peer, connection, end);
        if stood {
            bump(&mut self.tally.streams_ended, 1);
        }
        // One that could not be opened was none that the peer lost: the next one tells it of the meshes.
        if stood || ended == Ended::Unsupported {
            self.lose_mesh(hand, peer);
        }
        match ended {
            Ended::Unsupported => {
                // What it may tell us on a stream of its own is of no use: nothing could be sent to it.
                self.clear_subscriptions(hand, peer);
                self.peers.remove(&peer);
                hand.events.push_back(Event::Unsupported { peer });
            }
            Ended::GiveUp => {
                bump(&mut self.tally.streams_given_up, 1);
                hand.conns.close(hand.cx, connection, DisconnectReason::StreamLost);
            }
            Ended::Wait => {}
        }
        self.plan_reopening(hand.timers);
    }

    fn plan_reopening(&self, timers: &mut Timers) {
        if let Some(at) = self.streams.next_reopening() {
            timers.set_earlier(Timer::Reopen, at);
        }
    }

    /// Streams whose time has come are opened again, and peers that have none to us are given up.
    pub fn reopen<S: Sink<input::Action>>(&mut self, hand: &mut Hand<'_, '_, S>) {
        for peer in self.streams.silent(hand.now()) {
            bump(&mut self.tally.streams_given_up, 1);
            hand.conns.disconnect(hand.cx, &peer, DisconnectReason::StreamLost);
        }
        for connection in self.streams.reopen(hand.now()) {
            hand.cx.push(Action::Open { connection });
        }
        self.plan_reopening(hand.timers);
    }

    /// Our stream to `peer` is gone: it is in no mesh any more.
    fn lose_mesh<S: Sink<input::Action>>(&mut self, hand: &mut Hand<'_, '_, S>, peer: PeerId) {
        hand.conns.outboxes_mut().close(&peer);
        let names: Vec<_> = self.names.iter().cloned().collect();
        for name in names {
            if self.mesh.members(&name).any(|member| *member == peer)
                && let Some(scoring) = hand.setup.scoring()
            {
                self.scores.prune(&peer, &name, &scoring.params);
            }
        }
        self.mesh.remove(&peer);
        self.tell_mesh(hand, peer);
    }

    /// The last stream of `peer` is gone, and what it told on it.
    fn clear_subscriptions<S: Sink<input::Action>>(
        &mut self,
        hand: &mut Hand<'_, '_, S>,
        peer: PeerId,
    ) -> BTreeSet<TopicName> {
        let topics = self.peers.clear_subscriptions(&peer);
        for name in &topics {
            self.forget_subscription(hand, peer, name);
        }
        topics
    }
}
