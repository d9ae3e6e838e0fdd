//! Peer address requests: `/p2p-msg-bus/peer-addr-request/1.0.0` (libp2p profile, section 4).

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::{BoxFuture, Either, select};
use futures::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use futures::stream::{FuturesUnordered, StreamExt as _};
use futures::{FutureExt as _, pin_mut};
use futures_timer::Delay;
use libp2p::{Stream, StreamProtocol};
use libp2p_stream::{Control, IncomingStreams};
use peerage_core::conn::{AskId, Event};
use peerage_core::input::{Failed, Input, OpResult};
use peerage_core::op::OpId;
use peerage_proto::peer_addr_request as wire;
use peerage_proto::{Multiaddr, PeerId};

use super::convert;

const PROTOCOL: StreamProtocol = StreamProtocol::new(wire::PROTOCOL);
/// Longest life of one request.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Requests of others at once; further ones are closed unanswered.
const REQUESTS_MAX: usize = 64;
/// Of them: requests of one peer, so that none takes every place. An honest peer asks one question at a time for each
/// author that it seeks.
const REQUESTS_PER_PEER_MAX: usize = 8;

/// The places of requests, by who holds them.
#[derive(Debug, Default)]
struct Places {
    held: BTreeMap<PeerId, usize>,
    taken: usize,
}

impl Places {
    /// Takes a place for `peer`, if one is free and its share is not used up.
    fn take(&mut self, peer: PeerId) -> bool {
        let held = self.held.get(&peer).copied().unwrap_or(0);
        if self.taken >= REQUESTS_MAX || held >= REQUESTS_PER_PEER_MAX {
            return false;
        }
        self.held.insert(peer, held + 1);
        self.taken += 1;
        true
    }

    /// Gives a place of `peer` back.
    fn free(&mut self, peer: &PeerId) {
        let Some(held) = self.held.get_mut(peer) else { return };
        *held -= 1;
        self.taken -= 1;
        if *held == 0 {
            self.held.remove(peer);
        }
    }
}

/// Requests of others and our own.
pub struct Streams {
    control: Control,
    incoming: IncomingStreams,
    work: FuturesUnordered<BoxFuture<'static, Done>>,
    /// Questions that the core has not answered yet, and who asks.
    asked: BTreeMap<AskId, (PeerId, Stream)>,
    places: Places,
    next: u64,
}

enum Done {
    Asked { from: PeerId, target: PeerId, stream: Stream },
    Answered { op: OpId, result: Result<Vec<Multiaddr>, Failed> },
    Over { from: PeerId },
}

impl std::fmt::Debug for Streams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Streams").field("asked", &self.asked.len()).field("work", &self.work.len()).finish()
    }
}

impl Streams {
    /// Answers requests on `control`'s swarm.
    ///
    /// # Errors
    /// When the protocol is answered already.
    pub fn new(mut control: Control) -> Result<Self, String> {
        let incoming = control.accept(PROTOCOL).map_err(|error| error.to_string())?;
        let (work, asked, places) = (FuturesUnordered::new(), BTreeMap::new(), Places::default());
        Ok(Self { control, incoming, work, asked, places, next: 0 })
    }

    /// Asks `via` for the addresses of `target`.
    pub fn ask(&mut self, op: OpId, via: libp2p::PeerId, target: PeerId) {
        let mut control = self.control.clone();
        self.work.push(
            async move {
                let asking = async {
                    let mut stream =
                        control.open_stream(via, PROTOCOL).await.map_err(|error| error.to_string())?;
                    ask(&mut stream, &target).await
                };
                let result = within(asking).await.unwrap_or_else(|| Err("no answer in time".to_owned()));
                Done::Answered { op, result: result.map_err(Failed) }
            }
            .boxed(),
        );
    }

    /// Answers a question.
    pub fn answer(&mut self, ask: AskId, addrs: Vec<Multiaddr>) {
        let Some((from, mut stream)) = self.asked.remove(&ask) else { return };
        let write = async move {
            let mut text = Vec::new();
            wire::encode_answer(&addrs, &mut text);
            stream.write_all(&text).await?;
            stream.close().await
        };
        self.work.push(within(write).map(move |_| Done::Over { from }).boxed());
    }

