//! [`Protocol`]: one part of a multiaddr, and its binary form.

use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};

use super::MultiaddrErrorKind;
use crate::peer_id::PeerId;
use crate::varint;

/// One part of a multiaddr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol<'a> {
    /// An IPv4 address.
    Ip4(Ipv4Addr),
    /// An IPv6 address.
    Ip6(Ipv6Addr),
    /// A host name, of whichever IP version.
    Dns(&'a str),
    /// A host name to be resolved to IPv4.
    Dns4(&'a str),
    /// A host name to be resolved to IPv6.
    Dns6(&'a str),
    /// A name whose TXT records hold multiaddrs.
    Dnsaddr(&'a str),
    /// A TCP port.
    Tcp(u16),
    /// A UDP port.
    Udp(u16),
    /// QUIC version 1.
    QuicV1,
    /// WebSocket.
    Ws,
    /// WebSocket over TLS.
    Wss,
    /// TLS.
    Tls,
    /// The peer that is reached.
    P2p(PeerId),
    /// Onwards through the relay named before.
    P2pCircuit,
    /// A protocol that Peerage does not speak.
    Other {
        /// Its code in the table of multicodecs.
        code: u32,
        /// Its value, without a length.
        data: &'a [u8],
    },
}

pub(super) mod code {
    pub(in crate::multiaddr) const IP4: u32 = 0x04;
    pub(in crate::multiaddr) const TCP: u32 = 0x06;
    pub(in crate::multiaddr) const IP6: u32 = 0x29;
    pub(in crate::multiaddr) const DNS: u32 = 0x35;
    pub(in crate::multiaddr) const DNS4: u32 = 0x36;
    pub(in crate::multiaddr) const DNS6: u32 = 0x37;
    pub(in crate::multiaddr) const DNSADDR: u32 = 0x38;
    pub(in crate::multiaddr) const UDP: u32 = 0x0111;
    pub(in crate::multiaddr) const P2P_CIRCUIT: u32 = 0x0122;
    pub(in crate::multiaddr) const P2P: u32 = 0x01a5;
    pub(in crate::multiaddr) const TLS: u32 = 0x01c0;
    pub(in crate::multiaddr) const QUIC_V1: u32 = 0x01cd;
    pub(in crate::multiaddr) const WS: u32 = 0x01dd;
    pub(in crate::multiaddr) const WSS: u32 = 0x01de;
}

/// How long the value of a protocol is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// This many bytes.
    Fixed(usize),
    /// As many as a varint before it says.
    Prefixed,
}

/// Protocols that are carried but not spoken: code, name, length of the value.
pub(super) const OTHERS: [(u32, &str, Length); 19] = [
    (0x21, "dccp", Length::Fixed(2)),
    (0x2a, "ip6zone", Length::Prefixed),
    (0x2b, "ipcidr", Length::Fixed(1)),
    (0x84, "sctp", Length::Fixed(2)),
    (0x0118, "webrtc-direct", Length::Fixed(0)),
    (0x0119, "webrtc", Length::Fixed(0)),
    (0x012d, "udt", Length::Fixed(0)),
    (0x012e, "utp", Length::Fixed(0)),
    (0x0190, "unix", Length::Prefixed),
    (0x01bb, "https", Length::Fixed(0)),
    (0x01bc, "onion", Length::Fixed(12)),
    (0x01bd, "onion3", Length::Fixed(37)),
    (0x01c1, "sni", Length::Prefixed),
    (0x01c6, "noise", Length::Fixed(0)),
    (0x01cc, "quic", Length::Fixed(0)),
    (0x01d1, "webtransport", Length::Fixed(0)),
    (0x01d2, "certhash", Length::Prefixed),
    (0x01e0, "http", Length::Fixed(0)),
    (0x0309, "memory", Length::Fixed(8)),
];

fn length(code: u32) -> Option<Length> {
    Some(match code {
        code::IP4 => Length::Fixed(4),
        code::IP6 => Length::Fixed(16),
        code::TCP | code::UDP => Length::Fixed(2),
        code::DNS | code::DNS4 | code::DNS6 | code::DNSADDR | code::P2P => Length::Prefixed,
        code::P2P_CIRCUIT | code::TLS | code::QUIC_V1 | code::WS | code::WSS => Length::Fixed(0),
        _ => OTHERS.iter().find(|(other, ..)| *other == code)?.2,
    })
}

/// Whether `name` can stand in a text form: not empty, printable, without a slash.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 255 && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/')
}

impl<'a> Protocol<'a> {
    /// Reads one protocol and returns what follows it.
    pub(super) fn read(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), MultiaddrErrorKind> {
        let (code, rest) = varint::read_shortest(bytes).ok_or(MultiaddrErrorKind::Protocol)?;
        let code = u32::try_from(code).map_err(|_| MultiaddrErrorKind::Protocol)?;
        let (length, rest) = match length(code).ok_or(MultiaddrErrorKind::Protocol)? {
            Length::Fixed(length) => (length, rest),
            Length::Prefixed => {
                let (length, rest) = varint::read_shortest(rest).ok_or(MultiaddrErrorKind::Value)?;
                (usize::try_from(length).map_err(|_| MultiaddrErrorKind::Value)?, rest)
            }
        };
        let (data, rest) = rest.split_at_checked(length).ok_or(MultiaddrErrorKind::Value)?;
        let protocol = Self::from_parts(code, data).ok_or(MultiaddrErrorKind::Value)?;
        Ok((protocol, rest))
    }

    fn from_parts(code: u32, data: &'a [u8]) -> Option<Self> {
        let name = || core::str::from_utf8(data).ok().filter(|name| is_name(name));
        let port = || data.try_into().ok().map(u16::from_be_bytes);
        Some(match code {
            code::IP4 => Self::Ip4(<[u8; 4]>::try_from(data).ok()?.into()),
            code::IP6 => Self::Ip6(<[u8; 16]>::try_from(data).ok()?.into()),
            code::DNS => Self::Dns(name()?),
            code::DNS4 => Self::Dns4(name()?),
            code::DNS6 => Self::Dns6(name()?),
            code::DNSADDR => Self::Dnsaddr(name()?),
            code::TCP => Self::Tcp(port()?),
            code::UDP => Self::Udp(port()?),
            code::QUIC_V1 => Self::QuicV1,
            code::WS => Self::Ws,
            code::WSS => Self::Wss,
            code::TLS => Self::Tls,
            code::P2P => Self::P2p(PeerId::from_bytes(data).ok()?),
            code::P2P_CIRCUIT => Self::P2pCircuit,
            code => Self::Other { code, data },
        })
    }

    /// Appends the binary form.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        varint::write(u64::from(self.code()), out);
        let mut prefixed = |data: &[u8]| {
            varint::write(data.len() as u64, out);
            out.extend_from_slice(data);
        };
        match self {
            Self::Ip4(ip) => out.extend_from_slice(&ip.octets()),
            Self::Ip6(ip) => out.extend_from_slice(&ip.octets()),
            Self::Dns(name) | Self::Dns4(name) | Self::Dns6(name) | Self::Dnsaddr(name) => {
                prefixed(name.as_bytes())
            }
            Self::Tcp(port) | Self::Udp(port) => out.extend_from_slice(&port.to_be_bytes()),
            Self::P2p(id) => prefixed(id.as_bytes()),
            Self::QuicV1 | Self::Ws | Self::Wss | Self::Tls | Self::P2pCircuit => {}
            Self::Other { code, data } => match length(*code) {
                Some(Length::Prefixed) => prefixed(data),
                Some(Length::Fixed(_)) | None => out.extend_from_slice(data),
            },
        }
    }

    /// The protocol's code in the table of multicodecs.
    #[must_use]
    pub const fn code(&self) -> u32 {
        match self {
            Self::Ip4(_) => code::IP4,
            Self::Ip6(_) => code::IP6,
            Self::Dns(_) => code::DNS,
            Self::Dns4(_) => code::DNS4,
            Self::Dns6(_) => code::DNS6,
            Self::Dnsaddr(_) => code::DNSADDR,
            Self::Tcp(_) => code::TCP,
            Self::Udp(_) => code::UDP,
            Self::QuicV1 => code::QUIC_V1,
            Self::Ws => code::WS,
            Self::Wss => code::WSS,
            Self::Tls => code::TLS,
            Self::P2p(_) => code::P2P,
            Self::P2pCircuit => code::P2P_CIRCUIT,
            Self::Other { code, .. } => *code,
        }
    }
}
