//! [`Control`]: what keeps the mesh together, within limits.

use alloc::vec::Vec;

use super::rpc::{Excess, RpcLimits, write_optional};
use super::wire::{FieldAt, Fields, write_bytes, write_nested, write_varint};
use super::{MESSAGE_ID_BYTES_MAX, PubsubError};

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
    /// Field 6: what the sender speaks beyond 1.2. It counts in the first RPC of a stream alone.
    pub extensions: Option<Extensions>,
}

/// What the sender speaks beyond gossipsub 1.2. Extensions that are not known here are skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// Field 10: messages in parts.
    pub partial_messages: Option<bool>,
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

/// What may still come before a limit of control is passed, and what came after.
pub(super) struct Budget<'e> {
    entries_max: usize,
    prune_peers: usize,
    message_ids: usize,
    bytes: usize,
    excess: &'e mut Excess,
}

impl<'e> Budget<'e> {
    pub(super) fn new(limits: &RpcLimits, excess: &'e mut Excess) -> Self {
        Self {
            entries_max: limits.control_max,
            prune_peers: limits.control_max,
            message_ids: limits.message_ids_max,
            bytes: limits.control_bytes_max,
            excess,
        }
    }

    /// Whether the bytes of `field` are within the limit. Nothing is once one was not.
    fn bytes(&mut self, field: &FieldAt<'_>) -> bool {
        let rest = self.bytes.checked_sub(field.raw.len());
        self.bytes = rest.unwrap_or(0);
        rest.is_some()
    }

    /// Whether there is room for an entry in a list of `len`; if not, it is counted.
    fn entry(&mut self, len: usize) -> bool {
        let fits = len < self.entries_max && self.bytes > 0;
        self.excess.entries = self.excess.entries.saturating_add(u32::from(!fits));
        fits
    }

    /// As [`Budget::entry`], for an entry that is taken as a whole or not at all.
    fn whole(&mut self, field: &FieldAt<'_>, len: usize) -> bool {
        let fits = len < self.entries_max && self.bytes(field);
        self.excess.entries = self.excess.entries.saturating_add(u32::from(!fits));
        fits
    }

    /// Appends a message id if there is room.
    fn message_id<'a>(&mut self, field: &FieldAt<'a>, ids: &mut Vec<&'a [u8]>) -> Result<(), PubsubError> {
        let id = field.bytes()?;
        if id.len() > MESSAGE_ID_BYTES_MAX {
            self.excess.ids_too_long = self.excess.ids_too_long.saturating_add(1);
        } else if self.message_ids == 0 || !self.bytes(field) {
            self.excess.ids = self.excess.ids.saturating_add(1);
        } else {
            self.message_ids -= 1;
            ids.push(id);
        }
        Ok(())
    }
}

impl<'a> Control<'a> {
    pub(super) fn merge(&mut self, bytes: &'a [u8], budget: &mut Budget<'_>) -> Result<(), PubsubError> {
        for field in Fields::of(bytes) {
            let field = field?;
            match field.number {
                1 if budget.entry(self.ihave.len()) => {
                    self.ihave.push(IHave::decode(field.bytes()?, budget)?);
                }
                2 if budget.entry(self.iwant.len()) => {
                    let message_ids = decode_ids(field.bytes()?, budget)?;
                    self.iwant.push(IWant { message_ids });
                }
                3 if budget.whole(&field, self.graft.len()) => {
                    self.graft.push(Graft { topic: decode_topic(field.bytes()?)? });
                }
                4 if budget.whole(&field, self.prune.len()) => {
                    self.prune.push(Prune::decode(field.bytes()?, budget)?);
                }
                5 if budget.entry(self.idontwant.len()) => {
                    let message_ids = decode_ids(field.bytes()?, budget)?;
                    self.idontwant.push(IDontWant { message_ids });
                }
                6 if budget.whole(&field, 0) => {
                    self.extensions.get_or_insert_default().merge(field.bytes()?)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
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
        if let Some(extensions) = self.extensions {
            write_nested(6, out, |out| extensions.write(out));
        }
    }
}

impl Extensions {
    fn merge(&mut self, bytes: &[u8]) -> Result<(), PubsubError> {
        for field in Fields::of(bytes) {
            let field = field?;
            if field.number == 10 {
                self.partial_messages = Some(field.varint()? != 0);
            }
        }
        Ok(())
    }

    fn write(self, out: &mut Vec<u8>) {
        if let Some(partial_messages) = self.partial_messages {
            write_varint(10, u64::from(partial_messages), out);
        }
    }
}

impl<'a> IHave<'a> {
    fn decode(bytes: &'a [u8], budget: &mut Budget<'_>) -> Result<Self, PubsubError> {
        let mut entry = Self::default();
        for field in Fields::of(bytes) {
            let field = field?;
            match field.number {
                1 => entry.topic = Some(field.bytes()?),
                2 => budget.message_id(&field, &mut entry.message_ids)?,
                _ => {}
            }
        }
        Ok(entry)
    }
}

impl<'a> Prune<'a> {
    fn decode(bytes: &'a [u8], budget: &mut Budget<'_>) -> Result<Self, PubsubError> {
        let mut entry = Self::default();
        for field in Fields::of(bytes) {
            let field = field?;
            match field.number {
                1 => entry.topic = Some(field.bytes()?),
                2 if budget.prune_peers > 0 => {
                    budget.prune_peers -= 1;
                    entry.peers.push(PeerInfo::decode(field.bytes()?)?);
                }
                2 => budget.excess.entries = budget.excess.entries.saturating_add(1),
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

fn decode_ids<'a>(bytes: &'a [u8], budget: &mut Budget<'_>) -> Result<Vec<&'a [u8]>, PubsubError> {
    let mut ids = Vec::new();
    for field in Fields::of(bytes) {
        let field = field?;
        if field.number == 1 {
            budget.message_id(&field, &mut ids)?;
        }
    }
    Ok(ids)
}

fn write_ids(number: u32, ids: &[&[u8]], out: &mut Vec<u8>) {
    for id in ids {
        write_bytes(number, id, out);
    }
}
