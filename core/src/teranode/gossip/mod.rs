//! What is done with a message of each topic (spec 3.1 to 3.4, 14.1), and the verdict on it.

mod block;
mod node_status;
mod rejected_tx;
mod subtree;

use alloc::borrow::Cow;
use alloc::vec::Vec;

use bytes::Bytes;
use peerage_proto::envelope;
use peerage_proto::hash::Hash256;
use peerage_proto::peer_id::PeerId;

use super::ban::{BanReason, Outcome};
use super::config::Envelope;
use super::service::{Env, Service};
use super::url::{self, URL_BYTES_MAX};
use super::verdict::Cause;
use super::{Action, ProduceTopic, TopicKind};
use crate::explain::Notice;
use crate::gossipsub::{Command, MessageId};
use crate::input;
use crate::node::ctx::{Ctx, Purpose};
use crate::sink::Sink;

/// Longest peer id text taken, in bytes (spec 14.1).
const PEER_ID_TEXT_MAX: usize = 128;
/// Longest display text taken, in characters (spec 14.1).
pub(super) const DISPLAY_TEXT_MAX: usize = 64;

/// Longest record that is handed to the broker, in bytes. No mended node makes one half as long; without a bound, what
/// the strict mode takes would fill the queue's memory.
const RECORD_BYTES_MAX: usize = 64 << 10;

/// Who sent a message, and how long its inner document is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sender {
    pub(super) source: PeerId,
    pub(super) propagation_source: PeerId,
    pub(super) inner_len: usize,
}

impl Service {
    /// A message on one of the four topics: judged, used, reported. Returns its author if that is banned from now on.
    pub fn on_delivered<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        env: &Env<'_>,
        inner: &mut Vec<u8>,
        kind: TopicKind,
        delivered: Delivered,
    ) -> Option<PeerId> {
        let Delivered { id, propagation_source, source, data } = delivered;
        let cause = self.judge(cx, env, inner, kind, (source, propagation_source), &data);
        cx.counters.end(kind, cause);
        let acceptance = cause.acceptance_by(env);
        let again = cause == Cause::QueueFull;
        cx.ask_router(Command::Report { id, propagation_source, acceptance, again });
        if env.config.log_verdicts {
            cx.tell(Notice::Verdict { kind, acceptance, cause, source });
        }
        let reason = cause.penalty().filter(|_| !env.is_strict())?;
        self.penalise(cx, source, propagation_source, reason)
    }

    /// `peer`, heard through `neighbour`, loses points. Returns it if it is banned from now on.
    pub fn penalise<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        peer: PeerId,
        neighbour: PeerId,
        reason: BanReason,
    ) -> Option<PeerId> {
        match self.bans.add_score(cx.now, peer, neighbour, reason) {
            Outcome::Scored(score) => {
                cx.tell(Notice::Penalised { peer, reason, score });
                None
            }
            Outcome::Banned { until } => {
                cx.tell(Notice::Banned { peer, reason, until });
                Some(peer)
            }
            Outcome::AlreadyBanned => None,
        }
    }

    fn judge<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        env: &Env<'_>,
        inner: &mut Vec<u8>,
        kind: TopicKind,
        (source, propagation_source): (PeerId, PeerId),
        data: &[u8],
    ) -> Cause {
        if source == *env.local_peer {
            return Cause::Own;
        }
        let inner_max = env.config.payload_bytes_max[kind as usize] as usize;
        // Base64 and the envelope's name: what cannot fit is not even decoded.
        if data.len() > inner_max.saturating_mul(4) / 3 + 4096 {
            return Cause::TooLarge;
        }
        let mode = match env.config.envelope {
            Envelope::Required => envelope::Mode::Required,
            Envelope::Optional => envelope::Mode::Optional,
            Envelope::None => envelope::Mode::None,
        };
        let Ok(unwrapped) = envelope::unwrap(mode, data, inner) else { return Cause::NotJson };
        if unwrapped.bare && env.config.envelope == Envelope::Required {
            return Cause::NoEnvelope;
        }
        let inner = unwrapped.inner;
        if inner.len() > inner_max {
            return Cause::TooLarge;
        }
        let from = Sender { source, propagation_source, inner_len: inner.len() };
        match kind {
            TopicKind::Block => self.on_block(cx, env, from, inner),
            TopicKind::Subtree => self.on_subtree(cx, env, from, inner),
            TopicKind::RejectedTx => self.on_rejected_tx(cx, env, from, inner),
            TopicKind::NodeStatus => self.on_node_status(cx, env, from, inner),
        }
    }

    /// What every message of a mended node passes after decoding, in this order: ban, form of the id, claim.
    fn vet<S>(&self, cx: &Ctx<'_, S>, env: &Env<'_>, from: Sender, claimed: &str) -> Result<(), Cause> {
        if env.is_strict() {
            return if claimed == env.local_text { Err(Cause::Own) } else { Ok(()) };
        }
        self.vet_claim(cx, env, &from.source, claimed)
    }

    /// The same for the author of any document.
    pub(super) fn vet_claim<S>(
        &self,
        cx: &Ctx<'_, S>,
        env: &Env<'_>,
        source: &PeerId,
        claimed: &str,
    ) -> Result<(), Cause> {
        if self.bans.is_banned(cx.now, source) {
            return Err(Cause::Banned);
        }
        if claimed.len() > PEER_ID_TEXT_MAX {
            return Err(Cause::BadField);
        }
        if env.config.check_claim && !self.registry.is_claim_of(source, claimed) {
            return Err(Cause::ForeignClaim);
        }
        if claimed == env.local_text {
            return Err(Cause::Own);
        }
        Ok(())
    }

    /// Spec 3, `touch` and `count_bytes`. Only the reference also books on an id that is merely claimed. Whether the author
    /// is below what we use.
    fn touch<S>(&mut self, cx: &Ctx<'_, S>, env: &Env<'_>, from: Sender, claimed: &str) -> bool {
        let info = self.registry.touch(cx.now, from.source, from.propagation_source, from.inner_len);
        let unhealthy = info.is_some_and(|info| info.is_unhealthy());
        if let Some(claimed) = self.claimed_stranger(env, from, claimed) {
            self.registry.touch(cx.now, claimed, from.propagation_source, from.inner_len);
        }
        unhealthy
    }

    /// The claimed id, in strict mode, when it is neither the author's nor ours.
    fn claimed_stranger(&self, env: &Env<'_>, from: Sender, claimed: &str) -> Option<PeerId> {
        if !env.is_strict() || claimed.is_empty() || self.registry.is_claim_of(&from.source, claimed) {
            return None;
        }
        PeerId::from_base58(claimed).ok().filter(|peer| peer != env.local_peer)
    }

    /// Whom a message's facts are booked on: the author; in strict mode the id that it claims.
    fn subject(env: &Env<'_>, from: Sender, claimed: &str) -> Option<PeerId> {
        if env.is_strict() { PeerId::from_base58(claimed).ok() } else { Some(from.source) }
    }

    /// Hands an announcement on to the broker, if there is room; else its slot in the window is free again.
    fn hand_on<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        from: Sender,
        announcement: Announcement,
    ) -> Cause {
        let Announcement { kind, topic, hash, key, value } = announcement;
        if value.len() > RECORD_BYTES_MAX {
            self.repeats.give_back(kind, hash, &from.source);
            return Cause::TooLarge;
        }
        let room = self.produce_inflight < cx.limits.produce_inflight_max;
        let purpose = Purpose::Produce { kind, hash, peer: from.source };
        let Some(op) = room.then(|| cx.begin(purpose)).flatten() else {
            self.repeats.give_back(kind, hash, &from.source);
            return Cause::QueueFull;
        };
        self.produce_inflight += 1;
        cx.counters.produced = cx.counters.produced.saturating_add(1);
        cx.push(Action::Produce { op, topic, key, value });
        Cause::Handled
    }
}

