//! Messages of which the signature, the key or the kind of key is not what it should be.

use peerage_conformance::node::Shell;
use peerage_conformance::wire::{self, Kind};
use peerage_conformance::{Failure, SOON, THREE_HEARTBEATS, on_both_shells};
use serde_json::{Value, json};

use crate::{assert_in_good_standing, expect_handed_on, is_heard, join, start};

/// An author's seed, by which another peer may sign as it does.
const AUTHOR_SEED: &str = "5151515151515151515151515151515151515151515151515151515151515151";

/// What somebody else makes of an author's message: the same author and number, and a signature that is none.
fn shadows(author: &str, seqno: &str) -> Vec<Value> {
    let base = json!({"from": author, "seqno": seqno, "sign_seed": AUTHOR_SEED});
    let with = |member: &str, value: Value| {
        let mut forge = base.clone();
        forge[member] = value;
        forge
    };
    vec![
        with("sign_seed", json!("")),
        with("corrupt", json!(true)),
        with("key_hex", json!("")),
        with("key_hex", json!("0801")),
        // The public key of somebody else.
        with("key_hex", json!(format!("08011220{}", "77".repeat(32)))),
        with("unknown", json!("added")),
    ]
}

fn a_forged_copy_keeps_no_message_away(shell: Shell) -> Result<(), Failure> {
    let mut ours = start(shell)?;
    let mut author = join(&mut ours, "author", json!({"seed": AUTHOR_SEED}))?;
    let mut forger = join(&mut ours, "forger", json!({}))?;
    let mut ear = join(&mut ours, "ear", json!({}))?;
    is_heard(&mut ours, &mut ear)?;
    let (to, own) = (ours.id().to_owned(), author.id().to_owned());
    let count = shadows(&own, "").len();
    for nth in 0..count {
        let seqno = format!("{:016x}", 0x1000 + nth);
        let forge = shadows(&own, &seqno).swap_remove(nth);
        // Other data, and the same data: the forger has seen it somewhere.
        let (inner, other) = (wire::subtree(&own), wire::subtree(&own));
        let honest = json!({"seqno": seqno});
        forger.forge_batch(&to, &[(&other, forge.clone()), (&inner, forge.clone())])?;
        let id = author.forge_one(&to, &inner, honest.clone())?;
        forger.forge_batch(&to, &[(&other, forge.clone()), (&inner, forge.clone())])?;
        ours.expect_produced(&Kind::Subtree.mark(&inner), SOON)?;
        ear.expect_named(&to, "messages", &id)?;
        forger.forge_batch(
            &to,
            &[(&inner, forge), (&inner, json!({"from": own, "sign_seed": AUTHOR_SEED, "seqno": seqno}))],
        )?;
        author.forge_one(&to, &inner, honest)?;
        is_heard(&mut ours, &mut forger)?;
        is_heard(&mut ours, &mut author)?;
        let forged = Kind::Subtree.mark(&other);
        let produced = |e: &Value| e["event"] == "produced" && e["hash"] == forged.as_str();
        assert_eq!(ours.process().count(produced), 0, "{nth}");
        expect_handed_on(&mut ours, &own, 2 * (nth + 1))?;
        assert_eq!(ear.count_named(&to, "messages", &id), 1, "{nth}");
    }
    Ok(())
}

fn an_unknown_field_that_is_signed_is_handed_on(shell: Shell) -> Result<(), Failure> {
    let mut ours = start(shell)?;
    let mut author = join(&mut ours, "author", json!({}))?;
    let mut ear = join(&mut ours, "ear", json!({}))?;
    is_heard(&mut ours, &mut ear)?;
    let (to, inner) = (ours.id().to_owned(), wire::subtree(author.id()));
    let id = author.forge_one(&to, &inner, json!({"unknown": "signed"}))?;
    ours.expect_produced(&Kind::Subtree.mark(&inner), SOON)?;
    let frame = ear.expect_named(&to, "messages", &id)?;
    let message = frame["messages"].as_array().into_iter().flatten().find(|m| m["id_b64"] == id);
    assert!(message.is_some_and(|m| m["unknown_bytes"].as_u64() > Some(0)), "{frame}");
    Ok(())
}

fn a_key_that_is_present_must_be_the_authors(shell: Shell) -> Result<(), Failure> {
    let mut ours = start(shell)?;
    let mut author = join(&mut ours, "author", json!({}))?;
    let mut ear = join(&mut ours, "ear", json!({}))?;
    is_heard(&mut ours, &mut ear)?;
    let (to, own) = (ours.id().to_owned(), author.id().to_owned());
    let mut bad = Vec::new();
    for key in ["", "00", "0801"] {
        bad.push(author.forge_one(&to, &wire::subtree(&own), json!({"key_hex": key}))?);
    }
    let inner = wire::subtree(&own);
    let good = author.forge_one(&to, &inner, json!({"with_key": true}))?;
    ours.expect_produced(&Kind::Subtree.mark(&inner), SOON)?;
    ear.expect_named(&to, "messages", &good)?;
    for id in &bad {
        ear.expect_not_named(&to, "messages", id, THREE_HEARTBEATS / 3)?;
    }
    expect_handed_on(&mut ours, &own, 1)
}

fn an_author_with_an_rsa_key_costs_nobody_anything(shell: Shell) -> Result<(), Failure> {
    let mut ours = start(shell)?;
    let mut peer = join(&mut ours, "peer", json!({}))?;
    let to = ours.id().to_owned();
    let rsa =
        peer.process().call(json!({"cmd": "rsa_id"}))?["peer_id"].as_str().unwrap_or_default().to_owned();
    for _ in 0..20 {
        peer.forge_one(&to, &wire::subtree(&rsa), json!({"rsa": true}))?;
    }
    is_heard(&mut ours, &mut peer)?;
    assert_in_good_standing(&mut ours, &peer);
    // Known or not: whoever is told of it is told that it is true.
    let told = ours.process().all(|e| e["event"] == "verdict" && e["source"] == rsa.as_str());
    assert!(told.iter().all(|e| e["acceptance"] != "reject"), "{told:?}");
    Ok(())
}

on_both_shells!(
    a_forged_copy_keeps_no_message_away,
    an_unknown_field_that_is_signed_is_handed_on,
    a_key_that_is_present_must_be_the_authors,
    an_author_with_an_rsa_key_costs_nobody_anything
);
