//! Documents that peers and neighbours send.

extern crate alloc;

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use super::digest;
use bytes::Bytes;
use peerage_core::teranode::chain::Block;
use peerage_proto::hash::Hash256;
use peerage_proto::header::BlockHeader;
use peerage_proto::json::{BlockMessage, NodeStatusMessage, SubtreeMessage};
use peerage_proto::multiaddr::Multiaddr;
use peerage_proto::network::Network;
use peerage_proto::peer_id::PeerId;

/// Where a peer listens, signed by nobody that matters.
pub(super) fn signed_record(who: &PeerId, addr: &Multiaddr) -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| [&[number << 3 | 2, bytes.len() as u8][..], bytes].concat();
    let record = [field(1, who.as_bytes()), field(3, &field(1, addr.as_bytes()))].concat();
    [field(1, &who.as_bytes()[2..]), field(2, &[3, 1]), field(3, &record), field(5, &[9; 64])].concat()
}

pub(super) fn text(hash: Hash256) -> String {
    let mut text = String::new();
    hash.write_display(&mut text);
    text
}

pub(super) fn mined(number: u64) -> BlockHeader {
    let bits = Network::Regtest.pow_limit_bits();
    let mut header = BlockHeader::new(1, Hash256::ZERO, digest("root", number), 7, bits, 0);
    header.mine(1 << 16);
    header
}

pub(super) fn described(number: u64) -> Block {
    Block {
        header: mined(number),
        height: 100 + number as u32,
        miner: "/scenario/".into(),
        chain_work: Bytes::from_static(&[7; 32]),
        invalid: number == 7,
    }
}

pub(super) fn block(name: &str, number: u64) -> BlockMessage<'_> {
    let header = mined(number);
    // Now and then a header that is another block's.
    let hash = if number == 5 { digest("no work", number) } else { header.hash() };
    BlockMessage {
        peer_id: Cow::Borrowed(name),
        client_name: Cow::Borrowed("scenario"),
        data_hub_url: Cow::Borrowed("http://scenario.example/api"),
        hash: Cow::Owned(text(hash)),
        height: number as u32,
        header: Cow::Owned(header.to_hex()),
        coinbase: Cow::Borrowed(""),
    }
}

pub(super) fn subtree(name: &str, number: u64) -> SubtreeMessage<'_> {
    SubtreeMessage {
        peer_id: Cow::Borrowed(name),
        client_name: Cow::Borrowed("scenario"),
        data_hub_url: Cow::Borrowed("http://scenario.example/api"),
        hash: Cow::Owned(text(digest("subtree", number))),
    }
}

pub(super) fn status(name: &str, number: u64) -> NodeStatusMessage<'_> {
    NodeStatusMessage {
        peer_id: Cow::Borrowed(name),
        client_name: Cow::Borrowed("scenario"),
        kind: Cow::Borrowed(NodeStatusMessage::KIND),
        base_url: Cow::Borrowed("http://scenario.example/api"),
        best_block_hash: Cow::Owned(text(mined(number).hash())),
        best_height: 1 + number as u32,
        storage: Cow::Borrowed("full"),
        uptime: number as f64 / 8.0,
        ..NodeStatusMessage::default()
    }
}
