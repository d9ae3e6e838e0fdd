//! Puts a node together: settings, data directory, listeners, neighbours, core.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use futures::FutureExt as _;
use futures::channel::mpsc;
use peerage_core::{Node, Pump, memory};
use serde_json::json;

use super::broker::EmbeddedBroker;
use super::chain::EmbeddedChain;
use super::clock::Clock;
use super::event_loop::{EventLoop, Readiness, Timer};
use super::recording::Recording;
use super::report::{Format, Report};
use super::status::Identity;
use super::store::FileStore;
use super::watch::{self, Watch};
use crate::data_dir::{DataDir, files, key};
use crate::fault::{Fault, code};
use crate::heap;
use crate::http::admin::{self, Admin};
use crate::http::control::{Access, CALLS_MAX, Calls};
use crate::http::feed::Feed;
use crate::http::hub::Hub;
use crate::http::patience::Patience;
use crate::http::server::{self, Tally};
use crate::p2p::behaviour;
use crate::p2p::budget::Budget;
use crate::p2p::convert;
use crate::p2p::{self, ListenFailed, P2p, Start};
use crate::runtime::{self, Shared, Spawn};
use crate::settings::{Secret, Settings};

/// What the command line says about a run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data directory.
    pub data_dir: PathBuf,
    /// Everything that was set.
    pub settings: Settings,
    /// Where to record.
    pub record: Option<PathBuf>,
    /// How facts are written.
    pub output: Format,
}

/// How long a connection may be over its budget.
const FLOOD_PATIENCE: Duration = Duration::from_secs(30);

/// Runs a node to its end.
///
/// # Errors
/// When it cannot start, or does not stop in good order.
pub async fn run(runtime: Shared, options: Options) -> Result<(), Fault> {
    let Options { data_dir, settings, record, output } = options;
    let data_dir = Arc::new(DataDir::open(&data_dir)?);
    // What a killed node left behind would lead a client, with the key, to whoever listens there now.
    let admin_file = data_dir.file("admin.addr");
    files::remove(&admin_file)?;
    let folder = settings.peer_cache_dir.clone().unwrap_or_else(|| data_dir.path().to_owned());
    let cache_lock = data_dir.lock_cache(&folder)?;
    let key = key::identity(&settings.private_key, &folder.join("p2p.key"))?;
    let admin_key = key::admin_key(&data_dir.file("admin.key"))?;
    let local = convert::peer(&key.public().to_peer_id())
        .ok_or_else(|| Fault::new(code::DATA, "the key gives an id of unknown kind", "use an Ed25519 key"))?;
    let config = settings.core(local)?;
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|error| Fault::new(code::SYSTEM, format!("no randomness: {error}"), ""))?;
    let clock = Clock::default();
    let start = clock.now();
    let actions_max = config.limits.actions_per_input_max();
    let node = Node::new(config.clone(), seed, start)?;

    p2p::ports::free(&settings.conn.listen).map_err(|failed| cannot_listen(&failed))?;
    let hub = Hub::new(settings.feed_limits.clone());
    let (calls, calls_receiver) = mpsc::channel(CALLS_MAX);
    let tallies = ["feed", "admin", "p2p"].map(|name| (name, Arc::<Tally>::default()));
    let [(_, feed_tally), (_, admin_tally), (_, p2p_tally)] = &tallies;
    let feed = listen_feed(&runtime, &settings, &hub, feed_tally)?;
    let admin = listen_admin(&runtime, &settings, calls, admin_key, admin_tally)?;
    let floods = Arc::<AtomicU64>::default();
    let mut p2p = libp2p(&runtime, &settings, &key, Arc::clone(&floods), p2p_tally)?;
    if let Some(bytes) = settings.memory_max {
        p2p.keep_contract(usize::try_from(memory::incoming(bytes)).unwrap_or(usize::MAX));
    }
    let identity = Identity {
        peer_id: local.to_base58(),
        network: settings.teranode.network.to_string(),
        data_dir: data_dir.path().display().to_string(),
        profile: settings.profile.to_owned(),
        feed: feed.map(|addr| addr.to_string()).unwrap_or_default(),
        admin: admin.map(|addr| addr.to_string()).unwrap_or_default(),
    };
    let signals =
        runtime.signals().map_err(|error| Fault::new(code::SYSTEM, format!("signals: {error}"), ""))?;
    // Last: a start that fails leaves no stub, which would be in the way of the next.
    let recording = record.map(|path| Recording::create(&path, &config, seed, start)).transpose()?;
    files::replace(&admin_file, identity.admin.as_bytes(), 0o644)
        .map_err(|error| files::cannot_create(&admin_file, &error))?;
    let mut report = Report::new(output);
    advise(&mut report, feed, admin);
    let event_loop = EventLoop {
        pump: Pump::new(node, actions_max),
        clock,
        p2p,
        chain: Box::new(EmbeddedChain::new(settings.teranode.network, runtime.alarm())),
        broker: Box::new(EmbeddedBroker::default()),
        store: FileStore::new(runtime.clone(), folder),
        hub,
        calls: calls_receiver,
        signals,
        report,
        recording,
        identity,
        floods,
        timer: Timer::new(runtime.alarm()),
        turn: 0,
        health: Vec::new(),
        readiness: if settings.conn.listen.is_empty() { Readiness::Due } else { Readiness::Listening },
        memory_max: settings.memory_max,
        watch: Watch::new(Arc::clone(&data_dir), &tallies),
        stopping: None,
    };
    if let Some(bytes) = settings.memory_max {
        heap::contract(memory::heap(bytes));
    }
    let outcome = event_loop.run().await;
    // The next run writes its own; a reader that comes between finds nobody.
    let _ = std::fs::remove_file(&admin_file);
    drop((cache_lock, data_dir));
    outcome
}

