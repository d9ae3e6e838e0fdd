//! Control messages in frames: as few as hold them within what others take.

use alloc::vec::Vec;

use bytes::Bytes;
use peerage_proto::pubsub::{Control, Graft, IDontWant, IHave, IWant, PeerInfo, Prune, Rpc, Subscription};

use crate::gossipsub::topic::TopicName;
use crate::gossipsub::{MessageId, mesh};

/// Most bytes of ids in one frame: with the rest, below the 16 KiB that stock Rust peers take of control.
const IDS_BYTES_MAX: usize = 15 << 10;
/// GRAFTs or PRUNEs in one frame.
const CHANGES_MAX: usize = 64;
/// Ids declined in one frame: more are ignored by Go.
const DECLINED_MAX: usize = 10;

fn frame(rpc: &Rpc<'_>) -> Bytes {
    let mut out = Vec::new();
    rpc.encode_delimited(&mut out);
    out.into()
}

fn control(control: Control<'_>) -> Bytes {
    frame(&Rpc { control: Some(control), ..Rpc::default() })
}

/// Topics joined and left.
pub(super) fn subscriptions(changes: &[(TopicName, bool)]) -> Bytes {
    let of = |(topic, joined): &'_ (TopicName, bool)| (*joined, topic.0.clone());
    let changes: Vec<_> = changes.iter().map(of).collect();
    let subscriptions = changes
        .iter()
        .map(|(joined, topic)| Subscription { subscribe: Some(*joined), topic: Some(topic) })
        .collect();
    frame(&Rpc { subscriptions, ..Rpc::default() })
}

/// Changes of meshes for one peer.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) grafts: Vec<TopicName>,
    pub(super) prunes: Vec<mesh::Prune>,
}

impl Changes {
    pub(super) fn frames(&self) -> Vec<Bytes> {
        let grafts = self.grafts.chunks(CHANGES_MAX).map(|grafts| {
            let graft = grafts.iter().map(|topic| Graft { topic: Some(&topic.0) }).collect();
            control(Control { graft, ..Control::default() })
        });
        let prunes = self.prunes.chunks(CHANGES_MAX).map(|prunes| {
            let prune = prunes.iter().map(prune).collect();
            control(Control { prune, ..Control::default() })
        });
        grafts.chain(prunes).collect()
    }
}

fn prune(prune: &mesh::Prune) -> Prune<'_> {
    let info = |peer| PeerInfo { peer_id: Some(peer), signed_peer_record: None };
    Prune {
        topic: Some(&prune.topic.0),
        peers: prune.exchange.iter().map(|peer| info(peer.as_bytes())).collect(),
        backoff_s: prune.backoff.map(|backoff| backoff.as_secs()),
    }
}

/// Calls `make` with so many of `ids` at a time as fit into a frame.
fn in_parts<'a>(ids: &'a [MessageId], mut make: impl FnMut(Vec<&'a [u8]>) -> Bytes) -> Vec<Bytes> {
    let mut frames = Vec::new();
    let (mut part, mut bytes) = (Vec::new(), 0usize);
    for id in ids {
        // Key and length of each are two bytes: an id is no longer than 128.
        bytes += id.0.len() + 3;
        part.push(&id.0[..]);
        if bytes >= IDS_BYTES_MAX {
            frames.push(make(core::mem::take(&mut part)));
            bytes = 0;
        }
    }
    if !part.is_empty() {
        frames.push(make(part));
    }
    frames
}

/// Messages of a topic that we have.
pub(super) fn ihave(topic: &TopicName, ids: &[MessageId]) -> Vec<Bytes> {
    in_parts(ids, |message_ids| {
        let ihave = alloc::vec![IHave { topic: Some(&topic.0), message_ids }];
        control(Control { ihave, ..Control::default() })
    })
}

/// Messages that we ask for.
pub(super) fn iwant(ids: &[MessageId]) -> Vec<Bytes> {
    in_parts(ids, |message_ids| {
        control(Control { iwant: alloc::vec![IWant { message_ids }], ..Control::default() })
    })
}

/// Messages that we decline.
pub(super) fn idontwant(ids: &[MessageId]) -> Vec<Bytes> {
    let part = |ids: &[MessageId]| {
        let message_ids = ids.iter().map(|id| &id.0[..]).collect();
        control(Control { idontwant: alloc::vec![IDontWant { message_ids }], ..Control::default() })
    };
    ids.chunks(DECLINED_MAX).map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerage_proto::pubsub::RpcLimits;

    fn ids(count: u32) -> Vec<MessageId> {
        (0..count).map(|n| MessageId([&[7; 42][..], &n.to_be_bytes()].concat().into())).collect()
    }

    fn content(frame: &Bytes) -> &[u8] {
        let skip = frame.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
        &frame[skip..]
    }

    #[test]
    fn many_ids_go_in_frames_that_stock_peers_take_and_none_is_lost() {
        let all = ids(5000);
        for frames in [ihave(&"topic".into(), &all), iwant(&all)] {
            assert!(frames.iter().all(|frame| frame.len() <= 16 << 10), "16 KiB");
            let mut found = 0;
            for frame in &frames {
                let rpc = Rpc::decode(content(frame), &RpcLimits::default()).unwrap();
                let control = rpc.control.unwrap();
                found += control.ihave.iter().map(|entry| entry.message_ids.len()).sum::<usize>();
                found += control.iwant.iter().map(|entry| entry.message_ids.len()).sum::<usize>();
            }
            assert_eq!(found, 5000);
        }
        assert!(iwant(&[]).is_empty());
    }

    #[test]
    fn no_more_than_ten_ids_are_declined_in_one_frame() {
        let frames = idontwant(&ids(21));
        let counts: Vec<_> = frames
            .iter()
            .map(|frame| {
                let rpc = Rpc::decode(content(frame), &RpcLimits::default()).unwrap();
                rpc.control.unwrap().idontwant[0].message_ids.len()
            })
            .collect();
        assert_eq!(counts, [10, 10, 1]);
    }
}
