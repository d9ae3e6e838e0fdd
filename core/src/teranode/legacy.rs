//! The exchange of the older family: handshake, best block, mining on (spec 3.5 to 3.7). Each part is off unless its
//! topic is set.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use peerage_proto::hash::Hash256;
use peerage_proto::json::{BestBlockMessage, HandshakeMessage, MiningOnMessage};
use peerage_proto::notification::{Notification, timestamp};
use peerage_proto::peer_id::PeerId;

use super::announce::{ascii, with_block_message};
use super::chain::{self, Answer, QueryError};
use super::config::ListenMode;
use super::registry::Told;
use super::service::{Env, Service};
use super::{Action, gossip::Delivered};
use crate::gossipsub::{Acceptance, Topic};
use crate::input;
use crate::node::ctx::{Ctx, Purpose};
use crate::sink::Sink;

/// Longest document taken from a direct stream or a legacy topic, in bytes (spec 2.6).
const DOCUMENT_BYTES_MAX: usize = 64 << 10;

impl Service {
    /// What the router is told of a message on a topic of the older family, which is used; none: the topic is not one of
    /// those. They carry no envelope.
    pub fn on_legacy_topic<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        env: &Env<'_>,
        topic: &Topic,
        delivered: &Delivered,
    ) -> Option<Acceptance> {
        let Delivered { source, data, .. } = delivered;
        if !env.topics.is_legacy(topic) {
            return None;
        }
        if self.bans.is_banned(cx.now, source) && !env.is_strict() {
            return Some(Acceptance::Ignore);
        }
        let is = |legacy: &Option<Topic>| legacy.as_ref() == Some(topic);
        let fits = data.len() <= DOCUMENT_BYTES_MAX && source != env.local_peer;
        match () {
            () if is(&env.topics.handshake) && fits => self.on_handshake(cx, env, *source, data),
            () if is(&env.topics.best_block) && fits => self.on_best_block(cx, env, *source, data),
            () if is(&env.topics.mining_on) && fits => self.on_mining_on(cx, env, *source, data),
            () => return Some(Acceptance::Ignore),
        }
        Some(Acceptance::Accept)
    }

    /// A document on a direct stream: a handshake, or a block in answer to a request of ours.
    pub fn on_direct<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        env: &Env<'_>,
        from: PeerId,
        data: &Bytes,
    ) {
        if env.topics.handshake.is_none() || data.len() > DOCUMENT_BYTES_MAX {
            return;
        }
        if is_handshake(data) {
            self.on_handshake(cx, env, from, data);
        } else {
            self.on_direct_block(cx, env, from, data);
        }
    }

    fn on_direct_block<S>(&mut self, cx: &Ctx<'_, S>, env: &Env<'_>, from: PeerId, data: &[u8]) {
        let Ok(message) = peerage_proto::json::BlockMessage::decode(data) else { return };
        if message.peer_id == env.local_text || self.bans.is_banned(cx.now, &from) {
            return;
        }
        self.registry.touch(cx.now, from, from, data.len());
        let told = Told {
            client_name: &message.client_name,
            height: message.height,
            block_hash: Hash256::from_display(&message.hash).ok(),
            data_hub_url: &message.data_hub_url,
            storage: "",
        };
        self.registry.put(&from, &told);
    }

    /// A new connection is greeted on a direct stream; if that fails, on the topic.
    pub(super) fn greet<S: Sink<input::Action>>(&self, cx: &mut Ctx<'_, S>, env: &Env<'_>, peer: PeerId) {
        if env.topics.handshake.is_some() && !self.bans.is_banned(cx.now, &peer) {
            let data = self.handshake(env, "version").into();
            if let Some(op) = cx.begin(Purpose::Greet(peer)) {
                cx.push(Action::SendDirect { op, to: peer, data });
            }
        }
    }

    /// A direct stream could not be opened: the greeting goes to the topic.
    pub fn on_greeted<S: Sink<input::Action>>(&mut self, cx: &mut Ctx<'_, S>, env: &Env<'_>, ok: bool) {
        if env.config.listen_mode == ListenMode::Silent {
            return;
        }
        if let (false, Some(topic)) = (ok, env.topics.handshake.clone()) {
            let document = self.handshake(env, "version");
            self.publish_on(cx, env, topic, Purpose::PublishLegacy, &document);
        }
    }

    fn handshake(&self, env: &Env<'_>, kind: &str) -> Vec<u8> {
        let tip = self.own.tip();
        let hash = tip.map_or(Hash256::ZERO, |tip| tip.header.hash()).to_display_bytes();
        let message = HandshakeMessage {
            kind: Cow::Borrowed(kind),
            peer_id: Cow::Borrowed(env.local_text),
            best_height: tip.map_or(0, |tip| tip.height),
            best_hash: Cow::Borrowed(ascii(&hash)),
            data_hub_url: Cow::Borrowed(match env.config.listen_mode {
                ListenMode::Full => &env.config.base_url,
                ListenMode::ListenOnly | ListenMode::Silent => "",
            }),
            user_agent: Cow::Owned(user_agent(&env.config.version)),
            services: 1,
            topic_prefix: Cow::Borrowed(&env.config.topic_prefix),
        };
        let mut document = Vec::with_capacity(512);
        message.encode(&mut document);
        document
    }

    fn on_handshake<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        env: &Env<'_>,
        from: PeerId,
        data: &[u8],
    ) {
        let Ok(message) = HandshakeMessage::decode(data) else { return };
        if message.peer_id == env.local_text || self.bans.is_banned(cx.now, &from) {
            return;
        }
        self.registry.touch(cx.now, from, from, data.len());
        let prefix_fits = message.topic_prefix == env.config.topic_prefix
            || (message.topic_prefix.is_empty() && env.config.accept_legacy_handshake);
        if !prefix_fits {
            return;
        }
        let told = Told {
            client_name: "",
            height: message.best_height,
            block_hash: Hash256::from_display(&message.best_hash).ok(),
            data_hub_url: &message.data_hub_url,
            storage: "",
        };
        self.registry.put(&from, &told);
        if message.kind == "version" {
            let document = self.handshake(env, "verack");
            send_direct(cx, from, document);
        }
    }

    fn on_best_block<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        env: &Env<'_>,
        from: PeerId,
        data: &[u8],
    ) {
        self.registry.touch(cx.now, from, from, data.len());
        match BestBlockMessage::decode(data) {
            Ok(BestBlockMessage::Request { peer_id }) => {
                let Ok(asker) = PeerId::from_base58(&peer_id) else { return };
                let Some(tip) = self.own.tip().filter(|_| asker != *env.local_peer) else { return };
                let hash = tip.header.hash();
                if let Some(op) = cx.begin(Purpose::BestBlock(asker)) {
                    cx.push(Action::Query { op, query: chain::Query::Header { hash } });
                }
            }
            Ok(BestBlockMessage::Announce { height, hash }) => {
                let block_hash = Hash256::from_display(&hash).ok();
                self.registry.put(&from, &Told { height, block_hash, ..Told::default() });
            }
            Err(_) => {}
        }
    }

    /// The block for a best-block request is described: it goes to the asker alone.
    pub fn on_best_block_header<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        env: &Env<'_>,
        asker: PeerId,
        result: Result<Answer, QueryError>,
    ) {
        let Ok(Answer::Header(block)) = result else { return };
        let mut document = Vec::with_capacity(512);
        with_block_message(env, &block, block.header.hash(), |message| message.encode(&mut document));
        send_direct(cx, asker, document);
    }

    fn on_mining_on<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        env: &Env<'_>,
        from: PeerId,
        data: &[u8],
    ) {
        let Ok(message) = MiningOnMessage::decode(data) else { return };
        if message.peer_id == env.local_text || self.bans.is_banned(cx.now, &from) {
            return;
        }
        self.registry.touch(cx.now, from, from, data.len());
        let stamp = timestamp(cx.now.wall.as_millis());
        self.subscribers.show(cx, || {
            let mut frame = Vec::with_capacity(512);
            Notification::mining_on(&message, &stamp).encode(&mut frame);
            frame.into()
        });
    }
}

/// `teranode/bitcoin/` and the version (spec 2.2).
fn user_agent(version: &str) -> String {
    alloc::format!("teranode/bitcoin/{version}")
}

fn is_handshake(data: &[u8]) -> bool {
    HandshakeMessage::decode(data).is_ok_and(|message| matches!(&*message.kind, "version" | "verack"))
}

fn send_direct<S: Sink<input::Action>>(cx: &mut Ctx<'_, S>, to: PeerId, document: Vec<u8>) {
    if let Some(op) = cx.begin(Purpose::SendDirect(to)) {
        cx.push(Action::SendDirect { op, to, data: document.into() });
    }
}
