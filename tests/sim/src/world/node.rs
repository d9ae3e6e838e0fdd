//! One simulated process: its core, clock, disk, chain, broker and feed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use peerage_core::conn::{self, DhtMode};
use peerage_core::input::Document;
use peerage_core::op::OpId;
use peerage_core::record::Recorder;
use peerage_core::teranode::chain::FsmState;
use peerage_core::teranode::feed::SubscriberId;
use peerage_core::time::{Instant, Now, UnixTime};
use peerage_core::{Config, Limits, Node, Pump, teranode};
use peerage_proto::hash::Hash256;
use peerage_proto::multiaddr::Multiaddr;
use peerage_proto::network::Network;
use peerage_proto::peer_id::PeerId;

use super::queue::Event;
use super::signer::{Heard, Heards};
use super::{End, Fault, Options};
use crate::entropy::Dice;

/// Wall time at which every world begins: 2025-11-27.
const EPOCH_MS: u64 = 1_764_201_600_000;

/// The id of an endpoint.
pub fn peer_of(seed: u64, end: End) -> PeerId {
    let mut dice = Dice::new(seed, &format!("peer {end}"));
    PeerId::from_ed25519(&dice.seed())
}

/// Where an endpoint listens: each in a network of its own.
pub fn addr_of(end: End) -> Multiaddr {
    text_addr(&format!("/ip4/20.{}.{}.1/tcp/9905", end / 250, end % 250))
}

/// Who listens at an address, if an endpoint does.
pub(super) fn end_at(addr: &Multiaddr) -> Option<End> {
    let IpAddr::V4(ip) = addr.ip()? else { return None };
    let [_, high, low, _] = ip.octets();
    let end = End::from(high) * 250 + End::from(low);
    (addr_of(end) == *addr).then_some(end)
}

pub(super) fn text_addr(text: &str) -> Multiaddr {
    text.parse().unwrap_or_else(|_| panic!("{text:?} is no multiaddr"))
}

/// How time runs for one process.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    /// Monotonic time at the world's beginning, in microseconds.
    base: u64,
    /// Microseconds gained in a second.
    drift_ppm: i64,
    /// The wall clock's error, in milliseconds.
    pub(super) wall_offset_ms: u64,
}

impl Clock {
    fn draw(dice: &mut Dice, is_faulty: bool) -> Self {
        let base = 1_000_000 + dice.roll(1 << 40);
        let drift_ppm = if is_faulty { dice.roll(2001) as i64 - 1000 } else { 0 };
        let wall_offset_ms = if is_faulty { dice.roll(100_000) } else { 0 };
        Self { base, drift_ppm, wall_offset_ms }
    }

    pub(super) fn now(&self, at: u64) -> Now {
        let gained = at as i128 * i128::from(self.drift_ppm) / 1_000_000;
        let mono = (i128::from(self.base + at) + gained) as u64;
        let wall = EPOCH_MS + at / 1000 + self.wall_offset_ms;
        Now { mono: Instant::from_micros(mono), wall: UnixTime::from_millis(wall) }
    }

    /// The world's time at which this clock has reached `instant`.
    pub(super) fn when(&self, instant: Instant) -> u64 {
        let left = u128::from(instant.as_micros().saturating_sub(self.base));
        let rate = (1_000_000 + self.drift_ppm) as u128;
        (left * 1_000_000).div_ceil(rate) as u64
    }
}

/// One simulated process.
#[derive(Debug)]
pub(super) struct SimNode {
    pub(super) peer: PeerId,
    pub(super) config: Config,
    /// None while it is dead.
    pub(super) pump: Option<Pump<Node>>,
    /// Counted up with each death.
    pub(super) life: u32,
    pub(super) clock: Clock,
    /// Its present deadline's number, and for when it is planned.
    pub(super) generation: u64,
    pub(super) wake_at: Option<u64>,
    pub(super) paused_until: u64,
    /// It dies at the next input, after so many of its actions.
    pub(super) doomed: Option<u64>,
    pub(super) recording: Option<(Recorder, Vec<u8>)>,

    pub(super) disk: BTreeMap<Document, Bytes>,
    pub(super) tip: Hash256,
    pub(super) fsm: Option<FsmState>,
    pub(super) chain_state: u64,
    pub(super) broker_state: u64,
    pub(super) store_state: u64,
    /// Clients of the feed, and whether each had its first frame.
    pub(super) clients: BTreeMap<SubscriberId, bool>,

