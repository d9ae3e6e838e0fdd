//! Ban scores by peer (spec 11.1).

use alloc::collections::BTreeSet;
use core::time::Duration;

use peerage_proto::peer_id::PeerId;

use crate::codec::codec_enum;
use crate::common::fair_map::{FairMap, Inserted};
use crate::common::ring::Ring;
use crate::common::sip::HashKey;
use crate::limits::Limits;
use crate::state::{alter_leaf, state};
use crate::time::{Instant, Now, UnixTime};

/// Why a peer loses points.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum BanReason {
    /// Anything else.
    Unknown,
    /// `invalid_subtree`.
    InvalidSubtree,
    /// `protocol_violation`.
    ProtocolViolation,
    /// `spam`.
    Spam,
    /// `invalid_block`.
    InvalidBlock,
    /// A failed catch-up; internal, no text names it.
    CatchupFailure,
}

impl BanReason {
    /// Points (spec 11.1). The only place where they stand.
    pub const fn points(self) -> u32 {
        match self {
            Self::Unknown => 1,
            Self::InvalidSubtree | Self::InvalidBlock => 10,
            Self::ProtocolViolation => 20,
            Self::CatchupFailure => 30,
            Self::Spam => 50,
        }
    }

    /// Name on the wire, in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::InvalidSubtree => "invalid_subtree",
            Self::ProtocolViolation => "protocol_violation",
            Self::Spam => "spam",
            Self::InvalidBlock => "invalid_block",
            Self::CatchupFailure => "catchup_failure",
        }
    }
}

/// One point decays in this time.
const DECAY: Duration = Duration::from_secs(60);

state! {
    #[derive(Clone, Debug)]
    struct Score {
        points: u32,
        /// Decay is counted from here, in whole minutes.
        updated: Instant,
        /// End of the ban, by the monotonic clock and for show.
        banned_until: Option<(Instant, UnixTime)>,
        reasons: Ring<BanReason>,
    }
}

state! {
    /// Ban scores. An entry belongs to the neighbour through which the peer was heard: ids are free to invent,
    /// neighbours are not.
    #[derive(Clone, Debug)]
    pub struct BanManager {
        threshold: u32,
        duration: Duration,
        scores: FairMap<PeerId, Score>,
        /// Scores by their end: that of the ban, or when the last point has decayed.
        ends: BTreeSet<(Instant, PeerId)>,
        /// Of them: bans.
        banned: u32,
        reasons_max: u32,
    }
}

/// What a penalty did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Outcome {
    /// The score now.
    Scored(u32),
    /// The peer is banned from now on.
    Banned {
        /// Until when.
        until: UnixTime,
    },
    /// It was banned already.
    AlreadyBanned,
}

impl BanManager {
    /// No scores yet.
    pub fn new(threshold: u32, duration: Duration, limits: &Limits, key: HashKey) -> Self {
        Self {
            threshold,
            duration,
            scores: FairMap::new(limits.ban_scores_max, key),
            ends: BTreeSet::new(),
            banned: 0,
            reasons_max: limits.ban_reasons_max,
        }
    }

    /// `peer`, heard through `owner`, loses points.
    pub fn add_score(&mut self, now: Now, peer: PeerId, owner: PeerId, reason: BanReason) -> Outcome {
        // One that is over begins anew.
        if self.scores.get(&peer).is_some_and(|score| score.end() <= now.mono) {
            self.forget(&peer);
        }
        if self.scores.get(&peer).is_none() {
            let score = Score {
                points: 0,
                updated: now.mono,
                banned_until: None,
                reasons: Ring::new(self.reasons_max),
            };
            let banned = |_: &PeerId, score: &Score| score.banned_until.is_some();
            match self.scores.insert_keeping(now.mono, peer, owner, score, banned) {
                Inserted::Evicted(victim, score) => self.unindex(&victim, &score),
                Inserted::New | Inserted::Replaced(_) => {}
                Inserted::Refused => return Outcome::Scored(reason.points()),
            }
        }
        let (threshold, duration) = (self.threshold, self.duration);
        let Some(score) = self.scores.get_mut(&peer) else { return Outcome::Scored(0) };
        let former = score.end();
        score.decay(now.mono);
        score.points = score.points.saturating_add(reason.points());
        score.reasons.push(reason);
        if score.banned_until.is_some() {
            return Outcome::AlreadyBanned;
        }
        let outcome = if score.points < threshold {
            Outcome::Scored(score.points)
        } else {
            let until = (now.mono.after(duration), now.wall.after(duration));
            score.banned_until = Some(until);
            self.banned = self.banned.saturating_add(1);
            Outcome::Banned { until: until.1 }
        };
        let end = score.end();
        self.ends.remove(&(former, peer));
        self.ends.insert((end, peer));
        outcome
    }

