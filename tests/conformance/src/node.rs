//! Our own binaries, as processes.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};

use crate::process::{Leash, Signal};
use crate::scratch::Scratch;
use crate::wire::Kind;
use crate::{Failure, Process, SOON};

/// Which of the two binaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    /// `peerage`, path in `PEERAGE_BIN`.
    Tokio,
    /// `peerage-smol`, path in `PEERAGE_SMOL_BIN`.
    Smol,
}

/// Both, for tests that run over each.
pub const SHELLS: [Shell; 2] = [Shell::Tokio, Shell::Smol];

/// The binaries of [`use_binaries`].
static BINARIES: OnceLock<[PathBuf; 2]> = OnceLock::new();

/// Has this process start these binaries, `peerage` and `peerage-smol`, whatever the variables say. Only the first call
/// counts.
pub fn use_binaries(tokio: PathBuf, smol: PathBuf) {
    // Who came first has decided.
    let _ = BINARIES.set([tokio, smol]);
}

impl Shell {
    /// The binary under test.
    ///
    /// # Errors
    /// If the variable is not set or names no file; the text says how to build it.
    pub fn binary(self) -> Result<PathBuf, Failure> {
        if let Some([tokio, smol]) = BINARIES.get() {
            return Ok(if self == Self::Tokio { tokio } else { smol }.clone());
        }
        let (variable, package) = match self {
            Self::Tokio => ("PEERAGE_BIN", "peerage-tokio"),
            Self::Smol => ("PEERAGE_SMOL_BIN", "peerage-smol"),
        };
        let build = format!("build it with `cargo build -p {package}`, or run `cargo xtask test`");
        let Some(path) = std::env::var_os(variable) else {
            return Err(Failure::new(format!("{variable} does not name the binary under test: {build}")));
        };
        let path = PathBuf::from(path);
        if !path.is_file() {
            return Err(Failure::new(format!("{variable} is {}, which is no file: {build}", path.display())));
        }
        Ok(path)
    }
}

/// Name of a recording in the data directory.
const RECORDING: &str = "node.rec";

/// A running node.
pub struct Node {
    process: Process,
    shell: Shell,
    settings: Vec<(String, String)>,
    data_dir: Scratch,
    ready: Value,
}

impl Node {
    /// Starts a node on regtest with ephemeral loopback ports, private addresses allowed and no
    /// bootstrap, and waits until it is ready. `settings` come after these and win.
    ///
    /// # Errors
    /// If there is no binary or it is not ready in time.
    pub fn start(shell: Shell, name: &str, settings: &[(&str, &str)]) -> Result<Self, Failure> {
        Self::start_with(shell, name, settings, |_| Vec::new())
    }

    /// As [`Self::start`], and the node records its inputs into [`Self::recording`].
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_recorded(shell: Shell, name: &str, settings: &[(&str, &str)]) -> Result<Self, Failure> {
        Self::start_with(shell, name, settings, |data_dir| {
            vec!["--record".into(), data_dir.join(RECORDING).into_os_string()]
        })
    }

