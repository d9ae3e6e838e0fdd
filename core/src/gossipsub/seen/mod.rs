//! Copies of messages before and after their signature is checked: which is checked, joined, or dropped.
//!
//! Two names are told apart. A message's *id* is what its author says; anybody can put it on another content. A copy's
//! [`Identity`] covers every byte of it. Three tables follow from that:
//!
//! - *pending*: copies whose signature is being checked, by identity. An identical copy joins the check as a further
//!   sender; another copy of the same id is checked on its own, so that a forged copy cannot stand in the way of the true
//!   one.
//! - *seen*: ids of which a copy passed, for a fixed time from then on. An id is never pushed out before that, or its
//!   message would go round again.
//! - *refused*: identities that failed. An identical copy is dropped without a check and charged to its sender.
//!
//! Room is shared by the peers that delivered, since authors are free to invent. A copy is only checked when there is room
//! for its id among the seen ones: a peer over its share is dropped before it costs anything, counted, and nothing is
//! remembered of it.

mod passed;

use alloc::vec::Vec;
use core::time::Duration;

use peerage_proto::hash::Hash256;
use peerage_proto::peer_id::PeerId;
use sha2::{Digest as _, Sha256};

use crate::codec::codec_struct;
use crate::common::fair_map::{Aged, FairMap, Inserted};
use crate::common::share::Shares;
use crate::common::sip::{HashKey, Hashed};
use crate::state::{alter_leaf, state};
use crate::time::Instant;

use passed::Passed;

/// Name of a copy: SHA-256 of its canonical form, with signature, key and unknown fields.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Identity(pub Hash256);

impl Identity {
    /// The identity of a message in its canonical form.
    pub fn of(canonical: &[u8]) -> Self {
        Self(Hash256(Sha256::digest(canonical).into()))
    }
}

/// SHA-256 of a message id: of fixed length, however long the id is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct IdDigest(pub Hash256);

impl IdDigest {
    /// The digest of a message id.
    pub fn of(id: &[u8]) -> Self {
        Self(Hash256(Sha256::digest(id).into()))
    }
}

impl Hashed for Identity {
    fn hashed(&self, key: HashKey) -> u64 {
        self.0.hashed(key)
    }
}

impl Hashed for IdDigest {
    fn hashed(&self, key: HashKey) -> u64 {
        self.0.hashed(key)
    }
}

codec_struct!(Identity(hash));
codec_struct!(IdDigest(hash));
alter_leaf!(Identity => |v| v.0.0[0] ^= 1, IdDigest => |v| v.0.0[0] ^= 1);

/// Bounds of the tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Copies whose signature is being checked.
    pub pending_max: u32,
    /// Bytes of them.
    pub pending_bytes_max: u64,
    /// Further senders remembered for one copy; who comes later is not told of the outcome.
    pub senders_max: u32,
    /// Ids seen, those of pending copies included. An id takes at most 64 bytes. A peer that is our only one may hold a
    /// quarter of it, and has to for as long as ids are kept: the default bears some 8,700 messages a second from it.
    pub seen_max: u32,
    /// Identities that failed.
    pub refused_max: u32,
    /// Peers that room is guaranteed to.
    pub peers_max: u32,
    /// How long an id counts as seen, and a failed identity as refused.
    pub ttl: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            pending_max: 8_192,
            pending_bytes_max: 32 << 20,
            senders_max: 64,
            seen_max: 1 << 22,
            refused_max: 16_384,
            peers_max: 1_000,
            ttl: Duration::from_secs(120),
        }
    }
}

/// What to do with a copy that came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Arrival {
    /// Check its signature, and tell [`Seen::on_checked`] or [`Seen::on_unchecked`] how that ended.
    Check,
    /// An identical copy is being checked; its sender shares the outcome.
    Joined,
    /// Drop it: a copy of this id has passed.
    Duplicate,
    /// Drop it and charge the sender: an identical copy has failed.
    Refused,
    /// Drop it: its sender holds its share of one of the tables. No fault.
    OverShare,
}

