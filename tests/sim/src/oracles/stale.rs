//! A node's time never goes back, and a timeout at a time that has passed, while nothing is due, changes nothing.

use peerage_core::Input;
use peerage_core::state::state_hash;
use peerage_core::time::Instant;

use super::{Before, Oracle, Seen, ensure};

/// See the module.
#[derive(Debug, Default)]
pub struct Stale {
    /// Hashes of what must not change; none: something may.
    before: Option<[[u8; 32]; 5]>,
    last: Instant,
}

fn hashes(core: &peerage_core::Node) -> [[u8; 32]; 5] {
    let view = core.view();
    [
        state_hash(view.conns()),
        state_hash(view.teranode()),
        state_hash(view.interests()),
        state_hash(view.watchdog()),
        state_hash(view.router()),
    ]
}

impl Oracle for Stale {
    fn name(&self) -> &'static str {
        "stale time"
    }

    fn before(&mut self, before: &Before<'_>) {
        let last = before.core.view().last().mono;
        self.last = last;
        let is_stale = before.now.mono < last && matches!(before.input, Input::Timeout);
        let is_due = before.deadline.is_some_and(|deadline| deadline.at <= last);
        self.before = (is_stale && !is_due).then(|| hashes(before.core));
    }

    fn after(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        let last = seen.core.view().last().mono;
        ensure(last >= self.last.max(seen.now.mono), || {
            format!("time went back from {:?} to {last:?}", self.last)
        })?;
        let Some(before) = self.before.take() else { return Ok(()) };
        ensure(seen.actions.is_empty(), || {
            format!("{} actions at a time that has passed", seen.actions.len())
        })?;
        ensure(before == hashes(seen.core), || "the state changed at a time that has passed".into())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{after, alter, before, config, connected, send};
    use super::*;
    use peerage_core::Core as _;
    use peerage_core::time::Now;

    #[test]
    fn an_action_or_a_change_at_a_time_that_has_passed_is_seen() {
        let mut oracle = Stale::default();
        let mut config = config();
        config.conn.bootstrap.clear();
        let mut node = connected(config);
        node.handle(Now::at_secs(1), Input::Timeout, &mut Vec::new());
        assert!(
            node.poll_timeout().is_some_and(|deadline| deadline.at > Now::at_secs(1).mono),
            "nothing is due"
        );
        let input = Input::Timeout;
        before(&mut oracle, &node, Now::at_secs(0), &input);
        let actions = [send(b"")];
        assert!(after(&mut oracle, &node, Now::at_secs(0), &input, &actions).is_err());
        before(&mut oracle, &node, Now::at_secs(0), &input);
        assert_eq!(after(&mut oracle, &node, Now::at_secs(0), &input, &[]), Ok(()));
        before(&mut oracle, &node, Now::at_secs(0), &input);
        // A microsecond later, and back again.
        alter(&mut node, ".last.mono");
        before(&mut oracle, &node, Now::at_secs(0), &input);
        alter(&mut node, ".last.mono");
        let back = after(&mut oracle, &node, Now::at_secs(0), &input, &[]);
        assert!(back.is_err_and(|error| error.contains("time went back")));
        before(&mut oracle, &node, Now::at_secs(0), &input);
        alter(&mut node, ".watchdog.delivered");
        assert!(after(&mut oracle, &node, Now::at_secs(0), &input, &[]).is_err());
    }
}
