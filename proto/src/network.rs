//! [`Network`]: the chains that a node can join, with what each of them fixes.

use core::fmt;

use crate::hash::Hash256;
use crate::header::BlockHeader;
use crate::hex;
use crate::pow::Target;

/// Root of the one transaction in Bitcoin's genesis block, which its test networks share; internal order.
const GENESIS_MERKLE_ROOT: &str = "3ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a";

/// A chain, by the names of the setting `network` (spec 2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Network {
    /// Bitcoin's main chain.
    Mainnet,
    /// The public test chain.
    Testnet,
    /// A private chain with trivial proof of work.
    Regtest,
    /// The scaling test chain.
    Stn,
    /// Teranode's test chain.
    TeraTestnet,
    /// Teranode's scaling test chain.
    Tstn,
}

impl Network {
    /// All networks, in the order of the specification.
    pub const ALL: [Self; 6] =
        [Self::Mainnet, Self::Testnet, Self::Regtest, Self::Stn, Self::TeraTestnet, Self::Tstn];

    /// The value of the setting `network`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mainnet => "mainnet",
            Self::Testnet => "testnet",
            Self::Regtest => "regtest",
            Self::Stn => "stn",
            Self::TeraTestnet => "teratestnet",
            Self::Tstn => "tstn",
        }
    }

    /// The network of this name, letter case included.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|network| network.name() == name)
    }

    /// What precedes the dash in every topic name (spec 2.1).
    #[must_use]
    pub const fn topic_prefix(self) -> &'static str {
        match self {
            Self::Mainnet => "teranode/bitcoin/1.0.0/mainnet",
            Self::Testnet => "teranode/bitcoin/1.0.0/testnet",
            Self::Regtest => "teranode/bitcoin/1.0.0/regtest",
            Self::Stn => "teranode/bitcoin/1.0.0/stn",
            Self::TeraTestnet => "teranode/bitcoin/1.0.0/teratestnet",
            Self::Tstn => "teranode/bitcoin/1.0.0/tstn",
        }
    }

    /// The protocol version that identify shows (spec 2.2).
    #[must_use]
    pub const fn identify_protocol_version(self) -> &'static str {
        match self {
            Self::Mainnet => "/teranode/bitcoin/mainnet/1.0.0",
            Self::Testnet => "/teranode/bitcoin/testnet/1.0.0",
            Self::Regtest => "/teranode/bitcoin/regtest/1.0.0",
            Self::Stn => "/teranode/bitcoin/stn/1.0.0",
            Self::TeraTestnet => "/teranode/bitcoin/teratestnet/1.0.0",
            Self::Tstn => "/teranode/bitcoin/tstn/1.0.0",
        }
    }

    /// The easiest target that a header may have, in compact form, as Teranode's chain parameters have it: all test
    /// networks but the public one take the easiest proof of work.
    #[must_use]
    pub const fn pow_limit_bits(self) -> u32 {
        match self {
            Self::Mainnet | Self::Testnet => 0x1d00_ffff,
            Self::Regtest | Self::Stn | Self::TeraTestnet | Self::Tstn => 0x207f_ffff,
        }
    }

    /// The easiest target that a header may have.
    #[must_use]
    pub fn pow_limit(self) -> Target {
        Target::from_compact(self.pow_limit_bits()).unwrap_or(Target::MAX)
    }

    /// The first header of the chain; `None` for `tstn`, for which no source gives one that can be relied on.
    /// That of `teratestnet` does not meet its own target: the chain takes it on trust.
    #[must_use]
    pub fn genesis(self) -> Option<BlockHeader> {
        let (time, bits, nonce) = match self {
            Self::Mainnet => (1_231_006_505, 0x1d00_ffff, 2_083_236_893),
            Self::Testnet | Self::Stn => (1_296_688_602, 0x1d00_ffff, 414_098_458),
            Self::Regtest => (1_296_688_602, 0x207f_ffff, 2),
            Self::TeraTestnet => (1_755_606_836, 0x207f_ffff, 2),
            Self::Tstn => return None,
        };
        let merkle_root = Hash256(hex::decode_array(GENESIS_MERKLE_ROOT)?);
        Some(BlockHeader::new(1, Hash256::ZERO, merkle_root, time, bits, nonce))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn genesis_headers_hash_to_the_known_hashes() {
        for (network, hash) in [
            (Network::Mainnet, "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"),
            (Network::Testnet, "000000000933ea01ad0ee984209779baaec3ced90fa3f408719526f8d77f4943"),
            (Network::Stn, "000000000933ea01ad0ee984209779baaec3ced90fa3f408719526f8d77f4943"),
            (Network::TeraTestnet, "efa04b3209a443f9a2cc986558b9e8d32c1850756a6f22249adf5e1e0b10ce5c"),
            (Network::Regtest, "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"),
        ] {
            let genesis = network.genesis().unwrap();
            assert_eq!(genesis.hash().to_string(), hash);
            assert_eq!(genesis.meets_own_target(), network != Network::TeraTestnet);
            assert!(genesis.target().unwrap() <= network.pow_limit());
        }
    }

    #[test]
    fn names_come_back_and_prefixes_end_in_them() {
        for network in Network::ALL {
            assert_eq!(Network::from_name(network.name()), Some(network));
            assert_eq!(network.topic_prefix(), format!("teranode/bitcoin/1.0.0/{network}"));
            assert_eq!(network.identify_protocol_version(), format!("/teranode/bitcoin/{network}/1.0.0"));
        }
        assert_eq!(Network::from_name("Mainnet"), None);
    }
}
