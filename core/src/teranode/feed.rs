//! The feed: WebSocket clients that are shown what happens (spec 4).

use bytes::Bytes;

use crate::codec::{codec_enum, codec_struct};

/// Names one client of the feed. Chosen by the shell, never reused by it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SubscriberId(pub u64);

/// What the feed's clients do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A client's upgrade succeeded.
    Joined {
        /// Who.
        id: SubscriberId,
    },
    /// A client is gone.
    Left {
        /// Who.
        id: SubscriberId,
    },
    /// A client's queue of `subscriber_frames_max` frames is full.
    Lagged {
        /// Who.
        id: SubscriberId,
    },
}

/// What the core wants shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Queue a frame. The first frame for a client makes it a receiver of the frames for all.
    Send {
        /// For one client; none: for all that have had their first frame.
        to: Option<SubscriberId>,
        /// One JSON object.
        frame: Bytes,
    },
    /// Close a client.
    Close {
        /// Who.
        id: SubscriberId,
        /// WebSocket close code.
        code: u16,
    },
}

codec_struct!(SubscriberId(id));
codec_enum!(Event { 0 => Joined { id }, 1 => Left { id }, 2 => Lagged { id } });
codec_enum!(Action { 0 => Send { to, frame }, 1 => Close { id, code } });
