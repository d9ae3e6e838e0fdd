use super::*;
use crate::state::{Alter, state_hash};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use proptest::prelude::*;

fn peer(n: u8) -> PeerId {
    PeerId::from_ed25519(&[n; 32])
}

fn copy(n: u8) -> Identity {
    Identity::of(&[n])
}

fn id(n: u8) -> IdDigest {
    IdDigest::of(&[n])
}

fn secs(secs: u64) -> Instant {
    Instant::from_micros(secs * 1_000_000)
}

fn tables() -> Seen {
    Seen::new(&Bounds { peers_max: 4, ..Bounds::default() }, HashKey::known())
}

fn small() -> Seen {
    let bounds = Bounds {
        pending_max: 16,
        pending_bytes_max: 1_000,
        senders_max: 3,
        seen_max: 24,
        refused_max: 4,
        peers_max: 4,
        ttl: Duration::from_secs(120),
    };
    Seen::new(&bounds, HashKey::known())
}

#[test]
fn an_identical_copy_joins_the_check_and_shares_its_outcome() {
    let mut seen = tables();
    assert_eq!(seen.on_copy(secs(0), peer(1), copy(1), id(1), 300), Arrival::Check);
    assert_eq!(seen.on_copy(secs(0), peer(2), copy(1), id(1), 300), Arrival::Joined);
    assert_eq!(seen.on_copy(secs(0), peer(2), copy(1), id(1), 300), Arrival::Joined);
    assert!(seen.is_pending(&peer(2), &id(1)) && !seen.is_pending(&peer(3), &id(1)));
    assert!(!seen.has_seen(secs(0), &id(1)), "what is pending suppresses nothing");
    assert_eq!(seen.on_checked(secs(0), copy(1), true), Checked::First(vec![peer(1), peer(2)]));
    assert!(seen.has_seen(secs(0), &id(1)));
    assert_eq!(seen.on_copy(secs(0), peer(3), copy(1), id(1), 300), Arrival::Duplicate);
    assert_eq!(seen.on_checked(secs(0), copy(1), true), Checked::Unknown);
    assert_eq!(seen.check(), Ok(()));
}

#[test]
fn a_forged_copy_before_during_and_after_the_check_hides_nothing() {
    let mut seen = tables();
    let (forged, forged_later, forged_last, real) = (copy(1), copy(2), copy(3), copy(9));
    assert_eq!(seen.on_copy(secs(0), peer(1), forged, id(1), 300), Arrival::Check);
    assert_eq!(seen.on_checked(secs(0), forged, false), Checked::Failed(vec![peer(1)]));
    assert!(!seen.has_seen(secs(0), &id(1)));
    assert_eq!(seen.on_copy(secs(0), peer(1), forged_later, id(1), 300), Arrival::Check);
    assert_eq!(seen.on_copy(secs(0), peer(2), real, id(1), 300), Arrival::Check);
    assert_eq!(seen.on_copy(secs(0), peer(1), forged_last, id(1), 300), Arrival::Check);
    assert_eq!(seen.on_checked(secs(0), forged_later, false), Checked::Failed(vec![peer(1)]));
    assert_eq!(seen.on_checked(secs(0), real, true), Checked::First(vec![peer(2)]));
    assert_eq!(seen.on_checked(secs(0), forged_last, false), Checked::Failed(vec![peer(1)]));
    assert_eq!(seen.on_copy(secs(0), peer(1), copy(4), id(1), 300), Arrival::Duplicate);
    assert_eq!(seen.check(), Ok(()));
}

#[test]
fn a_copy_that_failed_is_dropped_unchecked_whoever_sends_it() {
    let mut seen = tables();
    assert_eq!(seen.on_copy(secs(0), peer(1), copy(1), id(1), 300), Arrival::Check);
    assert_eq!(seen.on_copy(secs(0), peer(2), copy(1), id(1), 300), Arrival::Joined);
    assert_eq!(seen.on_checked(secs(0), copy(1), false), Checked::Failed(vec![peer(1), peer(2)]));
    assert_eq!(seen.on_copy(secs(119), peer(3), copy(1), id(1), 300), Arrival::Refused);
    assert_eq!(seen.on_copy(secs(120), peer(3), copy(1), id(1), 300), Arrival::Check);
}

