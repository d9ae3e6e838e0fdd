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
