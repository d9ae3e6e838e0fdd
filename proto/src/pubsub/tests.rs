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
            extensions: Some(Extensions { partial_messages: Some(true) }),
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
fn a_frame_of_one_message_is_that_rpc_and_knows_where_its_parts_stand() {
    for (data, unknown) in [(0, 0), (1, 3), (300, 0), (20_000, 200)] {
        let (data, unknown) = (vec![7; data], nest_if(unknown));
        let message = Message {
            from: Some(b"author"),
            data: Some(&data),
            seqno: Some(&[1; 8]),
            topic: Some(b"t"),
            signature: Some(&[9; 64]),
            unknown: Cow::Borrowed(&unknown),
            ..Message::default()
        };
        let mut frame = Vec::new();
        let at = message.encode_frame(&mut frame);
        let mut rpc = Vec::new();
        Rpc { publish: vec![message.clone()], ..Rpc::default() }.encode_delimited(&mut rpc);
        assert_eq!(frame, rpc);
        assert_eq!(frame[at..], encoded(&message));
        let (data_at, length) = message.data_at();
        assert_eq!(frame[at + data_at..][..length], data);
    }
    assert_eq!(Message::default().data_at(), (2, 0), "nothing stands at the end of nothing");
}

/// An unknown field of `length` bytes, or none.
fn nest_if(length: usize) -> Vec<u8> {
    let field = [&[0x3a, length as u8 & 0x7f][..], &vec![5; length & 0x7f]].concat();
    if length > 0 { field } else { Vec::new() }
}

