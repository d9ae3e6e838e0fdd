//! Finds messages in the bytes of a stream, before anything decodes them.

/// Names of the pubsub protocols begin so.
const PUBSUB: [&[u8]; 2] = [b"/meshsub/", b"/floodsub/"];
/// Bytes looked at to find one.
const HEAD_BYTES: usize = 10;

/// Finds the frames in the bytes of a stream as they come. Bytes that are no frames (a ping, a request of an address) are
/// counted as if they were; nothing that comes is too odd to be counted.
#[derive(Debug, Default)]
pub(super) struct Frames {
    state: State,
    varint: u64,
    shift: u32,
    /// Bytes left of the frame.
    frame: u64,
    /// The first bytes of a frame: the name of a protocol, if it is one.
    head: Vec<u8>,
    pubsub: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    /// The length of a frame.
    #[default]
    Length,
    /// The content of a frame that is not looked into.
    Content,
    /// In a frame of pubsub: the tag of a field.
    Tag,
    /// A field that is a number.
    Number,
    /// The length of a field.
    FieldLength,
    /// Bytes left of a field.
    Field(u64),
}

impl Frames {
    /// Messages in the next bytes of the stream.
    pub(super) fn count(&mut self, mut bytes: &[u8]) -> u64 {
        let mut count = 0;
        while let Some(&byte) = bytes.first() {
            let taken = match self.state {
                State::Length => self.length(byte, &mut count),
                State::Content => self.content(bytes),
                State::Tag => self.tag(byte, &mut count),
                State::Number => self.number(byte),
                State::FieldLength => self.field_length(byte),
                State::Field(left) => self.field(bytes.len(), left),
            };
            bytes = &bytes[taken..];
        }
        count
    }

    /// The value of a number when its last byte has come.
    fn varint(&mut self, byte: u8) -> Option<u64> {
        self.varint |= u64::from(byte & 0x7f).checked_shl(self.shift).unwrap_or(0);
        self.shift = self.shift.saturating_add(7);
        if byte & 0x80 != 0 {
            return None;
        }
        self.shift = 0;
        Some(std::mem::take(&mut self.varint))
    }

    fn length(&mut self, byte: u8, count: &mut u64) -> usize {
        if let Some(length) = self.varint(byte) {
            self.frame = length;
            self.head.clear();
            // A frame of pubsub is counted by what is in it.
            if !self.pubsub || length == 0 {
                *count += 1;
            }
            self.state = match (length, self.pubsub) {
                (0, _) => State::Length,
                (_, true) => State::Tag,
                (_, false) => State::Content,
            };
        }
        1
    }

    fn content(&mut self, bytes: &[u8]) -> usize {
        let taken = usize::try_from(self.frame).unwrap_or(usize::MAX).min(bytes.len());
        let wanted = (HEAD_BYTES - self.head.len()).min(taken);
        self.head.extend_from_slice(&bytes[..wanted]);
        self.frame -= taken as u64;
        if self.frame == 0 {
            self.pubsub = PUBSUB.iter().any(|name| self.head.starts_with(name));
            self.head.clear();
            self.state = State::Length;
        }
        taken
    }

    /// One byte of the frame is used up; its end ends whatever is in it.
    fn advance(&mut self, next: State) -> usize {
        self.frame -= 1;
        self.state = if self.frame == 0 { self.end() } else { next };
        1
    }

    fn end(&mut self) -> State {
        (self.varint, self.shift) = (0, 0);
        State::Length
    }

    fn tag(&mut self, byte: u8, count: &mut u64) -> usize {
        let Some(tag) = self.varint(byte) else { return self.advance(State::Tag) };
        *count += 1;
        let next = match tag & 7 {
            0 => State::Number,
            1 => State::Field(8),
            2 => State::FieldLength,
            5 => State::Field(4),
            // Broken: whoever decodes it gives up here as well.
            _ => State::Field(u64::MAX),
        };
        self.advance(next)
    }

    fn number(&mut self, byte: u8) -> usize {
        let next = if self.varint(byte).is_some() { State::Tag } else { State::Number };
        self.advance(next)
    }

    fn field_length(&mut self, byte: u8) -> usize {
        let next = match self.varint(byte) {
            Some(0) => State::Tag,
            Some(length) => State::Field(length),
            None => State::FieldLength,
        };
        self.advance(next)
    }

    fn field(&mut self, available: usize, left: u64) -> usize {
        let taken = left.min(self.frame).min(available as u64);
        self.frame -= taken;
        self.state = match (self.frame, left - taken) {
            (0, _) => self.end(),
            (_, 0) => State::Tag,
            (_, left) => State::Field(left),
        };
        usize::try_from(taken).unwrap_or(available)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(content: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut length = content.len();
        while length >= 0x80 {
            bytes.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        bytes.push(length as u8);
        [&bytes, content].concat()
    }

    fn opening() -> Vec<u8> {
        [frame(b"/multistream/1.0.0\n"), frame(b"/meshsub/1.2.0\n")].concat()
    }

    /// Counted at once and byte by byte, which is to be the same.
    fn count(bytes: &[u8]) -> u64 {
        let (mut whole, mut torn) = (Frames::default(), Frames::default());
        let at_once = whole.count(bytes);
        assert_eq!(at_once, bytes.chunks(1).map(|byte| torn.count(byte)).sum::<u64>());
        at_once
    }

    #[test]
    fn each_publication_in_a_frame_of_pubsub_is_one_message() {
        // Field 2, 300 bytes; the tag is 0x12.
        let publication = [&[0x12][..], &frame(&[7; 300])].concat();
        let rpc = frame(&publication.repeat(100));
        assert_eq!(count(&[opening(), rpc.clone(), rpc].concat()), 2 + 200);
    }

    #[test]
    fn tiny_and_empty_frames_are_messages_too() {
        assert_eq!(count(&[opening(), frame(b"").repeat(50)].concat()), 2 + 50);
        assert_eq!(count(&[opening(), frame(&[0x0a, 0]).repeat(50)].concat()), 2 + 50);
    }

    #[test]
    fn frames_of_other_protocols_are_counted_one_by_one() {
        let asked = frame(&[8, 5, 0x12, 2, 1, 1]).repeat(30);
        assert_eq!(count(&[frame(b"/multistream/1.0.0\n"), frame(b"/ipfs/kad/1.0.0\n"), asked].concat()), 32);
    }

    #[test]
    fn what_is_no_message_at_all_ends_with_its_frame() {
        for broken in
            [&[0x13, 9, 9, 9][..], &[0x12, 0xff, 0xff, 0xff, 0x7f], &[0xff; 40], &[0x12], &[0x08, 0xff]]
        {
            let sane = frame(&[0x12, 1, 9]).repeat(10);
            let found = count(&[opening(), frame(broken), sane].concat());
            assert!((12..=13).contains(&found), "{broken:?}: {found}");
        }
    }
}