/// The fault when an address of ours cannot be listened on.
pub(super) fn cannot_listen(failed: &ListenFailed) -> Fault {
    let settings = "p2p_listen_addresses or p2p_port";
    Fault::new(
        code::SYSTEM,
        format!("cannot listen on {}: {}", failed.addr, failed.cause),
        listen_remedy(&failed.cause, settings),
    )
}

/// What helps against the system's refusal, by its text: of some refusals libp2p tells no more.
fn listen_remedy(cause: &str, settings: &str) -> String {
    let cause = cause.to_lowercase();
    let has = |word| cause.contains(word);
    match (has("in use"), has("assign"), has("permission")) {
        (true, _, _) => format!("stop whatever uses the port, or set {settings} to another"),
        (_, true, _) => format!("the address is none of this machine: set {settings} to one that is"),
        (_, _, true) => format!("ports below 1024 are not for every user: set {settings} to another"),
        (false, false, false) => format!("check the network of this machine, and {settings}"),
    }
}

fn libp2p(
    runtime: &Shared,
    settings: &Settings,
    key: &libp2p::identity::Keypair,
    floods: Arc<AtomicU64>,
    tally: &Arc<Tally>,
) -> Result<P2p, Fault> {
    let raw = runtime
        .transport(settings.conn.allow_private)
        .map_err(|error| Fault::new(code::SYSTEM, format!("TCP and DNS: {error}"), ""))?;
    P2p::new(Start {
        raw,
        executor: Box::new(Spawn(runtime.clone())),
        unblock: {
            let runtime = runtime.clone();
            Arc::new(move |work| runtime.unblock(work))
        },
        options: behaviour::Options {
            key,
            frame_bytes_max: usize::try_from(settings.gossipsub.rpc_bytes_max).unwrap_or(usize::MAX),
            dht_mode: settings.conn.dht_mode,
            protocol_version: settings.teranode.network.identify_protocol_version().to_owned(),
            agent_version: format!("peerage/{}", env!("CARGO_PKG_VERSION")),
            nat: settings.nat,
            dial_private: settings.conn.allow_private,
        },
        announce: settings.announce.clone(),
        budget: Budget {
            bytes_per_second_max: settings.bytes_per_second_max,
            messages_per_second_max: settings.messages_per_second_max,
            patience: FLOOD_PATIENCE,
            floods,
        },
        relays: settings.relays(),
        mdns: settings.mdns,
        tally: Arc::clone(tally),
    })
    .map_err(|problem| Fault::new(code::CONFIG, format!("failed to create p2p client: {problem}"), ""))
}

