//! Commands that talk to a running node, found by its data directory.

use std::fs;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use clap::ArgMatches;
use peerage_proto::control::{
    AnnounceKind, AnnounceRequest, Announced, ShutdownRequest, StatusReply, StatusRequest,
};
use serde_json::json;
use tonic::{Request, Status};

use super::out;
use crate::data_dir::{files, key, lock};
use crate::fault::{Fault, code};
use crate::http::client::{Channel, connect};
use crate::http::control::{ControlClient, KEY};
use crate::http::subscriber::within;
use crate::node::report::Format;
use crate::runtime::Shared;
use crate::settings::Secret;

/// A running node.
#[derive(Clone, Debug)]
pub(super) struct Target {
    addr: SocketAddr,
    key: Secret,
    output: Format,
    patience: Duration,
}

/// Longest wait for a node, unless the command line says otherwise: seconds.
pub(super) const PATIENCE_SECS: u64 = 10;

impl Target {
    /// Reads address and key from the data directory of a node that runs. What a killed one left behind is not used: by now
    /// a stranger may listen there, and would be told the key.
    pub(super) fn find(data_dir: &Path, output: Format, patience: Duration) -> Result<Self, Fault> {
        let remedy = "start one (`peerage run`), or name its --data-dir";
        let nobody = |why: String| {
            Fault::new(code::UNAVAILABLE, format!("no node runs on {}: {why}", data_dir.display()), remedy)
        };
        let lock = data_dir.join("lock");
        if !lock::is_held(&lock).map_err(|error| files::cannot_read(&lock, &error))? {
            return Err(nobody("no process holds its lock".to_owned()));
        }
        let path = data_dir.join("admin.addr");
        let mut addr = address(&path)?;
        if addr.ip().is_unspecified() {
            addr.set_ip(if addr.is_ipv4() {
                [127, 0, 0, 1].into()
            } else {
                std::net::Ipv6Addr::LOCALHOST.into()
            });
        }
        Ok(Self { addr, key: key::read_admin_key(&data_dir.join("admin.key"))?, output, patience })
    }

    /// The node's answer, if it comes in time.
    async fn call<T>(
        &self,
        call: impl Future<Output = Result<tonic::Response<T>, Status>>,
    ) -> Result<T, Fault> {
        let answer = within(self.patience, call).await.ok_or_else(|| self.silent())?;
        answer.map(tonic::Response::into_inner).map_err(|status| refused(&status))
    }

    fn silent(&self) -> Fault {
        Fault::new(
            code::UNAVAILABLE,
            format!("the node at {} does not answer within {} s", self.addr, self.patience.as_secs()),
            "look at what the node reports, or give it more time with --timeout",
        )
    }

    async fn connect(&self, runtime: &Shared) -> Result<ControlClient<Channel>, Fault> {
        let connected = within(self.patience, connect(runtime, self.addr)).await;
        connected.ok_or_else(|| self.silent())?.map_err(|error| {
            Fault::new(
                code::UNAVAILABLE,
                format!("no node answers at {}: {error}", self.addr),
                "start one (`peerage run`), or name its --data-dir",
            )
        })
    }

    fn request<T>(&self, message: T) -> Result<Request<T>, Fault> {
        let mut request = Request::new(message);
        let key = self.key.reveal().parse().map_err(|_| {
            Fault::new(
                code::DATA,
                "the admin key is not plain text",
                "remove admin.key; the node makes a new one at its next start",
            )
        })?;
        request.metadata_mut().insert(KEY, key);
        Ok(request)
    }
}

/// Where the node that holds the lock beside `path` says that it listens for commands.
fn address(path: &Path) -> Result<SocketAddr, Fault> {
    let unreachable = |problem: String, remedy: &str| {
        Fault::new(code::UNAVAILABLE, format!("the node cannot be asked: {problem}"), remedy)
    };
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let problem = format!("it is not ready, or about to end: there is no {} yet", path.display());
            return Err(unreachable(problem, "wait until it says `ready`, and ask again"));
        }
        Err(error) if error.kind() == ErrorKind::InvalidData => String::from("?"),
        Err(error) => return Err(files::cannot_read(path, &error)),
    };
    match text.trim() {
        "" => Err(unreachable(
            "its operator listener is off (admin_listen is empty)".to_owned(),
            "set admin_listen and restart the node, or end it with SIGTERM",
        )),
        text => text.parse().map_err(|_| {
            let problem = format!("{} holds no address", path.display());
            unreachable(problem, "restart the node, which writes it anew")
        }),
    }
}

/// Why a node refuses: the exit code, and what to do.
const REFUSALS: [(tonic::Code, u8, &str); 5] = [
    (tonic::Code::Unauthenticated, code::PERMISSION, OTHER_KEY),
    (tonic::Code::PermissionDenied, code::PERMISSION, OTHER_KEY),
    (tonic::Code::Unavailable, code::UNAVAILABLE, "wait until it has stopped, and start it again"),
    (
        tonic::Code::InvalidArgument,
        code::DATA,
        "give HASH as 64 hex characters, as the node prints it, and --count without HASH; more than 1000 need --rate",
    ),
    (
        tonic::Code::FailedPrecondition,
        code::DATA,
        "name a block that this node has, or leave HASH out for a new one (on regtest)",
    ),
];

const OTHER_KEY: &str = "admin.key was changed since the node started: put its key back, or restart the node";

