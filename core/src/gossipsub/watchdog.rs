//! Peers that went deaf: connected, in the mesh, yet silent while others deliver.
//!
//! One message over its reader's limit ends a gossipsub stream without a word: the connection stays up, and nothing of
//! that peer is heard again. No router reports it. So a mesh member from which nothing came for some heartbeats, while
//! others delivered several messages, is closed and dialled again. A healthy peer can be silent too, when others are
//! always faster; hence the patience with a peer doubles each time it was in vain, and one peer at a time is redialled.

use alloc::collections::BTreeMap;
use core::time::Duration;

use peerage_proto::peer_id::PeerId;

use crate::state::state;
use crate::time::{Instant, Now};

/// Between looks.
pub const INTERVAL: Duration = Duration::from_secs(1);
/// Silence that is borne at first.
const PATIENCE_FIRST: Duration = Duration::from_secs(4);
/// Silence that is borne at most.
const PATIENCE_MAX: Duration = Duration::from_secs(1800);
/// Messages of others within that silence.
const DELIVERED_BY_OTHERS_MIN: u64 = 8;
/// Peers whose patience is remembered beyond their connection.
const REMEMBERED_MAX: usize = 1024;

state! {
    #[derive(Clone, Debug)]
    struct Listener {
        /// When it entered the mesh or was last heard, and what all had delivered then.
        heard: Instant,
        delivered_before: u64,
    }
}

state! {
    /// When each mesh member was heard last, and how much silence of each is borne.
    #[derive(Clone, Debug, Default)]
    pub struct Watchdog {
        members: BTreeMap<PeerId, Listener>,
        /// Longer than the first patience only, and when it was lengthened; gone when the peer is heard.
        patience: BTreeMap<PeerId, (Duration, Instant)>,
        delivered: u64,
    }
}

impl Watchdog {
    /// A neighbour entered its first mesh with us.
    pub fn join(&mut self, now: Now, peer: PeerId) {
        let listener = Listener { heard: now.mono, delivered_before: self.delivered };
        self.members.entry(peer).or_insert(listener);
    }

    /// A neighbour left the last mesh with us, or is gone.
    pub fn leave(&mut self, peer: &PeerId) {
        self.members.remove(peer);
    }

    /// `peer` delivered a message that was new to us.
    pub fn on_delivered(&mut self, now: Now, peer: &PeerId) {
        self.delivered = self.delivered.saturating_add(1);
        if let Some(listener) = self.members.get_mut(peer) {
            *listener = Listener { heard: now.mono, delivered_before: self.delivered };
            self.patience.remove(peer);
        }
    }

    /// The peer to close and dial again, if any: the one silent for longest beyond our patience with it.
    #[must_use]
    pub fn bark(&mut self, now: Now) -> Option<PeerId> {
        let deaf = |(peer, listener): &(&PeerId, &Listener)| {
            let silent = now.mono.saturating_since(listener.heard);
            let others = self.delivered.saturating_sub(listener.delivered_before);
            silent >= self.patience_with(peer) && others >= DELIVERED_BY_OTHERS_MIN
        };
        let (peer, _) =
            self.members.iter().filter(deaf).min_by_key(|(peer, member)| (member.heard, **peer))?;
        let peer = *peer;
        self.members.remove(&peer);
        let next = self.patience_with(&peer).saturating_mul(2).min(PATIENCE_MAX);
        if self.patience.len() < REMEMBERED_MAX || self.patience.contains_key(&peer) {
            self.patience.insert(peer, (next, now.mono));
        }
        Some(peer)
    }

    fn patience_with(&self, peer: &PeerId) -> Duration {
        self.patience.get(peer).map_or(PATIENCE_FIRST, |(patience, _)| *patience)
    }

    /// Forgets long patience with peers that are not watched any more.
    pub fn sweep(&mut self, now: Now) {
        let members = &self.members;
        self.patience.retain(|peer, (_, since)| {
            members.contains_key(peer) || now.mono.saturating_since(*since) < PATIENCE_MAX
        });
    }

    /// Whether any member is watched.
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
        (0..count).for_each(|_| watchdog.on_delivered(Now::at_secs(at), &peer(from)));
    }

    #[test]
    fn a_silent_mesh_member_is_redialled_while_others_deliver() {
        let mut watchdog = Watchdog::default();
        watchdog.join(Now::at_secs(0), peer(1));
        watchdog.join(Now::at_secs(0), peer(2));
        deliver(&mut watchdog, 2, 30, 3);
        assert_eq!(watchdog.bark(Now::at_secs(3)), None, "not yet");
        deliver(&mut watchdog, 2, 10, 4);
        assert_eq!(watchdog.bark(Now::at_secs(4)), Some(peer(1)));
        assert_eq!(watchdog.bark(Now::at_secs(4)), None);
    }

    #[test]
    fn nobody_is_deaf_when_nobody_speaks() {
        let mut watchdog = Watchdog::default();
        watchdog.join(Now::at_secs(0), peer(1));
        watchdog.join(Now::at_secs(0), peer(2));
        deliver(&mut watchdog, 2, DELIVERED_BY_OTHERS_MIN - 1, 1);
        assert_eq!(watchdog.bark(Now::at_secs(1000)), None);
    }

    #[test]
    fn patience_doubles_when_it_was_in_vain_and_is_reset_when_the_peer_is_heard() {
        let mut watchdog = Watchdog::default();
        let mut at = 0;
        for silence in [4, 8, 16] {
            watchdog.join(Now::at_secs(at), peer(1));
            deliver(&mut watchdog, 2, 99, at);
            assert_eq!(watchdog.bark(Now::at_secs(at + silence - 1)), None);
            assert_eq!(watchdog.bark(Now::at_secs(at + silence)), Some(peer(1)));
            at += silence;
        }
        watchdog.join(Now::at_secs(at), peer(1));
        deliver(&mut watchdog, 1, 1, at);
        deliver(&mut watchdog, 2, 99, at);
        assert_eq!(watchdog.bark(Now::at_secs(at + 4)), Some(peer(1)));
    }
}
