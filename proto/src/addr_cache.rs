//! `teranode_peers.json`: the addresses of the peers of the last run (spec 2.5).

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use crate::json::messages::read_field;
use crate::json::{JsonError, JsonErrorKind, Parser, write_text};
use crate::multiaddr::Multiaddr;
use crate::peer_id::PeerId;
use crate::time::{parse_rfc3339, write_rfc3339};

/// Longest file that is read, in bytes.
pub const FILE_BYTES_MAX: usize = 4 << 20;
/// Most peers that are read from a file.
pub const PEERS_MAX: usize = 10_000;
/// Most addresses that are read of one peer.
pub const ADDRESSES_MAX: usize = 64;

/// A peer of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedPeer {
    /// Who it is.
    pub id: PeerId,
    /// Its client name; `unknown` before its first message; left out of the file when empty.
    pub name: String,
    /// Where it was reached.
    pub addresses: Vec<Multiaddr>,
    /// When it was last connected, in Unix nanoseconds; `None` = never, or not written down.
    pub last_seen_ns: Option<i64>,
}

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddrCache {
    /// The peers in the order of the file.
    pub peers: Vec<CachedPeer>,
    /// Number of peers left out: without a readable id or time, or beyond [`PEERS_MAX`].
    pub skipped: usize,
}

/// Reads the file. A missing or empty list is no error; an unreadable peer or address is left out.
///
/// # Errors
/// When `data` is too long or not a JSON array of objects with members of the right types. A caller starts with an empty
/// cache then: the reference writes the file in place, and half-written ones occur.
pub fn decode(data: &[u8]) -> Result<AddrCache, JsonError> {
    if data.len() > FILE_BYTES_MAX {
        return Err(JsonError { kind: JsonErrorKind::Size, at: FILE_BYTES_MAX });
    }
    let mut cache = AddrCache::default();
    let mut parser = Parser::new(data)?;
    if !parser.null()? {
        parser.array(|parser| {
            match read_peer(parser)? {
                Some(peer) if cache.peers.len() < PEERS_MAX => cache.peers.push(peer),
                Some(_) | None => cache.skipped += 1,
            }
            Ok(())
        })?;
    }
    parser.end()?;
    Ok(cache)
}

const EMPTY: Cow<'static, str> = Cow::Borrowed("");

fn read_peer(parser: &mut Parser<'_>) -> Result<Option<CachedPeer>, JsonError> {
    let (mut id, mut name, mut last_seen) = (EMPTY, EMPTY, EMPTY);
    let mut addresses = Vec::new();
    parser.object(|parser, key| {
        if key.eq_ignore_ascii_case("id") {
            read_field(&mut id, parser)
        } else if key.eq_ignore_ascii_case("name") {
            read_field(&mut name, parser)
        } else if key.eq_ignore_ascii_case("last_seen") {
            read_field(&mut last_seen, parser)
        } else if key.eq_ignore_ascii_case("addrs") {
            addresses.clear();
            if parser.null()? {
                return Ok(());
            }
            parser.array(|parser| {
                let address = parser.text()?.parse::<Multiaddr>();
                if addresses.len() < ADDRESSES_MAX {
                    addresses.extend(address);
                }
                Ok(())
            })
        } else {
            parser.skip_value()
        }
    })?;
    let id = PeerId::from_base58(&id);
    let last_seen_ns = if last_seen.is_empty() { Some(None) } else { parse_rfc3339(&last_seen) };
    Ok(match (id, last_seen_ns) {
        (Ok(id), Some(last_seen_ns)) => {
            Some(CachedPeer { id, name: name.into_owned(), addresses, last_seen_ns })
        }
        _ => None,
    })
}

