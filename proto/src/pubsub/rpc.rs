//! [`Rpc`]: what one peer tells its neighbour in one frame.

use alloc::vec::Vec;

use super::message::Message;
use super::wire::{FieldAt, Fields, write_bytes, write_nested, write_varint};
use super::{PubsubError, PubsubErrorKind};

/// Most entries of an RPC. Beyond a limit the whole RPC is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RpcLimits {
    /// Most changes of subscription.
    pub subscriptions_max: usize,
    /// Most published messages. A Go peer answers an IWANT with as many as fit into 1 MiB.
    pub messages_max: usize,
    /// Most entries of each kind of control message, and most peers in all PRUNEs together.
    pub control_max: usize,
    /// Most message ids in all control messages together. Go peers name up to 5,000 in one IHAVE.
    pub message_ids_max: usize,
}

impl Default for RpcLimits {
    fn default() -> Self {
        Self { subscriptions_max: 4_096, messages_max: 8_192, control_max: 4_096, message_ids_max: 24_576 }
    }
}

/// One frame of gossipsub. Unknown fields are skipped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rpc<'a> {
    /// Field 1: topics joined and left.
    pub subscriptions: Vec<Subscription<'a>>,
    /// Field 2: messages.
    pub publish: Vec<Message<'a>>,
    /// Field 3: what keeps the mesh together.
    pub control: Option<Control<'a>>,
}

/// A topic joined or left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subscription<'a> {
    /// Field 1: joined, not left.
    pub subscribe: Option<bool>,
    /// Field 2: the topic's name.
    pub topic: Option<&'a [u8]>,
}

/// Control messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Control<'a> {
    /// Field 1: messages that the sender has.
    pub ihave: Vec<IHave<'a>>,
    /// Field 2: messages that the sender wants.
    pub iwant: Vec<IWant<'a>>,
    /// Field 3: topics for which the sender takes the receiver into its mesh.
    pub graft: Vec<Graft<'a>>,
    /// Field 4: topics for which it does so no longer.
    pub prune: Vec<Prune<'a>>,
    /// Field 5: messages that the sender has and does not want again.
    pub idontwant: Vec<IDontWant<'a>>,
}

/// Messages of a topic that the sender has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IHave<'a> {
    /// Field 1: the topic's name.
    pub topic: Option<&'a [u8]>,
    /// Field 2: message ids.
    pub message_ids: Vec<&'a [u8]>,
}

/// Messages that the sender wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IWant<'a> {
    /// Field 1: message ids.
    pub message_ids: Vec<&'a [u8]>,
}

/// A topic for which the sender takes the receiver into its mesh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Graft<'a> {
    /// Field 1: the topic's name.
    pub topic: Option<&'a [u8]>,
}

/// A topic for which the receiver leaves the sender's mesh.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prune<'a> {
    /// Field 1: the topic's name.
    pub topic: Option<&'a [u8]>,
    /// Field 2: other peers of the topic.
    pub peers: Vec<PeerInfo<'a>>,
    /// Field 3: seconds before the receiver may graft again.
    pub backoff_s: Option<u64>,
}

/// A peer named in a PRUNE.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerInfo<'a> {
    /// Field 1: its binary peer id.
    pub peer_id: Option<&'a [u8]>,
    /// Field 2: its signed addresses, an envelope of libp2p.
    pub signed_peer_record: Option<&'a [u8]>,
}

/// Messages that the sender has and does not want again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IDontWant<'a> {
    /// Field 1: message ids.
    pub message_ids: Vec<&'a [u8]>,
}

/// What may still come before a limit is passed.
struct Budget {
    limits: RpcLimits,
    prune_peers: usize,
    message_ids: usize,
}

impl Budget {
    fn take(count: &mut usize, field: &FieldAt<'_>) -> Result<(), PubsubError> {
        *count = count.checked_sub(1).ok_or_else(|| field.error(PubsubErrorKind::Limit))?;
        Ok(())
    }

    fn message_id(&mut self, field: &FieldAt<'_>) -> Result<(), PubsubError> {
        Self::take(&mut self.message_ids, field)
    }
}

/// Pushes unless the list is full.
fn push<T>(list: &mut Vec<T>, max: usize, field: &FieldAt<'_>, entry: T) -> Result<(), PubsubError> {
    if list.len() >= max {
        return Err(field.error(PubsubErrorKind::Limit));
    }
    list.push(entry);
    Ok(())
}

impl<'a> Rpc<'a> {
    /// Reads a frame without its length prefix.
    ///
    /// # Errors
    /// When `bytes` are no protobuf, a known field has a wrong wire type, or one of `limits` is passed.
    pub fn decode(bytes: &'a [u8], limits: &RpcLimits) -> Result<Self, PubsubError> {
        let mut budget =
            Budget { limits: *limits, prune_peers: limits.control_max, message_ids: limits.message_ids_max };
        let mut rpc = Self::default();
        for field in Fields::of(bytes) {
            let field = field?;
            match field.number {
                1 => {
                    let entry = Subscription::decode(field.bytes()?)?;
                    push(&mut rpc.subscriptions, limits.subscriptions_max, &field, entry)?;
                }
                2 => {
                    let entry = Message::decode(field.bytes()?)?;
                    push(&mut rpc.publish, limits.messages_max, &field, entry)?;
                }
                // A control message in parts is put together.
                3 => rpc.control.get_or_insert_default().merge(field.bytes()?, &mut budget)?,
                _ => {}
            }
        }
        Ok(rpc)
    }

