//! The five things that the neutral shell asks of a runtime, by smol.

use std::io;
use std::net::SocketAddr;

use async_io::Async;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use libp2p::core::Transport as _;
use peerage_shell::p2p::{RawTransport, Socket};
use peerage_shell::runtime::{Listener, Runtime};

use crate::transport::Stream;
use crate::{runtime, transport};

/// smol's executor, reactor and blocking pool.
#[derive(Clone, Copy, Debug)]
pub struct Smol;

impl Runtime for Smol {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        runtime::spawn(task);
    }

    fn unblock(&self, work: Box<dyn FnOnce() + Send>) {
        blocking::unblock(work).detach();
    }

    fn listener(&self, listener: std::net::TcpListener) -> io::Result<Box<dyn Listener>> {
        Ok(Box::new(Accept(Async::new_nonblocking(listener)?)))
    }

    fn connect(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Socket>> {
        runtime::connect(addr).map(|stream| stream.map(|stream| Box::new(stream) as Socket)).boxed()
    }

    fn transport(&self) -> io::Result<RawTransport> {
        Ok(transport::transport()?.map(|stream, _| Box::new(stream) as Socket).boxed())
    }

    fn signals(&self) -> io::Result<BoxStream<'static, ()>> {
        Ok(runtime::signals()?.map(|_| ()).boxed())
    }
}

struct Accept(Async<std::net::TcpListener>);

impl Listener for Accept {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Socket, SocketAddr)>> {
        async move {
            let (stream, from) = self.0.accept().await?;
            stream.get_ref().set_nodelay(true)?;
            Ok((Box::new(Stream::from(stream)) as Socket, from))
        }
        .boxed()
    }
}
