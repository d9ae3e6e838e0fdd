use super::*;
use crate::common::sip::HashKey;
use crate::gossipsub::backoff::Times;
use crate::gossipsub::peers::{Bounds, Subscribed, Version};
use proptest::prelude::*;

fn peer(n: u8) -> PeerId {
    PeerId::from_ed25519(&[n; 32])
}

fn topic() -> TopicName {
    "t".into()
}

/// A router's view: neighbours by number, their scores, and the time.
struct World {
    mesh: Mesh,
    peers: Peers,
    backoffs: Backoffs,
    rules: Rules,
    scores: BTreeMap<PeerId, f64>,
    now: Instant,
    /// Members since the last heartbeat or longer.
    settled: BTreeSet<PeerId>,
}

impl World {
    fn new(seed: u8) -> Self {
        Self {
            mesh: Mesh::new(&[seed; 32], 2),
            peers: Peers::new(&Bounds::default()),
            backoffs: Backoffs::new(&Times::default(), 1_000, HashKey::known()),
            rules: Rules::new(&Config::default(), Thresholds::default()),
            scores: BTreeMap::new(),
            now: Instant::from_micros(1_000_000_000),
            settled: BTreeSet::new(),
        }
    }

    /// With `count` subscribers of 1.2 from 0 on, of which every fourth is outbound, and the topic joined.
    fn joined(count: u8) -> Self {
        let mut world = Self::new(1);
        (0..count).for_each(|n| world.neighbour(n, Version::V12, n % 4 == 0, false));
        world.with(|mesh, around| mesh.join(topic(), around));
        world
    }

    fn neighbour(&mut self, n: u8, version: Version, outbound: bool, direct: bool) {
        assert!(self.peers.add(peer(n), version, outbound, direct));
        assert_ne!(self.peers.subscribe(peer(n), b"t", true), Subscribed::NoRoom);
    }

    fn with<T>(&mut self, act: impl FnOnce(&mut Mesh, &mut Around<'_, &dyn Fn(&PeerId) -> f64>) -> T) -> T {
        let scores = &self.scores;
        let score = |peer: &PeerId| scores.get(peer).copied().unwrap_or(0.0);
        let (peers, backoffs) = (&self.peers, &mut self.backoffs);
        let mut around =
            Around { now: self.now, rules: &self.rules, peers, backoffs, score: &score as &dyn Fn(&_) -> _ };
        act(&mut self.mesh, &mut around)
    }

    fn heartbeat(&mut self) -> Heartbeat {
        self.with(|mesh, around| mesh.heartbeat(around))
    }

    fn graft(&mut self, n: u8) -> Grafted {
        self.with(|mesh, around| mesh.on_graft(peer(n), &topic(), around))
    }

    fn prune(&mut self, n: u8, backoff_s: Option<u64>) -> bool {
        self.with(|mesh, around| mesh.on_prune(&peer(n), &topic(), backoff_s, around))
    }

    fn later(&mut self, secs: u64) {
        self.now = self.now.after(Duration::from_secs(secs));
    }

    fn members(&self) -> Vec<PeerId> {
        self.mesh.members(&topic()).copied().collect()
    }

    fn outbound_members(&self) -> usize {
        self.members().iter().filter(|peer| self.peers.get(peer).is_some_and(|entry| entry.outbound)).count()
    }

    /// Neighbours that could be grafted now.
    fn candidates(&mut self, outbound: bool) -> Vec<PeerId> {
        self.with(|mesh, around| mesh.candidates(&topic(), around, |_, entry| entry.outbound || !outbound))
    }
}

fn refused(grafted: Grafted) -> (Prune, u32) {
    let Grafted::Refused(prune, times) = grafted else { panic!("{grafted:?}") };
    (prune, times)
}

fn of_kind(changes: &[Change]) -> (usize, usize) {
    let grafts = changes.iter().filter(|change| matches!(change, Change::Graft { .. })).count();
    (grafts, changes.len() - grafts)
}

#[test]
fn joining_takes_as_many_as_are_wanted_and_leaving_prunes_them_for_ten_seconds() {
    let mut world = World::joined(20);
    assert_eq!(world.members().len(), 6);
    let again = world.with(|mesh, around| mesh.join(topic(), around));
    assert_eq!(again, [], "it is joined already");
    let members = world.members();
    let changes = world.with(|mesh, around| mesh.leave(&topic(), around));
    assert_eq!(of_kind(&changes), (0, 6));
    for (change, member) in changes.iter().zip(&members) {
        let Change::Prune(prune) = change else { panic!("{change:?}") };
        assert_eq!((prune.peer, prune.backoff), (*member, Some(Duration::from_secs(10))));
    }
    assert!(!world.mesh.is_joined(&topic()));
    let changes = world.with(|mesh, around| mesh.join(topic(), around));
    assert_eq!(of_kind(&changes), (6, 0));
    assert!(members.iter().all(|member| !world.members().contains(member)), "they are backed off");
}

#[test]
fn a_mesh_too_small_is_filled_up_and_one_that_is_large_enough_is_left_alone() {
    let mut world = World::joined(5);
    assert_eq!(world.members().len(), 5);
    world.neighbour(10, Version::V12, true, false);
    assert_eq!(of_kind(&world.heartbeat().changes), (0, 0), "five are not below the lower bound");
    assert!(world.prune(0, None));
    assert_eq!(of_kind(&world.heartbeat().changes), (1, 0));
    assert!(world.members().contains(&peer(10)));
}

#[test]
fn a_mesh_too_large_is_cut_to_what_is_wanted_with_the_best_and_the_quota_of_outbound_ones() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        world.with(|mesh, around| mesh.join(topic(), around));
        // Ten inbound ones get in by GRAFT, three outbound ones above the bound; four have a score.
        for n in 0..13 {
            world.neighbour(n, Version::V12, n >= 10, false);
            assert_eq!(world.graft(n), Grafted::Entered);
        }
        (0..4).for_each(|n| {
            world.scores.insert(peer(n), f64::from(n) + 1.0);
        });
        let changes = world.heartbeat().changes;
        assert_eq!(of_kind(&changes), (0, 7));
        assert_eq!(world.members().len(), 6);
        assert_eq!(world.outbound_members(), 2);
        assert!((0..4).all(|n| world.members().contains(&peer(n))), "seed {seed}");
    }
}

