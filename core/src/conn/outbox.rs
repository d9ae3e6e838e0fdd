//! What waits to be sent to each peer: three classes, bounded in bytes and age.
//!
//! Frames leave in the order high, normal, bulk, and within a class as they came. A class that is full takes nothing more;
//! one that is empty takes any frame. What waits too long is dropped when its turn comes or at the next sweep. All peers
//! together share a budget of bytes in which each is guaranteed a part, so that one that does not read takes nothing from
//! the others.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use peerage_proto::peer_id::PeerId;

use crate::common::share::Shares;
use crate::state::state;
use crate::time::Instant;

/// How urgent a frame is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Class {
    /// Membership, and own messages.
    High,
    /// Messages that are handed on.
    Normal,
    /// Gossip about messages, and what is given for asking.
    Bulk,
}

impl Class {
    /// Number of classes.
    pub const COUNT: usize = 3;
    /// Every class, the most urgent first.
    pub const ALL: [Self; Self::COUNT] = [Self::High, Self::Normal, Self::Bulk];

    /// Name for metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Bulk => "bulk",
        }
    }
}

/// Bounds of the outboxes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Bytes in flight to one peer from which nothing more is sent. One frame may pass it.
    pub window_bytes: u64,
    /// Bytes that wait in each class for one peer.
    pub class_bytes_max: [u64; Class::COUNT],
    /// How long a frame of each class may wait.
    pub age_max: [Duration; Class::COUNT],
    /// Bytes that wait for all peers together.
    pub bytes_max: u64,
    /// Peers that room is guaranteed to.
    pub peers_max: u32,
}

state! {
    #[derive(Clone, Debug)]
    struct Waiting {
        frame: Bytes,
        since: Instant,
    }
}

state! {
    /// Frames of one class.
    #[derive(Clone, Debug, Default)]
    struct Queue {
        frames: VecDeque<Waiting>,
        bytes: u64,
    }
}

state! {
    /// What waits for one peer.
    #[derive(Clone, Debug, Default)]
    struct Outbox {
        high: Queue,
        normal: Queue,
        bulk: Queue,
        /// Bytes handed to the transport and not yet written by it.
        in_flight: u64,
        /// Whether a stream stands.
        is_open: bool,
    }
}

impl Outbox {
    fn queue(&mut self, class: Class) -> &mut Queue {
        match class {
            Class::High => &mut self.high,
            Class::Normal => &mut self.normal,
            Class::Bulk => &mut self.bulk,
        }
    }

    fn waits(&self) -> bool {
        [&self.high, &self.normal, &self.bulk].iter().any(|queue| !queue.frames.is_empty())
    }

    fn bytes(&self) -> u64 {
        self.high.bytes.saturating_add(self.normal.bytes).saturating_add(self.bulk.bytes)
    }
}

state! {
    /// What became of the frames of one class: `queued` is the sum of the others and of what waits.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Outcomes {
        /// Frames taken in.
        pub queued: u64,
        /// Of them: handed to the transport.
        pub sent: u64,
        /// Of them: dropped because they waited too long.
        pub aged: u64,
        /// Of them: dropped with their peer.
        pub gone: u64,
        /// Of them: dropped for lack of memory.
        pub shed: u64,
        /// Frames not taken in because the class, or the peer's part of the budget, was full.
        pub refused: u64,
        /// Bytes of those that wait.
        pub waiting_bytes: u64,
    }
}

impl Outcomes {
    /// Frames that wait.
    pub fn waiting(&self) -> u64 {
        let ended = self.sent.saturating_add(self.aged).saturating_add(self.gone).saturating_add(self.shed);
        self.queued.saturating_sub(ended)
    }

    fn left(&mut self, bytes: u64) {
        self.waiting_bytes = self.waiting_bytes.saturating_sub(bytes);
    }
}

state! {
    /// See the module's documentation. Nothing of a peer is left when it is removed.
    #[derive(Clone, Debug)]
    pub struct Outboxes {
        by_peer: BTreeMap<PeerId, Outbox>,
        /// Who may be sent something: empty between inputs.
        ready: BTreeSet<PeerId>,
        shares: Shares,
        high: Outcomes,
        normal: Outcomes,
        bulk: Outcomes,
    }
}

