//! The peer's stream on one connection: we read it.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::io::AsyncRead;
use peerage_core::gossipsub::peers::Version;

use super::credit::Share;
use super::splitter::{Splitter, TooLong};
use super::{Theirs, Told};

/// Bytes read in one go. The place lies on the stack: a stream that is idle holds none.
const READ_BYTES: usize = 4 << 10;
/// Things told in one go. Who was told so many asks again at once.
pub(super) const BATCH_MAX: usize = 256;

/// See the module's documentation. The newest stream replaces an older one.
#[derive(Debug)]
pub(super) struct Inbound<S> {
    share: Share,
    frame_bytes_max: usize,
    reading: Option<Reading<S>>,
    /// Whether the core thinks that a stream stands.
    stands: bool,
    /// Whether the end of that one is still to be told.
    ended: bool,
}

#[derive(Debug)]
struct Reading<S> {
    stream: S,
    version: Version,
    told: bool,
    splitter: Splitter,
    /// What was read and waits for credit.
    rest: Vec<u8>,
    /// What was told to be held of a frame that has not come whole.
    begun: usize,
}

/// Why nothing more comes on a stream.
enum End {
    Closed,
    TooLong(u64),
}

impl<S: AsyncRead + Unpin> Inbound<S> {
    pub(super) fn new(share: Share, frame_bytes_max: usize) -> Self {
        Self { share, frame_bytes_max, reading: None, stands: false, ended: false }
    }

    /// The peer opened a stream.
    pub(super) fn opened(&mut self, stream: S, version: Version) {
        let splitter = Splitter::new(self.frame_bytes_max);
        self.reading = Some(Reading { stream, version, told: false, splitter, rest: Vec::new(), begun: 0 });
        self.share.begun(0);
    }

    /// Resets the stream. The end of one that the core knows of is told.
    pub(super) fn reset(&mut self) {
        self.reading = None;
        self.share.begun(0);
        self.ended |= mem::take(&mut self.stands);
    }

    /// Tells what came, as far as there is credit for it. Ends and openings need it too: who opens streams without end adds
    /// nothing to what waits.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, told: &mut Vec<Told>) {
        while let Poll::Ready(()) = self.share.poll_ready(cx) {
            if mem::take(&mut self.ended) {
                told.push(Told::Theirs(Theirs::Ended, self.share.take(0)));
            }
            let Some(reading) = &mut self.reading else { return };
            if !mem::replace(&mut reading.told, true) {
                self.stands = true;
                told.push(Told::Theirs(Theirs::Opened(reading.version), self.share.take(0)));
            }
            let Poll::Ready(end) = reading.poll(cx, &self.share, told) else { return };
            if let End::TooLong(bytes) = end {
                told.push(Told::Theirs(Theirs::TooLong(bytes), self.share.take(0)));
            }
            self.reset();
        }
    }
}

impl<S: AsyncRead + Unpin> Reading<S> {
    /// Ready at the end of the stream.
    fn poll(&mut self, cx: &mut Context<'_>, share: &Share, told: &mut Vec<Told>) -> Poll<End> {
        loop {
            let mut buffer = [0; READ_BYTES];
            let rest = mem::take(&mut self.rest);
            let mut input = &rest[..];
            if input.is_empty() {
                ready!(share.poll_ready(cx));
                let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer));
                let Some(bytes) = read.ok().filter(|bytes| *bytes > 0) else {
                    return Poll::Ready(End::Closed);
                };
                input = &buffer[..bytes];
            }
            while !input.is_empty() {
                if told.len() >= BATCH_MAX || share.poll_ready(cx).is_pending() {
                    self.rest = input.to_vec();
                    return Poll::Pending;
                }
                match self.splitter.split(&mut input) {
                    Ok(None) => {}
                    Ok(Some(frame)) => {
                        let in_transit = share.take(frame.len());
                        told.push(Told::Theirs(Theirs::Frame(frame), in_transit));
                    }
                    Err(TooLong(bytes)) => return Poll::Ready(End::TooLong(bytes)),
                }
            }
            let begun = self.splitter.capacity();
            if begun != mem::replace(&mut self.begun, begun) {
                share.begun(begun);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::credit::{CONNECTION_BYTES_MAX, Credit, OVERHEAD};
    use super::super::splitter::tests::delimited;
    use super::*;
    use libp2p::swarm::ConnectionId;
    use std::io;

    /// Numbered frames without end.
    #[derive(Default)]
    struct Endless {
        unread: Vec<u8>,
        next: u32,
    }
    impl AsyncRead for Endless {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            while self.unread.len() < buf.len() {
                let frame = delimited(&self.next.to_be_bytes());
                self.unread.extend(frame);
                self.next += 1;
            }
            buf.copy_from_slice(&self.unread[..buf.len()]);
            self.unread.drain(..buf.len());
            Poll::Ready(Ok(buf.len()))
        }
    }

