//! Our stream on one connection: we write it. It is read as well, since that alone shows that the peer ended it.

use std::collections::VecDeque;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use futures::io::{AsyncRead, AsyncWrite};
use peerage_core::gossipsub::peers::Version;
use peerage_core::gossipsub::stream::{StreamEnd, WRITTEN_BYTES_MIN};

use super::{Attempt, Ours, Told};

/// Small frames are gathered up to so many bytes: what the multiplexer writes at once.
const GATHER_BYTES: usize = 16 << 10;
/// What the peer says on our stream is nothing to us. Reads of it in one go.
const READS_MAX: usize = 16;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Outbound<S> {
    attempt: Attempt,
    state: State<S>,
    news: VecDeque<Ours>,
}

#[derive(Debug)]
enum State<S> {
    Absent,
    /// To be asked for.
    Wanted,
    Negotiating,
    Open(Writing<S>),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Outbound<S> {
    pub(super) fn new() -> Self {
        Self { attempt: 0, state: State::Absent, news: VecDeque::new() }
    }

    /// A stream is wanted.
    pub(super) fn open(&mut self, attempt: Attempt) {
        (self.attempt, self.state) = (attempt, State::Wanted);
    }

    /// None is wanted any more. Nothing is told of it.
    pub(super) fn close(&mut self) {
        self.state = State::Absent;
        self.news.clear();
    }

    /// The attempt to be begun now.
    pub(super) fn take_wanted(&mut self) -> Option<Attempt> {
        let State::Wanted = self.state else { return None };
        self.state = State::Negotiating;
        Some(self.attempt)
    }

    /// A stream was opened. One that is not wanted any more is dropped.
    pub(super) fn opened(&mut self, attempt: Attempt, stream: S, version: Version) {
        if self.is_negotiating(attempt) {
            self.state = State::Open(Writing::new(stream));
            self.news.push_back(Ours::Opened(version));
        }
    }

    /// None can be had on this connection.
    pub(super) fn refuse(&mut self) {
        self.state = State::Absent;
        self.news.push_back(Ours::Ended(StreamEnd::Unsupported));
    }

    /// None could be opened.
    pub(super) fn failed(&mut self, attempt: Attempt, end: StreamEnd) {
        if self.is_negotiating(attempt) {
            self.state = State::Absent;
            self.news.push_back(Ours::Ended(end));
        }
    }

    fn is_negotiating(&self, attempt: Attempt) -> bool {
        matches!(self.state, State::Negotiating) && attempt == self.attempt
    }

    /// Frames to write. Without a stream they are dropped.
    pub(super) fn send(&mut self, mut frames: Vec<Bytes>) {
        let State::Open(writing) = &mut self.state else { return };
        frames.retain(|frame| !frame.is_empty());
        match writing.frames.is_empty() {
            // An idle stream keeps no room for a busy one's frames.
            true => writing.frames = frames.into(),
            false => writing.frames.extend(frames),
        }
    }

    /// Writes, and tells what there is to tell.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, told: &mut Vec<Told>) {
        if let State::Open(writing) = &mut self.state {
            while let Poll::Ready(written) = writing.poll(cx) {
                let Ok(bytes) = written else {
                    self.state = State::Absent;
                    self.news.push_back(Ours::Ended(StreamEnd::Closed));
                    break;
                };
                self.news.push_back(Ours::Written(bytes));
            }
        }
        told.extend(self.news.drain(..).map(|news| Told::Ours(self.attempt, news)));
    }
}

/// The peer ended the stream, or reset it.
struct Ended;

