//! From a raw socket to an authenticated, multiplexed connection: TLS then Noise, then yamux (libp2p profile,
//! section 1).

use std::io;
use std::time::Duration;

use futures::future::Either;
use futures::io::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{PeerId, Transport as _, noise, relay, yamux};

use super::gate::Gate;
use super::messages::Counted;
use super::rounds::Rounds;

/// A byte stream of any runtime.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A byte stream of any runtime, boxed.
pub type Socket = Box<dyn Duplex>;

/// How the error of a name that a runtime's transport cannot resolve begins, by which it is known when all layers above have
/// wrapped it.
pub const CANNOT_RESOLVE: &str = "cannot resolve ";

/// What a shell supplies: TCP and DNS, nothing above.
pub type RawTransport = Boxed<Socket>;

/// Longest time from a dial to a connection, as in Go (libp2p profile, section 1).
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest time from an accepted socket to a connection. Go allows 15 s; half-open handshakes hold places that all share, and
/// an honest one takes five round trips.
pub const ACCEPT_TIMEOUT: Duration = Duration::from_secs(10);

/// `raw`, and connections through relays beside it: both come to the gate, so that what passes a relay has the same limits
/// and budgets.
pub fn with_relays(raw: RawTransport, relays: relay::client::Transport) -> RawTransport {
    relays
        .map_err(io::Error::other)
        .or_transport(raw)
        .map(|either, _| match either {
            Either::Left(relayed) => Box::new(relayed) as Socket,
            Either::Right(socket) => socket,
        })
        .map_err(|error| error.into_inner())
        .boxed()
}

/// The whole stack above `gate`.
///
/// # Errors
/// When the key cannot authenticate the handshakes.
pub fn upgrade(gate: Gate, key: &Keypair) -> Result<Boxed<(PeerId, StreamMuxerBox)>, String> {
    let (budget, traffic) = (gate.budget().clone(), gate.traffic());
    let noise = noise::Config::new(key).map_err(|error| format!("noise: {error}"))?;
    #[cfg(feature = "tls")]
    let security = {
        let tls = libp2p::tls::Config::new(key).map_err(|error| format!("TLS: {error}"))?;
        security::TlsThenNoise::new(tls, noise)
    };
    #[cfg(not(feature = "tls"))]
    let security = noise;
    Ok(gate
        .upgrade(Version::V1)
        .authenticate(security)
        .multiplex(yamux::Config::default())
        .outbound_timeout(DIAL_TIMEOUT)
        .inbound_timeout(ACCEPT_TIMEOUT)
        .map(move |(peer, muxer), endpoint| {
            let meter = traffic.of(endpoint.get_remote_address()).unwrap_or_default();
            (peer, StreamMuxerBox::new(Counted::new(Rounds::new(muxer), budget, meter)))
        })
        .boxed())
}

#[cfg(feature = "tls")]
mod security {
    //! Both security protocols offered, TLS first; either gives `(PeerId, stream)`.

    use std::io;

    use futures::FutureExt as _;
    use futures::future::{BoxFuture, Either};
    use libp2p::core::upgrade::{
        InboundConnectionUpgrade, OutboundConnectionUpgrade, SelectUpgrade, UpgradeInfo,
    };
    use libp2p::{PeerId, noise, tls};

    use super::super::gathered::Gathered;
    use super::Duplex;

    type Both = SelectUpgrade<tls::Config, noise::Config>;

    #[derive(Clone)]
    pub(super) struct TlsThenNoise(Both);

    impl TlsThenNoise {
        pub(super) fn new(tls: tls::Config, noise: noise::Config) -> Self {
            Self(SelectUpgrade::new(tls, noise))
        }
    }

    impl UpgradeInfo for TlsThenNoise {
        type Info = <Both as UpgradeInfo>::Info;
        type InfoIter = <Both as UpgradeInfo>::InfoIter;

        fn protocol_info(&self) -> Self::InfoIter {
            self.0.protocol_info()
        }
    }

    type Secured<C> = Either<Gathered<tls::TlsStream<C>>, noise::Output<C>>;

    /// Noise gathers by itself.
    fn factor<A, B>(either: Either<(PeerId, A), (PeerId, B)>) -> (PeerId, Either<Gathered<A>, B>) {
        match either {
            Either::Left((peer, stream)) => (peer, Either::Left(Gathered::new(stream))),
            Either::Right((peer, stream)) => (peer, Either::Right(stream)),
        }
    }

    impl<C: Duplex + 'static> InboundConnectionUpgrade<C> for TlsThenNoise {
        type Output = (PeerId, Secured<C>);
        type Error = io::Error;
        type Future = BoxFuture<'static, Result<Self::Output, io::Error>>;

        fn upgrade_inbound(self, socket: C, info: Self::Info) -> Self::Future {
            self.0
                .upgrade_inbound(socket, info)
                .map(|done| done.map(factor).map_err(io::Error::other))
                .boxed()
        }
    }

    impl<C: Duplex + 'static> OutboundConnectionUpgrade<C> for TlsThenNoise {
        type Output = (PeerId, Secured<C>);
        type Error = io::Error;
        type Future = BoxFuture<'static, Result<Self::Output, io::Error>>;

        fn upgrade_outbound(self, socket: C, info: Self::Info) -> Self::Future {
            self.0
                .upgrade_outbound(socket, info)
                .map(|done| done.map(factor).map_err(io::Error::other))
                .boxed()
        }
    }
}
