//! What the tests of the transport share.
#![allow(missing_docs, unreachable_pub)]

use std::future::Future;
use std::time::Duration;

use futures::future::{Either, select};
use libp2p::core::Endpoint;
use libp2p::core::transport::{DialOpts, PortUse};

pub fn opts(port_use: PortUse) -> DialOpts {
    DialOpts { role: Endpoint::Dialer, port_use }
}

pub async fn within<T>(future: impl Future<Output = T>) -> T {
    let deadline = futures_timer::Delay::new(Duration::from_secs(20));
    match select(Box::pin(future), deadline).await {
        Either::Left((output, _)) => output,
        Either::Right(_) => panic!("nothing happened before the deadline"),
    }
}
