//! Records and topics of Kafka (spec 6.1, 6.2).
#![allow(missing_docs, clippy::all, clippy::pedantic, unused_qualifications)]

include!(concat!(env!("OUT_DIR"), "/kafkamessage.rs"));

/// Default topic of blocks to be validated: produced.
pub const TOPIC_BLOCKS: &str = "blocks";
/// Default topic of subtrees to be validated: produced.
pub const TOPIC_SUBTREES: &str = "subtrees";
/// Default topic of refused transactions: consumed.
pub const TOPIC_REJECTED_TX: &str = "rejectedtx";
/// Default topic of invalid blocks: consumed.
pub const TOPIC_INVALID_BLOCKS: &str = "invalid-blocks";
/// Default topic of invalid subtrees: consumed.
pub const TOPIC_INVALID_SUBTREES: &str = "invalid-subtrees";