#[test]
fn of_two_copies_that_pass_the_second_is_late() {
    let mut seen = tables();
    assert_eq!(seen.on_copy(secs(0), peer(1), copy(1), id(1), 300), Arrival::Check);
    assert_eq!(seen.on_copy(secs(0), peer(2), copy(2), id(1), 300), Arrival::Check);
    assert_eq!(seen.on_checked(secs(0), copy(2), true), Checked::First(vec![peer(2)]));
    assert_eq!(seen.on_checked(secs(0), copy(1), true), Checked::Late(vec![peer(1)]));
    assert_eq!(seen.check(), Ok(()));
}

#[test]
fn an_id_is_seen_for_its_time_and_not_renewed() {
    let mut seen = tables();
    assert!(seen.see_own(secs(0), peer(9), id(1)));
    assert!(seen.see_own(secs(100), peer(9), id(1)));
    assert_eq!(seen.on_copy(secs(119), peer(1), copy(1), id(1), 300), Arrival::Duplicate);
    assert!(!seen.expire(secs(119), 10));
    assert_eq!(seen.len(), (0, 1, 0));
    assert!(!seen.has_seen(secs(120), &id(1)), "whether swept or not");
    // A copy passes before the sweep came: its time begins anew.
    assert_eq!(seen.on_copy(secs(120), peer(1), copy(1), id(1), 300), Arrival::Check);
    assert_eq!(seen.on_checked(secs(121), copy(1), true), Checked::First(vec![peer(1)]));
    assert_eq!(seen.check(), Ok(()));
    assert!(!seen.expire(secs(240), 10));
    assert_eq!(seen.len(), (0, 1, 0));
    assert!(!seen.expire(secs(241), 10));
    assert!(seen.is_empty());
    assert_eq!(seen.check(), Ok(()));
}

#[test]
fn a_sweep_takes_no_more_than_its_budget_and_says_so() {
    let mut seen = tables();
    for n in 0..5 {
        assert!(seen.see_own(secs(0), peer(9), id(n)));
        assert_eq!(seen.on_copy(secs(0), peer(1), copy(n), id(n + 100), 1), Arrival::Check);
        assert_eq!(seen.on_checked(secs(0), copy(n), false), Checked::Failed(vec![peer(1)]));
    }
    assert!(seen.expire(secs(120), 3));
    assert_eq!(seen.len(), (0, 2, 2));
    assert!(!seen.expire(secs(120), 3));
    assert!(seen.is_empty());
}

#[test]
fn a_verdict_for_reasons_of_our_own_lets_another_copy_in() {
    let mut seen = tables();
    assert_eq!(seen.on_copy(secs(0), peer(1), copy(1), id(1), 300), Arrival::Check);
    assert_eq!(seen.on_checked(secs(0), copy(1), true), Checked::First(vec![peer(1)]));
    seen.forget(&id(1));
    assert_eq!(seen.on_copy(secs(0), peer(2), copy(1), id(1), 300), Arrival::Check);
    assert!(seen.on_unchecked(copy(1)), "the verifier failed");
    assert!(!seen.on_unchecked(copy(1)));
    assert!(seen.is_empty());
    assert_eq!(seen.outcomes().forgotten, 1);
    assert_eq!(seen.check(), Ok(()));
}

#[test]
fn a_peer_over_its_share_is_dropped_and_pushes_nothing_out() {
    let mut seen = small();
    // 24 ids: 3 are guaranteed to each of 4 peers, and half of the 12 others are for the first that is greedy.
    for n in 0..9 {
        assert_eq!(seen.on_copy(secs(0), peer(1), copy(n), id(n), 1), Arrival::Check);
        assert_eq!(seen.on_checked(secs(0), copy(n), true), Checked::First(vec![peer(1)]));
    }
    assert_eq!(seen.on_copy(secs(0), peer(1), copy(99), id(99), 1), Arrival::OverShare);
    assert_eq!(seen.len(), (0, 9, 0), "nothing is remembered of it");
    assert!((0..9).all(|n| seen.has_seen(secs(0), &id(n))));
    assert_eq!(seen.on_copy(secs(0), peer(2), copy(99), id(99), 1), Arrival::Check, "another peer has room");
    assert_eq!(seen.outcomes().over_share, 1);
    assert_eq!(seen.check(), Ok(()));
}

#[test]
fn a_neighbour_that_is_alone_may_deliver_eight_thousand_messages_a_second_for_as_long_as_ids_are_kept() {
    let bounds = Bounds::default();
    let shares = Shares::new(bounds.seen_max.into(), bounds.peers_max);
    assert!(shares.admits(&peer(1), 8_000 * bounds.ttl.as_secs()));
}

