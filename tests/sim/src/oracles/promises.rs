//! Promises end: what a peer named and was asked for has come, or is held against it, soon after the time that it has.

use std::collections::BTreeMap;

use peerage_core::time::Instant;

use super::meshes::is_heartbeat;
use super::{Before, Oracle, Seen, ensure};

/// Heartbeats that may pass after the time of a promise.
const HEARTBEATS: u32 = 2;

/// See the module.
#[derive(Debug, Default)]
pub struct Promises {
    has_beaten: bool,
    /// By node: what had been asked for, and since when it has been no more than that.
    asked: BTreeMap<usize, (u64, Instant)>,
}

impl Oracle for Promises {
    fn name(&self) -> &'static str {
        "promises"
    }

    fn died(&mut self, node: usize) {
        self.asked.remove(&node);
    }

    fn before(&mut self, before: &Before<'_>) {
        self.has_beaten = is_heartbeat(before);
    }

    fn after(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        let (view, config) = (seen.core.view(), &seen.core.config().gossipsub);
        let (router, now) = (view.router(), view.last().mono);
        let (copies_checked, ..) = router.seen().len();
        let asked = router.tally().iwant_out;
        let entry = self.asked.entry(seen.node).or_insert((asked, now));
        // One whose copy is being checked may wait.
        if entry.0 != asked || router.promises().is_empty() || copies_checked > 0 {
            *entry = (asked, now);
        }
        let longest = config.iwant_followup + HEARTBEATS * config.heartbeat_interval;
        let age = now.saturating_since(entry.1);
        ensure(!self.has_beaten || age <= longest, || {
            format!("{} promises are {age:?} old", router.promises().len())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{after, config, connected, frame};
    use super::*;
    use peerage_core::conn::{self, ConnectionId};
    use peerage_core::time::Now;
    use peerage_core::{Core as _, Input};
    use peerage_proto::pubsub::{Control, IHave, Rpc};

    #[test]
    fn a_promise_that_does_not_end_is_seen() {
        let mut node = connected(config());
        let topic = config().teranode.topic(peerage_core::teranode::TopicKind::Block);
        let topic = Some(topic.as_str().as_bytes());
        let ihave = vec![IHave { topic, message_ids: vec![b"nobody has it"] }];
        let names = frame(&Rpc { control: Some(Control { ihave, ..Control::default() }), ..Rpc::default() });
        let mut oracle = Promises::default();
        node.handle(Now::at_secs(1), names.clone(), &mut Vec::new());
        assert_eq!(node.view().router().promises().len(), 1);
        assert_eq!(after(&mut oracle, &node, Now::at_secs(1), &names, &[]), Ok(()));
        // This node has no heartbeat: it only grows older.
        let bytes = Input::Conn(conn::Event::Received { id: ConnectionId(77), bytes: 0 });
        for (at, is_well) in [(6, true), (7, false)] {
            node.handle(Now::at_secs(at), bytes.clone(), &mut Vec::new());
            oracle.has_beaten = true;
            let end = after(&mut oracle, &node, Now::at_secs(at), &Input::Timeout, &[]);
            assert_eq!(end.is_ok(), is_well, "{at} {end:?}");
        }
    }
}
