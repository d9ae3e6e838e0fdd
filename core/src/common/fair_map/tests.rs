use super::*;
use alloc::vec;
use proptest::prelude::*;

use crate::state::state_hash;

fn peer(n: u8) -> PeerId {
    PeerId::from_ed25519(&[n; 32])
}

fn map<V>(max: u32) -> FairMap<u32, V> {
    FairMap::new(max, HashKey::known())
}

fn at(micros: u64) -> Instant {
    Instant::from_micros(micros)
}

/// Takes out what was inserted before `oldest`; whether some is left after `budget` of it.
fn expire<V>(map: &mut FairMap<u32, V>, oldest: u64, budget: u32) -> bool {
    map.expire(at(oldest), at(oldest), budget, |_, _| Aged::Over)
}

#[test]
fn a_full_map_takes_from_whoever_holds_most() {
    let mut map = map(4);
    for key in 0..4u32 {
        let _ = map.insert(Instant::ZERO, key, peer(1), ());
    }
    assert_eq!(map.insert(Instant::ZERO, 10, peer(2), ()), Inserted::Evicted(0, ()));
    assert_eq!(map.insert(Instant::ZERO, 11, peer(2), ()), Inserted::Evicted(1, ()));
    assert_eq!(map.insert(Instant::ZERO, 12, peer(2), ()), Inserted::Evicted(10, ()), "its own oldest");
}

#[test]
fn the_last_entry_of_an_owner_is_never_pushed_out() {
    let mut map = map(3);
    for n in 1..=3 {
        let _ = map.insert(Instant::ZERO, u32::from(n), peer(n), ());
    }
    assert_eq!(map.insert(Instant::ZERO, 9, peer(9), ()), Inserted::Refused);
    assert_eq!(
        map.insert(Instant::ZERO, 8, peer(1), ()),
        Inserted::Evicted(1, ()),
        "its own may be replaced"
    );
    assert_eq!(map.shed(), (1, 1));
}

#[test]
fn a_known_key_goes_to_its_newest_announcer_and_becomes_newest() {
    let mut map = map(2);
    let _ = map.insert(Instant::ZERO, 1, peer(1), 'a');
    let _ = map.insert(Instant::ZERO, 2, peer(1), 'b');
    assert_eq!(map.insert(at(5), 1, peer(2), 'c'), Inserted::Replaced('a'));
    assert_eq!(map.owner(&1), Some((peer(2), at(5))));
    assert_eq!((map.owned_by(&peer(1)), map.owned_by(&peer(2))), (1, 1));
}

#[test]
fn what_is_old_expires_within_the_budget_and_the_rest_is_told() {
    let mut map = map(9);
    for key in 0..5u32 {
        let _ = map.insert(at(u64::from(key)), key, peer(1), ());
    }
    assert!(expire(&mut map, 4, 3), "one is left");
    assert_eq!(map.len(), 2);
    assert!(!expire(&mut map, 4, 3));
    assert_eq!(map.iter().map(|(key, ())| *key).collect::<Vec<_>>(), [4]);
}

#[test]
fn what_is_in_use_counts_as_new_and_the_young_waits_with_those_behind_it() {
    let mut map = map(9);
    for key in 0..4u32 {
        let _ = map.insert(at(u64::from(key)), key, peer(1), ());
    }
    let judge = |key: &u32, (): &()| match key {
        0 => Aged::InUse,
        2 => Aged::Young,
        _ => Aged::Over,
    };
    assert!(!map.expire(at(100), at(50), 9, judge));
    assert_eq!(map.iter().map(|(key, ())| *key).collect::<Vec<_>>(), [2, 3, 0]);
    assert_eq!(map.owner(&0), Some((peer(1), at(100))));
}

#[test]
fn an_entry_in_use_is_renewed_once_in_a_while() {
    let mut map = map(2);
    let _ = map.insert(at(0), 1, peer(1), ());
    let _ = map.insert(at(1), 2, peer(1), ());
    let after = Duration::from_micros(10);
    let place = map.place(&1).unwrap();
    map.renewed(at(10), place, after);
    assert_eq!(map.owner(&1), Some((peer(1), at(0))), "not yet");
    map.renewed(at(11), place, after);
    assert_eq!(map.owner(&1), Some((peer(1), at(11))));
    assert_eq!(map.insert(at(12), 3, peer(1), ()), Inserted::Evicted(2, ()), "it is the newer one now");
}

#[test]
fn the_walk_depends_neither_on_the_layout_nor_on_the_key() {
    let fill = |key: HashKey, detour: u32| {
        let mut map = FairMap::new(50, key);
        // What comes and goes leaves holes, in other places each time.
        for number in 100..100 + detour {
            let _ = map.insert(Instant::ZERO, number, peer(1), 0u32);
        }
        for number in 100..100 + detour {
            let _ = map.remove(&number);
        }
        map.next_seq = 0;
        for number in 0..20 {
            let _ = map.insert(at(u64::from(number)), number, peer(number as u8 % 3), number);
        }
        state_hash(&map)
    };
    let plain = fill(HashKey::known(), 0);
    assert_eq!(fill(HashKey::known(), 7), plain);
    assert_eq!(fill(HashKey::fork(&[9; 32]), 30), plain);
}

/// The rule of the module, written down once more without any index.
#[derive(Default)]
struct Model {
    max: usize,
    /// Key, owner, number, value; by age.
    entries: Vec<(u32, u8, u64, usize)>,
    ages: Vec<u64>,
    next: u64,
}

