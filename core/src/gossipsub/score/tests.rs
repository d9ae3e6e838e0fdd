use super::*;
use crate::state::{Alter, state_hash};
use proptest::prelude::*;

const WINDOW: Duration = Duration::from_millis(10);

fn peer(n: u8) -> PeerId {
    PeerId::from_ed25519(&[n; 32])
}

fn topic() -> TopicName {
    "t".into()
}

fn id(n: u8) -> IdDigest {
    IdDigest::of(&[n])
}

fn millis(millis: u64) -> Instant {
    Instant::from_micros(millis * 1_000)
}

fn secs(secs: u64) -> Instant {
    millis(secs * 1_000)
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn params(of_topic: TopicParams) -> Params {
    Params { topics: [(topic(), of_topic)].into(), ..Params::default() }
}

/// Peers 1 to 3, at no address.
fn scores() -> Scores {
    let mut scores = Scores::new(&Bounds::default(), HashKey::known());
    (1..=3).for_each(|n| scores.add_peer(peer(n), &[]));
    scores
}

/// `senders` deliver the message `n`, and it is judged at once.
fn deliver(scores: &mut Scores, at: Instant, n: u8, senders: &[u8], acceptance: Acceptance, params: &Params) {
    let senders: Vec<_> = senders.iter().map(|n| peer(*n)).collect();
    scores.delivered(at, id(n), &topic(), &senders);
    scores.judged(at, &id(n), acceptance, params);
}

fn decay(scores: &mut Scores, at: Instant, params: &Params) {
    scores.decay(at, 1_000, params);
}

#[test]
fn with_scoring_off_every_score_is_zero_whatever_happens() {
    let (mut scores, off) = (scores(), Params::default());
    scores.graft(secs(0), &peer(1), &topic(), &off);
    deliver(&mut scores, secs(1), 1, &[1], Acceptance::Reject, &off);
    scores.invalid(&peer(1), &topic(), &off);
    scores.penalize(&peer(1), 9);
    scores.set_application(&peer(1), 7.0);
    decay(&mut scores, secs(9), &off);
    assert_eq!(scores.score(&peer(1), &off), 0.0);
    assert_eq!(scores.score(&peer(9), &off), 0.0);
}

#[test]
fn p1_time_in_the_mesh_counts_in_whole_quanta_up_to_its_cap_and_ends_with_it() {
    let params = params(TopicParams {
        weight: 0.5,
        time_in_mesh_weight: 2.0,
        time_in_mesh_quantum: Duration::from_secs(10),
        time_in_mesh_cap: 3.0,
        ..TopicParams::default()
    });
    let mut scores = scores();
    scores.graft(secs(100), &peer(1), &topic(), &params);
    for (at, score) in [(109, 0.0), (110, 1.0), (129, 2.0), (130, 3.0), (900, 3.0)] {
        decay(&mut scores, secs(at), &params);
        assert_eq!(scores.score(&peer(1), &params), score, "at {at}");
    }
    scores.prune(&peer(1), &topic(), &params);
    assert_eq!(scores.score(&peer(1), &params), 0.0);
}

#[test]
fn p2_the_first_to_deliver_a_message_is_rewarded_when_it_is_accepted() {
    let params = params(TopicParams {
        first_deliveries_weight: 3.0,
        first_deliveries_cap: 2.0,
        ..TopicParams::default()
    });
    let mut scores = scores();
    deliver(&mut scores, secs(1), 1, &[1, 2], Acceptance::Accept, &params);
    deliver(&mut scores, secs(1), 2, &[2, 1], Acceptance::Ignore, &params);
    assert_eq!([1, 2].map(|n| scores.score(&peer(n), &params)), [3.0, 0.0]);
    (3..9).for_each(|n| deliver(&mut scores, secs(1), n, &[1], Acceptance::Accept, &params));
    assert_eq!(scores.score(&peer(1), &params), 6.0, "capped");
    decay(&mut scores, secs(2), &params);
    assert_eq!(scores.score(&peer(1), &params), 3.0);
    // 2 halved eight times is less than a hundredth.
    (0..7).for_each(|_| decay(&mut scores, secs(3), &params));
    assert_eq!(scores.score(&peer(1), &params), 0.0);
}

fn strict_on_deliveries() -> Params {
    params(TopicParams {
        mesh_deliveries_weight: -1.0,
        mesh_deliveries_threshold: 4.0,
        mesh_deliveries_decay: 0.5,
        mesh_deliveries_activation: Duration::from_secs(5),
        mesh_deliveries_window: WINDOW,
        mesh_failure_weight: -2.0,
        mesh_failure_decay: 0.5,
        ..TopicParams::default()
    })
}

#[test]
fn p3_too_few_deliveries_count_from_their_activation_on_and_stick_after_the_mesh() {
    let params = strict_on_deliveries();
    let mut scores = scores();
    scores.graft(secs(0), &peer(1), &topic(), &params);
    deliver(&mut scores, secs(1), 1, &[2, 1], Acceptance::Accept, &params);
    decay(&mut scores, secs(5), &params);
    assert_eq!(scores.score(&peer(1), &params), 0.0, "not active yet");
    deliver(&mut scores, secs(6), 2, &[2, 1], Acceptance::Accept, &params);
    decay(&mut scores, secs(6), &params);
    // (1 / 2 + 1) / 2 = 0.75 deliveries are left: the deficit is 3.25.
    assert_eq!(scores.score(&peer(1), &params), -(3.25 * 3.25));
    assert_eq!(scores.score(&peer(2), &params), 0.0, "it is in no mesh");
    scores.prune(&peer(1), &topic(), &params);
    assert_eq!(scores.score(&peer(1), &params), -2.0 * 3.25 * 3.25);
    decay(&mut scores, secs(7), &params);
    assert_eq!(scores.score(&peer(1), &params), -3.25 * 3.25);
    scores.graft(secs(7), &peer(2), &topic(), &params);
    decay(&mut scores, secs(13), &params);
    assert_eq!(scores.score(&peer(2), &params), -16.0, "what it delivered before does not count");
}

#[test]
fn p3_copies_count_once_a_peer_before_the_verdict_and_within_the_window_after() {
    let mut params = strict_on_deliveries();
    let mut scores = scores();
    (1..=3).for_each(|n| scores.graft(secs(0), &peer(n), &topic(), &params));
    decay(&mut scores, secs(6), &params);
    scores.delivered(secs(7), id(1), &topic(), &[peer(1)]);
    scores.duplicate(secs(7), &id(1), peer(2), &params);
    scores.judged(secs(7), &id(1), Acceptance::Accept, &params);
    (0..3).for_each(|_| scores.duplicate(secs(7), &id(1), peer(2), &params));
    scores.duplicate(millis(7_011), &id(1), peer(3), &params);
    assert_eq!([1, 2, 3].map(|n| scores.score(&peer(n), &params)), [-9.0, -9.0, -16.0]);
    deliver(&mut scores, secs(8), 2, &[1], Acceptance::Accept, &params);
    scores.duplicate(millis(8_010), &id(2), peer(3), &params);
    assert_eq!(scores.score(&peer(3), &params), -9.0);
    // At the cap nothing is added.
    params.topics.get_mut(&topic()).unwrap().mesh_deliveries_cap = 2.0;
    (3..9).for_each(|n| deliver(&mut scores, secs(8), n, &[1], Acceptance::Accept, &params));
    assert_eq!(scores.score(&peer(1), &params), -4.0);
}

#[test]
fn p4_invalid_messages_are_charged_to_all_that_deliver_them_and_squared() {
    let params = params(TopicParams { invalid_weight: -1.0, invalid_decay: 0.5, ..TopicParams::default() });
    let mut scores = scores();
    deliver(&mut scores, secs(1), 1, &[1, 2], Acceptance::Reject, &params);
    scores.duplicate(secs(99), &id(1), peer(3), &params);
    scores.duplicate(secs(99), &id(1), peer(1), &params);
    assert_eq!([1, 2, 3].map(|n| scores.score(&peer(n), &params)), [-1.0, -1.0, -1.0]);
    scores.invalid(&peer(1), &topic(), &params);
    scores.invalid(&peer(1), &"other".into(), &params);
    assert_eq!(scores.score(&peer(1), &params), -4.0);
    // A second verdict changes nothing.
    scores.judged(secs(99), &id(1), Acceptance::Reject, &params);
    assert_eq!(scores.score(&peer(1), &params), -4.0);
    decay(&mut scores, secs(100), &params);
    assert_eq!(scores.score(&peer(1), &params), -1.0);
}

#[test]
fn p5_what_the_application_thinks_counts_by_its_weight() {
    let params = Params { application_weight: 2.0, ..Params::default() };
    let mut scores = scores();
    for (value, score) in [(3.0, 6.0), (f64::NAN, 0.0), (f64::INFINITY, 2e9), (f64::NEG_INFINITY, -2e9)] {
        scores.set_application(&peer(1), value);
        assert_eq!(scores.score(&peer(1), &params), score);
    }
}

#[test]
fn p6_peers_too_many_at_one_address_or_in_one_network_of_ipv6_are_squared() {
    let params = Params { colocation_weight: -1.0, colocation_threshold: 2, ..Params::default() };
    let mut scores = Scores::new(&Bounds::default(), HashKey::known());
    for n in 1..=4 {
        scores.add_peer(peer(n), &[address("192.0.2.1")]);
        scores.add_peer(peer(n + 10), &[address(&alloc::format!("2001:db8::{n}"))]);
        scores.add_peer(peer(n + 20), &[address(&alloc::format!("2001:db8:0:{n}::1"))]);
    }
    scores.add_peer(peer(5), &[address("::ffff:192.0.2.1")]);
    assert_eq!([1, 11, 21].map(|n| scores.score(&peer(n), &params)), [-9.0, -4.0, 0.0]);
    scores.add_peer(peer(5), &[address("192.0.2.2")]);
    assert_eq!(scores.score(&peer(1), &params), -4.0, "it has moved");
    scores.remove_peer(secs(0), &peer(4), &params);
    assert_eq!(scores.score(&peer(1), &params), -4.0, "one with a bad score is still there");
    decay(&mut scores, secs(3_600), &params);
    assert_eq!(scores.score(&peer(1), &params), -1.0);
}

#[test]
fn p7_breaches_beyond_the_threshold_are_squared_and_fade() {
    let params = Params {
        behaviour_weight: -1.0,
        behaviour_threshold: 2.0,
        behaviour_decay: 0.5,
        ..Params::default()
    };
    let mut scores = scores();
    scores.penalize(&peer(1), 2);
    assert_eq!(scores.score(&peer(1), &params), 0.0);
    scores.penalize(&peer(1), 4);
    assert_eq!(scores.score(&peer(1), &params), -16.0);
    decay(&mut scores, secs(1), &params);
    assert_eq!(scores.score(&peer(1), &params), -1.0);
}

#[test]
fn topics_together_are_capped_and_what_is_bad_comes_on_top() {
    let of_topic = TopicParams { first_deliveries_weight: 10.0, ..TopicParams::default() };
    let params = Params { topic_score_cap: 4.0, behaviour_weight: -1.0, ..params(of_topic) };
    let mut scores = scores();
    deliver(&mut scores, secs(1), 1, &[1], Acceptance::Accept, &params);
    assert_eq!(scores.score(&peer(1), &params), 4.0);
    scores.penalize(&peer(1), 1);
    assert_eq!(scores.score(&peer(1), &params), 3.0);
}

#[test]
fn a_bad_score_outlives_its_connection_without_fading_and_a_good_one_does_not() {
    let of_topic = TopicParams { first_deliveries_weight: 1.0, ..TopicParams::default() };
    let params = Params { behaviour_weight: -1.0, ..params(of_topic) };
    let mut scores = scores();
    deliver(&mut scores, secs(1), 1, &[1], Acceptance::Accept, &params);
    deliver(&mut scores, secs(1), 2, &[2], Acceptance::Accept, &params);
    scores.penalize(&peer(2), 3);
    (1..=2).for_each(|n| scores.remove_peer(secs(10), &peer(n), &params));
    assert_eq!([1, 2].map(|n| scores.score(&peer(n), &params)), [0.0, -9.0], "what it did well is gone");
    decay(&mut scores, secs(3_609), &params);
    scores.add_peer(peer(2), &[]);
    assert_eq!(scores.score(&peer(2), &params), -9.0);
    decay(&mut scores, secs(3_610), &params);
    assert!(scores.score(&peer(2), &params) > -9.0, "it is back, and it fades");
    scores.remove_peer(secs(3_611), &peer(2), &params);
    scores.remove_peer(secs(3_611), &peer(3), &params);
    decay(&mut scores, secs(7_211), &params);
    assert!(scores.is_empty(), "nothing is left of those that are gone");
}

#[test]
fn a_full_table_forgets_first_who_would_be_forgotten_first() {
    let params = Params::default();
    let bounds = Bounds { peers_max: 3, ..Bounds::default() };
    let mut scores = Scores::new(&bounds, HashKey::known());
    (1..=3).for_each(|n| scores.add_peer(peer(n), &[]));
    scores.remove_peer(secs(2), &peer(1), &params);
    scores.remove_peer(secs(1), &peer(2), &params);
    scores.add_peer(peer(4), &[]);
    assert!(!scores.peers.contains_key(&peer(2)) && scores.peers.contains_key(&peer(1)));
    assert_eq!((scores.len().0, scores.forgotten()), (3, 1));
}

#[test]
fn parameters_by_which_a_score_could_be_no_number_are_refused() {
    assert_eq!(params(TopicParams::default()).validate(), Ok(()));
    let refused = |params: Params| params.validate().unwrap_err().key;
    let of = |of_topic| refused(params(of_topic));
    for bad in [f64::NAN, f64::INFINITY, -1.0, 2e9] {
        assert_eq!(of(TopicParams { weight: bad, ..TopicParams::default() }), "score topic weight");
    }
    for bad in [f64::NAN, 0.0, 1.0, -0.5] {
        assert_eq!(of(TopicParams { invalid_decay: bad, ..TopicParams::default() }), "score invalid_decay");
        let params = Params { behaviour_decay: bad, ..Params::default() };
        assert_eq!(refused(params), "score behaviour_decay");
    }
    assert_eq!(of(TopicParams { invalid_weight: 0.1, ..TopicParams::default() }), "score invalid_weight");
    let quantum = TopicParams { time_in_mesh_quantum: Duration::from_nanos(1), ..TopicParams::default() };
    assert_eq!(of(quantum), "score time_in_mesh_quantum");
    let threshold = Params { colocation_threshold: 0, ..Params::default() };
    assert_eq!(refused(threshold), "score colocation_threshold");
    assert_eq!(
        refused(Params { decay_interval: Duration::ZERO, ..Params::default() }),
        "score decay_interval"
    );
    assert_eq!(
        refused(Params { application_weight: f64::NAN, ..Params::default() }),
        "score application_weight"
    );
}

#[test]
fn altering_any_leaf_of_the_scores_changes_the_hash() {
    let params = strict_on_deliveries();
    let mut scores = scores();
    scores.add_peer(peer(1), &[address("192.0.2.1")]);
    (0..2).for_each(|n| deliver(&mut scores, secs(1), n, &[1, 2], Acceptance::Accept, &params));
    scores.graft(secs(2), &peer(1), &topic(), &params);
    scores.remove_peer(secs(3), &peer(2), &params);
    let mut leaves = Vec::new();
    scores.leaves("scores", &mut leaves);
    for (nth, leaf) in leaves.iter().enumerate().filter(|(_, leaf)| !leaf.ends_with('?')) {
        let mut altered = scores.clone();
        assert!(altered.alter(&mut { nth }), "{leaf}");
        assert_ne!(state_hash(&altered), state_hash(&scores), "{leaf} is not hashed");
    }
}

/// The largest parameters that are allowed.
fn extreme() -> Params {
    let of_topic = TopicParams {
        weight: VALUE_MAX,
        time_in_mesh_weight: VALUE_MAX,
        time_in_mesh_quantum: Duration::from_micros(1),
        time_in_mesh_cap: VALUE_MAX,
        first_deliveries_weight: VALUE_MAX,
        first_deliveries_cap: VALUE_MAX,
        mesh_deliveries_weight: -VALUE_MAX,
        mesh_deliveries_cap: VALUE_MAX,
        mesh_deliveries_threshold: VALUE_MAX,
        mesh_failure_weight: -VALUE_MAX,
        invalid_weight: -VALUE_MAX,
        ..TopicParams::default()
    };
    Params {
        application_weight: VALUE_MAX,
        colocation_weight: -VALUE_MAX,
        behaviour_weight: -VALUE_MAX,
        ..params(of_topic)
    }
}

proptest! {
    #[test]
    fn every_score_is_a_number_and_nothing_outlives_its_time(
        steps in proptest::collection::vec((0u8..10, 0u8..4, 0u8..6, any::<u32>()), 0..200),
    ) {
        let params = extreme();
        prop_assert_eq!(params.validate(), Ok(()));
        let mut scores = scores();
        let mut now = Instant::ZERO;
        for (kind, n, message, amount) in steps {
            let who = peer(n);
            match kind {
                0 => scores.add_peer(who, &[address("192.0.2.1")]),
                1 => scores.remove_peer(now, &who, &params),
                2 => scores.graft(now, &who, &topic(), &params),
                3 => scores.prune(&who, &topic(), &params),
                4 => scores.penalize(&who, amount),
                5 => scores.set_application(&who, f64::from_bits(u64::from(amount) << 32)),
                6 => scores.duplicate(now, &id(message), who, &params),
                7 => scores.delivered(now, id(message), &topic(), &[who]),
                8 => {
                    let all = [Acceptance::Accept, Acceptance::Reject, Acceptance::Ignore];
                    scores.judged(now, &id(message), all[usize::from(n % 3)], &params);
                }
                _ => {
                    now = now.after(Duration::from_micros(u64::from(amount) << (message * 4)));
                    decay(&mut scores, now, &params);
                }
            }
            prop_assert!((0..4).all(|n| scores.score(&peer(n), &params).is_finite()));
        }
        (0..4).for_each(|n| scores.remove_peer(now, &peer(n), &params));
        decay(&mut scores, now.after(Duration::from_secs(7_200)), &params);
        prop_assert!(scores.is_empty());
    }
}
