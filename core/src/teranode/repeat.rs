//! Repetition: how often one hash is handed on to the broker (spec 14.2, seen-hash cache).

use alloc::vec::Vec;

use peerage_proto::hash::Hash256;
use peerage_proto::peer_id::PeerId;

use super::TopicKind;
use super::config::Config;
use crate::common::fair_map::FairMap;
use crate::limits::Limits;
use crate::state::state;
use crate::time::{Instant, Now};

/// Announcers remembered for one hash, at least.
const ANNOUNCERS: u32 = 8;

state! {
    #[derive(Clone, Debug)]
    struct Announcer {
        peer: PeerId,
        /// Handed on in the present window, and in the one before.
        now: bool,
        before: bool,
    }
}

state! {
    #[derive(Clone, Debug)]
    struct Seen {
        first: Instant,
        window: Instant,
        handed_on: u32,
        announcers: Vec<Announcer>,
    }
}

state! {
    /// What is announced again and again, by topic and hash.
    #[derive(Clone, Debug)]
    pub struct Repeats {
        seen: FairMap<(TopicKind, Hash256), Seen>,
    }
}

impl Repeats {
    /// Nothing seen yet.
    pub fn new(limits: &Limits) -> Self {
        Self { seen: FairMap::new(limits.seen_hashes_max) }
    }

    /// Whether this announcement of `hash` by `author` is handed on. It then holds one of the window's slots.
    ///
    /// It is if the author is remembered for the first time and the window has a slot left, or if nothing was handed
    /// on in this window yet and the author was not among those of the window before.
    #[must_use]
    pub fn hand_on(
        &mut self,
        now: Now,
        config: &Config,
        kind: TopicKind,
        hash: Hash256,
        author: PeerId,
        neighbour: PeerId,
    ) -> bool {
        let key = (kind, hash);
        let fresh = |seen: &Seen| now.mono.saturating_since(seen.first) < config.seen_hash_ttl;
        if !self.seen.get(&key).is_some_and(fresh) {
            self.seen.remove(&key);
            let seen =
                Seen { first: now.mono, window: now.mono, handed_on: 0, announcers: Vec::with_capacity(1) };
            let _ = self.seen.insert(now.mono, key, neighbour, seen);
        }
        let Some(seen) = self.seen.get_mut(&key) else {
            // No room even for one entry: every neighbour holds its last. Handing on is the harmless side.
            return true;
        };
        seen.turn_window(now.mono, config);
        let room = config.seen_hash_publishers_max.max(ANNOUNCERS);
        let remembers_another = seen.announcers.len() < room as usize;
        let known = seen.announcers.iter_mut().find(|announcer| announcer.peer == author);
        let granted = match &known {
            None => seen.handed_on < config.seen_hash_publishers_max && remembers_another,
            Some(announcer) => seen.handed_on == 0 && !announcer.before,
        };
        if granted {
            seen.handed_on += 1;
        }
        match known {
            Some(announcer) => announcer.now |= granted,
            None if remembers_another => {
                seen.announcers.push(Announcer { peer: author, now: granted, before: false });
            }
            None => {}
        }
        granted
    }

    /// The record could not be handed on after all: the slot is free again.
    pub fn give_back(&mut self, kind: TopicKind, hash: Hash256, author: &PeerId) {
        let Some(seen) = self.seen.get_mut(&(kind, hash)) else { return };
        let held = seen.announcers.iter().position(|announcer| announcer.peer == *author && announcer.now);
        if let Some(at) = held {
            seen.handed_on = seen.handed_on.saturating_sub(1);
            seen.announcers.remove(at);
        }
    }

    /// Forgets what is older than `seen_hash_ttl`.
    pub fn sweep(&mut self, now: Now, config: &Config) {
        let ttl = u64::try_from(config.seen_hash_ttl.as_micros()).unwrap_or(u64::MAX);
        self.seen.expire(Instant::from_micros(now.mono.as_micros().saturating_sub(ttl)));
    }

    /// Number of hashes.
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// Full structural check.
    ///
    /// # Errors
    /// What does not hold.
    pub fn check(&self) -> Result<(), &'static str> {
        self.seen.check()
    }
}

impl Seen {
    /// Opens a new window with the first announcement after the last one's end.
    fn turn_window(&mut self, now: Instant, config: &Config) {
        if now.saturating_since(self.window) < config.seen_hash_window {
            return;
        }
        self.window = now;
        self.handed_on = 0;
        for announcer in &mut self.announcers {
            announcer.before = core::mem::take(&mut announcer.now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerage_proto::network::Network;

    fn peer(n: u8) -> PeerId {
        PeerId::from_ed25519(&[n; 32])
    }

    fn announce(repeats: &mut Repeats, at: u64, author: u8) -> bool {
        let config = Config::new(Network::Regtest);
        repeats.hand_on(
            Now::at_secs(at),
            &config,
            TopicKind::Block,
            Hash256::ZERO,
            peer(author),
            peer(author),
        )
    }

    #[test]
    fn three_publishers_of_a_hash_are_handed_on_in_fifteen_seconds() {
        let mut repeats = Repeats::new(&Limits::default());
        let handed_on: Vec<bool> = (1..=5).map(|author| announce(&mut repeats, 0, author)).collect();
        assert_eq!(handed_on, [true, true, true, false, false]);
    }

    #[test]
    fn t164_one_peer_repeating_a_hash_is_handed_on_once_in_fifteen_seconds_at_most() {
        let mut repeats = Repeats::new(&Limits::default());
        let count = (0..60).filter(|at| announce(&mut repeats, *at, 1)).count();
        assert!(count <= 4, "{count}");
        assert!(announce(&mut repeats, 121, 1), "after the time to live the hash is new");
    }

    #[test]
    fn a_failed_record_gives_its_slot_back() {
        let mut repeats = Repeats::new(&Limits::default());
        assert!(announce(&mut repeats, 0, 1));
        assert!(!announce(&mut repeats, 0, 1));
        repeats.give_back(TopicKind::Block, Hash256::ZERO, &peer(1));
        assert!(announce(&mut repeats, 0, 1));
    }

    #[test]
    fn what_is_old_is_swept() {
        let mut repeats = Repeats::new(&Limits::default());
        assert!(announce(&mut repeats, 0, 1));
        repeats.sweep(Now::at_secs(121), &Config::new(Network::Regtest));
        assert!(repeats.is_empty());
    }
}
