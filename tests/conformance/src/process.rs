//! A child process that speaks lines of JSON.

use std::collections::VecDeque;
use std::fmt;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::retry_on_intr;
pub use rustix::process::Signal;
use rustix::process::{Pid, WaitId, WaitIdOptions, kill_process, waitid};
use serde_json::{Value, json};

use crate::SOON;

/// Events printed with a failure, newest last.
const EVENTS_SHOWN_MAX: usize = 40;
/// Characters of one event printed with a failure.
const EVENT_SHOWN_CHARS_MAX: usize = 400;
/// Lines of standard error kept.
const STDERR_LINES_MAX: usize = 200;

/// What went wrong, with all that is known about the process. `Debug` prints the same text as
/// `Display`, so that a test that returns it reads well.
pub struct Failure(String);

impl Failure {
    /// A failure with the given text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

/// An event and whether an earlier `expect` has taken it.
struct Logged {
    event: Value,
    taken: bool,
}

/// A running child. Dropping it kills it.
pub struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    events: Receiver<Value>,
    log: Vec<Logged>,
    /// How many events of the log [`Self::take`] has given already.
    forgotten: usize,
    stderr: Arc<Mutex<VecDeque<String>>>,
    guard: Option<Child>,
    next_id: i64,
}

/// How a child is tied to the test's life besides being killed on drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leash {
    /// It ends when its standard input closes, even if the test is killed.
    Stdin,
    /// It does not look at its standard input: a small shell waits in our stead and kills it when
    /// the test has gone.
    Shell,
}

impl Process {
    /// Starts the command.
    ///
    /// # Errors
    /// If the program does not start.
    pub fn spawn(name: &str, mut command: Command, leash: Leash) -> Result<Self, Failure> {
        let stdin = if leash == Leash::Stdin { Stdio::piped() } else { Stdio::null() };
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().map_err(|e| Failure::new(format!("{name}: cannot start {command:?}: {e}")))?;
        let (sender, events) = mpsc::channel();
        if let Some(stdout) = child.stdout.take() {
            thread::spawn(move || read_events(stdout, &sender));
        }
        let stderr = Arc::new(Mutex::new(VecDeque::new()));
        if let Some(pipe) = child.stderr.take() {
            let lines = Arc::clone(&stderr);
            thread::spawn(move || read_stderr(pipe, &lines));
        }
        let guard = if leash == Leash::Shell { guard(child.id()) } else { None };
        let stdin = child.stdin.take();
        Ok(Self {
            name: name.to_owned(),
            child,
            stdin,
            events,
            log: Vec::new(),
            forgotten: 0,
            stderr,
            guard,
            next_id: 1,
        })
    }

    /// The name given at the start.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes one line.
    ///
    /// # Errors
    /// If the process has closed its standard input.
    pub fn send(&mut self, line: &Value) -> Result<(), Failure> {
        let text = format!("{line}\n");
        let result = match &mut self.stdin {
            Some(stdin) => stdin.write_all(text.as_bytes()).and_then(|()| stdin.flush()),
            None => return Err(self.failure("it has no standard input")),
        };
        result.map_err(|e| self.failure(&format!("cannot write a command: {e}")))
    }

    /// Sends a command and waits for its answer, an event `done` with the same `id`.
    ///
    /// # Errors
    /// If the answer is `failed`, or none comes in time.
    pub fn call(&mut self, command: Value) -> Result<Value, Failure> {
        self.call_within(command, SOON)
    }

