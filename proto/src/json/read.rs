//! The reader: a pull parser over a document that is valid UTF-8.

use alloc::borrow::Cow;
use alloc::string::String;
use core::fmt;

use super::scan::plain_to_read;

/// Deepest nesting of objects and arrays in a document, members that nobody reads included.
pub const DEPTH_MAX: usize = 64;

/// Why a document was refused, and at which byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonError {
    /// What was wrong.
    pub kind: JsonErrorKind,
    /// Offset of the byte at which it was noticed.
    pub at: usize,
}

/// What was wrong with a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonErrorKind {
    /// It is not JSON.
    Syntax,
    /// It is not UTF-8.
    Utf8,
    /// Bytes follow the document.
    Trailing,
    /// It is neither an object nor `null`, or a member is not of its field's type.
    Type,
    /// A number does not fit its field.
    Range,
    /// It is nested deeper than [`DEPTH_MAX`].
    Depth,
    /// It, or a list in it, is longer than its kind may be.
    Size,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            JsonErrorKind::Syntax => "not JSON",
            JsonErrorKind::Utf8 => "not UTF-8",
            JsonErrorKind::Trailing => "bytes after the document",
            JsonErrorKind::Type => "a value of the wrong type",
            JsonErrorKind::Range => "a number out of range",
            JsonErrorKind::Depth => "nested too deeply",
            JsonErrorKind::Size => "too long",
        };
        write!(f, "{what} at byte {}", self.at)
    }
}

impl core::error::Error for JsonError {}

