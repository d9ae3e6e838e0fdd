//! Time limits of a connection (spec 14.6): until its first request, for a request, between requests, for writing.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::io::{AsyncRead, AsyncWrite};
use futures::task::AtomicWaker;
use futures_timer::Delay;

/// How long a connection may take for what.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Until the head of its first request has come.
    pub first: Duration,
    /// For a request, once its head has come.
    pub request: Duration,
    /// Without a request.
    pub idle: Duration,
    /// For the other end to take anything of what is written.
    pub write: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(10),
            request: Duration::from_secs(30),
            idle: Duration::from_secs(120),
            write: Duration::from_secs(30),
        }
    }
}

/// What a connection is doing.
#[derive(Clone, Debug)]
pub struct Activity(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Requests over HTTP/2 run in tasks of their own: the watcher is told.
    changed: AtomicWaker,
}

#[derive(Debug)]
struct State {
    running: u32,
    any: bool,
    since: Instant,
}

impl Activity {
    /// A connection that has just been accepted.
    pub fn begin() -> Self {
        let state = State { running: 0, any: false, since: Instant::now() };
        Self(Arc::new(Shared { state: Mutex::new(state), changed: AtomicWaker::new() }))
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        state.since = Instant::now();
        drop(state);
        self.0.changed.wake();
    }

    /// A request has come; it runs as long as the value lives.
    pub fn request(&self) -> Running {
        self.change(|state| {
            state.any = true;
            state.running += 1;
        });
        Running(self.clone())
    }

    /// How much time is left for what the connection is doing now.
    fn left(&self, patience: &Patience) -> Duration {
        let state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let time = match (state.any, state.running) {
            (false, _) => patience.first,
            (true, 0) => patience.idle,
            (true, _) => patience.request,
        };
        time.saturating_sub(state.since.elapsed())
    }

    /// Ends when the connection has used up its time.
    pub async fn watch(self, patience: Patience) {
        let mut alarm = Delay::new(self.left(&patience));
        poll_fn(|cx| {
            loop {
                self.0.changed.register(cx.waker());
                let left = self.left(&patience);
                if left.is_zero() {
                    return Poll::Ready(());
                }
                alarm.reset(left);
                ready!(alarm.poll_unpin(cx));
            }
        })
        .await;
    }
}

/// A request that runs.
#[derive(Debug)]
pub struct Running(Activity);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.change(|state| state.running -= 1);
    }
}

/// A socket that fails when its other end takes nothing for too long.
pub struct Impatient<T> {
    socket: T,
    time: Duration,
    stalled: Option<Delay>,
}

impl<T> Impatient<T> {
    /// Gives each write so much time.
    pub fn new(socket: T, time: Duration) -> Self {
        Self { socket, time, stalled: None }
    }

    /// The socket.
    pub fn into_inner(self) -> T {
        self.socket
    }

    /// What a write came to: pending for too long is an error.
    fn judge<R>(&mut self, done: Poll<io::Result<R>>, cx: &mut Context<'_>) -> Poll<io::Result<R>> {
        if done.is_ready() {
            self.stalled = None;
            return done;
        }
        let time = self.time;
        ready!(self.stalled.get_or_insert_with(|| Delay::new(time)).poll_unpin(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the other end takes nothing")))
    }
}

impl<T> std::fmt::Debug for Impatient<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Impatient")
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Impatient<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Impatient<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.judge(done, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.socket).poll_flush(cx);
        self.judge(done, cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.socket).poll_close(cx);
        self.judge(done, cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;
    use futures::task::noop_waker_ref;

    const NEVER: Duration = Duration::from_secs(3600);
    const SOON: Duration = Duration::from_millis(20);

    /// Ends when a watch that began before the connection did anything has seen its end.
    fn ends(patience: Patience, act: impl FnOnce(&Activity)) {
        let activity = Activity::begin();
        let mut watch = Box::pin(activity.clone().watch(patience));
        assert!(watch.as_mut().poll(&mut Context::from_waker(noop_waker_ref())).is_pending());
        act(&activity);
        block_on(watch);
    }

    #[test]
    fn a_watch_sees_what_began_after_it() {
        let unhurried = Patience { first: NEVER, request: NEVER, idle: NEVER, write: NEVER };
        ends(Patience { idle: SOON, ..unhurried }, |activity| drop(activity.request()));
        ends(Patience { request: SOON, ..unhurried }, |activity| std::mem::forget(activity.request()));
    }

    #[test]
    fn a_change_wakes_the_watch() {
        struct Woken(std::sync::atomic::AtomicBool);
        impl std::task::Wake for Woken {
            fn wake(self: Arc<Self>) {
                self.0.store(true, std::sync::atomic::Ordering::Relaxed);
            }
        }
        let woken = Arc::new(Woken(Default::default()));
        let activity = Activity::begin();
        let mut watch = Box::pin(activity.clone().watch(Patience::default()));
        let waker = Arc::clone(&woken).into();
        assert!(watch.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        let _running = activity.request();
        assert!(woken.0.load(std::sync::atomic::Ordering::Relaxed));
    }
}
