//! Nothing outlives its owner: after the last disconnect a peer has no state of a connected one.

use peerage_core::Input;
use peerage_core::conn::Event;
use peerage_core::teranode::Compat;

use super::{Oracle, Seen, ensure};

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct PerPeer;

impl Oracle for PerPeer {
    fn name(&self) -> &'static str {
        "per-peer state"
    }

    fn after(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        let view = seen.core.view();
        let (table, interests) = (view.conns().table(), view.interests());
        for peer in interests.subscribers() {
            ensure(table.is_connected(peer), || format!("subscriptions of {peer}, who is not connected"))?;
        }
        // The rest is looked at when a connection ends: it costs a walk.
        let Input::Conn(Event::Closed { .. }) = seen.input else { return Ok(()) };
        let router = view.router();
        for peer in router.streams().peers() {
            ensure(table.is_connected(peer), || format!("streams of {peer}, who is not connected"))?;
        }
        for topic in router.mesh().joined() {
            for peer in router.mesh().members(topic) {
                ensure(table.is_connected(peer), || format!("{peer} is in a mesh, not connected"))?;
            }
        }
        let (count, boxes) = (table.peer_count(), view.conns().outboxes().len());
        ensure(router.peers().len() <= count && boxes <= count, || {
            format!("{count} peers, {} neighbours of the router, {boxes} outboxes", router.peers().len())
        })?;
        ensure(count > 0 || router.promises().is_empty(), || "promises of nobody".into())?;
        let is_strict = seen.core.config().teranode.compat == Compat::Strict;
        for (peer, info) in view.teranode().registry().iter() {
            let connected = table.is_connected(peer);
            // The reference does not book a connection of somebody whom it has not heard yet.
            let holds = info.is_connected == connected || (is_strict && connected);
            ensure(holds, || {
                format!("{peer} is connected: {connected}, in the registry: {}", info.is_connected)
            })?;
            ensure(connected || !interests.in_mesh(peer), || {
                format!("{peer} is in the mesh, not connected")
            })?;
            ensure(connected || !view.watchdog().watches(peer), || {
                format!("{peer} is watched, not connected")
            })?;
        }
        ensure(table.peer_count() > 0 || (interests.is_empty() && view.watchdog().is_idle()), || {
            "nobody is connected, and somebody's state is left".into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{after, alter, config, connected};
    use super::*;
    use peerage_core::conn::{CloseReason, ConnectionId};
    use peerage_core::time::Now;

    #[test]
    fn state_of_a_peer_that_is_gone_is_seen() {
        let closed = Input::Conn(Event::Closed { id: ConnectionId(1), reason: CloseReason::Remote });
        let check = |paths: &[&str]| {
            let mut node = connected(config());
            paths.iter().for_each(|path| alter(&mut node, path));
            after(&mut PerPeer, &node, Now::at_secs(1), &closed, &[])
        };
        assert_eq!(check(&[]), Ok(()));
        assert!(check(&[".conns.table.peers"]).is_err_and(|error| error.contains("subscriptions of")));
        let streams = check(&[".conns.table.peers", ".interests.peers"]);
        assert!(streams.is_err_and(|error| error.contains("streams of")));
        assert!(
            check(&["registry.peers.entries[first].value.is_connected"])
                .is_err_and(|error| error.contains("in the registry"))
        );
    }
}
