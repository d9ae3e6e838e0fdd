//! Signatures by model: a function of the author's key and of what is signed. As good as real ones to nodes that never look
//! inside, and far cheaper.

use std::collections::BTreeMap;

use bytes::Bytes;
use peerage_core::gossipsub::stream::{AuthorKey, Check, CheckEnd};
use peerage_core::input::{Failed, OpResult};
use peerage_core::op::OpId;
use peerage_proto::peer_id::PeerId;
use peerage_proto::pubsub::{Message, SIGNING_PREFIX};
use sha2::{Digest as _, Sha256};

use super::{Fault, World};

/// Messages of one node that were found true and have no verdict yet, at most; and how long each is remembered.
const HEARD_MAX: usize = 4096;
const HEARD_US: u64 = 60_000_000;

/// A message whose signature was found valid at a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Heard {
    /// Its signed author.
    pub author: PeerId,
    /// Its topic.
    pub topic: Bytes,
    /// Its payload.
    pub data: Bytes,
    /// When its check was begun.
    pub at: u64,
}

/// By id: what was found true and has no verdict yet.
pub type Heards = BTreeMap<Bytes, Heard>;

/// The signature of `key`'s owner over `bytes`.
pub fn signature(key: &[u8], bytes: &[u8]) -> [u8; 64] {
    let mut hash = Sha256::new();
    hash.update(key);
    hash.update(bytes);
    let half: [u8; 32] = hash.finalize().into();
    std::array::from_fn(|at| half[at % 32] ^ (at / 32) as u8)
}

/// The signature of `author` over `bytes`.
pub fn signature_of(author: &PeerId, bytes: &[u8]) -> [u8; 64] {
    signature(&author.ed25519_public_key().unwrap_or_default(), bytes)
}

fn is_valid(check: &Check) -> bool {
    let key: &[u8] = match &check.key {
        AuthorKey::Ed25519(key) => key,
        AuthorKey::Other(key) => key,
    };
    check.signature[..] == signature(key, &check.signed)
}

fn read(check: &Check, at: u64) -> Option<(Bytes, Heard)> {
    let message = Message::decode(check.signed.strip_prefix(SIGNING_PREFIX)?).ok()?;
    let part = |part: Option<&[u8]>| Bytes::copy_from_slice(part.unwrap_or_default());
    let (author, topic, data) = (message.author()?, part(message.topic), part(message.data));
    Some((message.message_id().into(), Heard { author, topic, data, at }))
}

impl World {
    pub(super) fn sign(&mut self, node: usize, op: OpId, bytes: &Bytes) {
        let is_faulty = self.options.has(Fault::Signer);
        let delay = if is_faulty { self.dice.roll(200_000) } else { 200 };
        let result = if is_faulty && self.dice.chance(5) {
            Err(Failed("no signature".into()))
        } else {
            Ok(Bytes::copy_from_slice(&signature_of(&self.nodes[node].peer, bytes)))
        };
        self.complete(node, delay, op, OpResult::Signed(result));
    }

    pub(super) fn verify(&mut self, node: usize, op: OpId, checks: &[Check]) {
        let is_faulty = self.options.has(Fault::Signer);
        let delay = if is_faulty && self.dice.chance(30) { self.dice.roll(300_000) } else { 0 };
        let mut ends = Vec::with_capacity(checks.len());
        let mut heard = Vec::new();
        for check in checks {
            let end = match is_valid(check) {
                _ if is_faulty && self.dice.chance(3) => CheckEnd::Unknown,
                true => CheckEnd::Valid,
                false => CheckEnd::Invalid,
            };
            if end == CheckEnd::Valid && !self.oracles.is_empty() {
                heard.extend(read(check, self.now));
            }
            ends.push(end);
        }
        if !heard.is_empty() {
            self.nodes[node].checking.insert(op, heard);
        }
        self.complete(node, delay, op, OpResult::Verified(ends));
    }

    /// Checks have ended: from now on their messages may be judged.
    pub(super) fn hear(&mut self, node: usize, op: OpId) {
        let (now, state) = (self.now, &mut self.nodes[node]);
        if let Some(heard) = state.checking.remove(&op) {
            state.heard.extend(heard);
            if state.heard.len() > HEARD_MAX {
                state.heard.retain(|_, heard| heard.at + HEARD_US > now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_of_one_key_and_of_one_text() {
        let one = signature(b"key", b"text");
        assert_eq!(one, signature(b"key", b"text"));
        assert_ne!(one, signature(b"other", b"text"));
        assert_ne!(one, signature(b"key", b"other"));
    }
}
