//! Origins: which peer announced which hash (block→peer, subtree→peer).

use peerage_proto::hash::Hash256;
use peerage_proto::peer_id::PeerId;

use super::config::Config;
use crate::common::fair_map::{Aged, FairMap};
use crate::common::sip::HashKey;
use crate::limits::Limits;
use crate::state::state;
use crate::time::Now;

state! {
    /// Announcers of blocks and of subtrees, bounded and fair (spec 14.2).
    #[derive(Clone, Debug)]
    pub struct Origins {
        blocks: FairMap<Hash256, PeerId>,
        subtrees: FairMap<Hash256, PeerId>,
    }
}

impl Origins {
    /// No announcements yet.
    pub fn new(limits: &Limits, key: HashKey) -> Self {
        let map = || FairMap::new(limits.origins_max, key);
        Self { blocks: map(), subtrees: map() }
    }

    /// `author` announced `block`, delivered by `neighbour`, who pays with its share.
    pub fn block(&mut self, now: Now, block: Hash256, author: PeerId, neighbour: PeerId) {
        let _ = self.blocks.insert(now.mono, block, neighbour, author);
    }

    /// The same of a subtree.
    pub fn subtree(&mut self, now: Now, subtree: Hash256, author: PeerId, neighbour: PeerId) {
        let _ = self.subtrees.insert(now.mono, subtree, neighbour, author);
    }

    /// Who announced `block` last.
    pub fn block_origin(&self, block: &Hash256) -> Option<PeerId> {
        self.blocks.get(block).copied()
    }

    /// Who announced `subtree` last.
    pub fn subtree_origin(&self, subtree: &Hash256) -> Option<PeerId> {
        self.subtrees.get(subtree).copied()
    }

    /// Forgets what is older than `origin_ttl`, up to `budget` of each kind; whether some is left.
    #[must_use]
    pub fn sweep(&mut self, now: Now, config: &Config, budget: u32) -> bool {
        let oldest = now.mono.before(config.origin_ttl);
        [&mut self.blocks, &mut self.subtrees]
            .map(|map| map.expire(now.mono, oldest, budget, |_, _| Aged::Over))
            .contains(&true)
    }

    /// Number of blocks and of subtrees.
    pub fn len(&self) -> (usize, usize) {
        (self.blocks.len(), self.subtrees.len())
    }

    /// Whether there is neither.
    pub fn is_empty(&self) -> bool {
        self.len() == (0, 0)
    }

    /// Full structural check.
    ///
    /// # Errors
    /// What does not hold.
    pub fn check(&self) -> Result<(), &'static str> {
        self.blocks.check()?;
        self.subtrees.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;
    use peerage_proto::network::Network;

    #[test]
    fn the_newest_announcer_is_the_origin_until_the_entry_is_too_old() {
        let mut origins = Origins::new(&Limits::default(), HashKey::known());
        let (a, b) = (PeerId::from_ed25519(&[1; 32]), PeerId::from_ed25519(&[2; 32]));
        origins.block(Now::at_secs(0), Hash256::ZERO, a, a);
        origins.block(Now::at_secs(1), Hash256::ZERO, b, a);
        assert_eq!(origins.block_origin(&Hash256::ZERO), Some(b));
        assert_eq!(origins.subtree_origin(&Hash256::ZERO), None);
        let config = Config { origin_ttl: Duration::from_secs(10), ..Config::new(Network::Regtest) };
        assert!(!origins.sweep(Now::at_secs(11), &config, 9));
        assert_eq!(origins.len(), (1, 0));
        assert!(!origins.sweep(Now::at_secs(12), &config, 9));
        assert!(origins.is_empty());
    }
}
