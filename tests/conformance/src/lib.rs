//! Peers that are not written here, against both binaries.
//!
//! The peers live in `go/` and `js/`, are built by [`setup::setup`] into a cache directory outside
//! the checkout, and are driven by lines of JSON over standard input and output ([`peer::Peer`]).
//! Our own binaries are driven the same way ([`node::Node`]). Every wait has a deadline, every
//! process ends with the test that started it, and a failure prints what the process said.
#![forbid(unsafe_code)]

pub mod feed;
pub mod node;
pub mod peer;
pub mod process;
pub mod scratch;
pub mod setup;
pub mod wire;

pub use process::{Failure, Process};

use std::time::Duration;

/// How long a step that normally takes milliseconds may take on a busy machine.
pub const SOON: Duration = Duration::from_secs(20);

/// How long a step may take that waits for timers of a foreign peer (30 s re-dial, DHT search).
pub const LATE: Duration = Duration::from_secs(90);

/// Three heartbeats of the router: the time in which a message that is going to cross has crossed.
pub const THREE_HEARTBEATS: Duration = Duration::from_secs(3);
