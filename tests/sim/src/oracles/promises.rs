//! Promises end: what a peer named and was asked for has come, or is held against it, soon after the time that it has.

use std::collections::{BTreeMap, VecDeque};

use peerage_core::Input;
use peerage_core::gossipsub::stream;
use peerage_core::time::Instant;

use super::meshes::Heartbeats;
use super::{Oracle, Seen, ensure, read};

/// Heartbeats that may pass after the time of a promise.
const HEARTBEATS: u32 = 2;

/// See the module.
#[derive(Debug, Default)]
pub struct Promises {
    heartbeats: Heartbeats,
    /// By node: IHAVEs so far, and how many there had been at its last heartbeats. Each is one promise at most.
    named: BTreeMap<usize, (usize, VecDeque<(Instant, usize)>)>,
}

impl Oracle for Promises {
    fn name(&self) -> &'static str {
        "promises"
    }

    fn died(&mut self, node: usize) {
        self.named.remove(&node);
    }

    fn after(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        let (named, before) = self.named.entry(seen.node).or_default();
        if let Input::Gossipsub(stream::Event::Frame { frame, .. }) = seen.input {
            let control = read(frame).and_then(|rpc| rpc.control);
            *named += control.map_or(0, |control| control.ihave.len());
        }
        if !self.heartbeats.has_beaten(seen) {
            return Ok(());
        }
        let (view, config) = (seen.core.view(), &seen.core.config().gossipsub);
        let (router, now) = (view.router(), view.last().mono);
        let longest = config.iwant_followup + HEARTBEATS * config.heartbeat_interval;
        before.push_back((now, *named));
        // The newest of those before the time that a promise has.
        while before.get(1).is_some_and(|(at, _)| now.saturating_since(*at) > longest) {
            before.pop_front();
        }
        let earlier = match before.front() {
            Some((at, earlier)) if now.saturating_since(*at) > longest => *earlier,
            _ => 0,
        };
        // One whose copy is being checked may wait.
        let (copies_checked, ..) = router.seen().len();
        let (lately, count) = (*named - earlier, router.promises().len());
        ensure(copies_checked > 0 || count <= lately, || {
            format!("{count} promises, and {lately} IHAVEs within {longest:?}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{after, config, connected, frame};
    use super::*;
    use peerage_core::Core as _;
    use peerage_core::conn::{self, ConnectionId};
    use peerage_core::time::Now;
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
        oracle.heartbeats.expect(0);
        assert_eq!(after(&mut oracle, &node, Now::at_secs(1), &Input::Timeout, &[]), Ok(()));
        // This node has no heartbeat: it only grows older.
        let bytes = Input::Conn(conn::Event::Received { id: ConnectionId(77), bytes: 0 });
        for (at, is_well) in [(6, true), (7, false)] {
            node.handle(Now::at_secs(at), bytes.clone(), &mut Vec::new());
            oracle.heartbeats.expect(0);
            let end = after(&mut oracle, &node, Now::at_secs(at), &Input::Timeout, &[]);
            assert_eq!(end.is_ok(), is_well, "{at} {end:?}");
        }
    }
}
