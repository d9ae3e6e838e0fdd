//! Where peers can be reached: what identify and other peers said, and the address cache.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use peerage_proto::addr_cache::{self, CachedPeer};
use peerage_proto::multiaddr::Multiaddr;
use peerage_proto::peer_id::PeerId;

use super::Config;
use super::admission::passes_gate;
use crate::common::fair_map::{Aged, FairMap};
use crate::common::sip::HashKey;
use crate::limits::Limits;
use crate::state::state;
use crate::time::{Now, UnixTime};

state! {
    #[derive(Clone, Debug)]
    struct Known {
        addrs: Vec<Multiaddr>,
        /// When the peer was last connected to us; none: never in this life of the node.
        last_seen: Option<UnixTime>,
        /// Then nothing pushes the entry out.
        is_connected: bool,
    }
}

state! {
    /// Addresses by peer. An entry belongs to whoever told us: the peer itself, or the neighbour that was asked.
    #[derive(Clone, Debug)]
    pub struct AddressBook {
        peers: FairMap<PeerId, Known>,
        addrs_max: u32,
    }
}

impl AddressBook {
    /// An empty book.
    pub fn new(limits: &Limits, key: HashKey) -> Self {
        Self { peers: FairMap::new(limits.peers_known_max, key), addrs_max: limits.addresses_per_peer_max }
    }

    /// `teller` says where `peer` listens. What the gate refuses, relayed addresses and repetitions are left out. What
    /// a peer says of itself replaces what is known; what others say is added.
    pub fn learn(
        &mut self,
        now: Now,
        config: &Config,
        teller: PeerId,
        peer: PeerId,
        addrs: impl IntoIterator<Item = Multiaddr>,
    ) {
        let mut known = match self.peers.get(&peer) {
            Some(known) if teller != peer => known.clone(),
            Some(known) => Known { addrs: Vec::new(), ..*known },
            None => Known { addrs: Vec::new(), last_seen: None, is_connected: false },
        };
        for addr in addrs.into_iter().map(|addr| addr.without_p2p()) {
            let room = known.addrs.len() < self.addrs_max as usize;
            if room && passes_gate(config, &addr) && !addr.is_relayed() && !known.addrs.contains(&addr) {
                known.addrs.push(addr);
            }
        }
        let owner =
            self.peers.owner(&peer).map_or(teller, |(owner, _)| if teller == peer { peer } else { owner });
        let _ = self.peers.insert_keeping(now.mono, peer, owner, known, |_, known| known.is_connected);
    }

    /// `peer` is connected now, to or from `dialled` (only what we dialled is worth keeping).
    pub fn saw(&mut self, now: Now, config: &Config, peer: PeerId, dialled: Option<Multiaddr>) {
        if self.peers.get(&peer).is_none() {
            self.learn(now, config, peer, peer, None);
        }
        let room = self.addrs_max as usize;
        let Some(known) = self.peers.get_mut(&peer) else { return };
        known.last_seen = Some(now.wall);
        known.is_connected = true;
        let Some(addr) = dialled.map(|addr| addr.without_p2p()) else { return };
        if !known.addrs.contains(&addr) && !addr.is_relayed() {
            known.addrs.insert(0, addr);
            known.addrs.truncate(room);
        }
    }

    /// The last connection of `peer` ended: what is known of it is as old as this.
    pub fn gone(&mut self, now: Now, peer: &PeerId) {
        if let Some(place) = self.peers.place(peer) {
            self.peers.renewed(now.mono, place, Duration::ZERO).is_connected = false;
        }
    }

    /// Addresses of `peer`, possibly none.
    pub fn addrs(&self, peer: &PeerId) -> &[Multiaddr] {
        self.peers.get(peer).map_or(&[], |known| known.addrs.as_slice())
    }

    /// Forgets what is older than `age_max` and not connected, up to `budget` of it; whether some may be left.
    #[must_use]
    pub fn sweep(&mut self, now: Now, age_max: Duration, budget: u32) -> bool {
        let judge = |_: &PeerId, known: &Known| if known.is_connected { Aged::InUse } else { Aged::Over };
        self.peers.expire(now.mono, now.mono.before(age_max), budget, judge)
    }

    /// The address cache file for `topic_peers`, with the name of each (spec 2.5).
    pub fn to_cache(&self, topic_peers: impl Iterator<Item = (PeerId, String)>) -> Vec<u8> {
        let entries: Vec<CachedPeer> = topic_peers
            .filter_map(|(peer, name)| {
                let known = self.peers.get(&peer)?;
                if known.addrs.is_empty() {
                    return None;
                }
                Some(CachedPeer {
                    id: peer,
                    name,
                    addresses: known.addrs.clone(),
                    last_seen_ns: known.last_seen.map(to_nanos),
                })
            })
            .collect();
        let mut file = Vec::new();
        addr_cache::encode(&entries, &mut file);
        file
    }

    /// Number of peers.
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// Full structural check.
    ///
    /// # Errors
    /// What does not hold.
    pub fn check(&self) -> Result<(), &'static str> {
        self.peers.check()
    }
}

/// The peers of a cache file that are young enough to be dialled: those without a time are (spec 2.5).
///
/// # Errors
/// When the file is not what we or a Go node write.
pub fn from_cache(now: Now, age_max: Duration, file: &[u8]) -> Result<Vec<(PeerId, Vec<Multiaddr>)>, String> {
    let cache = addr_cache::decode(file).map_err(|error| alloc::format!("{error}"))?;
    let age_max_ns = i64::try_from(age_max.as_nanos()).unwrap_or(i64::MAX);
    let young = |entry: &CachedPeer| {
        entry.last_seen_ns.is_none_or(|seen| to_nanos(now.wall).saturating_sub(seen) <= age_max_ns)
    };
    Ok(cache.peers.into_iter().filter(young).map(|entry| (entry.id, entry.addresses)).collect())
}

fn to_nanos(time: UnixTime) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX).saturating_mul(1_000_000)
}
