//! The six things that a runtime supplies. Everything else is written once, here in the neutral shell.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use futures::future::BoxFuture;
use futures::stream::BoxStream;

use crate::p2p::{RawTransport, Socket};

/// Threads for work that blocks. The minimal build has one: what has to be checked or stored waits for its turn.
pub const POOL_THREADS: usize = if cfg!(feature = "tls") { 4 } else { 1 };

/// A runtime.
pub trait Runtime: Send + Sync + 'static {
    /// Runs a task to its end.
    fn spawn(&self, task: BoxFuture<'static, ()>);
    /// A timer that rings in the runtime's own loop. It is for what rings often: the timers of libraries wake a thread first.
    fn alarm(&self) -> Box<dyn Alarm>;
    /// Runs work that blocks where it blocks nobody.
    fn unblock(&self, work: Box<dyn FnOnce() + Send>);
    /// Accepts from a listening socket that is in non-blocking mode.
    ///
    /// # Errors
    /// When the runtime cannot take it.
    fn listener(&self, listener: std::net::TcpListener) -> io::Result<Box<dyn Listener>>;
    /// Connects, with `TCP_NODELAY`.
    fn connect(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Socket>>;
    /// TCP and DNS for libp2p. A [`DialGuard`](crate::p2p::DialGuard) with `dial_private` stands between the two. Without a
    /// name server names fail when they are dialled, and nothing else does.
    ///
    /// # Errors
    /// When the system gives no sockets.
    fn transport(&self, dial_private: bool) -> io::Result<RawTransport>;
    /// Each SIGINT and SIGTERM from now on.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    fn signals(&self) -> io::Result<BoxStream<'static, ()>>;
}

/// A runtime, shared.
pub type Shared = Arc<dyn Runtime>;

/// A timer. A new one is set to nothing in particular.
pub trait Alarm: Send + std::fmt::Debug {
    /// Sets it to this time and to no other.
    fn set(&mut self, at: Instant);
    /// Ready once the time has come; the task is woken then. Not to be asked again until it is set again.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// A listening socket.
pub trait Listener: Send {
    /// The next connection, with `TCP_NODELAY`. Cancelling loses nothing.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Socket, SocketAddr)>>;
}

/// Binds and listens.
///
/// # Errors
/// When the address is in use or not ours.
pub fn bind(runtime: &dyn Runtime, addr: SocketAddr) -> io::Result<(Box<dyn Listener>, SocketAddr)> {
    let listener = std::net::TcpListener::bind(addr)?;
    listener.set_nonblocking(true)?;
    let addr = listener.local_addr()?;
    Ok((runtime.listener(listener)?, addr))
}

/// Runs `work` where it blocks nobody and gives its result.
pub fn unblock<T: Send + 'static>(
    runtime: &dyn Runtime,
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = Option<T>> + Send + 'static {
    let (done, result) = futures::channel::oneshot::channel();
    runtime.unblock(Box::new(move || {
        // Nobody waits any more: the node has stopped.
        let _ = done.send(work());
    }));
    async move { result.await.ok() }
}

/// Runs tasks for libp2p and hyper.
#[derive(Clone)]
pub struct Spawn(pub Shared);

impl std::fmt::Debug for Spawn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Spawn")
    }
}

impl libp2p::swarm::Executor for Spawn {
    fn exec(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) {
        self.0.spawn(task);
    }
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Spawn {
    fn execute(&self, task: F) {
        self.0.spawn(Box::pin(task));
    }
}
