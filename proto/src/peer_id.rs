//! [`PeerId`]: who signs, in libp2p's binary and text forms.

use alloc::string::String;
use core::cmp::Ordering;
use core::fmt;

use sha2::{Digest as _, Sha256};

use crate::base58;

/// Multihash code of the identity function: the key itself stands in the id.
const IDENTITY: u8 = 0x00;
/// Multihash code of SHA2-256.
const SHA2_256: u8 = 0x12;
/// Protobuf of an Ed25519 public key, up to the 32 key bytes.
const ED25519_KEY_HEAD: [u8; 4] = [0x08, 0x01, 0x12, 0x20];

/// Longest binary peer id: an identity multihash of 42 bytes.
pub const PEER_ID_BYTES_MAX: usize = 44;

/// A libp2p peer id: a multihash of a public key, held inline.
///
/// Two kinds exist: an identity multihash of at most 42 bytes (Ed25519 keys: 38 bytes, text `12D3KooW…`) and a SHA2-256
/// multihash (34 bytes, text `Qm…`). Ordered as its bytes are.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PeerId {
    bytes: [u8; PEER_ID_BYTES_MAX],
    len: u8,
}

impl PeerId {
    /// Its first bytes, which nearly always tell one from another, and the rest.
    fn parts(&self) -> (u64, u64, &[u8]) {
        let word = |at: usize| u64::from_be_bytes(core::array::from_fn(|nth| self.bytes[at + nth]));
        (word(0), word(8), &self.bytes[16..])
    }
}

// Maps by peer are walked for every frame: a call to compare memory would be most of a step.
impl Ord for PeerId {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        let ((one, two, rest), (other_one, other_two, other_rest)) = (self.parts(), other.parts());
        one.cmp(&other_one)
            .then_with(|| two.cmp(&other_two))
            .then_with(|| rest.cmp(other_rest))
            .then_with(|| self.len.cmp(&other.len))
    }
}

impl PartialOrd for PeerId {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Why bytes or a text are no peer id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerIdError {
    /// The text has a character outside base58, or is too long.
    Base58,
    /// The multihash code is neither identity nor SHA2-256.
    HashCode,
    /// The length byte disagrees with the bytes that follow, or exceeds 42 (identity), or is not 32 (SHA2-256).
    Length,
}

impl fmt::Display for PeerIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Base58 => "peer id is not base58",
            Self::HashCode => "peer id has an unknown multihash code",
            Self::Length => "peer id has a wrong length",
        })
    }
}

impl core::error::Error for PeerIdError {}

impl PeerId {
    /// Reads the binary form, which must fill `bytes` exactly.
    ///
    /// # Errors
    /// When `bytes` are no multihash of the two kinds.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PeerIdError> {
        let [code, length, digest @ ..] = bytes else { return Err(PeerIdError::Length) };
        let fits = match *code {
            IDENTITY => digest.len() <= PEER_ID_BYTES_MAX - 2,
            SHA2_256 => digest.len() == 32,
            _ => return Err(PeerIdError::HashCode),
        };
        if !fits || usize::from(*length) != digest.len() {
            return Err(PeerIdError::Length);
        }
        let mut id = Self { bytes: [0; PEER_ID_BYTES_MAX], len: bytes.len() as u8 };
        id.bytes[..bytes.len()].copy_from_slice(bytes);
        Ok(id)
    }

    /// The binary form: 38 bytes for an Ed25519 key.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Reads the base58 text form.
    ///
    /// # Errors
    /// When `text` is not base58 or does not hold a peer id.
    pub fn from_base58(text: &str) -> Result<Self, PeerIdError> {
        let mut bytes = [0; PEER_ID_BYTES_MAX];
        let length = base58::decode(text.as_bytes(), &mut bytes).ok_or(PeerIdError::Base58)?;
        Self::from_bytes(&bytes[..length])
    }

    /// The base58 text form.
    #[must_use]
    pub fn to_base58(&self) -> String {
        String::from(base58::encode(self.as_bytes()).as_str())
    }

    /// The id of an Ed25519 public key.
    #[must_use]
    pub fn from_ed25519(public_key: &[u8; 32]) -> Self {
        let mut bytes = [0; PEER_ID_BYTES_MAX];
        bytes[0] = IDENTITY;
        bytes[1] = (ED25519_KEY_HEAD.len() + 32) as u8;
        bytes[2..6].copy_from_slice(&ED25519_KEY_HEAD);
        bytes[6..38].copy_from_slice(public_key);
        Self { bytes, len: 38 }
    }

    /// The Ed25519 public key in the id, if it holds one. Whether the 32 bytes are a point is for the verifier to say.
    #[must_use]
    pub fn ed25519_public_key(&self) -> Option<[u8; 32]> {
        let key = self.as_bytes().strip_prefix(&[IDENTITY, 36])?.strip_prefix(&ED25519_KEY_HEAD)?;
        key.try_into().ok()
    }

    /// Whether this is the id of `key`, a public key in libp2p's protobuf: it holds the key itself or its SHA2-256.
    #[must_use]
    pub fn is_of_key(&self, key: &[u8]) -> bool {
        match self.as_bytes() {
            [IDENTITY, _, held @ ..] => held == key,
            [_, _, digest @ ..] => digest == &Sha256::digest(key)[..],
            [..] => false,
        }
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(base58::encode(self.as_bytes()).as_str())
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({self})")
    }
}

