//! Port mapping by UPnP, with `p2p_enable_nat`: what listens on a private address is reached from outside at the gateway's.

pub mod gateway;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddrV4};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::channel::oneshot;
use peerage_proto::Multiaddr;
use peerage_proto::ip::is_private;

use super::signatures::Unblock;
use gateway::Gateway;

/// A mapping is renewed after this: half its life.
pub const RENEW: Duration = Duration::from_secs(1800);
/// After a failure; a network without a gateway gets one search in this time.
pub const RETRY: Duration = Duration::from_secs(600);
/// Listen addresses that are mapped.
const ADDRESSES_MAX: usize = 8;

/// What became of a mapping.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// We are reached at this address too.
    Mapped(Multiaddr),
    /// Not any more.
    Ended(Multiaddr),
}

#[derive(Debug)]
struct Entry {
    own: SocketAddrV4,
    due: Instant,
    mapped: Option<(Gateway, SocketAddrV4)>,
}

/// Threads of their own: a gateway may take a minute to answer, and other work does not wait for it.
pub fn aside() -> Unblock {
    std::sync::Arc::new(|work| {
        // Without a thread the work is dropped, and tried again when it is due.
        let _ = std::thread::Builder::new().name("upnp".to_owned()).spawn(work);
    })
}

type Outcome = Result<(Gateway, SocketAddrV4), String>;

/// The mappings of our listen addresses; one is worked on at a time.
pub struct Mapper {
    unblock: Unblock,
    entries: BTreeMap<Multiaddr, Entry>,
    running: Option<(Multiaddr, oneshot::Receiver<Outcome>)>,
    /// Who is looked for by searches: every gateway.
    everybody: std::net::SocketAddr,
}

impl Mapper {
    /// Maps nothing yet.
    pub fn new(unblock: Unblock) -> Self {
        Self { unblock, entries: BTreeMap::new(), running: None, everybody: gateway::EVERY_GATEWAY }
    }

    /// We listen on `addr`: if it is private, it is to be mapped.
    pub fn listening(&mut self, addr: &Multiaddr, now: Instant) {
        if let Some(own) = mappable(addr).filter(|_| self.entries.len() < ADDRESSES_MAX) {
            self.entries.entry(addr.clone()).or_insert(Entry { own, due: now, mapped: None });
        }
    }

    /// We listen there no more. Its mapping is ended as far as the gateway hears of it; else its lease ends it.
    pub fn listening_ended(&mut self, addr: &Multiaddr) -> Option<Change> {
        let (gateway, outside) = self.entries.remove(addr)?.mapped?;
        (self.unblock)(Box::new(move || drop(gateway.unmap(outside.port()))));
        Some(Change::Ended(multiaddr(outside)))
    }

    /// Begins what is due.
    pub fn begin(&mut self, now: Instant) {
        if self.running.is_some() {
            return;
        }
        let Some((addr, entry)) = self.entries.iter_mut().find(|(_, entry)| entry.due <= now) else { return };
        entry.due = now + RETRY;
        let (own, everybody) = (entry.own, self.everybody);
        let known = entry.mapped.as_ref().map(|(gateway, _)| gateway.clone());
        let (tell, told) = oneshot::channel();
        self.running = Some((addr.clone(), told));
        (self.unblock)(Box::new(move || {
            let renewed = known.and_then(|gateway| gateway.map(own).ok().map(|outside| (gateway, outside)));
            let found = || {
                let gateway = gateway::find(*own.ip(), everybody)?;
                gateway.map(own).map(|outside| (gateway, outside))
            };
            // Nobody waits any more: the node has stopped.
            let _ = tell.send(renewed.map_or_else(found, Ok));
        }));
    }

    /// What became of a mapping next.
    pub fn poll_next(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<Vec<Change>> {
        let Some((addr, told)) = &mut self.running else { return Poll::Pending };
        let Poll::Ready(outcome) = told.poll_unpin(cx) else { return Poll::Pending };
        let addr = addr.clone();
        self.running = None;
        let outcome = outcome.unwrap_or_else(|_| Err("the search was given up".to_owned()));
        Poll::Ready(self.ended(&addr, outcome, now))
    }

    fn ended(&mut self, addr: &Multiaddr, outcome: Outcome, now: Instant) -> Vec<Change> {
        let Some(entry) = self.entries.get_mut(addr) else {
            // The address went meanwhile.
            if let Ok((gateway, outside)) = outcome {
                (self.unblock)(Box::new(move || drop(gateway.unmap(outside.port()))));
            }
            return Vec::new();
        };
        let former = entry.mapped.take().map(|(_, outside)| outside);
        if let Ok((gateway, outside)) = outcome {
            entry.due = now + RENEW;
            entry.mapped = Some((gateway, outside));
        }
        let outside = entry.mapped.as_ref().map(|(_, outside)| *outside);
        if former == outside {
            return Vec::new();
        }
        let ended = former.map(|former| Change::Ended(multiaddr(former)));
        ended.into_iter().chain(outside.map(|outside| Change::Mapped(multiaddr(outside)))).collect()
    }
}

impl std::fmt::Debug for Mapper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mapper").field("entries", &self.entries).finish_non_exhaustive()
    }
}

/// What a gateway may have a mapping for: an IPv4 address behind it.
fn mappable(addr: &Multiaddr) -> Option<SocketAddrV4> {
    match addr.ip()? {
        IpAddr::V4(ip) if is_private(ip.into()) && !ip.is_loopback() && !addr.is_relayed() => {
            Some(SocketAddrV4::new(ip, addr.tcp_port()?))
        }
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

fn multiaddr(outside: SocketAddrV4) -> Multiaddr {
    let text = format!("/ip4/{}/tcp/{}", outside.ip(), outside.port());
    text.parse().expect("an address and a port are a multiaddr")
}
