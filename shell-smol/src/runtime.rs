//! The six things, by smol's parts.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_io::{Async, Timer};
use futures::channel::mpsc;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use futures_timer::Delay;
use libp2p::core::Transport as _;
use peerage_shell::p2p::{RawTransport, Socket};
use peerage_shell::runtime::{Alarm, Listener, POOL_THREADS, Runtime};
use smol::lock::Semaphore;

use crate::transport::{Stream, connect, transport};

/// One executor for the whole process; whoever is in [`block_on`] runs it.
static EXECUTOR: smol::Executor<'static> = smol::Executor::new();
/// Places in the `blocking` pool, which by itself grows to hundreds of threads.
static POOL: Semaphore = Semaphore::new(POOL_THREADS);
/// How long an error of `accept` is held back, so that a full file table does not spin its caller.
const PAUSE: Duration = Duration::from_millis(100);

/// Runs `task` beside the others until it ends. It moves only while a thread is in [`block_on`].
pub fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    EXECUTOR.spawn(task).detach();
}

/// Runs `main` and every spawned task on the calling thread until `main` ends: the network has one thread.
pub fn block_on<T>(main: impl Future<Output = T>) -> T {
    async_io::block_on(EXECUTOR.run(main))
}

/// The same with `main` as a task like the others: woken by one it follows at once, and the system is not asked between the
/// two.
pub fn run<T: Send + 'static>(main: impl Future<Output = T> + Send + 'static) -> T {
    block_on(EXECUTOR.spawn(main))
}

/// smol's executor, async-io's reactor, and the `blocking` pool.
#[derive(Clone, Copy, Debug)]
pub struct Smol;

impl Runtime for Smol {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        spawn(task);
    }

    fn alarm(&self) -> Box<dyn Alarm> {
        Box::new(Ring(Timer::never()))
    }

    fn unblock(&self, work: Box<dyn FnOnce() + Send>) {
        spawn(async move {
            let _place = POOL.acquire().await;
            blocking::unblock(work).await;
        });
    }

    fn listener(&self, listener: std::net::TcpListener) -> io::Result<Box<dyn Listener>> {
        Ok(Box::new(Accept(Async::new_nonblocking(listener)?)))
    }

    fn connect(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Socket>> {
        async move { Ok(Box::new(connect(addr, None).await?) as Socket) }.boxed()
    }

    fn transport(&self, dial_private: bool) -> io::Result<RawTransport> {
        Ok(transport(dial_private)?.map(|stream, _| Box::new(stream) as Socket).boxed())
    }

    fn signals(&self) -> io::Result<BoxStream<'static, ()>> {
        let mut caught = async_signal::Signals::new([async_signal::Signal::Int, async_signal::Signal::Term])?;
        // Two are of use: to stop, and to stop at once.
        let (mut tell, told) = mpsc::channel(2);
        // The signals' own stream asks the system whenever it is looked at, and the event loop looks at each input.
        spawn(async move {
            while let Some(signal) = caught.next().await {
                if signal.is_ok() && tell.try_send(()).is_err_and(|error| error.is_disconnected()) {
                    return;
                }
            }
        });
        Ok(told.boxed())
    }
}

#[derive(Debug)]
struct Ring(Timer);

impl Alarm for Ring {
    fn set(&mut self, at: Instant) {
        self.0.set_at(at);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_unpin(cx).map(|_| ())
    }
}

struct Accept(Async<std::net::TcpListener>);

impl Listener for Accept {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Socket, SocketAddr)>> {
        async move {
            match self.0.accept().await {
                Ok((stream, from)) => {
                    stream.get_ref().set_nodelay(true)?;
                    Ok((Box::new(Stream::from(stream)) as Socket, from))
                }
                Err(error) => {
                    Delay::new(PAUSE).await;
                    Err(error)
                }
            }
        }
        .boxed()
    }
}