    /// All that can be told now.
    fn poll(inbound: &mut Inbound<impl AsyncRead + Unpin>) -> Vec<Told> {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut all = Vec::new();
        loop {
            let mut told = Vec::new();
            inbound.poll(&mut cx, &mut told);
            if told.is_empty() {
                return all;
            }
            all.extend(told);
        }
    }

    fn numbers(told: &[Told]) -> Vec<u32> {
        let number = |told: &Told| match told {
            Told::Theirs(Theirs::Frame(frame), _) => Some(u32::from_be_bytes(frame[..].try_into().unwrap())),
            Told::Theirs(..) | Told::Ours(..) => None,
        };
        told.iter().filter_map(number).collect()
    }

    #[test]
    fn reading_stops_while_what_came_is_on_its_way_and_goes_on_where_it_stopped() {
        let credit = Credit::default();
        let mut inbound = Inbound::new(credit.share(ConnectionId::new_unchecked(1)), 1 << 20);
        inbound.opened(Endless::default(), Version::V12);
        let mut next = 0;
        for _ in 0..10 {
            let told = poll(&mut inbound);
            assert!(credit.in_transit() >= CONNECTION_BYTES_MAX);
            assert!(credit.in_transit() < CONNECTION_BYTES_MAX + 4 + OVERHEAD, "{}", credit.in_transit());
            for number in numbers(&told) {
                assert_eq!(number, next);
                next += 1;
            }
            assert!(poll(&mut inbound).is_empty());
            assert!(inbound.reading.as_ref().unwrap().rest.len() <= READ_BYTES);
        }
    }

    #[test]
    fn who_opens_streams_without_end_adds_nothing_to_what_waits() {
        let credit = Credit::default();
        let share = credit.share(ConnectionId::new_unchecked(1));
        let held = share.take(CONNECTION_BYTES_MAX);
        let mut inbound = Inbound::new(share, 1 << 20);
        for _ in 0..100 {
            inbound.opened(io_of(&[]), Version::V12);
            assert!(poll(&mut inbound).is_empty());
        }
        drop(held);
        let told: Vec<_> = poll(&mut inbound).into_iter().map(theirs).collect();
        assert_eq!(told, [Theirs::Opened(Version::V12), Theirs::Ended]);
    }

    #[test]
    fn a_reset_is_answered_though_another_stream_came_meanwhile() {
        let mut inbound = Inbound::new(Credit::default().share(ConnectionId::new_unchecked(1)), 1 << 20);
        inbound.opened(Endless::default(), Version::V11);
        let told = poll(&mut inbound);
        inbound.reset();
        inbound.opened(Endless::default(), Version::V12);
        drop(told);
        let told: Vec<_> = poll(&mut inbound).into_iter().map(theirs).take(3).collect();
        let first = Theirs::Frame(bytes::Bytes::from_static(&[0; 4]));
        assert_eq!(told, [Theirs::Ended, Theirs::Opened(Version::V12), first]);
    }

    fn theirs(told: Told) -> Theirs {
        match told {
            Told::Theirs(theirs, _) => theirs,
            Told::Ours(..) => panic!("it is not ours"),
        }
    }

    fn io_of(bytes: &[u8]) -> futures::io::Cursor<Vec<u8>> {
        futures::io::Cursor::new(bytes.to_vec())
    }
}
