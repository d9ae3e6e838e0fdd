//! Finding the first byte that needs care in a text, eight bytes at a time.

/// One in each byte.
const ONES: u64 = u64::from_ne_bytes([1; 8]);
/// The highest bit of each byte.
const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);

/// Marks the bytes of `word` that are below `bound`, which is at most 0x80. A byte above the lowest one marked may be
/// marked wrongly.
const fn below(word: u64, bound: u8) -> u64 {
    word.wrapping_sub(ONES.wrapping_mul(bound as u64)) & !word & HIGH
}

/// Marks the bytes of `word` that are `byte`; what holds of [`below`] holds of this.
const fn equal(word: u64, byte: u8) -> u64 {
    below(word ^ ONES.wrapping_mul(byte as u64), 1)
}

/// Where the first byte lies that `marks` or, of the last few, `is_it` tells; the length if there is none.
#[inline]
fn first(bytes: &[u8], marks: impl Fn(u64) -> u64, is_it: impl Fn(u8) -> bool) -> usize {
    let (words, tail) = bytes.as_chunks::<8>();
    for (number, word) in words.iter().enumerate() {
        let marked = marks(u64::from_le_bytes(*word));
        if marked != 0 {
            return number * 8 + marked.trailing_zeros() as usize / 8;
        }
    }
    words.len() * 8 + tail.iter().position(|byte| is_it(*byte)).unwrap_or(tail.len())
}

/// Length of the head of `bytes` without quote, backslash and control character.
pub(super) fn plain_to_read(bytes: &[u8]) -> usize {
    let marks = |word| below(word, 0x20) | equal(word, b'"') | equal(word, b'\\');
    first(bytes, marks, |byte| byte < 0x20 || byte == b'"' || byte == b'\\')
}

/// Whether `byte` may not be written as it is, or is the first of a character that may not.
fn is_special(byte: u8) -> bool {
    byte < 0x20 || matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&' | 0xe2)
}

/// Length of the head of `bytes` that may be written as it is.
pub(super) fn plain_to_write(bytes: &[u8]) -> usize {
    // One test each for `<` and `>`, and for `"` and `&`: they differ in one bit.
    let marks = |word: u64| {
        below(word, 0x20)
            | equal(word | ONES << 1, b'>')
            | equal(word | ONES << 2, b'&')
            | equal(word, b'\\')
            | equal(word, 0xe2)
    };
    first(bytes, marks, is_special)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_byte_is_judged_alike_in_a_word_and_in_a_tail_and_beside_any_other() {
        for byte in 0..=255u8 {
            for other in [b'a', 0x7f, 0x80, 0xff, 0x20, 0x21, 0x23, 0x5b] {
                for at in 0..12 {
                    let mut text = [other; 12];
                    text[at] = byte;
                    let stops = byte < 0x20 || byte == b'"' || byte == b'\\';
                    assert_eq!(plain_to_read(&text), if stops { at } else { 12 }, "{byte:#x} at {at}");
                    assert_eq!(
                        plain_to_write(&text),
                        if is_special(byte) { at } else { 12 },
                        "{byte:#x} at {at}"
                    );
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_give_what_a_walk_byte_by_byte_gives(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let walk = |is_it: &dyn Fn(u8) -> bool| bytes.iter().position(|byte| is_it(*byte)).unwrap_or(bytes.len());
            prop_assert_eq!(plain_to_read(&bytes), walk(&|byte| byte < 0x20 || byte == b'"' || byte == b'\\'));
            prop_assert_eq!(plain_to_write(&bytes), walk(&is_special));
        }
    }
}
