//! The feed's listener: `/health`, `/p2p-ws`, `/ws`, and nothing else (spec 4.1).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use async_tungstenite::tungstenite::handshake::derive_accept_key;
use bytes::Bytes;
use futures::future::select;
use futures::pin_mut;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;

use super::hub::Hub;
use super::io::{Io, Timers};
use super::patience::{Activity, Impatient, Patience};
use super::server;
use super::source::Cidr;
use super::subscriber;
use crate::p2p::Socket;
use crate::runtime::Shared;

/// Limits of the feed (spec 14.6).
#[derive(Clone, Debug)]
pub struct FeedLimits {
    /// Clients at once.
    pub clients_max: u32,
    /// Clients at once of one source address; none: no limit.
    pub per_source_max: Option<u32>,
    /// Sources that are not counted.
    pub trusted: Vec<Cidr>,
    /// Origins allowed; empty or `*`: all.
    pub origins: Vec<String>,
    /// Frames queued for one client.
    pub frames_max: usize,
    /// Time limits of a connection before it is a client.
    pub patience: Patience,
}

impl Default for FeedLimits {
    fn default() -> Self {
        Self {
            clients_max: 1000,
            per_source_max: Some(50),
            trusted: Vec::new(),
            origins: Vec::new(),
            frames_max: 100,
            patience: Patience::default(),
        }
    }
}

impl FeedLimits {
    /// Connections at once: some more than clients, for requests and handshakes.
    pub fn connections(&self) -> server::Limits {
        let clients_max = usize::try_from(self.clients_max).unwrap_or(usize::MAX);
        let share =
            self.per_source_max.map(|max| usize::try_from(max).unwrap_or(usize::MAX).saturating_add(16));
        server::Limits {
            connections_max: clients_max.saturating_add(256),
            per_source_max: share,
            trusted: self.trusted.clone(),
        }
    }

    fn any_origin(&self) -> bool {
        self.origins.is_empty() || self.origins.iter().any(|origin| origin == "*")
    }

    fn allows(&self, origin: &HeaderValue) -> bool {
        self.any_origin()
            || self.origins.iter().any(|allowed| origin.as_bytes().eq_ignore_ascii_case(allowed.as_bytes()))
    }
}

/// Longest handshake: of TLS, and of a WebSocket.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// What every connection of the feed shares.
#[derive(Clone)]
pub struct Feed {
    runtime: Shared,
    hub: Hub,
    limits: FeedLimits,
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed").field("limits", &self.limits).finish_non_exhaustive()
    }
}

type Answer = Response<Full<Bytes>>;

impl Feed {
    /// A feed of `hub`'s frames.
    pub fn new(runtime: Shared, hub: Hub, limits: FeedLimits) -> Self {
        Self { runtime, hub, limits }
    }

