//! The system's resolver, for the transport that resolves names.

use std::io;
use std::net::IpAddr;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use peerage_shell::p2p::dns::Resolve;

/// The system's resolver: addresses by `getaddrinfo` on the blocking pool, so the hosts file counts; TXT records,
/// with feature `dnsaddr`, by the name servers of the system's settings, read anew for each look-up.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct System;

impl Resolve for System {
    fn ips(&self, name: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        async move { Ok(async_net::resolve((name, 0)).await?.into_iter().map(|found| found.ip()).collect()) }
            .boxed()
    }

    #[cfg(feature = "dnsaddr")]
    fn txt(&self, name: String) -> BoxFuture<'static, io::Result<Vec<String>>> {
        super::hickory::txt(name).boxed()
    }

    #[cfg(not(feature = "dnsaddr"))]
    fn txt(&self, _: String) -> BoxFuture<'static, io::Result<Vec<String>>> {
        let why = "this build cannot dial /dnsaddr: it was made without the feature `dnsaddr`";
        futures::future::ready(Err(io::Error::new(io::ErrorKind::Unsupported, why))).boxed()
    }
}