/// Appends the file: indented by two spaces, without a line break at its end.
pub fn encode<'a>(peers: impl IntoIterator<Item = &'a CachedPeer>, out: &mut Vec<u8>) {
    let start = out.len();
    for peer in peers {
        out.extend_from_slice(if out.len() == start {
            b"[\n  {\n    \"id\": "
        } else {
            b",\n  {\n    \"id\": "
        });
        write_text(&peer.id.to_base58(), out);
        if !peer.name.is_empty() {
            out.extend_from_slice(b",\n    \"name\": ");
            write_text(&peer.name, out);
        }
        out.extend_from_slice(b",\n    \"addrs\": ");
        for (index, address) in peer.addresses.iter().enumerate() {
            out.extend_from_slice(if index == 0 { b"[\n      " } else { b",\n      " });
            write_text(&alloc::format!("{address}"), out);
        }
        out.extend_from_slice(if peer.addresses.is_empty() { b"[]" } else { b"\n    ]" });
        out.extend_from_slice(b",\n    \"last_seen\": \"");
        write_rfc3339(peer.last_seen_ns, out);
        out.extend_from_slice(b"\"\n  }");
    }
    out.extend_from_slice(if out.len() == start { b"[]" } else { b"\n]" });
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(peers: &[CachedPeer]) -> String {
        let mut out = Vec::new();
        encode(peers, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_peer_without_name_addresses_or_time_is_written_as_go_writes_it() {
        let id = PeerId::from_ed25519(&[1; 32]);
        let peer = CachedPeer { id, name: String::new(), addresses: vec![], last_seen_ns: None };
        let expected = format!(
            "[\n  {{\n    \"id\": \"{id}\",\n    \"addrs\": [],\n    \"last_seen\": \"0001-01-01T00:00:00Z\"\n  }}\n]"
        );
        assert_eq!(written(core::slice::from_ref(&peer)), expected);
        assert_eq!(decode(expected.as_bytes()).unwrap().peers, [peer]);
        assert_eq!(written(&[]), "[]");
    }

    #[test]
    fn unreadable_peers_and_addresses_are_left_out() {
        let id = PeerId::from_ed25519(&[1; 32]);
        let file = format!(
            r#"[{{"id":"garbage","addrs":[]}},{{"ID":"{id}","addrs":["x","/tcp/1"],"more":[{{}}]}},{{"id":"{id}","last_seen":"now"}},{{}},
            {{"id":"{id}","name":"n","addrs":null,"last_seen":"2026-11-21T08:05:13+01:00"}}]"#
        );
        let cache = decode(file.as_bytes()).unwrap();
        assert_eq!((cache.peers.len(), cache.skipped), (2, 3));
        assert_eq!(cache.peers[0].addresses, ["/tcp/1".parse().unwrap()]);
        assert_eq!((cache.peers[0].last_seen_ns, &*cache.peers[1].name), (None, "n"));
        assert_eq!(cache.peers[1].last_seen_ns, Some(1_795_244_713_000_000_000));
    }

    #[test]
    fn a_broken_or_endless_file_is_an_error() {
        for bad in ["", "{}", "[", "[{]", "[1]", "[{\"id\":1}]", "[{\"addrs\":{}}]", "[] []", "\u{feff}[]"] {
            assert!(decode(bad.as_bytes()).is_err(), "{bad}");
        }
        assert_eq!(decode(b"null"), Ok(AddrCache::default()));
        assert_eq!(decode(&vec![b' '; FILE_BYTES_MAX + 1]).unwrap_err().kind, JsonErrorKind::Size);
    }

    #[test]
    fn peers_and_addresses_beyond_their_limits_are_left_out() {
        let id = PeerId::from_ed25519(&[1; 32]);
        let entry = format!("{{\"id\":\"{id}\"}}");
        let file = format!("[{}]", vec![&*entry; PEERS_MAX + 2].join(","));
        let cache = decode(file.as_bytes()).unwrap();
        assert_eq!((cache.peers.len(), cache.skipped), (PEERS_MAX, 2));
        let file =
            format!("[{{\"id\":\"{id}\",\"addrs\":[{}]}}]", vec!["\"/ws\""; ADDRESSES_MAX + 1].join(","));
        assert_eq!(decode(file.as_bytes()).unwrap().peers[0].addresses.len(), ADDRESSES_MAX);
    }

    prop_compose! {
        fn any_peer()(key: [u8; 32], name in "\\PC{0,8}", ports in proptest::collection::vec(any::<u16>(), 0..4), seen in proptest::option::of(0..i64::MAX)) -> CachedPeer {
            let addresses = ports.iter().map(|port| format!("/ip4/1.2.3.4/tcp/{port}").parse().unwrap()).collect();
            CachedPeer { id: PeerId::from_ed25519(&key), name, addresses, last_seen_ns: seen }
        }
    }

    proptest! {
        #[test]
        fn peers_come_back(peers in proptest::collection::vec(any_peer(), 0..5)) {
            prop_assert_eq!(decode(written(&peers).as_bytes()), Ok(AddrCache { peers, skipped: 0 }));
        }

        #[test]
        fn reading_never_panics(data in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = decode(&data);
        }
    }
}
