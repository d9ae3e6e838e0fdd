//! Room that is shared by peers when nothing in it may be pushed out.
//!
//! Half of the room is kept for the first entries of each peer, so that none is shut out by others; of the other half a
//! peer may take as long as it holds no more of it than is left. One greedy peer gets half of that, two get a third each,
//! and so on. Nobody is asked to give anything back: what is over its share is simply not let in.

use alloc::collections::BTreeMap;

use peerage_proto::peer_id::PeerId;

use crate::state::state;

state! {
    /// What each peer holds of a room. See the module's documentation.
    #[derive(Clone, Debug)]
    pub struct Shares {
        max: u64,
        /// What each owner may hold whatever the others do.
        guaranteed: u64,
        used: u64,
        /// Of it: beyond what is guaranteed to its owners.
        common_used: u64,
        held: BTreeMap<PeerId, u64>,
    }
}

impl Shares {
    /// Room for `max` (entries or bytes, as the caller likes), half of it guaranteed to `owners_max` peers.
    pub fn new(max: u64, owners_max: u32) -> Self {
        let guaranteed = max / 2 / u64::from(owners_max.max(1));
        Self { max, guaranteed, used: 0, common_used: 0, held: BTreeMap::new() }
    }

    /// Whether `owner` may take `amount` more.
    pub fn admits(&self, owner: &PeerId, amount: u64) -> bool {
        let held = self.held(owner);
        let (before, after) = (self.beyond(held), self.beyond(held.saturating_add(amount)));
        let common_max = self.max - self.max / 2;
        let others = self.common_used.saturating_sub(before);
        self.used.saturating_add(amount) <= self.max
            && (before == after || after <= common_max.saturating_sub(others).saturating_sub(after))
    }

    /// Takes `amount` for `owner` if it may.
    #[must_use]
    pub fn take(&mut self, owner: PeerId, amount: u64) -> bool {
        let admitted = self.admits(&owner, amount);
        if admitted && amount > 0 {
            let held = self.held(&owner);
            self.set(owner, held.saturating_add(amount));
        }
        admitted
    }

    /// `owner` gives `amount` back.
    pub fn give(&mut self, owner: &PeerId, amount: u64) {
        let held = self.held(owner);
        self.set(*owner, held.saturating_sub(amount));
    }

    fn set(&mut self, owner: PeerId, amount: u64) {
        let former = self.held(&owner);
        self.used = self.used.saturating_sub(former).saturating_add(amount);
        let (before, after) = (self.beyond(former), self.beyond(amount));
        self.common_used = self.common_used.saturating_sub(before).saturating_add(after);
        if amount == 0 {
            self.held.remove(&owner);
        } else {
            self.held.insert(owner, amount);
        }
    }

    fn beyond(&self, amount: u64) -> u64 {
        amount.saturating_sub(self.guaranteed)
    }

    /// What `owner` holds.
    pub fn held(&self, owner: &PeerId) -> u64 {
        self.held.get(owner).copied().unwrap_or(0)
    }

    /// What all hold.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// Number of peers that hold something.
    pub fn owners(&self) -> usize {
        self.held.len()
    }

    /// Full structural check: sums and parts agree.
    ///
    /// # Errors
    /// What does not.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.used > self.max {
            return Err("more is held than there is");
        }
        if self.held.values().sum::<u64>() != self.used {
            return Err("parts and their sum disagree");
        }
        if self.held.values().map(|held| self.beyond(*held)).sum::<u64>() != self.common_used {
            return Err("common parts and their sum disagree");
        }
        if self.held.values().any(|held| *held == 0) {
            return Err("an owner holds nothing");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn peer(n: u8) -> PeerId {
        PeerId::from_ed25519(&[n; 32])
    }

    fn fill(shares: &mut Shares, owner: u8) -> u64 {
        while shares.take(peer(owner), 1) {}
        shares.held(&peer(owner))
    }

    #[test]
    fn a_greedy_peer_gets_half_of_what_is_common_and_the_next_half_of_the_rest() {
        let mut shares = Shares::new(1000, 10);
        assert_eq!(fill(&mut shares, 1), 50 + 250);
        assert_eq!(fill(&mut shares, 2), 50 + 125);
        assert_eq!(shares.check(), Ok(()));
    }

    #[test]
    fn a_newcomer_gets_its_guaranteed_part_however_greedy_the_others_are() {
        let mut shares = Shares::new(1000, 10);
        (1..10).for_each(|owner| {
            fill(&mut shares, owner);
        });
        assert!(fill(&mut shares, 10) >= 50);
        assert!(shares.used() <= 1000);
    }

    #[test]
    fn what_is_given_back_can_be_taken_again_and_leaves_no_trace() {
        let mut shares = Shares::new(100, 1);
        assert!(shares.take(peer(1), 70));
        assert!(!shares.take(peer(1), 10));
        shares.give(&peer(1), 70);
        assert_eq!((shares.used(), shares.owners()), (0, 0));
        assert!(shares.take(peer(2), 70));
        assert_eq!(shares.check(), Ok(()));
    }

    proptest! {
        #[test]
        fn the_sums_hold_and_a_peer_within_its_guarantee_is_never_shut_out(
            steps in proptest::collection::vec((1u8..6, 0u64..40, any::<bool>()), 0..200),
        ) {
            let mut shares = Shares::new(200, 5);
            for (owner, amount, takes) in steps {
                let held = shares.held(&peer(owner));
                if takes {
                    let taken = shares.take(peer(owner), amount);
                    prop_assert!(taken || held + amount > 20);
                } else {
                    shares.give(&peer(owner), amount);
                }
                prop_assert_eq!(shares.check(), Ok(()));
            }
            let owners: Vec<_> = shares.held.keys().copied().collect();
            for owner in owners {
                shares.give(&owner, u64::MAX);
            }
            prop_assert_eq!((shares.used(), shares.owners()), (0, 0));
        }
    }
}
