//! Every collection is within its limit.

use peerage_core::Input;
use peerage_core::gossipsub::stream::Event;

use super::{Oracle, Seen, ensure};

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct WithinLimits;

impl Oracle for WithinLimits {
    fn name(&self) -> &'static str {
        "limits"
    }

    fn after(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        let (view, config) = (seen.core.view(), seen.core.config());
        let (limits, conns, service) = (&config.limits, view.conns(), view.teranode());
        let (router, outboxes) = (view.router(), conns.outboxes());
        let (blocks, subtrees) = service.origins().len();
        let (produce, publish) = service.inflight();
        let bounds = [
            ("connections", conns.table().connection_count(), limits.connections_max),
            ("handshakes", conns.table().pending_count(), config.conn.pending_handshakes_max),
            ("dial targets", conns.dialer().len(), limits.dial_targets_max),
            ("dials", conns.dialer().inflight() as usize, config.conn.dials_inflight_max),
            ("addresses", conns.book().len(), limits.peers_known_max),
            ("registry", service.registry().len(), limits.peers_known_max),
            ("origins of blocks", blocks, limits.origins_max),
            ("origins of subtrees", subtrees, limits.origins_max),
            ("seen hashes", service.repeats().len(), limits.seen_hashes_max),
            ("ban scores", service.bans().len(), limits.ban_scores_max),
            ("operations", view.ops().len(), limits.ops_inflight_max),
            ("records", produce as usize, limits.produce_inflight_max),
            ("publications", publish as usize, limits.publish_inflight_max),
            ("neighbours of the router", router.peers().len(), limits.connections_max),
            ("streams", router.streams().len(), limits.connections_max),
            ("outboxes", outboxes.len(), limits.connections_max),
            ("feed clients", service.subscribers().len(), limits.subscribers_max),
        ];
        for (what, count, max) in bounds {
            ensure(count <= max as usize, || format!("{count} {what}, limit {max}"))?;
        }
        ensure(view.interests().len() <= conns.table().peer_count(), || {
            "more interests than connected peers".into()
        })?;
        let (waits, max) = (outboxes.bytes(), config.gossipsub.queues_bytes_max);
        ensure(waits <= max, || format!("{waits} bytes wait for others, limit {max}"))?;
        // A walk over all peers: only when something changed for one.
        if !matches!(seen.input, Input::Conn(_) | Input::Gossipsub(Event::Frame { .. })) {
            return Ok(());
        }
        for peer in conns.table().peers() {
            let count = view.interests().topic_count(peer);
            ensure(count <= limits.topics_per_peer_max, || format!("{count} topics of {peer}"))?;
            let told = router.peers().get(peer).map_or(0, |peer| peer.topics().count());
            // Those that are joined are not counted, and they are seven at most.
            let max = limits.topics_per_peer_max as usize + 7;
            ensure(told <= max, || format!("{peer} is subscribed to {told} topics"))?;
            let known = conns.book().addrs(peer).len();
            let max = limits.addresses_per_peer_max as usize;
            ensure(known <= max, || format!("{known} addresses of {peer}"))?;
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
    fn a_collection_beyond_its_limit_is_seen() {
        let check = |tighten: &dyn Fn(&mut peerage_core::Config)| {
            let mut config = config();
            tighten(&mut config);
            let mut node = connected(config);
            alter(&mut node, ".conns.dialer.inflight");
            after(&mut WithinLimits, &node, Now::at_secs(1), &Input::Timeout, &[])
        };
        assert_eq!(check(&|_| {}), Ok(()));
        let dials = check(&|config| config.conn.dials_inflight_max = 0);
        assert_eq!(dials, Err("1 dials, limit 0".into()));
        let mut node = connected(config());
        // The peer's table entry goes, what hangs on it stays.
        alter(&mut node, ".conns.table.peers");
        let interests = after(&mut WithinLimits, &node, Now::at_secs(1), &Input::Timeout, &[]);
        assert_eq!(interests, Err("more interests than connected peers".into()));
    }
}
