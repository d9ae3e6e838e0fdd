//! [`Hash256`]: block, subtree and transaction hashes in internal and display order.

use alloc::string::String;
use core::fmt;

use sha2::{Digest, Sha256};

use crate::hex;

/// A 32-byte hash in internal order: the order in which SHA-256 gives it. Texts show it reversed.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash256(pub [u8; 32]);

/// The text is no hash: of a wrong length, or with a character that is not hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashError;

impl fmt::Display for HashError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a hash of 64 hexadecimal characters")
    }
}

impl core::error::Error for HashError {}

impl Hash256 {
    /// Thirty-two zero bytes: no hash.
    pub const ZERO: Self = Self([0; 32]);

    /// SHA-256 twice over `bytes`, as block hashes are made.
    #[must_use]
    pub fn double_sha256(bytes: &[u8]) -> Self {
        Self(Sha256::digest(Sha256::digest(bytes)).into())
    }

    /// Reads exactly 64 hexadecimal characters of any case, in display order.
    ///
    /// # Errors
    /// On any other text, the empty one included.
    pub fn from_display(text: &str) -> Result<Self, HashError> {
        let mut bytes = hex::decode_array::<32>(text).ok_or(HashError)?;
        bytes.reverse();
        Ok(Self(bytes))
    }

    /// Reads 0 to 64 hexadecimal characters as the reference does (spec 3.0): the text is padded on the left with
    /// zeros, so that an empty text gives [`Self::ZERO`].
    ///
    /// # Errors
    /// On more than 64 characters or one that is not hexadecimal.
    pub fn from_display_lenient(text: &str) -> Result<Self, HashError> {
        if text.len() > 64 {
            return Err(HashError);
        }
        let mut bytes = [0; 32];
        for (index, &character) in text.as_bytes().iter().rev().enumerate() {
            let nibble = hex::nibble(character).ok_or(HashError)?;
            bytes[index / 2] |= nibble << (4 * (index % 2));
        }
        Ok(Self(bytes))
    }

    /// The display form: 64 lower-case hexadecimal characters of the reversed bytes.
    #[must_use]
    pub fn to_display_bytes(&self) -> [u8; 64] {
        let mut text = [0; 64];
        for (pair, &byte) in text.chunks_exact_mut(2).zip(self.0.iter().rev()) {
            pair[0] = hex::DIGITS[usize::from(byte >> 4)];
            pair[1] = hex::DIGITS[usize::from(byte & 15)];
        }
        text
    }

    /// Appends the display form to `out`.
    pub fn write_display(&self, out: &mut String) {
        out.push_str(core::str::from_utf8(&self.to_display_bytes()).unwrap_or_default());
    }

    /// The 32 bytes in internal order, as gRPC carries them.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Hash256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(core::str::from_utf8(&self.to_display_bytes()).unwrap_or_default())
    }
}

impl fmt::Debug for Hash256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash256({self})")
    }
}

impl core::str::FromStr for Hash256 {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        Self::from_display(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    #[test]
    fn display_order_is_the_reverse_of_internal_order() {
        let text = format!("{}01", "00".repeat(31));
        let hash = Hash256::from_display(&text).unwrap();
        assert_eq!(hash.0[0], 1);
        assert_eq!(hash.to_string(), text);
    }

    #[test]
    fn the_strict_reader_takes_sixty_four_characters_only() {
        let text = "0A".repeat(32);
        assert_eq!(Hash256::from_display(&text).unwrap().to_string(), "0a".repeat(32));
        for bad in ["", "00", &"0".repeat(63), &"0".repeat(65), &format!("{}g", "0".repeat(63))] {
            assert_eq!(Hash256::from_display(bad), Err(HashError), "{bad}");
        }
    }

    #[test]
    fn the_lenient_reader_pads_on_the_left_as_the_reference_does() {
        assert_eq!(Hash256::from_display_lenient(""), Ok(Hash256::ZERO));
        assert_eq!(
            Hash256::from_display_lenient("abc").unwrap().to_string(),
            format!("{}abc", "0".repeat(61))
        );
        assert!(Hash256::from_display_lenient(&"0".repeat(65)).is_err());
        assert!(Hash256::from_display_lenient("xyz").is_err());
        assert!(Hash256::from_display_lenient("é").is_err());
    }

    proptest! {
        #[test]
        fn hashes_come_back(bytes: [u8; 32]) {
            let hash = Hash256(bytes);
            prop_assert_eq!(Hash256::from_display(&hash.to_string()), Ok(hash));
            prop_assert_eq!(Hash256::from_display_lenient(&hash.to_string()), Ok(hash));
            let mut text = String::new();
            hash.write_display(&mut text);
            prop_assert_eq!(text.as_bytes(), &hash.to_display_bytes());
        }
    }
}
