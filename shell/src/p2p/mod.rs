//! libp2p: the transport above the socket, the behaviour, and the driver between the swarm and the core.

pub mod behaviour;
pub mod budget;
pub mod convert;
pub mod dht;
pub mod dial_guard;
pub mod dns;
pub mod driver;
mod frames;
pub mod gate;
#[cfg(feature = "tls")]
mod gathered;
pub mod links;
mod listening;
pub mod mdns;
pub mod messages;
pub mod ports;
pub mod providers;
pub mod pubsub;
pub mod reach;
pub mod relief;
mod rounds;
pub mod signatures;
pub mod streams;
mod swarm_events;
pub mod transport;
pub mod upnp;

pub use dial_guard::DialGuard;
pub use driver::{Announce, ListenFailed, P2p, Start};
pub use transport::{CANNOT_RESOLVE, Duplex, RawTransport, Socket};
