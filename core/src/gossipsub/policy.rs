//! What a topic asks of its messages: whether they are signed, whom they name, and what their id is.

use alloc::vec::Vec;

use bytes::Bytes;
use peerage_proto::peer_id::PeerId;
use peerage_proto::pubsub::Message;

use super::stream::AuthorKey;
use crate::codec::codec_enum;
use crate::state::alter_leaf;

/// How messages of a topic are signed and named.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Policy {
    /// Signed by their author; the id is the author's followed by the sequence number (Teranode; go-libp2p-pubsub's
    /// `StrictSign`).
    #[default]
    Signed,
    /// They name an author and a sequence number and are not signed: what they hold vouches for itself. The id is the
    /// BLAKE2b-256 of the payload (Algorand's transactions).
    Sourced,
    /// They name nobody (go-libp2p-pubsub's `StrictNoSign`). The id is the BLAKE2b-256 of the payload.
    Anonymous,
}

codec_enum!(Policy { 0 => Signed, 1 => Sourced, 2 => Anonymous });
alter_leaf!(Policy => |v| *v = if *v == Self::Signed { Self::Sourced } else { Self::Signed });

/// Why a message breaks its topic's policy. All but [`Breach::IdTooLong`] are its sender's misbehaviour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Breach {
    /// It names no author, or bytes that are no peer id.
    NoAuthor,
    /// It has no signature.
    NoSignature,
    /// Its `key` is empty, is no key, or is not the author's.
    BadKey,
    /// It is signed, or has a key, where nobody signs; or names an author where nobody is named.
    NotAsked,
    /// Its id is longer than any of ours: the author's profile and ours are incompatible.
    IdTooLong,
}

/// What a policy finds in a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Its author, if it names one.
    pub author: Option<PeerId>,
    /// The key that its signature is checked with, if it is signed.
    pub key: Option<AuthorKey>,
}

impl Policy {
    /// Whether `message` keeps to the policy; nothing is said of the signature itself.
    ///
    /// # Errors
    /// The first breach.
    pub fn look(self, message: &Message<'_>) -> Result<Found, Breach> {
        match self {
            Self::Signed => {
                let author = message.author().ok_or(Breach::NoAuthor)?;
                message.check_id().map_err(|_| Breach::IdTooLong)?;
                if message.signature.unwrap_or_default().is_empty() {
                    return Err(Breach::NoSignature);
                }
                let key = author_key(&author, message.key)?;
                Ok(Found { author: Some(author), key: Some(key) })
            }
            Self::Sourced => {
                let author = message.author().ok_or(Breach::NoAuthor)?;
                match message.signature.is_some() || message.key.is_some() {
                    true => Err(Breach::NotAsked),
                    false => Ok(Found { author: Some(author), key: None }),
                }
            }
            Self::Anonymous => {
                let named = [message.from, message.seqno, message.signature, message.key];
                match named.iter().any(Option::is_some) {
                    true => Err(Breach::NotAsked),
                    false => Ok(Found { author: None, key: None }),
                }
            }
        }
    }

    /// The id of `message`, appended to `out`.
    pub fn write_id(self, message: &Message<'_>, out: &mut Vec<u8>) {
        match self {
            Self::Signed => message.write_message_id(out),
            Self::Sourced | Self::Anonymous => {
                out.extend_from_slice(&blake2b_256(message.data.unwrap_or_default()));
            }
        }
    }
}

fn blake2b_256(data: &[u8]) -> [u8; 32] {
    use blake2::Digest as _;
    blake2::Blake2b::<blake2::digest::consts::U32>::digest(data).into()
}

