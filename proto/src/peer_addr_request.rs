//! The stream on which a node asks its neighbours for the addresses of a peer (spec 2.5): the request is the base58 peer
//! id, the answer a JSON array of multiaddrs; the ends of the streams part them.

use alloc::vec::Vec;

use crate::json::{JsonError, JsonErrorKind, Parser, write_text};
use crate::multiaddr::Multiaddr;
use crate::peer_id::{PeerId, PeerIdError};

/// Name of the protocol.
pub const PROTOCOL: &str = "/p2p-msg-bus/peer-addr-request/1.0.0";
/// Longest request in bytes.
pub const REQUEST_BYTES_MAX: usize = 256;
/// Longest answer in bytes.
pub const ANSWER_BYTES_MAX: usize = 4096;

/// Appends the request for the addresses of `peer`.
pub fn encode_request(peer: &PeerId, out: &mut Vec<u8>) {
    out.extend_from_slice(peer.to_base58().as_bytes());
}

/// Reads a request. One that cannot be read is closed without an answer.
///
/// # Errors
/// When `data` is not the base58 text of a peer id, or too long.
pub fn decode_request(data: &[u8]) -> Result<PeerId, PeerIdError> {
    let text = core::str::from_utf8(data).map_err(|_| PeerIdError::Base58)?;
    if data.len() > REQUEST_BYTES_MAX {
        return Err(PeerIdError::Base58);
    }
    PeerId::from_base58(text)
}

/// Appends the answer: the addresses without those through relays and without `/p2p` at the end, as many of them as fit
/// into [`ANSWER_BYTES_MAX`].
pub fn encode_answer<'a>(addresses: impl IntoIterator<Item = &'a Multiaddr>, out: &mut Vec<u8>) {
    let start = out.len();
    out.push(b'[');
    for address in addresses {
        if address.is_relayed() {
            continue;
        }
        let before = out.len();
        if before > start + 1 {
            out.push(b',');
        }
        write_text(&alloc::format!("{}", address.without_p2p()), out);
        if out.len() - start >= ANSWER_BYTES_MAX {
            out.truncate(before);
            break;
        }
    }
    out.push(b']');
}

/// Reads an answer. Addresses that are not understood and those through relays are left out.
///
/// # Errors
/// When `data` is too long or no JSON array of texts.
pub fn decode_answer(data: &[u8]) -> Result<Vec<Multiaddr>, JsonError> {
    if data.len() > ANSWER_BYTES_MAX {
        return Err(JsonError { kind: JsonErrorKind::Size, at: ANSWER_BYTES_MAX });
    }
    let mut addresses = Vec::new();
    let mut parser = Parser::new(data)?;
    if !parser.null()? {
        parser.array(|parser| {
            let text = parser.text()?;
            addresses.extend(text.parse::<Multiaddr>().ok().filter(|address| !address.is_relayed()));
            Ok(())
        })?;
    }
    parser.end()?;
    Ok(addresses)
}
