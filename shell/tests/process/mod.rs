//! A node as a process: started on ephemeral ports, watched by its report, stopped with the test. The binary is named by
//! whoever includes this: `crate::BINARY`.
#![allow(missing_docs, unreachable_pub, dead_code)]

mod bad_input;
mod client;
mod life;
mod neighbourhood;
mod network;
mod recording;
mod siege;
mod threads;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longest wait for anything.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A folder that goes with its value.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("peerage-process-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The binary, with no settings from outside.
pub fn command(data_dir: &Path) -> Command {
    let mut command = Command::new(crate::BINARY);
    command.env_clear().current_dir(std::env::temp_dir()).arg("--data-dir").arg(data_dir);
    command
}

/// Settings for a node on ephemeral ports.
const EPHEMERAL: [&str; 3] = [
    "p2p_listen_addresses=/ip4/127.0.0.1/tcp/0",
    "p2p_httpListenAddress=127.0.0.1:0",
    "admin_listen=127.0.0.1:0",
];

pub struct Node {
    pub child: Child,
    lines: Receiver<String>,
    pub ready: Value,
    data_dir: PathBuf,
}

impl Node {
    pub fn start(data_dir: &Path, settings: &[&str]) -> Self {
        Self::start_with(data_dir, settings, &[])
    }

    pub fn start_with(data_dir: &Path, settings: &[&str], arguments: &[&str]) -> Self {
        let mut command = command(data_dir);
        for setting in EPHEMERAL.iter().chain(settings) {
            command.args(["--set", setting]);
        }
        command.args(["--output", "json"]).args(arguments).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (sender, lines) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)).ok();
        });
        let mut node = Self { child, lines, ready: Value::Null, data_dir: data_dir.to_owned() };
        node.ready = node.event("ready");
        node
    }

    /// The next event of that name; others are skipped.
    pub fn event(&self, name: &str) -> Value {
        self.event_where(name, |_| true)
    }

    /// The next event of that name that fits.
    pub fn event_where(&self, name: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        loop {
            let line = match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("no event `{name}`; there were: {seen:#?}")
                }
            };
            let event: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line}"));
            if event["event"] == name && fits(&event) {
                return event;
            }
            seen.push(line);
        }
    }

    pub fn peer_id(&self) -> String {
        self.ready["peer_id"].as_str().unwrap().to_owned()
    }

    /// Where others reach it.
    pub fn address(&self) -> String {
        format!("{}/p2p/{}", self.ready["p2p"][0].as_str().unwrap(), self.peer_id())
    }

    pub fn p2p_port(&self) -> u16 {
        self.ready["p2p"][0].as_str().unwrap().rsplit('/').next().unwrap().parse().unwrap()
    }

    pub fn feed(&self) -> SocketAddr {
        self.ready["feed"].as_str().unwrap().parse().unwrap()
    }

    pub fn admin(&self) -> SocketAddr {
        self.ready["admin"].as_str().unwrap().parse().unwrap()
    }

    /// Runs a client command against it.
    pub fn ask(&self, arguments: &[&str]) -> Output {
        command(&self.data_dir).args(arguments).output().unwrap()
    }

    /// The same, which is to go well.
    pub fn told(&self, arguments: &[&str]) -> String {
        let output = self.ask(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn status(&self) -> Value {
        serde_json::from_str(&self.told(&["status", "--json"])).unwrap()
    }

    /// Waits until the status is as wanted.
    pub fn wait_status(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.status();
            if fits(&status) {
                return status;
            }
            assert!(Instant::now() < deadline, "never {what}: {status:#}");
        }
    }

    pub fn signal(&self, name: &str) {
        let signal = match name {
            "INT" => rustix::process::Signal::INT,
            "TERM" => rustix::process::Signal::TERM,
            "KILL" => rustix::process::Signal::KILL,
            "STOP" => rustix::process::Signal::STOP,
            "CONT" => rustix::process::Signal::CONT,
            other => panic!("no signal {other}"),
        };
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for the end and gives the exit code.
    pub fn exit_code(&mut self) -> i32 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // The end of its output is the end of the process.
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return self.child.wait().unwrap().code().unwrap_or(-1);
                }
                Err(RecvTimeoutError::Timeout) => panic!("the node does not end"),
            }
        }
    }

    /// Stops it in good order and gives the hash of its last state.
    pub fn stop(mut self) -> String {
        self.told(&["shutdown"]);
        let hash = self.event("stopped")["state_hash"].as_str().unwrap().to_owned();
        assert_eq!(self.exit_code(), 0);
        hash
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One HTTP request and its whole answer.
pub fn http(addr: SocketAddr, head: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// A viewer of the feed.
pub fn viewer(node: &Node) -> tungstenite::WebSocket<TcpStream> {
    let stream = TcpStream::connect(node.feed()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    tungstenite::client(format!("ws://{}/p2p-ws", node.feed()), stream).unwrap().0
}

/// The next text that a viewer is shown.
pub fn shown(viewer: &mut tungstenite::WebSocket<TcpStream>) -> Value {
    loop {
        if let tungstenite::Message::Text(text) = viewer.read().unwrap() {
            return serde_json::from_str(&text).unwrap();
        }
    }
}
