//! Names in addresses: `/dns`, `/dns4` and `/dns6` become `/ip4` or `/ip6`, `/dnsaddr` becomes what its TXT records say. For runtimes
//! whose own transport for libp2p resolves no names.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures::future::{BoxFuture, MapErr};
use futures::{FutureExt as _, TryFutureExt as _};
use libp2p::core::multiaddr::{Multiaddr, Protocol};
use libp2p::core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};

use super::transport::CANNOT_RESOLVE;

/// Look-ups for one dial.
pub const LOOKUPS_MAX: usize = 32;
/// Dials tried for one dial of a name.
pub const DIALS_MAX: usize = 16;
/// Records used of one look-up, TXT or address.
pub const RECORDS_MAX: usize = 16;

/// Looks names up. Answers are remote bytes: the caller bounds what it uses of them.
pub trait Resolve: Send + Sync + 'static {
    /// The addresses of `name`, of both families.
    fn ips(&self, name: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
    /// The TXT records of `name`, each with its strings joined.
    fn txt(&self, name: String) -> BoxFuture<'static, io::Result<Vec<String>>>;
}

/// Why a dial failed, or a listener of the inner transport.
#[derive(Debug)]
pub enum Error<E> {
    /// The inner transport failed.
    Transport(E),
    /// A look-up failed or found nothing of use.
    Resolve {
        /// The part of the address that was looked up.
        name: String,
        /// The resolver's reason.
        error: io::Error,
    },
    /// A name led to an address which the inner transport does not speak.
    Unsupported(Multiaddr),
    /// More than [`LOOKUPS_MAX`] look-ups were needed.
    TooManyLookups,
    /// Nothing that the name led to could be dialled. The reasons in order of trial: at most one for each look-up,
    /// dial and address left over.
    Dial(Vec<Self>),
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transport(error) => error.fmt(f),
            Self::Resolve { name, error } => write!(f, "{CANNOT_RESOLVE}{name}: {error}"),
            Self::Unsupported(addr) => write!(f, "unsupported address {addr}"),
            Self::TooManyLookups => write!(f, "more than {LOOKUPS_MAX} look-ups"),
            Self::Dial(errors) => {
                for (at, error) in errors.iter().enumerate() {
                    write!(f, "{}{error}", if at == 0 { "" } else { "; " })?;
                }
                Ok(())
            }
        }
    }
}

impl<E: std::error::Error> std::error::Error for Error<E> {}

/// A transport that resolves names before it dials `T`.
pub struct Transport<T> {
    inner: Arc<Mutex<T>>,
    resolver: Arc<dyn Resolve>,
}

impl<T> Transport<T> {
    /// Wraps `inner`.
    pub fn new(inner: T, resolver: Arc<dyn Resolve>) -> Self {
        Self { inner: Arc::new(Mutex::new(inner)), resolver }
    }
}

fn lock<T>(inner: &Mutex<T>) -> MutexGuard<'_, T> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> libp2p::Transport for Transport<T>
where
    T: libp2p::Transport + Send + Unpin + 'static,
    T::Error: Send,
    T::Dial: Send + 'static,
{
    type Output = T::Output;
    type Error = Error<T::Error>;
    type ListenerUpgrade = MapErr<T::ListenerUpgrade, fn(T::Error) -> Error<T::Error>>;
    type Dial = BoxFuture<'static, Result<T::Output, Error<T::Error>>>;

    fn listen_on(&mut self, id: ListenerId, addr: Multiaddr) -> Result<(), TransportError<Self::Error>> {
        lock(&self.inner).listen_on(id, addr).map_err(|error| error.map(Error::Transport))
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        lock(&self.inner).remove_listener(id)
    }

    fn dial(&mut self, addr: Multiaddr, opts: DialOpts) -> Result<Self::Dial, TransportError<Self::Error>> {
        if first_name(&addr).is_none() {
            let dial = lock(&self.inner).dial(addr, opts).map_err(|error| error.map(Error::Transport))?;
            return Ok(dial.map_err(Error::Transport).boxed());
        }
        Ok(dial_name(self.inner.clone(), self.resolver.clone(), addr, opts).boxed())
    }

    fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        let event = Pin::new(&mut *lock(&self.inner)).poll(cx);
        event.map(|event| {
            event
                .map_upgrade(|upgrade| upgrade.map_err(Error::Transport as fn(_) -> _))
                .map_err(Error::Transport)
        })
    }
}