#[derive(Debug)]
struct Writing<S> {
    stream: S,
    frames: VecDeque<Bytes>,
    /// What is being written.
    current: Bytes,
    /// Bytes written and not flushed.
    unflushed: u64,
    /// Bytes flushed and not told.
    untold: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Writing<S> {
    fn new(stream: S) -> Self {
        Self { stream, frames: VecDeque::new(), current: Bytes::new(), unflushed: 0, untold: 0 }
    }

    /// Ready when enough bytes were flushed, and at the end of the stream.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<u64, Ended>> {
        if self.poll_end(cx).is_ready() {
            return Poll::Ready(Err(Ended));
        }
        loop {
            if self.current.is_empty() {
                self.current = self.next();
            }
            // What is told has left the multiplexer's queue. So it is flushed at each step of the window, too.
            if self.unflushed >= WRITTEN_BYTES_MIN || self.current.is_empty() && self.unflushed > 0 {
                ready!(Pin::new(&mut self.stream).poll_flush(cx)).map_err(|_| Ended)?;
                self.untold += mem::take(&mut self.unflushed);
            }
            if self.untold >= WRITTEN_BYTES_MIN {
                return Poll::Ready(Ok(mem::take(&mut self.untold)));
            }
            if self.current.is_empty() {
                return Poll::Pending;
            }
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.current)) {
                Ok(0) | Err(_) => return Poll::Ready(Err(Ended)),
                Ok(bytes) => {
                    self.current.advance(bytes);
                    self.unflushed += bytes as u64;
                }
            }
        }
    }

    /// What is to be written next: several small frames together, or one as it is.
    fn next(&mut self) -> Bytes {
        let mut bytes = 0;
        let fits = |frame: &&Bytes| {
            bytes += frame.len();
            bytes <= GATHER_BYTES
        };
        let count = self.frames.iter().take_while(fits).count();
        if count > 1 {
            return self.frames.drain(..count).collect::<Vec<_>>().concat().into();
        }
        if self.frames.is_empty() {
            self.frames = VecDeque::new();
        }
        self.frames.pop_front().unwrap_or_default()
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut buffer = [0; 256];
        for _ in 0..READS_MAX {
            if let Ok(0) | Err(_) = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                return Poll::Ready(());
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    /// Notes what is written. The peer says nothing until it ends the stream.
    #[derive(Default)]
    struct Noted {
        writes: Vec<Vec<u8>>,
        cannot_write: bool,
        cannot_flush: bool,
        is_ended: bool,
    }
    impl AsyncRead for Noted {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
            if self.is_ended { Poll::Ready(Ok(0)) } else { Poll::Pending }
        }
    }
    impl AsyncWrite for Noted {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            if self.cannot_write {
                return Poll::Pending;
            }
            let bytes = buf.len().min(GATHER_BYTES);
            self.writes.push(buf[..bytes].to_vec());
            Poll::Ready(Ok(bytes))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            if self.cannot_flush { Poll::Pending } else { Poll::Ready(Ok(())) }
        }
        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn poll(outbound: &mut Outbound<Noted>) -> Vec<Ours> {
        let mut told = Vec::new();
        outbound.poll(&mut Context::from_waker(std::task::Waker::noop()), &mut told);
        let ours = |told| match told {
            Told::Ours(_, ours) => ours,
            Told::Theirs(..) => panic!("it is ours"),
        };
        told.into_iter().map(ours).collect()
    }

    fn opened() -> Outbound<Noted> {
        let mut outbound = Outbound::new();
        outbound.open(1);
        assert_eq!(outbound.take_wanted(), Some(1));
        outbound.opened(1, Noted::default(), Version::V12);
        assert_eq!(poll(&mut outbound), [Ours::Opened(Version::V12)]);
        outbound
    }

    fn writing(outbound: &mut Outbound<Noted>) -> &mut Writing<Noted> {
        match &mut outbound.state {
            State::Open(writing) => writing,
            State::Absent | State::Wanted | State::Negotiating => panic!("it stands"),
        }
    }

    #[test]
    fn small_frames_are_written_together_and_in_order() {
        let mut outbound = opened();
        let frames: Vec<Bytes> = (0..100).map(|number| Bytes::from(vec![number; 100])).collect();
        outbound.send(frames.clone());
        outbound.send(vec![Bytes::from(vec![200; 10_000]), Bytes::from(vec![201; 50_000])]);
        let told = poll(&mut outbound);
        let writes = writing(&mut outbound).stream.writes.clone();
        let sizes: Vec<_> = writes.iter().map(Vec::len).collect();
        assert_eq!(sizes, [10_000, 10_000, 16_384, 16_384, 16_384, 848]);
        assert_eq!(writes[0], frames.concat());
        assert_eq!(told, [20_000, 16_384, 16_384, 16_384].map(Ours::Written));
        assert!(writing(&mut outbound).frames.capacity() == 0, "an idle stream holds nothing");
    }

    #[test]
    fn what_is_not_flushed_is_not_told() {
        let mut outbound = opened();
        writing(&mut outbound).stream.cannot_flush = true;
        outbound.send(vec![Bytes::from(vec![1; 20_000])]);
        assert!(poll(&mut outbound).is_empty());
        writing(&mut outbound).stream.cannot_flush = false;
        assert_eq!(poll(&mut outbound), [Ours::Written(16_384)]);
        outbound.send(vec![Bytes::from(vec![1; 12_768])]);
        assert_eq!(poll(&mut outbound), [Ours::Written(16_384)], "the rest of the first counts");
    }

    #[test]
    fn the_end_is_seen_though_nothing_can_be_written() {
        let mut outbound = opened();
        outbound.send(vec![Bytes::from_static(b"x")]);
        writing(&mut outbound).stream = Noted { cannot_write: true, is_ended: true, ..Noted::default() };
        assert_eq!(poll(&mut outbound), [Ours::Ended(StreamEnd::Closed)]);
        outbound.send(vec![Bytes::from_static(b"dropped")]);
        assert!(poll(&mut outbound).is_empty());
    }

    #[test]
    fn an_attempt_that_is_not_wanted_any_more_is_told_nothing_of() {
        let mut outbound = Outbound::new();
        outbound.open(1);
        assert_eq!(outbound.take_wanted(), Some(1));
        outbound.close();
        outbound.open(2);
        assert_eq!(outbound.take_wanted(), Some(2));
        outbound.opened(1, Noted::default(), Version::V10);
        outbound.failed(1, StreamEnd::Failed);
        assert!(poll(&mut outbound).is_empty());
        outbound.failed(2, StreamEnd::Failed);
        assert_eq!(poll(&mut outbound), [Ours::Ended(StreamEnd::Failed)]);
    }
}
