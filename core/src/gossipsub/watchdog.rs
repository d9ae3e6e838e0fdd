//! Peers that went deaf: connected, in the mesh, yet silent while others deliver.
//!
//! One message over its reader's limit ends a gossipsub stream without a word: the connection stays up, and nothing of
//! that peer is heard again. No router reports it. Two signs of it are looked for in a mesh member while others deliver
//! several messages:
//!
//! - *choked*: many more bytes came from it than all others delivered meanwhile, none of them a message, and then few. A
//!   healthy peer that is merely slower than others sends copies of what they delivered, and no more than that. Bytes are
//!   told after the messages that they were, so what anybody has just delivered is taken off them.
//! - *mute*: no frame of it came for far longer than the interval at which every node tells its status. A healthy peer can
//!   be mute when it has nothing to say. One that is merely slower than others is not: its copies are heard too.
//!
//! Such a peer is closed and dialled again, one at a time; each time it was in vain doubles the patience with it.

use alloc::collections::BTreeMap;
use core::time::Duration;

use peerage_proto::peer_id::PeerId;

use crate::state::state;
use crate::time::{Instant, Now};

/// Between looks.
pub const INTERVAL: Duration = Duration::from_secs(1);
/// Bytes without a message that choke.
const CHOKED_BYTES_MIN: u64 = 64 << 10;
/// How long hardly anything must have come after them.
const CHOKED_AFTER: Duration = Duration::from_secs(3);
/// How soon after a message its bytes are told: the shell looks once a second.
const TOLD_WITHIN: Duration = Duration::from_secs(3);
/// Silence that is borne at first.
const MUTE_AFTER: Duration = Duration::from_secs(60);
/// Patience doubles so often at most.
const DOUBLINGS_MAX: u32 = 8;
/// How long it is remembered that a peer was closed in vain.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(4 * 3600);
/// Messages of others within the silence.
const DELIVERED_BY_OTHERS_MIN: u64 = 8;
/// Peers that are remembered so beyond their connection.
const REMEMBERED_MAX: usize = 1024;

state! {
    #[derive(Clone, Debug)]
    struct Listener {
        /// When it entered the mesh or was last heard, and what all had delivered then.
        heard: Instant,
        delivered_before: u64,
        /// Bytes since then, when the last of them came, and what all had delivered then.
        bytes: u64,
        bytes_at: Instant,
        delivered_before_quiet: u64,
        /// Bytes of all messages delivered when it was last heard.
        delivered_bytes_before: u64,
    }
}

state! {
    /// Bytes of messages delivered lately: in the span of [`TOLD_WITHIN`] that runs, and in the one before it.
    #[derive(Clone, Copy, Debug, Default)]
    struct Lately {
        bytes: u64,
        before: u64,
        since: Instant,
    }
}

impl Lately {
    fn turn(&mut self, now: Now) {
        let age = now.mono.saturating_since(self.since);
        if age >= TOLD_WITHIN {
            self.before = if age < TOLD_WITHIN.saturating_mul(2) { self.bytes } else { 0 };
            (self.bytes, self.since) = (0, now.mono);
        }
    }
}

state! {
    /// When each mesh member was heard last, and how much silence of each is borne.
    #[derive(Clone, Debug, Default)]
    pub struct Watchdog {
        members: BTreeMap<PeerId, Listener>,
        /// How often a peer was closed in vain, and when last; gone when the peer is heard. Each time doubles our patience.
        in_vain: BTreeMap<PeerId, (u32, Instant)>,
        lately: Lately,
        delivered: u64,
        delivered_bytes: u64,
    }
}

impl Watchdog {
    /// A neighbour entered its first mesh with us.
    pub fn join(&mut self, now: Now, peer: PeerId) {
        let listener = self.listener(now);
        self.members.entry(peer).or_insert(listener);
    }

    fn listener(&self, now: Now) -> Listener {
        Listener {
            heard: now.mono,
            delivered_before: self.delivered,
            bytes: 0,
            bytes_at: now.mono,
            delivered_before_quiet: self.delivered,
            delivered_bytes_before: self.delivered_bytes,
        }
    }

    /// A neighbour left the last mesh with us, or is gone.
    pub fn leave(&mut self, peer: &PeerId) {
        self.members.remove(peer);
    }

    /// `peer` delivered a message of `bytes` that was new to us.
    pub fn on_delivered(&mut self, now: Now, peer: &PeerId, bytes: usize) {
        self.delivered = self.delivered.saturating_add(1);
        self.delivered_bytes = self.delivered_bytes.saturating_add(bytes as u64);
        self.lately.turn(now);
        self.lately.bytes = self.lately.bytes.saturating_add(bytes as u64);
        self.on_frame(now, peer);
    }

