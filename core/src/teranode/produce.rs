//! Records for the broker, encoded by hand into one piece of memory with the frame that shows the same announcement.

use alloc::vec::Vec;

use bytes::Bytes;

/// Length of a hash as text, and hence of a record's key.
const HASH_TEXT: usize = 64;

/// A record and a frame that share one allocation.
#[derive(Debug)]
pub struct Encoded {
    /// The record's key: the hash as text, a part of the value.
    pub key: Bytes,
    /// The record: protobuf of `KafkaBlockTopicMessage` or `KafkaSubtreeTopicMessage` (spec 6.2).
    pub value: Bytes,
    /// The frame; empty if none was asked for.
    pub frame: Bytes,
}

/// Room for nearly every record of a subtree with its frame.
const SMALL: usize = 510;
/// Room for nearly every record of a block with its frame.
const MEDIUM: usize = 766;
/// Room for nearly every other one.
const LARGE: usize = 1022;

/// Bytes that share the allocation of their reference count.
struct Inline<const ROOM: usize> {
    len: u16,
    bytes: [u8; ROOM],
}

impl<const ROOM: usize> AsRef<[u8]> for Inline<ROOM> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// `bytes`, shared: one allocation unless they are many.
fn shared(bytes: &[u8]) -> Bytes {
    match bytes.len() {
        len if len <= SMALL => inline::<SMALL>(bytes),
        len if len <= MEDIUM => inline::<MEDIUM>(bytes),
        len if len <= LARGE => inline::<LARGE>(bytes),
        _ => Bytes::copy_from_slice(bytes),
    }
}

/// At most `ROOM` bytes.
fn inline<const ROOM: usize>(bytes: &[u8]) -> Bytes {
    let mut inline = Inline { len: bytes.len() as u16, bytes: [0; ROOM] };
    inline.bytes[..bytes.len()].copy_from_slice(bytes);
    Bytes::from_owner(inline)
}

/// Encodes a record and, behind it, what `frame` writes. `scratch` is the memory to do it in.
pub fn encode(
    scratch: &mut Vec<u8>,
    hash: &[u8; HASH_TEXT],
    url: &str,
    peer_id: &str,
    frame: impl FnOnce(&mut Vec<u8>),
) -> Encoded {
    scratch.clear();
    field(scratch, 1, hash);
    field(scratch, 2, url.as_bytes());
    field(scratch, 3, peer_id.as_bytes());
    let value_len = scratch.len();
    frame(scratch);
    let whole = shared(scratch);
    let value = whole.slice(..value_len);
    Encoded { key: value.slice(2..2 + HASH_TEXT), frame: whole.slice(value_len..), value }
}

/// A proto3 string field; an empty one is left out.
fn field(buf: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    buf.push(number << 3 | 2);
    let mut len = bytes.len();
    while len >= 0x80 {
        buf.push(len as u8 | 0x80);
        len >>= 7;
    }
    buf.push(len as u8);
    buf.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_the_bytes_of_protobuf_and_its_hash_as_key() {
        let hash = [b'a'; 64];
        let url = "u".repeat(200);
        let encoded = encode(&mut Vec::new(), &hash, &url, "p", |frame| frame.extend_from_slice(b"{}"));
        let mut expected = alloc::vec![0x0a, 64];
        expected.extend_from_slice(&hash);
        expected.extend_from_slice(&[0x12, 0xc8, 0x01]);
        expected.extend_from_slice(url.as_bytes());
        expected.extend_from_slice(&[0x1a, 1, b'p']);
        assert_eq!(encoded.value, expected);
        assert_eq!(encoded.key, hash.as_slice());
        assert_eq!(encoded.frame, "{}");
    }

    #[test]
    fn a_record_of_any_length_is_whole() {
        for len in [1, 500, 1022 - 64 - 2 - 3, 1023, 5000] {
            let url = "u".repeat(len);
            let encoded = encode(&mut Vec::new(), &[b'a'; 64], &url, "", |_| {});
            assert_eq!(encoded.value.iter().filter(|byte| **byte == b'u').count(), len);
        }
    }

    #[test]
    fn an_empty_url_is_left_out() {
        let encoded = encode(&mut Vec::new(), &[b'a'; 64], "", "p", |_| {});
        assert_eq!(&encoded.value[66..], [0x1a, 1, b'p']);
    }
}
