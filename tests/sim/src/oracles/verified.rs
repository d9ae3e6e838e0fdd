//! Nothing is handed on that was not found true: what a node sends is its own, or its signature was checked and is valid.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use peerage_core::gossipsub::stream::{self, CheckEnd};
use peerage_core::input::OpResult;
use peerage_core::op::OpId;
use peerage_core::{Action, Input};
use sha2::{Digest as _, Sha256};

use super::{Oracle, Seen, ensure, frames_sent, read_sent};

/// Messages of one node that are remembered: more than it keeps.
const REMEMBERED_MAX: usize = 16_384;

type Digest = [u8; 32];

#[derive(Debug, Default)]
struct Eye {
    checking: BTreeMap<OpId, Vec<Digest>>,
    valid: BTreeSet<Digest>,
    order: VecDeque<Digest>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Verified(BTreeMap<usize, Eye>);

fn digest(bytes: &[u8]) -> Digest {
    Sha256::digest(bytes).into()
}

impl Oracle for Verified {
    fn name(&self) -> &'static str {
        "verified"
    }

    fn died(&mut self, node: usize) {
        self.0.remove(&node);
    }

    fn after(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        let eye = self.0.entry(seen.node).or_default();
        if let Input::Op(op, OpResult::Verified(ends)) = seen.input {
            let checked = eye.checking.remove(op).unwrap_or_default().into_iter().zip(ends);
            for (digest, _) in checked.filter(|(_, end)| **end == CheckEnd::Valid) {
                if eye.valid.insert(digest) {
                    eye.order.push_back(digest);
                }
            }
            while eye.order.len() > REMEMBERED_MAX {
                if let Some(digest) = eye.order.pop_front() {
                    eye.valid.remove(&digest);
                }
            }
        }
        for action in seen.actions {
            if let Action::Gossipsub(stream::Action::Verify { op, checks }) = action {
                let digests = checks.iter().map(|check| digest(&check.signed));
                eye.checking.insert(*op, digests.collect());
            }
        }
        let own = seen.core.config().local_peer;
        for (to, frame) in frames_sent(seen) {
            for message in read_sent(frame).iter().flat_map(|rpc| &rpc.publish) {
                let mut signed = Vec::new();
                message.signing_bytes(&mut signed);
                let is_true = message.author() == Some(own) || eye.valid.contains(&digest(&signed));
                ensure(is_true, || format!("a message that nobody checked is sent to {to}: {message:?}"))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{after, config, connected, framed, op, peer, send};
    use super::*;
    use bytes::Bytes;
    use peerage_core::gossipsub::stream::{AuthorKey, Check};
    use peerage_core::time::Now;
    use peerage_proto::pubsub::Message;

    #[test]
    fn a_message_that_was_not_checked_or_found_false_is_seen() {
        let (node, now) = (connected(config()), Now::at_secs(1));
        let frame = framed(peer(3), b"x");
        let mut signed = Vec::new();
        let rpc = read_sent(&frame).unwrap();
        let message: &Message<'_> = &rpc.publish[0];
        message.signing_bytes(&mut signed);
        let check =
            Check { key: AuthorKey::Ed25519([3; 32]), signed: signed.into(), signature: Bytes::new() };
        let verify = [Action::Gossipsub(stream::Action::Verify { op: op(1), checks: vec![check] })];
        let sends = [send(&frame)];
        let check = |end: Option<CheckEnd>| {
            let mut oracle = Verified::default();
            assert_eq!(after(&mut oracle, &node, now, &Input::Timeout, &verify), Ok(()));
            let input = end.map_or(Input::Timeout, |end| Input::Op(op(1), OpResult::Verified(vec![end])));
            after(&mut oracle, &node, now, &input, &sends)
        };
        assert_eq!(check(Some(CheckEnd::Valid)), Ok(()));
        for end in [None, Some(CheckEnd::Invalid), Some(CheckEnd::Unknown)] {
            assert!(check(end).is_err_and(|error| error.contains("nobody checked")), "{end:?}");
        }
        let own = framed(node.config().local_peer, b"x");
        assert_eq!(after(&mut Verified::default(), &node, now, &Input::Timeout, &[send(&own)]), Ok(()));
    }
}
