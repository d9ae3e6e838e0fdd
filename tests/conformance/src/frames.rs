//! A raw peer in mode `frames`: it writes the router's frames by hand and reports each that comes in.

use std::time::Duration;

use serde_json::{Value, json};

use crate::peer::{Make, Peer};
use crate::wire::{self, Kind};
use crate::{Failure, SOON};

/// Whose stream, of the two that carry frames between two peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The one that this peer opened and writes to.
    Ours,
    /// The newest that the other opened to this peer.
    Theirs,
}

/// How a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Both directions are closed.
    Close,
    /// It is reset.
    Reset,
}

/// Which frames of a peer count: all, or those of one stream.
fn is_frame(event: &Value, from: &str) -> bool {
    event["event"] == "frame" && event["peer"] == from
}

/// Whether the list of that name in a frame, or the ids of its messages (`messages`), holds the id.
fn names(frame: &Value, list: &str, id: &Value) -> bool {
    let entries = frame[list].as_array().into_iter().flatten();
    match list {
        "messages" => entries.into_iter().any(|message| message["id_b64"] == *id),
        _ => entries.into_iter().any(|entry| entry == id),
    }
}

impl Peer {
    /// Starts a raw peer in mode `frames`, connected to `address`, and opens its stream with what `options` say (see `Hello`
    /// in `go/raw/main.go`).
    ///
    /// # Errors
    /// If it does not start or connect.
    pub fn start_frames(name: &str, address: &str, mut options: Value) -> Result<Self, Failure> {
        options["mode"] = json!("frames");
        options["connect"] = json!([address]);
        let mut peer = Self::start(Make::Raw, name, options)?;
        let to = address.rsplit('/').next().unwrap_or_default().to_owned();
        peer.greet(&to)?;
        Ok(peer)
    }

    /// Opens a stream to `to`, if there is none, with the hello alone.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn greet(&mut self, to: &str) -> Result<(), Failure> {
        self.process().call(json!({"cmd": "greet", "peer": to})).map(|_| ())
    }

    /// Writes `count` frames as `rpc` says (see `go/raw/rpc.go`) by one write.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn write_rpc(&mut self, to: &str, rpc: &Value, count: usize) -> Result<Value, Failure> {
        self.process().call(json!({"cmd": "rpc", "peer": to, "rpc": rpc, "count": count}))
    }

    /// Writes the bytes as one frame.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn write_frame(&mut self, to: &str, frame: &[u8]) -> Result<(), Failure> {
        let command = json!({"cmd": "frame", "peer": to, "frame_b64": wire::base64(frame)});
        self.process().call(command).map(|_| ())
    }

    /// Writes subtree messages in one frame, each as its forge says, and gives their ids.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn forge_batch(&mut self, to: &str, batch: &[(&Value, Value)]) -> Result<Vec<Value>, Failure> {
        let topic = Kind::Subtree.topic();
        let batch: Vec<Value> = batch
            .iter()
            .map(|(inner, forge)| json!({"topic": topic, "json": inner, "forge": forge}))
            .collect();
        let answer = self.process().call(json!({"cmd": "forge", "peer": to, "batch": batch}))?;
        Ok(answer["ids_b64"].as_array().cloned().unwrap_or_default())
    }

    /// Writes one subtree message as the forge says, and gives its id.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn forge_one(&mut self, to: &str, inner: &Value, forge: Value) -> Result<Value, Failure> {
        Ok(self.forge_batch(to, &[(inner, forge)])?.pop().unwrap_or_default())
    }

    /// Ends a stream between this peer and the other.
    ///
    /// # Errors
    /// If there is none.
    pub fn end_stream(&mut self, other: &str, whose: Whose, how: How) -> Result<(), Failure> {
        let whose = if whose == Whose::Ours { "ours" } else { "theirs" };
        let how = if how == How::Close { "close" } else { "reset" };
        let command = json!({"cmd": "end_stream", "peer": other, "whose": whose, "how": how});
        self.process().call(command).map(|_| ())
    }

    /// Waits for a frame of the other peer that matches and that nobody waited for before.
    ///
    /// # Errors
    /// When the time is over.
    pub fn expect_frame(
        &mut self,
        from: &str,
        what: &str,
        matches: impl Fn(&Value) -> bool,
    ) -> Result<Value, Failure> {
        self.process().expect(what, SOON, |e| is_frame(e, from) && matches(e))
    }

    /// Waits for a frame whose list of that name (`messages`, `ihave_b64`, …) holds the id.
    ///
    /// # Errors
    /// When the time is over.
    pub fn expect_named(&mut self, from: &str, list: &str, id: &Value) -> Result<Value, Failure> {
        self.expect_frame(from, &format!("{list} with {id}"), |frame| names(frame, list, id))
    }

    /// How many frames so far named the id in the list; for `messages`, how many messages had it.
    pub fn count_named(&mut self, from: &str, list: &str, id: &Value) -> usize {
        let frames = self.process().all(|e| is_frame(e, from));
        let entries = frames.iter().flat_map(|frame| frame[list].as_array().into_iter().flatten());
        entries.filter(|entry| *entry == id || list == "messages" && entry["id_b64"] == *id).count()
    }

    /// How many ids all frames so far name in the list.
    pub fn count_ids(&mut self, from: &str, list: &str) -> usize {
        let frames = self.process().all(|e| is_frame(e, from));
        frames.iter().filter_map(|frame| frame[list].as_array()).map(Vec::len).sum()
    }

    /// Fails if a frame names the id in the list, or one comes within the time.
    ///
    /// # Errors
    /// With the frame.
    pub fn expect_not_named(
        &mut self,
        from: &str,
        list: &str,
        id: &Value,
        during: Duration,
    ) -> Result<(), Failure> {
        let is_it = |e: &Value| is_frame(e, from) && names(e, list, id);
        self.process().expect_none(&format!("{list} with {id}"), during, is_it)
    }
}
