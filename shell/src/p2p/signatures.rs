//! Signatures of messages: made with our key, and checked as Go checks them, so that one network judges alike.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::StreamExt as _;
use futures::channel::mpsc;
use libp2p::identity::Keypair;
use peerage_core::gossipsub::stream::{AuthorKey, Check, CheckEnd};
use peerage_core::op::OpId;
use prost::Message as _;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

mod ed25519;

use ed25519::Keys;

/// Runs work that blocks where it blocks nobody.
pub type Unblock = Arc<dyn Fn(Box<dyn FnOnce() + Send>) + Send + Sync>;

/// Checks made where the loop runs. More would keep it from everything else for longer than a millisecond or so.
const INLINE_MAX: usize = 16;

/// Signs and checks.
pub struct Signatures {
    key: Keypair,
    unblock: Unblock,
    keys: Keys,
    /// Few checks each.
    waiting: VecDeque<(OpId, Vec<Check>)>,
    sender: mpsc::UnboundedSender<(OpId, Vec<CheckEnd>)>,
    receiver: mpsc::UnboundedReceiver<(OpId, Vec<CheckEnd>)>,
}

impl std::fmt::Debug for Signatures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signatures")
    }
}

impl Signatures {
    /// Signs with `key`. Long work is handed to `unblock`.
    pub fn new(key: Keypair, unblock: Unblock) -> Self {
        let (sender, receiver) = mpsc::unbounded();
        Self { key, unblock, keys: Keys::default(), waiting: VecDeque::new(), sender, receiver }
    }

    /// A signature over `bytes`.
    ///
    /// # Errors
    /// When the key cannot sign.
    pub fn sign(&self, bytes: &[u8]) -> Result<Bytes, String> {
        self.key.sign(bytes).map(Bytes::from).map_err(|error| error.to_string())
    }

    /// Begins to check. How it ended is told by [`check_waiting`](Self::check_waiting) for few, by
    /// [`poll_next`](Self::poll_next) for many.
    pub fn check(&mut self, op: OpId, checks: Vec<Check>) {
        if checks.len() <= INLINE_MAX {
            return self.waiting.push_back((op, checks));
        }
        let mut job = Job { op, ends: vec![CheckEnd::Unknown; checks.len()], sender: self.sender.clone() };
        (self.unblock)(Box::new(move || {
            let mut keys = Keys::default();
            for (end, check) in job.ends.iter_mut().zip(&checks) {
                *end = judge_knowing(&mut keys, check);
            }
        }));
    }

    /// Whether so many checks wait that they should not wait for more.
    pub fn is_full(&self) -> bool {
        self.waiting.len() >= INLINE_MAX
    }

    /// Makes the checks that have waited longest. To be asked when there is nothing else to do: copies that come meanwhile
    /// need no check, and are not sent to whom they came from.
    pub fn check_waiting(&mut self) -> Option<(OpId, Vec<CheckEnd>)> {
        let (op, checks) = self.waiting.pop_front()?;
        Some((op, checks.iter().map(|check| judge_knowing(&mut self.keys, check)).collect()))
    }

