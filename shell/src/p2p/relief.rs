//! Which connections end when the heap is over the memory contract: those that hold most of what no ledger of the core counts:
//! bytes that their peers sent and nobody has read, frames that have not come whole, frames on their way.

use std::collections::HashMap;
use std::time::Duration;

use peerage_core::conn::ConnectionId;

use super::budget::Meter;

/// Between two looks.
pub const INTERVAL: Duration = Duration::from_millis(200);
/// Connections closed at one look.
const CLOSED_MAX: usize = 16;
/// Who holds less than this is no cause.
const HELD_MIN: u64 = 16 << 10;

/// Estimates by connection, and what was closed.
#[derive(Debug, Default)]
pub struct Relief {
    unread: HashMap<ConnectionId, Unread>,
    closed: u64,
    closed_bytes: u64,
}

/// What a peer sent beyond what was read of it, and beyond what carries it.
#[derive(Debug, Default)]
struct Unread {
    came: u64,
    taken: u64,
    bytes: u64,
}

impl Unread {
    /// Takes the present counts. Headers and seals are a tenth at most of what honest peers send; what small frames need more
    /// fades.
    fn update(&mut self, meter: &Meter) {
        let (came, taken) = (meter.bytes(), meter.taken());
        let new = came - std::mem::replace(&mut self.came, came);
        let read = taken - std::mem::replace(&mut self.taken, taken);
        self.bytes = (self.bytes + new).saturating_sub(read + read / 10);
        self.bytes -= self.bytes / 64;
    }
}

impl Relief {
    /// A look at every connection: its name, its meter, and what it holds of what is counted for it alone.
    /// Gives those to close so that `excess` bytes come free, the heaviest first.
    pub fn look<'a>(
        &mut self,
        links: impl Iterator<Item = (ConnectionId, &'a Meter, u64)>,
        excess: u64,
    ) -> Vec<ConnectionId> {
        let mut former = std::mem::take(&mut self.unread);
        let mut heaviest = Vec::new();
        for (id, meter, held) in links {
            let mut unread = former.remove(&id).unwrap_or_default();
            unread.update(meter);
            heaviest.push((unread.bytes.saturating_add(held), id));
            self.unread.insert(id, unread);
        }
        if excess == 0 {
            return Vec::new();
        }
        heaviest.sort_unstable_by(|a, b| b.cmp(a));
        let mut freed = 0;
        let mut closed = Vec::new();
        for (held, id) in heaviest.into_iter().take(CLOSED_MAX) {
            if freed >= excess || held < HELD_MIN {
                break;
            }
            freed += held;
            closed.push(id);
        }
        self.closed += closed.len() as u64;
        self.closed_bytes += freed;
        closed
    }

    /// Connections closed, and the bytes that they were thought to hold.
    pub fn closed(&self) -> (u64, u64) {
        (self.closed, self.closed_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter(came: u64, taken: u64) -> Meter {
        let meter = Meter::default();
        meter.add(came);
        meter.take(taken);
        meter
    }

    fn look(relief: &mut Relief, links: &[(u64, &Meter, u64)], excess: u64) -> Vec<u64> {
        let links = links.iter().map(|(id, meter, held)| (ConnectionId(*id), *meter, *held));
        relief.look(links, excess).into_iter().map(|id| id.0).collect()
    }

    #[test]
    fn who_holds_most_goes_first_and_no_more_than_needed() {
        let mut relief = Relief::default();
        let (read, unread, some) = (meter(900 << 20, 880 << 20), meter(1 << 20, 0), meter(500 << 10, 0));
        let links = [(1, &read, 0), (2, &unread, 0), (3, &some, 0), (4, &read, 2 << 20)];
        assert!(look(&mut relief, &links, 0).is_empty(), "nothing is too much");
        assert_eq!(look(&mut relief, &links, (2 << 20) + 1), [4, 2]);
        assert_eq!(look(&mut relief, &[links[0]], 1 << 30), [0; 0], "who is read well is no cause");
        assert_eq!(relief.closed().0, 2);
    }

    #[test]
    fn nothing_is_remembered_of_a_connection_that_is_gone() {
        let mut relief = Relief::default();
        let unread = meter(1 << 20, 0);
        look(&mut relief, &[(1, &unread, 0)], 0);
        look(&mut relief, &[], 0);
        assert!(relief.unread.is_empty());
    }
}
