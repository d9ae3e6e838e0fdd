//! Peers that are not written here, against both binaries.
//!
//! The peers live in `go/` and `js/`, are built by [`setup()`] into a cache directory outside
//! the checkout, and are driven by lines of JSON over standard input and output ([`peer::Peer`]).
//! Our own binaries are driven the same way ([`node::Node`]). Every wait has a deadline, every
//! process ends with the test that started it, and a failure prints what the process said.
#![forbid(unsafe_code)]

pub mod churn;
pub mod contract;
pub mod control;
pub mod feed;
pub mod frames;
pub mod hostile;
pub mod node;
pub mod peer;
pub mod process;
pub mod score;
pub mod scratch;
pub mod setup;
pub mod usage;
pub mod wire;

pub use process::{Failure, Process};
pub use setup::setup;

use std::time::{Duration, Instant};

/// How long a step that normally takes milliseconds may take on a busy machine.
pub const SOON: Duration = Duration::from_secs(20);

/// How long a step may take that waits for timers of a foreign peer (30 s re-dial, DHT search).
pub const LATE: Duration = Duration::from_secs(90);

/// Three heartbeats of the router: the time in which a message that is going to cross has crossed.
pub const THREE_HEARTBEATS: Duration = Duration::from_secs(3);

/// Repeats a step, which waits by itself, until it succeeds; when the time is over, its last failure.
///
/// # Errors
/// The last failure of the step.
pub fn retry<T>(within: Duration, mut step: impl FnMut() -> Result<T, Failure>) -> Result<T, Failure> {
    let deadline = Instant::now() + within;
    loop {
        match step() {
            Ok(value) => return Ok(value),
            Err(failure) if Instant::now() >= deadline => return Err(failure),
            Err(_) => {}
        }
    }
}

/// Makes a test of each function that takes a [`node::Shell`], once for each binary:
/// `on_both_shells!(name)` gives `name::on_tokio` and `name::on_smol`.
#[macro_export]
macro_rules! on_both_shells {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[test]
            fn on_tokio() -> Result<(), $crate::Failure> {
                super::$name($crate::node::Shell::Tokio)
            }

            #[test]
            fn on_smol() -> Result<(), $crate::Failure> {
                super::$name($crate::node::Shell::Smol)
            }
        }
    )+};
}
