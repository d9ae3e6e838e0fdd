//! [`BlockHeader`]: the 80 bytes that a block hash covers.

use alloc::string::String;
use core::fmt;

use crate::hash::Hash256;
use crate::hex;
pub use crate::pow::{Target, Work};

/// Length of a block header in bytes.
pub const HEADER_BYTES: usize = 80;

/// A block header in wire form: version i32 LE, previous hash, merkle root (both internal order), time u32 LE, bits u32
/// LE, nonce u32 LE (spec 3.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlockHeader {
    bytes: [u8; HEADER_BYTES],
}

/// The text or bytes are not exactly 80 bytes of header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderError;

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a block header of 80 bytes or 160 hexadecimal characters")
    }
}

impl core::error::Error for HeaderError {}

impl BlockHeader {
    /// Builds a header from its fields.
    #[must_use]
    pub fn new(
        version: i32,
        previous: Hash256,
        merkle_root: Hash256,
        time: u32,
        bits: u32,
        nonce: u32,
    ) -> Self {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&version.to_le_bytes());
        bytes[4..36].copy_from_slice(&previous.0);
        bytes[36..68].copy_from_slice(&merkle_root.0);
        bytes[68..72].copy_from_slice(&time.to_le_bytes());
        bytes[72..76].copy_from_slice(&bits.to_le_bytes());
        bytes[76..].copy_from_slice(&nonce.to_le_bytes());
        Self { bytes }
    }

    /// Reads 160 hexadecimal characters of any case.
    ///
    /// # Errors
    /// On any other text.
    pub fn from_hex(text: &str) -> Result<Self, HeaderError> {
        hex::decode_array(text).map(|bytes| Self { bytes }).ok_or(HeaderError)
    }

    /// Reads exactly 80 bytes.
    ///
    /// # Errors
    /// On any other length.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, HeaderError> {
        bytes.try_into().map(|bytes| Self { bytes }).map_err(|_| HeaderError)
    }

    /// The wire form.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; HEADER_BYTES] {
        &self.bytes
    }

    /// The wire form as 160 lower-case hexadecimal characters.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex::encode(&self.bytes)
    }

    /// The block hash: SHA-256 twice over the 80 bytes.
    #[must_use]
    pub fn hash(&self) -> Hash256 {
        Hash256::double_sha256(&self.bytes)
    }

    /// Block version.
    #[must_use]
    pub fn version(&self) -> i32 {
        self.word(0) as i32
    }

    /// Hash of the preceding block; zero in a genesis block.
    #[must_use]
    pub fn previous(&self) -> Hash256 {
        self.hash_at(4)
    }

    /// Root of the tree of transactions.
    #[must_use]
    pub fn merkle_root(&self) -> Hash256 {
        self.hash_at(36)
    }

    /// Time in Unix seconds.
    #[must_use]
    pub fn time(&self) -> u32 {
        self.word(68)
    }

    /// The target in compact form.
    #[must_use]
    pub fn bits(&self) -> u32 {
        self.word(72)
    }

    /// The number that miners search.
    #[must_use]
    pub fn nonce(&self) -> u32 {
        self.word(76)
    }

    /// The target that `bits` stand for, or `None` when they stand for none.
    #[must_use]
    pub fn target(&self) -> Option<Target> {
        Target::from_compact(self.bits())
    }

    /// Whether the header's hash meets the header's own target.
    #[must_use]
    pub fn meets_own_target(&self) -> bool {
        self.target().is_some_and(|target| target.met_by(&self.hash()))
    }

    /// Tries nonces from the present one upwards until the hash meets the header's own target, at most `attempts_max`
    /// of them. Returns whether one was found; it then stands in the header. For tests and local chains.
    pub fn mine(&mut self, attempts_max: u32) -> bool {
        let Some(target) = self.target() else { return false };
        for _ in 0..attempts_max {
            if target.met_by(&self.hash()) {
                return true;
            }
            let next = self.nonce().wrapping_add(1);
            self.bytes[76..].copy_from_slice(&next.to_le_bytes());
        }
        false
    }

    fn word(&self, at: usize) -> u32 {
        let mut word = [0; 4];
        word.copy_from_slice(&self.bytes[at..at + 4]);
        u32::from_le_bytes(word)
    }

    fn hash_at(&self, at: usize) -> Hash256 {
        let mut hash = [0; 32];
        hash.copy_from_slice(&self.bytes[at..at + 32]);
        Hash256(hash)
    }
}

impl fmt::Debug for BlockHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockHeader")
            .field("hash", &self.hash())
            .field("version", &self.version())
            .field("previous", &self.previous())
            .field("merkle_root", &self.merkle_root())
            .field("time", &self.time())
            .field("bits", &format_args!("{:08x}", self.bits()))
            .field("nonce", &self.nonce())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_are_read_where_they_were_written() {
        let header = BlockHeader::new(-2, Hash256([1; 32]), Hash256([2; 32]), 3, 4, 5);
        assert_eq!(header.version(), -2);
        assert_eq!(header.previous(), Hash256([1; 32]));
        assert_eq!(header.merkle_root(), Hash256([2; 32]));
        assert_eq!((header.time(), header.bits(), header.nonce()), (3, 4, 5));
    }

    #[test]
    fn mining_finds_a_nonce_that_meets_the_target_and_stops_at_its_limit() {
        let mut header = BlockHeader::new(1, Hash256::ZERO, Hash256::ZERO, 0, 0x207f_ffff, 0);
        assert!(header.mine(1_000));
        assert!(header.meets_own_target());
        let mut hopeless = BlockHeader::new(1, Hash256::ZERO, Hash256::ZERO, 0, 0x0300_0001, 0);
        assert!(!hopeless.mine(10));
        assert_eq!(hopeless.nonce(), 10);
        let mut none = BlockHeader::new(1, Hash256::ZERO, Hash256::ZERO, 0, 0, 0);
        assert!(!none.mine(10));
        assert!(!none.meets_own_target());
    }

    #[test]
    fn other_lengths_are_refused() {
        assert_eq!(BlockHeader::from_bytes(&[0; 79]), Err(HeaderError));
        assert_eq!(BlockHeader::from_hex(""), Err(HeaderError));
        assert_eq!(BlockHeader::from_hex(&"0".repeat(162)), Err(HeaderError));
        assert_eq!(BlockHeader::from_hex(&"x".repeat(160)), Err(HeaderError));
    }

    proptest! {
        #[test]
        fn headers_come_back(bytes in proptest::collection::vec(any::<u8>(), 80)) {
            let header = BlockHeader::from_bytes(&bytes).unwrap();
            prop_assert_eq!(BlockHeader::from_hex(&header.to_hex()), Ok(header));
            prop_assert_eq!(&header.as_bytes()[..], &bytes[..]);
        }
    }
}
