//! The canonical encoding: little-endian, explicit widths, documented order. It serves recordings and the state hash
//! alike, so what is hashed is what could be written down.
//!
//! Integers have their own width, `bool` and tags one byte, lengths are `u32`, floats go by their bits, `Option` is a
//! tag and the value, sequences are a length and the items, maps are sequences of pairs in key order.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;
use core::time::Duration;

use bytes::Bytes;
use peerage_proto::hash::Hash256;
use peerage_proto::ip::Subnet;
use peerage_proto::multiaddr::Multiaddr;
use peerage_proto::peer_id::PeerId;

/// Takes encoded bytes: a buffer or a hash.
pub trait Output {
    /// Appends `bytes`.
    fn put(&mut self, bytes: &[u8]);
}

impl Output for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

impl Output for sha2::Sha256 {
    fn put(&mut self, bytes: &[u8]) {
        sha2::Digest::update(self, bytes);
    }
}

/// Has one canonical encoding.
pub trait Encode {
    /// Appends the encoding of `self`.
    fn encode(&self, out: &mut impl Output);
}

/// Can be read back.
pub trait Decode: Sized {
    /// Reads one value.
    ///
    /// # Errors
    /// When bytes are missing or no value of this type has this encoding.
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError>;
}

/// Why bytes are no encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// Where, in bytes from the start of the value.
    pub at: usize,
    /// What was expected there.
    pub expected: &'static str,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {}: expected {}", self.at, self.expected)
    }
}

impl core::error::Error for DecodeError {}

/// Reads an encoding from its start.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// A reader of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    /// When fewer are left.
    pub fn take(&mut self, len: usize, expected: &'static str) -> Result<&'a [u8], DecodeError> {
        let (head, tail) = self.bytes.split_at_checked(len).ok_or_else(|| self.error(expected))?;
        self.bytes = tail;
        self.at += len;
        Ok(head)
    }

    /// An error at the present place.
    pub fn error(&self, expected: &'static str) -> DecodeError {
        DecodeError { at: self.at, expected }
    }

    /// Bytes left.
    pub fn left(&self) -> usize {
        self.bytes.len()
    }

    /// Reads a length and checks that so many items of at least one byte can follow.
    fn len(&mut self) -> Result<usize, DecodeError> {
        let len = u32::decode(self)? as usize;
        if len > self.left() {
            return Err(self.error("a length within the input"));
        }
        Ok(len)
    }
}

/// Reads a whole value: nothing may follow.
///
/// # Errors
/// When the bytes are not exactly one encoding of `T`.
pub fn decode_all<T: Decode>(bytes: &[u8]) -> Result<T, DecodeError> {
    let mut reader = Reader::new(bytes);
    let value = T::decode(&mut reader)?;
    if reader.left() > 0 {
        return Err(reader.error("the end"));
    }
    Ok(value)
}

/// The encoding of `value` as bytes.
pub fn to_vec(value: &impl Encode) -> Vec<u8> {
    let mut out = Vec::new();
    value.encode(&mut out);
    out
}

macro_rules! codec_int {
    ($($int:ty),*) => {$(
        impl Encode for $int {
            fn encode(&self, out: &mut impl Output) {
                out.put(&self.to_le_bytes());
            }
        }
        impl Decode for $int {
            fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
                let mut bytes = [0; size_of::<$int>()];
                bytes.copy_from_slice(input.take(size_of::<$int>(), stringify!($int))?);
                Ok(Self::from_le_bytes(bytes))
            }
        }
    )*};
}
codec_int!(u8, u16, u32, u64, u128, i32, i64);

impl Encode for f64 {
    fn encode(&self, out: &mut impl Output) {
        self.to_bits().encode(out);
    }
}

impl Decode for f64 {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        u64::decode(input).map(Self::from_bits)
    }
}

impl Encode for bool {
    fn encode(&self, out: &mut impl Output) {
        u8::from(*self).encode(out);
    }
}

impl Decode for bool {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(input)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(input.error("0 or 1")),
        }
    }
}

fn encode_len(len: usize, out: &mut impl Output) {
    // Every collection of the core is bounded far below this.
    u32::try_from(len).unwrap_or(u32::MAX).encode(out);
}

impl Encode for [u8] {
    fn encode(&self, out: &mut impl Output) {
        encode_len(self.len(), out);
        out.put(self);
    }
}

impl Encode for Bytes {
    fn encode(&self, out: &mut impl Output) {
        self.as_ref().encode(out);
    }
}

impl Decode for Bytes {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let len = input.len()?;
        Ok(Self::copy_from_slice(input.take(len, "bytes")?))
    }
}

impl Encode for str {
    fn encode(&self, out: &mut impl Output) {
        self.as_bytes().encode(out);
    }
}