fn bind(
    runtime: &Shared,
    key: &str,
    addr: SocketAddr,
) -> Result<(Box<dyn runtime::Listener>, SocketAddr), Fault> {
    runtime::bind(&**runtime, addr).map_err(|error| {
        Fault::new(
            code::SYSTEM,
            format!("cannot listen on {addr} ({key}): {error}"),
            listen_remedy(&error.to_string(), key),
        )
    })
}

fn listen_feed(
    runtime: &Shared,
    settings: &Settings,
    hub: &Hub,
    tally: &Arc<Tally>,
) -> Result<Option<SocketAddr>, Fault> {
    let Some(addr) = settings.feed else { return Ok(None) };
    let (listener, addr) = bind(runtime, "p2p_httpListenAddress", addr)?;
    let limits = settings.feed_limits.clone();
    let connections = limits.connections();
    let feed = Feed::new(runtime.clone(), hub.clone(), limits);
    let handler = feed_handler(feed, settings)?;
    runtime.spawn(server::accept(runtime.clone(), listener, connections, Arc::clone(tally), handler).boxed());
    Ok(Some(addr))
}

#[cfg(feature = "tls")]
fn feed_handler(feed: Feed, settings: &Settings) -> Result<server::Handler, Fault> {
    let Some((certificate, key)) = &settings.feed_tls else { return Ok(plain_handler(feed)) };
    let tls = crate::http::tls::Tls::load(certificate, key)?;
    Ok(Box::new(move |socket, from| {
        let (feed, tls) = (feed.clone(), tls.clone());
        async move {
            if let Ok(socket) = tls.accept(socket).await {
                feed.serve(socket, from).await;
            }
        }
        .boxed()
    }))
}

#[cfg(not(feature = "tls"))]
fn feed_handler(feed: Feed, settings: &Settings) -> Result<server::Handler, Fault> {
    match settings.feed_tls {
        None => Ok(plain_handler(feed)),
        Some(_) => Err(Fault::new(
            code::CONFIG,
            "setting `securityLevelHTTP`: this build has no TLS",
            "set it to 0, or use a build with TLS",
        )),
    }
}

fn plain_handler(feed: Feed) -> server::Handler {
    Box::new(move |socket, from| match heap::is_full() {
        true => futures::future::ready(()).boxed(),
        false => feed.clone().serve(socket, from).boxed(),
    })
}

fn listen_admin(
    runtime: &Shared,
    settings: &Settings,
    calls: Calls,
    key: Secret,
    tally: &Arc<Tally>,
) -> Result<Option<SocketAddr>, Fault> {
    let Some(addr) = settings.admin else { return Ok(None) };
    let (listener, addr) = bind(runtime, "admin_listen", addr)?;
    let access = Access::new(key, addr.ip().is_loopback());
    let admin = Admin::new(runtime.clone(), calls, access, Patience::default());
    let handler: server::Handler = Box::new(move |socket, from| admin.clone().serve(socket, from).boxed());
    runtime.spawn(
        server::accept(runtime.clone(), listener, admin::connections(), Arc::clone(tally), handler).boxed(),
    );
    Ok(Some(addr))
}

fn advise(report: &mut Report, feed: Option<SocketAddr>, admin: Option<SocketAddr>) {
    if feed.is_none() {
        report.event(
            &json!({"event": "feed_off", "problem": "p2p_httpListenAddress is empty: no feed, no /health"}),
        );
    }
    if let Some(fact) = watch::no_name_server(Path::new("/etc/resolv.conf")) {
        report.event(&fact);
    }
    if admin.is_some_and(|addr| !addr.ip().is_loopback()) {
        report.event(&json!({"event": "bound_to_all", "problem": "admin_listen is not a loopback address: others can reach it, and every call needs the key"}));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remedy_fits_the_refusal() {
        let remedy = |cause| listen_remedy(cause, "p2p_port");
        assert!(remedy("Address already in use (os error 98)").starts_with("stop whatever uses the port"));
        assert!(remedy("Cannot assign requested address (os error 99)").contains("none of this machine"));
        assert!(remedy("Permission denied (os error 13)").contains("below 1024"));
    }
}