fn refused(status: &Status) -> Fault {
    let known = REFUSALS.iter().find(|(refusal, _, _)| *refusal == status.code());
    let (code, remedy) =
        known.map_or((code::DATA, "look at what the node reports"), |(_, code, remedy)| (*code, *remedy));
    Fault::new(code, format!("the node refuses: {}", status.message()), remedy)
}

/// What `announce` is to ask for.
pub(super) fn announce_request(matches: &ArgMatches) -> Result<AnnounceRequest, Fault> {
    let kind = match matches.get_one::<String>("kind").map(String::as_str) {
        Some("subtree") => AnnounceKind::Subtree,
        Some(_) | None => AnnounceKind::Block,
    };
    Ok(AnnounceRequest {
        kind: kind.into(),
        count: matches.get_one::<u32>("count").copied().unwrap_or(1),
        hash: matches.get_one::<String>("hash").cloned(),
        per_second: matches.get_one::<u32>("rate").copied().unwrap_or(0),
    })
}

/// Lets the node announce something.
pub(super) async fn announce(runtime: Shared, target: Target, request: AnnounceRequest) -> Result<(), Fault> {
    let request = target.request(request)?;
    let mut node = target.connect(&runtime).await?;
    let reply = target.call(node.announce(request)).await?;
    for announced in reply.announced {
        out::line(announced_line(&announced, target.output))?;
    }
    Ok(())
}

/// One thing announced, as it is printed. A subtree has no height.
fn announced_line(announced: &Announced, format: Format) -> String {
    match (format, announced.height) {
        (Format::Text, Some(height)) => format!("{} {height}", announced.hash),
        (Format::Text, None) => announced.hash.clone(),
        (Format::Json, Some(height)) => {
            json!({"event": "announced", "hash": announced.hash, "height": height}).to_string()
        }
        (Format::Json, None) => json!({"event": "announced", "hash": announced.hash}).to_string(),
    }
}

/// Stops the node.
pub(super) async fn shutdown(runtime: Shared, target: Target) -> Result<(), Fault> {
    let request = target.request(ShutdownRequest {})?;
    let mut node = target.connect(&runtime).await?;
    target.call(node.shutdown(request)).await.map(|_| ())
}

/// Says what the node is and does.
pub(super) async fn status(runtime: Shared, target: Target, json: bool) -> Result<(), Fault> {
    let request = target.request(StatusRequest {})?;
    let mut node = target.connect(&runtime).await?;
    let reply = target.call(node.status(request)).await?;
    if json { out::line(as_json(&reply)) } else { out::line(as_text(&reply).trim_end()) }
}

fn as_json(reply: &StatusReply) -> serde_json::Value {
    let peers: Vec<_> = reply
        .peers
        .iter()
        .map(|peer| {
            json!({
                "peer_id": peer.peer_id,
                "direction": peer.direction,
                "address": peer.address,
                "connected_ms": peer.connected_ms,
                "height": peer.height,
                "client_name": peer.client_name,
            })
        })
        .collect();
    let health: Vec<_> = reply
        .health
        .iter()
        .map(|item| json!({"name": item.name, "healthy": item.healthy, "detail": item.detail}))
        .collect();
    json!({
        "version": reply.version,
        "peer_id": reply.peer_id,
        "network": reply.network,
        "data_dir": reply.data_dir,
        "profile": reply.profile,
        "p2p": reply.listen_addresses,
        "feed": reply.feed_address,
        "admin": reply.admin_address,
        "fsm_state": reply.fsm_state,
        "tip_hash": reply.tip_hash,
        "tip_height": reply.tip_height,
        "uptime_ms": reply.uptime_ms,
        "peers": peers,
        "counters": reply.counters,
        "state_hash": reply.state_hash,
        "health": health,
    })
}

fn as_text(reply: &StatusReply) -> String {
    let mut text = format!(
        "peer id    {}\nnetwork    {} ({})\nversion    {}\ndata dir   {}\nlistening  {}\nfeed       {}\nadmin      {}\n\
         chain      {} at {} {}\nuptime     {} s\nstate      {}\npeers      {}\n",
        reply.peer_id,
        reply.network,
        reply.profile,
        reply.version,
        reply.data_dir,
        reply.listen_addresses.join(" "),
        reply.feed_address,
        reply.admin_address,
        reply.fsm_state,
        reply.tip_height,
        reply.tip_hash,
        reply.uptime_ms / 1000,
        reply.state_hash,
        reply.peers.len(),
    );
    for peer in &reply.peers {
        text.push_str(&format!(
            "  {} {} {} height {} {}\n",
            peer.direction, peer.peer_id, peer.address, peer.height, peer.client_name
        ));
    }
    for item in reply.health.iter().filter(|item| !item.healthy) {
        text.push_str(&format!("failing    {}: {}\n", item.name, item.detail));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subtree_is_printed_without_a_height_and_a_block_with_its_own() {
        let line = |height, format| announced_line(&Announced { hash: "ab".to_owned(), height }, format);
        assert_eq!(line(Some(0), Format::Text), "ab 0");
        assert_eq!(line(None, Format::Text), "ab");
        assert_eq!(line(Some(7), Format::Json), r#"{"event":"announced","hash":"ab","height":7}"#);
        assert_eq!(line(None, Format::Json), r#"{"event":"announced","hash":"ab"}"#);
    }
}
