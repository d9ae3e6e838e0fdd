//! How many clients one source address has (spec 14.6).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;

use peerage_proto::ip::unmap;

/// A network of addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cidr {
    base: IpAddr,
    bits: u8,
}

impl FromStr for Cidr {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (base, bits) = match text.split_once('/') {
            Some((base, bits)) => (base, Some(bits.parse::<u8>().map_err(|_| ())?)),
            None => (text, None),
        };
        let base: IpAddr = base.parse().map_err(|_| ())?;
        let max = if base.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(max);
        if bits > max { Err(()) } else { Ok(Self { base, bits }) }
    }
}

impl Cidr {
    /// Whether `ip` lies in it. An IPv4-mapped address counts as the IPv4 address inside.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.base, unmap(ip)) {
            (IpAddr::V4(base), IpAddr::V4(ip)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                base.to_bits() & mask == ip.to_bits() & mask
            }
            (IpAddr::V6(base), IpAddr::V6(ip)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                base.to_bits() & mask == ip.to_bits() & mask
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// Clients by source address.
#[derive(Debug, Default)]
pub struct Sources {
    counts: BTreeMap<IpAddr, u32>,
}

impl Sources {
    /// Counts a client of `ip` in, if there is room for it.
    pub fn enter(&mut self, ip: IpAddr, max: Option<u32>, trusted: &[Cidr]) -> bool {
        let Some(max) = max.filter(|_| !trusted.iter().any(|cidr| cidr.contains(ip))) else { return true };
        let count = self.counts.entry(unmap(ip)).or_default();
        if *count >= max {
            return false;
        }
        *count += 1;
        true
    }

    /// Counts a client of `ip` out.
    pub fn leave(&mut self, ip: IpAddr) {
        let ip = unmap(ip);
        if let Some(count) = self.counts.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&ip);
            }
        }
    }

    /// Number of addresses with clients.
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// Whether no address has clients.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_holds_its_addresses_to_their_ends() {
        let cidr: Cidr = "10.1.0.0/16".parse().unwrap();
        assert!(cidr.contains(ip("10.1.255.255")) && !cidr.contains(ip("10.2.0.0")));
        assert!(cidr.contains(ip("::ffff:10.1.2.3")) && !cidr.contains(ip("::1")));
        let all: Cidr = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains(ip("255.1.2.3")));
        let one: Cidr = "::1".parse().unwrap();
        assert!(one.contains(ip("::1")) && !one.contains(ip("::2")));
        for bad in ["10.0.0.0/33", "x/8", "10.0.0.0/", ""] {
            assert!(bad.parse::<Cidr>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_source_gets_its_share_and_leaves_nothing_behind() {
        let mut sources = Sources::default();
        let one = ip("203.0.113.7");
        assert!(sources.enter(one, Some(2), &[]) && sources.enter(one, Some(2), &[]));
        assert!(!sources.enter(one, Some(2), &[]));
        assert!(sources.enter(ip("203.0.113.8"), Some(2), &[]), "others have their own share");
        sources.leave(one);
        assert!(sources.enter(one, Some(2), &[]));
        sources.leave(one);
        sources.leave(one);
        sources.leave(ip("203.0.113.8"));
        assert!(sources.is_empty());
    }

    #[test]
    fn a_trusted_source_is_not_counted() {
        let mut sources = Sources::default();
        let trusted = ["127.0.0.0/8".parse().unwrap()];
        assert!((0..100).all(|_| sources.enter(ip("127.0.0.1"), Some(4), &trusted)));
        assert!(sources.is_empty());
        sources.leave(ip("127.0.0.1"));
    }
}
