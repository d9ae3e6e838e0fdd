//! HTTP: the feed for viewers and the operator's listener, on hyper, without a runtime.

pub mod admin;
pub mod client;
pub mod control;
pub mod feed;
pub mod hub;
pub mod io;
pub mod patience;
pub mod server;
pub mod source;
pub mod subscriber;
#[cfg(feature = "tls")]
pub mod tls;
