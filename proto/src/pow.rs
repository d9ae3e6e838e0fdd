//! Proof of work: [`Target`] (what a hash must not exceed) and [`Work`] (what meeting it costs).

use alloc::string::String;
use core::fmt;

use crate::hash::Hash256;
use crate::hex;

/// A 256-bit target, big-endian. A hash meets it when, read as a number, it is not larger.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target([u8; 32]);

impl Target {
    /// The largest target: every hash meets it.
    pub const MAX: Self = Self([0xff; 32]);

    /// Expands Bitcoin's compact form. `None` when it is negative, zero or exceeds 256 bits.
    #[must_use]
    pub fn from_compact(bits: u32) -> Option<Self> {
        let size = (bits >> 24) as usize;
        let mantissa = (bits & 0x007f_ffff).to_be_bytes();
        let mut bytes = [0; 32];
        // The mantissa's last byte has the weight 256^(size - 3).
        for (index, &byte) in mantissa[1..].iter().enumerate() {
            let Some(weight) = size.checked_sub(index + 1) else { continue };
            match 31usize.checked_sub(weight) {
                Some(at) => bytes[at] = byte,
                None if byte != 0 => return None,
                None => {}
            }
        }
        let negative = bits & 0x0080_0000 != 0;
        (!negative && bytes != [0; 32]).then_some(Self(bytes))
    }

    /// A target of these 32 big-endian bytes.
    #[must_use]
    pub const fn from_be_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 big-endian bytes.
    #[must_use]
    pub const fn to_be_bytes(self) -> [u8; 32] {
        self.0
    }

    /// `factor` times as easy a target, at most [`Self::MAX`].
    #[must_use]
    pub fn saturating_mul(self, factor: u32) -> Self {
        let mut product = self.0;
        let mut carry = 0u64;
        for byte in product.iter_mut().rev() {
            carry += u64::from(*byte) * u64::from(factor);
            *byte = carry as u8;
            carry >>= 8;
        }
        if carry > 0 { Self::MAX } else { Self(product) }
    }

    /// Whether `hash` is not larger than the target.
    #[must_use]
    pub fn met_by(&self, hash: &Hash256) -> bool {
        hash.0.iter().rev().le(self.0.iter())
    }

    /// The expected number of hashes until one meets the target: 2²⁵⁶ ÷ (target + 1).
    #[must_use]
    pub fn work(self) -> Work {
        // 2^256 / (t + 1) = (2^256 - 1 - t) / (t + 1) + 1, and the first quotient fits into 256 bits.
        let target = Words::from_be_bytes(self.0);
        let Some(divisor) = target.checked_add(Words::ONE) else { return Work(Words::ONE.to_be_bytes()) };
        let quotient = target.not().divide(divisor);
        Work(quotient.checked_add(Words::ONE).unwrap_or(Words([u64::MAX; 4])).to_be_bytes())
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({})", hex::encode(&self.0))
    }
}

/// A 256-bit amount of work, big-endian: of one block, or of a chain.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Work([u8; 32]);

impl Work {
    /// No work.
    pub const ZERO: Self = Self([0; 32]);

    /// Work of these 32 big-endian bytes.
    #[must_use]
    pub const fn from_be_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 big-endian bytes.
    #[must_use]
    pub const fn to_be_bytes(self) -> [u8; 32] {
        self.0
    }

    /// The sum, at most 2²⁵⁶ − 1.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        let sum = Words::from_be_bytes(self.0).checked_add(Words::from_be_bytes(other.0));
        Self(sum.unwrap_or(Words([u64::MAX; 4])).to_be_bytes())
    }

    /// 64 lower-case hexadecimal characters, as `chain_work` of a node status shows it.
    #[must_use]
    pub fn to_hex(self) -> String {
        hex::encode(&self.0)
    }

    /// Reads at most 64 hexadecimal characters, padded on the left with zeros.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        // A hash's display form is the same number, its bytes reversed.
        let mut bytes = Hash256::from_display_lenient(text).ok()?.0;
        bytes.reverse();
        Some(Self(bytes))
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Work({})", self.to_hex())
    }
}

/// A 256-bit number, most significant word first, so that the derived order is the numbers'.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Words([u64; 4]);

impl Words {
    const ZERO: Self = Self([0; 4]);
    const ONE: Self = Self([0, 0, 0, 1]);