    /// The next thing that the core is told.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Input> {
        while let Poll::Ready(Some((from, stream))) = self.incoming.poll_next_unpin(cx) {
            let Some(from) = convert::peer(&from) else { continue };
            if self.places.take(from) {
                let reading = within(read_request(from, stream));
                self.work.push(reading.map(move |done| done.unwrap_or(Done::Over { from })).boxed());
            }
        }
        while let Poll::Ready(Some(done)) = self.work.poll_next_unpin(cx) {
            match done {
                Done::Over { from } => self.places.free(&from),
                Done::Answered { op, result } => {
                    return Poll::Ready(Input::Op(op, OpResult::Addresses(result)));
                }
                Done::Asked { from, target, stream } => {
                    self.next += 1;
                    let ask = AskId(self.next);
                    self.asked.insert(ask, (from, stream));
                    return Poll::Ready(Input::Conn(Event::AddressesAsked { ask, from, target }));
                }
            }
        }
        Poll::Pending
    }
}

/// Writes the question and reads the answer.
async fn ask(
    stream: &mut (impl AsyncRead + futures::AsyncWrite + Unpin),
    target: &PeerId,
) -> Result<Vec<Multiaddr>, String> {
    let mut request = Vec::new();
    wire::encode_request(target, &mut request);
    let talk = async {
        stream.write_all(&request).await?;
        stream.flush().await?;
        // Our half stays open: the answerer reads once and needs no end.
        let answer = read_to_end(stream, wire::ANSWER_BYTES_MAX).await?;
        stream.close().await?;
        io::Result::Ok(answer)
    };
    let answer = talk.await.map_err(|error| error.to_string())?;
    wire::decode_answer(&answer).map_err(|error| format!("the answer is unreadable: {error}"))
}

/// Reads until the other end closes, `max` bytes at most.
async fn read_to_end(stream: &mut (impl AsyncRead + Unpin), max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.take(max as u64).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

/// Reads the question: at most 256 bytes, at one read, as in Go.
async fn read_request(from: PeerId, mut stream: Stream) -> Done {
    let mut request = [0; wire::REQUEST_BYTES_MAX];
    let Ok(length) = stream.read(&mut request).await else { return Done::Over { from } };
    match wire::decode_request(&request[..length]) {
        Ok(target) => Done::Asked { from, target, stream },
        Err(_) => {
            // A close and no answer; a stream that is dropped open would be reset.
            let _ = stream.close().await;
            Done::Over { from }
        }
    }
}

/// The result of `work`, if it comes in time.
async fn within<T>(work: impl Future<Output = T>) -> Option<T> {
    pin_mut!(work);
    match select(work, Delay::new(TIMEOUT)).await {
        Either::Left((done, _)) => Some(done),
        Either::Right(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;
    use futures::io::Cursor;

    #[test]
    fn one_peer_cannot_hold_every_place_and_a_place_given_back_is_free() {
        let peer = |n: u8| PeerId::from_ed25519(&[n; 32]);
        let mut places = Places::default();
        let of_one = (0..REQUESTS_MAX).filter(|_| places.take(peer(1))).count();
        assert_eq!(of_one, REQUESTS_PER_PEER_MAX);
        assert!(places.take(peer(2)), "another's share is its own");
        places.free(&peer(1));
        assert!(places.take(peer(1)) && !places.take(peer(1)));
        let others = (3..=255).filter(|n| places.take(peer(*n))).count();
        assert_eq!(REQUESTS_PER_PEER_MAX + 1 + others, REQUESTS_MAX);
    }

    #[test]
    fn an_answer_is_read_no_further_than_its_limit() {
        let mut endless = Cursor::new(vec![b'x'; 3 * wire::ANSWER_BYTES_MAX]);
        assert_eq!(
            block_on(read_to_end(&mut endless, wire::ANSWER_BYTES_MAX)).unwrap().len(),
            wire::ANSWER_BYTES_MAX
        );
    }
}
