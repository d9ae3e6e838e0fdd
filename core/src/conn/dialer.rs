//! Whom to dial and when.
//!
//! A target is kept (bootstrap and static peers: redialled for ever) or found (cache, DHT, other peers: given up after
//! a few failures, dropped once connected or when there are peers enough).

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

state! {
    #[derive(Clone, Debug)]
    struct Target {
        addrs: Vec<Multiaddr>,
        source: Source,
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
        due: BTreeSet<(Instant, DialTarget)>,
        inflight: u32,
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
            due: BTreeSet::new(),
            inflight: 0,
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
        if let Some(target) = self.targets.get_mut(&key) {
            let room = cx.limits.addresses_per_peer_max as usize;
            for addr in addrs {
                if !target.addrs.contains(&addr) && target.addrs.len() < room {
                    target.addrs.push(addr);
                }
            }
            if is_kept(source) {
                target.source = source;
            }
            return;
        }
        if self.targets.len() >= cx.limits.dial_targets_max as usize {
            cx.counters.dial_targets_dropped = cx.counters.dial_targets_dropped.saturating_add(1);
            return;
        }
        let backoff = Backoff::new(config.redial_first, config.redial_max);
        self.targets.insert(key.clone(), Target { addrs, source, backoff, due: None, op: None });
        self.schedule(&key, cx.now.mono);
    }

    fn schedule(&mut self, key: &DialTarget, at: Instant) {
        let Some(target) = self.targets.get_mut(key) else { return };
        if let Some(former) = target.due.replace(at) {
            self.due.remove(&(former, key.clone()));
        }
        self.due.insert((at, key.clone()));
    }

    fn unschedule(&mut self, key: &DialTarget) {
        if let Some(former) = self.targets.get_mut(key).and_then(|target| target.due.take()) {
            self.due.remove(&(former, key.clone()));
        }
    }

    fn forget(&mut self, key: &DialTarget) {
        self.unschedule(key);
        self.targets.remove(key);
    }

    /// When the next target is due; none while every dial that may run does, or no connection has `room`.
    pub fn next_due(&self, config: &Config, room: usize) -> Option<Instant> {
        if self.inflight >= config.dials_inflight_max || self.inflight as usize >= room {
            return None;
        }
        self.due.first().map(|(at, _)| *at)
    }

    /// Dials what is due, up to the budget of one input and `room` further connections. `enough`: connections suffice,
    /// found targets are dropped.
    pub fn dial_due<S: Sink<input::Action>>(
        &mut self,
        cx: &mut Ctx<'_, S>,
        config: &Config,
        enough: bool,
        room: usize,
    ) {
        for _ in 0..cx.limits.work_per_input_max {
            if self.next_due(config, room).is_none_or(|at| at > cx.now.mono) {
                return;
            }
            let Some((_, key)) = self.due.pop_first() else { return };
            let Some(target) = self.targets.get_mut(&key) else { continue };
            target.due = None;
            if enough && !is_kept(target.source) {
                self.forget(&key);
                continue;
            }
            let addrs = target.addrs.clone();
            let peer = match &key {
                DialTarget::Peer(peer) => Some(*peer),
                DialTarget::Address(_) => None,
            };
            let Some(op) = cx.begin(Purpose::Dial(key.clone())) else {
                self.schedule(&key, cx.now.mono.after(config.redial_max));
                return;
            };
            if let Some(target) = self.targets.get_mut(&key) {
                target.op = Some(op);
            }
            self.inflight += 1;
            cx.push(Action::Dial { op, peer, addrs });
        }
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
        target.op = None;
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
        let peer = match key {
            DialTarget::Peer(peer) => Some(*peer),
            DialTarget::Address(_) => None,
        };
        let retry_ms = retry.map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
        cx.tell(Notice::DialFailed { peer, source, error, retry_ms });
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
}
