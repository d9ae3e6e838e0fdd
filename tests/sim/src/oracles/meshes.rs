//! After each heartbeat every mesh is within its bounds, and its members are connected, subscribed, and speak of meshes.

use peerage_core::Input;
use peerage_core::time::{Deadline, Timer};

use super::{Before, Oracle, Seen, ensure};

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meshes {
    has_beaten: bool,
}

/// Whether an input is a heartbeat.
pub(super) fn is_heartbeat(before: &Before<'_>) -> bool {
    let now = before.core.view().last().mono.max(before.now.mono);
    let is_due = |deadline: Deadline| deadline.timer == Timer::Heartbeat && deadline.at <= now;
    matches!(before.input, Input::Timeout) && before.deadline.is_some_and(is_due)
}

impl Oracle for Meshes {
    fn name(&self) -> &'static str {
        "meshes"
    }

    fn before(&mut self, before: &Before<'_>) {
        self.has_beaten = is_heartbeat(before);
    }

    fn after(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        if !matches!(seen.input, Input::Timeout) {
            return Ok(());
        }
        let view = seen.core.view();
        let (router, table) = (view.router(), view.conns().table());
        let (mesh, peers, config) = (router.mesh(), router.peers(), &seen.core.config().gossipsub);
        // Between heartbeats the grafts of peers that we dialled ourselves are taken beyond the bound.
        for topic in mesh.joined() {
            let count = mesh.members(topic).count();
            ensure(!self.has_beaten || count <= config.mesh_n_high as usize, || {
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
            after(&mut Meshes { has_beaten: true }, &node, Now::at_secs(1), &Input::Timeout, &[])
        };
        assert_eq!(check(1, ""), Ok(()));
        assert!(check(0, "").is_err_and(|error| error.contains("1 members")));
        let gone = check(1, ".conns.table.peers");
        assert!(gone.is_err_and(|error| error.contains("not connected")));
        let left = check(1, ".router.peers.by_topic[first]");
        assert!(left.is_err_and(|error| error.contains("not subscribed")));
    }
}
