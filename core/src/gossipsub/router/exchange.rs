//! Peers that others name when they prune us: who may be dialled is whose own signature says where it listens.

use alloc::vec::Vec;

use bytes::Bytes;
use peerage_proto::multiaddr::Multiaddr;
use peerage_proto::peer_id::PeerId;
use peerage_proto::pubsub::{PeerInfo, PeerRecord};

use super::{Hand, Router, bump};
use crate::gossipsub::Event;
use crate::gossipsub::mesh::EXCHANGE_PEERS_MAX;
use crate::gossipsub::policy::author_key;
use crate::gossipsub::stream::{Action, Check, CheckEnd};
use crate::input;
use crate::node::ctx::Purpose;
use crate::op::OpId;
use crate::sink::Sink;
use crate::state::state;

state! {
    /// A peer whose record is being checked.
    #[derive(Clone, Debug)]
    pub(super) struct Named {
        peer: PeerId,
        addrs: Vec<Multiaddr>,
    }
}

impl Router {
    /// `by` named other peers in a PRUNE.
    pub(super) fn take_exchange<S: Sink<input::Action>>(
        &mut self,
        hand: &mut Hand<'_, '_, S>,
        by: PeerId,
        infos: &[PeerInfo<'_>],
    ) {
        bump(&mut self.tally.exchange_named, infos.len());
        let is_trusted = hand
            .setup
            .scoring()
            .is_none_or(|scoring| self.score(hand.setup, &by) >= scoring.exchange_threshold);
        if infos.is_empty() || !hand.setup.config.take_exchange || !is_trusted {
            return;
        }
        let addrs_max = hand.cx.limits.addresses_per_peer_max as usize;
        let found = infos.iter().take(EXCHANGE_PEERS_MAX).filter_map(|info| record(info, addrs_max));
        let (named, checks): (Vec<_>, Vec<_>) =
            found.filter(|(named, _)| named.peer != hand.setup.own).unzip();
        if checks.is_empty() {
            return;
        }
        // Without room for the operation nobody is dialled: that is nobody's loss.
        if let Some(op) = hand.cx.begin(Purpose::Verify) {
            self.exchanging.insert(op, named);
            hand.cx.push(Action::Verify { op, checks });
        }
    }

    /// Checks ended: those of records that hold are handed on.
    pub(super) fn on_records_checked<S>(&mut self, hand: &mut Hand<'_, '_, S>, op: OpId, ends: &[CheckEnd]) {
        let named = self.exchanging.remove(&op).unwrap_or_default();
        for (Named { peer, addrs }, _) in
            named.into_iter().zip(ends).filter(|(_, end)| **end == CheckEnd::Valid)
        {
            bump(&mut self.tally.exchange_taken, 1);
            hand.events.push_back(Event::Exchanged { peer, addrs });
        }
    }
}

/// The record of a peer, if it is its own, and what is to be checked of it.
fn record(info: &PeerInfo<'_>, addrs_max: usize) -> Option<(Named, Check)> {
    let record = PeerRecord::decode(info.signed_peer_record?, addrs_max).ok()??;
    if info.peer_id != Some(record.peer.as_bytes()) || record.addrs.is_empty() {
        return None;
    }
    let key = author_key(&record.peer, Some(record.key)).ok()?;
    let check = Check {
        key,
        signed: record.signing_bytes().into(),
        signature: Bytes::copy_from_slice(record.signature),
    };
    Some((Named { peer: record.peer, addrs: record.addrs }, check))
}
