//! JSON as Go's `encoding/json` reads and writes it (spec 3.0).
//!
//! Keys are matched without regard to ASCII letter case and the last of equal keys wins; `null` leaves a field as it is;
//! a value of the wrong type, or a number that its field cannot hold, refuses the whole document, as do trailing bytes.
//! Texts without escapes are borrowed. Invalid UTF-8 is refused.

mod best_block;
mod fee_policy;
pub(crate) mod messages;
mod read;
mod scan;
mod write;

#[cfg(test)]
mod tests;

pub use best_block::BestBlockMessage;
pub use fee_policy::{FeePolicy, MiningFee};
pub use messages::{
    BlockMessage, HandshakeMessage, MiningOnMessage, NodeStatusMessage, RejectedTxMessage, SubtreeMessage,
};
pub use read::{DEPTH_MAX, JsonError, JsonErrorKind};

pub(crate) use messages::message;
pub(crate) use read::{Parser, decode_document};
pub(crate) use write::{write_i64, write_text, write_u64};

use alloc::borrow::Cow;
use alloc::vec::Vec;

/// A type that can be a member of a message.
pub(crate) trait Field<'a> {
    /// Reads one value that is not `null` into `self`.
    fn read(&mut self, parser: &mut Parser<'a>) -> Result<(), JsonError>;
    /// What `null` does: nothing, save for values that can be absent.
    fn read_null(&mut self) {}
    /// Whether a member that may be left out is left out.
    fn is_zero(&self) -> bool;
    fn write(&self, out: &mut Vec<u8>);
}

impl<'a> Field<'a> for Cow<'a, str> {
    fn read(&mut self, parser: &mut Parser<'a>) -> Result<(), JsonError> {
        *self = parser.text()?;
        Ok(())
    }

    fn is_zero(&self) -> bool {
        self.is_empty()
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_text(self, out);
    }
}

macro_rules! unsigned_field {
    ($($t:ty),*) => {$(
        impl<'a> Field<'a> for $t {
            fn read(&mut self, parser: &mut Parser<'a>) -> Result<(), JsonError> {
                *self = parser.unsigned(u64::from(Self::MAX))? as Self;
                Ok(())
            }

            fn is_zero(&self) -> bool {
                *self == 0
            }

            fn write(&self, out: &mut Vec<u8>) {
                write_u64(u64::from(*self), out);
            }
        }
    )*};
}

unsigned_field!(u32, u64);

impl<'a> Field<'a> for i64 {
    fn read(&mut self, parser: &mut Parser<'a>) -> Result<(), JsonError> {
        *self = parser.signed()?;
        Ok(())
    }

    fn is_zero(&self) -> bool {
        *self == 0
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_i64(*self, out);
    }
}

impl<'a> Field<'a> for f64 {
    fn read(&mut self, parser: &mut Parser<'a>) -> Result<(), JsonError> {
        *self = parser.float()?;
        Ok(())
    }

    fn is_zero(&self) -> bool {
        *self == 0.0
    }

    fn write(&self, out: &mut Vec<u8>) {
        write::write_f64(*self, out);
    }
}

impl<'a, T: Field<'a> + Default> Field<'a> for Option<T> {
    fn read(&mut self, parser: &mut Parser<'a>) -> Result<(), JsonError> {
        self.get_or_insert_default().read(parser)
    }

    fn read_null(&mut self) {
        *self = None;
    }

    fn is_zero(&self) -> bool {
        self.is_none()
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Some(value) => value.write(out),
            None => out.extend_from_slice(b"null"),
        }
    }
}
