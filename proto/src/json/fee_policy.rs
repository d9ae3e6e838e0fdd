//! [`FeePolicy`]: the fee object that newer nodes put into their status (spec 14.6).

use alloc::vec::Vec;

use super::{Field, JsonError, Parser, write_u64};
use crate::json::messages::read_field;

/// Fees and sizes that a node accepts (member `fee_policy`, spec 14.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeePolicy {
    /// Fee of transactions that are mined; member `miningFee`.
    pub mining_fee: MiningFee,
    /// Longest script in bytes; member `maxscriptsizepolicy`.
    pub max_script_size: u64,
    /// Longest transaction in bytes; member `maxtxsizepolicy`.
    pub max_tx_size: u64,
    /// Most signature operations of a transaction; member `maxtxsigopscountspolicy`.
    pub max_tx_sigops: u64,
}

/// A fee as satoshis for a number of bytes (spec 14.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MiningFee {
    /// The fee in satoshis.
    pub satoshis: u64,
    /// The number of bytes it is for: 1000.
    pub bytes: u64,
}

impl<'a> Field<'a> for FeePolicy {
    fn read(&mut self, parser: &mut Parser<'a>) -> Result<(), JsonError> {
        parser.object(|parser, key| {
            if key.eq_ignore_ascii_case("miningFee") {
                return read_field(&mut self.mining_fee, parser);
            }
            let field = if key.eq_ignore_ascii_case("maxscriptsizepolicy") {
                &mut self.max_script_size
            } else if key.eq_ignore_ascii_case("maxtxsizepolicy") {
                &mut self.max_tx_size
            } else if key.eq_ignore_ascii_case("maxtxsigopscountspolicy") {
                &mut self.max_tx_sigops
            } else {
                return parser.skip_value();
            };
            read_field(field, parser)
        })
    }

    fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"miningFee\":");
        self.mining_fee.write(out);
        out.extend_from_slice(b",\"maxscriptsizepolicy\":");
        write_u64(self.max_script_size, out);
        out.extend_from_slice(b",\"maxtxsizepolicy\":");
        write_u64(self.max_tx_size, out);
        out.extend_from_slice(b",\"maxtxsigopscountspolicy\":");
        write_u64(self.max_tx_sigops, out);
        out.push(b'}');
    }
}

impl<'a> Field<'a> for MiningFee {
    fn read(&mut self, parser: &mut Parser<'a>) -> Result<(), JsonError> {
        parser.object(|parser, key| {
            let field = if key.eq_ignore_ascii_case("satoshis") {
                &mut self.satoshis
            } else if key.eq_ignore_ascii_case("bytes") {
                &mut self.bytes
            } else {
                return parser.skip_value();
            };
            read_field(field, parser)
        })
    }

    fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"satoshis\":");
        write_u64(self.satoshis, out);
        out.extend_from_slice(b",\"bytes\":");
        write_u64(self.bytes, out);
        out.push(b'}');
    }
}