/// Reads values one after the other. After an error it is of no further use.
pub(crate) struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Result<Self, JsonError> {
        match core::str::from_utf8(data) {
            Ok(text) => Ok(Self { text, at: 0 }),
            Err(error) => Err(JsonError { kind: JsonErrorKind::Utf8, at: error.valid_up_to() }),
        }
    }

    pub(crate) fn error(&self, kind: JsonErrorKind) -> JsonError {
        JsonError { kind, at: self.at }
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.byte() {
            self.at += 1;
        }
    }

    /// The next byte that is not white space, not taken.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        self.skip_space();
        self.byte()
    }

    /// Takes `byte` if it is next after white space.
    pub(crate) fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    pub(crate) fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.take(byte) { Ok(()) } else { Err(self.error(JsonErrorKind::Syntax)) }
    }

    fn word(&mut self, word: &str) -> Result<(), JsonError> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.error(JsonErrorKind::Syntax));
        }
        self.at += word.len();
        Ok(())
    }

    /// Takes `null` if it is next.
    pub(crate) fn null(&mut self) -> Result<bool, JsonError> {
        if self.peek() != Some(b'n') {
            return Ok(false);
        }
        self.word("null").map(|()| true)
    }

    /// Only white space may follow.
    pub(crate) fn end(&mut self) -> Result<(), JsonError> {
        if self.peek().is_none() { Ok(()) } else { Err(self.error(JsonErrorKind::Trailing)) }
    }

    /// An error for a value that is not of the kind wanted: of syntax if it is no value at all.
    fn unwanted(&mut self) -> JsonError {
        match self.skip_value() {
            Ok(()) => self.error(JsonErrorKind::Type),
            Err(error) => error,
        }
    }

    /// Reads a text.
    pub(crate) fn text(&mut self) -> Result<Cow<'a, str>, JsonError> {
        if self.peek() != Some(b'"') {
            return Err(self.unwanted());
        }
        self.at += 1;
        let start = self.at;
        if self.plain()? == b'"' {
            let text = &self.text[start..self.at];
            self.at += 1;
            return Ok(Cow::Borrowed(text));
        }
        let mut owned = String::from(&self.text[start..self.at]);
        loop {
            owned.push(self.escape()?);
            let start = self.at;
            let stop = self.plain()?;
            owned.push_str(&self.text[start..self.at]);
            if stop == b'"' {
                self.at += 1;
                return Ok(Cow::Owned(owned));
            }
        }
    }

    /// Moves to the next quote or backslash and returns which of them it is.
    fn plain(&mut self) -> Result<u8, JsonError> {
        let rest = &self.text.as_bytes()[self.at..];
        let length = plain_to_read(rest);
        self.at += length;
        match rest.get(length) {
            Some(&stop) if stop >= 0x20 => Ok(stop),
            Some(_) | None => Err(self.error(JsonErrorKind::Syntax)),
        }
    }

    /// Reads an escape, its backslash included. Half a surrogate pair gives U+FFFD, as in Go.
    fn escape(&mut self) -> Result<char, JsonError> {
        self.at += 1;
        let byte = self.byte().ok_or_else(|| self.error(JsonErrorKind::Syntax))?;
        let simple = match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.at += 1;
                return self.unicode_escape();
            }
            _ => return Err(self.error(JsonErrorKind::Syntax)),
        };
        self.at += 1;
        Ok(simple)
    }

    fn unicode_escape(&mut self) -> Result<char, JsonError> {
        let first = self.four_digits()?;
        if let Some(character) = char::from_u32(first) {
            return Ok(character);
        }
        let high = (0xd800..0xdc00).contains(&first);
        if high && self.text.as_bytes()[self.at..].starts_with(b"\\u") {
            let before = self.at;
            self.at += 2;
            let second = self.four_digits()?;
            if (0xdc00..0xe000).contains(&second) {
                let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = before;
        }
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn four_digits(&mut self) -> Result<u32, JsonError> {
        let mut value = 0;
        for _ in 0..4 {
            let digit = self.byte().and_then(crate::hex::nibble);
            value = value << 4 | u32::from(digit.ok_or_else(|| self.error(JsonErrorKind::Syntax))?);
            self.at += 1;
        }
        Ok(value)
    }

    /// Reads a number as text, checked for JSON's grammar.
    fn number(&mut self) -> Result<&'a str, JsonError> {
        if !matches!(self.peek(), Some(b'-' | b'0'..=b'9')) {
            return Err(self.unwanted());
        }
        let start = self.at;
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        if self.byte() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.byte() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(&self.text[start..self.at])
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.byte() {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(self.error(JsonErrorKind::Syntax)) }
    }

    /// Reads an integer of at most `max`. `1.0` and `1e3` are no integers.
    pub(crate) fn unsigned(&mut self, max: u64) -> Result<u64, JsonError> {
        let number = self.number()?;
        match number.parse::<u64>() {
            Ok(value) if value <= max => Ok(value),
            _ => Err(self.error(JsonErrorKind::Range)),
        }
    }

    pub(crate) fn signed(&mut self) -> Result<i64, JsonError> {
        let number = self.number()?;
        number.parse().map_err(|_| self.error(JsonErrorKind::Range))
    }

    pub(crate) fn float(&mut self) -> Result<f64, JsonError> {
        let number = self.number()?;
        match number.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(value),
            _ => Err(self.error(JsonErrorKind::Range)),
        }
    }

    /// Reads the members of an object. `member` gets each key and must read its value.
    pub(crate) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, Cow<'a, str>) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        if !self.take(b'{') {
            return Err(self.unwanted());
        }
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            let key = self.key()?;
            member(self, key)?;
            if !self.take(b',') {
                return self.expect(b'}');
            }
        }
    }

    fn key(&mut self) -> Result<Cow<'a, str>, JsonError> {
        if self.peek() != Some(b'"') {
            return Err(self.error(JsonErrorKind::Syntax));
        }
        let key = self.text()?;
        self.expect(b':')?;
        Ok(key)
    }

    /// Reads the elements of an array. `element` must read one value.
    pub(crate) fn array(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        if !self.take(b'[') {
            return Err(self.unwanted());
        }
        if self.take(b']') {
            return Ok(());
        }
        loop {
            element(self)?;
            if !self.take(b',') {
                return self.expect(b']');
            }
        }
    }

    /// Reads any value and forgets it, without recursion.
    pub(crate) fn skip_value(&mut self) -> Result<(), JsonError> {
        // One bit for each open bracket, the innermost lowest: set for objects.
        let mut kinds: u64 = 0;
        let mut depth = 0;
        loop {
            match self.peek() {
                Some(open @ (b'{' | b'[')) => {
                    self.at += 1;
                    if depth == DEPTH_MAX {
                        return Err(self.error(JsonErrorKind::Depth));
                    }
                    depth += 1;
                    kinds = kinds << 1 | u64::from(open == b'{');
                    let empty = self.take(if open == b'{' { b'}' } else { b']' });
                    if !empty {
                        if open == b'{' {
                            self.skip_key()?;
                        }
                        continue;
                    }
                    depth -= 1;
                    kinds >>= 1;
                }
                _ => self.skip_scalar()?,
            }
            // A value has ended: close what ends with it, up to the next comma.
            loop {
                if depth == 0 {
                    return Ok(());
                }
                let object = kinds & 1 == 1;
                if self.take(b',') {
                    if object {
                        self.skip_key()?;
                    }
                    break;
                }
                self.expect(if object { b'}' } else { b']' })?;
                depth -= 1;
                kinds >>= 1;
            }
        }
    }

    fn skip_key(&mut self) -> Result<(), JsonError> {
        if self.peek() != Some(b'"') {
            return Err(self.error(JsonErrorKind::Syntax));
        }
        self.skip_text()?;
        self.expect(b':')
    }

    fn skip_text(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        while self.plain()? == b'\\' {
            self.escape()?;
        }
        self.at += 1;
        Ok(())
    }

    fn skip_scalar(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'"') => self.skip_text(),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            Some(b'-' | b'0'..=b'9') => self.number().map(|_| ()),
            _ => Err(self.error(JsonErrorKind::Syntax)),
        }
    }
}

/// Reads a whole document that is an object or `null`.
pub(crate) fn decode_document<'a>(
    data: &'a [u8],
    member: impl FnMut(&mut Parser<'a>, Cow<'a, str>) -> Result<(), JsonError>,
) -> Result<(), JsonError> {
    let mut parser = Parser::new(data)?;
    if !parser.null()? {
        parser.object(member)?;
    }
    parser.end()
}
