//! Accepting connections, with a limit on how many there are at once, and a share of it for each source.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{BoxFuture, select};
use futures_timer::Delay;
use peerage_proto::ip::unmap;

use super::source::Cidr;
use super::subscriber::within;
use crate::p2p::Socket;
use crate::runtime::{Listener, Shared};

/// What is done with a connection. A WebSocket is handed on, and then the hub's to count.
pub type Handler = Box<dyn Fn(Socket, SocketAddr) -> BoxFuture<'static, ()> + Send>;

/// Wait after a failed accept: without free descriptors it would spin.
const PAUSE: Duration = Duration::from_millis(100);

/// How many connections there may be at once.
#[derive(Clone, Debug)]
pub struct Limits {
    /// In all.
    pub connections_max: usize,
    /// Of one source address; none: no limit.
    pub per_source_max: Option<usize>,
    /// Sources without that share: a proxy speaks for many.
    pub trusted: Vec<Cidr>,
}

/// A listener that has failed and waits this long without failing again works.
const QUIET: Duration = Duration::from_secs(1);

/// What happened at a listener.
#[derive(Debug, Default)]
pub struct Tally {
    displaced: AtomicU64,
    failed: AtomicU64,
    failing: AtomicBool,
}

impl Tally {
    /// Counts a failure to accept.
    pub fn fail(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Connections that gave way to newer ones.
    pub fn displaced(&self) -> u64 {
        self.displaced.load(Ordering::Relaxed)
    }

    /// Failures to accept.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Whether nobody gets in at present.
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }
}

/// Failures in a row from which on a listener counts as failing.
pub const FAILURES_MIN: u32 = 10;

/// Accepts for ever. Where there is no room the oldest connection gives way to the new one: of the same source when that has
/// used up its share, else of the source that has most. So whoever connects and stalls is in the way of nobody, on loopback
/// neither, where all have one address; and a request that is answered at once is done before it is its turn.
pub async fn accept(
    runtime: Shared,
    mut listener: Box<dyn Listener>,
    limits: Limits,
    tally: Arc<Tally>,
    handler: Handler,
) {
    let room = Room::new(limits, Arc::clone(&tally));
    let mut failures: u32 = 0;
    loop {
        // After a failure, to wait for somebody is a success as well.
        let next = match failures {
            0 => Some(listener.accept().await),
            _ => within(QUIET, listener.accept()).await,
        };
        match next {
            None => failures = 0,
            Some(Ok((socket, from))) => {
                failures = 0;
                let (place, displaced) = room.enter(from.ip());
                let work = handler(socket, from);
                runtime.spawn(Box::pin(async move {
                    let _ = select(work, displaced).await;
                    drop(place);
                }));
            }
            Some(Err(_)) => {
                failures = failures.saturating_add(1);
                tally.fail();
                Delay::new(PAUSE).await;
            }
        }
        tally.failing.store(failures >= FAILURES_MIN, Ordering::Relaxed);
    }
}

/// The connections that are open.
#[derive(Clone, Debug)]
struct Room {
    state: Arc<Mutex<State>>,
    tally: Arc<Tally>,
}

#[derive(Debug)]
struct State {
    limits: Limits,
    /// Oldest first.
    open: BTreeMap<u64, Open>,
    next: u64,
}

#[derive(Debug)]
struct Open {
    source: IpAddr,
    /// Dropping it closes the connection.
    _close: oneshot::Sender<()>,
}

impl Room {
    fn new(limits: Limits, tally: Arc<Tally>) -> Self {
        let state = State { limits, open: BTreeMap::new(), next: 0 };
        Self { state: Arc::new(Mutex::new(state)), tally }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place, which goes back with its value. The receiver ends when the place is lost.
    fn enter(&self, source: IpAddr) -> (Place, oneshot::Receiver<()>) {
        let source = unmap(source);
        let mut state = self.lock();
        if let Some(oldest) = state.in_the_way_of(source) {
            state.open.remove(&oldest);
            self.tally.displaced.fetch_add(1, Ordering::Relaxed);
        }
        let (close, displaced) = oneshot::channel();
        let number = state.next;
        state.next += 1;
        state.open.insert(number, Open { source, _close: close });
        (Place { room: self.clone(), number }, displaced)
    }
}

impl State {
    /// The connection that gives way to one from `source`, if one must.
    fn in_the_way_of(&self, source: IpAddr) -> Option<u64> {
        let trusted = self.limits.trusted.iter().any(|cidr| cidr.contains(source));
        let share = self.limits.per_source_max.filter(|_| !trusted);
        let own = || self.open.iter().filter(|(_, open)| open.source == source);
        if share.is_some_and(|share| own().count() >= share) {
            return own().next().map(|(number, _)| *number);
        }
        if self.open.len() < self.limits.connections_max {
            return None;
        }
        let mut sources: BTreeMap<IpAddr, (usize, u64)> = BTreeMap::new();
        for (number, open) in &self.open {
            sources.entry(open.source).or_insert((0, *number)).0 += 1;
        }
        let most = sources.values().max_by_key(|(count, oldest)| (*count, std::cmp::Reverse(*oldest)));
        most.map(|(_, oldest)| *oldest)
    }
}

/// One of the connections that are open.
#[derive(Debug)]
struct Place {
    room: Room,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.lock().open.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(connections_max: usize, per_source_max: Option<usize>) -> Room {
        let trusted = vec!["127.0.0.0/8".parse().unwrap()];
        Room::new(Limits { connections_max, per_source_max, trusted }, Arc::default())
    }

    fn ip(last: u8) -> IpAddr {
        [203, 0, 113, last].into()
    }

    fn is_lost(displaced: &mut oneshot::Receiver<()>) -> bool {
        displaced.try_recv().is_err()
    }

    #[test]
    fn a_source_over_its_share_loses_its_own_oldest_connection() {
        let room = room(10, Some(2));
        let (_other, mut other) = room.enter(ip(8));
        let (_first, mut first) = room.enter(ip(7));
        let (_second, mut second) = room.enter(ip(7));
        assert!(!is_lost(&mut first));
        let (_third, mut third) = room.enter(ip(7));
        assert!(is_lost(&mut first) && !is_lost(&mut second) && !is_lost(&mut third) && !is_lost(&mut other));
        assert_eq!(room.tally.displaced(), 1);
    }

    #[test]
    fn when_all_places_are_taken_the_source_that_has_most_gives_one_up() {
        let room = room(3, None);
        let (_lone, mut lone) = room.enter(ip(8));
        let (_first, mut first) = room.enter(ip(7));
        let (_second, _) = room.enter(ip(7));
        let (_new, mut new) = room.enter(ip(9));
        assert!(is_lost(&mut first) && !is_lost(&mut lone) && !is_lost(&mut new));
    }

    #[test]
    fn a_trusted_source_has_no_share_and_nothing_is_left_of_who_has_gone() {
        let room = room(10, Some(2));
        let mut proxied: Vec<_> = (0..10).map(|_| room.enter([127, 0, 0, 1].into())).collect();
        assert!(!proxied.iter_mut().any(|(_, displaced)| is_lost(displaced)));
        drop(proxied);
        assert!(room.lock().open.is_empty());
    }
}
