//! Who may not be grafted, and until when.
//!
//! Both sides of a PRUNE keep it: we do not graft the peer before it is over, with some slack for its clock and the way;
//! and a GRAFT of the peer before it is over is answered by PRUNE and held against it. What a peer asks for is capped, so
//! that no number on the wire sets time off or shuts us out for ever.

use core::time::Duration;

use peerage_proto::peer_id::PeerId;

use super::topic::TopicName;
use crate::codec::codec_struct;
use crate::common::fair_map::{Aged, FairMap, Inserted};
use crate::common::sip::{HashKey, Hashed};
use crate::state::{alter_leaf, state};
use crate::time::Instant;

/// Longest backoff that is taken from a peer.
pub const RECEIVED_MAX: Duration = Duration::from_secs(3600);

/// A peer and a topic.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Pair {
    peer: PeerId,
    topic: TopicName,
}

impl Hashed for Pair {
    fn hashed(&self, key: HashKey) -> u64 {
        key.tweaked(self.topic.hashed(key)).hash(self.peer.as_bytes())
    }
}

codec_struct!(Pair { peer, topic });
alter_leaf!(Pair => |v| v.topic = [&v.topic.0[..], b"x"].concat().as_slice().into());

/// Times of the backoffs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Times {
    /// Unless a PRUNE says otherwise.
    pub prune: Duration,
    /// A GRAFT this soon after the PRUNE is a flood.
    pub graft_flood: Duration,
    /// How long we wait beyond the end: two heartbeats.
    pub slack: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            prune: Duration::from_secs(60),
            graft_flood: Duration::from_secs(10),
            slack: Duration::from_secs(2),
        }
    }
}

/// What a GRAFT that came in is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum GraftTime {
    /// No backoff stands against it.
    Allowed,
    /// It is too early: one penalty.
    Early,
    /// It is much too early: two penalties.
    Flood,
}

state! {
    /// See the module's documentation.
    #[derive(Clone, Debug)]
    pub struct Backoffs {
        prune: Duration,
        graft_flood: Duration,
        slack: Duration,
        /// When each is over, without slack.
        until: FairMap<Pair, Instant>,
        not_kept: u64,
    }
}

impl Backoffs {
    /// An empty table of at most `max` backoffs. It should hold those of all neighbours for all topics of ours.
    pub fn new(times: &Times, max: u32, hash_key: HashKey) -> Self {
        Self {
            prune: times.prune,
            graft_flood: times.graft_flood,
            slack: times.slack,
            until: FairMap::new(max, hash_key),
            not_kept: 0,
        }
    }

    /// How long the backoff of a PRUNE is that names `received_s` seconds: absent or zero is the usual one.
    pub fn of_prune(&self, received_s: Option<u64>) -> Duration {
        match received_s {
            None | Some(0) => self.prune,
            Some(secs) => Duration::from_secs(secs).min(RECEIVED_MAX),
        }
    }

    /// `peer` may not be grafted for `topic` for `backoff` from now on, or longer where it may not already. Backoffs of
    /// peers for which `is_connected` does not hold are pushed out first.
    pub fn add(
        &mut self,
        now: Instant,
        peer: PeerId,
        topic: &TopicName,
        backoff: Duration,
        is_connected: impl Fn(&PeerId) -> bool,
    ) {
        let pair = Pair { peer, topic: topic.clone() };
        let until = now.after(backoff);
        if let Some(present) = self.until.get_mut(&pair) {
            *present = until.max(*present);
            return;
        }
        let inserted = self.until.insert_keeping(now, pair, peer, until, |pair, _| is_connected(&pair.peer));
        if matches!(inserted, Inserted::Refused | Inserted::Evicted(..)) {
            self.not_kept = self.not_kept.saturating_add(1);
        }
    }

    /// Until when `peer` may not graft us for `topic`.
    pub fn until(&self, peer: &PeerId, topic: &TopicName) -> Option<Instant> {
        self.until.get(&Pair { peer: *peer, topic: topic.clone() }).copied()
    }

    /// Whether we may graft `peer` for `topic`: the backoff is over, and the slack after it.
    pub fn may_graft(&self, now: Instant, peer: &PeerId, topic: &TopicName) -> bool {
        self.until(peer, topic).is_none_or(|until| until.after(self.slack) <= now)
    }

    /// What a GRAFT of `peer` for `topic` is. If it is too early, the caller prunes it and adds the backoff anew.
    pub fn on_graft(&self, now: Instant, peer: &PeerId, topic: &TopicName) -> GraftTime {
        let Some(until) = self.until(peer, topic).filter(|until| now < *until) else {
            return GraftTime::Allowed;
        };
        // The PRUNE is taken to be as old as a usual backoff makes it, as Go does. Added on both sides: nothing is cut off
        // below zero.
        if now.after(self.prune) < until.after(self.graft_flood) {
            GraftTime::Flood
        } else {
            GraftTime::Early
        }
    }

    /// Takes out what is over, slack included; looks at `budget` entries at most, those looked at longest ago first.
    pub fn expire(&mut self, now: Instant, budget: u32) {
        let slack = self.slack;
        let _ = self.until.expire(now, now, budget, |_, until| {
            if until.after(slack) <= now { Aged::Over } else { Aged::InUse }
        });
    }