    /// Appends the frame without a length prefix.
    pub fn encode(&self, out: &mut Vec<u8>) {
        for entry in &self.subscriptions {
            write_nested(1, out, |out| entry.write(out));
        }
        for message in &self.publish {
            write_nested(2, out, |out| message.encode(out));
        }
        if let Some(control) = &self.control {
            write_nested(3, out, |out| control.write(out));
        }
    }

    /// Appends the frame after its length as a varint, as streams carry it.
    pub fn encode_delimited(&self, out: &mut Vec<u8>) {
        let mut frame = Vec::new();
        self.encode(&mut frame);
        crate::varint::write(frame.len() as u64, out);
        out.extend_from_slice(&frame);
    }
}

impl<'a> Subscription<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self, PubsubError> {
        let mut entry = Self::default();
        for field in Fields::of(bytes) {
            let field = field?;
            match field.number {
                1 => entry.subscribe = Some(field.varint()? != 0),
                2 => entry.topic = Some(field.bytes()?),
                _ => {}
            }
        }
        Ok(entry)
    }

    fn write(&self, out: &mut Vec<u8>) {
        if let Some(subscribe) = self.subscribe {
            write_varint(1, u64::from(subscribe), out);
        }
        write_optional(2, self.topic, out);
    }
}

impl<'a> Control<'a> {
    fn merge(&mut self, bytes: &'a [u8], budget: &mut Budget) -> Result<(), PubsubError> {
        let max = budget.limits.control_max;
        for field in Fields::of(bytes) {
            let field = field?;
            match field.number {
                1 => push(&mut self.ihave, max, &field, IHave::decode(field.bytes()?, budget)?)?,
                2 => {
                    let message_ids = decode_ids(field.bytes()?, budget)?;
                    push(&mut self.iwant, max, &field, IWant { message_ids })?;
                }
                3 => push(&mut self.graft, max, &field, Graft { topic: decode_topic(field.bytes()?)? })?,
                4 => push(&mut self.prune, max, &field, Prune::decode(field.bytes()?, budget)?)?,
                5 => {
                    let message_ids = decode_ids(field.bytes()?, budget)?;
                    push(&mut self.idontwant, max, &field, IDontWant { message_ids })?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn write(&self, out: &mut Vec<u8>) {
        for entry in &self.ihave {
            write_nested(1, out, |out| {
                write_optional(1, entry.topic, out);
                write_ids(2, &entry.message_ids, out);
            });
        }
        for entry in &self.iwant {
            write_nested(2, out, |out| write_ids(1, &entry.message_ids, out));
        }
        for entry in &self.graft {
            write_nested(3, out, |out| write_optional(1, entry.topic, out));
        }
        for entry in &self.prune {
            write_nested(4, out, |out| entry.write(out));
        }
        for entry in &self.idontwant {
            write_nested(5, out, |out| write_ids(1, &entry.message_ids, out));
        }
    }
}

impl<'a> IHave<'a> {
    fn decode(bytes: &'a [u8], budget: &mut Budget) -> Result<Self, PubsubError> {
        let mut entry = Self::default();
        for field in Fields::of(bytes) {
            let field = field?;
            match field.number {
                1 => entry.topic = Some(field.bytes()?),
                2 => {
                    budget.message_id(&field)?;
                    entry.message_ids.push(field.bytes()?);
                }
                _ => {}
            }
        }
        Ok(entry)
    }
}

impl<'a> Prune<'a> {
    fn decode(bytes: &'a [u8], budget: &mut Budget) -> Result<Self, PubsubError> {
        let mut entry = Self::default();
        for field in Fields::of(bytes) {
            let field = field?;
            match field.number {
                1 => entry.topic = Some(field.bytes()?),
                2 => {
                    Budget::take(&mut budget.prune_peers, &field)?;
                    entry.peers.push(PeerInfo::decode(field.bytes()?)?);
                }
                3 => entry.backoff_s = Some(field.varint()?),
                _ => {}
            }
        }
        Ok(entry)
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_optional(1, self.topic, out);
        for peer in &self.peers {
            write_nested(2, out, |out| {
                write_optional(1, peer.peer_id, out);
                write_optional(2, peer.signed_peer_record, out);
            });
        }
        if let Some(backoff_s) = self.backoff_s {
            write_varint(3, backoff_s, out);
        }
    }
}

impl<'a> PeerInfo<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self, PubsubError> {
        let mut entry = Self::default();
        for field in Fields::of(bytes) {
            let field = field?;
            match field.number {
                1 => entry.peer_id = Some(field.bytes()?),
                2 => entry.signed_peer_record = Some(field.bytes()?),
                _ => {}
            }
        }
        Ok(entry)
    }
}

fn decode_topic(bytes: &[u8]) -> Result<Option<&[u8]>, PubsubError> {
    let mut topic = None;
    for field in Fields::of(bytes) {
        let field = field?;
        if field.number == 1 {
            topic = Some(field.bytes()?);
        }
    }
    Ok(topic)
}

fn decode_ids<'a>(bytes: &'a [u8], budget: &mut Budget) -> Result<Vec<&'a [u8]>, PubsubError> {
    let mut ids = Vec::new();
    for field in Fields::of(bytes) {
        let field = field?;
        if field.number == 1 {
            budget.message_id(&field)?;
            ids.push(field.bytes()?);
        }
    }
    Ok(ids)
}

fn write_optional(number: u32, bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    if let Some(bytes) = bytes {
        write_bytes(number, bytes, out);
    }
}

fn write_ids(number: u32, ids: &[&[u8]], out: &mut Vec<u8>) {
    for id in ids {
        write_bytes(number, id, out);
    }
}