impl Encode for String {
    fn encode(&self, out: &mut impl Output) {
        self.as_str().encode(out);
    }
}

impl Decode for String {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let len = input.len()?;
        let text = core::str::from_utf8(input.take(len, "text")?).map_err(|_| input.error("UTF-8"))?;
        Ok(text.into())
    }
}

impl Encode for Arc<str> {
    fn encode(&self, out: &mut impl Output) {
        self.as_bytes().encode(out);
    }
}

impl Decode for Arc<str> {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        String::decode(input).map(Self::from)
    }
}

impl<const N: usize> Encode for [u8; N] {
    fn encode(&self, out: &mut impl Output) {
        out.put(self);
    }
}

impl<const N: usize> Decode for [u8; N] {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(input.take(N, "a byte array")?);
        Ok(bytes)
    }
}

impl<T: Encode> Encode for Option<T> {
    fn encode(&self, out: &mut impl Output) {
        self.is_some().encode(out);
        if let Some(value) = self {
            value.encode(out);
        }
    }
}

impl<T: Decode> Decode for Option<T> {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(if bool::decode(input)? { Some(T::decode(input)?) } else { None })
    }
}

impl<T: Encode, E: Encode> Encode for Result<T, E> {
    fn encode(&self, out: &mut impl Output) {
        self.is_ok().encode(out);
        match self {
            Ok(value) => value.encode(out),
            Err(error) => error.encode(out),
        }
    }
}

impl<T: Decode, E: Decode> Decode for Result<T, E> {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(if bool::decode(input)? { Ok(T::decode(input)?) } else { Err(E::decode(input)?) })
    }
}

impl<T: Encode> Encode for Vec<T> {
    fn encode(&self, out: &mut impl Output) {
        encode_len(self.len(), out);
        self.iter().for_each(|item| item.encode(out));
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let len = input.len()?;
        // Grows as items arrive: a claimed length allocates nothing.
        (0..len).map(|_| T::decode(input)).collect()
    }
}

impl<T: Encode + ?Sized> Encode for Box<T> {
    fn encode(&self, out: &mut impl Output) {
        self.as_ref().encode(out);
    }
}

impl<T: Decode> Decode for Box<T> {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        T::decode(input).map(Self::new)
    }
}

impl<T: Encode> Encode for VecDeque<T> {
    fn encode(&self, out: &mut impl Output) {
        encode_len(self.len(), out);
        self.iter().for_each(|item| item.encode(out));
    }
}

impl<K: Encode, V: Encode> Encode for BTreeMap<K, V> {
    fn encode(&self, out: &mut impl Output) {
        encode_len(self.len(), out);
        for (key, value) in self {
            key.encode(out);
            value.encode(out);
        }
    }
}

impl<K: Decode + Ord, V: Decode> Decode for BTreeMap<K, V> {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Vec::<(K, V)>::decode(input)?.into_iter().collect())
    }
}

impl<K: Encode> Encode for BTreeSet<K> {
    fn encode(&self, out: &mut impl Output) {
        encode_len(self.len(), out);
        self.iter().for_each(|key| key.encode(out));
    }
}

impl<A: Encode, B: Encode> Encode for (A, B) {
    fn encode(&self, out: &mut impl Output) {
        self.0.encode(out);
        self.1.encode(out);
    }
}

impl<A: Decode, B: Decode> Decode for (A, B) {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok((A::decode(input)?, B::decode(input)?))
    }
}

impl Encode for () {
    fn encode(&self, _out: &mut impl Output) {}
}

impl Decode for () {
    fn decode(_input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(())
    }
}

impl Encode for Duration {
    fn encode(&self, out: &mut impl Output) {
        u64::try_from(self.as_micros()).unwrap_or(u64::MAX).encode(out);
    }
}

impl Decode for Duration {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        u64::decode(input).map(Self::from_micros)
    }
}

impl Encode for PeerId {
    fn encode(&self, out: &mut impl Output) {
        self.as_bytes().encode(out);
    }
}

impl Decode for PeerId {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let len = input.len()?;
        let bytes = input.take(len, "a peer id")?;
        Self::from_bytes(bytes).map_err(|_| input.error("a peer id"))
    }
}

impl Encode for IpAddr {
    fn encode(&self, out: &mut impl Output) {
        match self {
            Self::V4(v4) => v4.octets().as_slice().encode(out),
            Self::V6(v6) => v6.octets().as_slice().encode(out),
        }
    }
}

impl Encode for Subnet {
    fn encode(&self, out: &mut impl Output) {
        match self {
            Self::V4(head) => head.as_slice().encode(out),
            Self::V6(head) => head.as_slice().encode(out),
        }
    }
}

impl Encode for Hash256 {
    fn encode(&self, out: &mut impl Output) {
        out.put(&self.0);
    }
}

