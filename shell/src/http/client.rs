//! A gRPC client of a running node, for the command line.

use std::net::SocketAddr;
use std::task::{Context, Poll};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use tonic::body::Body;

use super::control::ControlClient;
use super::io::Io;
use crate::runtime::{Shared, Spawn};

/// One connection to a node's operator listener.
#[derive(Clone, Debug)]
pub struct Channel {
    requests: SendRequest<Body>,
    authority: Authority,
}

/// Connects.
///
/// # Errors
/// When nobody answers, or not in HTTP/2.
pub async fn connect(runtime: &Shared, addr: SocketAddr) -> Result<ControlClient<Channel>, String> {
    let socket = runtime.connect(addr).await.map_err(|error| error.to_string())?;
    let (requests, connection) =
        handshake(Spawn(runtime.clone()), Io(socket)).await.map_err(|error| error.to_string())?;
    // Its end shows in the calls.
    runtime.spawn(connection.map(|_| ()).boxed());
    let authority = addr.to_string().parse().map_err(|_| format!("{addr} is no authority"))?;
    Ok(ControlClient::new(Channel { requests, authority }))
}

impl tower_service::Service<Request<Body>> for Channel {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = BoxFuture<'static, Result<Self::Response, hyper::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.requests.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let mut parts = request.uri().clone().into_parts();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(self.authority.clone());
        // A path out of generated code is whole.
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
        self.requests.send_request(request).boxed()
    }
}
