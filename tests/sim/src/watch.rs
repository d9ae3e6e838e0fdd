//! What became of each message: an oracle that only remembers.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use peerage_core::Action;
use peerage_core::conn::{self, DisconnectReason};
use peerage_core::gossipsub::stream;
use peerage_proto::pubsub::{Message, SIGNING_PREFIX};

use crate::oracles::{Oracle, Seen};

/// A message of a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Published {
    /// Which node's.
    pub by: usize,
    /// When, in microseconds of the world.
    pub at: u64,
    /// On which topic.
    pub topic: String,
    /// Who has it, and since when.
    pub delivered: BTreeMap<usize, u64>,
}

/// What was seen.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Log {
    /// By id.
    pub messages: BTreeMap<Bytes, Published>,
    /// Peers closed because they seemed deaf.
    pub barks: u64,
}

impl Log {
    /// Messages of topics that end in `topic`, published in `since..until`.
    pub fn of(&self, topic: &str, since: u64, until: u64) -> impl Iterator<Item = &Published> {
        let is_meant = move |published: &&Published| {
            published.topic.ends_with(topic) && (since..until).contains(&published.at)
        };
        self.messages.values().filter(is_meant)
    }
}

/// Shares its log with whoever looks on.
#[derive(Clone, Debug, Default)]
pub struct Watch(Rc<RefCell<Log>>);

impl Watch {
    /// What was seen so far.
    pub fn log(&self) -> Log {
        self.0.borrow().clone()
    }
}

impl Oracle for Watch {
    fn name(&self) -> &'static str {
        "watch"
    }

    fn after(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        let (mut log, at) = (self.0.borrow_mut(), seen.at);
        for action in seen.actions {
            if let Action::Conn(conn::Action::Close { reason: DisconnectReason::Deaf, .. }) = action {
                log.barks += 1;
            }
            let Action::Gossipsub(stream::Action::Sign { bytes, .. }) = action else { continue };
            let message = bytes.strip_prefix(SIGNING_PREFIX).and_then(|bytes| Message::decode(bytes).ok());
            let Some(message) = message else { return Err("what is to be signed is no message".into()) };
            let topic = message.topic_str().unwrap_or_default().into();
            let published = Published { by: seen.node, at, topic, delivered: BTreeMap::new() };
            log.messages.insert(message.message_id().into(), published);
        }
        for delivered in seen.delivered {
            if let Some(published) = log.messages.get_mut(&delivered.id) {
                published.delivered.insert(seen.node, at);
            }
        }
        Ok(())
    }
}
