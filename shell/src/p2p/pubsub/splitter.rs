//! Frames out of the bytes of a stream: each a length as varint, and so many bytes.

use bytes::Bytes;

/// A length is at most so many bytes long, as in Go: what needs more is none.
const LENGTH_BYTES_MAX: u32 = 9;

/// A frame is longer than it may be, or its length is none: then this is the largest number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TooLong(pub(super) u64);

/// Finds frames. Nothing is allocated for a length: room grows with the bytes that came. Each frame owns exactly its bytes. To
/// slice it from the buffer of a read would save the copy of a small frame; but the core keeps messages for several
/// heartbeats, and one of 300 bytes would keep that whole buffer.
#[derive(Debug)]
pub(super) struct Splitter {
    bytes_max: usize,
    length: u64,
    length_bytes: u32,
    /// The frame that has begun, once its length is known.
    body: Option<Body>,
}

#[derive(Debug)]
struct Body {
    length: usize,
    bytes: Vec<u8>,
}

impl Splitter {
    /// Takes frames up to `bytes_max`.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, length: 0, length_bytes: 0, body: None }
    }

    /// The next frame, if its last byte is there. What was used is taken off `input`.
    ///
    /// # Errors
    /// When the stream makes no sense from here on.
    pub(super) fn split(&mut self, input: &mut &[u8]) -> Result<Option<Bytes>, TooLong> {
        if self.body.is_none() {
            let Some(length) = self.length(input)? else { return Ok(None) };
            if input.len() >= length {
                return Ok(Some(Bytes::copy_from_slice(cut(input, length))));
            }
            self.body = Some(Body { length, bytes: Vec::new() });
        }
        let Some(body) = &mut self.body else { return Ok(None) };
        let missing = body.length - body.bytes.len();
        let new = cut(input, missing.min(input.len()));
        if body.bytes.capacity() - body.bytes.len() < new.len() {
            let doubled = body.bytes.len().saturating_mul(2).max(body.bytes.len() + new.len());
            body.bytes.reserve_exact(doubled.min(body.length) - body.bytes.len());
        }
        body.bytes.extend_from_slice(new);
        if body.bytes.len() < body.length {
            return Ok(None);
        }
        Ok(self.body.take().map(|body| Bytes::from(body.bytes)))
    }

    /// The length, when its last byte is there.
    fn length(&mut self, input: &mut &[u8]) -> Result<Option<usize>, TooLong> {
        while let Some((&byte, rest)) = input.split_first() {
            *input = rest;
            self.length |= u64::from(byte & 0x7f) << (7 * self.length_bytes);
            self.length_bytes += 1;
            let is_last = byte & 0x80 == 0;
            // As Go's reader: neither too many bytes nor useless ones.
            if !is_last && self.length_bytes == LENGTH_BYTES_MAX || byte == 0 && self.length_bytes > 1 {
                return Err(TooLong(u64::MAX));
            }
            if is_last {
                let length = std::mem::take(&mut self.length);
                self.length_bytes = 0;
                let fits = usize::try_from(length).ok().filter(|length| *length <= self.bytes_max);
                return fits.ok_or(TooLong(length)).map(Some);
            }
        }
        Ok(None)
    }

    /// Bytes held for a frame that has not come whole.
    pub(super) fn capacity(&self) -> usize {
        self.body.as_ref().map_or(0, |body| body.bytes.capacity())
    }
}

fn cut<'a>(input: &mut &'a [u8], at: usize) -> &'a [u8] {
    let (head, rest) = input.split_at(at);
    *input = rest;
    head
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `frame` with its length in front.
    pub(in crate::p2p::pubsub) fn delimited(frame: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut length = frame.len();
        while length >= 0x80 {
            bytes.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        bytes.push(length as u8);
        [&bytes, frame].concat()
    }

    fn all(splitter: &mut Splitter, mut input: &[u8]) -> Result<Vec<Bytes>, TooLong> {
        let mut frames = Vec::new();
        while !input.is_empty() {
            frames.extend(splitter.split(&mut input)?);
        }
        Ok(frames)
    }

    proptest! {
        #[test]
        fn however_the_bytes_are_torn_the_frames_are_the_same(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 0..20),
            cuts in prop::collection::vec(1_usize..700, 1..40),
        ) {
            let bytes: Vec<u8> = frames.iter().flat_map(|frame| delimited(frame)).collect();
            let mut splitter = Splitter::new(600);
            let (mut found, mut rest) = (Vec::new(), &bytes[..]);
            for size in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let size = (*size).min(rest.len());
                found.extend(all(&mut splitter, cut(&mut rest, size)).unwrap());
            }
            prop_assert_eq!(found, frames);
        }

        #[test]
        fn no_bytes_are_too_odd(
            bytes in prop::collection::vec(prop_oneof![Just(0xff), Just(0x80), 0_u8..20], 0..2000),
        ) {
            let mut splitter = Splitter::new(1000);
            let _ = all(&mut splitter, &bytes);
            prop_assert!(splitter.capacity() <= 1000);
        }
    }

    #[test]
    fn a_frame_of_the_longest_length_is_taken_and_one_byte_more_is_not() {
        let mut splitter = Splitter::new(1 << 20);
        let longest = vec![7; 1 << 20];
        assert_eq!(all(&mut splitter, &delimited(&longest)).unwrap(), [longest]);
        let longer = delimited(&vec![7; (1 << 20) + 1]);
        assert_eq!(all(&mut splitter, &longer[..3]), Err(TooLong((1 << 20) + 1)));
    }

    #[test]
    fn a_length_that_is_none_is_told_from_one_that_is_too_long() {
        let broken = |bytes: &[u8]| all(&mut Splitter::new(1 << 20), bytes);
        assert_eq!(broken(&[0xff; 9]), Err(TooLong(u64::MAX)), "it has no end");
        assert_eq!(broken(&[0x85, 0x00]), Err(TooLong(u64::MAX)), "it is longer than it need be");
        let nine = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
        assert_eq!(broken(&nine), Err(TooLong(u64::MAX >> 1)));
        assert_eq!(broken(&[0]), Ok(vec![Bytes::new()]));
    }

    #[test]
    fn nothing_is_allocated_for_a_length_whose_bytes_have_not_come() {
        let mut splitter = Splitter::new(1 << 20);
        let announced = delimited(&vec![1; 1 << 20]);
        assert!(all(&mut splitter, &announced[..3]).unwrap().is_empty());
        assert_eq!(splitter.capacity(), 0);
        let (begun, rest) = announced[3..].split_at(100_000);
        for (nth, bytes) in begun.chunks(1000).enumerate() {
            assert!(all(&mut splitter, bytes).unwrap().is_empty());
            let came = 1000 * (nth + 1);
            assert!(splitter.capacity() <= 2 * came, "{} for {came}", splitter.capacity());
        }
        assert_eq!(all(&mut splitter, rest).unwrap(), [vec![1; 1 << 20]]);
    }

    #[test]
    fn a_frame_holds_no_more_than_its_own_bytes() {
        let mut splitter = Splitter::new(1 << 20);
        let two = [delimited(&[1; 300]), delimited(&[2; 5000])].concat();
        let mut frames = all(&mut splitter, &two[..2000]).unwrap();
        frames.extend(all(&mut splitter, &two[2000..]).unwrap());
        let kept: Vec<usize> = frames.into_iter().map(|frame| Vec::from(frame).capacity()).collect();
        assert_eq!(kept, [300, 5000]);
    }
}
