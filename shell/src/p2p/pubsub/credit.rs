//! How much of what peers sent may be on its way from their streams to the core. Whoever reads a stream asks first and
//! takes what it read; the driver gives it back by handing it to the core. So a core that takes nothing stops the reading,
//! the multiplexer's windows fill, and the peers stop sending.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use libp2p::swarm::ConnectionId;

/// Bytes of one connection on their way from which nothing more is read. One frame may pass it.
pub const CONNECTION_BYTES_MAX: usize = 64 << 10;
/// The same for all connections together.
pub const ALL_BYTES_MAX: usize = 16 << 20;
/// What each thing on its way costs besides its bytes: the places that it takes in queues. It bounds tiny frames too.
pub const OVERHEAD: usize = 128;

/// What is on its way, of all connections.
#[derive(Clone, Debug, Default)]
pub struct Credit(Arc<Mutex<Ledger>>);

#[derive(Debug)]
struct Ledger {
    /// Bytes of all connections from which nothing more is read.
    most: usize,
    in_transit: usize,
    accounts: HashMap<ConnectionId, Account>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { most: ALL_BYTES_MAX, in_transit: 0, accounts: HashMap::new() }
    }
}

#[derive(Debug, Default)]
struct Account {
    in_transit: usize,
    /// Bytes of a frame that has not come whole.
    begun: usize,
    waiting: Option<Waker>,
}

impl Credit {
    /// The share of a new connection.
    pub fn share(&self, connection: ConnectionId) -> Share {
        self.lock().accounts.insert(connection, Account::default());
        Share { credit: self.clone(), connection }
    }

    /// All connections together have at most so many bytes on their way.
    pub fn bound(&self, bytes: usize) {
        let mut ledger = self.lock();
        ledger.most = ledger.most.min(bytes);
    }

    /// Bytes that one connection holds, on their way and of a frame that has not come whole.
    pub fn held(&self, connection: ConnectionId) -> usize {
        self.lock().accounts.get(&connection).map_or(0, |account| account.in_transit + account.begun)
    }

    /// Bytes on their way.
    pub fn in_transit(&self) -> usize {
        self.lock().in_transit
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn release(&self, connection: ConnectionId, cost: usize) {
        let mut woken = Vec::new();
        let mut ledger = self.lock();
        let was_full = ledger.in_transit >= ledger.most;
        ledger.in_transit -= cost;
        let is_full = ledger.in_transit >= ledger.most;
        if let Some(account) = ledger.accounts.get_mut(&connection) {
            account.in_transit -= cost;
            if !is_full && account.in_transit < CONNECTION_BYTES_MAX {
                woken.extend(account.waiting.take());
            }
        }
        if was_full && !is_full {
            woken.extend(ledger.accounts.values_mut().filter_map(|account| account.waiting.take()));
        }
        drop(ledger);
        woken.into_iter().for_each(Waker::wake);
    }
}

/// The share of one connection, held by whoever reads it.
#[derive(Debug)]
pub struct Share {
    credit: Credit,
    connection: ConnectionId,
}

impl Share {
    /// Ready when more may be read.
    pub fn poll_ready(&self, cx: &Context<'_>) -> Poll<()> {
        let mut ledger = self.credit.lock();
        let is_full = ledger.in_transit >= ledger.most;
        let Some(account) = ledger.accounts.get_mut(&self.connection) else { return Poll::Pending };
        if is_full || account.in_transit >= CONNECTION_BYTES_MAX {
            account.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// So many bytes are held of a frame that has not come whole.
    pub fn begun(&self, bytes: usize) {
        if let Some(account) = self.credit.lock().accounts.get_mut(&self.connection) {
            account.begun = bytes;
        }
    }

    /// Something with so many bytes sets out.
    pub fn take(&self, bytes: usize) -> InTransit {
        let cost = bytes + OVERHEAD;
        let mut ledger = self.credit.lock();
        ledger.in_transit += cost;
        if let Some(account) = ledger.accounts.get_mut(&self.connection) {
            account.in_transit += cost;
        }
        drop(ledger);
        InTransit { credit: self.credit.clone(), connection: self.connection, cost }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.credit.lock().accounts.remove(&self.connection);
    }
}

/// What travels with something on its way; dropping it says that it has arrived, or is lost.
#[derive(Debug)]
pub struct InTransit {
    credit: Credit,
    connection: ConnectionId,
    cost: usize,
}

impl Drop for InTransit {
    fn drop(&mut self) {
        self.credit.release(self.connection, self.cost);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[derive(Default)]
    struct Count(AtomicUsize);
    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn id(number: usize) -> ConnectionId {
        ConnectionId::new_unchecked(number)
    }

    #[test]
    fn who_used_up_its_share_waits_and_is_woken_and_others_go_on() {
        let credit = Credit::default();
        let (one, other) = (credit.share(id(1)), credit.share(id(2)));
        let count = Arc::<Count>::default();
        let waker = Waker::from(Arc::clone(&count));
        let cx = Context::from_waker(&waker);
        let first = one.take(1000);
        let second = one.take(CONNECTION_BYTES_MAX);
        assert!(one.poll_ready(&cx).is_pending());
        assert!(other.poll_ready(&cx).is_ready());
        drop(first);
        assert!(one.poll_ready(&cx).is_pending(), "it is still over");
        drop(second);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert!(one.poll_ready(&cx).is_ready());
        assert_eq!(credit.in_transit(), 0);
    }

    #[test]
    fn when_all_is_used_up_everybody_waits_and_everybody_is_woken() {
        let credit = Credit::default();
        let shares: Vec<_> = (0..20).map(|number| credit.share(id(number))).collect();
        let held: Vec<_> = shares.iter().map(|share| share.take(1 << 20)).collect();
        let count = Arc::<Count>::default();
        let waker = Waker::from(Arc::clone(&count));
        let cx = Context::from_waker(&waker);
        let late = credit.share(id(99));
        assert!(late.poll_ready(&cx).is_pending());
        drop(held);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert!(late.poll_ready(&cx).is_ready());
    }

    #[test]
    fn what_is_on_its_way_outlives_its_connection_and_nothing_else_does() {
        let credit = Credit::default();
        let share = credit.share(id(1));
        let held = share.take(500);
        drop(share);
        assert_eq!(credit.in_transit(), 500 + OVERHEAD);
        assert!(credit.lock().accounts.is_empty());
        drop(held);
        assert_eq!(credit.in_transit(), 0);
    }
}