    /// As [`Self::start`], and the node may have at most so many descriptors open.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_limited(
        shell: Shell,
        name: &str,
        settings: &[(&str, &str)],
        descriptors: u32,
    ) -> Result<Self, Failure> {
        let data_dir = Scratch::new()?;
        let settings = settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let (process, ready) = run(shell, name, data_dir.path(), &settings, Vec::new(), Some(descriptors))?;
        Ok(Self { process, shell, settings, data_dir, ready })
    }

    fn start_with(
        shell: Shell,
        name: &str,
        settings: &[(&str, &str)],
        arguments: impl FnOnce(&Path) -> Vec<OsString>,
    ) -> Result<Self, Failure> {
        let data_dir = Scratch::new()?;
        let settings = settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let (process, ready) =
            run(shell, name, data_dir.path(), &settings, arguments(data_dir.path()), None)?;
        Ok(Self { process, shell, settings, data_dir, ready })
    }

    /// Where a node that was started with it records.
    pub fn recording(&self) -> PathBuf {
        self.data_dir.path().join(RECORDING)
    }

    /// Stops the node by SIGINT and starts it again on the same data directory, hence with the same
    /// key, and on the port it had.
    ///
    /// # Errors
    /// If it does not end within 2 s and a bit, or does not come up.
    pub fn restart(&mut self) -> Result<(), Failure> {
        self.stop()?;
        self.start_again()
    }

    /// Stops the node by SIGINT.
    ///
    /// # Errors
    /// If it does not end in time.
    pub fn stop(&mut self) -> Result<(), Failure> {
        self.process.signal(Signal::INT)?;
        self.process.wait(SOON).map(drop)
    }

    /// Starts a stopped node on the same data directory, hence with the same key, and on the port it had.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn start_again(&mut self) -> Result<(), Failure> {
        let listen = self.listen_addr()?;
        self.settings.retain(|(key, _)| key != "p2p_listen_addresses");
        self.settings.push(("p2p_listen_addresses".to_owned(), listen));
        let name = self.process.name().to_owned();
        let (process, ready) =
            run(self.shell, &name, self.data_dir.path(), &self.settings, Vec::new(), None)?;
        (self.process, self.ready) = (process, ready);
        Ok(())
    }

    /// The process, for its events.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The peer id in base58.
    pub fn id(&self) -> &str {
        self.ready["peer_id"].as_str().unwrap_or_default()
    }

    /// The listen multiaddr with `/p2p/ID`.
    ///
    /// # Errors
    /// If the node told none.
    pub fn addr(&self) -> Result<String, Failure> {
        Ok(format!("{}/p2p/{}", self.listen_addr()?, self.id()))
    }

    fn listen_addr(&self) -> Result<String, Failure> {
        let Some(addr) = self.ready["p2p"][0].as_str() else {
            return Err(self.process.failure("ready without a p2p address"));
        };
        Ok(addr.split("/p2p/").next().unwrap_or(addr).to_owned())
    }

    /// The URL of the WebSocket feed.
    pub fn feed_url(&self) -> String {
        format!("ws://{}/p2p-ws", self.ready["feed"].as_str().unwrap_or_default())
    }

    /// The data directory.
    pub fn data_dir(&self) -> &Path {
        self.data_dir.path()
    }

    /// Runs a subcommand of the binary on this node's data directory and gives its standard output.
    ///
    /// # Errors
    /// If it ends with another code than 0.
    pub fn command(&self, arguments: &[&str]) -> Result<String, Failure> {
        let output = Command::new(self.shell.binary()?)
            .args(arguments)
            .arg("--data-dir")
            .arg(self.data_dir.path())
            .output()
            .map_err(|e| self.process.failure(&format!("{arguments:?}: {e}")))?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            return Err(self
                .process
                .failure(&format!("{arguments:?} ended with {}: {stderr}", output.status)));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Announces fresh blocks (`what` = `block`) or subtrees (`subtree`).
    ///
    /// # Errors
    /// As [`Self::command`].
    pub fn announce(&self, what: &str, count: usize) -> Result<String, Failure> {
        self.command(&["announce", what, "--count", &count.to_string()])
    }

    /// The status that the node gives over its control interface.
    ///
    /// # Errors
    /// As [`Self::command`], or if the text is not JSON.
    pub fn status(&self) -> Result<Value, Failure> {
        let text = self.command(&["status", "--json"])?;
        serde_json::from_str(&text)
            .map_err(|e| self.process.failure(&format!("status is not JSON ({e}): {text}")))
    }

    /// Waits until the peer is connected.
    ///
    /// # Errors
    /// When the time is over.
    pub fn expect_connected(&mut self, peer_id: &str, within: Duration) -> Result<Value, Failure> {
        let what = format!("connection to {peer_id}");
        self.process.expect(&what, within, |e| e["event"] == "peer_connected" && e["peer_id"] == peer_id)
    }

    /// Waits for a verdict on a message of the kind. Events name acceptances and topics in any
    /// letter case, topics in full or by their last part.
    ///
    /// # Errors
    /// When the time is over.
    pub fn expect_verdict(
        &mut self,
        kind: Kind,
        source: &str,
        acceptance: &str,
        within: Duration,
    ) -> Result<Value, Failure> {
        let what = format!("{acceptance} of {kind:?} from {source}");
        self.process.expect(&what, within, |e| {
            e["event"] == "verdict"
                && e["topic"].as_str().is_some_and(|t| kind.topic().ends_with(t))
                && e["acceptance"].as_str().is_some_and(|a| a.eq_ignore_ascii_case(acceptance))
                && e["source"] == source
        })
    }

    /// Waits until the peer is no longer connected.
    ///
    /// # Errors
    /// When the time is over.
    pub fn expect_disconnected(&mut self, peer_id: &str, within: Duration) -> Result<Value, Failure> {
        let what = format!("end of the connection to {peer_id}");
        self.process.expect(&what, within, |e| e["event"] == "peer_disconnected" && e["peer_id"] == peer_id)
    }

    /// The sum of all samples of a metric whose name ends so, labels left aside.
    ///
    /// # Errors
    /// If the metrics cannot be read.
    pub fn metric(&self, name_end: &str) -> Result<f64, Failure> {
        let address = self.ready["admin"].as_str().unwrap_or_default();
        let text = http_get(address, "/metrics")
            .map_err(|e| self.process.failure(&format!("http://{address}/metrics: {e}")))?;
        let samples = text.lines().filter(|l| !l.starts_with('#')).filter_map(|l| l.rsplit_once(' '));
        let ours = samples.filter(|(name, _)| name.split('{').next().is_some_and(|n| n.ends_with(name_end)));
        Ok(ours.filter_map(|(_, value)| value.parse::<f64>().ok()).sum())
    }

    /// The sample of a metric with these labels, in their order.
    ///
    /// # Errors
    /// If the metrics cannot be read, or there is no such sample.
    pub fn metric_of(&self, name: &str, labels: &[(&str, &str)]) -> Result<f64, Failure> {
        let labels: Vec<_> = labels.iter().map(|(label, text)| format!("{label}=\"{text}\"")).collect();
        let sample = format!("{name}{{{}}} ", labels.join(","));
        let address = self.ready["admin"].as_str().unwrap_or_default();
        let text = http_get(address, "/metrics")
            .map_err(|e| self.process.failure(&format!("http://{address}/metrics: {e}")))?;
        let found = text.lines().find_map(|line| line.strip_prefix(&sample)?.parse().ok());
        found.ok_or_else(|| self.process.failure(&format!("no metric {sample}")))
    }

    /// Waits until the node has produced the block or subtree with that hash.
    ///
    /// # Errors
    /// When the time is over.
    pub fn expect_produced(&mut self, hash: &str, within: Duration) -> Result<Value, Failure> {
        let what = format!("produced {hash}");
        self.process.expect(&what, within, |e| e["event"] == "produced" && e["hash"] == hash)
    }
}

