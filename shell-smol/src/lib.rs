#![forbid(unsafe_code)]
//! Peerage on smol and async-io: what the neutral shell needs from a runtime, without a tokio runtime in the binary.

pub mod runtime;
pub mod transport;
