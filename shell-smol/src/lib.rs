//! Peerage on smol and async-io: what the neutral shell needs from a runtime, without a tokio runtime in the binary.
#![forbid(unsafe_code)]

pub mod host;
pub mod runtime;
pub mod transport;
