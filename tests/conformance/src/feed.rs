//! WebSocket clients in JavaScript (`js/feed.mjs`).

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::process::Leash;
use crate::setup::setup;
use crate::{Failure, Process, SOON};

/// A process with one or more clients of a feed.
pub struct Feed {
    process: Process,
}

impl Feed {
    /// Connects one client to the URL; every frame becomes an event.
    ///
    /// # Errors
    /// If it does not get through.
    pub fn watch(url: &str) -> Result<Self, Failure> {
        Self::start(&json!({"url": url, "clients": 1, "report": "each"}))
    }

    /// Connects that many clients, which only count the frames that contain the text.
    ///
    /// # Errors
    /// If one of them does not get through.
    pub fn count(url: &str, clients: usize, text: &str) -> Result<Self, Failure> {
        Self::start(&json!({"url": url, "clients": clients, "report": "count", "match": text}))
    }

    fn start(options: &Value) -> Result<Self, Failure> {
        let mut command = Command::new("node");
        command.arg(setup()?.js("feed.mjs"));
        let mut process = Process::spawn("feed", command, Leash::Stdin)?;
        process.send(options)?;
        process.expect("ready", SOON, |e| e["event"] == "ready")?;
        Ok(Self { process })
    }

    /// The process, for its events.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The next frame of client 0 that matches, its text read as JSON.
    ///
    /// # Errors
    /// When the time is over.
    pub fn expect_frame(
        &mut self,
        what: &str,
        within: Duration,
        matches: impl Fn(&Value) -> bool,
    ) -> Result<Value, Failure> {
        let event = self
            .process
            .expect(what, within, |e| e["event"] == "frame" && e["client"] == 0 && matches(&frame_json(e)))?;
        Ok(frame_json(&event))
    }

    /// Stops reading from the socket of a client.
    ///
    /// # Errors
    /// If there is no such client.
    pub fn pause(&mut self, client: usize) -> Result<(), Failure> {
        self.process.call(json!({"cmd": "pause", "client": client})).map(|_| ())
    }

    /// Frames received by each client; with [`Self::count`] those that contain the text.
    ///
    /// # Errors
    /// If the process does not answer.
    pub fn counts(&mut self) -> Result<Vec<u64>, Failure> {
        let answer = self.process.call(json!({"cmd": "counts"}))?;
        let frames = answer["frames"].as_array().cloned().unwrap_or_default();
        Ok(frames.iter().filter_map(Value::as_u64).collect())
    }
}

fn frame_json(event: &Value) -> Value {
    event["text"].as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Value::Null)
}
