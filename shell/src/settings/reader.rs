//! Typed access to the layers; every error says key, value, origin and remedy.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use peerage_core::error::ConfigError;
use peerage_proto::Multiaddr;
use peerage_proto::multiaddr::Protocol;

use super::layers::{Found, Layers};
use super::{keys, values};
use crate::http::source::Cidr;

/// A whole number.
pub trait Whole: Copy + PartialOrd + Display + FromStr {
    /// The least.
    const MIN: Self;
    /// 1.
    const ONE: Self;
    /// The greatest.
    const MAX: Self;
}

macro_rules! whole {
    ($($number:ty),*) => {$(
        impl Whole for $number {
            const MIN: Self = <$number>::MIN;
            const ONE: Self = 1;
            const MAX: Self = <$number>::MAX;
        }
    )*};
}

whole!(u16, u32, u64, i64);

/// Reads typed values.
#[derive(Debug)]
pub struct Reader<'a> {
    layers: &'a Layers,
}

impl<'a> Reader<'a> {
    /// A reader of `layers`.
    pub fn new(layers: &'a Layers) -> Self {
        Self { layers }
    }

    /// The value and its origin.
    pub fn found(&self, key: &str) -> Found {
        self.layers.get(key)
    }

    /// The text.
    pub fn text(&self, key: &str) -> String {
        self.found(key).text
    }

    /// The text, or the default when the value was set to nothing (spec 13.1: only texts and lists can be empty).
    fn text_or_default(&self, key: &str) -> String {
        match self.text(key) {
            text if text.is_empty() => keys::find(key).map_or("", |key| key.default).to_owned(),
            text => text,
        }
    }