    /// The next checks made elsewhere that ended.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<(OpId, Vec<CheckEnd>)> {
        match self.receiver.poll_next_unpin(cx) {
            Poll::Ready(Some(ended)) => Poll::Ready(ended),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

/// Checks that run. They are told to have ended however that comes about: what was not judged is unknown.
struct Job {
    op: OpId,
    ends: Vec<CheckEnd>,
    sender: mpsc::UnboundedSender<(OpId, Vec<CheckEnd>)>,
}

impl Drop for Job {
    fn drop(&mut self) {
        // Nobody waits any more: the node has stopped.
        let _ = self.sender.unbounded_send((self.op, std::mem::take(&mut self.ends)));
    }
}

/// A public key in libp2p's protobuf (`crypto.proto`). Both fields are required.
#[derive(Clone, PartialEq, prost::Message)]
struct PublicKey {
    #[prost(int32, optional, tag = "1")]
    kind: Option<i32>,
    #[prost(bytes = "bytes", optional, tag = "2")]
    data: Option<Bytes>,
}

const RSA: i32 = 0;
const ED25519: i32 = 1;

/// How one check ends.
pub fn judge(check: &Check) -> CheckEnd {
    judge_knowing(&mut Keys::default(), check)
}

fn judge_knowing(keys: &mut Keys, check: &Check) -> CheckEnd {
    let (signed, signature) = (&check.signed[..], &check.signature[..]);
    let is_valid = match &check.key {
        AuthorKey::Ed25519(key) => keys.verify(key, signed, signature),
        AuthorKey::Other(key) => {
            let key = PublicKey::decode(key.clone()).ok();
            let Some((kind, data)) = key.and_then(|key| key.kind.zip(key.data)) else {
                return CheckEnd::Invalid;
            };
            match kind {
                RSA => rsa(&data, signed, signature),
                ED25519 => keys.verify(&data, signed, signature),
                _ => return CheckEnd::Unknown,
            }
        }
    };
    if is_valid { CheckEnd::Valid } else { CheckEnd::Invalid }
}

/// PKCS #1 v1.5 over SHA-256, moduli of 2048 to 8192 bits, as go-libp2p. The key is a `SubjectPublicKeyInfo`.
fn rsa(key: &[u8], signed: &[u8], signature: &[u8]) -> bool {
    let Some(key) = rsa_key(key) else { return false };
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key).verify(signed, signature).is_ok()
}

/// The algorithm in front of an RSA key: `rsaEncryption` and no parameters, in DER.
const RSA_ENCRYPTION: &[u8] =
    &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// The `RSAPublicKey` in a `SubjectPublicKeyInfo`.
fn rsa_key(info: &[u8]) -> Option<&[u8]> {
    const SEQUENCE: u8 = 0x30;
    const BIT_STRING: u8 = 0x03;
    let bits = element(SEQUENCE, info)?.strip_prefix(RSA_ENCRYPTION)?;
    // No unused bits.
    element(BIT_STRING, bits)?.strip_prefix(&[0])
}

/// The content of a DER element that is all of `bytes`.
fn element(tag: u8, bytes: &[u8]) -> Option<&[u8]> {
    let (length, content) = match bytes.strip_prefix(&[tag])? {
        [0x82, high, low, content @ ..] if *high > 0 => (u16::from_be_bytes([*high, *low]).into(), content),
        [0x81, length @ 0x80..=0xff, content @ ..] => (usize::from(*length), content),
        [length @ 0..=0x7f, content @ ..] => (usize::from(*length), content),
        _ => return None,
    };
    (content.len() == length).then_some(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerage_core::op::Ops;
    use peerage_proto::hex;
    use serde_json::Value;
    use std::sync::Mutex;

    type Vector = (String, Check, CheckEnd);

    fn bytes(value: &Value) -> Bytes {
        hex::decode(value.as_str().unwrap()).unwrap().into()
    }

    fn vectors(text: &str, vector: impl Fn(&Value) -> Vector) -> Vec<Vector> {
        let all: Value = serde_json::from_str(text).unwrap();
        all["cases"].as_array().unwrap().iter().map(vector).collect()
    }

    fn end(is_valid: &Value) -> CheckEnd {
        if *is_valid == true { CheckEnd::Valid } else { CheckEnd::Invalid }
    }

    fn ed25519_vectors() -> Vec<Vector> {
        vectors(include_str!("../../../tests/vectors/ed25519-edge.json"), |case| {
            let key = AuthorKey::Ed25519(bytes(&case["pub_key"])[..].try_into().unwrap());
            let (signed, signature) = (bytes(&case["message"]), bytes(&case["signature"]));
            (case["name"].to_string(), Check { key, signed, signature }, end(&case["go"]))
        })
    }

    #[test]
    fn edge_cases_of_ed25519_are_judged_as_by_go() {
        let vectors = ed25519_vectors();
        assert!(vectors.len() >= 12);
        for (name, check, end) in vectors {
            assert_eq!(judge(&check), end, "{name}");
        }
    }

    #[test]
    fn rsa_is_checked_and_moduli_that_go_refuses_are_refused() {
        let vectors = vectors(include_str!("../../tests/support/signatures.json"), |case| {
            let key = AuthorKey::Other(bytes(&case["key"]));
            let (signed, signature) = (bytes(&case["signed"]), bytes(&case["signature"]));
            (case["name"].to_string(), Check { key, signed, signature }, end(&case["valid"]))
        });
        assert_eq!(vectors.len(), 2);
        for (name, check, end) in vectors {
            assert_eq!(judge(&check), end, "{name}");
            let forged = Check { signed: Bytes::from_static(b"something else"), ..check };
            assert_eq!(judge(&forged), CheckEnd::Invalid, "{name}");
        }
    }

    #[test]
    fn our_own_signature_is_valid_under_either_form_of_our_key() {
        let key = Keypair::generate_ed25519();
        let signed = Bytes::from_static(b"libp2p-pubsub:message");
        let signature = key.sign(&signed).unwrap().into();
        let public = key.public();
        let plain = public.clone().try_into_ed25519().unwrap().to_bytes();
        for key in [AuthorKey::Ed25519(plain), AuthorKey::Other(public.encode_protobuf().into())] {
            let check = Check { key, signed: signed.clone(), signature: Bytes::clone(&signature) };
            assert_eq!(judge(&check), CheckEnd::Valid);
            assert_eq!(judge(&Check { signature: signature.slice(1..), ..check }), CheckEnd::Invalid);
        }
    }

    #[test]
    fn keys_of_kinds_that_we_do_not_know_are_unknown_and_those_that_are_none_are_invalid() {
        let judge_key = |key: &[u8]| {
            let key = AuthorKey::Other(Bytes::copy_from_slice(key));
            judge(&Check { key, signed: Bytes::new(), signature: Bytes::new() })
        };
        assert_eq!(judge_key(&[8, 2, 0x12, 1, 7]), CheckEnd::Unknown, "secp256k1");
        assert_eq!(judge_key(&[8, 3, 0x12, 1, 7]), CheckEnd::Unknown, "ECDSA");
        for broken in
            [&[][..], &[8, 2], &[0x12, 0], &[0xff], &[8, 0, 0x12, 2, 0x30, 0x82], &[8, 1, 0x12, 1, 7]]
        {
            assert_eq!(judge_key(broken), CheckEnd::Invalid, "{broken:?}");
        }
    }

    #[test]
    fn edge_cases_are_judged_alike_however_often_an_author_came() {
        let mut keys = Keys::default();
        for _ in 0..ed25519::TABLE_AFTER + 2 {
            for (name, check, end) in ed25519_vectors() {
                assert_eq!(judge_knowing(&mut keys, &check), end, "{name}");
            }
        }
        assert!(keys.tables() > 0);
    }

    #[test]
    fn few_checks_wait_and_many_are_made_elsewhere_and_end_even_if_nobody_makes_them() {
        type Work = Box<dyn FnOnce() + Send>;
        let elsewhere = Arc::<Mutex<Vec<Work>>>::default();
        let queue = Arc::clone(&elsewhere);
        let unblock = Arc::new(move |work| queue.lock().unwrap().push(work));
        let mut signatures = Signatures::new(Keypair::generate_ed25519(), unblock);
        let (_, check, _) = ed25519_vectors().into_iter().find(|(.., end)| *end == CheckEnd::Valid).unwrap();
        let mut ops = Ops::default();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut ended = |signatures: &mut Signatures| match signatures.poll_next(&mut cx) {
            Poll::Ready((op, ends)) => Some((op, ends)),
            Poll::Pending => None,
        };
        let few: Vec<_> = (0..INLINE_MAX).map(|_| ops.begin(())).collect();
        for op in &few {
            assert!(!signatures.is_full());
            signatures.check(*op, vec![check.clone(); INLINE_MAX]);
        }
        assert!(signatures.is_full());
        assert_eq!(ended(&mut signatures), None);
        for op in few {
            assert_eq!(signatures.check_waiting(), Some((op, vec![CheckEnd::Valid; INLINE_MAX])));
        }
        assert_eq!(signatures.check_waiting(), None);
        for end in [CheckEnd::Valid, CheckEnd::Unknown] {
            let many = ops.begin(());
            signatures.check(many, vec![check.clone(); INLINE_MAX + 1]);
            assert_eq!(ended(&mut signatures), None);
            let work = elsewhere.lock().unwrap().pop().unwrap();
            if end == CheckEnd::Valid {
                work()
            } else {
                drop(work)
            }
            assert_eq!(ended(&mut signatures), Some((many, vec![end; INLINE_MAX + 1])));
        }
    }
}
