//! Nothing is lost: what was begun is completed or pending, what was delivered has come to one end.

use super::{Oracle, Seen, ensure};

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Conservation;

impl Oracle for Conservation {
    fn name(&self) -> &'static str {
        "conservation"
    }

    fn after(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        let view = seen.core.view();
        let (counters, ops) = (view.counters(), view.ops());
        ensure(counters.is_conserved(), || "a delivered message has no end, or two".into())?;
        ensure(ops.begun() == ops.completed() + ops.len() as u64, || {
            format!("{} operations begun, {} completed, {} pending", ops.begun(), ops.completed(), ops.len())
        })?;
        let (produce, publish) = view.teranode().inflight();
        let produced = counters.produce_acked + counters.produce_failed + u64::from(produce);
        ensure(counters.produced == produced, || {
            format!("{} records produced, {produced} acknowledged, failed or pending", counters.produced)
        })?;
        let published =
            counters.publish_sent + counters.publish_no_peers + counters.publish_failed + u64::from(publish);
        ensure(counters.published == published, || {
            format!("{} publications begun, {published} ended or pending", counters.published)
        })?;
        ensure(counters.ops_unknown == 0, || "a completion of an operation that is not pending".into())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{after, alter, node};
    use super::*;
    use peerage_core::Input;
    use peerage_core::time::Now;

    #[test]
    fn a_lost_message_operation_record_or_publication_is_seen() {
        let check = |path: &str| {
            let mut node = node();
            if !path.is_empty() {
                alter(&mut node, path);
            }
            after(&mut Conservation, &node, Now::at_secs(0), &Input::Timeout, &[])
        };
        assert_eq!(check(""), Ok(()));
        for path in [
            ".counters.delivered",
            ".ops.completed",
            ".ops.pending",
            ".counters.produced",
            ".counters.published",
            ".counters.ops_unknown",
        ] {
            assert!(check(path).is_err(), "{path}");
        }
    }
}
