//! A TCP stream that remembers what the reactor has not yet said: after a `WouldBlock` the socket is asked again only
//! once it is ready.
//!
//! The layers above look at every stream whenever their task runs. async-io's own streams ask the system each time,
//! which cost seven fruitless calls for every message received.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_io::Async;
use futures::io::{AsyncRead, AsyncWrite};

/// A connected TCP stream: futures-io traits, `TCP_NODELAY` set; closing it shuts the write side down.
#[derive(Debug)]
pub struct Stream {
    socket: Async<TcpStream>,
    /// The last read would have blocked, and the reactor has not said since that there is something.
    read_blocked: bool,
    write_blocked: bool,
}

impl From<Async<TcpStream>> for Stream {
    fn from(socket: Async<TcpStream>) -> Self {
        Self { socket, read_blocked: false, write_blocked: false }
    }
}

impl Stream {
    /// The socket, for its options and addresses.
    pub fn get_ref(&self) -> &TcpStream {
        self.socket.get_ref()
    }

    fn poll_write_with(
        &mut self,
        cx: &mut Context<'_>,
        mut write: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            if self.write_blocked {
                ready!(self.socket.poll_writable(cx))?;
                self.write_blocked = false;
            }
            match write(self.socket.get_ref()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.write_blocked = true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return Poll::Ready(done),
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            if self.read_blocked {
                ready!(self.socket.poll_readable(cx))?;
                self.read_blocked = false;
            }
            match self.socket.get_ref().read(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.read_blocked = true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => {
                    // Less than there was room for: that was all. What has come since, the end included, the reactor
                    // tells at once, for it tells what is there and not what changes.
                    self.read_blocked = matches!(done, Ok(read) if read > 0 && read < buf.len());
                    return Poll::Ready(done);
                }
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, |mut socket| socket.write(buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, |mut socket| socket.write_vectored(bufs))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.socket.get_ref().shutdown(Shutdown::Write) {
            // The other end was first.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            done => Poll::Ready(done),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{AsyncReadExt as _, AsyncWriteExt as _};
    use std::net::TcpListener;

    /// Two ends of one connection on loopback.
    fn pair() -> (Stream, Stream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (far, _) = listener.accept().unwrap();
        [near, far].map(|socket| Stream::from(Async::new(socket).unwrap())).into()
    }

    #[test]
    fn what_is_written_after_a_blocked_read_is_read() {
        let (mut near, mut far) = pair();
        let mut buf = [0; 5];
        let mut cx = Context::from_waker(futures::task::noop_waker_ref());
        assert!(Pin::new(&mut far).poll_read(&mut cx, &mut buf).is_pending());
        assert!(far.read_blocked);
        async_io::block_on(async {
            near.write_all(b"hello").await.unwrap();
            far.read_exact(&mut buf).await.unwrap();
            assert_eq!(&buf, b"hello");
            near.close().await.unwrap();
            assert_eq!(far.read(&mut buf).await.unwrap(), 0);
        });
    }

    #[test]
    fn what_comes_after_a_short_read_is_read_and_so_is_the_end() {
        let (mut near, mut far) = pair();
        async_io::block_on(async {
            let mut buf = [0; 64];
            for word in [&b"one"[..], b"two", b"three"] {
                near.write_all(word).await.unwrap();
                let read = far.read(&mut buf).await.unwrap();
                assert_eq!(&buf[..read], word);
                assert!(far.read_blocked, "that was all there was");
            }
            near.close().await.unwrap();
            assert_eq!(far.read(&mut buf).await.unwrap(), 0);
            assert_eq!(far.read(&mut buf).await.unwrap(), 0, "and stays so");
        });
    }

    #[test]
    fn a_full_socket_blocks_its_writer_until_it_is_read() {
        let (mut near, mut far) = pair();
        let mut cx = Context::from_waker(futures::task::noop_waker_ref());
        let chunk = vec![7; 1 << 16];
        let mut written = 0;
        while let Poll::Ready(count) = Pin::new(&mut near).poll_write(&mut cx, &chunk) {
            written += count.unwrap();
        }
        assert!(near.write_blocked);
        async_io::block_on(async {
            let mut read = vec![0; written];
            far.read_exact(&mut read).await.unwrap();
            near.write_all(b"more").await.unwrap();
        });
        assert!(!near.write_blocked);
    }

    #[test]
    fn closing_twice_is_no_error() {
        let (mut near, far) = pair();
        drop(far);
        async_io::block_on(async {
            near.close().await.unwrap();
            near.close().await.unwrap();
        });
    }
}
