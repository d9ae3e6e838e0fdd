//! How much one connection may send us, in bytes and in messages (design, decision 19), and the count of what it sent.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How much one connection may send us.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Bytes a second, on average. Twice as many may come at once.
    pub bytes_per_second_max: u64,
    /// Messages a second (`messages`), on average. Twice as many may come at once.
    pub messages_per_second_max: u64,
    /// A connection that is over a budget for this long is closed.
    pub patience: Duration,
    /// How many connections were closed for it.
    pub floods: Arc<AtomicU64>,
}

/// What came in on one connection.
#[derive(Debug, Default)]
pub struct Meter {
    bytes: AtomicU64,
    taken: AtomicU64,
    flooded: AtomicBool,
}

impl Meter {
    /// Counts bytes.
    pub fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Counts bytes that were read of its streams.
    pub fn take(&self, bytes: u64) {
        self.taken.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes so far that were read of its streams.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// The connection is to be closed for what it sent. Gives whether this is news.
    pub fn flood(&self) -> bool {
        !self.flooded.swap(true, Ordering::Relaxed)
    }

    /// Whether it is closed for what it sent.
    pub fn is_flooded(&self) -> bool {
        self.flooded.load(Ordering::Relaxed)
    }
}

/// One budget: so many a second, twice as many at once.
#[derive(Debug)]
pub struct Bucket {
    rate: u64,
    patience: Duration,
    /// How many may come at once, as of `refilled`.
    credit: u64,
    /// What came beyond the credit: one read can bring more messages than were granted. It is paid back before the next.
    debt: u64,
    refilled: Instant,
    over_since: Option<Instant>,
}

/// What a budget says to reading on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Word {
    /// So many more may come.
    Read(u64),
    /// Not now: read again after [`PAUSE`].
    Wait,
    /// It was over for too long.
    Flood,
}

/// The error that ends a connection over its budget of `what`. It begins with `flood: `, by which its cause is known when all
/// layers above have wrapped it.
pub fn flood(what: &str) -> io::Error {
    io::Error::other(format!("flood: over its budget of {what}"))
}

/// How long a connection over its budget is left alone at a time.
pub const PAUSE: Duration = Duration::from_millis(50);

impl Bucket {
    /// A full budget.
    pub fn new(rate: u64, patience: Duration, now: Instant) -> Self {
        Self { rate, patience, credit: rate.saturating_mul(2), debt: 0, refilled: now, over_since: None }
    }

    /// Whether to read on.
    pub fn ask(&mut self, now: Instant) -> Word {
        if self.credit > 0 {
            return Word::Read(self.credit);
        }
        self.refill(now);
        // Whoever uses up what each pause brings is still over its budget.
        if self.credit < self.rate / 10 {
            let since = *self.over_since.get_or_insert(now);
            if now.saturating_duration_since(since) > self.patience {
                return Word::Flood;
            }
        }
        if self.credit == 0 { Word::Wait } else { Word::Read(self.credit) }
    }

    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.refilled).as_micros();
        let gained = u64::try_from(elapsed).unwrap_or(u64::MAX).saturating_mul(self.rate) / 1_000_000;
        if gained > 0 {
            let paid = self.debt.min(gained);
            self.debt -= paid;
            self.credit = self.credit.saturating_add(gained - paid).min(self.rate.saturating_mul(2));
            self.refilled = now;
        }
    }

    /// Takes what came.
    pub fn spend(&mut self, count: u64) {
        // Whoever is owed more than two seconds is a flood soon enough.
        let beyond = count.saturating_sub(self.credit);
        self.debt = self.debt.saturating_add(beyond).min(self.rate.saturating_mul(2));
        self.credit = self.credit.saturating_sub(count);
        if self.credit > self.rate {
            self.over_since = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_stays_within_its_budget_is_read_at_once() {
        let mut now = Instant::now();
        let mut bucket = Bucket::new(100, Duration::from_secs(30), now);
        for _ in 0..1000 {
            assert!(matches!(bucket.ask(now), Word::Read(_)));
            bucket.spend(10);
            now += Duration::from_millis(200);
        }
    }

    #[test]
    fn who_is_over_is_slowed_down_and_after_its_patience_called_a_flood() {
        let begun = Instant::now();
        let mut now = begun;
        let mut bucket = Bucket::new(100, Duration::from_secs(30), now);
        let mut read = 0;
        let end = loop {
            match bucket.ask(now) {
                Word::Read(credit) => {
                    read += credit;
                    bucket.spend(credit);
                }
                Word::Wait => now += PAUSE,
                Word::Flood => break now - begun,
            }
        };
        assert!((30..32).contains(&end.as_secs()), "{end:?}");
        assert!(read <= 200 + 32 * 100, "no more than the budget came in: {read}");
    }

    #[test]
    fn what_came_beyond_the_budget_is_paid_back_before_more_is_read() {
        let begun = Instant::now();
        let mut bucket = Bucket::new(100, Duration::from_secs(30), begun);
        bucket.spend(350);
        assert_eq!(bucket.ask(begun + Duration::from_secs(1)), Word::Wait, "150 too many take 1.5 s");
        assert_eq!(bucket.ask(begun + Duration::from_secs(2)), Word::Read(50));
        // Each read brings 60, whatever was granted: in the long run no more comes than the budget.
        let (mut now, mut read) = (begun + Duration::from_secs(2), 0);
        while now < begun + Duration::from_secs(22) {
            match bucket.ask(now) {
                Word::Read(_) => {
                    bucket.spend(60);
                    read += 60;
                }
                Word::Wait => now += PAUSE,
                Word::Flood => unreachable!("its patience is longer"),
            }
        }
        assert!(read <= 20 * 100 + 200, "{read} in 20 s");
    }

    #[test]
    fn a_quiet_while_forgives() {
        let mut now = Instant::now();
        let mut bucket = Bucket::new(100, Duration::from_secs(1), now);
        bucket.spend(200);
        for _ in 0..10 {
            assert_eq!(bucket.ask(now), Word::Wait);
            now += Duration::from_secs(2);
            assert_eq!(bucket.ask(now), Word::Read(200));
            bucket.spend(1);
            bucket.spend(199);
        }
    }
}
