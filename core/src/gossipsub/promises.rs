//! What peers promised: who names a message in IHAVE and is asked for it should send it.
//!
//! Of each batch of ids asked for, one chosen by chance is watched: enough to find those that never answer, and no longer
//! list for those that name thousands. A promise is fulfilled when a copy whose signature passed came from anybody: then the
//! peer may have kept its copy back. A copy that is still being checked fulfils nothing, but the promise waits for the
//! outcome: a slow check is our fault, not the peer's.

use alloc::collections::{BTreeMap, BTreeSet};

use core::time::Duration;

use peerage_proto::peer_id::PeerId;

use super::MessageId;
use crate::rng::Rng;
use crate::state::state;
use crate::time::Instant;

/// Promises watched for one peer. One a batch and ten batches a heartbeat, with three heartbeats to answer, are thirty.
pub const PROMISES_PER_PEER_MAX: usize = 64;

state! {
    /// See the module's documentation.
    #[derive(Clone, Debug)]
    pub struct Promises {
        followup: Duration,
        /// Until when each peer may take for each message.
        by_id: BTreeMap<MessageId, BTreeMap<PeerId, Instant>>,
        by_peer: BTreeMap<PeerId, BTreeSet<MessageId>>,
        not_watched: u64,
    }
}

impl Promises {
    /// No promises, with `followup` to keep each.
    pub fn new(followup: Duration) -> Self {
        Self { followup, by_id: BTreeMap::new(), by_peer: BTreeMap::new(), not_watched: 0 }
    }

    /// `peer` is asked for all of `ids`: one of them is watched.
    pub fn add(&mut self, now: Instant, peer: PeerId, ids: &[MessageId], rng: &mut Rng) {
        let chosen = usize::try_from(rng.below(ids.len() as u64)).unwrap_or(0);
        let Some(id) = ids.get(chosen) else { return };
        let of_peer = self.by_peer.entry(peer).or_default();
        if of_peer.contains(id) {
            // The first time it was asked counts.
            return;
        }
        if of_peer.len() >= PROMISES_PER_PEER_MAX {
            self.not_watched = self.not_watched.saturating_add(1);
            return;
        }
        of_peer.insert(id.clone());
        self.by_id.entry(id.clone()).or_default().insert(peer, now.after(self.followup));
    }

    /// A copy of this message passed its check, whoever sent it.
    pub fn fulfil(&mut self, id: &MessageId) {
        for peer in self.by_id.remove(id).into_iter().flatten().map(|(peer, _)| peer) {
            self.release(&peer, id);
        }
    }

    /// A peer is gone, or its messages are dropped for reasons of our own: nothing is expected of it.
    pub fn forget(&mut self, peer: &PeerId) {
        for id in self.by_peer.remove(peer).into_iter().flatten() {
            if let Some(peers) = self.by_id.get_mut(&id) {
                peers.remove(peer);
                if peers.is_empty() {
                    self.by_id.remove(&id);
                }
            }
        }
    }

    fn release(&mut self, peer: &PeerId, id: &MessageId) {
        if let Some(ids) = self.by_peer.get_mut(peer) {
            ids.remove(id);
            if ids.is_empty() {
                self.by_peer.remove(peer);
            }
        }
    }

    /// Takes out the promises whose time is over, and tells how many each peer broke. One for which `is_pending` holds (the
    /// peer's copy is being checked) waits.
    #[must_use]
    pub fn take_broken(
        &mut self,
        now: Instant,
        is_pending: impl Fn(&PeerId, &MessageId) -> bool,
    ) -> BTreeMap<PeerId, u32> {
        let (mut broken, mut over) = (BTreeMap::new(), alloc::vec::Vec::new());
        self.by_id.retain(|id, peers| {
            peers.retain(|peer, until| {
                let is_broken = *until <= now && !is_pending(peer, id);
                if is_broken {
                    let count: &mut u32 = broken.entry(*peer).or_default();
                    *count = count.saturating_add(1);
                    over.push((*peer, id.clone()));
                }
                !is_broken
            });
            !peers.is_empty()
        });
        for (peer, id) in over {
            self.release(&peer, &id);
        }
        broken
    }

