//! A paced client of a node's own control service, `peerage.v1.Control`: one connection, each call at its due time.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use tokio::net::TcpStream;
use tokio::runtime::{self, Runtime};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::{Failure, SOON};

/// `AnnounceRequest { kind: SUBTREE, count, per_second }` as gRPC frames it, not compressed.
fn subtrees(count: u32, per_second: u32) -> Bytes {
    let mut message = vec![0x08, 0x02];
    for (key, mut value) in [(0x10, count), (0x28, per_second)] {
        message.push(key);
        while value > 0x7f {
            message.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        message.push(value as u8);
    }
    [&[0, 0, 0, 0, message.len() as u8][..], &message].concat().into()
}

/// A connection to the control service of a node.
pub struct Control {
    runtime: Runtime,
    requests: SendRequest<Bytes>,
    address: SocketAddr,
    key: String,
}

impl Control {
    /// Connects to the node that runs on the data directory.
    ///
    /// # Errors
    /// If there is none, or it speaks no HTTP/2.
    pub fn connect(data_dir: &Path) -> Result<Self, Failure> {
        let read = |name: &str| {
            let path = data_dir.join(name);
            let text = std::fs::read_to_string(&path);
            text.map(|text| text.trim().to_owned()).map_err(|e| failure(&path.display().to_string(), &e))
        };
        let (address, key) = (read("admin.addr")?, read("admin.key")?);
        let address: SocketAddr = address.parse().map_err(|e| failure(&address, &e))?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| failure("a runtime", &e))?;
        let requests = runtime.block_on(async {
            let socket = TcpStream::connect(address).await.map_err(|e| failure(&address.to_string(), &e))?;
            socket.set_nodelay(true).map_err(|e| failure(&address.to_string(), &e))?;
            let (requests, connection) =
                h2::client::handshake(socket).await.map_err(|e| failure("HTTP/2", &e))?;
            // Its end shows in the calls.
            tokio::spawn(connection);
            Ok::<_, Failure>(requests)
        })?;
        Ok(Self { runtime, requests, address, key })
    }

    /// Announces so many fresh subtrees, each by a call of its own, so many calls a second, and waits until all were
    /// answered. A node that is slower than that is not waited for until the end.
    ///
    /// # Errors
    /// If a call is refused, or the answers take too long.
    pub fn announce_subtrees(&self, count: u32, per_second: u32) -> Result<(), Failure> {
        let all = async {
            let begin = Instant::now();
            let mut answers = JoinSet::new();
            for index in 0..count {
                sleep_until(begin + Duration::from_secs(1) * index / per_second).await;
                answers.spawn(answered(self.call(subtrees(1, 0)).await?));
            }
            while let Some(answer) = answers.join_next().await {
                answer.map_err(|e| failure("a call", &e))??;
            }
            Ok(())
        };
        let within = SOON + Duration::from_secs(1) * count / per_second;
        let late = |e| failure("answers to announcements", &e);
        self.runtime.block_on(async { timeout(within, all).await.map_err(late)? })
    }

    /// Lets the node announce so many fresh subtrees, so many a second; it answers before they are.
    ///
    /// # Errors
    /// If the call is refused.
    pub fn announce_paced(&self, count: u32, per_second: u32) -> Result<(), Failure> {
        let late = |e| failure("an answer to an announcement", &e);
        self.runtime.block_on(async {
            let answer = async { answered(self.call(subtrees(count, per_second)).await?).await };
            timeout(SOON, answer).await.map_err(late)?
        })
    }

    async fn call(&self, message: Bytes) -> Result<ResponseFuture, Failure> {
        let request = http::Request::post(format!("http://{}/peerage.v1.Control/Announce", self.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("x-api-key", &self.key)
            .body(())
            .map_err(|e| failure("a request", &e))?;
        let mut requests = self.requests.clone().ready().await.map_err(|e| failure("a call", &e))?;
        let sent = requests.send_request(request, false);
        let (response, mut body) = sent.map_err(|e| failure("a call", &e))?;
        body.send_data(message, true).map_err(|e| failure("a call", &e))?;
        Ok(response)
    }
}

/// Waits for the end of a call and looks at its status, which stands in the trailers, or in the headers of a refusal.
async fn answered(response: ResponseFuture) -> Result<(), Failure> {
    let response = response.await.map_err(|e| failure("an answer", &e))?;
    let (head, mut body) = response.into_parts();
    while let Some(chunk) = body.data().await {
        let bytes = chunk.map_err(|e| failure("an answer", &e))?.len();
        body.flow_control().release_capacity(bytes).map_err(|e| failure("an answer", &e))?;
    }
    let trailers = body.trailers().await.map_err(|e| failure("an answer", &e))?.unwrap_or_default();
    match trailers.get("grpc-status").or_else(|| head.headers.get("grpc-status")) {
        Some(status) if status == "0" => Ok(()),
        _ => {
            Err(Failure::new(format!("a call was refused: {} {:?} {trailers:?}", head.status, head.headers)))
        }
    }
}

fn failure(what: &str, error: &dyn std::error::Error) -> Failure {
    Failure::new(format!("{what}: {error}"))
}