impl core::str::FromStr for PeerId {
    type Err = PeerIdError;

    fn from_str(text: &str) -> Result<Self, PeerIdError> {
        Self::from_base58(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use proptest::prelude::*;

    #[test]
    fn t146_a_known_public_key_gives_the_known_peer_id() {
        let key =
            crate::hex::decode_array("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
                .unwrap();
        let id = PeerId::from_ed25519(&key);
        assert_eq!(id.to_base58(), "12D3KooWQK1wnefoLrcVHbbnf5tLzbopUd3K3bFAoJpA7YJgL5pV");
        assert_eq!(id.ed25519_public_key(), Some(key));
        assert_eq!(id.as_bytes().len(), 38);
        assert_eq!(format!("{id:?}"), "PeerId(12D3KooWQK1wnefoLrcVHbbnf5tLzbopUd3K3bFAoJpA7YJgL5pV)");
    }

    #[test]
    fn both_multihash_kinds_are_read_and_others_refused() {
        let sha = [&[0x12, 0x20][..], &[7; 32]].concat();
        assert!(PeerId::from_bytes(&sha).unwrap().to_base58().starts_with("Qm"));
        assert_eq!(PeerId::from_bytes(&sha).unwrap().ed25519_public_key(), None);
        assert_eq!(PeerId::from_bytes(&sha[..33]), Err(PeerIdError::Length));
        assert_eq!(PeerId::from_bytes(&[&[0x00, 43][..], &[1; 43]].concat()), Err(PeerIdError::Length));
        assert!(PeerId::from_bytes(&[&[0x00, 42][..], &[1; 42]].concat()).is_ok());
        assert_eq!(PeerId::from_bytes(&[0x13, 0]), Err(PeerIdError::HashCode));
        assert_eq!(PeerId::from_bytes(&[]), Err(PeerIdError::Length));
        assert_eq!(PeerId::from_base58("gar0age"), Err(PeerIdError::Base58));
        assert_eq!(PeerId::from_base58(""), Err(PeerIdError::Length));
    }

    proptest! {
        #[test]
        fn ids_come_back_from_both_forms(digest in proptest::collection::vec(any::<u8>(), 0..=42)) {
            let id = PeerId::from_bytes(&[&[0, digest.len() as u8][..], &digest].concat()).unwrap();
            prop_assert_eq!(PeerId::from_bytes(id.as_bytes()), Ok(id));
            prop_assert_eq!(PeerId::from_base58(&id.to_base58()), Ok(id));
        }

        #[test]
        fn order_is_the_order_of_the_bytes(a in proptest::collection::vec(0..3u8, 0..6), b in proptest::collection::vec(0..3u8, 0..6)) {
            let id = |d: &[u8]| PeerId::from_bytes(&[&[0, d.len() as u8][..], d].concat()).unwrap();
            prop_assert_eq!(id(&a).cmp(&id(&b)), id(&a).as_bytes().cmp(id(&b).as_bytes()));
        }

        #[test]
        fn long_ids_are_ordered_as_their_bytes_wherever_they_differ(at in 0..84usize, one: u8, other: u8) {
            let id = |byte: u8| {
                let mut digest = [7; 42];
                digest[at % 42] = byte;
                let length = if at < 42 || byte < 128 { 42 } else { 41 };
                PeerId::from_bytes(&[&[0, length as u8][..], &digest[..length]].concat()).unwrap()
            };
            let (a, b) = (id(one), id(other));
            prop_assert_eq!(a.cmp(&b), a.as_bytes().cmp(b.as_bytes()));
            prop_assert_eq!(a.cmp(&b) == Ordering::Equal, a == b);
        }

        #[test]
        fn reading_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..80), text in ".{0,80}") {
            let _ = PeerId::from_bytes(&bytes);
            let _ = PeerId::from_base58(&text);
        }
    }
}
