//! [`PeerRecord`]: the addresses that a peer signed, in libp2p's envelope, as a PRUNE carries them.

use alloc::vec::Vec;

use super::PubsubError;
use super::wire::Fields;
use crate::multiaddr::Multiaddr;
use crate::peer_id::PeerId;
use crate::varint;

/// What the signature is bound to (libp2p RFC 0003).
const DOMAIN: &[u8] = b"libp2p-peer-record";
/// Multicodec of a peer record.
const PAYLOAD_TYPE: &[u8] = &[0x03, 0x01];

/// A signed record. Whether the signature holds is for a verifier to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerRecord<'a> {
    /// Whose addresses these are: the id of the key that signed.
    pub peer: PeerId,
    /// The key, in libp2p's protobuf.
    pub key: &'a [u8],
    /// Where the peer listens; addresses of kinds that are not known here are left out.
    pub addrs: Vec<Multiaddr>,
    /// The signature over [`Self::signing_bytes`].
    pub signature: &'a [u8],
    payload: &'a [u8],
}

impl<'a> PeerRecord<'a> {
    /// Reads an envelope with a record of at most `addrs_max` addresses; more are left out.
    ///
    /// # Errors
    /// When it is broken.
    pub fn decode(envelope: &'a [u8], addrs_max: usize) -> Result<Option<Self>, PubsubError> {
        let (mut key, mut kind, mut payload, mut signature) = (None, None, None, None);
        for field in Fields::of(envelope) {
            let field = field?;
            match field.number {
                1 => key = Some(field.bytes()?),
                2 => kind = Some(field.bytes()?),
                3 => payload = Some(field.bytes()?),
                5 => signature = Some(field.bytes()?),
                _ => {}
            }
        }
        let (Some(key), Some(PAYLOAD_TYPE), Some(payload), Some(signature)) = (key, kind, payload, signature)
        else {
            return Ok(None);
        };
        let (mut peer, mut addrs) = (None, Vec::new());
        for field in Fields::of(payload) {
            let field = field?;
            match field.number {
                1 => peer = PeerId::from_bytes(field.bytes()?).ok(),
                3 if addrs.len() < addrs_max => addrs.extend(address(field.bytes()?)?),
                _ => {}
            }
        }
        // Who signs is who is spoken of.
        let peer = peer.filter(|peer| peer.is_of_key(key));
        Ok(peer.map(|peer| Self { peer, key, addrs, signature, payload }))
    }

    /// What the signature covers.
    #[must_use]
    pub fn signing_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.payload.len() + 32);
        for part in [DOMAIN, PAYLOAD_TYPE, self.payload] {
            varint::write(part.len() as u64, &mut out);
            out.extend_from_slice(part);
        }
        out
    }
}

fn address(bytes: &[u8]) -> Result<Option<Multiaddr>, PubsubError> {
    let mut found = None;
    for field in Fields::of(bytes) {
        let field = field?;
        if field.number == 1 {
            found = Multiaddr::from_bytes(field.bytes()?).ok();
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    const KEY: [u8; 32] = [7; 32];

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, bytes.len() as u8][..], bytes].concat()
    }

    fn envelope(record_of: &PeerId, kind: &[u8], addrs: &[&str]) -> Vec<u8> {
        let key = &PeerId::from_ed25519(&KEY).as_bytes()[2..].to_vec();
        let mut record = field(1, record_of.as_bytes());
        record.extend([0x10, 5]);
        for addr in addrs {
            let addr: Multiaddr = addr.parse().unwrap();
            record.extend(field(3, &field(1, addr.as_bytes())));
        }
        [field(1, key), field(2, kind), field(3, &record), field(5, &[9; 64])].concat()
    }

    #[test]
    fn a_record_says_whose_addresses_it_holds_and_what_was_signed() {
        let peer = PeerId::from_ed25519(&KEY);
        let wire = envelope(&peer, PAYLOAD_TYPE, &["/ip4/1.2.3.4/tcp/5", "/ip4/1.2.3.4/tcp/6"]);
        let record = PeerRecord::decode(&wire, 8).unwrap().unwrap();
        assert_eq!((record.peer, record.addrs.len(), record.signature), (peer, 2, &[9; 64][..]));
        let signed = record.signing_bytes();
        assert!(signed.starts_with(&[&[18][..], DOMAIN, &[2, 3, 1]].concat()));
        assert_eq!(PeerRecord::decode(&wire, 1).unwrap().unwrap().addrs.len(), 1);
    }

    #[test]
    fn a_record_of_another_than_its_signer_or_of_another_kind_is_none() {
        let other = PeerId::from_ed25519(&[8; 32]);
        let peer = PeerId::from_ed25519(&KEY);
        for wire in [envelope(&other, PAYLOAD_TYPE, &[]), envelope(&peer, &[9], &[]), vec![]] {
            assert_eq!(PeerRecord::decode(&wire, 8), Ok(None));
        }
        assert!(PeerRecord::decode(&[0xff], 8).is_err());
    }
}