/// A message as the router delivered it.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// Its id.
    pub id: MessageId,
    /// Who sent it to us.
    pub propagation_source: PeerId,
    /// Its signed author.
    pub source: PeerId,
    /// Its payload.
    pub data: Bytes,
}

struct Announcement {
    kind: TopicKind,
    topic: ProduceTopic,
    hash: Hash256,
    key: Bytes,
    value: Bytes,
}

/// A hash as the mode wants it: exactly 64 digits, or whatever the reference takes.
fn parse_hash(env: &Env<'_>, text: &str) -> Option<Hash256> {
    if env.is_strict() { Hash256::from_display_lenient(text).ok() } else { Hash256::from_display(text).ok() }
}

/// What keeps a URL from being used, if anything does.
fn vet_url(env: &Env<'_>, url: &str) -> Option<Cause> {
    if env.is_strict() {
        return None;
    }
    if url.len() > URL_BYTES_MAX {
        return Some(Cause::BadField);
    }
    let usable =
        if env.config.allow_private_urls { url::http_host(url).is_some() } else { url::is_public(url) };
    (!usable).then_some(Cause::PrivateUrl)
}

/// Cuts a display text down to what a page may show (spec 14.1).
pub(super) fn clean(text: &mut Cow<'_, str>, max: usize) {
    let fine = text.len() <= max && text.bytes().all(url::is_display_byte);
    if !fine {
        *text = Cow::Owned(url::display_text(text, max));
    }
}

/// Empties a URL that may not be used or shown.
pub(super) fn empty_unless_usable(env: &Env<'_>, url: &mut Cow<'_, str>) {
    let allowed = env.config.allow_private_urls;
    let usable = if allowed { url::http_host(url).is_some() } else { url::is_public(url) };
    if !usable || url.len() > URL_BYTES_MAX || url::is_blacklisted(&env.config.blacklisted_base_urls, url) {
        *url = Cow::Borrowed("");
    }
}
