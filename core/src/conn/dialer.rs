//! Whom to dial and when.
//!
//! A target is kept (bootstrap and static peers: redialled for ever) or found (cache, DHT, other peers: given up after
//! a few failures, dropped once connected or when there are peers enough). Kept ones go first: no number of found ones
//! takes their place or their turn. Of the found ones, no source takes another's share.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use peerage_proto::multiaddr::Multiaddr;
use peerage_proto::peer_id::PeerId;

use super::admission::passes_gate;
use super::{Action, Config, DialError, Source};
use crate::common::backoff::Backoff;
use crate::explain::Notice;
use crate::input;
use crate::node::ctx::{Ctx, DialTarget, Purpose};
use crate::op::OpId;
use crate::rng::Rng;
use crate::sink::Sink;
use crate::state::state;
use crate::time::{Instant, Now};

/// A connection that lasted less counts as a failure, so that a peer that drops us at once is not redialled at once.
const STABLE: Duration = Duration::from_secs(30);
/// The sources of found targets.
const FOUND_SOURCES: [Source; 4] = [Source::Cache, Source::Dht, Source::Peer, Source::Mdns];

state! {
    #[derive(Clone, Debug)]
    struct Target {
        addrs: Vec<Multiaddr>,
        source: Source,
        /// Its place among those of its source.
        number: u64,
        backoff: Backoff,
        /// When it is dialled next; none while connected or being dialled.
        due: Option<Instant>,
        op: Option<OpId>,
    }
}

state! {
    /// Targets and when each is due.
    #[derive(Clone, Debug)]
    pub struct Dialer {
        targets: BTreeMap<DialTarget, Target>,
        /// When each is due: kept ones and found ones.
        due_kept: BTreeSet<(Instant, DialTarget)>,
        due_found: BTreeSet<(Instant, DialTarget)>,
        /// Targets by source and by the order in which they came.
        by_source: BTreeMap<(Source, u64), DialTarget>,
        /// How many there are of each source.
        counts: BTreeMap<Source, u32>,
        next_number: u64,
        inflight: u32,
        /// Of them: dials of found targets.
        inflight_found: u32,
        rng: Rng,
    }
}

const fn is_kept(source: Source) -> bool {
    matches!(source, Source::Bootstrap | Source::Static)
}

impl Dialer {
    /// A dialer without targets.
    pub fn new(seed: &[u8; 32]) -> Self {
        Self {
            targets: BTreeMap::new(),
            due_kept: BTreeSet::new(),
            due_found: BTreeSet::new(),
            by_source: BTreeMap::new(),
            counts: BTreeMap::new(),
            next_number: 0,
            inflight: 0,
            inflight_found: 0,
            rng: Rng::fork(seed, "conn/dialer"),
        }
    }

