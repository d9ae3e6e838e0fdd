//! Who publishes to a receiver that is measured: the Go bus by its own loop, or a node of ours by its chain.

use std::time::{Duration, Instant};

use peerage_conformance::SOON;
use peerage_conformance::control::Control;
use peerage_conformance::peer::Peer;

use super::gossip::{Row, flood, go_peer, security, topic};
use super::ours::{Ours, START_MAX, sample};

/// What one call of the control service may ask for.
const COUNT_MAX: u32 = 20_000;
/// What our node has published, its own statuses included.
const PUBLISHED: &str = "peerage_publications_sent_total";

/// Either of them, connected to nobody but the receiver.
pub(super) enum Publisher {
    Go(Box<Peer>),
    Ours(Box<(Ours, Control)>),
}

impl Publisher {
    /// The bus, connected to the receiver and subscribed; gives the security of the connection as well.
    ///
    /// # Errors
    /// If they do not connect.
    pub(super) fn go(addr: &str, id: &str, row: Row) -> Result<(Self, String), String> {
        let mut peer = go_peer("publisher")?;
        peer.connect(addr).map_err(|e| e.to_string())?;
        peer.expect_subscribed(id, &topic(row.kind), SOON).map_err(|e| e.to_string())?;
        let security = security(&mut peer, id)?;
        Ok((Self::Go(Box::new(peer)), security))
    }

    /// A node of ours with the receiver in its meshes.
    ///
    /// # Errors
    /// If they do not connect.
    pub(super) fn ours(binary: &std::path::Path, addr: &str) -> Result<Self, String> {
        // With this URL the inner JSON has 300 bytes.
        let url = "http://127.0.0.1:8090/api/v1?".to_owned();
        let url = format!("asset_httpPublicAddress={url}{}", "u".repeat(122 - url.len()));
        let node = Ours::start(binary, &[url, format!("p2p_static_peers={addr}")])?;
        let begin = Instant::now();
        while sample(&node.metrics()?, "peerage_pubsub_mesh_members") < 4 {
            if begin.elapsed() > START_MAX {
                return Err(format!("no mesh within {START_MAX:?}"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let control = node.control()?;
        Ok(Self::Ours(Box::new((node, control))))
    }

    /// Publishes `count` messages at the row's rate, each at its due time; gives how many were sent.
    ///
    /// # Errors
    /// If the publisher fails.
    pub(super) fn publish(&mut self, row: Row, run: u32, count: u32) -> Result<u64, String> {
        let control = match self {
            Self::Go(peer) => return flood(peer, row, run, count),
            Self::Ours(ours) => &ours.1,
        };
        let mut left = count;
        while left > 0 {
            let now = left.min(COUNT_MAX);
            control.announce_paced(now, row.rate_per_s).map_err(|e| e.to_string())?;
            left -= now;
        }
        std::thread::sleep(Duration::from_secs(1) * count / row.rate_per_s);
        Ok(count.into())
    }

    /// What was published besides messages of the load, so far: statuses of our node.
    ///
    /// # Errors
    /// If our node does not answer.
    pub(super) fn published(&self) -> Result<u64, String> {
        match self {
            Self::Go(_) => Ok(0),
            Self::Ours(ours) => Ok(sample(&ours.0.metrics()?, PUBLISHED)),
        }
    }

    /// Its process.
    pub(super) fn pid(&mut self) -> u32 {
        match self {
            Self::Go(peer) => peer.process().pid(),
            Self::Ours(ours) => ours.0.pid(),
        }
    }
}
