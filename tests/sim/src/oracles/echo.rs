//! A message never goes back to whom it came from, nor to its author, unless that peer asked for it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use peerage_core::Input;
use peerage_core::gossipsub::stream;
use peerage_proto::peer_id::PeerId;

use super::{Oracle, Seen, ensure, frames_sent, read, read_sent};

/// Messages of one node that are remembered: more than it can hand on.
const REMEMBERED_MAX: usize = 4096;

#[derive(Debug, Default)]
struct Mouth {
    /// Who sent each message.
    came_from: BTreeMap<Bytes, PeerId>,
    order: VecDeque<Bytes>,
    /// Who asked for which.
    asked: BTreeSet<(PeerId, Bytes)>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Echo(BTreeMap<usize, Mouth>);

impl Oracle for Echo {
    fn name(&self) -> &'static str {
        "echo"
    }

    fn died(&mut self, node: usize) {
        self.0.remove(&node);
    }

    fn after(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        let mouth = self.0.entry(seen.node).or_default();
        mouth.listen(seen);
        for (to, frame) in frames_sent(seen) {
            for message in read_sent(frame).iter().flat_map(|rpc| &rpc.publish) {
                let id = Bytes::from(message.message_id());
                if mouth.asked.contains(&(to, id.clone())) {
                    continue;
                }
                ensure(mouth.came_from.get(&id) != Some(&to), || format!("sent back to {to}"))?;
                ensure(message.author() != Some(to), || format!("sent to its author {to}"))?;
            }
        }
        Ok(())
    }
}

impl Mouth {
    fn listen(&mut self, seen: &Seen<'_>) {
        for delivered in seen.delivered {
            self.came_from.insert(delivered.id.clone(), delivered.propagation_source);
            self.order.push_back(delivered.id.clone());
        }
        while self.order.len() > REMEMBERED_MAX {
            if let Some(id) = self.order.pop_front() {
                self.came_from.remove(&id);
            }
        }
        let Input::Gossipsub(stream::Event::Frame { connection, frame }) = seen.input else { return };
        let Some(peer) = seen.core.view().conns().table().get(*connection).map(|entry| entry.peer) else {
            return;
        };
        let control = read(frame).and_then(|rpc| rpc.control);
        let ids = control.iter().flat_map(|control| &control.iwant).flat_map(|iwant| &iwant.message_ids);
        self.asked.extend(ids.map(|id| (peer, Bytes::copy_from_slice(id))));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{
        after_delivered, config, connected, delivered, frame, framed, node, peer, send,
    };
    use super::*;
    use peerage_core::Action;
    use peerage_core::time::Now;
    use peerage_proto::pubsub::{Control, IWant, Rpc};

    #[test]
    fn a_message_that_goes_back_is_seen_unless_it_was_asked_for() {
        let (connected, now) = (connected(config()), Now::at_secs(1));
        // The connected peer is the ninth.
        let back = [send(&framed(peer(3), b"x"))];
        let run = |oracle: &mut Echo, delivered: &[_], actions: &[Action]| {
            after_delivered(oracle, &connected, now, &Input::Timeout, actions, delivered)
        };
        assert_eq!(run(&mut Echo::default(), &[], &back), Ok(()), "from somebody else");
        let to_author = run(&mut Echo::default(), &[], &[send(&framed(peer(9), b"x"))]);
        assert!(to_author.is_err_and(|error| error.contains("to its author")));
        let mut oracle = Echo::default();
        assert_eq!(run(&mut oracle, &[delivered(peer(3), b"x")], &[]), Ok(()));
        assert!(run(&mut oracle, &[], &back).is_err_and(|error| error.contains("sent back")));
        let id = delivered(peer(3), b"x").id;
        let iwant = vec![IWant { message_ids: vec![&id] }];
        let asks = frame(&Rpc { control: Some(Control { iwant, ..Control::default() }), ..Rpc::default() });
        assert_eq!(after_delivered(&mut oracle, &connected, now, &asks, &[], &[]), Ok(()));
        assert_eq!(run(&mut oracle, &[], &back), Ok(()), "it was asked for");
        let alone = after_delivered(&mut oracle, &node(), now, &Input::Timeout, &back, &[]);
        assert_eq!(alone, Ok(()), "nobody is connected");
    }
}
