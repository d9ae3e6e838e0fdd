//! After each heartbeat every mesh is within its bounds, and its members are connected, subscribed, and speak of meshes.

use std::collections::BTreeMap;

use peerage_core::Input;
use peerage_core::time::Instant;

use super::{Oracle, Seen, ensure};

/// When each node's next heartbeat is due.
#[derive(Clone, Debug, Default)]
pub(super) struct Heartbeats(BTreeMap<usize, Instant>);

impl Heartbeats {
    /// Whether an input was a heartbeat.
    pub(super) fn has_beaten(&mut self, seen: &Seen<'_>) -> bool {
        let (now, config) = (seen.core.view().last().mono, &seen.core.config().gossipsub);
        if matches!(seen.input, Input::Start) {
            self.0.insert(seen.node, now.after(config.heartbeat_initial_delay));
        }
        let is_due = self.0.get(&seen.node).is_some_and(|due| *due <= now);
        let has_beaten = is_due && matches!(seen.input, Input::Timeout) && !seen.core.view().is_stopped();
        if has_beaten {
            self.0.insert(seen.node, now.after(config.heartbeat_interval));
        }
        has_beaten
    }

    /// A node is expected to beat at its next timeout.
    #[cfg(test)]
    pub(super) fn expect(&mut self, node: usize) {
        self.0.insert(node, Instant::ZERO);
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Meshes(Heartbeats);

impl Oracle for Meshes {
    fn name(&self) -> &'static str {
        "meshes"
    }

    fn after(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        let has_beaten = self.0.has_beaten(seen);
        if !matches!(seen.input, Input::Timeout) {
            return Ok(());
        }
        let view = seen.core.view();
        let (router, table) = (view.router(), view.conns().table());
        let (mesh, peers, config) = (router.mesh(), router.peers(), &seen.core.config().gossipsub);
        // Between heartbeats the grafts of peers that we dialled ourselves are taken beyond the bound.
        for topic in mesh.joined() {
            let count = mesh.members(topic).count();
            ensure(!has_beaten || count <= config.mesh_n_high as usize, || {
                format!("{count} members in the mesh of {topic:?}")
            })?;
            for member in mesh.members(topic) {
                ensure(table.is_connected(member), || format!("{member} is in a mesh, not connected"))?;
                ensure(peers.is_subscribed(member, topic), || {
                    format!("{member} is in the mesh of {topic:?}, not subscribed")
                })?;
                let speaks = peers.get(member).is_some_and(|peer| peer.version.has_mesh());
                ensure(speaks, || format!("{member} is in a mesh and knows none"))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{after, alter, config, connected};
    use super::*;
    use peerage_core::time::Now;

    #[test]
    fn a_mesh_beyond_its_bound_and_a_member_that_is_gone_or_not_subscribed_are_seen() {
        let check = |high: u32, path: &str| {
            let mut config = config();
            config.gossipsub.mesh_outbound_min = 0;
            (config.gossipsub.mesh_n, config.gossipsub.mesh_n_low) = (0, 0);
            config.gossipsub.mesh_n_high = high;
            let mut node = connected(config);
            if !path.is_empty() {
                alter(&mut node, path);
            }
            let mut oracle = Meshes::default();
            oracle.0.expect(0);
            after(&mut oracle, &node, Now::at_secs(1), &Input::Timeout, &[])
        };
        assert_eq!(check(1, ""), Ok(()));
        assert!(check(0, "").is_err_and(|error| error.contains("1 members")));
        let gone = check(1, ".conns.table.peers");
        assert!(gone.is_err_and(|error| error.contains("not connected")));
        let left = check(1, ".router.peers.by_topic[first]");
        assert!(left.is_err_and(|error| error.contains("not subscribed")));
    }
}
