//! One client of the feed: frames out, pings, and whatever it sends read and thrown away (spec 4.3, 14.6).

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::error::ProtocolError;
use async_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use async_tungstenite::tungstenite::{Bytes, Error, Message};
use futures::future::{Either, select};
use futures::{FutureExt as _, StreamExt as _, pin_mut};
use futures_timer::Delay;

use super::hub::{Membership, Next};
use crate::p2p::Duplex;

/// Longest frame that a client may send.
pub const INBOUND_BYTES_MAX: usize = 1024;
/// Read at once: clients have nothing to say.
const READ_BYTES: usize = 256;
/// Frames that a client may send in [`INBOUND_WINDOW`], pings and pongs included.
pub const INBOUND_FRAMES_MAX: u32 = 100;
/// The window of the above.
pub const INBOUND_WINDOW: Duration = Duration::from_secs(60);
/// Longest time for writing one frame.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Between pings.
pub const PING_INTERVAL: Duration = Duration::from_secs(54);
/// A client not heard for this long is closed.
pub const PONG_WAIT: Duration = Duration::from_secs(60);
/// Longest time for saying goodbye.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The library's own buffers would cost 135 KB a client.
fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(1 << 20)
        .max_message_size(Some(INBOUND_BYTES_MAX))
        .max_frame_size(Some(INBOUND_BYTES_MAX))
}

/// Serves one client until either side has had enough. `read` are bytes that came with its request.
pub async fn serve(socket: impl Duplex, read: Vec<u8>, mut member: Membership) {
    let mut ws = WebSocketStream::from_partially_read(socket, read, Role::Server, Some(config())).await;
    member.joined();
    if let Some(code) = talk(&mut ws, &member).await {
        let close = ws.close(Some(CloseFrame { code: code.into(), reason: "".into() }));
        // Whoever does not listen is dropped without goodbye.
        let _ = within(CLOSE_TIMEOUT, close).await;
    }
}

enum Event {
    Queue(Next),
    Heard(Option<Result<Message, Error>>),
    Ping,
}

/// Returns the code to close with; none when the client is gone already.
async fn talk(ws: &mut WebSocketStream<impl Duplex>, member: &Membership) -> Option<u16> {
    let mut heard = Heard::new();
    let mut ping = Delay::new(PING_INTERVAL);
    loop {
        let event = poll_fn(|cx| {
            if let Poll::Ready(next) = member.poll_next(cx) {
                return Poll::Ready(Event::Queue(next));
            }
            if let Poll::Ready(message) = ws.poll_next_unpin(cx) {
                return Poll::Ready(Event::Heard(message));
            }
            ping.poll_unpin(cx).map(|()| Event::Ping)
        })
        .await;
        match event {
            Event::Queue(Next::Close(code)) => return Some(code),
            Event::Queue(Next::Frame(frame)) => send(ws, member, Message::Text(frame)).await?,
            Event::Heard(Some(Ok(Message::Close(_)))) => {
                // The answer to a goodbye is a goodbye; whether it arrives is the client's affair.
                let _ = within(CLOSE_TIMEOUT, ws.close(None)).await;
                return None;
            }
            Event::Heard(None) => return None,
            Event::Heard(Some(Err(Error::Capacity(_)))) => return Some(1009),
            Event::Heard(Some(Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)))) => {
                return None;
            }
            Event::Heard(Some(Err(Error::Protocol(_)))) => return Some(1002),
            Event::Heard(Some(Err(Error::Utf8(_)))) => return Some(1007),
            Event::Heard(Some(Err(_))) => return None,
            Event::Heard(Some(Ok(
                Message::Text(_)
                | Message::Binary(_)
                | Message::Ping(_)
                | Message::Pong(_)
                | Message::Frame(_),
            ))) => {
                if !heard.one_more() {
                    return Some(1008);
                }
            }
            Event::Ping if heard.last.elapsed() > PONG_WAIT => return Some(1001),
            Event::Ping => {
                ping.reset(PING_INTERVAL);
                send(ws, member, Message::Ping(Bytes::new())).await?;
            }
        }
    }
}

/// Writes one frame. None: the client is gone, too slow, or to be closed meanwhile.
async fn send(ws: &mut WebSocketStream<impl Duplex>, member: &Membership, message: Message) -> Option<()> {
    let closed = poll_fn(|cx| member.poll_close(cx));
    let write = within(WRITE_TIMEOUT, ws.send(message));
    pin_mut!(closed, write);
    match select(write, closed).await {
        Either::Left((Some(Ok(())), _)) => Some(()),
        Either::Left((Some(Err(_)) | None, _)) | Either::Right(_) => None,
    }
}

/// What came from a client, and how fast.
struct Heard {
    last: Instant,
    window: Instant,
    count: u32,
}

impl Heard {
    fn new() -> Self {
        Self { last: Instant::now(), window: Instant::now(), count: 0 }
    }

    fn one_more(&mut self) -> bool {
        self.last = Instant::now();
        if self.window.elapsed() > INBOUND_WINDOW {
            self.window = self.last;
            self.count = 0;
        }
        self.count += 1;
        self.count <= INBOUND_FRAMES_MAX
    }
}

/// The result of `work`, if it comes in time.
pub(crate) async fn within<T>(time: Duration, work: impl Future<Output = T>) -> Option<T> {
    pin_mut!(work);
    // Nearly all work is done at once; a timer costs more than the work.
    if let Poll::Ready(done) = poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await {
        return Some(done);
    }
    match select(work, Delay::new(time)).await {
        Either::Left((done, _)) => Some(done),
        Either::Right(_) => None,
    }
}