    fn from_be_bytes(bytes: [u8; 32]) -> Self {
        let mut words = [0; 4];
        for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = chunk.iter().fold(0, |word, &byte| (word << 8) | u64::from(byte));
        }
        Self(words)
    }

    fn to_be_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(self.0) {
            chunk.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }

    fn not(self) -> Self {
        Self(self.0.map(|word| !word))
    }

    fn checked_add(self, other: Self) -> Option<Self> {
        let mut sum = [0; 4];
        let mut carry = false;
        for at in (0..4).rev() {
            let (word, over) = self.0[at].overflowing_add(other.0[at]);
            let (word, over_again) = word.overflowing_add(u64::from(carry));
            sum[at] = word;
            carry = over || over_again;
        }
        (!carry).then_some(Self(sum))
    }

    fn wrapping_sub(self, other: Self) -> Self {
        let mut difference = [0; 4];
        let mut borrow = false;
        for at in (0..4).rev() {
            let (word, under) = self.0[at].overflowing_sub(other.0[at]);
            let (word, under_again) = word.overflowing_sub(u64::from(borrow));
            difference[at] = word;
            borrow = under || under_again;
        }
        Self(difference)
    }

    /// Doubles and puts `bit` in at the end; returns the bit that fell out.
    fn shift_in(&mut self, bit: u64) -> u64 {
        let mut carry = bit;
        for word in self.0.iter_mut().rev() {
            let out = *word >> 63;
            *word = (*word << 1) | carry;
            carry = out;
        }
        carry
    }

    /// The quotient by `divisor`, which is not zero: long division, bit by bit.
    fn divide(self, divisor: Self) -> Self {
        let mut quotient = Self::ZERO;
        let mut rest = Self::ZERO;
        for bit in 0..256 {
            let next = (self.0[bit / 64] >> (63 - bit % 64)) & 1;
            let over = rest.shift_in(next) == 1;
            let fits = over || rest >= divisor;
            if fits {
                rest = rest.wrapping_sub(divisor);
            }
            quotient.shift_in(u64::from(fits));
        }
        quotient
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(text: &str) -> [u8; 32] {
        Work::from_hex(text).unwrap().to_be_bytes()
    }

    #[test]
    fn compact_forms_expand_as_bitcoin_expands_them() {
        for (bits, expected) in [
            (0x0100_3456, None),
            (0x0112_3456, Some("12")),
            (0x0212_3456, Some("1234")),
            (0x0312_3456, Some("123456")),
            (0x0412_3456, Some("12345600")),
            (0x0492_3456, None),
            (0x0500_9234, Some("92340000")),
            (0x0000_0000, None),
            (0x2000_0000, None),
            (0x2012_3456, Some("1234560000000000000000000000000000000000000000000000000000000000")),
            (0x2112_3456, None),
            (0x2100_3456, Some("3456000000000000000000000000000000000000000000000000000000000000")),
            (0x2200_0056, Some("5600000000000000000000000000000000000000000000000000000000000000")),
            (0x2200_0156, None),
            (0x2300_0001, None),
            (0xff12_3456, None),
            (0x1d00_ffff, Some("ffff0000000000000000000000000000000000000000000000000000")),
        ] {
            assert_eq!(
                Target::from_compact(bits).map(Target::to_be_bytes),
                expected.map(number),
                "{bits:08x}"
            );
        }
    }

    #[test]
    fn a_hash_meets_a_target_up_to_equality() {
        let target = Target::from_be_bytes(number("0100"));
        let hash = |text: &str| Hash256::from_display_lenient(text).unwrap();
        assert!(target.met_by(&hash("ff")));
        assert!(target.met_by(&hash("0100")));
        assert!(!target.met_by(&hash("0101")));
        assert!(!target.met_by(&hash(&format!("1{}", "0".repeat(63)))));
        assert!(Target::MAX.met_by(&hash(&"f".repeat(64))));
    }

    #[test]
    fn a_product_beyond_256_bits_is_the_largest_target() {
        let target = Target::from_be_bytes(number("ff"));
        assert_eq!(target.saturating_mul(16).to_be_bytes(), number("ff0"));
        assert_eq!(Target::from_compact(0x207f_ffff).unwrap().saturating_mul(16), Target::MAX);
        assert_eq!(target.saturating_mul(u32::MAX).to_be_bytes(), number("feffffff01"));
    }

    #[test]
    fn work_is_what_the_reference_shows() {
        // Regtest: two hashes a block. 0x65 blocks after genesis: 0xcc in the recorded node status.
        let block = Target::from_compact(0x207f_ffff).unwrap().work();
        assert_eq!(block.to_be_bytes(), number("02"));
        let chain = (0..102).fold(Work::ZERO, |chain, _| chain.saturating_add(block));
        assert_eq!(chain.to_hex(), format!("{}cc", "0".repeat(62)));
        assert_eq!(Target::from_compact(0x1d00_ffff).unwrap().work().to_be_bytes(), number("100010001"));
        assert_eq!(Target::MAX.work().to_be_bytes(), number("1"));
        assert_eq!(Target::from_be_bytes([0; 32]).work(), Work([0xff; 32]));
        assert_eq!(Work([0xff; 32]).saturating_add(block), Work([0xff; 32]));
    }

    proptest! {
        #[test]
        fn division_undoes_multiplication(a: u64, b in 1u64.., r: u64) {
            // a * b + (r mod b), divided by b, is a again.
            let product = u128::from(a) * u128::from(b) + u128::from(r % b);
            let words = Words([0, 0, (product >> 64) as u64, product as u64]);
            prop_assert!(words.divide(Words([0, 0, 0, b])) == Words([0, 0, 0, a]));
        }

        #[test]
        fn expanding_never_panics(bits: u32) {
            if let Some(target) = Target::from_compact(bits) {
                prop_assert!(target.work() > Work::ZERO);
            }
        }
    }
}
