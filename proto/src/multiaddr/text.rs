//! The text form of a multiaddr.

use alloc::vec::Vec;
use core::fmt;
use core::str::{FromStr, Split};

use super::protocol::{Length, OTHERS, is_name};
use super::{MULTIADDR_BYTES_MAX, Multiaddr, MultiaddrError, MultiaddrErrorKind, Protocol};
use crate::hex;
use crate::peer_id::PeerId;
use crate::varint;

impl FromStr for Multiaddr {
    type Err = MultiaddrError;

    fn from_str(text: &str) -> Result<Self, MultiaddrError> {
        if text.len() > MULTIADDR_BYTES_MAX {
            return Err(MultiaddrError { kind: MultiaddrErrorKind::Size, at: 0 });
        }
        let start = MultiaddrError { kind: MultiaddrErrorKind::Start, at: 0 };
        let rest = text.strip_prefix('/').ok_or(start)?;
        let mut bytes = Vec::new();
        let mut at = 0;
        let mut parts = rest.split('/');
        while let Some(name) = parts.next() {
            let before = remaining(&parts);
            // One slash may end the text.
            if name.is_empty() && before == 0 && at > 0 {
                break;
            }
            read_part(name, &mut parts, &mut bytes).map_err(|kind| MultiaddrError { kind, at })?;
            at = text.len().saturating_sub(remaining(&parts));
        }
        Self::from_bytes(&bytes).map_err(|error| MultiaddrError { kind: error.kind, at })
    }
}

fn remaining(parts: &Split<'_, char>) -> usize {
    parts.clone().map(|part| part.len() + 1).sum()
}

fn read_part(name: &str, parts: &mut Split<'_, char>, bytes: &mut Vec<u8>) -> Result<(), MultiaddrErrorKind> {
    let mut value = || parts.next().ok_or(MultiaddrErrorKind::Value);
    let bad = MultiaddrErrorKind::Value;
    let host = |host: &'_ str| if is_name(host) { Ok(()) } else { Err(MultiaddrErrorKind::Value) };
    let protocol = match name {
        "ip4" => Protocol::Ip4(value()?.parse().map_err(|_| bad)?),
        "ip6" => Protocol::Ip6(value()?.parse().map_err(|_| bad)?),
        "dns" | "dns4" | "dns6" | "dnsaddr" => {
            let text = value()?;
            host(text)?;
            match name {
                "dns" => Protocol::Dns(text),
                "dns4" => Protocol::Dns4(text),
                "dns6" => Protocol::Dns6(text),
                _ => Protocol::Dnsaddr(text),
            }
        }
        "tcp" => Protocol::Tcp(port(value()?).ok_or(bad)?),
        "udp" => Protocol::Udp(port(value()?).ok_or(bad)?),
        "quic-v1" => Protocol::QuicV1,
        "ws" => Protocol::Ws,
        "wss" => Protocol::Wss,
        "tls" => Protocol::Tls,
        // `ipfs` is the older name.
        "p2p" | "ipfs" => Protocol::P2p(PeerId::from_base58(value()?).map_err(|_| bad)?),
        "p2p-circuit" => Protocol::P2pCircuit,
        name => return read_other(name, parts, bytes),
    };
    protocol.write(bytes);
    Ok(())
}

fn port(text: &str) -> Option<u16> {
    // `u16::from_str` takes a plus sign.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn read_other(
    name: &str,
    parts: &mut Split<'_, char>,
    bytes: &mut Vec<u8>,
) -> Result<(), MultiaddrErrorKind> {
    let (code, _, length) =
        OTHERS.iter().find(|(_, other, _)| *other == name).ok_or(MultiaddrErrorKind::Protocol)?;
    varint::write(u64::from(*code), bytes);
    if *length == Length::Fixed(0) {
        return Ok(());
    }
    let value = parts.next().and_then(|text| text.strip_prefix("0x")).and_then(hex::decode);
    let value = value.ok_or(MultiaddrErrorKind::Value)?;
    match *length {
        Length::Fixed(length) if length != value.len() => return Err(MultiaddrErrorKind::Value),
        Length::Fixed(_) => {}
        Length::Prefixed => varint::write(value.len() as u64, bytes),
    }
    bytes.extend_from_slice(&value);
    Ok(())
}

impl fmt::Display for Multiaddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|protocol| write!(f, "{protocol}"))
    }
}

impl fmt::Debug for Multiaddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Multiaddr({self})")
    }
}

/// With a slash before it. Values of protocols that are not spoken are written as hexadecimal after `0x`, which is read
/// back here but not elsewhere.
impl fmt::Display for Protocol<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip4(ip) => write!(f, "/ip4/{ip}"),
            Self::Ip6(ip) => write!(f, "/ip6/{ip}"),
            Self::Dns(name) => write!(f, "/dns/{name}"),
            Self::Dns4(name) => write!(f, "/dns4/{name}"),
            Self::Dns6(name) => write!(f, "/dns6/{name}"),
            Self::Dnsaddr(name) => write!(f, "/dnsaddr/{name}"),
            Self::Tcp(port) => write!(f, "/tcp/{port}"),
            Self::Udp(port) => write!(f, "/udp/{port}"),
            Self::QuicV1 => f.write_str("/quic-v1"),
            Self::Ws => f.write_str("/ws"),
            Self::Wss => f.write_str("/wss"),
            Self::Tls => f.write_str("/tls"),
            Self::P2p(id) => write!(f, "/p2p/{id}"),
            Self::P2pCircuit => f.write_str("/p2p-circuit"),
            Self::Other { code, data } => {
                let name =
                    OTHERS.iter().find(|(other, ..)| other == code).map_or("unknown", |(_, name, _)| name);
                write!(f, "/{name}")?;
                let valueless =
                    OTHERS.iter().any(|(other, _, length)| other == code && *length == Length::Fixed(0));
                if valueless { Ok(()) } else { write!(f, "/0x{}", hex::encode(data)) }
            }
        }
    }
}
