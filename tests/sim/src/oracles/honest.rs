//! No node charges another node: they all do as this program does, so whatever one finds wrong in another is our fault.

use std::collections::BTreeSet;

use peerage_core::explain::Notice;
use peerage_core::{Action, Input};
use peerage_proto::peer_id::PeerId;

use super::{Oracle, Seen, ensure};

/// See the module.
#[derive(Debug, Default)]
pub struct Honest {
    /// Everybody who was started; puppets never are.
    nodes: BTreeSet<PeerId>,
}

impl Oracle for Honest {
    fn name(&self) -> &'static str {
        "honest"
    }

    fn after(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        if matches!(seen.input, Input::Start) {
            self.nodes.insert(seen.core.config().local_peer);
        }
        seen.actions.iter().try_for_each(|action| {
            let Action::Notice(Notice::Penalised { peer, reason, .. }) = action else { return Ok(()) };
            ensure(!self.nodes.contains(peer), || {
                format!("a node is charged with {reason:?} for {:?}", seen.input)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{after, node, peer};
    use super::*;
    use peerage_core::teranode::ban::BanReason;
    use peerage_core::time::Now;

    #[test]
    fn a_node_that_is_charged_is_seen_and_a_puppet_is_not() {
        let mut oracle = Honest::default();
        let node = node();
        let charge = |peer| Action::Notice(Notice::Penalised { peer, reason: BanReason::Spam, score: 50 });
        let local = node.config().local_peer;
        let now = Now::at_secs(1);
        assert_eq!(after(&mut oracle, &node, now, &Input::Start, &[]), Ok(()));
        assert_eq!(after(&mut oracle, &node, now, &Input::Timeout, &[charge(peer(3))]), Ok(()));
        let found = after(&mut oracle, &node, now, &Input::Timeout, &[charge(local)]);
        assert!(found.is_err_and(|error| error.contains("charged with Spam")));
    }
}