impl Model {
    fn count(&self, owner: u8) -> usize {
        self.entries.iter().filter(|entry| entry.1 == owner).count()
    }

    fn owners(&self) -> Vec<u8> {
        let mut owners: Vec<u8> = self.entries.iter().map(|entry| entry.1).collect();
        // As ids of peers are ordered.
        owners.sort_by_key(|owner| peer(*owner));
        owners.dedup();
        owners
    }

    fn remove(&mut self, key: u32) -> Option<(u32, u8, u64, usize)> {
        let at = self.entries.iter().position(|entry| entry.0 == key)?;
        self.ages.remove(at);
        Some(self.entries.remove(at))
    }

    fn insert(&mut self, now: u64, key: u32, owner: u8, value: usize) -> Inserted<u32, usize> {
        let mut outcome = Inserted::New;
        if let Some((.., former)) = self.remove(key) {
            outcome = Inserted::Replaced(former);
        } else if self.entries.len() >= self.max {
            let (own, share) = (self.count(owner), (self.max / self.owners().len()).max(1));
            let holder = if own > 0 && own >= share {
                owner
            } else {
                let mut largest: Option<(usize, u8)> = None;
                for other in self.owners() {
                    let count = self.count(other);
                    if count > largest.map_or(1, |(most, _)| most) {
                        largest = Some((count, other));
                    }
                }
                let Some((_, other)) = largest else { return Inserted::Refused };
                other
            };
            let of_holder = self.entries.iter().filter(|entry| entry.1 == holder);
            let victim = of_holder.min_by_key(|entry| entry.2).unwrap().0;
            let (key, .., former) = self.remove(victim).unwrap();
            outcome = Inserted::Evicted(key, former);
        }
        self.entries.push((key, owner, self.next, value));
        self.ages.push(now);
        self.next += 1;
        outcome
    }

    fn expire(&mut self, oldest: u64) {
        let old = self.ages.iter().filter(|age| **age < oldest).count();
        self.entries.drain(..old);
        self.ages.drain(..old);
    }

    fn reassign(&mut self, key: u32, owner: u8) {
        let next = self.next;
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.0 == key && entry.1 != owner) {
            (entry.1, entry.2) = (owner, next);
            self.next += 1;
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u32, u8),
    Remove(u32),
    Reassign(u32, u8),
    Expire(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..40u32, 0..6u8).prop_map(|(key, owner)| Step::Insert(key, owner)),
        2 => (0..40u32).prop_map(Step::Remove),
        1 => (0..40u32, 0..6u8).prop_map(|(key, owner)| Step::Reassign(key, owner)),
        1 => (0..200u64).prop_map(Step::Expire),
    ]
}

proptest! {
    #[test]
    fn any_history_leaves_what_the_rule_says_and_no_owner_robbed_of_its_last(
        steps in proptest::collection::vec(step(), 0..300),
        max in 1..20u32,
    ) {
        let mut map = map(max);
        let mut model = Model { max: max as usize, ..Model::default() };
        for (now, step) in steps.into_iter().enumerate() {
            let held: Vec<u32> = (0..6).map(|n| map.owned_by(&peer(n))).collect();
            match step {
                Step::Insert(key, owner) => {
                    let reassigned = map.owner(&key).map(|(owner, _)| owner);
                    let outcome = map.insert(at(now as u64), key, peer(owner), now);
                    prop_assert_eq!(outcome, model.insert(now as u64, key, owner, now));
                    for n in 0..6u8 {
                        let robbed = held[n as usize] > 0 && map.owned_by(&peer(n)) == 0;
                        prop_assert!(!robbed || reassigned == Some(peer(n)), "owner {} lost its last entry", n);
                    }
                }
                Step::Remove(key) => prop_assert_eq!(map.remove(&key), model.remove(key).map(|entry| entry.3)),
                Step::Reassign(key, owner) => {
                    map.reassign(&key, peer(owner));
                    model.reassign(key, owner);
                }
                Step::Expire(oldest) => {
                    prop_assert!(!expire(&mut map, oldest, u32::MAX));
                    model.expire(oldest);
                }
            }
            prop_assert_eq!(map.check(), Ok(()));
            let entries: Vec<(u32, PeerId, usize)> =
                map.by_age().map(|entry| (entry.key, entry.owner, entry.value)).collect();
            let expected: Vec<(u32, PeerId, usize)> =
                model.entries.iter().map(|(key, owner, _, value)| (*key, peer(*owner), *value)).collect();
            prop_assert_eq!(entries, expected);
        }
    }
}

#[test]
fn a_crowd_of_owners_is_looked_at_in_turn() {
    let mut map = map(100);
    let owner = |n: u32| PeerId::from_ed25519(&[n as u8; 32]);
    for number in 0..110u32 {
        // A newcomer finds it full: somebody else has to give way.
        let _ = map.insert(
            at(u64::from(number)),
            number,
            owner(if number < 105 { number % 90 } else { number }),
            (),
        );
        assert_eq!(map.check(), Ok(()));
    }
    assert_eq!((map.len(), map.turn.is_some()), (100, true));
    let mut leaves = vec![];
    crate::state::Alter::leaves(&map, "map", &mut leaves);
    assert!(leaves.contains(&"map.turn".into()), "{leaves:?}");
}
