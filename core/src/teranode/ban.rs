//! Ban scores by peer (spec 11.1).

use alloc::collections::BTreeSet;
use core::time::Duration;

use peerage_proto::peer_id::PeerId;

use crate::codec::codec_enum;
use crate::common::fair_map::{FairMap, Inserted};
use crate::common::ring::Ring;
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
        /// Banned peers by the end of their ban.
        expiry: BTreeSet<(Instant, PeerId)>,
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
    pub fn new(threshold: u32, duration: Duration, limits: &Limits) -> Self {
        Self {
            threshold,
            duration,
            scores: FairMap::new(limits.ban_scores_max),
            expiry: BTreeSet::new(),
            reasons_max: limits.ban_reasons_max,
        }
    }

    /// `peer`, heard through `owner`, loses points.
    pub fn add_score(&mut self, now: Now, peer: PeerId, owner: PeerId, reason: BanReason) -> Outcome {
        self.expire(now);
        if self.scores.get(&peer).is_none() {
            let score = Score {
                points: 0,
                updated: now.mono,
                banned_until: None,
                reasons: Ring::new(self.reasons_max),
            };
            let banned = |_: &PeerId, score: &Score| score.banned_until.is_some();
            match self.scores.insert_keeping(now.mono, peer, owner, score, banned) {
                Inserted::Evicted(victim, score) => {
                    if let Some((until, _)) = score.banned_until {
                        self.expiry.remove(&(until, victim));
                    }
                }
                Inserted::New | Inserted::Replaced(_) => {}
                Inserted::Refused => return Outcome::Scored(reason.points()),
            }
        }
        let (threshold, duration) = (self.threshold, self.duration);
        let Some(score) = self.scores.get_mut(&peer) else { return Outcome::Scored(0) };
        score.decay(now.mono);
        score.points = score.points.saturating_add(reason.points());
        score.reasons.push(reason);
        if score.banned_until.is_some() {
            return Outcome::AlreadyBanned;
        }
        if score.points < threshold {
            return Outcome::Scored(score.points);
        }
        let until = (now.mono.after(duration), now.wall.after(duration));
        score.banned_until = Some(until);
        self.expiry.insert((until.0, peer));
        Outcome::Banned { until: until.1 }
    }

    /// Whether `peer` is banned now.
    pub fn is_banned(&self, now: Now, peer: &PeerId) -> bool {
        if self.expiry.is_empty() {
            return false;
        }
        let until = self.scores.get(peer).and_then(|score| score.banned_until);
        until.is_some_and(|(until, _)| now.mono < until)
    }

    /// The score of `peer` as of now, decay included.
    pub fn score(&self, now: Now, peer: &PeerId) -> u32 {
        self.scores.get(peer).map_or(0, |score| {
            let mut score = score.clone();
            score.decay(now.mono);
            score.points
        })
    }

    /// Ends bans that are over; their scores go with them.
    pub fn expire(&mut self, now: Now) {
        while let Some((until, peer)) = self.expiry.first().copied() {
            if until > now.mono {
                return;
            }
            self.expiry.pop_first();
            self.scores.remove(&peer);
        }
    }

    /// Forgets scores that have decayed to nothing.
    pub fn sweep(&mut self, now: Now) {
        self.expire(now);
        let gone = |_: &PeerId, score: &Score| {
            let mut score = score.clone();
            score.decay(now.mono);
            score.points == 0 && score.banned_until.is_none()
        };
        self.scores.expire_if(now.mono, gone);
    }

    /// Peers banned now, and until when.
    pub fn banned(&self) -> impl Iterator<Item = (&PeerId, UnixTime)> {
        self.expiry.iter().filter_map(|(_, peer)| Some((peer, self.scores.get(peer)?.banned_until?.1)))
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
        if banned != self.expiry.len() {
            return Err("bans and their ends disagree");
        }
        self.scores.check()
    }
}

impl Score {
    /// One point a full minute; what is left of a minute counts on.
    fn decay(&mut self, now: Instant) {
        let minutes = now.saturating_since(self.updated).as_secs() / DECAY.as_secs();
        let minutes = u32::try_from(minutes).unwrap_or(u32::MAX);
        self.points = self.points.saturating_sub(minutes);
        self.updated = self.updated.after(DECAY.saturating_mul(minutes));
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
        BanManager::new(100, DAY, &Limits::default())
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
        bans.expire(Now::at_secs(DAY.as_secs()));
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
        let mut bans = BanManager::new(100, DAY, &Limits { ban_scores_max: 10, ..Limits::default() });
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
        bans.sweep(Now::at_secs(59));
        assert_eq!(bans.len(), 1);
        bans.sweep(Now::at_secs(60));
        assert!(bans.is_empty());
    }
}
