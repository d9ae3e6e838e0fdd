//! After a timeout the deadline has moved on, or work was done. Looking at what turns out to be in use still is work that
//! leaves no trace: it is granted once for each thing that is remembered.

use std::collections::BTreeMap;

use peerage_core::gossipsub::router::Tally;
use peerage_core::time::Instant;
use peerage_core::{Action, Input, Node};

use super::{Before, Oracle, Seen, ensure};

/// See the module.
#[derive(Debug, Default)]
pub struct Spin {
    remembered: usize,
    /// What the router had done before.
    tally: Tally,
    /// Timeouts in a row, at one time, that left no trace.
    idle: BTreeMap<usize, (Instant, usize)>,
}

/// What a timeout may forget in steps.
fn remembered(core: &Node) -> usize {
    let (conns, service) = (core.view().conns(), core.view().teranode());
    let (blocks, subtrees) = service.origins().len();
    let of_service = service.registry().len() + service.repeats().len() + service.bans().len();
    let (copies, refused, seen) = core.view().router().seen().len();
    conns.dialer().len() + conns.book().len() + blocks + subtrees + of_service + copies + refused + seen
}

impl Oracle for Spin {
    fn name(&self) -> &'static str {
        "spin"
    }

    fn before(&mut self, before: &Before<'_>) {
        self.remembered = remembered(before.core);
        self.tally = before.core.view().router().tally().clone();
    }

    fn after(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        if !matches!(seen.input, Input::Timeout) {
            return Ok(());
        }
        let last = seen.core.view().last().mono;
        let moved = seen.deadline.is_none_or(|deadline| deadline.at > last);
        let worked = seen.actions.iter().any(|action| !matches!(action, Action::Notice(_)))
            || remembered(seen.core) < self.remembered
            || *seen.core.view().router().tally() != self.tally;
        if moved || worked {
            self.idle.remove(&seen.node);
            return Ok(());
        }
        let (at, idle) = self.idle.entry(seen.node).or_insert((last, 0));
        *idle = if *at == last { *idle + 1 } else { 1 };
        *at = last;
        ensure(*idle <= self.remembered, || {
            format!("{:?} is due at once again, and nothing was done", seen.deadline)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{after, node};
    use super::*;
    use peerage_core::time::{Deadline, Now, Timer};

    #[test]
    fn a_deadline_that_stays_is_seen() {
        let (node, now) = (node(), Now::at_secs(0));
        let mut oracle = Spin::default();
        // This node dials at once: its deadline has not been served.
        let deadline = Some(Deadline { at: now.mono, timer: Timer::Dial });
        let input = &Input::Timeout;
        let seen = Seen { node: 0, at: 0, now, input, actions: &[], delivered: &[], core: &node, deadline };
        assert!(oracle.after(&seen).is_err_and(|error| error.contains("due at once again")));
        let later = Some(Deadline { at: Now::at_secs(1).mono, timer: Timer::Dial });
        assert_eq!(oracle.after(&Seen { deadline: later, ..seen }), Ok(()));
        let _ = after(&mut oracle, &node, now, &Input::Start, &[]);
    }
}