    pub(super) listening: bool,
    /// Links that are open at this end.
    pub(super) links: BTreeSet<u64>,
    /// What happens to it while it stands still.
    pub(super) held: VecDeque<Event>,
    /// Messages whose check goes well when it ends.
    pub(super) checking: BTreeMap<OpId, Vec<(Bytes, Heard)>>,
    /// Messages whose check went well and that have no verdict yet.
    pub(super) heard: Heards,
}

impl SimNode {
    pub(super) fn new(options: &Options, config: Config, dice: &mut Dice, genesis: Hash256) -> Self {
        Self {
            peer: config.local_peer,
            config,
            pump: None,
            life: 0,
            clock: Clock::draw(dice, options.has(Fault::Clock)),
            generation: 0,
            wake_at: None,
            paused_until: 0,
            doomed: None,
            recording: None,
            disk: BTreeMap::new(),
            tip: genesis,
            fsm: Some(FsmState::Running),
            chain_state: 0,
            broker_state: 0,
            store_state: 0,
            clients: BTreeMap::new(),
            listening: false,
            links: BTreeSet::new(),
            held: VecDeque::new(),
            checking: BTreeMap::new(),
            heard: Heards::new(),
        }
    }

    pub(super) fn core(&self) -> Option<&Node> {
        self.pump.as_ref().map(Pump::core)
    }

    /// The process is gone, and with it all that is not on its disk.
    pub(super) fn die(&mut self) {
        self.pump = None;
        self.life += 1;
        self.generation += 1;
        self.wake_at = None;
        self.doomed = None;
        self.clients.clear();
        self.listening = false;
        self.checking.clear();
        self.heard.clear();
    }
}

/// What the node at `end` is told.
pub fn config(options: &Options, end: End) -> Config {
    let mut service = if options.has(Fault::Strict) {
        teranode::Config::strict(Network::Regtest)
    } else {
        teranode::Config::new(Network::Regtest)
    };
    service.client_name = format!("node-{end}");
    service.base_url = format!("http://node-{end}.example/api/v1");
    if options.has(Fault::Legacy) {
        service.topics.handshake = "handshake".into();
        service.topics.best_block = "bestblock".into();
        service.topics.mining_on = "miningon".into();
    }
    let mut config = Config::new(peer_of(options.seed, end), service);
    // Two are known to all; in large worlds there are more of them, two for each node.
    let hubs = options.nodes as End / 25;
    let first = if hubs > 2 { end } else { 0 };
    let hub = |nth: End| (first + nth) % hubs.max(2);
    let bootstrap = (0..2).map(hub).filter(|other| *other != end && *other < options.nodes as End);
    let (low_water, high_water) = if options.nodes > 12 { (8, 12) } else { (25, 35) };
    config.conn = conn::Config {
        listen: vec![addr_of(end)],
        bootstrap: bootstrap.map(|other| addr_of(other).with_p2p(peer_of(options.seed, other))).collect(),
        dht_mode: if options.has(Fault::NoDht) { DhtMode::Off } else { DhtMode::Server },
        loopback_exempt: false,
        low_water,
        high_water,
        cache_delay: Duration::from_millis(500),
        ..conn::Config::default()
    };
    if options.has(Fault::Tight) {
        config.limits = tight();
        config.conn.pending_handshakes_max = 2;
        config.conn.dials_inflight_max = 2;
    }
    if options.has(Fault::Crowded) {
        config.limits.peers_known_max = 6;
    }
    config
}

/// Limits that are met all the time.
fn tight() -> Limits {
    Limits {
        connections_max: 3,
        peers_known_max: 1000,
        dial_targets_max: 4,
        addresses_per_peer_max: 2,
        origins_max: 4,
        seen_hashes_max: 4,
        ban_scores_max: 4,
        ban_reasons_max: 2,
        ops_inflight_max: 24,
        produce_inflight_max: 3,
        publish_inflight_max: 3,
        subscribers_max: 2,
        subscriber_frames_max: 4,
        topics_per_peer_max: 2,
        work_per_input_max: 2,
        // Those of the router have their own tests.
        ..Limits::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_reaches_an_instant_no_later_than_it_says() {
        for drift_ppm in [-1000, -1, 0, 7, 1000] {
            let clock = Clock { base: 12_345, drift_ppm, wall_offset_ms: 0 };
            for micros in [12_345, 12_346, 1_000_000, 987_654_321_012] {
                let instant = Instant::from_micros(micros);
                assert!(clock.now(clock.when(instant) + 1).mono >= instant, "{drift_ppm} {micros}");
            }
        }
    }
}
