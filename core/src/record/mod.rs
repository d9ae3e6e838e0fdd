//! Recordings: everything that a node was told, so that a replay does exactly the same.
//!
//! A recording is a magic line and then frames: length (`u32`), CRC-32 of the payload (`u32`), CRC-32 of these eight bytes
//! (`u32`), payload; all little-endian. With its own checksum a length that was altered is told from a torn tail. The first frame is the [`Header`]; then follow inputs with their time, each 1,024th preceded by the
//! hash of the state before it; a clean stop ends with the state's final hash. A file may end anywhere: what is behind
//! the last whole frame is a torn tail, and is cut.

mod reader;
mod replay;

use alloc::string::String;
use alloc::vec::Vec;

use crate::codec::{Encode, codec_enum, codec_struct};
use crate::config::Config;
use crate::input::Input;
use crate::time::Now;

pub use reader::{Reader, RecordError};
pub use replay::{ReplayError, Replayed, replay};

/// First bytes of every recording. The number is the format's version.
pub const MAGIC: &[u8] = b"peerage recording 2\n";
/// The core that records: version and a digest of its sources and of the wire formats', so that it changes whenever the
/// same inputs may lead to another state or other actions.
pub const CORE_VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "/", env!("PEERAGE_CORE_DIGEST"));
/// Every so many inputs the state's hash is written down.
pub const HASH_EVERY: u64 = 1024;
/// Longest frame read or written, in bytes.
pub const FRAME_BYTES_MAX: u32 = 16 << 20;

/// Bytes before each frame's payload.
const HEAD_BYTES: usize = 12;

/// What the node was made of.
#[derive(Clone, PartialEq, Debug)]
pub struct Header {
    /// [`CORE_VERSION`] of the node that recorded.
    pub core_version: String,
    /// Its settings and limits.
    pub config: Config,
    /// Its seed.
    pub seed: [u8; 32],
    /// The time at which it was made.
    pub start: Now,
}

/// One frame after the header.
#[derive(Clone, PartialEq, Debug)]
pub enum Frame {
    /// An input.
    Input(Now, Input),
    /// The hash of the state before the next input.
    Hash([u8; 32]),
    /// A clean end, with the hash of the last state.
    End([u8; 32]),
}

codec_struct!(Header { core_version, config, seed, start });
codec_enum!(Frame { 0 => Input(now, input), 1 => Hash(hash), 2 => End(hash) });

/// Encodes a recording piece by piece. What it returns is to be appended to the file in order.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    inputs: u64,
    buf: Vec<u8>,
}

impl Recorder {
    /// The beginning of a recording.
    pub fn begin(&mut self, config: &Config, seed: [u8; 32], start: Now) -> &[u8] {
        self.buf.clear();
        self.buf.extend_from_slice(MAGIC);
        let header = Header { core_version: CORE_VERSION.into(), config: config.clone(), seed, start };
        push_frame(&mut self.buf, &header);
        &self.buf
    }

    /// One input, to be written before it is applied. `state_hash` is asked for each 1,024th.
    pub fn input(&mut self, now: Now, input: &Input, state_hash: impl FnOnce() -> [u8; 32]) -> &[u8] {
        self.buf.clear();
        if self.inputs > 0 && self.inputs.is_multiple_of(HASH_EVERY) {
            push_frame(&mut self.buf, &Frame::Hash(state_hash()));
        }
        self.inputs += 1;
        push_frame(&mut self.buf, &InputFrame { now, input });
        &self.buf
    }

    /// The end of a node that stopped cleanly.
    pub fn end(&mut self, state_hash: [u8; 32]) -> &[u8] {
        self.buf.clear();
        push_frame(&mut self.buf, &Frame::End(state_hash));
        &self.buf
    }

    /// Inputs so far.
    pub fn inputs(&self) -> u64 {
        self.inputs
    }
}

/// [`Frame::Input`] without owning the input.
struct InputFrame<'a> {
    now: Now,
    input: &'a Input,
}

impl Encode for InputFrame<'_> {
    fn encode(&self, out: &mut impl crate::codec::Output) {
        out.put(&[0]);
        self.now.encode(out);
        self.input.encode(out);
    }
}

fn push_frame(buf: &mut Vec<u8>, payload: &impl Encode) {
    let at = buf.len();
    buf.extend_from_slice(&[0; HEAD_BYTES]);
    payload.encode(buf);
    let len = u32::try_from(buf.len() - at - HEAD_BYTES).unwrap_or(u32::MAX);
    assert!(len <= FRAME_BYTES_MAX, "an input of {len} bytes exceeds FRAME_BYTES_MAX");
    let crc = crc32fast::hash(&buf[at + HEAD_BYTES..]);
    buf[at..at + 4].copy_from_slice(&len.to_le_bytes());
    buf[at + 4..at + 8].copy_from_slice(&crc.to_le_bytes());
    let of_head = crc32fast::hash(&buf[at..at + 8]);
    buf[at + 8..at + HEAD_BYTES].copy_from_slice(&of_head.to_le_bytes());
}
