//! Every decoder of bytes that others write. Whatever decodes is written again and must read back as the same.

use peerage_core::codec;
use peerage_core::record::Reader;
use peerage_core::{Config, Input};
use peerage_proto::json::{
    BestBlockMessage, BlockMessage, HandshakeMessage, MiningOnMessage, NodeStatusMessage, RejectedTxMessage,
    SubtreeMessage,
};
use peerage_proto::multiaddr::{Multiaddr, MultiaddrErrorKind};
use peerage_proto::peer_id::PeerId;
use peerage_proto::pubsub::{Message, PeerRecord, Rpc, RpcLimits};
use peerage_proto::{addr_cache, envelope, peer_addr_request};

/// One case: the first byte chooses the decoder.
pub fn run(bytes: &[u8]) {
    let Some((choice, data)) = bytes.split_first() else { return };
    match choice % 16 {
        0 => rpc(data),
        1 => message(data),
        2 => wrapped(data),
        3 => multiaddr(data),
        4 => peer_id(data),
        5 => cache(data),
        6 => address_request(data),
        7 => recording(data),
        8 => core_codec(data),
        choice => json(choice, data),
    }
}

fn rpc(data: &[u8]) {
    if let Ok(Some(record)) = PeerRecord::decode(data, 8) {
        assert!(record.addrs.len() <= 8 && record.signing_bytes().len() <= data.len() + 32);
    }
    let limits = RpcLimits::default();
    let Ok(rpc) = Rpc::decode(data, &limits) else { return };
    let mut again = Vec::new();
    rpc.encode(&mut again);
    assert_eq!(Rpc::decode(&again, &limits).as_ref(), Ok(&rpc), "an RPC reads back as another");
}

fn message(data: &[u8]) {
    let Ok(message) = Message::decode(data) else { return };
    let mut again = Vec::new();
    message.encode(&mut again);
    assert_eq!(Message::decode(&again).as_ref(), Ok(&message), "a message reads back as another");
    let mut id = Vec::new();
    message.write_message_id(&mut id);
    assert_eq!(id, message.message_id());
    let _ = (message.author(), message.topic_str());
}

fn wrapped(data: &[u8]) {
    for mode in [envelope::Mode::Required, envelope::Mode::Optional, envelope::Mode::None] {
        let mut inner = Vec::new();
        let Ok(unwrapped) = envelope::unwrap(mode, data, &mut inner) else { continue };
        assert!(unwrapped.inner.len() <= data.len(), "more came out than went in");
        if !unwrapped.bare {
            let (mut again, mut inner) = (Vec::new(), Vec::new());
            envelope::wrap(&unwrapped.name, unwrapped.inner, &mut again);
            let read = envelope::unwrap(envelope::Mode::Required, &again, &mut inner);
            assert_eq!(read.as_ref(), Ok(&unwrapped), "an envelope reads back as another");
        }
    }
}

fn multiaddr(data: &[u8]) {
    if let Ok(addr) = Multiaddr::from_bytes(data) {
        assert_eq!(addr.as_bytes(), data);
        text_again(&addr);
        let _ = (addr.ip(), addr.tcp_port(), addr.peer_id(), addr.is_relayed());
        assert!(addr.without_p2p().as_bytes().len() <= data.len());
    }
    if let Some(addr) = std::str::from_utf8(data).ok().and_then(|text| text.parse::<Multiaddr>().ok()) {
        assert_eq!(Multiaddr::from_bytes(addr.as_bytes()).as_ref(), Ok(&addr));
        text_again(&addr);
    }
}

fn text_again(addr: &Multiaddr) {
    let text = addr.to_string();
    match text.parse::<Multiaddr>() {
        Ok(again) => assert_eq!(&again, addr, "{text} reads back as another"),
        // Few bytes can be a long text, and that has a limit of its own.
        Err(error) => assert_eq!(error.kind, MultiaddrErrorKind::Size, "{text} does not read back"),
    }
}

fn peer_id(data: &[u8]) {
    if let Ok(peer) = PeerId::from_bytes(data) {
        assert_eq!(peer.as_bytes(), data);
        assert_eq!(PeerId::from_base58(&peer.to_base58()), Ok(peer));
    }
    if let Some(peer) = std::str::from_utf8(data).ok().and_then(|text| PeerId::from_base58(text).ok()) {
        assert_eq!(PeerId::from_bytes(peer.as_bytes()), Ok(peer));
    }
}

fn cache(data: &[u8]) {
    let Ok(cache) = addr_cache::decode(data) else { return };
    let mut again = Vec::new();
    addr_cache::encode(&cache.peers, &mut again);
    let read = addr_cache::decode(&again).map(|cache| cache.peers);
    assert_eq!(read.as_ref(), Ok(&cache.peers), "an address cache reads back as another");
}

fn address_request(data: &[u8]) {
    if let Ok(peer) = peer_addr_request::decode_request(data) {
        let mut again = Vec::new();
        peer_addr_request::encode_request(&peer, &mut again);
        assert_eq!(peer_addr_request::decode_request(&again), Ok(peer));
    }
    if let Ok(addrs) = peer_addr_request::decode_answer(data) {
        let mut again = Vec::new();
        peer_addr_request::encode_answer(&addrs, &mut again);
        assert_eq!(peer_addr_request::decode_answer(&again).as_ref(), Ok(&addrs));
    }
}

fn recording(data: &[u8]) {
    let Ok((_, mut reader)) = Reader::open(data) else { return };
    while let Ok(Some(_)) = reader.next_frame() {}
    assert!(reader.torn_at().is_none_or(|at| at <= data.len()));
}

fn core_codec(data: &[u8]) {
    if let Ok(input) = codec::decode_all::<Input>(data) {
        assert_eq!(codec::to_vec(&input), data, "an input has two encodings");
    }
    if let Ok(config) = codec::decode_all::<Config>(data) {
        assert_eq!(codec::to_vec(&config), data, "a configuration has two encodings");
    }
}

fn json(choice: u8, data: &[u8]) {
    macro_rules! again {
        ($name:ident) => {
            if let Ok(message) = $name::decode(data) {
                let (mut again, mut third) = (Vec::new(), Vec::new());
                message.encode(&mut again);
                let read = $name::decode(&again);
                assert!(read.is_ok(), "{:?} does not read back", String::from_utf8_lossy(&again));
                if let Ok(read) = read {
                    read.encode(&mut third);
                    assert_eq!(again, third, "a message is written in two ways");
                }
            }
        };
    }
    match choice {
        9 => again!(BlockMessage),
        10 => again!(SubtreeMessage),
        11 => again!(RejectedTxMessage),
        12 => again!(NodeStatusMessage),
        13 => again!(HandshakeMessage),
        14 => again!(MiningOnMessage),
        _ => again!(BestBlockMessage),
    }
}
