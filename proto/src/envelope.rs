//! The envelope around every gossip payload: `{"name":"…","data":"<base64>"}` (spec 2.3).

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;

use base64::alphabet;
use base64::engine::{DecodePaddingMode, Engine, GeneralPurpose, GeneralPurposeConfig};

use crate::json::messages::read_field;
use crate::json::{JsonError, decode_document, write_text};

/// Standard alphabet, padding required, surplus bits of the last character ignored: what Go's decoder takes.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical)
        .with_decode_allow_trailing_bits(true),
);

/// Whether payloads come in an envelope (setting `envelope`, spec 2.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Every payload is an envelope.
    #[default]
    Required,
    /// A payload without `data`, or with `PeerID` or `peer_id`, is the inner document itself.
    Optional,
    /// Every payload is the inner document itself.
    None,
}

/// What [`unwrap`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unwrapped<'a> {
    /// The publisher's client name, for display: nobody vouches for it. Empty without an envelope.
    pub name: Cow<'a, str>,
    /// The inner document; empty when the envelope has no data.
    pub inner: &'a [u8],
    /// The payload has no `data` member and no `null` in its place: a bare document of a node that sends no envelopes,
    /// whatever the mode.
    pub bare: bool,
}

/// Why a payload does not unwrap. The next message is handled all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvelopeError {
    /// The payload is not a JSON object, or `name` or `data` is not a text.
    Json(JsonError),
    /// `data` is not padded standard base64.
    Base64,
}

impl fmt::Display for EnvelopeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => write!(f, "envelope: {error}"),
            Self::Base64 => f.write_str("envelope: data is not padded standard base64"),
        }
    }
}

impl core::error::Error for EnvelopeError {}

/// Takes the inner document out of a payload. It is decoded into `inner`, which is cleared first and grows to three
/// quarters of the payload at most; with that capacity nothing is allocated.
///
/// # Errors
/// When the payload is no envelope and `mode` wants one, or its `data` is not base64.
pub fn unwrap<'a>(
    mode: Mode,
    data: &'a [u8],
    inner: &'a mut Vec<u8>,
) -> Result<Unwrapped<'a>, EnvelopeError> {
    inner.clear();
    if mode == Mode::None {
        return Ok(Unwrapped { name: Cow::Borrowed(""), inner: data, bare: true });
    }
    if let Some((name, base64)) = split_fixed_shape(data)
        && decode_base64(base64, inner)
    {
        return Ok(Unwrapped { name: Cow::Borrowed(name), inner, bare: false });
    }
    unwrap_any_shape(mode, data, inner)
}

/// Appends the envelope of `inner` to `out`.
pub fn wrap(name: &str, inner: &[u8], out: &mut Vec<u8>) {
    out.reserve(name.len() + inner.len().div_ceil(3) * 4 + 22);
    out.extend_from_slice(b"{\"name\":");
    write_text(name, out);
    out.extend_from_slice(b",\"data\":\"");
    let start = out.len();
    out.resize(start + inner.len().div_ceil(3) * 4, 0);
    let written = BASE64.encode_slice(inner, &mut out[start..]).unwrap_or(0);
    out.truncate(start + written);
    out.extend_from_slice(b"\"}");
}

/// Splits exactly what the reference writes, when the name needs no escape. What follows `data` is unchecked.
fn split_fixed_shape(data: &[u8]) -> Option<(&str, &[u8])> {
    let rest = data.strip_prefix(b"{\"name\":\"")?;
    let end = rest.iter().position(|&byte| byte == b'"' || byte == b'\\' || byte < 0x20)?;
    let (name, rest) = rest.split_at(end);
    let base64 = rest.strip_prefix(b"\",\"data\":\"")?.strip_suffix(b"\"}")?;
    Some((core::str::from_utf8(name).ok()?, base64))
}

fn unwrap_any_shape<'a>(
    mode: Mode,
    data: &'a [u8],
    inner: &'a mut Vec<u8>,
) -> Result<Unwrapped<'a>, EnvelopeError> {
    let mut name = Cow::Borrowed("");
    let mut base64: Cow<'a, str> = Cow::Borrowed("");
    let mut has_data = false;
    let mut has_peer_id = false;
    let mut object = false;
    decode_document(data, |parser, key| {
        object = true;
        if key.eq_ignore_ascii_case("name") {
            return read_field(&mut name, parser);
        }
        if key.eq_ignore_ascii_case("data") {
            has_data = true;
            return read_field(&mut base64, parser);
        }
        has_peer_id |= key.eq_ignore_ascii_case("PeerID") || key.eq_ignore_ascii_case("peer_id");
        parser.skip_value()
    })
    .map_err(EnvelopeError::Json)?;
    let bare = object && !has_data;
    if mode == Mode::Optional && object && (bare || has_peer_id) {
        return Ok(Unwrapped { name: Cow::Borrowed(""), inner: data, bare: true });
    }
    inner.clear();
    let decoded = if base64.bytes().any(is_line_break) {
        let joined: Vec<u8> = base64.bytes().filter(|&byte| !is_line_break(byte)).collect();
        decode_base64(&joined, inner)
    } else {
        decode_base64(base64.as_bytes(), inner)
    };
    if decoded { Ok(Unwrapped { name, inner, bare }) } else { Err(EnvelopeError::Base64) }
}

fn is_line_break(byte: u8) -> bool {
    byte == b'\r' || byte == b'\n'
}

/// Decodes into the empty `out`; on failure its content is undefined.
fn decode_base64(text: &[u8], out: &mut Vec<u8>) -> bool {
    out.resize(text.len().div_ceil(4) * 3, 0);
    match BASE64.decode_slice(text, out) {
        Ok(length) => {
            out.truncate(length);
            true
        }
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests;
