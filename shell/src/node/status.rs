//! The answer to `peerage.v1.Control/Status`.

use peerage_core::conn::Direction;
use peerage_core::input::Neighbour;
use peerage_core::node::View;
use peerage_core::time::Now;
use peerage_proto::control::{Neighbour as NeighbourReply, Peer, StatusReply};

/// What does not change while a node runs.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// Base58.
    pub peer_id: String,
    /// The network's name.
    pub network: String,
    /// The data directory.
    pub data_dir: String,
    /// `dev` or `standard`.
    pub profile: String,
    /// Where the feed listens; empty: nowhere.
    pub feed: String,
    /// Where the operator's listener is; empty: nowhere.
    pub admin: String,
}

/// The whole answer.
pub fn reply(
    identity: &Identity,
    view: &View<'_>,
    state_hash: [u8; 32],
    now: Now,
    details: &[(Neighbour, String)],
) -> StatusReply {
    let own = view.teranode().own();
    let tip = own.tip();
    StatusReply {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        peer_id: identity.peer_id.clone(),
        network: identity.network.clone(),
        data_dir: identity.data_dir.clone(),
        profile: identity.profile.clone(),
        listen_addresses: view.conns().listening().iter().map(ToString::to_string).collect(),
        feed_address: identity.feed.clone(),
        admin_address: identity.admin.clone(),
        fsm_state: own.fsm().map(|state| state.name().to_owned()).unwrap_or_default(),
        tip_hash: tip.map(|tip| tip.header.hash().to_string()).unwrap_or_default(),
        tip_height: tip.map_or(0, |tip| tip.height),
        uptime_ms: now.mono.as_micros() / 1000,
        peers: peers(view, now),
        counters: counters(view),
        state_hash: peerage_proto::hex::encode(&state_hash),
        health: Neighbour::ALL.map(|neighbour| health(view, neighbour, details)).into(),
    }
}

fn health(view: &View<'_>, neighbour: Neighbour, details: &[(Neighbour, String)]) -> NeighbourReply {
    let detail = details.iter().find(|(other, _)| *other == neighbour).map(|(_, detail)| detail.clone());
    NeighbourReply {
        name: neighbour.name().to_owned(),
        healthy: view.health().is_up(neighbour),
        detail: detail.unwrap_or_default(),
    }
}

/// Each connected peer once, by its oldest connection.
fn peers(view: &View<'_>, now: Now) -> Vec<Peer> {
    let table = view.conns().table();
    table
        .peers()
        .filter_map(|peer| {
            let connection = table.get(*table.of_peer(peer).first()?)?;
            let info = view.teranode().registry().get(peer);
            Some(Peer {
                peer_id: peer.to_base58(),
                direction: match connection.direction {
                    Direction::Inbound(_) => "in".to_owned(),
                    Direction::Outbound(_) => "out".to_owned(),
                },
                address: connection.addr.to_string(),
                connected_ms: u64::try_from(now.mono.saturating_since(connection.since).as_millis())
                    .unwrap_or(u64::MAX),
                height: info.map_or(0, |info| info.height),
                client_name: info.map(|info| info.client_name.clone()).unwrap_or_default(),
            })
        })
        .collect()
}

fn counters(view: &View<'_>) -> std::collections::BTreeMap<String, u64> {
    let counters = view.counters();
    [
        ("inputs", counters.inputs),
        ("actions", counters.actions),
        ("delivered", counters.delivered),
        ("delivered_bytes", counters.delivered_bytes),
        ("published", counters.published),
        ("publish_sent", counters.publish_sent),
        ("publish_blocked", counters.publish_blocked.total()),
        ("produced", counters.produced),
        ("produce_acked", counters.produce_acked),
        ("feed_frames", counters.feed_frames),
        ("feed_evicted", counters.feed_evicted),
        ("ops_unknown", counters.ops_unknown),
        ("subscribers", view.teranode().subscribers().len() as u64),
        ("peers_known", view.teranode().registry().len() as u64),
    ]
    .into_iter()
    .map(|(name, count)| (name.to_owned(), count))
    .collect()
}
