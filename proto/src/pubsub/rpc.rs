//! [`Rpc`]: what one peer tells its neighbour in one frame.

use alloc::vec::Vec;

use super::control::{Budget, Control};
use super::message::Message;
use super::wire::{FieldAt, Fields, write_bytes, write_nested, write_varint};
use super::{PubsubError, PubsubErrorKind};

/// Most entries of an RPC. Beyond a limit on subscriptions or messages the whole RPC is refused. Control beyond its limits
/// is left out and counted in [`Excess`]: an honest Go peer sends as much of it as fits into an RPC, and a frame refused
/// for that would take its messages along.
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
    /// Most bytes of control messages: of their ids, and of entries without ids, field keys and lengths included. What
    /// comes after is not decoded.
    pub control_bytes_max: usize,
}

impl Default for RpcLimits {
    fn default() -> Self {
        Self {
            subscriptions_max: 4_096,
            messages_max: 8_192,
            control_max: 4_096,
            message_ids_max: 24_576,
            control_bytes_max: 512 << 10,
        }
    }
}

/// Control that was left out of an RPC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Excess {
    /// Entries, and peers of PRUNEs, beyond [`RpcLimits::control_max`] or the bytes.
    pub entries: u32,
    /// Message ids beyond [`RpcLimits::message_ids_max`] or the bytes.
    pub ids: u32,
    /// Message ids longer than [`super::MESSAGE_ID_BYTES_MAX`]: the sender's profile and ours are incompatible.
    pub ids_too_long: u32,
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

/// Pushes unless the list is full.
fn push<T>(list: &mut Vec<T>, max: usize, field: &FieldAt<'_>, entry: T) -> Result<(), PubsubError> {
    if list.len() >= max {
        return Err(field.error(PubsubErrorKind::Limit));
    }
    list.push(entry);
    Ok(())
}

impl<'a> Rpc<'a> {
    /// Reads a frame without its length prefix. Nobody learns what was left out: see [`Rpc::decode_counting`].
    ///
    /// # Errors
    /// As [`Rpc::decode_counting`].
    pub fn decode(bytes: &'a [u8], limits: &RpcLimits) -> Result<Self, PubsubError> {
        Self::decode_counting(bytes, limits, &mut Excess::default())
    }

    /// Reads a frame without its length prefix, and adds to `excess` what control was left out.
    ///
    /// # Errors
    /// When `bytes` are no protobuf, a known field has a wrong wire type, or there are more subscriptions or messages than
    /// `limits` allow.
    pub fn decode_counting(
        bytes: &'a [u8],
        limits: &RpcLimits,
        excess: &mut Excess,
    ) -> Result<Self, PubsubError> {
        let mut budget = Budget::new(limits, excess);
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

pub(super) fn write_optional(number: u32, bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    if let Some(bytes) = bytes {
        write_bytes(number, bytes, out);
    }
}
