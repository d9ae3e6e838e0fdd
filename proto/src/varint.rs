//! Unsigned varints: seven bits a byte, lowest first, at most ten bytes.

use alloc::vec::Vec;

/// Reads a number below 2⁶⁴ and returns what follows it, or `None` when it is cut short or too large.
pub(crate) fn read(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    for (index, &byte) in bytes.iter().take(10).enumerate() {
        let bits = u64::from(byte & 0x7f);
        if index == 9 && bits > 1 {
            return None;
        }
        value |= bits << (7 * index);
        if byte < 0x80 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

/// As [`read`], and refuses what has a shorter form.
pub(crate) fn read_shortest(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (value, rest) = read(bytes)?;
    (bytes.len() - rest.len() == length(value)).then_some((value, rest))
}

/// Appends the shortest form of `value`.
pub(crate) fn write(value: u64, out: &mut Vec<u8>) {
    let mut rest = value;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// The length of the shortest form of `value`.
pub(crate) const fn length(value: u64) -> usize {
    ((70 - (value | 1).leading_zeros()) / 7) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn where_the_shortest_form_is_asked_for_no_other_is_read() {
        assert_eq!(read_shortest(&[0x2a, 7]), Some((0x2a, &[7][..])));
        assert_eq!(read_shortest(&[0xaa, 0x00]), None);
        assert_eq!(read_shortest(&[0x00]), Some((0, &[][..])));
        assert_eq!(read_shortest(&[0x80, 0x00]), None);
    }

    #[test]
    fn numbers_beyond_64_bits_and_cut_ones_are_refused() {
        assert_eq!(
            read(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
            Some((u64::MAX, &[][..]))
        );
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]), None);
        assert_eq!(read(&[0x80; 11]), None);
        assert_eq!(read(&[0x80]), None);
        assert_eq!(read(&[]), None);
    }

    proptest! {
        #[test]
        fn numbers_come_back(value: u64, shift in 0..64u32) {
            let value = value >> shift;
            let mut bytes = Vec::new();
            write(value, &mut bytes);
            prop_assert_eq!(bytes.len(), length(value));
            prop_assert_eq!(read(&bytes), Some((value, &[][..])));
        }
    }
}
