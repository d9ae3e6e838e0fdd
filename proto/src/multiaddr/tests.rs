use super::*;
use alloc::string::{String, ToString};
use proptest::prelude::*;

const ID: &str = "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5";

fn address(text: &str) -> Multiaddr {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn texts_come_back() {
    for text in [
        "/ip4/127.0.0.1/tcp/19905",
        "/ip6/2001:db8::1/tcp/9905",
        "/ip6/::ffff:1.2.3.4/udp/1/quic-v1",
        "/dns4/example.com/tcp/9905",
        "/dns/example.com/tcp/443/tls/ws",
        "/dns6/example.com/tcp/443/wss",
        "/dnsaddr/mainnet.bootstrap.example",
        "/tcp/0/tcp/65535",
        "/ip4/1.2.3.4/udp/9/quic-v1/webtransport/certhash/0x1220ab",
        "/ip4/1.2.3.4/sctp/0x0001/http/noise/quic",
        &format!("/ip4/1.2.3.4/tcp/1/p2p/{ID}"),
        &format!("/ip4/1.2.3.4/tcp/1/p2p/{ID}/p2p-circuit/p2p/{ID}"),
        &format!("/p2p/{ID}"),
    ] {
        let address = address(text);
        assert_eq!(address.to_string(), text);
        assert_eq!(Multiaddr::from_bytes(address.as_bytes()), Ok(address.clone()));
        assert_eq!(Multiaddr::from_protocols(address.iter()), Ok(address));
    }
}

#[test]
fn other_spellings_are_read() {
    assert_eq!(address("/ip4/1.2.3.4/tcp/1/"), address("/ip4/1.2.3.4/tcp/1"));
    assert_eq!(address(&format!("/ipfs/{ID}")), address(&format!("/p2p/{ID}")));
    assert_eq!(address("/tcp/0001").to_string(), "/tcp/1");
}

#[test]
fn the_binary_form_is_that_of_libp2p() {
    let bytes = crate::hex::decode("047f0000010627109102027d").unwrap();
    assert_eq!(address("/ip4/127.0.0.1/tcp/10000/udp/637").as_bytes(), bytes);
    assert_eq!(
        address("/dns4/a.b/tcp/1/wss").as_bytes(),
        crate::hex::decode("3603612e62060001de03").unwrap()
    );
    let p2p = address(&format!("/p2p/{ID}"));
    assert_eq!(&p2p.as_bytes()[..3], [0xa5, 0x03, 38]);
    assert_eq!(address(&format!("/p2p/{ID}/p2p-circuit")).as_bytes()[41..], [0xa2, 0x02]);
}

#[test]
fn errors_say_what_is_wrong_and_where() {
    use MultiaddrErrorKind::{Protocol, Size, Start, Value};
    for (text, kind, at) in [
        ("", Start, 0),
        ("ip4/1.2.3.4", Start, 0),
        ("/", Protocol, 0),
        ("//", Protocol, 0),
        ("/ip4", Value, 0),
        ("/ip4/1.2.3", Value, 0),
        ("/ip4/1.2.3.4/tcp/65536", Value, 12),
        ("/ip4/1.2.3.4/tcp/+1", Value, 12),
        ("/ip4/1.2.3.4/tcp", Value, 12),
        ("/ip4/1.2.3.4/tcp/", Value, 12),
        ("/ip4/1.2.3.4//tcp/1", Protocol, 12),
        ("/ip4/1.2.3.4/carrier-pigeon/1", Protocol, 12),
        ("/tcp/1/p2p/garbage", Value, 6),
        ("/dns4//tcp/1", Value, 0),
        ("/dns4/a b", Value, 0),
        ("/sctp/1", Value, 0),
        ("/certhash/0xabc", Value, 0),
        ("0.0.0.0", Start, 0),
    ] {
        assert_eq!(text.parse::<Multiaddr>(), Err(MultiaddrError { kind, at }), "{text}");
    }
    let long = "/ws".repeat(400);
    assert_eq!(long.parse::<Multiaddr>().unwrap_err().kind, Size);
    assert_eq!(Multiaddr::from_bytes(&[0x04; 1025]).unwrap_err().kind, Size);
    assert_eq!(Multiaddr::from_bytes(&[]).unwrap_err().kind, Start);
    for (hex, kind, at) in [
        ("047f0000", Value, 0),
        ("047f00000106", Value, 5),
        ("047f00000107", Protocol, 5),
        ("3680", Value, 0),
        ("36ffffffffffffffffff01", Value, 0),
        ("3600", Value, 0),
        ("3601ff", Value, 0),
        ("3601_2f".replace('_', "").as_str(), Value, 0),
        ("a50301ff", Value, 0),
        ("80", Protocol, 0),
    ] {
        let bytes = crate::hex::decode(hex).unwrap();
        assert_eq!(Multiaddr::from_bytes(&bytes), Err(MultiaddrError { kind, at }), "{hex}");
    }
}

#[test]
fn parts_are_found() {
    let id = PeerId::from_base58(ID).unwrap();
    let direct = address(&format!("/ip4/1.2.3.4/tcp/7/p2p/{ID}"));
    assert_eq!(direct.ip(), Some("1.2.3.4".parse().unwrap()));
    assert_eq!((direct.tcp_port(), direct.peer_id(), direct.is_relayed()), (Some(7), Some(id), false));
    let relay = PeerId::from_ed25519(&[1; 32]);
    let relayed = address(&format!("/ip6/::1/tcp/7/p2p/{relay}/p2p-circuit/p2p/{ID}"));
    assert_eq!((relayed.peer_id(), relayed.is_relayed()), (Some(id), true));
    let name = address("/dns4/example.com/udp/1");
    assert_eq!((name.ip(), name.tcp_port(), name.peer_id()), (None, None, None));
}

#[test]
fn the_peer_at_the_end_is_put_there_and_taken_off() {
    let (a, b) = (PeerId::from_ed25519(&[1; 32]), PeerId::from_ed25519(&[2; 32]));
    let plain = address("/ip4/1.2.3.4/tcp/7");
    assert_eq!(plain.without_p2p(), plain);
    assert_eq!(plain.with_p2p(a).without_p2p(), plain);
    assert_eq!(plain.with_p2p(a).with_p2p(b), plain.with_p2p(b));
    let alone = address(&format!("/p2p/{a}"));
    assert_eq!(alone.without_p2p(), alone);
    assert_eq!(alone.with_p2p(b), address(&format!("/p2p/{b}")));
    let relayed = address(&format!("/ip4/1.2.3.4/tcp/7/p2p/{a}/p2p-circuit"));
    assert_eq!(relayed.without_p2p(), relayed);
}

fn any_protocol() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(|ip| format!("/ip4/{}", core::net::Ipv4Addr::from(ip))),
        any::<[u8; 16]>().prop_map(|ip| format!("/ip6/{}", core::net::Ipv6Addr::from(ip))),
        any::<u16>().prop_map(|port| format!("/tcp/{port}")),
        any::<u16>().prop_map(|port| format!("/udp/{port}")),
        "[a-z0-9.-]{1,20}".prop_map(|name| format!("/dns4/{name}")),
        "[!-.0-~]{1,20}".prop_map(|name| format!("/dnsaddr/{name}")),
        any::<[u8; 32]>().prop_map(|key| format!("/p2p/{}", PeerId::from_ed25519(&key))),
        prop::sample::select(vec!["/ws", "/wss", "/tls", "/quic-v1", "/p2p-circuit", "/webtransport"])
            .prop_map(String::from),
        proptest::collection::vec(any::<u8>(), 0..20)
            .prop_map(|value| format!("/certhash/0x{}", crate::hex::encode(&value))),
    ]
}

proptest! {
    #[test]
    fn addresses_come_back_from_both_forms(protocols in proptest::collection::vec(any_protocol(), 1..8)) {
        let text = protocols.concat();
        let address = address(&text);
        prop_assert_eq!(address.to_string(), text);
        prop_assert_eq!(Multiaddr::from_bytes(address.as_bytes()), Ok(address.clone()));
        prop_assert_eq!(address.iter().count(), protocols.len());
    }

    #[test]
    fn reading_never_panics_and_what_is_read_comes_back(
        bytes in proptest::collection::vec(prop_oneof![prop::sample::select(vec![4u8, 6, 0x36, 0xa5, 3, 0x91, 2, 0xdd]), any::<u8>()], 0..40),
        text in "(/(ip4|tcp|p2p|ws|dns4|x|)(/[a-z0-9.]{0,4})?){0,6}",
    ) {
        let _ = text.parse::<Multiaddr>();
        if let Ok(address) = Multiaddr::from_bytes(&bytes) {
            let again = address.to_string().parse::<Multiaddr>().unwrap();
            // A varint may be longer than it need be; the text does not show it.
            prop_assert!(again.iter().eq(address.iter()));
        }
    }
}
