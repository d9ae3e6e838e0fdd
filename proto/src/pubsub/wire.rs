//! Protobuf's fields, one after the other.

use alloc::vec::Vec;

use super::{PubsubError, PubsubErrorKind};
use crate::varint;

/// Deepest nesting of groups in an unknown field.
const GROUP_DEPTH_MAX: usize = 32;

/// A field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// Of a wire type that no known field has.
    Other,
}

/// A field as it stands in the message.
pub(super) struct FieldAt<'a> {
    pub(super) number: u32,
    pub(super) value: Value<'a>,
    /// Key and value as they came.
    pub(super) raw: &'a [u8],
    /// Offset of the key.
    pub(super) at: usize,
}

impl<'a> FieldAt<'a> {
    pub(super) fn error(&self, kind: PubsubErrorKind) -> PubsubError {
        PubsubError { kind, at: self.at }
    }

    pub(super) fn bytes(&self) -> Result<&'a [u8], PubsubError> {
        if let Value::Bytes(bytes) = self.value {
            Ok(bytes)
        } else {
            Err(self.error(PubsubErrorKind::WireType))
        }
    }

    pub(super) fn varint(&self) -> Result<u64, PubsubError> {
        if let Value::Varint(value) = self.value {
            Ok(value)
        } else {
            Err(self.error(PubsubErrorKind::WireType))
        }
    }
}

/// Reads a message field by field. Fuses after an error.
pub(super) struct Fields<'a> {
    all: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn of(message: &'a [u8]) -> Self {
        Self { all: message, rest: message }
    }

    fn read(&mut self) -> Option<FieldAt<'a>> {
        let start = self.rest;
        let at = self.all.len() - start.len();
        let (key, rest) = varint::read(start)?;
        let number = u32::try_from(key >> 3).ok().filter(|number| (1..1 << 29).contains(number))?;
        let (value, rest) = read_value(number, (key & 7) as u8, rest)?;
        self.rest = rest;
        Some(FieldAt { number, value, raw: &start[..start.len() - rest.len()], at })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<FieldAt<'a>, PubsubError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let at = self.all.len() - self.rest.len();
        let field = self.read();
        if field.is_none() {
            self.rest = &[];
        }
        Some(field.ok_or(PubsubError { kind: PubsubErrorKind::Malformed, at }))
    }
}

fn read_value(number: u32, wire_type: u8, bytes: &[u8]) -> Option<(Value<'_>, &[u8])> {
    match wire_type {
        0 => varint::read(bytes).map(|(value, rest)| (Value::Varint(value), rest)),
        1 => bytes.split_at_checked(8).map(|(_, rest)| (Value::Other, rest)),
        2 => {
            let (length, rest) = varint::read(bytes)?;
            let (value, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            Some((Value::Bytes(value), rest))
        }
        3 => skip_group(number, bytes).map(|rest| (Value::Other, rest)),
        5 => bytes.split_at_checked(4).map(|(_, rest)| (Value::Other, rest)),
        _ => None,
    }
}

/// Skips what follows the start of a group, up to and with its end.
fn skip_group(number: u32, bytes: &[u8]) -> Option<&[u8]> {
    let mut open = [0u32; GROUP_DEPTH_MAX];
    open[0] = number;
    let mut depth = 1;
    let mut rest = bytes;
    while depth > 0 {
        let (key, after) = varint::read(rest)?;
        let inner = u32::try_from(key >> 3).ok()?;
        rest = match key & 7 {
            3 => {
                *open.get_mut(depth)? = inner;
                depth += 1;
                after
            }
            4 => {
                depth -= 1;
                (open[depth] == inner).then_some(after)?
            }
            wire_type => read_value(inner, wire_type as u8, after)?.1,
        };
    }
    Some(rest)
}

pub(super) fn write_bytes(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    varint::write(u64::from(number << 3 | 2), out);
    varint::write(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

pub(super) fn write_varint(number: u32, value: u64, out: &mut Vec<u8>) {
    varint::write(u64::from(number << 3), out);
    varint::write(value, out);
}

/// Writes a message within a message; `content` writes what stands in it.
pub(super) fn write_nested(number: u32, out: &mut Vec<u8>, content: impl FnOnce(&mut Vec<u8>)) {
    varint::write(u64::from(number << 3 | 2), out);
    let start = out.len();
    content(out);
    let length = out.len() - start;
    // The length is known only now: put it in front, and the content behind it.
    let prefix = varint::length(length as u64);
    out.resize(start + prefix + length, 0);
    out.copy_within(start..start + length, start + prefix);
    let mut rest = length as u64;
    for byte in &mut out[start..start + prefix] {
        *byte = (rest & 0x7f) as u8 | if rest > 0x7f { 0x80 } else { 0 };
        rest >>= 7;
    }
}
