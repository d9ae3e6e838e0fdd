//! Repetition: how often one hash is handed on to the broker (spec 14.2, seen-hash cache).

use alloc::vec::Vec;

use peerage_proto::hash::Hash256;
use peerage_proto::peer_id::PeerId;

use super::TopicKind;
use super::config::Config;
use crate::common::fair_map::{Aged, FairMap};
use crate::common::sip::{HashKey, Hashed};
use crate::limits::Limits;
use crate::state::state;
use crate::time::{Instant, Now};

/// Announcers remembered for one hash, at least.
const ANNOUNCERS: u32 = 8;
/// Announcers remembered for one hash, at most, whatever the settings say.
const ANNOUNCERS_MAX: u32 = 64;

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
        /// Whoever announced it first; most hashes have no other announcer.
        announcer: Announcer,
        others: Vec<Announcer>,
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
    pub fn new(limits: &Limits, key: HashKey) -> Self {
        Self { seen: FairMap::new(limits.seen_hashes_max, key) }
    }

    /// Whether this announcement of `hash` by `author` is handed on. It then holds one of the window's slots. Without a
    /// limit on publishers everything is.
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
        if config.seen_hash_publishers_max == u32::MAX {
            return true;
        }
        let key = (kind, hash);
        match self.seen.get_mut(&key) {
            Some(seen) if now.mono.saturating_since(seen.first) < config.seen_hash_ttl => {
                seen.announce(now.mono, config, author)
            }
            // What is too old is replaced.
            Some(_) | None => {
                let _ = self.seen.insert(now.mono, key, neighbour, Seen::first(now.mono, author));
                true
            }
        }
    }

    /// The record could not be handed on after all: the slot is free again.
    pub fn give_back(&mut self, kind: TopicKind, hash: Hash256, author: &PeerId) {
        let Some(seen) = self.seen.get_mut(&(kind, hash)) else { return };
        let held = seen.find(author).is_some_and(|announcer| core::mem::take(&mut announcer.now));
        if held {
            seen.handed_on = seen.handed_on.saturating_sub(1);
        }
    }

    /// Forgets what is older than `seen_hash_ttl`, up to `budget` of it; whether some is left.
    #[must_use]
    pub fn sweep(&mut self, now: Now, config: &Config, budget: u32) -> bool {
        self.seen.expire(now.mono, now.mono.before(config.seen_hash_ttl), budget, |_, _| Aged::Over)
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

impl Hashed for (TopicKind, Hash256) {
    fn hashed(&self, key: HashKey) -> u64 {
        self.1.hashed(key.tweaked(self.0 as u64))
    }
}

impl Seen {
    /// A hash announced for the first time: it is handed on.
    fn first(now: Instant, author: PeerId) -> Self {
        let announcer = Announcer { peer: author, now: true, before: false };
        Self { first: now, window: now, handed_on: 1, announcer, others: Vec::new() }
    }

    fn find(&mut self, author: &PeerId) -> Option<&mut Announcer> {
        core::iter::once(&mut self.announcer)
            .chain(&mut self.others)
            .find(|announcer| announcer.peer == *author)
    }

    /// One more announcement; whether it is handed on.
    fn announce(&mut self, now: Instant, config: &Config, author: PeerId) -> bool {
        self.turn_window(now, config);
        let handed_on = self.handed_on;
        let has_slot = handed_on < config.seen_hash_publishers_max;
        let remembered_max = config.seen_hash_publishers_max.clamp(ANNOUNCERS, ANNOUNCERS_MAX) as usize;
        let remembers_another = self.others.len() + 1 < remembered_max;
        let granted = match self.find(&author) {
            // It announced before: again only if nobody did in this window, and not in two windows running.
            Some(announcer) => {
                let granted = handed_on == 0 && !announcer.now && !announcer.before;
                announcer.now |= granted;
                granted
            }
            None if remembers_another => {
                self.others.push(Announcer { peer: author, now: has_slot, before: false });
                has_slot
            }
            None => false,
        };
        self.handed_on += u32::from(granted);
        granted
    }

    /// Opens a new window with the first announcement after the last one's end.
    fn turn_window(&mut self, now: Instant, config: &Config) {
        if now.saturating_since(self.window) < config.seen_hash_window {
            return;
        }
        self.window = now;
        self.handed_on = 0;
        for announcer in core::iter::once(&mut self.announcer).chain(&mut self.others) {
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
        let mut repeats = Repeats::new(&Limits::default(), HashKey::known());
        let handed_on: Vec<bool> = (1..=5).map(|author| announce(&mut repeats, 0, author)).collect();
        assert_eq!(handed_on, [true, true, true, false, false]);
    }

    #[test]
    fn t164_one_peer_repeating_a_hash_is_handed_on_once_in_fifteen_seconds_at_most() {
        let mut repeats = Repeats::new(&Limits::default(), HashKey::known());
        let count = (0..60).filter(|at| announce(&mut repeats, *at, 1)).count();
        assert!(count <= 4, "{count}");
        assert!(announce(&mut repeats, 121, 1), "after the time to live the hash is new");
    }

    #[test]
    fn a_failed_record_gives_its_slot_back() {
        let mut repeats = Repeats::new(&Limits::default(), HashKey::known());
        assert!(announce(&mut repeats, 0, 1));
        assert!(!announce(&mut repeats, 0, 1));
        repeats.give_back(TopicKind::Block, Hash256::ZERO, &peer(1));
        assert!(announce(&mut repeats, 0, 1));
    }

    #[test]
    fn what_is_old_is_swept() {
        let mut repeats = Repeats::new(&Limits::default(), HashKey::known());
        assert!(announce(&mut repeats, 0, 1));
        assert!(!repeats.sweep(Now::at_secs(121), &Config::new(Network::Regtest), 9));
        assert!(repeats.is_empty());
    }
}
