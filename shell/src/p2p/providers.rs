//! Who provides what, as peers tell it to the DHT. Stock's own store forgets an expired record only when somebody looks its
//! key up, so that a thousand invented keys would fill it for ever; and it has no share for each peer.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use libp2p::PeerId;
use libp2p::kad::store::{Error, RecordStore, Result};
use libp2p::kad::{ProviderRecord, Record, RecordKey};

/// Keys at once.
pub const KEYS_MAX: usize = 1024;
/// Providers of one key: k, as stock's store has it.
pub const PROVIDERS_MAX: usize = 20;
/// Records of one provider. The family announces four topics.
pub const PROVIDER_SHARE: usize = 64;
/// Addresses kept of one record.
pub const ADDRESSES_MAX: usize = 8;
/// Longest address kept, in bytes.
pub const ADDRESS_BYTES_MAX: usize = 256;
/// Longest key, in bytes: a multihash has at most 68.
pub const KEY_BYTES_MAX: usize = 128;
/// Between two sweeps.
pub const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// Between two sweeps of a store that is full.
pub const FULL_SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Provider records with an end, and no value records: the family has none.
#[derive(Debug)]
pub struct Providers {
    local: PeerId,
    keys: BTreeMap<Vec<u8>, Vec<ProviderRecord>>,
    shares: BTreeMap<PeerId, usize>,
    /// What all records cost, and may.
    bytes: usize,
    bytes_max: usize,
    swept: Instant,
    refused: u64,
}

impl Providers {
    /// No records yet.
    pub fn new(local: PeerId) -> Self {
        Self {
            local,
            keys: BTreeMap::new(),
            shares: BTreeMap::new(),
            bytes: 0,
            bytes_max: usize::MAX,
            swept: Instant::now(),
            refused: 0,
        }
    }

    /// All records together cost at most so many bytes; our own are kept in any case.
    pub fn bound(&mut self, bytes: usize) {
        self.bytes_max = bytes;
    }

    /// Number of keys with providers.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether nobody provides anything.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Records refused for want of room, or because their provider had its share.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Forgets what has expired, if it is time. At most 20,480 records are looked at.
    pub fn sweep(&mut self, now: Instant) {
        let interval = if self.keys.len() < KEYS_MAX { SWEEP_INTERVAL } else { FULL_SWEEP_INTERVAL };
        if now.saturating_duration_since(self.swept) < interval {
            return;
        }
        self.swept = now;
        let Self { keys, shares, bytes, .. } = self;
        keys.retain(|_, records| {
            records.retain(|record| {
                let stays = !record.is_expired(now);
                if !stays {
                    leave(shares, &record.provider);
                    *bytes -= cost(record);
                }
                stays
            });
            !records.is_empty()
        });
    }

    /// What a record may be kept as: room for its key, and within the share of its provider. Our own always.
    fn has_room(&self, record: &ProviderRecord) -> bool {
        let key: &[u8] = record.key.as_ref();
        let known = self.keys.contains_key(key);
        let share = self.shares.get(&record.provider).copied().unwrap_or_default();
        record.provider == self.local
            || self.bytes.saturating_add(cost(record)) <= self.bytes_max
                && key.len() <= KEY_BYTES_MAX
                && (known || self.keys.len() < KEYS_MAX)
                && share < PROVIDER_SHARE
    }
}

/// What a record costs, in bytes: its key, its addresses, and the places that these take.
fn cost(record: &ProviderRecord) -> usize {
    let addresses: usize = record.addresses.iter().map(|addr| addr.len() + 64).sum();
    256 + record.key.as_ref().len() + addresses
}

fn leave(shares: &mut BTreeMap<PeerId, usize>, provider: &PeerId) {
    if let Some(count) = shares.get_mut(provider) {
        *count -= 1;
        if *count == 0 {
            shares.remove(provider);
        }
    }
}

impl RecordStore for Providers {
    type RecordsIter<'a> = std::iter::Empty<Cow<'a, Record>>;
    type ProvidedIter<'a> = std::vec::IntoIter<Cow<'a, ProviderRecord>>;