    /// Runs `read` when the key was set by anything but the default.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn if_set(
        &self,
        key: &str,
        read: impl FnOnce(&Self, &str) -> Result<(), ConfigError>,
    ) -> Result<(), ConfigError> {
        if self.found(key).is_default { Ok(()) } else { read(self, key) }
    }

    /// An error about the present value of `key`.
    pub fn error(&self, key: &str, problem: &str, remedy: &str) -> ConfigError {
        self.item_error(key, &self.text(key), problem, remedy)
    }

    fn item_error(&self, key: &str, item: &str, problem: &str, remedy: &str) -> ConfigError {
        ConfigError {
            key: key.to_owned(),
            value: item.to_owned(),
            origin: self.found(key).origin,
            problem: problem.to_owned(),
            remedy: remedy.to_owned(),
        }
    }

    /// An error of the core, with the origin that only we know.
    pub fn with_origin(&self, mut error: ConfigError) -> ConfigError {
        if keys::find(&error.key).is_some() {
            error.origin = self.found(&error.key).origin;
        }
        error
    }

    /// A whole number of any size that `T` holds.
    ///
    /// # Errors
    /// When the text is none, or out of range.
    pub fn number<T: Whole>(&self, key: &str) -> Result<T, ConfigError> {
        self.within(key, T::MIN..=T::MAX)
    }

    /// A whole number above 0.
    ///
    /// # Errors
    /// When the text is none, or out of range.
    pub fn above_zero<T: Whole>(&self, key: &str) -> Result<T, ConfigError> {
        self.within(key, T::ONE..=T::MAX)
    }

    /// A whole number of a range.
    ///
    /// # Errors
    /// When the text is none, or out of range.
    pub fn within<T: Whole>(&self, key: &str, range: RangeInclusive<T>) -> Result<T, ConfigError> {
        let text = self.text_or_default(key);
        let digits = text.strip_prefix(['-', '+']).unwrap_or(&text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(self.error(key, "not a number", "write it in decimal, without a unit"));
        }
        text.parse::<T>()
            .ok()
            .filter(|number| range.contains(number))
            .ok_or_else(|| self.out_of_range(key, &range.start().to_string(), &range.end().to_string()))
    }

    fn out_of_range(&self, key: &str, least: &str, most: &str) -> ConfigError {
        self.error(key, &format!("out of range: {least} to {most}"), "use a value of this range")
    }

    /// A finite number that is not below 0.
    ///
    /// # Errors
    /// When the text is none, or out of range.
    pub fn amount(&self, key: &str) -> Result<f64, ConfigError> {
        match self.text_or_default(key).parse::<f64>() {
            Ok(number) if number.is_finite() && number >= 0.0 => Ok(number),
            Ok(_) => {
                Err(self.error(key, "out of range: a finite number, at least 0", "use 0.000005, the default"))
            }
            Err(_) => Err(self.error(key, "not a number", "write it in decimal, without a unit")),
        }
    }

    /// A text of at most `bytes_max` bytes.
    ///
    /// # Errors
    /// When it is longer. It is not told whole.
    pub fn short_text(&self, key: &str, bytes_max: usize) -> Result<String, ConfigError> {
        let text = self.text(key);
        if text.len() <= bytes_max {
            return Ok(text);
        }
        let beginning: String = text.chars().take(16).chain(['…']).collect();
        let problem = format!("{} bytes, and at most {bytes_max} are taken", text.len());
        Err(self.item_error(key, &beginning, &problem, "shorten it: it stands in every message"))
    }

    /// A boolean.
    pub fn boolean(&self, key: &str) -> bool {
        values::boolean(&self.text_or_default(key))
    }

    /// A duration.
    ///
    /// # Errors
    /// When the text is none.
    pub fn duration(&self, key: &str) -> Result<Duration, ConfigError> {
        values::duration(&self.text_or_default(key))
            .ok_or_else(|| self.error(key, "not a duration", "write it like 24h, 1m30s or 250ms"))
    }

    /// The time between two rounds of a recurring work: at least a second, for less would leave time for nothing else, and
    /// at most a day.
    ///
    /// # Errors
    /// When the text is no duration, or out of range.
    pub fn interval(&self, key: &str) -> Result<Duration, ConfigError> {
        let range = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);
        let interval = self.duration(key)?;
        if range.contains(&interval) { Ok(interval) } else { Err(self.out_of_range(key, "1s", "24h")) }
    }

    /// A number of bytes; none when the text is empty.
    ///
    /// # Errors
    /// When the text is none.
    pub fn bytes(&self, key: &str) -> Result<Option<u64>, ConfigError> {
        match self.text(key) {
            text if text.is_empty() => Ok(None),
            text => values::bytes(&text).map(Some).ok_or_else(|| {
                self.error(key, "not a number of bytes", "write it like 24MiB, 512KiB or 1GiB")
            }),
        }
    }

    /// A list of texts.
    pub fn list(&self, key: &str) -> Vec<String> {
        values::list(&self.text(key)).map(ToOwned::to_owned).collect()
    }

    /// One of several words.
    ///
    /// # Errors
    /// When the text is none of them.
    pub fn choice<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Result<T, ConfigError> {
        let text = self.text_or_default(key);
        words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
            let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            self.error(key, "no such choice", &format!("use one of: {}", known.join(", ")))
        })
    }

    /// Anything with an own reader.
    ///
    /// # Errors
    /// When `read` does not know the text.
    pub fn parsed<T>(
        &self,
        key: &str,
        read: impl FnOnce(&str) -> Option<T>,
        remedy: &str,
    ) -> Result<T, ConfigError> {
        read(&self.text(key)).ok_or_else(|| self.error(key, "no such value", remedy))
    }

    /// A socket to listen on; none when the text is empty.
    ///
    /// # Errors
    /// When the text is none.
    pub fn socket(&self, key: &str) -> Result<Option<SocketAddr>, ConfigError> {
        match self.text(key) {
            text if text.is_empty() => Ok(None),
            text => values::socket(&text).map(Some).ok_or_else(|| {
                self.error(key, "not an address to listen on", "write IP:port, or :port for every interface")
            }),
        }
    }

    /// A list of multiaddrs that can be dialled: TCP, or `/dnsaddr`, which may become that.
    ///
    /// # Errors
    /// The first item that is none.
    pub fn peers(&self, key: &str) -> Result<Vec<Multiaddr>, ConfigError> {
        let can_be_dialled = |addr: &Multiaddr| {
            addr.iter().any(|part| matches!(part, Protocol::Tcp(_) | Protocol::Dnsaddr(_)))
        };
        let peer = |item: &String| match self.multiaddr(key, item)? {
            addr if can_be_dialled(&addr) => Ok(addr),
            _ => Err(self.item_error(
                key,
                item,
                "only TCP can be dialled",
                "write an address like /ip4/203.0.113.7/tcp/9905/p2p/<peer id>, or remove it",
            )),
        };
        self.list(key).iter().map(peer).collect()
    }

    fn multiaddr(&self, key: &str, item: &str) -> Result<Multiaddr, ConfigError> {
        item.parse::<Multiaddr>().map_err(|error| {
            self.item_error(
                key,
                item,
                &error.to_string(),
                "write a multiaddr like /ip4/203.0.113.7/tcp/9905/p2p/<peer id>",
            )
        })
    }

    /// A multiaddr that can be listened on.
    fn tcp_multiaddr(&self, key: &str, item: &str) -> Result<Multiaddr, ConfigError> {
        let addr = self.multiaddr(key, item)?;
        let plain = addr.ip().zip(addr.tcp_port());
        match plain.map(|(ip, port)| Multiaddr::from_protocols([ip_protocol(ip), Protocol::Tcp(port)])) {
            Some(Ok(plain)) if plain == addr => Ok(addr),
            Some(_) | None => Err(self.item_error(
                key,
                item,
                "only TCP on an IP address can be listened on",
                "write an IP address, or /ip4/.../tcp/PORT or /ip6/.../tcp/PORT",
            )),
        }
    }

    /// A list of networks; `none` is the empty one.
    ///
    /// # Errors
    /// The first item that is none.
    pub fn subnets(&self, key: &str) -> Result<Vec<Cidr>, ConfigError> {
        let items = self.list(key);
        if items.iter().any(|item| item == "none") {
            return Ok(Vec::new());
        }
        items
            .iter()
            .map(|item| {
                item.parse().map_err(|()| {
                    self.item_error(key, item, "not a network", "write it like 10.0.0.0/8 or ::1/128")
                })
            })
            .collect()
    }

    fn port(&self) -> Result<u16, ConfigError> {
        const KEY: &str = "p2p_port";
        if self.text_or_default(KEY).parse() == Ok(0_u16) {
            return Err(self.error(KEY, "p2p_port not set in config", "set a port between 1 and 65535"));
        }
        self.above_zero(KEY)
    }

    /// `p2p_listen_addresses`: an item that begins with `/` is a multiaddr, any other an IP address that gets `p2p_port`.
    ///
    /// # Errors
    /// The first item that is neither, or a missing port.
    pub fn listen_addresses(&self) -> Result<Vec<Multiaddr>, ConfigError> {
        const KEY: &str = "p2p_listen_addresses";
        let port = self.port()?;
        self.list(KEY)
            .iter()
            .map(|item| {
                if item.starts_with('/') {
                    return self.tcp_multiaddr(KEY, item);
                }
                let ip: IpAddr = item.parse().map_err(|_| {
                    self.item_error(
                        KEY,
                        item,
                        "neither an IP address nor a multiaddr",
                        "write 0.0.0.0 or /ip4/0.0.0.0/tcp/9905",
                    )
                })?;
                self.built(KEY, item, &[ip_protocol(ip), Protocol::Tcp(port)])
            })
            .collect()
    }

    /// `p2p_advertise_addresses` (spec 12.3): an item that begins with `/` is a multiaddr, any other an IP address or a
    /// name, with or without port.
    ///
    /// # Errors
    /// The first item that is none of these.
    pub fn advertise_addresses(&self) -> Result<Vec<Multiaddr>, ConfigError> {
        const KEY: &str = "p2p_advertise_addresses";
        let port = self.port()?;
        self.list(KEY)
            .iter()
            .map(|item| {
                if item.starts_with('/') {
                    return self.multiaddr(KEY, item);
                }
                if let Ok(ip) = item.parse::<IpAddr>() {
                    return self.built(KEY, item, &[ip_protocol(ip), Protocol::Tcp(port)]);
                }
                if let Ok(socket) = item.parse::<SocketAddr>() {
                    return self.built(KEY, item, &[ip_protocol(socket.ip()), Protocol::Tcp(socket.port())]);
                }
                let (name, port) = match item.rsplit_once(':') {
                    Some((name, text)) => (
                        name,
                        text.parse()
                            .map_err(|_| self.item_error(KEY, item, "not a port", "write name:port"))?,
                    ),
                    None => (item.as_str(), port),
                };
                self.built(KEY, item, &[Protocol::Dns4(name), Protocol::Tcp(port)])
            })
            .collect()
    }

    fn built(&self, key: &str, item: &str, protocols: &[Protocol<'_>]) -> Result<Multiaddr, ConfigError> {
        Multiaddr::from_protocols(protocols.iter().copied()).map_err(|error| {
            self.item_error(key, item, &error.to_string(), "write an IP address or a host name")
        })
    }
}

fn ip_protocol(ip: IpAddr) -> Protocol<'static> {
    match ip {
        IpAddr::V4(ip) => Protocol::Ip4(ip),
        IpAddr::V6(ip) => Protocol::Ip6(ip),
    }
}
