//! Reading a recording back, as far as it is whole.

use core::fmt;

use super::{FRAME_BYTES_MAX, Frame, HEAD_BYTES, Header, MAGIC};
use crate::codec::{Decode, DecodeError, decode_all};

/// Why a recording cannot be read on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RecordError {
    /// It is none, or of another format.
    NotARecording,
    /// It ends before its header does.
    NoHeader,
    /// A frame in its midst does not match its checksum.
    Checksum {
        /// Where the frame begins, in bytes.
        at: usize,
    },
    /// A frame matches its checksum and yet is none: another version wrote it.
    Undecodable {
        /// Where the frame begins, in bytes.
        at: usize,
        /// What was expected.
        error: DecodeError,
    },
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotARecording => f.write_str("not a recording, or of another format version"),
            Self::NoHeader => f.write_str("the recording ends before its header does: nothing to replay"),
            Self::Checksum { at } => write!(f, "the frame at byte {at} does not match its checksum"),
            Self::Undecodable { at, error } => write!(f, "the frame at byte {at} cannot be read: {error}"),
        }
    }
}

impl core::error::Error for RecordError {}

/// Reads frame after frame.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    torn_at: Option<usize>,
}

impl<'a> Reader<'a> {
    /// Reads the header.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(bytes: &'a [u8]) -> Result<(Header, Self), RecordError> {
        if !bytes.starts_with(MAGIC) {
            return Err(RecordError::NotARecording);
        }
        let mut reader = Self { bytes, at: MAGIC.len(), torn_at: None };
        let header = reader.read()?.ok_or(RecordError::NoHeader)?;
        Ok((header, reader))
    }

    /// The next frame; none at the end, torn or not.
    ///
    /// # Errors
    /// When the recording is broken in its midst.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, RecordError> {
        self.read()
    }

    /// Where a torn tail begins, in bytes, if there is one.
    pub fn torn_at(&self) -> Option<usize> {
        self.torn_at
    }

    fn read<T: Decode>(&mut self) -> Result<Option<T>, RecordError> {
        let at = self.at;
        let rest = self.bytes.get(at..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(None);
        }
        let Some((head, payload)) = rest.split_at_checked(HEAD_BYTES) else { return Ok(self.tear()) };
        let Some((len, crc)) = lengths(head) else {
            // The file system may have kept the length of an append and not its bytes.
            let is_empty = rest.iter().all(|byte| *byte == 0);
            return if is_empty { Ok(self.tear()) } else { Err(RecordError::Checksum { at }) };
        };
        let is_last = payload.len() <= len;
        let Some(payload) = payload.get(..len) else { return Ok(self.tear()) };
        if crc32fast::hash(payload) != crc {
            return if is_last { Ok(self.tear()) } else { Err(RecordError::Checksum { at }) };
        }
        self.at = at + HEAD_BYTES + len;
        decode_all(payload).map(Some).map_err(|error| RecordError::Undecodable { at, error })
    }

    fn tear<T>(&mut self) -> Option<T> {
        self.torn_at = Some(self.at);
        self.at = self.bytes.len();
        None
    }
}

/// Length and checksum of the payload; none if the head is not what was written.
fn lengths(head: &[u8]) -> Option<(usize, u32)> {
    let number = |at: usize| Some(u32::from_le_bytes(head.get(at..at + 4)?.try_into().ok()?));
    let (len, crc, of_head) = (number(0)?, number(4)?, number(8)?);
    let holds = crc32fast::hash(&head[..8]) == of_head && len <= FRAME_BYTES_MAX;
    holds.then_some((len as usize, crc))
}
