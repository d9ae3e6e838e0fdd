//! Signatures at the edge of what is one: Go's answers, today's and those written down, and ours. Where they differ, a message
//! would be true for a part of the network.

use ed25519_dalek::{Signature, Verifier as _, VerifyingKey};
use peerage_conformance::peer::{Make, Peer};
use peerage_conformance::{Failure, wire};
use serde_json::{Value, json};

/// The cases of `tests/vectors/ed25519-edge.json`.
fn cases() -> Result<Vec<Value>, Failure> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../vectors/ed25519-edge.json");
    let text = std::fs::read_to_string(file).map_err(|error| Failure::new(format!("{file}: {error}")))?;
    let vectors: Value = serde_json::from_str(&text).map_err(|error| Failure::new(error.to_string()))?;
    Ok(vectors["cases"].as_array().cloned().unwrap_or_default())
}

fn bytes(case: &Value, member: &str) -> Vec<u8> {
    wire::unhex(case[member].as_str().unwrap_or_default()).unwrap_or_default()
}

/// Whether the library takes the signature, by the check that the node makes.
fn verifies(case: &Value) -> bool {
    let key: Option<[u8; 32]> = bytes(case, "pub_key").try_into().ok();
    let key = key.and_then(|key| VerifyingKey::from_bytes(&key).ok());
    let signature = Signature::from_slice(&bytes(case, "signature")).ok();
    let (Some(key), Some(signature)) = (key, signature) else { return false };
    key.verify(&bytes(case, "message"), &signature).is_ok()
}

#[test]
fn go_answers_as_written_down() -> Result<(), Failure> {
    let cases = cases()?;
    let mut go = Peer::start(Make::Raw, "go", json!({}))?;
    let answer = go.process().call(json!({"cmd": "ed25519", "cases": cases}))?;
    let verified = answer["verified"].as_array().cloned().unwrap_or_default();
    assert_eq!(verified.len(), cases.len());
    for (case, verified) in cases.iter().zip(&verified) {
        assert_eq!(case["go"], *verified, "{}", case["name"]);
    }
    Ok(())
}

#[test]
fn what_go_takes_for_a_signature_is_one_for_us_and_nothing_else() -> Result<(), Failure> {
    let cases = cases()?;
    assert!(
        cases.len() >= 12 && cases.iter().any(|c| c["go"] == true) && cases.iter().any(|c| c["go"] == false)
    );
    for case in &cases {
        assert_eq!(case["go"], verifies(case), "{}", case["name"]);
    }
    Ok(())
}
