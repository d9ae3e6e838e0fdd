//! `gossip_messages.json`: sixteen signed messages.

use ed25519_dalek::{Signature, VerifyingKey};
use peerage_proto::PeerId;
use peerage_proto::envelope::{self, Mode};
use peerage_proto::header::BlockHeader;
use peerage_proto::json::BlockMessage;
use peerage_proto::pubsub::Message;
use serde_json::Value;

use crate::{hex, list, rewritten, str, vectors};

/// What the pubsub library promises of a message: a known author whose signature fits.
fn verify(bytes: &[u8]) -> Option<Message<'_>> {
    let message = Message::decode(bytes).ok()?;
    let key = VerifyingKey::from_bytes(&message.author()?.ed25519_public_key()?).ok()?;
    let signature = Signature::from_slice(message.signature?).ok()?;
    let mut signed = Vec::new();
    message.signing_bytes(&mut signed);
    key.verify_strict(&signed, &signature).ok()?;
    Some(message)
}

macro_rules! ensure {
    ($condition:expr) => {
        if !$condition {
            return Err(stringify!($condition).to_string());
        }
    };
}

/// Holds `bytes` against everything that the recording says about them; the costly signature comes last.
fn check(recorded: &Value, bytes: &[u8]) -> Result<(), String> {
    let message = Message::decode(bytes).map_err(|error| error.to_string())?;
    let mut written = Vec::new();
    message.encode(&mut written);
    ensure!(written == bytes);
    ensure!(message.message_id() == hex(recorded, "default_message_id_hex"));
    ensure!(message.topic_str() == Some(str(recorded, "topic")));
    ensure!(message.author().map(|id| id.to_base58()).as_deref() == Some(str(recorded, "author")));
    let fields = &recorded["pubsub_message"];
    ensure!(message.from == Some(&hex(fields, "from_hex")));
    ensure!(message.from.map(<[u8]>::len) == Some(38));
    ensure!(message.seqno == Some(&hex(fields, "seqno_hex")));
    ensure!(message.seqno.map(<[u8]>::len) == Some(8));
    ensure!(message.signature == Some(&hex(fields, "signature_hex")));
    ensure!(message.key.is_none() && message.unknown.is_empty());
    let data = message.data.unwrap_or_default();
    ensure!(data == str(recorded, "bus_envelope_text").as_bytes());

    let mut buffer = Vec::new();
    let unwrapped = envelope::unwrap(Mode::Required, data, &mut buffer).map_err(|error| error.to_string())?;
    let inner_text = str(recorded, "inner_json_text");
    ensure!(unwrapped.inner == inner_text.as_bytes());
    let mut wrapped = Vec::new();
    envelope::wrap(&unwrapped.name, unwrapped.inner, &mut wrapped);
    ensure!(wrapped == data);

    ensure!(rewritten(str(recorded, "topic"), unwrapped.inner)? == inner_text.as_bytes());
    let values: Value = serde_json::from_slice(unwrapped.inner).map_err(|error| error.to_string())?;
    ensure!(values == recorded["inner_json"]);
    ensure!(verify(bytes).is_some());
    Ok(())
}

#[test]
fn t158_the_sixteen_recorded_messages_verify_and_come_back_byte_for_byte() {
    let file = vectors("gossip_messages.json");
    let messages = list(&file, "messages");
    assert_eq!(messages.len(), 16);
    for message in messages {
        check(message, &hex(message, "pubsub_message_protobuf_hex")).unwrap();
    }
}

#[test]
fn t158_a_change_of_any_byte_of_a_recorded_message_is_noticed() {
    for message in list(&vectors("gossip_messages.json"), "messages") {
        let bytes = hex(message, "pubsub_message_protobuf_hex");
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            assert!(check(message, &changed).is_err(), "byte {at}");
        }
        for cut in 0..bytes.len() {
            assert!(check(message, &bytes[..cut]).is_err(), "cut at {cut}");
        }
    }
}

#[test]
fn t158_a_change_of_any_byte_of_a_recorded_text_is_noticed() {
    for message in list(&vectors("gossip_messages.json"), "messages") {
        let bytes = hex(message, "pubsub_message_protobuf_hex");
        for key in ["inner_json_text", "bus_envelope_text", "topic", "author", "default_message_id_hex"] {
            let text = str(message, key);
            for at in 0..text.len() {
                let mut changed = text.as_bytes().to_vec();
                changed[at] ^= 1;
                let mut recorded = message.clone();
                recorded[key] = String::from_utf8(changed).unwrap().into();
                let noticed = std::panic::catch_unwind(|| check(&recorded, &bytes).is_err()).unwrap_or(true);
                assert!(noticed, "{key} at {at}");
            }
        }
    }
}

/// Without any comparison: the signature alone covers every byte of the message, its own field included.
#[test]
fn t158_the_signature_alone_notices_a_change_of_any_byte() {
    let file = vectors("gossip_messages.json");
    let shortest =
        list(&file, "messages").iter().min_by_key(|m| str(m, "pubsub_message_protobuf_hex").len()).unwrap();
    let bytes = hex(shortest, "pubsub_message_protobuf_hex");
    assert!(verify(&bytes).is_some());
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        assert!(verify(&changed).is_none(), "byte {at}");
    }
}

#[test]
fn recorded_headers_hash_to_the_announced_hash_and_meet_their_target() {
    let mut headers = 0;
    for message in list(&vectors("gossip_messages.json"), "messages") {
        if str(message, "kind") == "block" {
            let block = BlockMessage::decode(str(message, "inner_json_text").as_bytes()).unwrap();
            let header = BlockHeader::from_hex(&block.header).unwrap();
            assert_eq!(header.hash().to_string(), block.hash);
            assert_eq!(header.to_hex(), block.header);
            assert_eq!(header.bits(), 0x207f_ffff);
            headers += 1;
        }
    }
    assert!(headers > 0);
}

#[test]
fn the_recorded_keys_give_the_recorded_ids() {
    let file = vectors("gossip_messages.json");
    for (seed, name) in [(1, "nodeA"), (2, "nodeB")] {
        let key = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]).verifying_key();
        let id = PeerId::from_ed25519(key.as_bytes());
        let of_node = list(&file, "messages").iter().filter(|m| str(m, "bus_envelope_text").contains(name));
        assert!(of_node.clone().count() > 0);
        for message in of_node {
            assert_eq!(str(message, "author"), id.to_base58());
            assert_eq!(PeerId::from_base58(str(message, "author")), Ok(id));
        }
    }
}
