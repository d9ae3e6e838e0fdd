//! Base58 in Bitcoin's alphabet for inputs that fit a peer id, without allocation.

const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
/// 58⁵: the largest power whose product with 256 leaves room in 64 bits, five digits a limb.
const LIMB: u64 = 656_356_768;
const LIMB_DIGITS: usize = 5;

/// Longest input of [`encode`], in bytes.
pub(crate) const BYTES_MAX: usize = 44;
/// Longest text of [`BYTES_MAX`] bytes.
pub(crate) const TEXT_MAX: usize = 61;

/// Text on the stack.
pub(crate) struct Text {
    bytes: [u8; TEXT_MAX],
    len: usize,
}

impl Text {
    pub(crate) fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }
}

/// Encodes at most [`BYTES_MAX`] bytes; what is longer is cut.
pub(crate) fn encode(input: &[u8]) -> Text {
    let input = &input[..input.len().min(BYTES_MAX)];
    let zeros = input.iter().take_while(|&&b| b == 0).count();
    let mut limbs = [0u64; TEXT_MAX.div_ceil(LIMB_DIGITS)];
    let mut used = 0;
    for &byte in &input[zeros..] {
        let mut carry = u64::from(byte);
        for limb in &mut limbs[..used] {
            carry += *limb << 8;
            *limb = carry % LIMB;
            carry /= LIMB;
        }
        if carry > 0 {
            limbs[used] = carry;
            used += 1;
        }
    }
    // Digits come out least significant first.
    let mut reversed = [0u8; TEXT_MAX + LIMB_DIGITS];
    let mut digits = 0;
    for (index, &limb) in limbs[..used].iter().enumerate() {
        let mut rest = limb;
        for _ in 0..LIMB_DIGITS {
            if index + 1 == used && rest == 0 {
                break;
            }
            reversed[digits] = ALPHABET[(rest % 58) as usize];
            rest /= 58;
            digits += 1;
        }
    }
    let mut text = Text { bytes: [b'1'; TEXT_MAX], len: zeros + digits };
    for (to, from) in text.bytes[zeros..].iter_mut().zip(reversed[..digits].iter().rev()) {
        *to = *from;
    }
    text
}

/// Decodes into the front of `out` and returns the length, or `None` on a foreign character or too long an input.
pub(crate) fn decode(text: &[u8], out: &mut [u8; BYTES_MAX]) -> Option<usize> {
    if text.len() > TEXT_MAX {
        return None;
    }
    let ones = text.iter().take_while(|&&c| c == b'1').count();
    let mut limbs = [0u32; BYTES_MAX.div_ceil(4) + 1];
    let mut used = 0;
    for &character in &text[ones..] {
        let mut carry = u64::from(digit(character)?);
        for limb in &mut limbs[..used] {
            carry += u64::from(*limb) * 58;
            *limb = carry as u32;
            carry >>= 32;
        }
        if carry > 0 {
            *limbs.get_mut(used)? = carry as u32;
            used += 1;
        }
    }
    let mut reversed = [0u8; (BYTES_MAX.div_ceil(4) + 1) * 4];
    for (to, limb) in reversed.chunks_exact_mut(4).zip(&limbs[..used]) {
        to.copy_from_slice(&limb.to_le_bytes());
    }
    let length = reversed.iter().rposition(|&b| b != 0).map_or(0, |last| last + 1);
    if ones + length > BYTES_MAX {
        return None;
    }
    out[..ones].fill(0);
    for (to, from) in out[ones..].iter_mut().zip(reversed[..length].iter().rev()) {
        *to = *from;
    }
    Some(ones + length)
}

fn digit(character: u8) -> Option<u8> {
    const DIGITS: [u8; 256] = {
        let mut table = [255u8; 256];
        let mut value = 0;
        while value < 58 {
            table[ALPHABET[value] as usize] = value as u8;
            value += 1;
        }
        table
    };
    Some(DIGITS[character as usize]).filter(|&value| value != 255)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_texts_are_met() {
        assert_eq!(encode(b"").as_str(), "");
        assert_eq!(encode(b"\0\0").as_str(), "11");
        assert_eq!(encode(b"Hello World!").as_str(), "2NEpo7TZRRrLZSi2U");
        assert_eq!(encode(&[0xff; 44]).as_str().len(), 61);
    }

    #[test]
    fn foreign_characters_and_long_texts_are_refused() {
        let mut out = [0; BYTES_MAX];
        for text in ["0", "O", "I", "l", " ", "a\u{e9}", &"z".repeat(61), &"1".repeat(45), &"2".repeat(62)] {
            assert_eq!(decode(text.as_bytes(), &mut out), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn bytes_come_back(input in proptest::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 0..=BYTES_MAX)) {
            let mut out = [0xaa; BYTES_MAX];
            let length = decode(encode(&input).as_str().as_bytes(), &mut out);
            prop_assert_eq!(length, Some(input.len()));
            prop_assert_eq!(&out[..input.len()], &input[..]);
        }
    }
}