    /// Number of promises.
    pub fn len(&self) -> usize {
        self.by_peer.values().map(BTreeSet::len).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_peer.is_empty()
    }

    /// Batches of which nothing was watched because enough of that peer is.
    pub fn not_watched(&self) -> u64 {
        self.not_watched
    }

    /// Full structural check: both directions name the same promises.
    ///
    /// # Errors
    /// What does not agree.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.by_id.values().map(BTreeMap::len).sum::<usize>() != self.len() {
            return Err("promises by id and by peer disagree");
        }
        let is_known = |(peer, ids): (&PeerId, &BTreeSet<MessageId>)| {
            !ids.is_empty()
                && ids.len() <= PROMISES_PER_PEER_MAX
                && ids.iter().all(|id| self.by_id.get(id).is_some_and(|peers| peers.contains_key(peer)))
        };
        if !self.by_peer.iter().all(is_known) {
            return Err("a promise by peer is not one by id");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use alloc::vec::Vec;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn peer(n: u8) -> PeerId {
        PeerId::from_ed25519(&[n; 32])
    }

    fn id(n: u8) -> MessageId {
        MessageId(Bytes::copy_from_slice(&[n]))
    }

    fn secs(secs: u64) -> Instant {
        Instant::from_micros(secs * 1_000_000)
    }

    fn promises() -> (Promises, Rng) {
        (Promises::new(Duration::from_secs(3)), Rng::fork(&[1; 32], "test"))
    }

    fn broken(promises: &mut Promises, at: u64) -> Vec<(PeerId, u32)> {
        promises.take_broken(secs(at), |_, _| false).into_iter().collect()
    }

    #[test]
    fn a_promise_is_broken_once_when_its_time_is_over() {
        let (mut promises, mut rng) = promises();
        promises.add(secs(0), peer(1), &[id(1)], &mut rng);
        promises.add(secs(2), peer(1), &[id(1)], &mut rng);
        assert_eq!(promises.len(), 1, "the first time it was asked counts");
        assert_eq!(broken(&mut promises, 2), []);
        assert_eq!(broken(&mut promises, 3), [(peer(1), 1)]);
        assert_eq!(broken(&mut promises, 9), []);
        assert!(promises.is_empty());
    }

    #[test]
    fn a_copy_that_passed_fulfils_what_anybody_promised() {
        let (mut promises, mut rng) = promises();
        promises.add(secs(0), peer(1), &[id(1)], &mut rng);
        promises.add(secs(0), peer(2), &[id(1)], &mut rng);
        promises.add(secs(0), peer(2), &[id(2)], &mut rng);
        promises.fulfil(&id(1));
        assert_eq!(promises.check(), Ok(()));
        assert_eq!(broken(&mut promises, 3), [(peer(2), 1)]);
    }

    #[test]
    fn a_promise_waits_while_the_copy_is_being_checked() {
        let (mut promises, mut rng) = promises();
        promises.add(secs(0), peer(1), &[id(1)], &mut rng);
        assert!(promises.take_broken(secs(9), |who, what| *who == peer(1) && *what == id(1)).is_empty());
        assert_eq!(promises.len(), 1);
        assert_eq!(broken(&mut promises, 9), [(peer(1), 1)], "the copy failed");
    }

    #[test]
    fn one_of_each_batch_is_watched_and_every_one_may_be() {
        let (mut promises, mut rng) = promises();
        let batch: Vec<_> = (0..4).map(id).collect();
        promises.add(secs(0), peer(1), &[], &mut rng);
        assert!(promises.is_empty());
        for n in 0..50 {
            promises.add(secs(0), peer(n), &batch, &mut rng);
            assert_eq!(promises.len(), usize::from(n) + 1);
        }
        assert_eq!(promises.by_id.len(), 4);
    }

    #[test]
    fn no_more_than_a_peers_share_is_watched() {
        let (mut promises, mut rng) = promises();
        for n in 0..100 {
            promises.add(secs(0), peer(1), &[id(n)], &mut rng);
        }
        assert_eq!((promises.len(), promises.not_watched()), (PROMISES_PER_PEER_MAX, 36));
    }

    /// What can happen to two peers that were asked for two messages.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Ask(u8, u8),
        Arrive(u8),
        Leave(u8),
        Wait,
    }

    #[test]
    fn in_every_order_a_promise_is_kept_broken_or_forgotten_once_and_nobody_is_charged_for_anothers() {
        let steps: Vec<Step> = [1, 2]
            .into_iter()
            .flat_map(|n| [Step::Ask(n, 1), Step::Ask(n, 2), Step::Arrive(n), Step::Leave(n)])
            .chain([Step::Wait])
            .collect();
        let (start, rng) = promises();
        // Beside each state: what each peer was asked for and when, by a model that knows nothing of maps.
        let mut frontier = alloc::vec![(start, rng, 0u64, Vec::<(u8, u8, u64)>::new())];
        let mut looked_at = 0;
        for _ in 0..5 {
            let mut next = Vec::new();
            for (state, rng, now, model) in &frontier {
                for step in &steps {
                    let (mut state, mut rng, mut now, mut model) =
                        (state.clone(), rng.clone(), *now, model.clone());
                    match *step {
                        Step::Ask(n, message) => {
                            state.add(secs(now), peer(n), &[id(message)], &mut rng);
                            if !model.iter().any(|(who, what, _)| (*who, *what) == (n, message)) {
                                model.push((n, message, now + 3));
                            }
                        }
                        Step::Arrive(message) => {
                            state.fulfil(&id(message));
                            model.retain(|(_, what, _)| *what != message);
                        }
                        Step::Leave(n) => {
                            state.forget(&peer(n));
                            model.retain(|(who, ..)| *who != n);
                        }
                        Step::Wait => {
                            now += 2;
                            let over =
                                |n: u8| model.iter().filter(|(who, _, at)| *who == n && *at <= now).count();
                            let expected = [1, 2]
                                .into_iter()
                                .filter(|n| over(*n) > 0)
                                .map(|n| (peer(n), over(n) as u32));
                            let mut expected: Vec<_> = expected.collect();
                            expected.sort();
                            assert_eq!(broken(&mut state, now), expected, "{step:?}");
                            model.retain(|(.., at)| *at > now);
                        }
                    }
                    assert_eq!((state.check(), state.len()), (Ok(()), model.len()), "{step:?}");
                    looked_at += 1;
                    next.push((state, rng, now, model));
                }
            }
            frontier = next;
        }
        assert!(looked_at > 60_000, "{looked_at}");
    }

    proptest! {
        #[test]
        fn promises_end_by_being_kept_broken_or_forgotten(
            steps in proptest::collection::vec((0u8..5, 0u8..4, 0u8..6), 0..100),
        ) {
            let (mut promises, mut rng) = promises();
            for (at, (kind, n, message)) in (0u64..).zip(steps) {
                match kind {
                    0 | 1 => promises.add(secs(at), peer(n), &[id(message), id(message + 1)], &mut rng),
                    2 => promises.fulfil(&id(message)),
                    3 => promises.forget(&peer(n)),
                    _ => drop(broken(&mut promises, at)),
                }
                prop_assert_eq!(promises.check(), Ok(()));
            }
            let left = promises.len();
            let all: u32 = broken(&mut promises, 1000).iter().map(|(_, count)| *count).sum();
            prop_assert_eq!(all as usize, left);
            prop_assert!(promises.is_empty() && promises.by_id.is_empty());
        }
    }
}
