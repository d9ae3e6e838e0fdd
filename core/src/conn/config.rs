//! How connections are made, kept and limited.

use alloc::vec::Vec;
use core::time::Duration;

use peerage_proto::multiaddr::Multiaddr;

use crate::codec::{codec_enum, codec_struct};
use crate::error::ConfigError;
use crate::state::alter_leaf;

/// Whether and how we take part in the DHT (`p2p_dht_mode`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DhtMode {
    /// Ask and answer.
    #[default]
    Server,
    /// Ask only.
    Client,
    /// No DHT; addresses of authors are asked of neighbours instead.
    Off,
}

/// Settings of the connection room.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Where to listen.
    pub listen: Vec<Multiaddr>,
    /// Peers dialled at start and whenever lost (`p2p_bootstrap_peers`), each with `/p2p`, or a `/dnsaddr` without.
    pub bootstrap: Vec<Multiaddr>,
    /// Peers kept connected for ever (`p2p_static_peers`).
    pub static_peers: Vec<Multiaddr>,
    /// The DHT.
    pub dht_mode: DhtMode,
    /// Whether private addresses are dialled and accepted (`p2p_allow_private_ips`).
    pub allow_private: bool,
    /// Whether loopback is exempt from the limits by address, as in go-libp2p's resource manager.
    pub loopback_exempt: bool,
    /// Trimming closes down to this many connections (go-libp2p connection manager: 25).
    pub low_water: u32,
    /// Trimming begins above this many (35).
    pub high_water: u32,
    /// Younger connections are not trimmed (20 s).
    pub trim_grace: Duration,
    /// Between looks at the water marks (10 s).
    pub trim_interval: Duration,
    /// Connections at once with one address (go-libp2p resource manager: 8).
    pub connections_per_address_max: u32,
    /// The same with one IPv4 /24.
    pub connections_per_subnet24_max: u32,
    /// The same with one IPv6 /48 (64).
    pub connections_per_subnet48_max: u32,
    /// The same with one peer. Dial-backs of NAT probes need a second one.
    pub connections_per_peer_max: u32,
    /// Handshakes unfinished at once.
    pub pending_handshakes_max: u32,
    /// The same with one address.
    pub pending_per_address_max: u32,
    /// Delay before the first redial of a peer that we keep.
    pub redial_first: Duration,
    /// Longest delay between redials (bus: 30 s).
    pub redial_max: Duration,
    /// Dials at once.
    pub dials_inflight_max: u32,
    /// Failures in a row after which a found address is given up.
    pub found_dial_failures_max: u32,
    /// Delay before the first search in the DHT (1 s).
    pub search_first: Duration,
    /// Between searches (30 s).
    pub search_interval: Duration,
    /// Between announcements in the DHT (at most 3 h; records live a day).
    pub provide_interval: Duration,
    /// Without a DHT: between questions for addresses (15 s).
    pub ask_interval: Duration,
    /// How long after a change the address cache is written (0.5 s).
    pub cache_delay: Duration,
    /// Entries of the address cache older than this are not dialled (24 h).
    pub cache_age_max: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            bootstrap: Vec::new(),
            static_peers: Vec::new(),
            dht_mode: DhtMode::Server,
            allow_private: false,
            loopback_exempt: true,
            low_water: 25,
            high_water: 35,
            trim_grace: Duration::from_secs(20),
            trim_interval: Duration::from_secs(10),
            connections_per_address_max: 8,
            connections_per_subnet24_max: 32,
            connections_per_subnet48_max: 64,
            connections_per_peer_max: 4,
            pending_handshakes_max: 128,
            pending_per_address_max: 16,
            redial_first: Duration::from_secs(1),
            redial_max: Duration::from_secs(30),
            dials_inflight_max: 16,
            found_dial_failures_max: 3,
            search_first: Duration::from_secs(1),
            search_interval: Duration::from_secs(30),
            provide_interval: Duration::from_secs(3 * 3600),
            ask_interval: Duration::from_secs(15),
            cache_delay: Duration::from_millis(500),
            cache_age_max: Duration::from_secs(24 * 3600),
        }
    }
}

impl Config {
    /// Unfinished handshakes of one IPv4 /24 or IPv6 /48: a quarter of all, so that no source holds every place, but not
    /// fewer than one address may have.
    pub const fn pending_per_subnet_max(&self) -> u32 {
        let quarter = self.pending_handshakes_max / 4;
        if quarter > self.pending_per_address_max { quarter } else { self.pending_per_address_max }
    }

    /// Proves the relations between the values.
    ///
    /// # Errors
    /// The first relation that does not hold.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.low_water > self.high_water {
            return Err(ConfigError::new(
                "p2p_low_water",
                alloc::format!("{}", self.low_water),
                alloc::format!("above p2p_high_water = {}", self.high_water),
                "use low <= high",
            ));
        }
        if self.connections_per_peer_max == 0 || self.connections_per_peer_max > 8 {
            return Err(ConfigError::new(
                "connections_per_peer_max",
                alloc::format!("{}", self.connections_per_peer_max),
                "outside 1 to 8",
                "use 4, the default",
            ));
        }
        for addr in &self.static_peers {
            if addr.peer_id().is_none() {
                return Err(ConfigError::new(
                    "p2p_static_peers",
                    alloc::format!("{addr}"),
                    "the address does not say which peer is expected there",
                    "append /p2p/<peer id>",
                ));
            }
        }
        Ok(())
    }
}

codec_enum!(DhtMode { 0 => Server, 1 => Client, 2 => Off });
codec_struct!(Config {
    listen,
    bootstrap,
    static_peers,
    dht_mode,
    allow_private,
    loopback_exempt,
    low_water,
    high_water,
    trim_grace,
    trim_interval,
    connections_per_address_max,
    connections_per_subnet24_max,
    connections_per_subnet48_max,
    connections_per_peer_max,
    pending_handshakes_max,
    pending_per_address_max,
    redial_first,
    redial_max,
    dials_inflight_max,
    found_dial_failures_max,
    search_first,
    search_interval,
    provide_interval,
    ask_interval,
    cache_delay,
    cache_age_max,
});
alter_leaf!(DhtMode => |mode| *mode = match mode {
    DhtMode::Off => DhtMode::Client,
    DhtMode::Client | DhtMode::Server => DhtMode::Off,
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn water_marks_in_the_wrong_order_are_refused() {
        let config = Config { low_water: 40, ..Config::default() };
        assert_eq!(config.validate().unwrap_err().key, "p2p_low_water");
    }
}
