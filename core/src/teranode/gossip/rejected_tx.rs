//! Rejected transactions (spec 3.3): informational. They are counted and nothing more.

use peerage_proto::json::RejectedTxMessage;

use super::{Cause, Sender, parse_hash};
use crate::node::ctx::Ctx;
use crate::teranode::service::{Env, Service};

impl Service {
    pub(super) fn on_rejected_tx<S>(
        &mut self,
        cx: &Ctx<'_, S>,
        env: &Env<'_>,
        from: Sender,
        inner: &[u8],
    ) -> Cause {
        let Ok(message) = RejectedTxMessage::decode(inner) else { return Cause::NotJson };
        if let Err(cause) = self.vet(cx, env, from, &message.peer_id) {
            return cause;
        }
        if !env.is_strict() && parse_hash(env, &message.tx_id).is_none() {
            return Cause::BadField;
        }
        let unhealthy = self.touch(cx, env, from, &message.peer_id);
        if env.is_strict() && self.bans.is_banned(cx.now, &from.source) {
            return Cause::Banned;
        }
        if unhealthy {
            return Cause::LowReputation;
        }
        Cause::Handled
    }
}
