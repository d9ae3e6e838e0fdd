//! Block announcements (spec 3.1).

use peerage_proto::hash::Hash256;
use peerage_proto::header::BlockHeader;
use peerage_proto::json::BlockMessage;
use peerage_proto::notification::{Notification, timestamp};

use super::{Announcement, Cause, DISPLAY_TEXT_MAX, Sender, clean, parse_hash, vet_url};
use crate::input;
use crate::node::ctx::Ctx;
use crate::sink::Sink;
use crate::teranode::registry::Told;
use crate::teranode::service::{Env, Service};
use crate::teranode::{ProduceTopic, TopicKind, header, produce, url};

impl Service {
    pub(super) fn on_block<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        env: &Env<'_>,
        from: Sender,
        inner: &[u8],
    ) -> Cause {
        let Ok(mut message) = BlockMessage::decode(inner) else { return Cause::NotJson };
        if env.is_strict() {
            return self.on_block_strict(cx, env, from, &message);
        }
        if let Err(cause) = self.vet(cx, env, from, &message.peer_id) {
            return cause;
        }
        clean(&mut message.client_name, DISPLAY_TEXT_MAX);
        let Some(hash) = parse_hash(env, &message.hash) else { return Cause::BadField };
        if message.data_hub_url.is_empty() {
            return Cause::BadField;
        }
        if let Some(cause) = self.vet_header(env, &message, &hash) {
            return cause;
        }
        if let Some(cause) = vet_url(env, &message.data_hub_url) {
            return cause;
        }
        if url::is_blacklisted(&env.config.blacklisted_base_urls, &message.data_hub_url) {
            return Cause::BlacklistedUrl;
        }
        let is_believed = self.within_horizon(env, message.height) == message.height;
        let info = self.registry.touch(cx.now, from.source, from.propagation_source, from.inner_len);
        if !is_believed {
            return Cause::BeyondHorizon;
        }
        if let Some(info) = info {
            info.last_block = Some(cx.now.wall);
            info.put(&told(&message, Some(hash)));
        }
        self.origins.block(cx.now, hash, from.source, from.propagation_source);
        let stamp = timestamp(cx.now.wall.as_millis());
        let shown = self.subscribers.has_greeted();
        let text = hash.to_display_bytes();
        let encoded = produce::encode(cx.scratch, &text, &message.data_hub_url, &message.peer_id, |frame| {
            if shown {
                Notification::block(&message, &stamp).encode(frame);
            }
        });
        if shown {
            self.subscribers.show(cx, || encoded.frame.clone());
        }
        if !self.repeats.hand_on(
            cx.now,
            env.config,
            TopicKind::Block,
            hash,
            from.source,
            from.propagation_source,
        ) {
            return Cause::RepeatCap;
        }
        let announcement = Announcement {
            kind: TopicKind::Block,
            topic: ProduceTopic::Blocks,
            hash,
            key: encoded.key,
            value: encoded.value,
        };
        self.hand_on(cx, from, announcement)
    }

    /// The reference's order: shown first, booked on the claimed id, judged last.
    fn on_block_strict<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        env: &Env<'_>,
        from: Sender,
        message: &BlockMessage<'_>,
    ) -> Cause {
        let stamp = timestamp(cx.now.wall.as_millis());
        self.subscribers.show(cx, || {
            let mut frame = alloc::vec::Vec::new();
            Notification::block(message, &stamp).encode(&mut frame);
            frame.into()
        });
        if let Err(cause) = self.vet(cx, env, from, &message.peer_id) {
            return cause;
        }
        let hash = parse_hash(env, &message.hash);
        let _ = self.touch(cx, env, from, &message.peer_id);
        let subject = Self::subject(env, from, &message.peer_id);
        if let Some(subject) = &subject {
            self.registry.put(subject, &told(message, None));
        }
        let Some(hash) = hash else { return Cause::BadField };
        self.origins.block(cx.now, hash, from.source, from.propagation_source);
        if subject.is_some_and(|subject| self.bans.is_banned(cx.now, &subject)) {
            return Cause::Banned;
        }
        if subject.is_some_and(|subject| self.registry.is_unhealthy(&subject)) {
            return Cause::LowReputation;
        }
        let text = hash.to_display_bytes();
        let encoded = produce::encode(cx.scratch, &text, &message.data_hub_url, &message.peer_id, |_| {});
        let announcement = Announcement {
            kind: TopicKind::Block,
            topic: ProduceTopic::Blocks,
            hash,
            key: encoded.key,
            value: encoded.value,
        };
        self.hand_on(cx, from, announcement)
    }

    fn vet_header(&self, env: &Env<'_>, message: &BlockMessage<'_>, hash: &Hash256) -> Option<Cause> {
        if message.header.is_empty() {
            return env.config.require_header.then_some(Cause::NoHeader);
        }
        if !env.config.check_header {
            return None;
        }
        let Ok(header) = BlockHeader::from_hex(&message.header) else { return Some(Cause::BadField) };
        let proven = header::is_proven(env.config.network, self.own.tip_target(), &header, hash);
        (!proven).then_some(Cause::BadHeader)
    }

    /// `height`, or as much of it as is believed (spec 14.1).
    pub(in crate::teranode) fn within_horizon(&self, env: &Env<'_>, height: u32) -> u32 {
        let horizon = self.own.tip().map(|tip| tip.height.saturating_add(env.config.height_horizon));
        horizon.map_or(height, |horizon| height.min(horizon))
    }
}

fn told<'a>(message: &'a BlockMessage<'_>, block_hash: Option<Hash256>) -> Told<'a> {
    Told {
        client_name: &message.client_name,
        height: message.height,
        block_hash,
        data_hub_url: &message.data_hub_url,
        storage: "",
    }
}
