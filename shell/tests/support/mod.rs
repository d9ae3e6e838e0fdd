//! A runtime for tests, by smol.
#![allow(missing_docs, unreachable_pub)]

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Either, select};
use futures::stream::{BoxStream, StreamExt as _};
use peerage_shell::p2p::{RawTransport, Socket};
use peerage_shell::runtime::{Alarm, Listener, Runtime, Shared};

pub struct Smol;

pub fn runtime() -> Shared {
    Arc::new(Smol)
}

impl Runtime for Smol {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        smol::spawn(task).detach();
    }

    fn alarm(&self) -> Box<dyn Alarm> {
        Box::new(Ring(smol::Timer::never()))
    }

    fn unblock(&self, work: Box<dyn FnOnce() + Send>) {
        smol::unblock(work).detach();
    }

    fn listener(&self, listener: std::net::TcpListener) -> io::Result<Box<dyn Listener>> {
        Ok(Box::new(Accept(smol::Async::try_from(listener)?)))
    }

    fn connect(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Socket>> {
        async move { Ok(Box::new(smol::Async::<TcpStream>::connect(addr).await?) as Socket) }.boxed()
    }

    fn transport(&self, _: bool) -> io::Result<RawTransport> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn signals(&self) -> io::Result<BoxStream<'static, ()>> {
        Ok(futures::stream::pending().boxed())
    }
}

#[derive(Debug)]
struct Ring(smol::Timer);

impl Alarm for Ring {
    fn set(&mut self, at: Instant) {
        self.0.set_at(at);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_unpin(cx).map(|_| ())
    }
}

struct Accept(smol::Async<std::net::TcpListener>);

impl Listener for Accept {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Socket, SocketAddr)>> {
        async move {
            let (socket, from) = self.0.accept().await?;
            socket.get_ref().set_nodelay(true)?;
            Ok((Box::new(socket) as Socket, from))
        }
        .boxed()
    }
}

/// Runs a test, which ends within `seconds`.
pub fn block_on<T>(seconds: u64, test: impl Future<Output = T>) -> T {
    smol::block_on(async {
        let deadline = futures_timer::Delay::new(Duration::from_secs(seconds));
        futures::pin_mut!(test);
        match select(test, deadline).await {
            Either::Left((done, _)) => done,
            Either::Right(_) => panic!("the test did not end within {seconds} s"),
        }
    })
}