    fn get(&self, _: &RecordKey) -> Option<Cow<'_, Record>> {
        None
    }

    fn put(&mut self, _: Record) -> Result<()> {
        Err(Error::MaxRecords)
    }

    fn remove(&mut self, _: &RecordKey) {}

    fn records(&self) -> Self::RecordsIter<'_> {
        std::iter::empty()
    }

    fn add_provider(&mut self, mut record: ProviderRecord) -> Result<()> {
        self.sweep(Instant::now());
        record.addresses.retain(|addr| addr.len() <= ADDRESS_BYTES_MAX);
        record.addresses.truncate(ADDRESSES_MAX);
        let known = self.keys.get_mut(record.key.as_ref());
        if let Some(old) =
            known.and_then(|records| records.iter_mut().find(|old| old.provider == record.provider))
        {
            let bytes = self.bytes + cost(&record) - cost(old);
            if bytes > self.bytes_max && cost(&record) > cost(old) && record.provider != self.local {
                self.refused += 1;
                return Err(Error::MaxProvidedKeys);
            }
            self.bytes = bytes;
            *old = record;
            return Ok(());
        }
        if !self.has_room(&record) {
            self.refused += 1;
            return Err(Error::MaxProvidedKeys);
        }
        let records = self.keys.entry(record.key.to_vec()).or_default();
        // The first stay, as in stock's store: later inventions push nobody out.
        if records.len() >= PROVIDERS_MAX && record.provider != self.local {
            self.refused += 1;
            return Ok(());
        }
        *self.shares.entry(record.provider).or_default() += 1;
        self.bytes += cost(&record);
        records.push(record);
        Ok(())
    }

    fn providers(&self, key: &RecordKey) -> Vec<ProviderRecord> {
        self.keys.get(key.as_ref()).cloned().unwrap_or_default()
    }

    fn provided(&self) -> Self::ProvidedIter<'_> {
        let records = self.keys.values().flatten();
        let own: Vec<_> = records.filter(|record| record.provider == self.local).map(Cow::Borrowed).collect();
        own.into_iter()
    }

    fn remove_provider(&mut self, key: &RecordKey, provider: &PeerId) {
        let Some(records) = self.keys.get_mut(key.as_ref()) else { return };
        if let Some(at) = records.iter().position(|record| record.provider == *provider) {
            self.bytes -= cost(&records.remove(at));
            leave(&mut self.shares, provider);
        }
        if records.is_empty() {
            self.keys.remove(key.as_ref());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: usize, provider: PeerId, expires: Option<Instant>) -> ProviderRecord {
        let mut record = ProviderRecord::new(key.to_be_bytes().to_vec(), provider, Vec::new());
        record.expires = expires;
        record
    }

    fn later() -> Option<Instant> {
        Some(Instant::now() + Duration::from_secs(3600))
    }

    #[test]
    fn expired_records_that_nobody_looks_up_give_their_room_back() {
        let mut store = Providers::new(PeerId::random());
        let past = Some(Instant::now());
        for key in 0..KEYS_MAX {
            store.add_provider(record(key, PeerId::random(), past)).unwrap();
        }
        store.swept = store.swept.checked_sub(FULL_SWEEP_INTERVAL).unwrap();
        store.add_provider(record(KEYS_MAX, PeerId::random(), later())).unwrap();
        assert_eq!((store.len(), store.shares.len()), (1, 1), "the full store was swept");
        store.sweep(Instant::now() + 2 * Duration::from_secs(3600));
        assert!(store.is_empty() && store.shares.is_empty(), "and so is one with room, each minute");
    }

    #[test]
    fn a_provider_gets_its_share_and_leaves_room_for_others() {
        let mut store = Providers::new(PeerId::random());
        let greedy = PeerId::random();
        let taken =
            (0..KEYS_MAX).filter(|key| store.add_provider(record(*key, greedy, later())).is_ok()).count();
        assert_eq!(taken, PROVIDER_SHARE);
        assert_eq!(store.refused(), (KEYS_MAX - PROVIDER_SHARE) as u64);
        store.add_provider(record(KEYS_MAX, PeerId::random(), later())).unwrap();
        store.remove_provider(&record(0, greedy, None).key, &greedy);
        store.add_provider(record(0, greedy, later())).unwrap();
    }

    #[test]
    fn records_cost_no_more_than_their_bound_and_what_goes_gives_it_back() {
        let mut store = Providers::new(PeerId::random());
        let providers: Vec<_> = (0..20).map(|_| PeerId::random()).collect();
        let plain = cost(&record(0, providers[0], None));
        store.bound(10 * plain);
        let taken = |store: &mut Providers| {
            let add = |(key, provider): (usize, &PeerId)| store.add_provider(record(key, *provider, later()));
            providers.iter().enumerate().map(add).filter(std::result::Result::is_ok).count()
        };
        assert_eq!((taken(&mut store), store.bytes), (10, 10 * plain));
        assert_eq!(taken(&mut store), 10, "renewing costs nothing");
        let mut longer = record(0, providers[0], later());
        longer.addresses.push("/ip4/127.0.0.1/tcp/1".parse().unwrap());
        assert!(store.add_provider(longer).is_err(), "but more addresses do");
        store.remove_provider(&record(0, providers[0], None).key, &providers[0]);
        assert_eq!(store.bytes, 9 * plain);
        store.sweep(Instant::now() + 2 * Duration::from_secs(3600));
        assert_eq!((store.bytes, store.len()), (0, 0));
    }

    #[test]
    fn what_we_provide_ourselves_finds_room_in_a_full_store() {
        let local = PeerId::random();
        let mut store = Providers::new(local);
        for key in 0..KEYS_MAX {
            store.add_provider(record(key, PeerId::random(), later())).unwrap();
        }
        assert!(store.add_provider(record(KEYS_MAX, PeerId::random(), later())).is_err());
        store.add_provider(record(KEYS_MAX, local, later())).unwrap();
        assert_eq!(store.provided().count(), 1);
    }

    #[test]
    fn a_key_has_at_most_k_providers_and_a_record_is_renewed_in_its_place() {
        let mut store = Providers::new(PeerId::random());
        let first = PeerId::random();
        store.add_provider(record(1, first, Some(Instant::now()))).unwrap();
        for _ in 0..2 * PROVIDERS_MAX {
            store.add_provider(record(1, PeerId::random(), later())).unwrap();
        }
        store.add_provider(record(1, first, later())).unwrap();
        let providers = store.providers(&record(1, first, None).key);
        assert_eq!(providers.len(), PROVIDERS_MAX);
        assert!(!providers[0].is_expired(Instant::now()) && providers[0].provider == first);
    }
}
