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

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    fn addresses(texts: &[&str]) -> Vec<Multiaddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn answer<'a>(from: impl IntoIterator<Item = &'a Multiaddr>) -> Vec<u8> {
        let mut out = Vec::new();
        encode_answer(from, &mut out);
        out
    }

    #[test]
    fn a_request_is_the_bare_text_of_the_id() {
        let id = PeerId::from_ed25519(&[7; 32]);
        let mut out = Vec::new();
        encode_request(&id, &mut out);
        assert_eq!(out, id.to_string().as_bytes());
        assert_eq!(decode_request(&out), Ok(id));
        for bad in [&b""[..], b"garbage", b"\xff", &[b'1'; 257]] {
            assert!(decode_request(bad).is_err());
        }
    }

    #[test]
    fn an_answer_leaves_out_relays_and_the_peer_at_the_end() {
        let id = PeerId::from_ed25519(&[7; 32]);
        let relayed = format!("/ip4/1.2.3.4/tcp/1/p2p/{id}/p2p-circuit");
        let with_id = format!("/dns4/a.example/tcp/2/p2p/{id}");
        let out = answer(&addresses(&["/ip4/1.2.3.4/tcp/1", &relayed, &with_id]));
        assert_eq!(core::str::from_utf8(&out), Ok(r#"["/ip4/1.2.3.4/tcp/1","/dns4/a.example/tcp/2"]"#));
        assert_eq!(decode_answer(&out), Ok(addresses(&["/ip4/1.2.3.4/tcp/1", "/dns4/a.example/tcp/2"])));
        assert_eq!(answer([]), b"[]");
        assert_eq!(answer(&addresses(&[&relayed])), b"[]");
    }

    #[test]
    fn answers_are_read_tolerantly_but_not_beyond_their_length() {
        let kept = addresses(&["/ip4/1.2.3.4/tcp/1"]);
        assert_eq!(decode_answer(br#" ["x","/ip4/1.2.3.4/tcp/1","/ip4/9",""] "#), Ok(kept));
        assert_eq!(decode_answer(b"[]"), Ok(vec![]));
        assert_eq!(decode_answer(b"null"), Ok(vec![]));
        for bad in [&b""[..], b"{}", b"[1]", b"[\"a\"", b"[] []"] {
            assert!(decode_answer(bad).is_err());
        }
        let long = [b"[", &vec![b' '; 4096][..], b"]"].concat();
        assert_eq!(decode_answer(&long).unwrap_err().kind, JsonErrorKind::Size);
    }

    proptest! {
        #[test]
        fn answers_fit_and_their_addresses_come_back(hosts in proptest::collection::vec("[a-z]{1,200}", 0..40)) {
            let all: Vec<Multiaddr> = hosts.iter().map(|host| format!("/dns4/{host}/tcp/1").parse().unwrap()).collect();
            let out = answer(&all);
            prop_assert!(out.len() <= ANSWER_BYTES_MAX);
            let found = decode_answer(&out).unwrap();
            prop_assert_eq!(&found[..], &all[..found.len()]);
            prop_assert!(found.len() == all.len() || out.len() > ANSWER_BYTES_MAX - 220);
        }

        #[test]
        fn reading_never_panics(data in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = decode_request(&data);
            let _ = decode_answer(&data);
        }
    }
}
