//! Small writes gathered until they are flushed. The multiplexer writes each frame's header by itself, and TLS would make a
//! record and a system call of it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::io::{AsyncRead, AsyncWrite};

/// Two TLS records: a full frame of the multiplexer with its header.
const GATHERED_BYTES_MAX: usize = 32 << 10;
/// Room for a short message, so that it is made once.
const ROOM_BYTES: usize = 512;

/// A stream that writes when it is flushed, and when enough has come together. An idle one holds no memory.
#[derive(Debug)]
pub(super) struct Gathered<S> {
    stream: S,
    bytes: Vec<u8>,
    /// Of them, those that were written.
    written: usize,
}

impl<S> Gathered<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, bytes: Vec::new(), written: 0 }
    }
}

impl<S: AsyncWrite + Unpin> Gathered<S> {
    /// Writes all that was gathered.
    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.bytes.len() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.bytes[self.written..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                bytes => self.written += bytes,
            }
        }
        (self.bytes, self.written) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.bytes.len() >= GATHERED_BYTES_MAX {
            ready!(self.poll_written(cx))?;
        }
        if self.bytes.is_empty() {
            if bytes.len() >= GATHERED_BYTES_MAX {
                return Pin::new(&mut self.stream).poll_write(cx, bytes);
            }
            self.bytes.reserve(ROOM_BYTES);
        }
        let taken = bytes.len().min(GATHERED_BYTES_MAX - self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_written(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_written(cx))?;
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Notes what is written, in pieces of at most `piece` bytes; is busy each second time.
    struct Noted {
        writes: Vec<Vec<u8>>,
        flushes: u32,
        piece: usize,
        busy: bool,
    }
    impl AsyncWrite for Noted {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            self.busy = !self.busy;
            if self.busy {
                return Poll::Pending;
            }
            let bytes = buf.len().min(self.piece);
            self.writes.push(buf[..bytes].to_vec());
            Poll::Ready(Ok(bytes))
        }
        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.flushes += 1;
            Poll::Ready(Ok(()))
        }
        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn gathered(piece: usize) -> Gathered<Noted> {
        Gathered::new(Noted { writes: Vec::new(), flushes: 0, piece, busy: false })
    }

    fn until_ready<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<io::Result<T>>) -> T {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        loop {
            if let Poll::Ready(done) = poll(&mut cx) {
                return done.unwrap();
            }
        }
    }

    fn write_all(stream: &mut Gathered<Noted>, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = until_ready(|cx| Pin::new(&mut *stream).poll_write(cx, bytes));
            bytes = &bytes[taken..];
        }
    }

    #[test]
    fn a_header_and_its_body_are_one_write_and_an_idle_stream_holds_nothing() {
        let mut stream = gathered(usize::MAX);
        write_all(&mut stream, &[1; 12]);
        write_all(&mut stream, &[2; 300]);
        assert!(stream.stream.writes.is_empty(), "not before it is flushed");
        until_ready(|cx| Pin::new(&mut stream).poll_flush(cx));
        assert_eq!(stream.stream.writes, [[vec![1; 12], vec![2; 300]].concat()]);
        assert_eq!((stream.stream.flushes, stream.bytes.capacity()), (1, 0));
    }

    #[test]
    fn bytes_keep_their_order_whatever_the_sizes_and_however_little_is_taken() {
        for piece in [1, 1000, 16 << 10, usize::MAX] {
            let mut stream = gathered(piece);
            let mut all = Vec::new();
            for (nth, size) in [0, 1, 12, 70_000, 16_384, 12, GATHERED_BYTES_MAX, 5].into_iter().enumerate() {
                let bytes = vec![nth as u8; size];
                write_all(&mut stream, &bytes);
                all.extend(bytes);
                assert!(stream.bytes.len() <= GATHERED_BYTES_MAX);
            }
            until_ready(|cx| Pin::new(&mut stream).poll_close(cx));
            assert_eq!(stream.stream.writes.concat(), all, "{piece}");
        }
    }
}
