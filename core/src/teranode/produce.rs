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

/// Encodes a record and, behind it, what `frame` writes.
pub fn encode(hash: &[u8; HASH_TEXT], url: &str, peer_id: &str, frame: impl FnOnce(&mut Vec<u8>)) -> Encoded {
    let mut buf = Vec::with_capacity(512 + 2 * url.len());
    field(&mut buf, 1, hash);
    field(&mut buf, 2, url.as_bytes());
    field(&mut buf, 3, peer_id.as_bytes());
    let value_len = buf.len();
    frame(&mut buf);
    let whole = Bytes::from(buf);
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
        let encoded = encode(&hash, &url, "p", |frame| frame.extend_from_slice(b"{}"));
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
    fn an_empty_url_is_left_out() {
        let encoded = encode(&[b'a'; 64], "", "p", |_| {});
        assert_eq!(&encoded.value[66..], [0x1a, 1, b'p']);
    }
}
