//! The peer registry: what is known of each author (spec 7).

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString as _};
use alloc::sync::Arc;
use core::time::Duration;

use peerage_proto::hash::Hash256;
use peerage_proto::peer_id::PeerId;

use super::url::URL_BYTES_MAX;
use crate::common::fair_map::{Aged, FairMap, Inserted, Place};
use crate::common::sip::HashKey;
use crate::limits::Limits;
use crate::state::state;
use crate::time::{Instant, Now, UnixTime};

/// Reputation of a new peer (spec 7.2).
const REPUTATION_NEW: f64 = 50.0;
/// Peers below this are not used (spec 3, `unhealthy`).
const REPUTATION_MIN: f64 = 20.0;
/// Longest text kept, in bytes. What the strict mode takes has any length; ten thousand entries must fit into memory.
const TEXT_BYTES_MAX: usize = 256;
/// An entry in use counts as old again after this.
const RENEW_AFTER: Duration = Duration::from_secs(60);

state! {
    /// One peer.
    #[derive(Clone, Debug, PartialEq)]
    pub struct PeerInfo {
        /// Its id as text, so that claims are compared without base58.
        pub id_text: Arc<str>,
        /// Display name.
        pub client_name: String,
        /// Height it told of. May go down.
        pub height: u32,
        /// Hash at that height, if told.
        pub block_hash: Option<Hash256>,
        /// Where its data is fetched; empty: cannot be synced from.
        pub data_hub_url: String,
        /// `full`, `pruned` or unknown (empty).
        pub storage: String,
        /// 0 to 100.
        pub reputation: f64,
        /// Bytes of gossip, inner documents.
        pub bytes_received: u64,
        /// Last block announcement.
        pub last_block: Option<UnixTime>,
        /// Last message; none until its first one.
        pub last_message: Option<UnixTime>,
        /// The same by the monotonic clock, for expiry; creation until then.
        pub last_heard: Instant,
        /// Whether it has an open connection with us.
        pub is_connected: bool,
        /// Since when; none while it has none.
        pub connected_at: Option<UnixTime>,
    }
}

state! {
    /// Peers by id. An entry belongs to the neighbour through which the peer was first heard, to the peer itself once
    /// it is connected.
    #[derive(Clone, Debug)]
    pub struct Registry {
        peers: FairMap<PeerId, PeerInfo>,
        /// Who is connected, and since when: an entry may be made, and for want of room made again, at any time.
        connected: BTreeMap<PeerId, UnixTime>,
    }
}

/// What a message tells of its author.
#[derive(Clone, Debug, Default)]
pub struct Told<'a> {
    /// Display name; empty: not told.
    pub client_name: &'a str,
    /// Height; 0: not told.
    pub height: u32,
    /// Hash at that height.
    pub block_hash: Option<Hash256>,
    /// DataHub URL; empty: not told.
    pub data_hub_url: &'a str,
    /// Storage; empty: not told.
    pub storage: &'a str,
}

impl PeerInfo {
    /// Takes what a message tells (spec 7.2, `put`): empty and zero values change nothing.
    pub fn put(&mut self, told: &Told<'_>) {
        set_text(&mut self.client_name, cut(told.client_name, TEXT_BYTES_MAX));
        // A part of a URL would be another one.
        if told.data_hub_url.len() <= URL_BYTES_MAX {
            set_text(&mut self.data_hub_url, told.data_hub_url);
        }
        set_text(&mut self.storage, cut(told.storage, TEXT_BYTES_MAX));
        if told.height > 0 {
            self.height = told.height;
            // A height without its hash would leave the hash of another height beside it.
            self.block_hash = told.block_hash;
        }
    }

    /// Whether it is below what we use.
    pub fn is_unhealthy(&self) -> bool {
        self.reputation < REPUTATION_MIN
    }

    fn heard(&mut self, now: Now, bytes: usize) {
        self.last_message = Some(now.wall);
        self.last_heard = now.mono;
        self.bytes_received = self.bytes_received.saturating_add(bytes as u64);
    }
}

impl Registry {
    /// Nobody known.
    pub fn new(limits: &Limits, key: HashKey) -> Self {
        Self { peers: FairMap::new(limits.peers_known_max, key), connected: BTreeMap::new() }
    }