/// The first part of `addr` that is a name, and its place.
fn first_name(addr: &Multiaddr) -> Option<(usize, Protocol<'_>)> {
    addr.iter().enumerate().find(|(_, part)| {
        matches!(part, Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_) | Protocol::Dnsaddr(_))
    })
}

async fn dial_name<T>(
    inner: Arc<Mutex<T>>,
    resolver: Arc<dyn Resolve>,
    addr: Multiaddr,
    opts: DialOpts,
) -> Result<T::Output, Error<T::Error>>
where
    T: libp2p::Transport,
{
    let (mut lookups, mut dials) = (0, 0);
    let mut errors = Vec::new();
    // At most LOOKUPS_MAX * RECORDS_MAX addresses; the last one is tried next.
    let mut open = vec![addr];
    while let Some(addr) = open.pop() {
        if first_name(&addr).is_some() {
            if lookups == LOOKUPS_MAX {
                errors.push(Error::TooManyLookups);
                break;
            }
            lookups += 1;
            match resolve(&*resolver, &addr).await {
                Ok(found) => open.extend(found.into_iter().rev()),
                Err((name, error)) => errors.push(Error::Resolve { name, error }),
            }
            continue;
        }
        let dial = lock(&inner).dial(addr, opts);
        match dial {
            Ok(dial) => {
                dials += 1;
                match dial.await {
                    Ok(output) => return Ok(output),
                    Err(error) => errors.push(Error::Transport(error)),
                }
            }
            Err(TransportError::MultiaddrNotSupported(addr)) => errors.push(Error::Unsupported(addr)),
            Err(TransportError::Other(error)) => errors.push(Error::Transport(error)),
        }
        if dials == DIALS_MAX {
            break;
        }
    }
    Err(Error::Dial(errors))
}

/// `addr` with its first name replaced by each thing it stands for, in the resolver's order.
#[allow(clippy::wildcard_enum_match_arm, reason = "first_name finds only names")]
async fn resolve(resolver: &dyn Resolve, addr: &Multiaddr) -> Result<Vec<Multiaddr>, (String, io::Error)> {
    let Some((at, part)) = first_name(addr) else { return Ok(vec![addr.clone()]) };
    let shown = part.to_string();
    let found = match &part {
        Protocol::Dnsaddr(name) => txt(resolver, name, addr, at).await,
        Protocol::Dns(name) => ips(resolver, name, addr, at, |_| true).await,
        Protocol::Dns4(name) => ips(resolver, name, addr, at, IpAddr::is_ipv4).await,
        Protocol::Dns6(name) => ips(resolver, name, addr, at, IpAddr::is_ipv6).await,
        _ => Ok(Vec::new()),
    };
    match found {
        Ok(found) if found.is_empty() => {
            Err((shown, io::Error::new(io::ErrorKind::NotFound, "no matching record")))
        }
        Ok(found) => Ok(found),
        Err(error) => Err((shown, error)),
    }
}

async fn ips(
    resolver: &dyn Resolve,
    name: &str,
    addr: &Multiaddr,
    at: usize,
    wanted: fn(&IpAddr) -> bool,
) -> io::Result<Vec<Multiaddr>> {
    let found = resolver.ips(name.to_owned()).await?;
    let found = found.into_iter().filter(wanted).take(RECORDS_MAX);
    Ok(found.filter_map(|ip| addr.replace(at, |_| Some(Protocol::from(ip)))).collect())
}

/// A TXT record counts if it is `dnsaddr=` and an address which ends as the dialled one does after the name.
async fn txt(resolver: &dyn Resolve, name: &str, addr: &Multiaddr, at: usize) -> io::Result<Vec<Multiaddr>> {
    let before: Multiaddr = addr.iter().take(at).collect();
    let after: Multiaddr = addr.iter().skip(at + 1).collect();
    let records = resolver.txt(format!("_dnsaddr.{name}")).await?;
    let addrs =
        records.iter().filter_map(|record| record.strip_prefix("dnsaddr=")?.parse::<Multiaddr>().ok());
    let fitting = addrs.filter(|found| found.ends_with(&after)).take(RECORDS_MAX);
    Ok(fitting.map(|found| before.iter().chain(found.iter()).collect()).collect())
}
