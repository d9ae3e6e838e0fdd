use super::*;
use crate::json::{BlockMessage, JsonErrorKind, SubtreeMessage};
use proptest::prelude::*;

const WRAPPED: &str = r#"{"name":"c","data":"eyJQZWVySUQiOiJwIiwiQ2xpZW50TmFtZSI6ImMiLCJEYXRhSHViVVJMIjoidSIsIkhhc2giOiJhYiJ9"}"#;
const INNER: &str = r#"{"PeerID":"p","ClientName":"c","DataHubURL":"u","Hash":"ab"}"#;

/// Name, inner document, whether it is bare.
type Found = Result<(std::string::String, Vec<u8>, bool), EnvelopeError>;

fn required(text: &str) -> Found {
    let mut buffer = Vec::new();
    unwrap(Mode::Required, text.as_bytes(), &mut buffer)
        .map(|u| (u.name.into_owned(), u.inner.to_vec(), u.bare))
}

fn envelope(data: &str) -> std::string::String {
    format!("{{\"name\":\"n\",\"data\":{data}}}")
}

#[test]
fn t003_a_wrapped_message_has_exactly_name_and_data_and_padded_base64() {
    for (inner, base64) in
        [("", ""), ("a", "YQ=="), ("ab", "YWI="), ("abc", "YWJj"), ("\u{ff}\u{3fe}", "w7/Pvg==")]
    {
        let mut out = b"before".to_vec();
        wrap("a<b", inner.as_bytes(), &mut out);
        let expected = format!("before{{\"name\":\"a\\u003cb\",\"data\":\"{base64}\"}}");
        assert_eq!(core::str::from_utf8(&out), Ok(&*expected));
    }
}

#[test]
fn t004_the_example_of_the_specification_is_met() {
    let message = SubtreeMessage {
        peer_id: "p".into(),
        client_name: "c".into(),
        data_hub_url: "u".into(),
        hash: "ab".into(),
    };
    let mut inner = Vec::new();
    message.encode(&mut inner);
    assert_eq!(core::str::from_utf8(&inner), Ok(INNER));
    let mut out = Vec::new();
    wrap("c", &inner, &mut out);
    assert_eq!(core::str::from_utf8(&out), Ok(WRAPPED));
    assert_eq!(required(WRAPPED), Ok(("c".into(), INNER.into(), false)));
}

#[test]
fn t005_what_is_no_envelope_is_an_error_and_the_next_message_is_read() {
    let mut buffer = Vec::new();
    for bad in [
        "",
        "x",
        "[]",
        "\"x\"",
        "{} {}",
        r#"{"name":7}"#,
        r#"{"data":7}"#,
        r#"{"data":[1,2]}"#,
        r#"{"name":{}}"#,
    ] {
        let error = unwrap(Mode::Required, bad.as_bytes(), &mut buffer).unwrap_err();
        assert!(matches!(error, EnvelopeError::Json(_)), "{bad}");
        assert_eq!(unwrap(Mode::Required, WRAPPED.as_bytes(), &mut buffer).unwrap().inner, INNER.as_bytes());
    }
    for bad in ["YQ", "YQ=", "YQ===", "Y", "w7-Pvg==", "w7_Pvg==", "Y Q==", "YQ==YQ==", "é", "=", "YQ==x"] {
        assert_eq!(required(&envelope(&format!("\"{bad}\""))), Err(EnvelopeError::Base64), "{bad}");
    }
    // A line break as such cannot stand in a JSON text.
    let raw = required("{\"name\":\"n\",\"data\":\"YQ\n==\"}").unwrap_err();
    assert!(matches!(raw, EnvelopeError::Json(JsonError { kind: JsonErrorKind::Syntax, .. })));
}

#[test]
fn other_spellings_that_go_takes_are_taken() {
    let plain = ("n".into(), b"a".to_vec(), false);
    for text in [
        r#"{"name":"n","data":"YQ=="}"#,
        r#" { "data" : "YQ==" , "NAME" : "n" } "#,
        r#"{"Name":"n","DATA":"YQ==","x":[1]}"#,
        r#"{"name":"n","data":"Y\r\nQ=\n=\n"}"#,
        r#"{"name":"\u006e","data":"\u0059Q=="}"#,
        r#"{"name":"n","data":"YR=="}"#,
        r#"{"name":"x","data":"xx","name":"n","data":"YQ=="}"#,
    ] {
        assert_eq!(required(text), Ok(plain.clone()), "{text}");
    }
}

