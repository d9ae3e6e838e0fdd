//! [`BestBlockMessage`]: the two forms of the topic `bestblock` of older nodes (spec 3.6).

use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::messages::read_field;
use super::{JsonError, decode_document, write_text, write_u64};

/// Best blocks, asked for and told (topic `bestblock`, spec 3.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BestBlockMessage<'a> {
    /// "Tell me your best block."
    Request {
        /// Peer id of the asker, base58.
        peer_id: Cow<'a, str>,
    },
    /// "This is my best block."
    Announce {
        /// Its height.
        height: u32,
        /// Its hash in display order.
        hash: Cow<'a, str>,
    },
}

impl Default for BestBlockMessage<'_> {
    fn default() -> Self {
        Self::Request { peer_id: Cow::Borrowed("") }
    }
}

impl<'a> BestBlockMessage<'a> {
    /// Reads either form: one with a `Hash` announces, any other asks.
    ///
    /// # Errors
    /// When `data` is no JSON object and not `null`, or a known member is not of its type.
    pub fn decode(data: &'a [u8]) -> Result<Self, JsonError> {
        let (mut peer_id, mut hash, mut height) = (Cow::Borrowed(""), Cow::Borrowed(""), 0u32);
        decode_document(data, |parser, key| {
            if key.eq_ignore_ascii_case("PeerID") {
                read_field(&mut peer_id, parser)
            } else if key.eq_ignore_ascii_case("Hash") {
                read_field(&mut hash, parser)
            } else if key.eq_ignore_ascii_case("Height") {
                read_field(&mut height, parser)
            } else {
                parser.skip_value()
            }
        })?;
        Ok(if hash.is_empty() { Self::Request { peer_id } } else { Self::Announce { height, hash } })
    }

    /// Appends the message to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Request { peer_id } => {
                out.extend_from_slice(b"{\"PeerID\":");
                write_text(peer_id, out);
            }
            Self::Announce { height, hash } => {
                out.extend_from_slice(b"{\"Height\":");
                write_u64(u64::from(*height), out);
                out.extend_from_slice(b",\"Hash\":");
                write_text(hash, out);
            }
        }
        out.push(b'}');
    }
}
