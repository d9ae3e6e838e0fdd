//! Each delivered message gets exactly one verdict, with its own id and sender; nothing else gets any.

use peerage_core::gossipsub::{self, Event};
use peerage_core::{Action, Input};

use super::{Oracle, Seen, ensure};

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Reports;

impl Oracle for Reports {
    fn name(&self) -> &'static str {
        "verdicts"
    }

    fn after(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        let reports: Vec<_> = seen
            .actions
            .iter()
            .filter_map(|action| {
                let Action::Gossipsub(gossipsub::Action::Report { id, propagation_source, .. }) = action
                else {
                    return None;
                };
                Some((id, propagation_source))
            })
            .collect();
        let Input::Gossipsub(Event::Delivered { id, propagation_source, .. }) = seen.input else {
            return ensure(reports.is_empty(), || "a verdict on nothing".into());
        };
        ensure(reports == [(id, propagation_source)], || {
            format!("{} verdicts on one message, or on another", reports.len())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{after, delivered, node, peer, report};
    use super::*;
    use peerage_core::gossipsub::Acceptance;
    use peerage_core::time::Now;

    #[test]
    fn a_missing_second_or_strange_verdict_is_seen() {
        let (node, now, input) = (node(), Now::at_secs(1), delivered(peer(1), b"x"));
        let one = report(Acceptance::Accept);
        assert_eq!(after(&mut Reports, &node, now, &input, std::slice::from_ref(&one)), Ok(()));
        assert!(after(&mut Reports, &node, now, &input, &[]).is_err());
        assert!(after(&mut Reports, &node, now, &input, &[one.clone(), one.clone()]).is_err());
        assert!(after(&mut Reports, &node, now, &Input::Timeout, &[one]).is_err());
    }
}
