//! [`TopicName`]: a topic as the wire names it.

use alloc::borrow::Borrow;

use bytes::Bytes;

use crate::codec::codec_struct;
use crate::common::sip::{HashKey, Hashed};
use crate::state::alter_leaf;

/// A topic's name as the wire has it: bytes, for nothing vouches for their being text. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TopicName(pub Bytes);

impl From<&[u8]> for TopicName {
    fn from(name: &[u8]) -> Self {
        Self(Bytes::copy_from_slice(name))
    }
}

impl From<&str> for TopicName {
    fn from(name: &str) -> Self {
        name.as_bytes().into()
    }
}

impl Borrow<[u8]> for TopicName {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl Hashed for TopicName {
    fn hashed(&self, key: HashKey) -> u64 {
        key.hash(&self.0)
    }
}

codec_struct!(TopicName(bytes));
alter_leaf!(TopicName => |v| v.0 = [&v.0[..], b"x"].concat().into());
