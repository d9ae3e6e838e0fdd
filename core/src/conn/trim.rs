//! Which connections go when there are too many (go-libp2p connection manager: 25, 35, 20 s).

use alloc::vec::Vec;

use peerage_proto::peer_id::PeerId;

use super::table::Table;
use super::{Config, ConnectionId};
use crate::time::Now;

/// What a peer is worth.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Worth {
    /// Closed first, in order of the number.
    Points(u32),
    /// Never closed: a mesh member, or a peer that we keep.
    Protected,
}

/// The peers to disconnect, least valued first: above the high-water mark, all but the low-water mark's number of the
/// peers that are neither protected nor young. Who is closed already (its connections are all `closing`) counts no more.
pub fn victims(
    config: &Config,
    now: Now,
    table: &Table,
    closing: impl Fn(ConnectionId) -> bool,
    worth: impl Fn(&PeerId) -> Worth,
) -> Vec<PeerId> {
    let stays = |peer: &&PeerId| table.of_peer(peer).iter().any(|id| !closing(*id));
    if table.peer_count() <= config.high_water as usize {
        return Vec::new();
    }
    let mut candidates: Vec<(u32, PeerId)> = table
        .peers()
        .filter(stays)
        .filter(|peer| {
            let since = table.of_peer(peer).first().and_then(|id| table.get(*id)).map(|first| first.since);
            since.is_some_and(|since| now.mono.saturating_since(since) >= config.trim_grace)
        })
        .filter_map(|peer| match worth(peer) {
            Worth::Points(points) => Some((points, *peer)),
            Worth::Protected => None,
        })
        .collect();
    candidates.sort_unstable();
    let excess = candidates.len().saturating_sub(config.low_water as usize);
    candidates.into_iter().take(excess).map(|(_, peer)| peer).collect()
}

/// Every peer that is neither protected nor closed already, least valued first.
pub fn least_valued(
    table: &Table,
    closing: impl Fn(ConnectionId) -> bool,
    worth: impl Fn(&PeerId) -> Worth,
) -> Vec<PeerId> {
    let stays = |peer: &&PeerId| table.of_peer(peer).iter().any(|id| !closing(*id));
    let mut candidates: Vec<(u32, PeerId)> = table
        .peers()
        .filter(stays)
        .filter_map(|peer| match worth(peer) {
            Worth::Points(points) => Some((points, *peer)),
            Worth::Protected => None,
        })
        .collect();
    candidates.sort_unstable();
    candidates.into_iter().map(|(_, peer)| peer).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Direction;
    use super::super::table::Connection;
    use super::*;
    use crate::time::Instant;

    fn peer(n: u8) -> PeerId {
        PeerId::from_ed25519(&[n; 32])
    }

    fn table(count: u8) -> Table {
        let mut table = Table::default();
        for n in 0..count {
            let connection = Connection {
                peer: peer(n),
                addr: "/ip4/127.0.0.1/tcp/1".parse().unwrap(),
                direction: Direction::Outbound(None),
                since: Instant::ZERO,
            };
            table.establish(ConnectionId(u64::from(n)), connection);
        }
        table
    }

    const NONE: fn(ConnectionId) -> bool = |_| false;

    #[test]
    fn who_is_closed_already_counts_no_more() {
        let config = Config::default();
        let all = |_: &PeerId| Worth::Points(0);
        let closing = |id: ConnectionId| id.0 < 10;
        let gone = victims(&config, Now::at_secs(60), &table(50), closing, all);
        assert_eq!(gone.len(), 15, "40 are left, 25 stay");
        let closing = |id: ConnectionId| id.0 < 25;
        assert!(victims(&config, Now::at_secs(60), &table(50), closing, all).is_empty());
    }

    #[test]
    fn nothing_goes_up_to_the_high_water_mark() {
        let config = Config::default();
        let all = |_: &PeerId| Worth::Points(0);
        assert!(victims(&config, Now::at_secs(60), &table(35), NONE, all).is_empty());
        assert_eq!(victims(&config, Now::at_secs(60), &table(36), NONE, all).len(), 11);
    }

    #[test]
    fn the_young_and_the_protected_stay_and_the_least_valued_go_first() {
        let config = Config::default();
        assert!(victims(&config, Now::at_secs(19), &table(50), NONE, |_| Worth::Points(0)).is_empty());
        let worth = |id: &PeerId| match id {
            id if *id == peer(1) => Worth::Protected,
            id if *id == peer(2) => Worth::Points(0),
            _ => Worth::Points(100),
        };
        let gone = victims(&config, Now::at_secs(60), &table(50), NONE, worth);
        assert_eq!(gone.len(), 24);
        assert_eq!(gone.first(), Some(&peer(2)));
        assert!(!gone.contains(&peer(1)));
    }
}
