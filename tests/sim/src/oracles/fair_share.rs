//! No peer pushes out what belongs to another: a connected peer stays in the registry, and the newest announcement of a
//! neighbour stays known.

use std::collections::BTreeMap;

use peerage_core::gossipsub::Event;
use peerage_core::time::Instant;
use peerage_core::{Input, Node};
use peerage_proto::hash::Hash256;
use peerage_proto::peer_id::PeerId;

use super::{Before, Oracle, Seen, ensure};

/// See the module.
#[derive(Debug, Default)]
pub struct FairShare {
    /// Connected peers in the registry before the input.
    connected: Vec<PeerId>,
    /// Whether the block that is announced was known before the input.
    was_known: bool,
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
        if let Input::Gossipsub(Event::Delivered { data, .. }) = before.input {
            self.was_known = announced(data).is_some_and(|hash| origin(before.core, &hash).is_some());
        }
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
        if let Input::Gossipsub(Event::Delivered { propagation_source, source, data, .. }) = seen.input {
            self.check_newest(seen, *propagation_source)?;
            let hash = announced(data).filter(|hash| origin(seen.core, hash) == Some(*source));
            if let Some(hash) = hash.filter(|_| self.was_known) {
                // It has become the newest of this neighbour, if it was not refused: which one is the next to go is
                // not to be seen.
                self.newest.retain(|(node, neighbour), (other, _)| {
                    *node != seen.node || neighbour != propagation_source && *other != hash
                });
            } else if let Some(hash) = hash {
                self.newest.retain(|(node, _), (other, _)| *node != seen.node || *other != hash);
                self.newest.insert((seen.node, *propagation_source), (hash, seen.now.mono));
            }
        }
        Ok(())
    }

    fn died(&mut self, node: usize) {
        self.newest.retain(|(other, _), _| *other != node);
    }
}

impl FairShare {
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
    use super::super::testing::{after, alter, before, config, connected, delivered, node, peer};
    use super::*;
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
        let error = after(&mut oracle, &node(), Now::at_secs(1), &delivered(peer(2), b"{}"), &[]);
        assert!(error.is_err_and(|error| error.contains("pushed out the newest block")));
    }
}