    fn forget(&mut self, peer: &PeerId) {
        if let Some(score) = self.scores.remove(peer) {
            self.unindex(peer, &score);
        }
    }

    fn unindex(&mut self, peer: &PeerId, score: &Score) {
        self.ends.remove(&(score.end(), *peer));
        self.banned = self.banned.saturating_sub(u32::from(score.banned_until.is_some()));
    }

    /// Whether `peer` is banned now.
    pub fn is_banned(&self, now: Now, peer: &PeerId) -> bool {
        if self.banned == 0 {
            return false;
        }
        let until = self.scores.get(peer).and_then(|score| score.banned_until);
        until.is_some_and(|(until, _)| now.mono < until)
    }

    /// The score of `peer` as of now, decay included.
    pub fn score(&self, now: Now, peer: &PeerId) -> u32 {
        let score = self.scores.get(peer).filter(|score| score.end() > now.mono);
        score.map_or(0, |score| score.points_at(now.mono).0)
    }

    /// Forgets bans that are over and scores that have decayed to nothing, up to `budget` of them; whether some are left.
    #[must_use]
    pub fn sweep(&mut self, now: Now, budget: u32) -> bool {
        let due =
            |ends: &BTreeSet<(Instant, PeerId)>| ends.first().copied().filter(|(end, _)| *end <= now.mono);
        for _ in 0..budget {
            let Some((_, peer)) = due(&self.ends) else { return false };
            self.forget(&peer);
        }
        due(&self.ends).is_some()
    }

    /// Peers with a ban that is not forgotten yet, and until when.
    pub fn banned(&self) -> impl Iterator<Item = (&PeerId, UnixTime)> {
        self.ends.iter().filter_map(|(_, peer)| Some((peer, self.scores.get(peer)?.banned_until?.1)))
    }

    /// Number of them.
    pub fn banned_count(&self) -> u32 {
        self.banned
    }

    /// Number of scores.
    pub fn len(&self) -> usize {
        self.scores.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.scores.is_empty()
    }

    /// Full structural check.
    ///
    /// # Errors
    /// What does not hold.
    pub fn check(&self) -> Result<(), &'static str> {
        let banned = self.scores.iter().filter(|(_, score)| score.banned_until.is_some()).count();
        if banned != self.banned as usize {
            return Err("bans are miscounted");
        }
        let ends = self
            .ends
            .iter()
            .all(|(end, peer)| self.scores.get(peer).is_some_and(|score| score.end() == *end));
        if !ends || self.ends.len() != self.scores.len() {
            return Err("scores and their ends disagree");
        }
        self.scores.check()
    }
}

impl Score {
    /// One point less a full minute; what is left of a minute counts on.
    fn decay(&mut self, now: Instant) {
        (self.points, self.updated) = self.points_at(now);
    }

    fn points_at(&self, now: Instant) -> (u32, Instant) {
        let minutes = now.saturating_since(self.updated).as_secs() / DECAY.as_secs();
        let minutes = u32::try_from(minutes).unwrap_or(u32::MAX);
        (self.points.saturating_sub(minutes), self.updated.after(DECAY.saturating_mul(minutes)))
    }

    /// When nothing is left of it.
    fn end(&self) -> Instant {
        self.banned_until
            .map_or_else(|| self.updated.after(DECAY.saturating_mul(self.points)), |(until, _)| until)
    }
}

