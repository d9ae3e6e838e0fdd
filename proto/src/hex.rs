//! Hexadecimal, for hashes, headers and tests.

use alloc::string::String;
use alloc::vec::Vec;

pub(crate) const DIGITS: &[u8; 16] = b"0123456789abcdef";

pub(crate) const fn nibble(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        b'A'..=b'F' => Some(character - b'A' + 10),
        _ => None,
    }
}

/// Decodes exactly `2 * N` characters of either case.
pub(crate) fn decode_array<const N: usize>(text: &str) -> Option<[u8; N]> {
    let text = text.as_bytes();
    if text.len() != N * 2 {
        return None;
    }
    let (mut out, mut bad) = ([0; N], 0);
    for (byte, [high, low]) in out.iter_mut().zip(text.as_chunks::<2>().0) {
        let (high, low) = (NIBBLES[usize::from(*high)], NIBBLES[usize::from(*low)]);
        bad |= high | low;
        *byte = (high << 4) | (low & 15);
    }
    (bad < 16).then_some(out)
}

/// The value of each digit; above 15 for what is none.
const NIBBLES: [u8; 256] = {
    let mut table = [0xff; 256];
    let mut character = 0;
    while character < 256 {
        if let Some(value) = nibble(character as u8) {
            table[character] = value;
        }
        character += 1;
    }
    table
};

/// Decodes an even number of characters of either case.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.as_bytes();
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.chunks_exact(2).map(|pair| Some((nibble(pair[0])? << 4) | nibble(pair[1])?)).collect()
}

/// Encodes in lower case.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for &byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}