    /// Number of backoffs.
    pub fn len(&self) -> usize {
        self.until.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.until.is_empty()
    }

    /// Backoffs that were pushed out or found no room.
    pub fn not_kept(&self) -> u64 {
        self.not_kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn peer(n: u8) -> PeerId {
        PeerId::from_ed25519(&[n; 32])
    }

    fn secs(secs: u64) -> Instant {
        Instant::from_micros(secs * 1_000_000)
    }

    fn table(max: u32) -> Backoffs {
        Backoffs::new(&Times::default(), max, HashKey::known())
    }

    fn add(table: &mut Backoffs, at: u64, n: u8, backoff: Duration) {
        table.add(secs(at), peer(n), &"t".into(), backoff, |_| true);
    }

    #[test]
    fn a_backoff_is_what_the_prune_says_capped_at_an_hour_and_a_minute_if_it_says_nothing() {
        let table = table(8);
        for (received, secs) in
            [(None, 60), (Some(0), 60), (Some(1), 1), (Some(3600), 3600), (Some(3601), 3600)]
        {
            assert_eq!(table.of_prune(received), Duration::from_secs(secs), "{received:?}");
        }
        assert_eq!(table.of_prune(Some(u64::MAX)), RECEIVED_MAX);
    }

    #[test]
    fn we_graft_when_the_slack_is_over_and_are_grafted_when_the_backoff_is() {
        let mut table = table(8);
        let topic = TopicName::from("t");
        assert!(table.may_graft(secs(0), &peer(1), &topic));
        add(&mut table, 0, 1, Duration::from_secs(60));
        for (at, may_graft, time) in [
            (0, false, GraftTime::Flood),
            (9, false, GraftTime::Flood),
            (10, false, GraftTime::Early),
            (59, false, GraftTime::Early),
            (60, false, GraftTime::Allowed),
            (61, false, GraftTime::Allowed),
            (62, true, GraftTime::Allowed),
        ] {
            assert_eq!(table.may_graft(secs(at), &peer(1), &topic), may_graft, "at {at}");
            assert_eq!(table.on_graft(secs(at), &peer(1), &topic), time, "at {at}");
        }
        assert!(table.may_graft(secs(0), &peer(1), &"other".into()));
        assert!(table.may_graft(secs(0), &peer(2), &topic));
    }

    #[test]
    fn a_graft_during_the_short_backoff_of_a_left_topic_is_early_and_no_flood() {
        let mut table = table(8);
        add(&mut table, 0, 1, Duration::from_secs(10));
        assert_eq!(table.on_graft(secs(1), &peer(1), &"t".into()), GraftTime::Early);
        add(&mut table, 0, 2, RECEIVED_MAX);
        assert_eq!(table.on_graft(secs(3000), &peer(2), &"t".into()), GraftTime::Flood);
    }

    #[test]
    fn a_backoff_is_prolonged_and_never_cut_short() {
        let mut table = table(8);
        add(&mut table, 0, 1, Duration::from_secs(60));
        add(&mut table, 10, 1, Duration::from_secs(10));
        assert_eq!(table.until(&peer(1), &"t".into()), Some(secs(60)));
        add(&mut table, 20, 1, Duration::from_secs(60));
        assert_eq!(table.until(&peer(1), &"t".into()), Some(secs(80)));
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn time_arithmetic_saturates() {
        let mut table = table(8);
        table.add(Instant::FAR, peer(1), &"t".into(), Duration::MAX, |_| true);
        assert_eq!(table.until(&peer(1), &"t".into()), Some(Instant::FAR));
        assert!(table.on_graft(Instant::ZERO, &peer(1), &"t".into()) != GraftTime::Allowed);
        assert!(table.may_graft(Instant::FAR, &peer(1), &"t".into()));
    }

    #[test]
    fn backoffs_of_peers_that_are_gone_are_pushed_out_before_a_neighbours() {
        let mut table = table(2);
        table.add(secs(0), peer(1), &"t".into(), RECEIVED_MAX, |_| true);
        table.add(secs(0), peer(2), &"t".into(), RECEIVED_MAX, |_| true);
        let is_connected = |other: &PeerId| *other != peer(2);
        table.add(secs(1), peer(3), &"t".into(), RECEIVED_MAX, is_connected);
        assert!(table.until(&peer(2), &"t".into()).is_none());
        assert!(table.until(&peer(1), &"t".into()).is_some() && table.until(&peer(3), &"t".into()).is_some());
        assert_eq!(table.not_kept(), 1);
    }

    proptest! {
        #[test]
        fn what_is_over_goes_within_a_sweep_of_all_and_nothing_else_does(
            backoffs in proptest::collection::vec((0u8..20, 1u64..100), 1..30), at in 0u64..120,
        ) {
            let mut table = table(64);
            for (n, backoff) in &backoffs {
                add(&mut table, 0, *n, Duration::from_secs(*backoff));
            }
            table.expire(secs(at), 64);
            for n in 0u8..20 {
                let longest = backoffs.iter().filter(|(other, _)| *other == n).map(|(_, secs)| *secs).max();
                let is_there = table.until(&peer(n), &"t".into()).is_some();
                prop_assert_eq!(is_there, at > 0 && longest.is_some_and(|longest| longest + 2 > at) || at == 0 && longest.is_some());
            }
        }
    }
}
