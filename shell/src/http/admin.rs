//! The operator's listener: `/metrics` and `peerage.v1` (design, decision 13). It answers only to names that a foreign
//! web page cannot put into a browser's requests.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use futures::channel::oneshot;
use futures::future::select;
use futures::{SinkExt as _, pin_mut};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use tonic::body::Body;
use tower_service::Service as _;

use super::control::{Access, Call, Calls, ControlServer, KEY, Service};
use super::io::{Io, Timers};
use super::patience::{Activity, Impatient, Patience};
use super::server;
use crate::p2p::Socket;
use crate::runtime::{Shared, Spawn};

/// Connections at once: half of them of one source, whichever it is.
pub fn connections() -> server::Limits {
    server::Limits { connections_max: 64, per_source_max: Some(32), trusted: Vec::new() }
}

/// Between two HTTP/2 pings.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// What every connection of the operator shares.
#[derive(Clone)]
pub struct Admin {
    runtime: Shared,
    calls: Calls,
    control: ControlServer<Service>,
    access: Access,
    patience: Patience,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Admin")
    }
}

impl Admin {
    /// A listener that hands calls on and wants the key for every change, and for every look unless that is open.
    pub fn new(runtime: Shared, calls: Calls, access: Access, patience: Patience) -> Self {
        let control = ControlServer::new(Service::new(calls.clone(), access.clone()));
        Self { runtime, calls, control, access, patience }
    }

    /// Serves one connection to its end.
    pub async fn serve(self, socket: Socket, _from: SocketAddr) {
        let (patience, activity) = (self.patience, Activity::begin());
        let mut builder = hyper_util::server::conn::auto::Builder::new(Spawn(self.runtime.clone()));
        builder.http1().timer(Timers).header_read_timeout(patience.first);
        builder.http2().timer(Timers).max_concurrent_streams(16).max_header_list_size(16 * 1024);
        builder.http2().keep_alive_interval(KEEP_ALIVE).keep_alive_timeout(patience.first);
        let requests = activity.clone();
        let service = service_fn(move |request| {
            let (admin, running) = (self.clone(), requests.request());
            async move {
                let answer = admin.answer(request).await;
                drop(running);
                Ok::<_, Infallible>(answer)
            }
        });
        let connection = builder.serve_connection(Io(Impatient::new(socket, patience.write)), service);
        let out_of_time = activity.watch(patience);
        pin_mut!(connection, out_of_time);
        // A client that breaks off is no event.
        let _ = select(connection, out_of_time).await;
    }

    async fn answer(mut self, request: Request<Incoming>) -> Response<Body> {
        if request.headers().get_all(header::HOST).iter().count() > 1 {
            return text(StatusCode::BAD_REQUEST, "the request has more than one Host\n");
        }
        if !is_local_name(&request) {
            return text(StatusCode::FORBIDDEN, "the Host or Origin of the request is not this listener\n");
        }
        let path = request.uri().path();
        if path.starts_with("/peerage.v1.Control/") {
            return match self.control.call(request).await {
                Ok(answer) => answer,
                Err(never) => match never {},
            };
        }
        match (request.method(), path) {
            (&Method::GET, "/metrics") if !self.access.may_look(given_key(request.headers())) => no_key(),
            (&Method::GET, "/metrics") => self.metrics().await,
            (&Method::GET, "/health") => text(StatusCode::OK, "OK"),
            (_, "/metrics" | "/health") => text(StatusCode::METHOD_NOT_ALLOWED, "use GET\n"),
            _ => text(StatusCode::NOT_FOUND, "there is /metrics, and gRPC peerage.v1.Control\n"),
        }
    }

    async fn metrics(&mut self) -> Response<Body> {
        let (reply, answer) = oneshot::channel();
        let sent = self.calls.send(Call::Metrics(reply)).await;
        match (sent, answer.await) {
            (Ok(()), Ok(metrics)) => {
                let mut answer = body(StatusCode::OK, metrics.into());
                let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                answer.headers_mut().insert(header::CONTENT_TYPE, kind);
                answer
            }
            (Err(_), _) | (_, Err(_)) => text(StatusCode::SERVICE_UNAVAILABLE, "the node stops\n"),
        }
    }
}

/// The key that a request brings: as gRPC does, or as `Authorization: Bearer KEY`.
fn given_key(headers: &HeaderMap) -> Option<&[u8]> {
    let bearer = |value: &'_ HeaderValue| value.as_bytes().starts_with(b"Bearer ");
    match headers.get(KEY) {
        Some(key) => Some(key.as_bytes()),
        None => headers
            .get(header::AUTHORIZATION)
            .filter(|value| bearer(value))
            .map(|value| &value.as_bytes()[7..]),
    }
}

fn no_key() -> Response<Body> {
    let mut answer = text(
        StatusCode::UNAUTHORIZED,
        "admin_listen is not a loopback address: send the content of admin.key as `Authorization: Bearer KEY`\n",
    );
    answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    answer
}

/// Whether Host (or `:authority`) is an IP address or `localhost`, and Origin, if there is one, the same host. A page on
/// the web can point a name of its own at 127.0.0.1, but cannot make the browser send another name than that.
fn is_local_name(request: &Request<Incoming>) -> bool {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let host = request.uri().authority().map(|authority| authority.as_str()).or_else(|| header(header::HOST));
    let Some(host) = host else { return false };
    is_address(host) && origin_fits(request.headers(), host)
}

fn is_address(host: &str) -> bool {
    if host.parse::<SocketAddr>().is_ok() || host.parse::<IpAddr>().is_ok() {
        return true;
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name.eq_ignore_ascii_case("localhost") || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
}

fn origin_fits(headers: &HeaderMap, host: &str) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    origin.to_str().is_ok_and(|origin| {
        origin.strip_prefix("http://").is_some_and(|authority| authority.eq_ignore_ascii_case(host))
    })
}

fn text(status: StatusCode, content: &'static str) -> Response<Body> {
    let mut answer = body(status, Bytes::from_static(content.as_bytes()));
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

fn body(status: StatusCode, content: Bytes) -> Response<Body> {
    let mut answer = Response::new(Body::new(Full::new(content).map_err(|never| match never {})));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_localhost_are_answered() {
        for host in ["127.0.0.1:9907", "localhost:9907", "localhost", "[::1]:9907", "::1", "10.0.0.1"] {
            assert!(is_address(host), "{host}");
        }
        for host in
            ["evil.example:9907", "evil.example", "localhost.evil.example", "", "127.0.0.1.evil.example:80"]
        {
            assert!(!is_address(host), "{host}");
        }
    }

    #[test]
    fn a_foreign_origin_is_refused() {
        let fits = |origin: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            }
            origin_fits(&headers, "127.0.0.1:9907")
        };
        assert!(fits(None) && fits(Some("http://127.0.0.1:9907")));
        assert!(
            !fits(Some("http://evil.example")) && !fits(Some("null")) && !fits(Some("http://127.0.0.1:1"))
        );
    }
}
