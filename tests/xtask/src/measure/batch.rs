//! A paced client of the control service that announces several subtrees by one call: over one connection of HTTP/1.1,
//! which the operator's listener takes for gRPC as well, each call answered before the next.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::ours::START_MAX;

/// Longest answer that is read, in bytes; one of twenty has less than 2 KiB.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// A connection to the control service of a node.
#[derive(Debug)]
pub(crate) struct Batches {
    stream: BufReader<TcpStream>,
    address: String,
    key: String,
}

impl Batches {
    /// Connects to the operator's listener at `address`.
    ///
    /// # Errors
    /// If nobody answers.
    pub(crate) fn connect(address: &str, key: &str) -> Result<Self, String> {
        let connect = || -> std::io::Result<TcpStream> {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(START_MAX))?;
            Ok(stream)
        };
        let stream = connect().map_err(|e| format!("control {address}: {e}"))?;
        Ok(Self { stream: BufReader::new(stream), address: address.to_owned(), key: key.to_owned() })
    }

    /// Announces at least `count` fresh subtrees in whole batches, so many messages a second; gives how many.
    ///
    /// # Errors
    /// If a call is refused or not answered.
    pub(crate) fn announce_subtrees(
        &mut self,
        count: u32,
        batch: u8,
        per_second: u32,
    ) -> Result<u64, String> {
        let request = request(&self.address, &self.key, batch);
        let calls = count.div_ceil(u32::from(batch));
        let begin = Instant::now();
        for index in 0..calls {
            let due = begin + Duration::from_secs(1) * index * u32::from(batch) / per_second;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let sent = self.stream.get_ref().write_all(&request);
            sent.map_err(|e| format!("control {}: {e}", self.address))?;
            read_answer(&mut self.stream)?;
        }
        Ok(u64::from(calls) * u64::from(batch))
    }
}

/// `AnnounceRequest { kind: SUBTREE, count }` in one gRPC frame, not compressed.
fn request(address: &str, key: &str, count: u8) -> Vec<u8> {
    debug_assert!(count < 0x80, "a count of one byte");
    let message = [0x08, 0x02, 0x10, count];
    let frame = [&[0, 0, 0, 0, 4], message.as_slice()].concat();
    let head = format!(
        "POST /peerage.v1.Control/Announce HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/grpc\r\n\
         TE: trailers\r\nX-Api-Key: {key}\r\nContent-Length: {}\r\n\r\n",
        frame.len()
    );
    [head.into_bytes(), frame].concat()
}

/// Reads one answer to its end; an error unless it is one of success. The status of a refusal stands among the headers,
/// that of a success in trailers, which HTTP/1.1 may leave out.
fn read_answer(stream: &mut impl BufRead) -> Result<(), String> {
    let mut stream = stream.take(ANSWER_BYTES_MAX);
    let head = read_lines(&mut stream)?;
    let mut status = value(&head, "grpc-status");
    if value(&head, "transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        loop {
            let line = read_line(&mut stream)?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16).map_err(|_| format!("control: no chunk: {line:.80}"))?;
            if size == 0 {
                break;
            }
            skip(&mut stream, size)?;
            read_line(&mut stream)?;
        }
        let trailers = read_lines(&mut stream)?;
        status = value(&trailers, "grpc-status").or(status);
    } else {
        let length = value(&head, "content-length").and_then(|length| length.parse().ok());
        skip(&mut stream, length.ok_or_else(|| format!("control: no length: {head:?}"))?)?;
    }
    let is_ok = head.first().is_some_and(|line| line.starts_with("HTTP/1.1 200 "));
    if is_ok && status.is_none_or(|status| status == "0") {
        return Ok(());
    }
    Err(format!("control: a call was refused: {}", head.join("; ")))
}

/// The lines before the next empty one.
fn read_lines(stream: &mut impl BufRead) -> Result<Vec<String>, String> {
    let mut lines = Vec::new();
    loop {
        let line = read_line(stream)?;
        if line.is_empty() {
            return Ok(lines);
        }
        lines.push(line);
    }
}

fn read_line(stream: &mut impl BufRead) -> Result<String, String> {
    let mut line = String::new();
    let read = stream.read_line(&mut line).map_err(|e| format!("control: {e}"))?;
    if read == 0 {
        return Err("control: the answer breaks off".to_owned());
    }
    Ok(line.trim_end().to_owned())
}

fn skip(stream: &mut impl BufRead, bytes: u64) -> Result<(), String> {
    let skipped = std::io::copy(&mut stream.take(bytes), &mut std::io::sink());
    match skipped.map_err(|e| format!("control: {e}"))? {
        skipped if skipped == bytes => Ok(()),
        _ => Err("control: the answer breaks off".to_owned()),
    }
}

/// The value of a header.
fn value(lines: &[String], name: &str) -> Option<String> {
    let header =
        |line: &String| line.split_once(':').map(|(n, value)| (n.to_owned(), value.trim().to_owned()));
    lines.iter().filter_map(header).find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_asks_for_a_batch_of_subtrees() {
        let request = request("127.0.0.1:1", "secret", 20);
        let text = String::from_utf8_lossy(&request).into_owned();
        assert!(text.contains("X-Api-Key: secret\r\n") && text.contains("Content-Length: 9\r\n\r\n"));
        assert!(request.ends_with(&[0, 0, 0, 0, 4, 0x08, 0x02, 0x10, 20]));
    }

    #[test]
    fn answers_follow_each_other_on_one_connection() {
        let one = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        let told = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\ngrpc-status: 0\r\n\r\n";
        let all = [one.as_slice(), told, one].concat();
        let mut stream = all.as_slice();
        for _ in 0..3 {
            assert_eq!(read_answer(&mut stream), Ok(()));
        }
        assert!(read_answer(&mut stream).is_err_and(|e| e.ends_with("breaks off")));
    }

    #[test]
    fn a_refused_call_is_an_error() {
        let refused = b"HTTP/1.1 200 OK\r\ngrpc-status: 16\r\ncontent-length: 0\r\n\r\n";
        assert!(read_answer(&mut refused.as_slice()).is_err());
        let late = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\ngrpc-status: 9\r\n\r\n";
        assert!(read_answer(&mut late.as_slice()).is_err());
        let forbidden = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno";
        assert!(read_answer(&mut forbidden.as_slice()).is_err());
    }

    #[test]
    fn an_answer_cut_short_is_an_error() {
        for cut in ["HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab"] {
            assert!(read_answer(&mut cut.as_bytes()).is_err(), "{cut}");
        }
    }
}
