//! SipHash-1-3, keyed: nobody who does not know the key can choose keys that meet in one place of an index.

use core::fmt;

use peerage_proto::hash::Hash256;
use peerage_proto::peer_id::PeerId;

use crate::rng::Rng;

/// The key of a node's indexes. It decides where entries lie and nothing that can be seen: no order follows from it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HashKey([u64; 2]);

impl HashKey {
    /// The key of the node with this seed.
    pub fn fork(seed: &[u8; 32]) -> Self {
        let mut rng = Rng::fork(seed, "common/sip");
        Self([rng.next_u64(), rng.next_u64()])
    }

    /// A key that everybody knows, for tests.
    #[cfg(any(test, feature = "sim"))]
    pub const fn known() -> Self {
        Self([0, 0])
    }

    /// This key, changed by `number`: for keys of several kinds in one map.
    #[must_use]
    pub const fn tweaked(self, number: u64) -> Self {
        Self([self.0[0] ^ number, self.0[1]])
    }

    /// The hash of `bytes`.
    pub fn hash(self, bytes: &[u8]) -> u64 {
        let mut sip = Sip::new(self);
        let (words, tail) = bytes.as_chunks::<8>();
        for word in words {
            sip.word(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..tail.len()].copy_from_slice(tail);
        // The length modulo 256 stands in the last byte.
        last[7] = bytes.len() as u8;
        sip.word(u64::from_le_bytes(last));
        sip.finish()
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey(..)")
    }
}

struct Sip([u64; 4]);

impl Sip {
    #[inline]
    const fn new(HashKey([k0, k1]): HashKey) -> Self {
        Self([
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ])
    }

    #[inline]
    fn round(&mut self) {
        let [v0, v1, v2, v3] = &mut self.0;
        *v0 = v0.wrapping_add(*v1);
        *v1 = v1.rotate_left(13) ^ *v0;
        *v0 = v0.rotate_left(32);
        *v2 = v2.wrapping_add(*v3);
        *v3 = v3.rotate_left(16) ^ *v2;
        *v0 = v0.wrapping_add(*v3);
        *v3 = v3.rotate_left(21) ^ *v0;
        *v2 = v2.wrapping_add(*v1);
        *v1 = v1.rotate_left(17) ^ *v2;
        *v2 = v2.rotate_left(32);
    }

    #[inline]
    fn word(&mut self, word: u64) {
        self.0[3] ^= word;
        self.round();
        self.0[0] ^= word;
    }

    #[inline]
    fn finish(mut self) -> u64 {
        self.0[2] ^= 0xff;
        (0..3).for_each(|_| self.round());
        self.0[0] ^ self.0[1] ^ self.0[2] ^ self.0[3]
    }
}

/// What can be looked up in an index.
pub trait Hashed {
    /// Its hash under `key`: equal values have equal hashes.
    fn hashed(&self, key: HashKey) -> u64;
}

impl Hashed for PeerId {
    fn hashed(&self, key: HashKey) -> u64 {
        key.hash(self.as_bytes())
    }
}

impl Hashed for Hash256 {
    fn hashed(&self, key: HashKey) -> u64 {
        key.hash(&self.0)
    }
}

impl Hashed for u32 {
    fn hashed(&self, key: HashKey) -> u64 {
        key.hash(&self.to_le_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::hash::Hasher as _;

    #[test]
    fn the_hash_is_that_of_the_standard_library_for_every_length() {
        let bytes: std::vec::Vec<u8> = (0..100).collect();
        for length in 0..=bytes.len() {
            // Its default hasher is SipHash-1-3 under a key of zeros.
            let mut theirs = std::hash::DefaultHasher::new();
            theirs.write(&bytes[..length]);
            assert_eq!(HashKey([0, 0]).hash(&bytes[..length]), theirs.finish(), "{length} bytes");
        }
    }

    #[test]
    fn another_key_or_another_seed_gives_another_hash() {
        let (one, other) = (HashKey::fork(&[1; 32]), HashKey::fork(&[2; 32]));
        assert_ne!(one.hash(b"x"), other.hash(b"x"));
        assert_eq!(one.hash(b"x"), HashKey::fork(&[1; 32]).hash(b"x"));
        assert_ne!(one.hash(b"x"), one.tweaked(1).hash(b"x"));
    }
}