#[test]
fn pending_copies_are_bounded_in_bytes_too() {
    let mut seen = small();
    // 125 bytes are guaranteed, 250 of the common 500 for the first.
    assert_eq!(seen.on_copy(secs(0), peer(1), copy(1), id(1), 375), Arrival::Check);
    assert_eq!(seen.on_copy(secs(0), peer(1), copy(2), id(2), 1), Arrival::OverShare);
    assert_eq!(seen.on_copy(secs(0), peer(2), copy(2), id(2), 125), Arrival::Check);
    assert!(seen.on_unchecked(copy(1)));
    assert_eq!(seen.on_copy(secs(0), peer(1), copy(3), id(3), 375), Arrival::Check);
}

#[test]
fn senders_beyond_those_remembered_are_counted() {
    let mut seen = small();
    assert_eq!(seen.on_copy(secs(0), peer(1), copy(1), id(1), 1), Arrival::Check);
    for n in 2..6 {
        assert_eq!(seen.on_copy(secs(0), peer(n), copy(1), id(1), 1), Arrival::Joined);
    }
    assert_eq!(seen.outcomes().senders_forgotten, 2);
    assert_eq!(seen.on_checked(secs(0), copy(1), false), Checked::Failed(vec![peer(1), peer(2), peer(3)]));
}

#[test]
fn altering_any_leaf_of_the_tables_changes_the_hash() {
    let mut seen = tables();
    for n in 0..3 {
        assert_eq!(seen.on_copy(secs(0), peer(1), copy(n), id(n), 300), Arrival::Check);
    }
    let _ = seen.on_checked(secs(1), copy(0), true);
    let _ = seen.on_checked(secs(2), copy(1), false);
    let mut leaves = Vec::new();
    seen.leaves("seen", &mut leaves);
    for (nth, leaf) in leaves.iter().enumerate().filter(|(_, leaf)| !leaf.ends_with('?')) {
        let mut altered = seen.clone();
        assert!(altered.alter(&mut { nth }), "{leaf}");
        assert_ne!(state_hash(&altered), state_hash(&seen), "{leaf} is not hashed");
    }
}

/// A copy of the property below: `n % 4` is its id, and it is true when `n < 4`.
fn is_true(n: u8) -> bool {
    n < 4
}

proptest! {
    #[test]
    fn every_message_is_first_once_and_no_forged_one_is(
        steps in proptest::collection::vec((0u8..4, 0u8..5, 0u8..12, 0u64..3), 1..300),
    ) {
        let mut seen = small();
        let (mut now, mut pending, mut passed) = (0, BTreeSet::new(), BTreeMap::new());
        for (kind, sender, n, pause) in steps {
            now += pause * 20;
            let young = |passed: &BTreeMap<u8, u64>| passed.get(&(n % 4)).is_some_and(|at| now < at + 120);
            match kind {
                0 | 1 => match seen.on_copy(secs(now), peer(sender), copy(n), id(n % 4), 60) {
                    Arrival::Check => {
                        prop_assert!(!young(&passed) && pending.insert(n));
                    }
                    Arrival::Joined => prop_assert!(!young(&passed) && pending.contains(&n)),
                    Arrival::Duplicate => prop_assert!(young(&passed)),
                    Arrival::Refused => prop_assert!(!is_true(n)),
                    Arrival::OverShare => prop_assert!(!pending.contains(&n)),
                },
                2 => match seen.on_checked(secs(now), copy(n), is_true(n)) {
                    Checked::First(senders) => {
                        prop_assert!(is_true(n) && !young(&passed) && pending.remove(&n));
                        prop_assert!(!senders.is_empty() && senders.len() <= 3);
                        passed.insert(n % 4, now);
                    }
                    Checked::Late(_) => prop_assert!(is_true(n) && young(&passed) && pending.remove(&n)),
                    Checked::Failed(_) => prop_assert!(!is_true(n) && pending.remove(&n)),
                    Checked::Unknown => prop_assert!(!pending.contains(&n)),
                },
                _ => {
                    let _ = seen.expire(secs(now), u32::from(n));
                }
            }
            prop_assert_eq!(seen.check(), Ok(()));
        }
        for n in pending {
            prop_assert!(seen.on_unchecked(copy(n)));
        }
        prop_assert!(!seen.expire(secs(now + 120), 1000));
        prop_assert!(seen.is_empty());
        prop_assert_eq!(seen.check(), Ok(()));
    }
}