    /// As [`Self::call`], with a deadline of its own.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub fn call_within(&mut self, mut command: Value, within: Duration) -> Result<Value, Failure> {
        let id = self.next_id;
        self.next_id += 1;
        command["id"] = json!(id);
        self.send(&command)?;
        let what = format!("the answer to {}", shown(&command));
        let answer = self
            .expect(&what, within, |e| (e["event"] == "done" || e["event"] == "failed") && e["id"] == id)?;
        if answer["event"] == "failed" {
            return Err(self.failure(&format!("{} failed: {}", shown(&command), answer["message"])));
        }
        Ok(answer)
    }

    /// Waits for the first event that matches and that no earlier call has taken. Events that came
    /// before this call count as well, in their order.
    ///
    /// # Errors
    /// When the time is over or the process has ended.
    pub fn expect(
        &mut self,
        what: &str,
        within: Duration,
        matches: impl Fn(&Value) -> bool,
    ) -> Result<Value, Failure> {
        let deadline = Instant::now() + within;
        let mut from = 0;
        loop {
            if let Some(found) = self.log[from..].iter_mut().find(|l| !l.taken && matches(&l.event)) {
                found.taken = true;
                return Ok(found.event.clone());
            }
            from = self.log.len();
            match self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(event) => self.log.push(Logged { event, taken: false }),
                Err(RecvTimeoutError::Timeout) => {
                    return Err(self.failure(&format!("no {what} within {within:?}")));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(self.failure(&format!("it ended before {what}")));
                }
            }
        }
    }

    /// Counts the events so far that match, taken ones included.
    pub fn count(&mut self, matches: impl Fn(&Value) -> bool) -> usize {
        self.drain();
        self.log.iter().filter(|l| matches(&l.event)).count()
    }

    /// All events so far that match, taken ones included.
    pub fn all(&mut self, matches: impl Fn(&Value) -> bool) -> Vec<Value> {
        self.drain();
        self.log.iter().filter(|l| matches(&l.event)).map(|l| l.event.clone()).collect()
    }

    /// All events that came since the last call of this kind, taken ones included. Nothing is kept of them but what a
    /// failure shows: for processes that run long.
    pub fn take(&mut self) -> Vec<Value> {
        self.drain();
        let events = self.log.iter().skip(self.forgotten).map(|l| l.event.clone()).collect();
        self.log.drain(..self.log.len().saturating_sub(EVENTS_SHOWN_MAX));
        self.forgotten = self.log.len();
        events
    }

    /// Fails if an event that matches has come or comes within the time. The one wait that always
    /// lasts its full time.
    ///
    /// # Errors
    /// With the event.
    pub fn expect_none(
        &mut self,
        what: &str,
        during: Duration,
        matches: impl Fn(&Value) -> bool,
    ) -> Result<(), Failure> {
        let deadline = Instant::now() + during;
        let mut from = 0;
        loop {
            if let Some(found) = self.log[from..].iter().find(|l| matches(&l.event)) {
                let text = shown(&found.event);
                return Err(self.failure(&format!("there must be no {what}, and there is: {text}")));
            }
            from = self.log.len();
            match self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(event) => self.log.push(Logged { event, taken: false }),
                Err(RecvTimeoutError::Timeout) => return Ok(()),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(self.failure(&format!("it ended while no {what} was looked for")));
                }
            }
        }
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// If the process has gone.
    pub fn signal(&self, signal: Signal) -> Result<(), Failure> {
        let sent = kill_process(Pid::from_child(&self.child), signal);
        sent.map_err(|error| self.failure(&format!("cannot send {signal:?}: {error}")))
    }

    /// Closes standard input and waits for the end.
    ///
    /// # Errors
    /// If it does not end in time.
    pub fn finish(&mut self, within: Duration) -> Result<ExitStatus, Failure> {
        self.stdin = None;
        self.wait(within)
    }

    /// Waits for the process to end by itself.
    ///
    /// # Errors
    /// If it does not end in time.
    pub fn wait(&mut self, within: Duration) -> Result<ExitStatus, Failure> {
        let deadline = Instant::now() + within;
        loop {
            match self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(event) => self.log.push(Logged { event, taken: false }),
                Err(RecvTimeoutError::Timeout) => {
                    return Err(self.failure(&format!("it did not end within {within:?}")));
                }
                // Standard output has closed, which the end of the process does.
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        match self.ended().recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(()) => {
                let status = self.child.wait().map_err(|e| self.failure(&e.to_string()))?;
                self.release_guard();
                Ok(status)
            }
            Err(_) => Err(self.failure(&format!("it closed its output and did not end within {within:?}"))),
        }
    }

    /// Receives once when the process has ended. It is left for [`Child::wait`] to collect, so that until then nobody
    /// else can have its id.
    fn ended(&self) -> Receiver<()> {
        let (sender, ended) = mpsc::channel();
        let pid = Pid::from_child(&self.child);
        thread::spawn(move || {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            if retry_on_intr(|| waitid(WaitId::Pid(pid), options)).is_ok() {
                // Nobody listens any more once the time is over.
                let _ = sender.send(());
            }
        });
        ended
    }

    /// Kills the process and waits until it is gone.
    pub fn kill(&mut self) {
        // Nothing to be done about an error: it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.release_guard();
    }

    /// A failure that tells this process's last events and its standard error.
    pub fn failure(&self, text: &str) -> Failure {
        let mut report = format!("{} (pid {}): {text}\n", self.name, self.pid());
        let hidden = self.log.len().saturating_sub(EVENTS_SHOWN_MAX);
        report.push_str(&format!("  events ({hidden} earlier ones not shown):\n"));
        for logged in &self.log[hidden..] {
            report.push_str(&format!("    {}\n", shown(&logged.event)));
        }
        report.push_str("  standard error:\n");
        for line in self.stderr.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            report.push_str(&format!("    {line}\n"));
        }
        Failure(report)
    }

    fn drain(&mut self) {
        while let Ok(event) = self.events.try_recv() {
            self.log.push(Logged { event, taken: false });
        }
    }

    fn release_guard(&mut self) {
        if let Some(mut guard) = self.guard.take() {
            let _ = guard.kill();
            let _ = guard.wait();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn shown(event: &Value) -> String {
    event.to_string().chars().take(EVENT_SHOWN_CHARS_MAX).collect()
}

fn read_events(stdout: impl Read, sender: &mpsc::Sender<Value>) {
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        let event = serde_json::from_str(&line).unwrap_or_else(|_| json!({"event": "text", "text": line}));
        if sender.send(event).is_err() {
            return;
        }
    }
}

fn read_stderr(pipe: impl Read, lines: &Mutex<VecDeque<String>>) {
    for line in BufReader::new(pipe).lines().map_while(Result::ok) {
        let mut kept = lines.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == STDERR_LINES_MAX {
            kept.pop_front();
        }
        kept.push_back(line);
    }
}

/// A shell that outlives nobody: it reads until our end of the pipe closes, then kills the process.
fn guard(pid: u32) -> Option<Child> {
    Command::new("sh")
        .arg("-c")
        .arg("cat >/dev/null; kill -9 \"$0\"")
        .arg(pid.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, leash: Leash) -> Process {
        let mut command = Command::new("sh");
        command.arg("-c").arg(script);
        Process::spawn("shell", command, leash).unwrap()
    }

    #[test]
    fn an_event_that_came_earlier_is_still_found_and_only_once() {
        let mut p = shell(r#"echo '{"event":"a"}'; echo '{"event":"b"}'; cat"#, Leash::Stdin);
        p.expect("b", SOON, |e| e["event"] == "b").unwrap();
        p.expect("a", SOON, |e| e["event"] == "a").unwrap();
        assert!(p.expect("a", Duration::from_millis(50), |e| e["event"] == "a").is_err());
        assert_eq!(p.count(|e| e["event"] == "a"), 1);
    }

    #[test]
    fn a_failure_tells_events_and_standard_error() {
        let mut p = shell(r#"echo broken >&2; echo '{"event":"a"}'"#, Leash::Stdin);
        let text = p.expect("the end", SOON, |e| e["event"] == "z").unwrap_err().to_string();
        assert!(text.contains("it ended before the end"), "{text}");
        assert!(text.contains(r#"{"event":"a"}"#), "{text}");
    }

    #[test]
    fn an_event_is_taken_once_by_those_who_take_all() {
        let mut p = shell(r#"for i in $(seq 100); do echo "{\"event\":$i}"; done; cat"#, Leash::Stdin);
        p.expect("the last", SOON, |e| e["event"] == 100).unwrap();
        assert_eq!(p.take().len(), 100);
        assert_eq!(p.take().len(), 0);
        assert_eq!(p.log.len(), EVENTS_SHOWN_MAX);
    }

    #[test]
    fn an_answer_is_told_by_its_id() {
        let mut p = shell(
            r#"read a; echo '{"event":"done","id":7}'; echo '{"event":"failed","id":1,"message":"no"}'; cat"#,
            Leash::Stdin,
        );
        let text = p.call(json!({"cmd": "x"})).unwrap_err().to_string();
        assert!(text.contains(r#"failed: "no""#), "{text}");
    }

    #[test]
    fn expecting_none_sees_what_has_already_come() {
        let mut p = shell(r#"echo '{"event":"a"}'; echo '{"event":"b"}'; cat"#, Leash::Stdin);
        p.expect("b", SOON, |e| e["event"] == "b").unwrap();
        assert!(p.expect_none("a", Duration::ZERO, |e| e["event"] == "a").is_err());
        p.expect_none("c", Duration::from_millis(20), |e| e["event"] == "c").unwrap();
    }

    #[test]
    fn a_process_that_closed_its_output_is_waited_for_until_its_end() {
        let mut p = shell("exec >&-; read a; exit 7", Leash::Stdin);
        let text = p.wait(Duration::from_millis(50)).unwrap_err().to_string();
        assert!(
            text.contains("it closed its output and did not end") || text.contains("it did not end"),
            "{text}"
        );
        assert_eq!(p.finish(SOON).unwrap().code(), Some(7));
    }

    #[test]
    fn a_dropped_process_is_gone() {
        let p = shell("sleep 1000", Leash::Shell);
        let pid = p.pid();
        drop(p);
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn the_guard_kills_when_its_pipe_closes() {
        let mut p = shell("echo '{\"event\":\"up\"}'; exec sleep 1000", Leash::Shell);
        p.expect("up", SOON, |e| e["event"] == "up").unwrap();
        let mut guard = p.guard.take().unwrap();
        drop(guard.stdin.take());
        guard.wait().unwrap();
        assert!(!p.wait(SOON).unwrap().success());
    }
}
