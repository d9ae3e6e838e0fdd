//! A client of the feed sees the node's own status before anything else, and nothing once it is closed.

use std::collections::BTreeMap;

use peerage_core::teranode::feed::{self, SubscriberId};
use peerage_core::teranode::{self};
use peerage_core::{Action, Input};

use super::{Oracle, Seen, ensure};

/// See the module.
#[derive(Debug, Default)]
pub struct FirstFrame {
    /// By node and client: whether it had its first frame.
    greeted: BTreeMap<(usize, SubscriberId), bool>,
}

impl Oracle for FirstFrame {
    fn name(&self) -> &'static str {
        "first frame"
    }

    fn after(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        if let Input::Teranode(teranode::Input::Feed(event)) = seen.input {
            match event {
                feed::Event::Joined { id } => drop(self.greeted.insert((seen.node, *id), false)),
                feed::Event::Left { id } => drop(self.greeted.remove(&(seen.node, *id))),
                feed::Event::Lagged { .. } => {}
            }
        }
        for action in seen.actions {
            let Action::Teranode(teranode::Action::Feed(action)) = action else { continue };
            match action {
                feed::Action::Send { to: Some(id), frame } => {
                    let greeted = self.greeted.get_mut(&(seen.node, *id));
                    let Some(greeted) = greeted else {
                        return Err(format!("a frame for {id:?}, who is gone"));
                    };
                    ensure(
                        *greeted || is_own_status(frame, &seen.core.config().local_peer.to_base58()),
                        || format!("the first frame of {id:?} is {frame:?}"),
                    )?;
                    *greeted = true;
                }
                feed::Action::Send { to: None, .. } => {
                    let mut all = self.greeted.iter().filter(|((node, _), _)| *node == seen.node);
                    ensure(all.any(|(_, greeted)| *greeted), || "a frame for nobody".into())?;
                }
                feed::Action::Close { id, .. } => {
                    let known = self.greeted.remove(&(seen.node, *id)).is_some();
                    ensure(known, || format!("{id:?} is closed twice"))?;
                }
            }
        }
        Ok(())
    }

    fn died(&mut self, node: usize) {
        self.greeted.retain(|(other, _), _| *other != node);
    }
}

fn is_own_status(frame: &[u8], own: &str) -> bool {
    let text = std::str::from_utf8(frame).unwrap_or_default();
    text.contains(r#""type":"node_status""#) && text.contains(own)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{after, node};
    use super::*;
    use bytes::Bytes;
    use peerage_core::time::Now;

    #[test]
    fn a_frame_before_the_own_status_and_one_after_the_end_are_seen() {
        let (node, now, id) = (node(), Now::at_secs(1), SubscriberId(4));
        let own = node.config().local_peer.to_base58();
        let join = Input::Teranode(teranode::Input::Feed(feed::Event::Joined { id }));
        let send = |to, text: &str| {
            let frame = Bytes::copy_from_slice(text.as_bytes());
            Action::Teranode(teranode::Action::Feed(feed::Action::Send { to, frame }))
        };
        let status = send(Some(id), &format!(r#"{{"type":"node_status","peer_id":"{own}"}}"#));
        let close = Action::Teranode(teranode::Action::Feed(feed::Action::Close { id, code: 1008 }));
        let check = |actions: &[Action]| after(&mut FirstFrame::default(), &node, now, &join, actions);
        assert_eq!(check(&[status.clone(), send(Some(id), "{}"), send(None, "{}")]), Ok(()));
        assert!(check(&[send(Some(id), "{}")]).is_err_and(|error| error.contains("the first frame")));
        assert!(check(&[send(None, "{}")]).is_err_and(|error| error.contains("for nobody")));
        let late = check(&[status, close.clone(), send(Some(id), "{}")]);
        assert!(late.is_err_and(|error| error.contains("who is gone")));
        assert!(check(&[close.clone(), close]).is_err_and(|error| error.contains("closed twice")));
    }
}