codec_enum!(BanReason {
    0 => Unknown, 1 => InvalidSubtree, 2 => ProtocolViolation, 3 => Spam, 4 => InvalidBlock, 5 => CatchupFailure,
});
alter_leaf!(BanReason => |reason| *reason = if *reason == BanReason::Spam { BanReason::Unknown } else { BanReason::Spam });

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn peer(n: u8) -> PeerId {
        PeerId::from_ed25519(&[n; 32])
    }

    fn manager() -> BanManager {
        BanManager::new(100, DAY, &Limits::default(), HashKey::known())
    }

    fn add(bans: &mut BanManager, at: u64, reason: BanReason) -> Outcome {
        bans.add_score(Now::at_secs(at), peer(1), peer(2), reason)
    }

    #[test]
    fn t132_two_spams_or_five_violations_or_ten_invalid_subtrees_ban_for_a_day() {
        for (reason, count) in
            [(BanReason::Spam, 2), (BanReason::ProtocolViolation, 5), (BanReason::InvalidSubtree, 10)]
        {
            let mut bans = manager();
            for _ in 1..count {
                assert!(matches!(add(&mut bans, 0, reason), Outcome::Scored(_)));
            }
            assert_eq!(add(&mut bans, 0, reason), Outcome::Banned { until: Now::at_secs(0).wall.after(DAY) });
            assert_eq!(add(&mut bans, 0, reason), Outcome::AlreadyBanned);
        }
    }

    #[test]
    fn t133_ninety_points_thirty_minutes_and_an_invalid_block_make_seventy() {
        let mut bans = manager();
        for _ in 0..9 {
            let _ = add(&mut bans, 0, BanReason::InvalidBlock);
        }
        assert_eq!(add(&mut bans, 1800, BanReason::InvalidBlock), Outcome::Scored(70));
    }

    #[test]
    fn t134_an_expired_ban_is_over_and_the_score_is_zero() {
        let mut bans = manager();
        for _ in 0..2 {
            let _ = add(&mut bans, 0, BanReason::Spam);
        }
        assert!(bans.is_banned(Now::at_secs(DAY.as_secs() - 1), &peer(1)));
        assert!(!bans.is_banned(Now::at_secs(DAY.as_secs()), &peer(1)));
        assert_eq!(bans.score(Now::at_secs(DAY.as_secs()), &peer(1)), 0, "before it is swept too");
        assert!(!bans.sweep(Now::at_secs(DAY.as_secs()), 9));
        assert_eq!((bans.score(Now::at_secs(DAY.as_secs()), &peer(1)), bans.len()), (0, 0));
    }

    #[test]
    fn the_remainder_of_a_minute_is_not_lost() {
        let mut bans = manager();
        let _ = add(&mut bans, 0, BanReason::Spam);
        let _ = add(&mut bans, 59, BanReason::Unknown);
        assert_eq!(bans.score(Now::at_secs(60), &peer(1)), 50);
    }

    #[test]
    fn invented_ids_push_out_no_ban_that_came_through_another_neighbour() {
        let limits = Limits { ban_scores_max: 10, ..Limits::default() };
        let mut bans = BanManager::new(100, DAY, &limits, HashKey::known());
        for _ in 0..2 {
            let _ = bans.add_score(Now::at_secs(0), peer(1), peer(2), BanReason::Spam);
        }
        for n in 10..200 {
            let _ = bans.add_score(Now::at_secs(1), peer(n), peer(9), BanReason::Unknown);
        }
        assert!(bans.is_banned(Now::at_secs(2), &peer(1)));
        assert_eq!(bans.check(), Ok(()));
    }

    #[test]
    fn decayed_scores_are_forgotten() {
        let mut bans = manager();
        let _ = add(&mut bans, 0, BanReason::Unknown);
        assert!(!bans.sweep(Now::at_secs(59), 9));
        assert_eq!(bans.len(), 1);
        assert!(!bans.sweep(Now::at_secs(60), 9));
        assert!(bans.is_empty());
    }
}
