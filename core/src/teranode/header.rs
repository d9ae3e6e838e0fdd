//! What a block announcement's header must prove.

use peerage_proto::hash::Hash256;
use peerage_proto::header::BlockHeader;
use peerage_proto::header::Target;
use peerage_proto::network::Network;

/// A header may be this many times easier than our tip's.
const EASIER_THAN_TIP_MAX: u32 = 16;

/// Whether `header` hashes to `hash`, meets its own target, and that target is within the chain's limit and, when our
/// tip's target is known, not easier than 16 times it.
pub fn is_proven(network: Network, tip: Option<Target>, header: &BlockHeader, hash: &Hash256) -> bool {
    let Some(target) = header.target() else { return false };
    target <= network.pow_limit()
        && tip.is_none_or(|tip| target <= tip.saturating_mul(EASIER_THAN_TIP_MAX))
        && header.hash() == *hash
        && target.met_by(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn genesis() -> (BlockHeader, Hash256) {
        let header = Network::Mainnet.genesis().unwrap();
        (header, header.hash())
    }

    #[test]
    fn the_genesis_of_mainnet_is_proven_there() {
        let (header, hash) = genesis();
        assert!(is_proven(Network::Mainnet, None, &header, &hash));
    }

    #[test]
    fn another_hash_or_another_byte_is_not() {
        let (header, hash) = genesis();
        assert!(!is_proven(Network::Mainnet, None, &header, &Hash256([7; 32])));
        let mut bytes = *header.as_bytes();
        bytes[79] ^= 1;
        let other = BlockHeader::from_bytes(&bytes).unwrap();
        assert!(!is_proven(Network::Mainnet, None, &other, &hash));
        assert!(!is_proven(Network::Mainnet, None, &other, &other.hash()), "misses its own target");
    }

    #[test]
    fn a_target_beyond_the_chains_limit_is_refused() {
        let mut easy = Network::Regtest.genesis().unwrap();
        assert!(easy.mine(1 << 16));
        assert!(is_proven(Network::Regtest, None, &easy, &easy.hash()));
        assert!(!is_proven(Network::Mainnet, None, &easy, &easy.hash()));
    }

    #[test]
    fn a_target_sixteen_times_easier_than_our_tips_is_the_limit() {
        let (header, hash) = genesis();
        let own = header.target().unwrap();
        let at = |bits: u32| Target::from_compact(bits).unwrap();
        assert!(is_proven(Network::Mainnet, Some(own), &header, &hash));
        // 0x1d00ffff is 0x00ffff << 208; a sixteenth of it is 0x0ffff0 << 200.
        assert!(is_proven(Network::Mainnet, Some(at(0x1c0f_fff0)), &header, &hash));
        assert!(!is_proven(Network::Mainnet, Some(at(0x1c0f_ffef)), &header, &hash));
    }
}
