//! What handlers tell and are told. It goes past the swarm: each message of a mesh comes and leaves as several frames, and the
//! swarm's own way costs another round of its connection's task and of the swarm for each.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use libp2p::swarm::ConnectionId;

use super::credit::InTransit;
use super::handler::Order;
use super::{Attempt, Ours, Theirs, Told};

/// From all handlers to the behaviour.
#[derive(Clone, Debug, Default)]
pub(super) struct Inbox(Arc<Mutex<News>>);

#[derive(Debug, Default)]
struct News {
    ours: VecDeque<(ConnectionId, Attempt, Ours)>,
    theirs: VecDeque<(ConnectionId, Theirs, InTransit)>,
    /// Whether something came since the behaviour looked.
    is_fresh: bool,
    reader: Option<Waker>,
}

impl Inbox {
    /// Tells what happened on a connection, in order.
    pub(super) fn put(&self, connection: ConnectionId, told: Vec<Told>) {
        let mut news = lock(&self.0);
        for told in told {
            match told {
                Told::Ours(attempt, ours) => news.ours.push_back((connection, attempt, ours)),
                Told::Theirs(theirs, in_transit) => news.theirs.push_back((connection, theirs, in_transit)),
            }
        }
        let reader = if mem::replace(&mut news.is_fresh, true) { None } else { news.reader.take() };
        drop(news);
        reader.into_iter().for_each(Waker::wake);
    }

    /// Ready when something came since the last look; the task is woken when something comes.
    pub(super) fn poll_fresh(&self, cx: &Context<'_>) -> Poll<()> {
        let mut news = lock(&self.0);
        if mem::take(&mut news.is_fresh) {
            return Poll::Ready(());
        }
        if !news.reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker())) {
            news.reader = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// What happened next to a stream of ours.
    pub(super) fn next_ours(&self) -> Option<(ConnectionId, Attempt, Ours)> {
        let mut news = lock(&self.0);
        news.is_fresh = false;
        news.ours.pop_front()
    }

    /// What happened next to a stream of a peer's.
    pub(super) fn next_theirs(&self) -> Option<(ConnectionId, Theirs)> {
        let (connection, theirs, in_transit) = lock(&self.0).theirs.pop_front()?;
        drop(in_transit);
        Some((connection, theirs))
    }
}

/// From the behaviour to one handler.
#[derive(Clone, Debug, Default)]
pub(super) struct Orders(Arc<Mutex<Given>>);

#[derive(Debug, Default)]
struct Given {
    orders: Vec<Order>,
    reader: Option<Waker>,
}

impl Orders {
    /// Tells the handler what to do.
    pub(super) fn give(&self, order: Order) {
        let mut given = lock(&self.0);
        given.orders.push(order);
        let reader = given.reader.take();
        drop(given);
        reader.into_iter().for_each(Waker::wake);
    }

    /// What is to be done, in order; the task is woken when there is more.
    pub(super) fn take(&self, cx: &Context<'_>) -> Vec<Order> {
        let mut given = lock(&self.0);
        if !given.reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker())) {
            given.reader = Some(cx.waker().clone());
        }
        mem::take(&mut given.orders)
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerage_core::gossipsub::stream::StreamEnd;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn ended(attempt: Attempt) -> Told {
        Told::Ours(attempt, Ours::Ended(StreamEnd::Closed))
    }

    #[test]
    fn whoever_waits_for_news_is_woken_once_until_it_looks() {
        let (inbox, count) = (Inbox::default(), Arc::new(Count::default()));
        let (waker, id) = (Waker::from(count.clone()), ConnectionId::new_unchecked(1));
        let cx = Context::from_waker(&waker);
        for round in 1..=3 {
            assert!(inbox.poll_fresh(&cx).is_pending());
            inbox.put(id, vec![ended(1)]);
            inbox.put(id, vec![ended(2), ended(3)]);
            assert_eq!(count.0.load(Ordering::Relaxed), round);
            assert!(inbox.poll_fresh(&cx).is_ready());
            let told: Vec<_> =
                std::iter::from_fn(|| inbox.next_ours()).map(|(_, attempt, _)| attempt).collect();
            assert_eq!(told, [1, 2, 3]);
        }
        inbox.put(id, vec![ended(1)]);
        assert!(inbox.next_ours().is_some());
        assert!(inbox.poll_fresh(&cx).is_pending(), "what was taken is no news");
    }

    #[test]
    fn a_handler_is_woken_for_orders_and_takes_them_in_order() {
        let (orders, count) = (Orders::default(), Arc::new(Count::default()));
        let waker = Waker::from(count.clone());
        let cx = Context::from_waker(&waker);
        orders.give(Order::Begin);
        assert!(matches!(orders.take(&cx)[..], [Order::Begin]), "given before it first looked");
        orders.give(Order::Close);
        orders.give(Order::Open(1));
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert!(matches!(orders.take(&cx)[..], [Order::Close, Order::Open(1)]));
    }
}
