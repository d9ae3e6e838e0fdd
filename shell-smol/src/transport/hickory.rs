//! TXT look-ups: hickory-resolver over async-io.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_io::Async;
use async_trait::async_trait;
use futures::future::{self, Either};
use futures::{AsyncRead, AsyncWrite};
use futures_timer::Delay;
use hickory_resolver::net::runtime::{DnsTcpStream, DnsUdpSocket, RuntimeProvider, Spawn, Time};
use hickory_resolver::proto::rr::{RData, RecordType};
use hickory_resolver::{Resolver, ResolverBuilder};

use super::Stream;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The TXT records of `name` by the system's name servers.
pub(super) async fn txt(name: String) -> io::Result<Vec<String>> {
    look_up(Resolver::builder(Provider).map_err(io::Error::other)?, name).await
}

async fn look_up(builder: ResolverBuilder<Provider>, name: String) -> io::Result<Vec<String>> {
    let resolver = builder.build().map_err(io::Error::other)?;
    let found = resolver.lookup(name, RecordType::TXT).await.map_err(io::Error::other)?;
    let texts = found.answers().iter().filter_map(|record| {
        let RData::TXT(txt) = &record.data else { return None };
        String::from_utf8(txt.txt_data.concat()).ok()
    });
    Ok(texts.collect())
}

#[derive(Clone, Copy)]
struct Provider;

impl Spawn for Provider {
    fn spawn_bg(&mut self, future: impl Future<Output = ()> + Send + 'static) {
        crate::runtime::spawn(future);
    }
}

impl RuntimeProvider for Provider {
    type Handle = Self;
    type Timer = Timer;
    type Udp = Udp;
    type Tcp = Tcp;

    fn create_handle(&self) -> Self {
        *self
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        local: Option<SocketAddr>,
        timeout: Option<Duration>,
    ) -> Pin<Box<dyn Send + Future<Output = io::Result<Tcp>>>> {
        Box::pin(async move {
            let connected = Timer::timeout(timeout.unwrap_or(CONNECT_TIMEOUT), super::connect(server, local));
            Ok(Tcp(connected.await??))
        })
    }

    fn bind_udp(
        &self,
        local: SocketAddr,
        _: SocketAddr,
    ) -> Pin<Box<dyn Send + Future<Output = io::Result<Udp>>>> {
        Box::pin(async move { Ok(Udp(Async::<UdpSocket>::bind(local)?)) })
    }
}

struct Timer;

#[async_trait]
impl Time for Timer {
    async fn delay_for(duration: Duration) {
        Delay::new(duration).await;
    }

    async fn timeout<F: 'static + Future + Send>(duration: Duration, future: F) -> io::Result<F::Output> {
        match future::select(Box::pin(future), Delay::new(duration)).await {
            Either::Left((output, _)) => Ok(output),
            Either::Right(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

struct Udp(Async<UdpSocket>);

impl DnsUdpSocket for Udp {
    type Time = Timer;

    fn poll_recv_from(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<(usize, SocketAddr)>> {
        loop {
            match self.0.get_ref().recv_from(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.0.poll_readable(cx))?,
                done => return Poll::Ready(done),
            }
        }
    }

    fn poll_send_to(&self, cx: &mut Context<'_>, buf: &[u8], to: SocketAddr) -> Poll<io::Result<usize>> {
        loop {
            match self.0.get_ref().send_to(buf, to) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.0.poll_writable(cx))?,
                done => return Poll::Ready(done),
            }
        }
    }
}

struct Tcp(Stream);

impl DnsTcpStream for Tcp {
    type Time = Timer;
}

impl AsyncRead for Tcp {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}

#[cfg(test)]
#[path = "../../../shell/tests/support/dns.rs"]
mod loopback_dns;

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};

    #[test]
    fn texts_are_asked_of_a_name_server_and_come_back_whole() {
        let text = "dnsaddr=/ip4/203.0.113.7/tcp/9905".to_owned();
        let server = loopback_dns::name_server([203, 0, 113, 7].into(), vec![text.clone()]);
        let mut udp = ConnectionConfig::udp();
        udp.port = server.port();
        let server = NameServerConfig::new(server.ip(), true, vec![udp]);
        let config = ResolverConfig::from_parts(None, vec![], vec![server]);
        let builder = Resolver::builder_with_config(config, Provider);
        let found = crate::runtime::block_on(look_up(builder, "_dnsaddr.peers.test.".to_owned()));
        assert_eq!(found.unwrap(), [text]);
    }
}