    /// A frame of `peer` came in: its stream is heard, though what it tells may be known already.
    pub fn on_frame(&mut self, now: Now, peer: &PeerId) {
        let heard = self.listener(now);
        if let Some(listener) = self.members.get_mut(peer) {
            *listener = heard;
            self.in_vain.remove(peer);
        }
    }

    /// Many bytes came from `peer`.
    pub fn on_bytes(&mut self, now: Now, peer: &PeerId, bytes: u64) {
        let delivered = self.delivered;
        self.lately.turn(now);
        // Twice: what surrounds a message is bytes as well.
        let messages = self.lately.bytes.saturating_add(self.lately.before).saturating_mul(2);
        if let Some(listener) = self.members.get_mut(peer) {
            listener.bytes = listener.bytes.saturating_add(bytes.saturating_sub(messages));
            listener.bytes_at = now.mono;
            listener.delivered_before_quiet = delivered;
        }
    }

    /// The peer to close and dial again, if any: the one silent for longest of those that show a sign.
    #[must_use]
    pub fn bark(&mut self, now: Now) -> Option<PeerId> {
        let is_suspect = |(peer, member): &(&PeerId, &Listener)| {
            let factor = 1u32 << self.in_vain.get(peer).map_or(0, |(count, _)| (*count).min(DOUBLINGS_MAX));
            self.is_choked(now, factor, member) || self.is_mute(now, factor, member)
        };
        let suspects = self.members.iter().filter(is_suspect);
        let peer = *suspects.min_by_key(|(peer, member)| (member.heard, **peer))?.0;
        self.members.remove(&peer);
        if self.in_vain.len() < REMEMBERED_MAX || self.in_vain.contains_key(&peer) {
            let (count, _) = self.in_vain.get(&peer).copied().unwrap_or((0, now.mono));
            self.in_vain.insert(peer, (count.saturating_add(1), now.mono));
        }
        Some(peer)
    }

    fn is_choked(&self, now: Now, factor: u32, member: &Listener) -> bool {
        let others = self.delivered.saturating_sub(member.delivered_before_quiet);
        let copies = self.delivered_bytes.saturating_sub(member.delivered_bytes_before).saturating_mul(2);
        member.bytes >= CHOKED_BYTES_MIN.saturating_add(copies)
            && now.mono.saturating_since(member.bytes_at) >= CHOKED_AFTER.saturating_mul(factor)
            && others >= DELIVERED_BY_OTHERS_MIN
    }

    fn is_mute(&self, now: Now, factor: u32, member: &Listener) -> bool {
        let others = self.delivered.saturating_sub(member.delivered_before);
        now.mono.saturating_since(member.heard) >= MUTE_AFTER.saturating_mul(factor)
            && others >= DELIVERED_BY_OTHERS_MIN
    }

    /// Forgets long patience with peers that are not watched any more.
    pub fn sweep(&mut self, now: Now) {
        let members = &self.members;
        self.in_vain.retain(|peer, (_, since)| {
            members.contains_key(peer) || now.mono.saturating_since(*since) < FORGOTTEN_AFTER
        });
    }

