//! [`Message`]: what one author published.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::wire::{Fields, write_bytes};
use super::{MESSAGE_ID_BYTES_MAX, PubsubError, PubsubErrorKind, SIGNING_PREFIX};
use crate::peer_id::PeerId;
use crate::varint;

/// A published message. A field is `None` when it is not there, which is something else than empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message<'a> {
    /// Field 1: the author's binary peer id.
    pub from: Option<&'a [u8]>,
    /// Field 2: the payload.
    pub data: Option<&'a [u8]>,
    /// Field 3: the author's sequence number, 8 bytes big-endian.
    pub seqno: Option<&'a [u8]>,
    /// Field 4: the topic's name; nothing vouches for its being UTF-8.
    pub topic: Option<&'a [u8]>,
    /// Field 5: the author's signature over [`Self::signing_bytes`].
    pub signature: Option<&'a [u8]>,
    /// Field 6: the author's public key, where the id does not hold it.
    pub key: Option<&'a [u8]>,
    /// All other fields, as they came. Borrowed as long as they stand together.
    pub unknown: Cow<'a, [u8]>,
}

/// Number of an RPC's field for messages.
const PUBLISH_FIELD: u32 = 2;

/// Bytes of a field with a value of `length` bytes, whose number is below 16.
const fn field_len(length: usize) -> usize {
    1 + varint::length(length as u64) + length
}

impl<'a> Message<'a> {
    /// Reads a message. Of a field that comes twice the last one counts.
    ///
    /// # Errors
    /// When `bytes` are no protobuf, or a known field has another wire type than bytes.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, PubsubError> {
        let mut message = Self::default();
        for field in Fields::of(bytes) {
            let field = field?;
            let known = match field.number {
                1 => &mut message.from,
                2 => &mut message.data,
                3 => &mut message.seqno,
                4 => &mut message.topic,
                5 => &mut message.signature,
                6 => &mut message.key,
                _ => {
                    message.push_unknown(bytes, field.at, field.raw);
                    continue;
                }
            };
            *known = Some(field.bytes()?);
        }
        Ok(message)
    }

    fn push_unknown(&mut self, bytes: &'a [u8], at: usize, raw: &'a [u8]) {
        // The default of `Cow` is an owned value.
        if self.unknown.is_empty() {
            self.unknown = Cow::Borrowed(raw);
            return;
        }
        // A run of unknown fields that ends where this one begins is borrowed as one.
        let joined = at.checked_sub(self.unknown.len()).and_then(|start| bytes.get(start..at + raw.len()));
        self.unknown = match (&mut self.unknown, joined) {
            (Cow::Borrowed(run), Some(joined)) if run.as_ptr() == joined.as_ptr() => Cow::Borrowed(joined),
            (Cow::Borrowed(run), _) => Cow::Owned([run, raw].concat()),
            (Cow::Owned(run), _) => {
                run.extend_from_slice(raw);
                return;
            }
        };
    }

    /// Appends the message in its canonical form: known fields in the order of their numbers, each once and with lengths as
    /// short as can be, then the unknown ones as they came. Copies are told apart by it, and it is what is forwarded: bytes
    /// of another order would give one message many names.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.write(true, out);
    }

    /// Appends a frame that holds this message alone, in its canonical form: the RPC after its length as a varint, as streams
    /// carry it. Returns where in `out` the message begins; it reaches to the end.
    pub fn encode_frame(&self, out: &mut Vec<u8>) -> usize {
        let length = self.encoded_len();
        let rpc = 1 + varint::length(length as u64) + length;
        out.reserve_exact(varint::length(rpc as u64) + rpc);
        varint::write(rpc as u64, out);
        varint::write(u64::from(PUBLISH_FIELD << 3 | 2), out);
        varint::write(length as u64, out);
        let at = out.len();
        self.encode(out);
        at
    }

    /// Where the payload stands in the canonical form, and its length.
    #[must_use]
    pub fn data_at(&self) -> (usize, usize) {
        let length = self.data.map_or(0, <[u8]>::len);
        let from = self.from.map_or(0, |from| field_len(from.len()));
        (from + field_len(length) - length, length)
    }

    fn encoded_len(&self) -> usize {
        let fields = [self.from, self.data, self.seqno, self.topic, self.signature, self.key];
        let known: usize = fields.iter().flatten().map(|bytes| field_len(bytes.len())).sum();
        known + self.unknown.len()
    }

    /// Appends the bytes that the signature covers: [`SIGNING_PREFIX`], then the message without fields 5 and 6.
    pub fn signing_bytes(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(SIGNING_PREFIX);
        self.write(false, out);
    }

    fn write(&self, signed: bool, out: &mut Vec<u8>) {
        for (number, field) in [(1, self.from), (2, self.data), (3, self.seqno), (4, self.topic)] {
            if let Some(bytes) = field {
                write_bytes(number, bytes, out);
            }
        }
        for (number, field) in [(5, self.signature), (6, self.key)] {
            if let Some(bytes) = field.filter(|_| signed) {
                write_bytes(number, bytes, out);
            }
        }
        out.extend_from_slice(&self.unknown);
    }

    /// The message id: `from` and then `seqno`, 46 bytes of an Ed25519 author.
    #[must_use]
    pub fn message_id(&self) -> Vec<u8> {
        let mut id = Vec::with_capacity(self.from.map_or(0, <[u8]>::len) + self.seqno.map_or(0, <[u8]>::len));
        self.write_message_id(&mut id);
        id
    }

    /// Proves that the message id is not longer than [`MESSAGE_ID_BYTES_MAX`].
    ///
    /// # Errors
    /// [`PubsubErrorKind::Incompatible`] when it is. It says nothing about a place: the length is that of two fields.
    pub fn check_id(&self) -> Result<(), PubsubError> {
        let length = self.from.map_or(0, <[u8]>::len).saturating_add(self.seqno.map_or(0, <[u8]>::len));
        if length > MESSAGE_ID_BYTES_MAX {
            return Err(PubsubError { kind: PubsubErrorKind::Incompatible, at: 0 });
        }
        Ok(())
    }

    /// Appends the message id.
    pub fn write_message_id(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.from.unwrap_or_default());
        out.extend_from_slice(self.seqno.unwrap_or_default());
    }

    /// The author, if `from` is a peer id.
    #[must_use]
    pub fn author(&self) -> Option<PeerId> {
        PeerId::from_bytes(self.from?).ok()
    }

    /// The topic's name, if it is UTF-8.
    #[must_use]
    pub fn topic_str(&self) -> Option<&'a str> {
        core::str::from_utf8(self.topic?).ok()
    }
}
