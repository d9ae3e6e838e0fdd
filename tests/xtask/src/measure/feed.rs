//! One reader of our WebSocket feed, without which nothing would be notified.

use std::collections::{BTreeMap, HashSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How the hash of a flood's message begins; eight digits of the run and sixteen of the index follow.
const MAGIC: &str = "f100d5eb";
/// Longest frame that is taken.
const FRAME_BYTES_MAX: u64 = 1 << 20;

/// What one run's frames were.
#[derive(Clone, Debug, Default)]
struct Seen {
    frames: u64,
    indices: HashSet<u64>,
}

type Shared = Arc<Mutex<BTreeMap<u32, Seen>>>;

/// A client that counts the frames of each flood. Its thread ends with the connection.
#[derive(Debug)]
pub(crate) struct Feed {
    seen: Shared,
}

impl Feed {
    /// Connects to `address` and reads on in a thread.
    ///
    /// # Errors
    /// If the upgrade is refused.
    pub(crate) fn open(address: &str) -> Result<Self, String> {
        let fault = |e: std::io::Error| format!("feed {address}: {e}");
        let mut stream = TcpStream::connect(address).map_err(fault)?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).map_err(fault)?;
        let request = format!(
            "GET /p2p-ws HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).map_err(fault)?;
        let writer = stream.try_clone().map_err(fault)?;
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).map_err(fault)?;
        if !line.contains(" 101 ") {
            return Err(format!("feed {address}: {}", line.trim()));
        }
        while line.trim() != "" {
            line.clear();
            reader.read_line(&mut line).map_err(fault)?;
        }
        // The first frame makes this client a receiver.
        read_frame(&mut reader, &writer).map_err(fault)?;
        reader.get_ref().set_read_timeout(None).map_err(fault)?;
        let seen = Shared::default();
        let shared = Arc::clone(&seen);
        std::thread::spawn(move || {
            while let Ok(frame) = read_frame(&mut reader, &writer) {
                if let Some((run, index)) = flood_mark(&frame) {
                    let mut all = shared.lock().unwrap_or_else(PoisonError::into_inner);
                    let seen = all.entry(run).or_default();
                    seen.frames += 1;
                    seen.indices.insert(index);
                }
            }
        });
        Ok(Self { seen })
    }

    /// Frames of the run, and how many different messages they tell of.
    pub(crate) fn counts(&self, run: u32) -> (u64, u64) {
        let all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&run).map_or((0, 0), |seen| (seen.frames, seen.indices.len() as u64))
    }
}

/// The next text, pings answered.
fn read_frame(reader: &mut BufReader<TcpStream>, mut writer: &TcpStream) -> std::io::Result<String> {
    loop {
        let mut head = [0; 2];
        reader.read_exact(&mut head)?;
        let mut length = u64::from(head[1] & 0x7f);
        if length >= 126 {
            let bytes = if length == 126 { 2 } else { 8 };
            let mut wide = [0; 8];
            reader.read_exact(&mut wide[8 - bytes..])?;
            length = u64::from_be_bytes(wide);
        }
        if length > FRAME_BYTES_MAX {
            return Err(std::io::Error::other("a frame is too long"));
        }
        let mut payload = vec![0; usize::try_from(length).unwrap_or(0)];
        reader.read_exact(&mut payload)?;
        match head[0] & 0x0f {
            9 if length < 126 => {
                let mut pong = vec![0x8a, 0x80 | head[1], 0, 0, 0, 0];
                pong.extend(payload);
                writer.write_all(&pong)?;
            }
            8 => return Err(std::io::Error::other("the node closed the feed")),
            _ => return Ok(String::from_utf8_lossy(&payload).into_owned()),
        }
    }
}

/// Run and index of the flood message that a frame tells of.
fn flood_mark(frame: &str) -> Option<(u32, u64)> {
    let rest = &frame[frame.find(MAGIC)? + MAGIC.len()..];
    let run = u32::from_str_radix(rest.get(..8)?, 16).ok()?;
    let index = u64::from_str_radix(rest.get(8..24)?, 16).ok()?;
    Some((run, index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_message_is_known_by_its_hash() {
        let frame = r#"{"type":"subtree","hash":"f100d5eb0000000700000000000000ff00000000"}"#;
        assert_eq!(flood_mark(frame), Some((7, 255)));
        assert_eq!(flood_mark(r#"{"type":"ping"}"#), None);
        assert_eq!(flood_mark("f100d5eb0000"), None);
    }
}