fn bump(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}

impl Outboxes {
    /// No peers.
    pub fn new(bounds: &Bounds) -> Self {
        Self {
            by_peer: BTreeMap::new(),
            ready: BTreeSet::new(),
            shares: Shares::new(bounds.bytes_max, bounds.peers_max),
            high: Outcomes::default(),
            normal: Outcomes::default(),
            bulk: Outcomes::default(),
        }
    }

    fn outcomes_mut(&mut self, class: Class) -> &mut Outcomes {
        match class {
            Class::High => &mut self.high,
            Class::Normal => &mut self.normal,
            Class::Bulk => &mut self.bulk,
        }
    }

    /// What became of the frames of a class.
    pub fn outcomes(&self, class: Class) -> &Outcomes {
        match class {
            Class::High => &self.high,
            Class::Normal => &self.normal,
            Class::Bulk => &self.bulk,
        }
    }

    /// A peer is there. Frames for it may wait from now on.
    pub fn add(&mut self, peer: PeerId) {
        self.by_peer.entry(peer).or_default();
    }

    /// A peer is gone, and what waited for it.
    pub fn remove(&mut self, peer: &PeerId) {
        let Some(outbox) = self.by_peer.remove(peer) else { return };
        self.ready.remove(peer);
        self.shares.give(peer, outbox.bytes());
        for (class, queue) in Class::ALL.into_iter().zip([outbox.high, outbox.normal, outbox.bulk]) {
            let gone = queue.frames.len() as u64;
            let outcomes = self.outcomes_mut(class);
            outcomes.gone = outcomes.gone.saturating_add(gone);
            outcomes.left(queue.bytes);
        }
    }

    /// A stream to `peer` stands: what waits may leave.
    pub fn open(&mut self, peer: PeerId) {
        if let Some(outbox) = self.by_peer.get_mut(&peer) {
            (outbox.is_open, outbox.in_flight) = (true, 0);
            self.ready.insert(peer);
        }
    }

    /// The stream to `peer` is gone, with what was in flight.
    pub fn close(&mut self, peer: &PeerId) {
        if let Some(outbox) = self.by_peer.get_mut(peer) {
            (outbox.is_open, outbox.in_flight) = (false, 0);
            self.ready.remove(peer);
        }
    }

    /// Whether something may be sent to `peer` at once.
    pub fn is_open(&self, peer: &PeerId) -> bool {
        self.by_peer.get(peer).is_some_and(|outbox| outbox.is_open)
    }

    /// `bytes` to `peer` were written by the transport.
    pub fn written(&mut self, peer: PeerId, bytes: u64) {
        if let Some(outbox) = self.by_peer.get_mut(&peer) {
            outbox.in_flight = outbox.in_flight.saturating_sub(bytes);
            if outbox.is_open && outbox.waits() {
                self.ready.insert(peer);
            }
        }
    }

    /// Something for `peer` waits elsewhere: it is to be looked at.
    pub fn touch(&mut self, peer: PeerId) {
        if self.is_open(&peer) {
            self.ready.insert(peer);
        }
    }

    /// Takes in a frame for `peer`. `false` if there is no room for it, or no such peer.
    pub fn push(&mut self, now: Instant, bounds: &Bounds, peer: PeerId, class: Class, frame: Bytes) -> bool {
        let bytes = frame.len() as u64;
        let Some(outbox) = self.by_peer.get_mut(&peer) else {
            bump(&mut self.outcomes_mut(class).refused);
            return false;
        };
        let is_open = outbox.is_open;
        let queue = outbox.queue(class);
        let fits =
            queue.bytes == 0 || queue.bytes.saturating_add(bytes) <= bounds.class_bytes_max[class as usize];
        let taken = fits && self.shares.take(peer, bytes);
        if taken {
            queue.bytes = queue.bytes.saturating_add(bytes);
            queue.frames.push_back(Waiting { frame, since: now });
            if is_open {
                self.ready.insert(peer);
            }
        }
        let outcomes = self.outcomes_mut(class);
        if taken {
            outcomes.waiting_bytes = outcomes.waiting_bytes.saturating_add(bytes);
        }
        bump(if taken { &mut outcomes.queued } else { &mut outcomes.refused });
        taken
    }

