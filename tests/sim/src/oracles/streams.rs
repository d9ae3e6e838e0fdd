//! No neighbour stays in a mesh without a stream to it, even if it stays subscribed: messages for it would wait for nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use peerage_core::Input;
use peerage_core::time::Instant;
use peerage_proto::peer_id::PeerId;

use super::{Oracle, Seen, ensure};

/// The longest wait before a stream is opened again, and some.
const WITHOUT_MAX: Duration = Duration::from_secs(15);

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Streams {
    /// Members without a stream, and since when.
    without: BTreeMap<(usize, PeerId), Instant>,
}

impl Oracle for Streams {
    fn name(&self) -> &'static str {
        "streams"
    }

    fn after(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        let view = seen.core.view();
        if !matches!(seen.input, Input::Timeout) || view.is_stopped() {
            return Ok(());
        }
        let (node, now, router) = (seen.node, view.last().mono, view.router());
        let stays = |peer: &PeerId| router.mesh().is_member(peer) && !router.streams().has_outbound(peer);
        self.without.retain(|(other, peer), _| *other != node || stays(peer));
        for member in router.mesh().joined().flat_map(|topic| router.mesh().members(topic)) {
            if stays(member) {
                let since = *self.without.entry((node, *member)).or_insert(now);
                ensure(now.saturating_since(since) <= WITHOUT_MAX, || {
                    format!("{member} has been in a mesh without a stream since {since:?}")
                })?;
            }
        }
        Ok(())
    }

    fn died(&mut self, node: usize) {
        self.without.retain(|(other, _), _| *other != node);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{after, config, connected, frame};
    use super::*;
    use peerage_core::Core as _;
    use peerage_core::conn::ConnectionId;
    use peerage_core::gossipsub::stream::{Event, StreamEnd};
    use peerage_core::teranode::TopicKind;
    use peerage_core::time::Now;
    use peerage_proto::pubsub::{Control, Graft, Rpc};

    #[test]
    fn a_member_whose_stream_is_gone_for_long_is_seen() {
        let config = config();
        let topic = config.teranode.topic(TopicKind::Block);
        let graft = vec![Graft { topic: Some(topic.as_str().as_bytes()) }];
        let graft = Rpc { control: Some(Control { graft, ..Control::default() }), ..Rpc::default() };
        let mut node = connected(config);
        let mut oracle = Streams::default();
        assert_eq!(after(&mut oracle, &node, Now::at_secs(1), &Input::Timeout, &[]), Ok(()));
        let (connection, end) = (ConnectionId(1), StreamEnd::Closed);
        let ended = Input::Gossipsub(Event::Ended { connection, end });
        node.handle(Now::at_secs(1), ended, &mut Vec::new());
        // It grafts us, and nothing opens the stream again.
        node.handle(Now::at_secs(1), frame(&graft), &mut Vec::new());
        for (at, is_seen) in [(2, false), (17, false), (18, true)] {
            node.handle(Now::at_secs(at), frame(&Rpc::default()), &mut Vec::new());
            let result = after(&mut oracle, &node, Now::at_secs(at), &Input::Timeout, &[]);
            assert_eq!(result.is_err(), is_seen, "{at}: {result:?}");
        }
    }
}
