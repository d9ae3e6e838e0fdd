//! Texts to values, by the rules of spec 13.1.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A duration: `24h`, `30s`, `1m30s`, `250ms`, `1.5h`; a bare `0` is zero.
pub fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut nanos: f64 = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|at| *at > 0)?;
        let (number, tail) = rest.split_at(digits);
        let unit_end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, after) = tail.split_at(unit_end);
        let scale = match unit {
            "h" => 3600e9,
            "m" => 60e9,
            "s" => 1e9,
            "ms" => 1e6,
            "us" | "µs" => 1e3,
            "ns" => 1.0,
            _ => return None,
        };
        nanos += number.parse::<f64>().ok()? * scale;
        rest = after;
    }
    (nanos > 0.0 || text.starts_with('0')).then(|| Duration::from_secs_f64((nanos / 1e9).min(1e12)))
}

/// A number of bytes: `24MiB`, `512KiB`, `1GiB`, or without a unit.
pub fn bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim_start() {
        "" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// A boolean. A text that is neither is false, as in the reference.
pub fn boolean(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "true" | "TRUE" | "True")
}

/// A list: items divided by `|` and trimmed; empty ones are left out.
pub fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split('|').map(str::trim).filter(|item| !item.is_empty())
}

/// A socket to listen on: `host:port`, `[v6]:port`, `:port` (every interface), `localhost:port`.
pub fn socket(text: &str) -> Option<SocketAddr> {
    if let Ok(addr) = text.parse() {
        return Some(addr);
    }
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok()?;
    let ip: IpAddr = match host {
        "" => [0, 0, 0, 0].into(),
        "localhost" => [127, 0, 0, 1].into(),
        host => host.trim_start_matches('[').trim_end_matches(']').parse().ok()?,
    };
    Some(SocketAddr::new(ip, port))
}

/// How many single-character changes lead from `a` to `b`.
pub fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, cb) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_in_the_reference() {
        for (text, millis) in [
            ("24h", 86_400_000),
            ("30s", 30_000),
            ("1m30s", 90_000),
            ("250ms", 250),
            ("0", 0),
            ("0s", 0),
            ("1.5h", 5_400_000),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "5", "h", "5 s", "-5s", "5x", "1h-3m", "..s"] {
            assert_eq!(duration(text), None, "{text}");
        }
        assert!(duration("99999999999999999999999h").is_some(), "huge but finite");
    }

    #[test]
    fn booleans_and_lists() {
        assert!(boolean("True") && boolean("1") && !boolean("yes") && !boolean(""));
        assert_eq!(list(" a | b||c ").collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(list("").count(), 0);
    }

    #[test]
    fn sockets_may_leave_out_the_host() {
        assert_eq!(socket(":9906"), Some(([0, 0, 0, 0], 9906).into()));
        assert_eq!(socket("localhost:0"), Some(([127, 0, 0, 1], 0).into()));
        assert_eq!(socket("[::1]:5"), "[::1]:5".parse().ok());
        assert_eq!(socket("example.com:5"), None);
        assert_eq!(socket("9906"), None);
    }

    #[test]
    fn the_edit_distance_counts_changes() {
        assert_eq!(edit_distance("p2p_prot", "p2p_port"), 2);
        assert_eq!(edit_distance("", "abc"), 3);
        assert_eq!(edit_distance("same", "same"), 0);
    }
}
