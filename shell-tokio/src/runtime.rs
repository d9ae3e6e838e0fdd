//! The five things, by tokio.

use std::io;
use std::net::SocketAddr;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use libp2p::core::Transport as _;
use libp2p::{dns, tcp};
use peerage_shell::p2p::{RawTransport, Socket};
use peerage_shell::runtime::{Listener, Runtime};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::compat::TokioAsyncReadCompatExt as _;

/// The tokio runtime that runs this thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tokio;

impl Runtime for Tokio {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }

    fn unblock(&self, work: Box<dyn FnOnce() + Send>) {
        tokio::task::spawn_blocking(work);
    }

    fn listener(&self, listener: std::net::TcpListener) -> io::Result<Box<dyn Listener>> {
        Ok(Box::new(Accept(TcpListener::from_std(listener)?)))
    }

    fn connect(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Socket>> {
        async move {
            let socket = TcpStream::connect(addr).await?;
            socket.set_nodelay(true)?;
            Ok(Box::new(socket.compat()) as Socket)
        }
        .boxed()
    }

    fn transport(&self) -> io::Result<RawTransport> {
        let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
        Ok(dns::tokio::Transport::system(tcp)?.map(|stream, _| Box::new(stream) as Socket).boxed())
    }

    fn signals(&self) -> io::Result<BoxStream<'static, ()>> {
        let interrupt = signal(SignalKind::interrupt())?;
        let terminate = signal(SignalKind::terminate())?;
        let each = |signal| {
            futures::stream::unfold(signal, |mut signal: tokio::signal::unix::Signal| async move {
                signal.recv().await.map(|()| ((), signal))
            })
        };
        Ok(futures::stream::select(each(interrupt), each(terminate)).boxed())
    }
}

struct Accept(TcpListener);

impl Listener for Accept {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Socket, SocketAddr)>> {
        async move {
            let (socket, from) = self.0.accept().await?;
            socket.set_nodelay(true)?;
            Ok((Box::new(socket.compat()) as Socket, from))
        }
        .boxed()
    }
}
