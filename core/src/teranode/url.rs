//! URLs from peers: they are never fetched towards private addresses unless allowed, nor from hosts that the operator
//! does not want.

use alloc::string::String;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr as _;

use peerage_proto::ip;

/// Longest URL taken, in bytes (spec 14.1).
pub const URL_BYTES_MAX: usize = 2048;

/// The host of an `http` or `https` URL, as written: without user, port, brackets and trailing dots. None for anything
/// else.
pub fn http_host(url: &str) -> Option<&str> {
    // No scheme that passes has a colon: the first one ends it.
    let (scheme, rest) = url.split_once(':')?;
    let rest = rest.strip_prefix("//")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    host_of_rest(rest)
}

fn host_of_rest(rest: &str) -> Option<&str> {
    let end = rest.bytes().position(|byte| matches!(byte, b'/' | b'?' | b'#' | b'\\'));
    let authority = end.and_then(|end| rest.get(..end)).unwrap_or(rest);
    let host_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match host_port.strip_prefix('[') {
        Some(v6) => v6.split_once(']')?.0,
        None => host_port.split(':').next()?,
    };
    let host = host.trim_end_matches('.');
    let printable = host.bytes().all(|byte| byte.is_ascii_graphic());
    (!host.is_empty() && printable).then_some(host)
}

/// Whether a URL may be used: `http` or `https`, and its host neither loopback, private, link-local, unspecified nor
/// multicast, nor `localhost` (spec 14.1). Names are looked at again when they are resolved.
pub fn is_public(url: &str) -> bool {
    let Some(host) = http_host(url) else { return false };
    if host.eq_ignore_ascii_case("localhost") || ends_with_label(host, ".localhost") {
        return false;
    }
    match parse_ip(host) {
        Some(address) => !ip::is_private(address) && !address.is_unspecified() && !address.is_multicast(),
        None => true,
    }
}

fn ends_with_label(host: &str, label: &str) -> bool {
    let at = host.len().checked_sub(label.len());
    at.and_then(|at| host.get(at..)).is_some_and(|tail| tail.eq_ignore_ascii_case(label))
}

/// An address as a URL's host may spell it: dotted, bracketed, or the numeric forms that resolvers take (`0x7f.1`,
/// `2130706433`).
fn parse_ip(host: &str) -> Option<IpAddr> {
    if let Ok(v4) = Ipv4Addr::from_str(host) {
        return Some(v4.into());
    }
    if let Ok(v6) = Ipv6Addr::from_str(host.split('%').next().unwrap_or(host)) {
        return Some(ip::unmap(v6.into()));
    }
    numeric_v4(host).map(|bits| Ipv4Addr::from_bits(bits).into())
}

fn numeric_v4(host: &str) -> Option<u32> {
    let mut bits: u32 = 0;
    let parts = host.split('.').count();
    if parts > 4 {
        return None;
    }
    for (index, part) in host.split('.').enumerate() {
        let number = parse_number(part)?;
        let last = index + 1 == parts;
        let width = if last { 8 * (4 - index as u32) } else { 8 };
        if width < 32 && number >> width != 0 {
            return None;
        }
        bits = bits.checked_shl(width).unwrap_or(0) | number;
    }
    Some(bits)
}

fn parse_number(part: &str) -> Option<u32> {
    let (digits, radix) = match part.strip_prefix("0x").or_else(|| part.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if part.len() > 1 && part.starts_with('0') => (part, 8),
        None => (part, 10),
    };
    u32::from_str_radix(digits, radix).ok()
}

/// Whether `url` is on the operator's list: hosts are compared without case and port; an entry or a value that is no
/// URL only as a whole text (spec 3.2).
pub fn is_blacklisted(list: &[String], url: &str) -> bool {
    list.iter().any(|entry| match (any_host(entry), any_host(url)) {
        (Some(entry), Some(url)) => entry.eq_ignore_ascii_case(url),
        (None, _) | (_, None) => entry == url,
    })
}

fn any_host(url: &str) -> Option<&str> {
    url.split_once("://").and_then(|(_, rest)| host_of_rest(rest))
}

/// Whether `byte` may stand in a display text as it is.
pub fn is_display_byte(byte: u8) -> bool {
    (b' '..=b'~').contains(&byte) && !matches!(byte, b'<' | b'>' | b'&' | b'"' | b'\'' | b'`')
}

/// At most `max` bytes of printable ASCII out of `text`, without `< > & " '` and backtick (spec 14.1).
pub fn display_text(text: &str, max: usize) -> String {
    text.bytes().filter(|byte| is_display_byte(*byte)).map(char::from).take(max).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString as _;
    use alloc::vec;

    #[test]
    fn only_http_towards_public_hosts_passes_the_guard() {
        for good in [
            "http://node.example/api",
            "https://203.0.113.7:8090",
            "HTTPS://Node.Example.",
            "http://[2001:db8::1]/x",
        ] {
            assert!(is_public(good), "{good}");
        }
        for bad in [
            "",
            "ftp://node.example",
            "http://",
            "http://localhost/x",
            "http://a.LOCALHOST./x",
            "http://127.0.0.1",
            "http://10.1.2.3:80/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://0.0.0.0",
            "http://224.0.0.1",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://0177.0.0.1/",
            "http://user@127.0.0.1/",
            "http://node.example@127.0.0.1/",
            "http://169.254.169.254/latest",
            "http://[fe80::1%25eth0]/",
            "http://127.0.0.1\\@node.example/",
            "http:x://node.example",
            "http:/node.example://node.example",
            "http:node.example",
        ] {
            assert!(!is_public(bad), "{bad}");
        }
    }

    #[test]
    fn t032_a_blacklisted_host_is_met_without_case_and_port() {
        let list = vec!["http://bad.example:1234".to_string()];
        assert!(is_blacklisted(&list, "https://BAD.example/x"));
        assert!(!is_blacklisted(&list, "https://good.example/x"));
    }

    #[test]
    fn what_is_no_url_matches_only_the_identical_text() {
        let list = vec!["bad".to_string()];
        assert!(is_blacklisted(&list, "bad"));
        assert!(!is_blacklisted(&list, "BAD"));
        assert!(!is_blacklisted(&list, "http://bad/"));
    }

    #[test]
    fn display_texts_lose_what_a_page_could_misread() {
        assert_eq!(display_text("a<b>\u{7f}\u{e9}c&\"'`d", 64), "abcd");
        assert_eq!(display_text(&"x".repeat(100), 64).len(), 64);
    }
}
