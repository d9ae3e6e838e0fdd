//! Our own binaries as they are shipped: default output, into nothing.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use peerage_conformance::control::Control;
use peerage_conformance::scratch::Scratch;
use serde_json::Value;

use super::feed::Feed;
use crate::run::read;

/// How long a start may take before it counts as failed.
pub(crate) const START_MAX: Duration = Duration::from_secs(20);
/// Between two looks whether a port answers.
const LOOK_EVERY: Duration = Duration::from_micros(500);

/// A running node. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Ours {
    child: Child,
    guard: Option<Child>,
    binary: PathBuf,
    data_dir: Scratch,
    port: u16,
    /// From spawning the process until its peer-to-peer port answered.
    pub(crate) start: Duration,
}

impl Ours {
    /// Starts the binary on a fresh data directory, with `settings` over the least that keeps it on free ports.
    ///
    /// # Errors
    /// If it does not listen in time.
    pub(crate) fn start(binary: &Path, settings: &[String]) -> Result<Self, String> {
        let data_dir = Scratch::new().map_err(|e| e.to_string())?;
        let port = free_port()?;
        let mut command = Command::new(binary);
        command.arg("run").arg("--data-dir").arg(data_dir.path()).env_clear();
        let own = [
            format!("p2p_listen_addresses=/ip4/127.0.0.1/tcp/{port}"),
            "p2p_httpListenAddress=127.0.0.1:0".to_owned(),
            "admin_listen=127.0.0.1:0".to_owned(),
        ];
        for setting in own.iter().chain(settings) {
            command.arg("--set").arg(setting);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
        let begin = Instant::now();
        let child = command.spawn().map_err(|e| format!("cannot start {}: {e}", binary.display()))?;
        let binary = binary.to_owned();
        let mut ours = Self { child, guard: None, binary, data_dir, port, start: Duration::ZERO };
        ours.start = await_port(port, begin)?;
        ours.guard = guard(ours.pid());
        Ok(ours)
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What `status --json` says, as soon as it answers.
    ///
    /// # Errors
    /// If it does not in time.
    pub(crate) fn status(&self) -> Result<Value, String> {
        let deadline = Instant::now() + START_MAX;
        loop {
            match read(self.command(&["status", "--json"]).stderr(Stdio::null())) {
                Ok(text) => {
                    return serde_json::from_str(&text).map_err(|e| format!("status is no JSON: {e}"));
                }
                Err(e) if Instant::now() > deadline => return Err(e),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// The multiaddr with the peer id, and the peer id.
    ///
    /// # Errors
    /// If the node gives no status.
    pub(crate) fn addr(&self) -> Result<(String, String), String> {
        let id = text(&self.status()?, "peer_id")?;
        Ok((format!("/ip4/127.0.0.1/tcp/{}/p2p/{id}", self.port), id))
    }

    /// A reader of the feed.
    ///
    /// # Errors
    /// If it is refused.
    pub(crate) fn feed(&self) -> Result<Feed, String> {
        Feed::open(&text(&self.status()?, "feed")?)
    }

    /// A client of the control service.
    ///
    /// # Errors
    /// If it does not answer.
    pub(crate) fn control(&self) -> Result<Control, String> {
        Control::connect(self.data_dir.path()).map_err(|e| e.to_string())
    }

    /// What the node wrote into this file of its data directory.
    fn told(&self, file: &str) -> Result<String, String> {
        let path = self.data_dir.path().join(file);
        let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(text.trim().to_owned())
    }

    /// The page of metrics.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn metrics(&self) -> Result<String, String> {
        let address = self.told("admin.addr")?;
        let get = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(&address)?;
            stream.set_read_timeout(Some(START_MAX))?;
            write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        let answer = get().map_err(|e| format!("http://{address}/metrics: {e}"))?;
        if answer.starts_with("HTTP/1.1 200 ") { Ok(answer) } else { Err(format!("metrics: {answer:.80}")) }
    }

    /// The command line client on this node.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arguments).arg("--data-dir").arg(self.data_dir.path()).env_clear();
        command
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        // Nothing to be done about errors: they have ended already.
        for process in self.guard.iter_mut().chain([&mut self.child]) {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// A shell that kills the node when we are gone without having dropped it: it reads until our end of its pipe closes.
fn guard(pid: u32) -> Option<Child> {
    let mut shell = Command::new("sh");
    shell.args(["-c", "cat >/dev/null; kill -9 \"$0\"", &pid.to_string()]);
    shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()
}

/// A port that was free a moment ago.
///
/// # Errors
/// If there is none.
pub(crate) fn free_port() -> Result<u16, String> {
    let socket = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    socket.map(|address| address.port()).map_err(|e| format!("no free port: {e}"))
}

/// Waits until the port answers; gives the time since `begin`.
///
/// # Errors
/// If it does not in time.
pub(crate) fn await_port(port: u16, begin: Instant) -> Result<Duration, String> {
    while begin.elapsed() < START_MAX {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Ok(begin.elapsed());
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Err(format!("port {port} does not answer within {START_MAX:?}"))
}

/// The sample of exactly this name and labels; 0 for one that is not there, as a counter that never moved.
pub(crate) fn sample(page: &str, name: &str) -> u64 {
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

fn text(status: &Value, member: &str) -> Result<String, String> {
    status[member].as_str().map(str::to_owned).ok_or_else(|| format!("the status tells no {member}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_told_by_its_whole_name() {
        let page = "# HELP a b\na_total 5\na 7\na{topic=\"x\"} 9\n";
        assert_eq!((sample(page, "a"), sample(page, "a{topic=\"x\"}"), sample(page, "b")), (7, 9, 0));
    }
}
