//! Each message that is handed to the families was checked, and gets exactly one verdict; nothing else gets any.

use std::collections::BTreeMap;

use peerage_core::gossipsub::Command;

use super::{Oracle, Seen, ensure};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Reports {
    /// By node: messages handed over so far.
    delivered: BTreeMap<usize, u64>,
}

impl Oracle for Reports {
    fn name(&self) -> &'static str {
        "verdicts"
    }

    fn died(&mut self, node: usize) {
        self.delivered.remove(&node);
    }

    fn after(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        let view = seen.core.view();
        let is_report = |command: &&Command| matches!(command, Command::Report { .. });
        let reports = view.asked().iter().filter(is_report).count() as u64;
        let now = view.router().tally().delivered;
        let before = self.delivered.insert(seen.node, now).unwrap_or_default();
        ensure(now - before == reports, || format!("{reports} verdicts on {} messages", now - before))?;
        ensure(seen.delivered.len() as u64 == reports, || {
            format!("{reports} verdicts on {} messages that were checked", seen.delivered.len())
        })?;
        ensure(view.router().tally().reports_unknown == 0, || "a verdict on nothing".into())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{after_delivered, alter, config, connected, delivered, peer};
    use super::*;
    use peerage_core::Input;
    use peerage_core::time::Now;

    #[test]
    fn a_missing_or_strange_verdict_is_seen() {
        let check = |path: &str, delivered: &[_]| {
            let (mut oracle, mut node) = (Reports::default(), connected(config()));
            if !path.is_empty() {
                alter(&mut node, path);
            }
            after_delivered(&mut oracle, &node, Now::at_secs(1), &Input::Timeout, &[], delivered)
        };
        assert_eq!(check("", &[]), Ok(()));
        assert!(check(".router.tally.delivered", &[]).is_err_and(|error| error.contains("0 verdicts on 1")));
        assert!(check("", &[delivered(peer(1), b"x")]).is_err());
        assert!(check(".router.tally.reports_unknown", &[]).is_err());
    }
}