#[test]
fn a_member_with_a_negative_score_is_pruned_without_exchange_and_not_taken_back() {
    let mut world = World::joined(20);
    world.rules.peer_exchange = true;
    let bad = world.members()[0];
    world.scores.insert(bad, -0.5);
    let changes = world.heartbeat().changes;
    let pruned: Vec<_> = changes
        .iter()
        .filter_map(|change| match change {
            Change::Prune(prune) => Some((prune.peer, prune.exchange.len())),
            Change::Graft { .. } => None,
        })
        .collect();
    assert_eq!(pruned, [(bad, 0)]);
    world.later(3600);
    world.heartbeat();
    assert!(!world.members().contains(&bad));
}

#[test]
fn a_graft_during_backoff_is_refused_and_held_against_its_sender_once_or_twice() {
    let mut world = World::joined(20);
    let member = (0..20).find(|n| world.members().contains(&peer(*n))).unwrap();
    assert!(world.prune(member, None));
    assert!(!world.prune(member, None));
    world.later(9);
    assert_eq!(refused(world.graft(member)).1, 2, "a flood");
    // The backoff began anew.
    world.later(11);
    assert_eq!(refused(world.graft(member)).1, 1);
    world.later(59);
    let (prune, times) = refused(world.graft(member));
    assert_eq!((prune.backoff, times), (Some(Duration::from_secs(60)), 1));
    assert!(prune.exchange.is_empty());
    world.later(60);
    assert_eq!(world.graft(member), Grafted::Entered);
    assert_eq!(world.graft(member), Grafted::Member);
}

#[test]
fn a_prune_keeps_its_sender_out_for_as_long_as_it_says_if_its_version_can() {
    let mut world = World::joined(4);
    world.neighbour(9, Version::V10, false, false);
    assert_eq!(world.graft(9), Grafted::Entered);
    for (n, backoff_s, secs) in
        [(1, Some(300), 300), (2, None, 60), (3, Some(u64::MAX), 3_600), (9, Some(300), 60)]
    {
        assert!(world.prune(n, backoff_s));
        let until = world.now.after(Duration::from_secs(secs));
        assert_eq!(world.backoffs.until(&peer(n), &topic()), Some(until), "{n}");
    }
}

#[test]
fn a_full_mesh_takes_only_peers_that_we_dialled() {
    let mut world = World::new(1);
    world.rules.peer_exchange = true;
    world.with(|mesh, around| mesh.join(topic(), around));
    for n in 0..12 {
        world.neighbour(n, Version::V12, false, false);
        assert_eq!(world.graft(n), Grafted::Entered);
    }
    world.neighbour(20, Version::V12, false, false);
    world.neighbour(21, Version::V12, true, false);
    world.neighbour(22, Version::V10, false, false);
    let (prune, times) = refused(world.graft(20));
    assert_eq!((prune.exchange.len(), times), (14, 0), "others are named: it did nothing wrong");
    assert!(!prune.exchange.contains(&peer(20)));
    assert_eq!(world.graft(21), Grafted::Entered);
    let (prune, _) = refused(world.graft(22));
    assert_eq!((prune.backoff, prune.exchange.len()), (None, 0), "its version knows neither");
}

