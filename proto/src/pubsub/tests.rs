use super::*;
use alloc::borrow::Cow;
use alloc::vec::Vec;
use proptest::prelude::*;

fn bytes(hex: &str) -> Vec<u8> {
    crate::hex::decode(hex).unwrap()
}

fn message(bytes: &[u8]) -> Message<'_> {
    Message::decode(bytes).unwrap()
}

fn encoded(message: &Message<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(&mut out);
    out
}

fn rpc(bytes: &[u8]) -> Result<Rpc<'_>, PubsubError> {
    Rpc::decode(bytes, &RpcLimits::default())
}

#[test]
fn absent_and_empty_fields_are_told_apart() {
    assert_eq!(message(&[]), Message::default());
    let empty = bytes("0a0012001a00220 02a003200".replace(' ', "").as_str());
    assert_eq!(message(&empty).key, Some(&[][..]));
    assert_eq!(encoded(&message(&empty)), empty);
    assert!(encoded(&Message::default()).is_empty());
}

#[test]
fn the_signature_covers_all_but_itself_and_the_key() {
    // from "a", data "b", seqno "c", topic "d", signature "e", key "f", unknown field 7 = 1.
    let all = bytes("0a0161120162 1a0163220164 2a0165320166 3801".replace(' ', "").as_str());
    let message = message(&all);
    let mut signed = Vec::new();
    message.signing_bytes(&mut signed);
    assert_eq!(signed, [SIGNING_PREFIX, &bytes("0a01611201621a01632201643801")].concat());
    assert_eq!(encoded(&message), all);
    assert_eq!(message.message_id(), b"ac");
    assert_eq!((message.topic_str(), message.author()), (Some("d"), None));
}

#[test]
fn the_last_of_repeated_fields_counts_and_order_is_restored() {
    let shuffled = bytes("2201740a01610a0162");
    assert_eq!(message(&shuffled).from, Some(&b"b"[..]));
    assert_eq!(encoded(&message(&shuffled)), bytes("0a0162220174"));
}

#[test]
fn unknown_fields_come_back_in_their_order_and_are_borrowed_while_together() {
    // Fields 7 (varint), 8 (eight bytes), 9 (bytes), 10 (group holding a group), 11 (four bytes).
    let unknown = "3801 41 0000000000000000 4a0178 53 5b5c 0801 54 5d00000000".replace(' ', "");
    let together = bytes(&format!("0a0161{unknown}120162"));
    assert!(matches!(message(&together).unknown, Cow::Borrowed(_)));
    assert_eq!(message(&together).unknown, bytes(&unknown));
    assert_eq!(encoded(&message(&together)), bytes(&format!("0a0161120162{unknown}")));
    let apart = bytes("38010a0161380212016238033804");
    assert!(matches!(message(&apart).unknown, Cow::Owned(_)));
    assert_eq!(encoded(&message(&apart)), bytes("0a01611201623801380238033804"));
}

#[test]
fn broken_messages_are_refused() {
    for (hex, kind, at) in [
        ("0a", PubsubErrorKind::Malformed, 0),
        ("0a02", PubsubErrorKind::Malformed, 0),
        ("0a0161ff", PubsubErrorKind::Malformed, 3),
        ("0aff", PubsubErrorKind::Malformed, 0),
        ("0affffffffffffffffff01", PubsubErrorKind::Malformed, 0),
        ("0801", PubsubErrorKind::WireType, 0),
        ("0a01610900", PubsubErrorKind::Malformed, 3),
        ("0a0161190000000000000000", PubsubErrorKind::WireType, 3),
        ("0200", PubsubErrorKind::Malformed, 0),
        ("0e", PubsubErrorKind::Malformed, 0),
        ("3c", PubsubErrorKind::Malformed, 0),
        ("3b44", PubsubErrorKind::Malformed, 0),
        ("3b", PubsubErrorKind::Malformed, 0),
        ("ffffffffffffffffff0100", PubsubErrorKind::Malformed, 0),
    ] {
        let bytes = bytes(hex);
        assert_eq!(Message::decode(&bytes), Err(PubsubError { kind, at }), "{hex}");
    }
    let deep = [0x3b; 1000];
    assert!(Message::decode(&deep).is_err());
}

#[test]
fn an_rpc_with_all_control_messages_comes_back() {
    let ids: Vec<&[u8]> = vec![b"1", b"", b"22"];
    let topic = Some(&b"t"[..]);
    let peers = vec![PeerInfo { peer_id: Some(b"p"), signed_peer_record: Some(b"r") }, PeerInfo::default()];
    let rpc_of_all = Rpc {
        subscriptions: vec![
            Subscription { subscribe: Some(false), topic },
            Subscription { subscribe: Some(true), topic: None },
        ],
        publish: vec![Message { data: Some(b"d"), ..Message::default() }, Message::default()],
        control: Some(Control {
            ihave: vec![IHave { topic, message_ids: ids.clone() }, IHave::default()],
            iwant: vec![IWant { message_ids: ids.clone() }],
            graft: vec![Graft { topic }, Graft::default()],
            prune: vec![
                Prune { topic, peers, backoff_s: Some(60) },
                Prune { topic, peers: vec![], backoff_s: None },
            ],
            idontwant: vec![IDontWant { message_ids: ids }],
        }),
    };
    let mut out = Vec::new();
    rpc_of_all.encode(&mut out);
    assert_eq!(rpc(&out), Ok(rpc_of_all.clone()));
    let mut delimited = Vec::new();
    rpc_of_all.encode_delimited(&mut delimited);
    assert_eq!(delimited, [&[out.len() as u8][..], &out].concat());
}