    /// Whether nobody is watched.
    pub fn is_idle(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether `peer` is watched.
    pub fn watches(&self, peer: &PeerId) -> bool {
        self.members.contains_key(peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> PeerId {
        PeerId::from_ed25519(&[n; 32])
    }

    fn deliver(watchdog: &mut Watchdog, from: u8, count: u64, at: u64) {
        (0..count).for_each(|_| watchdog.on_delivered(Now::at_secs(at), &peer(from), 100));
    }

    fn pair() -> Watchdog {
        let mut watchdog = Watchdog::default();
        watchdog.join(Now::at_secs(0), peer(1));
        watchdog.join(Now::at_secs(0), peer(2));
        watchdog
    }

    #[test]
    fn a_choked_member_is_redialled_three_seconds_after_its_last_bytes() {
        let mut watchdog = pair();
        watchdog.on_bytes(Now::at_secs(1), &peer(1), 2 * CHOKED_BYTES_MIN);
        deliver(&mut watchdog, 2, 30, 2);
        assert_eq!(watchdog.bark(Now::at_secs(3)), None, "not yet");
        assert_eq!(watchdog.bark(Now::at_secs(4)), Some(peer(1)));
        assert_eq!(watchdog.bark(Now::at_secs(4)), None);
    }

    #[test]
    fn a_member_that_sent_copies_of_what_others_delivered_is_only_slow() {
        let mut watchdog = pair();
        (0..99).for_each(|_| watchdog.on_delivered(Now::at_secs(1), &peer(2), 1000));
        watchdog.on_bytes(Now::at_secs(1), &peer(1), CHOKED_BYTES_MIN + 110_000);
        deliver(&mut watchdog, 2, 30, 2);
        assert_eq!(watchdog.bark(Now::at_secs(30)), None);
    }

    #[test]
    fn a_member_that_goes_on_sending_much_is_not_choked_yet() {
        let mut watchdog = pair();
        for at in 1..30 {
            watchdog.on_bytes(Now::at_secs(at), &peer(1), CHOKED_BYTES_MIN);
            deliver(&mut watchdog, 2, 30, at);
            assert_eq!(watchdog.bark(Now::at_secs(at)), None);
        }
    }

    #[test]
    fn a_member_that_is_heard_after_its_bytes_is_not_choked() {
        let mut watchdog = pair();
        watchdog.on_bytes(Now::at_secs(1), &peer(1), CHOKED_BYTES_MIN);
        deliver(&mut watchdog, 1, 1, 2);
        deliver(&mut watchdog, 2, 30, 3);
        assert_eq!(watchdog.bark(Now::at_secs(20)), None);
    }

    #[test]
    fn a_member_is_not_choked_by_the_bytes_of_its_own_long_message() {
        for in_mesh_before in [true, false] {
            let mut watchdog = pair();
            if !in_mesh_before {
                watchdog.leave(&peer(1));
            }
            watchdog.on_delivered(Now::at_secs(1), &peer(1), 90_000);
            watchdog.join(Now::at_secs(2), peer(1));
            watchdog.on_bytes(Now::at_secs(2), &peer(1), 92_000);
            deliver(&mut watchdog, 2, 30, 2);
            assert_eq!(watchdog.bark(Now::at_secs(30)), None);
            watchdog.on_bytes(Now::at_secs(31), &peer(1), 92_000);
            deliver(&mut watchdog, 2, 30, 32);
            assert_eq!(watchdog.bark(Now::at_secs(35)), Some(peer(1)), "the next ones are none of it");
        }
    }

    #[test]
    fn a_late_copy_of_a_long_message_does_not_choke_though_its_sender_was_heard_between() {
        let mut watchdog = pair();
        watchdog.on_delivered(Now::at_secs(1), &peer(2), 90_000);
        deliver(&mut watchdog, 1, 1, 1);
        watchdog.on_bytes(Now::at_secs(2), &peer(1), 92_000);
        deliver(&mut watchdog, 2, 30, 2);
        assert_eq!(watchdog.bark(Now::at_secs(30)), None);
    }

    #[test]
    fn a_long_message_excuses_no_bytes_that_come_much_later() {
        let mut watchdog = pair();
        watchdog.on_delivered(Now::at_secs(1), &peer(1), 90_000);
        let later = 1 + 2 * TOLD_WITHIN.as_secs();
        watchdog.on_bytes(Now::at_secs(later), &peer(1), 92_000);
        deliver(&mut watchdog, 2, 30, later);
        assert_eq!(watchdog.bark(Now::at_secs(20)), Some(peer(1)));
    }

    #[test]
    fn a_mute_member_is_borne_for_a_minute_while_others_deliver() {
        let mut watchdog = pair();
        deliver(&mut watchdog, 2, 30, 59);
        assert_eq!(watchdog.bark(Now::at_secs(59)), None);
        assert_eq!(watchdog.bark(Now::at_secs(60)), Some(peer(1)));
    }

    #[test]
    fn nobody_is_deaf_when_nobody_speaks() {
        let mut watchdog = pair();
        watchdog.on_bytes(Now::at_secs(1), &peer(1), CHOKED_BYTES_MIN);
        deliver(&mut watchdog, 2, DELIVERED_BY_OTHERS_MIN - 1, 1);
        assert_eq!(watchdog.bark(Now::at_secs(10_000)), None);
    }

    #[test]
    fn patience_doubles_when_it_was_in_vain_and_is_reset_when_the_peer_is_heard() {
        let mut watchdog = Watchdog::default();
        let mut at = 0;
        for silence in [60, 120, 240] {
            watchdog.join(Now::at_secs(at), peer(1));
            deliver(&mut watchdog, 2, 99, at);
            assert_eq!(watchdog.bark(Now::at_secs(at + silence - 1)), None);
            assert_eq!(watchdog.bark(Now::at_secs(at + silence)), Some(peer(1)));
            at += silence;
        }
        watchdog.join(Now::at_secs(at), peer(1));
        deliver(&mut watchdog, 1, 1, at);
        deliver(&mut watchdog, 2, 99, at);
        assert_eq!(watchdog.bark(Now::at_secs(at + 60)), Some(peer(1)));
    }

    #[test]
    fn long_patience_is_forgotten_with_the_peer() {
        let mut watchdog = pair();
        deliver(&mut watchdog, 2, 30, 59);
        assert_eq!(watchdog.bark(Now::at_secs(60)), Some(peer(1)));
        watchdog.sweep(Now::at_secs(61));
        assert_eq!(watchdog.in_vain.len(), 1);
        watchdog.sweep(Now::at_secs(60 + FORGOTTEN_AFTER.as_secs()));
        assert!(watchdog.in_vain.is_empty());
    }
}
