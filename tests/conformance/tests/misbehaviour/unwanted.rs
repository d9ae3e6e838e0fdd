//! IDONTWANT, said and heard.

use peerage_conformance::node::Shell;
use peerage_conformance::wire;
use peerage_conformance::{Failure, THREE_HEARTBEATS, on_both_shells};
use serde_json::{Value, json};

use crate::{is_heard, join, start};

/// Payloads from 1,024 bytes on are told of.
fn long_subtree(peer: &str) -> Value {
    wire::subtree_of_size(peer, 2_000)
}

fn a_long_message_is_declined_from_the_others_once_it_is_known_to_be_true(
    shell: Shell,
) -> Result<(), Failure> {
    let mut ours = start(shell)?;
    let mut sender = join(&mut ours, "sender", json!({}))?;
    let mut member = join(&mut ours, "member", json!({}))?;
    let mut older = join(&mut ours, "older", json!({"meshsub": "/meshsub/1.1.0"}))?;
    for peer in [&mut sender, &mut member, &mut older] {
        is_heard(&mut ours, peer)?;
    }
    let (to, own) = (ours.id().to_owned(), sender.id().to_owned());
    let forged = sender.forge_one(&to, &long_subtree(&own), json!({"corrupt": true}))?;
    let short = sender.forge_one(&to, &wire::subtree_of_size(&own, 400), json!({}))?;
    let long = sender.forge_one(&to, &long_subtree(&own), json!({}))?;
    member.expect_named(&to, "idontwant_b64", &long)?;
    for peer in [&mut member, &mut older] {
        peer.expect_named(&to, "messages", &long)?;
    }
    // What comes to the sender now came after whatever it was told of its own message.
    let back = member.forge_one(&to, &long_subtree(member.id()), json!({}))?;
    sender.expect_named(&to, "idontwant_b64", &back)?;
    sender.expect_named(&to, "messages", &back)?;
    assert_eq!(sender.count_named(&to, "idontwant_b64", &long), 0, "who sent it has it");
    assert_eq!(older.count_ids(&to, "idontwant_b64"), 0, "it does not know IDONTWANT");
    for id in [&forged, &short] {
        member.expect_not_named(&to, "idontwant_b64", id, THREE_HEARTBEATS / 3)?;
    }
    assert_eq!(member.count_named(&to, "messages", &forged), 0);
    Ok(())
}

fn what_a_peer_declined_is_not_sent_to_it(shell: Shell) -> Result<(), Failure> {
    let mut ours = start(shell)?;
    let mut sender = join(&mut ours, "sender", json!({}))?;
    let mut decliner = join(&mut ours, "decliner", json!({}))?;
    let mut member = join(&mut ours, "member", json!({}))?;
    let (to, own) = (ours.id().to_owned(), sender.id().to_owned());
    is_heard(&mut ours, &mut member)?;
    // The id of a message is its author's id and its number: of two, it is told by the first.
    let number = |nth: u64| format!("{nth:016x}");
    let known = sender.forge_one(&to, &wire::subtree(&own), json!({"seqno": number(1)}))?;
    let id = sibling(&known, 2);
    decliner.write_rpc(&to, &json!({"idontwant_b64": [id]}), 1)?;
    is_heard(&mut ours, &mut decliner)?;
    let sent = sender.forge_one(&to, &long_subtree(&own), json!({"seqno": number(2)}))?;
    assert_eq!(sent, id);
    let next = sender.forge_one(&to, &long_subtree(&own), json!({"seqno": number(3)}))?;
    for id in [&sent, &next] {
        member.expect_named(&to, "messages", id)?;
    }
    decliner.expect_named(&to, "messages", &next)?;
    assert_eq!(decliner.count_named(&to, "messages", &sent), 0);
    Ok(())
}

/// The id, in base64, of the same author's message with this number.
fn sibling(id: &Value, number: u8) -> Value {
    let mut bytes = wire::unbase64(id.as_str().unwrap_or_default());
    let seqno = bytes.len().saturating_sub(8);
    bytes[seqno..].copy_from_slice(&u64::from(number).to_be_bytes());
    json!(wire::base64(&bytes))
}

on_both_shells!(
    a_long_message_is_declined_from_the_others_once_it_is_known_to_be_true,
    what_a_peer_declined_is_not_sent_to_it
);