/// How a check ended, and for whom.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use]
pub enum Checked {
    /// The first copy of its id that passed: the message goes on to its verdict. Its senders, the first one first.
    First(Vec<PeerId>),
    /// It passed, but another copy of its id had before: a duplicate.
    Late(Vec<PeerId>),
    /// It failed: charge these.
    Failed(Vec<PeerId>),
    /// No such check was running: the caller's bug.
    Unknown,
}

state! {
    /// A copy whose signature is being checked. It belongs to its first sender.
    #[derive(Clone, Debug)]
    struct Check {
        id: IdDigest,
        bytes: u64,
        /// The first sender, then others in the order in which they came.
        senders: Vec<PeerId>,
    }
}

state! {
    /// What became of all copies: `copies` is the sum of the next five, and `begun` of the four after them and those that
    /// are pending.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct Outcomes {
        /// Copies that came in.
        pub copies: u64,
        /// Of them: checks begun.
        pub begun: u64,
        /// Of them: joined a running check.
        pub joined: u64,
        /// Of them: their id was seen.
        pub duplicates: u64,
        /// Of them: an identical copy had failed.
        pub refused: u64,
        /// Of them: their sender was over its share.
        pub over_share: u64,
        /// Checks that passed as the first of their id.
        pub first: u64,
        /// Checks that passed after another copy of their id had.
        pub late: u64,
        /// Checks that failed.
        pub failed: u64,
        /// Checks that could not be made.
        pub unchecked: u64,
        /// Senders that joined a check when no more are remembered.
        pub senders_forgotten: u64,
        /// Ids taken out of the seen ones because their verdict was for reasons of our own.
        pub forgotten: u64,
        /// Own messages whose id found no room among the seen ones.
        pub own_unseen: u64,
    }
}

state! {
    /// See the module's documentation.
    #[derive(Clone, Debug)]
    pub struct Seen {
        ttl: Duration,
        senders_max: u32,
        pending: FairMap<Identity, Check>,
        pending_shares: Shares,
        pending_bytes: Shares,
        /// By the time at which a copy passed.
        seen: Passed,
        /// Ids seen, and room kept for those of pending copies.
        seen_shares: Shares,
        refused: FairMap<Identity, ()>,
        outcomes: Outcomes,
    }
}

impl Seen {
    /// Empty tables.
    pub fn new(bounds: &Bounds, hash_key: HashKey) -> Self {
        let shares = |max: u64| Shares::new(max, bounds.peers_max);
        Self {
            ttl: bounds.ttl,
            senders_max: bounds.senders_max,
            pending: FairMap::new(bounds.pending_max, hash_key),
            pending_shares: shares(bounds.pending_max.into()),
            pending_bytes: shares(bounds.pending_bytes_max),
            seen: Passed::new(bounds.seen_max, hash_key),
            seen_shares: shares(bounds.seen_max.into()),
            refused: FairMap::new(bounds.refused_max, hash_key),
            outcomes: Outcomes::default(),
        }
    }

    /// Whether a copy of this id has passed: then this one is dropped, and counted. Nothing of it but its id was looked at.
    pub fn is_duplicate(&mut self, now: Instant, id: &IdDigest) -> bool {
        let is_duplicate = self.has_seen(now, id);
        if is_duplicate {
            self.outcomes.copies = self.outcomes.copies.saturating_add(1);
            self.outcomes.duplicates = self.outcomes.duplicates.saturating_add(1);
        }
        is_duplicate
    }

    /// `sender` delivered a copy of `bytes` bytes. Size, topic, signing policy and origin were looked at before.
    pub fn on_copy(
        &mut self,
        now: Instant,
        sender: PeerId,
        identity: Identity,
        id: IdDigest,
        bytes: u64,
    ) -> Arrival {
        let arrival = self.arrival(now, sender, identity, id, bytes);
        let outcomes = &mut self.outcomes;
        outcomes.copies = outcomes.copies.saturating_add(1);
        let count = match arrival {
            Arrival::Check => &mut outcomes.begun,
            Arrival::Joined => &mut outcomes.joined,
            Arrival::Duplicate => &mut outcomes.duplicates,
            Arrival::Refused => &mut outcomes.refused,
            Arrival::OverShare => &mut outcomes.over_share,
        };
        *count = count.saturating_add(1);
        arrival
    }

