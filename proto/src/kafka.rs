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

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;

    #[test]
    fn t089_the_example_of_the_specification_is_met() {
        let record = KafkaSubtreeTopicMessage { hash: "ab".into(), url: "u".into(), peer_id: "p".into() };
        let bytes = [0x0a, 0x02, 0x61, 0x62, 0x12, 0x01, 0x75, 0x1a, 0x01, 0x70];
        assert_eq!(record.encode_to_vec(), bytes);
        assert_eq!(KafkaSubtreeTopicMessage::decode(&bytes[..]), Ok(record));
    }
}