    /// The entry of `peer`, made if there is room. `owner`: the neighbour that delivered it.
    fn entry(&mut self, now: Now, peer: PeerId, owner: PeerId) -> Option<Place> {
        let present = self.peers.place(&peer);
        if present.is_none() {
            let connected_at = self.connected.get(&peer).copied();
            let info = PeerInfo {
                id_text: peer.to_base58().into(),
                client_name: String::new(),
                height: 0,
                block_hash: None,
                data_hub_url: String::new(),
                storage: String::new(),
                reputation: REPUTATION_NEW,
                bytes_received: 0,
                last_block: None,
                last_message: None,
                last_heard: now.mono,
                is_connected: connected_at.is_some(),
                connected_at,
            };
            let connected = |_: &PeerId, info: &PeerInfo| info.is_connected;
            if self.peers.insert_keeping(now.mono, peer, owner, info, connected) == Inserted::Refused {
                return None;
            }
            return self.peers.place(&peer);
        }
        present
    }

    /// `peer` was heard, through `owner`: its entry exists, its time is now, `bytes` are added (spec 3, `touch` and
    /// `count_bytes`). The entry, if there is room for one.
    pub fn touch(&mut self, now: Now, peer: PeerId, owner: PeerId, bytes: usize) -> Option<&mut PeerInfo> {
        let place = self.entry(now, peer, owner)?;
        let info = self.peers.renewed(now.mono, place, RENEW_AFTER);
        info.heard(now, bytes);
        Some(info)
    }

    /// Takes what a message tells (spec 7.2, `put`): empty and zero values change nothing.
    pub fn put(&mut self, peer: &PeerId, told: &Told<'_>) {
        if let Some(info) = self.peers.get_mut(peer) {
            info.put(told);
        }
    }

    /// `peer` has its first connection with us. `is_entered`: it gets an entry even if it was never heard.
    pub fn connected(&mut self, now: Now, peer: PeerId, is_entered: bool) {
        self.connected.insert(peer, now.wall);
        if !is_entered && self.peers.get(&peer).is_none() {
            return;
        }
        if let Some(place) = self.entry(now, peer, peer) {
            let info = self.peers.renewed(now.mono, place, Duration::MAX);
            info.is_connected = true;
            info.connected_at = Some(now.wall);
        }
        self.peers.reassign(&peer, peer);
    }

    /// The last connection of `peer` ended.
    pub fn disconnected(&mut self, peer: &PeerId) {
        self.connected.remove(peer);
        if let Some(info) = self.peers.get_mut(peer) {
            info.is_connected = false;
            info.connected_at = None;
        }
    }

    /// Sets the reputation of `peer`, within 0 to 100.
    pub fn set_reputation(&mut self, peer: &PeerId, reputation: f64) {
        if let Some(info) = self.peers.get_mut(peer)
            && !reputation.is_nan()
        {
            info.reputation = reputation.clamp(0.0, 100.0);
        }
    }

    /// Whether `peer` is known and below what we use.
    pub fn is_unhealthy(&self, peer: &PeerId) -> bool {
        self.peers.get(peer).is_some_and(PeerInfo::is_unhealthy)
    }

    /// Whether `claimed` is the id of `peer` as text.
    pub fn is_claim_of(&self, peer: &PeerId, claimed: &str) -> bool {
        match self.peers.get(peer) {
            Some(info) => &*info.id_text == claimed,
            None => peer.to_base58() == claimed,
        }
    }

    /// Forgets who was not heard for `ttl` and is not connected, up to `budget` of them; whether some may be left.
    #[must_use]
    pub fn sweep(&mut self, now: Now, ttl: Duration, budget: u32) -> bool {
        let oldest = now.mono.before(ttl);
        self.peers.expire(now.mono, oldest, budget, |_, info| match info {
            info if info.is_connected => Aged::InUse,
            info if info.last_heard < oldest => Aged::Over,
            // It was heard since it was renewed last, which is `RENEW_AFTER` ago at most.
            _ => Aged::Young,
        })
    }

    /// One peer.
    pub fn get(&self, peer: &PeerId) -> Option<&PeerInfo> {
        self.peers.get(peer)
    }

    /// Every peer, those longest without renewal first.
    pub fn iter(&self) -> impl Iterator<Item = (&PeerId, &PeerInfo)> {
        self.peers.iter()
    }

    /// Authors that were heard and have no connection with us.
    pub fn strangers(&self) -> impl Iterator<Item = PeerId> {
        self.peers.iter().filter(|(_, info)| !info.is_connected).map(|(peer, _)| *peer)
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
        if self.peers.iter().any(|(_, info)| !(0.0..=100.0).contains(&info.reputation)) {
            return Err("a reputation outside 0 to 100");
        }
        self.peers.check()
    }
}

/// The longest head of `text` of at most `max` bytes.
pub(super) fn cut(text: &str, max: usize) -> &str {
    text.get(..text.floor_char_boundary(max)).unwrap_or(text)
}

