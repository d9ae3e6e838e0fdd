//! The exchange of the older family: handshake, best block, mining on (spec 3.5 to 3.7). Each part is off unless its
//! topic is set.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use peerage_proto::hash::Hash256;
use peerage_proto::json::{BestBlockMessage, BlockMessage, HandshakeMessage, MiningOnMessage};
use peerage_proto::notification::{Notification, timestamp};
use peerage_proto::peer_id::PeerId;

use super::Action;
use super::announce::{ascii, with_block_message};
use super::chain::{self, Answer, QueryError};
use super::config::ListenMode;
use super::gossip::{DISPLAY_TEXT_MAX, Delivered, Sender, clean, empty_unless_usable};
use super::registry::Told;
use super::service::{Env, Service};
use super::verdict::Cause;
use crate::conn::DisconnectReason;
use crate::gossipsub::Topic;
use crate::input;
use crate::node::ctx::{Ctx, Purpose};
use crate::sink::Sink;

/// Longest document taken from a direct stream or a legacy topic, in bytes (spec 2.6).
const DOCUMENT_BYTES_MAX: usize = 64 << 10;

impl Service {
    /// How a message on a topic of the older family ended, and whom to part from; none: the topic is not one of those. They
    /// carry no envelope. The same table of verdicts holds as on the topics of today.
    pub fn on_legacy_topic<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        env: &Env<'_>,
        topic: &Topic,
        delivered: &Delivered,
    ) -> Option<(Cause, Option<Parting>)> {
        let Delivered { source, propagation_source, data, .. } = delivered;
        if !env.topics.is_legacy(topic) {
            return None;
        }
        let from = Sender { source: *source, propagation_source: *propagation_source, inner_len: data.len() };
        let is = |legacy: &Option<Topic>| legacy.as_ref() == Some(topic);
        let cause = match () {
            () if source == env.local_peer => Cause::Own,
            () if self.bans.is_banned(cx.now, source) && !env.is_strict() => Cause::Banned,
            () if data.len() > DOCUMENT_BYTES_MAX => Cause::TooLarge,
            () if is(&env.topics.handshake) => self.on_handshake(cx, env, from, data),
            () if is(&env.topics.best_block) => self.on_best_block(cx, env, from, data),
            () => self.on_mining_on(cx, env, from, data),
        };
        Some((cause, self.charge(cx, env, from, cause)))
    }

    /// Takes what `cause` costs the author, which no message of the reference does. Who turns out to be of another chain, or
    /// is banned by it, is parted from.
    fn charge<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        env: &Env<'_>,
        from: Sender,
        cause: Cause,
    ) -> Option<Parting> {
        if env.is_strict() {
            return None;
        }
        if cause == Cause::OtherNetwork {
            return Some((from.source, DisconnectReason::OtherNetwork));
        }
        let banned = self.penalise(cx, from.source, from.propagation_source, cause.penalty()?)?;
        Some((banned, DisconnectReason::Banned))
    }

    /// A document on a direct stream: a handshake, or a block in answer to a request of ours. Returns whom to part
    /// from.
    pub fn on_direct<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        env: &Env<'_>,
        sender: PeerId,
        data: &Bytes,
    ) -> Option<Parting> {
        if env.topics.handshake.is_none() || data.len() > DOCUMENT_BYTES_MAX {
            return None;
        }
        let from = Sender { source: sender, propagation_source: sender, inner_len: data.len() };
        let cause = if is_handshake(data) {
            self.on_handshake(cx, env, from, data)
        } else {
            self.on_direct_block(cx, env, from, data)
        };
        self.charge(cx, env, from, cause)
    }

    fn on_direct_block<S>(&mut self, cx: &Ctx<'_, S>, env: &Env<'_>, from: Sender, data: &[u8]) -> Cause {
        let Ok(mut message) = BlockMessage::decode(data) else { return Cause::NotJson };
        if let Err(cause) = self.vet_legacy(cx, env, from, &message.peer_id) {
            return cause;
        }
        let Some(block_hash) = hash_told(env, &message.hash) else { return Cause::BadField };
        sanitise(env, &mut [&mut message.client_name], &mut message.data_hub_url);
        self.registry.touch(cx.now, from.source, from.propagation_source, from.inner_len);
        let height = self.within_horizon(env, message.height);
        let told = Told {
            client_name: &message.client_name,
            height,
            block_hash: block_hash.filter(|_| height == message.height),
            data_hub_url: &message.data_hub_url,
            storage: "",
        };
        self.registry.put(&from.source, &told);
        if height < message.height { Cause::BeyondHorizon } else { Cause::Handled }
    }

    /// What a document passes after decoding: form of the id, claim, our own. Who forwards it signs nothing: the author is
    /// compared, not the neighbour.
    fn vet_legacy<S>(
        &self,
        cx: &Ctx<'_, S>,
        env: &Env<'_>,
        from: Sender,
        claimed: &str,
    ) -> Result<(), Cause> {
        if env.is_strict() {
            return match claimed == env.local_text {
                true => Err(Cause::Own),
                false if self.bans.is_banned(cx.now, &from.source) => Err(Cause::Banned),
                false => Ok(()),
            };
        }
        self.vet_claim(cx, env, &from.source, claimed)
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
            data_hub_url: Cow::Borrowed(env.config.base_url_shown()),
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
        from: Sender,
        data: &[u8],
    ) -> Cause {
        let Ok(mut message) = HandshakeMessage::decode(data) else { return Cause::NotJson };
        if let Err(cause) = self.vet_legacy(cx, env, from, &message.peer_id) {
            return cause;
        }
        let Some(block_hash) = hash_told(env, &message.best_hash) else { return Cause::BadField };
        self.registry.touch(cx.now, from.source, from.propagation_source, from.inner_len);
        let prefix_fits = message.topic_prefix == env.config.topic_prefix
            || (message.topic_prefix.is_empty() && env.config.accept_legacy_handshake);
        if !prefix_fits {
            return Cause::OtherNetwork;
        }
        sanitise(env, &mut [], &mut message.data_hub_url);
        let height = self.within_horizon(env, message.best_height);
        let told = Told {
            client_name: "",
            height,
            block_hash: block_hash.filter(|_| height == message.best_height),
            data_hub_url: &message.data_hub_url,
            storage: "",
        };
        self.registry.put(&from.source, &told);
        if message.kind == "version" {
            let document = self.handshake(env, "verack");
            send_direct(cx, from.source, document);
        }
        if height < message.best_height { Cause::BeyondHorizon } else { Cause::Handled }
    }

    fn on_best_block<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        env: &Env<'_>,
        from: Sender,
        data: &[u8],
    ) -> Cause {
        match BestBlockMessage::decode(data) {
            Ok(BestBlockMessage::Request { peer_id }) => {
                // An answer goes to whoever signed the question: else anybody could have us send to anybody.
                if let Err(cause) = self.vet_legacy(cx, env, from, &peer_id) {
                    return cause;
                }
                let Ok(asker) = PeerId::from_base58(&peer_id) else { return Cause::BadField };
                self.registry.touch(cx.now, from.source, from.propagation_source, from.inner_len);
                let Some(hash) = self.own.tip().map(|tip| tip.header.hash()) else { return Cause::Handled };
                if let Some(op) = cx.begin(Purpose::BestBlock(asker)) {
                    cx.push(Action::Query { op, query: chain::Query::Header { hash } });
                }
                Cause::Handled
            }
            Ok(BestBlockMessage::Announce { height: told, hash }) => {
                if env.is_strict() && self.bans.is_banned(cx.now, &from.source) {
                    return Cause::Banned;
                }
                let Some(block_hash) = hash_told(env, &hash) else { return Cause::BadField };
                self.registry.touch(cx.now, from.source, from.propagation_source, from.inner_len);
                let height = self.within_horizon(env, told);
                let block_hash = block_hash.filter(|_| height == told);
                self.registry.put(&from.source, &Told { height, block_hash, ..Told::default() });
                if height < told { Cause::BeyondHorizon } else { Cause::Handled }
            }
            Err(_) => Cause::NotJson,
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
        from: Sender,
        data: &[u8],
    ) -> Cause {
        let Ok(mut message) = MiningOnMessage::decode(data) else { return Cause::NotJson };
        // The shortest form names no sender.
        let claimed = match &*message.peer_id {
            "" if !env.is_strict() => from.source.to_base58(),
            claimed => claimed.into(),
        };
        if let Err(cause) = self.vet_legacy(cx, env, from, &claimed) {
            return cause;
        }
        if hash_told(env, &message.hash).is_none() || hash_told(env, &message.previous_hash).is_none() {
            return Cause::BadField;
        }
        sanitise(env, &mut [&mut message.miner], &mut message.data_hub_url);
        self.registry.touch(cx.now, from.source, from.propagation_source, from.inner_len);
        let stamp = timestamp(cx.now.wall.as_millis());
        self.subscribers.show(cx, || {
            let mut frame = Vec::with_capacity(512);
            Notification::mining_on(&message, &stamp).encode(&mut frame);
            frame.into()
        });
        Cause::Handled
    }
}

/// Whose connections are to be closed, and why.
pub type Parting = (PeerId, DisconnectReason);

/// The hash that a document tells of, if any; none at all when its text is no hash. The reference takes what it can read.
fn hash_told(env: &Env<'_>, text: &str) -> Option<Option<Hash256>> {
    match Hash256::from_display(text) {
        Ok(hash) => Some(Some(hash)),
        Err(_) if text.is_empty() || env.is_strict() => Some(None),
        Err(_) => None,
    }
}

/// Cuts what may be shown and kept, as on the topics of today; the reference does not.
fn sanitise(env: &Env<'_>, texts: &mut [&mut Cow<'_, str>], url: &mut Cow<'_, str>) {
    if env.is_strict() {
        return;
    }
    texts.iter_mut().for_each(|text| clean(text, DISPLAY_TEXT_MAX));
    empty_unless_usable(env, url);
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
