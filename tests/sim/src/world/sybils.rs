//! Puppets that are one: they join every mesh that takes them, and hand on what suits them.

use bytes::Bytes;
use peerage_core::gossipsub::Topic;
use peerage_proto::peer_id::PeerId;
use peerage_proto::pubsub::{Message, Rpc, RpcLimits};

use super::mischief::grafts;
use super::puppet::{name, written};
use super::{End, World};

/// What sybils do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sybils {
    /// Whether they hand messages on at all.
    pub relays: bool,
    /// Whose messages they do not.
    pub censored: Option<PeerId>,
}

impl World {
    /// From now on puppets do this.
    pub fn set_sybils(&mut self, sybils: Sybils) {
        self.sybils = Some(sybils);
    }

    /// Each puppet connects to each of `targets` that it is not connected to, and grafts the others as soon as it may.
    pub fn sybils_press(&mut self, targets: &[usize]) {
        for puppet in 0..self.puppets.len() {
            let end = self.nodes.len() + puppet;
            for target in targets {
                let mut links = self.puppets[puppet].links.iter();
                match links.find(|(_, other)| *other == target).map(|(id, _)| *id) {
                    None => self.puppet_dials(end, *target),
                    Some(link) => self.sybil_grafts(link, end, *target),
                }
            }
        }
    }

    /// A sybil grafts every mesh that it was not pruned from lately: nobody can hold that against it.
    pub(super) fn sybil_grafts(&mut self, link: u64, end: End, target: End) {
        let barred = &self.puppets[end - self.nodes.len()].barred;
        let is_open = |topic: &Topic| barred.get(&(link, name(topic))).is_none_or(|until| *until <= self.now);
        let topics: Vec<Topic> = self.topics(target).into_iter().filter(is_open).collect();
        if !topics.is_empty() {
            self.puppet_sends(end, link, grafts(&topics, 1));
        }
    }

    /// A sybil got a frame.
    pub(super) fn sybil_hears(&mut self, link: u64, end: End, frame: &Bytes) {
        let Ok(rpc) = Rpc::decode(frame, &RpcLimits::default()) else { return };
        let puppet = end - self.nodes.len();
        for prune in rpc.control.iter().flat_map(|control| &control.prune) {
            let topic = Bytes::copy_from_slice(prune.topic.unwrap_or_default());
            let until = self.now + prune.backoff_s.unwrap_or(60) * 1_000_000;
            self.puppets[puppet].barred.insert((link, topic), until);
        }
        let Some(Sybils { relays: true, censored }) = self.sybils else { return };
        for message in rpc.publish {
            if censored.is_none() || message.author() != censored {
                self.sybil_relays(link, end, &message);
            }
        }
    }

    fn sybil_relays(&mut self, link: u64, end: End, message: &Message<'_>) {
        let puppet = end - self.nodes.len();
        if !self.puppets[puppet].relayed.insert(message.message_id().into()) {
            return;
        }
        let frame = written(|out| Rpc { publish: vec![message.clone()], ..Rpc::default() }.encode(out));
        let others: Vec<u64> = self.puppets[puppet].links.keys().copied().filter(|id| *id != link).collect();
        for id in others {
            self.puppet_sends(end, id, frame.clone());
        }
    }
}