fn set_text(field: &mut String, value: &str) {
    if !value.is_empty() && field != value {
        *field = value.to_string();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> PeerId {
        PeerId::from_ed25519(&[n; 32])
    }

    fn registry() -> Registry {
        Registry::new(&Limits { peers_known_max: 10, ..Limits::default() }, HashKey::known())
    }

    #[test]
    fn t107_put_keeps_what_is_not_told_and_lets_the_height_go_down() {
        let mut registry = registry();
        registry.touch(Now::at_secs(0), peer(1), peer(1), 10);
        let told =
            Told { client_name: "a", height: 9, data_hub_url: "u", storage: "full", ..Told::default() };
        registry.put(&peer(1), &told);
        registry.put(&peer(1), &Told { height: 5, block_hash: Some(Hash256([1; 32])), ..Told::default() });
        let info = registry.get(&peer(1)).unwrap();
        assert_eq!(
            (info.client_name.as_str(), info.data_hub_url.as_str(), info.storage.as_str()),
            ("a", "u", "full")
        );
        assert_eq!((info.height, info.block_hash), (5, Some(Hash256([1; 32]))));
    }

    #[test]
    fn a_text_of_any_length_takes_no_more_memory_than_an_ordinary_one() {
        let mut registry = registry();
        registry.touch(Now::at_secs(0), peer(1), peer(1), 10);
        let (ordinary, endless) = ("é".repeat(128), "é".repeat(1 << 20));
        let url = alloc::format!("http://a.example/{endless}");
        for client_name in [&ordinary, &endless] {
            let told = Told { client_name, data_hub_url: &url, storage: &endless, ..Told::default() };
            registry.put(&peer(1), &told);
            let info = registry.get(&peer(1)).unwrap();
            assert_eq!(
                (&info.client_name, info.data_hub_url.as_str(), &info.storage),
                (&ordinary, "", &ordinary)
            );
        }
    }

    #[test]
    fn t108_what_is_told_of_an_unknown_peer_changes_nothing() {
        let mut registry = registry();
        registry.put(&peer(1), &Told { height: 5, ..Told::default() });
        registry.set_reputation(&peer(1), 1.0);
        registry.disconnected(&peer(1));
        assert!(registry.is_empty());
    }

    #[test]
    fn a_connected_peer_is_never_pushed_out_by_invented_ones() {
        let mut registry = registry();
        registry.connected(Now::at_secs(0), peer(1), true);
        for n in 20..100 {
            registry.touch(Now::at_secs(1), peer(n), peer(1), 1);
        }
        for n in 100..200 {
            registry.touch(Now::at_secs(1), peer(n), peer(9), 1);
        }
        assert!(registry.get(&peer(1)).is_some_and(|info| info.is_connected));
        assert_eq!(registry.len(), 10);
        assert_eq!(registry.check(), Ok(()));
    }

    #[test]
    fn a_connection_displaces_a_stranger_where_everybody_holds_one_entry() {
        let mut registry = registry();
        for n in 1..=10 {
            registry.touch(Now::at_secs(u64::from(n)), peer(n), peer(n), 1);
        }
        registry.connected(Now::at_secs(20), peer(20), true);
        assert!(registry.get(&peer(20)).is_some_and(|info| info.is_connected));
        assert!(registry.get(&peer(1)).is_none() && registry.get(&peer(2)).is_some());
    }

    #[test]
    fn who_is_neither_heard_nor_connected_is_forgotten() {
        let mut registry = registry();
        registry.connected(Now::at_secs(0), peer(1), true);
        registry.touch(Now::at_secs(0), peer(2), peer(1), 1);
        registry.touch(Now::at_secs(50), peer(3), peer(1), 1);
        assert!(!registry.sweep(Now::at_secs(100), Duration::from_secs(60), 9));
        let left: alloc::vec::Vec<PeerId> = registry.iter().map(|(peer, _)| *peer).collect();
        assert_eq!(left.len(), 2);
        assert!(!left.contains(&peer(2)));
    }

    #[test]
    fn a_claim_is_compared_as_text() {
        let mut registry = registry();
        let text = peer(1).to_base58();
        assert!(registry.is_claim_of(&peer(1), &text));
        registry.touch(Now::at_secs(0), peer(1), peer(1), 1);
        assert!(registry.is_claim_of(&peer(1), &text));
        assert!(!registry.is_claim_of(&peer(1), &peer(2).to_base58()));
    }

    #[test]
    fn t109_byte_counts_add_up_and_never_overflow() {
        let mut registry = registry();
        for _ in 0..80_000 {
            registry.touch(Now::at_secs(0), peer(1), peer(1), 3);
        }
        assert_eq!(registry.get(&peer(1)).map(|info| info.bytes_received), Some(240_000));
    }
}