    /// Keeps a target in mind and dials it at once. Addresses that the gate refuses are left out; a found target
    /// without any other is ignored, and so is one for which there is no room.
    pub fn add<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        config: &Config,
        key: DialTarget,
        addrs: impl IntoIterator<Item = Multiaddr>,
        source: Source,
    ) {
        let addrs: Vec<Multiaddr> = addrs
            .into_iter()
            .map(|addr| addr.without_p2p())
            .filter(|addr| passes_gate(config, addr) && !addr.is_relayed())
            .take(cx.limits.addresses_per_peer_max as usize)
            .collect();
        if addrs.is_empty() && !is_kept(source) {
            return;
        }
        if self.targets.contains_key(&key) {
            return self.add_to(&key, addrs, source, cx.limits.addresses_per_peer_max as usize);
        }
        if self.targets.len() >= cx.limits.dial_targets_max as usize {
            cx.counters.dial_targets_dropped = cx.counters.dial_targets_dropped.saturating_add(1);
            let Some(victim) = self.victim(source) else { return };
            self.forget(&victim);
        }
        let backoff = Backoff::new(config.redial_first, config.redial_max);
        self.targets.insert(key.clone(), Target { addrs, source, number: 0, backoff, due: None, op: None });
        self.file(&key, source);
        self.schedule(&key, cx.now.mono);
    }

    /// A target that is known: further addresses, and perhaps it is to be kept from now on.
    fn add_to(&mut self, key: &DialTarget, addrs: Vec<Multiaddr>, source: Source, room: usize) {
        let Some(target) = self.targets.get_mut(key) else { return };
        for addr in addrs {
            if !target.addrs.contains(&addr) && target.addrs.len() < room {
                target.addrs.push(addr);
            }
        }
        let (former, due, runs) = (target.source, target.due, target.op.is_some());
        if !is_kept(source) || is_kept(former) {
            return;
        }
        self.unschedule(key);
        self.unfile(key);
        self.file(key, source);
        if runs {
            self.inflight_found = self.inflight_found.saturating_sub(1);
        }
        if let Some(at) = due {
            self.schedule(key, at);
        }
    }

    /// Who gives way to a target of `source` when every place is taken: for a kept one the newest of the found source
    /// that holds most; for a found one the same, if that holds more than the newcomer's source will.
    fn victim(&self, source: Source) -> Option<DialTarget> {
        let held = |source: &Source| self.counts.get(source).copied().unwrap_or(0);
        let largest = FOUND_SOURCES.into_iter().max_by_key(held)?;
        let may = is_kept(source) || held(&largest) > held(&source).saturating_add(1);
        let range = (largest, 0)..=(largest, u64::MAX);
        let mut of_largest = self.by_source.range(range).rev().map(|(_, key)| key);
        // Those being dialled stay: they are few.
        let idle = |key: &&DialTarget| self.targets.get(*key).is_some_and(|target| target.op.is_none());
        if may { of_largest.find(idle).cloned() } else { None }
    }

    /// Enters a target under its source.
    fn file(&mut self, key: &DialTarget, source: Source) {
        let Some(target) = self.targets.get_mut(key) else { return };
        (target.source, target.number) = (source, self.next_number);
        self.by_source.insert((source, self.next_number), key.clone());
        *self.counts.entry(source).or_default() += 1;
        self.next_number += 1;
    }

    fn unfile(&mut self, key: &DialTarget) {
        let Some(target) = self.targets.get(key) else { return };
        if self.by_source.remove(&(target.source, target.number)).is_none() {
            return;
        }
        let Some(count) = self.counts.get_mut(&target.source) else { return };
        *count -= 1;
        if *count == 0 {
            self.counts.remove(&target.source);
        }
    }

    /// The set in which targets of `source` wait.
    fn due_of(&mut self, source: Source) -> &mut BTreeSet<(Instant, DialTarget)> {
        if is_kept(source) { &mut self.due_kept } else { &mut self.due_found }
    }

    fn schedule(&mut self, key: &DialTarget, at: Instant) {
        self.unschedule(key);
        let Some(target) = self.targets.get_mut(key) else { return };
        target.due = Some(at);
        let source = target.source;
        self.due_of(source).insert((at, key.clone()));
    }

    fn unschedule(&mut self, key: &DialTarget) {
        let Some(target) = self.targets.get_mut(key) else { return };
        let (source, due) = (target.source, target.due.take());
        if let Some(former) = due {
            self.due_of(source).remove(&(former, key.clone()));
        }
    }

    fn forget(&mut self, key: &DialTarget) {
        self.unschedule(key);
        self.unfile(key);
        self.targets.remove(key);
    }

    /// Dials of found targets that may run at once: a quarter of the places is left to kept ones.
    const fn found_max(config: &Config) -> u32 {
        config.dials_inflight_max - config.dials_inflight_max / 4
    }

    /// What is next: kept ones and found ones, each only while a dial of its kind may run.
    fn next_of_each(&self, config: &Config) -> impl Iterator<Item = &(Instant, DialTarget)> {
        let room_for_found = self.inflight_found < Self::found_max(config);
        self.due_kept.first().into_iter().chain(self.due_found.first().filter(|_| room_for_found))
    }

    /// When the next target is due; none while every dial that may run does, or no connection has `room`.
    pub fn next_due(&self, config: &Config, room: usize) -> Option<Instant> {
        if self.inflight >= config.dials_inflight_max || self.inflight as usize >= room {
            return None;
        }
        self.next_of_each(config).map(|(at, _)| *at).min()
    }

    /// Dials what is due, up to the budget of one input and `room` further connections. `enough`: connections suffice,
    /// found targets are dropped. Who `is_banned` is not dialled: a found one is forgotten, a kept one waits.
    pub fn dial_due<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        config: &Config,
        enough: bool,
        room: usize,
        is_banned: impl Fn(&PeerId) -> bool,
    ) {
        for _ in 0..cx.limits.work_per_input_max {
            if self.next_due(config, room).is_none_or(|at| at > cx.now.mono) {
                return;
            }
            let due = self.next_of_each(config).find(|(at, _)| *at <= cx.now.mono);
            let Some((_, key)) = due.cloned() else { return };
            let Some(target) = self.targets.get(&key) else { return };
            let (kept, addrs) = (is_kept(target.source), target.addrs.clone());
            let banned = peer_of(&key).is_some_and(|peer| is_banned(&peer));
            if banned {
                cx.counters.dials_banned = cx.counters.dials_banned.saturating_add(1);
            }
            match (kept, banned || enough && !kept) {
                (false, true) => self.forget(&key),
                (true, true) => self.schedule(&key, cx.now.mono.after(config.redial_max)),
                (_, false) => {
                    if !self.dial(cx, &key, addrs) {
                        return self.schedule(&key, cx.now.mono.after(config.redial_max));
                    }
                }
            }
        }
    }

    /// Begins a dial. `false` if no operation can be begun.
    fn dial<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        key: &DialTarget,
        addrs: Vec<Multiaddr>,
    ) -> bool {
        let Some(op) = cx.begin(Purpose::Dial(key.clone())) else { return false };
        self.unschedule(key);
        if let Some(target) = self.targets.get_mut(key) {
            target.op = Some(op);
            self.inflight_found += u32::from(!is_kept(target.source));
        }
        self.inflight += 1;
        cx.push(Action::Dial { op, peer: peer_of(key), addrs });
        true
    }

    /// A dial ended.
    pub fn on_dialed<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        config: &Config,
        key: &DialTarget,
        error: Option<DialError>,
        is_connected: impl Fn(&PeerId) -> bool,
    ) {
        self.inflight = self.inflight.saturating_sub(1);
        let Some(target) = self.targets.get_mut(key) else { return };
        if target.op.take().is_some() && !is_kept(target.source) {
            self.inflight_found = self.inflight_found.saturating_sub(1);
        }
        let source = target.source;
        let Some(error) = error else {
            if matches!(key, DialTarget::Address(_)) {
                // Closed before it could say who it was; otherwise it has become that peer's target.
                self.retry(cx.now, config, key, false);
            }
            return;
        };
        if let DialTarget::Peer(peer) = key
            && is_connected(peer)
        {
            // The peer came to us meanwhile.
            return self.on_connected(*peer);
        }
        let retry = self.retry(cx.now, config, key, error == DialError::Ourselves);
        let retry_ms = retry.map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
        cx.tell(Notice::DialFailed { peer: peer_of(key), source, error, retry_ms });
    }

    /// Plans the next attempt after a failure, or gives the target up.
    fn retry(&mut self, now: Now, config: &Config, key: &DialTarget, hopeless: bool) -> Option<Duration> {
        let target = self.targets.get_mut(key)?;
        let tired = target.backoff.failures() + 1 >= config.found_dial_failures_max;
        if hopeless || (tired && !is_kept(target.source)) {
            self.forget(key);
            return None;
        }
        let delay = target.backoff.next(&mut self.rng);
        self.schedule(key, now.mono.after(delay));
        Some(delay)
    }

    /// A peer is connected now.
    pub fn on_connected(&mut self, peer: PeerId) {
        let key = DialTarget::Peer(peer);
        if self.targets.get(&key).is_some_and(|target| !is_kept(target.source) && target.op.is_none()) {
            self.forget(&key);
        } else {
            self.unschedule(&key);
        }
    }

    /// A peer's last connection ended; it had lasted `lasted`.
    pub fn on_disconnected(&mut self, now: Now, config: &Config, peer: PeerId, lasted: Duration) {
        let key = DialTarget::Peer(peer);
        let Some(target) = self.targets.get_mut(&key) else { return };
        if !is_kept(target.source) {
            return;
        }
        if lasted >= STABLE {
            target.backoff.reset();
        }
        self.retry(now, config, &key, false);
    }

    /// A connection that was dialled by address only has told its peer: from now on it is kept as that peer.
    pub fn identify<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        config: &Config,
        addr: &DialTarget,
        peer: PeerId,
    ) {
        let Some(target) = self.targets.get(addr).cloned() else { return };
        self.forget(addr);
        let key = DialTarget::Peer(peer);
        self.add(cx, config, key.clone(), target.addrs, target.source);
        self.unschedule(&key);
    }

    /// Whether `peer` is one that we keep connected: by its id, however it was found out.
    pub fn keeps(&self, peer: &PeerId) -> bool {
        self.targets.get(&DialTarget::Peer(*peer)).is_some_and(|target| is_kept(target.source))
    }

    /// Dials running.
    pub fn inflight(&self) -> u32 {
        self.inflight
    }

    /// Number of targets.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// Full structural check.
    ///
    /// # Errors
    /// What does not hold.
    pub fn check(&self) -> Result<(), &'static str> {
        let due = self.targets.values().filter(|target| target.due.is_some()).count();
        if due != self.due_kept.len() + self.due_found.len() {
            return Err("targets and what is due disagree");
        }
        let counted: u64 = self.counts.values().map(|count| u64::from(*count)).sum();
        if counted != self.targets.len() as u64 || self.by_source.len() != self.targets.len() {
            return Err("targets and their sources disagree");
        }
        let found = |target: &&Target| target.op.is_some() && !is_kept(target.source);
        let running = self.targets.values().filter(found).count();
        if running == self.inflight_found as usize {
            Ok(())
        } else {
            Err("dials of found targets are miscounted")
        }
    }
}

/// Who is expected at a target.
const fn peer_of(key: &DialTarget) -> Option<PeerId> {
    match key {
        DialTarget::Peer(peer) => Some(*peer),
        DialTarget::Address(_) => None,
    }
}
