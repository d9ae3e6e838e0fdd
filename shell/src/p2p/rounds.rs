//! One round of a connection's task instead of two. A stream that is written wakes its multiplexer, and so the very task that
//! writes: it would run again for nothing, since it comes to the multiplexer at the end of the same round.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use futures::io::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};

/// Whom the multiplexer wakes.
#[derive(Debug, Default)]
struct Task {
    /// Whoever polls the multiplexer.
    waker: Mutex<Option<Waker>>,
    /// Whether it polls a stream now, after which it polls the multiplexer.
    is_at_stream: AtomicBool,
}

impl Task {
    fn waker(&self) -> MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, waker: &Waker) {
        let mut known = self.waker();
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_at_stream.load(Ordering::SeqCst)
            && let Some(waker) = self.waker().as_ref()
        {
            waker.wake_by_ref();
        }
    }
}

/// A multiplexer whose task does not wake itself. It must be polled after its streams in each round of the task, as the swarm
/// does; streams that other tasks poll wake it as ever.
#[derive(Debug)]
pub(super) struct Rounds<M> {
    muxer: M,
    task: Arc<Task>,
    waker: Waker,
}

impl<M> Rounds<M> {
    pub(super) fn new(muxer: M) -> Self {
        let task = Arc::<Task>::default();
        Self { muxer, waker: task.clone().into(), task }
    }
}

impl<M: StreamMuxer + Unpin> Rounds<M> {
    fn with<T>(
        mut self: Pin<&mut Self>,
        cx: &Context<'_>,
        poll: impl FnOnce(Pin<&mut M>, &mut Context<'_>) -> T,
    ) -> T {
        let this = &mut *self;
        this.task.set(cx.waker());
        poll(Pin::new(&mut this.muxer), &mut Context::from_waker(&this.waker))
    }

    fn stream(&self, stream: M::Substream) -> Stream<M::Substream> {
        Stream { stream, task: self.task.clone() }
    }
}

impl<M> StreamMuxer for Rounds<M>
where
    M: StreamMuxer + Unpin,
    M::Substream: Unpin,
{
    type Substream = Stream<M::Substream>;
    type Error = M::Error;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, M::Error>> {
        let stream = self.as_mut().with(cx, |muxer, cx| muxer.poll_inbound(cx));
        stream.map_ok(|stream| self.stream(stream))
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, M::Error>> {
        let stream = self.as_mut().with(cx, |muxer, cx| muxer.poll_outbound(cx));
        stream.map_ok(|stream| self.stream(stream))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), M::Error>> {
        self.with(cx, |muxer, cx| muxer.poll_close(cx))
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, M::Error>> {
        self.with(cx, |muxer, cx| muxer.poll(cx))
    }
}

/// A stream of such a multiplexer.
#[derive(Debug)]
pub(super) struct Stream<S> {
    stream: S,
    task: Arc<Task>,
}

impl<S: Unpin> Stream<S> {
    fn with<T>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> T,
    ) -> T {
        let this = &mut *self;
        let is_own = this.task.waker().as_ref().is_some_and(|known| known.will_wake(cx.waker()));
        this.task.is_at_stream.store(is_own, Ordering::SeqCst);
        let outcome = poll(Pin::new(&mut this.stream), cx);
        this.task.is_at_stream.store(false, Ordering::SeqCst);
        outcome
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.with(cx, |stream, cx| stream.poll_read(cx, buf))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.with(cx, |stream, cx| stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.with(cx, |stream, cx| stream.poll_write_vectored(cx, bufs))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(cx, |stream, cx| stream.poll_flush(cx))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(cx, |stream, cx| stream.poll_close(cx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[derive(Clone, Default)]
    struct Fake(Arc<Mutex<Option<Waker>>>);

    impl StreamMuxer for Fake {
        type Substream = Self;
        type Error = io::Error;
        fn poll_inbound(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<Self>> {
            Poll::Pending
        }
        fn poll_outbound(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<Self>> {
            Poll::Ready(Ok(self.clone()))
        }
        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
            *self.0.lock().unwrap() = Some(cx.waker().clone());
            Poll::Pending
        }
    }

    impl AsyncRead for Fake {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
            Poll::Pending
        }
    }

    /// Wakes its multiplexer when it is written.
    impl AsyncWrite for Fake {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            self.0.lock().unwrap().take().into_iter().for_each(Waker::wake);
            Poll::Ready(Ok(buf.len()))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[derive(Default)]
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_stream_wakes_the_connection_unless_it_is_the_connection_that_polls_it() {
        let fake = Fake::default();
        let mut rounds = Rounds::new(fake.clone());
        let (count, other) = (Arc::<Count>::default(), Waker::from(Arc::<Count>::default()));
        let own = Waker::from(count.clone());
        let mut cx = Context::from_waker(&own);
        let Poll::Ready(Ok(mut stream)) = Pin::new(&mut rounds).poll_outbound(&mut cx) else { panic!() };
        let mut write = |by: &Waker| {
            assert!(Pin::new(&mut rounds).poll(&mut cx).is_pending());
            assert!(Pin::new(&mut stream).poll_write(&mut Context::from_waker(by), b"x").is_ready());
            count.0.load(Ordering::Relaxed)
        };
        assert_eq!(write(&own), 0, "its own round goes on to the multiplexer");
        assert_eq!(write(&other), 1, "another task's does not");
        assert_eq!(write(&own), 1);
        assert!(Pin::new(&mut rounds).poll(&mut cx).is_pending());
        fake.0.lock().unwrap().take().unwrap().wake();
        assert_eq!(count.0.load(Ordering::Relaxed), 2, "nor does what comes from the socket");
    }
}
