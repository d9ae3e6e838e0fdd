//! Subtree announcements (spec 3.2).

use peerage_proto::json::SubtreeMessage;
use peerage_proto::notification::{Notification, timestamp};

use super::{Announcement, Cause, DISPLAY_TEXT_MAX, Sender, clean, parse_hash, vet_url};
use crate::input;
use crate::node::ctx::Ctx;
use crate::sink::Sink;
use crate::teranode::service::{Env, Service};
use crate::teranode::{ProduceTopic, TopicKind, produce, url};

impl Service {
    pub(super) fn on_subtree<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        env: &Env<'_>,
        from: Sender,
        inner: &[u8],
    ) -> Cause {
        let Ok(mut message) = SubtreeMessage::decode(inner) else { return Cause::NotJson };
        let strict = env.is_strict();
        if strict && url::is_blacklisted(&env.config.blacklisted_base_urls, &message.data_hub_url) {
            return Cause::BlacklistedUrl;
        }
        if strict {
            self.show_subtree(cx, &message);
        }
        if let Err(cause) = self.vet(cx, env, from, &message.peer_id) {
            return cause;
        }
        if !strict {
            clean(&mut message.client_name, DISPLAY_TEXT_MAX);
        }
        let hash = parse_hash(env, &message.hash);
        if !strict {
            if hash.is_none() {
                return Cause::BadField;
            }
            if let Some(cause) = vet_url(env, &message.data_hub_url) {
                return cause;
            }
            if url::is_blacklisted(&env.config.blacklisted_base_urls, &message.data_hub_url) {
                return Cause::BlacklistedUrl;
            }
        }
        let unhealthy = self.touch(cx, env, from, &message.peer_id);
        if strict && self.bans.is_banned(cx.now, &from.source) {
            return Cause::Banned;
        }
        if unhealthy {
            return Cause::LowReputation;
        }
        let Some(hash) = hash else { return Cause::BadField };
        self.origins.subtree(cx.now, hash, from.source, from.propagation_source);
        let stamp = timestamp(cx.now.wall.as_millis());
        let shown = !strict && self.subscribers.has_greeted();
        let text = hash.to_display_bytes();
        let encoded = produce::encode(cx.scratch, &text, &message.data_hub_url, &message.peer_id, |frame| {
            if shown {
                Notification::subtree(&message, &stamp).encode(frame);
            }
        });
        if shown {
            self.subscribers.show(cx, || encoded.frame.clone());
        }
        let (source, neighbour) = (from.source, from.propagation_source);
        if !self.repeats.hand_on(cx.now, env.config, TopicKind::Subtree, hash, source, neighbour) {
            return Cause::RepeatCap;
        }
        let announcement = Announcement {
            kind: TopicKind::Subtree,
            topic: ProduceTopic::Subtrees,
            hash,
            key: encoded.key,
            value: encoded.value,
        };
        self.hand_on(cx, from, announcement)
    }

    fn show_subtree<S: Sink<input::Action>>(&self, cx: &mut Ctx<'_, S>, message: &SubtreeMessage<'_>) {
        let stamp = timestamp(cx.now.wall.as_millis());
        self.subscribers.show(cx, || {
            let mut frame = alloc::vec::Vec::new();
            Notification::subtree(message, &stamp).encode(&mut frame);
            frame.into()
        });
    }
}