    fn arrival(
        &mut self,
        now: Instant,
        sender: PeerId,
        identity: Identity,
        id: IdDigest,
        bytes: u64,
    ) -> Arrival {
        if self.has_seen(now, &id) {
            return Arrival::Duplicate;
        }
        if let Some(check) = self.pending.get_mut(&identity) {
            if check.senders.contains(&sender) {
                return Arrival::Joined;
            }
            if check.senders.len() < self.senders_max as usize {
                check.senders.push(sender);
            } else {
                self.outcomes.senders_forgotten = self.outcomes.senders_forgotten.saturating_add(1);
            }
            return Arrival::Joined;
        }
        if self.is_refused(now, &identity) {
            return Arrival::Refused;
        }
        let admitted = self.pending_shares.admits(&sender, 1)
            && self.pending_bytes.admits(&sender, bytes)
            && self.seen_shares.admits(&sender, 1);
        if !admitted {
            return Arrival::OverShare;
        }
        let check = Check { id, bytes, senders: [sender].into() };
        let inserted = self.pending.insert(now, identity, sender, check);
        debug_assert!(matches!(inserted, Inserted::New), "the shares keep room");
        let taken = self.pending_shares.take(sender, 1)
            && self.pending_bytes.take(sender, bytes)
            && self.seen_shares.take(sender, 1);
        debug_assert!(taken, "they admitted it");
        Arrival::Check
    }

    /// The signature of a pending copy was checked.
    pub fn on_checked(&mut self, now: Instant, identity: Identity, passed: bool) -> Checked {
        let Some(check) = self.end_check(&identity) else { return Checked::Unknown };
        let owner = check.senders[0];
        if !passed {
            self.seen_shares.give(&owner, 1);
            // Who is over its share here loses its own oldest: an identical copy of that is then checked again.
            let _ = self.refused.insert(now, identity, owner, ());
            self.outcomes.failed = self.outcomes.failed.saturating_add(1);
            return Checked::Failed(check.senders);
        }
        if self.has_seen(now, &check.id) {
            self.seen_shares.give(&owner, 1);
            self.outcomes.late = self.outcomes.late.saturating_add(1);
            return Checked::Late(check.senders);
        }
        // One that is over but not swept yet would keep its age and owner.
        self.unsee(&check.id);
        let inserted = self.seen.insert(now, check.id, owner);
        debug_assert!(inserted, "the shares keep room");
        self.outcomes.first = self.outcomes.first.saturating_add(1);
        Checked::First(check.senders)
    }

    /// The signature of a pending copy could not be checked, through no fault of any peer: it is as if it had never come.
    /// Whether it was pending.
    pub fn on_unchecked(&mut self, identity: Identity) -> bool {
        let Some(check) = self.end_check(&identity) else { return false };
        self.seen_shares.give(&check.senders[0], 1);
        self.outcomes.unchecked = self.outcomes.unchecked.saturating_add(1);
        true
    }

    fn end_check(&mut self, identity: &Identity) -> Option<Check> {
        let check = self.pending.remove(identity)?;
        self.pending_shares.give(&check.senders[0], 1);
        self.pending_bytes.give(&check.senders[0], check.bytes);
        Some(check)
    }

    /// An own message goes out: copies of it that come back are duplicates. `false` if there is no room for its id.
    pub fn see_own(&mut self, now: Instant, own: PeerId, id: IdDigest) -> bool {
        if self.has_seen(now, &id) {
            return true;
        }
        self.unsee(&id);
        let admitted = self.seen_shares.take(own, 1);
        if admitted {
            let inserted = self.seen.insert(now, id, own);
            debug_assert!(inserted, "the shares keep room");
        } else {
            self.outcomes.own_unseen = self.outcomes.own_unseen.saturating_add(1);
        }
        admitted
    }