    /// The next peer that may be sent something.
    pub fn next_ready(&mut self) -> Option<PeerId> {
        self.ready.pop_first()
    }

    /// `bytes` for `peer` went to the transport without having waited here.
    pub fn sent_directly(&mut self, peer: &PeerId, bytes: u64) {
        if let Some(outbox) = self.by_peer.get_mut(peer) {
            outbox.in_flight = outbox.in_flight.saturating_add(bytes);
        }
    }

    /// Takes what may be sent to `peer` now, in order, and appends it to `frames`.
    pub fn take(&mut self, now: Instant, bounds: &Bounds, peer: &PeerId, frames: &mut Vec<Bytes>) {
        let mut released = 0u64;
        for class in Class::ALL {
            let (mut sent, mut aged, before) = (0u64, 0u64, released);
            let Some(outbox) = self.by_peer.get_mut(peer).filter(|outbox| outbox.is_open) else { return };
            let mut in_flight = outbox.in_flight;
            let queue = outbox.queue(class);
            while let Some(waiting) = queue.frames.front() {
                let is_aged = now.saturating_since(waiting.since) > bounds.age_max[class as usize];
                if !is_aged && in_flight >= bounds.window_bytes {
                    break;
                }
                let Some(Waiting { frame, .. }) = queue.frames.pop_front() else { break };
                let bytes = frame.len() as u64;
                queue.bytes = queue.bytes.saturating_sub(bytes);
                released = released.saturating_add(bytes);
                if is_aged {
                    aged += 1;
                } else {
                    in_flight = in_flight.saturating_add(bytes);
                    frames.push(frame);
                    sent += 1;
                }
            }
            outbox.in_flight = in_flight;
            let outcomes = self.outcomes_mut(class);
            outcomes.sent = outcomes.sent.saturating_add(sent);
            outcomes.aged = outcomes.aged.saturating_add(aged);
            outcomes.left(released - before);
        }
        self.shares.give(peer, released);
    }

    /// Drops what waited too long.
    pub fn expire(&mut self, now: Instant, bounds: &Bounds) {
        for class in Class::ALL {
            let (mut aged, mut released) = (0u64, 0u64);
            let age_max = bounds.age_max[class as usize];
            for (peer, outbox) in &mut self.by_peer {
                let queue = outbox.queue(class);
                while queue.frames.front().is_some_and(|front| now.saturating_since(front.since) > age_max) {
                    let Some(Waiting { frame, .. }) = queue.frames.pop_front() else { break };
                    let bytes = frame.len() as u64;
                    queue.bytes = queue.bytes.saturating_sub(bytes);
                    self.shares.give(peer, bytes);
                    released = released.saturating_add(bytes);
                    aged += 1;
                }
            }
            let outcomes = self.outcomes_mut(class);
            outcomes.aged = outcomes.aged.saturating_add(aged);
            outcomes.left(released);
        }
    }

    /// Drops frames of a class for lack of memory, those of the peers with most of it first, until `excess` bytes are free
    /// or none is left: their number and bytes.
    pub fn shed(&mut self, class: Class, excess: u64) -> (u64, u64) {
        let mut holders: Vec<(u64, PeerId)> = Vec::new();
        for (peer, outbox) in &mut self.by_peer {
            match outbox.queue(class).bytes {
                0 => {}
                bytes => holders.push((bytes, *peer)),
            }
        }
        holders.sort_unstable_by(|a, b| b.cmp(a));
        let (mut frames, mut freed) = (0u64, 0u64);
        for (bytes, peer) in holders {
            if freed >= excess {
                break;
            }
            let Some(outbox) = self.by_peer.get_mut(&peer) else { continue };
            let queue = core::mem::take(outbox.queue(class));
            self.shares.give(&peer, bytes);
            (frames, freed) = (frames + queue.frames.len() as u64, freed.saturating_add(bytes));
        }
        let outcomes = self.outcomes_mut(class);
        outcomes.shed = outcomes.shed.saturating_add(frames);
        outcomes.left(freed);
        (frames, freed)
    }