#[test]
fn control_messages_in_parts_are_joined_and_unknown_fields_skipped() {
    // Two control fields with a GRAFT each; field 4, an unknown control field 7 and an unknown field of a GRAFT.
    let parts = bytes("1a051a030a01612001 1a0a 1a050a01621001 3a 0100".replace(' ', "").as_str());
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

const TWO: RpcLimits = RpcLimits {
    subscriptions_max: 2,
    messages_max: 2,
    control_max: 2,
    message_ids_max: 2,
    control_bytes_max: 1 << 10,
};

fn nest(tag: u8, inner: &[u8]) -> Vec<u8> {
    [&[tag, inner.len() as u8][..], inner].concat()
}

#[test]
fn more_subscriptions_or_messages_than_allowed_are_refused() {
    for unit in ["0a00", "1200"] {
        assert!(Rpc::decode(&bytes(&unit.repeat(2)), &TWO).is_ok(), "{unit}");
        let error = Rpc::decode(&bytes(&unit.repeat(3)), &TWO).unwrap_err();
        assert_eq!(error.kind, PubsubErrorKind::Limit, "{unit}");
    }
}

/// What is left out of `wire` under the limits of two, and what stays, written again.
fn excess_of(wire: &[u8], limits: &RpcLimits) -> (Excess, Vec<u8>) {
    let mut excess = Excess::default();
    let mut kept = Vec::new();
    Rpc::decode_counting(wire, limits, &mut excess).unwrap().encode(&mut kept);
    (excess, kept)
}

#[test]
fn control_entries_beyond_their_limit_are_left_out_and_counted() {
    for list in ["0a00", "1200", "1a00", "2200", "2a00"] {
        for in_parts in [false, true] {
            let of = |count: usize| match in_parts {
                false => nest(0x1a, &bytes(&list.repeat(count))),
                true => bytes(&format!("1a02{list}").repeat(count)),
            };
            let (excess, kept) = excess_of(&of(3), &TWO);
            assert_eq!(excess, Excess { entries: 1, ..Excess::default() }, "{list}");
            assert_eq!(kept, nest(0x1a, &bytes(&list.repeat(2))), "{list}");
            assert_eq!(excess_of(&of(2), &TWO).0, Excess::default(), "{list}");
        }
    }
    let peers = |count: usize| nest(0x1a, &nest(0x22, &bytes(&"1200".repeat(count))));
    assert_eq!(excess_of(&peers(3), &TWO), (Excess { entries: 1, ..Excess::default() }, peers(2)));
}

#[test]
fn ids_beyond_their_limit_are_left_out_and_the_messages_beside_them_stay() {
    for (tag, unit) in [(0x0a, "1200"), (0x12, "0a00"), (0x2a, "0a00")] {
        let of = |count: usize| {
            let control = nest(0x1a, &nest(tag, &bytes(&unit.repeat(count))));
            [bytes("12031201aa"), control].concat()
        };
        assert_eq!(excess_of(&of(2), &TWO), (Excess::default(), of(2)), "{tag}");
        assert_eq!(excess_of(&of(4), &TWO), (Excess { ids: 2, ..Excess::default() }, of(2)), "{tag}");
    }
}

#[test]
fn control_beyond_its_bytes_is_left_out_whatever_its_kind() {
    // Ids of 7 bytes, 9 with key and length, in one IWANT; then a GRAFT.
    let ids = |count: usize| nest(0x12, &nest(0x0a, &[7; 7]).repeat(count));
    let wire = nest(0x1a, &[ids(4), bytes("1a00")].concat());
    let limits = |control_bytes_max| RpcLimits { control_bytes_max, ..RpcLimits::default() };
    assert_eq!(excess_of(&wire, &limits(38)), (Excess::default(), wire.clone()));
    let (excess, kept) = excess_of(&wire, &limits(37));
    assert_eq!((excess, kept), (Excess { entries: 1, ..Excess::default() }, nest(0x1a, &ids(4))));
    let (excess, kept) = excess_of(&wire, &limits(35));
    assert_eq!((excess, kept), (Excess { entries: 1, ids: 1, ids_too_long: 0 }, nest(0x1a, &ids(3))));
}

#[test]
fn an_id_longer_than_any_profile_of_ours_has_is_refused_as_incompatible() {
    let ids = |lengths: &[usize]| {
        let ids: Vec<_> = lengths.iter().map(|length| vec![7; *length]).collect();
        let message_ids = ids.iter().map(Vec::as_slice).collect();
        let control = Control { ihave: vec![IHave { topic: None, message_ids }], ..Control::default() };
        let mut wire = Vec::new();
        Rpc { control: Some(control), ..Rpc::default() }.encode(&mut wire);
        wire
    };
    let (excess, kept) = excess_of(&ids(&[128, 129, 46]), &RpcLimits::default());
    assert_eq!((excess, kept), (Excess { ids_too_long: 1, ..Excess::default() }, ids(&[128, 46])));
    let message =
        |from: &'static [u8]| Message { from: Some(from), seqno: Some(&[1; 8]), ..Message::default() };
    assert_eq!(message(&[7; 120]).check_id(), Ok(()));
    let refused = PubsubError { kind: PubsubErrorKind::Incompatible, at: 0 };
    assert_eq!(message(&[7; 121]).check_id(), Err(refused));
}

#[test]
fn extensions_are_told_from_none_and_unknown_ones_are_skipped() {
    let extensions = |hex: &str| rpc(&bytes(hex)).unwrap().control.unwrap().extensions;
    assert_eq!(extensions("1a00"), None);
    assert_eq!(extensions("1a023200"), Some(Extensions::default()));
    // Field 10, and the extension for tests under 6492434.
    assert_eq!(extensions("1a0432025001"), Some(Extensions { partial_messages: Some(true) }));
    assert_eq!(extensions("1a073205 9089e21801".replace(' ', "").as_str()), Some(Extensions::default()));
    assert!(rpc(&bytes("1a023201")).is_err(), "a length without its bytes");
    assert!(rpc(&bytes("1a053203520101")).is_err(), "field 10 is no text");
}

#[test]
fn lengths_longer_than_they_need_be_are_written_short() {
    // `from` of one byte whose length takes two; the unknown field 7 keeps its long form.
    let long = bytes("0a810061 3a810062".replace(' ', "").as_str());
    assert_eq!(encoded(&message(&long)), bytes("0a01613a810062"));
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