impl Decode for Hash256 {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        <[u8; 32]>::decode(input).map(Self)
    }
}

impl Encode for Multiaddr {
    fn encode(&self, out: &mut impl Output) {
        self.as_bytes().encode(out);
    }
}

impl Decode for Multiaddr {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let len = input.len()?;
        let bytes = input.take(len, "a multiaddr")?;
        Self::from_bytes(bytes).map_err(|_| input.error("a multiaddr"))
    }
}

/// Derives both directions for a struct. The list is checked against the fields: one left out does not compile.
macro_rules! codec_struct {
    ($name:ident { $($field:ident),* $(,)? }) => {
        impl $crate::codec::Encode for $name {
            fn encode(&self, out: &mut impl $crate::codec::Output) {
                let Self { $($field),* } = self;
                $($crate::codec::Encode::encode($field, out);)*
                let _ = out;
            }
        }
        impl $crate::codec::Decode for $name {
            fn decode(
                input: &mut $crate::codec::Reader<'_>,
            ) -> Result<Self, $crate::codec::DecodeError> {
                let _ = &input;
                $(let $field = $crate::codec::Decode::decode(input)?;)*
                Ok(Self { $($field),* })
            }
        }
    };
    ($name:ident ( $($field:ident),* $(,)? )) => {
        impl $crate::codec::Encode for $name {
            fn encode(&self, out: &mut impl $crate::codec::Output) {
                let Self($($field),*) = self;
                $($crate::codec::Encode::encode($field, out);)*
            }
        }
        impl $crate::codec::Decode for $name {
            fn decode(
                input: &mut $crate::codec::Reader<'_>,
            ) -> Result<Self, $crate::codec::DecodeError> {
                $(let $field = $crate::codec::Decode::decode(input)?;)*
                Ok(Self($($field),*))
            }
        }
    };
}
pub(crate) use codec_struct;

/// Derives both directions for an enum, each variant with its tag. A variant left out does not compile.
macro_rules! codec_enum {
    ($name:ident { $($tag:literal => $variant:ident
        $({ $($field:ident),* $(,)? })? $(( $($item:ident),* $(,)? ))?),* $(,)? }) => {
        impl $crate::codec::Encode for $name {
            fn encode(&self, out: &mut impl $crate::codec::Output) {
                match self {
                    $(Self::$variant $({ $($field),* })? $(( $($item),* ))? => {
                        out.put(&[$tag]);
                        $($($crate::codec::Encode::encode($field, out);)*)?
                        $($($crate::codec::Encode::encode($item, out);)*)?
                    })*
                }
            }
        }
        impl $crate::codec::Decode for $name {
            fn decode(
                input: &mut $crate::codec::Reader<'_>,
            ) -> Result<Self, $crate::codec::DecodeError> {
                match <u8 as $crate::codec::Decode>::decode(input)? {
                    $($tag => {
                        $($(let $field = $crate::codec::Decode::decode(input)?;)*)?
                        $($(let $item = $crate::codec::Decode::decode(input)?;)*)?
                        Ok(Self::$variant $({ $($field),* })? $(( $($item),* ))?)
                    })*
                    _ => Err(input.error(concat!("a tag of ", stringify!($name)))),
                }
            }
        }
    };
}
pub(crate) use codec_enum;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[derive(Debug, PartialEq)]
    enum Sample {
        Empty,
        Named { a: u32, b: Option<String> },
        Pair(bool, Vec<u64>),
    }
    codec_enum!(Sample { 0 => Empty, 1 => Named { a, b }, 7 => Pair(x, y) });

    #[test]
    fn an_enum_reads_back_what_was_written() {
        for sample in [
            Sample::Empty,
            Sample::Named { a: 5, b: Some("text".into()) },
            Sample::Pair(true, vec![1, u64::MAX]),
        ] {
            assert_eq!(decode_all::<Sample>(&to_vec(&sample)), Ok(sample));
        }
    }

    #[test]
    fn integers_are_little_endian_and_lengths_four_bytes() {
        assert_eq!(
            to_vec(&Sample::Named { a: 0x0102_0304, b: Some("x".into()) }),
            [1, 4, 3, 2, 1, 1, 1, 0, 0, 0, b'x']
        );
    }

    #[test]
    fn a_claimed_length_allocates_nothing() {
        let error = decode_all::<Vec<u64>>(&[0xff, 0xff, 0xff, 0x7f, 1]).unwrap_err();
        assert_eq!(error.expected, "a length within the input");
    }

    #[test]
    fn an_unknown_tag_and_a_trailing_byte_are_errors() {
        assert!(decode_all::<Sample>(&[9]).is_err());
        assert_eq!(decode_all::<Sample>(&[0, 0]).unwrap_err().expected, "the end");
    }
}
