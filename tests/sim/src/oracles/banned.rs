//! What a banned author wrote is neither accepted nor produced. (The reference bans by claimed id: not looked at.)

use peerage_core::gossipsub::{self, Acceptance, Event};
use peerage_core::teranode::{self, Compat};
use peerage_core::{Action, Input};

use super::{Before, Oracle, Seen, ensure};

/// See the module.
#[derive(Debug, Default)]
pub struct Banned {
    is_banned: bool,
}

impl Oracle for Banned {
    fn name(&self) -> &'static str {
        "banned author"
    }

    fn before(&mut self, before: &Before<'_>) {
        let bans = before.core.view().teranode().bans();
        let is_mended = before.core.config().teranode.compat == Compat::Mended;
        let Input::Gossipsub(Event::Delivered { source, .. }) = before.input else {
            self.is_banned = false;
            return;
        };
        self.is_banned = is_mended && bans.is_banned(before.now, source);
    }

    fn after(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        if !self.is_banned {
            return Ok(());
        }
        for action in seen.actions {
            let accepted = matches!(
                action,
                Action::Gossipsub(gossipsub::Action::Report { acceptance: Acceptance::Accept, .. })
            );
            let produced = matches!(action, Action::Teranode(teranode::Action::Produce { .. }));
            ensure(!accepted, || format!("a message of a banned author is accepted: {:?}", seen.input))?;
            ensure(!produced, || "a message of a banned author is produced".into())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{after, before, delivered, node, peer, report};
    use super::*;
    use peerage_core::Core as _;
    use peerage_core::time::Now;

    #[test]
    fn an_accepted_message_of_a_banned_author_is_seen() {
        let mut oracle = Banned::default();
        let mut node = node();
        let (now, input) = (Now::at_secs(1), delivered(peer(3), b"{}"));
        before(&mut oracle, &node, now, &input);
        assert_eq!(after(&mut oracle, &node, now, &input, &[report(Acceptance::Accept)]), Ok(()));
        ban(&mut node, now);
        before(&mut oracle, &node, now, &input);
        assert_eq!(after(&mut oracle, &node, now, &input, &[report(Acceptance::Ignore)]), Ok(()));
        let error = after(&mut oracle, &node, now, &input, &[report(Acceptance::Accept)]);
        assert!(error.is_err_and(|error| error.contains("is accepted")));
    }

    /// Five messages under a foreign name ban their author.
    fn ban(node: &mut peerage_core::Node, now: Now) {
        use peerage_proto::json::SubtreeMessage;
        for _ in 0..5 {
            let message = SubtreeMessage { peer_id: "somebody".into(), ..SubtreeMessage::default() };
            let (mut inner, mut data) = (Vec::new(), Vec::new());
            message.encode(&mut inner);
            peerage_proto::envelope::wrap("x", &inner, &mut data);
            let topic = node.config().teranode.topic(teranode::TopicKind::Subtree);
            let id = gossipsub::MessageId(bytes::Bytes::from_static(b"ban"));
            let (source, propagation_source) = (peer(3), peer(9));
            let event = Event::Delivered { id, topic, propagation_source, source, data: data.into() };
            node.handle(now, Input::Gossipsub(event), &mut Vec::new());
        }
        assert!(node.view().teranode().bans().is_banned(now, &peer(3)));
    }
}
