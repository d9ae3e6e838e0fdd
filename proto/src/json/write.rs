//! The writer: Go's escapes and Go's form of numbers.

use alloc::vec::Vec;
use core::fmt::{self, Write};

use super::scan::plain_to_write;
use crate::hex::DIGITS;

/// Appends `text` in quotes: `"`, `\` and control characters escaped, and besides `<`, `>`, `&`, U+2028 and U+2029.
pub(crate) fn write_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut copied = 0;
    let mut at = 0;
    while at < bytes.len() {
        at += plain_to_write(&bytes[at..]);
        let Some(&byte) = bytes.get(at) else { break };
        // U+2028 and U+2029 are e2 80 a8 and e2 80 a9.
        if byte == 0xe2 {
            if let [0x80, last @ (0xa8 | 0xa9)] = bytes[at + 1..at + 3] {
                out.extend_from_slice(&bytes[copied..at]);
                out.extend_from_slice(if last == 0xa8 { b"\\u2028" } else { b"\\u2029" });
                copied = at + 3;
            }
            at += 3;
            continue;
        }
        out.extend_from_slice(&bytes[copied..at]);
        write_escape(byte, out);
        at += 1;
        copied = at;
    }
    out.extend_from_slice(&bytes[copied..]);
    out.push(b'"');
}

fn write_escape(byte: u8, out: &mut Vec<u8>) {
    let short = match byte {
        b'"' => b'"',
        b'\\' => b'\\',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            out.extend_from_slice(b"\\u00");
            out.push(DIGITS[usize::from(byte >> 4)]);
            out.push(DIGITS[usize::from(byte & 15)]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

pub(crate) fn write_u64(value: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = value;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

pub(crate) fn write_i64(value: i64, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    write_u64(value.unsigned_abs(), out);
}

/// Appends the shortest digits that come back as `value`: in exponent form below 1e-6 and from 1e21, else plain, without
/// `.0`. What is no number is written as `0`, since JSON has no word for it.
pub(super) fn write_f64(value: f64, out: &mut Vec<u8>) {
    struct Out<'a>(&'a mut Vec<u8>);
    impl Write for Out<'_> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.extend_from_slice(text.as_bytes());
            Ok(())
        }
    }
    if !value.is_finite() {
        out.push(b'0');
        return;
    }
    let size = value.abs();
    let result = if size != 0.0 && size < 1e-6 {
        write!(Out(out), "{value:e}")
    } else if size >= 1e21 {
        let start = out.len();
        let result = write!(Out(out), "{value:e}");
        if let Some(e) = out[start..].iter().position(|&byte| byte == b'e') {
            out.insert(start + e + 1, b'+');
        }
        result
    } else {
        write!(Out(out), "{value}")
    };
    debug_assert!(result.is_ok(), "writing into a vector cannot fail");
}
