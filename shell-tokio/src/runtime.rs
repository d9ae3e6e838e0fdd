//! The six things, by tokio.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use libp2p::core::Transport as _;
use libp2p::{dns, tcp};
use peerage_shell::p2p::{CANNOT_RESOLVE, DialGuard, RawTransport, Socket};
use peerage_shell::runtime::{Alarm, Listener, Runtime};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Sleep, sleep_until};
use tokio_util::compat::TokioAsyncReadCompatExt as _;

/// The tokio runtime that runs this thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tokio;

impl Runtime for Tokio {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }

    fn alarm(&self) -> Box<dyn Alarm> {
        Box::new(Ring(Box::pin(sleep_until(Instant::now().into()))))
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

    fn transport(&self, dial_private: bool) -> io::Result<RawTransport> {
        let names = dns::tokio::Transport::system(tcp(dial_private));
        Ok(raw(names.unwrap_or_else(|_| without_names(dial_private))))
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

type Tcp = DialGuard<tcp::tokio::Transport>;

fn tcp(dial_private: bool) -> Tcp {
    DialGuard::new(tcp::tokio::Transport::new(tcp::Config::default().nodelay(true)), dial_private)
}

/// For a system whose settings name no name server: every name fails when it is dialled.
fn without_names(dial_private: bool) -> dns::tokio::Transport<Tcp> {
    let nobody = dns::ResolverConfig::from_parts(None, Vec::new(), Vec::new());
    dns::tokio::Transport::custom(tcp(dial_private), nobody, dns::ResolverOpts::default())
}

fn raw(names: dns::tokio::Transport<Tcp>) -> RawTransport {
    names.map(|stream, _| Box::new(stream) as Socket).map_err(told).boxed()
}

/// A failed dial that got no further than a name says so.
fn told(error: dns::Error<io::Error>) -> io::Error {
    match is_unresolved(&error) {
        true => io::Error::other(format!("{CANNOT_RESOLVE}its name: {error}")),
        false => io::Error::other(error),
    }
}

fn is_unresolved(error: &dns::Error<io::Error>) -> bool {
    match error {
        dns::Error::ResolveError(_) | dns::Error::TooManyLookups => true,
        dns::Error::Dial(errors) => errors.iter().all(is_unresolved),
        dns::Error::Transport(_) | dns::Error::MultiaddrNotSupported(_) => false,
    }
}

/// Rings at whole milliseconds, never too early.
#[derive(Debug)]
struct Ring(Pin<Box<Sleep>>);

impl Alarm for Ring {
    fn set(&mut self, at: Instant) {
        self.0.as_mut().reset(at.into());
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_unpin(cx)
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

#[cfg(test)]
#[path = "../../shell/tests/support/dns.rs"]
mod loopback_dns;

#[cfg(test)]
#[path = "../../shell/tests/support/flood.rs"]
mod flood;

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_resolver::config::{ConnectionConfig, NameServerConfig};
    use libp2p::core::transport::{DialOpts, PortUse};
    use libp2p::core::{Endpoint, Multiaddr};
    use peerage_core::conn::CloseReason;
    use std::sync::Arc;
    use std::time::Duration;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Names by a name server on loopback, to whom every name is 127.0.0.1 and every text leads to `port` there.
    fn transport(dial_private: bool, port: u16) -> RawTransport {
        let texts = vec![format!("dnsaddr=/dns4/public.test/tcp/{port}")];
        let server = loopback_dns::name_server([127, 0, 0, 1].into(), texts);
        let mut udp = ConnectionConfig::udp();
        udp.port = server.port();
        let server = NameServerConfig::new(server.ip(), true, vec![udp]);
        let config = dns::ResolverConfig::from_parts(None, vec![], vec![server]);
        raw(dns::tokio::Transport::custom(tcp(dial_private), config, dns::ResolverOpts::default()))
    }

    async fn dial(mut transport: RawTransport, addr: &str) -> Result<Socket, String> {
        let opts = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
        let dial =
            transport.dial(addr.parse::<Multiaddr>().unwrap(), opts).map_err(|error| error.to_string())?;
        tokio::time::timeout(PATIENCE, dial).await.unwrap().map_err(|error| error.to_string())
    }

    fn test(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
    }

    #[test]
    fn a_name_that_leads_to_a_private_address_is_refused_below_dns_unless_allowed() {
        test(async {
            let there = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let port = there.local_addr().unwrap().port();
            for addr in [format!("/dns4/public.test/tcp/{port}"), "/dnsaddr/public.test".to_owned()] {
                let refused = dial(transport(false, port), &addr).await.err().unwrap();
                assert!(refused.contains("p2p_allow_private_ips"), "{addr}: {refused}");
                assert!(dial(transport(true, port), &addr).await.is_ok(), "{addr}");
            }
            let direct = dial(transport(false, port), &format!("/ip4/127.0.0.1/tcp/{port}")).await;
            assert!(direct.err().unwrap().contains("p2p_allow_private_ips"), "without a name as well");
        });
    }

    #[test]
    fn a_name_without_an_address_is_told_from_an_address_that_refuses() {
        test(async {
            let unresolved = dial(transport(true, 1), "/dns6/public.test/tcp/1").await.err().unwrap();
            assert!(unresolved.contains(CANNOT_RESOLVE), "{unresolved}");
            let refused = dial(transport(true, 1), "/dns4/public.test/tcp/1").await.err().unwrap();
            assert!(!refused.contains(CANNOT_RESOLVE), "{refused}");
        });
    }

    #[test]
    fn without_a_name_server_names_fail_when_dialled_and_addresses_do_not() {
        test(async {
            let there = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let port = there.local_addr().unwrap().port();
            let named = dial(raw(without_names(true)), &format!("/dns4/public.test/tcp/{port}")).await;
            assert!(named.err().unwrap().contains(CANNOT_RESOLVE));
            assert!(dial(raw(without_names(true)), &format!("/ip4/127.0.0.1/tcp/{port}")).await.is_ok());
        });
    }

    #[test]
    fn a_flood_of_messages_is_read_slowly_and_then_closed_and_named() {
        test(async {
            let (heard, closed) = flood::flood(Arc::new(Tokio), flood::small(1 << 40, 100), 100).await;
            assert_eq!(closed, CloseReason::Flood);
            assert!(heard > 0 && heard < flood::PUBLICATIONS, "some at once, and then slowly: {heard}");
        });
    }

    #[test]
    fn a_flood_of_bytes_is_read_slowly_and_then_closed_and_named() {
        test(async {
            let (heard, closed) = flood::flood(Arc::new(Tokio), flood::small(100_000, 1 << 40), 10_000).await;
            assert_eq!(closed, CloseReason::Flood);
            assert!(heard < flood::PUBLICATIONS, "{heard}");
        });
    }
}