#[test]
fn control_messages_in_parts_are_joined_and_unknown_fields_skipped() {
    // Two control fields with a GRAFT each; field 4, an unknown control field 6 and an unknown field of a GRAFT.
    let parts = bytes("1a051a030a01612001 1a0a 1a050a01621001 32 0100".replace(' ', "").as_str());
    let rpc = rpc(&parts).unwrap();
    let topics: Vec<_> = rpc.control.unwrap().graft.iter().map(|graft| graft.topic.unwrap()).collect();
    assert_eq!(topics, [b"a", b"b"]);
}

#[test]
fn long_nested_messages_get_their_length_in_as_many_bytes_as_it_needs() {
    for length in [0, 1, 123, 124, 125, 127, 128, 16_380, 16_384, 100_000] {
        let data = vec![7; length];
        let long =
            Rpc { publish: vec![Message { data: Some(&data), ..Message::default() }], ..Rpc::default() };
        let mut out = vec![9];
        long.encode(&mut out);
        assert_eq!(rpc(&out[1..]), Ok(long));
    }
}

#[test]
fn limits_are_held_before_memory_is_taken() {
    let limits = RpcLimits { subscriptions_max: 2, messages_max: 2, control_max: 2, message_ids_max: 2 };
    let twice_and_thrice = |unit: &str, wrap: &dyn Fn(Vec<u8>) -> Vec<u8>| {
        assert!(Rpc::decode(&wrap(bytes(&unit.repeat(2))), &limits).is_ok(), "{unit}");
        let error = Rpc::decode(&wrap(bytes(&unit.repeat(3))), &limits).unwrap_err();
        assert_eq!(error.kind, PubsubErrorKind::Limit, "{unit}");
    };
    let plain = |inner: Vec<u8>| inner;
    let nest = |tag: u8, inner: Vec<u8>| [&[tag, inner.len() as u8][..], &inner].concat();
    let in_control = |inner: Vec<u8>| nest(0x1a, inner);
    twice_and_thrice("0a00", &plain);
    twice_and_thrice("1200", &plain);
    for list in ["0a00", "1200", "1a00", "2200", "2a00"] {
        twice_and_thrice(list, &in_control);
        // The same in several control messages.
        twice_and_thrice(&format!("1a02{list}"), &plain);
    }
    twice_and_thrice("1200", &|inner| in_control(nest(0x0a, inner)));
    twice_and_thrice("0a00", &|inner| in_control(nest(0x12, inner)));
    twice_and_thrice("1200", &|inner| in_control(nest(0x22, inner)));
    twice_and_thrice("0a00", &|inner| in_control(nest(0x2a, inner)));
}

fn any_bytes() -> impl Strategy<Value = Option<Vec<u8>>> {
    proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20))
}

/// Protobuf of known and unknown fields in any order, and noise.
fn any_wire() -> impl Strategy<Value = Vec<u8>> {
    let field = (0u8..128, proptest::collection::vec(any::<u8>(), 0..6)).prop_map(|(tag, value)| {
        let length = if tag & 7 == 2 { vec![value.len() as u8] } else { vec![] };
        [vec![tag], length, value].concat()
    });
    proptest::collection::vec(field, 0..8).prop_map(|fields| fields.concat())
}

proptest! {
    #[test]
    fn messages_come_back(fields in proptest::collection::vec(any_bytes(), 6), unknown: bool) {
        let [from, data, seqno, topic, signature, key] = &fields[..] else { unreachable!() };
        let unknown = if unknown { Cow::Borrowed(&[0x3a, 0x01, 0x05][..]) } else { Cow::default() };
        let written = Message {
            from: from.as_deref(), data: data.as_deref(), seqno: seqno.as_deref(), topic: topic.as_deref(),
            signature: signature.as_deref(), key: key.as_deref(), unknown,
        };
        let bytes = encoded(&written);
        prop_assert_eq!(message(&bytes), written);
    }

    #[test]
    fn reading_never_panics_and_writing_again_changes_nothing_more(wire in any_wire(), noise in proptest::collection::vec(any::<u8>(), 0..60)) {
        for bytes in [&wire, &noise] {
            if let Ok(message) = Message::decode(bytes) {
                let once = encoded(&message);
                prop_assert!(once.len() <= bytes.len());
                prop_assert_eq!(encoded(&Message::decode(&once).unwrap()), once);
            }
            if let Ok(found) = rpc(bytes) {
                let mut once = Vec::new();
                found.encode(&mut once);
                let again = rpc(&once);
                prop_assert_eq!(again, Ok(found));
            }
        }
    }
}
