//! Ed25519, checked as Go's `crypto/ed25519` does: without cofactor, R compared byte by byte, no S beyond the group's order, and
//! keys of small order or odd encoding taken. A strict check refuses these, and a check of many at once takes what Go refuses.

use std::collections::HashMap;

use curve25519_dalek::constants::ED25519_BASEPOINT_TABLE;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsBasepointTable, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::BasepointTable as _;
use sha2::{Digest as _, Sha512};

/// Keys that are kept. With more, all are found anew.
const KEYS_MAX: usize = 1024;
/// Checks after which all are found anew, so that those who came often long ago make room.
const CHECKS_MAX: u32 = 1 << 16;
/// How often an author comes before its table is made. One costs as much as 25 checks and saves a third of each.
pub(super) const TABLE_AFTER: u32 = 200;
/// Tables that are kept, of 30 KiB each.
const TABLES_MAX: usize = 16;

/// Authors that came before: to find the point of a key takes a square root, and known multiples of a point spare the doublings
/// of its multiplication.
#[derive(Debug, Default)]
pub(super) struct Keys {
    known: HashMap<[u8; 32], Known>,
    tables: usize,
    checks: u32,
}

struct Known {
    /// The point of the key, negated.
    point: EdwardsPoint,
    checks: u32,
    /// Multiples of `point`.
    table: Option<Box<EdwardsBasepointTable>>,
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Known").field("checks", &self.checks).finish_non_exhaustive()
    }
}

impl Keys {
    /// Whether `signature` is `key`'s over `signed`.
    pub(super) fn verify(&mut self, key: &[u8], signed: &[u8], signature: &[u8]) -> bool {
        let (Ok(key), Ok(signature)) = (<[u8; 32]>::try_from(key), <[u8; 64]>::try_from(signature)) else {
            return false;
        };
        let (r, s) = halves(&signature);
        let Some(s) = Option::<Scalar>::from(Scalar::from_canonical_bytes(s)) else { return false };
        let digest = Sha512::new().chain_update(r).chain_update(key).chain_update(signed).finalize();
        let k = Scalar::from_bytes_mod_order_wide(&digest.into());
        let Some(known) = self.find(key) else { return false };
        let expected = match &known.table {
            Some(table) => &s * ED25519_BASEPOINT_TABLE + table.mul_base(&k),
            None => EdwardsPoint::vartime_double_scalar_mul_basepoint(&k, &known.point, &s),
        };
        expected.compress().0 == r
    }

    fn find(&mut self, key: [u8; 32]) -> Option<&Known> {
        self.checks += 1;
        let is_new = !self.known.contains_key(&key);
        if self.checks > CHECKS_MAX || is_new && self.known.len() >= KEYS_MAX {
            *self = Self::default();
        }
        if is_new || self.known.is_empty() {
            let point = -CompressedEdwardsY(key).decompress()?;
            self.known.insert(key, Known { point, checks: 0, table: None });
        }
        let known = self.known.get_mut(&key)?;
        known.checks += 1;
        if known.checks > TABLE_AFTER && known.table.is_none() && self.tables < TABLES_MAX {
            known.table = Some(Box::new(EdwardsBasepointTable::create(&known.point)));
            self.tables += 1;
        }
        Some(known)
    }

    #[cfg(test)]
    pub(super) fn tables(&self) -> usize {
        self.tables
    }
}

fn halves(signature: &[u8; 64]) -> ([u8; 32], [u8; 32]) {
    let (mut r, mut s) = ([0; 32], [0; 32]);
    r.copy_from_slice(&signature[..32]);
    s.copy_from_slice(&signature[32..]);
    (r, s)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};

    fn signing_key(n: u64) -> SigningKey {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&n.to_le_bytes());
        SigningKey::from_bytes(&seed)
    }

    fn is_valid(keys: &mut Keys, n: u64, altered: usize) -> bool {
        let (signing, message) = (signing_key(n), n.to_be_bytes());
        let mut signature = signing.sign(&message).to_bytes();
        if let Some(byte) = signature.get_mut(altered) {
            *byte ^= 1;
        }
        keys.verify(signing.verifying_key().as_bytes(), &message, &signature)
    }

    const NONE: usize = usize::MAX;

    #[test]
    fn who_comes_often_gets_a_table_and_is_judged_as_before() {
        let mut keys = Keys::default();
        for n in 0..TABLE_AFTER + 3 {
            assert_eq!(keys.tables, usize::from(n > TABLE_AFTER));
            assert!(is_valid(&mut keys, 1, NONE));
        }
        for altered in 0..64 {
            assert!(!is_valid(&mut keys, 1, altered), "byte {altered}");
        }
        let (one, other) = (signing_key(1), signing_key(2));
        let signature = other.sign(b"x").to_bytes();
        assert!(!keys.verify(one.verifying_key().as_bytes(), b"x", &signature));
        assert!(!keys.verify(one.verifying_key().as_bytes(), b"x", &signature[1..]));
        assert!(!keys.verify(&[2; 31], b"x", &signature));
    }

    #[test]
    fn no_more_is_kept_than_there_is_room_for() {
        let mut keys = Keys::default();
        for n in 0..2 * KEYS_MAX as u64 {
            assert!(is_valid(&mut keys, n, NONE));
            assert!(keys.known.len() <= KEYS_MAX);
        }
        for _ in 0..TABLE_AFTER + 1 {
            for n in 0..TABLES_MAX as u64 + 4 {
                assert!(is_valid(&mut keys, n, NONE));
            }
        }
        assert_eq!(keys.tables, TABLES_MAX);
        assert_eq!(keys.known.values().filter(|known| known.table.is_some()).count(), TABLES_MAX);
        keys.checks = CHECKS_MAX;
        assert!(is_valid(&mut keys, 1, NONE));
        assert_eq!((keys.known.len(), keys.tables), (1, 0), "those of long ago are gone");
    }

    #[test]
    fn a_key_that_is_no_point_is_refused_and_not_kept() {
        let none = (0..=255).map(|n| [n; 32]).find(|key| VerifyingKey::from_bytes(key).is_err()).unwrap();
        let mut keys = Keys::default();
        let signature = signing_key(1).sign(b"x").to_bytes();
        assert!(!keys.verify(&none, b"x", &signature));
        assert!(keys.known.is_empty());
    }
}
