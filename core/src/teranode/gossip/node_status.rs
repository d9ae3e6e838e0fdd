//! Node status of others (spec 3.4).

use alloc::borrow::Cow;

use peerage_proto::json::NodeStatusMessage;
use peerage_proto::notification::{Notification, timestamp};

use super::{Cause, DISPLAY_TEXT_MAX, Sender, clean, empty_unless_usable, parse_hash};
use crate::input;
use crate::node::ctx::Ctx;
use crate::sink::Sink;
use crate::teranode::registry::Told;
use crate::teranode::service::{Env, Service};
use crate::teranode::url::URL_BYTES_MAX;

/// Longest hexadecimal text taken (spec 14.1).
const HEX_TEXT_MAX: usize = 64;

impl Service {
    pub(super) fn on_node_status<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        env: &Env<'_>,
        from: Sender,
        inner: &[u8],
    ) -> Cause {
        let Ok(mut message) = NodeStatusMessage::decode(inner) else { return Cause::NotJson };
        let strict = env.is_strict();
        if !strict {
            if let Err(cause) = self.vet(cx, env, from, &message.peer_id) {
                return cause;
            }
            if message.base_url.len() > URL_BYTES_MAX {
                return Cause::BadField;
            }
            let hash = &message.best_block_hash;
            if !hash.is_empty() && parse_hash(env, hash).is_none() {
                return Cause::BadField;
            }
            if message.propagation_url.len() > URL_BYTES_MAX {
                return Cause::BadField;
            }
            sanitise(env, &mut message);
        }
        let unhealthy = self.touch(cx, env, from, &message.peer_id);
        let stamp = timestamp(cx.now.wall.as_millis());
        self.subscribers.show(cx, || {
            let mut frame = alloc::vec::Vec::with_capacity(1024);
            Notification::node_status(&message, &stamp).encode(&mut frame);
            frame.into()
        });
        if unhealthy {
            return Cause::LowReputation;
        }
        self.book(env, from, &message)
    }

    /// Takes the facts of a status: height, hash, URL, name and storage.
    fn book(&mut self, env: &Env<'_>, from: Sender, message: &NodeStatusMessage<'_>) -> Cause {
        if message.best_height == 0 || message.peer_id.is_empty() {
            return Cause::Handled;
        }
        let Some(subject) = Self::subject(env, from, &message.peer_id) else { return Cause::BadField };
        if subject == *env.local_peer {
            // An author that claims to be us must not put us into our own registry.
            return Cause::Own;
        }
        let block_hash = match parse_hash(env, &message.best_block_hash) {
            Some(hash) if !message.best_block_hash.is_empty() => Some(hash),
            _ if message.best_block_hash.is_empty() => None,
            _ => return Cause::BadField,
        };
        let height = self.within_horizon(env, message.best_height);
        let told = Told {
            client_name: &message.client_name,
            height,
            block_hash: block_hash.filter(|_| height == message.best_height),
            data_hub_url: &message.base_url,
            storage: &message.storage,
        };
        self.registry.put(&subject, &told);
        if height < message.best_height { Cause::BeyondHorizon } else { Cause::Handled }
    }
}

/// Cuts a status down to what may be shown and kept (spec 14.1).
fn sanitise(env: &Env<'_>, message: &mut NodeStatusMessage<'_>) {
    for text in [
        &mut message.client_name,
        &mut message.version,
        &mut message.commit_hash,
        &mut message.fsm_state,
        &mut message.miner_name,
        &mut message.sync_peer_id,
    ] {
        clean(text, DISPLAY_TEXT_MAX);
    }
    for hex in [&mut message.chain_work, &mut message.sync_peer_block_hash] {
        if hex.len() > HEX_TEXT_MAX || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            *hex = Cow::Borrowed("");
        }
    }
    if !matches!(&*message.listen_mode, "full" | "listen_only" | "silent") {
        message.listen_mode = Cow::Borrowed("");
    }
    if !matches!(&*message.storage, "full" | "pruned") {
        message.storage = Cow::Borrowed("");
    }
    for url in [&mut message.base_url, &mut message.propagation_url] {
        empty_unless_usable(env, url);
    }
}
