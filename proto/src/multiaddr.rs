//! [`Multiaddr`]: a network address with the protocols to speak there.

mod protocol;
mod text;

#[cfg(test)]
mod tests;

pub use protocol::Protocol;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use crate::peer_id::PeerId;

/// Longest address that is read, in bytes: of the binary form and of the text.
pub const MULTIADDR_BYTES_MAX: usize = 1024;

/// A multiaddr in its binary form, shared: cloning copies a pointer. Ordered as its bytes are.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Multiaddr {
    bytes: Arc<[u8]>,
}

/// Why something is no multiaddr that is understood here, and at which byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MultiaddrError {
    /// What was wrong.
    pub kind: MultiaddrErrorKind,
    /// Offset in bytes of the protocol that is wrong.
    pub at: usize,
}

/// What was wrong with a multiaddr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MultiaddrErrorKind {
    /// It is empty, or its text does not begin with a slash.
    Start,
    /// It is longer than [`MULTIADDR_BYTES_MAX`].
    Size,
    /// The protocol is not known.
    Protocol,
    /// The protocol's value is missing, cut short or malformed.
    Value,
}

impl fmt::Display for MultiaddrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            MultiaddrErrorKind::Start => "multiaddr does not begin with a slash",
            MultiaddrErrorKind::Size => "multiaddr is too long",
            MultiaddrErrorKind::Protocol => "multiaddr has an unknown protocol",
            MultiaddrErrorKind::Value => "multiaddr has a protocol without a fitting value",
        };
        write!(f, "{what} at byte {}", self.at)
    }
}

impl core::error::Error for MultiaddrError {}

impl Multiaddr {
    /// Reads the binary form.
    ///
    /// # Errors
    /// When `bytes` are empty, too long, or hold an unknown protocol or a malformed value.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MultiaddrError> {
        if bytes.is_empty() {
            return Err(MultiaddrError { kind: MultiaddrErrorKind::Start, at: 0 });
        }
        if bytes.len() > MULTIADDR_BYTES_MAX {
            return Err(MultiaddrError { kind: MultiaddrErrorKind::Size, at: 0 });
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let at = bytes.len() - rest.len();
            let (_, after) = Protocol::read(rest).map_err(|kind| MultiaddrError { kind, at })?;
            rest = after;
        }
        Ok(Self { bytes: bytes.into() })
    }

    /// The binary form.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The protocols in order.
    pub fn iter(&self) -> Protocols<'_> {
        Protocols { rest: &self.bytes }
    }

    /// An address of these protocols. Values that cannot be read back (a name with a slash, an address too long) give
    /// an error.
    ///
    /// # Errors
    /// As [`Self::from_bytes`].
    pub fn from_protocols<'a>(
        protocols: impl IntoIterator<Item = Protocol<'a>>,
    ) -> Result<Self, MultiaddrError> {
        let mut bytes = Vec::new();
        for protocol in protocols {
            protocol.write(&mut bytes);
        }
        Self::from_bytes(&bytes)
    }

    /// The IP address that the multiaddr begins with, if it does.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self.iter().next() {
            Some(Protocol::Ip4(ip)) => Some(IpAddr::V4(ip)),
            Some(Protocol::Ip6(ip)) => Some(IpAddr::V6(ip)),
            Some(_) | None => None,
        }
    }

    /// The first TCP port.
    #[must_use]
    pub fn tcp_port(&self) -> Option<u16> {
        self.iter().find_map(|protocol| if let Protocol::Tcp(port) = protocol { Some(port) } else { None })
    }

    /// The peer that the address leads to: its last `/p2p`.
    #[must_use]
    pub fn peer_id(&self) -> Option<PeerId> {
        self.iter()
            .filter_map(|protocol| if let Protocol::P2p(id) = protocol { Some(id) } else { None })
            .last()
    }

    /// The address without a `/p2p` at its end. One that is nothing but `/p2p/…` stays as it is.
    #[must_use]
    pub fn without_p2p(&self) -> Self {
        let mut protocols = self.iter();
        let mut end = 0;
        while let Some(protocol) = protocols.next() {
            let last = protocols.rest.is_empty();
            if last && end > 0 && matches!(protocol, Protocol::P2p(_)) {
                return Self { bytes: self.bytes[..end].into() };
            }
            end = self.bytes.len() - protocols.rest.len();
        }
        self.clone()
    }

    /// The address with `/p2p/id` at its end, in place of another one there. May exceed [`MULTIADDR_BYTES_MAX`] by the
    /// length of that part.
    #[must_use]
    pub fn with_p2p(&self, id: PeerId) -> Self {
        let base = self.without_p2p();
        let mut bytes = if matches!(base.iter().next(), Some(Protocol::P2p(_))) && base.iter().count() == 1 {
            Vec::new()
        } else {
            base.bytes.to_vec()
        };
        Protocol::P2p(id).write(&mut bytes);
        Self { bytes: bytes.into() }
    }

    /// Whether the way leads through a relay: the address has a `/p2p-circuit`.
    #[must_use]
    pub fn is_relayed(&self) -> bool {
        self.iter().any(|protocol| protocol == Protocol::P2pCircuit)
    }
}

/// The protocols of a [`Multiaddr`] in order.
#[derive(Clone, Debug)]
pub struct Protocols<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Protocols<'a> {
    type Item = Protocol<'a>;

    fn next(&mut self) -> Option<Protocol<'a>> {
        let (protocol, rest) = Protocol::read(self.rest).ok()?;
        self.rest = rest;
        Some(protocol)
    }
}

impl<'a> IntoIterator for &'a Multiaddr {
    type Item = Protocol<'a>;
    type IntoIter = Protocols<'a>;

    fn into_iter(self) -> Protocols<'a> {
        self.iter()
    }
}