    /// The verdict on a message was for reasons of our own (a full queue, shed): another copy of it may come.
    pub fn forget(&mut self, id: &IdDigest) {
        if self.unsee(id) {
            self.outcomes.forgotten = self.outcomes.forgotten.saturating_add(1);
        }
    }

    fn unsee(&mut self, id: &IdDigest) -> bool {
        let Some(owner) = self.seen.remove(id) else { return false };
        self.seen_shares.give(&owner, 1);
        true
    }

    /// Whether a copy of this id passed within the time to live: nothing else keeps an IWANT from being sent.
    pub fn has_seen(&self, now: Instant, id: &IdDigest) -> bool {
        self.seen.at(id).is_some_and(|at| self.is_young(now, at))
    }

    fn is_refused(&self, now: Instant, identity: &Identity) -> bool {
        self.refused.owner(identity).is_some_and(|(_, at)| self.is_young(now, at))
    }

    fn is_young(&self, now: Instant, at: Instant) -> bool {
        now < at.after(self.ttl)
    }

    /// Whether a copy with this id that `sender` delivered is being checked.
    pub fn is_pending(&self, sender: &PeerId, id: &IdDigest) -> bool {
        self.pending.iter().any(|(_, check)| check.id == *id && check.senders.contains(sender))
    }

    /// Takes out at most `budget` of what is over, of each kind. Whether some is left.
    #[must_use]
    pub fn expire(&mut self, now: Instant, budget: u32) -> bool {
        for _ in 0..budget {
            let Some(id) = self.oldest_over(now) else { break };
            self.unsee(&id);
        }
        let oldest = now.before(self.ttl);
        // An age of exactly the time to live is over too; before one has passed, nothing is.
        let refused_left = now >= Instant::ZERO.after(self.ttl)
            && self.refused.expire(now, oldest.after(Duration::from_micros(1)), budget, |_, ()| Aged::Over);
        self.oldest_over(now).is_some() || refused_left
    }

    fn oldest_over(&self, now: Instant) -> Option<IdDigest> {
        let (id, at) = self.seen.oldest()?;
        (!self.is_young(now, at)).then_some(id)
    }

    /// Bytes of the copies that are pending.
    pub fn pending_bytes(&self) -> u64 {
        self.pending_bytes.used()
    }

    /// What became of all copies so far.
    pub fn outcomes(&self) -> &Outcomes {
        &self.outcomes
    }

    /// Entries: pending, seen, refused.
    pub fn len(&self) -> (usize, usize, usize) {
        (self.pending.len(), self.seen.len(), self.refused.len())
    }

    /// Whether all tables are empty.
    pub fn is_empty(&self) -> bool {
        self.len() == (0, 0, 0)
    }

    /// Full structural check: tables, shares and counters agree.
    ///
    /// # Errors
    /// What does not.
    pub fn check(&self) -> Result<(), &'static str> {
        self.pending.check()?;
        self.seen.check()?;
        self.refused.check()?;
        self.pending_shares.check()?;
        self.pending_bytes.check()?;
        self.seen_shares.check()?;
        let (pending, seen, _) = self.len();
        if self.pending_shares.used() != pending as u64 || self.seen_shares.used() != (pending + seen) as u64
        {
            return Err("entries and shares disagree");
        }
        if self.pending_bytes.used() != self.pending.iter().map(|(_, check)| check.bytes).sum::<u64>() {
            return Err("bytes and shares disagree");
        }
        let of = &self.outcomes;
        if of.copies != of.begun + of.joined + of.duplicates + of.refused + of.over_share {
            return Err("a copy has no outcome");
        }
        if of.begun != of.first + of.late + of.failed + of.unchecked + pending as u64 {
            return Err("a check has no outcome");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
