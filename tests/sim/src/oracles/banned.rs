//! What a banned author wrote is neither accepted nor produced. (The reference bans by claimed id: not looked at.)

use std::collections::BTreeSet;

use peerage_core::Action;
use peerage_core::gossipsub::Acceptance;
use peerage_core::teranode::{self, Compat};
use peerage_proto::peer_id::PeerId;

use super::{Before, Delivered, Oracle, Seen, ensure};

/// See the module.
#[derive(Debug, Default)]
pub struct Banned {
    /// Authors who are banned and whose messages this input may bring.
    banned: BTreeSet<PeerId>,
}

impl Oracle for Banned {
    fn name(&self) -> &'static str {
        "banned author"
    }

    fn before(&mut self, before: &Before<'_>) {
        let bans = before.core.view().teranode().bans();
        self.banned.clear();
        if before.core.config().teranode.compat == Compat::Mended && !bans.is_empty() {
            let authors = before.heard.values().map(|heard| heard.author);
            self.banned.extend(authors.filter(|author| bans.is_banned(before.now, author)));
        }
    }

    fn after(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        let is_banned = |delivered: &&Delivered| self.banned.contains(&delivered.heard.author);
        let mut of_banned = 0;
        for delivered in seen.delivered.iter().filter(is_banned) {
            of_banned += 1;
            ensure(delivered.acceptance != Acceptance::Accept, || {
                format!("a message of a banned author is accepted: {delivered:?}")
            })?;
        }
        let produces = |action: &Action| matches!(action, Action::Teranode(teranode::Action::Produce { .. }));
        let all_are = of_banned > 0 && of_banned == seen.delivered.len();
        ensure(!all_are || !seen.actions.iter().any(produces), || {
            "a message of a banned author is produced".into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{after_delivered, before_heard, delivered, node, peer};
    use super::*;
    use peerage_core::Input;
    use peerage_core::gossipsub::{self, Event};
    use peerage_core::time::Now;

    #[test]
    fn an_accepted_message_of_a_banned_author_is_seen() {
        let mut oracle = Banned::default();
        let mut node = node();
        let (now, input) = (Now::at_secs(1), Input::Timeout);
        let accepted = delivered(peer(3), b"{}");
        let ignored = Delivered { acceptance: Acceptance::Ignore, ..accepted.clone() };
        let mut check = |node: &peerage_core::Node, delivered: &Delivered| {
            before_heard(&mut oracle, node, now, &input, delivered);
            after_delivered(&mut oracle, node, now, &input, &[], std::slice::from_ref(delivered))
        };
        assert_eq!(check(&node, &accepted), Ok(()));
        ban(&mut node, now);
        assert_eq!(check(&node, &ignored), Ok(()));
        assert!(check(&node, &accepted).is_err_and(|error| error.contains("is accepted")));
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
            node.tell_families(now, event, &mut Vec::new());
        }
        assert!(node.view().teranode().bans().is_banned(now, &peer(3)));
    }
}
