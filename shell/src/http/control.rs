//! `peerage.v1.Control`: what the operator may ask of a running node (design, decision 14).

#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    elided_lifetimes_in_paths,
    clippy::all,
    clippy::pedantic
)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/peerage.v1.rs"));
}

use futures::SinkExt as _;
use futures::channel::{mpsc, oneshot};
use peerage_proto::control::{
    AnnounceReply, AnnounceRequest, ShutdownReply, ShutdownRequest, StatusReply, StatusRequest,
};
use tonic::{Request, Response, Status};

use crate::settings::Secret;

pub use generated::control_client::ControlClient;
pub use generated::control_server::{Control, ControlServer};

/// Metadata that carries the key.
pub const KEY: &str = "x-api-key";

/// What the event loop is asked.
#[derive(Debug)]
pub enum Call {
    /// Announce something.
    Announce(AnnounceRequest, oneshot::Sender<Result<AnnounceReply, Status>>),
    /// Say what the node is and does.
    Status(oneshot::Sender<StatusReply>),
    /// Stop in good order.
    Shutdown(oneshot::Sender<()>),
    /// The text of `/metrics`.
    Metrics(oneshot::Sender<String>),
}

/// Where calls go; a full queue makes callers wait.
pub type Calls = mpsc::Sender<Call>;

/// Calls waiting at once.
pub const CALLS_MAX: usize = 16;

/// Who may do what.
#[derive(Clone, Debug)]
pub struct Access {
    key: Secret,
    looks_are_open: bool,
}

impl Access {
    /// Whoever brings `key` may do everything; with `looks_are_open` anybody may look.
    pub fn new(key: Secret, looks_are_open: bool) -> Self {
        Self { key, looks_are_open }
    }

    /// Whether the bringer of `given` may look at what the node does.
    pub fn may_look(&self, given: Option<&[u8]>) -> bool {
        self.looks_are_open || given.is_some_and(|given| self.fits(given))
    }

    fn fits(&self, given: &[u8]) -> bool {
        equal(given, self.key.reveal().as_bytes())
    }
}

/// The service: checks the key and hands on.
#[derive(Clone, Debug)]
pub struct Service {
    calls: Calls,
    access: Access,
}

impl Service {
    /// A service that wants the key for every change, and for a look unless that is open.
    pub fn new(calls: Calls, access: Access) -> Self {
        Self { calls, access }
    }

    fn authorize<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let Some(given) = request.metadata().get(KEY) else {
            return Err(Status::unauthenticated("missing API key"));
        };
        match self.access.fits(given.as_bytes()) {
            true => Ok(()),
            false => Err(Status::unauthenticated("invalid API key")),
        }
    }

    async fn call<T>(&self, call: impl FnOnce(oneshot::Sender<T>) -> Call) -> Result<T, Status> {
        let (reply, answer) = oneshot::channel();
        let stopping = || Status::unavailable("the node stops");
        self.calls.clone().send(call(reply)).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())
    }
}

/// Compares without telling by its duration where the difference is.
fn equal(a: &[u8], b: &[u8]) -> bool {
    let differing = a.iter().zip(b).fold(0u8, |differing, (a, b)| differing | (a ^ b));
    a.len() == b.len() && std::hint::black_box(differing) == 0
}

#[tonic::async_trait]
impl Control for Service {
    async fn announce(&self, request: Request<AnnounceRequest>) -> Result<Response<AnnounceReply>, Status> {
        self.authorize(&request)?;
        let request = request.into_inner();
        self.call(|reply| Call::Announce(request, reply)).await?.map(Response::new)
    }

    async fn status(&self, request: Request<StatusRequest>) -> Result<Response<StatusReply>, Status> {
        if !self.access.looks_are_open {
            self.authorize(&request)?;
        }
        self.call(Call::Status).await.map(Response::new)
    }

    async fn shutdown(&self, request: Request<ShutdownRequest>) -> Result<Response<ShutdownReply>, Status> {
        self.authorize(&request)?;
        self.call(Call::Shutdown).await.map(|()| Response::new(ShutdownReply {}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;
    use futures::{StreamExt as _, join};

    fn service() -> (Service, mpsc::Receiver<Call>) {
        let (calls, receiver) = mpsc::channel(CALLS_MAX);
        (Service::new(calls, Access::new(Secret::new("0123".to_owned()), true)), receiver)
    }

    #[test]
    fn a_change_needs_the_key() {
        let (service, _receiver) = service();
        let refused = |key: Option<&'static str>| {
            let mut request = Request::new(ShutdownRequest {});
            if let Some(key) = key {
                request.metadata_mut().insert(KEY, key.parse().unwrap());
            }
            block_on(service.shutdown(request)).unwrap_err().message().to_owned()
        };
        assert_eq!(refused(None), "missing API key");
        for wrong in ["", "0124", "012", "01234"] {
            assert_eq!(refused(Some(wrong)), "invalid API key");
        }
    }

    #[test]
    fn a_look_needs_the_key_unless_looks_are_open() {
        let access = |open| Access::new(Secret::new("0123".to_owned()), open);
        assert!(access(true).may_look(None) && access(false).may_look(Some(b"0123")));
        assert!(!access(false).may_look(None) && !access(false).may_look(Some(b"0124")));
        let (calls, _receiver) = mpsc::channel(CALLS_MAX);
        let service = Service::new(calls, access(false));
        assert_eq!(
            block_on(service.status(Request::new(StatusRequest {}))).unwrap_err().message(),
            "missing API key"
        );
    }

    #[test]
    fn a_call_with_the_key_reaches_the_loop() {
        let (service, mut receiver) = service();
        let mut request = Request::new(ShutdownRequest {});
        request.metadata_mut().insert(KEY, "0123".parse().unwrap());
        let (answer, ()) = block_on(async {
            join!(service.shutdown(request), async {
                let Some(Call::Shutdown(reply)) = receiver.next().await else { panic!("another call") };
                reply.send(()).unwrap();
            })
        });
        assert!(answer.is_ok());
    }

    #[test]
    fn without_a_loop_the_caller_is_told() {
        let (service, receiver) = service();
        drop(receiver);
        let status = block_on(service.status(Request::new(StatusRequest {}))).unwrap_err();
        assert_eq!(status.code(), tonic::Code::Unavailable);
    }
}
