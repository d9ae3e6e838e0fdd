//! Puppets that are one: they join every mesh that takes them, and hand on what suits them.

use bytes::Bytes;
use peerage_proto::peer_id::PeerId;
use peerage_proto::pubsub::{Message, Rpc, RpcLimits};

use super::mischief::grafts;
use super::puppet::written;
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

    /// Each puppet connects to each of `targets` that it is not connected to, and grafts the others.
    pub fn sybils_press(&mut self, targets: &[usize]) {
        for puppet in 0..self.puppets.len() {
            let end = self.nodes.len() + puppet;
            for target in targets {
                let mut links = self.puppets[puppet].links.iter();
                match links.find(|(_, other)| *other == target).map(|(id, _)| *id) {
                    None => self.puppet_dials(end, *target),
                    Some(link) => {
                        let frame = grafts(&self.topics(*target), 1);
                        self.puppet_sends(end, link, frame);
                    }
                }
            }
        }
    }

    /// A sybil got a frame.
    pub(super) fn sybil_hears(&mut self, link: u64, end: End, frame: &Bytes) {
        let Some(Sybils { relays: true, censored }) = self.sybils else { return };
        let Ok(rpc) = Rpc::decode(frame, &RpcLimits::default()) else { return };
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
