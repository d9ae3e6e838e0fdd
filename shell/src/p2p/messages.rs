//! The budget of messages. It counts what a peer can make us work on, above the multiplexer and before anything is decoded:
//! each stream that it opens; on every stream each length-prefixed frame; and in a frame of the pubsub protocol each
//! publication, subscription and block of control messages, in place of the frame.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use futures::FutureExt as _;
use futures::io::{AsyncRead, AsyncWrite};
use futures::task::AtomicWaker;
use futures_timer::Delay;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};

use super::budget::{Bucket, Budget, Meter, PAUSE, Word, flood};
use super::frames::Frames;

/// What the streams of one connection share.
struct Shared {
    bucket: Mutex<Bucket>,
    budget: Budget,
    meter: Arc<Meter>,
    /// Whoever polls the connection, to see the flood.
    closing: AtomicWaker,
}

impl Shared {
    /// Ready when more may be read.
    fn poll(&self, pause: &mut Option<Delay>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if let Some(delay) = pause {
                ready!(delay.poll_unpin(cx));
                *pause = None;
            }
            let word = self.bucket.lock().unwrap_or_else(PoisonError::into_inner).ask(Instant::now());
            match word {
                Word::Read(_) => return Poll::Ready(Ok(())),
                Word::Wait => *pause = Some(Delay::new(PAUSE)),
                Word::Flood => {
                    if self.meter.flood() {
                        self.budget.floods.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                    self.closing.wake();
                    return Poll::Ready(Err(flood("messages")));
                }
            }
        }
    }

    fn spend(&self, messages: u64) {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner).spend(messages);
    }
}

/// A connection whose incoming messages are counted.
pub struct Counted<M> {
    muxer: M,
    shared: Arc<Shared>,
    pause: Option<Delay>,
}

impl<M> Counted<M> {
    /// Counts what comes over `muxer`.
    pub fn new(muxer: M, budget: Budget, meter: Arc<Meter>) -> Self {
        let bucket = Bucket::new(budget.messages_per_second_max, budget.patience, Instant::now());
        let (bucket, closing) = (Mutex::new(bucket), AtomicWaker::new());
        Self { muxer, shared: Arc::new(Shared { bucket, budget, meter, closing }), pause: None }
    }
}

impl<M> std::fmt::Debug for Counted<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Counted")
    }
}

impl<M> StreamMuxer for Counted<M>
where
    M: StreamMuxer + Unpin,
    M::Substream: Unpin,
    M::Error: Send + Sync + 'static,
{
    type Substream = Stream<M::Substream>;
    type Error = io::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Self::Substream>> {
        let this = &mut *self;
        ready!(this.shared.poll(&mut this.pause, cx))?;
        let stream = ready!(Pin::new(&mut this.muxer).poll_inbound(cx)).map_err(io::Error::other)?;
        this.shared.spend(1);
        Poll::Ready(Ok(Stream::new(stream, Arc::clone(&this.shared))))
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Self::Substream>> {
        let stream = ready!(Pin::new(&mut self.muxer).poll_outbound(cx)).map_err(io::Error::other)?;
        Poll::Ready(Ok(Stream::new(stream, Arc::clone(&self.shared))))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.muxer).poll_close(cx).map_err(io::Error::other)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        self.shared.closing.register(cx.waker());
        if self.shared.meter.is_flooded() {
            return Poll::Ready(Err(flood("messages")));
        }
        Pin::new(&mut self.muxer).poll(cx).map_err(io::Error::other)
    }
}

/// A stream whose incoming frames are counted.
pub struct Stream<S> {
    stream: S,
    shared: Arc<Shared>,
    frames: Frames,
    pause: Option<Delay>,
}

impl<S> Stream<S> {
    fn new(stream: S, shared: Arc<Shared>) -> Self {
        Self { stream, shared, frames: Frames::default(), pause: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.shared.poll(&mut this.pause, cx))?;
        let read = ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        this.shared.meter.take(read as u64);
        this.shared.spend(this.frames.count(&buf[..read]));
        Poll::Ready(Ok(read))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::AsyncReadExt as _;
    use futures::executor::block_on;
    use std::time::Duration;

    /// Empty frames without end.
    struct Endless;
    impl AsyncRead for Endless {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
            buf.fill(0);
            Poll::Ready(Ok(buf.len()))
        }
    }

    #[test]
    fn a_stream_over_the_budget_is_slowed_down_and_then_the_connection_is_a_flood() {
        let budget = Budget {
            bytes_per_second_max: u64::MAX,
            messages_per_second_max: 1000,
            patience: Duration::from_millis(200),
            floods: Arc::default(),
        };
        let meter = Arc::<Meter>::default();
        let connection = Counted::new((), budget.clone(), Arc::clone(&meter));
        let mut stream = Stream::new(Endless, Arc::clone(&connection.shared));
        let begun = Instant::now();
        let error = block_on(async {
            let mut buf = [0; 100];
            loop {
                if let Err(error) = stream.read(&mut buf).await {
                    break error;
                }
            }
        });
        assert!(error.to_string().starts_with("flood"), "{error}");
        assert!(begun.elapsed() >= Duration::from_millis(200), "it was slowed down first");
        assert!(meter.is_flooded());
        assert_eq!(budget.floods.load(std::sync::atomic::Ordering::Relaxed), 1);
    }
}