#[test]
fn t157_an_envelope_without_data_unwraps_to_nothing() {
    for (text, bare) in [
        (r#"{"name":"n"}"#, true),
        (r#"{"name":"n","data":null}"#, false),
        (r#"{"name":"n","data":""}"#, false),
    ] {
        assert_eq!(required(text), Ok(("n".into(), Vec::new(), bare)), "{text}");
    }
    assert_eq!(required("null"), Ok(("".into(), Vec::new(), false)));
    assert!(BlockMessage::decode(b"").is_err());
}

#[test]
fn bare_documents_are_taken_where_the_mode_allows_it() {
    let mut buffer = Vec::new();
    for bare in
        [INNER, r#"{"peer_id":"p","data":"YQ=="}"#, r#"{"PeerId":"p","data":"YQ=="}"#, r#"{"Hash":"ab"}"#]
    {
        let found = unwrap(Mode::Optional, bare.as_bytes(), &mut buffer).unwrap();
        assert_eq!((&*found.name, found.inner, found.bare), ("", bare.as_bytes(), true));
    }
    assert!(!unwrap(Mode::Optional, WRAPPED.as_bytes(), &mut buffer).unwrap().bare);
    let none = unwrap(Mode::None, WRAPPED.as_bytes(), &mut buffer).unwrap();
    assert_eq!((none.inner, none.bare), (WRAPPED.as_bytes(), true));
    // The default shows a bare document for what it is and hands out nothing of it.
    let strict = unwrap(Mode::Required, INNER.as_bytes(), &mut buffer).unwrap();
    assert_eq!((strict.inner, strict.bare), (&b""[..], true));
}

#[test]
fn a_buffer_with_capacity_is_used_again() {
    let mut buffer = Vec::with_capacity(128);
    let before = buffer.as_ptr();
    for _ in 0..3 {
        assert_eq!(unwrap(Mode::Required, WRAPPED.as_bytes(), &mut buffer).unwrap().inner, INNER.as_bytes());
        assert_eq!(buffer.as_ptr(), before);
    }
}

fn both(mode: Mode, data: &[u8]) -> [Found; 2] {
    let (mut fast, mut slow) = (Vec::new(), Vec::new());
    [unwrap(mode, data, &mut fast), unwrap_any_shape(mode, data, &mut slow)]
        .map(|result| result.map(|u| (u.name.into_owned(), u.inner.to_vec(), u.bare)))
}

proptest! {
    #[test]
    fn payloads_come_back(name in "\\PC{0,12}", inner in proptest::collection::vec(any::<u8>(), 0..200)) {
        let (mut out, mut buffer) = (Vec::new(), Vec::new());
        wrap(&name, &inner, &mut out);
        let found = unwrap(Mode::Required, &out, &mut buffer).unwrap();
        prop_assert_eq!(&*found.name, &*name);
        prop_assert_eq!(found.inner, &inner[..]);
        prop_assert!(!found.bare);
    }

    /// The short way for the fixed shape agrees with the parser, on whole envelopes and on damaged ones.
    #[test]
    fn both_ways_agree(
        name in prop_oneof!["[a-z]{0,5}", "\\PC{0,5}", "[\"\\\\\u{1}-\u{1f}a]{0,3}"],
        base64 in prop_oneof!["[A-Za-z0-9+/]{0,12}={0,3}", "[A-Za-z0-9+/=\"\\\\,:{}\r\n -]{0,12}"],
        damage in proptest::option::of((0usize..64, any::<u8>())),
        mode in prop::sample::select(vec![Mode::Required, Mode::Optional]),
    ) {
        let mut data = format!("{{\"name\":\"{name}\",\"data\":\"{base64}\"}}").into_bytes();
        if let Some((at, byte)) = damage {
            let length = data.len();
            data[at % length] = byte;
        }
        let [fast, slow] = both(mode, &data);
        prop_assert_eq!(fast, slow);
    }

    #[test]
    fn unwrapping_never_panics(data in proptest::collection::vec(any::<u8>(), 0..100)) {
        for mode in [Mode::Required, Mode::Optional, Mode::None] {
            let _ = unwrap(mode, &data, &mut Vec::new());
        }
    }
}
