//! Each operation is begun once and completed once.

use std::collections::{BTreeMap, BTreeSet};

use peerage_core::gossipsub::stream;
use peerage_core::op::OpId;
use peerage_core::{Action, Input, conn, teranode};

use super::{Oracle, Seen, ensure};

/// See the module.
#[derive(Debug, Default)]
pub struct Completions {
    pending: BTreeMap<usize, BTreeSet<OpId>>,
    newest: BTreeMap<usize, OpId>,
}

impl Oracle for Completions {
    fn name(&self) -> &'static str {
        "completions"
    }

    fn after(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        let pending = self.pending.entry(seen.node).or_default();
        if let Input::Op(op, _) = seen.input {
            ensure(pending.remove(op), || format!("{op:?} is completed, and is not pending"))?;
        }
        for op in seen.actions.iter().filter_map(begun) {
            let newest = self.newest.entry(seen.node).or_insert(op);
            ensure(*newest <= op && pending.insert(op), || format!("{op:?} is begun a second time"))?;
            *newest = op;
        }
        // Publications are between the family and the router: outside only their signature is known.
        let (_, publications) = seen.core.view().teranode().inflight();
        let known = seen.core.view().ops().len().saturating_sub(publications as usize);
        ensure(known == pending.len(), || {
            format!("{known} operations pending in the core, {} outside", pending.len())
        })
    }

    fn died(&mut self, node: usize) {
        self.pending.remove(&node);
        self.newest.remove(&node);
    }
}

/// The operation that an action begins.
fn begun(action: &Action) -> Option<OpId> {
    match action {
        Action::Conn(
            conn::Action::Dial { op, .. }
            | conn::Action::Provide { op, .. }
            | conn::Action::Search { op, .. }
            | conn::Action::AskAddresses { op, .. },
        )
        | Action::Gossipsub(stream::Action::Sign { op, .. } | stream::Action::Verify { op, .. })
        | Action::Teranode(
            teranode::Action::Query { op, .. }
            | teranode::Action::Produce { op, .. }
            | teranode::Action::SendDirect { op, .. },
        )
        | Action::Store { op, .. } => Some(*op),
        Action::Conn(
            conn::Action::Listen { .. }
            | conn::Action::Admit { .. }
            | conn::Action::Refuse { .. }
            | conn::Action::Close { .. }
            | conn::Action::AnswerAddresses { .. },
        )
        | Action::Gossipsub(
            stream::Action::Open { .. }
            | stream::Action::Close { .. }
            | stream::Action::Send { .. }
            | stream::Action::Reset { .. },
        )
        | Action::Teranode(teranode::Action::Feed(_))
        | Action::Notice(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{after, node, op};
    use super::*;
    use peerage_core::input::OpResult;
    use peerage_core::teranode::chain::Query;
    use peerage_core::time::Now;

    #[test]
    fn a_second_begin_or_completion_is_seen() {
        let (node, now) = (node(), Now::at_secs(0));
        let query = Action::Teranode(teranode::Action::Query { op: op(1), query: Query::Status });
        let done = Input::Op(op(1), OpResult::Provided(Ok(())));
        let mut oracle = Completions::default();
        assert_eq!(after(&mut oracle, &node, now, &Input::Start, std::slice::from_ref(&query)), Ok(()));
        let again = after(&mut oracle, &node, now, &Input::Timeout, &[query]);
        assert!(again.is_err_and(|error| error.contains("begun a second time")));
        // The core of this test has not seen the completion, which the oracle notices as well.
        let done_once = after(&mut oracle, &node, now, &done, &[]);
        assert!(done_once.is_err_and(|error| error.contains("1 operations pending in the core, 0 outside")));
        let done_twice = after(&mut oracle, &node, now, &done, &[]);
        assert!(done_twice.is_err_and(|error| error.contains("is completed, and is not pending")));
    }
}
