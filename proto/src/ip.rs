//! Ranges of IP addresses: the private address gate (spec 2.5) and the subnets that count as one origin.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The IPv4 address inside an IPv4-mapped IPv6 address, else the address itself.
#[must_use]
pub fn unmap(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
    }
}

/// Whether the private address gate refuses `ip`: 10/8, 172.16/12, 192.168/16, 127/8, 169.254/16, 100.64/10, fc00::/7,
/// fe80::/10 and ::1. An IPv4-mapped address is judged as the IPv4 address inside.
#[must_use]
pub fn is_private(ip: IpAddr) -> bool {
    match unmap(ip) {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            matches!((a, b), (10 | 127, _) | (172, 16..=31) | (192, 168) | (169, 254) | (100, 64..=127))
        }
        IpAddr::V6(v6) => {
            let head = v6.segments()[0];
            head & 0xfe00 == 0xfc00 || head & 0xffc0 == 0xfe80 || v6.is_loopback()
        }
    }
}

/// Whether `ip` is 127/8 or ::1, IPv4-mapped forms included.
#[must_use]
pub fn is_loopback(ip: IpAddr) -> bool {
    unmap(ip).is_loopback()
}

/// The subnet that one origin is taken to hold: /24 of IPv4, /48 of IPv6.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subnet {
    /// The first 24 bits of an IPv4 address.
    V4([u8; 3]),
    /// The first 48 bits of an IPv6 address.
    V6([u8; 6]),
}

impl Subnet {
    /// The subnet of `ip`; an IPv4-mapped address belongs to the IPv4 subnet.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        match unmap(ip) {
            IpAddr::V4(v4) => {
                let [a, b, c, _] = v4.octets();
                Self::V4([a, b, c])
            }
            IpAddr::V6(v6) => {
                let [a, b, c, d, e, f, ..] = v6.octets();
                Self::V6([a, b, c, d, e, f])
            }
        }
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::V4([a, b, c]) => write!(f, "{}/24", Ipv4Addr::new(a, b, c, 0)),
            Self::V6(head) => {
                let mut octets = [0; 16];
                octets[..6].copy_from_slice(&head);
                write!(f, "{}/48", Ipv6Addr::from(octets))
            }
        }
    }
}

impl fmt::Debug for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subnet({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_gate_refuses_its_ranges_to_their_ends_and_nothing_beyond() {
        for text in [
            "10.0.0.0",
            "10.255.255.255",
            "172.16.0.0",
            "172.31.255.255",
            "192.168.0.0",
            "192.168.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.0.1",
            "100.64.0.0",
            "100.127.255.255",
            "fc00::",
            "fdff::1",
            "fe80::",
            "febf::1",
            "::1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
        ] {
            assert!(is_private(ip(text)), "{text}");
        }
        for text in [
            "9.255.255.255",
            "11.0.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "192.169.0.0",
            "126.0.0.1",
            "128.0.0.1",
            "169.253.0.1",
            "169.255.0.1",
            "100.63.255.255",
            "100.128.0.0",
            "fbff::",
            "fe00::",
            "fe7f::1",
            "fec0::",
            "::2",
            "::",
            "0.0.0.0",
            "::ffff:8.8.8.8",
            "2001:db8::1",
            "8.8.8.8",
        ] {
            assert!(!is_private(ip(text)), "{text}");
        }
    }

    #[test]
    fn loopback_is_recognised_in_all_three_forms() {
        for text in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(is_loopback(ip(text)), "{text}");
        }
        assert!(!is_loopback(ip("10.0.0.1")));
        assert!(!is_loopback(ip("::2")));
    }

    #[test]
    fn subnets_are_24_bits_of_ipv4_and_48_of_ipv6() {
        assert_eq!(Subnet::of(ip("203.0.113.7")).to_string(), "203.0.113.0/24");
        assert_eq!(Subnet::of(ip("::ffff:203.0.113.7")), Subnet::of(ip("203.0.113.9")));
        assert_eq!(Subnet::of(ip("2001:db8:1:2::3")).to_string(), "2001:db8:1::/48");
        assert_ne!(Subnet::of(ip("2001:db8:2::")), Subnet::of(ip("2001:db8:1::")));
    }
}
