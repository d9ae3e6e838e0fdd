//! No peer pushes out what belongs to another: a connected peer stays in the registry, and the newest announcement of a
//! neighbour stays known.

use std::collections::{BTreeMap, BTreeSet};

use peerage_core::Node;
use peerage_core::time::Instant;
use peerage_proto::hash::Hash256;
use peerage_proto::peer_id::PeerId;

use super::{Before, Delivered, Oracle, Seen, ensure};

/// See the module.
#[derive(Debug, Default)]
pub struct FairShare {
    /// Connected peers in the registry before the input.
    connected: Vec<PeerId>,
    /// Blocks that were known before the input, of those that it may announce.
    known: BTreeSet<Hash256>,
    /// By node and neighbour: the newest block that it delivered, and when; none where that is in doubt.
    newest: BTreeMap<(usize, PeerId), (Hash256, Instant)>,
}

impl Oracle for FairShare {
    fn name(&self) -> &'static str {
        "fair share"
    }

    fn before(&mut self, before: &Before<'_>) {
        let view = before.core.view();
        let known = |peer: &&PeerId| view.teranode().registry().get(peer).is_some();
        self.connected.clear();
        self.connected.extend(view.conns().table().peers().filter(known).copied());
        let announced = before.heard.values().filter_map(|heard| announced(&heard.data));
        self.known = announced.filter(|hash| origin(before.core, hash).is_some()).collect();
    }

    fn after(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        let view = seen.core.view();
        for peer in &self.connected {
            let connected = view.conns().table().is_connected(peer);
            let known = view.teranode().registry().get(peer).is_some();
            ensure(!connected || known, || {
                format!("{peer} is connected and was pushed out of the registry")
            })?;
        }
        match seen.delivered {
            [] => {}
            [one] => self.on_delivered(seen, one)?,
            // Which of several did what is not to be seen.
            _ => self.newest.retain(|(node, _), _| *node != seen.node),
        }
        Ok(())
    }

    fn died(&mut self, node: usize) {
        self.newest.retain(|(other, _), _| *other != node);
    }
}

impl FairShare {
    fn on_delivered(&mut self, seen: &Seen<'_>, delivered: &Delivered) -> Result<(), String> {
        let Delivered { propagation_source, heard, .. } = delivered;
        self.check_newest(seen, *propagation_source)?;
        let hash = announced(&heard.data).filter(|hash| origin(seen.core, hash) == Some(heard.author));
        let Some(hash) = hash else { return Ok(()) };
        if self.known.contains(&hash) {
            // It has become the newest of this neighbour, if it was not refused: which one is the next to go is not to be
            // seen.
            self.newest.retain(|(node, neighbour), (other, _)| {
                *node != seen.node || neighbour != propagation_source && *other != hash
            });
        } else {
            self.newest.retain(|(node, _), (other, _)| *node != seen.node || *other != hash);
            self.newest.insert((seen.node, *propagation_source), (hash, seen.now.mono));
        }
        Ok(())
    }

    fn check_newest(&self, seen: &Seen<'_>, cause: PeerId) -> Result<(), String> {
        let ttl = seen.core.config().teranode.origin_ttl;
        for ((node, neighbour), (hash, at)) in &self.newest {
            let is_others = *node == seen.node && *neighbour != cause;
            let is_fresh = seen.now.mono.saturating_since(*at) < ttl;
            let known = || origin(seen.core, hash).is_some();
            ensure(!is_others || !is_fresh || known(), || {
                format!("a message through {cause} pushed out the newest block of {neighbour}")
            })?;
        }
        Ok(())
    }
}

fn origin(core: &Node, hash: &Hash256) -> Option<PeerId> {
    core.view().teranode().origins().block_origin(hash)
}

/// The hash of a block announcement.
fn announced(data: &[u8]) -> Option<Hash256> {
    let mut inner = Vec::new();
    let unwrapped =
        peerage_proto::envelope::unwrap(peerage_proto::envelope::Mode::Required, data, &mut inner);
    let message = peerage_proto::json::BlockMessage::decode(unwrapped.ok()?.inner).ok()?;
    Hash256::from_display(&message.hash).ok()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{
        after, after_delivered, alter, before, config, connected, delivered, node, peer,
    };
    use super::*;
    use peerage_core::Input;
    use peerage_core::time::Now;

    #[test]
    fn a_connected_peer_that_vanishes_from_the_registry_is_seen() {
        let mut oracle = FairShare::default();
        let mut node = connected(config());
        before(&mut oracle, &node, Now::at_secs(1), &Input::Timeout);
        assert_eq!(after(&mut oracle, &node, Now::at_secs(1), &Input::Timeout, &[]), Ok(()));
        alter(&mut node, ".teranode.registry.peers.entries");
        let error = after(&mut oracle, &node, Now::at_secs(1), &Input::Timeout, &[]).unwrap_err();
        assert!(error.contains("pushed out of the registry"), "{error}");
    }

    #[test]
    fn a_newest_announcement_that_vanishes_is_seen() {
        let mut oracle = FairShare::default();
        oracle.newest.insert((0, peer(1)), (Hash256([1; 32]), Now::at_secs(0).mono));
        let (delivered, now) = ([delivered(peer(2), b"{}")], Now::at_secs(1));
        let error = after_delivered(&mut oracle, &node(), now, &Input::Timeout, &[], &delivered);
        assert!(error.is_err_and(|error| error.contains("pushed out the newest block")));
    }
}