/// The author's key: from the id that holds it, or from `key`, which must then be the one that the id names. A `key` that
/// is there must match in either case; Go refuses an empty one as it refuses a wrong one.
pub(super) fn author_key(author: &PeerId, key: Option<&[u8]>) -> Result<AuthorKey, Breach> {
    if let Some(public) = author.ed25519_public_key() {
        let matches = key.is_none_or(|key| author.as_bytes().get(2..) == Some(key));
        return if matches { Ok(AuthorKey::Ed25519(public)) } else { Err(Breach::BadKey) };
    }
    let key = key.filter(|key| author.is_of_key(key)).ok_or(Breach::BadKey)?;
    Ok(AuthorKey::Other(Bytes::copy_from_slice(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    fn encoded_key() -> Vec<u8> {
        PeerId::from_ed25519(&KEY).as_bytes()[2..].to_vec()
    }

    fn signed<'a>(from: &'a [u8], key: Option<&'a [u8]>) -> Message<'a> {
        Message {
            from: Some(from),
            data: Some(b"d"),
            seqno: Some(&[1; 8]),
            topic: Some(b"t"),
            signature: Some(&[9; 64]),
            key,
            ..Message::default()
        }
    }

    #[test]
    fn t008b_a_signed_message_needs_an_author_a_signature_and_the_right_key_or_none() {
        let author = PeerId::from_ed25519(&KEY);
        let from = author.as_bytes();
        let look = |message: &Message<'_>| Policy::Signed.look(message);
        let found = Found { author: Some(author), key: Some(AuthorKey::Ed25519(KEY)) };
        assert_eq!(look(&signed(from, None)), Ok(found.clone()));
        assert_eq!(look(&signed(from, Some(&encoded_key()))), Ok(found));
        assert_eq!(look(&signed(from, Some(b""))), Err(Breach::BadKey));
        assert_eq!(look(&signed(from, Some(&[8; 36]))), Err(Breach::BadKey));
        assert_eq!(look(&signed(b"x", None)), Err(Breach::NoAuthor));
        assert_eq!(look(&Message { from: None, ..signed(from, None) }), Err(Breach::NoAuthor));
        for signature in [None, Some(&b""[..])] {
            assert_eq!(look(&Message { signature, ..signed(from, None) }), Err(Breach::NoSignature));
        }
        let long = [1; 120];
        assert_eq!(look(&Message { seqno: Some(&long), ..signed(from, None) }), Err(Breach::IdTooLong));
        assert!(look(&Message { seqno: None, ..signed(from, None) }).is_ok(), "as Go");
    }

    #[test]
    fn an_author_whose_id_does_not_hold_the_key_brings_it() {
        use sha2::Digest as _;
        let key = [&[0x08, 0x00, 0x12, 0x05][..], b"rsakey"].concat();
        let id = [&[0x12, 32][..], &sha2::Sha256::digest(&key)].concat();
        let look = |key| Policy::Signed.look(&signed(&id, key)).map(|found| found.key);
        assert_eq!(look(Some(&key)), Ok(Some(AuthorKey::Other(key.clone().into()))));
        assert_eq!(look(None), Err(Breach::BadKey));
        assert_eq!(look(Some(b"another")), Err(Breach::BadKey));
    }

    #[test]
    fn what_is_not_asked_for_is_a_breach() {
        let author = PeerId::from_ed25519(&KEY);
        let from = author.as_bytes();
        let unsigned = Message { signature: None, ..signed(from, None) };
        assert_eq!(Policy::Sourced.look(&unsigned), Ok(Found { author: Some(author), key: None }));
        assert_eq!(Policy::Sourced.look(&signed(from, None)), Err(Breach::NotAsked));
        assert_eq!(Policy::Anonymous.look(&unsigned), Err(Breach::NotAsked));
        let bare = Message { data: Some(b"d"), topic: Some(b"t"), ..Message::default() };
        assert_eq!(Policy::Anonymous.look(&bare), Ok(Found { author: None, key: None }));
        assert_eq!(Policy::Sourced.look(&bare), Err(Breach::NoAuthor));
    }

    #[test]
    fn an_id_is_the_authors_and_its_number_or_the_hash_of_the_payload() {
        let author = PeerId::from_ed25519(&KEY);
        let message = Message { data: Some(b"abc"), ..signed(author.as_bytes(), None) };
        let id = |policy: Policy| {
            let mut id = Vec::new();
            policy.write_id(&message, &mut id);
            id
        };
        assert_eq!(id(Policy::Signed), [author.as_bytes(), &[1; 8]].concat());
        assert_eq!(id(Policy::Sourced), id(Policy::Anonymous));
        // From RFC 7693's algorithm with 32 bytes of output, as b2sum -l 256 gives it.
        let hex: alloc::string::String =
            id(Policy::Sourced).iter().map(|b| alloc::format!("{b:02x}")).collect();
        assert_eq!(hex, "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
    }
}