    /// Serves one connection to its end.
    pub async fn serve(self, socket: Socket, from: SocketAddr) {
        let (patience, activity) = (self.limits.patience, Activity::begin());
        let service = service_fn(|request| {
            let running = activity.request();
            let answer = self.answer(request, from.ip());
            drop(running);
            async move { Ok::<_, std::convert::Infallible>(answer) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(Timers)
            .header_read_timeout(patience.first)
            .max_buf_size(8192)
            .title_case_headers(true)
            .serve_connection(Io(Impatient::new(socket, patience.write)), service)
            .with_upgrades();
        let out_of_time = activity.clone().watch(patience);
        pin_mut!(connection, out_of_time);
        // A client that breaks off is no event.
        let _ = select(connection, out_of_time).await;
    }

    fn answer(&self, request: Request<Incoming>, from: IpAddr) -> Answer {
        let origin = request.headers().get(header::ORIGIN).cloned();
        let path = request.uri().path();
        let known = matches!(path, "/health" | "/p2p-ws" | "/ws");
        let mut answer = match (request.method(), known) {
            (&Method::OPTIONS, _) => self.preflight(known, origin.is_some()),
            (_, false) => json(StatusCode::NOT_FOUND, "{\"message\":\"Not Found\"}\n"),
            (&Method::GET, true) if path == "/health" => {
                plain("text/plain; charset=UTF-8", StatusCode::OK, "OK")
            }
            (&Method::GET, true) => self.upgrade(request, origin.as_ref(), from),
            (_, true) => {
                let mut answer =
                    json(StatusCode::METHOD_NOT_ALLOWED, "{\"message\":\"Method Not Allowed\"}\n");
                answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("OPTIONS, GET"));
                answer
            }
        };
        self.cors(answer.headers_mut(), origin);
        answer
    }

    /// What every answer says about origins.
    fn cors(&self, headers: &mut HeaderMap, origin: Option<HeaderValue>) {
        let before = headers.remove(header::VARY);
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        if before.is_some() {
            headers.append(header::VARY, HeaderValue::from_static("Access-Control-Request-Method"));
            headers.append(header::VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
        }
        let Some(origin) = origin.filter(|origin| self.limits.allows(origin)) else { return };
        let allowed = if self.limits.any_origin() { HeaderValue::from_static("*") } else { origin };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    }

    fn preflight(&self, known: bool, has_origin: bool) -> Answer {
        let mut answer = Response::new(Full::default());
        *answer.status_mut() = StatusCode::NO_CONTENT;
        let headers = answer.headers_mut();
        headers.insert(header::VARY, HeaderValue::from_static("preflight"));
        if known {
            headers.insert(header::ALLOW, HeaderValue::from_static("OPTIONS, GET"));
        }
        if has_origin {
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET"));
        }
        answer
    }

    /// Turns the connection into a WebSocket. A request that cannot be is refused alone.
    fn upgrade(&self, mut request: Request<Incoming>, origin: Option<&HeaderValue>, from: IpAddr) -> Answer {
        let Some(key) = websocket_key(request.headers()) else { return bad_request() };
        if origin.is_some_and(|origin| !self.limits.allows(origin)) {
            return plain("text/plain; charset=utf-8", StatusCode::FORBIDDEN, "Forbidden\n");
        }
        let Some(member) = self.hub.join(from) else {
            return plain(
                "text/plain; charset=utf-8",
                StatusCode::SERVICE_UNAVAILABLE,
                "Service Unavailable\n",
            );
        };
        let accept = derive_accept_key(key.as_bytes());
        let upgrade = hyper::upgrade::on(&mut request);
        self.runtime.spawn(Box::pin(async move {
            let upgraded = subscriber::within(HANDSHAKE_TIMEOUT, upgrade).await;
            let Some(Ok(upgraded)) = upgraded else { return };
            // Our own socket comes back: the client costs no further layer.
            let Ok(parts) = upgraded.downcast::<Io<Impatient<Socket>>>() else { return };
            subscriber::serve(parts.io.0.into_inner(), parts.read_buf.to_vec(), member).await;
        }));
        let mut answer = Response::new(Full::default());
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = answer.headers_mut();
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        if let Ok(accept) = HeaderValue::from_str(&accept) {
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        }
        answer
    }
}

/// The key of a request that asks for a WebSocket rightly.
fn websocket_key(headers: &HeaderMap) -> Option<HeaderValue> {
    let token = |name: HeaderName, wanted: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(wanted)))
    };
    let wanted = token(header::CONNECTION, "upgrade")
        && token(header::UPGRADE, "websocket")
        && token(header::SEC_WEBSOCKET_VERSION, "13");
    headers.get(header::SEC_WEBSOCKET_KEY).filter(|key| wanted && !key.is_empty()).cloned()
}

fn plain(kind: &'static str, status: StatusCode, body: &'static str) -> Answer {
    let mut answer = Response::new(Full::from(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

fn json(status: StatusCode, body: &'static str) -> Answer {
    plain("application/json", status, body)
}

fn bad_request() -> Answer {
    let mut answer = plain("text/plain; charset=utf-8", StatusCode::BAD_REQUEST, "Bad Request\n");
    let headers = answer.headers_mut();
    headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}