#[test]
fn direct_floodsub_and_disliked_peers_and_strangers_get_into_no_mesh() {
    let mut world = World::joined(0);
    world.neighbour(1, Version::V12, true, true);
    world.neighbour(2, Version::Floodsub, true, false);
    world.neighbour(3, Version::V12, true, false);
    world.scores.insert(peer(3), -1.0);
    assert_eq!(refused(world.graft(1)).1, 0);
    assert_eq!(world.graft(2), Grafted::Ignored);
    assert_eq!(refused(world.graft(3)).1, 0);
    assert_eq!(world.graft(9), Grafted::Ignored, "it is no neighbour");
    let unknown = world.with(|mesh, around| mesh.on_graft(peer(3), &"other".into(), around));
    assert_eq!(unknown, Grafted::Ignored, "nothing is answered for a topic that is not joined");
    world.later(3600);
    assert_eq!(world.heartbeat(), Heartbeat::default());
}

#[test]
fn a_well_scored_few_are_grafted_when_the_median_is_poor_but_not_above_the_upper_bound() {
    let mut world = World::joined(6);
    world.rules.thresholds.opportunistic = 1.0;
    (20..30).for_each(|n| {
        world.neighbour(n, Version::V12, false, false);
        world.scores.insert(peer(n), 5.0);
    });
    let grafts: Vec<_> = (1..=60).map(|_| of_kind(&world.heartbeat().changes).0).collect();
    assert_eq!(grafts.iter().sum::<usize>(), 2);
    assert_eq!(grafts[59], 2, "at the sixtieth heartbeat");
    world.rules.high = 9;
    world.rules.opportunistic_ticks = 1;
    assert_eq!(of_kind(&world.heartbeat().changes), (1, 0), "there is room for one more");
    assert_eq!(of_kind(&world.heartbeat().changes), (0, 0));
}

#[test]
fn own_messages_of_a_topic_not_joined_go_to_a_fanout_that_lives_for_a_minute() {
    let mut world = World::new(1);
    (0..20).for_each(|n| world.neighbour(n, Version::V12, false, false));
    let receivers = |world: &mut World| world.with(|mesh, around| mesh.receivers_of_own(&topic(), around));
    let first = receivers(&mut world);
    assert_eq!(first.len(), 6);
    world.later(59);
    assert_eq!(receivers(&mut world), first);
    world.later(59);
    let heartbeat = world.heartbeat();
    assert_eq!(heartbeat.gossip.len(), 1);
    assert!(heartbeat.gossip[0].1.iter().all(|peer| !first.contains(peer)), "the others get gossip");
    // One leaves: another takes its place.
    let gone = *first.first().unwrap();
    assert!(!world.mesh.on_unsubscribed(&gone, &topic()) && world.peers.unsubscribe(&gone, &topic()));
    world.heartbeat();
    // One is gone from the subscribers alone: that is found at the heartbeat.
    let cleared = *receivers(&mut world).last().unwrap();
    world.peers.clear_subscriptions(&cleared);
    world.heartbeat();
    assert!(!receivers(&mut world).contains(&cleared));
    world.neighbour(50, Version::V12, false, false);
    let next = receivers(&mut world);
    assert!(next.len() == 6 && !next.contains(&gone) && next.intersection(&first).count() >= 4);
    // The mesh begins with the fanout.
    world.with(|mesh, around| mesh.join(topic(), around));
    assert!(next.iter().eq(&world.members()));
    assert_eq!(world.mesh.fanout_topics().count(), 0);
    let other = TopicName::from("other");
    world.with(|mesh, around| mesh.receivers_of_own(&other, around));
    world.later(60);
    world.heartbeat();
    assert_eq!(world.mesh.fanout_topics().count(), 0);
}

#[test]
fn a_fanout_without_room_is_not_remembered_and_the_message_goes_out() {
    let mut world = World::new(1);
    world.neighbour(1, Version::V12, false, false);
    for name in ["a", "b", "t"] {
        let receivers = world.with(|mesh, around| mesh.receivers_of_own(&name.into(), around));
        assert_eq!(receivers.len(), usize::from(name == "t"));
    }
    assert_eq!(world.mesh.fanout_topics().count(), 2);
}

