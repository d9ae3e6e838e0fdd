#![no_std]
#![forbid(unsafe_code)]
//! Wire formats of Peerage: everything that is read from and written to peers, viewers and neighbouring services, as
//! plain data. Nothing here does I/O, looks at a clock or draws random numbers.
//!
//! Bytes of peers are judged before memory is taken for them; no input makes a reader panic.

extern crate alloc;
#[cfg(test)]
#[macro_use]
extern crate std;

pub mod addr_cache;
mod base58;
pub mod blockassembly;
pub mod blockchain_api;
pub mod control;
pub mod envelope;
pub mod hash;
pub mod header;
pub mod hex;
pub mod ip;
pub mod json;
pub mod kafka;
pub mod model;
pub mod multiaddr;
pub mod network;
pub mod notification;
pub mod p2p_api;
pub mod peer_addr_request;
pub mod peer_id;
mod pow;
pub mod pubsub;
mod time;
mod varint;

pub use hash::Hash256;
pub use header::BlockHeader;
pub use multiaddr::Multiaddr;
pub use network::Network;
pub use peer_id::PeerId;