    /// Whether a peer that reads has so much of the own messages waiting that a publisher should hold back: half of what
    /// may wait.
    pub fn is_congested(&self, bounds: &Bounds) -> bool {
        let half = bounds.class_bytes_max[Class::High as usize] / 2;
        // Asked at each input: nobody is looked at while all together have less than that.
        self.shares.used() > half
            && self.by_peer.values().any(|outbox| outbox.is_open && outbox.high.bytes > half)
    }

    /// Number of peers.
    pub fn len(&self) -> usize {
        self.by_peer.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_peer.is_empty()
    }

    /// Bytes that wait for all peers.
    pub fn bytes(&self) -> u64 {
        self.shares.used()
    }

    /// Full structural check: queues, shares and counters agree.
    ///
    /// # Errors
    /// What does not.
    pub fn check(&self) -> Result<(), &'static str> {
        self.shares.check()?;
        if self.by_peer.iter().any(|(peer, outbox)| self.shares.held(peer) != outbox.bytes()) {
            return Err("waiting bytes and shares disagree");
        }
        for class in Class::ALL {
            let queue = |outbox: &'_ Outbox| match class {
                Class::High => (outbox.high.frames.len(), outbox.high.bytes, lengths(&outbox.high)),
                Class::Normal => (outbox.normal.frames.len(), outbox.normal.bytes, lengths(&outbox.normal)),
                Class::Bulk => (outbox.bulk.frames.len(), outbox.bulk.bytes, lengths(&outbox.bulk)),
            };
            let waiting: usize = self.by_peer.values().map(|outbox| queue(outbox).0).sum();
            let of = self.outcomes(class);
            if of.queued != of.sent + of.aged + of.gone + of.shed + waiting as u64 {
                return Err("a frame has no end, or two");
            }
            if of.waiting_bytes != self.by_peer.values().map(|outbox| queue(outbox).1).sum::<u64>() {
                return Err("waiting bytes of a class and their sum disagree");
            }
            if self.by_peer.values().map(queue).any(|(_, bytes, lengths)| bytes != lengths) {
                return Err("a queue and its bytes disagree");
            }
        }
        Ok(())
    }
}