#[test]
fn a_forward_goes_to_members_direct_and_floodsub_peers_but_never_back() {
    let mut world = World::joined(6);
    world.neighbour(10, Version::V12, false, true);
    world.neighbour(11, Version::Floodsub, false, false);
    world.neighbour(12, Version::V12, false, false);
    let forward = |world: &mut World, author: Option<u8>, senders: &[u8]| {
        let (author, senders) = (author.map(peer), senders.iter().map(|n| peer(*n)).collect::<Vec<_>>());
        world.with(|mesh, around| mesh.receivers_of_forward(&topic(), author.as_ref(), &senders, around))
    };
    let all: BTreeSet<_> = [0, 1, 2, 3, 4, 5, 10, 11].map(peer).into();
    assert_eq!(forward(&mut world, None, &[]), all);
    let fewer: BTreeSet<_> = [2, 3, 4, 5, 11].map(peer).into();
    assert_eq!(forward(&mut world, Some(0), &[1, 10]), fewer);
}

#[test]
fn own_messages_are_flooded_where_that_is_asked_for_and_reach_a_small_mesh_and_more() {
    let mut world = World::joined(3);
    (10..30).for_each(|n| world.neighbour(n, Version::V12, false, false));
    world.scores.insert(peer(29), -1.0);
    let own = |world: &mut World| world.with(|mesh, around| mesh.receivers_of_own(&topic(), around));
    let receivers = own(&mut world);
    assert_eq!(receivers.len(), 6);
    assert!((0..3).all(|n| receivers.contains(&peer(n))));
    world.rules.flood_publish = true;
    assert_eq!(own(&mut world).len(), 22, "all but the disliked one");
}

#[test]
fn gossip_goes_to_a_quarter_of_the_others_and_to_six_at_least() {
    let mut world = World::joined(60);
    world.scores.insert(peer(59), -1.0);
    world.heartbeat();
    let heartbeat = world.heartbeat();
    let (of, chosen) = &heartbeat.gossip[0];
    assert_eq!((of, chosen.len()), (&topic(), 13), "of 53 others");
    assert!(chosen.iter().all(|peer| !world.members().contains(peer)));
    let mut small = World::joined(9);
    small.heartbeat();
    assert_eq!(small.heartbeat().gossip[0].1.len(), 3);
}

#[test]
fn who_has_just_come_into_the_mesh_is_told_what_came_before_once() {
    let mut world = World::joined(9);
    let first = world.heartbeat().gossip[0].1.clone();
    assert!(world.members().iter().all(|member| first.contains(member)), "grafted by us");
    let outside: Vec<_> = (0..9).map(peer).filter(|peer| !world.members().contains(peer)).collect();
    let graft = world.with(|mesh, around| mesh.on_graft(outside[0], &topic(), around));
    assert_eq!(graft, Grafted::Entered);
    let next = world.heartbeat().gossip[0].1.clone();
    assert!(next.contains(&outside[0]), "grafted by itself");
    assert_eq!(world.heartbeat().gossip[0].1.len(), outside.len() - 1, "once");
}

#[test]
fn the_same_seed_makes_the_same_choices_and_another_makes_others() {
    let members = |seed| {
        let mut world = World::new(seed);
        (0..100).for_each(|n| world.neighbour(n, Version::V12, false, false));
        world.with(|mesh, around| mesh.join(topic(), around));
        world.members()
    };
    assert_eq!(members(1), members(1));
    assert_ne!(members(1), members(2));
}

/// What a step of the property below does.
#[derive(Clone, Debug)]
enum Step {
    Neighbour(u8, Version, bool, bool),
    Gone(u8),
    Unsubscribed(u8),
    Graft(u8),
    Prune(u8, Option<u64>),
    Score(u8, i8),
    Later(u64),
    Rejoin,
    Heartbeat,
}

fn any_step() -> impl Strategy<Value = Step> {
    let n = 0u8..40;
    let version = proptest::sample::select(&Version::ALL[..]);
    prop_oneof![
        6 => (n.clone(), version, any::<bool>(), proptest::bool::weighted(0.1))
            .prop_map(|(n, version, outbound, direct)| Step::Neighbour(n, version, outbound, direct)),
        1 => n.clone().prop_map(Step::Gone),
        1 => n.clone().prop_map(Step::Unsubscribed),
        8 => n.clone().prop_map(Step::Graft),
        2 => (n.clone(), proptest::option::of(prop_oneof![0u64..90, Just(u64::MAX)]))
            .prop_map(|(n, backoff_s)| Step::Prune(n, backoff_s)),
        2 => (n, -3i8..9).prop_map(|(n, score)| Step::Score(n, score)),
        2 => (0u64..80).prop_map(Step::Later),
        1 => Just(Step::Rejoin),
        4 => Just(Step::Heartbeat),
    ]
}