/// The answer to a GET, headers included.
fn http_get(address: &str, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(SOON))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The binary with a limit on its descriptors. The shell becomes it, so that the process is the same.
fn limited(shell: Shell, descriptors: u32) -> Result<Command, Failure> {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("ulimit -n {descriptors}; exec \"$0\" \"$@\"")).arg(shell.binary()?);
    Ok(command)
}

fn run(
    shell: Shell,
    name: &str,
    data_dir: &Path,
    settings: &Vec<(String, String)>,
    arguments: Vec<OsString>,
    descriptors: Option<u32>,
) -> Result<(Process, Value), Failure> {
    let mut command =
        descriptors.map_or_else(|| shell.binary().map(Command::new), |most| limited(shell, most))?;
    command.arg("run").arg("--data-dir").arg(data_dir).args(["--output", "json"]).args(arguments);
    let base = [
        ("network", "regtest"),
        ("p2p_listen_addresses", "/ip4/127.0.0.1/tcp/0"),
        ("p2p_httpListenAddress", "127.0.0.1:0"),
        ("admin_listen", "127.0.0.1:0"),
        ("p2p_allow_private_ips", "true"),
        ("log_verdicts", "true"),
    ];
    for (key, value) in base {
        if !settings.iter().any(|(k, _)| k == key) {
            command.arg("--set").arg(format!("{key}={value}"));
        }
    }
    for (key, value) in settings {
        command.arg("--set").arg(format!("{key}={value}"));
    }
    let mut process = Process::spawn(name, command, Leash::Shell)?;
    let ready = process.expect("ready", SOON, |e| e["event"] == "ready")?;
    if ready["peer_id"].as_str().is_none_or(str::is_empty) {
        return Err(process.failure(&format!("ready without a peer id: {}", json!(ready))));
    }
    Ok((process, ready))
}
