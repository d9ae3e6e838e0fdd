//! What puppets do against the protocol of streams: forgeries, floods, broken frames.

use bytes::Bytes;
use peerage_core::conn::ConnectionId;
use peerage_core::gossipsub::{Topic, stream};
use peerage_proto::pubsub::{Control, Extensions, Graft, IDontWant, IHave, IWant, Message, Prune, Rpc};

use super::puppet::{mutated, name, subscriptions, written};
use super::{End, World, hash_of};

/// Number of breaches.
pub(super) const KINDS: u64 = 15;
/// Entries of a flood.
const FLOOD: u64 = 300;

fn control(control: Control<'_>) -> Vec<u8> {
    written(|out| Rpc { control: Some(control), ..Rpc::default() }.encode(out))
}

fn invented(salt: u64, count: u64) -> Vec<Bytes> {
    (0..count).map(|nth| Bytes::copy_from_slice(&hash_of("invented", salt * FLOOD + nth).0)).collect()
}

impl World {
    /// A puppet does something against the protocol, on a link that it has to `node`.
    pub(super) fn mischief(&mut self, end: End, link: u64, node: usize, kind: u64, salt: u64) {
        let topics = self.topics(node);
        let frame = match kind {
            0 => {
                self.forged_copy(salt, |message, data| (message.data, message.signature) = (Some(data), None))
            }
            1 => self.forged_copy(salt, |message, data| message.data = Some(data)),
            2 => self.forged_copy(salt, |_, _| {}),
            3 => mutated(self.puppet_message(end, node, salt % 8, salt), salt),
            4 => grafts(&topics, 40),
            5 => {
                let ids = invented(salt, FLOOD);
                let topic = Some(topics[salt as usize % topics.len()].as_str().as_bytes());
                let message_ids = ids.iter().map(|id| &id[..]).collect();
                control(Control { ihave: vec![IHave { topic, message_ids }], ..Control::default() })
            }
            6 => {
                let ids = self.known_ids(salt);
                let iwant =
                    ids.chunks(50).map(|ids| IWant { message_ids: ids.iter().map(|id| &id[..]).collect() });
                control(Control { iwant: iwant.collect(), ..Control::default() })
            }
            7 => {
                let (connection, bytes) = (ConnectionId(link), (1 << 20) + salt);
                let event = stream::Event::FrameTooLong { connection, bytes };
                return self.puppet_writes(end, link, event);
            }
            8 => {
                let all: Vec<_> =
                    invented(salt, FLOOD).into_iter().map(|topic| (!salt.is_multiple_of(5), topic)).collect();
                subscriptions(&all)
            }
            9 => {
                let backoff_s = Some([0, 60, u64::MAX][salt as usize % 3]);
                let prune = topics.iter().map(|topic| Prune {
                    topic: Some(topic.as_str().as_bytes()),
                    backoff_s,
                    ..Prune::default()
                });
                control(Control { prune: prune.collect(), ..Control::default() })
            }
            10 => {
                let ids = self.known_ids(salt);
                let message_ids = ids.iter().map(|id| &id[..]).collect();
                control(Control { idontwant: vec![IDontWant { message_ids }], ..Control::default() })
            }
            11 => {
                // Many messages in one frame.
                let frames = (0..40).map(|nth| self.puppet_message(end, node, 4 + 2 * (nth % 2), salt + nth));
                frames.collect::<Vec<_>>().concat()
            }
            12 => control(Control { extensions: Some(Extensions::default()), ..Control::default() }),
            13 => return self.close_stream(end, link),
            // It joins again what it has left, and grafts at once.
            _ => {
                let changes = topics.iter().flat_map(|topic| [(false, name(topic)), (true, name(topic))]);
                let changes: Vec<_> = changes.collect();
                [subscriptions(&changes), grafts(&topics, 1)].concat()
            }
        };
        self.puppet_sends(end, link, frame);
    }

    /// A message that was heard, with something changed.
    fn forged_copy(&self, salt: u64, change: impl FnOnce(&mut Message<'_>, &'static [u8])) -> Vec<u8> {
        let nth = salt as usize % self.overheard.len().max(1);
        let Some(mut message) = self.overheard.get(nth).and_then(|copy| Message::decode(copy).ok()) else {
            return Vec::new();
        };
        change(&mut message, b"forged");
        written(|out| Rpc { publish: vec![message], ..Rpc::default() }.encode(out))
    }

    /// Ids of messages that were heard, and others.
    fn known_ids(&self, salt: u64) -> Vec<Bytes> {
        let heard =
            self.overheard.iter().filter_map(|copy| Some(Message::decode(copy).ok()?.message_id().into()));
        heard.chain(invented(salt, FLOOD)).collect()
    }
}

pub(super) fn grafts(topics: &[Topic], times: usize) -> Vec<u8> {
    let all = topics.iter().map(|topic| Graft { topic: Some(topic.as_str().as_bytes()) });
    let graft = (0..times).flat_map(|_| all.clone()).collect();
    control(Control { graft, ..Control::default() })
}
