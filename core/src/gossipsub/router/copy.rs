//! A message in the form in which it is sent: made once, for whoever it goes to.

use alloc::vec::Vec;
use core::ops::Range;

use bytes::Bytes;
use peerage_proto::pubsub::Message;

use crate::state::state;

state! {
    /// One frame with one message in its canonical form, and where its parts stand.
    #[derive(Clone, Debug)]
    pub(super) struct Copy {
        /// The RPC with its length in front.
        pub(super) frame: Bytes,
        message_at: u32,
        data_at: u32,
        data_len: u32,
    }
}

impl Copy {
    /// The copy of `message`.
    pub(super) fn of(message: &Message<'_>) -> Self {
        let mut frame = Vec::new();
        let message_at = message.encode_frame(&mut frame);
        let (data_at, data_len) = message.data_at();
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self {
            message_at: place(message_at),
            data_at: place(message_at + data_at),
            data_len: place(data_len),
            frame: frame.into(),
        }
    }

    /// The message in its canonical form.
    pub(super) fn message(&self) -> &[u8] {
        self.frame.get(self.message_at as usize..).unwrap_or_default()
    }

    /// Its payload.
    pub(super) fn data(&self) -> Bytes {
        let at = self.data_at as usize;
        let Range { start, end } = at..at.saturating_add(self.data_len as usize);
        if end <= self.frame.len() { self.frame.slice(start..end) } else { Bytes::new() }
    }
}