/// Nobody is grafted during a backoff, and nobody is told two things at once.
fn changes_are_allowed(world: &World, before: &Backoffs, changes: &[Change]) -> Result<(), TestCaseError> {
    let mut told = BTreeSet::new();
    for change in changes {
        let who = match change {
            Change::Graft { peer, topic } => {
                prop_assert!(before.may_graft(world.now, peer, topic));
                prop_assert!(before.until(peer, topic).is_none_or(|until| until < world.now));
                peer
            }
            Change::Prune(prune) => {
                prop_assert!(!world.backoffs.may_graft(world.now, &prune.peer, &prune.topic));
                &prune.peer
            }
        };
        prop_assert!(told.insert(*who));
    }
    Ok(())
}

fn mesh_is_within_bounds(world: &mut World, heartbeat: &Heartbeat) -> Result<(), TestCaseError> {
    let members = world.members();
    prop_assert!(members.len() <= world.rules.high);
    prop_assert!(members.len() >= world.rules.low || world.candidates(false).is_empty());
    for member in &members {
        let entry = world.peers.get(member);
        prop_assert!(entry.is_some_and(|entry| entry.version.has_mesh() && !entry.direct));
        prop_assert!(world.scores.get(member).is_none_or(|score| *score >= 0.0));
    }
    let has_quota = world.outbound_members() >= world.rules.outbound;
    prop_assert!(has_quota || members.len() < world.rules.low || world.candidates(true).is_empty());
    for (_, chosen) in &heartbeat.gossip {
        let is_settled = |peer: &PeerId| members.contains(peer) && world.settled.contains(peer);
        prop_assert!(!chosen.iter().any(is_settled));
    }
    world.settled = members.into_iter().collect();
    Ok(())
}

fn take(world: &mut World, step: Step) -> Result<(), TestCaseError> {
    let members = world.members();
    world.settled.retain(|peer| members.contains(peer));
    let before = world.backoffs.clone();
    match step {
        Step::Neighbour(n, version, outbound, direct) => {
            let known = world.peers.get(&peer(n)).is_some();
            // The router takes a peer that changes its version out of all meshes first.
            if !known {
                world.neighbour(n, version, outbound, direct);
            }
        }
        Step::Gone(n) => {
            world.mesh.remove(&peer(n));
            world.peers.remove(&peer(n));
            prop_assert!(!world.mesh.is_member(&peer(n)));
        }
        Step::Unsubscribed(n) => {
            world.mesh.on_unsubscribed(&peer(n), &topic());
            world.peers.unsubscribe(&peer(n), &topic());
        }
        Step::Graft(n) => {
            let grafted = world.graft(n);
            let early = before.until(&peer(n), &topic()).is_some_and(|until| world.now < until);
            prop_assert!(grafted != Grafted::Entered || !early);
            if let Grafted::Refused(prune, _) = grafted {
                changes_are_allowed(world, &before, &[Change::Prune(prune)])?;
            }
        }
        Step::Prune(n, backoff_s) => {
            world.prune(n, backoff_s);
            prop_assert!(!world.mesh.is_member(&peer(n)));
        }
        Step::Score(n, score) => drop(world.scores.insert(peer(n), score.into())),
        Step::Later(secs) => {
            world.later(secs);
            world.backoffs.expire(world.now, 10);
        }
        Step::Rejoin => {
            let changes = world.with(|mesh, around| mesh.leave(&topic(), around));
            prop_assert_eq!(of_kind(&changes).0, 0);
            let before = world.backoffs.clone();
            let changes = world.with(|mesh, around| mesh.join(topic(), around));
            changes_are_allowed(world, &before, &changes)?;
        }
        Step::Heartbeat => {
            let heartbeat = world.heartbeat();
            changes_are_allowed(world, &before, &heartbeat.changes)?;
            mesh_is_within_bounds(world, &heartbeat)?;
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn after_each_heartbeat_the_mesh_is_within_its_bounds_and_no_backoff_is_broken(
        seed: u8, opportunistic in 0u8..3, steps in proptest::collection::vec(any_step(), 1..250),
    ) {
        let mut world = World::new(seed);
        world.rules.thresholds.opportunistic = opportunistic.into();
        world.rules.opportunistic_ticks = 3;
        world.with(|mesh, around| mesh.join(topic(), around));
        for step in steps {
            take(&mut world, step)?;
        }
        (0..40).for_each(|n| {
            world.mesh.remove(&peer(n));
        });
        prop_assert_eq!(world.mesh.topics.values().map(BTreeSet::len).sum::<usize>(), 0);
    }
}
