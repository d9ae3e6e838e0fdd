#![no_std]
#![forbid(unsafe_code)]
//! The deterministic, I/O-free core of Peerage.
//!
//! State changes only in here, and only because of an input. The core sees no clock, no entropy, no socket, no file
//! and no thread: it is given `(now, input)` and pushes actions. The same configuration, seed and inputs give the same
//! actions, byte for byte, on every runtime and machine.
//!
//! Start with [`contract`] (three methods), [`input`] (everything that happens and everything that is wanted),
//! [`node::Node`] (composition) and [`pump::Pump`] (how it is driven).

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod codec;
pub mod common;
pub mod config;
pub mod conn;
pub mod contract;
pub mod error;
pub mod explain;
pub mod gossipsub;
pub mod input;
pub mod limits;
pub mod memory;
pub mod node;
pub mod op;
pub mod pump;
pub mod record;
pub mod rng;
pub mod sink;
pub mod state;
pub mod teranode;
pub mod time;

pub use config::Config;
pub use contract::{Core, Demand};
pub use input::{Action, Input};
pub use limits::Limits;
pub use node::Node;
pub use peerage_proto as proto;
pub use pump::Pump;
