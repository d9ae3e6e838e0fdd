//! Announcements and searches in the DHT.

use std::collections::HashMap;

use bytes::Bytes;
use libp2p::core::Endpoint;
use libp2p::kad::{self, GetProvidersOk, QueryId, QueryResult, RecordKey};
use libp2p::swarm::{ConnectionId, NetworkBehaviour as _};
use peerage_core::conn::{Event, Source};
use peerage_core::input::{Failed, Input, OpResult};
use peerage_core::op::OpId;

use super::convert;
use super::providers::Providers;

type Kad = kad::Behaviour<Providers>;

/// The operations under way.
#[derive(Debug, Default)]
pub struct Queries {
    ops: HashMap<QueryId, OpId>,
}

impl Queries {
    /// Announces that we provide `key`. An answer that is known at once is returned.
    pub fn provide(&mut self, kad: Option<&mut Kad>, op: OpId, key: &Bytes) -> Option<Input> {
        let failed = |cause: String| Some(Input::Op(op, OpResult::Provided(Err(Failed(cause)))));
        let Some(kad) = kad else { return failed("the DHT is off".to_owned()) };
        if !has_peers(kad) {
            return failed("the routing table is empty".to_owned());
        }
        match kad.start_providing(RecordKey::new(key)) {
            Ok(query) => {
                self.ops.insert(query, op);
                None
            }
            Err(error) => failed(error.to_string()),
        }
    }

    /// Looks up who provides `key`. An answer that is known at once is returned.
    pub fn search(&mut self, kad: Option<&mut Kad>, op: OpId, key: &Bytes) -> Option<Input> {
        let failed = |cause: &str| Some(Input::Op(op, OpResult::Searched(Err(Failed(cause.to_owned())))));
        let Some(kad) = kad else { return failed("the DHT is off") };
        if !has_peers(kad) {
            return failed("the routing table is empty");
        }
        self.ops.insert(kad.get_providers(RecordKey::new(key)), op);
        None
    }

    /// What an event of the DHT means for the core, in order.
    pub fn on_event(
        &mut self,
        kad: &mut Kad,
        local: &libp2p::PeerId,
        event: kad::Event,
        out: &mut impl FnMut(Input),
    ) {
        let kad::Event::OutboundQueryProgressed { id, result, step, .. } = event else { return };
        let result = match result {
            QueryResult::GetProviders(found) => {
                if let Ok(GetProvidersOk::FoundProviders { providers, .. }) = &found {
                    let mut providers: Vec<_> = providers.iter().filter(|peer| *peer != local).collect();
                    providers.sort();
                    providers.into_iter().filter_map(|peer| found_provider(kad, *peer)).for_each(&mut *out);
                }
                OpResult::Searched(found.map(|_| ()).map_err(|error| Failed(error.to_string())))
            }
            QueryResult::StartProviding(done) => {
                OpResult::Provided(done.map(|_| ()).map_err(|error| Failed(error.to_string())))
            }
            // Queries of the DHT's own upkeep.
            QueryResult::Bootstrap(_)
            | QueryResult::GetClosestPeers(_)
            | QueryResult::RepublishProvider(_)
            | QueryResult::GetRecord(_)
            | QueryResult::PutRecord(_)
            | QueryResult::RepublishRecord(_) => return,
        };
        if step.last
            && let Some(op) = self.ops.remove(&id)
        {
            out(Input::Op(op, result));
        }
    }
}

fn has_peers(kad: &mut Kad) -> bool {
    kad.kbuckets().any(|bucket| !bucket.is_empty())
}

/// The addresses of a provider as the DHT knows them.
fn found_provider(kad: &mut Kad, peer: libp2p::PeerId) -> Option<Input> {
    let unused = ConnectionId::new_unchecked(0);
    let addrs =
        kad.handle_pending_outbound_connection(unused, Some(peer), &[], Endpoint::Dialer).unwrap_or_default();
    let addrs: Vec<_> = addrs.iter().filter_map(convert::addr).map(|addr| addr.without_p2p()).collect();
    let peer = convert::peer(&peer)?;
    Some(Input::Conn(Event::Found { peer, addrs, source: Source::Dht }))
}
