//! One libp2p behaviour for both shells.
// The derived event enum has no place for docs.
#![allow(missing_docs)]

use std::num::NonZeroUsize;
use std::time::Duration;

use libp2p::identity::Keypair;
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{StreamProtocol, autonat, dcutr, identify, kad, ping, relay};
use peerage_core::conn::DhtMode;

use super::providers::Providers;
use super::pubsub;

/// Everything that we speak over libp2p.
#[derive(NetworkBehaviour)]
pub struct Behaviour {
    /// The streams of pubsub. Its router is in the core.
    pub pubsub: pubsub::Behaviour,
    /// The DHT.
    pub kad: Toggle<kad::Behaviour<Providers>>,
    /// Who is who.
    pub identify: identify::Behaviour,
    /// Answers, and keeps connections alive.
    pub ping: ping::Behaviour,
    /// Peer address requests.
    pub stream: libp2p_stream::Behaviour,
    /// Connections through relays.
    pub relay: relay::client::Behaviour,
    /// From such a connection to a direct one: hole punching.
    pub dcutr: Toggle<dcutr::Behaviour>,
    /// Whether others can reach us, and the same for them.
    pub autonat: Toggle<autonat::Behaviour>,
}

/// What the behaviour is built from.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    /// Our key.
    pub key: &'a Keypair,
    /// Longest frame of pubsub that is taken, in bytes.
    pub frame_bytes_max: usize,
    /// The DHT.
    pub dht_mode: DhtMode,
    /// Identify's protocol version: `/teranode/bitcoin/NETWORK/1.0.0`.
    pub protocol_version: String,
    /// Identify's agent version.
    pub agent_version: String,
    /// Whether ways through NATs are sought: hole punching and AutoNAT.
    pub nat: bool,
    /// Whether private addresses are tried when a peer asks whether it can be reached.
    pub dial_private: bool,
}

/// Builds the behaviour; `relay` is the one whose transport is below it.
pub fn behaviour(options: &Options<'_>, relay: relay::client::Behaviour) -> Behaviour {
    let local = options.key.public().to_peer_id();
    Behaviour {
        pubsub: pubsub::Behaviour::new(options.frame_bytes_max),
        kad: Toggle::from(dht(options)),
        identify: identify::Behaviour::new(identify_config(options)),
        ping: ping::Behaviour::default(),
        stream: libp2p_stream::Behaviour::new(),
        relay,
        dcutr: options.nat.then(|| dcutr::Behaviour::new(local)).into(),
        autonat: options.nat.then(|| autonat::Behaviour::new(local, autonat_config(options))).into(),
    }
}

/// Identify with a signed record and pushes; only what we announce is told (spec 12.3).
fn identify_config(options: &Options<'_>) -> identify::Config {
    identify::Config::new_with_signed_peer_record(options.protocol_version.clone(), options.key)
        .with_agent_version(options.agent_version.clone())
        .with_push_listen_addr_updates(true)
        .with_hide_listen_addrs(true)
}

/// AutoNAT with Go's throttle; its other values are Go's already.
fn autonat_config(options: &Options<'_>) -> autonat::Config {
    autonat::Config {
        throttle_clients_period: THROTTLE_PERIOD,
        only_global_ips: !options.dial_private,
        ..autonat::Config::default()
    }
}

/// Kademlia as the family runs it (libp2p profile, section 4). It dials nobody by default.
fn dht(options: &Options<'_>) -> Option<kad::Behaviour<Providers>> {
    let mode = match options.dht_mode {
        DhtMode::Server => kad::Mode::Server,
        DhtMode::Client => kad::Mode::Client,
        DhtMode::Off => return None,
    };
    let mut config = kad::Config::new(KAD_PROTOCOL);
    config
        .set_replication_factor(REPLICATION)
        .set_parallelism(PARALLELISM)
        .set_periodic_bootstrap_interval(None)
        // The core announces again by itself.
        .set_provider_publication_interval(None)
        .set_publication_interval(None)
        .set_replication_interval(None)
        .set_query_timeout(QUERY_TIMEOUT);
    let local = options.key.public().to_peer_id();
    let mut kad = kad::Behaviour::with_config(local, Providers::new(local), config);
    kad.set_mode(Some(mode));
    Some(kad)
}

/// The DHT's protocol: the public one.
pub const KAD_PROTOCOL: StreamProtocol = StreamProtocol::new("/ipfs/kad/1.0.0");
/// Longest search or announcement (libp2p profile: 10 s).
pub const QUERY_TIMEOUT: Duration = Duration::from_secs(10);
/// Peers that asked whether they can be reached ask again after this.
pub const THROTTLE_PERIOD: Duration = Duration::from_secs(60);
/// k.
pub const REPLICATION: NonZeroUsize = NonZeroUsize::new(20).expect("20 is not 0");
/// alpha.
pub const PARALLELISM: NonZeroUsize = NonZeroUsize::new(10).expect("10 is not 0");

#[cfg(test)]
mod tests {
    use super::*;

    fn options(key: &Keypair, dht_mode: DhtMode) -> Options<'_> {
        Options {
            key,
            frame_bytes_max: 1 << 20,
            dht_mode,
            protocol_version: "/teranode/bitcoin/regtest/1.0.0".to_owned(),
            agent_version: "peerage/0".to_owned(),
            nat: false,
            dial_private: false,
        }
    }

    fn built(options: &Options<'_>) -> Behaviour {
        behaviour(options, relay::client::new(options.key.public().to_peer_id()).1)
    }

    #[test]
    fn ways_through_nats_are_sought_only_when_told() {
        let key = Keypair::generate_ed25519();
        for nat in [false, true] {
            let built = built(&Options { nat, ..options(&key, DhtMode::Off) });
            assert_eq!((built.dcutr.is_enabled(), built.autonat.is_enabled()), (nat, nat));
        }
        let public = autonat_config(&options(&key, DhtMode::Off));
        assert!(public.only_global_ips);
        assert_eq!((public.throttle_clients_global_max, public.throttle_clients_peer_max), (30, 3));
    }

    #[test]
    fn the_dht_is_server_client_or_absent_as_told() {
        let key = Keypair::generate_ed25519();
        let mode = |mode| built(&options(&key, mode)).kad.as_ref().map(kad::Behaviour::mode);
        assert_eq!(mode(DhtMode::Server), Some(kad::Mode::Server));
        assert_eq!(mode(DhtMode::Client), Some(kad::Mode::Client));
        assert_eq!(mode(DhtMode::Off), None);
        let kad = built(&options(&key, DhtMode::Server)).kad;
        assert_eq!(kad.as_ref().unwrap().protocol_names(), [KAD_PROTOCOL]);
    }

    #[test]
    fn identify_tells_the_network_and_pushes_changes() {
        let key = Keypair::generate_ed25519();
        let config = identify_config(&options(&key, DhtMode::Off));
        assert_eq!(config.protocol_version(), "/teranode/bitcoin/regtest/1.0.0");
        assert_eq!(config.agent_version(), "peerage/0");
        assert!(config.push_listen_addr_updates());
    }
}