fn lengths(queue: &Queue) -> u64 {
    queue.frames.iter().map(|waiting| waiting.frame.len() as u64).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOUNDS: Bounds = Bounds {
        window_bytes: 100,
        class_bytes_max: [50, 50, 50],
        age_max: [Duration::from_secs(5), Duration::from_secs(1), Duration::from_secs(3)],
        bytes_max: 1000,
        peers_max: 5,
    };

    fn peer(n: u8) -> PeerId {
        PeerId::from_ed25519(&[n; 32])
    }

    fn secs(secs: u64) -> Instant {
        Instant::from_micros(secs * 1_000_000)
    }

    fn frame(n: u8, length: usize) -> Bytes {
        alloc::vec![n; length].into()
    }

    fn open() -> Outboxes {
        let mut outboxes = Outboxes::new(&BOUNDS);
        outboxes.add(peer(1));
        outboxes.open(peer(1));
        outboxes
    }

    fn push(outboxes: &mut Outboxes, at: u64, class: Class, n: u8, length: usize) -> bool {
        outboxes.push(secs(at), &BOUNDS, peer(1), class, frame(n, length))
    }

    fn taken(outboxes: &mut Outboxes, at: u64) -> Vec<u8> {
        let mut frames = Vec::new();
        outboxes.take(secs(at), &BOUNDS, &peer(1), &mut frames);
        outboxes.check().unwrap();
        frames.iter().map(|frame| frame[0]).collect()
    }

    #[test]
    fn the_urgent_leaves_first_and_within_a_class_the_oldest() {
        let mut outboxes = open();
        for (n, class) in [(1, Class::Bulk), (2, Class::Normal), (3, Class::High), (4, Class::High)] {
            assert!(push(&mut outboxes, 0, class, n, 10));
        }
        assert_eq!(taken(&mut outboxes, 0), [3, 4, 2, 1]);
    }

    #[test]
    fn no_more_is_in_flight_than_the_window_and_one_frame() {
        let mut outboxes = open();
        for n in 1..=3 {
            assert!(push(&mut outboxes, 0, Class::ALL[usize::from(n) - 1], n, 90));
        }
        assert_eq!(taken(&mut outboxes, 0), [1, 2]);
        outboxes.written(peer(1), 80);
        assert_eq!(taken(&mut outboxes, 0), [0u8; 0], "100 are in flight");
        outboxes.written(peer(1), 1);
        assert_eq!(outboxes.next_ready(), Some(peer(1)));
        assert_eq!(taken(&mut outboxes, 0), [3]);
    }

    #[test]
    fn a_full_class_takes_nothing_more_and_an_empty_one_takes_any_frame() {
        let mut outboxes = open();
        assert!(push(&mut outboxes, 0, Class::Normal, 1, 200));
        assert!(!push(&mut outboxes, 0, Class::Normal, 2, 1));
        assert!(push(&mut outboxes, 0, Class::High, 3, 50), "the classes are apart");
        assert_eq!(outboxes.outcomes(Class::Normal).refused, 1);
        outboxes.check().unwrap();
    }

    #[test]
    fn what_waited_too_long_is_dropped_and_counted() {
        let mut outboxes = open();
        outboxes.close(&peer(1));
        for (n, class) in [(1, Class::High), (2, Class::Normal), (3, Class::Bulk)] {
            assert!(push(&mut outboxes, 0, class, n, 10));
        }
        assert_eq!(taken(&mut outboxes, 1), [0u8; 0], "no stream stands");
        outboxes.open(peer(1));
        assert_eq!(taken(&mut outboxes, 2), [1, 3]);
        assert_eq!(outboxes.outcomes(Class::Normal).aged, 1);
        assert!(push(&mut outboxes, 2, Class::Bulk, 4, 10));
        outboxes.expire(secs(6), &BOUNDS);
        assert_eq!((outboxes.bytes(), outboxes.outcomes(Class::Bulk).aged), (0, 1));
    }

    #[test]
    fn a_peer_that_does_not_read_leaves_room_for_the_others_and_nothing_when_it_goes() {
        let bounds = Bounds { class_bytes_max: [1000, 1000, 1000], ..BOUNDS };
        let mut outboxes = Outboxes::new(&bounds);
        for n in 1..=2 {
            outboxes.add(peer(n));
        }
        while outboxes.push(secs(0), &bounds, peer(1), Class::Normal, frame(1, 10)) {}
        assert!(outboxes.push(secs(0), &bounds, peer(2), Class::Normal, frame(1, 100)));
        outboxes.remove(&peer(1));
        outboxes.remove(&peer(2));
        assert_eq!((outboxes.bytes(), outboxes.len()), (0, 0));
        outboxes.check().unwrap();
    }

    #[test]
    fn a_publisher_holds_back_while_a_reader_is_half_full_of_own_messages() {
        let mut outboxes = open();
        assert!(push(&mut outboxes, 0, Class::High, 1, 25));
        assert!(!outboxes.is_congested(&BOUNDS));
        assert!(push(&mut outboxes, 0, Class::High, 2, 1));
        assert!(outboxes.is_congested(&BOUNDS));
        outboxes.close(&peer(1));
        assert!(!outboxes.is_congested(&BOUNDS), "who does not read at all is not waited for");
    }

    proptest! {
        #[test]
        fn every_frame_has_one_end(
            steps in proptest::collection::vec((0u8..7, 0u8..3, 0usize..3, 1usize..120), 0..200),
        ) {
            let mut outboxes = Outboxes::new(&BOUNDS);
            for (at, (kind, who, class, length)) in (0u64..).zip(steps) {
                let (at, who) = (Instant::from_micros(at * 300_000), peer(who));
                match kind {
                    0 => outboxes.add(who),
                    1 => outboxes.open(who),
                    2 => outboxes.close(&who),
                    3 if length > 100 => outboxes.remove(&who),
                    3 | 4 => { outboxes.push(at, &BOUNDS, who, Class::ALL[class], frame(0, length)); }
                    5 => outboxes.written(who, length as u64),
                    _ => outboxes.expire(at, &BOUNDS),
                }
                while let Some(ready) = outboxes.next_ready() {
                    outboxes.take(at, &BOUNDS, &ready, &mut Vec::new());
                }
                prop_assert_eq!(outboxes.check(), Ok(()));
            }
        }
    }
}
