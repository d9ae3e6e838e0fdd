//! What a shell supplies: tasks, the executor, streams for HTTP, signals, and a pool for blocking work.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use async_io::Async;
use futures::StreamExt;
use futures_timer::Delay;

pub use crate::transport::Stream;
use crate::transport::connect as connect_tcp;

/// One executor for the whole process; whoever is in [`block_on`] runs it.
static EXECUTOR: smol::Executor<'static> = smol::Executor::new();
/// How long [`TcpListener::accept`] holds an error back, so that a full file table does not spin its caller.
const PAUSE: Duration = Duration::from_millis(100);

/// Runs `task` beside the others until it ends. It moves only while a thread is in [`block_on`].
pub fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    EXECUTOR.spawn(task).detach();
}

/// Runs `main` and every spawned task on the calling thread until `main` ends.
pub fn block_on<T>(main: impl Future<Output = T>) -> T {
    async_io::block_on(EXECUTOR.run(main))
}

/// Runs `work`, which may block, on the blocking pool. A panic in `work` comes out of the returned future.
pub async fn unblock<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    blocking::unblock(work).await
}

/// Connects to `addr`; `TCP_NODELAY` is set. There is no deadline: drop the future to give up.
///
/// # Errors
/// The system's, such as `ConnectionRefused`.
pub async fn connect(addr: SocketAddr) -> io::Result<Stream> {
    connect_tcp(addr, None).await
}

/// The addresses of `host` with `port`, by the system's resolver on the blocking pool.
///
/// # Errors
/// The resolver's, when the name is unknown.
pub async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    async_net::resolve((host, port)).await
}

/// A listening TCP socket for HTTP. Its port is not shared with any other process.
#[derive(Debug)]
pub struct TcpListener(Async<std::net::TcpListener>);

impl TcpListener {
    /// Listens on `addr`; port 0 picks a free one.
    ///
    /// # Errors
    /// The system's, with `addr` in the text; `AddrInUse` when another socket holds the port.
    pub fn bind(addr: SocketAddr) -> io::Result<Self> {
        Async::<std::net::TcpListener>::bind(addr).map(Self).map_err(|error| {
            let taken = error.kind() == io::ErrorKind::AddrInUse;
            let cause = if taken { "the port is already in use".to_owned() } else { error.to_string() };
            let why = format!("cannot listen on {addr}: {cause}");
            io::Error::new(error.kind(), why)
        })
    }

    /// The address in use, with the port that was picked.
    ///
    /// # Errors
    /// The system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.get_ref().local_addr()
    }

    /// The next connection and its peer's address; `TCP_NODELAY` is set.
    ///
    /// # Errors
    /// The system's, such as too many open files, after 100 ms; the listener stays usable.
    pub async fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        match self.0.accept().await {
            Ok((stream, peer)) => {
                stream.get_ref().set_nodelay(true)?;
                Ok((stream.into(), peer))
            }
            Err(error) => {
                Delay::new(PAUSE).await;
                Err(error)
            }
        }
    }
}

/// A wish of the operator's that the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT, Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

/// SIGINT and SIGTERM from now on; they no longer end the process by themselves.
///
/// # Errors
/// The system's, when no handler can be set.
pub fn signals() -> io::Result<impl futures::Stream<Item = Signal> + Send + Unpin> {
    let caught = async_signal::Signals::new([async_signal::Signal::Int, async_signal::Signal::Term])?;
    Ok(caught.filter_map(|signal| {
        futures::future::ready(match signal {
            Ok(async_signal::Signal::Int) => Some(Signal::Interrupt),
            Ok(async_signal::Signal::Term) => Some(Signal::Terminate),
            _ => None,
        })
    }))
}
